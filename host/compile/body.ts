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
 * N4  A `rethrow` throws an exception of the same tag and values anew: the values are kept in temporaries of their own from
 *     the `catch` on, for `catch_all` beside the number of the tag. No instruction can tell the difference.
 */
import { ARM_ENDS, FRAME_KIND, keepCaught } from './body-exceptions.js';
import {
  type Body,
  type CallFacts,
  type Caught,
  type Frame,
  type FrameKind,
  OperandKind,
  type Safepoint,
} from './body-types.js';
import { ByteReader, malformed } from './bytes.js';
import {
  type CatchClause,
  isBulk,
  isShort,
  readBlockType,
  readCatchClauses,
  readImmediate,
  readOpcode,
  skipImmediates,
} from './instructions.js';
import { type FuncType, readCodeType, readLocals, type WasmModule } from './module.js';
import { FACT, FACTS, Imm, OP, VT } from './opcodes.js';
import { Kind, NOWHERE, OperandStack } from './operand-stack.js';
import { Scratch } from './scratch.js';

export {
  type Body,
  type CallFacts,
  type Caught,
  type Frame,
  OperandKind,
  type Safepoint,
} from './body-types.js';

/** The largest nesting that is accepted; deeper programs get a clear error instead of a slow one. */
const MAX_NESTING = 50_000;
const NONE: readonly number[] = [];
const NO_CLAUSES: readonly CatchClause[] = [];

class BodyAnalyser extends OperandStack {
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
  private readonly caught = new Map<number, Caught>();
  private dead = false;
  private deadNesting = 0;
  /** FACT.reads and FACT.writes of all instructions. */
  private memory = 0;
  private readonly stops: boolean;

  constructor(
    private readonly module: WasmModule,
    index: number,
    private readonly facts: CallFacts,
    scratch: Scratch,
  ) {
    super(index, scratch);
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
    this.open('func', -1, NONE, this.type.results, []);
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
      caught: this.caught,
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
    if (isBulk(key) && !this.dead) this.bulk(key, instr);
    if (this.dead) return this.skipDead(key, imm, instr);
    if ((facts & FACT.special) !== 0) return this.special(key, instr, at);
    if (imm !== Imm.none) scratch.arg[instr] = readImmediate(r, imm, this.index);
    this.memory |= facts;
    const pops = (facts >>> 5) & 7;
    if (this.height - pops < this.floor) this.underflow(at);
    if (pops > 0) this.lower(this.height - pops);
    const type = (facts >>> 8) & 0xff;
    if (type !== 0)
      this.push(type, (facts & FACT.constant) !== 0 ? Kind.constant : Kind.value, instr, instr);
  }

  private skipDead(key: number, imm: Imm, instr: number): void {
    const { r, module } = this;
    if (this.deadNesting === 0 && ARM_ENDS.has(key)) {
      this.scratch.live[instr] = 1;
      this.dead = false;
      this.armEnd(key, instr, r.pos, false);
      return;
    }
    skipImmediates(r, module, imm, this.index);
    if (imm === Imm.block || imm === Imm.tryTable) this.deadNesting++;
    else if (key === OP.end || key === OP.delegate) this.deadNesting--;
  }

