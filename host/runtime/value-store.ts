/**
 * Values that pass between an instance and the outside: arguments, results, globals, as raw bytes.
 *
 *   write(types, raw)  -> registers of the frame store, where entry thunks and continuations read them
 *   read(types)        <- registers, where thunks and continuations leave results
 *   saveGlobals / loadGlobals: all mutable globals in index order, spilled and loaded by code of the module
 *
 * Does: turn references into numbers and back (types/state.ts, S5). Does not: frames (frames.ts) or tables (tables.ts).
 *
 * U1  Values never become JavaScript numbers: NaN payloads and v128 stay as they are. References do, they are indices.
 */
import { EXPORT, REGISTER_BYTES } from '../compile/abi.js';
import type { ValType } from '../types/state.js';
import type { FrameStack } from './frames.js';
import {
  exportedFunction,
  exportedGlobal,
  exportedTable,
  type Linked,
  type LoadedModule,
  referenceNumber,
} from './loaded.js';
import { mismatch, numberAt, putNumber, valueBytes } from './values.js';

export class ValueStore {
  constructor(
    private readonly loaded: LoadedModule,
    private readonly linked: Linked,
    private readonly frames: FrameStack,
  ) {}

  write(types: readonly ValType[], raw: Uint8Array): void {
    const store = this.frames.bytes();
    let from = 0;
    types.forEach((type, k) => {
      const size = type === 'v128' ? 16 : 8;
      if (type === 'funcref')
        this.references().set(k, this.loaded.reference(this.linked, numberAt(raw, from)));
      else if (type === 'externref' && numberAt(raw, from) !== 0)
        throw mismatch('an externref that is not null');
      store.set(raw.subarray(from, from + size), k * REGISTER_BYTES);
      from += size;
    });
  }

  read(types: readonly ValType[]): Uint8Array {
    const store = this.frames.bytes();
    const out = new Uint8Array(valueBytes(types));
    let to = 0;
    types.forEach((type, k) => {
      const size = type === 'v128' ? 16 : 8;
      if (type === 'funcref') putNumber(out, to, referenceNumber(this.references().get(k)));
      else if (type !== 'externref')
        out.set(store.subarray(k * REGISTER_BYTES, k * REGISTER_BYTES + size), to);
      to += size;
    });
    return out;
  }

  saveGlobals(): Uint8Array {
    this.frames.resetWrite();
    const from = this.frames.writeStart();
    exportedFunction(this.linked.exports, EXPORT.save)();
    this.eachReference((offset) => this.frames.numberReference(from + offset));
    this.frames.releaseReferences();
    const bytes = this.frames.bytes().slice(from, this.frames.writeStart());
    this.frames.resetWrite();
    return bytes;
  }

  loadGlobals(globals: Uint8Array): void {
    this.eachReference((offset) => this.loaded.checkReference(numberAt(globals, offset)));
    this.frames.resetWrite();
    const at = this.frames.writeStart();
    const store = this.frames.bytes();
    if (store.length < at + globals.length) throw mismatch('too many globals');
    store.set(globals, at);
    exportedGlobal(this.linked.store, 'rp').value = at;
    exportedFunction(this.linked.exports, EXPORT.load)();
  }

  /** Offsets of references among the saved globals. */
  private eachReference(visit: (offset: number) => void): void {
    let offset = 0;
    for (const { type } of this.loaded.module.mutableGlobals) {
      if (type === 'funcref') visit(offset);
      offset += valueBytes([type]);
    }
  }

  /** The registers of references. */
  private references(): WebAssembly.Table {
    return exportedTable(this.linked.store, 'regs');
  }
}
