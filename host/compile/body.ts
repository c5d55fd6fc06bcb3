/**
 * Decodes one function body and finds out what is on the operand stack wherever the function can stop.
 *
 * Does: split the body into instructions; resolve branches to control frames; run the typed operand stack; list the
 * safepoints; decide which operands need a temporary.
 * Does not: compute live locals (liveness.ts) or write code (emit.ts).
 *
 *   local.get 0        operand a: the value of local 0            -> rebuilt from local 0, no cost
 *   i32.const 7        operand b: a constant                      -> rebuilt from the constant, no cost
 *   i32.load           operand c: a value, produced here
 *   call $f            safepoint; stack below the call: a b c     -> c is teed into temporary t where it is produced
 *
 * N1  Instructions after an unconditional branch, up to the `end` or `else` of their frame, are dead: marked, and never
 *     emitted.
 * N2  A temporary belongs to one (stack depth, type): at most one operand can be alive at a depth, so its producer
 *     dominates every safepoint that reads the temporary.
 * N3  An operand that came from `local.get x` is rebuilt from x only while x cannot have been written since: a write to
 *     x, or entry into any loop, makes it an ordinary value.
 */
import {
  type Body,
  type CallFacts,
  type Frame,
  type FrameKind,
  OperandKind,
  type Safepoint,
} from './body-types.js';
import { ByteReader, malformed } from './bytes.js';
import { readBlockType, readImmediate, readOpcode } from './instructions.js';
import { type FuncType, readLocals, readValType, type WasmModule } from './module.js';
import { FACT, FACTS, Imm, OP, VT } from './opcodes.js';
import { Scratch } from './scratch.js';

export {
  type Body,
  type CallFacts,
  type Frame,
  OperandKind,
  type Safepoint,
} from './body-types.js';

/** The largest nesting that is accepted; deeper programs get a clear error instead of a slow one. */
const MAX_NESTING = 50_000;
const NOWHERE = 0x7fffffff;
const NONE: readonly number[] = [];

/** What is known of an operand on the stack. */
const Kind = { value: 0, local: 1, constant: 2 } as const;
type Kind = (typeof Kind)[keyof typeof Kind];

class BodyAnalyser {
  private readonly r: ByteReader;
  private count = 0;
  private readonly frames: Frame[] = [];
  private readonly control: number[] = [];
  private nesting = 0;
  private loops = 0;
  private readonly locals: number[];
  private readonly type: FuncType;
  private readonly safepoints: Safepoint[] = [];
  private entrySafepoint = -1;
  private readonly multiSaves = new Map<number, number[]>();
  private readonly temps: number[] = [];
  private readonly tempOf = new Map<number, number>();
  /** Operands made so far: the next id. */
  private operandCount = 0;
  /** Result types of a multi-value producer, by instruction: all of them are saved together. */
  private readonly producerResults = new Map<number, readonly number[]>();
  private height = 0;
  /** No operand below this stack position is a local (N3). */
  private localsFrom = 0;
  /** Stack height below which the current frame must not pop. */
  private floor = 0;
  private dead = false;
  private deadNesting = 0;
  /** FACT.reads and FACT.writes of all instructions. */
  private memory = 0;
  private readonly stops: boolean;

  constructor(
    private readonly module: WasmModule,
    private readonly index: number,
    private readonly facts: CallFacts,
    private readonly scratch: Scratch,
  ) {
    const range = module.bodies[index - module.imports.length]!;
    this.r = new ByteReader(module.bytes, range.start, range.end);
    this.type = module.types[module.functionTypes[index]!]!;
    this.locals = readLocals(this.r, index, this.type.params);
    this.stops = facts.canStop(index);
    scratch.begin(range.end - range.start, this.locals.length);
    scratch.localLow.fill(NOWHERE, 0, this.locals.length);
  }

