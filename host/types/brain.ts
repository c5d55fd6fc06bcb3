/**
 * The words of the brain: measurements, forecasts, events that come in, actions that go out.
 *
 * B1  Deciders are `(state, event) → actions`; time comes in as `nowMs` (the caller's monotonic clock), randomness
 *     as ids in events. They never read a clock, never do I/O.
 * B2  Every action has an id and is idempotent; its completion comes back as an event.
 * B3  A decider's state is a cache rebuilt from records.
 */
import type {
  Machine,
  NodeId,
  NodeRecord,
  NodeSampleValues,
  ShardId,
  ShardRecord,
} from './records.js';

export interface Quantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export interface Sample {
  readonly nodeId: NodeId;
  readonly atMs: number;
  readonly values: NodeSampleValues;
}

/** Per-shard measurement, from the node's progress hints. */
export interface ShardSample {
  readonly shardId: ShardId;
  readonly atMs: number;
  readonly fuelUsed: bigint;
  readonly fuelPerSecond: number;
  readonly memoryBytes: number;
  readonly capsuleBytes: number;
  /** Cores' worth that it would use if it were alone, 0..1; absent = not measured. */
  readonly demand?: number;
}

/** What a shard will still need, from what it does now and what shards of its program did before. */
export interface ShardForecast {
  readonly shardId: ShardId;
  readonly fuelPerSecond: Quantiles;
  /** Fuel until it ends; null = no shard of its program has ended yet. */
  readonly remainingFuel: Quantiles | null;
  /** Time until it ends at that speed, ms; null = not known. */
  readonly remainingMs: Quantiles | null;
  /** Memory that it will have when it ends; absent: not known. */
  readonly memoryBytes?: Quantiles;
  readonly model: string;
}

export interface Forecast {
  readonly nodeId: NodeId;
  readonly horizonMs: number;
  /** The machine that the node shares with others, and its cores. */
  readonly machine: Machine;
  /** Cores' worth of demand on the machine: background, and what the shards of all its nodes want. */
  readonly cpu: Quantiles;
  /** That part of it which is not of this cluster's nodes. */
  readonly background: Quantiles;
  readonly memoryBytes: Quantiles;
  /** Bytes a second over the network; absent: not measured there. */
  readonly networkBytesPerS?: Quantiles;
  /** Probability 0..1 that demand goes beyond the machine's cores within the horizon, so that somebody waits. */
  readonly contention: number;
  /** The node's shards wait for its workers, whatever its machine has free; only where that can differ. */
  readonly crowded: boolean;
  /**
   * Time until a bottleneck is to be expected, ms: the first horizon of 5 s to 30 min at which `contention` is that of a predicted
   * one; 0 = there is one now. Absent: none is.
   */
  readonly leadMs?: number;
  /** Whose forecast it is. */
  readonly model: string;
}

/** Contention from which on a bottleneck counts as predicted, and below which it is over: what is acted upon is what is said. */
export const BOTTLENECK = { predictedFrom: 0.5, overBelow: 0.3 } as const;

/** A revision-bearing view of a record, as the fabric gave it. */
export interface Seen<T> {
  readonly record: T;
  readonly revision: number;
}

export type BrainEvent =
  | { readonly kind: 'tick'; readonly nowMs: number }
  | { readonly kind: 'shard'; readonly nowMs: number; readonly seen: Seen<ShardRecord> }
  | { readonly kind: 'shard-gone'; readonly nowMs: number; readonly shardId: ShardId }
  | { readonly kind: 'node'; readonly nowMs: number; readonly seen: Seen<NodeRecord> }
  | { readonly kind: 'node-gone'; readonly nowMs: number; readonly nodeId: NodeId }
  /** The supervisor saw the process die: no lease needs to run out. */
  | { readonly kind: 'node-dead'; readonly nowMs: number; readonly nodeId: NodeId }
  | { readonly kind: 'progress'; readonly nowMs: number; readonly sample: ShardSample }
  | { readonly kind: 'forecast'; readonly nowMs: number; readonly forecast: Forecast }
  | { readonly kind: 'shard-forecast'; readonly nowMs: number; readonly forecast: ShardForecast }
  /** A client's request. */
  | {
      readonly kind: 'request-move';
      readonly nowMs: number;
      readonly shardId: ShardId;
      readonly target: NodeId | null;
    }
  | {
      readonly kind: 'action-done';
      readonly nowMs: number;
      readonly actionId: string;
      readonly outcome: 'ok' | 'conflict' | 'unknown';
    };

/** What the control process executes: each is one compare-and-set of a shard's record at `revision`. */
export type BrainAction =
  | {
      readonly kind: 'assign';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly node: NodeId;
      readonly why: string;
    }
  | {
      readonly kind: 'migrate';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly target: NodeId;
      readonly why: string;
    }
  | {
      readonly kind: 'recover';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly lost: NodeId;
      readonly why: string;
    }
  /** Its owner was lost before it took the shard up, so nothing ran there: straight to another node. */
  | {
      readonly kind: 'redirect';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly lost: NodeId;
      readonly node: NodeId;
      readonly why: string;
    }
  /** Takes back a move whose target is lost before the owner has answered. `request` = its actionId. */
  | {
      readonly kind: 'cancel';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly request: string;
      readonly why: string;
    }
  /** Stop a lower-priority shard and queue it again, so that another one can have its place. */
  | {
      readonly kind: 'preempt';
      readonly id: string;
      readonly shardId: ShardId;
      readonly revision: number;
      readonly by: ShardId;
      readonly why: string;
    }
  /** Not executed on the fabric: shown by `ps` and `sherd events`. */
  | {
      readonly kind: 'explain';
      readonly id: string;
      readonly shardId: ShardId;
      readonly why: string;
    };

/** One line of `sherd events`: the workflow made visible. `step` is the seed's workflow step 1–7. */
export interface TraceEvent {
  readonly seq: number;
  readonly atMs: number;
  readonly step: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  readonly what: string;
  readonly shardId: ShardId | null;
  readonly nodeId: NodeId | null;
  readonly detail: string;
}
