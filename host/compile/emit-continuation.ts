/**
 * Writes a continuation: the rest of a function from one of its safepoints on.
 *
 * A continuation is the suffix of the original from the safepoint on. For each control frame around it, innermost first:
 *
 *   block / if   ->  block (rest of the arm) end
 *   loop         ->  block $exit  block $again (rest of the body)  br $exit  end  loop (the whole loop) end  end
 *   large loop   ->  block $exit  block $again (rest of the body)  br $exit  end  (spill as at its poll, leave)  end
 *
 * so a branch to the loop's label falls into a full copy of the loop. A poll at a loop header is resumed *before* the
 * header with one more unit of fuel: the poll takes it back and the loop need not be copied twice. A bulk instruction is
 * done again, too, with what is left as its operands.
 *   try          ->  a try with the rest of its body, its handlers unchanged; a handler -> block (rest of it) end
 *
 * A loop with many safepoints (the main loop of an interpreter) would be in each of their continuations, whole, each copy compiled and
 * warmed up by itself. There the next passage is left to the continuation of the loop's own poll, which all of them share: the frame
 * is written as a stop at the poll writes it, but the fuel that is returned is not negative, and the caller goes on with that
 * frame (instance.ts). The first large loop that the rest of a frame comes to is left to its poll's continuation likewise.
 *
 * S1  A loop around the safepoint is there whole (or left to its poll) if anything that can still run branches to it: what lies
 *     behind the safepoint, or any part of an inner loop that is itself there whole, also the part before the safepoint. (The
 *     clauses of a try_table count as branches at its end.)
 * S2  What comes after a frame is left out when neither its rest falls through nor anything that can still run branches to its
 *     end: the other cases of a switch.
 *
 * Does: load the slots, rebuild the operands, put the suffix together. Does not: write instructions (emit.ts).
 */
import { invariant } from '../types/errors.js';
import { type Body, type Frame, OperandKind, type Safepoint } from './body.js';
import type { ByteWriter } from './bytes.js';
import { BodyEmitter, type EmitTarget } from './emit.js';
import { armEnd, inTryBody } from './emit-exceptions.js';
import { emitRefFunc, refHelper } from './emit-references.js';
import { OP } from './opcodes.js';
import type { FramePlan } from './plan.js';
import { loadSlot, storeFunction } from './store-calls.js';

/** Its instruction is done again, with the unit of fuel that stopping there has cost. */
function isDoneAgain({ kind }: Safepoint): boolean {
  return kind === 'loop' || kind === 'bulk';
}

/** With so many safepoints inside, or so much code, a loop is left to the continuation of its poll. */
const SHARED_SAFEPOINTS = 8;
const SHARED_BYTES = 512;

/** What becomes of a loop's label: nobody branches to it, the whole loop follows, or the continuation of its poll does. */
type Again = 'never' | 'whole' | 'shared';

/** A frame around the safepoint. */
interface Step {
  readonly frame: Frame;
  readonly again: Again;
  /** Something that can still run branches to its label. */
  readonly isTarget: boolean;
}

const TRANSFERS: ReadonlySet<number> = new Set([
  ...[OP.br, OP.brTable, OP.return, OP.returnCall, OP.returnCallIndirect],
  ...[OP.unreachable, OP.throw, OP.rethrow],
]);

/** The instruction with which the rest begins. */
const resumeAt = (safepoint: Safepoint): number =>
  isDoneAgain(safepoint) ? safepoint.instr : safepoint.instr + 1;

export class ContinuationEmitter extends BodyEmitter {
  constructor(bytes: Uint8Array, target: EmitTarget) {
    super(bytes, target, 'continuation');
  }

  /** A continuation `(fuel) -> (results…, fuel)` from the given safepoint on. */
  continuation(body: Body, plan: FramePlan, index: number): ByteWriter {
    this.begin(body, plan);
    const safepoint = body.safepoints[index]!;
    invariant(
      this.kind === 'continuation' && this.hasFuel,
      'continuation of a function that cannot stop',
    );
    this.prologue(index, safepoint);
    this.suffix(this.pathTo(safepoint), 0, safepoint);
    this.w.u8(OP.localGet).u32(this.fuel);
    return this.assemble();
  }

  private prologue(index: number, safepoint: Safepoint): void {
    const { w, plan, target } = this;
    for (let i = plan.liveFrom[index]!; i < plan.liveFrom[index + 1]!; i++) {
      const slot = plan.slots[plan.live[i]!]!;
      loadSlot(
        w,
        slot.type,
        slot.offset,
        (name) => w.op(OP.call, target.store(name)),
        () => refHelper(target),
      );
      w.op(OP.localSet, slot.local >= 0 ? this.local(slot.local) : this.temp(slot.temp));
    }
    if (!isDoneAgain(safepoint)) return;
    w.op(OP.localGet, this.fuel).u8(OP.i32Const).u8(1).u8(0x6a).op(OP.localSet, this.fuel);
  }

  /** Frames around the safepoint, outermost first. A loop poll is resumed before the loop, in its parent. */
  private pathTo(safepoint: Safepoint): Step[] {
    const { frames } = this.body;
    let id = safepoint.kind === 'loop' ? frames[safepoint.frame]!.parent : safepoint.frame;
    const path: Step[] = [];
    for (let reach = resumeAt(safepoint); id >= 0; id = frames[id]!.parent) {
      const frame = frames[id]!;
      const isTarget = frame.lastBranch >= reach;
      const goesOn = this.isShared(frame) ? 'shared' : 'whole';
      const again = frame.kind === 'loop' && isTarget ? goesOn : 'never';
      if (again === 'whole') reach = frame.first; // S1
      path.push({ frame, again, isTarget });
    }
    return path.reverse();
  }

