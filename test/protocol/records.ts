/** Records, stamps and forecasts for tests of the brain. */
import { submit } from '../../host/protocol/shard-record.js';
import type { Forecast } from '../../host/types/brain.js';
import type { NodeRecord, ShardRecord } from '../../host/types/records.js';

export const HASH = (n: number): string => n.toString(16).padStart(64, '0');

export const STAMP = { writer: 'test', attempt: 1 } as const;

export function queued(id = 's-1', change: Partial<ShardRecord> = {}): ShardRecord {
  const input = { id, name: id, spec: HASH(1), moduleHash: HASH(2), priority: 0, createdMs: 0 };
  return { ...submit(input, STAMP), ...change };
}

export function owned(
  owner: string,
  epoch: number,
  change: Partial<ShardRecord> = {},
): ShardRecord {
  return queued(change.id ?? 's-1', { status: 'assigned', owner, epoch, reason: '', ...change });
}

export function node(id: string, change: Partial<NodeRecord> = {}): NodeRecord {
  return {
    v: 1,
    id,
    pid: 1,
    host: 'test',
    workers: 1,
    beat: 1,
    draining: false,
    engine: 'test',
    memoryBytes: 0,
    sample: { cpu: 0, guestCpu: 0, memoryUsedBytes: 0, eventLoopDelayMs: 0, runnable: 0 },
    writer: id,
    attempt: 1,
    ...change,
  };
}

/** Of a node whose machine has this probability of contention, and this much work that is not ours, cores. */
export function forecastOf(
  nodeId: string,
  contention: number,
  background = 0,
  change: Partial<Forecast> = {},
): Forecast {
  const flat = (value: number) => ({ p50: value, p90: value, p99: value });
  return {
    nodeId,
    horizonMs: 1_000,
    machine: { id: `node:${nodeId}`, cores: 1 },
    cpu: flat(background),
    background: flat(background),
    memoryBytes: flat(0),
    contention,
    crowded: false,
    model: 'test',
    ...change,
  };
}
