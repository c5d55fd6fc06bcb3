/**
 * The boundary between a running instance and the host functions that it imports (WASI, guest SDK).
 *
 * Does: define who calls what. The instance owns the Wasm side, a `GuestHost` owns files, output, random, clock.
 * Does not: implement (runtime/instance, runtime/wasi, runtime/sdk).
 *
 * H1  A host function never blocks: it returns, or it calls `control.suspend(wait)` and returns any dummy value.
 *     The instance then unwinds; the call is re-invoked with the same raw arguments when the wait is over, with
 *     `control.resumed` set to the wait that was given. A suspended call has had no visible effect.
 * H2  `control.memory()` is fetched anew after anything that may grow the memory; a view is never kept.
 * H3  `snapshot()` is canonical plain data; `restore(snapshot())` behaves identically from then on.
 * H4  No host function throws for bad guest pointers: it returns the errno (WASI EFAULT), the SDK traps cleanly
 *     through `control.trap`.
 */
import type { Hash } from './hash.js';
import type { Plain, Wait } from './state.js';

export interface HostControl {
  /** The guest's memory, whole. Empty when the module has none. */
  memory(): Uint8Array;
  /** Stop in this call until the wait is over. Return any value afterwards; it is discarded. */
  suspend(wait: Wait): void;
  /** End the shard with this code. The guest does not continue after the current call. */
  exit(code: number): void;
  /** End the shard with a trap of this kind (message is shown to the user). */
  trap(trapKind: string, message: string): void;
  /** The wait with which this very call was suspended before, else undefined. */
  readonly resumed: Wait | undefined;
}

/** Host functions by module name, then by field. Raw Wasm values in, raw Wasm value (or nothing) out. */
export type HostFunctions = ReadonlyMap<string, ReadonlyMap<string, HostFunction>>;
export type HostFunction = (...args: (number | bigint)[]) => number | bigint | void;

/** A piece of output, in the order in which the guest wrote it. */
export interface OutputPiece {
  readonly stream: 'stdout' | 'stderr' | 'artifact';
  readonly bytes: Uint8Array;
}

/** The host side of one shard. */
export interface GuestHost {
  /** The functions it offers, bound to a control. Called once per instance. */
  functions(control: HostControl): HostFunctions;
  snapshot(): Plain;
  /** Output written since the last call of `drainOutput`, in order. Not part of `snapshot` (the node commits it with the capsule). */
  drainOutput(): OutputPiece[];
  /**
   * Blobs (file chunks written by the guest) that `snapshot` names and that were not there at the start or at
   * the last `markDurable`. They must be stored before the capsule that names them.
   */
  newBlobs(): ReadonlyMap<Hash, Uint8Array>;
  markDurable(hashes: Iterable<Hash>): void;
  /** Every blob hash that `snapshot` names (inputs included), sorted: what a bundle carries, what GC must keep. */
  references(): Hash[];
  /** Paused time is left out of the guest's clocks: called when the shard stops and when it goes on. */
  suspendClock(): void;
  resumeClock(): void;
  /** Guest monotonic time now, ns: to decide whether an `until` wait is over. */
  guestMonotonicNs(): bigint;
  /** Final tree of each preopened directory, for write-back and artifacts. */
  trees(): readonly DirectoryTree[];
}

/** Blobs that are at hand synchronously. Undefined = not here: the call suspends with `{kind: 'blob', hash}`. */
export interface BlobCache {
  get(hash: Hash): Uint8Array | undefined;
}

/** What a shard starts from; stored as a blob (canonical msgpack of `ShardSpec`), named by the record. */
export interface ShardSpec {
  readonly v: 1;
  readonly programName: string;
  readonly moduleHash: Hash;
  /** Export to call; default `_start`, else the only exported function without parameters. */
  readonly entry: string;
  /** Raw arguments of the entry (empty for `_start`). */
  readonly entryArgs: Uint8Array;
  /** argv, [0] is the program name. */
  readonly args: readonly string[];
  /** `K=V` */
  readonly env: readonly string[];
  /** Standard input, chunked; empty list = empty input. */
  readonly stdin: readonly ChunkRef[];
  readonly dirs: readonly DirectoryTree[];
  /** Seed of the guest's random generator, 32 hex digits. */
  readonly seed: string;
  /** Limits; 0 = none. */
  readonly maxMemoryPages: number;
  readonly maxFuel: bigint;
  readonly maxTimeMs: number;
  readonly priority: number;
  /** Capsules hold zeros where the memory is known to be dead (capsule/dead.ts). Absent: they hold all of it. */
  readonly dropDead?: true;
}

/** A piece of file content: a blob and its length. All but the last chunk of a file are CHUNK_BYTES long. */
export interface ChunkRef {
  readonly hash: Hash;
  readonly bytes: number;
}

/** Size of file chunks in bytes (the last of a file may be shorter). */
export const CHUNK_BYTES = 262_144;

/** A directory given to the guest: a tree of content-addressed files. */
export interface DirectoryTree {
  /** Path under which the guest sees it (its preopen name). */
  readonly guestPath: string;
  readonly readOnly: boolean;
  readonly root: DirectoryNode;
}

export type TreeNode = DirectoryNode | FileNode | SymlinkNode;
export interface DirectoryNode {
  readonly kind: 'dir';
  readonly mtimeNs: bigint;
  /** Sorted by name (UTF-8 byte order). */
  readonly entries: readonly (readonly [name: string, node: TreeNode])[];
}
export interface FileNode {
  readonly kind: 'file';
  readonly mtimeNs: bigint;
  readonly bytes: number;
  readonly chunks: readonly ChunkRef[];
  readonly executable: boolean;
}
export interface SymlinkNode {
  readonly kind: 'symlink';
  readonly mtimeNs: bigint;
  readonly target: string;
}
