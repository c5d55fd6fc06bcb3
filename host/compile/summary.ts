/**
 * The light pass: what each function calls, loops and touches, found by reading its instructions once.
 *
 *   bodies  ──▶  calls      [ f0: 3 7 | f1: | f2: 0 3 9 | … ]   unique, ascending; f's are [callsFrom[k], callsFrom[k + 1])
 *                indirect   [ types of indirect calls, alike ]
 *                loops, empty loops, loop depth, instructions     one number a function
 *
 * Does: read opcodes and immediates. Does not: look at operands or locals (body.ts).
 *
 * U1  Function k here is function index `imports + k`.
 */
import { ByteReader, malformed } from './bytes.js';
import { isBulk, isShort, readOpcode, skipImmediates } from './instructions.js';
import { isReference, readLocals, type WasmModule } from './module.js';
import { FACT, FACTS, Imm, OP } from './opcodes.js';

export interface Summaries {
  readonly calls: Int32Array;
  readonly callsFrom: Int32Array;
  /** Type indices of indirect calls. */
  readonly indirect: Int32Array;
  readonly indirectFrom: Int32Array;
  readonly loops: Int32Array;
  /** Empty loops: places to stop, nothing more (spacing.ts). */
  readonly polls: Int32Array;
  readonly loopDepth: Int32Array;
  readonly instructions: Int32Array;
  /** 1: it throws. Then it carries fuel, because the fuel must reach the handler. */
  readonly throws: Uint8Array;
  /** 1: memory.fill or memory.copy of unknown length. */
  readonly bulkStops: Uint8Array;
  /** Passive data segments with which memory is initialised, in order of first use, ascending in each function. */
  readonly dataSegments: ReadonlySet<number>;
  /** Functions whose address code takes. */
  readonly refs: ReadonlySet<number>;
  /** Tables that code may change. */
  readonly changedTables: ReadonlySet<number>;
  /** Element segments by `table.init`, in order of first use. */
  readonly elementInits: ReadonlyMap<string, readonly [segment: number, table: number]>;
  /** Reference values occur in code. */
  readonly references: boolean;
  /** Instructions that copy or fill memory or tables. */
  readonly bulk: number;
}

const BULK = new Uint8Array(0x10000);
for (const op of [OP.memoryInit, OP.memoryCopy, OP.memoryFill]) BULK[op] = 1;
for (const op of [OP.tableInit, OP.tableCopy, OP.tableFill]) BULK[op] = 1;

/** Lists of numbers, one a function, unique and ascending, end to end. */
class Lists {
  values = new Int32Array(1024);
  readonly from: Int32Array;
  private length = 0;
  private opened = 0;
  /** Per number: the list that holds it last, + 1. */
  private readonly seen: Int32Array;

  constructor(lists: number, numbers: number) {
    this.from = new Int32Array(lists + 1);
    this.seen = new Int32Array(numbers);
  }

