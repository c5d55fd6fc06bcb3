/**
 * What a node's main thread and its worker threads say to one another.
 *
 *     main                                  worker
 *      │  prepare ──────────────────────────▶ compile, keep
 *      │  load ─────────────────────────────▶ instantiate or restore, do not run ── loaded | load-failed ──▶
 *      │  run ──────────────────────────────▶ ── running ──▶ quanta …
 *      │ ◀──────────── progress, output, need-blob, reached
 *      │  capture(hold: false) ─────────────▶ capture, encode ── captured ──▶ goes on running
 *      │  capture(hold: true) ──────────────▶ capture, encode ── captured ──▶ stays stopped until run, end or drop
 *      │  end ──────────────────────────────▶ ── ended ──▶ (the run is gone then)
 *      │ ◀──────────── ended                  by itself
 *      │  copy ─────────────────────────────▶ between two quanta: ── copied ──▶ (batches, rounds) … until captured or end-copy
 *      │  arrive … load ────────────────────▶ memory first, then the shard (a staged move's target)
 *
 * W1  A `run` number names one take-up of a shard by this node; it is never used twice in a process. Reports of a run
 *     that the main thread has dropped are ignored, so is a command for a run that the worker does not have.
 * W2  Per run the reports come in the order in which things happened; output is handed over exactly once, in
 *     `captured` or `ended`, as the pieces written since the last of these.
 * W3  Bytes are transferred, not copied, where the sender does not use them any more.
 */
import type { ShardActivity } from '../types/api.js';
import type { ErrorCode } from '../types/errors.js';
import type { Hash } from '../types/hash.js';
import type { OutputPiece } from '../types/host.js';
import type { ShardExit, ShardId } from '../types/records.js';

export type Run = number;

/** Everything that a worker has to know of a shard that it takes up. The module has been prepared before. */
export interface TakeUp {
  readonly run: Run;
  readonly shardId: ShardId;
  readonly moduleHash: Hash;
  readonly specHash: Hash;
  readonly spec: Uint8Array;
  /** Null: start from the spec. */
  readonly capsule: Uint8Array | null;
  /** The store has compared its hash. */
  readonly capsuleVerified: boolean;
  /** What the capsule's base still needs; null: its base is the module's own image. */
  readonly staged: StagedRest | null;
  readonly priority: number;
}

/** A staged image (capsule/staged-image.ts), and the copy that made it. */
export interface StagedName {
  readonly id: string;
  readonly image: Hash;
  /** Size of the image, in 64 KiB pages. */
  readonly pages: number;
  /** What it consists of, in order. */
  readonly batches: readonly Hash[];
}

/** A capsule's staged image, and the batches of it that the thread does not have yet. */
export interface StagedRest {
  readonly image: Hash;
  readonly pages: number;
  readonly batches: readonly Hash[];
  readonly missing: readonly Batch[];
}

/** The batch with this number in the order. */
export interface Batch {
  readonly index: number;
  readonly hash: Hash;
  readonly bytes: Uint8Array;
}

export type WorkerCommand =
  | { readonly kind: 'prepare'; readonly moduleHash: Hash; readonly bytes: Uint8Array }
  | { readonly kind: 'spare'; readonly moduleHash: Hash; readonly memoryBytes: number }
  | { readonly kind: 'load'; readonly takeUp: TakeUp }
  /** The next batch of a memory whose shard will come: an instance of its module is filled with it. */
  | {
      readonly kind: 'arrive';
      readonly shardId: ShardId;
      readonly moduleHash: Hash;
      readonly batch: Batch;
    }
  /** What has arrived of this shard is not waited for any more. */
  | { readonly kind: 'forget-arrival'; readonly shardId: ShardId }
  /** Start, resume or go on; stop exactly at `stopAtFuel` (null = never). */
  | { readonly kind: 'run'; readonly run: Run; readonly stopAtFuel: bigint | null }
  | { readonly kind: 'set-stop'; readonly run: Run; readonly stopAtFuel: bigint | null }
  | {
      readonly kind: 'capture';
      readonly run: Run;
      readonly id: string;
      readonly hold: boolean;
      readonly epoch: number;
      /** Only what this copy has not sent yet. Null: all. */
      readonly staged: StagedName | null;
    }
  /** Copies the guest's memory in batches (copying.ts) → copied, copy-failed. `shadow`: zeros; `buffers`: for the batches. */
  | {
      readonly kind: 'copy';
      readonly run: Run;
      readonly id: string;
      readonly shadow: ArrayBuffer;
      readonly buffers: readonly ArrayBuffer[];
    }
  | {
      readonly kind: 'next-round';
      readonly run: Run;
      readonly id: string;
      /** Not null: the guest stands still from now on, and what this round sends, in batches of so many bytes, is the last of it. */
      readonly lastBatchBytes: number | null;
    }
  /** The buffer of a batch that is stored. */
  | { readonly kind: 'sent'; readonly run: Run; readonly id: string; readonly buffer: ArrayBuffer }
  | { readonly kind: 'end-copy'; readonly run: Run }
  | { readonly kind: 'end'; readonly run: Run; readonly exit: ShardExit }
  | { readonly kind: 'drop'; readonly run: Run }
  /** Hands the waiting output over without a capture: for a shard whose output nobody has to commit. */
  | { readonly kind: 'take-output'; readonly run: Run }
  /** Null: it is in no store. */
  | { readonly kind: 'blob'; readonly hash: Hash; readonly bytes: Uint8Array | null }
  | { readonly kind: 'durable'; readonly run: Run; readonly hashes: readonly Hash[] }
  /** The buffer of a capsule that this thread encoded, stored by now: for the next one. */
  | { readonly kind: 'recycle'; readonly run: Run; readonly buffer: ArrayBuffer }
  | { readonly kind: 'inspect'; readonly run: Run; readonly askId: string }
  | { readonly kind: 'close' };

