/**
 * What the rewriter did to one function, and why: `sherd compile --explain FUNCTION`.
 *
 *   shard module ─ skeleton ─ the same analysis as when it was compiled ─ decisions, each with its reason
 *
 * Does: name every safepoint with what is stored there, every loop and call without one with the reason, where fuel is paid,
 * what was put out of line. Does not: decide anything, or print (explain-text.ts).
 *
 * Y1  Everything comes from the analysis and the resume map; no rule of the rewriter is told a second time as a fact.
 */
import { usageError } from '../types/errors.js';
import type { FunctionInfo, SafepointKind, ShardModule } from '../types/module.js';
import type { ValType } from '../types/state.js';
import { analyseBody, type Body, OperandKind } from './body.js';
import { caughtTemps } from './body-exceptions.js';
import { codeStart, parseModule, type WasmModule } from './module.js';
import { OP } from './opcodes.js';
import { type FramePlan, planFrame, VAL_TYPE_NAME } from './plan.js';
import { functionLabel } from './records.js';
import { Scratch } from './scratch.js';
import { callsOf, type SkeletonCalls, skeletonOf } from './skeleton.js';
import { SPACING } from './spacing.js';

/** A value that a stopped activation consists of. */
export interface ExplainedValue {
  /** `local 3 (sum)`, `temporary 0`. */
  readonly name: string;
  readonly type: ValType;
  /** Bytes in the frame. */
  readonly bytes: number;
}

export interface ExplainedSafepoint {
  readonly number: number;
  readonly kind: SafepointKind;
  /** Of the instruction, from the start of the code section's content; null: the function's entry. */
  readonly offset: number | null;
  readonly loopDepth: number;
  /** The loop, or the call with what it calls. */
  readonly what: string;
  readonly why: string;
  /** Fuel that passing it costs. */
  readonly fuel: 0 | 1;
  /** Live values: all that a capsule keeps of this activation. */
  readonly live: readonly ExplainedValue[];
  /** Operands below it on the stack that are made again instead of stored, bottom first. */
  readonly rebuilt: readonly string[];
  /** Types that the call gives when the frame goes on. */
  readonly results: readonly ValType[];
  readonly guarded: boolean;
}

/** A loop or a call at which the function cannot stop. */
export interface ExplainedOther {
  readonly offset: number;
  readonly what: string;
  readonly why: string;
}

export interface FunctionExplanation {
  readonly index: number;
  readonly name: string | null;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  readonly instructions: number;
  /** Instructions that cannot be reached; they are left out. */
  readonly deadInstructions: number;
  /** Of the body. */
  readonly programBytes: number;
  readonly moduleBytes: number;
  readonly canStop: boolean;
  readonly whyStop: string;
  readonly carriesFuel: boolean;
  readonly whyFuel: string;
  /** Values that the cold block stores: the union over all safepoints. */
  readonly slots: readonly ExplainedValue[];
  readonly frameBytes: number;
  readonly safepoints: readonly ExplainedSafepoint[];
  readonly without: readonly ExplainedOther[];
  /** Places in the fast code that keep an operand in a temporary, because a later safepoint needs it. */
  readonly saves: readonly { readonly offset: number; readonly temporary: string }[];
  /** What stands outside the fast code. */
  readonly outlined: readonly string[];
}

/** The function of this index or name. Throws SHERD_USAGE naming what there is. */
export function findFunction(shard: ShardModule, wanted: string): number {
  const { functions, imports } = shard;
  if (/^\d+$/.test(wanted)) {
    const index = Number(wanted);
    if (functions[index - imports.length] !== undefined) return index;
    const last = imports.length + functions.length - 1;
    const why =
      index < imports.length
        ? `function ${index} is the import ${imports[index]!.module}.${imports[index]!.field}`
        : `there is no function ${index}`;
    throw usageError(why, `the program defines functions ${imports.length} to ${last}`);
  }
  const exact = functions.filter(({ name }) => name === wanted).map(({ index }) => index);
  const exported = shard.exports.get(wanted);
  if (exported !== undefined && !exact.includes(exported)) exact.push(exported);
  const found = exact.length > 0 ? exact : indicesOf(functions, (name) => name.includes(wanted));
  if (found.length === 1) return found[0]!;
  const list = found.slice(0, 10).map((index) => {
    const name = functions[index - imports.length]!.name;
    return name === undefined ? String(index) : `${index} (${name})`;
  });
  if (found.length === 0)
    throw usageError(`no function is called '${wanted}'`, 'sherd inspect lists all functions');
  throw usageError(
    `${found.length} functions are called '${wanted}'`,
    `give one index: ${list.join(', ')}`,
  );
}

