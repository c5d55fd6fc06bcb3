/**
 * Builds the side module that holds one continuation: the rest of a function from one safepoint on.
 *
 *   (module
 *     (import "s" "load_i32" …)      functions of the frame store and of the bulk module that it uses
 *     (import "p" "12" (func …))     program functions it calls, by index
 *     (import "p" "$m" "$t0" "$g3"…) the instance's memory, tables, globals, tags
 *     (func (param fuel) (result r… i32)              suffix copy, see emit.ts)
 *     (func (export "k") (param fuel) (result fuel)   calls $k, puts the results into registers))
 *
 * Does: intern types, collect imports as the emitter asks for them, write the module.
 * Does not: compile or cache (runtime/loaded.ts).
 *
 * K1  Built from the shard module's skeleton and checked against its resume map: the slots of a frame mean the same.
 * K2  The module name is `sherd-k-FUNCTION-SAFEPOINT`, so stack traces name the program's function.
 */
import { invariant, SherdError } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';
import { EXPORT } from './abi.js';
import { analyseBody, type Body } from './body.js';
import { type BulkFunction, bulkSignature } from './bulk-module.js';
import { ByteWriter } from './bytes.js';
import type { EmitTarget } from './emit.js';
import { ContinuationEmitter } from './emit-continuation.js';
import type { FuncType, WasmModule } from './module.js';
import { OP, VT } from './opcodes.js';
import { type FramePlan, planFrame, VAL_TYPE_NAME } from './plan.js';
import { Scratch } from './scratch.js';
import { TypeTable, writeSection, writeType } from './sections.js';
import { callsOf, type SkeletonCalls, skeletonOf } from './skeleton.js';
import { type StoreFunction, storeFunction } from './store-calls.js';
import { storeSignature } from './store-module.js';

/** What must be handed to `WebAssembly.Instance` for a continuation module. */
export interface ContinuationImport {
  readonly kind: 'store' | 'bulk' | 'function' | 'export' | 'deliver';
  /** Name of a function of the frame store or of the bulk module, program function index, or export name of the shard module; `deliver` see instance.ts. */
  readonly name: string;
}

export interface ContinuationModule {
  readonly bytes: Uint8Array;
  readonly imports: readonly ContinuationImport[];
}

class ContinuationTarget implements EmitTarget {
  readonly sameTypes = false;
  readonly countsLoops = true;
  readonly table = new TypeTable();
  readonly functionImports: { readonly from: ContinuationImport; readonly type: number }[] = [];
  private readonly functionIndex = new Map<string, number>();
  readonly globalImports: {
    readonly name: string;
    readonly type: number;
    readonly mutable: boolean;
  }[] = [];
  private readonly globalIndex = new Map<string, number>();

  constructor(
    private readonly module: WasmModule,
    private readonly calls: SkeletonCalls,
  ) {}

  private importFunction(from: ContinuationImport, type: FuncType): number {
    const key = `${from.kind}:${from.name}`;
    let index = this.functionIndex.get(key);
    if (index === undefined) {
      index = this.functionImports.length;
      this.functionImports.push({ from, type: this.table.intern(type) });
      this.functionIndex.set(key, index);
    }
    return index;
  }

  private withFuel(type: FuncType): FuncType {
    return { params: [...type.params, VT.i32], results: [...type.results, VT.i32] };
  }

