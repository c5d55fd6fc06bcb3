/**
 * Which locals are live at each safepoint of a function.
 *
 * Does: a backward data-flow pass over the structured code, repeated until loop headers are stable.
 * Does not: know temporaries (a temporary is live exactly where an operand list names it).
 *
 *   live at a poll = live before the instruction that follows the poll
 *   live at a call = live after the call (its arguments are consumed, its results are not locals)
 *   live at a bulk instruction = live after it
 *   plus the locals from which operands below the safepoint are rebuilt
 *
 * A set of locals is a row of `width` words, one bit a local. All rows lie in the scratch's words:
 *
 *   [ one a safepoint | now | nothing | two a nesting level: label, start of else or of handlers | one a loop ]
 *
 * The label of a block or `if` is needed only while the pass is inside it, so its row belongs to its nesting level;
 * the label of a loop carries over to the next pass, so its row belongs to the loop.
 *
 * L1  A local that is not in a safepoint's set is never read again from there before it is written.
 * L2  The number of passes is at most the loop nesting depth + 2.
 */
import { EXIT, invariant, SherdError } from '../types/errors.js';
import { type Body, branchTableTargets, type Frame, OperandKind } from './body.js';
import { isBulk } from './instructions.js';
import { OP } from './opcodes.js';
import type { Scratch } from './scratch.js';

/** More words than this are refused: 256 MiB of sets. */
const MAX_WORDS = 1 << 26;

/** The sets of all safepoints, end to end in safepoint order: set i is words `[i * width, (i + 1) * width)`. */
export interface LiveLocals {
  readonly words: Uint32Array;
  readonly width: number;
}

class Liveness {
  private readonly width: number;
  private readonly sets: Uint32Array;
  /** Offset of the row of locals that are live where the pass stands. */
  private readonly now: number;
  /** Offset of a row that stays empty. */
  private readonly nothing: number;
  private readonly levels: number;
  /** Per frame: offset of its label's row. */
  private readonly label: Int32Array;
  /** Per frame: its nesting level while the pass is inside it. */
  private level = 0;
  private nextLoop: number;
  private changed = false;
  /** Rows of the handlers around the instruction at which the pass stands: any of them may go on from a call or throw. */
  private readonly handlers: number[] = [];

  constructor(
    private readonly body: Body,
    private readonly bytes: Uint8Array,
    scratch: Scratch,
  ) {
    const width = (body.locals.length + 31) >>> 5;
    this.width = width;
    this.now = body.safepoints.length * width;
    this.nothing = this.now + width;
    this.levels = this.nothing + width;
    this.nextLoop = this.levels + body.nesting * 2 * width;
    const count = this.nextLoop + body.loops * width;
    if (count > MAX_WORDS) throw tooLarge(body.index);
    this.sets = scratch.wordsFor(count);
    this.sets.fill(0, this.nothing, this.levels);
    this.sets.fill(0, this.nextLoop, count);
    this.label = new Int32Array(body.frames.length);
    this.placeLoops();
  }

  run(): LiveLocals {
    let passes = 0;
    do {
      this.changed = false;
      this.pass();
      invariant(++passes <= this.body.frames.length + 2, 'liveness does not converge');
    } while (this.changed);
    return { words: this.sets, width: this.width };
  }

  private placeLoops(): void {
    if (this.body.loops === 0) return;
    for (const frame of this.body.frames) {
      if (frame.kind !== 'loop') continue;
      this.label[frame.id] = this.nextLoop;
      this.nextLoop += this.width;
    }
  }

  // --- rows ----------------------------------------------------------------------------------------------

  private add(local: number): void {
    this.sets[this.now + (local >>> 5)]! |= 1 << (local & 31);
  }

  private remove(local: number): void {
    this.sets[this.now + (local >>> 5)]! &= ~(1 << (local & 31));
  }

  private union(row: number): void {
    this.unionInto(row, this.now);
  }

  private unionInto(source: number, target: number): void {
    const { sets, width } = this;
    for (let w = 0; w < width; w++) sets[target + w]! |= sets[source + w]!;
  }

  private copy(source: number, target: number): void {
    const { sets, width } = this;
    for (let w = 0; w < width; w++) sets[target + w] = sets[source + w]!;
  }

  /** The row of a branch's target: after the function nothing is live. */
  private target(frame: number): number {
    return frame === 0 ? this.nothing : this.label[frame]!;
  }

  // --- the pass ------------------------------------------------------------------------------------------

  private pass(): void {
    const { body } = this;
    const { op, live } = body;
    this.level = 0;
    this.copy(this.nothing, this.now);
    for (let i = body.count - 1; i >= 0; i--) {
      if ((op[i]! <= OP.localTee || isBulk(op[i]!)) && live[i] !== 0) this.instruction(op[i]!, i);
    }
    if (body.entrySafepoint >= 0) this.atSafepoint(body.entrySafepoint);
  }

