/**
 * Random valid modules that favour what is hard to stop and to resume: nested loops with operands below them on the stack,
 * loops and blocks with parameters and several results, br_table, branches out of and back into loops, calls in the middle
 * of expressions, recursion, indirect calls, all value types alive at once, dead code, memory growth; by generate-loops.ts
 * nests whose branches leave outwards; and by generate-features.ts references, tables that change, tail calls and exceptions.
 *
 *   (func $run (param i32 i32 i64 f32 f64 v128…) …)      parameter 0 of every function is the depth that is left:
 *     gas; statements; results                           a call happens only while it is not zero
 *
 * Does: give WAT text. Does not: assemble or run it.
 *
 * G1  Every module ends: each loop header and function entry pays one `gas`; without gas it traps (`unreachable`).
 * G2  No bits of an open NaN are kept: they depend on which of the engine's compilers made the code (`--liftoff-only` and
 *     the default differ), and a local's bits show in a capsule. A NaN is made canonical where an operator gives it.
 * G3  The same seed and settings give the same text.
 */
import {
  changingSlot,
  featureHeader,
  featureStatement,
  referenceTest,
  tryValue,
  type Writing,
} from './generate-features.js';
import { countedLoop, loopStatement, nestedLoops } from './generate-loops.js';
import {
  closed,
  LOADS,
  OPERATORS,
  type Operator,
  SCALARS,
  STORES,
  TYPES,
  type WasmType,
} from './operators.js';
import { Random } from './random.js';

export interface GeneratorSettings {
  readonly functions: number;
  /** Rough number of operators and statements a function. */
  readonly size: number;
  readonly depth: number;
  readonly gas: number;
  readonly simd: boolean;
}

export const SETTINGS: GeneratorSettings = {
  functions: 5,
  size: 90,
  depth: 5,
  gas: 1_500,
  simd: true,
};

export interface Signature {
  readonly params: readonly WasmType[];
  readonly results: readonly WasmType[];
}

export interface Label {
  readonly name: string;
  /** What a branch to it carries. */
  readonly types: readonly WasmType[];
  readonly isLoop: boolean;
}

/** Globals in index order; `gas` comes first. */
export const GLOBAL_TYPES: readonly WasmType[] = ['i32', 'i32', 'i64', 'f32', 'f64', 'v128'];
export const LOG_FACTOR = 0x9e3779b1 | 0;
const RUN_PARAMS: readonly WasmType[] = ['i32', 'i32', 'i64', 'f64'];
const RUN_RESULTS: readonly WasmType[] = ['i64', 'i32', 'f64', 'f32'];

export const signatureText = ({ params, results }: Signature): string =>
  [
    params.length > 0 ? ` (param ${params.join(' ')})` : '',
    results.length > 0 ? ` (result ${results.join(' ')})` : '',
  ].join('');

/** The text of one random module. It exports `run (i32 depth, i32, i64, f64) → (i64, i32, f64, f32)`. */
export function generateModule(seed: number, settings: GeneratorSettings = SETTINGS): string {
  return new ModuleGenerator(new Random(seed), settings).generate();
}

export class ModuleGenerator {
  readonly signatures: Signature[] = [];
  readonly types: readonly WasmType[];

  constructor(
    readonly random: Random,
    readonly settings: GeneratorSettings,
  ) {
    this.types = settings.simd ? TYPES : SCALARS;
  }

  generate(): string {
    const { random, settings } = this;
    this.signatures.push({ params: RUN_PARAMS, results: RUN_RESULTS });
    for (let i = 1; i < settings.functions; i++) {
      const same = i > 1 && random.chance(0.4);
      this.signatures.push(
        same ? random.pick(this.signatures.slice(1)) : this.signature(4, 3, ['i32']),
      );
    }
    const bodies = this.signatures.map((_, index) => new FunctionGenerator(this, index).generate());
    const start = random.chance(0.2) ? [this.startFunction(), '(start $start)'] : [];
    const table = Array.from({ length: 8 }, (_, slot) => `$f${slot % this.signatures.length}`);
    return ['(module', ...this.header(table), ...bodies, ...start, ')'].join('\n');
  }

  signature(maxParams: number, maxResults: number, first: readonly WasmType[] = []): Signature {
    // Often values of one type only: the wrong one of two is a mistake that only then stays valid.
    const own = this.random.chance(0.4) ? [this.random.pick(this.types)] : this.types;
    const some = (limit: number): WasmType[] =>
      Array.from({ length: this.random.below(limit + 1) }, () => this.random.pick(own));
    return { params: [...first, ...some(maxParams)], results: some(maxResults) };
  }