  func(index: number): number {
    const type = this.module.types[this.module.functionTypes[index]!]!;
    return this.importFunction(
      { kind: 'function', name: String(index) },
      this.carriesFuel(index) ? this.withFuel(type) : type,
    );
  }
  type(index: number): number {
    return this.table.intern(this.module.types[index]!);
  }
  fuelType(index: number): number {
    return this.table.intern(this.withFuel(this.module.types[index]!));
  }
  readonly tagImports: number[] = [];
  tag(index: number): number {
    if (!this.tagImports.includes(index)) this.tagImports.push(index);
    return this.tagImports.indexOf(index);
  }
  tagTypes(index: number): readonly number[] {
    return this.module.types[this.module.tags[index]!]!.params;
  }
  tagType(index: number): number {
    return this.table.intern(this.module.types[this.module.tags[index]!]!);
  }
  thrownFuelGlobal(): number {
    return this.importGlobal(EXPORT.thrownFuel, VT.i32, true);
  }
  deliverFunction(): number {
    return this.importFunction({ kind: 'deliver', name: 'deliver' }, { params: [], results: [] });
  }
  blockType(params: readonly number[], results: readonly number[]): number {
    return this.table.intern({ params, results });
  }
  resultType(results: readonly number[]): number {
    return this.table.intern({ params: [], results });
  }
  private importGlobal(name: string, type: number, mutable: boolean): number {
    let index = this.globalIndex.get(name);
    if (index === undefined) {
      index = this.globalImports.length;
      this.globalImports.push({ name, type, mutable });
      this.globalIndex.set(name, index);
    }
    return index;
  }
  global(index: number): number {
    const global = this.module.globals[index]!;
    return this.importGlobal(EXPORT.global(index), global.type, global.mutable);
  }
  interruptGlobal(): number {
    return this.importGlobal(EXPORT.interrupt, VT.i32, true);
  }
  store(name: StoreFunction): number {
    return this.importFunction({ kind: 'store', name }, storeSignature(name));
  }
  bulk(out: ByteWriter, name: BulkFunction): void {
    out.op(OP.call, this.importFunction({ kind: 'bulk', name }, bulkSignature(name)));
  }
  growFunction(): number {
    return this.importFunction(
      { kind: 'export', name: EXPORT.grow },
      { params: [VT.i32], results: [VT.i32] },
    );
  }
  initFunction(segment: number): number {
    const type = { params: [VT.i32, VT.i32, VT.i32], results: [] };
    return this.importFunction({ kind: 'export', name: EXPORT.init(segment) }, type);
  }
  dropFunction(segment: number): number {
    return this.importFunction(
      { kind: 'export', name: EXPORT.drop(segment) },
      { params: [], results: [] },
    );
  }
  tableInitFunction(segment: number, table: number): number {
    const type = { params: [VT.i32, VT.i32, VT.i32], results: [] };
    return this.importFunction({ kind: 'export', name: EXPORT.tableInit(segment, table) }, type);
  }
  elemDropFunction(segment: number): number {
    return this.importFunction(
      { kind: 'export', name: EXPORT.elemDrop(segment) },
      { params: [], results: [] },
    );
  }
  refFunction(): number {
    return this.importFunction(
      { kind: 'export', name: EXPORT.ref },
      { params: [VT.i32], results: [VT.funcref] },
    );
  }
  carriesFuel(functionIndex: number): boolean {
    return this.calls.carriesFuel(functionIndex);
  }
  indirectCarriesFuel(typeIndex: number): boolean {
    return this.calls.indirectCanStop(typeIndex);
  }
}

/** Builds continuations of one shard module. Analyses each function once. */
export class ContinuationBuilder {
  private readonly module: WasmModule;
  private readonly calls: SkeletonCalls;
  private readonly analysed = new Map<number, { body: Body; plan: FramePlan }>();

  constructor(private readonly shard: ShardModule) {
    this.module = skeletonOf(shard);
    this.calls = callsOf(shard);
  }

  /** Frame layout of a function, as in the resume map. */
  plan(functionIndex: number): FramePlan {
    return this.analyse(functionIndex).plan;
  }

  private analyse(functionIndex: number): { body: Body; plan: FramePlan } {
    let known = this.analysed.get(functionIndex);
    if (known === undefined) {
      const scratch = new Scratch();
      const body = analyseBody(this.module, functionIndex, this.calls, scratch);
      const plan = planFrame(body, this.module.bytes, scratch);
      this.check(functionIndex, body, plan);
      known = { body, plan };
      this.analysed.set(functionIndex, known);
    }
    return known;
  }

