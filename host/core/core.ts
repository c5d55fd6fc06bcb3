/**
 * core.wasm, loaded and typed: one instance a platform object, that is one a thread.
 *
 * Does: instantiate the compiled module (through AssemblyScript's loader), lay its memory out, feed it and fetch its
 * results. Does not: get or compile the module (Platform.coreModule), decide what to compare (scan.ts), know capsules.
 *
 *        0        64 KiB     128 KiB    192 KiB                       4.2 MiB
 *       ┌─────────┬──────────┬──────────┬─────────────────────────────┐
 *       │ now     │ base     │ table    │ payload                     │   scan
 *       │ target  │          │          │ table · payload             │   apply
 *       │ …       │          │          │ two of each, the result     │   merge: grows as far as it must
 *       └─────────┴──────────┴──────────┴─────────────────────────────┘
 *
 * How it reaches the guest's memory was measured (benchmarks/scan): chunks that lie in the second level of the cache are
 * copied in. An instance on the guest's own memory could not see the base, nor write a result anywhere.
 *
 * W1  core.wasm has no state between two uses but its memory; a use is not interrupted by another one.
 * W2  What a use gives back are copies, but for the packed payload of a scan: a view, good until the next use.
 * W3  Wasm memory does not shrink: an instance that grew beyond KEEP_BYTES is replaced by a fresh one.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import { BLOCK_BYTES, type Difference, UNIT_BYTES } from './difference.js';
import { joined } from './joined.js';

const NOW_AT = 0;
const BASE_AT = BLOCK_BYTES;
const TABLE_AT = 2 * BLOCK_BYTES;
const TABLE_BYTES = BLOCK_BYTES;
const FREE_AT = TABLE_AT + TABLE_BYTES;
/** So much payload is packed in passing; what is beyond is copied from the memory later, when its place is known. */
export const PACKED_BYTES = 4 << 20;
const FIRST_BYTES = FREE_AT + PACKED_BYTES;
const KEEP_BYTES = 32 << 20;
const WASM_PAGE_BYTES = 65_536;
const BLOCK_UNITS = BLOCK_BYTES / UNIT_BYTES;
/** More table than one block can add: a run for every second unit, ten bytes each. */
const TABLE_ROOM_BYTES = (BLOCK_UNITS / 2 + 1) * 10;
const MAX_ADDRESS = 2 ** 32;

/** The module's exports (assembly/core/index.ts). Addresses above 2 GiB come out negative. */
interface CoreExports extends WebAssembly.Exports {
  readonly memory: WebAssembly.Memory;
  runs(): number;
  dataUnits(): number;
  zeroUnits(): number;
  tableEnd(): number;
  payloadWritten(): number;
  begin(table: number, payload: number, limit: number): void;
  moveTable(table: number): void;
  end(): void;
  scan(now: number, base: number, first: number, units: number): void;
  scanFresh(now: number, first: number, units: number): void;
  beginApply(table: number, end: number): void;
  nextUnit(): number;
  apply(target: number, first: number, units: number, payload: number): number;
  merge(
    tableA: number,
    endA: number,
    payloadA: number,
    tableB: number,
    endB: number,
    payloadB: number,
  ): number;
}

export interface Scanned {
  readonly runs: number;
  readonly dataUnits: number;
  readonly zeroUnits: number;
  readonly table: Uint8Array;
  /** The payload, or its first PACKED_BYTES. A view, good until the next use. */
  readonly packed: Uint8Array;
}

const cores = new WeakMap<Platform, Core>();

/** The platform's core. */
export function coreOf(platform: Platform): Core {
  let core = cores.get(platform);
  if (core === undefined) {
    core = new Core(platform.coreModule());
    cores.set(platform, core);
  }
  return core;
}

export class Core {
  readonly #module: WebAssembly.Module;
  #exports: CoreExports;
  #bytes: Uint8Array;
  #tables: Uint8Array[] = [];

  constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.#exports = instantiate(module);
    this.#bytes = this.#reserve(FIRST_BYTES);
  }

  /** Bytes of its memory, for tests. */
  get memoryBytes(): number {
    return this.#bytes.length;
  }

  beginScan(): void {
    this.#tables = [];
    this.#exports.begin(TABLE_AT, FREE_AT, FREE_AT + PACKED_BYTES);
  }

  /** Copies up to 64 KiB of the memory in and gives the copy, which the caller may change before it is scanned. */
  putNow(memory: Uint8Array, at: number, bytes: number): Uint8Array {
    this.#bytes.set(memory.subarray(at, at + bytes), NOW_AT);
    return this.#bytes.subarray(NOW_AT, NOW_AT + bytes);
  }

  /** Copies a piece of the base in, `to` bytes after where the piece of the memory begins. Undefined: zeros. */
  putBase(base: Uint8Array | undefined, at: number, bytes: number, to: number): void {
    if (base === undefined) this.#bytes.fill(0, BASE_AT + to, BASE_AT + to + bytes);
    else this.#bytes.set(base.subarray(at, at + bytes), BASE_AT + to);
  }

  /** Compares what was copied in; `first` is its first unit. */
  scan(first: number, units: number, hasBase: boolean): void {
    invariant(units <= BLOCK_UNITS, 'at most a block at a time');
    if (hasBase) this.#exports.scan(NOW_AT, BASE_AT, first, units);
    else this.#exports.scanFresh(NOW_AT, first, units);
    if (this.#exports.tableEnd() > TABLE_AT + TABLE_BYTES - TABLE_ROOM_BYTES) this.#fetchTable();
  }

  /** Closed runs so far. */
  get runs(): number {
    return this.#exports.runs();
  }

  endScan(): Scanned {
    const core = this.#exports;
    core.end();
    this.#fetchTable();
    return {
      runs: core.runs(),
      dataUnits: core.dataUnits(),
      zeroUnits: core.zeroUnits(),
      table: this.#tables.length === 1 ? this.#tables[0]! : joined(this.#tables),
      packed: this.#bytes.subarray(FREE_AT, core.payloadWritten()),
    };
  }

  #fetchTable(): void {
    this.#tables.push(this.#bytes.slice(TABLE_AT, this.#exports.tableEnd()));
    this.#exports.moveTable(TABLE_AT);
  }

  /** Writes a difference into a memory that holds its base, block by block. */
  apply(difference: Pick<Difference, 'table' | 'payload'>, target: Uint8Array): void {
    const { table, payload } = difference;
    const payloadAt = FREE_AT + rounded(table.length);
    this.#need(payloadAt + payload.length);
    const core = this.#exports;
    this.#bytes.set(table, FREE_AT);
    this.#bytes.set(payload, payloadAt);
    core.beginApply(FREE_AT, FREE_AT + table.length);
    let from = payloadAt;
    for (let unit = core.nextUnit(); unit >= 0; unit = core.nextUnit()) {
      const first = unit - (unit % BLOCK_UNITS);
      const at = first * UNIT_BYTES;
      const block = target.subarray(at, at + BLOCK_BYTES);
      this.#bytes.set(block, NOW_AT);
      from = core.apply(NOW_AT, first, BLOCK_UNITS, from) >>> 0;
      block.set(this.#bytes.subarray(NOW_AT, NOW_AT + block.length));
    }
    invariant(from === payloadAt + payload.length, 'all of the payload is used');
    this.#shrink();
  }

  /**
   * Puts two differences against one base together. Gives the first unit that both have instead, when there is one.
   * Both tables must have been checked.
   */
  merge(a: Difference, b: Difference): Merged {
    let at = FREE_AT;
    const place = (bytes: Uint8Array | number): number => {
      const here = at;
      at += rounded(typeof bytes === 'number' ? bytes : bytes.length);
      return here;
    };
    const inputs = [a.table, b.table, a.payload, b.payload];
    const [tableA, tableB, payloadA, payloadB] = inputs.map(place) as [
      number,
      number,
      number,
      number,
    ];
    const table = place((a.runs + b.runs) * 10);
    const payloadBytes = a.payload.length + b.payload.length;
    const payload = place(payloadBytes);
    this.#need(at);
    [tableA, tableB, payloadA, payloadB].forEach((to, i) => {
      this.#bytes.set(inputs[i]!, to);
    });
    const core = this.#exports;
    core.begin(table, payload, payload + payloadBytes);
    const endA = tableA + a.table.length;
    const endB = tableB + b.table.length;
    const overlap = core.merge(tableA, endA, payloadA, tableB, endB, payloadB);
    if (overlap >= 0) {
      this.#shrink();
      return { kind: 'overlap', unit: overlap };
    }
    const merged = {
      kind: 'merged' as const,
      table: this.#bytes.slice(table, core.tableEnd() >>> 0),
      payload: this.#bytes.slice(payload, payload + payloadBytes),
    };
    this.#shrink();
    return merged;
  }

  #need(bytes: number): void {
    if (bytes > this.#bytes.length) this.#bytes = this.#reserve(bytes);
  }

  #reserve(bytes: number): Uint8Array {
    invariant(bytes <= MAX_ADDRESS, 'a difference fits into 4 GiB');
    const { memory } = this.#exports;
    const missing = Math.ceil((bytes - memory.buffer.byteLength) / WASM_PAGE_BYTES);
    if (missing > 0) memory.grow(missing);
    return new Uint8Array(memory.buffer);
  }

  /** W3. */
  #shrink(): void {
    if (this.#bytes.length <= KEEP_BYTES) return;
    this.#exports = instantiate(this.#module);
    this.#bytes = this.#reserve(FIRST_BYTES);
  }
}

export type Merged =
  | { readonly kind: 'merged'; readonly table: Uint8Array; readonly payload: Uint8Array }
  | { readonly kind: 'overlap'; readonly unit: number };

/** The loader's own wrappers count arguments on every call; the exports themselves are enough here. */
function instantiate(module: WebAssembly.Module): CoreExports {
  return instantiateSync(module, {}).instance.exports as CoreExports;
}

/** To whole units, so that payload is aligned. */
function rounded(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}