  run(): Body {
    const { scratch } = this;
    this.open('func', -1, NONE, this.type.results);
    if (this.facts.entryPoll(this.index))
      this.entrySafepoint = this.addSafepoint('entry', -1, NONE);
    while (this.control.length > 0) this.step();
    if (!this.r.done) throw malformed(this.r.pos, 'code after the end of the function');
    scratch.start[this.count] = this.r.pos;
    return {
      index: this.index,
      type: this.type,
      locals: this.locals,
      count: this.count,
      op: scratch.op,
      start: scratch.start,
      arg: scratch.arg,
      live: scratch.live,
      frames: this.frames,
      nesting: this.nesting,
      loops: this.loops,
      safepoints: this.safepoints,
      safepointAt: scratch.safepointAt,
      entrySafepoint: this.entrySafepoint,
      operands: scratch.operands,
      save: scratch.save,
      multiSaves: this.multiSaves,
      temps: this.temps,
      readsMemory: (this.memory & FACT.reads) !== 0,
      writesMemory: (this.memory & FACT.writes) !== 0,
    };
  }

  private step(): void {
    const { r, scratch } = this;
    const at = r.pos;
    const key = readOpcode(r, this.index);
    const instr = this.count++;
    scratch.op[instr] = key;
    scratch.start[instr] = at;
    scratch.arg[instr] = 0;
    scratch.live[instr] = this.dead ? 0 : 1;
    scratch.safepointAt[instr] = -1;
    scratch.save[instr] = 0;
    const facts = FACTS[key]!;
    const imm = facts & FACT.imm;
    if (this.dead) return this.skipDead(key, imm, instr);
    if ((facts & FACT.special) !== 0) return this.special(key, instr, at);
    if (imm !== Imm.none) scratch.arg[instr] = readImmediate(r, imm);
    this.memory |= facts;
    const pops = (facts >>> 5) & 7;
    if (this.height - pops < this.floor) this.underflow(at);
    if (pops > 0) this.lower(this.height - pops);
    const type = (facts >>> 8) & 0xff;
    if (type !== 0)
      this.push(type, (facts & FACT.constant) !== 0 ? Kind.constant : Kind.value, instr, instr);
  }

  private skipDead(key: number, imm: Imm, instr: number): void {
    const at = this.r.pos;
    if (imm === Imm.block) {
      readBlockType(this.r, this.module, this.index);
      this.deadNesting++;
    } else if (key === OP.end || key === OP.else) {
      if (this.deadNesting === 0) {
        this.scratch.live[instr] = 1;
        this.dead = false;
        if (key === OP.else) this.atElse(instr, at);
        else this.atEnd(instr, at, false);
        return;
      }
      if (key === OP.end) this.deadNesting--;
    } else if (imm === Imm.brTable) {
      for (let n = this.r.count('label') + 1; n > 0; n--) this.r.u32();
    } else if (imm === Imm.selectTypes) {
      for (let n = this.r.count('type'); n > 0; n--) readValType(this.r, 'function', this.index);
    } else {
      readImmediate(this.r, imm);
    }
  }

  private special(key: number, instr: number, at: number): void {
    switch (key) {
      case OP.unreachable:
        this.dead = true;
        return;
      case OP.nop:
        return;
      case OP.block:
      case OP.loop:
      case OP.if:
        return this.openBlock(key, instr, at);
      case OP.else:
        return this.atElse(instr, at);
      case OP.end:
        return this.atEnd(instr, at, true);
      case OP.br:
      case OP.brIf:
        return this.branch(key, instr, at);
      case OP.brTable:
        return this.branchTable(instr, at);
      case OP.return:
        this.dead = true;
        return;
      case OP.call:
        return this.call(instr, at);
      case OP.callIndirect:
        return this.callIndirect(instr, at);
      case OP.drop:
        this.pop(at);
        return;
      case OP.select:
      case OP.selectT:
        return this.select(key, instr, at);
      case OP.localGet:
      case OP.localSet:
      case OP.localTee:
        return this.local(key, instr, at);
      case OP.globalGet:
      case OP.globalSet:
        return this.global(key, instr, at);
      case OP.refNull:
        return this.push(readImmediate(this.r, Imm.refType), Kind.constant, instr, instr);
      case OP.refIsNull:
        this.pop(at);
        return this.push(VT.i32, Kind.value, instr, instr);
      case OP.tableGet:
      case OP.tableSet:
      case OP.tableGrow:
      case OP.tableFill:
        return this.table(key, instr, at);
      default:
        throw malformed(at, `internal: no case for opcode ${key}`);
    }
  }

