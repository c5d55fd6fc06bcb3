/**
 * Which functions can stop, which of them poll at their entry, and which types carry fuel.
 *
 * Does: one light pass over all bodies (calls, loops, instruction counts), strongly connected parts of the call graph,
 * closure of "can reach a safepoint".
 * Does not: look at operands or locals.
 *
 *   canStop(f)    = f has a loop, or calls an import, or polls at its entry, or calls a g with canStop(g),
 *                   or calls through a type for which some address-taken function can stop
 *   entryPoll(f)  = f is the target of a back edge in a depth-first walk of the call graph: every cycle has one
 *   carriesFuel(f)= canStop(f), or f is address-taken and its type is shared with an address-taken function that can stop
 *
 * G1  Every cycle of calls passes an entry poll or a loop poll, so a bounded number of instructions lies between polls.
 * G2  All address-taken functions of one (structural) type agree on carrying fuel, so `call_indirect` knows its type.
 */

import { invariant } from '../types/errors.js';
import { ByteReader, malformed } from './bytes.js';
import { readBlockType, readImmediate, readOpcode } from './instructions.js';
import { type FuncType, isReference, readLocals, readValType, type WasmModule } from './module.js';
import { Imm, OP, opInfo } from './opcodes.js';

/** What one light pass finds in a function. */
export interface FunctionSummary {
  readonly calls: readonly number[];
  /** Type indices of its indirect calls, unique. */
  readonly indirectTypes: readonly number[];
  readonly loops: number;
  readonly loopDepth: number;
  readonly instructions: number;
  readonly usesGrow: boolean;
  readonly dataSegments: readonly number[];
  readonly dropsSegments: readonly number[];
  /** Functions whose address it takes. */
  readonly refs: readonly number[];
  /** Tables that it may change. */
  readonly changesTables: readonly number[];
  /** Element segments by `table.init`: segment, table. */
  readonly elementInits: readonly (readonly [segment: number, table: number])[];
  readonly dropsElements: readonly number[];
  /** Reference values occur in it. */
  readonly references: boolean;
}

export interface CallGraph {
  readonly summaries: readonly FunctionSummary[];
  canStop(functionIndex: number): boolean;
  carriesFuel(functionIndex: number): boolean;
  isImport(functionIndex: number): boolean;
  entryPoll(functionIndex: number): boolean;
  indirectCanStop(typeIndex: number): boolean;
  /** Reference values occur in functions, their types or globals. */
  readonly usesReferences: boolean;
}

/** A structural key of a function type: equal keys are the same type to the engine. */
export function typeKey(type: FuncType): string {
  return `${type.params.join(',')}:${type.results.join(',')}`;
}

/** Scans one body without analysing it. */
export function summarise(module: WasmModule, functionIndex: number): FunctionSummary {
  const range = module.bodies[functionIndex - module.imports.length]!;
  const r = new ByteReader(module.bytes, range.start, range.end);
  let references = readLocals(r, functionIndex).some(isReference);
  const calls = new Set<number>();
  const indirect = new Set<number>();
  const segments = new Set<number>();
  const drops = new Set<number>();
  const refs = new Set<number>();
  const changed = new Set<number>();
  const inits = new Map<string, readonly [number, number]>();
  const elementDrops = new Set<number>();
  const kinds: boolean[] = [];
  let loops = 0;
  let loopDepth = 0;
  let depth = 0;
  let instructions = 0;
  let usesGrow = false;
  while (!r.done) {
    const at = r.pos;
    const key = readOpcode(r, functionIndex);
    instructions++;
    const imm = opInfo(key)!.imm;
    if (imm === Imm.block) {
      readBlockType(r, module, `function ${functionIndex}`);
      const isLoop = key === OP.loop;
      kinds.push(isLoop);
      if (isLoop) {
        loops++;
        depth++;
        if (depth > loopDepth) loopDepth = depth;
      }
    } else if (key === OP.end) {
      if (kinds.pop()) depth--;
    } else if (imm === Imm.brTable) {
      for (let n = r.count('label') + 1; n > 0; n--) r.u32();
    } else if (imm === Imm.selectTypes) {
      for (let n = r.count('type'); n > 0; n--) readValType(r, `function ${functionIndex}`);
    } else if (imm !== Imm.none) {
      const value = readImmediate(r, imm);
      if (key === OP.call) {
        if (value >= module.functionTypes.length)
          throw malformed(at, `function index ${value} out of range`);
        calls.add(value);
      } else if (key === OP.callIndirect) indirect.add(value);
      else if (key === OP.memoryGrow) usesGrow = true;
      else if (key === OP.memoryInit) segments.add(value);
      else if (key === OP.dataDrop) drops.add(value);
      else if (key === OP.refFunc) {
        if (value >= module.functionTypes.length)
          throw malformed(at, `function index ${value} out of range`);
        refs.add(value);
        references = true;
      } else if (key === OP.refNull || key === OP.tableGet) references = true;
      else if (key === OP.elemDrop) elementDrops.add(value);
      else if (key === OP.tableInit) {
        const table = lastIndex(module, r, at);
        changed.add(table);
        inits.set(`${value}:${table}`, [value, table]);
      } else if (TABLE_WRITES.has(key)) {
        if (value >= module.tables) throw malformed(at, `table index ${value} out of range`);
        changed.add(value);
      }
    }
  }
  const sorted = (set: Set<number>): number[] => [...set].sort((a, b) => a - b);
  return {
    calls: sorted(calls),
    indirectTypes: sorted(indirect),
    loops,
    loopDepth,
    instructions,
    usesGrow,
    dataSegments: sorted(segments),
    dropsSegments: sorted(drops),
    refs: sorted(refs),
    changesTables: sorted(changed),
    elementInits: [...inits.values()],
    dropsElements: sorted(elementDrops),
    references,
  };
}