export interface WorkerError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly at: string | null;
  readonly next: string | null;
}

/** How far a guest has come. */
export interface RunState {
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  /** Guest running time in this run, ms: the time that it was not held. */
  readonly ranMs: number;
}

/** What a capture or an end leaves to be stored. */
export interface Harvest {
  readonly output: readonly OutputPiece[];
  readonly blobs: ReadonlyMap<Hash, Uint8Array>;
  /** Encoded directory trees; null for a capture that does not hold. */
  readonly trees: Uint8Array | null;
}

export interface Captured {
  readonly run: Run;
  readonly id: string;
  readonly capsule: Uint8Array;
  readonly capsuleHash: Hash;
  readonly state: RunState;
  readonly harvest: Harvest;
  /** When the guest stood still, CLOCK_MONOTONIC. */
  readonly stoppedNs: bigint;
  /** Capture and encode. */
  readonly encodeUs: number;
}

export interface Copied {
  readonly run: Run;
  readonly id: string;
  /** Slices (capsule/staging.ts). Null: nothing had changed any more. Its buffer comes back with `sent`. */
  readonly batch: Uint8Array | null;
  readonly roundEnded: boolean;
  /** Memory that the batch holds. */
  readonly payloadBytes: number;
  /** Size of the memory, in 64 KiB pages. */
  readonly pages: number;
  /** Time that the round's steps took so far, ns. */
  readonly scanNs: number;
}

export interface RunProgress {
  readonly run: Run;
  readonly state: RunState;
  readonly fuelPerSecond: number;
  readonly outputBytes: number;
  readonly safepoint: string | null;
  readonly activity: ShardActivity;
  /** Share of a core that the run had since the last report, 0..1. */
  readonly share: number;
}

export type WorkerReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'prepared'; readonly moduleHash: Hash; readonly error: WorkerError | null }
  | {
      readonly kind: 'loaded';
      readonly run: Run;
      readonly maxFuel: bigint;
      readonly maxTimeMs: number;
      readonly restoreUs: number;
    }
  | { readonly kind: 'load-failed'; readonly run: Run; readonly error: WorkerError }
  /** A batch of a copy is full, or a round has ended. */
  | ({ readonly kind: 'copied' } & Copied)
  /** The copy is over without a result. */
  | { readonly kind: 'copy-failed'; readonly run: Run; readonly id: string }
  /** The first quantum is about to begin. */
  | { readonly kind: 'running'; readonly run: Run; readonly runningNs: bigint }
  | { readonly kind: 'reached'; readonly run: Run; readonly state: RunState }
  | { readonly kind: 'captured'; readonly captured: Captured }
  | {
      readonly kind: 'capture-failed';
      readonly run: Run;
      readonly id: string;
      readonly error: WorkerError;
    }
  | {
      readonly kind: 'ended';
      readonly run: Run;
      readonly exit: ShardExit;
      readonly state: RunState;
      readonly harvest: Harvest;
    }
  /** The instance broke without a result (engine out of memory, defect of sherd). */
  | { readonly kind: 'crashed'; readonly run: Run; readonly error: WorkerError }
  /** The answer to `drop`: nothing of the run is left. */
  | { readonly kind: 'dropped'; readonly run: Run }
  | { readonly kind: 'progress'; readonly runs: readonly RunProgress[] }
  | { readonly kind: 'need-blob'; readonly run: Run; readonly hash: Hash }
  | { readonly kind: 'output'; readonly run: Run; readonly pieces: readonly OutputPiece[] }
  | {
      readonly kind: 'inspected';
      readonly run: Run;
      readonly askId: string;
      readonly progress: RunProgress;
      readonly guestStack: readonly string[];
    };

/** Handed to a worker thread when it is made. */
export interface WorkerSetup {
  readonly index: number;
  /** One Int32: grows with every message that the main thread has posted. */
  readonly control: SharedArrayBuffer;
  /** The node's doorbell (fabric/doorbell.ts); undefined where there is none. */
  readonly bell: string | undefined;
  /** Target length of a quantum, µs. */
  readonly quantumUs: number;
}
