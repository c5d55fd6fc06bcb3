/**
 * A shard module loaded into this thread: compiled once, continuations cached, shared by all its instances.
 *
 * Does: compile the module and its continuations; link; know the initial memory image.
 * Does not: run (instance.ts).
 *
 * L1  One continuation module per (function, safepoint), compiled once and kept while it is among those used last
 *     (CONTINUATIONS_BYTES). A loop in a continuation has no on-stack replacement: its code gets faster from one call to the
 *     next, that is from slice to slice.
 * L2  Nothing here holds state of an instance.
 */
import {
  BULK_FUNCTIONS,
  EXPORT,
  PLAIN_ABI,
  PLAIN_STORE_FUNCTIONS,
  STORE_FUNCTIONS,
} from '../compile/abi.js';
import { BULK_IMPORT, buildBulkModule } from '../compile/bulk-module.js';
import { ContinuationBuilder, type ContinuationImport } from '../compile/continuation.js';
import { type FrameLayout, layoutOf } from '../compile/plan.js';
import { buildStoreModule } from '../compile/store-module.js';
import { Kept } from '../core/kept.js';
import { EXIT, invariant, SherdError } from '../types/errors.js';
import type { HostFunction, HostFunctions } from '../types/host.js';
import type { ShardModule } from '../types/module.js';
import type { Platform } from '../types/platform.js';
import type { BaseImage } from '../types/state.js';

/** A spare instance touches at most this much memory ahead of need (a page fault costs 12–20 µs). */
const TOUCH_BYTES = 4 << 20;
const SCAN_BYTES = 4096;
const WASM_PAGE_BYTES = 65_536;

/** Continuations that are kept, by weight: in a module, and linked in an instance. */
const CONTINUATIONS_BYTES = 64 << 20;
/** Code that the engine makes of a byte of Wasm, and what it keeps beside it for each module. */
const CODE_BYTES_A_BYTE = 8;
const MODULE_BYTES = 16 << 10;

export interface CompiledContinuation {
  readonly module: WebAssembly.Module;
  /** About what it takes in memory. */
  readonly weightBytes: number;
  readonly imports: readonly ContinuationImport[];
}

/** Where host calls of a linked instance go; set by the Instance that uses it. */
export interface HostPort {
  call(importIndex: number, args: (number | bigint)[]): number | bigint | void;
  /** An exception that a resumed frame's callee ended with: thrown by the frame's continuation. */
  thrown?: { readonly exception: unknown } | undefined;
}

/** The instances behind one shard: the program's and its frame store's. */
export interface Linked {
  readonly exports: WebAssembly.Exports;
  readonly store: WebAssembly.Exports;
  /** Functions of the bulk module; none when the module calls none. */
  readonly bulk: WebAssembly.Exports;
  /** Program functions bound so far, by index. */
  readonly functions: Map<number, WebAssembly.ExportValue>;
  readonly port: HostPort;
}

/** An export as a function, or an internal error. */
export function exportedFunction(
  exports: WebAssembly.Exports,
  name: string,
): (...args: number[]) => number {
  const value = exports[name];
  invariant(typeof value === 'function', `export ${name} is missing`);
  return value as (...args: number[]) => number;
}

export function exportedGlobal(exports: WebAssembly.Exports, name: string): WebAssembly.Global {
  const value = exports[name];
  invariant(value instanceof WebAssembly.Global, `export ${name} is missing`);
  return value;
}

export function exportedTable(exports: WebAssembly.Exports, name: string): WebAssembly.Table {
  const value = exports[name];
  invariant(value instanceof WebAssembly.Table, `export ${name} is missing`);
  return value;
}

export function exportedMemory(exports: WebAssembly.Exports, name: string): WebAssembly.Memory {
  const value = exports[name];
  invariant(value instanceof WebAssembly.Memory, `export ${name} is missing`);
  return value;
}

export class LoadedModule {
  private builder: ContinuationBuilder | undefined;
  private readonly continuations: Kept<CompiledContinuation>;
  private readonly layouts = new Map<number, FrameLayout>();
  private base: BaseImage | undefined;
  private bulkCompiled: WebAssembly.Module | undefined;
  private spare: Linked | undefined;
  private spareExtraPages = 0;
  /** Passive data segments that the program may drop, ascending. */
  readonly droppable: readonly number[];
  /** Element segments that the program may drop, ascending. */
  readonly droppableElements: readonly number[];
  /** The program has exceptions of its own. */
  readonly catches: boolean;
  /** Tables that the program may change, ascending. */
  readonly changingTables: readonly number[];
  private tables: ReadonlyMap<number, Uint32Array> | undefined;