  // --- operand stack -------------------------------------------------------------------------------------

  private push(type: number, kind: Kind, ref: number, instr: number): void {
    const { scratch } = this;
    const id = this.operandCount++;
    if (id === scratch.oType.length) scratch.growOperands();
    scratch.oType[id] = type;
    scratch.oKind[id] = kind;
    scratch.oRef[id] = ref;
    scratch.oInstr[id] = instr;
    scratch.oDepth[id] = this.height;
    if (kind === Kind.local && this.height < scratch.localLow[ref]!)
      scratch.localLow[ref] = this.height;
    scratch.stack[this.height++] = id;
  }

  private pushResults(types: readonly number[], instr: number): void {
    if (types.length > 1) this.producerResults.set(instr, types);
    for (let i = 0; i < types.length; i++) this.push(types[i]!, Kind.value, 0, instr);
  }

  private underflow(at: number): never {
    throw malformed(at, `function ${this.index}: operand stack underflow`);
  }

  /** Takes the operands above a height off the stack. */
  private lower(height: number): void {
    this.height = height;
    if (height < this.localsFrom) this.localsFrom = height;
  }

  /** Takes one operand off the stack; its id. */
  private pop(at: number): number {
    if (this.height <= this.floor) this.underflow(at);
    this.lower(this.height - 1);
    return this.scratch.stack[this.height]!;
  }

  private popMany(count: number, at: number): void {
    if (this.height - count < this.floor) this.underflow(at);
    this.lower(this.height - count);
  }

  /** Gives the operand a temporary in which its producer saves it (N2). */
  private tempFor(id: number): number {
    const { oInstr, oDepth, oType, save } = this.scratch;
    const instr = oInstr[id]!;
    const results = this.producerResults.get(instr);
    const depth = oDepth[id]!;
    if (results === undefined) {
      const temp = this.tempAt(depth, oType[id]!);
      if (save[instr] === 0) save[instr] = temp + 1;
      return temp;
    }
    const position = this.positionOf(id);
    let saved = this.multiSaves.get(instr);
    if (saved === undefined) {
      saved = results.map((type, i) => this.tempAt(depth - position + i, type));
      this.multiSaves.set(instr, saved);
      save[instr] = -1;
    }
    return saved[position]!;
  }

  /** Which result of its producer an operand is: operand ids of one producer are consecutive. */
  private positionOf(id: number): number {
    const { oInstr } = this.scratch;
    let position = 0;
    while (position < id && oInstr[id - position - 1] === oInstr[id]) position++;
    return position;
  }

  private tempAt(depth: number, type: number): number {
    const key = depth * 32 + (type - VT.externref);
    let temp = this.tempOf.get(key);
    if (temp === undefined) {
      temp = this.temps.length;
      this.temps.push(type);
      this.tempOf.set(key, temp);
    }
    return temp;
  }

  private addSafepoint(kind: Safepoint['kind'], instr: number, results: readonly number[]): number {
    const { operands, stack, oType, oKind, oRef, oInstr, safepointAt } = this.scratch;
    const from = operands.length;
    for (let position = 0; position < this.height; position++) {
      const id = stack[position]!;
      const how = oKind[id]!;
      if (how === Kind.constant)
        operands.push(OperandKind.constant, oType[id]!, oRef[id]!, oInstr[id]!);
      else if (how === Kind.local)
        operands.push(OperandKind.local, oType[id]!, oRef[id]!, oInstr[id]!);
      else operands.push(OperandKind.temp, oType[id]!, this.tempFor(id), oInstr[id]!);
    }
    const frame = this.control[this.control.length - 1]!;
    const number = this.safepoints.length;
    this.safepoints.push({ kind, instr, frame, from, to: operands.length, results });
    if (instr >= 0) safepointAt[instr] = number;
    return number;
  }

  // --- control -------------------------------------------------------------------------------------------

