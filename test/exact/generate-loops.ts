/**
 * The generator's part for loops: counted ones, and nests of two to four whose branches leave outwards.
 *
 *   block $out                                   values of the same types at every level: a br_table may name them all
 *     loop $0   gas; new values; leave           leave: br_if or br_table to any level or $out, taken while turns are left
 *       loop $1   …                              mostly *before* what the function can stop in, seldom behind it: then only
 *         loop $2   …; leave; stop; br_if $2     a repeated inner loop still goes to the outer ones
 *       end
 *     end                                        a level stands in a try, a catch goes to an outer loop, a delegate skips
 *   end
 *
 * Does: write loops through the function generator. Does not: choose when (generate.ts).
 *
 * N1  Each header pays gas, and a nest's branches share a number of turns, so that most runs leave it without a trap.
 * N2  Whether a branch is taken depends on the turns that are left: it changes from passage to passage.
 * N3  A branch finds the nest's values on top of the stack; what lies below them differs by level.
 */
import type { Label } from './generate.js';
import { handlers, maybeThrow, type Writing } from './generate-features.js';
import { closed, type WasmType } from './operators.js';

const typesText = (params: readonly WasmType[], results: readonly WasmType[]): string =>
  [
    params.length > 0 ? ` (param ${params.join(' ')})` : '',
    results.length > 0 ? ` (result ${results.join(' ')})` : '',
  ].join('');

// ---- counted loops

/** A counted loop that carries `types` as parameters and results; the values are made first. */
export function countedLoop(w: Writing, types: readonly WasmType[], depth: number): void {
  const counter = w.freshLocal('i32');
  const label = w.label(types, true);
  for (const type of types) w.value(type, depth - 2);
  w.emit(`i32.const ${w.random.between(1, 5)}`, `local.set ${counter}`);
  w.emit(`loop ${label.name}${typesText(types, types)}`);
  w.within(label, () => {
    w.payGas();
    rewrite(w, types, depth);
    for (let i = w.random.between(0, 2); i > 0; i--) w.statement(depth - 1);
    w.emit(`local.get ${counter}`, 'i32.const 1', 'i32.sub');
    w.emit(`local.tee ${counter}`, `br_if ${label.name}`);
  });
  w.emit('end');
}

export function loopStatement(w: Writing, depth: number): void {
  const types = w.module.signature(3, 0).params;
  countedLoop(w, types, depth);
  w.consume(types);
}

/** The values on the stack go into locals, which are given. */
function hold(w: Writing, types: readonly WasmType[]): readonly number[] {
  const held = types.map((type) => w.localOf(type, true));
  for (const local of [...held].reverse()) w.emit(`local.set ${local}`);
  return held;
}

const push = (w: Writing, held: readonly number[]): void =>
  w.emit(...held.map((local) => `local.get ${local}`));

/** Replaces the values on the stack (of `types`) by others that depend on them. */
function rewrite(w: Writing, types: readonly WasmType[], depth: number): void {
  const held = hold(w, types);
  types.forEach((type, index) => {
    w.emit(`local.get ${held[index]!}`);
    w.value(type, depth - 2);
    w.apply(w.random.pick(closed(type)), type);
  });
}

// ---- nests

interface Nest {
  readonly types: readonly WasmType[];
  readonly levels: number;
  /** The local with the turns that are left. */
  readonly turns: number;
  /** Of all levels around the code, outermost first; the first is that of the block around all. */
  readonly labels: Label[];
}

/** A nest of loops as a statement. */
export function nestedLoops(w: Writing, depth: number): void {
  const { random } = w;
  const types = w.module.signature(2, 0).params;
  const out = w.label(types, false);
  const turns = w.freshLocal('i32');
  const nest: Nest = { types, levels: random.between(2, 4), turns, labels: [out] };
  w.emit(`i32.const ${random.between(3, 24)}`, `local.set ${turns}`);
  w.emit(`block ${out.name}${typesText([], types)}`);
  w.within(out, () => {
    for (const type of types) w.value(type, depth - 2);
    level(w, nest, depth);
  });
  w.emit('end');
  w.consume(types);
}

/** One loop of the nest; its values are on the stack before and after. */
function level(w: Writing, nest: Nest, depth: number): void {
  const { random } = w;
  const { types, labels } = nest;
  const label = w.label(types, true);
  const isInnermost = labels.length === nest.levels;
  w.emit(`loop ${label.name}${typesText(types, types)}`);
  labels.push(label);
  w.within(label, () => {
    w.payGas();
    rewrite(w, types, depth - 1);
    if (random.chance(0.3)) w.statement(depth - 2);
    if (random.chance(0.7)) leave(w, nest, depth);
    if (isInnermost) stop(w, depth);
    else around(w, nest, depth, () => level(w, nest, depth - 1));
    if (random.chance(0.15)) leave(w, nest, depth);
    if (random.chance(isInnermost ? 0.85 : 0.3)) turn(w, nest, label, depth);
  });
  labels.pop();
  w.emit('end');
}