/** Instructions that change the table that their (first) index names. */
const TABLE_WRITES: ReadonlySet<number> = new Set([
  OP.tableSet,
  OP.tableCopy,
  OP.tableGrow,
  OP.tableFill,
]);

/** The second index of `table.init segment table`, which has just been read. */
function lastIndex(module: WasmModule, r: ByteReader, at: number): number {
  const again = new ByteReader(r.bytes, at + 1, r.pos);
  again.u32();
  again.u32();
  const table = again.u32();
  if (table >= module.tables) throw malformed(at, `table index ${table} out of range`);
  return table;
}

/** Builds the call graph of a module. */
export function buildCallGraph(module: WasmModule): CallGraph {
  const imports = module.imports.length;
  const total = module.functionTypes.length;
  const summaries = module.bodies.map((_, k) => summarise(module, imports + k));
  const keys = module.types.map(typeKey);
  const takenByKey = new Map<string, number[]>();
  const taken = new Set([...module.addressTaken, ...summaries.flatMap((s) => s.refs)]);
  for (const f of [...taken].sort((a, b) => a - b)) {
    invariant(f >= imports, 'the address of an import is taken: lower.ts was left out');
    const key = keys[module.functionTypes[f]!]!;
    takenByKey.set(key, [...(takenByKey.get(key) ?? []), f]);
  }
  const successors = (f: number): number[] => {
    const summary = summaries[f - imports];
    if (summary === undefined) return [];
    if (summary.indirectTypes.length === 0) return summary.calls as number[];
    return [
      ...summary.calls,
      ...summary.indirectTypes.flatMap((t) => takenByKey.get(keys[t] ?? '') ?? []),
    ];
  };
  const entry = backEdgeTargets(total, imports, successors);
  const stop = stopClosure(total, imports, summaries, entry, takenByKey, keys);
  const fuelKeys = new Set<string>();
  for (const [key, functions] of takenByKey) if (functions.some((f) => stop[f])) fuelKeys.add(key);
  return {
    summaries,
    canStop: (f) => stop[f] === 1,
    carriesFuel: (f) =>
      f >= imports &&
      (stop[f] === 1 || (taken.has(f) && fuelKeys.has(keys[module.functionTypes[f]!]!))),
    isImport: (f) => f < imports,
    entryPoll: (f) => entry[f] === 1,
    usesReferences:
      summaries.some((s) => s.references) ||
      module.types.some((t) => [...t.params, ...t.results].some(isReference)) ||
      module.globals.some((g) => isReference(g.type)),
    indirectCanStop: (t) => fuelKeys.has(keys[t] ?? ''),
  };
}

/** Targets of back edges in a depth-first walk, in index order (iterative: call graphs can be deep). */
function backEdgeTargets(
  total: number,
  imports: number,
  successors: (f: number) => number[],
): Uint8Array {
  const state = new Uint8Array(total); // 0 new, 1 on the path, 2 finished
  const target = new Uint8Array(total);
  for (let root = imports; root < total; root++) {
    if (state[root] !== 0) continue;
    const path: { f: number; next: number[]; at: number }[] = [
      { f: root, next: successors(root), at: 0 },
    ];
    state[root] = 1;
    while (path.length > 0) {
      const top = path[path.length - 1]!;
      const g = top.next[top.at++];
      if (g === undefined) {
        state[top.f] = 2;
        path.pop();
      } else if (state[g] === 1) {
        target[g] = 1;
      } else if (state[g] === 0 && g >= imports) {
        state[g] = 1;
        path.push({ f: g, next: successors(g), at: 0 });
      }
    }
  }
  return target;
}

/** Closure of "can reach a safepoint" over reversed call edges. */
function stopClosure(
  total: number,
  imports: number,
  summaries: readonly FunctionSummary[],
  entry: Uint8Array,
  takenByKey: ReadonlyMap<string, readonly number[]>,
  keys: readonly string[],
): Uint8Array {
  const stop = new Uint8Array(total);
  const callers: number[][] = Array.from({ length: total }, () => []);
  const indirectCallers = new Map<string, number[]>();
  const work: number[] = [];
  const mark = (f: number): void => {
    if (stop[f]) return;
    stop[f] = 1;
    work.push(f);
  };
  summaries.forEach((summary, k) => {
    const f = imports + k;
    for (const g of summary.calls) callers[g]!.push(f);
    for (const t of summary.indirectTypes) {
      const key = keys[t] ?? '';
      const list = indirectCallers.get(key);
      if (list === undefined) indirectCallers.set(key, [f]);
      else list.push(f);
    }
    if (summary.loops > 0 || entry[f]) mark(f);
  });
  for (let f = 0; f < imports; f++) mark(f);
  const keyOf = new Map<number, string>();
  for (const [key, functions] of takenByKey) for (const f of functions) keyOf.set(f, key);
  for (let f = work.pop(); f !== undefined; f = work.pop()) {
    for (const g of callers[f]!) mark(g);
    const key = keyOf.get(f);
    if (key === undefined) continue;
    for (const g of indirectCallers.get(key) ?? []) mark(g);
    indirectCallers.delete(key);
  }
  return stop;
}
