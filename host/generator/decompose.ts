/**
 * The shard generator, thin: one whole-program shard, and where the program could be cut later.
 *
 * Does: walk the dependency graph of a shard module from the entry, estimate static cost, list the functions whose loops carry most
 * of it. Does not: cut anything yet, look at data, or claim more than a static count can.
 *
 * Static cost of a function = its instructions, times TRIPS for every level of loop nesting, plus its callees (times TRIPS when it
 * has a loop: a call's place within the function is not in the graph). A cycle of the call graph counts as one node, its members
 * together times TRIPS.
 *
 *     main ──▶ render ──▶ trace ◀──▶ shade          cost(main) = own + TRIPS·cost(render)
 *                              └─ one node ─┘        cost{trace, shade} = TRIPS·(own + own) + what leaves the cycle
 *
 * C1  Linear in the size of the graph; no recursion (call chains may be long).
 * C2  Costs are finite: they are capped at COST_MAX.
 * C3  The same module gives the same answer.
 */
import type { FunctionInfo, ShardModule } from '../types/module.js';

/** How often a loop is imagined to run. */
const TRIPS = 16;
const DEPTH_MAX = 6;
const COST_MAX = 1e15;
const CANDIDATES_MAX = 20;

/** A part of the program that could become shards of its own. */
export interface ForkCandidate {
  readonly func: number;
  readonly name: string;
  readonly loops: number;
  readonly loopDepth: number;
  readonly cost: number;
  /** Share of the whole program's cost that lies in and below this function, 0..1. */
  readonly share: number;
  readonly writesMemory: boolean;
}

export interface CostEstimate {
  /** Imagined instructions of one run. */
  readonly instructions: number;
  readonly memoryBytes: number;
  /** Functions that the entry can reach. */
  readonly functions: number;
  /** The program calls through tables, so that the graph is not all known. */
  readonly indirect: boolean;
}

export interface InitialShard {
  readonly entry: string;
  readonly estimate: CostEstimate;
}

export interface Decomposition {
  readonly shards: readonly InitialShard[];
  /** Dearest first. */
  readonly candidates: readonly ForkCandidate[];
}

type Graph = Pick<ShardModule, 'functions' | 'imports' | 'exports' | 'memory'>;

/** The initial shards of a program that starts at this export. */
export function decompose(module: Graph, entry: string): Decomposition {
  const byIndex = new Map(module.functions.map((info) => [info.index, info]));
  const start = module.exports.get(entry);
  const roots = start === undefined ? [] : [start];
  const reached = reach(byIndex, roots, addressTaken(module.functions));
  const costs = costsOf(byIndex, reached.functions);
  const whole = Math.max(1, start === undefined ? 1 : (costs.get(start) ?? 1));
  const estimate: CostEstimate = {
    instructions: whole,
    memoryBytes: (module.memory?.minPages ?? 0) * 65_536,
    functions: reached.functions.size,
    indirect: reached.indirect,
  };
  return { shards: [{ entry, estimate }], candidates: candidatesOf(byIndex, costs, whole) };
}

function candidatesOf(
  byIndex: ReadonlyMap<number, FunctionInfo>,
  costs: ReadonlyMap<number, number>,
  whole: number,
): ForkCandidate[] {
  const list: ForkCandidate[] = [];
  for (const [func, cost] of costs) {
    const info = byIndex.get(func);
    if (info === undefined || info.loops === 0) continue;
    const { loops, loopDepth, writesMemory } = info;
    const share = Math.min(1, cost / whole);
    list.push({
      func,
      name: info.name ?? `function ${func}`,
      loops,
      loopDepth,
      cost,
      share,
      writesMemory,
    });
  }
  list.sort((a, b) => b.cost - a.cost || a.func - b.func);
  return list.slice(0, CANDIDATES_MAX);
}

/** Functions that nobody calls directly: what an indirect call may mean. */
function addressTaken(functions: readonly FunctionInfo[]): number[] {
  const called = new Set(functions.flatMap((info) => info.calls));
  return functions.filter((info) => !called.has(info.index)).map((info) => info.index);
}

function reach(
  byIndex: ReadonlyMap<number, FunctionInfo>,
  roots: readonly number[],
  taken: readonly number[],
): { functions: Set<number>; indirect: boolean } {
  const functions = new Set<number>();
  const waiting = [...roots];
  let indirect = false;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const info = byIndex.get(next);
    if (info === undefined || functions.has(next)) continue;
    functions.add(next);
    for (const callee of info.calls) waiting.push(callee);
    if (info.indirectCalls && !indirect) {
      indirect = true;
      for (const callee of taken) waiting.push(callee);
    }
  }
  return { functions, indirect };
}

/** Cost of each reached function with all that it calls. */
function costsOf(
  byIndex: ReadonlyMap<number, FunctionInfo>,
  reached: ReadonlySet<number>,
): Map<number, number> {
  const costs = new Map<number, number>();
  for (const cycle of cyclesCalleesFirst(byIndex, reached)) {
    const members = new Set(cycle);
    const recursive =
      cycle.length > 1 || cycle.some((func) => byIndex.get(func)?.calls.includes(func) === true);
    let cost = 0;
    for (const func of cycle) cost += costWithin(byIndex.get(func), members, costs);
    cost = Math.min(COST_MAX, recursive ? cost * TRIPS : cost);
    for (const func of cycle) costs.set(func, cost);
  }
  return costs;
}

function costWithin(
  info: FunctionInfo | undefined,
  members: ReadonlySet<number>,
  costs: ReadonlyMap<number, number>,
): number {
  if (info === undefined) return 0;
  const own = info.instructions * TRIPS ** Math.min(info.loopDepth, DEPTH_MAX);
  let below = 0;
  for (const callee of info.calls) if (!members.has(callee)) below += costs.get(callee) ?? 1;
  return Math.min(COST_MAX, own + below * (info.loops > 0 ? TRIPS : 1));
}

/** Strongly connected components of the call graph, callees before callers (Tarjan, without recursion). */
function cyclesCalleesFirst(
  byIndex: ReadonlyMap<number, FunctionInfo>,
  reached: ReadonlySet<number>,
): number[][] {
  const order = new Map<number, number>();
  const low = new Map<number, number>();
  const open = new Set<number>();
  const stack: number[] = [];
  const cycles: number[][] = [];
  const enter = (func: number): { func: number; next: number } => {
    order.set(func, order.size);
    low.set(func, order.size - 1);
    stack.push(func);
    open.add(func);
    return { func, next: 0 };
  };
  const lower = (func: number, value: number): void => {
    low.set(func, Math.min(low.get(func) ?? value, value));
  };
  for (const root of reached) {
    if (order.has(root)) continue;
    const path = [enter(root)];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const callee = byIndex.get(top.func)?.calls[top.next];
      top.next += 1;
      if (callee !== undefined) {
        if (!reached.has(callee)) continue;
        if (!order.has(callee)) path.push(enter(callee));
        else if (open.has(callee)) lower(top.func, order.get(callee) ?? 0);
        continue;
      }
      path.pop();
      const parent = path.at(-1);
      if (parent !== undefined) lower(parent.func, low.get(top.func) ?? 0);
      if (low.get(top.func) === order.get(top.func)) cycles.push(close(top.func, stack, open));
    }
  }
  return cycles;
}

function close(root: number, stack: number[], open: Set<number>): number[] {
  const cycle: number[] = [];
  for (let func = stack.pop(); func !== undefined; func = stack.pop()) {
    open.delete(func);
    cycle.push(func);
    if (func === root) break;
  }
  return cycle;
}