function indicesOf(functions: readonly FunctionInfo[], fits: (name: string) => boolean): number[] {
  return functions.flatMap(({ name, index }) => (name !== undefined && fits(name) ? [index] : []));
}

/** An empty loop: a poll, nearly always one that was added (spacing.ts). */
function isPoll({ op, live }: Body, instr: number): boolean {
  return op[instr] === OP.loop && live[instr] !== 0 && op[instr + 1] === OP.end;
}

class Explainer {
  private readonly module: WasmModule;
  private readonly calls: SkeletonCalls;
  private readonly info: FunctionInfo;
  private readonly body: Body;
  private readonly plan: FramePlan;

  constructor(
    private readonly shard: ShardModule,
    private readonly index: number,
  ) {
    this.module = skeletonOf(shard);
    this.calls = callsOf(shard);
    this.info = shard.functions[index - shard.imports.length]!;
    const scratch = new Scratch();
    this.body = analyseBody(this.module, index, this.calls, scratch);
    this.plan = planFrame(this.body, this.module.bytes, scratch);
  }

  run(): FunctionExplanation {
    const { info, body, plan, shard } = this;
    const k = this.index - shard.imports.length;
    const range = this.module.bodies[k]!;
    const rewritten = parseModule(shard.bytes).bodies[k]!;
    return {
      index: this.index,
      name: info.name ?? null,
      params: info.params,
      results: info.results,
      instructions: body.count,
      deadInstructions: this.where((i) => body.live[i] === 0).length,
      programBytes: range.end - range.start,
      moduleBytes: rewritten.end - rewritten.start,
      canStop: info.instrumented,
      whyStop: this.whyStop(),
      carriesFuel: this.calls.carriesFuel(this.index),
      whyFuel: this.whyFuel(),
      slots: plan.slots.map((_, slot) => this.value(slot)),
      frameBytes: plan.bytes + 8,
      safepoints: body.safepoints.map((_, s) => this.safepoint(s)),
      without: this.without(),
      saves: this.saves(),
      outlined: this.outlined(),
    };
  }

  /** Instructions for which this holds. */
  private where(fits: (instr: number) => boolean): number[] {
    return Array.from({ length: this.body.count }, (_, i) => i).filter(fits);
  }

  /**
   * Where an instruction lies in the program. Added polls moved it in the code that was rewritten: by as much as the
   * safepoint before it, whose place in the program the resume map has.
   */
  private offset(instr: number): number {
    const { body, info } = this;
    const start = codeStart(this.module);
    let moved = this.movedBefore();
    for (const [s, { instr: at, kind }] of body.safepoints.entries()) {
      if (at < 0) continue;
      const mapped = info.safepoints[s]!.offset;
      if (at === instr) return mapped;
      if (at > instr) break;
      const end = kind === 'loop' && this.isPoll(at) ? body.start[at + 2]! : body.start[at]!;
      moved = end - start - mapped;
    }
    return body.start[instr]! - start - moved;
  }

  /** By how much the code before this function's first safepoint lies behind its place in the program. */
  private movedBefore(): number {
    const { shard, module } = this;
    const first = this.body.safepoints.findIndex(({ instr }) => instr >= 0);
    const start = codeStart(module);
    if (first >= 0) {
      const { instr } = this.body.safepoints[first]!;
      return this.body.start[instr]! - start - this.info.safepoints[first]!.offset;
    }
    for (let k = this.index - shard.imports.length - 1; k >= 0; k--) {
      const last = shard.functions[k]!.safepoints.length - 1;
      const mapped = shard.functions[k]!.safepoints[last];
      if (mapped === undefined || mapped.kind === 'entry') continue;
      const body = analyseBody(module, shard.imports.length + k, this.calls, new Scratch());
      const { instr } = body.safepoints[last]!;
      const at = isPoll(body, instr) ? instr + 2 : instr;
      return body.start[at]! - start - mapped.offset;
    }
    return 0;
  }

  private isPoll(instr: number): boolean {
    return isPoll(this.body, instr);
  }

  private label(index: number): string {
    const { imports } = this.shard;
    const host = imports[index];
    return host === undefined
      ? functionLabel(this.shard, index)
      : `host function ${host.module}.${host.field}`;
  }

