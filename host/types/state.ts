/**
 * The state of a stopped shard, as plain data: what the runtime captures and the capsule encodes.
 *
 * Does: define the shapes. Does not: encode (capsule) or interpret (runtime) them.
 *
 * S1  Canonical: the same computation at the same safepoint gives the same values in the same order.
 * S2  Raw bytes are little-endian Wasm values; floats are never turned into JS numbers on the way (NaN payloads).
 * S3  Frames are listed outermost first; the last one is the frame that stopped.
 * S4  A slot that is dead at the frame's safepoint is not in the state at all.
 * S5  A funcref is 8 bytes like an i64: its function's index + 1, or 0 for null. An externref is null: 0.
 */
import type { Hash } from './hash.js';

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'funcref' | 'externref';

/** One suspended function activation. */
export interface FrameState {
  /** Function index in the program's own index space (imports first). */
  readonly func: number;
  /** Safepoint number within the function (see ResumeMap). */
  readonly safepoint: number;
  /** Live slots in the resume map's order, 8 bytes each (v128: 16), little-endian, upper bytes of 32-bit values zero. */
  readonly slots: Uint8Array;
}

/** A table that the program can change, as far as it differs from the module's initial one. */
export interface TableState {
  readonly index: number;
  readonly size: number;
  /** Slot, function index + 1 (0 = null), and so on; slots ascending. Beyond the initial size null is the rule. */
  readonly changes: readonly number[];
}

/** Memory of a stopped shard. The codec leaves out what equals the base image. */
export interface MemoryState {
  /** Size in 64 KiB Wasm pages. */
  readonly pages: number;
  /** The limit that memory.grow obeys, in 64 KiB Wasm pages. */
  readonly limitPages: number;
  /** The whole memory, `pages * 65536` bytes. A view: valid only until the shard runs again. */
  readonly bytes: Uint8Array;
}

/** The module's memory right after instantiation: the base of a first capsule. Sparse. */
export interface BaseImage {
  /** Size in 64 KiB Wasm pages. */
  readonly pages: number;
  /** 4 KiB pages that are not all zero, by page number (byte offset / 4096). */
  readonly nonZero: ReadonlyMap<number, Uint8Array>;
}

/** The memory that an earlier capsule stands for: the base of a capsule that holds only what changed since. */
export interface CapsuleImage {
  /** The capsule's name. */
  readonly capsule: Hash;
  /** Names of the capsules that it is based on itself, newest first; empty when it is full. */
  readonly below: readonly Hash[];
  /** Size in 64 KiB Wasm pages. */
  readonly pages: number;
  /** `pages * 65536` bytes. */
  readonly bytes: Uint8Array;
  /** The memory that is compared with it is known to equal it, if it has its size: then nobody looks. */
  readonly unchanged?: boolean;
}

/** What a memory is compared with. */
export type MemoryBase = BaseImage | CapsuleImage;

/** What a suspended host call waits for. */
export type Wait =
  | {
      readonly kind: 'until' /** guest monotonic ns (pauses left out) */;
      readonly monotonicNs: bigint;
    }
  | { readonly kind: 'blob'; readonly hash: Hash }
  | { readonly kind: 'yield' };

/** A host call in which the shard stopped. It is re-invoked with the same arguments when its wait is over. */
export interface PendingCall {
  /** `module.field` of the import. */
  readonly name: string;
  /** Raw arguments (i32 as number, i64 as bigint). */
  readonly args: readonly (number | bigint)[];
  readonly wait: Wait;
}

/** Plain JSON-like data (plus bytes and bigint) that msgpackr can carry canonically. */
export type Plain =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** An export's name (any string, '' too), or null: the module's start function, which has none. */
export type Call = string | null;

/** Everything needed to carry a shard on elsewhere, and nothing else. */
export interface ShardState {
  /** Hash of the program before compilation. */
  readonly programHash: Hash;
  /** Hash of the shard module; continuations are built from that module alone. */
  readonly moduleHash: Hash;
  /** ABI version of the shard module's `sherd` section. */
  readonly abi: number;
  /** Exports still to be called, in order; the first one is the one that is running. `[]` = finished. */
  readonly calls: readonly Call[];
  /** Raw arguments of the running call (8 bytes each, v128: 16), kept only while no frame exists yet. */
  readonly args: Uint8Array;
  /** Safepoint passages so far. */
  readonly fuelUsed: bigint;
  readonly frames: readonly FrameState[];
  /** Result values of the callee, when the top frame waits for them to be delivered (8/16 bytes each). Else empty. */
  readonly results: Uint8Array;
  readonly pending: PendingCall | null;
  /** All mutable globals in index order, 8 bytes each (v128: 16). */
  readonly globals: Uint8Array;
  readonly memory: MemoryState | null;
  /** Indices of passive data segments that the program dropped, ascending. */
  readonly droppedSegments: readonly number[];
  /** Element segments that the program dropped, ascending. Absent: none. */
  readonly droppedElements?: readonly number[];
  /** Tables that differ from the module's initial ones, by index. Absent: none. */
  readonly tables?: readonly TableState[];
  /** A memory.grow was refused by the limit (explains a later failure). */
  readonly growRefused: boolean;
  /** State of the host side (WASI descriptors, files, random, clock); opaque to all but `runtime/host`. */
  readonly host: Plain;
}

/** How a run of an instance ended. */
export type RunResult =
  | { readonly kind: 'quantum'; readonly fuelUsed: bigint } // stopped at a safepoint, runnable
  | { readonly kind: 'waiting'; readonly fuelUsed: bigint; readonly wait: Wait } // stopped in a host call
  | {
      readonly kind: 'done';
      readonly fuelUsed: bigint /** raw results of the last call */;
      readonly results: Uint8Array;
    }
  | { readonly kind: 'exit'; readonly fuelUsed: bigint; readonly code: number }
  | { readonly kind: 'trap'; readonly fuelUsed: bigint; readonly trap: TrapInfo };

export interface TrapInfo {
  /** e.g. `unreachable`, `integer divide by zero`, `out of bounds memory access`, `call stack exhausted`, `memory limit`. */
  readonly trapKind: string;
  readonly message: string;
  /** Guest functions, innermost first, e.g. `intersect (function 12)`. */
  readonly guestStack: readonly string[];
}
