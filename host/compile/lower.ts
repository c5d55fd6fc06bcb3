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
import { ByteReader, ByteWriter } from './bytes.js';
import { readOpcode, skipImmediates } from './instructions.js';
import { type ImportRef, parseModule, readLocals, type WasmModule } from './module.js';
import { OP, opInfo } from './opcodes.js';

/** The module with wrappers, or the same module when it needs none. */
export function wrapImports(module: WasmModule): WasmModule {
  if (module.importRefs.length === 0) return module;
  return parseModule(new Wrapping(module).run());
}

class Wrapping {
  private readonly wrapper = new Map<number, number>();
  /** Wrapped imports in the order of their wrappers. */
  private readonly wrapped: number[];

  constructor(private readonly module: WasmModule) {
    this.wrapped = [...new Set(module.importRefs.map((ref) => ref.index))].sort((a, b) => a - b);
    this.wrapped.forEach((index, k) => {
      this.wrapper.set(index, module.functionTypes.length + k);
    });
  }

  run(): Uint8Array {
    const { module } = this;
    const out = new ByteWriter(module.bytes.length * 2).put(module.bytes.subarray(0, 8));
    const write = (id: number, body: ByteWriter): void => {
      out.u8(id).u32(body.length).put(body.view());
    };
    const has = (id: number): boolean => module.sections.some((s) => s.id === id);
    let functions = has(3);
    let code = has(10);
    for (const section of module.sections) {
      if (!functions && section.id > 3) {
        write(3, this.functionSection());
        functions = true;
      }
      if (!code && section.id === 11) {
        write(10, this.codeSection());
        code = true;
      }
      if (section.id === 3) write(3, this.functionSection());
      else if (section.id === 10) write(10, this.codeSection());
      else if (section.id === 0) out.copy(module.bytes, section.start, section.end);
      else write(section.id, this.patched(section.bodyStart, section.end, module.importRefs));
    }
    if (!functions) write(3, this.functionSection());
    if (!code) write(10, this.codeSection());
    return out.finish();
  }

  private functionSection(): ByteWriter {
    const { module, wrapped } = this;
    const w = new ByteWriter(256).u32(module.bodies.length + wrapped.length);
    for (const type of module.functionTypes.slice(module.imports.length)) w.u32(type);
    for (const index of wrapped) w.u32(module.functionTypes[index]!);
    return w;
  }

  private codeSection(): ByteWriter {
    const { module, wrapped } = this;
    const w = new ByteWriter(module.bytes.length).u32(module.bodies.length + wrapped.length);
    module.bodies.forEach(({ start, end }, k) => {
      const body = this.patched(start, end, this.refsIn(module.imports.length + k));
      w.u32(body.length).put(body.view());
    });
    for (const index of wrapped) {
      const body = new ByteWriter(32).u32(0);
      module.types[module.functionTypes[index]!]!.params.forEach((_, i) => {
        body.u8(OP.localGet).u32(i);
      });
      body.u8(OP.call).u32(index).u8(OP.end);
      w.u32(body.length).put(body.view());
    }
    return w;
  }

  /** Bytes `[start, end)` with the references among them led to the wrappers. */
  private patched(start: number, end: number, refs: readonly ImportRef[]): ByteWriter {
    const { bytes } = this.module;
    const w = new ByteWriter(end - start + 64);
    let at = start;
    for (const ref of refs) {
      if (ref.start < start || ref.start >= end) continue;
      w.copy(bytes, at, ref.start).u32(this.wrapper.get(ref.index)!);
      at = ref.end;
    }
    return w.copy(bytes, at, end);
  }

  /** `ref.func` of imports in a body. */
  private refsIn(functionIndex: number): ImportRef[] {
    const { module } = this;
    const range = module.bodies[functionIndex - module.imports.length]!;
    const r = new ByteReader(module.bytes, range.start, range.end);
    readLocals(r, functionIndex, []);
    const refs: ImportRef[] = [];
    while (!r.done) {
      const key = readOpcode(r, functionIndex);
      const start = r.pos;
      const index = skipImmediates(r, module, opInfo(key)!.imm, functionIndex);
      if (key === OP.refFunc && this.wrapper.has(index)) refs.push({ start, end: r.pos, index });
    }
    return refs;
  }
}
