/**
 * Parts of the machine in node-life.ts that need no state: what is wanted now, quotas, the way of a capture to the record.
 *
 * Does: compute from records, limits and facts. Does not: decide an order.
 */
import { EXIT, invariant } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardExit, ShardRecord } from '../types/records.js';
import type { CaptureFacts, LifePhase, RunFacts, SpecLimits } from './life-types.js';
import {
  type ChunkLink,
  type Claim,
  handOver,
  pause,
  requeue,
  type Snapshot,
  type Stamp,
  type Transition,
} from './shard-record.js';

export const NOTHING_RUN: RunFacts = { fuelUsed: 0n, memoryBytes: 0, ranMs: 0 };

/** `standing`: stopped by a held capture or at a fuel value. */
export type Guest = 'none' | 'loading' | 'loaded' | 'running' | 'standing' | 'ended';

/** What is wanted of the shard now. `settle` = answer a request that asks for nothing. */
export type Goal =
  | { readonly kind: 'run' | 'kill' | 'pause' | 'requeue' | 'settle' }
  | { readonly kind: 'move'; readonly target: NodeId };

/** The way of a capture, or of an end, to the record. */
export interface Pipe {
  readonly of: string;
  readonly hold: boolean;
  readonly final: boolean;
  readonly startedMs: number;
  stage: 'capturing' | 'to-store' | 'storing' | 'stored';
  storeOp: string | null;
  facts: CaptureFacts | null;
  chunk: ChunkLink | null;
  artifacts: Hash | null;
  withArtifacts: boolean;
  costMs: number;
}

export interface Situation {
  readonly node: NodeId;
  readonly guest: Guest;
  readonly fuelUsed: bigint;
  readonly stopping: boolean;
  readonly uncapturable: boolean;
}

/** What the record and the node ask for, in this situation. */
export function goalOf(record: ShardRecord, at: Situation): Goal {
  const wanted = record.wanted;
  const stop: Goal = at.stopping ? { kind: 'requeue' } : { kind: 'run' };
  if (wanted === null) return stop;
  if (wanted.op === 'kill') return { kind: 'kill' };
  if (at.uncapturable && at.guest !== 'none') {
    const waits = wanted.op === 'pause' && wanted.atFuel !== null;
    return at.stopping ? stop : { kind: waits ? 'run' : 'settle' };
  }
  if (wanted.op === 'preempt') return { kind: 'requeue' };
  if (wanted.op === 'move') {
    return wanted.target === at.node ? { kind: 'settle' } : { kind: 'move', target: wanted.target };
  }
  if (wanted.atFuel === null) return { kind: 'pause' };
  const there = at.guest === 'standing' ? at.fuelUsed : record.fuelUsed;
  return there >= wanted.atFuel ? { kind: 'pause' } : stop;
}

/** How a guest ends that has used what it may; null = it may go on. */
export function quotaExit(limits: SpecLimits, guest: Guest, run: RunFacts): ShardExit | null {
  const { maxFuel, maxTimeMs } = limits;
  const base = { code: EXIT.quota, guestStack: [], results: new Uint8Array(0) };
  if (maxFuel > 0n && guest === 'standing' && run.fuelUsed >= maxFuel) {
    return { ...base, reason: 'fuel-quota', message: `used its fuel quota of ${maxFuel}` };
  }
  if (maxTimeMs > 0 && run.ranMs >= maxTimeMs) {
    return { ...base, reason: 'time-quota', message: `used its time quota of ${maxTimeMs} ms` };
  }
  return null;
}

/** The fuel value at which the guest has to stop; null = nowhere. */
export function stopFuelOf(
  record: ShardRecord,
  limits: SpecLimits,
  capturable: boolean,
): bigint | null {
  const quota = limits.maxFuel > 0n ? limits.maxFuel : null;
  const at = record.wanted?.op === 'pause' && capturable ? record.wanted.atFuel : null;
  if (at === null) return quota;
  return quota === null || at < quota ? at : quota;
}

/** The owner's release that answers a goal other than `run`. */
export function releaseFor(
  record: ShardRecord,
  claim: Claim,
  goal: Goal,
  snapshot: Snapshot | null,
  trees: Hash | null,
  stamp: Stamp,
): Transition {
  if (goal.kind === 'pause') return pause(record, claim, snapshot, trees, stamp);
  if (goal.kind === 'move') return handOver(record, claim, goal.target, snapshot, stamp);
  const preempted = record.wanted?.op === 'preempt';
  const why = preempted
    ? 'preempted: waiting for its turn'
    : `${claim.node} went down: waiting to be placed`;
  return requeue(record, claim, snapshot, why, stamp);
}

export function failedExit(message: string): ShardExit {
  return {
    reason: 'failed',
    code: EXIT.failedLater,
    message,
    guestStack: [],
    results: new Uint8Array(0),
  };
}

/** A new way: of a capture that was asked for, or of the end of a run. */
export function newPipe(
  of: string,
  startedMs: number,
  what: 'checkpoint' | 'hold' | 'final',
): Pipe {
  const final = what === 'final';
  return {
    of,
    hold: what !== 'checkpoint',
    final,
    startedMs,
    stage: final ? 'to-store' : 'capturing',
    storeOp: null,
    facts: null,
    chunk: null,
    artifacts: null,
    withArtifacts: final,
    costMs: 0,
  };
}

export function snapshotOf(pipe: Pipe): Snapshot {
  const facts = pipe.facts;
  invariant(facts !== null && pipe.stage === 'stored', 'only what is stored is committed');
  const { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs } = facts;
  return { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs, chunk: pipe.chunk };
}

export function recordFacts(record: ShardRecord): RunFacts {
  return { fuelUsed: record.fuelUsed, memoryBytes: record.memoryBytes, ranMs: record.ranMs };
}

/** Where a life with an epoch is, for display. */
export function phaseOf(
  pipe: Pipe | null,
  write: { readonly kind: string } | null,
  guest: Guest,
  ended: boolean,
): LifePhase {
  if (pipe?.final === true || ended) return 'ending';
  if (write !== null) return write.kind === 'take' ? 'taking' : 'committing';
  if (pipe !== null) return pipe.stage === 'capturing' ? 'pausing' : 'storing';
  if (guest === 'running' || guest === 'standing') return 'running';
  return guest === 'loaded' ? 'taking' : 'loading';
}

/** Facts of a run, with the time that the record had before it. */
export function later(run: RunFacts, ranBeforeMs: number): RunFacts {
  const { fuelUsed, memoryBytes, ranMs } = run;
  return { fuelUsed, memoryBytes, ranMs: ranBeforeMs + ranMs };
}

/** Newer facts; counters never go back. */
export function forward(before: RunFacts, now: RunFacts): RunFacts {
  const ahead = now.fuelUsed > before.fuelUsed;
  return {
    fuelUsed: (ahead ? now : before).fuelUsed,
    memoryBytes: now.memoryBytes,
    ranMs: Math.max(before.ranMs, now.ranMs),
  };
}
