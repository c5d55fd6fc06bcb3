/**
 * How far a program can run without a safepoint: the functions' stretches put together over the call graph.
 *
 *   call graph ─ strongly connected parts, callees first ─ in each part: functions in the order of their calls (those that
 *   poll at their entry can be called from anywhere: nothing adds up through them) ─ stretch.ts ─ the longest of all
 *
 * A recursion passes a poll in each call, but none when it returns: n frames return in one go, each with what it does after
 * the call. So the bound has two figures: `instructions`, and `perReturn` for each frame through which a recursion returns.
 *
 * Does: walk each function once, callees first; with limits, have polls placed on the way. Does not: know where the polls
 * are (pause-bound.ts: from a shard module; spacing.ts: from the call graph).
 *
 * B1  No run of the module executes more than `instructions + perReturn × frames` instructions between two polls.
 */
import { invariant } from '../types/errors.js';
import { takenByType } from './callgraph.js';
import { codeStart, type WasmModule } from './module.js';
import {
  type Flow,
  HOST_FLOW,
  NO_WAY,
  noFlow,
  type Placing,
  plus,
  type Stretch,
  type StretchFacts,
  stretchOf,
} from './stretch.js';
import { type StrongParts, strongParts } from './strong-parts.js';
import type { Summaries } from './summary.js';

/** What can run between two safepoints. */
export interface LongestRun {
  /** Longest stretch between two safepoints, in instructions of the program. Infinity: a loop has no poll. */
  readonly instructions: number;
  /** The function in which it ends; undefined: nothing runs. */
  readonly at: number | undefined;
  /** Added for each frame through which a recursion returns without a safepoint; 0: none does. */
  readonly perReturn: number;
  /** The function whose frames these are. */
  readonly returning: number | undefined;
}

/** A module, and where its polls are. `k` is a defined function's number, without imports. */
export interface PolledProgram {
  readonly module: WasmModule;
  readonly summaries: Summaries;
  entryPoll(k: number): boolean;
  /** Offsets of loops with a poll from the start of the code section's content; undefined: all loops of the function. */
  loopPolls(k: number): ReadonlySet<number> | undefined;
  /** Where polls are to be added; undefined: nowhere. */
  readonly placing: Placing | undefined;
}

const FLOW_KEYS = Object.keys(noFlow()) as (keyof Flow)[];

function mergeFlow(into: Flow, other: Flow): void {
  for (const key of FLOW_KEYS) if (other[key] > into[key]) into[key] = other[key];
}

class FlowFinder {
  private readonly module: WasmModule;
  private readonly imports: number;
  private readonly functions: number;
  private readonly summaries: Summaries;
  private readonly codeStart: number;
  private readonly graph: StrongParts;
  private readonly canonical: Int32Array;
  private readonly taken: ReadonlyMap<number, readonly number[]>;
  /** Per function inside its part, then as others see it. */
  private readonly flows: (Flow | undefined)[];
  /** Per node of a type: what an indirect call of it means, for the part at hand and for those behind it. */
  private readonly inside = new Map<number, Flow>();
  private readonly outside = new Map<number, Flow>();
  private readonly entryPolls: Uint8Array;
  private instructions = 0;
  private at: number | undefined;
  private perReturn = 0;
  private returning: number | undefined;

  constructor(private readonly program: PolledProgram) {
    const { module, summaries } = program;
    this.module = module;
    this.summaries = summaries;
    this.codeStart = codeStart(module);
    this.imports = module.imports.length;
    this.functions = module.bodies.length;
    const { canonical, taken } = takenByType(
      module,
      new Set([...module.addressTaken, ...summaries.refs]),
    );
    this.canonical = canonical;
    this.taken = taken;
    this.flows = Array.from({ length: this.functions }, () => undefined);
    this.entryPolls = Uint8Array.from(module.bodies, (_, k) => (program.entryPoll(k) ? 1 : 0));
    this.graph = strongParts(this.functions + module.types.length, (node) => this.next(node));
  }

  run(): LongestRun {
    for (const part of this.graph.parts) this.part(part);
    this.entries();
    const { instructions, at, perReturn, returning, imports } = this;
    const frames = returning === undefined ? undefined : returning + imports;
    return { instructions, at, perReturn, returning: frames };
  }

  // --- the graph: functions, then types ------------------------------------------------------------------

  private typeNode(type: number): number {
    return this.functions + this.canonical[type]!;
  }

  private next(node: number): number[] {
    const { summaries, imports } = this;
    if (node >= this.functions)
      return (this.taken.get(node - this.functions) ?? []).map((f) => f - imports);
    const { calls, callsFrom, indirect, indirectFrom } = summaries;
    const direct = calls.subarray(callsFrom[node], callsFrom[node + 1]);
    const types = indirect.subarray(indirectFrom[node], indirectFrom[node + 1]);
    return [
      ...[...direct].flatMap((f) => (f < imports ? [] : [f - imports])),
      ...[...types].map((type) => this.typeNode(type)),
    ];
  }

