/**
 * Records as the API's JSON (types/api A2: 64-bit numbers as decimal strings, bytes as base64).
 */
import type { ProgressView, ShardView, WantedView } from '../types/api.js';
import type { Seen } from '../types/brain.js';
import type { ShardRecord, Wanted } from '../types/records.js';
import type { ProgressSeen } from './cluster.js';

export function shardView(
  seen: Seen<ShardRecord>,
  progress: ProgressSeen | undefined,
  why: string,
  nowMs: number,
): ShardView {
  const { record, revision } = seen;
  const { v, writer, attempt, exit, wanted, fuelUsed, ...same } = record;
  return {
    ...same,
    revision,
    fuelUsed: fuelUsed.toString(),
    wanted: wanted === null ? null : wantedView(wanted),
    exit: exit === null ? null : { ...exit, results: Buffer.from(exit.results).toString('base64') },
    reason: why,
    progress: progress === undefined ? null : progressView(progress, nowMs),
  };
}

function wantedView(wanted: Wanted): WantedView {
  switch (wanted.op) {
    case 'pause':
      return { op: 'pause', atFuel: wanted.atFuel?.toString() ?? null };
    case 'move':
      return { op: 'move', target: wanted.target };
    case 'kill':
    case 'preempt':
      return { op: wanted.op };
  }
}

function progressView({ hint, atMs }: ProgressSeen, nowMs: number): ProgressView {
  const { nodeId, fuelUsed, fuelPerSecond, memoryBytes, capsuleBytes, safepoint, activity } = hint;
  const { trouble } = hint;
  return {
    nodeId,
    fuelUsed: fuelUsed.toString(),
    fuelPerSecond,
    memoryBytes,
    capsuleBytes,
    safepoint,
    activity,
    trouble,
    ageMs: Math.max(0, Math.round(nowMs - atMs)),
  };
}
