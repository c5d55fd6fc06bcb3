/**
 * Makes instructions that move much at once run in pieces, so that a program can stop between them.
 *
 *   local.get $to  local.get $from  local.get $n        local.get $to  local.get $from  local.get $n
 *   table.copy                                 becomes  (if (local.tee $long) > 8192
 *                                                         then call $table.copy
 *                                                         else table.copy)
 *
 *   (func $table.copy (param $to $from $n i32)
 *     if an end wraps around                            the instruction itself
 *     at the ends, with length 0                        traps if the whole would: nothing has been written then
 *     $to ≤ $from:  loop: weigh; the first 8192; $to, $from += 8192; $n -= 8192; again while $n > 8192
 *     else:         loop: weigh; $n -= 8192; the last 8192;                      again while $n > 8192
 *     the instruction itself, on what is left)
 *
 * Weighing is a loop of 512 empty passages, a counted one (counted.ts) that takes next to no time: so a piece costs about as
 * much fuel as other work that takes as long, and a quantum of fuel stays a quantum of time.
 *
 * The helper is a function of the program like any other: its loop polls, its frame is saved, its continuation is built.
 *
 * Does: memory.init (64 KiB a piece), table.copy, table.fill, table.init. Does not: memory.copy and memory.fill, which are
 * done by fuel (bulk-module.ts), memory.grow and table.grow, whose failure must leave nothing behind.
 *
 * P1  The order of pieces gives what the whole instruction gives, however source and target overlap.
 * P2  An instruction whose length is a constant of at most a piece stays as it is; any other pays one compare when it is short.
 * P3  An end that wraps around is out of bounds, except at exactly 4 GiB: the instruction itself decides.
 */
import { type AddedFunction, type Replacement, rewritten } from './append.js';
import { ByteReader, ByteWriter } from './bytes.js';
import { readOpcode, skipImmediates } from './instructions.js';
import { type FuncType, readLocals, type WasmModule } from './module.js';
import { OP, opInfo, VT } from './opcodes.js';
import { TypeTable } from './sections.js';

export const PIECE_BYTES = 65_536;
/** Of a table, as many slots as make 64 KiB of pointers. */
export const PIECE_SLOTS = 8_192;
/** Fuel of a piece besides its poll. */
export const PIECE_WEIGHT = 512;

const I32_ADD = 0x6a;
const I32_OR = 0x72;
const I32_LT_U = 0x49;
const I32_GT_U = 0x4b;
const EMPTY = 0x40;
const PREFIX = 0xfc;

/** Parameters of a helper. */
const TARGET = 0;
/** What is copied from, or the value that fills. */
const SOURCE = 1;
const LENGTH = 2;
/** The only local besides. */
const WEIGHT = 3;

const CUT = new Map<
  number,
  { readonly piece: number; readonly fills?: true; readonly both?: true }
>([
  [OP.memoryInit, { piece: PIECE_BYTES }],
  [OP.tableInit, { piece: PIECE_SLOTS }],
  [OP.tableCopy, { piece: PIECE_SLOTS, both: true }],
  [OP.tableFill, { piece: PIECE_SLOTS, fills: true }],
]);

interface Helper {
  readonly index: number;
  /** Its type's index, also that of the block around its call. */
  readonly type: number;
}

/** The module with long instructions cut, or the same module when it has none. */
export function cutLongInstructions(module: WasmModule): WasmModule {
  const cutting = new Cutting(module);
  for (const k of bodiesWith(module)) cutting.body(k);
  return cutting.done();
}

/** Bodies in which the bytes of such an instruction occur (perhaps as something else), ascending. */
function* bodiesWith(module: WasmModule): Generator<number> {
  const { bytes, bodies } = module;
  let k = 0;
  let at = bodies[0]?.start ?? bytes.length;
  for (;;) {
    at = bytes.indexOf(PREFIX, at);
    if (at < 0) return;
    while (k < bodies.length && bodies[k]!.end <= at) k++;
    if (k === bodies.length) return;
    if (!CUT.has((PREFIX << 8) | (bytes[at + 1]! & 0x7f))) {
      at++;
      continue;
    }
    yield k;
    at = bodies[k]!.end;
  }
}

class Cutting {
  private readonly added: AddedFunction[] = [];
  private readonly helpers = new Map<string, Helper>();
  private readonly replacements: Replacement[] = [];
  /** Numbers types as the new module will: helpers' types are appended in the order of the helpers. */
  private readonly types: TypeTable;

  constructor(private readonly module: WasmModule) {
    this.types = new TypeTable(module.types);
  }

  done(): WasmModule {
    if (this.added.length === 0) return this.module;
    return rewritten(this.module, this.added, this.replacements);
  }

  body(k: number): void {
    const { module } = this;
    const { start, end } = module.bodies[k]!;
    const index = module.imports.length + k;
    const r = new ByteReader(module.bytes, start, end);
    const declared = readLocals(r, index, []).length;
    const declarationsEnd = r.pos;
    const local = module.types[module.functionTypes[index]!]!.params.length + declared;
    const found: Replacement[] = [];
    let needsLocal = false;
    let constant = Number.NaN;
    while (!r.done) {
      const at = r.pos;
      const key = readOpcode(r, index);
      if (key === OP.i32Const) {
        constant = r.s32() >>> 0;
        continue;
      }
      const immediates = r.pos;
      skipImmediates(r, module, opInfo(key)!.imm, index);
      const how = CUT.get(key);
      const isShort = how === undefined || constant <= how.piece;
      const isLong = !Number.isNaN(constant);
      constant = Number.NaN;
      if (isShort) continue;
      const helper = this.helper(key, module.bytes.subarray(immediates, r.pos));
      if (helper === undefined) continue; // no such table: the engine refuses the module
      const instruction = module.bytes.subarray(at, r.pos);
      const bytes = isLong ? callOf(helper) : choice(helper, how.piece, local, instruction);
      if (!isLong) needsLocal = true;
      found.push({ start: at, end: r.pos, bytes });
    }
    if (needsLocal) this.declareLocal(start, declarationsEnd);
    this.replacements.push(...found);
  }

