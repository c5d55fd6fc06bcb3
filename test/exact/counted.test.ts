/**
 * Counted loops: the fuel of passages without a poll is that of passages with one, on every way out, and a stop comes before
 * the same passage. The number of passages is worked out here, by running the loop in TypeScript.
 */
import { describe, expect, test } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import { LoadedModule } from '../../host/runtime/loaded.js';
import { detached, hostOf, i32Of, raw, text, wat } from '../runtime/support.js';
import { Random } from './random.js';

const SHAPES = ['if', 'if eqz', 'exit', 'exit eqz', 'bottom', 'bottom tee'] as const;
const COMPARES = ['ne', 'lt_s', 'lt_u', 'le_s', 'le_u', 'gt_s', 'gt_u', 'ge_s', 'ge_u'] as const;
const LEAVES = ['never', 'br_if', 'br_if after', 'return', 'br', 'skip'] as const;
const STEPS = [1, -1, 2, -2, 3, 8, -8] as const;
const MOST = 150;

/** The comparison that holds when this one does not. */
const OPPOSITE = {
  ...{ ne: 'eq', lt_s: 'ge_s', lt_u: 'ge_u', le_s: 'gt_s', le_u: 'gt_u' },
  ...{ gt_s: 'le_s', gt_u: 'le_u', ge_s: 'lt_s', ge_u: 'lt_u' },
} as const;

type Shape = (typeof SHAPES)[number];
type Compare = (typeof COMPARES)[number];
type Leave = (typeof LEAVES)[number];

interface Loop {
  readonly shape: Shape;
  readonly compare: Compare;
  readonly leave: Leave;
  readonly step: number;
  /** The bound stands first: `n compare i`. */
  readonly swapped: boolean;
}

interface Input {
  readonly from: number;
  readonly bound: number;
  /** The passage in which a way out is taken; 0: none. */
  readonly leaveIn: number;
}

function holds(compare: Compare, a: number, b: number): boolean {
  const [x, y] = compare.endsWith('_u') ? [a >>> 0, b >>> 0] : [a | 0, b | 0];
  switch (compare.slice(0, 2)) {
    case 'ne':
      return x !== y;
    case 'lt':
      return x < y;
    case 'le':
      return x <= y;
    case 'gt':
      return x > y;
    default:
      return x >= y;
  }
}

interface Outcome {
  readonly bodies: number;
  readonly passages: number;
  readonly counter: number;
}

/** What the loop does; undefined when it does not end soon. */
function simulate(loop: Loop, { from, bound, leaveIn }: Input): Outcome | undefined {
  const top = !loop.shape.startsWith('bottom');
  const goesOn = (i: number): boolean =>
    loop.swapped ? holds(loop.compare, bound, i) : holds(loop.compare, i, bound);
  let counter = from;
  for (let bodies = 0; bodies < MOST; ) {
    if (top && !goesOn(counter)) return { bodies, passages: bodies + 1, counter };
    bodies++;
    const leaves = loop.leave !== 'never' && loop.leave !== 'skip' && bodies === leaveIn;
    if (leaves && loop.leave !== 'br_if after') return { bodies, passages: bodies, counter };
    counter = (counter + loop.step) | 0;
    if (leaves) return { bodies, passages: bodies, counter };
    if (!top && !goesOn(counter)) return { bodies, passages: bodies, counter };
  }
  return undefined;
}

function moduleOf({ shape, compare, leave, step, swapped }: Loop): string {
  const next =
    step > 0
      ? `(i32.add (local.get $i) (i32.const ${step}))`
      : `(i32.sub (local.get $i) (i32.const ${-step}))`;
  const tested = (i: string): string =>
    swapped ? `(i32.${compare} (local.get $n) ${i})` : `(i32.${compare} ${i} (local.get $n))`;
  const ended = tested('(local.get $i)').replace(compare, OPPOSITE[compare]);
  const now = '(i32.eq (local.get $bodies) (local.get $leave))';
  const result = '(i32.add (i32.mul (local.get $bodies) (i32.const 1000003)) (local.get $i))';
  const out: Record<Leave, string> = {
    never: '',
    'br_if after': '',
    br_if: `(br_if $out ${now})`,
    br: `(block $b (br_if $b (i32.eqz ${now})) (br $out))`,
    return: `(if ${now} (then (return ${result})))`,
    skip: `(block $b (br_if $b ${now}) (i32.store (i32.const 8) (local.get $i)))`,
  };
  const work = `(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (local.set $bodies (i32.add (local.get $bodies) (i32.const 1))) ${out[leave]}`;
  const after = leave === 'br_if after' ? `(br_if $out ${now})` : '';
  const body = `${work} (local.set $i ${next}) ${after}`;
  const code: Record<Shape, string> = {
    if: `(if ${tested('(local.get $i)')} (then ${body} (br $l)))`,
    'if eqz': `(if (i32.eqz ${ended}) (then ${body} (br $l)))`,
    exit: `(br_if $out ${ended}) ${body} (br $l)`,
    'exit eqz': `(br_if $out (i32.eqz ${tested('(local.get $i)')})) ${body} (br $l)`,
    bottom: `${body} (br_if $l ${tested('(local.get $i)')})`,
    'bottom tee':
      after === ''
        ? `${work} (br_if $l ${tested(`(local.tee $i ${next})`)})`
        : `${body} (br_if $l ${tested('(local.get $i)')})`,
  };
  return `(module (memory 1)
    (func (export "run") (param $from i32) (param $n i32) (param $leave i32) (result i32)
      (local $i i32) (local $bodies i32)
      (local.set $i (local.get $from))
      (block $out (loop $l ${code[shape]}))
      ${result}))`;
}