  add(list: number, value: number): void {
    if (this.seen[value] === list + 1) return;
    this.seen[value] = list + 1;
    if (this.length === this.values.length) {
      const grown = new Int32Array(this.length * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[this.length++] = value;
  }

  /** Ends a list: sorts it. */
  close(list: number): void {
    if (this.length - this.opened > 1) this.values.subarray(this.opened, this.length).sort();
    this.opened = this.length;
    this.from[list + 1] = this.length;
  }
}

/** Instructions of which more is noted than that they are there: by opcode key. */
const NOTED = new Uint8Array(0x10000);
const REFERENCE = 2;
const CALL = 1;
const SEGMENT = 3;
const INDIRECT = 4;
const THROW = 5;
const CLOSE = 6;
for (const op of [OP.call, OP.returnCall]) NOTED[op] = CALL;
for (const op of [OP.callIndirect, OP.returnCallIndirect]) NOTED[op] = INDIRECT;
for (const op of [OP.throw, OP.rethrow]) NOTED[op] = THROW;
NOTED[OP.memoryInit] = SEGMENT;
NOTED[OP.delegate] = CLOSE;
// Reference values, and what changes a table:
for (const op of [
  OP.refFunc,
  OP.refNull,
  OP.tableGet,
  OP.tableInit,
  OP.tableSet,
  OP.tableCopy,
  OP.tableGrow,
  OP.tableFill,
])
  NOTED[op] = REFERENCE;

class Summariser {
  private readonly calls: Lists;
  private readonly indirect: Lists;
  private readonly loops: Int32Array;
  private readonly polls: Int32Array;
  private readonly loopDepth: Int32Array;
  private readonly instructions: Int32Array;
  private readonly throws: Uint8Array;
  private readonly bulkStops: Uint8Array;
  private readonly dataSegments = new Set<number>();
  private readonly segments = new Set<number>();
  private readonly refs = new Set<number>();
  private readonly changedTables = new Set<number>();
  private readonly elementInits = new Map<string, readonly [number, number]>();
  private references = false;
  private bulk = 0;
  /** Of the function at hand, per open block: 1 if it is a loop. */
  private readonly kinds: number[] = [];
  private depth = 0;

  constructor(private readonly module: WasmModule) {
    const count = module.bodies.length;
    this.calls = new Lists(count, module.functionTypes.length);
    this.indirect = new Lists(count, module.types.length);
    this.loops = new Int32Array(count);
    this.polls = new Int32Array(count);
    this.loopDepth = new Int32Array(count);
    this.instructions = new Int32Array(count);
    this.throws = new Uint8Array(count);
    this.bulkStops = new Uint8Array(count);
  }

  run(): Summaries {
    for (let k = 0; k < this.module.bodies.length; k++) this.body(k);
    return {
      calls: this.calls.values,
      callsFrom: this.calls.from,
      indirect: this.indirect.values,
      indirectFrom: this.indirect.from,
      loops: this.loops,
      polls: this.polls,
      loopDepth: this.loopDepth,
      instructions: this.instructions,
      throws: this.throws,
      bulkStops: this.bulkStops,
      dataSegments: this.dataSegments,
      refs: this.refs,
      changedTables: this.changedTables,
      elementInits: this.elementInits,
      references: this.references,
      bulk: this.bulk,
    };
  }

  private body(k: number): void {
    const { module } = this;
    const f = module.imports.length + k;
    const range = module.bodies[k]!;
    const r = new ByteReader(module.bytes, range.start, range.end);
    if (readLocals(r, f, []).some(isReference)) this.references = true;
    this.kinds.length = 0;
    this.depth = 0;
    let instructions = 0;
    let before = 0;
    for (; !r.done; instructions++) {
      const at = r.pos;
      const key = readOpcode(r, f);
      if (isBulk(key) && !isShort(module.bytes, before)) this.bulkStops[k] = 1;
      before = at;
      const imm = FACTS[key]! & FACT.imm;
      if (imm !== Imm.none) this.immediate(r, key, imm, k, f);
      else if (key === OP.end && this.kinds.pop() === 1) this.depth--;
      this.bulk += BULK[key]!;
    }
    this.instructions[k] = instructions;
    this.calls.close(k);
    this.indirect.close(k);
    if (this.segments.size === 0) return;
    for (const segment of [...this.segments].sort((a, b) => a - b)) this.dataSegments.add(segment);
    this.segments.clear();
  }

  private immediate(r: ByteReader, key: number, imm: Imm, k: number, f: number): void {
    const { module } = this;
    const at = r.pos;
    const value = skipImmediates(r, module, imm, f);
    if (imm === Imm.block || imm === Imm.tryTable) {
      const isEmpty = key === OP.loop && r.bytes[r.pos] === OP.end;
      this.kinds.push(key === OP.loop && !isEmpty ? 1 : 0);
      if (isEmpty) this.polls[k]!++;
      else if (key === OP.loop) this.loop(k);
      return;
    }
    switch (NOTED[key]) {
      case CALL:
        if (value >= module.functionTypes.length)
          throw malformed(at, `function index ${value} out of range`);
        return this.calls.add(k, value);
      case INDIRECT:
        if (value >= module.types.length) throw malformed(at, `type index ${value} out of range`);
        return this.indirect.add(k, value);
      case SEGMENT:
        this.segments.add(value);
        return;
      case THROW:
        this.throws[k] = 1;
        return;
      case CLOSE:
        this.kinds.pop();
        return;
      case REFERENCE:
        return this.reference(r, key, value, at);
    }
  }

  /** An instruction with reference values or tables, whose immediates begin at `at`. */
  private reference(r: ByteReader, key: number, value: number, at: number): void {
    const { module } = this;
    if (key === OP.refFunc) {
      if (value >= module.functionTypes.length)
        throw malformed(at, `function index ${value} out of range`);
      this.refs.add(value);
    }
    if (key === OP.refFunc || key === OP.refNull || key === OP.tableGet) {
      this.references = true;
      return;
    }
    const again = new ByteReader(r.bytes, at, r.pos);
    again.u32();
    const table = key === OP.tableInit ? again.u32() : value;
    if (table >= module.tables) throw malformed(at, `table index ${table} out of range`);
    this.changedTables.add(table);
    if (key === OP.tableInit) this.elementInits.set(`${value}:${table}`, [value, table]);
  }

  private loop(k: number): void {
    this.loops[k]!++;
    this.depth++;
    if (this.depth > this.loopDepth[k]!) this.loopDepth[k] = this.depth;
  }
}

/** Scans all bodies without analysing them. */
export function summariseAll(module: WasmModule): Summaries {
  return new Summariser(module).run();
}
