/**
 * Finds what differs between a memory and its base, and writes it back: the two ways round, with core.wasm.
 *
 * Does: decide which parts are compared where they lie, which are copied into core.wasm, which are dead. Does not: know
 * the format of a capsule.
 *
 * A block is a Wasm page, 64 KiB. Where the platform compares at memory speed (Node: memcmp), a block is compared as a
 * whole first; most are equal, and nothing is copied for them. In one that differs
 *
 *     narrow   its 4 KiB pages are compared, and stretches of those that differ go into core.wasm
 *     whole    the block goes into core.wasm as it is. Chosen when the block before had many stretches: where changes are
 *              scattered, comparing ahead is work for nothing
 *
 * Else (a browser) every block goes into core.wasm.
 *
 * N1  The result does not depend on the way: the same table and payload for the same memory, base and dead ranges.
 * N2  A dead range counts as zeros, to the byte. The memory itself is never written.
 * N3  Nothing is allocated in proportion to the memory, but the table.
 */
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import type { MemoryBase } from '../types/state.js';
import { type Core, coreOf, PACKED_BYTES, type Scanned } from './core.js';
import { BLOCK_BYTES, DATA, type Difference, eachRun, UNIT_BYTES } from './difference.js';

const PAGE_BYTES = 4096;
const BLOCK_PAGES = BLOCK_BYTES / PAGE_BYTES;
const PAGE_UNITS = PAGE_BYTES / UNIT_BYTES;
const ZEROS = new Uint8Array(BLOCK_BYTES);
/** So many stretches in a block, and the next one is not narrowed. */
const SCATTERED = 4;
/** Fewer runs a block than this are written back one by one; more go through core.wasm (benchmarks/scan). */
const MANY_RUNS = 48;

/** Bytes that need not be kept. */
export interface DeadRange {
  readonly first: number;
  readonly end: number;
}

/** Pages of a block of a sparse base; undefined ones are zero. */
type SparseBlock = readonly (Uint8Array | undefined)[];
type BaseIndex = readonly (SparseBlock | undefined)[];
const indexes = new WeakMap<object, BaseIndex>();

/** Built once a base image. */
function indexOf(base: Extract<MemoryBase, { readonly nonZero: unknown }>): BaseIndex {
  const known = indexes.get(base);
  if (known !== undefined) return known;
  const index: (Uint8Array | undefined)[][] = new Array(base.pages);
  for (const [page, bytes] of base.nonZero) {
    invariant(bytes.length === PAGE_BYTES, 'a base page has 4096 bytes');
    const block = Math.floor(page / BLOCK_PAGES);
    invariant(page >= 0 && block < base.pages, 'a base page lies within the base');
    index[block] ??= new Array(BLOCK_PAGES);
    index[block][page % BLOCK_PAGES] = bytes;
  }
  indexes.set(base, index);
  return index;
}

export interface ScanInput {
  /** Whole blocks. */
  readonly memory: Uint8Array;
  /** Not larger than the memory. */
  readonly base: MemoryBase;
  /** Ascending, apart from one another. */
  readonly dead?: readonly DeadRange[];
  /** Most pages are known to differ: comparing ahead is work for nothing. */
  readonly scattered?: boolean;
}

/** The difference's table, and as much of its payload as was packed. `copyPayload` gives all of it. */
export function scan(input: ScanInput, platform: Platform): Scanned {
  return new Scan(input, platform).run();
}

class Scan {
  readonly #memory: Uint8Array;
  readonly #base: MemoryBase;
  readonly #dead: readonly DeadRange[];
  readonly #index: BaseIndex | undefined;
  readonly #platform: Platform;
  readonly #core: Core;
  #nextDead = 0;
  #whole: boolean;

