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
import { ByteReader, malformed } from './bytes.js';
import { readBlockType, readImmediate, readOpcode } from './instructions.js';
import { type FuncType, readLocals, readValType, type WasmModule } from './module.js';
import { Imm, OP, opInfo, VT } from './opcodes.js';

export type FrameKind = 'func' | 'block' | 'loop' | 'if';

/** A structured control construct. Frame 0 is the function itself. */
export interface Frame {
  readonly id: number;
  readonly kind: FrameKind;
  readonly parent: number;
  /** Instruction index of the opener (-1 for the function). */
  readonly first: number;
  /** Instruction index of `else`, or -1. */
  elseAt: number;
  /** Instruction index of the matching `end`. */
  end: number;
  readonly params: readonly number[];
  readonly results: readonly number[];
  /** Operand stack height below the frame's own operands (its parameters are its own). */
  readonly height: number;
  /** Last instruction that branches to this frame's label, or -1. */
  lastBranch: number;
  /** Loop header polls have a safepoint number. */
  safepoint: number;
}

/** How an operand below a safepoint is rebuilt. */
export type Operand =
  | { readonly kind: 'temp'; readonly temp: number; readonly type: number }
  /** `producer`: the instruction that pushed it, and that may save it for later safepoints (N3). */
  | {
      readonly kind: 'local';
      readonly local: number;
      readonly type: number;
      readonly producer: number;
    }
  | { readonly kind: 'const'; readonly instr: number; readonly type: number };

export interface Safepoint {
  readonly kind: 'loop' | 'entry' | 'call' | 'host';
  /** Instruction index; -1 for the function entry. */
  readonly instr: number;
  readonly frame: number;
  /** The operand stack, bottom first, without the call's arguments and results. */
  readonly operands: readonly Operand[];
  /** Result types of the call, else empty. */
  readonly results: readonly number[];
}

export interface Body {
  readonly index: number;
  readonly type: FuncType;
  /** Types of all locals, parameters first. */
  readonly locals: readonly number[];
  readonly count: number;
  readonly op: Uint16Array;
  /** Byte offset of each instruction; entry `count` is the end of the last one. */
  readonly start: Uint32Array;
  /** First immediate: branch → target frame id; block/else/end → frame id; call → function; local, global → index. */
  readonly arg: Int32Array;
  readonly live: Uint8Array;
  readonly frames: readonly Frame[];
  readonly safepoints: readonly Safepoint[];
  /** Safepoint of an instruction (loop header, call), by instruction index. */
  readonly safepointAt: ReadonlyMap<number, number>;
  /** Temporaries into which instruction results are saved: per instruction, one temp index a result. */
  readonly saves: ReadonlyMap<number, readonly number[]>;
  readonly temps: readonly number[];
  readonly readsMemory: boolean;
  readonly writesMemory: boolean;
}

/** What the calls of a function mean; from callgraph.ts. */
export interface CallFacts {
  /** The function can reach a safepoint. */
  canStop(functionIndex: number): boolean;
  isImport(functionIndex: number): boolean;
  /** A `call_indirect` of this type can reach a safepoint. */
  indirectCanStop(typeIndex: number): boolean;
  /** The function polls at its entry. */
  entryPoll(functionIndex: number): boolean;
}

/** The largest nesting that is accepted; deeper programs get a clear error instead of a slow one. */
const MAX_NESTING = 50_000;

enum Kind {
  value = 0,
  local = 1,
  constant = 2,
}

class BodyAnalyser {
  private readonly r: ByteReader;
  private readonly op: number[] = [];
  private readonly start: number[] = [];
  private readonly arg: number[] = [];
  private readonly alive: number[] = [];
  private readonly frames: Frame[] = [];
  private readonly control: number[] = [];
  private readonly locals: number[];
  private readonly type: FuncType;
  private readonly safepoints: Safepoint[] = [];
  private readonly safepointAt = new Map<number, number>();
  private readonly saves = new Map<number, number[]>();
  private readonly temps: number[] = [];
  private readonly tempOf = new Map<number, number>();
  // operands, by id
  private readonly oType: number[] = [];
  private readonly oKind: Kind[] = [];
  private readonly oRef: number[] = [];
  private readonly oInstr: number[] = [];
  private readonly oDepth: number[] = [];
  /** Result types of a multi-value producer, by instruction: all of them are saved together. */
  private readonly producerResults = new Map<number, number[]>();
  private readonly stack: number[] = [];
  private dead = false;
  private readsMemory = false;
  private writesMemory = false;
  private readonly stops: boolean;