  private constructor(
    readonly module: ShardModule,
    readonly platform: Platform,
    private readonly compiled: WebAssembly.Module,
    private readonly storeCompiled: WebAssembly.Module,
    /** The module has reference values: its frame store has the tables for them. */
    readonly references: boolean,
    /** Weight of the continuations that are kept here, and in each instance. */
    readonly keepBytes: number,
  ) {
    this.continuations = new Kept(keepBytes);
    const entries = WebAssembly.Module.exports(compiled);
    this.droppable = numbersOf(entries, EXPORT.dropped);
    this.droppableElements = numbersOf(entries, EXPORT.elemDropped);
    this.changingTables = numbersOf(entries, EXPORT.changing);
    this.catches = entries.some((entry) => entry.name === EXPORT.thrownFuel);
  }

  /** Compiles the module. Throws SHERD_WASM_MALFORMED when the engine refuses it. */
  static load(
    module: ShardModule,
    platform: Platform,
    keepBytes = CONTINUATIONS_BYTES,
  ): LoadedModule {
    try {
      const compiled = platform.compileWasm(module.bytes);
      const references = WebAssembly.Module.exports(compiled).some((e) => e.name === EXPORT.ref);
      const store = platform.compileWasm(buildStoreModule(references));
      return new LoadedModule(module, platform, compiled, store, references, keepBytes);
    } catch (error) {
      if (error instanceof SherdError) throw error;
      throw new SherdError('SHERD_WASM_MALFORMED', 'the engine refuses the shard module', {
        cause: error,
        next: 'compile the program again with this version of sherd',
        exitCode: EXIT.refused,
      });
    }
  }

  /** Frame layout of a function that can stop, from the resume map. */
  layout(functionIndex: number): FrameLayout {
    let known = this.layouts.get(functionIndex);
    if (known === undefined) {
      const info = this.module.functions[functionIndex - this.module.imports.length];
      invariant(info?.instrumented, `function ${functionIndex} has no frames`);
      known = layoutOf(info);
      this.layouts.set(functionIndex, known);
    }
    return known;
  }

  /** Refuses a program that imports what the host does not offer, by name. */
  resolveImports(functions: HostFunctions): HostFunction[] {
    return this.module.imports.map(({ module, field }) => {
      const found = functions.get(module)?.get(field);
      if (found === undefined) throw unknownImport(module, field);
      return found;
    });
  }

  get hasSpare(): boolean {
    return this.spare !== undefined;
  }

  /**
   * Links an instance ahead of need, with memory touched as far as `memoryBytes`, so that a shard that is about to
   * come finds it warm. One is kept; one of another size is made to fit, or over again. `called`: somebody waits for this
   * thread; what is not touched yet is not. Throws as linking does, and keeps none then.
   */
  makeSpare(memoryBytes: number, called: () => boolean = () => false): void {
    const least = this.module.memory?.minPages ?? 0;
    const wanted = Math.ceil(memoryBytes / WASM_PAGE_BYTES) - least;
    const extraPages = this.module.memory === undefined ? 0 : Math.max(0, wanted);
    if (this.spare !== undefined && this.spareExtraPages === extraPages) return;
    if (this.spareExtraPages > extraPages) this.dropSpare();
    const spare = this.spare ?? this.linkFresh();
    this.dropSpare();
    this.builder ??= new ContinuationBuilder(this.module);
    this.baseImage();
    this.spare = spare;
    if (this.module.memory === undefined) return;
    this.growSpare(spare, extraPages, called);
  }

  /** Without a spare, linking takes longer. */
  dropSpare(): void {
    this.spare = undefined;
    this.spareExtraPages = 0;
  }

  private growSpare(spare: Linked, extraPages: number, called: () => boolean): void {
    const memory = exportedMemory(spare.exports, EXPORT.memory);
    const least = this.module.memory?.minPages ?? 0;
    try {
      growTo(memory, least + extraPages);
    } catch (error) {
      if (!(error instanceof SherdError)) throw error; // no memory to spare: it is grown when it is needed
    }
    this.spareExtraPages = memory.buffer.byteLength / WASM_PAGE_BYTES - least;
    const bytes = new Uint8Array(memory.buffer).subarray(0, TOUCH_BYTES);
    for (let at = 0; at < bytes.length; at += SCAN_BYTES) {
      if (at % WASM_PAGE_BYTES === 0 && called()) return;
      bytes[at] = bytes[at]!;
    }
  }

