/**
 * Assembles the shard module: every function rewritten, helpers appended, exports replaced.
 *
 *   types functions tables globals code …             the same, and appended: fuel types, helpers, thunks, flags (abi.ts)
 *   (export "run" (func $f)) (start $s)    becomes    (export "$f:run" (func $thunk)) (export "$start" (func $thunk2))
 *   (func $f …)                                       (func $f … (param $F i32) (result … i32) …)       emit.ts
 *
 * Does: sections in, sections out; see abi.ts for what is appended. Linear in the module.
 * Does not: decide where safepoints are (callgraph.ts, body.ts) or how code is rewritten (emit.ts).
 *
 * I1  No index of the program (type, function, table, global, segment) changes.
 * I2  Appended functions never stop; they may be called from continuations through `bind`.
 * I3  An imported memory is defined by the shard module, with the import's limits and all zero: what a loader would give.
 */
import { EXIT, SherdError } from '../types/errors.js';
import {
  BULK_FUNCTIONS,
  EXPORT,
  MAX_VALUES,
  PLAIN_STORE_FUNCTIONS,
  STORE_FUNCTIONS,
} from './abi.js';
import { codeOffsets } from './append.js';
import { analyseBody, type Body } from './body.js';
import { type BulkFunction, bulkSignature } from './bulk-module.js';
import { ByteReader, ByteWriter, lebBytes } from './bytes.js';
import { buildCallGraph, type CallGraph } from './callgraph.js';
import { BodyEmitter, type EmitTarget } from './emit.js';
import { isReference, type WasmModule } from './module.js';
import { OP, VT } from './opcodes.js';
import { type FramePlan, planFrame, slotBytes } from './plan.js';
import { writeRecord } from './records.js';
import { Scratch } from './scratch.js';
import { extendedSection, extendedTypes, TypeTable, writeSection } from './sections.js';
import { spaceOut } from './spacing.js';
import { loadSlot, type StoreFunction, storeFunction } from './store-calls.js';
import { storeSignature } from './store-module.js';

export interface Instrumented {
  /** The module that was rewritten: the given one, maybe with polls added. */
  readonly module: WasmModule;
  /** Complete module without the `sherd` section. */
  readonly out: ByteWriter;
  readonly codeBytes: number;
  /** Functions of the bulk module are called. */
  readonly stopsInBulk: boolean;
  /** A record for each defined function, for the `sherd` section. */
  readonly records: ByteWriter;
}

/** Told how far the rewriting is, now and then. */
export type Progress = (functionsDone: number, functionsTotal: number) => void;

/** So many calls of a function of the frame store take less room through the table each than with a helper. */
const FEW_USES = 3;
/** Functions between two calls of Progress. */
const PROGRESS_EVERY = 256;

interface AppendedFunction {
  readonly type: number;
  readonly code: Uint8Array;
  readonly exportName: string | undefined;
}

/** I1. */
const same = (index: number): number => index;
/** No helper: the fast copy has the instruction itself. */
const written = (): undefined => undefined;

class Instrumenter implements EmitTarget {
  readonly sameTypes = true;
  readonly graph: CallGraph;
  private readonly types: TypeTable;
  private readonly appended: AppendedFunction[] = [];
  private readonly helperIndex = new Map<string, number>();
  private readonly globalsAdded: string[] = [EXPORT.interrupt, EXPORT.limit, EXPORT.growRefused];
  private readonly storeIndex = new Map<StoreFunction, number>();
  private readonly glueUses = new Map<StoreFunction, number>();
  private stopsInBulk = false;
  /** Per type of the program: its fuel type, or -1 as long as nobody needs it. */
  private readonly fuelTypes: Int32Array;
  private readonly records: ByteWriter;
  private readonly code: ByteWriter;

  constructor(
    private readonly module: WasmModule,
    private readonly progress: Progress,
    readonly countsLoops: boolean,
  ) {
    this.graph = buildCallGraph(module);
    this.types = new TypeTable(module.types);
    this.fuelTypes = new Int32Array(module.types.length).fill(-1);
    this.records = new ByteWriter(module.bytes.length >>> 2);
    this.code = new ByteWriter(module.bytes.length);
  }

