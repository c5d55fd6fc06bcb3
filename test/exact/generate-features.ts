/**
 * The generator's part for newer features: funcref locals, a table that changes, tail calls, exceptions.
 *
 *   (table $m 8 16 funcref)      slot s holds a function of the type of $f(s mod functions), at times null
 *   (tag $e0 (param i32)) (tag $e1 (param i64 f64)) (tag $e2)
 *
 * Does: write statements and values through the function generator. Does not: choose when (generate.ts).
 *
 * K1  A slot of $m never holds a function of another type than at first, so indirect calls trap on null only.
 * K2  Tail calls pay the depth as calls do; throws happen under a condition, so that most runs go on.
 */
import type { Label, ModuleGenerator, Signature } from './generate.js';
import type { Operator, WasmType } from './operators.js';
import type { Random } from './random.js';

/** What the function generator offers. */
export interface Writing {
  readonly random: Random;
  readonly module: ModuleGenerator;
  readonly own: Signature;
  readonly labels: readonly Label[];
  /** Labels of tries in whose handler the code stands. */
  readonly caught: string[];
  /** Index of a funcref local. */
  readonly reference: number;
  emit(...lines: string[]): void;
  payGas(): void;
  freshLocal(type: WasmType): number;
  value(type: WasmType, depth: number): void;
  visible(type: WasmType, depth: number): void;
  /** An operator whose operands are on the stack. */
  apply(operator: Operator, type: WasmType): void;
  constant(type: WasmType): string;
  statement(depth: number): void;
  call(target: number, depth: number): Signature;
  consume(types: readonly WasmType[]): void;
  localOf(type: WasmType, toWrite: boolean): number;
  label(types: readonly WasmType[], isLoop: boolean): Label;
  within(label: Label, body: () => void): void;
}

const SLOTS = 8;
const TAGS: readonly (readonly WasmType[])[] = [['i32'], ['i64', 'f64'], []];

export function featureHeader(table: readonly string[]): string[] {
  return [
    '(table $m (export "table") 8 16 funcref)',
    `(elem (table $m) (i32.const 0) func ${table.join(' ')})`,
    `(elem $again func ${table.join(' ')})`,
    '(global $ref (mut funcref) (ref.null func))',
    ...TAGS.map(
      (types, k) => `(tag $e${k}${types.length > 0 ? ` (param ${types.join(' ')})` : ''})`,
    ),
  ];
}

/** `choice` is 24 to 31. */
export function featureStatement(w: Writing, choice: number, depth: number): void {
  if (choice < 27) changeTable(w, depth);
  else if (choice < 28) tailCall(w, depth);
  else if (choice < 29) maybeThrow(w, depth);
  else if (choice < 31) tryStatement(w, depth);
  else maybeRethrow(w, depth);
}

// ---- references

const sameType = (w: Writing, slot: number): number[] => {
  const { signatures } = w.module;
  const key = (s: Signature): string => `${s.params.join()}:${s.results.join()}`;
  const wanted = key(signatures[slot % signatures.length]!);
  return signatures.flatMap((s, index) => (key(s) === wanted ? [index] : []));
};

/** A reference that may lie in a slot (K1). */
function reference(w: Writing, slot: number): void {
  const choice = w.random.below(20);
  if (choice === 0) w.emit('ref.null func');
  else if (choice < 5) w.emit(`i32.const ${slot}`, 'table.get $m');
  else if (choice < 8) {
    const [one, other] = [w.random.pick(sameType(w, slot)), w.random.pick(sameType(w, slot))];
    w.emit(`ref.func $f${one}`, `ref.func $f${other}`);
    w.value('i32', 1);
    w.emit('select (result funcref)');
  } else w.emit(`ref.func $f${w.random.pick(sameType(w, slot))}`);
}

/** An index into $m whose slot has the target's type. */
export function changingSlot(w: Writing, target: number, depth: number): void {
  w.value('i32', depth - 2);
  w.emit('i32.const 0', 'i32.and', `i32.const ${target % SLOTS}`, 'i32.add');
}

function changeTable(w: Writing, depth: number): void {
  const { random } = w;
  const slot = random.below(SLOTS);
  const choice = random.below(7);
  if (choice < 3) {
    w.emit(`i32.const ${slot}`);
    reference(w, slot);
    // A call in between: slot and reference are live operands of it.
    if (random.chance(0.5))
      w.consume(w.call(random.below(w.module.signatures.length), depth).results);
    w.emit('table.set $m');
  } else if (choice === 3) {
    w.emit(`i32.const ${slot}`, `i32.const ${slot}`, `i32.const ${random.below(SLOTS - slot + 1)}`);
    w.emit('table.init $m $again');
    if (random.chance(0.02)) w.emit('elem.drop $again');
  } else if (choice === 4) {
    w.emit('ref.null func', `i32.const ${random.below(3)}`, 'table.grow $m', 'drop');
    w.emit(
      'i32.const 8',
      'ref.null func',
      'table.size $m',
      'i32.const 8',
      'i32.sub',
      'table.fill $m',
    );
  } else if (choice === 5) {
    reference(w, random.below(SLOTS));
    w.emit(`local.set ${w.reference}`);
  } else {
    w.emit(`local.get ${w.reference}`, 'global.set $ref');
  }
}

