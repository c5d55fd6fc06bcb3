/**
 * A difference between a memory and its base: which 64-byte units differ, and their bytes.
 *
 *     table    { gap LEB · count << 2 | kind LEB } a run     gap: units since the end of the run before
 *     payload  the 64 bytes of each unit of the data runs, in order
 *     kind     0 data · 1 zero (the base is not zero there) · 2, 3 later versions
 *
 * Does: define it, check a table, walk over its runs. Does not: find, write back or merge (core.wasm does, core.ts).
 *
 * D1  Runs ascend, do not overlap, and two that touch differ in kind: one table for one set of units.
 * D2  Numbers are in their shortest form. So equal differences have equal bytes.
 * D3  Checking allocates nothing; a run of two bytes costs two bytes, whatever it stands for.
 */

export const UNIT_BYTES = 64;
/** A run's count is stored above the two bits of its kind. */
const KIND_BITS = 2;
const KIND_MASK = (1 << KIND_BITS) - 1;
/** A Wasm page. Runs are counted by the pages in which they begin. */
export const BLOCK_BYTES = 65_536;
const BLOCK_UNITS = BLOCK_BYTES / UNIT_BYTES;

export const DATA = 0;
export const ZERO = 1;
export type RunKind = typeof DATA | typeof ZERO;

export interface TableFacts {
  readonly runs: number;
  readonly dataUnits: number;
  readonly zeroUnits: number;
  /** Blocks of 64 KiB in which a run begins. */
  readonly blocks: number;
  /** The unit after the last run. */
  readonly endUnit: number;
}

export interface Difference extends TableFacts {
  readonly table: Uint8Array;
  readonly payload: Uint8Array;
}

/** Reads numbers of a table; a malformed one goes to `fail`. */
class TableReader {
  at = 0;

  constructor(
    readonly table: Uint8Array,
    readonly fail: (reason: string) => Error,
  ) {}

  /** LEB128 in its shortest form, at most 32 bits. */
  number(): number {
    const { table } = this;
    let value = table[this.at++];
    if (value === undefined) throw this.fail('the table of runs is cut short');
    if (value < 0x80) return value;
    value &= 0x7f;
    for (let scale = 0x80; scale < 2 ** 35; scale *= 0x80) {
      const byte = table[this.at++];
      if (byte === undefined) throw this.fail('the table of runs is cut short');
      value += (byte & 0x7f) * scale;
      if (byte >= 0x80) continue;
      if (byte === 0 || value > 0xffff_ffff) break;
      return value;
    }
    throw this.fail('a malformed number in the table of runs');
  }
}

/** Checks a table against the size of its memory, in units (D1, D2). */
export function checkTable(
  table: Uint8Array,
  units: number,
  fail: (reason: string) => Error,
): TableFacts {
  const reader = new TableReader(table, fail);
  const total = [0, 0];
  let runs = 0;
  let blocks = 0;
  let lastBlock = -1;
  let endUnit = 0;
  let kindBefore = -1;
  while (reader.at < table.length) {
    const gap = reader.number();
    const word = reader.number();
    const kind = word & KIND_MASK;
    const count = word >>> KIND_BITS;
    if (kind > ZERO) throw fail('unknown kind of run');
    if (count === 0) throw fail(`run ${runs} is empty`);
    if (gap === 0 && kind === kindBefore) throw fail(`run ${runs} goes on where one ended`);
    const first = endUnit + gap;
    endUnit = first + count;
    if (endUnit > units) throw fail(`run ${runs} ends at unit ${endUnit} of ${units}`);
    const block = Math.floor(first / BLOCK_UNITS);
    if (block !== lastBlock) blocks++;
    lastBlock = block;
    total[kind]! += count;
    kindBefore = kind;
    runs++;
  }
  return { runs, dataUnits: total[DATA]!, zeroUnits: total[ZERO]!, blocks, endUnit };
}

function trusted(reason: string): Error {
  return new RangeError(reason);
}

/** Calls `visit` for each run of a checked table, ascending. */
export function eachRun(
  table: Uint8Array,
  visit: (kind: RunKind, first: number, count: number) => void,
): void {
  const reader = new TableReader(table, trusted);
  let unit = 0;
  while (reader.at < table.length) {
    unit += reader.number();
    const word = reader.number();
    const count = word >>> KIND_BITS;
    visit((word & KIND_MASK) as RunKind, unit, count);
    unit += count;
  }
}

/** Two numbers of at most five bytes. */
const LONGEST_RUN_BYTES = 10;

/** Writes a table, run by run; adjacent runs of one kind become one. */
export class TableWriter {
  readonly #bytes: Uint8Array;
  #at = 0;
  #kind: RunKind = DATA;
  #first = 0;
  #count = 0;
  #end = 0;

  constructor(mostRuns: number) {
    this.#bytes = new Uint8Array(mostRuns * LONGEST_RUN_BYTES);
  }

  add(kind: RunKind, first: number, count: number): void {
    if (count === 0) return;
    if (first < this.#first + this.#count) throw new RangeError(`unit ${first} is out of order`);
    if (this.#count > 0 && kind === this.#kind && first === this.#first + this.#count) {
      this.#count += count;
      return;
    }
    this.#close();
    this.#kind = kind;
    this.#first = first;
    this.#count = count;
  }

  finish(): Uint8Array {
    this.#close();
    return this.#bytes.subarray(0, this.#at);
  }

  #close(): void {
    if (this.#count === 0) return;
    this.#number(this.#first - this.#end);
    this.#number(this.#count * (KIND_MASK + 1) + this.#kind);
    this.#end = this.#first + this.#count;
    this.#count = 0;
  }

  #number(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
    this.#bytes[this.#at++] = rest;
  }
}