  // --- EmitTarget ----------------------------------------------------------------------------------------

  readonly func = same;
  readonly type = same;
  readonly global = same;
  interruptGlobal(): number {
    return this.module.globals.length;
  }
  carriesFuel(functionIndex: number): boolean {
    return this.graph.carriesFuel(functionIndex);
  }
  fuelType(index: number): number {
    if (this.fuelTypes[index]! < 0) {
      const { params, results } = this.module.types[index]!;
      const type = { params: [...params, VT.i32], results: [...results, VT.i32] };
      this.fuelTypes[index] = this.types.intern(type);
    }
    return this.fuelTypes[index]!;
  }
  indirectCarriesFuel(typeIndex: number): boolean {
    return this.graph.indirectCanStop(typeIndex);
  }
  readonly tag = same;
  tagTypes(index: number): readonly number[] {
    return this.module.types[this.module.tags[index]!]!.params;
  }
  thrownFuelGlobal(): number {
    const known = this.globalsAdded.indexOf(EXPORT.thrownFuel);
    return known < 0 ? this.flagGlobal(EXPORT.thrownFuel) : this.module.globals.length + known;
  }
  deliverFunction(): number {
    throw new SherdError('SHERD_INTERNAL', 'internal: only a continuation is given exceptions');
  }
  blockType(params: readonly number[], results: readonly number[]): number {
    return this.types.intern({ params, results });
  }
  resultType(results: readonly number[]): number {
    return this.types.intern({ params: [], results });
  }
  readonly initFunction = written;
  readonly tableInitFunction = written;
  readonly refFunction = written;

  store(name: StoreFunction): number {
    let index = this.storeIndex.get(name);
    if (index === undefined) {
      index = this.append(this.storeHelper(name));
      this.storeIndex.set(name, index);
    }
    return index;
  }

  bulk(out: ByteWriter, name: BulkFunction): void {
    this.stopsInBulk = true;
    out.u8(OP.i32Const).s32(this.storeFunctions + BULK_FUNCTIONS.indexOf(name));
    out.op(OP.callIndirect, this.types.intern(bulkSignature(name))).u32(this.module.tables);
  }

  /** Functions of the frame store in the helper table. */
  private get storeFunctions(): number {
    return this.graph.usesReferences ? STORE_FUNCTIONS.length : PLAIN_STORE_FUNCTIONS;
  }

  /** Passes its parameters on to a function of the frame store. */
  private storeHelper(name: StoreFunction): AppendedFunction {
    const { params } = storeSignature(name);
    const w = new ByteWriter(32).u32(0);
    params.forEach((_, i) => {
      w.op(OP.localGet, i);
    });
    const type = this.directStoreCall(w, name);
    return { type, code: w.u8(OP.end).finish(), exportName: undefined };
  }

  /** Through the helper table; gives the type. */
  private directStoreCall(w: ByteWriter, name: StoreFunction): number {
    const type = this.types.intern(storeSignature(name));
    w.u8(OP.i32Const).s32(STORE_FUNCTIONS.indexOf(name));
    w.op(OP.callIndirect, type).u32(this.module.tables);
    return type;
  }

  /** A call outside of the program's functions: through a helper where there is one, or where one would be used often. */
  private glueCall(w: ByteWriter, name: StoreFunction): void {
    if (this.storeIndex.has(name) || (this.glueUses.get(name) ?? 0) > FEW_USES)
      w.op(OP.call, this.store(name));
    else this.directStoreCall(w, name);
  }

  /** How often entry thunks and the functions for globals call each function of the frame store. */
  private countGlueUses(): void {
    const { module, glueUses } = this;
    const count = (kind: 'get' | 'set' | 'spill' | 'load', types: readonly number[]): void => {
      for (const type of types) {
        const name = storeFunction(kind, type);
        glueUses.set(name, (glueUses.get(name) ?? 0) + 1);
      }
    };
    for (const index of this.entries().values()) {
      const { params, results } = module.types[module.functionTypes[index]!]!;
      count('get', params);
      count('set', results);
    }
    const globals = module.globals.filter(({ mutable }) => mutable).map(({ type }) => type);
    count('spill', globals);
    count(
      'load',
      globals.filter((type) => !isReference(type)),
    );
  }