  private open(
    kind: FrameKind,
    first: number,
    params: readonly number[],
    results: readonly number[],
  ): Frame {
    if (this.control.length > MAX_NESTING)
      throw malformed(this.r.pos, `function ${this.index} nests deeper than ${MAX_NESTING}`);
    const frame: Frame = {
      id: this.frames.length,
      kind,
      parent: this.control.length === 0 ? -1 : this.control[this.control.length - 1]!,
      first,
      elseAt: -1,
      end: -1,
      params,
      results,
      height: this.height - params.length,
      lastBranch: -1,
      safepoint: -1,
    };
    this.frames.push(frame);
    this.control.push(frame.id);
    if (this.control.length > this.nesting) this.nesting = this.control.length;
    this.floor = frame.height;
    return frame;
  }

  private openBlock(key: number, instr: number, at: number): void {
    const { scratch } = this;
    const type = readBlockType(this.r, this.module, this.index);
    if (key === OP.if) this.pop(at);
    if (this.height - type.params.length < this.floor)
      throw malformed(at, 'operand stack underflow');
    const kind = key === OP.loop ? 'loop' : key === OP.if ? 'if' : 'block';
    const frame = this.open(kind, instr, type.params, type.results);
    scratch.arg[instr] = frame.id;
    if (kind === 'if' && type.params.length > 0)
      this.ifParams.set(frame.id, scratch.stack.slice(frame.height, this.height));
    if (kind !== 'loop') return;
    this.loops++;
    for (let position = this.localsFrom; position < this.height; position++) {
      const id = scratch.stack[position]!;
      if (scratch.oKind[id] === Kind.local) scratch.oKind[id] = Kind.value; // N3
    }
    this.localsFrom = this.height;
    this.lower(frame.height);
    this.pushResults(type.params, instr);
    if (this.stops) frame.safepoint = this.addSafepoint('loop', instr, NONE);
  }

  /** The parameters of an `if` are the same operands in both arms. */
  private readonly ifParams = new Map<number, Int32Array>();

  private atElse(instr: number, at: number): void {
    const { scratch } = this;
    const frame = this.frames[this.control[this.control.length - 1]!]!;
    if (frame.kind !== 'if' || frame.elseAt >= 0) throw malformed(at, 'else without if');
    frame.elseAt = instr;
    scratch.arg[instr] = frame.id;
    this.lower(frame.height);
    for (const id of this.ifParams.get(frame.id) ?? []) {
      const local = scratch.oRef[id]!;
      if (scratch.oKind[id] === Kind.local && this.height < scratch.localLow[local]!)
        scratch.localLow[local] = this.height;
      scratch.stack[this.height++] = id;
    }
  }

  private atEnd(instr: number, at: number, reachable: boolean): void {
    const frame = this.frames[this.control.pop()!]!;
    if (reachable && this.height !== frame.height + frame.results.length) {
      throw malformed(at, `function ${this.index}: wrong number of operands at the end of a block`);
    }
    frame.end = instr;
    this.scratch.arg[instr] = frame.id;
    this.lower(frame.height);
    if (frame.kind === 'func') return;
    this.floor = this.frames[frame.parent]!.height;
    this.pushResults(frame.results, instr);
  }

  private targetFrame(depth: number, at: number, instr: number): Frame {
    const id = this.control[this.control.length - 1 - depth];
    if (id === undefined) throw malformed(at, `branch depth ${depth} out of range`);
    const frame = this.frames[id]!;
    frame.lastBranch = instr;
    return frame;
  }

  private branch(key: number, instr: number, at: number): void {
    const frame = this.targetFrame(this.r.u32(), at, instr);
    this.scratch.arg[instr] = frame.id;
    if (key === OP.br) {
      this.dead = true;
      return;
    }
    this.pop(at);
    // The branch's operands stay where they are: same operands, same producers.
  }

  private branchTable(instr: number, at: number): void {
    for (let n = this.r.count('label') + 1; n > 0; n--) this.targetFrame(this.r.u32(), at, instr);
    this.scratch.arg[instr] = this.control[this.control.length - 1]!;
    this.dead = true;
  }

