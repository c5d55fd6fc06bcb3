/**
 * The words between a shard's life on a node (`node-life.ts`, pure) and the process that lives it (host/node).
 *
 * Does: name every event that comes in and every action that goes out. Does not: decide (node-life) or act (node).
 *
 *   host/node                              NodeLife (one a shard and process)
 *   ─────────                              ────────
 *   watch of shard.*   ── record, gone ──▶
 *   clock              ── tick ──────────▶   every event carries nowMs (monotonic, of this process)
 *   worker             ── progress … ────▶   tagged with the runId of the start/resume that made the instance
 *   async work         ── loaded … ──────▶   tagged with the opId of the action that began it
 *                      ◀── actions ───────   carried out in the order given, none is waited for
 *
 * L1  The executor answers each `load`, `capture`, `store`, `cas` and `read` at most once, with its opId. Late, repeated
 *     or foreign answers are harmless: the machine ignores ids it does not wait for.
 * L2  `drop` ends everything the executor does for the shard: instance, loads, kept captures. Nothing is answered after.
 * L3  The executor keeps what a capture or an end produced (bytes, drained output, new blobs, trees) under its opId/runId
 *     until a later `capture`, `drop` or `forget`; the machine only handles facts about it.
 * L4  The executor calls `handle({kind: 'tick'})` no later than about `life.wakeAtMs` (null = no need).
 * L5  A NodeId is unique to one process start. A restarted process gets another id.
 */
import type { Seen } from '../types/brain.js';
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardExit, ShardId, ShardRecord } from '../types/records.js';

/** How far a guest has come. */
export interface RunFacts {
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  /** Guest running time in this run (since its `start` or `resume`), ms, pauses left out. */
  readonly ranMs: number;
}

/** What a `capture` gave. */
export interface CaptureFacts extends RunFacts {
  readonly capsule: Hash;
  readonly capsuleBytes: number;
  /** Output drained into this capture, bytes of all streams. 0 = no chunk is needed. */
  readonly outputBytes: number;
  /** Time the shard stood still for it, ms. */
  readonly costMs: number;
}

export interface SpecLimits {
  /** 0 = none. */
  readonly maxFuel: bigint;
  /** 0 = none. */
  readonly maxTimeMs: number;
}

/**
 * What helps after a failure: `retry` = trying again may; `mend` = somebody has to put something right first (a damaged capsule, a
 * blob that is nowhere); `none` = nothing: the program itself is refused.
 */
export type Remedy = 'retry' | 'mend' | 'none';

export type CasAnswer =
  | { readonly kind: 'ok'; readonly revision: number }
  | { readonly kind: 'conflict'; readonly current: Seen<ShardRecord> | null }
  | { readonly kind: 'unknown' };

export type ReadAnswer =
  | { readonly kind: 'found'; readonly seen: Seen<ShardRecord> }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed' };