  /** memory.grow under the limit: -1 above it; trap when the engine fails below it. */
  growFunction(): number {
    return this.helper('grow', () => {
      const limit = this.module.globals.length + 1;
      const refused = limit + 1;
      const w = new ByteWriter(64).u32(1).u32(1).u8(VT.i32);
      w.u8(OP.localGet)
        .u32(0)
        .u8(OP.globalGet)
        .u32(limit)
        .u8(OP.memorySize)
        .u8(0)
        .u8(OP.i32Sub)
        .u8(0x4b); // gt_u
      w.u8(OP.if).u8(0x40).u8(OP.i32Const).s32(1).u8(OP.globalSet).u32(refused);
      w.u8(OP.i32Const).s32(-1).u8(OP.return).u8(OP.end);
      w.u8(OP.localGet).u32(0).u8(OP.memoryGrow).u8(0).u8(OP.localTee).u32(1);
      w.u8(OP.i32Const).s32(-1).u8(0x46).u8(OP.if).u8(0x40);
      w.u8(OP.i32Const).s32(2).u8(OP.globalSet).u32(refused).u8(OP.unreachable).u8(OP.end);
      w.u8(OP.localGet).u32(1).u8(OP.end);
      return {
        type: this.types.intern({ params: [VT.i32], results: [VT.i32] }),
        code: w.finish(),
        exportName: EXPORT.grow,
      };
    });
  }

  dropFunction(segment: number): number {
    return this.helper(`drop:${segment}`, () => {
      const flag = this.flagGlobal(EXPORT.dropped(segment));
      const w = new ByteWriter(32).u32(0).u8(0xfc).u32(9).u32(segment);
      w.u8(OP.i32Const).s32(1).u8(OP.globalSet).u32(flag).u8(OP.end);
      return {
        type: this.types.intern({ params: [], results: [] }),
        code: w.finish(),
        exportName: EXPORT.drop(segment),
      };
    });
  }

  elemDropFunction(segment: number): number {
    return this.helper(`elemDrop:${segment}`, () => {
      const flag = this.flagGlobal(EXPORT.elemDropped(segment));
      const w = new ByteWriter(32).u32(0).u8(0xfc).u32(0x0d).u32(segment);
      w.u8(OP.i32Const).s32(1).u8(OP.globalSet).u32(flag).u8(OP.end);
      return {
        type: this.types.intern({ params: [], results: [] }),
        code: w.finish(),
        exportName: EXPORT.elemDrop(segment),
      };
    });
  }

  /** A function's index + 1, or 0, as a reference: through the one-slot table. */
  private makeRef(): number {
    return this.helper('ref', () => {
      const slot = this.module.tables + 1;
      const w = new ByteWriter(48).u32(0);
      w.u8(OP.localGet).u32(0).u8(0x45).u8(OP.if).u8(0x40); // i32.eqz
      w.u8(OP.refNull).u8(VT.funcref).u8(OP.return).u8(OP.end);
      w.u8(OP.i32Const).s32(0).u8(OP.localGet).u32(0).u8(OP.i32Const).s32(1).u8(OP.i32Sub);
      w.u8(OP.i32Const).s32(1).u8(0xfc).u32(0x0c).u32(this.module.elementSegments).u32(slot);
      w.u8(OP.i32Const).s32(0).u8(OP.tableGet).u32(slot).u8(OP.end);
      const type = this.types.intern({ params: [VT.i32], results: [VT.funcref] });
      return { type, code: w.finish(), exportName: EXPORT.ref };
    });
  }

  // --- appended things -----------------------------------------------------------------------------------

  private flagGlobal(name: string): number {
    this.globalsAdded.push(name);
    return this.module.globals.length + this.globalsAdded.length - 1;
  }

  private helper(key: string, make: () => AppendedFunction): number {
    let index = this.helperIndex.get(key);
    if (index === undefined) {
      const made = make();
      index = this.append(made);
      this.helperIndex.set(key, index);
    }
    return index;
  }

  private append(made: AppendedFunction): number {
    this.appended.push(made);
    return this.module.functionTypes.length + this.appended.length - 1;
  }