/** Leaves 1 or 0: whether a turn was left; takes it. */
function spend(w: Writing, { turns }: Nest): void {
  w.emit(`local.get ${turns}`, 'i32.const 1', 'i32.sub', `local.tee ${turns}`);
  w.emit('i32.const 0', 'i32.gt_s');
}

/** An i32 that differs from passage to passage: a constant would branch at once each time, or never. */
function varying(w: Writing, { turns }: Nest, depth: number): void {
  w.value('i32', depth - 2);
  w.emit(`local.get ${turns}`, 'i32.const 0x9e3779b1', 'i32.mul', 'i32.const 28', 'i32.shr_u');
  w.emit('i32.add');
}

/** Back to the loop itself, now and then not. */
function turn(w: Writing, nest: Nest, label: Label, depth: number): void {
  spend(w, nest);
  if (w.random.chance(0.4)) {
    varying(w, nest, depth);
    w.emit('i32.const 7', 'i32.and', 'i32.const 0', 'i32.ne', 'i32.and');
  }
  w.emit(`br_if ${label.name}`);
}

/** A branch to any level around it, the own one included, or out of the nest. */
function leave(w: Writing, nest: Nest, depth: number): void {
  const { random } = w;
  const { types, labels } = nest;
  if (random.chance(0.6)) {
    spend(w, nest);
    varying(w, nest, depth);
    w.emit(`i32.const ${random.pick([1, 3])}`, 'i32.and', 'i32.eqz', 'i32.and');
    w.emit(`br_if ${random.pick(labels.slice(labels.length > 2 ? 1 : 0)).name}`);
    return;
  }
  const stay = w.label(types, false);
  w.emit(`block ${stay.name}${typesText(types, types)}`);
  varying(w, nest, depth);
  w.emit('i32.const 7', 'i32.and', 'i32.const 99');
  spend(w, nest);
  w.emit('select');
  const targets = Array.from({ length: random.between(2, 6) }, () => random.pick(labels).name);
  w.emit(`br_table ${targets.join(' ')} ${stay.name}`, 'end');
}

/** Something in which the function can stop. */
function stop(w: Writing, depth: number): void {
  const { random } = w;
  const choice = random.below(4);
  if (choice === 0) w.emit('i32.const 5', 'call $log', 'drop');
  else if (choice === 1) countedLoop(w, [], Math.min(depth - 1, 2));
  else w.consume(w.call(random.below(w.module.signatures.length), depth - 1).results);
}

/** Writes `body` as it is, over another operand, in an arm of an `if`, or in a try. */
function around(w: Writing, nest: Nest, depth: number, body: () => void): void {
  const choice = w.random.below(10);
  if (choice < 3) body();
  else if (choice < 5) overOperand(w, nest, depth, body);
  else if (choice < 6) inArm(w, nest, depth, body);
  else inTry(w, nest, depth, body);
}

function overOperand(w: Writing, { types }: Nest, depth: number, body: () => void): void {
  const held = hold(w, types);
  const type = w.random.pick(w.module.types);
  w.value(type, depth - 2);
  push(w, held);
  body();
  const after = hold(w, types);
  w.consume([type]);
  push(w, after);
}

function inArm(w: Writing, { types }: Nest, depth: number, body: () => void): void {
  const label = w.label(types, false);
  w.value('i32', depth - 2);
  w.emit('i32.const 3', 'i32.and', `if ${label.name}${typesText(types, types)}`);
  w.within(label, body);
  w.emit('end');
}

/** The values wait in locals: a handler begins without operands. */
function inTry(w: Writing, nest: Nest, depth: number, body: () => void): void {
  const { random } = w;
  const held = hold(w, nest.types);
  const label = w.label(nest.types, false);
  w.emit(`try ${label.name}${typesText([], nest.types)}`);
  w.within(label, () => {
    if (random.chance(0.5)) maybeThrow(w, depth - 1);
    push(w, held);
    body();
    if (random.chance(0.4)) maybeThrow(w, depth - 1);
  });
  if (random.chance(0.2)) {
    w.emit(`delegate ${random.pick(w.labels).name}`);
    return;
  }
  handlers(w, label, depth - 1, () => {
    push(w, held);
    if (random.chance(0.5)) leave(w, nest, depth);
  });
  w.emit('end');
}
