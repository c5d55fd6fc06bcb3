/**
 * Writes the instrumented code of one function: the fast copy. Continuations: emit-continuation.ts.
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
 * E1  Fuel: a poll subtracts 1; F < 0 means unwinding, in polls and after calls alike.
 * E2  While unwinding nothing of the program runs: from `br_if` the only way is the cold block and the return.
 * E3  The fast copy and all continuations of a function write identical frames for the same safepoint (same plan).
 * E4  Dead code of the program is not emitted.
 */
import { invariant } from '../types/errors.js';
import { type Body, branchTableTargets, type Frame } from './body.js';
import { ByteReader, ByteWriter, lebBytes } from './bytes.js';
import { type CountedLoop, countedLoop } from './counted.js';
import { type CountedEmitting, emitCounted, emitLeave, returnFuel } from './emit-counted.js';
import {
  closeTryTable,
  type Emitting,
  emitCatch,
  emitDelegate,
  emitRethrow,
  emitThrow,
  openTry,
  openTryTable,
} from './emit-exceptions.js';
import { emitRefFunc, emitTableInit, tableOf } from './emit-references.js';
import { WAY, Way } from './emit-ways.js';
import { OP, VT } from './opcodes.js';
import type { FramePlan } from './plan.js';
import { storeFunction, zero } from './store-calls.js';
import { type EmitTarget, FUEL_REGISTER } from './target.js';

export { type EmitTarget, FUEL_REGISTER } from './target.js';

/** Emits bodies of one module, one after the other. */
export class BodyEmitter implements Emitting, CountedEmitting {
  body!: Body;
  protected plan!: FramePlan;
  /** Code inside the cold labels. */
  readonly w = new ByteWriter(1024);
  /** The finished body. */
  protected readonly out = new ByteWriter(1024);
  /** Labels open inside the cold labels. */
  depth = 0;
  readonly tryLevel = new Map<number, number>();
  /** Per frame: labels open outside its own. */
  protected level = new Int32Array(64);
  /** Safepoints in the order in which their labels nest, innermost first. */
  protected readonly coldOrder: number[] = [];
  /** Per safepoint: its place in `coldOrder`, or -1. */
  protected coldPosition = new Int32Array(64);
  hasFuel = false;
  fuel = 0;
  /** Exceptions add labels between those of the program: branches to outer ones are not what they were. */
  protected relabelled = false;
  protected scratch = -1;
  /** The counted loop whose body is being written. */
  leaving: CountedLoop | undefined;

  constructor(
    readonly bytes: Uint8Array,
    readonly target: EmitTarget,
    protected readonly kind: 'fast' | 'continuation' = 'fast',
  ) {}

