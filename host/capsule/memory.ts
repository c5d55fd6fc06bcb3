/**
 * The memory section: which 4 KiB pages differ from the base image, and their bytes.
 *
 * Does: scan, write, check and restore. Does not: know where the base comes from; compress.
 *
 *     ┌──────────┬───────────┬─────────────────────┬───────────────────────────────────────┐
 *     │ runs u32 │ 4096 u32  │ run, run, …         │ bytes of all data runs, in order      │
 *     └──────────┴───────────┴─────────────────────┴───────────────────────────────────────┘
 *     run = first page u32 · kind (2 bits) and page count (30 bits) u32
 *     kind 0: data (4096 bytes a page follow) · 1: zero (the base is not zero there) · 2, 3: later versions
 *
 *     page of memory   in base      state
 *     not in a run     zero/absent  zero
 *     not in a run     some bytes   those bytes
 *     in a data run    any          the bytes stored
 *     in a zero run    some bytes   zero
 *
 * M1  Runs ascend, do not overlap, and two that touch differ in kind: one list for one set of pages.
 * M2  A page is in a run exactly when it differs from the base, so capsules of equal states are equal.
 * M3  The payload's size is 4096 × the data pages of the runs; a run ends within the memory that the header declares.
 */
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import type { BaseImage, MemoryState } from '../types/state.js';
import { ByteReader } from './bytes.js';

export const PAGE_BYTES = 4096;
export const WASM_PAGE_BYTES = 65_536;
/** 4 KiB pages in a Wasm page. */
export const PAGES_PER_WASM_PAGE = WASM_PAGE_BYTES / PAGE_BYTES;
export const MAX_WASM_PAGES = 65_536;

const HEADER_BYTES = 8;
const RUN_BYTES = 8;
const KIND_SHIFT = 30;
const COUNT_MASK = 2 ** KIND_SHIFT - 1;
const ZEROS = new Uint8Array(WASM_PAGE_BYTES);

export type RunKind = 'data' | 'zero';
const KINDS: readonly RunKind[] = ['data', 'zero'];

export interface MemoryRun {
  readonly kind: RunKind;
  /** In 4 KiB pages. */
  readonly first: number;
  readonly count: number;
}

export interface MemoryPlan {
  readonly runs: readonly MemoryRun[];
  readonly dataPages: number;
  readonly zeroPages: number;
  /** Size of the section. */
  readonly bytes: number;
}

/** Base pages by Wasm page, so that untouched 64 KiB are compared in one call. Built once a base image. */
type BaseIndex = readonly (readonly (Uint8Array | undefined)[] | undefined)[];
const indexes = new WeakMap<BaseImage, BaseIndex>();

function indexOf(base: BaseImage): BaseIndex {
  const known = indexes.get(base);
  if (known !== undefined) return known;
  const index: (Uint8Array | undefined)[][] = new Array(base.pages);
  for (const [page, bytes] of base.nonZero) {
    invariant(bytes.length === PAGE_BYTES, 'a base page has 4096 bytes');
    const wasmPage = Math.floor(page / PAGES_PER_WASM_PAGE);
    invariant(page >= 0 && wasmPage < base.pages, 'a base page lies within the base');
    const pages = index[wasmPage] ?? new Array(PAGES_PER_WASM_PAGE);
    pages[page % PAGES_PER_WASM_PAGE] = bytes;
    index[wasmPage] = pages;
  }
  indexes.set(base, index);
  return index;
}

/** Collects pages into maximal runs. */
class RunList {
  readonly runs: MemoryRun[] = [];
  readonly pages = { data: 0, zero: 0 };
  #kind: RunKind = 'data';
  #first = 0;
  #count = 0;

  add(kind: RunKind, page: number): void {
    this.pages[kind]++;
    if (this.#count > 0 && this.#kind === kind && this.#first + this.#count === page) {
      this.#count++;
      return;
    }
    this.close();
    this.#kind = kind;
    this.#first = page;
    this.#count = 1;
  }