  /** K1: the analysis agrees with the resume map with which the module was compiled. */
  private check(functionIndex: number, body: Body, plan: FramePlan): void {
    const info = this.shard.functions[functionIndex - this.module.imports.length];
    invariant(info?.instrumented, `function ${functionIndex} cannot stop`);
    const same =
      info.safepoints.length === body.safepoints.length &&
      info.slots.length === plan.slots.length &&
      plan.slots.every(({ type, local }, i) => {
        const mapped = info.slots[i]!;
        return mapped.type === VAL_TYPE_NAME[type] && mapped.local === local;
      }) &&
      info.safepoints.every(({ live }, s) => sameLive(plan, s, live));
    if (same) return;
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `resume map of function ${functionIndex} does not fit its code`,
      {
        next: 'compile the program again; capsules of the old shard module need the sherd version that made it',
      },
    );
  }

  build(functionIndex: number, safepoint: number): ContinuationModule {
    const { body, plan } = this.analyse(functionIndex);
    invariant(
      safepoint < body.safepoints.length,
      `function ${functionIndex} has no safepoint ${safepoint}`,
    );
    const target = new ContinuationTarget(this.module, this.calls);
    const emitter = new ContinuationEmitter(this.module.bytes, target);
    const code = emitter.continuation(body, plan, safepoint);
    const wrapper = wrapperBody(target, body.type.results);
    const innerType = target.table.intern({
      params: [VT.i32],
      results: [...body.type.results, VT.i32],
    });
    const outerType = target.table.intern({ params: [VT.i32], results: [VT.i32] });
    const inner = target.functionImports.length;
    for (const tag of target.tagImports) target.tagType(tag); // interned before the types are written
    const out = new ByteWriter(code.length + 1024).put(
      Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0),
    );
    writeSection(out, 1, typeSection(target.table.types));
    writeSection(out, 2, this.importSection(target));
    writeSection(out, 3, new ByteWriter().u32(2).u32(innerType).u32(outerType));
    writeSection(
      out,
      7,
      new ByteWriter()
        .u32(1)
        .name('k')
        .u8(0)
        .u32(inner + 1),
    );
    const codes = new ByteWriter(code.length + 128).u32(2).u32(code.length).append(code);
    const outer = wrapper(inner);
    writeSection(out, 10, codes.u32(outer.length).put(outer));
    const moduleName = new ByteWriter().name(`sherd-k-${functionIndex}-${safepoint}`);
    writeSection(
      out,
      0,
      new ByteWriter().name('name').u8(0).u32(moduleName.length).put(moduleName.view()),
    );
    return { bytes: out.finish(), imports: this.importList(target) };
  }

  private sharedImports(target: ContinuationTarget): string[] {
    const names: string[] = [];
    if (this.module.memory !== undefined) names.push(EXPORT.memory);
    for (let t = 0; t < this.module.tables; t++) names.push(EXPORT.table(t));
    const tags = target.tagImports.map((tag) => EXPORT.tag(tag));
    return [...names, ...target.globalImports.map((g) => g.name), ...tags];
  }

  private importList(target: ContinuationTarget): ContinuationImport[] {
    const shared = this.sharedImports(target).map(
      (name): ContinuationImport => ({ kind: 'export', name }),
    );
    return [...target.functionImports.map((f) => f.from), ...shared];
  }

  private importSection(target: ContinuationTarget): ByteWriter {
    const { module } = this;
    const count = target.functionImports.length + this.sharedImports(target).length;
    const w = new ByteWriter(1024).u32(count);
    for (const { from, type } of target.functionImports)
      w.name(from.kind).name(from.name).u8(0).u32(type);
    if (module.memory !== undefined)
      w.name('export').name(EXPORT.memory).u8(2).u8(0).u32(module.memory.minPages);
    for (let t = 0; t < module.tables; t++)
      w.name('export').name(EXPORT.table(t)).u8(1).u8(module.tableTypes[t]!).u8(0).u32(0);
    for (const { name, type, mutable } of target.globalImports)
      w.name('export')
        .name(name)
        .u8(3)
        .u8(type)
        .u8(mutable ? 1 : 0);
    for (const tag of target.tagImports)
      w.name('export').name(EXPORT.tag(tag)).u8(4).u8(0).u32(target.tagType(tag));
    return w;
  }
}

function sameLive(plan: FramePlan, safepoint: number, live: readonly number[]): boolean {
  const from = plan.liveFrom[safepoint]!;
  return (
    plan.liveFrom[safepoint + 1]! - from === live.length &&
    live.every((slot, i) => plan.live[from + i] === slot)
  );
}

function typeSection(types: readonly FuncType[]): ByteWriter {
  const w = new ByteWriter(256).u32(types.length);
  for (const type of types) writeType(w, type);
  return w;
}

/** `(fuel) -> fuel`: calls the continuation, results to registers. Takes the store functions it needs at once. */
function wrapperBody(
  target: ContinuationTarget,
  results: readonly number[],
): (inner: number) => Uint8Array {
  const setters = results.map((type) => target.store(storeFunction('set', type)));
  return (inner) => {
    const w = new ByteWriter(64)
      .u32(0)
      .u8(OP.localGet)
      .u32(0)
      .u8(OP.call)
      .u32(inner)
      .u8(OP.localSet)
      .u32(0);
    for (let k = results.length - 1; k >= 0; k--)
      w.u8(OP.i32Const).s32(k).u8(OP.call).u32(setters[k]!);
    return w.u8(OP.localGet).u32(0).u8(OP.end).finish();
  };
}
