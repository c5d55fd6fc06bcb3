/**
 * What a checker is: it sees every true change of every shard's record, in order, and the end of the run.
 *
 * Checkers judge only; they never influence the run. Each file here judges one promise and shares no code with what it judges.
 */
import type { Hash } from '../../types/platform.js';
import type { ShardId, ShardRecord } from '../../types/records.js';
import type { SimSpec } from '../sim-guest.js';

export interface CheckContext {
  /** Blobs whose `put` was answered so far. */
  readonly durable: ReadonlyMap<Hash, Uint8Array>;
  readonly specs: ReadonlyMap<ShardId, SimSpec>;
  readonly killed: ReadonlySet<ShardId>;
  readonly seenHeads: ReadonlyMap<ShardId, ReadonlySet<string>>;
}

export interface Checker {
  readonly name: string;
  /** Faults of one change; `before` null = created. */
  onChange(before: ShardRecord | null, after: ShardRecord, context: CheckContext): string[];
  atEnd(records: ReadonlyMap<ShardId, ShardRecord>, context: CheckContext): string[];
}