  close(): void {
    if (this.#count > 0)
      this.runs.push({ kind: this.#kind, first: this.#first, count: this.#count });
    this.#count = 0;
  }
}

/** Finds the pages that differ from the base. One pass; 64 KiB a compare where the base is zero. */
export function scanMemory(memory: MemoryState, base: BaseImage, platform: Platform): MemoryPlan {
  const { bytes, pages } = memory;
  invariant(bytes.length === pages * WASM_PAGE_BYTES, 'memory bytes match its pages');
  invariant(base.pages <= pages, 'memory is not smaller than its base');
  const index = indexOf(base);
  const list = new RunList();
  for (let wasmPage = 0; wasmPage < pages; wasmPage++) {
    const offset = wasmPage * WASM_PAGE_BYTES;
    const basePages = index[wasmPage];
    if (basePages === undefined && platform.equal(bytes, offset, ZEROS, 0, WASM_PAGE_BYTES))
      continue;
    scanWasmPage(bytes, wasmPage, basePages, list, platform);
  }
  list.close();
  const { data, zero } = list.pages;
  const sectionBytes = HEADER_BYTES + list.runs.length * RUN_BYTES + data * PAGE_BYTES;
  return { runs: list.runs, dataPages: data, zeroPages: zero, bytes: sectionBytes };
}

function scanWasmPage(
  bytes: Uint8Array,
  wasmPage: number,
  basePages: readonly (Uint8Array | undefined)[] | undefined,
  list: RunList,
  platform: Platform,
): void {
  for (let i = 0; i < PAGES_PER_WASM_PAGE; i++) {
    const offset = wasmPage * WASM_PAGE_BYTES + i * PAGE_BYTES;
    const before = basePages?.[i];
    if (before !== undefined && platform.equal(bytes, offset, before, 0, PAGE_BYTES)) continue;
    const isZero = platform.equal(bytes, offset, ZEROS, 0, PAGE_BYTES);
    if (isZero && before === undefined) continue;
    list.add(isZero ? 'zero' : 'data', wasmPage * PAGES_PER_WASM_PAGE + i);
  }
}

/** Writes the section: exactly `plan.bytes` bytes. */
export function writeMemory(target: Uint8Array, memory: MemoryState, plan: MemoryPlan): void {
  invariant(target.length === plan.bytes, 'the memory section has its planned size');
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  view.setUint32(0, plan.runs.length, true);
  view.setUint32(4, PAGE_BYTES, true);
  let entry = HEADER_BYTES;
  let payload = HEADER_BYTES + plan.runs.length * RUN_BYTES;
  for (const { kind, first, count } of plan.runs) {
    view.setUint32(entry, first, true);
    view.setUint32(entry + 4, KINDS.indexOf(kind) * 2 ** KIND_SHIFT + count, true);
    entry += RUN_BYTES;
    if (kind !== 'data') continue;
    const from = first * PAGE_BYTES;
    target.set(memory.bytes.subarray(from, from + count * PAGE_BYTES), payload);
    payload += count * PAGE_BYTES;
  }
  invariant(payload === target.length, 'the memory section is full');
}

/** Runs of a section, checked against the declared memory size (M1, M3), and the payload. */
export interface StoredMemory extends MemoryPlan {
  readonly payload: Uint8Array;
}

export function readMemory(
  section: Uint8Array,
  pages: number,
  fail: (reason: string) => Error,
): StoredMemory {
  const reader = new ByteReader(section, fail);
  const count = reader.u32();
  if (reader.u32() !== PAGE_BYTES) throw fail('unknown page size');
  if (count > reader.left / RUN_BYTES) throw fail(`${count} runs in ${section.length} bytes`);
  const limit = pages * PAGES_PER_WASM_PAGE;
  const runs: MemoryRun[] = [];
  const total = { data: 0, zero: 0 };
  let end = 0;
  for (let i = 0; i < count; i++) {
    const run = readRun(reader, fail);
    const touching = i > 0 && run.first === end && run.kind === runs[i - 1]?.kind;
    if (run.count === 0 || run.first < end || touching) throw fail(`run ${i} is out of order`);
    end = run.first + run.count;
    if (end > limit) throw fail(`run ${i} ends at page ${end} of ${limit}`);
    total[run.kind] += run.count;
    runs.push(run);
  }
  if (reader.left !== total.data * PAGE_BYTES) {
    throw fail(`${reader.left} payload bytes for ${total.data} pages`);
  }
  const payload = reader.take(reader.left);
  return { runs, dataPages: total.data, zeroPages: total.zero, bytes: section.length, payload };
}

function readRun(reader: ByteReader, fail: (reason: string) => Error): MemoryRun {
  const first = reader.u32();
  const word = reader.u32();
  const kind = KINDS[Math.floor(word / 2 ** KIND_SHIFT)];
  if (kind === undefined) throw fail('unknown kind of run');
  return { kind, first, count: word & COUNT_MASK };
}

/** Writes base and runs into `target`, which holds all zeros or the base image already. */
export function restoreMemory(
  target: Uint8Array,
  holds: 'zeros' | 'base',
  stored: StoredMemory,
  base: BaseImage,
): void {
  if (holds === 'zeros') {
    for (const [page, bytes] of base.nonZero) target.set(bytes, page * PAGE_BYTES);
  }
  let from = 0;
  for (const { kind, first, count } of stored.runs) {
    const start = first * PAGE_BYTES;
    if (kind === 'zero') {
      target.fill(0, start, start + count * PAGE_BYTES);
      continue;
    }
    target.set(stored.payload.subarray(from, from + count * PAGE_BYTES), start);
    from += count * PAGE_BYTES;
  }
}