  constructor(
    private readonly module: WasmModule,
    private readonly index: number,
    private readonly facts: CallFacts,
  ) {
    const range = module.bodies[index - module.imports.length]!;
    this.r = new ByteReader(module.bytes, range.start, range.end);
    this.type = module.types[module.functionTypes[index]!]!;
    this.locals = [...this.type.params, ...readLocals(this.r, index)];
    this.stops = facts.canStop(index);
  }

  run(): Body {
    this.open('func', -1, { params: [], results: this.type.results });
    if (this.facts.entryPoll(this.index)) this.addSafepoint('entry', -1, []);
    while (this.control.length > 0) this.step();
    if (!this.r.done) throw malformed(this.r.pos, 'code after the end of the function');
    this.start.push(this.r.pos);
    return {
      index: this.index,
      type: this.type,
      locals: this.locals,
      count: this.op.length,
      op: Uint16Array.from(this.op),
      start: Uint32Array.from(this.start),
      arg: Int32Array.from(this.arg),
      live: Uint8Array.from(this.alive),
      frames: this.frames,
      safepoints: this.safepoints,
      safepointAt: this.safepointAt,
      saves: this.saves,
      temps: this.temps,
      readsMemory: this.readsMemory,
      writesMemory: this.writesMemory,
    };
  }

  private step(): void {
    const at = this.r.pos;
    const key = readOpcode(this.r, this.index);
    const instr = this.op.length;
    this.op.push(key);
    this.start.push(at);
    this.arg.push(0);
    this.alive.push(this.dead ? 0 : 1);
    const info = opInfo(key)!;
    if (this.dead) return this.skipDead(key, info.imm, instr);
    if (info.special) return this.special(key, instr, at);
    if (info.imm !== Imm.none) this.arg[instr] = readImmediate(this.r, info.imm);
    this.noteMemory(key);
    for (let i = info.pops.length - 1; i >= 0; i--) this.pop(at);
    const constant = (key >= OP.i32Const && key <= OP.f64Const) || key === OP.refFunc;
    for (const type of info.pushes)
      this.push(type, constant || key === OP.v128Const ? Kind.constant : Kind.value, instr, instr);
  }

  private noteMemory(key: number): void {
    if (key >= 0x28 && key <= 0x35) this.readsMemory = true;
    else if (key >= 0x36 && key <= 0x3e) this.writesMemory = true;
    else if (key >= OP.memoryInit && key <= OP.memoryFill) this.writesMemory = true;
    else if (key >= 0xfd00 && key <= 0xfd0a) this.readsMemory = true;
    else if (key === 0xfd0b) this.writesMemory = true;
  }

  private deadNesting = 0;

