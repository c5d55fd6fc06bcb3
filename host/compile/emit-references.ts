/**
 * Writes instructions that name functions, tables and element segments of the program.
 *
 *   fast copy                          continuation
 *   ref.func $f                        i32.const f+1  call $ref             0 would be null
 *   table.init $t $seg                 call $ti:seg.t                       the same three operands
 *   call_indirect $t (type $a)         call_indirect $t (type $a′)          a′ with fuel, where one of its functions can stop
 *
 * Does: the instruction itself in the fast copy; in a continuation, which has neither the program's segments nor its
 * functions, a call of the helper that the shard module exports for it. Does not: hold state.
 */
import { invariant } from '../types/errors.js';
import type { Body } from './body.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { OP } from './opcodes.js';
import type { EmitTarget } from './target.js';

/** The helper that makes references from numbers. */
export function refHelper(target: EmitTarget): number {
  const helper = target.refFunction();
  invariant(helper !== undefined, 'a continuation makes references through a helper');
  return helper;
}

export function emitRefFunc(w: ByteWriter, target: EmitTarget, index: number): void {
  const helper = target.refFunction();
  if (helper === undefined) w.u8(OP.refFunc).u32(target.func(index));
  else
    w.u8(OP.i32Const)
      .s32(index + 1)
      .u8(OP.call)
      .u32(helper);
}

export function emitTableInit(
  w: ByteWriter,
  target: EmitTarget,
  body: Body,
  bytes: Uint8Array,
  instr: number,
): void {
  const r = new ByteReader(bytes, body.start[instr]! + 1, body.start[instr + 1]!);
  r.u32();
  const helper = target.tableInitFunction(r.u32(), r.u32());
  if (helper === undefined) w.copy(bytes, body.start[instr]!, body.start[instr + 1]!);
  else w.u8(OP.call).u32(helper);
}

/** The table of an indirect call. */
export function tableOf(body: Body, bytes: Uint8Array, instr: number): number {
  const r = new ByteReader(bytes, body.start[instr]! + 1, body.start[instr + 1]!);
  r.u32();
  return r.u32();
}