  /** The program's functions that can be called from outside, by the name of their thunk. */
  private entries(): ReadonlyMap<string, number> {
    const { module } = this;
    const entries = new Map<string, number>();
    for (const entry of module.exports) {
      if (entry.kind !== 0 || entry.index < module.imports.length) continue;
      const name = EXPORT.entry(entry.name);
      if (!entries.has(name)) entries.set(name, entry.index);
    }
    if (module.start === undefined) return entries;
    if (module.start < module.imports.length) {
      throw new SherdError(
        'SHERD_FEATURE_UNSUPPORTED',
        'an imported start function is not supported',
        { exitCode: EXIT.refused },
      );
    }
    return entries.set(EXPORT.start, module.start);
  }

  /** `(fuel) -> fuel` that passes parameters and results through registers. */
  private thunk(f: number, exportName: string): void {
    const type = this.module.types[this.module.functionTypes[f]!]!;
    if (type.params.length > MAX_VALUES || type.results.length > MAX_VALUES) return; // not callable from outside
    const w = new ByteWriter(64).u32(0);
    type.params.forEach((param, k) => {
      w.u8(OP.i32Const).s32(k);
      this.glueCall(w, storeFunction('get', param));
    });
    const fuel = this.graph.carriesFuel(f);
    if (fuel) w.u8(OP.localGet).u32(0);
    w.u8(OP.call).u32(f);
    if (fuel) w.u8(OP.localSet).u32(0);
    for (let k = type.results.length - 1; k >= 0; k--) {
      w.u8(OP.i32Const).s32(k);
      this.glueCall(w, storeFunction('set', type.results[k]!));
    }
    w.u8(OP.localGet).u32(0).u8(OP.end);
    this.append({
      type: this.types.intern({ params: [VT.i32], results: [VT.i32] }),
      code: w.finish(),
      exportName,
    });
  }

  /** `save` spills all mutable globals in order, `load` reads them back. */
  private globalFunctions(): void {
    const save = new ByteWriter(64).u32(0);
    const load = new ByteWriter(64).u32(0);
    let offset = 0;
    this.module.globals.forEach((global, index) => {
      if (!global.mutable) return;
      save.op(OP.globalGet, index);
      this.glueCall(save, storeFunction('spill', global.type));
      loadSlot(
        load,
        global.type,
        offset,
        (name) => this.glueCall(load, name),
        () => this.makeRef(),
      );
      load.u8(OP.globalSet).u32(index);
      offset += slotBytes(global.type);
    });
    const type = this.types.intern({ params: [], results: [] });
    this.append({ type, code: save.u8(OP.end).finish(), exportName: EXPORT.save });
    this.append({ type, code: load.u8(OP.end).finish(), exportName: EXPORT.load });
  }

  private segmentFunctions(): void {
    for (const segment of this.graph.summaries.dataSegments) {
      const w = new ByteWriter(16).u32(0);
      for (let i = 0; i < 3; i++) w.u8(OP.localGet).u32(i);
      w.u8(0xfc).u32(8).u32(segment).u8(0).u8(OP.end);
      const type = this.types.intern({ params: [VT.i32, VT.i32, VT.i32], results: [] });
      this.append({ type, code: w.finish(), exportName: EXPORT.init(segment) });
    }
  }

  private elementFunctions(): void {
    for (const [segment, table] of this.graph.summaries.elementInits.values()) {
      const w = new ByteWriter(16).u32(0);
      for (let i = 0; i < 3; i++) w.u8(OP.localGet).u32(i);
      w.u8(0xfc).u32(0x0c).u32(segment).u32(table).u8(OP.end);
      const type = this.types.intern({ params: [VT.i32, VT.i32, VT.i32], results: [] });
      this.append({ type, code: w.finish(), exportName: EXPORT.tableInit(segment, table) });
    }
  }

  /** `bind(i)` copies function i into the one-slot table. */
  private bindFunction(): void {
    const w = new ByteWriter(16).u32(0);
    w.u8(OP.i32Const).s32(0).u8(OP.localGet).u32(0).u8(OP.i32Const).s32(1);
    w.u8(0xfc)
      .u32(0x0c)
      .u32(this.module.elementSegments)
      .u32(this.module.tables + 1)
      .u8(OP.end);
    this.append({
      type: this.types.intern({ params: [VT.i32], results: [] }),
      code: w.finish(),
      exportName: EXPORT.bind,
    });
  }

