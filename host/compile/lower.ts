/**
 * Rewrites a program whose imported functions are named as values, before anything else looks at it.
 *
 *   (import "m" "f" (func $f (param i32)))          (import "m" "f" (func $f (param i32)))
 *   (elem (i32.const 0) $f)                becomes  (elem (i32.const 0) $w)
 *   (export "g" (func $f))                          (export "g" (func $w))
 *   (call $f …)                                     (call $f …)
 *                                                   (func $w (param i32) local.get 0 call $f)      appended
 *
 * So a table holds functions of the program only: they carry fuel, have frames, and a host call below them can stop.
 * A module that does not take an import's address is left as it is, byte for byte.
 *
 * W1  No index of the program changes; functions are appended.
 * W2  No instruction can tell the difference: functions as values can be called, stored and tested for null, not compared.
 */
import { type AddedFunction, type Replacement, rewritten } from './append.js';
import { ByteReader, ByteWriter } from './bytes.js';
import { readOpcode, skipImmediates } from './instructions.js';
import { type ImportRef, readLocals, type WasmModule } from './module.js';
import { OP, opInfo } from './opcodes.js';

/** The module with wrappers, or the same module when it needs none. */
export function wrapImports(module: WasmModule): WasmModule {
  const imports = [...new Set(module.importRefs.map((ref) => ref.index))].sort((a, b) => a - b);
  if (imports.length === 0) return module;
  const wrapper = new Map(imports.map((index, k) => [index, module.functionTypes.length + k]));
  const refs = [...module.importRefs];
  for (let k = 0; k < module.bodies.length; k++) refs.push(...refsIn(module, k, wrapper));
  const replacements = refs
    .sort((a, b) => a.start - b.start)
    .map(({ start, end, index }): Replacement => {
      return { start, end, bytes: new ByteWriter(8).u32(wrapper.get(index)!).finish() };
    });
  return rewritten(
    module,
    imports.map((index) => wrapperOf(module, index)),
    replacements,
  );
}

function wrapperOf(module: WasmModule, index: number): AddedFunction {
  const type = module.types[module.functionTypes[index]!]!;
  const body = new ByteWriter(32).u32(0);
  type.params.forEach((_, i) => {
    body.op(OP.localGet, i);
  });
  const code = body.op(OP.call, index).u8(OP.end).finish();
  return { type, code, name: module.names.functions.get(index) };
}

/** `ref.func` of wrapped imports in a body. */
function refsIn(
  module: WasmModule,
  k: number,
  wrapper: ReadonlyMap<number, number>,
): readonly ImportRef[] {
  const { start, end } = module.bodies[k]!;
  const functionIndex = module.imports.length + k;
  const r = new ByteReader(module.bytes, start, end);
  readLocals(r, functionIndex, []);
  const refs: ImportRef[] = [];
  while (!r.done) {
    const key = readOpcode(r, functionIndex);
    const at = r.pos;
    const index = skipImmediates(r, module, opInfo(key)!.imm, functionIndex);
    if (key === OP.refFunc && wrapper.has(index)) refs.push({ start: at, end: r.pos, index });
  }
  return refs;
}
