/**
 * The binary interface of WASI preview 1: numbers, struct layouts, and checked access to guest memory.
 *
 * Does: read and write guest memory with bounds checks. Does not: know what the values mean.
 *
 *   iovec 8     | ptr u32 | len u32 |
 *   fdstat 24   | filetype u8 | - | flags u16 | - 4 | rights u64 | inheriting u64 |
 *   filestat 64 | dev u64 | ino u64 | filetype u8 | - 7 | nlink u64 | size u64 | atim u64 | mtim u64 | ctim u64 |
 *   dirent 24   | next u64 | ino u64 | namlen u32 | type u8 | - 3 |
 *   prestat 8   | tag u8 = 0 | - 3 | name_len u32 |
 *   sub 48      | userdata u64 | tag u8 | - 7 | clock: id u32, - 4, timeout u64, precision u64, flags u16 / fd u32 |
 *   event 32    | userdata u64 | errno u16 | type u8 | - 5 | nbytes u64 | flags u16 | - 6 |
 *
 * A1  Every access is checked against the memory as it is now; out of bounds = EFAULT, never a JS exception.
 * A2  Pointers are taken as unsigned 32-bit numbers, whatever sign the engine gave them.
 */
import { check, fail } from './errno.js';

export const FILETYPE = { unknown: 0, directory: 3, regular: 4, symlink: 7 } as const;
export const OFLAGS = { creat: 1, directory: 2, excl: 4, trunc: 8 } as const;
export const FDFLAGS = { append: 1, dsync: 2, nonblock: 4, rsync: 8, sync: 16 } as const;
export const FSTFLAGS = { atim: 1, atimNow: 2, mtim: 4, mtimNow: 8 } as const;
export const LOOKUP_FOLLOW = 1;
export const CLOCK = { realtime: 0, monotonic: 1, processCpu: 2, threadCpu: 3 } as const;
export const EVENT = { clock: 0, fdRead: 1, fdWrite: 2 } as const;

export const RIGHTS = {
  fdDatasync: 1n << 0n,
  fdRead: 1n << 1n,
  fdSeek: 1n << 2n,
  fdFdstatSetFlags: 1n << 3n,
  fdSync: 1n << 4n,
  fdTell: 1n << 5n,
  fdWrite: 1n << 6n,
  fdAdvise: 1n << 7n,
  fdAllocate: 1n << 8n,
  pathCreateDirectory: 1n << 9n,
  pathCreateFile: 1n << 10n,
  pathLinkSource: 1n << 11n,
  pathLinkTarget: 1n << 12n,
  pathOpen: 1n << 13n,
  fdReaddir: 1n << 14n,
  pathReadlink: 1n << 15n,
  pathRenameSource: 1n << 16n,
  pathRenameTarget: 1n << 17n,
  pathFilestatGet: 1n << 18n,
  pathFilestatSetSize: 1n << 19n,
  pathFilestatSetTimes: 1n << 20n,
  fdFilestatGet: 1n << 21n,
  fdFilestatSetSize: 1n << 22n,
  fdFilestatSetTimes: 1n << 23n,
  pathSymlink: 1n << 24n,
  pathRemoveDirectory: 1n << 25n,
  pathUnlinkFile: 1n << 26n,
  pollFdReadwrite: 1n << 27n,
} as const;

const R = RIGHTS;
/** What can be done with a regular file. */
export const FILE_RIGHTS =
  R.fdDatasync |
  R.fdRead |
  R.fdSeek |
  R.fdFdstatSetFlags |
  R.fdSync |
  R.fdTell |
  R.fdWrite |
  R.fdAdvise |
  R.fdAllocate |
  R.fdFilestatGet |
  R.fdFilestatSetSize |
  R.fdFilestatSetTimes |
  R.pollFdReadwrite;
/** What can be done with a directory. */
export const DIR_RIGHTS =
  R.fdFdstatSetFlags |
  R.fdSync |
  R.fdDatasync |
  R.fdAdvise |
  R.pathCreateDirectory |
  R.pathCreateFile |
  R.pathLinkSource |
  R.pathLinkTarget |
  R.pathOpen |
  R.fdReaddir |
  R.pathReadlink |
  R.pathRenameSource |
  R.pathRenameTarget |
  R.pathFilestatGet |
  R.pathFilestatSetSize |
  R.pathFilestatSetTimes |
  R.fdFilestatGet |
  R.fdFilestatSetTimes |
  R.pathSymlink |
  R.pathRemoveDirectory |
  R.pathUnlinkFile |
  R.pollFdReadwrite;