  // --- reasons -------------------------------------------------------------------------------------------

  private whyStop(): string {
    const { body, info, calls } = this;
    const reasons: string[] = [];
    if (info.loops > 0)
      reasons.push(info.loops === 1 ? 'it has a loop' : `it has ${info.loops} loops`);
    if (this.where((i) => this.isPoll(i)).length > 0)
      reasons.push('it would run too long from one safepoint to the next');
    if (calls.entryPoll(this.index)) reasons.push('a cycle of calls leads back to it');
    const throws = this.where((i) => body.op[i] === OP.throw || body.op[i] === OP.rethrow);
    if (throws.length > 0) reasons.push('it throws, and the fuel must reach the handler');
    const host = info.calls.find((f) => calls.isImport(f));
    if (host !== undefined) reasons.push(`it calls ${this.label(host)}, which may wait`);
    const callee = info.calls.find((f) => !calls.isImport(f) && calls.canStop(f));
    if (callee !== undefined) reasons.push(`it calls ${this.label(callee)}, which can stop`);
    if (this.indirectStops()) reasons.push('it calls through a table functions that can stop');
    if (!info.instrumented)
      return 'no loop, no host call, no recursion, and nothing that it calls can stop';
    return reasons.join('; ');
  }

  private indirectStops(): boolean {
    const { body, calls } = this;
    const indirect = (i: number): boolean =>
      body.op[i] === OP.callIndirect || body.op[i] === OP.returnCallIndirect;
    return this.where(indirect).some((i) => calls.indirectCanStop(body.arg[i]!));
  }

  private whyFuel(): string {
    if (this.info.instrumented)
      return 'fuel is an extra parameter and an extra result; negative means that the frame is being left';
    if (this.calls.carriesFuel(this.index))
      return 'it cannot stop, but a function of its type that is called through a table can: their signatures must agree';
    return 'it cannot stop: its code and signature are the original ones';
  }

  private whySafepoint(s: number): string {
    const { kind, instr } = this.body.safepoints[s]!;
    if (kind === 'loop' && this.isPoll(instr))
      return `without it, more than ${SPACING / 4} instructions could lie between two safepoints, or between calls and returns of a recursion more than ${SPACING / 32}`;
    if (kind === 'loop') return 'every round of a loop must be able to stop';
    if (kind === 'entry')
      return `a cycle of calls leads back here (${this.cycle()}): one function of each cycle polls`;
    if (kind === 'bulk')
      return 'it does as much as there is fuel for, and the rest when it goes on';
    if (kind === 'host') return 'the host may answer later: the call waits as data in the capsule';
    return this.body.op[instr] === OP.callIndirect
      ? 'what is called through the table may stop: this frame is then stored too'
      : 'what is called may stop: this frame is then stored too';
  }

