/**
 * The control process's HTTP API: the shapes that go over the wire (JSON, NDJSON), and nothing else.
 *
 * Does: name every request and answer. Does not: send or serve them (`control/client`, `control/server`).
 *
 *     POST   /v1/blobs/:hash            body = bytes                          → { bytes }
 *     GET    /v1/blobs/:hash                                                  → bytes            (HEAD: is it there?)
 *     POST   /v1/shards                 SubmitRequest                         → SubmitReply
 *     POST   /v1/shards/import          ImportRequest                         → SubmitReply
 *     GET    /v1/shards                                                       → { shards: ShardView[] }
 *     GET    /v1/shards/:id                                                   → ShardView
 *     DELETE /v1/shards/:id             ?force=1                              → {}
 *     GET    /v1/shards/:id/output      ?from=N&follow=1                      → NDJSON OutputLine
 *     GET    /v1/shards/:id/watch                                             → NDJSON WatchLine
 *     POST   /v1/shards/:id/pause       PauseRequest                          → ShardView (the request is written)
 *     POST   /v1/shards/:id/resume      {}                                    → ShardView
 *     POST   /v1/shards/:id/kill        KillRequest                           → ShardView
 *     POST   /v1/shards/:id/move        MoveRequest                           → ShardView
 *     POST   /v1/shards/:id/fork        ForkRequest                           → ForkReply
 *     GET    /v1/shards/:id/moves                                             → { moves: MoveEntry[] }
 *     GET    /v1/shards/:id/capsule                                           → bytes of the newest capsule blob
 *     GET    /v1/shards/:id/inspect     ?timeoutMs=N                          → InspectReply
 *     GET    /v1/nodes                                                        → { nodes: NodeView[] }
 *     POST   /v1/nodes/:id/drain        {}                                    → NodeView
 *     GET    /v1/events                 ?follow=1&from=SEQ&trace=ID           → NDJSON EventLine
 *     GET    /v1/status                                                       → StatusReply
 *     GET    /v1/oracle/score                                                 → OracleScoreReply
 *     POST   /v1/gc                     GcRequest                             → GcReply
 *     GET    /v1/du                                                           → DuReply
 *     POST   /v1/shutdown               {}                                    → { paused: number }
 *
 * A1  Every request carries `Authorization: Bearer <token>`; without it the answer is 401 and says nothing else.
 * A2  A 64-bit number travels as a decimal string, bytes as base64. No other encodings.
 * A3  Every failure is an ErrorReply with a SherdError's code; the HTTP status only mirrors it.
 * A4  A stream that stays open sends `{"kind":"beat"}` lines while nothing happens, so that a dead peer is noticed.
 * A5  Streams can be taken up again: output by byte offset, events by sequence number, watch by its first line.
 * A6  An id is letters, digits, `_` and `-`: what is none is nobody's id, and becomes no part of a path.
 */
import type { TraceEvent } from './brain.js';
import { type ErrorCode, SherdError } from './errors.js';
import type { Hash } from './hash.js';
import type {
  ExitReason,
  NodeId,
  NodeRecord,
  OutputHead,
  ShardId,
  ShardStatus,
} from './records.js';

/** Content of `DIR/control.json` (mode 0600). */
export interface ControlInfo {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
}

export const CONTROL_FILE = 'control.json';

/** The refusal of an id that no shard has. */
export function noShard(id: ShardId): SherdError {
  return new SherdError('SHERD_NO_SHARD', `no shard ${id === '' ? 'without an id' : id}`, {
    ...(id === '' ? {} : { at: id }),
    next: 'list them with: sherd ps',
  });
}

/** A6. */
export function isId(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,200}$/.test(text);
}

export interface ErrorReply {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly at: string | null;
    readonly next: string | null;
    readonly exitCode: number;
  };
}

/** Spec, module and input blobs have been put before. */
export interface SubmitRequest {
  readonly name: string;
  readonly spec: Hash;
  readonly moduleHash: Hash;
  readonly priority: number;
  /** The record is created with this pause wanted (decimal), so that no node can run past it first. Absent = none. */
  readonly pauseAtFuel?: string;
}

export interface SubmitReply {
  readonly id: ShardId;
}

/** Carries on from a capsule that has been put as a blob (with everything it references). */
export interface ImportRequest extends SubmitRequest {
  readonly capsule: Hash;
  readonly capsuleBytes: number;
  readonly fuelUsed: string;
  readonly memoryBytes: number;
  /** Guest running time so far, ms. */
  readonly ranMs?: number;
  /** True: it stays paused until it is resumed. */
  readonly paused?: boolean;
}

