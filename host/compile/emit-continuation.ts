/**
 * Writes a continuation: the rest of a function from one of its safepoints on.
 *
 * A continuation is the suffix of the original from the safepoint on. For each control frame around it, innermost first:
 *
 *   block / if   ->  block (rest of the arm) end
 *   loop         ->  block $exit  block $again (rest of the body)  br $exit  end  loop (the whole loop) end  end
 *
 * so a branch to the loop's label falls into a full copy of the loop. A poll at a loop header is resumed *before* the
 * header with one more unit of fuel: the poll takes it back and the loop need not be copied twice. A bulk instruction is
 * done again, too, with what is left as its operands.
 *   try          ->  a try with the rest of its body, its handlers unchanged; a handler -> block (rest of it) end
 *
 * S1  A loop around the safepoint is there whole if anything that can still run branches to it: what lies behind the safepoint,
 *     or any part of an inner loop that is itself there whole, also the part before the safepoint.
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

/** A frame around the safepoint; `again`: a loop that can be entered anew, whole. */
interface Step {
  readonly frame: Frame;
  readonly again: boolean;
}

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
      const again = frame.kind === 'loop' && frame.lastBranch >= reach; // S1
      if (again) reach = frame.first;
      path.push({ frame, again });
    }
    return path.reverse();
  }

  private suffix(path: readonly Step[], at: number, safepoint: Safepoint): void {
    const { frame, again } = path[at]!;
    const inner = path[at + 1]?.frame;
    const from = inner === undefined ? resumeAt(safepoint) : inner.end + 1;
    const isBody = inTryBody(frame, from);
    if (isBody) this.openTry(frame, []);
    else this.openSuffix(frame, again);
    const top = inner === undefined ? safepoint.to - safepoint.from : inner.height;
    for (let i = frame.height; i < top; i++) this.pushOperand(safepoint.from + i);
    if (inner !== undefined) this.suffix(path, at + 1, safepoint);
    else this.pushCallResults(safepoint);
    this.range(from, armEnd(frame, from));
    if (!isBody) this.closeSuffix(frame, again);
    else {
      this.close(frame);
      this.save(frame.end);
    }
  }

  private openSuffix(frame: Frame, again: boolean): void {
    if (frame.kind === 'func') {
      if (frame.lastBranch >= 0) this.openBlock(this.body.type.results, 0);
      return;
    }
    this.openBlock(frame.results, again ? -1 : frame.id);
    if (again) this.openBlock(frame.params, frame.id);
  }

  private closeSuffix(frame: Frame, again: boolean): void {
    if (frame.kind === 'func') {
      if (frame.lastBranch >= 0) this.closeBlock();
      return;
    }
    if (again) {
      this.w.u8(OP.br).u32(1);
      this.closeBlock();
      this.range(frame.first, frame.end + 1);
    }
    this.closeBlock();
    this.save(frame.end);
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