  private instruction(op: number, i: number): void {
    const { body, now } = this;
    const arg = body.arg[i]!;
    switch (op) {
      case OP.localGet:
        return this.add(arg);
      case OP.localSet:
      case OP.localTee:
        return this.remove(arg);
      case OP.end:
      case OP.delegate:
        return this.end(body.frames[arg]!);
      case OP.else:
        this.copy(now, this.levelRow() + this.width);
        return this.copy(this.label[arg]!, now);
      case OP.block:
        this.level--;
        return;
      case OP.try:
      case OP.tryTable:
        if (body.frames[arg]!.catches.length > 0 || op === OP.tryTable) this.handlers.pop();
        this.level--;
        return;
      case OP.catch:
      case OP.catchAll:
        return this.clause(body.frames[arg]!, i);
      case OP.throw:
      case OP.rethrow:
        this.copy(this.nothing, now);
        return this.mayThrow();
      case OP.if:
        this.union(body.frames[arg]!.elseAt >= 0 ? this.levelRow() + this.width : this.label[arg]!);
        this.level--;
        return;
      case OP.loop:
        return this.loopHeader(arg, i);
      case OP.br:
        return this.copy(this.target(arg), now);
      case OP.brIf:
        return this.union(this.target(arg));
      case OP.brTable:
        this.copy(this.nothing, now);
        for (const target of branchTableTargets(body, i, this.bytes))
          this.union(this.target(target));
        return;
      case OP.return:
      case OP.unreachable:
      case OP.returnCallIndirect:
        return this.copy(this.nothing, now);
      case OP.returnCall:
        this.copy(this.nothing, now);
        if (body.safepointAt[i]! >= 0) this.atSafepoint(body.safepointAt[i]!);
        return;
      case OP.memoryFill:
      case OP.memoryCopy:
        if (body.safepointAt[i]! >= 0) this.atSafepoint(body.safepointAt[i]!);
        return;
      case OP.call:
      case OP.callIndirect:
        this.mayThrow();
        if (body.safepointAt[i]! >= 0) this.atSafepoint(body.safepointAt[i]!);
    }
  }

  /** The first row of the nesting level in which the pass stands. */
  private levelRow(): number {
    return this.levels + (this.level - 1) * 2 * this.width;
  }

  private end(frame: Frame): void {
    if (frame.kind === 'func') return;
    this.level++;
    if (frame.kind === 'loop') return;
    const row = this.levelRow();
    this.label[frame.id] = row;
    this.copy(this.now, row);
    if (frame.kind !== 'try' && frame.kind !== 'try_table') return;
    this.copy(this.nothing, row + this.width);
    if (frame.kind === 'try') return;
    for (const { label } of frame.clauses) this.unionInto(this.target(label), row + this.width);
    this.handlers.push(row + this.width);
  }

  /** The start of a clause, where a throw in the body leads. Before the first clause comes the body. */
  private clause(frame: Frame, instr: number): void {
    const row = this.levelRow();
    this.unionInto(this.now, row + this.width);
    this.copy(row, this.now);
    if (instr === frame.catches[0]) this.handlers.push(row + this.width);
  }

  private mayThrow(): void {
    for (const row of this.handlers) this.union(row);
  }

  private loopHeader(id: number, instr: number): void {
    const { body, sets, now, width } = this;
    if (body.safepointAt[instr]! >= 0) this.atSafepoint(body.safepointAt[instr]!);
    const label = this.label[id]!;
    for (let w = 0; w < width; w++) {
      if (sets[label + w] === sets[now + w]) continue;
      this.changed = true;
      sets[label + w] = sets[now + w]!;
    }
    this.level--;
  }

  /** Operands rebuilt from locals need those locals here, hence also on every path that leads here. */
  private atSafepoint(index: number): void {
    const { from, to } = this.body.safepoints[index]!;
    const { kind, ref } = this.body.operands;
    for (let i = from; i < to; i++) if (kind[i] === OperandKind.local) this.add(ref[i]!);
    this.copy(this.now, index * this.width);
  }
}

function tooLarge(functionIndex: number): SherdError {
  return new SherdError(
    'SHERD_LIMIT',
    `function ${functionIndex} has too many locals and places where it can stop`,
    { next: 'compile it with optimisation, or split it', exitCode: EXIT.refused },
  );
}

/** The live locals at each safepoint; valid until the scratch is used again. */
export function liveLocals(body: Body, bytes: Uint8Array, scratch: Scratch): LiveLocals {
  return new Liveness(body, bytes, scratch).run();
}
