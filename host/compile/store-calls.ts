/**
 * Calls of the frame store's functions, as emitted code makes them.
 *
 *   slot of an i32 at byte 24:         i32.const 24  call $load_i32
 *   slot of a funcref at byte 24:      i32.const 24  call $load_i32  call $ref      its function's index + 1
 *   slot of an externref:              ref.null extern
 *
 * Does: name the functions by value type; write the load of a slot and the zero of a type. Does not: know functions or
 * frames (emit.ts), nor implement the store (store-module.ts).
 */
import { invariant } from '../types/errors.js';
import type { ByteWriter } from './bytes.js';
import { isReference } from './module.js';
import { OP, VT } from './opcodes.js';
import { VAL_TYPE_NAME } from './plan.js';

/** Functions of the frame store that emitted code may call. */
export type StoreFunction =
  | 'frame'
  | 'spill4_i32'
  | `${'spill' | 'load' | 'get' | 'set'}_${'i32' | 'i64' | 'f32' | 'f64' | 'v128'}`
  | `${'spill' | 'get' | 'set'}_${'funcref' | 'externref'}`;

/** The functions of a kind by value type from externref up. */
function namesOf(kind: 'spill' | 'load' | 'get' | 'set'): readonly (StoreFunction | undefined)[] {
  return Array.from({ length: VT.i32 - VT.externref + 1 }, (_, i) => {
    const type = VT.externref + i;
    const name = VAL_TYPE_NAME[type];
    if (name === undefined || (kind === 'load' && isReference(type))) return undefined;
    return `${kind}_${name}` as StoreFunction;
  });
}

const NAMES = {
  spill: namesOf('spill'),
  load: namesOf('load'),
  get: namesOf('get'),
  set: namesOf('set'),
} as const;

/** The store function of a kind for a value type. References are loaded by `loadSlot`. */
export function storeFunction(kind: 'spill' | 'load' | 'get' | 'set', type: number): StoreFunction {
  const name = NAMES[kind][type - VT.externref];
  invariant(name !== undefined, 'no such function of the frame store');
  return name;
}

/**
 * Pushes the value of a slot at `rp` + offset. A funcref's slot holds its function's index + 1, as capsules do
 * (runtime/frames.ts); an externref is null.
 */
export function loadSlot(
  out: ByteWriter,
  type: number,
  offset: number,
  call: (name: StoreFunction) => void,
  ref: () => number,
): void {
  if (type === VT.externref) {
    out.u8(OP.refNull).u8(VT.externref);
    return;
  }
  out.u8(OP.i32Const).s32(offset);
  if (type === VT.funcref) {
    call('load_i32');
    out.op(OP.call, ref());
  } else call(storeFunction('load', type));
}

/** Pushes a value of the type that nobody reads. */
export function zero(out: ByteWriter, type: number): void {
  switch (type) {
    case VT.i32:
      out.u8(OP.i32Const).s32(0);
      return;
    case VT.i64:
      out.u8(OP.i64Const).s32(0);
      return;
    case VT.f32:
      out.u8(OP.f32Const).put(new Uint8Array(4));
      return;
    case VT.f64:
      out.u8(OP.f64Const).put(new Uint8Array(8));
      return;
    case VT.funcref:
    case VT.externref:
      out.u8(OP.refNull).u8(type);
      return;
    default:
      out.u8(0xfd).u32(0x0c).put(new Uint8Array(16));
  }
}