/** An i32 that depends on references: locals, the global, the table. */
export function referenceTest(w: Writing, depth: number): void {
  const choice = w.random.below(4);
  if (choice === 0) w.emit(`local.get ${w.reference}`);
  else if (choice === 1) w.emit('global.get $ref');
  else if (choice === 2) {
    w.value('i32', depth - 1);
    w.emit('i32.const 7', 'i32.and', 'table.get $m');
  } else {
    reference(w, w.random.below(SLOTS));
    w.value('i32', depth - 1);
    w.emit('drop');
  }
  w.emit('ref.is_null', 'table.size $m', 'i32.add');
}

// ---- tail calls

function tailCall(w: Writing, depth: number): void {
  const { signatures } = w.module;
  const fitting = signatures.flatMap((s, index) =>
    s.results.join() === w.own.results.join() ? [index] : [],
  );
  const target = w.random.pick(fitting);
  w.value('i32', depth - 1);
  w.emit(
    'i32.const 7',
    'i32.and',
    'i32.eqz',
    'local.get 0',
    'i32.const 0',
    'i32.gt_s',
    'i32.and',
    'if',
  );
  w.emit('local.get 0', 'i32.const 1', 'i32.sub');
  for (const param of signatures[target]!.params.slice(1)) w.value(param, depth - 2);
  if (w.random.chance(0.4)) {
    changingSlot(w, target, depth);
    const { params, results } = signatures[target]!;
    const types = [` (param ${params.join(' ')})`, ` (result ${results.join(' ')})`];
    w.emit(`return_call_indirect $m${types[0]}${results.length > 0 ? types[1] : ''}`);
  } else w.emit(`return_call $f${target}`);
  w.emit('end');
}

// ---- exceptions

export function maybeThrow(w: Writing, depth: number): void {
  const tag = w.random.below(TAGS.length);
  w.value('i32', depth - 1);
  w.emit(`i32.const ${w.random.pick([3, 7, 15])}`, 'i32.and', 'i32.eqz', 'if');
  for (const type of TAGS[tag]!) w.value(type, depth - 2);
  w.emit(`throw $e${tag}`, 'end');
}

function maybeRethrow(w: Writing, depth: number): void {
  if (w.caught.length === 0) return maybeThrow(w, depth);
  w.value('i32', depth - 1);
  w.emit('i32.const 3', 'i32.and', 'i32.eqz', 'if', `rethrow ${w.random.pick(w.caught)}`, 'end');
}

/** Handlers behind a body; `arm` writes what each ends with. */
export function handlers(w: Writing, label: Label, depth: number, arm: () => void): void {
  const arms = TAGS.map((_, tag) => tag).filter(() => w.random.chance(0.5));
  const all = arms.length === 0 || w.random.chance(0.5);
  const inside = (body: () => void): void => {
    w.caught.push(label.name);
    body();
    if (w.random.chance(0.3)) maybeRethrow(w, depth - 1);
    w.caught.pop();
  };
  for (const tag of arms) {
    w.emit(`catch $e${tag}`);
    w.within(label, () =>
      inside(() => {
        w.consume(TAGS[tag]!);
        if (w.random.chance(0.5)) w.statement(depth - 1);
      }),
    );
    arm();
  }
  if (!all) return;
  w.emit('catch_all');
  w.within(label, () => inside(() => w.statement(depth - 1)));
  arm();
}

function tryStatement(w: Writing, depth: number): void {
  const label = w.label([], false);
  w.emit(`try ${label.name}`);
  w.within(label, () => {
    for (let i = w.random.between(1, 2); i > 0; i--) w.statement(depth - 1);
    if (w.random.chance(0.6)) maybeThrow(w, depth - 1);
  });
  if (w.random.chance(0.15) && w.labels.length > 0) {
    w.emit(`delegate ${w.random.pick(w.labels).name}`);
    return;
  }
  handlers(w, label, depth, () => undefined);
  w.emit('end');
}

/** A try that leaves a value. */
export function tryValue(w: Writing, type: WasmType, depth: number): void {
  const label = w.label([type], false);
  w.emit(`try ${label.name} (result ${type})`);
  w.within(label, () => {
    if (w.random.chance(0.5)) maybeThrow(w, depth - 1);
    w.value(type, depth - 1);
  });
  handlers(w, label, depth, () => w.within(label, () => w.value(type, depth - 2)));
  w.emit('end');
}
