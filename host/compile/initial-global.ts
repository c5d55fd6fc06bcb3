/**
 * The value that a global begins with, when it is a plain `i32.const`: where the stack begins, where the heap does.
 *
 * Does: read the global section of a program or its skeleton. Does not: evaluate other constant expressions (undefined then).
 */
import { ByteReader } from './bytes.js';
import { scanSections } from './module.js';

const GLOBAL_SECTION = 6;
const REF_NULL = 0xd0;

/** `index` counts globals that the module defines. */
export function initialI32(program: Uint8Array, index: number): number | undefined {
  const section = scanSections(program).find(({ id }) => id === GLOBAL_SECTION);
  if (section === undefined) return undefined;
  const r = new ByteReader(program, section.bodyStart, section.end);
  const count = r.u32();
  for (let i = 0; i < count && i <= index; i++) {
    r.u8(); // type
    r.u8(); // mutability
    const value = constant(r);
    if (i === index) return value;
  }
  return undefined;
}

/** Reads an expression to its end. */
function constant(r: ByteReader): number | undefined {
  let value: number | undefined;
  for (let parts = 0; ; parts++) {
    const op = r.u8();
    if (op === 0x0b) return parts === 1 ? value : undefined;
    if (op === 0x41) value = r.s32();
    else if (op === 0x42) r.skipS64();
    else if (op === 0x43) r.skip(4);
    else if (op === 0x44) r.skip(8);
    else if (op === 0x23 || op === 0xd2) r.u32();
    else if (op === REF_NULL) r.s33();
    else if (op === 0xfd) {
      r.u32();
      r.skip(16);
    }
    if (op !== 0x41) value = undefined;
  }
}
