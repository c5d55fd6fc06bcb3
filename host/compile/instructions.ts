/**
 * Reads single instructions: opcodes and their immediates.
 *
 *   28 02 10            i32.load, memarg (align 2, offset 16)       opcode 0x28, then Imm.memarg
 *   fd 0c <16 bytes>    v128.const                                  opcode 0xfd0c, then Imm.bytes16
 *   fd 83 02 …          relaxed SIMD                                refused by name
 *
 * Does: step over any instruction that sherd accepts; refuse the others by feature name.
 * Does not: know types or control structure (body.ts).
 *
 * R1  After a call the reader stands on the next instruction.
 */
import { ByteReader, malformed } from './bytes.js';
import { type FuncType, readCodeType, type WasmModule } from './module.js';
import { FACTS, Imm, OP, refusedFeature, VT } from './opcodes.js';
import { unsupportedIn } from './refusals.js';

/** Reads an opcode with its prefix; refuses unknown ones by feature name. */
export function readOpcode(r: ByteReader, functionIndex: number): number {
  const byte = r.u8();
  if (FACTS[byte] !== 0) return byte;
  return readPrefixed(r, byte, r.pos - 1, functionIndex);
}

function readPrefixed(r: ByteReader, byte: number, at: number, functionIndex: number): number {
  let key = byte;
  if (byte === 0xfc || byte === 0xfd || byte === 0xfe || byte === 0xfb) {
    const sub = r.u32();
    if (sub > 0x1ff) throw malformed(at, `unknown opcode 0x${byte.toString(16)} ${sub}`);
    if (sub > 0xff && byte !== 0xfe) throw beyond(byte, sub, functionIndex, at);
    key = (byte << 8) | (sub & 0xff);
  }
  if (FACTS[key] === 0) throw unsupportedIn(functionIndex, refusedFeature(key), at);
  return key;
}

/** No accepted feature has sub-opcodes above 255: names the one to which this belongs. */
function beyond(prefix: number, sub: number, functionIndex: number, at: number): Error {
  if (prefix === 0xfd) return unsupportedIn(functionIndex, 'relaxed SIMD', at);
  return malformed(at, `function ${functionIndex}: unknown opcode 0x${prefix.toString(16)} ${sub}`);
}

/** Steps over immediates; returns the first index-like one (or 0). Blocks and br_table are the caller's. */
export function readImmediate(r: ByteReader, imm: Imm, functionIndex = -1): number {
  switch (imm) {
    case Imm.none:
      return 0;
    case Imm.label:
    case Imm.func:
    case Imm.local:
    case Imm.global:
    case Imm.data:
    case Imm.elem:
    case Imm.table:
    case Imm.tag:
      return r.u32();
    case Imm.refType:
      return readRefType(r, functionIndex);
    case Imm.elemTable:
    case Imm.tableTable: {
      const first = r.u32();
      r.u32();
      return first;
    }
    case Imm.callIndirect: {
      const type = r.u32();
      r.u32();
      return type;
    }
    case Imm.memarg:
      memarg(r, functionIndex);
      return 0;
    case Imm.memargLane:
      memarg(r, functionIndex);
      r.skip(1);
      return 0;
    case Imm.memory:
      zeroIndex(r, functionIndex);
      return 0;
    case Imm.memoryMemory:
      zeroIndex(r, functionIndex);
      zeroIndex(r, functionIndex);
      return 0;
    case Imm.dataMemory: {
      const segment = r.u32();
      zeroIndex(r, functionIndex);
      return segment;
    }
    case Imm.i32:
      r.s32();
      return 0;
    case Imm.i64:
      r.skipS64();
      return 0;
    case Imm.f32:
      r.skip(4);
      return 0;
    case Imm.f64:
      r.skip(8);
      return 0;
    case Imm.bytes16:
      r.skip(16);
      return 0;
    case Imm.lane:
      r.skip(1);
      return 0;
    case Imm.block:
    case Imm.brTable:
    case Imm.selectTypes:
    case Imm.tryTable:
      throw malformed(r.pos, 'internal: structured immediate');
  }
}