  private call(instr: number, at: number): void {
    const callee = this.r.u32();
    const type = this.module.types[this.module.functionTypes[callee] ?? -1];
    if (type === undefined) throw malformed(at, `function index ${callee} out of range`);
    this.scratch.arg[instr] = callee;
    this.popMany(type.params.length, at);
    if (this.stops) {
      if (this.facts.isImport(callee)) this.addSafepoint('host', instr, type.results);
      else if (this.facts.canStop(callee)) this.addSafepoint('call', instr, type.results);
    }
    this.pushResults(type.results, instr);
  }

  private callIndirect(instr: number, at: number): void {
    const typeIndex = this.r.u32();
    const tableIndex = this.r.u32();
    const type = this.module.types[typeIndex];
    if (type === undefined || tableIndex >= this.module.tables)
      throw malformed(at, 'call_indirect index out of range');
    this.scratch.arg[instr] = typeIndex;
    this.popMany(type.params.length + 1, at);
    if (this.stops && this.facts.indirectCanStop(typeIndex))
      this.addSafepoint('call', instr, type.results);
    this.pushResults(type.results, instr);
  }

  private select(key: number, instr: number, at: number): void {
    let type = 0;
    if (key === OP.selectT) {
      if (this.r.u32() !== 1) throw malformed(at, 'invalid result arity');
      type = readValType(this.r, 'function', this.index);
    }
    this.pop(at);
    const second = this.pop(at);
    this.pop(at);
    this.push(type === 0 ? this.scratch.oType[second]! : type, Kind.value, 0, instr);
  }

  private local(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    if (index >= this.locals.length) throw malformed(at, `local index ${index} out of range`);
    const type = this.locals[index]!;
    this.scratch.arg[instr] = index;
    if (key === OP.localGet) return this.push(type, Kind.local, index, instr);
    this.pop(at);
    this.written(index);
    if (key === OP.localTee) this.push(type, Kind.local, index, instr);
  }

  /** N3: operands that came from this local are ordinary values from here on. */
  private written(local: number): void {
    const { localLow, stack, oKind, oRef } = this.scratch;
    for (
      let position = Math.max(localLow[local]!, this.localsFrom);
      position < this.height;
      position++
    ) {
      const id = stack[position]!;
      if (oKind[id] === Kind.local && oRef[id] === local) oKind[id] = Kind.value;
    }
    localLow[local] = NOWHERE;
  }

  private global(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    const entry = this.module.globals[index];
    if (entry === undefined) throw malformed(at, `global index ${index} out of range`);
    this.scratch.arg[instr] = index;
    if (key === OP.globalGet) this.push(entry.type, Kind.value, 0, instr);
    else this.pop(at);
  }

  private table(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    const type = this.module.tableTypes[index];
    if (type === undefined) throw malformed(at, `table index ${index} out of range`);
    this.scratch.arg[instr] = index;
    this.popMany(key === OP.tableGet ? 1 : key === OP.tableFill ? 3 : 2, at);
    if (key === OP.tableGet) this.push(type, Kind.value, instr, instr);
    if (key === OP.tableGrow) this.push(VT.i32, Kind.value, instr, instr);
  }
}

/** Decodes and analyses one defined function. The result lies in `scratch` (H1). */
export function analyseBody(
  module: WasmModule,
  functionIndex: number,
  facts: CallFacts,
  scratch: Scratch = new Scratch(),
): Body {
  return new BodyAnalyser(module, functionIndex, facts, scratch).run();
}

/** The frame ids to which a `br_table` jumps, default last. */
export function branchTableTargets(body: Body, instr: number, bytes: Uint8Array): number[] {
  const r = new ByteReader(bytes, body.start[instr]! + 1, body.start[instr + 1]!);
  const path = [body.arg[instr]!];
  const targets: number[] = [];
  for (let n = r.u32() + 1; n > 0; n--) {
    const depth = r.u32();
    while (path.length <= depth) path.push(body.frames[path[path.length - 1]!]!.parent);
    targets.push(path[depth]!);
  }
  return targets;
}
