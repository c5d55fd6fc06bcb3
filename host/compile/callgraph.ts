/**
 * Which functions can stop, which of them poll at their entry, and which types carry fuel.
 *
 * Does: one light pass over all bodies (calls, loops, instruction counts), strongly connected parts of the call graph,
 * closure of "can reach a safepoint".
 * Does not: look at operands or locals.
 *
 *   canStop(f)    = f has a loop (maybe an empty one: a poll), or throws, or fills or copies memory of unknown length, or calls an import, or polls at its entry, or calls a g with canStop(g),
 *                   or calls through a type for which some address-taken function can stop
 *   entryPoll(f)  = f is the target of a back edge in a depth-first walk of the call graph: every cycle has one
 *   carriesFuel(f)= canStop(f), or f is address-taken and its type is shared with an address-taken function that can stop
 *
 * G1  Every cycle of calls (tail calls are calls) passes an entry poll or a loop poll, so a bounded number of instructions lies between polls.
 * G2  All address-taken functions of one (structural) type agree on carrying fuel, so `call_indirect` knows its type.
 */

import { invariant } from '../types/errors.js';
import { type FuncType, isReference, type WasmModule } from './module.js';
import { type Summaries, summariseAll } from './summary.js';

export interface CallGraph {
  readonly summaries: Summaries;
  canStop(functionIndex: number): boolean;
  carriesFuel(functionIndex: number): boolean;
  isImport(functionIndex: number): boolean;
  entryPoll(functionIndex: number): boolean;
  indirectCanStop(typeIndex: number): boolean;
  readonly stopsInBulk: boolean;
  /** Reference values occur in functions, their types or globals. */
  readonly usesReferences: boolean;
}

/** A structural key of a function type: equal keys are the same type to the engine. */
export function typeKey(type: FuncType): string {
  return `${type.params.join(',')}:${type.results.join(',')}`;
}

/** For each type index, the first one that is structurally equal. */
function canonicalTypes(types: readonly FuncType[]): Int32Array {
  const first = new Map<string, number>();
  return Int32Array.from(types, (type, index) => {
    const key = typeKey(type);
    const known = first.get(key);
    if (known === undefined) first.set(key, index);
    return known ?? index;
  });
}

/** Address-taken functions by type. */
interface TakenByType {
  /** For each type index, the first one that is structurally equal. */
  readonly canonical: Int32Array;
  /** The functions of each canonical type, ascending. */
  readonly taken: ReadonlyMap<number, readonly number[]>;
}

export function takenByType(module: WasmModule, addressTaken: ReadonlySet<number>): TakenByType {
  const canonical = canonicalTypes(module.types);
  const byType = new Map<number, number[]>();
  for (const f of [...addressTaken].sort((a, b) => a - b)) {
    invariant(
      f >= module.imports.length,
      'the address of an import is taken: lower.ts was left out',
    );
    const type = canonical[module.functionTypes[f]!]!;
    const list = byType.get(type);
    if (list === undefined) byType.set(type, [f]);
    else list.push(f);
  }
  return { canonical, taken: byType };
}

/** Which types carry fuel because an address-taken function of them can stop (G2). */
export function fuelTypes(
  module: WasmModule,
  addressTaken: ReadonlySet<number>,
  canStop: (f: number) => boolean,
): Uint8Array {
  const canonical = canonicalTypes(module.types);
  const fuel = new Uint8Array(module.types.length);
  for (const f of addressTaken) {
    if (canStop(f)) fuel[canonical[module.functionTypes[f]!]!] = 1;
  }
  return fuel.map((_, type) => fuel[canonical[type]!]!);
}

/** Builds the call graph of a module. `stopsInBulk`: see CallFacts. */
export function buildCallGraph(module: WasmModule, stopsInBulk = true): CallGraph {
  const imports = module.imports.length;
  const summaries = summariseAll(module);
  const addressTaken = new Set([...module.addressTaken, ...summaries.refs]);
  const { canonical, taken } = takenByType(module, addressTaken);
  const entry = new EntryPolls(module, summaries, canonical, taken).run();
  const own = summaries.loops.map((loops, k) =>
    loops > 0 ||
    summaries.polls[k]! > 0 ||
    summaries.throws[k] === 1 ||
    (stopsInBulk && summaries.bulkStops[k] === 1)
      ? 1
      : 0,
  );
  const stop = stopClosure(module, summaries, own, entry, canonical, taken);
  const fuel = fuelTypes(module, addressTaken, (f) => stop[f] === 1);
  const carries = Uint8Array.from(stop);
  carries.fill(0, 0, imports);
  for (const f of addressTaken) carries[f]! |= fuel[module.functionTypes[f]!]!;
  return {
    summaries,
    canStop: (f) => stop[f] === 1,
    carriesFuel: (f) => carries[f] === 1,
    isImport: (f) => f < imports,
    entryPoll: (f) => entry[f] === 1,
    indirectCanStop: (t) => fuel[t] === 1,
    stopsInBulk,
    usesReferences:
      summaries.references ||
      module.types.some((t) => [...t.params, ...t.results].some(isReference)) ||
      module.globals.some((g) => isReference(g.type)),
  };
}

const NEW = 0;
const ON_PATH = 1;
const FINISHED = 2;

/**
 * Targets of back edges in a depth-first walk, in index order (iterative: call graphs can be deep).
 *
 * A function that is finished, or on the path and a target already, need not be met again. An indirect call leads to all
 * address-taken functions of its type: each type's list forgets those, so that all walks over it together are linear.
 */
