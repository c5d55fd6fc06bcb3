/**
 * The records in the fabric. One record a shard: it is the only fence (DESIGN §8).
 *
 * R1  Assign, commit, hand over and recover are each one compare-and-set on the shard's record.
 * R2  `epoch` grows with every change of owner. A node commits only while the record still has its epoch and owner.
 * R3  Everything that a record names (spec, capsule, output head) is durable before the record names it.
 * R4  `writer` and `attempt` identify the last write, so that an unknown outcome is settled by reading.
 */
import type { Hash } from './hash.js';

/** Tokens of `[A-Za-z0-9_-]`, e.g. `s-3f9k2a`. */
export type ShardId = string;
export type NodeId = string;

export type ShardStatus =
  | 'queued' // runnable, no owner
  | 'assigned' // has an owner, which has not taken it up yet
  | 'running' // the owner has it (running, runnable or waiting in a host call)
  | 'paused' // stopped on request, or set aside because it cannot go on (`fault`); no owner
  | 'done'; // ended; `exit` says how

export type ExitReason =
  | 'exit' // the program ended by itself
  | 'trap'
  | 'memory-limit'
  | 'fuel-quota'
  | 'time-quota'
  | 'killed'
  | 'failed'; // sherd failed

export interface ShardExit {
  readonly reason: ExitReason;
  /** Exit code that `sherd run` gives: the program's own, or one of EXIT. */
  readonly code: number;
  readonly message: string;
  readonly guestStack: readonly string[];
  /** Raw results of the entry, when it has any. */
  readonly results: Uint8Array;
}

/** A request to the owner; answered by a change of the record that clears it. */
export type Wanted =
  | {
      readonly op: 'pause';
      readonly actionId: string /** stop exactly there, else as soon as possible */;
      readonly atFuel: bigint | null;
    }
  | { readonly op: 'move'; readonly actionId: string; readonly target: NodeId }
  | { readonly op: 'kill'; readonly actionId: string }
  /** Stop, store, and queue again: another shard gets the place. */
  | { readonly op: 'preempt'; readonly actionId: string };

export interface OutputHead {
  /** Hash of the newest output chunk blob; null = nothing yet. A chunk names its predecessor. */
  readonly head: Hash | null;
  readonly chunks: number;
  /** Bytes of all streams up to and including the head. */
  readonly bytes: number;
}

export interface ShardRecord {
  readonly v: 1;
  readonly id: ShardId;
  readonly name: string;
  readonly spec: Hash;
  readonly moduleHash: Hash;
  readonly priority: number;
  readonly status: ShardStatus;
  readonly epoch: number;
  readonly owner: NodeId | null;
  readonly wanted: Wanted | null;
  /** Newest durable capsule; null = start from the spec. */
  readonly capsule: Hash | null;
  readonly capsuleBytes: number;
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  readonly output: OutputHead;
  readonly exit: ShardExit | null;
  /** Final directory trees (blob: canonical msgpack of DirectoryTree[]), once done or paused; null before. */
  readonly artifacts: Hash | null;
  readonly moves: number;
  readonly restarts: number;
  readonly children: readonly ShardId[];
  /** Why it is not running, for `ps`; empty while it runs. */
  readonly reason: string;
  /** What keeps a paused shard from going on although nobody asked for the pause (a lost capsule …). Absent: nothing. */
  readonly fault?: string;
  /** Wall clock of the submitter, ms; for display only. */
  readonly createdMs: number;
  /** Wall clock of whoever ended it, ms; for display and retention. Absent: not done, or a record of before this was kept. */
  readonly endedMs?: number;
  /** Guest running time so far, ms (pauses left out); for the time quota. */
  readonly ranMs: number;
  readonly writer: string;
  readonly attempt: number;
}

/** A node's lease and newest measurement, rewritten every beat. */
export interface NodeRecord {
  readonly v: 1;
  readonly id: NodeId;
  readonly pid: number;
  readonly host: string;
  readonly workers: number;
  readonly beat: number;
  readonly draining: boolean;
  /** Node.js and V8 version, for `ps --nodes`. */
  readonly engine: string;
  readonly memoryBytes: number;
  /** What it shares with other nodes; absent: it is alone there, with a core for each worker. */
  readonly machine?: Machine;
  readonly sample: NodeSampleValues;
  readonly writer: string;
  readonly attempt: number;
}

/** The cores and the memory that nodes with the same `id` share. */
export interface Machine {
  readonly id: string;
  /** Those that its nodes may use; `cpu` of their samples is a share of these. */
  readonly cores: number;
}

export interface NodeSampleValues {
  /** Busy share of the machine, 0..1. */
  readonly cpu: number;
  /** Cores' worth of time that guests of this node had, 0..workers. */
  readonly guestCpu: number;
  /** Cores' worth of time that this node had, its guests and its own work; absent: as its guests. */
  readonly ownCores?: number;
  readonly memoryUsedBytes: number;
  readonly eventLoopDelayMs: number;
  /** Cores' worth of guest work if every shard had a core to itself; shards that wait count for little. */
  readonly runnable: number;
  /** Shares of time, 0..1, in which somebody waited for a core, for memory, for I/O; absent: the kernel does not say. */
  readonly cpuPressure?: number;
  readonly memoryPressure?: number;
  readonly ioPressure?: number;
  /** Bytes a second that came and went over the network, loopback left out; absent: not known. */
  readonly networkBytesPerS?: number;
  /** Threads of the machine that run or could, at this instant; absent: not known. */
  readonly runQueue?: number;
}

/** Who runs the brain. */
export interface ControlRecord {
  readonly v: 1;
  readonly holder: string;
  readonly beat: number;
  readonly pid: number;
  readonly apiUrl: string;
  readonly writer: string;
  readonly attempt: number;
}

/** How often nodes failed; written by whoever runs the brain, read by nodes for their checkpoint interval. */
export interface FailureRecord {
  readonly v: 1;
  /** Deaths of nodes; older ones weigh less. */
  readonly failures: number;
  /** Time during which nodes were watched, summed over the nodes; older time weighs less. */
  readonly nodeTimeMs: number;
  /** The nodes that died last: they are not counted again. */
  readonly counted: readonly NodeId[];
  readonly writer: string;
  readonly attempt: number;
}

/** Where what the oracle has learned lies; written by whoever runs the brain. */
export interface OracleRecord {
  readonly v: 1;
  readonly blob: Hash;
  /** Size of the blob. */
  readonly bytes: number;
  readonly writer: string;
  readonly attempt: number;
}

export const KEY = {
  shard: (id: ShardId): string => `shard.${id}`,
  node: (id: NodeId): string => `node.${id}`,
  control: 'control',
  failures: 'failures',
  oracle: 'oracle',
  shards: 'shard',
  nodes: 'node',
} as const;

/** One link of a shard's output chain; stored as a blob (canonical msgpack). */
export interface OutputChunk {
  readonly v: 1;
  readonly previous: Hash | null;
  /** Byte offset (all streams) of the chunk's first byte. */
  readonly offset: number;
  readonly pieces: readonly {
    readonly stream: 'stdout' | 'stderr' | 'artifact';
    readonly bytes: Uint8Array;
  }[];
}