  // --- sections ------------------------------------------------------------------------------------------

  run(): Instrumented {
    this.rewriteBodies();
    this.countGlueUses();
    for (const [name, index] of this.entries()) this.thunk(index, name);
    this.globalFunctions();
    this.segmentFunctions();
    this.elementFunctions();
    if (this.graph.usesReferences) this.makeRef();
    this.bindFunction();
    for (const { code } of this.appended) this.code.u32(code.length).put(code);
    const out = new ByteWriter(this.module.bytes.length * 2).put(this.module.bytes.subarray(0, 8));
    const functionSection = this.functionSection(); // interns fuel types: before the type section
    writeSection(out, 1, extendedTypes(this.module, this.types));
    this.importSection(out);
    writeSection(out, 3, functionSection);
    writeSection(out, 4, this.tableSection());
    this.memorySection(out);
    this.raw(out, 13);
    writeSection(out, 6, this.globalSection());
    writeSection(out, 7, this.exportSection());
    writeSection(out, 9, this.elementSection());
    this.raw(out, 12);
    const codeBytes = this.codeSection(out);
    this.raw(out, 11);
    const { module, stopsInBulk, records } = this;
    return { module, out, codeBytes, stopsInBulk, records };
  }

  /** Fills `code` and `records`, one function after the other, in the same scratch. */
  private rewriteBodies(): void {
    const { module, graph, code } = this;
    const scratch = new Scratch();
    const emitter = new BodyEmitter(module.bytes, this, 'fast');
    const offsetOf = codeOffsets(module);
    const count = module.bodies.length;
    for (let k = 0; k < count; k++) {
      if (k % PROGRESS_EVERY === 0) this.progress(k, count);
      const f = module.imports.length + k;
      const body = analyseBody(module, f, graph, scratch);
      const plan = planFrame(body, module.bytes, scratch);
      const stops = graph.canStop(f);
      if (stops) this.checkLimits(body, plan);
      writeRecord(this.records, graph.summaries, k, body, stops ? plan : undefined, offsetOf);
      const written = emitter.fast(body, plan);
      code.u32(written.length).append(written);
    }
    this.progress(count, count);
  }

  private checkLimits(body: Body, plan: FramePlan): void {
    let values = body.type.results.length;
    for (const { results } of body.safepoints) values = Math.max(values, results.length);
    if (values > MAX_VALUES || plan.bytes > 1 << 19) {
      throw new SherdError(
        'SHERD_LIMIT',
        `function ${body.index} has too many results or live values`,
        {
          next: `at most ${MAX_VALUES} results and 65536 live values a function`,
          exitCode: EXIT.refused,
        },
      );
    }
  }

  private raw(out: ByteWriter, id: number): void {
    const section = this.module.sections.find((s) => s.id === id);
    if (section !== undefined) out.copy(this.module.bytes, section.start, section.end);
  }

  /** Without the memory. */
  private importSection(out: ByteWriter): void {
    const { bytes, imports, sections, memoryImport } = this.module;
    if (memoryImport === undefined) return this.raw(out, 2);
    const section = sections.find((s) => s.id === 2)!;
    const r = new ByteReader(bytes, section.bodyStart, section.end);
    r.u32();
    const { start, end } = memoryImport;
    const w = new ByteWriter(section.end - section.bodyStart).u32(imports.length);
    writeSection(out, 2, w.copy(bytes, r.pos, start).copy(bytes, end, section.end));
  }

  /** With an imported memory as the program's own (I3). */
  private memorySection(out: ByteWriter): void {
    const { bytes, memoryImport } = this.module;
    if (memoryImport === undefined) return this.raw(out, 5);
    const { type, end } = memoryImport;
    writeSection(out, 5, new ByteWriter(16).u32(1).copy(bytes, type, end));
  }