class EntryPolls {
  private readonly state: Uint8Array;
  private readonly target: Uint8Array;
  private readonly lists = new Map<number, { functions: readonly number[]; next: Int32Array }>();
  // The path: its functions, which list each walks (0 = direct calls), and where it stands in it.
  private readonly path: number[] = [];
  private readonly list: number[] = [];
  private readonly at: number[] = [];

  constructor(
    private readonly module: WasmModule,
    private readonly summaries: Summaries,
    private readonly canonical: Int32Array,
    taken: ReadonlyMap<number, readonly number[]>,
  ) {
    this.state = new Uint8Array(module.functionTypes.length);
    this.target = new Uint8Array(module.functionTypes.length);
    for (const [type, functions] of taken)
      this.lists.set(type, {
        functions,
        next: Int32Array.from({ length: functions.length + 1 }, (_, i) => i),
      });
  }

  run(): Uint8Array {
    const { state, path } = this;
    for (let root = this.module.imports.length; root < state.length; root++) {
      if (state[root] !== NEW) continue;
      this.enter(root);
      while (path.length > 0) this.step();
    }
    return this.target;
  }

  private enter(f: number): void {
    this.state[f] = ON_PATH;
    this.path.push(f);
    this.list.push(0);
    this.at.push(this.summaries.callsFrom[f - this.module.imports.length]!);
  }

  private step(): void {
    const { path, state, target } = this;
    const top = path.length - 1;
    const f = path[top]!;
    const g = this.nextOf(f - this.module.imports.length, top);
    if (g < 0) {
      state[f] = FINISHED;
      path.pop();
      this.list.pop();
      this.at.pop();
    } else if (state[g] === ON_PATH) {
      target[g] = 1;
    } else if (state[g] === NEW && g >= this.module.imports.length) {
      this.enter(g);
    }
  }

  /** The next function that the top of the path may call; -1 after the last. */
  private nextOf(k: number, top: number): number {
    const { summaries, list, at } = this;
    if (list[top] === 0) {
      if (at[top]! < summaries.callsFrom[k + 1]!) return summaries.calls[at[top]!++]!;
      list[top] = 1;
      at[top] = 0;
    }
    for (;;) {
      const which = summaries.indirectFrom[k]! + list[top]! - 1;
      if (which >= summaries.indirectFrom[k + 1]!) return -1;
      const known = this.lists.get(this.canonical[summaries.indirect[which]!] ?? -1);
      if (known !== undefined) {
        const place = this.remaining(known.functions, known.next, at[top]!);
        if (place < known.functions.length) {
          at[top] = place + 1;
          return known.functions[place]!;
        }
      }
      list[top]!++;
      at[top] = 0;
    }
  }

  /** The first place from `place` on whose function must still be met (links are shortened on the way). */
  private remaining(functions: readonly number[], next: Int32Array, place: number): number {
    let found = place;
    for (;;) {
      while (next[found] !== found) found = next[found]!;
      if (found === functions.length || !this.settled(functions[found]!)) break;
      next[found] = found + 1;
    }
    for (let i = place; i !== found; ) {
      const after = next[i]!;
      next[i] = found;
      i = after;
    }
    return found;
  }

  private settled(f: number): boolean {
    return this.state[f] === FINISHED || (this.state[f] === ON_PATH && this.target[f] === 1);
  }
}

/** Closure of "can reach a safepoint" over reversed call edges. */
function stopClosure(
  module: WasmModule,
  summaries: Summaries,
  own: Int32Array,
  entry: Uint8Array,
  canonical: Int32Array,
  taken: ReadonlyMap<number, readonly number[]>,
): Uint8Array {
  const imports = module.imports.length;
  const total = module.functionTypes.length;
  const stop = new Uint8Array(total);
  const work: number[] = [];
  const mark = (f: number): void => {
    if (stop[f]) return;
    stop[f] = 1;
    work.push(f);
  };
  const { callersFrom, callers } = reversed(summaries, imports, total);
  const indirectCallers = new Map<number, number[]>();
  for (let k = 0; k < total - imports; k++) {
    for (let i = summaries.indirectFrom[k]!; i < summaries.indirectFrom[k + 1]!; i++) {
      const type = canonical[summaries.indirect[i]!] ?? -1;
      const list = indirectCallers.get(type);
      if (list === undefined) indirectCallers.set(type, [imports + k]);
      else list.push(imports + k);
    }
    if (own[k] === 1 || entry[imports + k]) mark(imports + k);
  }
  for (let f = 0; f < imports; f++) mark(f);
  const takenType = new Map<number, number>();
  for (const [type, functions] of taken) for (const f of functions) takenType.set(f, type);
  for (let f = work.pop(); f !== undefined; f = work.pop()) {
    for (let i = callersFrom[f]!; i < callersFrom[f + 1]!; i++) mark(callers[i]!);
    const type = takenType.get(f);
    if (type === undefined) continue;
    for (const g of indirectCallers.get(type) ?? []) mark(g);
    indirectCallers.delete(type);
  }
  return stop;
}

/** The direct callers of each function, end to end. */
function reversed(
  summaries: Summaries,
  imports: number,
  total: number,
): { callersFrom: Int32Array; callers: Int32Array } {
  const { calls, callsFrom } = summaries;
  const edges = callsFrom[total - imports]!;
  const callersFrom = new Int32Array(total + 2);
  for (let i = 0; i < edges; i++) callersFrom[calls[i]! + 2]!++;
  for (let f = 1; f <= total + 1; f++) callersFrom[f]! += callersFrom[f - 1]!;
  const callers = new Int32Array(edges);
  for (let k = 0; k < total - imports; k++) {
    for (let i = callsFrom[k]!; i < callsFrom[k + 1]!; i++)
      callers[callersFrom[calls[i]! + 1]!++] = imports + k;
  }
  return { callersFrom, callers };
}
