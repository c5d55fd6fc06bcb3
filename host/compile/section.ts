/**
 * The `sherd` custom section of a shard module: resume map, dependency graph, skeleton.
 *
 *   abi u32 | program hash (name) | program bytes u32 | program code bytes u32 | data segments u32
 *   count u32, then per defined function:
 *     flags u8            1 can stop · 2 indirect calls · 4 reads memory · 8 writes memory
 *     instructions u32 | loops u32 | loop depth u32 | calls: count u32, indices u32…
 *     if it can stop:  slots: count u32, each { type u8, local + 1 u32 }
 *                      safepoints: count u32, each { kind u8, offset u32, results: count u32, type u8…,
 *                                                    live: count u32, gaps u32… }
 *   skeleton length u32 | skeleton bytes
 *
 * X1  Reading what was written gives equal FunctionInfo.
 * X2  An unknown ABI is refused before anything else is looked at.
 */
import { EXIT, SherdError } from '../types/errors.js';
import type { FunctionInfo, SafepointInfo, SafepointKind, SlotInfo } from '../types/module.js';
import type { ValType } from '../types/state.js';
import { ABI, SECTION_NAME } from './abi.js';
import { ByteReader, ByteWriter, malformed } from './bytes.js';
import type { Instrumented } from './instrument.js';
import type { WasmModule } from './module.js';
import { slotInfo, VAL_TYPE_NAME } from './plan.js';

const KINDS: readonly SafepointKind[] = ['loop', 'entry', 'call', 'host'];

export interface SectionContent {
  readonly abi: number;
  readonly programHash: string;
  readonly programBytes: number;
  readonly programCodeBytes: number;
  readonly dataSegments: number;
  readonly functions: readonly FunctionInfo[];
  readonly skeleton: Uint8Array;
}

/** Start of the code section's body, from which safepoint offsets count. */
export function codeStart(module: WasmModule): number {
  return module.sections.find((s) => s.id === 10)?.bodyStart ?? 0;
}

/** The program without data and without custom sections other than names. */
export function buildSkeleton(module: WasmModule): Uint8Array {
  const out = new ByteWriter(module.bytes.length).put(module.bytes.subarray(0, 8));
  for (const section of module.sections) {
    const keep = section.id === 0 ? section.name === 'name' : section.id !== 11;
    if (keep) out.copy(module.bytes, section.start, section.end);
  }
  return out.finish();
}

/** What is known of each defined function after instrumentation. */
export function functionInfos(module: WasmModule, result: Instrumented): FunctionInfo[] {
  const base = codeStart(module);
  const exportNames = new Map(
    module.exports.filter((e) => e.kind === 0).map((e) => [e.index, e.name]),
  );
  return module.bodies.map((_, k): FunctionInfo => {
    const index = module.imports.length + k;
    const type = module.types[module.functionTypes[index]!]!;
    const summary = result.graph.summaries[k]!;
    const stop = result.stops.get(index);
    const memory = result.memoryFlags.get(index)!;
    return {
      index,
      name: module.names.functions.get(index) ?? exportNames.get(index),
      localNames: module.names.locals.get(index) ?? new Map<number, string>(),
      params: type.params.map((t) => VAL_TYPE_NAME[t]!),
      results: type.results.map((t) => VAL_TYPE_NAME[t]!),
      instrumented: stop !== undefined,
      slots: stop?.plan.slots.map(slotInfo) ?? [],
      safepoints:
        stop?.body.safepoints.map((s, i) => ({
          kind: s.kind,
          offset: s.instr < 0 ? 0 : stop.body.start[s.instr]! - base,
          live: stop.plan.live[i]!,
          results: s.results.map((t) => VAL_TYPE_NAME[t]!),
        })) ?? [],
      calls: summary.calls,
      indirectCalls: summary.indirectTypes.length > 0,
      loops: summary.loops,
      loopDepth: summary.loopDepth,
      instructions: summary.instructions,
      readsMemory: memory.reads,
      writesMemory: memory.writes,
    };
  });
}

const TYPE_BYTE: Record<ValType, number> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

function writeFunction(w: ByteWriter, f: FunctionInfo): void {
  w.u8(
    (f.instrumented ? 1 : 0) |
      (f.indirectCalls ? 2 : 0) |
      (f.readsMemory ? 4 : 0) |
      (f.writesMemory ? 8 : 0),
  );
  w.u32(f.instructions).u32(f.loops).u32(f.loopDepth).u32(f.calls.length);
  for (const call of f.calls) w.u32(call);
  if (!f.instrumented) return;
  w.u32(f.slots.length);
  for (const slot of f.slots) w.u8(TYPE_BYTE[slot.type]).u32(slot.local + 1);
  w.u32(f.safepoints.length);
  for (const s of f.safepoints) {
    w.u8(KINDS.indexOf(s.kind)).u32(s.offset).u32(s.results.length);
    for (const type of s.results) w.u8(TYPE_BYTE[type]);
    w.u32(s.live.length);
    let previous = -1;
    for (const slot of s.live) {
      w.u32(slot - previous - 1);
      previous = slot;
    }
  }
}