  /** `else`, `catch`, `catch_all`, `delegate`, `end`. */
  private armEnd(key: number, instr: number, at: number, reachable: boolean): void {
    if (key === OP.end) this.atEnd(instr, at, reachable);
    else if (key === OP.else) this.atElse(instr, at);
    else if (key === OP.delegate) this.atDelegate(instr, at, reachable);
    else this.atCatch(key, instr, at, reachable);
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
      case OP.try:
      case OP.tryTable:
        return this.openBlock(key, instr, at);
      case OP.else:
      case OP.end:
      case OP.catch:
      case OP.catchAll:
      case OP.delegate:
        return this.armEnd(key, instr, at, true);
      case OP.throw:
        return this.throw(instr, at);
      case OP.rethrow:
        return this.rethrow(instr, at);
      case OP.br:
      case OP.brIf:
        return this.branch(key, instr, at);
      case OP.brTable:
        return this.branchTable(instr, at);
      case OP.return:
        this.dead = true;
        return;
      case OP.call:
      case OP.returnCall:
        return this.call(key, instr, at);
      case OP.callIndirect:
      case OP.returnCallIndirect:
        return this.callIndirect(key, instr, at);
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
        return this.push(
          readImmediate(this.r, Imm.refType, this.index),
          Kind.constant,
          instr,
          instr,
        );
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

  /** Its operands are still on the stack; those that it changes lie in temporaries of its own when it stops. */
  private bulk(key: number, instr: number): void {
    if (!this.stops || !this.facts.stopsInBulk) return;
    if (instr > 0 && isShort(this.module.bytes, this.scratch.start[instr - 1]!)) return;
    const changed = key === OP.memoryFill ? 1 : 3;
    if (this.height - 3 < this.floor) return; // refused by the step that follows
    this.addSafepoint('bulk', instr, NONE, this.height - changed);
  }

  /** Operands from stack position `own` on are put into temporaries by the instruction itself. */
  private addSafepoint(
    kind: Safepoint['kind'],
    instr: number,
    results: readonly number[],
    own = NOWHERE,
  ): number {
    const { operands, stack, oType, oKind, oRef, oInstr, safepointAt } = this.scratch;
    const from = operands.length;
    for (let position = 0; position < this.height; position++) {
      const id = stack[position]!;
      const how = oKind[id]!;
      if (position >= own)
        operands.push(OperandKind.temp, VT.i32, this.tempAt(position, VT.i32), instr);
      else if (how === Kind.constant)
        operands.push(OperandKind.constant, oType[id]!, oRef[id]!, oInstr[id]!);
      else if (how === Kind.local)
        operands.push(OperandKind.local, oType[id]!, oRef[id]!, oInstr[id]!);
      else operands.push(OperandKind.temp, oType[id]!, this.tempFor(id), oInstr[id]!);
    }
    const frame = this.control[this.control.length - 1]!;
    const number = this.safepoints.length;
    const guarded = kind === 'call' && this.isGuarded();
    this.safepoints.push({ kind, instr, frame, from, to: operands.length, results, guarded });
    if (instr >= 0) safepointAt[instr] = number;
    return number;
  }

  // --- control -------------------------------------------------------------------------------------------

  private open(
    kind: FrameKind,
    first: number,
    params: readonly number[],
    results: readonly number[],
    clauses: readonly CatchClause[],
  ): Frame {
    if (this.control.length > MAX_NESTING)
      throw malformed(this.r.pos, `function ${this.index} nests deeper than ${MAX_NESTING}`);
    const frame: Frame = {
      id: this.frames.length,
      kind,
      parent: this.control.length === 0 ? -1 : this.control[this.control.length - 1]!,
      first,
      elseAt: -1,
      catches: [],
      delegate: -1,
      clauses,
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
    const kind = FRAME_KIND[key] ?? 'block';
    const clauses = key === OP.tryTable ? this.clauses(instr, at) : NO_CLAUSES;
    const frame = this.open(kind, instr, type.params, type.results, clauses);
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
    for (const { label } of frame.clauses) this.frames[label]!.lastBranch = instr;
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

  // --- exceptions ----------------------------------------------------------------------------------------

  /** The clauses of a `try_table`, their labels as frame ids. */
  private clauses(instr: number, at: number): CatchClause[] {
    return readCatchClauses(this.r, this.index).map(({ tag, label }) => {
      if (tag >= this.module.tags.length) throw malformed(at, `tag index ${tag} out of range`);
      return { tag, label: this.targetFrame(label, at, instr).id };
    });
  }

  private tagTypes(tag: number, at: number): readonly number[] {
    const type = this.module.types[this.module.tags[tag] ?? -1];
    if (type === undefined) throw malformed(at, `tag index ${tag} out of range`);
    return type.params;
  }

  private atCatch(key: number, instr: number, at: number, reachable: boolean): void {
    const frame = this.frames[this.control[this.control.length - 1]!]!;
    if (frame.kind !== 'try') throw malformed(at, 'catch without try');
    if (reachable && this.height !== frame.height + frame.results.length)
      throw malformed(at, `function ${this.index}: wrong number of operands before a catch`);
    frame.catches.push(instr);
    this.scratch.arg[instr] = frame.id;
    this.lower(frame.height);
    if (key === OP.catch) this.pushResults(this.tagTypes(this.r.u32(), at), instr);
  }

  private atDelegate(instr: number, at: number, reachable: boolean): void {
    const frame = this.frames[this.control[this.control.length - 1]!]!;
    if (frame.kind !== 'try' || frame.catches.length > 0)
      throw malformed(at, 'delegate without try');
    const target = this.control[this.control.length - 2 - this.r.u32()];
    if (target === undefined) throw malformed(at, 'delegate depth out of range');
    frame.delegate = target;
    this.atEnd(instr, at, reachable);
  }

  private throw(instr: number, at: number): void {
    const tag = this.r.u32();
    this.scratch.arg[instr] = tag;
    this.popMany(this.tagTypes(tag, at).length, at);
    this.dead = true;
  }

  private rethrow(instr: number, at: number): void {
    const frame = this.frames[this.control[this.control.length - 1 - this.r.u32()] ?? -1];
    const clause = frame?.catches[frame.catches.length - 1];
    if (frame === undefined || clause === undefined) throw malformed(at, 'rethrow outside a catch');
    this.scratch.arg[instr] = clause;
    this.dead = true;
    if (this.caught.has(clause)) return;
    const { op, start } = this.scratch;
    const fresh = (type: number): number => this.temps.push(type) - 1;
    const isCatch = (c: number): boolean => op[c] === OP.catch;
    const tagOf = (c: number): number => new ByteReader(this.module.bytes, start[c]! + 1).u32();
    const named = frame.catches.filter(isCatch).map(tagOf);
    const only = isCatch(clause) ? tagOf(clause) : undefined;
    this.caught.set(clause, keepCaught(this.module, named, only, fresh));
  }

  /** A `try` body or a `try_table` is around this place. */
  private isGuarded(): boolean {
    if (this.module.tags.length === 0) return false;
    return this.control.some((id) => {
      const { kind, catches, clauses } = this.frames[id]!;
      return kind === 'try' ? catches.length === 0 : clauses.length > 0;
    });
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

  /** A tail call leaves no frame, so it is no safepoint; to an import it is a host call and a return. */
  private call(key: number, instr: number, at: number): void {
    const callee = this.r.u32();
    const type = this.module.types[this.module.functionTypes[callee] ?? -1];
    if (type === undefined) throw malformed(at, `function index ${callee} out of range`);
    this.scratch.arg[instr] = callee;
    this.popMany(type.params.length, at);
    const stays = key === OP.call;
    if (this.stops) {
      if (this.facts.isImport(callee)) this.addSafepoint('host', instr, type.results);
      else if (stays && this.facts.canStop(callee)) this.addSafepoint('call', instr, type.results);
    }
    if (stays) this.pushResults(type.results, instr);
    else this.dead = true;
  }

  private callIndirect(key: number, instr: number, at: number): void {
    const typeIndex = this.r.u32();
    const tableIndex = this.r.u32();
    const type = this.module.types[typeIndex];
    if (type === undefined || tableIndex >= this.module.tables)
      throw malformed(at, 'call_indirect index out of range');
    this.scratch.arg[instr] = typeIndex;
    this.popMany(type.params.length + 1, at);
    if (key === OP.returnCallIndirect) {
      this.dead = true;
      return;
    }
    if (this.stops && this.facts.indirectCanStop(typeIndex))
      this.addSafepoint('call', instr, type.results);
    this.pushResults(type.results, instr);
  }

  private select(key: number, instr: number, at: number): void {
    let type = 0;
    if (key === OP.selectT) {
      if (this.r.u32() !== 1) throw malformed(at, 'invalid result arity');
      type = readCodeType(this.r, this.index);
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