  /** The shortest way of direct calls from the function back to itself. */
  private cycle(): string {
    const { functions, imports } = this.shard;
    const cameFrom = new Map<number, number>();
    const queue = [this.index];
    for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
      for (const to of functions[at - imports.length]?.calls ?? []) {
        if (to === this.index) return this.path(cameFrom, at);
        if (to < imports.length || cameFrom.has(to)) continue;
        cameFrom.set(to, at);
        queue.push(to);
      }
    }
    return 'through a table';
  }

  private path(cameFrom: ReadonlyMap<number, number>, last: number): string {
    const names = [this.label(this.index)];
    for (let at = last; at !== this.index; at = cameFrom.get(at)!) names.unshift(this.label(at));
    return last === this.index ? 'it calls itself' : `through ${names.slice(0, 4).join(' → ')}`;
  }

  // --- parts ---------------------------------------------------------------------------------------------

  private value(slot: number): ExplainedValue {
    const { type, local, temp } = this.plan.slots[slot]!;
    const name = local < 0 ? `temporary ${temp}` : this.localName(local);
    return { name, type: VAL_TYPE_NAME[type]!, bytes: type === 0x7b ? 16 : 8 };
  }

  private localName(local: number): string {
    const name = this.info.localNames.get(local);
    return name === undefined ? `local ${local}` : `local ${local} (${name})`;
  }

  private loopDepth(frame: number): number {
    let depth = 0;
    for (let id = frame; id >= 0; id = this.body.frames[id]!.parent) {
      const { kind, first } = this.body.frames[id]!;
      if (kind === 'loop' && !this.isPoll(first)) depth++;
    }
    return depth;
  }

  private safepoint(s: number): ExplainedSafepoint {
    const { body, plan } = this;
    const { kind, instr, frame, results, guarded } = body.safepoints[s]!;
    const live = [...plan.live.subarray(plan.liveFrom[s], plan.liveFrom[s + 1])];
    return {
      number: s,
      kind,
      offset: instr < 0 ? null : this.offset(instr),
      loopDepth: this.loopDepth(frame),
      what: instr < 0 ? 'entry' : this.what(instr),
      why: this.whySafepoint(s),
      fuel: kind === 'loop' || kind === 'entry' ? 1 : 0,
      live: live.map((slot) => this.value(slot)),
      rebuilt: this.rebuilt(s),
      results: results.map((type) => VAL_TYPE_NAME[type]!),
      guarded,
    };
  }

  private rebuilt(s: number): string[] {
    const { operands, safepoints } = this.body;
    const { from, to } = safepoints[s]!;
    const names: string[] = [];
    for (let i = from; i < to; i++) {
      const kind = operands.kind[i];
      if (kind === OperandKind.local) names.push(`from ${this.localName(operands.ref[i]!)}`);
      else if (kind === OperandKind.constant)
        names.push(`the constant at 0x${this.offset(operands.ref[i]!).toString(16)}`);
      else names.push(`from temporary ${operands.ref[i]}`);
    }
    const kept = caughtTemps(this.body, safepoints[s]!);
    if (kept.length > 0) names.push(`a caught exception, from ${kept.length} temporaries`);
    return names;
  }

  private what(instr: number): string {
    const { op, arg } = this.body;
    switch (op[instr]) {
      case OP.loop:
        return this.isPoll(instr) ? 'poll before the next instruction' : 'loop';
      case OP.call:
        return `call ${this.label(arg[instr]!)}`;
      case OP.returnCall:
        return `tail call ${this.label(arg[instr]!)}`;
      case OP.returnCallIndirect:
        return `tail call through a table, type ${arg[instr]}`;
      default:
        return `call through a table, type ${arg[instr]}`;
    }
  }

  private without(): ExplainedOther[] {
    const { op, safepointAt } = this.body;
    const places = new Set<number>([OP.loop, OP.call, OP.callIndirect, OP.returnCall]);
    places.add(OP.returnCallIndirect);
    return this.where((i) => places.has(op[i]!) && safepointAt[i]! < 0).map((i) => ({
      offset: this.offset(i),
      what: this.what(i),
      why: this.whyNone(i),
    }));
  }

  private whyNone(instr: number): string {
    const { op, arg, live } = this.body;
    if (live[instr] === 0) return 'it cannot be reached';
    if (op[instr] === OP.returnCall || op[instr] === OP.returnCallIndirect)
      return 'a tail call leaves no frame behind that could be stored';
    if (op[instr] === OP.callIndirect)
      return this.calls.indirectCanStop(arg[instr]!)
        ? 'the rewriter put none here'
        : 'no function of this type in a table can stop';
    if (op[instr] === OP.call && !this.calls.canStop(arg[instr]!))
      return this.calls.carriesFuel(arg[instr]!)
        ? 'it cannot stop; it only passes the fuel on'
        : 'it cannot stop: no loop, no host call, no recursion in it or below it';
    return 'the rewriter put none here';
  }

  private saves(): { offset: number; temporary: string }[] {
    const { save, live, multiSaves } = this.body;
    return this.where((i) => live[i] !== 0 && save[i] !== 0).map((i) => {
      const temps = save[i]! > 0 ? [save[i]! - 1] : (multiSaves.get(i) ?? []);
      return { offset: this.offset(i), temporary: temps.map((t) => `temporary ${t}`).join(', ') };
    });
  }

  private outlined(): string[] {
    const { safepoints } = this.body;
    if (safepoints.length === 0) return [];
    const { length } = this.plan.slots;
    const parts = [
      `cold block, behind the fast code: stores the safepoint's number, the function's and ${length} values, gives zeros and -1`,
      `continuations, made when a frame is resumed: ${safepoints.length}, one a safepoint, each the rest of the function from there; loops of many safepoints go on in that of their poll`,
    ];
    if (this.where((i) => this.body.op[i] === OP.memoryGrow).length > 0)
      parts.push('memory.grow: a helper that obeys the limit of the shard');
    return parts;
  }
}

/** Explains a defined function of a shard module. */
export function explainFunction(shard: ShardModule, index: number): FunctionExplanation {
  return new Explainer(shard, index).run();
}