  protected begin(body: Body, plan: FramePlan): void {
    this.body = body;
    this.plan = plan;
    this.w.clear();
    this.out.clear();
    this.depth = 0;
    this.scratch = -1;
    this.coldOrder.length = 0;
    this.tryLevel.clear();
    const frames = body.frames.length;
    if (this.level.length < frames) this.level = new Int32Array(frames * 2);
    this.level.fill(-1, 0, frames);
    const safepoints = body.safepoints.length;
    if (this.coldPosition.length < safepoints) this.coldPosition = new Int32Array(safepoints * 2);
    this.coldPosition.fill(-1, 0, safepoints);
    this.relabelled = body.caught.size > 0 || body.frames.some((f) => f.kind === 'try_table');
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

  // --- indices -------------------------------------------------------------------------------------------

  local(index: number): number {
    if (this.kind === 'continuation') return index + 1;
    return index < this.body.type.params.length || !this.hasFuel ? index : index + 1;
  }

  temp(index: number): number {
    return this.body.locals.length + (this.hasFuel ? 1 : 0) + index;
  }

  protected scratchLocal(): number {
    if (this.scratch < 0) this.scratch = this.temp(this.body.temps.length);
    return this.scratch;
  }

  protected branchDepth(frame: number): number {
    const level = this.level[frame]!;
    invariant(level >= 0 && level < this.depth, `branch to frame ${frame} that is not open`);
    return this.depth - 1 - level;
  }

  /** Depth of a safepoint's cold label from here. Labels get their place at first use. */
  protected coldDepth(safepoint: number): number {
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
  protected localDeclarations(): void {
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

  protected assemblePlain(): ByteWriter {
    this.localDeclarations();
    return this.out.append(this.w).u8(OP.end);
  }

  /** Puts the code into its cold labels and adds the landings and the cold block. */
  protected assemble(): ByteWriter {
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
    this.spill(out);
    return out.u8(OP.i32Const).s32(-1).u8(OP.end);
  }

  /** The safepoint number is on the stack: writes the frame, and zeros for the results. */
  protected spill(w: ByteWriter): void {
    const { target } = this;
    const { slots } = this.plan;
    w.u8(OP.i32Const).s32(this.body.index).op(OP.call, target.store('frame'));
    for (let i = 0; i < slots.length; ) {
      const four = this.fourInts(i);
      const type = slots[i]!.type;
      for (const end = i + (four ? 4 : 1); i < end; i++) this.getSlot(w, i);
      w.op(OP.call, target.store(four ? 'spill4_i32' : storeFunction('spill', type)));
    }
    for (const type of this.body.type.results) zero(w, type);
  }

  protected getSlot(w: ByteWriter, index: number): void {
    const { local, temp } = this.plan.slots[index]!;
    w.op(OP.localGet, local >= 0 ? this.local(local) : this.temp(temp));
  }

  protected fourInts(at: number): boolean {
    const { slots } = this.plan;
    for (let i = at; i < at + 4; i++) if (slots[i]?.type !== VT.i32) return false;
    return true;
  }

  // --- safepoints ----------------------------------------------------------------------------------------

  poll(safepoint: number): void {
    this.w.op(OP.localGet, this.fuel).u8(OP.i32Const).u8(1).u8(OP.i32Sub);
    this.w.op(OP.localTee, this.fuel);
    this.leaveIfNegative(safepoint);
  }

  protected leaveIfNegative(safepoint: number): void {
    this.w.u8(OP.i32Const).u8(0).u8(OP.i32LtS).op(OP.brIf, this.coldDepth(safepoint));
  }

  protected call(instr: number): void {
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

  protected return(): void {
    if (this.hasFuel) this.w.op(OP.localGet, this.fuel);
    this.w.u8(OP.return);
  }

  /**
   * The callee takes this frame's place and its fuel. Where only one of both carries fuel, and for a host call, it is a call
   * and a return: what is called can neither stop nor throw, so such calls cannot pile up.
   */
  protected returnCall(instr: number): void {
    const callee = this.body.arg[instr]!;
    const isHost = this.body.safepointAt[instr]! >= 0;
    if (isHost || this.hasFuel !== this.target.carriesFuel(callee)) {
      this.call(instr);
      this.return();
      return;
    }
    if (this.hasFuel) this.w.op(OP.localGet, this.fuel);
    this.w.op(OP.returnCall, this.target.func(callee));
  }

  protected returnCallIndirect(instr: number): void {
    const { w, target, body } = this;
    const type = body.arg[instr]!;
    const fuel = target.indirectCarriesFuel(type);
    invariant(this.hasFuel || !fuel, 'a function that can stop carries fuel');
    if (this.hasFuel !== fuel) {
      this.callIndirect(instr);
      this.return();
      return;
    }
    if (fuel) this.fuelBelowTop();
    const index = fuel ? target.fuelType(type) : target.type(type);
    w.op(OP.returnCallIndirect, index).u32(tableOf(body, this.bytes, instr));
  }

  protected fuelBelowTop(): void {
    const scratch = this.scratchLocal();
    this.w.op(OP.localSet, scratch).op(OP.localGet, this.fuel).op(OP.localGet, scratch);
  }

  protected callIndirect(instr: number): void {
    const { body, w, target } = this;
    const type = body.arg[instr]!;
    const table = tableOf(body, this.bytes, instr);
    const safepoint = body.safepointAt[instr]!;
    if (safepoint < 0) {
      w.op(OP.callIndirect, target.type(type)).u32(table);
      return;
    }
    this.fuelBelowTop();
    w.op(OP.callIndirect, target.fuelType(type)).u32(table).op(OP.localTee, this.fuel);
    this.leaveIfNegative(safepoint);
  }

  /**
   * As much as the fuel pays for; with something left the function is left, and what is left is the instruction's operands
   * from then on.
   */
  protected bulk(instr: number): void {
    const { body, w, target, fuel } = this;
    const safepoint = body.safepointAt[instr]!;
    if (safepoint < 0) {
      w.copy(this.bytes, body.start[instr]!, body.start[instr + 1]!);
      return;
    }
    const { to } = body.safepoints[safepoint]!;
    const temp = (fromTop: number): number => this.temp(body.operands.ref[to - fromTop]!);
    const fills = body.op[instr] === OP.memoryFill;
    w.op(OP.localGet, fuel);
    target.bulk(w, fills ? 'memory.fill' : 'memory.copy');
    w.op(OP.localSet, fuel);
    if (fills) w.op(OP.localTee, temp(1));
    else {
      for (let fromTop = 1; fromTop <= 3; fromTop++) w.op(OP.localSet, temp(fromTop));
      w.op(OP.localGet, temp(1));
    }
    w.op(OP.brIf, this.coldDepth(safepoint));
  }

  /** Saves an instruction's results into their temporaries, leaving them on the stack. */
  protected save(instr: number): void {
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
  range(from: number, to: number): void {
    const { op, start, live, save } = this.body;
    let pending = -1;
    for (let i = from; i < to; i++) {
      const isLoop = op[i] === OP.loop && live[i] !== 0;
      const poll = isLoop ? this.emptyLoop(i) : -1;
      const counted = isLoop && poll < 0 ? this.counted(i) : undefined;
      if (poll >= 0 || counted !== undefined) {
        if (pending >= 0) this.w.copy(this.bytes, pending, start[i]!);
        pending = -1;
        const frame = this.body.frames[this.body.arg[i]!]!;
        if (counted === undefined) this.poll(poll);
        else emitCounted(this, counted, frame, this.scratchLocal());
        i = frame.end;
        continue;
      }
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
  protected unchanged(op: number, i: number): boolean {
    const way = WAY[op]!;
    if (way === Way.copy) return true;
    if (way === Way.rewrite) return false;
    const { start, arg } = this.body;
    const index = arg[i]!;
    const indexBytes = start[i + 1]! - start[i]! - 1;
    if (way === Way.local) return this.local(index) === index && indexBytes === lebBytes(index);
    if (this.kind !== 'fast') return false;
    if (way === Way.index) return this.sameIndex(op, i, indexBytes);
    if (op === OP.end) {
      if (this.body.frames[index]!.kind === 'try_table') return false;
      this.depth--;
    } else if (op !== OP.else) this.level[index] = this.depth++;
    return true;
  }

  /** In a fast copy: a branch, global or plain call whose index stays, in its shortest form. */
  protected sameIndex(op: number, i: number, indexBytes: number): boolean {
    const index = this.body.arg[i]!;
    if (op === OP.br || op === OP.brIf)
      return (
        !this.leaves(index) && !this.relabelled && indexBytes === lebBytes(this.frameDepth(index))
      );
    if (op === OP.call && (this.body.safepointAt[i]! >= 0 || this.target.carriesFuel(index)))
      return false;
    return indexBytes === lebBytes(index);
  }

  /** The safepoint of a loop that is only a poll; -1: another loop. */
  private emptyLoop(instr: number): number {
    const { frames, arg } = this.body;
    const { end, params, safepoint } = frames[arg[instr]!]!;
    return end === instr + 1 && params.length === 0 ? safepoint : -1;
  }

  // --- counted loops -------------------------------------------------------------------------------------

  private counted(instr: number): CountedLoop | undefined {
    const { body, bytes, target } = this;
    const frame = body.frames[body.arg[instr]!]!;
    if (frame.safepoint < 0 || !target.countsLoops) return undefined;
    return countedLoop(body, bytes, (f) => target.carriesFuel(f), frame);
  }

  openVoid(op: number, frame: number): void {
    this.w.u8(op).u8(0x40);
    if (frame >= 0) this.level[frame] = this.depth;
    this.depth++;
  }

  /** A branch to this frame leaves the counted loop whose body is being written. */
  private leaves(frame: number): boolean {
    return this.leaving !== undefined && frame <= this.leaving.outside;
  }

  protected instruction(i: number): void {
    const { body, w, target } = this;
    const arg = body.arg[i]!;
    switch (body.op[i]) {
      case OP.nop:
        return;
      case OP.block:
      case OP.loop:
      case OP.if:
        return this.opener(i, body.frames[arg]!);
      case OP.try:
      case OP.tryTable:
        return this.openTry(body.frames[arg]!, body.frames[arg]!.params);
      case OP.catch:
      case OP.catchAll:
        emitCatch(this, i, body.frames[arg]!);
        break;
      case OP.throw:
        return emitThrow(this, i);
      case OP.rethrow:
        return emitRethrow(this, i);
      case OP.else:
        w.u8(OP.else);
        return;
      case OP.end:
      case OP.delegate:
        this.close(body.frames[arg]!);
        break;
      case OP.br:
      case OP.brIf:
        if (this.leaves(arg)) emitLeave(this, this.leaving!, i, this.scratchLocal());
        else w.op(body.op[i]!, this.frameDepth(arg));
        return;
      case OP.brTable: {
        const targets = branchTableTargets(body, i, this.bytes);
        w.op(OP.brTable, targets.length - 1);
        for (const frame of targets) w.u32(this.frameDepth(frame));
        return;
      }
      case OP.return:
        if (this.leaving !== undefined) returnFuel(this, this.leaving, this.scratchLocal(), i);
        return this.return();
      case OP.returnCall:
        return this.returnCall(i);
      case OP.returnCallIndirect:
        return this.returnCallIndirect(i);
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
      case OP.memoryFill:
      case OP.memoryCopy:
        this.bulk(i);
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
        emitRefFunc(w, target, arg);
        break;
      case OP.tableInit:
        emitTableInit(w, target, body, this.bytes, i);
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
  frameDepth(frame: number): number {
    if (frame === 0 && !this.hasFuel) return this.depth;
    return this.branchDepth(frame);
  }

  protected openTry(frame: Frame, params: readonly number[]): void {
    const open = frame.kind === 'try' ? openTry : openTryTable;
    this.level[frame.id] = open(this, frame, params);
  }

  /** Ends a frame whose construct was opened as such. */
  protected close(frame: Frame): void {
    if (frame.kind === 'try_table') closeTryTable(this, frame);
    else if (frame.delegate >= 0) emitDelegate(this, frame);
    else this.closeBlock();
  }

  signature(params: readonly number[], results: readonly number[]): void {
    if (params.length === 0) this.blockType(params, results, -1);
    else this.w.s32(this.target.blockType(params, results));
  }

  protected opener(i: number, frame: Frame): void {
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

  protected blockType(params: readonly number[], results: readonly number[], instr: number): void {
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

  /** Without parameters; `frame` < 0: no label of the program. */
  protected openBlock(results: readonly number[], frame: number): void {
    this.w.u8(OP.block);
    this.blockType([], results, -1);
    if (frame >= 0) this.level[frame] = this.depth;
    this.depth++;
  }

  closeBlock(): void {
    this.w.u8(OP.end);
    this.depth--;
  }
}
