/**
 * Which locals are live at each safepoint of a function.
 *
 * Does: a backward data-flow pass over the structured code, repeated until loop headers are stable.
 * Does not: know temporaries (a temporary is live exactly where an operand list names it).
 *
 *   live at a poll = live before the instruction that follows the poll
 *   live at a call = live after the call (its arguments are consumed, its results are not locals)
 *   plus the locals from which operands below the safepoint are rebuilt
 *
 * L1  A local that is not in a safepoint's set is never read again from there before it is written.
 * L2  The number of passes is at most the loop nesting depth + 2.
 */

import { invariant } from '../types/errors.js';
import { type Body, branchTableTargets, type Frame } from './body.js';
import { OP } from './opcodes.js';

/** A set of local indices. */
export type LocalSet = Uint32Array;

export function hasLocal(set: LocalSet, index: number): boolean {
  return ((set[index >>> 5]! >>> (index & 31)) & 1) === 1;
}

class Liveness {
  private readonly words: number;
  private readonly atLabel: (LocalSet | undefined)[];
  private readonly elseStart: (LocalSet | undefined)[];
  private readonly result: LocalSet[];
  private cur: LocalSet;
  private changed = false;

  constructor(
    private readonly body: Body,
    private readonly bytes: Uint8Array,
  ) {
    this.words = (body.locals.length + 31) >>> 5;
    this.atLabel = new Array(body.frames.length);
    this.elseStart = new Array(body.frames.length);
    this.result = body.safepoints.map(() => this.empty());
    this.cur = this.empty();
  }

  run(): LocalSet[] {
    let passes = 0;
    do {
      this.changed = false;
      this.pass();
      invariant(++passes <= this.body.frames.length + 2, 'liveness does not converge');
    } while (this.changed);
    return this.result;
  }

  private empty(): LocalSet {
    return new Uint32Array(this.words);
  }

  private union(set: LocalSet | undefined): void {
    if (set === undefined) return;
    for (let w = 0; w < this.words; w++) this.cur[w]! |= set[w]!;
  }

  private assign(set: LocalSet | undefined): void {
    if (set === undefined) this.cur.fill(0);
    else this.cur.set(set);
  }

  private pass(): void {
    const { body } = this;
    this.cur.fill(0);
    for (let i = body.count - 1; i >= 0; i--) if (body.live[i]) this.instruction(i);
    const entry = body.safepointAt.get(-1);
    if (entry !== undefined) this.atSafepoint(entry);
  }

  private instruction(i: number): void {
    const { body } = this;
    const arg = body.arg[i]!;
    switch (body.op[i]) {
      case OP.localGet:
        this.cur[arg >>> 5]! |= 1 << (arg & 31);
        return;
      case OP.localSet:
      case OP.localTee:
        this.cur[arg >>> 5]! &= ~(1 << (arg & 31));
        return;
      case OP.end:
        return this.end(body.frames[arg]!);
      case OP.else:
        this.elseStart[arg] = this.cur.slice();
        return this.assign(this.atLabel[arg]);
      case OP.if: {
        const frame = body.frames[arg]!;
        return this.union(frame.elseAt >= 0 ? this.elseStart[arg] : this.atLabel[arg]);
      }
      case OP.loop:
        return this.loopHeader(arg, i);
      case OP.br:
        return this.assign(arg === 0 ? undefined : this.atLabel[arg]);
      case OP.brIf:
        if (arg !== 0) this.union(this.atLabel[arg]);
        return;
      case OP.brTable:
        this.cur.fill(0);
        for (const target of branchTableTargets(body, i, this.bytes))
          if (target !== 0) this.union(this.atLabel[target]);
        return;
      case OP.return:
      case OP.unreachable:
        this.cur.fill(0);
        return;
      case OP.call:
      case OP.callIndirect: {
        const safepoint = body.safepointAt.get(i);
        if (safepoint !== undefined) this.atSafepoint(safepoint);
        return;
      }
    }
  }

  private end(frame: Frame): void {
    if (frame.kind === 'block' || frame.kind === 'if') this.atLabel[frame.id] = this.cur.slice();
  }

  private loopHeader(id: number, instr: number): void {
    const safepoint = this.body.safepointAt.get(instr);
    if (safepoint !== undefined) this.atSafepoint(safepoint);
    const before = this.atLabel[id];
    for (let w = 0; w < this.words; w++) {
      if ((before?.[w] ?? 0) !== this.cur[w]) {
        this.changed = true;
        break;
      }
    }
    this.atLabel[id] = this.cur.slice();
  }

  /** Operands rebuilt from locals need those locals here, hence also on every path that leads here. */
  private atSafepoint(index: number): void {
    for (const operand of this.body.safepoints[index]!.operands) {
      if (operand.kind === 'local') this.cur[operand.local >>> 5]! |= 1 << (operand.local & 31);
    }
    this.result[index]!.set(this.cur);
  }
}

/** The live locals at each safepoint, in safepoint order. */
export function liveLocals(body: Body, bytes: Uint8Array): LocalSet[] {
  return new Liveness(body, bytes).run();
}
