/**
 * The typed operand stack of the function that is being analysed, and the temporaries in which operands are saved.
 *
 *   instruction        stack: height, type, what it is          at a safepoint above them
 *   local.get 3        0  i32  local 3                          rebuilt from local 3, unless that is written first (N3)
 *   i64.const 9        1  i64  constant, instruction 1          rebuilt from the instruction
 *   f64.load           2  f64  value, instruction 2             saved into the temporary of (height 2, f64) at instruction 2
 *
 * Does: push, pop, tell which temporary an operand is saved in; see N2 and N3 of body.ts. Does not: decode.
 */
import { malformed } from './bytes.js';
import { VT } from './opcodes.js';
import type { Scratch } from './scratch.js';

export const NOWHERE = 0x7fffffff;

/** What is known of an operand on the stack. */
export const Kind = { value: 0, local: 1, constant: 2 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export class OperandStack {
  protected readonly multiSaves = new Map<number, number[]>();
  protected readonly temps: number[] = [];
  protected readonly tempOf = new Map<number, number>();
  /** Operands made so far: the next id. */
  protected operandCount = 0;
  /** Result types of a multi-value producer, by instruction: all of them are saved together. */
  protected readonly producerResults = new Map<number, readonly number[]>();
  protected height = 0;
  /** No operand below this stack position is a local (N3). */
  protected localsFrom = 0;
  /** Stack height below which the current frame must not pop. */
  protected floor = 0;

  constructor(
    protected readonly index: number,
    protected readonly scratch: Scratch,
  ) {}

  protected push(type: number, kind: Kind, ref: number, instr: number): void {
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

  protected pushResults(types: readonly number[], instr: number): void {
    if (types.length > 1) this.producerResults.set(instr, types);
    for (let i = 0; i < types.length; i++) this.push(types[i]!, Kind.value, 0, instr);
  }

  protected underflow(at: number): never {
    throw malformed(at, `function ${this.index}: operand stack underflow`);
  }

  /** Takes the operands above a height off the stack. */
  protected lower(height: number): void {
    this.height = height;
    if (height < this.localsFrom) this.localsFrom = height;
  }

  /** Takes one operand off the stack; its id. */
  protected pop(at: number): number {
    if (this.height <= this.floor) this.underflow(at);
    this.lower(this.height - 1);
    return this.scratch.stack[this.height]!;
  }

  protected popMany(count: number, at: number): void {
    if (this.height - count < this.floor) this.underflow(at);
    this.lower(this.height - count);
  }

  /** Gives the operand a temporary in which its producer saves it (N2). */
  protected tempFor(id: number): number {
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
  protected positionOf(id: number): number {
    const { oInstr } = this.scratch;
    let position = 0;
    while (position < id && oInstr[id - position - 1] === oInstr[id]) position++;
    return position;
  }

  protected tempAt(depth: number, type: number): number {
    const key = depth * 32 + (type - VT.externref);
    let temp = this.tempOf.get(key);
    if (temp === undefined) {
      temp = this.temps.length;
      this.temps.push(type);
      this.tempOf.set(key, temp);
    }
    return temp;
  }

  /** N3: operands that came from this local are ordinary values from here on. */
  protected written(local: number): void {
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
}