  private skipDead(key: number, imm: Imm, instr: number): void {
    const at = this.r.pos;
    if (imm === Imm.block) {
      readBlockType(this.r, this.module, `function ${this.index}`);
      this.deadNesting++;
    } else if (key === OP.end || key === OP.else) {
      if (this.deadNesting === 0) {
        this.alive[instr] = 1;
        this.dead = false;
        if (key === OP.else) this.atElse(instr, at);
        else this.atEnd(instr, at, false);
        return;
      }
      if (key === OP.end) this.deadNesting--;
    } else if (imm === Imm.brTable) {
      for (let n = this.r.count('label') + 1; n > 0; n--) this.r.u32();
    } else if (imm === Imm.selectTypes) {
      for (let n = this.r.count('type'); n > 0; n--) readValType(this.r, `function ${this.index}`);
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
    const id = this.oType.length;
    this.oType.push(type);
    this.oKind.push(kind);
    this.oRef.push(ref);
    this.oInstr.push(instr);
    this.oDepth.push(this.stack.length);
    this.stack.push(id);
  }

  private pushResults(types: readonly number[], instr: number): void {
    if (types.length > 1) this.producerResults.set(instr, [...types]);
    for (const type of types) this.push(type, Kind.value, 0, instr);
  }

  private pop(at: number): number {
    const frame = this.frames[this.control[this.control.length - 1]!]!;
    if (this.stack.length <= frame.height)
      throw malformed(at, `function ${this.index}: operand stack underflow`);
    return this.stack.pop()!;
  }

  private popMany(count: number, at: number): void {
    for (let i = 0; i < count; i++) this.pop(at);
  }

  /** Gives the operand a temporary in which its producer saves it (N2). */
  private tempFor(id: number): number {
    const instr = this.oInstr[id]!;
    const results = this.producerResults.get(instr);
    const depth = this.oDepth[id]!;
    let saved = this.saves.get(instr);
    if (results === undefined) {
      const temp = this.tempAt(depth, this.oType[id]!);
      if (saved === undefined) this.saves.set(instr, [temp]);
      return temp;
    }
    const position = this.positionOf(id);
    if (saved === undefined) {
      saved = results.map((type, i) => this.tempAt(depth - position + i, type));
      this.saves.set(instr, saved);
    }
    return saved[position]!;
  }

  /** Which result of its producer an operand is: operand ids of one producer are consecutive. */
  private positionOf(id: number): number {
    let position = 0;
    while (position < id && this.oInstr[id - position - 1] === this.oInstr[id]) position++;
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

  private addSafepoint(kind: Safepoint['kind'], instr: number, results: readonly number[]): void {
    const operands = this.stack.map((id): Operand => {
      const type = this.oType[id]!;
      if (this.oKind[id] === Kind.constant) return { kind: 'const', instr: this.oRef[id]!, type };
      if (this.oKind[id] === Kind.local)
        return { kind: 'local', local: this.oRef[id]!, type, producer: this.oInstr[id]! };
      return { kind: 'temp', temp: this.tempFor(id), type };
    });
    const frame = this.control[this.control.length - 1]!;
    this.safepointAt.set(instr, this.safepoints.length);
    this.safepoints.push({ kind, instr, frame, operands, results });
  }

  // --- control -------------------------------------------------------------------------------------------

  private open(kind: FrameKind, first: number, type: FuncType): Frame {
    if (this.control.length > MAX_NESTING)
      throw malformed(this.r.pos, `function ${this.index} nests deeper than ${MAX_NESTING}`);
    const frame: Frame = {
      id: this.frames.length,
      kind,
      parent: this.control.length === 0 ? -1 : this.control[this.control.length - 1]!,
      first,
      elseAt: -1,
      end: -1,
      params: type.params,
      results: type.results,
      height: this.stack.length - (kind === 'func' ? 0 : type.params.length),
      lastBranch: -1,
      safepoint: -1,
    };
    this.frames.push(frame);
    this.control.push(frame.id);
    return frame;
  }

  private openBlock(key: number, instr: number, at: number): void {
    const type = readBlockType(this.r, this.module, `function ${this.index}`);
    if (key === OP.if) this.pop(at);
    const outer = this.frames[this.control[this.control.length - 1]!]!;
    if (this.stack.length - type.params.length < outer.height)
      throw malformed(at, 'operand stack underflow');
    const kind = key === OP.loop ? 'loop' : key === OP.if ? 'if' : 'block';
    const frame = this.open(kind, instr, type);
    this.arg[instr] = frame.id;
    if (kind === 'if') this.ifParams.set(frame.id, this.stack.slice(frame.height));
    if (kind !== 'loop') return;
    for (const id of this.stack) if (this.oKind[id] === Kind.local) this.oKind[id] = Kind.value; // N3
    this.stack.length = frame.height;
    this.pushResults(type.params, instr);
    if (this.stops) {
      frame.safepoint = this.safepoints.length;
      this.addSafepoint('loop', instr, []);
    }
  }

  /** The parameters of an `if` are the same operands in both arms. */
  private readonly ifParams = new Map<number, number[]>();

  private atElse(instr: number, at: number): void {
    const frame = this.frames[this.control[this.control.length - 1]!]!;
    if (frame.kind !== 'if' || frame.elseAt >= 0) throw malformed(at, 'else without if');
    frame.elseAt = instr;
    this.arg[instr] = frame.id;
    this.stack.length = frame.height;
    this.stack.push(...this.ifParams.get(frame.id)!);
  }

  private atEnd(instr: number, at: number, reachable: boolean): void {
    const frame = this.frames[this.control.pop()!]!;
    if (reachable && this.stack.length !== frame.height + frame.results.length) {
      throw malformed(at, `function ${this.index}: wrong number of operands at the end of a block`);
    }
    frame.end = instr;
    this.arg[instr] = frame.id;
    this.stack.length = frame.height;
    if (frame.kind !== 'func') this.pushResults(frame.results, instr);
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
    this.arg[instr] = frame.id;
    if (key === OP.br) {
      this.dead = true;
      return;
    }
    this.pop(at);
    // The branch's operands stay where they are: same operands, same producers.
  }

  private branchTable(instr: number, at: number): void {
    for (let n = this.r.count('label') + 1; n > 0; n--) this.targetFrame(this.r.u32(), at, instr);
    this.arg[instr] = this.control[this.control.length - 1]!;
    this.dead = true;
  }

  private call(instr: number, at: number): void {
    const callee = this.r.u32();
    const type = this.module.types[this.module.functionTypes[callee] ?? -1];
    if (type === undefined) throw malformed(at, `function index ${callee} out of range`);
    this.arg[instr] = callee;
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
    this.arg[instr] = typeIndex;
    this.pop(at);
    this.popMany(type.params.length, at);
    if (this.stops && this.facts.indirectCanStop(typeIndex))
      this.addSafepoint('call', instr, type.results);
    this.pushResults(type.results, instr);
  }

  private select(key: number, instr: number, at: number): void {
    let type = 0;
    if (key === OP.selectT) {
      if (this.r.u32() !== 1) throw malformed(at, 'invalid result arity');
      type = readValType(this.r, `function ${this.index}`);
    }
    this.pop(at);
    const second = this.pop(at);
    this.pop(at);
    this.push(type === 0 ? this.oType[second]! : type, Kind.value, 0, instr);
  }

  private local(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    const type = this.locals[index];
    if (type === undefined) throw malformed(at, `local index ${index} out of range`);
    this.arg[instr] = index;
    if (key === OP.localGet) return this.push(type, Kind.local, index, instr);
    this.pop(at);
    for (const id of this.stack) {
      if (this.oKind[id] === Kind.local && this.oRef[id] === index) this.oKind[id] = Kind.value; // N3
    }
    if (key === OP.localTee) this.push(type, Kind.local, index, instr);
  }

  private global(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    const entry = this.module.globals[index];
    if (entry === undefined) throw malformed(at, `global index ${index} out of range`);
    this.arg[instr] = index;
    if (key === OP.globalGet) this.push(entry.type, Kind.value, 0, instr);
    else this.pop(at);
  }

  private table(key: number, instr: number, at: number): void {
    const index = this.r.u32();
    const type = this.module.tableTypes[index];
    if (type === undefined) throw malformed(at, `table index ${index} out of range`);
    this.arg[instr] = index;
    this.popMany(key === OP.tableGet ? 1 : key === OP.tableFill ? 3 : 2, at);
    if (key === OP.tableGet) this.push(type, Kind.value, instr, instr);
    if (key === OP.tableGrow) this.push(VT.i32, Kind.value, instr, instr);
  }
}

/** Decodes and analyses one defined function. */
export function analyseBody(module: WasmModule, functionIndex: number, facts: CallFacts): Body {
  return new BodyAnalyser(module, functionIndex, facts).run();
}

/** The frame ids to which a `br_table` jumps, default last. */
export function branchTableTargets(body: Body, instr: number, bytes: Uint8Array): number[] {
  const r = new ByteReader(bytes, body.start[instr]! + 1, body.start[instr + 1]!);
  const targets: number[] = [];
  for (let n = r.u32() + 1; n > 0; n--) {
    let frame = body.arg[instr]!;
    for (let depth = r.u32(); depth > 0; depth--) frame = body.frames[frame]!.parent;
    targets.push(frame);
  }
  return targets;
}