function loadedOf(loop: Loop): LoadedModule {
  return LoadedModule.load(compileProgram(wat(moduleOf(loop)), nodePlatform), nodePlatform);
}

function start(loaded: LoadedModule, { from, bound, leaveIn }: Input): Instance {
  return Instance.start(loaded, hostOf(), {
    entry: 'run',
    entryArgs: raw(from, bound, leaveIn),
    limitPages: 0,
  });
}

const EDGES = [0, 1, 2, -1, 7, 0x7fffffff, 0x7ffffffe, -0x80000000, -0x7fffffff] as const;

/** A start and a bound near one another, often at the ends of the range. */
function inputOf(random: Random): Input {
  const near = random.pick(EDGES);
  const spread = (): number => random.below(60) - 30;
  const from = (near + spread()) | 0;
  return {
    from,
    bound: (random.below(5) === 0 ? random.pick(EDGES) : near + spread() * 2) | 0,
    leaveIn: random.below(40),
  };
}

function resultOf({ bodies, counter }: Outcome): number {
  return (Math.imul(bodies, 1_000_003) + counter) | 0;
}

/** Straight, and with a stop after every few passages, each resumed in a fresh instance. */
function check(loaded: LoadedModule, input: Input, outcome: Outcome, random: Random): void {
  const straight = start(loaded, input);
  expect(i32Of(straight.run(0x7fffffff))).toBe(resultOf(outcome));
  expect(straight.fuelUsed).toBe(BigInt(outcome.passages));
  let used = 0;
  let instance = start(loaded, input);
  for (;;) {
    const budget = 1 + random.below(9);
    const result = instance.run(budget);
    if (result.kind !== 'quantum') {
      expect(i32Of(result)).toBe(resultOf(outcome));
      expect(instance.fuelUsed).toBe(BigInt(outcome.passages));
      return;
    }
    used += budget;
    expect(instance.fuelUsed).toBe(BigInt(used));
    const state = instance.capture();
    const { buffer, byteOffset } = state.memory!.bytes;
    expect(new DataView(buffer, byteOffset).getInt32(0, true)).toBe(used - 1);
    instance = Instance.resume(loaded, hostOf(), detached(state));
  }
}

describe('a counted loop stops before the same passage with the same fuel', () => {
  test.each(SHAPES.flatMap((shape) => LEAVES.map((leave): [Shape, Leave] => [shape, leave])))(
    '%s, leaves: %s',
    (shape, leave) => {
      const random = new Random(SHAPES.indexOf(shape) * 16 + LEAVES.indexOf(leave) + 1);
      let checked = 0;
      for (const compare of COMPARES) {
        for (const step of STEPS) {
          const loop = { shape, compare, leave, step, swapped: random.below(2) === 0 };
          let loaded: LoadedModule | undefined;
          for (let tries = 0; tries < 6; tries++) {
            const input = inputOf(random);
            const outcome = simulate(loop, input);
            if (outcome === undefined) continue;
            loaded ??= loadedOf(loop);
            check(loaded, input, outcome, random);
            checked++;
          }
        }
      }
      expect(checked).toBeGreaterThan(100);
    },
    120_000,
  );
});

/** Loops in a module's text. */
function loops(loop: Loop): number {
  const { bytes } = compileProgram(wat(moduleOf(loop)), nodePlatform);
  return text(bytes).split(/\bloop\b/).length - 1;
}

describe('which loops are counted', () => {
  const plain: Loop = { shape: 'if', compare: 'lt_s', leave: 'never', step: 1, swapped: false };
  test.each(SHAPES)('%s', (shape) => {
    expect(loops({ ...plain, shape })).toBe(2);
    expect(loops({ ...plain, shape, compare: 'gt_u', swapped: true, step: 8 })).toBe(2);
  });
  test('not one whose counter moves away from the bound', () => {
    expect(loops({ ...plain, step: -1 })).toBe(1);
    expect(loops({ ...plain, compare: 'ge_u' })).toBe(1);
  });
  test('ways out need a step of one', () => {
    expect(loops({ ...plain, leave: 'br' })).toBe(2);
    expect(loops({ ...plain, leave: 'br', step: 2 })).toBe(1);
    expect(loops({ ...plain, leave: 'skip', step: 2 })).toBe(2);
  });
});
