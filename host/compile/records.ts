/**
 * The records of the `sherd` section: what is known of each defined function.
 *
 *   flags u8            1 can stop · 2 indirect calls · 4 reads memory · 8 writes memory
 *   instructions u32 | loops u32 | loop depth u32 | calls: count u32, indices u32…
 *   if it can stop:  slots: count u32, each { type u8, local + 1 u32 }
 *                    safepoints: count u32, each { kind u8 (+ 0x80 guarded), offset u32, results: count u32, type u8…,
 *                                                  live: count u32, gaps u32… }
 *
 * Does: write a record from an analysis; check all records in one scan; give them as FunctionInfo whose lists are
 * decoded when they are first asked for. Does not: know what surrounds them (section.ts).
 *
 * X3  What the scan has accepted can be decoded without an error.
 */
import type {
  FunctionInfo,
  SafepointInfo,
  SafepointKind,
  ShardModule,
  SlotInfo,
} from '../types/module.js';
import type { ValType } from '../types/state.js';
import type { Body } from './body.js';
import { ByteReader, type ByteWriter, malformed } from './bytes.js';
import type { WasmModule } from './module.js';
import { type FramePlan, VAL_TYPE_NAME } from './plan.js';
import type { Summaries } from './summary.js';

const KINDS: readonly SafepointKind[] = ['loop', 'entry', 'call', 'host', 'bulk'];
/** Bit of the kind: an exception from the call can be caught by the function. */
const GUARDED = 0x80;
const FLAG = { stops: 1, indirect: 2, reads: 4, writes: 8 } as const;

// --- writing ---------------------------------------------------------------------------------------------

/** Appends the record of function k. `plan` is undefined when it cannot stop; `offsetOf` gives offsets in the program's code section. */
export function writeRecord(
  w: ByteWriter,
  summaries: Summaries,
  k: number,
  body: Body,
  plan: FramePlan | undefined,
  offsetOf: (position: number) => number,
): void {
  const { calls, callsFrom, indirectFrom } = summaries;
  w.u8(
    (plan !== undefined ? FLAG.stops : 0) |
      (indirectFrom[k + 1]! > indirectFrom[k]! ? FLAG.indirect : 0) |
      (body.readsMemory ? FLAG.reads : 0) |
      (body.writesMemory ? FLAG.writes : 0),
  );
  w.u32(summaries.instructions[k]!).u32(summaries.loops[k]!).u32(summaries.loopDepth[k]!);
  w.u32(callsFrom[k + 1]! - callsFrom[k]!);
  for (let i = callsFrom[k]!; i < callsFrom[k + 1]!; i++) w.u32(calls[i]!);
  if (plan === undefined) return;
  w.u32(plan.slots.length);
  for (const { type, local } of plan.slots) w.op(type, local + 1);
  writeSafepoints(w, body, plan, offsetOf);
}

function writeSafepoints(
  w: ByteWriter,
  body: Body,
  plan: FramePlan,
  offsetOf: (position: number) => number,
): void {
  w.u32(body.safepoints.length);
  for (let s = 0; s < body.safepoints.length; s++) {
    const { kind, instr, results, guarded } = body.safepoints[s]!;
    w.op(
      KINDS.indexOf(kind) | (guarded ? GUARDED : 0),
      instr < 0 ? 0 : offsetOf(body.start[instr]!),
    ).u32(results.length);
    for (const type of results) w.u8(type);
    const to = plan.liveFrom[s + 1]!;
    w.u32(to - plan.liveFrom[s]!);
    let previous = -1;
    for (let i = plan.liveFrom[s]!; i < to; i++) {
      w.u32(plan.live[i]! - previous - 1);
      previous = plan.live[i]!;
    }
  }
}

// --- checking --------------------------------------------------------------------------------------------

/** Reads the count and checks all records; where each begins, and where the last one ends. */
export function scanRecords(r: ByteReader): Uint32Array {
  const count = r.count('function');
  const at = new Uint32Array(count + 1);
  for (let k = 0; k < count; k++) {
    at[k] = r.pos;
    skipRecord(r);
  }
  at[count] = r.pos;
  return at;
}

function skipRecord(r: ByteReader): void {
  const flags = r.u8();
  for (let i = 0; i < 3; i++) r.u32();
  for (let n = r.count('call'); n > 0; n--) r.u32();
  if ((flags & FLAG.stops) === 0) return;
  for (let n = r.count('slot'); n > 0; n--) {
    checkType(r);
    r.u32();
  }
  for (let n = r.count('safepoint'); n > 0; n--) {
    if (KINDS[r.u8() & ~GUARDED] === undefined)
      throw malformed(r.pos - 1, 'unknown safepoint kind');
    r.u32();
    for (let m = r.count('result'); m > 0; m--) checkType(r);
    for (let m = r.count('live slot'); m > 0; m--) r.u32();
  }
}

function checkType(r: ByteReader): void {
  if (VAL_TYPE_NAME[r.u8()] === undefined)
    throw malformed(r.pos - 1, 'unknown value type in the sherd section');
}

// --- reading ---------------------------------------------------------------------------------------------

function readList<T>(r: ByteReader, element: () => T): T[] {
  const list: T[] = [];
  for (let n = r.u32(); n > 0; n--) list.push(element());
  return list;
}