  private functionSection(): ByteWriter {
    const { module } = this;
    const w = new ByteWriter(1024).u32(module.bodies.length + this.appended.length);
    for (let f = module.imports.length; f < module.functionTypes.length; f++) {
      const type = module.functionTypes[f]!;
      w.u32(this.graph.carriesFuel(f) ? this.fuelType(type) : type);
    }
    for (const { type } of this.appended) w.u32(type);
    return w;
  }

  private tableSection(): ByteWriter {
    const w = extendedSection(this.module, 4, this.module.tables, 2);
    const helpers = this.storeFunctions + (this.stopsInBulk ? BULK_FUNCTIONS.length : 0);
    w.u8(0x70).u8(1).u32(helpers).u32(helpers);
    return w.u8(0x70).u8(1).u32(1).u32(1);
  }

  private globalSection(): ByteWriter {
    const w = extendedSection(this.module, 6, this.module.globals.length, this.globalsAdded.length);
    for (const name of this.globalsAdded) {
      w.u8(VT.i32)
        .u8(1)
        .u8(OP.i32Const)
        .s32(name === EXPORT.limit ? 65_536 : 0)
        .u8(OP.end);
    }
    return w;
  }

  private exportSection(): ByteWriter {
    const { module } = this;
    const entries: [name: string, kind: number, index: number][] = [];
    if (module.memory !== undefined) entries.push([EXPORT.memory, 2, 0]);
    for (let t = 0; t < module.tables; t++) entries.push([EXPORT.table(t), 1, t]);
    const changing = [...this.graph.summaries.changedTables].sort((a, b) => a - b);
    for (const t of changing) entries.push([EXPORT.changing(t), 1, t]);
    entries.push([EXPORT.helpers, 1, module.tables], [EXPORT.slot, 1, module.tables + 1]);
    module.globals.forEach((_, g) => {
      entries.push([EXPORT.global(g), 3, g]);
    });
    module.tags.forEach((_, tag) => {
      entries.push([EXPORT.tag(tag), 4, tag]);
    });
    this.globalsAdded.forEach((name, g) => {
      entries.push([name, 3, module.globals.length + g]);
    });
    this.appended.forEach(({ exportName }, k) => {
      if (exportName !== undefined) entries.push([exportName, 0, module.functionTypes.length + k]);
    });
    const w = new ByteWriter(1024).u32(entries.length);
    for (const [name, kind, index] of entries) w.name(name).u8(kind).u32(index);
    return w;
  }

  /** The program's segments, then a passive one with every function (for `bind`). */
  private elementSection(): ByteWriter {
    const total = this.module.functionTypes.length + this.appended.length;
    const w = extendedSection(this.module, 9, this.module.elementSegments, 1)
      .u32(1)
      .u8(0x00)
      .u32(total);
    for (let f = 0; f < total; f++) w.u32(f);
    return w;
  }

  /** Appends the code section; the size of its content. */
  private codeSection(out: ByteWriter): number {
    const count = this.module.bodies.length + this.appended.length;
    const bytes = lebBytes(count) + this.code.length;
    out.u8(10).u32(bytes).u32(count).append(this.code);
    return bytes;
  }
}

export interface InstrumentOptions {
  readonly progress?: Progress | undefined;
  /** Counted loops poll once for all passages that the fuel pays for: see counted.ts. */
  readonly countsLoops: boolean;
  /** Instructions between polls, at most: see spacing.ts. */
  readonly spacing: number;
}

/** Rewrites a program's module. `validate` is asked after unsupported features have been refused by name. */
export function instrument(
  given: WasmModule,
  validate: () => void,
  { progress = () => undefined, countsLoops, spacing }: InstrumentOptions,
): Instrumented {
  const first = analysed(validate, () => new Instrumenter(given, progress, countsLoops));
  validate();
  const module = spaceOut(given, first.graph, spacing);
  return (module === given ? first : new Instrumenter(module, progress, countsLoops)).run();
}

/** What sherd does not support is named before what is invalid; but an invalid module may break what analysis relies on. */
function analysed<T>(validate: () => void, analyse: () => T): T {
  try {
    return analyse();
  } catch (error) {
    if (error instanceof SherdError && error.code === 'SHERD_INTERNAL') validate();
    throw error;
  }
}