  /** One more local of type i32, behind the others. */
  private declareLocal(start: number, end: number): void {
    const r = new ByteReader(this.module.bytes, start, end);
    const groups = r.u32();
    const count = new ByteWriter(8).u32(groups + 1).finish();
    const group = new ByteWriter(8).u32(1).u8(VT.i32).finish();
    if (r.pos === end) {
      const bytes = new ByteWriter(16).put(count).put(group).finish();
      this.replacements.push({ start, end, bytes });
    } else
      this.replacements.push(
        { start, end: r.pos, bytes: count },
        { start: end, end, bytes: group },
      );
  }

  private helper(key: number, immediates: Uint8Array): Helper | undefined {
    const id = `${key} ${immediates.join(' ')}`;
    let helper = this.helpers.get(id);
    if (helper === undefined) {
      const value = key === OP.tableFill ? this.elementType(immediates) : VT.i32;
      if (value === undefined) return undefined;
      const type: FuncType = { params: [VT.i32, value, VT.i32], results: [] };
      const index = this.module.functionTypes.length + this.added.length;
      helper = { index, type: this.types.intern(type) };
      this.helpers.set(id, helper);
      this.added.push({ type, code: helperCode(key, immediates), name: opInfo(key)!.name });
    }
    return helper;
  }

  private elementType(immediates: Uint8Array): number | undefined {
    return this.module.tableTypes[new ByteReader(immediates).u32()];
  }
}

function callOf(helper: Helper): Uint8Array {
  return new ByteWriter(8).op(OP.call, helper.index).finish();
}

/** Operands on the stack: the helper for more than a piece, the instruction itself for less. */
function choice(helper: Helper, piece: number, local: number, instruction: Uint8Array): Uint8Array {
  const w = new ByteWriter(32).op(OP.localTee, local).op(OP.localGet, local);
  w.u8(OP.i32Const).s32(piece).u8(I32_GT_U).u8(OP.if).s32(helper.type);
  w.op(OP.call, helper.index).u8(OP.else).put(instruction).u8(OP.end);
  return w.finish();
}

/** For a length of more than a piece. */
function helperCode(key: number, immediates: Uint8Array): Uint8Array {
  const { piece, fills = false, both = false } = CUT.get(key)!;
  const w = new ByteWriter(192).u32(1).u32(1).u8(VT.i32);
  const get = (local: number): ByteWriter => w.op(OP.localGet, local);
  const instruction = (): ByteWriter =>
    w
      .u8(PREFIX)
      .u32(key & 0xff)
      .put(immediates);
  const all = (): void => {
    for (const local of [TARGET, SOURCE, LENGTH]) get(local);
    instruction();
  };
  const change = (local: number, op: number): void => {
    get(local).u8(OP.i32Const).s32(piece).u8(op).op(OP.localSet, local);
  };
  const endOf = (local: number): ByteWriter => {
    get(local);
    return get(LENGTH).u8(I32_ADD);
  };
  const wraps = (local: number): ByteWriter => {
    endOf(local);
    return get(local).u8(I32_LT_U);
  };
  const more = (): ByteWriter => get(LENGTH).u8(OP.i32Const).s32(piece).u8(I32_GT_U);
  const loop = (): void => {
    w.u8(OP.loop).u8(EMPTY).u8(OP.i32Const).s32(PIECE_WEIGHT).op(OP.localSet, WEIGHT);
    w.u8(OP.loop).u8(EMPTY);
    get(WEIGHT).u8(OP.i32Const).s32(1).u8(OP.i32Sub).op(OP.localTee, WEIGHT);
    w.op(OP.brIf, 0).u8(OP.end);
  };

  wraps(TARGET);
  if (!fills) wraps(SOURCE).u8(I32_OR);
  w.u8(OP.if).u8(EMPTY);
  all();
  w.u8(OP.return).u8(OP.end);

  endOf(TARGET);
  if (fills) get(SOURCE);
  else endOf(SOURCE);
  w.u8(OP.i32Const).s32(0);
  instruction();

  if (both) {
    get(TARGET);
    get(SOURCE).u8(I32_GT_U).u8(OP.if).u8(EMPTY);
    loop();
    change(LENGTH, OP.i32Sub);
    endOf(TARGET);
    endOf(SOURCE).u8(OP.i32Const).s32(piece);
    instruction();
    more().op(OP.brIf, 0).u8(OP.end);
    all();
    w.u8(OP.return).u8(OP.end);
  }

  loop();
  get(TARGET);
  get(SOURCE).u8(OP.i32Const).s32(piece);
  instruction();
  change(TARGET, I32_ADD);
  if (!fills) change(SOURCE, I32_ADD);
  change(LENGTH, OP.i32Sub);
  more().op(OP.brIf, 0).u8(OP.end);
  all();
  return w.u8(OP.end).finish();
}