  constructor({ memory, base, dead = [], scattered = false }: ScanInput, platform: Platform) {
    invariant(memory.length % BLOCK_BYTES === 0, 'memory has whole pages');
    invariant(base.pages * BLOCK_BYTES <= memory.length, 'memory is not smaller than its base');
    checkDead(dead, memory.length);
    this.#memory = memory;
    this.#base = base;
    this.#dead = dead;
    this.#index = 'nonZero' in base ? indexOf(base) : undefined;
    this.#platform = platform;
    this.#core = coreOf(platform);
    this.#whole = scattered || !platform.comparesFast;
  }

  run(): Scanned {
    this.#core.beginScan();
    const blocks = this.#memory.length / BLOCK_BYTES;
    for (let block = 0; block < blocks; block++) {
      if (this.#isDead(block)) this.#scanWhole(block);
      else if (this.#index === undefined) this.#scanDense(block);
      else this.#scanSparse(block, this.#index[block]);
    }
    return this.#core.endScan();
  }

  #scanDense(block: number): void {
    const at = block * BLOCK_BYTES;
    if (block >= this.#base.pages) return this.#scanSparse(block, undefined);
    if (this.#whole) return this.#scanWhole(block);
    if (this.#platform.equal(this.#memory, at, this.#denseBytes(), at, BLOCK_BYTES)) return;
    this.#narrow(block);
  }

  #scanSparse(block: number, pages: SparseBlock | undefined): void {
    const at = block * BLOCK_BYTES;
    if (this.#whole) return this.#scanWhole(block);
    if (pages === undefined && this.#platform.equal(this.#memory, at, ZEROS, 0, BLOCK_BYTES))
      return;
    this.#narrow(block);
  }

  /** Compares pages; stretches of different ones go into the core. */
  #narrow(block: number): void {
    const start = block * BLOCK_PAGES;
    let first = -1;
    let stretches = 0;
    for (let i = 0; i < BLOCK_PAGES; i++) {
      if (!this.#isSamePage(start + i)) {
        if (first < 0) stretches++;
        if (first < 0) first = i;
      } else if (first >= 0) {
        this.#scanPages(start + first, i - first);
        first = -1;
      }
    }
    if (first >= 0) this.#scanPages(start + first, BLOCK_PAGES - first);
    this.#whole = stretches >= SCATTERED;
  }

  #isSamePage(page: number): boolean {
    const at = page * PAGE_BYTES;
    const base = this.#basePage(page);
    if (base === undefined) return this.#platform.equal(this.#memory, at, ZEROS, 0, PAGE_BYTES);
    return this.#platform.equal(this.#memory, at, base, this.#isDense ? at : 0, PAGE_BYTES);
  }

  /** A block as it is, dead ranges as zeros. */
  #scanWhole(block: number): void {
    const before = this.#core.runs;
    this.#scanPages(block * BLOCK_PAGES, BLOCK_PAGES);
    if (this.#platform.comparesFast) this.#whole = this.#core.runs - before >= SCATTERED;
  }

  #scanPages(page: number, count: number): void {
    const at = page * PAGE_BYTES;
    const copy = this.#core.putNow(this.#memory, at, count * PAGE_BYTES);
    eachDead(this.#dead, this.#nextDead, at, copy.length, (from, to) => {
      copy.fill(0, from - at, to - at);
    });
    this.#core.scan(page * PAGE_UNITS, count * PAGE_UNITS, this.#putBase(page, count));
  }

  /** False when the base is zero there. */
  #putBase(page: number, count: number): boolean {
    const at = page * PAGE_BYTES;
    if (at >= this.#base.pages * BLOCK_BYTES) return false;
    if (this.#isDense) {
      this.#core.putBase(this.#denseBytes(), at, count * PAGE_BYTES, 0);
      return true;
    }
    if (this.#index?.[Math.floor(page / BLOCK_PAGES)] === undefined) return false;
    for (let i = 0; i < count; i++)
      this.#core.putBase(this.#basePage(page + i), 0, PAGE_BYTES, i * PAGE_BYTES);
    return true;
  }

  get #isDense(): boolean {
    return this.#index === undefined;
  }

  #denseBytes(): Uint8Array {
    invariant('bytes' in this.#base, 'a base without an index is dense');
    return this.#base.bytes;
  }

  /** Undefined: zero. Of a dense base the whole, of a sparse one the page. */
  #basePage(page: number): Uint8Array | undefined {
    if (this.#index !== undefined)
      return this.#index[Math.floor(page / BLOCK_PAGES)]?.[page % BLOCK_PAGES];
    return page * PAGE_BYTES < this.#base.pages * BLOCK_BYTES ? this.#denseBytes() : undefined;
  }

  /** A dead range touches the block. */
  #isDead(block: number): boolean {
    const at = block * BLOCK_BYTES;
    while ((this.#dead[this.#nextDead]?.end ?? Number.POSITIVE_INFINITY) <= at) this.#nextDead++;
    return (this.#dead[this.#nextDead]?.first ?? Number.POSITIVE_INFINITY) < at + BLOCK_BYTES;
  }
}

function checkDead(dead: readonly DeadRange[], memoryBytes: number): void {
  let end = 0;
  for (const range of dead) {
    invariant(range.first >= end && range.end >= range.first, 'dead ranges ascend');
    end = range.end;
  }
  invariant(end <= memoryBytes, 'dead ranges lie within the memory');
}

/** Intersections of dead ranges, from number `next` on, with `bytes` bytes at `at`. */
function eachDead(
  dead: readonly DeadRange[],
  next: number,
  at: number,
  bytes: number,
  visit: (from: number, to: number) => void,
): void {
  for (let i = next; i < dead.length; i++) {
    const { first, end } = dead[i]!;
    if (first >= at + bytes) return;
    const from = Math.max(first, at);
    const to = Math.min(end, at + bytes);
    if (from < to) visit(from, to);
  }
}

/** Writes the whole payload of a scan that was just made of this input. */
export function copyPayload(target: Uint8Array, input: ScanInput, scanned: Scanned): void {
  const { packed, table, dataUnits } = scanned;
  invariant(target.length === dataUnits * UNIT_BYTES, 'the payload has its size');
  target.set(packed);
  if (packed.length === target.length) return;
  invariant(packed.length === PACKED_BYTES, 'as much was packed as could be');
  const { memory, dead = [] } = input;
  let to = 0;
  let next = 0;
  eachRun(table, (kind, first, count) => {
    if (kind !== DATA) return;
    const skipped = Math.min(Math.max(packed.length - to, 0), count * UNIT_BYTES);
    const at = first * UNIT_BYTES + skipped;
    const bytes = count * UNIT_BYTES - skipped;
    to += skipped;
    target.set(memory.subarray(at, at + bytes), to);
    const here = to;
    while ((dead[next]?.end ?? Number.POSITIVE_INFINITY) <= at) next++;
    eachDead(dead, next, at, bytes, (from, end) => {
      target.fill(0, here + from - at, here + end - at);
    });
    to += bytes;
  });
}

/** Writes a difference into a memory that holds its base. The table must have been checked against its size. */
export function applyDifference(
  difference: Pick<Difference, 'runs' | 'blocks' | 'table' | 'payload'>,
  target: Uint8Array,
  platform: Platform,
): void {
  const { runs, blocks, payload, table } = difference;
  if (runs >= blocks * MANY_RUNS && payload.length <= PACKED_BYTES - table.length) {
    coreOf(platform).apply(difference, target);
    return;
  }
  let from = 0;
  eachRun(table, (kind, first, count) => {
    const at = first * UNIT_BYTES;
    const bytes = count * UNIT_BYTES;
    if (kind !== DATA) {
      target.fill(0, at, at + bytes);
      return;
    }
    target.set(payload.subarray(from, from + bytes), at);
    from += bytes;
  });
}