/** `wallMs`: the wall clock, which goes into the record when the shard ends; never decided from. */
export type LifeEvent = { readonly nowMs: number; readonly wallMs?: number } & (
  | { readonly kind: 'tick' }
  /** The record as seen by watch or read: may be old, repeated, or one of our own writes. */
  | { readonly kind: 'record'; readonly seen: Seen<ShardRecord> }
  /** The record was removed at this revision. */
  | { readonly kind: 'gone'; readonly revision: number }
  | { readonly kind: 'loaded'; readonly opId: string; readonly limits: SpecLimits }
  | {
      readonly kind: 'load-failed';
      readonly opId: string;
      readonly message: string;
      readonly remedy: Remedy;
    }
  /** Sent about every 50 ms while output waits, else every 200 ms; also when the guest starts to wait. */
  | {
      readonly kind: 'progress';
      readonly runId: string;
      readonly run: RunFacts;
      /** Output that no capture holds yet. */
      readonly outputBytes: number;
    }
  /** The guest stands exactly at (or, when asked too late, after) the fuel value of `start`/`resume`/`set-stop`. */
  | { readonly kind: 'reached'; readonly runId: string; readonly run: RunFacts }
  | { readonly kind: 'captured'; readonly opId: string; readonly facts: CaptureFacts }
  /** e.g. a host frame in between: try again later. `permanent`: this shard can never be captured. */
  | {
      readonly kind: 'capture-failed';
      readonly opId: string;
      readonly message: string;
      readonly permanent: boolean;
    }
  /** The guest is over (by itself or by `end`). A capture that was asked for and not given is answered by this instead. */
  | {
      readonly kind: 'ended';
      readonly runId: string;
      readonly exit: ShardExit;
      readonly run: RunFacts;
      /** Output drained since the last capture. */
      readonly outputBytes: number;
    }
  /** The worker or instance was lost without a result. The shard goes on from its last commit. */
  | {
      readonly kind: 'crashed';
      readonly runId: string;
      readonly message: string;
      readonly remedy: Exclude<Remedy, 'none'>;
    }
  | {
      readonly kind: 'stored';
      readonly opId: string;
      /** Null when there was no output. */
      readonly chunk: { readonly hash: Hash; readonly bytes: number } | null;
      readonly artifacts: Hash | null;
      readonly costMs: number;
    }
  /** `lost`: what it needs of a copy is not in the store any more: it can never be committed. */
  | {
      readonly kind: 'store-failed';
      readonly opId: string;
      readonly message: string;
      readonly lost?: boolean;
    }
  /** The copy begins with all of the memory: there was none that could go on. */
  | { readonly kind: 'staged-anew'; readonly opId: string }
  /** The copy is good enough (`ready`), or is given up. `costMs`: what it has taken from the guest's time. */
  | {
      readonly kind: 'staged';
      readonly opId: string;
      readonly ready: boolean;
      readonly costMs: number;
    }
  | { readonly kind: 'cas'; readonly opId: string; readonly answer: CasAnswer }
  /** Answer to `read`. `absent` = the store said that there is no such record (it may be old news). */
  | { readonly kind: 'read'; readonly opId: string; readonly answer: ReadAnswer }
  /** The node goes down in good order: give the shard back (queued) as soon as it is stored. */
  | { readonly kind: 'stop' }
);

