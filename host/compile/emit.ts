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
import { type Body, branchTableTargets, type Frame, type Operand, type Safepoint } from './body.js';
import { ByteReader, ByteWriter } from './bytes.js';
import { OP, VT } from './opcodes.js';
import type { FramePlan } from './plan.js';
import { loadSlot, type StoreFunction, storeFunction, zero } from './store-calls.js';

/** Register of the frame store (16 bytes each) in which a suspended host call leaves the remaining fuel. */
export const FUEL_REGISTER = 63;

/** How names of the program map to indices of the module that is being written. */
export interface EmitTarget {
  func(index: number): number;
  type(index: number): number;
  /** The type with fuel added as last parameter and last result. */
  fuelType(index: number): number;
  global(index: number): number;
  interruptGlobal(): number;
  /** Index of a type `() -> results`. */
  resultType(results: readonly number[]): number;
  store(name: StoreFunction): number;
  /** memory.grow goes through a function that obeys the limit. */
  growFunction(): number;
  /** Function that does memory.init / data.drop of a segment; undefined = write the instruction itself. */
  initFunction(segment: number): number | undefined;
  dropFunction(segment: number): number;
  /** The same for element segments. */
  tableInitFunction(segment: number, table: number): number | undefined;
  elemDropFunction(segment: number): number;
  /** `(function index + 1, 0 = null) -> funcref`; undefined = ref.func can be written. */
  refFunction(): number | undefined;
  carriesFuel(functionIndex: number): boolean;
  /** True: block types and types keep their indices (the fast copy). */
  readonly sameTypes: boolean;
}