  /** Safepoints are numbered in the order of their instructions: those inside a loop follow its own. */
  private isShared({ safepoint, first, end }: Frame): boolean {
    if (safepoint < 0) return false;
    const { start, safepoints } = this.body;
    if (start[end]! - start[first]! >= SHARED_BYTES) return true;
    const last = safepoints[safepoint + SHARED_SAFEPOINTS];
    return last !== undefined && last.instr < end;
  }

  /** The first large loop among the instructions `[from, to)` of this very frame; −1: there is none. */
  private nextShared(frame: Frame, from: number, to: number): number {
    const { op, live, arg, frames } = this.body;
    for (let i = from; i < to; i++) {
      if (op[i] !== OP.loop || live[i] === 0) continue;
      const loop = frames[arg[i]!]!;
      if (loop.parent === frame.id && this.isShared(loop)) return i;
    }
    return -1;
  }

  /** The frame at this place of the path, from the safepoint on. False: what follows it cannot be reached (S2). */
  private suffix(path: readonly Step[], at: number, safepoint: Safepoint): boolean {
    const step = path[at]!;
    const { frame, again } = step;
    const inner = path[at + 1]?.frame;
    const from = inner === undefined ? resumeAt(safepoint) : inner.end + 1;
    const isBody = inTryBody(frame, from);
    if (isBody) this.openTry(frame, []);
    else this.openSuffix(frame, again);
    const top = inner === undefined ? safepoint.to - safepoint.from : inner.height;
    for (let i = frame.height; i < top; i++) this.pushOperand(safepoint.from + i);
    const isReached = inner === undefined || this.suffix(path, at + 1, safepoint);
    if (inner === undefined) this.pushCallResults(safepoint);
    if (isBody) {
      // The handlers of a try belong to its body, whether or not that is reached again.
      this.range(from, armEnd(frame, from));
      this.close(frame);
      this.save(frame.end);
      return true;
    }
    const fallsThrough = isReached && this.rest(frame, from, safepoint);
    if (!isReached) this.w.u8(OP.unreachable);
    this.closeSuffix(frame, again);
    return fallsThrough || again === 'whole' || (step.isTarget && frame.kind !== 'loop');
  }

  /** What is left of a frame's arm. False: its end is not reached from here. */
  private rest(frame: Frame, from: number, { kind, instr }: Safepoint): boolean {
    const to = armEnd(frame, from);
    // The loop whose poll is resumed is the one that is to run now.
    const own = kind === 'loop' && instr === from;
    const next = this.nextShared(frame, own ? from + 1 : from, to);
    this.range(from, next < 0 ? to : next);
    if (next >= 0) this.leaveToPoll(this.body.frames[this.body.arg[next]!]!);
    return next < 0 && !this.endsAway(from, to);
  }

  /** The last instruction of `[from, to)` that can run goes somewhere else. */
  private endsAway(from: number, to: number): boolean {
    const { live, op } = this.body;
    let last = to - 1;
    while (last >= from && live[last] === 0) last--;
    return last >= from && TRANSFERS.has(op[last]!);
  }

  private openSuffix(frame: Frame, again: Again): void {
    if (frame.kind === 'func') {
      if (frame.lastBranch >= 0) this.openBlock(this.body.type.results, 0);
      return;
    }
    const isLabel = again === 'never';
    this.openBlock(frame.results, isLabel ? frame.id : -1);
    if (!isLabel) this.openBlock(frame.params, frame.id);
  }

  private closeSuffix(frame: Frame, again: Again): void {
    if (frame.kind === 'func') {
      if (frame.lastBranch >= 0) this.closeBlock();
      return;
    }
    if (again !== 'never') {
      this.w.u8(OP.br).u32(1);
      this.closeBlock();
      if (again === 'whole') this.range(frame.first, frame.end + 1);
      else this.leaveToPoll(frame);
    }
    this.closeBlock();
    this.save(frame.end);
  }

  /** A passage of the loop whose parameters are on the stack: its poll, then, whatever the fuel, the frame and the way out. */
  private leaveToPoll(loop: Frame): void {
    const { w } = this;
    this.save(loop.first);
    this.poll(loop.safepoint);
    w.u8(OP.i32Const).s32(loop.safepoint);
    this.spill(w);
    w.op(OP.localGet, this.fuel).u8(OP.return);
  }

  /** Puts an operand back on the stack; one that came from a local is saved again where its producer would have. */
  private pushOperand(index: number): void {
    const { w, body } = this;
    const { kind, ref, producer } = body.operands;
    const value = ref[index]!;
    if (kind[index] === OperandKind.constant) {
      if (body.op[value] === OP.refFunc) emitRefFunc(w, this.target, body.arg[value]!);
      else w.copy(this.bytes, body.start[value]!, body.start[value + 1]!);
    } else if (kind[index] === OperandKind.temp) {
      w.op(OP.localGet, this.temp(value));
    } else {
      w.op(OP.localGet, this.local(value));
      this.save(producer[index]!);
    }
  }

  private pushCallResults(safepoint: Safepoint): void {
    if (safepoint.guarded) this.w.op(OP.call, this.target.deliverFunction());
    safepoint.results.forEach((type, k) => {
      this.w
        .u8(OP.i32Const)
        .s32(k)
        .u8(OP.call)
        .u32(this.target.store(storeFunction('get', type)));
    });
    if (safepoint.kind === 'call' || safepoint.kind === 'host') this.save(safepoint.instr);
    if (this.body.op[safepoint.instr] === OP.returnCall) this.return();
  }
}