/** Encodes the custom section's content (without section id and size). */
export function encodeSection(content: SectionContent): Uint8Array {
  const w = new ByteWriter(content.skeleton.length + 4096).name(SECTION_NAME);
  w.u32(content.abi)
    .name(content.programHash)
    .u32(content.programBytes)
    .u32(content.programCodeBytes);
  w.u32(content.dataSegments).u32(content.functions.length);
  for (const f of content.functions) writeFunction(w, f);
  return w.u32(content.skeleton.length).put(content.skeleton).finish();
}

function readType(r: ByteReader): ValType {
  const at = r.pos;
  const name = VAL_TYPE_NAME[r.u8()];
  if (name === undefined) throw malformed(at, 'unknown value type in the sherd section');
  return name;
}

function readList<T>(r: ByteReader, what: string, element: () => T): T[] {
  const list: T[] = [];
  for (let n = r.count(what); n > 0; n--) list.push(element());
  return list;
}

function readSafepoint(r: ByteReader): SafepointInfo {
  const at = r.pos;
  const kind = KINDS[r.u8()];
  if (kind === undefined) throw malformed(at, 'unknown safepoint kind');
  const offset = r.u32();
  const results = readList(r, 'result', () => readType(r));
  let slot = -1;
  const live = readList(r, 'live slot', () => {
    slot += r.u32() + 1;
    return slot;
  });
  return { kind, offset, live, results };
}

type FunctionHead = Pick<FunctionInfo, 'index' | 'name' | 'localNames' | 'params' | 'results'>;

function readFunction(r: ByteReader, head: FunctionHead): FunctionInfo {
  const flags = r.u8();
  const instructions = r.u32();
  const loops = r.u32();
  const loopDepth = r.u32();
  const calls = readList(r, 'call', () => r.u32());
  const stops = (flags & 1) !== 0;
  const slots = stops
    ? readList(r, 'slot', (): SlotInfo => ({ type: readType(r), local: r.u32() - 1 }))
    : [];
  const safepoints = stops ? readList(r, 'safepoint', () => readSafepoint(r)) : [];
  return {
    ...head,
    instrumented: stops,
    slots,
    safepoints,
    calls,
    indirectCalls: (flags & 2) !== 0,
    loops,
    loopDepth,
    instructions,
    readsMemory: (flags & 4) !== 0,
    writesMemory: (flags & 8) !== 0,
  };
}

/** Decodes the section; `parse` reads the skeleton (module.ts), which names and types the functions. */
export function decodeSection(
  bytes: Uint8Array,
  parse: (skeleton: Uint8Array) => WasmModule,
): SectionContent & { module: WasmModule } {
  const r = new ByteReader(bytes);
  r.name();
  const abi = r.u32();
  if (abi !== ABI) {
    throw new SherdError(
      'SHERD_CAPSULE_VERSION',
      `shard module of ABI ${abi}; this sherd knows ABI ${ABI}`,
      {
        next: 'use the version of sherd that compiled it',
        exitCode: EXIT.refused,
      },
    );
  }
  const programHash = r.name();
  const programBytes = r.u32();
  const programCodeBytes = r.u32();
  const dataSegments = r.u32();
  const functionsAt = r.pos;
  skipFunctions(r);
  const skeleton = r.take(r.u32());
  const module = parse(skeleton);
  const exportNames = new Map(
    module.exports.filter((e) => e.kind === 0).map((e) => [e.index, e.name]),
  );
  const r2 = new ByteReader(bytes, functionsAt);
  let k = 0;
  const functions = readList(r2, 'function', () => {
    const index = module.imports.length + k++;
    const type = module.types[module.functionTypes[index] ?? -1];
    if (type === undefined)
      throw malformed(r2.pos, 'more functions in the sherd section than in the program');
    return readFunction(r2, {
      index,
      name: module.names.functions.get(index) ?? exportNames.get(index),
      localNames: module.names.locals.get(index) ?? new Map<number, string>(),
      params: type.params.map((t) => VAL_TYPE_NAME[t]!),
      results: type.results.map((t) => VAL_TYPE_NAME[t]!),
    });
  });
  return {
    abi,
    programHash,
    programBytes,
    programCodeBytes,
    dataSegments,
    functions,
    skeleton,
    module,
  };
}

const NO_HEAD: FunctionHead = {
  index: -1,
  name: undefined,
  localNames: new Map(),
  params: [],
  results: [],
};

function skipFunctions(r: ByteReader): void {
  for (let n = r.count('function'); n > 0; n--) readFunction(r, NO_HEAD);
}