export class BodyEmitter {
  /** Code inside the cold labels. */
  private w = new ByteWriter(1024);
  /** Labels open inside the cold labels. */
  private depth = 0;
  private readonly level: Int32Array;
  /** Safepoints in the order in which their labels nest, innermost first. */
  private readonly coldOrder: number[] = [];
  private readonly coldPosition = new Map<number, number>();
  private readonly hasFuel: boolean;
  private readonly fuel: number;
  private scratch = -1;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly body: Body,
    private readonly plan: FramePlan,
    private readonly target: EmitTarget,
    private readonly kind: 'fast' | 'continuation',
  ) {
    this.level = new Int32Array(body.frames.length).fill(-1);
    this.hasFuel = target.carriesFuel(body.index);
    this.fuel = kind === 'continuation' ? 0 : body.type.params.length;
  }

  // --- entry points --------------------------------------------------------------------------------------

  /** The fast copy: local declarations and code, without the size prefix. */
  fast(): Uint8Array {
    const { body } = this;
    const wrap = body.frames[0]!.lastBranch >= 0 && this.hasFuel;
    if (wrap) this.openBlock(body.type.results, 0);
    const entry = body.safepointAt.get(-1);
    if (entry !== undefined) this.poll(entry);
    this.range(0, body.count - 1);
    if (wrap) this.closeBlock();
    if (!this.hasFuel) return this.assemblePlain();
    this.w.u8(OP.localGet).u32(this.fuel);
    return this.assemble();
  }

  /** A continuation `(fuel) -> (results…, fuel)` from the given safepoint on. */
  continuation(index: number): Uint8Array {
    const safepoint = this.body.safepoints[index]!;
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
    let position = this.coldPosition.get(safepoint);
    if (position === undefined) {
      position = this.coldOrder.length;
      this.coldOrder.push(safepoint);
      this.coldPosition.set(safepoint, position);
    }
    return this.depth + position;
  }

  // --- assembling ----------------------------------------------------------------------------------------

  private localDeclarations(): ByteWriter {
    const { body } = this;
    const types: number[] = [];
    if (this.kind === 'continuation') types.push(...body.locals);
    else types.push(...body.locals.slice(body.type.params.length));
    types.push(...body.temps);
    if (this.scratch >= 0) types.push(VT.i32);
    const groups: [count: number, type: number][] = [];
    for (const type of types) {
      const last = groups[groups.length - 1];
      if (last !== undefined && last[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    const out = new ByteWriter(this.w.length + 64).u32(groups.length);
    for (const [count, type] of groups) out.u32(count).u8(type);
    return out;
  }

  private assemblePlain(): Uint8Array {
    return this.localDeclarations().put(this.w.view()).u8(OP.end).finish();
  }

  /** Puts the code into its cold labels and adds the landings and the cold block. */
  private assemble(): Uint8Array {
    const out = this.localDeclarations();
    const count = this.coldOrder.length;
    if (count === 0) return out.put(this.w.view()).u8(OP.end).finish();
    if (count > 1) out.u8(OP.block).u8(VT.i32);
    for (let i = 0; i < count; i++) out.u8(OP.block).u8(0x40);
    out.put(this.w.view()).u8(OP.return);
    this.coldOrder.forEach((safepoint, position) => {
      out.u8(OP.end);
      if (this.body.safepoints[safepoint]!.kind === 'host') {
        out.u8(OP.localGet).u32(this.fuel).u8(OP.i32Const).s32(FUEL_REGISTER);
        out.u8(OP.call).u32(this.target.store('set_i32'));
      }
      out.u8(OP.i32Const).s32(safepoint);
      if (position < count - 1) out.u8(OP.br).u32(count - 1 - position);
    });
    if (count > 1) out.u8(OP.end);
    this.coldBlock(out);
    return out.u8(OP.end).finish();
  }

  /** The safepoint number is on the stack: spill head and slots, return zeros and -1. */
  private coldBlock(out: ByteWriter): void {
    const { slots } = this.plan;
    out.u8(OP.i32Const).s32(this.body.index).u8(OP.call).u32(this.target.store('frame'));
    for (let i = 0; i < slots.length; i++) {
      const run = slots.slice(i, i + 4);
      const four = run.length === 4 && run.every((slot) => slot.type === VT.i32);
      for (const slot of four ? run : run.slice(0, 1)) {
        out.u8(OP.localGet).u32(slot.local >= 0 ? this.local(slot.local) : this.temp(slot.temp));
      }
      out
        .u8(OP.call)
        .u32(this.target.store(four ? 'spill4_i32' : storeFunction('spill', slots[i]!.type)));
      if (four) i += 3;
    }
    for (const type of this.body.type.results) zero(out, type);
    out.u8(OP.i32Const).s32(-1);
  }

  // --- safepoints ----------------------------------------------------------------------------------------

  private poll(safepoint: number): void {
    this.w
      .u8(OP.localGet)
      .u32(this.fuel)
      .u8(OP.i32Const)
      .s32(1)
      .u8(OP.i32Sub)
      .u8(OP.localTee)
      .u32(this.fuel);
    this.leaveIfNegative(safepoint);
  }

  private leaveIfNegative(safepoint: number): void {
    this.w.u8(OP.i32Const).s32(0).u8(OP.i32LtS).u8(OP.brIf).u32(this.coldDepth(safepoint));
  }

  private call(instr: number): void {
    const callee = this.body.arg[instr]!;
    const safepoint = this.body.safepointAt.get(instr);
    const { w, target } = this;
    if (safepoint !== undefined && this.body.safepoints[safepoint]!.kind === 'host') {
      w.u8(OP.call).u32(target.func(callee));
      w.u8(OP.globalGet).u32(target.interruptGlobal()).u8(OP.brIf).u32(this.coldDepth(safepoint));
    } else if (safepoint !== undefined) {
      w.u8(OP.localGet)
        .u32(this.fuel)
        .u8(OP.call)
        .u32(target.func(callee))
        .u8(OP.localTee)
        .u32(this.fuel);
      this.leaveIfNegative(safepoint);
    } else if (!target.carriesFuel(callee)) {
      w.u8(OP.call).u32(target.func(callee));
    } else if (this.hasFuel) {
      w.u8(OP.localGet)
        .u32(this.fuel)
        .u8(OP.call)
        .u32(target.func(callee))
        .u8(OP.localSet)
        .u32(this.fuel);
    } else {
      w.u8(OP.i32Const).s32(0).u8(OP.call).u32(target.func(callee)).u8(OP.drop);
    }
  }

  private callIndirect(instr: number): void {
    const { body, w, target } = this;
    const r = new ByteReader(this.bytes, body.start[instr]! + 1, body.start[instr + 1]!);
    const type = r.u32();
    const table = r.u32();
    const safepoint = body.safepointAt.get(instr);
    if (safepoint === undefined) {
      w.u8(OP.callIndirect).u32(target.type(type)).u32(table);
      return;
    }
    const scratch = this.scratchLocal();
    w.u8(OP.localSet).u32(scratch).u8(OP.localGet).u32(this.fuel).u8(OP.localGet).u32(scratch);
    w.u8(OP.callIndirect).u32(target.fuelType(type)).u32(table).u8(OP.localTee).u32(this.fuel);
    this.leaveIfNegative(safepoint);
  }

  /** Saves an instruction's results into their temporaries, leaving them on the stack. */
  private save(instr: number): void {
    const temps = this.body.saves.get(instr);
    if (temps === undefined) return;
    if (temps.length === 1) {
      this.w.u8(OP.localTee).u32(this.temp(temps[0]!));
      return;
    }
    for (let i = temps.length - 1; i >= 0; i--) this.w.u8(OP.localSet).u32(this.temp(temps[i]!));
    for (const temp of temps) this.w.u8(OP.localGet).u32(this.temp(temp));
  }

  // --- the original instruction stream -------------------------------------------------------------------

  /** Emits instructions `[from, to)`, whose enclosing frames are open. */
  private range(from: number, to: number): void {
    const { body } = this;
    for (let i = from; i < to; i++) {
      if (!body.live[i]) continue;
      this.instruction(i);
    }
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
        w.u8(body.op[i]!).u32(this.frameDepth(arg));
        return;
      case OP.brTable: {
        const targets = branchTableTargets(body, i, this.bytes);
        w.u8(OP.brTable).u32(targets.length - 1);
        for (const frame of targets) w.u32(this.frameDepth(frame));
        return;
      }
      case OP.return:
        if (this.hasFuel) w.u8(OP.localGet).u32(this.fuel);
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
        w.u8(body.op[i]!).u32(this.local(arg));
        break;
      case OP.globalGet:
      case OP.globalSet:
        w.u8(body.op[i]!).u32(target.global(arg));
        break;
      case OP.memoryGrow:
        w.u8(OP.call).u32(target.growFunction());
        break;
      case OP.memoryInit: {
        const helper = target.initFunction(arg);
        if (helper === undefined) w.copy(this.bytes, body.start[i]!, body.start[i + 1]!);
        else w.u8(OP.call).u32(helper);
        break;
      }
      case OP.dataDrop:
        w.u8(OP.call).u32(target.dropFunction(arg));
        break;
      case OP.refFunc:
        this.refFunc(arg);
        break;
      case OP.tableInit:
        this.tableInit(i);
        break;
      case OP.elemDrop:
        w.u8(OP.call).u32(target.elemDropFunction(arg));
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
    for (const s of plan.live[index]!) {
      const slot = plan.slots[s]!;
      loadSlot(
        w,
        slot.type,
        slot.offset,
        (name) => target.store(name),
        () => this.refHelper(),
      );
      w.u8(OP.localSet).u32(slot.local >= 0 ? this.local(slot.local) : this.temp(slot.temp));
    }
    if (safepoint.kind !== 'loop') return;
    w.u8(OP.localGet).u32(this.fuel).u8(OP.i32Const).s32(1).u8(0x6a).u8(OP.localSet).u32(this.fuel);
  }

  /** Frames around the safepoint, outermost first. A loop poll is resumed before the loop, in its parent. */
  private pathTo(safepoint: Safepoint): Frame[] {
    const { frames } = this.body;
    let id = safepoint.kind === 'loop' ? frames[safepoint.frame]!.parent : safepoint.frame;
    const path: Frame[] = [];
    for (; id >= 0; id = frames[id]!.parent) path.unshift(frames[id]!);
    return path;
  }

  private suffix(path: readonly Frame[], at: number, safepoint: Safepoint): void {
    const frame = path[at]!;
    const inner = path[at + 1];
    const resumeAt = safepoint.kind === 'loop' ? safepoint.instr : safepoint.instr + 1;
    const from = inner === undefined ? resumeAt : inner.end + 1;
    const again = frame.kind === 'loop' && frame.lastBranch >= resumeAt;
    this.openSuffix(frame, again);
    const top = inner === undefined ? safepoint.operands.length : inner.height;
    for (const operand of safepoint.operands.slice(frame.height, top)) this.pushOperand(operand);
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
  private pushOperand(operand: Operand): void {
    const { w, body } = this;
    if (operand.kind === 'const') {
      if (body.op[operand.instr] === OP.refFunc) this.refFunc(body.arg[operand.instr]!);
      else w.copy(this.bytes, body.start[operand.instr]!, body.start[operand.instr + 1]!);
    } else if (operand.kind === 'temp') {
      w.u8(OP.localGet).u32(this.temp(operand.temp));
    } else {
      w.u8(OP.localGet).u32(this.local(operand.local));
      this.save(operand.producer);
    }
  }

  private refHelper(): number {
    const helper = this.target.refFunction();
    invariant(helper !== undefined, 'a continuation makes references through a helper');
    return helper;
  }

  private refFunc(index: number): void {
    const helper = this.target.refFunction();
    if (helper === undefined) this.w.u8(OP.refFunc).u32(this.target.func(index));
    else
      this.w
        .u8(OP.i32Const)
        .s32(index + 1)
        .u8(OP.call)
        .u32(helper);
  }

  private tableInit(instr: number): void {
    const { body, w } = this;
    const r = new ByteReader(this.bytes, body.start[instr]! + 1, body.start[instr + 1]!);
    r.u32();
    const helper = this.target.tableInitFunction(r.u32(), r.u32());
    if (helper === undefined) w.copy(this.bytes, body.start[instr]!, body.start[instr + 1]!);
    else w.u8(OP.call).u32(helper);
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
