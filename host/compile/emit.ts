/**
 * Writes the instrumented code of one function: the fast copy, and continuations from a safepoint on.
 *
 * History: polls that call the host from inside a loop cost 40 %; one copy that can also resume costs 28 % and five
 * times the code (DESIGN §4). So the fast copy is the original stream plus polls that *leave* the loop, and resume
 * code exists only in continuations, which are made when a frame is resumed.
 *
 *   (func $f (param p) (result r))                 (func $f (param p) (param $F i32) (result r i32)
 *     loop $l                                        block $cold (result i32)
 *       …                                              block $s1  block $s0
 *       call $g          becomes                         loop $l
 *       …                                                  F = F - 1;  br_if $s0 (F < 0)          poll
 *       br_if $l                                           …
 *     end                                                  call $g(…, F) -> (…, F);  br_if $s1 (F < 0)
 *   end                                                    …
 *                                                        end  local.get $F  return
 *                                                      end $s0: i32.const 0  br $cold
 *                                                      end $s1: i32.const 1
 *                                                    end $cold: spill safepoint, function, slots
 *                                                    zero results, -1
 *
 * A continuation is the suffix of the original from the safepoint on. For each control frame around it, innermost first:
 *
 *   block / if   ->  block (rest of the arm) end
 *   loop         ->  block $exit  block $again (rest of the body)  br $exit  end  loop (the whole loop) end  end
 *
 * so a branch to the loop's label falls into a full copy of the loop. A poll at a loop header is resumed *before* the
 * header with one more unit of fuel: the poll takes it back and the loop need not be copied twice.
 *
 * E1  Fuel: a poll subtracts 1; F < 0 means unwinding, in polls and after calls alike.
 * E2  While unwinding nothing of the program runs: from `br_if` the only way is the cold block and the return.
 * E3  The fast copy and all continuations of a function write identical frames for the same safepoint (same plan).
 * E4  Dead code of the program is not emitted.
 */
import { invariant } from '../types/errors.js';
import { type Body, branchTableTargets, type Frame, OperandKind, type Safepoint } from './body.js';
import { ByteReader, ByteWriter, lebBytes } from './bytes.js';
import { OP, VT } from './opcodes.js';
import type { FramePlan } from './plan.js';
import { loadSlot, storeFunction, zero } from './store-calls.js';
import { type EmitTarget, FUEL_REGISTER } from './target.js';

export { type EmitTarget, FUEL_REGISTER } from './target.js';

/** How an instruction is written, besides its saves: by opcode key. */
const Way = { copy: 0, local: 1, index: 2, frame: 3, rewrite: 4 } as const;
const WAY = new Uint8Array(0x10000);
for (const op of [OP.localGet, OP.localSet, OP.localTee]) WAY[op] = Way.local;
for (const op of [OP.br, OP.brIf, OP.globalGet, OP.globalSet, OP.call]) WAY[op] = Way.index;
for (const op of [OP.block, OP.if, OP.else, OP.end]) WAY[op] = Way.frame;
for (const op of [OP.nop, OP.loop, OP.brTable, OP.return, OP.callIndirect]) WAY[op] = Way.rewrite;
for (const op of [OP.memoryGrow, OP.memoryInit, OP.dataDrop]) WAY[op] = Way.rewrite;
for (const op of [OP.refFunc, OP.tableInit, OP.elemDrop]) WAY[op] = Way.rewrite;