export type LifeAction =
  /** Fetch spec, module, capsule and all they need; do not run anything. → loaded | load-failed */
  | {
      readonly kind: 'load';
      readonly opId: string;
      readonly spec: Hash;
      readonly moduleHash: Hash;
      readonly capsule: Hash | null;
    }
  /** Make the instance from the loaded spec and run it; stop at this fuel value (`reached`). → progress, reached, ended, crashed */
  | { readonly kind: 'start'; readonly runId: string; readonly stopAtFuel: bigint | null }
  /** The same from the loaded capsule. */
  | {
      readonly kind: 'resume';
      readonly runId: string;
      readonly capsule: Hash;
      readonly stopAtFuel: bigint | null;
    }
  /** Changes where a running guest stops. Already past it: stop as soon as possible and say `reached`. */
  | { readonly kind: 'set-stop'; readonly runId: string; readonly stopAtFuel: bigint | null }
  /** Let a guest run on that stands (held by a capture, or `reached`). */
  | { readonly kind: 'go-on'; readonly runId: string; readonly stopAtFuel: bigint | null }
  /**
   * Copy the guest's memory towards the target while it runs (pre-copy), until what is left is small. → staged. It goes on, and
   * may be used, until `unstage`, `drop`, or the run is over. Without a target it is for checkpoints: one that has completed a
   * checkpoint is kept, and the next `stage` goes on with it.
   */
  | {
      readonly kind: 'stage';
      readonly opId: string;
      readonly runId: string;
      readonly target: NodeId | null;
      readonly epoch: number;
    }
  /** What was staged is not wanted any more. */
  | { readonly kind: 'unstage'; readonly opId: string }
  /**
   * Stop at the next safepoint, drain the output, encode. `hold`: stay stopped until `go-on`, `end` or `drop`; else be as
   * before at once (running, or standing at its stop). Works on a guest that stands already. `staged`: only what this staging
   * has not copied yet. → captured | capture-failed | ended
   */
  | {
      readonly kind: 'capture';
      readonly opId: string;
      readonly runId: string;
      readonly hold: boolean;
      readonly epoch: number;
      readonly staged: string | null;
    }
  /** End the guest at its next safepoint with this exit (quota). → ended with that exit (or its own, if it was faster) */
  | { readonly kind: 'end'; readonly runId: string; readonly exit: ShardExit }
  /**
   * Make durable what a capture or the end holds, in this order: new blobs, output chunk (its predecessor and offset are
   * given), trees when asked for, capsule. `of` = the capture's opId or the ended run's runId. May be repeated. → stored | store-failed
   */
  | {
      readonly kind: 'store';
      readonly opId: string;
      readonly of: string;
      readonly previous: Hash | null;
      readonly offset: number;
      readonly artifacts: boolean;
    }
  /** Records.compareAndSet of `shard.<id>`. → cas. An exception is `unknown`. */
  | {
      readonly kind: 'cas';
      readonly opId: string;
      readonly expected: number;
      readonly record: ShardRecord;
    }
  /** Records.get of `shard.<id>`. → read */
  | { readonly kind: 'read'; readonly opId: string }
  /** What this capture holds is committed: release it (and `markDurable` its blobs). */
  | { readonly kind: 'forget'; readonly of: string }
  /** Publish `node.<node>` {look, shardId}. */
  | { readonly kind: 'hint'; readonly node: NodeId; readonly shardId: ShardId }
  /**
   * See L2. `force`: when the guest does not stop at once, terminate its worker (other shards there get `crashed`).
   * `why` is for logs.
   */
  | {
      readonly kind: 'drop';
      readonly shardId: ShardId;
      readonly why: string;
      readonly force: boolean;
    };

export interface LifePolicy {
  /** Checkpoint interval, ms. */
  readonly checkpointMs: number;
  /** Waiting output is gathered this long before it forces a commit, ms. */
  readonly outputDelayMs: number;
  /** Share of time that commits may cost, 0..1. */
  readonly budgetShare: number;
  /** First and longest pause between tries, ms. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
  /** Load tries before the shard is set aside. */
  readonly loadTries: number;
  /** Crashes without a commit in between before the shard is given up. */
  readonly crashTries: number;
  /** A memory of so many bytes is staged before its shard moves, and for its checkpoints. */
  readonly stageFromBytes: number;
  /** Longest time that a copy may delay a move or a checkpoint, ms. */
  readonly stageMaxMs: number;
}

export const DEFAULT_LIFE_POLICY: LifePolicy = {
  checkpointMs: 2_000,
  outputDelayMs: 30,
  budgetShare: 0.1,
  retryMs: 20,
  retryMaxMs: 2_000,
  loadTries: 10,
  crashTries: 3,
  stageFromBytes: 64 * 1024 * 1024,
  stageMaxMs: 60_000,
};

export type LifePhase =
  | 'none' // not ours
  | 'loading' // assigned to us: blobs on the way
  | 'taking' // loaded: the record is being set to running
  | 'running' // the guest runs, nothing in flight
  | 'pausing' // a capture was asked for
  | 'storing' // blobs on the way to the store
  | 'committing' // a compare-and-set is in flight or being settled
  | 'ending'; // the guest is over, its end is not yet in the record

export interface LifeOptions {
  readonly nodeId: NodeId;
  readonly shardId: ShardId;
  /** Unique to this process: written into records. */
  readonly writer: string;
  readonly policy?: Partial<LifePolicy>;
}