  /** A linked instance with at most `memoryPages` pages of memory, holding the base image. */
  link(memoryPages: number): Linked {
    const { spare } = this;
    const least = this.module.memory?.minPages ?? 0;
    if (spare === undefined || least + this.spareExtraPages > memoryPages) return this.linkFresh();
    this.dropSpare();
    return spare;
  }

  /** A linked instance of its own, for a shard whose memory is staged before it comes (staged.ts). */
  linkStaged(): Linked {
    this.builder ??= new ContinuationBuilder(this.module);
    this.baseImage();
    return this.linkFresh();
  }

  private linkFresh(): Linked {
    const port: HostPort = {
      call: () => {
        throw new SherdError(
          'SHERD_INTERNAL',
          'internal: host call of an instance that nobody runs',
        );
      },
    };
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
    this.module.imports.forEach(({ module, field }, index) => {
      imports[module] ??= {};
      imports[module][field] = ((...args: (number | bigint)[]) =>
        port.call(index, args)) as WebAssembly.ImportValue;
    });
    const store = this.instantiate(this.storeCompiled, {}).exports;
    const { exports } = this.instantiate(this.compiled, imports);
    const helpers = exportedTable(exports, EXPORT.helpers);
    const count = this.references ? STORE_FUNCTIONS.length : PLAIN_STORE_FUNCTIONS;
    STORE_FUNCTIONS.slice(0, count).forEach((name, slot) => {
      helpers.set(slot, store[name]);
    });
    const bulk = this.bulkOf(exports);
    BULK_FUNCTIONS.forEach((name, i) => {
      if (bulk[name] !== undefined) helpers.set(count + i, bulk[name]);
    });
    return { exports, store, bulk, functions: new Map(), port };
  }

  private bulkOf(exports: WebAssembly.Exports): WebAssembly.Exports {
    if (this.module.abi === PLAIN_ABI) return {};
    this.bulkCompiled ??= this.platform.compileWasm(buildBulkModule());
    const { module, field } = BULK_IMPORT;
    const memory = exportedMemory(exports, EXPORT.memory);
    return this.instantiate(this.bulkCompiled, { [module]: { [field]: memory } }).exports;
  }

  private instantiate(
    compiled: WebAssembly.Module,
    imports: WebAssembly.Imports,
  ): WebAssembly.Instance {
    try {
      return this.platform.instantiateWasm(compiled, imports);
    } catch (error) {
      if (error instanceof RangeError) {
        throw new SherdError(
          'SHERD_ENGINE_MEMORY',
          "the program's initial memory cannot be allocated",
          { cause: error },
        );
      }
      throw new SherdError(
        'SHERD_TRAP',
        `the program traps while it is instantiated: ${String(error)}`,
        {
          cause: error,
          exitCode: EXIT.trap,
        },
      );
    }
  }

  /** The continuation of a frame, compiled. */
  continuation(functionIndex: number, safepoint: number): CompiledContinuation {
    const key = `${functionIndex}.${safepoint}`;
    let known = this.continuations.get(key);
    if (known === undefined) {
      this.builder ??= new ContinuationBuilder(this.module);
      const built = this.builder.build(functionIndex, safepoint);
      const weightBytes = MODULE_BYTES + built.bytes.length * CODE_BYTES_A_BYTE;
      known = {
        module: this.platform.compileWasm(built.bytes),
        imports: built.imports,
        weightBytes,
      };
      this.continuations.set(key, known, weightBytes);
    }
    return known;
  }

  /** Instantiates a continuation on a linked instance; returns `(fuel) -> fuel`. */
  linkContinuation(linked: Linked, continuation: CompiledContinuation): (fuel: number) => number {
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {
      deliver: {},
      store: {},
      bulk: {},
      function: {},
      export: {},
    };
    const deliver = (): void => {
      const { thrown } = linked.port;
      linked.port.thrown = undefined;
      if (thrown !== undefined) throw thrown.exception;
    };
    for (const { kind, name } of continuation.imports) {
      const value =
        kind === 'deliver'
          ? deliver
          : kind === 'store'
            ? linked.store[name]!
            : kind === 'bulk'
              ? linked.bulk[name]!
              : kind === 'export'
                ? linked.exports[name]!
                : this.bind(linked, Number(name));
      imports[kind]![name] = value;
    }
    const instance = this.platform.instantiateWasm(continuation.module, imports);
    return exportedFunction(instance.exports, 'k');
  }