  private header(table: readonly string[]): string[] {
    const { gas } = this.settings;
    const data = Array.from(
      { length: 24 },
      () => `\\${this.random.below(256).toString(16).padStart(2, '0')}`,
    ).join('');
    return [
      '(import "fuzz" "log" (func $log (param i32) (result i32)))',
      '(memory (export "memory") 1 3)',
      `(data (i32.const ${this.random.below(4096)}) "${data}")`,
      `(table 8 funcref) (elem (i32.const 0) ${table.join(' ')})`,
      ...this.signatures.map((_, index) => `(export "f${index}" (func $f${index}))`),
      `(global $gas (export "g0") (mut i32) (i32.const ${gas}))`,
      '(global $g1 (export "g1") (mut i32) (i32.const 7))',
      '(global $g2 (export "g2") (mut i64) (i64.const -9))',
      '(global $g3 (export "g3") (mut f32) (f32.const 0.5))',
      '(global $g4 (export "g4") (mut f64) (f64.const -1.25))',
      '(global $g5 (mut v128) (v128.const i32x4 1 2 3 4))',
      ...featureHeader(table),
      '(export "run" (func $f0))',
      '(func (export "lanes") (result i64 i64) global.get $g5 i64x2.extract_lane 0 global.get $g5 i64x2.extract_lane 1)',
      '(func $nan32 (param f32) (result f32) local.get 0 f32.const nan local.get 0 local.get 0 f32.eq select)',
      '(func $nan64 (param f64) (result f64) local.get 0 f64.const nan local.get 0 local.get 0 f64.eq select)',
      '(func $nans32 (param v128) (result v128) local.get 0 local.get 0 local.get 0 f32x4.eq v128.and)',
      '(func $nans64 (param v128) (result v128) local.get 0 local.get 0 local.get 0 f64x2.eq v128.and)',
    ];
  }

  private startFunction(): string {
    const count = this.random.between(1, 5);
    return `(func $start (local i32) i32.const ${count} local.set 0
      loop $l global.get $g1 i32.const 3 i32.mul local.get 0 i32.add global.set $g1
      i32.const 64 global.get $g1 i32.store local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)`;
  }
}

class FunctionGenerator implements Writing {
  readonly random: Random;
  private readonly locals: string[];
  readonly own: Signature;
  readonly labels: Label[] = [];
  readonly caught: string[] = [];
  private readonly code: string[] = [];
  private budget: number;
  /** Its local of type funcref. */
  readonly reference: number;
  private labelCount = 0;

  constructor(
    readonly module: ModuleGenerator,
    readonly index: number,
  ) {
    this.random = module.random;
    this.own = module.signatures[index]!;
    this.budget = module.settings.size;
    const extra = Array.from({ length: this.random.between(2, 7) }, () =>
      this.random.pick(module.types),
    );
    this.locals = [...this.own.params, 'i32', ...extra, 'funcref'];
    this.reference = this.locals.length - 1;
  }

  generate(): string {
    const depth = this.module.settings.depth;
    this.payGas();
    for (let i = this.random.between(2, 5); i > 0; i--) this.statement(depth);
    for (const type of this.own.results) this.visible(type, depth - 1);
    const declared = this.locals.slice(this.own.params.length);
    return `(func $f${this.index}${signatureText(this.own)} (local ${declared.join(' ')})\n  ${this.code.join('\n  ')})`;
  }

  emit(...lines: string[]): void {
    this.code.push(...lines);
    this.budget -= lines.length / 3;
  }

  payGas(): void {
    this.emit('global.get $gas', 'i32.eqz', 'if', 'unreachable', 'end');
    this.emit('global.get $gas', 'i32.const 1', 'i32.sub', 'global.set $gas');
  }

  label(types: readonly WasmType[], isLoop: boolean): Label {
    return { name: `$l${this.labelCount++}`, types, isLoop };
  }

  /** Runs `body` with a label in scope. */
  within(label: Label, body: () => void): void {
    this.labels.push(label);
    body();
    this.labels.pop();
  }

  /** A local of this type; parameter 0 (the depth) is read-only. A fresh one when there is none yet. */
  localOf(type: WasmType, toWrite: boolean): number {
    const found = this.locals.flatMap((at, index) =>
      at === type && !(toWrite && index === 0) ? [index] : [],
    );
    if (found.length > 0 && !(toWrite && this.random.chance(0.05))) return this.random.pick(found);
    return this.freshLocal(type);
  }