/** Steps over any immediates; gives the first index-like one of an unstructured instruction, else 0. */
export function skipImmediates(
  r: ByteReader,
  module: WasmModule,
  imm: Imm,
  functionIndex: number,
): number {
  switch (imm) {
    case Imm.block:
      readBlockType(r, module, functionIndex);
      return 0;
    case Imm.tryTable:
      readBlockType(r, module, functionIndex);
      readCatchClauses(r, functionIndex);
      return 0;
    case Imm.brTable:
      for (let n = r.count('label') + 1; n > 0; n--) r.u32();
      return 0;
    case Imm.selectTypes:
      for (let n = r.count('type'); n > 0; n--) readCodeType(r, functionIndex);
      return 0;
    default:
      return readImmediate(r, imm, functionIndex);
  }
}

/** A clause of `try_table`: the exceptions of a tag (-1: of any) branch to a label. */
export interface CatchClause {
  readonly tag: number;
  readonly label: number;
}

/** Reads the clauses of a `try_table`; those that give a reference to the exception are refused. */
export function readCatchClauses(r: ByteReader, functionIndex: number): CatchClause[] {
  const clauses: CatchClause[] = [];
  for (let n = r.count('catch clause'); n > 0; n--) {
    const at = r.pos;
    const kind = r.u8();
    if (kind === 1 || kind === 3)
      throw unsupportedIn(functionIndex, 'exception references (catch_ref)', at);
    if (kind !== 0 && kind !== 2) throw malformed(at, 'malformed catch clause');
    clauses.push({ tag: kind === 0 ? r.u32() : -1, label: r.u32() });
  }
  return clauses;
}

function memarg(r: ByteReader, functionIndex: number): void {
  const at = r.pos;
  if (r.u32() >= 64) throw unsupportedIn(functionIndex, 'multiple memories or memory64', at);
  r.u32();
}

function zeroIndex(r: ByteReader, functionIndex: number): void {
  const at = r.pos;
  if (r.u8() !== 0) throw unsupportedIn(functionIndex, 'multiple memories', at);
}

/** Heap type of `ref.null`, as the reference type it gives. */
function readRefType(r: ByteReader, functionIndex: number): number {
  const at = r.pos;
  const type = r.u8();
  if (type === VT.funcref || type === VT.externref) return type;
  if (type === 0x69 || type === 0x74)
    throw unsupportedIn(functionIndex, 'exception references', at);
  throw unsupportedIn(functionIndex, 'typed function references', at);
}

const NO_RESULT: FuncType = { params: [], results: [] };
/** By value type from externref up. */
const ONE_RESULT: readonly FuncType[] = Array.from(
  { length: VT.i32 - VT.externref + 1 },
  (_, i) => ({
    params: [],
    results: [VT.externref + i],
  }),
);

/** Reads a block type. */
export function readBlockType(r: ByteReader, module: WasmModule, functionIndex: number): FuncType {
  const first = r.bytes[r.pos] ?? 0;
  if (first === 0x40) {
    r.pos++;
    return NO_RESULT;
  }
  if ((first & 0xc0) === 0x40) return ONE_RESULT[readCodeType(r, functionIndex) - VT.externref]!;
  const at = r.pos;
  const type = module.types[r.s33()];
  if (type === undefined) throw malformed(at, 'block type index out of range');
  return type;
}

/** A constant length up to this many bytes is done at once: it takes no longer than a few safepoints apart. */
const AT_ONCE_BYTES = 65_536;

/** memory.fill and memory.copy: done by fuel where the length is not known to be short. */
export function isBulk(key: number): boolean {
  return key === OP.memoryFill || key === OP.memoryCopy;
}

/** The instruction at `before`, just before a bulk instruction, is a constant length of at most AT_ONCE_BYTES. */
export function isShort(bytes: Uint8Array, before: number): boolean {
  if (bytes[before] !== OP.i32Const) return false;
  return new ByteReader(bytes, before + 1).s32() >>> 0 <= AT_ONCE_BYTES;
}