  /** A capsule is untrusted: a reference names one of the program's functions or none. */
  checkReference(reference: bigint | number): void {
    const { imports, functions } = this.module;
    if (reference === 0n || reference === 0) return;
    if (reference > imports.length && reference <= imports.length + functions.length) return;
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `a reference to function ${BigInt(reference) - 1n}, which this module does not have`,
    );
  }

  /** The program's function of this number on a linked instance, 0 = null. */
  reference(linked: Linked, number: number): WebAssembly.ExportValue | null {
    this.checkReference(number);
    return number === 0 ? null : this.bind(linked, number - 1);
  }

  /** A program function as a callable value, fetched through the one-slot table. */
  bind(linked: Linked, functionIndex: number): WebAssembly.ExportValue {
    let known = linked.functions.get(functionIndex);
    if (known === undefined) {
      exportedFunction(linked.exports, EXPORT.bind)(functionIndex);
      known = exportedTable(linked.exports, EXPORT.slot).get(0) as WebAssembly.ExportValue;
      linked.functions.set(functionIndex, known);
    }
    return known;
  }

  /** The tables that the program may change, right after instantiation: function index + 1 a slot, 0 = null. */
  baseTables(): ReadonlyMap<number, Uint32Array> {
    if (this.tables === undefined) {
      const { exports } = this.linkFresh();
      this.tables = new Map(
        this.changingTables.map((index) => [
          index,
          readTable(exportedTable(exports, EXPORT.table(index))),
        ]),
      );
    }
    return this.tables;
  }

  /** The memory right after instantiation, as 4 KiB pages that are not zero. */
  baseImage(): BaseImage {
    if (this.base === undefined) {
      const { exports } = this.linkFresh();
      const memory = this.module.memory === undefined ? new Uint8Array(0) : memoryOf(exports);
      this.base = scanImage(memory, this.platform);
    }
    return this.base;
  }
}

/** Functions by index + 1, 0 = null. */
export function readTable(table: WebAssembly.Table): Uint32Array {
  const content = new Uint32Array(table.length);
  for (let slot = 0; slot < content.length; slot++)
    content[slot] = referenceNumber(table.get(slot));
  return content;
}

/** A reference as capsules have it. An exported function's name is its index, by the JavaScript interface of Wasm. */
export function referenceNumber(reference: unknown): number {
  if (reference === null || reference === undefined) return 0;
  invariant(typeof reference === 'function', 'only functions are referenced');
  const index = Number(reference.name);
  invariant(Number.isSafeInteger(index) && index >= 0, 'a function that the program does not have');
  return index + 1;
}

/** The numbers N of exports named like `name(N)`, ascending. */
function numbersOf(
  entries: readonly WebAssembly.ModuleExportDescriptor[],
  name: (index: number) => string,
): number[] {
  const prefix = name(0).slice(0, -1);
  return entries
    .filter(
      (entry) => entry.name.startsWith(prefix) && /^\d+$/.test(entry.name.slice(prefix.length)),
    )
    .map((entry) => Number(entry.name.slice(prefix.length)))
    .sort((a, b) => a - b);
}

export function memoryOf(exports: WebAssembly.Exports): Uint8Array {
  return new Uint8Array(exportedMemory(exports, EXPORT.memory).buffer);
}

/** Grows a memory to a size, in 64 KiB pages. Throws SHERD_ENGINE_MEMORY when the engine has no room. */
export function growTo(memory: WebAssembly.Memory, pages: number): void {
  const missing = pages - memory.buffer.byteLength / WASM_PAGE_BYTES;
  if (missing <= 0) return;
  try {
    memory.grow(missing);
  } catch (cause) {
    throw new SherdError(
      'SHERD_ENGINE_MEMORY',
      `the engine cannot give the shard its ${pages} pages of memory`,
      { cause, next: 'free memory on this machine or resume the shard elsewhere' },
    );
  }
}

function scanImage(memory: Uint8Array, platform: Platform): BaseImage {
  const zero = new Uint8Array(SCAN_BYTES);
  const nonZero = new Map<number, Uint8Array>();
  for (let at = 0; at < memory.length; at += SCAN_BYTES) {
    if (!platform.equal(memory, at, zero, 0, SCAN_BYTES))
      nonZero.set(at / SCAN_BYTES, memory.slice(at, at + SCAN_BYTES));
  }
  return { pages: memory.length / WASM_PAGE_BYTES, nonZero };
}

function unknownImport(module: string, field: string): SherdError {
  const hint =
    module === 'env' && field === 'abort'
      ? 'compile the AssemblyScript program through sherd, which supplies abort'
      : 'only WASI preview 1 (wasi_snapshot_preview1) is offered';
  return new SherdError(
    'SHERD_IMPORT_UNSUPPORTED',
    `the program imports ${module}.${field}, which sherd does not offer`,
    {
      next: hint,
      exitCode: EXIT.refused,
    },
  );
}