  freshLocal(type: WasmType): number {
    return this.locals.push(type) - 1;
  }

  // ---- values: each leaves one value of the type on the stack

  value(type: WasmType, depth: number): void {
    if (depth <= 0 || this.budget <= 0) return this.leaf(type);
    const choice = this.random.below(26);
    if (choice < 9) this.operator(type, depth);
    else if (choice >= 24) this.overwritten(type, depth);
    else if (choice < 11) this.load(type, depth);
    else if (choice < 12) this.ifValue(type, depth);
    else if (choice < 14) this.blockValue(type, depth);
    else if (choice < 16) countedLoop(this, [type], depth);
    else if (choice < 18) this.callValue(type, depth);
    else if (choice < 19) this.select(type, depth);
    else if (choice < 20) this.tee(type, depth);
    else if (choice < 21 && type === 'i32') this.environment(depth);
    else if (choice === 22) tryValue(this, type, depth);
    else if (choice === 23 && type === 'i32') referenceTest(this, depth);
    else this.leaf(type);
  }

  private leaf(type: WasmType): void {
    const choice = this.random.below(5);
    if (choice < 2) this.emit(this.constant(type));
    else if (choice < 4) this.emit(`local.get ${this.localOf(type, false)}`);
    else this.emit(`global.get ${GLOBAL_TYPES.indexOf(type, 1)}`);
  }

  constant(type: WasmType): string {
    const { random } = this;
    if (type === 'i32')
      return `i32.const ${random.chance(0.5) ? random.below(20) - 4 : random.bits() | 0}`;
    if (type === 'i64')
      return `i64.const ${random.chance(0.5) ? random.below(20) - 4 : random.i64()}`;
    if (type === 'v128')
      return `v128.const i32x4 ${random.bits() | 0} ${random.below(9)} ${random.bits() | 0} -1`;
    const special = ['0', '-0', 'inf', '-inf', 'nan', '1', '-1.5', '3.25e3', '1e-30', '4294967296'];
    return `${type}.const ${random.chance(0.4) ? random.pick(special) : (random.below(20_000) - 10_000) / 64}`;
  }

  private operator(type: WasmType, depth: number): void {
    const operator = this.random.pick(
      OPERATORS[type].filter(
        ({ operands }) => this.module.settings.simd || !operands.includes('v128'),
      ),
    );
    operator.operands.forEach((operand, index) => {
      this.value(operand, depth - 1 - (index === 0 ? 0 : this.random.below(2)));
      if (operator.bitsOf === index) this.canonical(operand);
    });
    if (operator.divides === true) this.emit(`${type}.const 1`, `${type}.or`);
    this.apply(operator, type);
  }

  /** An operator whose operands are on the stack; its result is of `type`. */
  apply(operator: Operator, type: WasmType): void {
    this.emit(operator.text);
    if (operator.openNaN !== true) return;
    if (type === 'v128') this.canonicalVector(operator);
    else this.canonical(type);
  }

  private canonicalVector(operator: Operator): void {
    this.emit(
      /^f64x2|_f64x2/.test(operator.text) && operator.text !== 'f32x4.demote_f64x2_zero'
        ? 'call $nans64'
        : 'call $nans32',
    );
  }

  private canonical(type: WasmType): void {
    if (type === 'f32') this.emit('call $nan32');
    if (type === 'f64') this.emit('call $nan64');
  }

  /** A value whose bits anyone may see. */
  visible(type: WasmType, depth: number): void {
    this.value(type, depth);
    this.canonical(type);
  }

  private address(depth: number): void {
    this.value('i32', depth - 2);
    if (!this.random.chance(0.01)) this.emit('i32.const 0x3ff0', 'i32.and');
  }

  private load(type: WasmType, depth: number): void {
    this.address(depth);
    this.emit(`${this.random.pick(LOADS[type])} offset=${this.random.below(64)}`);
    // What memory holds is canonical, but halves of it may be any bits: fine, they are the same bits everywhere.
  }

  private select(type: WasmType, depth: number): void {
    this.value(type, depth - 1);
    this.value(type, depth - 1);
    this.value('i32', depth - 1);
    this.emit('select');
  }

  private tee(type: WasmType, depth: number): void {
    this.value(type, depth - 1);
    this.emit(`local.tee ${this.localOf(type, true)}`);
  }

  /** An operand from a local lies below calls and loops between which the local gets another value. */
  private overwritten(type: WasmType, depth: number): void {
    const local = this.localOf(type, true);
    this.emit(`local.get ${local}`);
    this.stopping(type, depth - 1);
    this.emit(`local.set ${local}`);
    this.stopping(type, depth - 1);
    this.apply(this.random.pick(closed(type)), type);
  }

