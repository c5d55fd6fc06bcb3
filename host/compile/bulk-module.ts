/**
 * memory.fill and memory.copy by fuel: a small module on the instance's memory that does as much as the fuel pays for.
 *
 *   (t, v, n, fuel)     ──memory.fill──▶  (rest, fuel')                rest of n, 0 = done
 *   (t, s, n, fuel)     ──memory.copy──▶  (t', s', rest, fuel')        what is left to copy
 *
 *   fill, copy up   t ├──── rest ────┤████████████████┤ t + n     the end first: it traps before anything is written
 *   copy down       t ├██████████████┤───── rest ─────┤ t + n     after a look at both ends
 *
 * UNIT_BYTES cost one unit of fuel; what is less than that is free. The end of a stretch that is no whole number of units
 * goes first, so that after it the rest is whole units, however the fuel is dealt out.
 *
 * Does: build the module, say its functions' types. Does not: stop (emit.ts leaves the function while something is left).
 *
 * B1  Memory, result and fuel after the last part are those of the whole instruction; a trap comes before any change.
 * B2  An end that wraps around traps as a whole, except at exactly 4 GiB, where the whole is done at once and free.
 */
import { BULK_FUNCTIONS } from './abi.js';
import { ByteWriter } from './bytes.js';
import type { FuncType } from './module.js';
import { OP, VT } from './opcodes.js';
import { writeSection, writeType } from './sections.js';

export type BulkFunction = (typeof BULK_FUNCTIONS)[number];

const UNIT_SHIFT = 6;
/** Bytes that one unit of fuel pays for. */
export const UNIT_BYTES = 1 << UNIT_SHIFT;
/** The module's name: how its frames on a native stack are told from the program's. */
export const BULK_MODULE_NAME = 'sherd-bulk';
/** What it imports: `memory` of the shard module. */
export const BULK_IMPORT = { module: 'shard', field: 'memory' } as const;

const I32 = { ltU: 0x49, gtU: 0x4b, add: 0x6a, or: 0x72, shl: 0x74, shrU: 0x76 } as const;

/** Parameters; the locals behind them. */
const TARGET = 0;
/** What is copied from, or the value that fills. */
const SOURCE = 1;
const LENGTH = 2;
const FUEL = 3;
const PAID = 4;
const REST = 5;

/** Parameter and result types, fuel last in both. */
export function bulkSignature(name: BulkFunction): FuncType {
  const params = [VT.i32, VT.i32, VT.i32, VT.i32];
  return { params, results: name === 'memory.fill' ? [VT.i32, VT.i32] : params };
}

class BodyWriter extends ByteWriter {
  get(...locals: readonly number[]): this {
    for (const local of locals) this.op(OP.localGet, local);
    return this;
  }
  constant(value: number): this {
    this.u8(OP.i32Const).s32(value);
    return this;
  }
  /** local + local. */
  sum(a: number, b: number): this {
    this.get(a, b).u8(I32.add);
    return this;
  }
}

/** PAID = min(length / UNIT_BYTES, fuel); REST = what that does not pay for. */
function share(w: BodyWriter): void {
  w.get(LENGTH).constant(UNIT_SHIFT).u8(I32.shrU).op(OP.localTee, REST);
  w.get(FUEL, REST, FUEL).u8(I32.ltU).u8(OP.select).op(OP.localSet, PAID);
  w.get(REST, PAID).u8(OP.i32Sub).constant(UNIT_SHIFT).u8(I32.shl).op(OP.localSet, REST);
}

/** Leaves 1 when the whole is done at once and free: it is short, or an end lies below its start. */
function isWhole(w: BodyWriter, ...starts: readonly number[]): void {
  w.get(LENGTH).constant(UNIT_BYTES).u8(I32.ltU).u8(OP.if).u8(VT.i32).constant(1).u8(OP.else);
  starts.forEach((start, i) => {
    w.sum(start, LENGTH).get(start).u8(I32.ltU);
    if (i > 0) w.u8(I32.or);
  });
  w.u8(OP.end);
}

function fillBody(w: BodyWriter): void {
  const fill = (): ByteWriter =>
    w
      .u8(0xfc)
      .u32(OP.memoryFill & 0xff)
      .u8(0);
  isWhole(w, TARGET);
  w.u8(OP.if).u8(0x40).get(TARGET, SOURCE, LENGTH);
  fill();
  w.constant(0).get(FUEL).u8(OP.return).u8(OP.end);
  share(w);
  w.sum(TARGET, REST).get(SOURCE, LENGTH, REST).u8(OP.i32Sub);
  fill();
  w.get(REST, FUEL, PAID).u8(OP.i32Sub);
}

function copyBody(w: BodyWriter): void {
  const copy = (): ByteWriter =>
    w
      .u8(0xfc)
      .u32(OP.memoryCopy & 0xff)
      .u8(0)
      .u8(0);
  const done = (): BodyWriter => {
    w.get(LENGTH, REST).u8(OP.i32Sub);
    return w;
  };
  isWhole(w, TARGET, SOURCE);
  w.u8(OP.if).u8(0x40).get(TARGET, SOURCE, LENGTH);
  copy();
  w.get(TARGET, SOURCE).constant(0).get(FUEL).u8(OP.return).u8(OP.end);
  share(w);
  w.get(TARGET, SOURCE).u8(I32.gtU).u8(OP.if).u8(0x40);
  w.sum(TARGET, REST).sum(SOURCE, REST);
  done();
  copy();
  w.get(TARGET, SOURCE, REST, FUEL, PAID).u8(OP.i32Sub).u8(OP.return).u8(OP.end);
  w.sum(TARGET, LENGTH).sum(SOURCE, LENGTH).constant(0);
  copy();
  w.get(TARGET, SOURCE);
  done();
  copy();
  w.get(TARGET);
  done().u8(I32.add).get(SOURCE);
  done().u8(I32.add).get(REST, FUEL, PAID).u8(OP.i32Sub);
}

const BODIES: Readonly<Record<BulkFunction, (w: BodyWriter) => void>> = {
  'memory.fill': fillBody,
  'memory.copy': copyBody,
};

/** The module: imports the memory, exports its functions by name. */
export function buildBulkModule(): Uint8Array {
  const count = BULK_FUNCTIONS.length;
  const out = new ByteWriter(512).put(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const types = new ByteWriter().u32(count);
  const functions = new ByteWriter().u32(count);
  const exports = new ByteWriter().u32(count);
  const code = new ByteWriter().u32(count);
  BULK_FUNCTIONS.forEach((name, i) => {
    writeType(types, bulkSignature(name));
    functions.u32(i);
    exports.name(name).u8(0).u32(i);
    const w = new BodyWriter(128);
    w.u32(1).u32(2).u8(VT.i32);
    BODIES[name](w);
    const body = w.u8(OP.end).finish();
    code.u32(body.length).put(body);
  });
  const { module, field } = BULK_IMPORT;
  writeSection(out, 1, types);
  writeSection(out, 2, new ByteWriter().u32(1).name(module).name(field).u8(2).u8(0).u32(0));
  writeSection(out, 3, functions);
  writeSection(out, 7, exports);
  writeSection(out, 10, code);
  const named = new ByteWriter().name(BULK_MODULE_NAME);
  writeSection(out, 0, new ByteWriter().name('name').u8(0).u32(named.length).append(named));
  return out.finish();
}
