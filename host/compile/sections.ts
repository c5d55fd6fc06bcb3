/**
 * Writing sections of a module: framing, and a type section whose entries are unique.
 *
 * Does: what append.ts, instrument.ts, continuation.ts and store-module.ts need alike. Does not: know what a section is for.
 *
 * S1  Structurally equal types get one index; indices never change once given.
 */
import { ByteReader, ByteWriter } from './bytes.js';
import { typeKey } from './callgraph.js';
import type { FuncType, WasmModule } from './module.js';

const TYPE_SECTION = 1;

/** Appends a section with its size. */
export function writeSection(out: ByteWriter, id: number, body: ByteWriter): void {
  out.u8(id).u32(body.length).append(body);
}

/** Appends one function type. */
export function writeType(w: ByteWriter, { params, results }: FuncType): void {
  w.u8(0x60).u32(params.length).put(Uint8Array.from(params));
  w.u32(results.length).put(Uint8Array.from(results));
}

/** Begins a vector section that is to have more entries: the new count, then the module's own entries unchanged. */
export function extendedSection(
  module: WasmModule,
  id: number,
  before: number,
  extra: number,
): ByteWriter {
  const w = new ByteWriter(1024).u32(before + extra);
  const section = module.sections.find((s) => s.id === id);
  if (section === undefined) return w;
  const r = new ByteReader(module.bytes, section.bodyStart, section.end);
  r.u32();
  return w.copy(module.bytes, r.pos, section.end);
}

/** The type section with what a table that began with the module's types has besides them. */
export function extendedTypes(module: WasmModule, table: TypeTable): ByteWriter {
  const before = module.types.length;
  const added = table.types.slice(before);
  const w = extendedSection(module, TYPE_SECTION, before, added.length);
  for (const type of added) writeType(w, type);
  return w;
}

/** Function types by index. */
export class TypeTable {
  readonly types: FuncType[] = [];
  private readonly indexOf = new Map<string, number>();

  /** Starts with types that keep their indices (duplicates among them stay). */
  constructor(given: readonly FuncType[] = []) {
    for (const type of given) {
      const key = typeKey(type);
      if (!this.indexOf.has(key)) this.indexOf.set(key, this.types.length);
      this.types.push(type);
    }
  }

  intern(type: FuncType): number {
    const key = typeKey(type);
    let index = this.indexOf.get(key);
    if (index === undefined) {
      index = this.types.length;
      this.types.push(type);
      this.indexOf.set(key, index);
    }
    return index;
  }
}