  /** A value on the way to which the function can probably stop. */
  private stopping(type: WasmType, depth: number): void {
    if (depth <= 0 || this.budget <= 0) this.leaf(type);
    else if (this.random.chance(0.5)) countedLoop(this, [type], depth);
    else this.callValue(type, depth);
  }

  private environment(depth: number): void {
    const choice = this.random.below(5);
    if (choice === 0) this.emit('memory.size');
    else if (choice === 1) this.emit(`i32.const ${this.random.below(2)}`, 'memory.grow');
    else {
      this.value('i32', depth - 2);
      this.emit('call $log');
    }
  }

  private ifValue(type: WasmType, depth: number): void {
    this.value('i32', depth - 1);
    const label = this.label([type], false);
    this.emit(`if ${label.name} (result ${type})`);
    this.within(label, () => {
      this.maybeStatement(depth - 1);
      this.value(type, depth - 1);
      this.emit('else');
      this.value(type, depth - 1);
    });
    this.emit('end');
  }

  private blockValue(type: WasmType, depth: number): void {
    const label = this.label([type], false);
    this.emit(`block ${label.name} (result ${type})`);
    this.within(label, () => {
      this.maybeStatement(depth - 1);
      this.value(type, depth - 1);
      this.branchIf(label, depth - 1, [type]);
      if (this.random.chance(0.2)) this.deadEnd(label, type, depth);
    });
    this.emit('end');
  }

  /** After `br` with the value on the stack, code that is never reached but must be valid. */
  private deadEnd(label: Label, type: WasmType, depth: number): void {
    this.emit(`br ${label.name}`);
    if (this.random.chance(0.5)) this.emit('drop', 'i32.const 0', 'select', 'drop');
    this.value(type, Math.min(2, depth - 1));
  }

  /** `br_if` where the operands are on the stack already (and stay there). */
  private branchIf(label: Label, depth: number, present: readonly WasmType[]): void {
    if (present.join() !== label.types.join()) throw new Error('branch operands differ');
    this.value('i32', depth - 1);
    this.emit(`br_if ${label.name}`);
  }

  // ---- calls

  private callValue(type: WasmType, depth: number): void {
    const fitting = this.module.signatures.flatMap(({ results }, index) =>
      results.includes(type) ? [index] : [],
    );
    if (fitting.length === 0) return this.operator(type, depth);
    const { results } = this.call(this.random.pick(fitting), depth);
    const held = results.map((result) => this.localOf(result, true));
    if (results.length === 1) return;
    for (const local of [...held].reverse()) this.emit(`local.set ${local}`);
    this.emit(`local.get ${held[results.indexOf(type)]!}`);
  }

  /** Calls a function while there is depth left, else gives constants: leaves its results on the stack. */
  call(target: number, depth: number): Signature {
    const signature = this.module.signatures[target]!;
    const label = this.label(signature.results, false);
    this.emit(
      'local.get 0',
      'i32.const 0',
      'i32.gt_s',
      `if ${label.name}${signatureText({ params: [], results: signature.results })}`,
    );
    this.within(label, () => {
      this.emit('local.get 0', 'i32.const 1', 'i32.sub');
      for (const param of signature.params.slice(1)) this.value(param, depth - 2);
      if (this.random.chance(0.2)) {
        changingSlot(this, target, depth);
        this.emit(`call_indirect $m${signatureText(signature)}`);
      } else if (this.random.chance(0.3)) {
        this.slot(target, depth);
        this.emit(`call_indirect${signatureText(signature)}`);
      } else this.emit(`call $f${target}`);
      this.emit('else');
      for (const result of signature.results) this.emit(this.constant(result));
    });
    this.emit('end');
    return signature;
  }

  /** A table index: nearly always one that holds the target. */
  private slot(target: number, depth: number): void {
    this.value('i32', depth - 2);
    if (this.random.chance(0.97))
      this.emit('i32.const 0', 'i32.and', `i32.const ${target}`, 'i32.add');
    else this.emit('i32.const 7', 'i32.and');
  }

  // ---- statements: leave the stack as it was

  private maybeStatement(depth: number): void {
    if (this.random.chance(0.5)) this.statement(depth);
  }