export interface PauseRequest {
  /** Stop exactly there (decimal); absent = as soon as possible. */
  readonly atFuel?: string;
}

export interface KillRequest {
  /** Do not wait for the shard's answer: the worker thread that holds it is ended. */
  readonly force?: boolean;
}

export interface MoveRequest {
  /** Absent: any other node that the scheduler picks. */
  readonly target?: NodeId;
}

/** Copies that one request makes at most. */
export const FORK_COPIES_MAX = 10_000;

export interface ForkRequest {
  readonly copies: number;
  /** Of the copies in reports; absent: the shard's own. */
  readonly name?: string;
  /** The copies stay paused until they are resumed. */
  readonly paused?: boolean;
  /** How long the shard may take to stop. */
  readonly timeoutMs?: number;
}

export interface ForkReply {
  readonly shard: ShardId;
  /** Where the shard was, and the copies begin. */
  readonly fuelUsed: string;
  readonly copies: readonly ShardId[];
  /** Why there are not as many as were asked for, or why the shard did not go on. */
  readonly error: ErrorReply['error'] | null;
}

export interface ExitView {
  readonly reason: ExitReason;
  readonly code: number;
  readonly message: string;
  readonly guestStack: readonly string[];
  /** Raw results of the entry, base64. */
  readonly results: string;
}

export type WantedView =
  | { readonly op: 'pause'; readonly atFuel: string | null }
  | { readonly op: 'move'; readonly target: NodeId }
  | { readonly op: 'kill' }
  | { readonly op: 'preempt' };

/** What the owner said last about a shard that it has (a hint: absent for a shard that nobody runs). */
export interface ProgressView {
  readonly nodeId: NodeId;
  readonly fuelUsed: string;
  readonly fuelPerSecond: number;
  readonly memoryBytes: number;
  readonly capsuleBytes: number;
  /** Function of the last safepoint, or of the host call it waits in; null = not known. */
  readonly safepoint: string | null;
  /** What the shard was doing then. */
  readonly activity: ShardActivity;
  /** What goes wrong there (a full disk …) while its node tries again; empty = nothing. */
  readonly trouble: string;
  /** How long ago that was. */
  readonly ageMs: number;
}

export type ShardActivity =
  | 'loading'
  | 'running'
  | 'runnable'
  | 'sleeping'
  | 'fetching'
  | 'stopping';

/** A shard's record as JSON, with the newest progress. */
export interface ShardView {
  readonly id: ShardId;
  readonly name: string;
  readonly spec: Hash;
  readonly moduleHash: Hash;
  readonly priority: number;
  readonly status: ShardStatus;
  readonly epoch: number;
  readonly owner: NodeId | null;
  readonly wanted: WantedView | null;
  readonly capsule: Hash | null;
  readonly capsuleBytes: number;
  /** As of the last commit; `progress.fuelUsed` is fresher. */
  readonly fuelUsed: string;
  readonly memoryBytes: number;
  readonly output: OutputHead;
  readonly exit: ExitView | null;
  readonly artifacts: Hash | null;
  readonly moves: number;
  readonly restarts: number;
  readonly children: readonly ShardId[];
  /** Why it does not run; empty while it runs. */
  readonly reason: string;
  /** It is paused because it cannot go on: what is wrong. Absent: nothing is, or it does not know yet. */
  readonly fault?: string;
  readonly createdMs: number;
  readonly endedMs?: number;
  readonly ranMs: number;
  readonly revision: number;
  readonly progress: ProgressView | null;
}

/** One line of `GET …/output`. `end` closes the stream: the shard is done, or (without follow) nothing more is there. */
export type OutputLine =
  | {
      readonly kind: 'piece';
      readonly stream: 'stdout' | 'stderr' | 'artifact';
      /** Offset of the piece's first byte in the shard's whole output (all streams). */
      readonly offset: number;
      readonly base64: string;
    }
  | { readonly kind: 'beat' }
  | { readonly kind: 'end'; readonly offset: number; readonly status: ShardStatus };

/** One line of `GET …/watch`. `gone` (removed) and a view with status `done` close the stream. */
export type WatchLine =
  | { readonly kind: 'shard'; readonly shard: ShardView }
  | { readonly kind: 'beat' }
  | { readonly kind: 'gone' };

/** The last line of a stream that can never be given whole. */
export interface ErrorLine extends ErrorReply {
  readonly kind: 'error';
}

