/**
 * Hints: what node and control tell one another through the fabric's lossy messages (canonical msgpack).
 *
 * Does: name subjects and payloads. Does not: decide anything. Losing every hint only makes things slower.
 *
 *     node.<nodeId>        NodeHint       → that node
 *     progress.<shardId>   ProgressHint   ← owner, about every 200 ms
 *     moved.<shardId>      MoveHint       ← source ('left', for a move or a pause) and target ('arrived')
 *     asked.<askId>        AskedHint      ← the node's answer to an `ask`
 *
 * N1  A hint is never the reason for a write: the receiver reads the record and acts on that.
 * N2  `stoppedNs`/`runningNs` are CLOCK_MONOTONIC of one machine and only shown, never decided from.
 */
import type { ShardActivity } from './api.js';
import type { Hash } from './hash.js';
import type { NodeId, ShardId } from './records.js';

export const SUBJECT = {
  node: (id: NodeId): string => `node.${id}`,
  progress: (id: ShardId): string => `progress.${id}`,
  moved: (id: ShardId): string => `moved.${id}`,
  asked: (askId: string): string => `asked.${askId}`,
  progressAll: 'progress',
  movedAll: 'moved',
} as const;

export type NodeHint =
  /** The record changed and concerns you. */
  | { readonly kind: 'look'; readonly shardId: ShardId }
  /**
   * A shard of this module is about to come: compile it in every worker, have an instance of this size and a buffer for
   * a capsule of about this size ready.
   */
  | {
      readonly kind: 'prepare';
      readonly moduleHash: Hash;
      readonly memoryBytes: number;
      readonly capsuleBytes: number;
    }
  /** A shard that is to come is being copied: the next batch of its memory (capsule/staging) is in the store. */
  | {
      readonly kind: 'arrive';
      readonly shardId: ShardId;
      readonly moduleHash: Hash;
      readonly index: number;
      readonly hash: Hash;
      /** Who wants to know when it has arrived. */
      readonly source: NodeId;
    }
  /** All batches up to this one are there. */
  | { readonly kind: 'arrived'; readonly shardId: ShardId; readonly index: number }
  /** What is it doing right now? Answer on `asked.<askId>`. */
  | { readonly kind: 'ask'; readonly shardId: ShardId; readonly askId: string }
  /** Pause and store every shard, take no more. */
  | { readonly kind: 'drain' };

export interface ProgressHint {
  readonly shardId: ShardId;
  readonly nodeId: NodeId;
  readonly epoch: number;
  readonly fuelUsed: bigint;
  readonly fuelPerSecond: number;
  readonly memoryBytes: number;
  readonly capsuleBytes: number;
  readonly safepoint: string | null;
  readonly activity: ShardActivity;
  /** What goes wrong there at present (a full disk …) and is tried again; empty = nothing. */
  readonly trouble: string;
  /** Share of a core that it had since the last hint, 0..1. */
  readonly share?: number;
  /** Bytes that a copy of its memory (for checkpoints, or a move) takes in the store. */
  readonly stagedBytes?: number;
}

export type MoveHint =
  | {
      readonly kind: 'left';
      readonly shardId: ShardId;
      /** The epoch that the record has after the move. */
      readonly epoch: number;
      readonly source: NodeId;
      /** Null: it was paused. */
      readonly target: NodeId | null;
      readonly fuelUsed: bigint;
      readonly capsuleBytes: number;
      readonly memoryBytes: number;
      readonly pauseUs: number;
      readonly encodeUs: number;
      readonly storeUs: number;
      readonly handoverUs: number;
      readonly stoppedNs: bigint;
    }
  | {
      readonly kind: 'arrived';
      readonly shardId: ShardId;
      readonly epoch: number;
      readonly target: NodeId;
      readonly restoreUs: number;
      readonly runningNs: bigint;
    };

export interface AskedHint {
  readonly shardId: ShardId;
  readonly nodeId: NodeId;
  /** False: this node does not have it (any more). */
  readonly here: boolean;
  readonly fuelUsed: bigint;
  readonly fuelPerSecond: number;
  readonly memoryBytes: number;
  readonly activity: ShardActivity;
  readonly guestStack: readonly string[];
  /** How long it has run in all, ms; absent from nodes of earlier versions. */
  readonly ranMs?: number;
}