function readSafepoint(r: ByteReader): SafepointInfo {
  const code = r.u8();
  const kind = KINDS[code & ~GUARDED]!;
  const offset = r.u32();
  const results = readList(r, () => VAL_TYPE_NAME[r.u8()]!);
  let slot = -1;
  const live = readList(r, () => {
    slot += r.u32() + 1;
    return slot;
  });
  return { kind, offset, live, results, ...(code & GUARDED ? { guarded: true as const } : {}) };
}

interface Lists {
  readonly calls: readonly number[];
  readonly slots: readonly SlotInfo[];
  readonly safepoints: readonly SafepointInfo[];
}

/** What the records of one module share. */
interface Shared {
  readonly bytes: Uint8Array;
  readonly module: WasmModule;
  /** Names of exported functions; made when the first name is asked for. */
  exportNames: ReadonlyMap<number, string> | undefined;
}

class FunctionRecord implements FunctionInfo {
  readonly instrumented: boolean;
  readonly indirectCalls: boolean;
  readonly loops: number;
  readonly loopDepth: number;
  readonly instructions: number;
  readonly readsMemory: boolean;
  readonly writesMemory: boolean;
  readonly #shared: Shared;
  readonly #listsAt: number;
  #lists: Lists | undefined;

  constructor(
    shared: Shared,
    readonly index: number,
    readonly params: readonly ValType[],
    readonly results: readonly ValType[],
    at: number,
  ) {
    const r = new ByteReader(shared.bytes, at);
    const flags = r.u8();
    this.instrumented = (flags & FLAG.stops) !== 0;
    this.indirectCalls = (flags & FLAG.indirect) !== 0;
    this.readsMemory = (flags & FLAG.reads) !== 0;
    this.writesMemory = (flags & FLAG.writes) !== 0;
    this.instructions = r.u32();
    this.loops = r.u32();
    this.loopDepth = r.u32();
    this.#shared = shared;
    this.#listsAt = r.pos;
  }

  get name(): string | undefined {
    const shared = this.#shared;
    shared.exportNames ??= new Map(
      shared.module.exports.filter((e) => e.kind === 0).map((e) => [e.index, e.name]),
    );
    return shared.module.names.functions.get(this.index) ?? shared.exportNames.get(this.index);
  }

  get localNames(): ReadonlyMap<number, string> {
    return this.#shared.module.names.locals.get(this.index) ?? new Map<number, string>();
  }

  get calls(): readonly number[] {
    return this.#decoded().calls;
  }

  get slots(): readonly SlotInfo[] {
    return this.#decoded().slots;
  }

  get safepoints(): readonly SafepointInfo[] {
    return this.#decoded().safepoints;
  }

  #decoded(): Lists {
    this.#lists ??= this.#decode();
    return this.#lists;
  }

  #decode(): Lists {
    const r = new ByteReader(this.#shared.bytes, this.#listsAt);
    const calls = readList(r, () => r.u32());
    if (!this.instrumented) return { calls, slots: [], safepoints: [] };
    const slots = readList(
      r,
      (): SlotInfo => ({ type: VAL_TYPE_NAME[r.u8()]!, local: r.u32() - 1 }),
    );
    return { calls, slots, safepoints: readList(r, () => readSafepoint(r)) };
  }
}

/** The records as FunctionInfo. `recordAt` are offsets into `bytes`; `module` names and types the functions. */
export function functionsOf(
  bytes: Uint8Array,
  recordAt: Uint32Array,
  module: WasmModule,
): FunctionInfo[] {
  const shared: Shared = { bytes, module, exportNames: undefined };
  const names = module.types.map(({ params, results }) => ({
    params: params.map((t) => VAL_TYPE_NAME[t]!),
    results: results.map((t) => VAL_TYPE_NAME[t]!),
  }));
  const functions: FunctionInfo[] = [];
  for (let k = 0; k < recordAt.length - 1; k++) {
    const index = module.imports.length + k;
    const type = names[module.functionTypes[index] ?? -1];
    if (type === undefined)
      throw malformed(recordAt[k]!, 'more functions in the sherd section than in the program');
    functions.push(new FunctionRecord(shared, index, type.params, type.results, recordAt[k]!));
  }
  return functions;
}

/** A guest function as people read it. */
export function functionLabel(module: ShardModule, index: number): string {
  const name = module.functions[index - module.imports.length]?.name;
  return name === undefined ? `function ${index}` : `${name} (function ${index})`;
}

/** The same facts as a plain object, everything decoded: to be spread, compared or printed. */
export function plainFunction(info: FunctionInfo): FunctionInfo {
  return {
    index: info.index,
    name: info.name,
    localNames: info.localNames,
    params: info.params,
    results: info.results,
    instrumented: info.instrumented,
    slots: info.slots,
    safepoints: info.safepoints,
    calls: info.calls,
    indirectCalls: info.indirectCalls,
    loops: info.loops,
    loopDepth: info.loopDepth,
    instructions: info.instructions,
    readsMemory: info.readsMemory,
    writesMemory: info.writesMemory,
  };
}

/** Number of safepoints of a record, without decoding the rest. */
export function safepointsOf(bytes: Uint8Array, at: number): number {
  const r = new ByteReader(bytes, at);
  if ((r.u8() & FLAG.stops) === 0) return 0;
  for (let i = 0; i < 3; i++) r.u32();
  for (let n = r.u32(); n > 0; n--) r.u32();
  for (let n = r.u32(); n > 0; n--) {
    r.u8();
    r.u32();
  }
  return r.u32();
}