/** One line of `GET /v1/events`. */
export type EventLine =
  /** The first line: whose numbers these are. A new control has a new trace, numbered from 1 again. */
  | { readonly kind: 'trace'; readonly id: string }
  | { readonly kind: 'event'; readonly event: TraceEvent }
  /** Events were dropped from the ring before they could be sent; `from` is the first that is left. */
  | { readonly kind: 'lost'; readonly from: number }
  /** All that there is, when nothing is followed. */
  | { readonly kind: 'end' }
  | { readonly kind: 'beat' };

/**
 * One move. Times of the source's stop and the target's start are of one machine's monotonic clock; null = a part's
 * hint got lost (moves are shown from hints, never decided from them).
 */
export interface MoveEntry {
  readonly shardId: ShardId;
  readonly epoch: number;
  readonly source: NodeId;
  readonly target: NodeId;
  readonly atMs: number;
  readonly fuelUsed: string;
  readonly capsuleBytes: number;
  readonly memoryBytes: number;
  /** Request seen by the source's main thread → guest stopped. */
  readonly pauseUs: number | null;
  /** Capture + encode. */
  readonly encodeUs: number | null;
  readonly storeUs: number | null;
  /** Compare-and-set of the record. */
  readonly handoverUs: number | null;
  /** Target: capsule read → guest runs. */
  readonly restoreUs: number | null;
  /** Guest stopped at the source → guest runs at the target. */
  readonly downMs: number | null;
  /** When the guest stood still: CLOCK_MONOTONIC of the source's machine, as a decimal number. For measurements only. */
  readonly stoppedNs: string;
}

/** What a pause took: the first half of a move. */
export type PauseEntry = Omit<MoveEntry, 'target' | 'restoreUs' | 'downMs'>;

export interface NodeView {
  readonly node: NodeRecord;
  readonly shards: readonly ShardId[];
  /** Time since its lease's revision was last seen to change. */
  readonly silentMs: number;
  readonly alive: boolean;
}

/** `live`: the owner answered. `capsule`: the last capsule's report. `silent`: the owner did not answer in time. */
export type InspectReply =
  | {
      readonly source: 'live';
      readonly nodeId: NodeId;
      readonly fuelUsed: string;
      readonly fuelPerSecond: number;
      readonly memoryBytes: number;
      readonly activity: ShardActivity;
      readonly guestStack: readonly string[];
      /** How long it has run in all, ms; absent: its node is of an earlier version. */
      readonly ranMs?: number;
    }
  | {
      readonly source: 'capsule';
      readonly capsule: Hash;
      readonly report: unknown;
      /** Why it does not run; empty when that is not known. */
      readonly why: string;
    }
  | { readonly source: 'silent'; readonly nodeId: NodeId; readonly waitedMs: number }
  | { readonly source: 'none'; readonly why: string };

export interface StatusReply {
  readonly version: string;
  readonly pid: number;
  readonly holder: string;
  readonly directory: string;
  readonly startedMs: number;
  readonly nodes: number;
  readonly shards: Readonly<Record<ShardStatus, number>>;
}

/** How good the oracle's forecasters of node demand have been, by window and kind of series. */
export interface OracleScoreReply {
  readonly scores: readonly {
    readonly windowMs: number;
    readonly kind: 'cpu' | 'memory' | 'network';
    readonly series: number;
    /** Steps judged since the score began, or began anew. */
    readonly steps: number;
    /** Whose forecasts are used. */
    readonly answers: string;
    /** Mean pinball losses of P50, P90, P99 of each forecaster, in shares of the capacity; null: nothing judged. */
    readonly loss: Readonly<Record<string, readonly [number, number, number] | null>>;
    readonly drifts: number;
    /** After a drift bands are wider by this factor; 1 = as ever. */
    readonly wide: number;
  }[];
}

export interface GcRequest {
  /** Blobs younger than this are spared. Default: the fabric's grace time. */
  readonly graceMs?: number;
}

/** Something that a shard's record reaches and that is missing or damaged: what it names itself is not known. */
export interface UnreadBlob {
  readonly id: ShardId;
  readonly what: 'spec' | 'capsule' | 'files' | 'output';
  readonly hash: Hash;
}

export interface GcReply {
  readonly blobs: number;
  readonly bytes: number;
  readonly keptBlobs: number;
  /** Whatever these may name was kept, too. */
  readonly unread: readonly UnreadBlob[];
  /** Finished shards that retention removed. */
  readonly shards: number;
  /** Packs of small blobs that could not be made smaller: the disk has no room for the copies. Absent = none. */
  readonly untidiedPacks?: number;
}

export interface DuReply {
  readonly blobs: number;
  readonly bytes: number;
  readonly reachableBlobs: number;
  readonly reachableBytes: number;
  readonly shards: readonly {
    readonly id: ShardId;
    readonly name: string;
    readonly bytes: number;
  }[];
}