  statement(depth: number): void {
    if (depth <= 0 || this.budget <= 0) return this.assign(0);
    const choice = this.random.below(36);
    if (choice >= 32) return nestedLoops(this, depth);
    if (choice >= 24) return featureStatement(this, choice, depth);
    if (choice < 5) this.assign(depth);
    else if (choice < 8) this.store(depth);
    else if (choice < 10) this.ifStatement(depth);
    else if (choice < 12) this.consume(this.multiBlock(depth));
    else if (choice < 16) loopStatement(this, depth);
    else if (choice < 18)
      this.consume(this.call(this.random.below(this.module.signatures.length), depth).results);
    else if (choice < 20) this.branchOut(depth);
    else if (choice < 22) this.switch(depth);
    else if (choice < 23) this.bulk(depth);
    else this.maybeReturn(depth);
  }

  private assign(depth: number): void {
    const type = this.random.pick(this.module.types);
    if (this.random.chance(0.75)) {
      this.value(type, depth - 1);
      this.emit(`local.set ${this.localOf(type, true)}`);
    } else {
      this.visible(type, depth - 1);
      this.emit(`global.set ${GLOBAL_TYPES.indexOf(type, 1)}`);
    }
  }

  private store(depth: number): void {
    const type = this.random.pick(this.module.types);
    this.address(depth);
    this.visible(type, depth - 1);
    this.emit(`${this.random.pick(STORES[type])} offset=${this.random.below(64)}`);
  }

  private ifStatement(depth: number): void {
    const label = this.label([], false);
    this.value('i32', depth - 1);
    this.emit(`if ${label.name}`);
    this.within(label, () => {
      this.statement(depth - 1);
      if (this.random.chance(0.5)) {
        this.emit('else');
        this.statement(depth - 1);
      }
    });
    this.emit('end');
  }

  /** A block with parameters and results of its own; gives its results. */
  private multiBlock(depth: number): readonly WasmType[] {
    const { params, results } = this.module.signature(2, 3);
    for (const param of params) this.value(param, depth - 1);
    const label = this.label(results, false);
    this.emit(`block ${label.name}${signatureText({ params, results })}`);
    this.within(label, () => {
      this.consume(params);
      this.maybeStatement(depth - 1);
      for (const result of results) this.value(result, depth - 1);
      this.branchIf(label, depth - 1, results);
    });
    this.emit('end');
    return results;
  }

  /** Takes these values off the stack: into locals, or drops them. */
  consume(types: readonly WasmType[]): void {
    for (const type of [...types].reverse()) {
      this.emit(this.random.chance(0.7) ? `local.set ${this.localOf(type, true)}` : 'drop');
    }
  }

  private branchOut(depth: number): void {
    const targets = this.labels.filter(({ isLoop }) => !isLoop || this.random.chance(0.15));
    if (targets.length === 0) return this.assign(depth);
    const label = this.random.pick(targets);
    for (const type of label.types) this.value(type, depth - 2);
    this.branchIf(label, depth - 1, label.types);
    this.consume(label.types);
  }

  private switch(depth: number): void {
    const cases = Array.from({ length: this.random.between(2, 4) }, () => this.label([], false));
    const outer = this.labels.filter(({ types, isLoop }) => types.length === 0 && !isLoop);
    for (const label of cases) this.emit(`block ${label.name}`);
    this.labels.push(...cases);
    this.value('i32', depth - 1);
    const targets = [
      ...cases,
      ...(outer.length > 0 && this.random.chance(0.4) ? [this.random.pick(outer)] : []),
    ];
    const listed = Array.from(
      { length: this.random.between(1, 5) },
      () => this.random.pick(targets).name,
    );
    this.emit('i32.const 7', 'i32.and', `br_table ${listed.join(' ')} ${cases[0]!.name}`);
    for (let i = cases.length - 1; i >= 0; i--) {
      this.emit('end');
      this.labels.pop();
      this.maybeStatement(depth - 2);
    }
  }

  private bulk(depth: number): void {
    const fills = this.random.chance(0.5);
    this.address(depth);
    if (fills) this.value('i32', depth - 2);
    else this.address(depth);
    if (this.random.chance(0.3)) this.emit(`i32.const ${this.random.below(200)}`);
    else {
      // A length that only the run knows makes it stop (host/compile/bulk-module.ts).
      this.value('i32', depth - 2);
      this.emit(`i32.const ${this.random.chance(0.2) ? 8191 : 511}`, 'i32.and');
    }
    this.emit(fills ? 'memory.fill' : 'memory.copy');
  }

  private maybeReturn(depth: number): void {
    this.value('i32', depth - 1);
    this.emit('i32.const 15', 'i32.and', 'i32.eqz', 'if');
    for (const result of this.own.results) this.visible(result, depth - 2);
    this.emit('return', 'end');
  }
}