export const ALL_RIGHTS = FILE_RIGHTS | DIR_RIGHTS;
/** Streams have no seek and no tell. */
export const STDIN_RIGHTS =
  R.fdRead | R.fdFdstatSetFlags | R.fdFilestatGet | R.pollFdReadwrite | R.fdAdvise;
export const STDOUT_RIGHTS =
  R.fdWrite | R.fdFdstatSetFlags | R.fdFilestatGet | R.pollFdReadwrite | R.fdSync | R.fdDatasync;

const U64 = 0xffff_ffff_ffff_ffffn;
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

/** Encodes a string as UTF-8. */
export function encodeUtf8(text: string): Uint8Array {
  return utf8.encode(text);
}

/** A piece of guest memory that a scatter or gather list names. */
export interface Span {
  readonly pointer: number;
  readonly length: number;
}

/** Guest memory during a call. It cannot grow within one; `shows` tells whether it has since the last. */
export class GuestMemory {
  readonly #view: DataView;
  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** True when this is a view of the same memory, and all of it. A grown memory has another buffer. */
  shows(bytes: Uint8Array): boolean {
    const mine = this.bytes;
    if (mine === bytes) return bytes.length > 0;
    const same = mine.buffer === bytes.buffer && mine.byteOffset === bytes.byteOffset;
    return same && mine.length === bytes.length && bytes.length > 0;
  }

  /** Checks that `length` bytes at `pointer` exist. */
  demand(pointer: number, length: number): void {
    check(pointer + length <= this.bytes.length, 'fault');
  }

  u8(pointer: number): number {
    this.demand(pointer, 1);
    return this.#view.getUint8(pointer);
  }

  u16(pointer: number): number {
    this.demand(pointer, 2);
    return this.#view.getUint16(pointer, true);
  }

  u32(pointer: number): number {
    this.demand(pointer, 4);
    return this.#view.getUint32(pointer, true);
  }

  u64(pointer: number): bigint {
    this.demand(pointer, 8);
    return this.#view.getBigUint64(pointer, true);
  }

  setU8(pointer: number, value: number): void {
    this.demand(pointer, 1);
    this.#view.setUint8(pointer, value);
  }

  setU16(pointer: number, value: number): void {
    this.demand(pointer, 2);
    this.#view.setUint16(pointer, value, true);
  }

  setU32(pointer: number, value: number): void {
    this.demand(pointer, 4);
    this.#view.setUint32(pointer, value, true);
  }

  setU64(pointer: number, value: bigint): void {
    this.demand(pointer, 8);
    this.#view.setBigUint64(pointer, value & U64, true);
  }

  /** A view of guest memory; valid within this call only. */
  slice(pointer: number, length: number): Uint8Array {
    this.demand(pointer, length);
    return this.bytes.subarray(pointer, pointer + length);
  }

  /** A string; EILSEQ when it is not UTF-8. */
  text(pointer: number, length: number): string {
    const bytes = this.slice(pointer, length);
    try {
      return utf8Strict.decode(bytes);
    } catch {
      return fail('ilseq');
    }
  }

  /** A scatter/gather list, every span checked. Empty spans are left out. */
  spans(pointer: number, count: number): Span[] {
    this.demand(pointer, count * 8);
    const spans: Span[] = [];
    let total = 0;
    for (let index = 0; index < count; index++) {
      const start = this.u32(pointer + index * 8);
      const length = this.u32(pointer + index * 8 + 4);
      this.demand(start, length);
      total += length;
      check(total <= 0xffff_ffff, 'inval');
      if (length > 0) spans.push({ pointer: start, length });
    }
    return spans;
  }
}

/** Sum of the lengths of spans. */
export function spansBytes(spans: readonly Span[]): number {
  return spans.reduce((sum, span) => sum + span.length, 0);
}