/** Emits bodies of one module, one after the other. */
export class BodyEmitter {
  private body!: Body;
  private plan!: FramePlan;
  /** Code inside the cold labels. */
  private readonly w = new ByteWriter(1024);
  /** The finished body. */
  private readonly out = new ByteWriter(1024);
  /** Labels open inside the cold labels. */
  private depth = 0;
  /** Per frame: labels open outside its own. */
  private level = new Int32Array(64);
  /** Safepoints in the order in which their labels nest, innermost first. */
  private readonly coldOrder: number[] = [];
  /** Per safepoint: its place in `coldOrder`, or -1. */
  private coldPosition = new Int32Array(64);
  private hasFuel = false;
  private fuel = 0;
  private scratch = -1;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly target: EmitTarget,
    private readonly kind: 'fast' | 'continuation',
  ) {}

  private begin(body: Body, plan: FramePlan): void {
    this.body = body;
    this.plan = plan;
    this.w.clear();
    this.out.clear();
    this.depth = 0;
    this.scratch = -1;
    this.coldOrder.length = 0;
    const frames = body.frames.length;
    if (this.level.length < frames) this.level = new Int32Array(frames * 2);
    this.level.fill(-1, 0, frames);
    const safepoints = body.safepoints.length;
    if (this.coldPosition.length < safepoints) this.coldPosition = new Int32Array(safepoints * 2);
    this.coldPosition.fill(-1, 0, safepoints);
    this.hasFuel = this.target.carriesFuel(body.index);
    this.fuel = this.kind === 'continuation' ? 0 : body.type.params.length;
  }

  // --- entry points --------------------------------------------------------------------------------------

  /** The fast copy: local declarations and code, without the size prefix. Valid until the next call. */
  fast(body: Body, plan: FramePlan): ByteWriter {
    this.begin(body, plan);
    const wrap = body.frames[0]!.lastBranch >= 0 && this.hasFuel;
    if (wrap) this.openBlock(body.type.results, 0);
    if (body.entrySafepoint >= 0) this.poll(body.entrySafepoint);
    this.range(0, body.count - 1);
    if (wrap) this.closeBlock();
    if (!this.hasFuel) return this.assemblePlain();
    this.w.u8(OP.localGet).u32(this.fuel);
    return this.assemble();
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
    const path = this.pathTo(safepoint);
    this.suffix(path, 0, safepoint);
    this.w.u8(OP.localGet).u32(this.fuel);
    return this.assemble();
  }

  // --- indices -------------------------------------------------------------------------------------------

  private local(index: number): number {
    if (this.kind === 'continuation') return index + 1;
    return index < this.body.type.params.length || !this.hasFuel ? index : index + 1;
  }

  private temp(index: number): number {
    return this.body.locals.length + (this.hasFuel ? 1 : 0) + index;
  }

  private scratchLocal(): number {
    if (this.scratch < 0) this.scratch = this.temp(this.body.temps.length);
    return this.scratch;
  }

  private branchDepth(frame: number): number {
    const level = this.level[frame]!;
    invariant(level >= 0 && level < this.depth, `branch to frame ${frame} that is not open`);
    return this.depth - 1 - level;
  }

  /** Depth of a safepoint's cold label from here. Labels get their place at first use. */
  private coldDepth(safepoint: number): number {
    let position = this.coldPosition[safepoint]!;
    if (position < 0) {
      position = this.coldOrder.length;
      this.coldOrder.push(safepoint);
      this.coldPosition[safepoint] = position;
    }
    return this.depth + position;
  }

  // --- assembling ----------------------------------------------------------------------------------------

  /** Groups of equal types: locals (in a continuation also parameters), temporaries, the scratch local. */
  private localDeclarations(): void {
    const { body, out } = this;
    const from = this.kind === 'continuation' ? 0 : body.type.params.length;
    const own = body.locals.length - from;
    const total = own + body.temps.length + (this.scratch >= 0 ? 1 : 0);
    const typeOf = (i: number): number =>
      i < own
        ? body.locals[from + i]!
        : i < own + body.temps.length
          ? body.temps[i - own]!
          : VT.i32;
    let groups = 0;
    for (let i = 0; i < total; i++) if (i === 0 || typeOf(i) !== typeOf(i - 1)) groups++;
    out.u32(groups);
    for (let i = 0; i < total; ) {
      const type = typeOf(i);
      const first = i;
      while (i < total && typeOf(i) === type) i++;
      out.u32(i - first).u8(type);
    }
  }

  private assemblePlain(): ByteWriter {
    this.localDeclarations();
    return this.out.append(this.w).u8(OP.end);
  }

  /** Puts the code into its cold labels and adds the landings and the cold block. */
  private assemble(): ByteWriter {
    this.localDeclarations();
    const { out } = this;
    const count = this.coldOrder.length;
    if (count === 0) return out.append(this.w).u8(OP.end);
    if (count > 1) out.u8(OP.block).u8(VT.i32);
    for (let i = 0; i < count; i++) out.u8(OP.block).u8(0x40);
    out.append(this.w).u8(OP.return);
    for (let position = 0; position < count; position++) {
      const safepoint = this.coldOrder[position]!;
      out.u8(OP.end);
      if (this.body.safepoints[safepoint]!.kind === 'host') {
        out.op(OP.localGet, this.fuel).u8(OP.i32Const).s32(FUEL_REGISTER);
        out.op(OP.call, this.target.store('set_i32'));
      }
      out.u8(OP.i32Const).s32(safepoint);
      if (position < count - 1) out.op(OP.br, count - 1 - position);
    }
    if (count > 1) out.u8(OP.end);
    this.coldBlock();
    return out.u8(OP.end);
  }

  /** The safepoint number is on the stack: spill head and slots, return zeros and -1. */
  private coldBlock(): void {
    const { out, target } = this;
    const { slots } = this.plan;
    out.u8(OP.i32Const).s32(this.body.index).op(OP.call, target.store('frame'));
    for (let i = 0; i < slots.length; ) {
      const four = this.fourInts(i);
      const type = slots[i]!.type;
      for (const end = i + (four ? 4 : 1); i < end; i++) this.getSlot(i);
      out.op(OP.call, target.store(four ? 'spill4_i32' : storeFunction('spill', type)));
    }
    for (const type of this.body.type.results) zero(out, type);
    out.u8(OP.i32Const).s32(-1);
  }

  private getSlot(index: number): void {
    const slot = this.plan.slots[index]!;
    this.out.op(OP.localGet, slot.local >= 0 ? this.local(slot.local) : this.temp(slot.temp));
  }

  private fourInts(at: number): boolean {
    const { slots } = this.plan;
    for (let i = at; i < at + 4; i++) if (slots[i]?.type !== VT.i32) return false;
    return true;
  }

  // --- safepoints ----------------------------------------------------------------------------------------

  private poll(safepoint: number): void {
    this.w.op(OP.localGet, this.fuel).u8(OP.i32Const).u8(1).u8(OP.i32Sub);
    this.w.op(OP.localTee, this.fuel);
    this.leaveIfNegative(safepoint);
  }

  private leaveIfNegative(safepoint: number): void {
    this.w.u8(OP.i32Const).u8(0).u8(OP.i32LtS).op(OP.brIf, this.coldDepth(safepoint));
  }

  private call(instr: number): void {
    const callee = this.body.arg[instr]!;
    const safepoint = this.body.safepointAt[instr]!;
    const { w, target, fuel } = this;
    if (safepoint >= 0 && this.body.safepoints[safepoint]!.kind === 'host') {
      w.op(OP.call, target.func(callee));
      w.op(OP.globalGet, target.interruptGlobal()).op(OP.brIf, this.coldDepth(safepoint));
    } else if (safepoint >= 0) {
      w.op(OP.localGet, fuel).op(OP.call, target.func(callee)).op(OP.localTee, fuel);
      this.leaveIfNegative(safepoint);
    } else if (!target.carriesFuel(callee)) {
      w.op(OP.call, target.func(callee));
    } else if (this.hasFuel) {
      w.op(OP.localGet, fuel).op(OP.call, target.func(callee)).op(OP.localSet, fuel);
    } else {
      w.u8(OP.i32Const).u8(0).op(OP.call, target.func(callee)).u8(OP.drop);
    }
  }

  private callIndirect(instr: number): void {
    const { body, w, target } = this;
    const r = new ByteReader(this.bytes, body.start[instr]! + 1, body.start[instr + 1]!);
    const type = r.u32();
    const table = r.u32();
    const safepoint = body.safepointAt[instr]!;
    if (safepoint < 0) {
      w.op(OP.callIndirect, target.type(type)).u32(table);
      return;
    }
    const scratch = this.scratchLocal();
    w.op(OP.localSet, scratch).op(OP.localGet, this.fuel).op(OP.localGet, scratch);
    w.op(OP.callIndirect, target.fuelType(type)).u32(table).op(OP.localTee, this.fuel);
    this.leaveIfNegative(safepoint);
  }

  /** Saves an instruction's results into their temporaries, leaving them on the stack. */
  private save(instr: number): void {
    const temp = this.body.save[instr]!;
    if (temp === 0) return;
    if (temp > 0) {
      this.w.op(OP.localTee, this.temp(temp - 1));
      return;
    }
    const temps = this.body.multiSaves.get(instr)!;
    for (let i = temps.length - 1; i >= 0; i--) this.w.op(OP.localSet, this.temp(temps[i]!));
    for (const each of temps) this.w.op(OP.localGet, this.temp(each));
  }

  // --- the original instruction stream -------------------------------------------------------------------

  /**
   * Emits instructions `[from, to)`, whose enclosing frames are open. Neighbours that stay as they are, are copied in
   * one piece: `pending` is the first byte that is not copied yet, or -1.
   */
  private range(from: number, to: number): void {
    const { op, start, live, save } = this.body;
    let pending = -1;
    for (let i = from; i < to; i++) {
      if (live[i] !== 0 && save[i] === 0 && this.unchanged(op[i]!, i)) {
        if (pending < 0) pending = start[i]!;
        continue;
      }
      if (pending >= 0) this.w.copy(this.bytes, pending, start[i]!);
      pending = -1;
      if (live[i] !== 0) this.instruction(i);
    }
    if (pending >= 0) this.w.copy(this.bytes, pending, start[to]!);
  }

  /** True when an instruction is written with the bytes that it has; then it has opened or closed its frame. */
  private unchanged(op: number, i: number): boolean {
    const way = WAY[op]!;
    if (way === Way.copy) return true;
    if (way === Way.rewrite) return false;
    const { start, arg } = this.body;
    const index = arg[i]!;
    const indexBytes = start[i + 1]! - start[i]! - 1;
    if (way === Way.local) return this.local(index) === index && indexBytes === lebBytes(index);
    if (this.kind !== 'fast') return false;
    if (way === Way.index) return this.sameIndex(op, i, indexBytes);
    if (op === OP.end) this.depth--;
    else if (op !== OP.else) this.level[index] = this.depth++;
    return true;
  }

  /** In a fast copy: a branch, global or plain call whose index stays, in its shortest form. */
  private sameIndex(op: number, i: number, indexBytes: number): boolean {
    const index = this.body.arg[i]!;
    if (op === OP.br || op === OP.brIf) return indexBytes === lebBytes(this.frameDepth(index));
    if (op === OP.call && (this.body.safepointAt[i]! >= 0 || this.target.carriesFuel(index)))
      return false;
    return indexBytes === lebBytes(index);
  }

  private instruction(i: number): void {
    const { body, w, target } = this;
    const arg = body.arg[i]!;
    switch (body.op[i]) {
      case OP.nop:
        return;
      case OP.block:
      case OP.loop:
      case OP.if:
        return this.opener(i, body.frames[arg]!);
      case OP.else:
        w.u8(OP.else);
        return;
      case OP.end:
        this.closeBlock();
        break;
      case OP.br:
      case OP.brIf:
        w.op(body.op[i]!, this.frameDepth(arg));
        return;
      case OP.brTable: {
        const targets = branchTableTargets(body, i, this.bytes);
        w.op(OP.brTable, targets.length - 1);
        for (const frame of targets) w.u32(this.frameDepth(frame));
        return;
      }
      case OP.return:
        if (this.hasFuel) w.op(OP.localGet, this.fuel);
        w.u8(OP.return);
        return;
      case OP.call:
        this.call(i);
        break;
      case OP.callIndirect:
        this.callIndirect(i);
        break;
      case OP.localGet:
      case OP.localSet:
      case OP.localTee:
        w.op(body.op[i]!, this.local(arg));
        break;
      case OP.globalGet:
      case OP.globalSet:
        w.op(body.op[i]!, target.global(arg));
        break;
      case OP.memoryGrow:
        w.op(OP.call, target.growFunction());
        break;
      case OP.memoryInit: {
        const helper = target.initFunction(arg);
        if (helper === undefined) w.copy(this.bytes, body.start[i]!, body.start[i + 1]!);
        else w.op(OP.call, helper);
        break;
      }
      case OP.dataDrop:
        w.op(OP.call, target.dropFunction(arg));
        break;
      case OP.refFunc:
        this.refFunc(arg);
        break;
      case OP.tableInit:
        this.tableInit(i);
        break;
      case OP.elemDrop:
        w.op(OP.call, target.elemDropFunction(arg));
        break;
      default:
        w.copy(this.bytes, body.start[i]!, body.start[i + 1]!);
    }
    this.save(i);
  }

  /** Branches to the function's own label: a wrapping block stands for it where fuel must be added. */
  private frameDepth(frame: number): number {
    if (frame === 0 && !this.hasFuel) return this.depth;
    return this.branchDepth(frame);
  }

  private opener(i: number, frame: Frame): void {
    const { body, w, target } = this;
    if (target.sameTypes) w.copy(this.bytes, body.start[i]!, body.start[i + 1]!);
    else {
      w.u8(body.op[i]!);
      this.blockType(frame.params, frame.results, i);
    }
    this.level[frame.id] = this.depth++;
    if (frame.kind !== 'loop') return;
    this.save(i);
    if (frame.safepoint >= 0) this.poll(frame.safepoint);
  }

  private blockType(params: readonly number[], results: readonly number[], instr: number): void {
    if (params.length === 0 && results.length === 0) this.w.u8(0x40);
    else if (params.length === 0 && results.length === 1) this.w.u8(results[0]!);
    else if (params.length === 0) this.w.s32(this.target.resultType(results));
    else {
      const r = new ByteReader(
        this.bytes,
        this.body.start[instr]! + 1,
        this.body.start[instr + 1]!,
      );
      this.w.s32(this.target.type(r.s33()));
    }
  }

  /** Opens a block without parameters; `frame` < 0: no label of the program. */
  private openBlock(results: readonly number[], frame: number): void {
    this.w.u8(OP.block);
    this.blockType([], results, -1);
    if (frame >= 0) this.level[frame] = this.depth;
    this.depth++;
  }

  private closeBlock(): void {
    this.w.u8(OP.end);
    this.depth--;
  }

  // --- continuations -------------------------------------------------------------------------------------

  private prologue(index: number, safepoint: Safepoint): void {
    const { w, plan, target } = this;
    for (let i = plan.liveFrom[index]!; i < plan.liveFrom[index + 1]!; i++) {
      const slot = plan.slots[plan.live[i]!]!;
      loadSlot(
        w,
        slot.type,
        slot.offset,
        (name) => target.store(name),
        () => this.refHelper(),
      );
      w.op(OP.localSet, slot.local >= 0 ? this.local(slot.local) : this.temp(slot.temp));
    }
    if (safepoint.kind !== 'loop') return;
    w.op(OP.localGet, this.fuel).u8(OP.i32Const).u8(1).u8(0x6a).op(OP.localSet, this.fuel);
  }

  /** Frames around the safepoint, outermost first. A loop poll is resumed before the loop, in its parent. */
  private pathTo(safepoint: Safepoint): Frame[] {
    const { frames } = this.body;
    let id = safepoint.kind === 'loop' ? frames[safepoint.frame]!.parent : safepoint.frame;
    const path: Frame[] = [];
    for (; id >= 0; id = frames[id]!.parent) path.push(frames[id]!);
    return path.reverse();
  }

  private suffix(path: readonly Frame[], at: number, safepoint: Safepoint): void {
    const frame = path[at]!;
    const inner = path[at + 1];
    const resumeAt = safepoint.kind === 'loop' ? safepoint.instr : safepoint.instr + 1;
    const from = inner === undefined ? resumeAt : inner.end + 1;
    const again = frame.kind === 'loop' && frame.lastBranch >= resumeAt;
    this.openSuffix(frame, again);
    const top = inner === undefined ? safepoint.to - safepoint.from : inner.height;
    for (let i = frame.height; i < top; i++) this.pushOperand(safepoint.from + i);
    if (inner !== undefined) this.suffix(path, at + 1, safepoint);
    else this.pushCallResults(safepoint);
    this.range(from, armEnd(frame, from));
    this.closeSuffix(frame, again);
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
      if (body.op[value] === OP.refFunc) this.refFunc(body.arg[value]!);
      else w.copy(this.bytes, body.start[value]!, body.start[value + 1]!);
    } else if (kind[index] === OperandKind.temp) {
      w.op(OP.localGet, this.temp(value));
    } else {
      w.op(OP.localGet, this.local(value));
      this.save(producer[index]!);
    }
  }

  private refHelper(): number {
    const helper = this.target.refFunction();
    invariant(helper !== undefined, 'a continuation makes references through a helper');
    return helper;
  }

  private refFunc(index: number): void {
    const helper = this.target.refFunction();
    if (helper === undefined) this.w.op(OP.refFunc, this.target.func(index));
    else
      this.w
        .u8(OP.i32Const)
        .s32(index + 1)
        .op(OP.call, helper);
  }

  private tableInit(instr: number): void {
    const { body, w } = this;
    const r = new ByteReader(this.bytes, body.start[instr]! + 1, body.start[instr + 1]!);
    r.u32();
    const helper = this.target.tableInitFunction(r.u32(), r.u32());
    if (helper === undefined) w.copy(this.bytes, body.start[instr]!, body.start[instr + 1]!);
    else w.op(OP.call, helper);
  }

  private pushCallResults(safepoint: Safepoint): void {
    safepoint.results.forEach((type, k) => {
      this.w
        .u8(OP.i32Const)
        .s32(k)
        .u8(OP.call)
        .u32(this.target.store(storeFunction('get', type)));
    });
    if (safepoint.kind === 'call' || safepoint.kind === 'host') this.save(safepoint.instr);
  }
}

/** Where the arm of `frame` that contains instruction `from` ends. */
function armEnd(frame: Frame, from: number): number {
  return frame.elseAt >= 0 && from <= frame.elseAt ? frame.elseAt : frame.end;
}
