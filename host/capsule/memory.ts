/**
 * The memory section: which 64-byte units differ from the base, and their bytes.
 *
 * Does: write, check and restore. Does not: find what differs (core/scan.ts), know where the base comes from, compress.
 *
 *     ┌──────────┬──────────┬────────────────┬──────────────────┬────────────────────────────────┐
 *     │ runs u32 │ 64 u32   │ table bytes u32│ table of runs    │ bytes of all data runs, in order│
 *     └──────────┴──────────┴────────────────┴──────────────────┴────────────────────────────────┘
 *     run = gap LEB · count << 2 | kind LEB, both in units    gap: units since the end of the run before
 *     kind 0: data (64 bytes a unit follow) · 1: zero (the base is not zero there) · 2, 3: later versions
 *
 *     unit of memory   in base      state
 *     not in a run     zero/absent  zero
 *     not in a run     some bytes   those bytes
 *     in a data run    any          the bytes stored
 *     in a zero run    some bytes   zero
 *
 * Format version 1 had it in 4 KiB pages. It is still read, and never written:
 *
 *     ┌──────────┬──────────┬─────────────────────┬───────────────────────────────────────┐
 *     │ runs u32 │ 4096 u32 │ run, run, …         │ bytes of all data runs, in order      │
 *     └──────────┴──────────┴─────────────────────┴───────────────────────────────────────┘
 *     run = first page u32 · kind (2 bits) and page count (30 bits) u32
 *
 * Why units of 64 bytes: a stack, a heap's free lists and a few objects lie in as many pages, and change some 100 bytes
 * in each. One isolated unit costs 66 bytes; the table has two or three bytes for a run.
 *
 * M1  Runs ascend, do not overlap, and two that touch differ in kind: one table for one set of units.
 * M2  A unit is in a run exactly when it differs from the base, so capsules of equal states and bases are equal.
 * M3  The payload's size is 64 × the units of the data runs; a run ends within the memory that the header declares.
 */

import type { Scanned } from '../core/core.js';
import {
  BLOCK_BYTES,
  checkTable,
  DATA,
  type Difference,
  TableWriter,
  UNIT_BYTES,
  ZERO,
} from '../core/difference.js';
import {
  applyDifference,
  copyPayload,
  type DeadRange,
  type ScanInput,
  scan,
} from '../core/scan.js';
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import type { MemoryBase, MemoryState } from '../types/state.js';
import { ByteReader } from './bytes.js';

/** A page of a base image. */
export const PAGE_BYTES = 4096;
export const WASM_PAGE_BYTES = BLOCK_BYTES;
export const MAX_WASM_PAGES = 65_536;

const HEAD_BYTES = 12;
export const UNITS_PER_PAGE = PAGE_BYTES / UNIT_BYTES;
const V1_RUN_BYTES = 8;
const V1_KIND_SHIFT = 30;
const V1_COUNT_MASK = 2 ** V1_KIND_SHIFT - 1;

const NONE = new Uint8Array(0);
const NOTHING: Scanned = { runs: 0, dataUnits: 0, zeroUnits: 0, table: NONE, packed: NONE };

type Fail = (reason: string) => Error;

export interface MemoryPlan {
  readonly input: ScanInput;
  readonly scanned: Scanned;
  /** Size of the section. */
  readonly bytes: number;
}

/** Finds what differs. To be written before the next memory of this thread is scanned. */
export function planMemory(
  memory: MemoryState,
  base: MemoryBase,
  platform: Platform,
  dead: readonly DeadRange[] = [],
): MemoryPlan {
  invariant(memory.bytes.length === memory.pages * WASM_PAGE_BYTES, 'memory bytes match its pages');
  const input = { memory: memory.bytes, base, dead };
  const same = 'bytes' in base && base.unchanged === true && base.pages === memory.pages;
  const scanned = same && dead.length === 0 ? NOTHING : scan(input, platform);
  const bytes = HEAD_BYTES + scanned.table.length + scanned.dataUnits * UNIT_BYTES;
  return { input, scanned, bytes };
}

/** Writes the section: exactly `plan.bytes` bytes. */
export function writeMemory(target: Uint8Array, { input, scanned, bytes }: MemoryPlan): void {
  invariant(target.length === bytes, 'the memory section has its planned size');
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  view.setUint32(0, scanned.runs, true);
  view.setUint32(4, UNIT_BYTES, true);
  view.setUint32(8, scanned.table.length, true);
  target.set(scanned.table, HEAD_BYTES);
  copyPayload(target.subarray(HEAD_BYTES + scanned.table.length), input, scanned);
}

/** Reads a section of a capsule of this format version, for a memory of so many Wasm pages (M1, M3). */
export function readMemory(
  section: Uint8Array,
  pages: number,
  version: number,
  fail: Fail,
): Difference {
  const reader = new ByteReader(section, fail);
  const runs = reader.u32();
  const granularity = reader.u32();
  if (granularity !== (version === 1 ? PAGE_BYTES : UNIT_BYTES)) throw fail('unknown page size');
  const units = (pages * WASM_PAGE_BYTES) / UNIT_BYTES;
  const table = version === 1 ? readPageRuns(reader, runs, fail) : reader.take(reader.u32());
  const facts = checkTable(table, units, fail);
  if (version !== 1 && facts.runs !== runs) throw fail(`${facts.runs} runs where ${runs} are told`);
  if (reader.left !== facts.dataUnits * UNIT_BYTES) {
    throw fail(`${reader.left} payload bytes for ${facts.dataUnits} units of ${UNIT_BYTES}`);
  }
  return { ...facts, table, payload: reader.take(reader.left) };
}

/** The run list of version 1, as a table. */
function readPageRuns(reader: ByteReader, runs: number, fail: Fail): Uint8Array {
  if (runs > reader.left / V1_RUN_BYTES) throw fail(`${runs} runs in ${reader.left} bytes`);
  const writer = new TableWriter(runs);
  let end = 0;
  let kindBefore = -1;
  for (let i = 0; i < runs; i++) {
    const first = reader.u32();
    const word = reader.u32();
    const kind = Math.floor(word / 2 ** V1_KIND_SHIFT);
    const count = word & V1_COUNT_MASK;
    if (kind !== DATA && kind !== ZERO) throw fail('unknown kind of run');
    const touches = i > 0 && first === end && kind === kindBefore;
    if (count === 0 || first < end || touches) throw fail(`run ${i} is out of order`);
    end = first + count;
    kindBefore = kind;
    if (end > MAX_WASM_PAGES * (WASM_PAGE_BYTES / PAGE_BYTES)) {
      throw fail(`run ${i} ends at page ${end}`);
    }
    writer.add(kind, first * UNITS_PER_PAGE, count * UNITS_PER_PAGE);
  }
  return writer.finish();
}

/** Writes base and runs into `target`, which holds all zeros or the base already. */
export function restoreMemory(
  target: Uint8Array,
  holds: 'zeros' | 'base',
  stored: Difference,
  base: MemoryBase,
  platform: Platform,
): void {
  if (holds === 'zeros') copyBase(target, base);
  applyDifference(stored, target, platform);
}

/** Writes a base into zeros. */
export function copyBase(target: Uint8Array, base: MemoryBase): void {
  if ('bytes' in base) target.set(base.bytes);
  else for (const [page, bytes] of base.nonZero) target.set(bytes, page * PAGE_BYTES);
}