  /** Nodes of a part, each after those whose flow it needs: calls of functions that poll at once need none. */
  private inOrder(part: readonly number[]): number[] {
    if (part.length === 1) return [part[0]!];
    const { partOf } = this.graph;
    const ordered: number[] = [];
    const state = new Map<number, boolean>(part.map((node) => [node, false]));
    for (const root of part) {
      if (state.get(root) !== false) continue;
      const path = [{ node: root, next: this.next(root), at: 0 }];
      state.set(root, true);
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const to = top.next[top.at++];
        if (to === undefined) {
          ordered.push(top.node);
          path.pop();
        } else if (partOf[to] === partOf[root] && this.entryPolls[to] !== 1 && !state.get(to)) {
          state.set(to, true);
          path.push({ node: to, next: this.next(to), at: 0 });
        }
      }
    }
    return ordered;
  }

  // --- parts ---------------------------------------------------------------------------------------------

  private part(part: readonly number[]): void {
    const own = this.graph.partOf[part[0]!]!;
    const members: [node: number, stretch: Stretch][] = [];
    for (const node of this.inOrder(part)) {
      if (node >= this.functions) continue;
      const stretch = stretchOf(
        this.module,
        this.imports + node,
        this.codeStart,
        this.facts(node, own),
      );
      this.flows[node] = stretch;
      this.longest(stretch.inner, node);
      members.push([node, stretch]);
    }
    let deepest = NO_WAY;
    for (const [, { tail, thrownTail }] of members) deepest = Math.max(deepest, tail, thrownTail);
    for (const [node, stretch] of members) {
      const { after, thrownAfter, afterInner } = stretch;
      if (Math.max(after, thrownAfter) > this.perReturn) {
        this.perReturn = Math.max(after, thrownAfter);
        this.returning = node;
      }
      this.longest(plus(deepest, afterInner), node);
      this.flows[node] = {
        ...stretch,
        tail: Math.max(stretch.tail, plus(deepest, after)),
        thrownTail: Math.max(stretch.thrownTail, plus(deepest, thrownAfter)),
        after: NO_WAY,
        thrownAfter: NO_WAY,
      };
    }
    this.inside.clear();
  }

  private facts(node: number, part: number): StretchFacts {
    const { program } = this;
    return {
      entryPoll: this.entryPolls[node] === 1,
      polls: program.loopPolls(node),
      placing: program.placing,
      callee: (f) => (f < this.imports ? HOST_FLOW : this.calleeOf(f - this.imports, part)),
      indirect: (type) => this.indirectOf(type, part),
    };
  }

  private calleeOf(node: number, part: number): Flow | undefined {
    if (this.entryPolls[node] === 1 && this.graph.partOf[node] === part) return undefined;
    const flow = this.flows[node];
    invariant(flow !== undefined, `function ${node + this.imports} comes after its caller`);
    return flow;
  }

  /** All functions that an indirect call of a type may reach, as one. */
  private indirectOf(type: number, part: number): Flow {
    const node = this.typeNode(type);
    const known = this.graph.partOf[node] === part ? this.inside : this.outside;
    let flow = known.get(node);
    if (flow !== undefined) return flow;
    flow = noFlow();
    for (const f of this.taken.get(node - this.functions) ?? []) {
      const callee = this.calleeOf(f - this.imports, part);
      if (callee !== undefined) mergeFlow(flow, callee);
      else mergeFlow(flow, { ...noFlow(), head: 0, after: 0, thrownAfter: 0 });
    }
    known.set(node, flow);
    return flow;
  }

  // --- the program ---------------------------------------------------------------------------------------

  private longest(length: number, node: number): void {
    if (length <= this.instructions && this.at !== undefined) return;
    if (length < 0) return;
    this.instructions = length;
    this.at = node + this.imports;
  }

  /** Stretches at the program's ends, and from the start function into an entry. */
  private entries(): void {
    const start = this.module.start;
    const first = start === undefined ? undefined : this.flows[start - this.imports];
    if (first !== undefined) this.ends(first, start! - this.imports);
    const exported = this.module.exports.filter(({ kind }) => kind === 0);
    for (const index of new Set(exported.map((entry) => entry.index))) {
      const node = index - this.imports;
      if (node < 0) continue;
      const flow = this.flows[node]!;
      this.ends(flow, node);
      if (first === undefined) continue;
      const before = Math.max(first.through, first.tail);
      this.longest(plus(before, Math.max(flow.head, flow.through)), node);
    }
  }

  private ends(flow: Flow, node: number): void {
    for (const key of FLOW_KEYS) this.longest(flow[key], node);
  }
}

/** Walks the whole program, callees first. */
export function longestRun(program: PolledProgram): LongestRun {
  return new FlowFinder(program).run();
}
