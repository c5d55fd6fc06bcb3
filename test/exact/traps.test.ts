/**
 * Traps and exits happen at the same place with the same fuel, however the run is cut up.
 *
 *   run ─ safepoints passed: 1 2 3 … F ─ trap        "pause at fuel n" stops for every n ≤ F and traps for every n > F
 *   straight, one pause at each n, hops at every 1, 2, 3 fuel: the same F, trap kind, guest stack, memory, globals, output
 *   the plain engine on the module as it was: the same trap kind, guest stack, memory
 *
 * Does: make programs (fast-check) that trap in one of the ways of the specification somewhere inside loops, calls, indirect
 * calls and handlers. Does not: exhaust the stack (deep.test.ts): where that happens is the engine's business.
 *
 * T1  The number that a trap reports is the fuel of the last stop before it; F is found by asking for pauses.
 * T2  An exit's fuel is exact in itself.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guestStackOf } from '../../host/runtime/trap.js';
import { every, Journey, type MakeFunctions, type Subject, straight, through } from './drive.js';
import { everywhereSubject } from './everywhere.js';
import { assemble, trapKind } from './modules.js';

/** Instructions that trap, whatever is in the locals; nothing is left on the stack before them. */
const WAYS: Readonly<Record<string, string>> = {
  unreachable: 'unreachable',
  'i32.div_s by zero': 'local.get $n i32.const 0 i32.div_s drop',
  'i64.rem_u by zero': 'i64.const 9 i64.const 0 i64.rem_u drop',
  'i32.div_s overflow': 'i32.const 0x80000000 i32.const -1 i32.div_s drop',
  'i64.div_s overflow': 'i64.const 0x8000000000000000 i64.const -1 i64.div_s drop',
  'conversion of a NaN': 'f64.const nan i32.trunc_f64_s drop',
  'conversion out of range': 'f32.const 1e30 i64.trunc_f32_u drop',
  'load out of bounds': 'i32.const 65533 i32.load drop',
  'store out of bounds': 'i32.const -1 i64.const 1 i64.store',
  'vector load out of bounds': 'i32.const 65528 v128.load drop',
  'memory.fill out of bounds': 'i32.const 65000 local.get $n i32.const 2000 memory.fill',
  'memory.fill of unknown length':
    'i32.const 65000 i32.const 7 local.get $n i32.const 4000 i32.add memory.fill',
  'memory.copy of unknown length':
    'i32.const 8 i32.const 65000 local.get $n i32.const 4000 i32.add memory.copy',
  'memory.init out of bounds': 'i32.const 0 i32.const 3 i32.const 9 memory.init $bytes',
  'memory.init of a dropped segment':
    'data.drop $bytes i32.const 0 i32.const 0 i32.const 1 memory.init $bytes',
  'table.get out of bounds': 'i32.const 6 table.get $t drop',
  'table.set out of bounds': 'i32.const 99 ref.null func table.set $t',
  'table.fill out of bounds': 'i32.const 4 ref.null func i32.const 3 table.fill $t',
  'table.copy out of bounds': 'i32.const 5 i32.const 0 i32.const 3 table.copy $t $t',
  'table.copy of unknown length':
    'i32.const 0 i32.const 0 local.get $n i32.const 4000 i32.add table.copy $t $t',
  'table.init of unknown length':
    'i32.const 0 i32.const 0 local.get $n i32.const 4000 i32.add table.init $t $some',
  'table.fill of unknown length':
    'i32.const 0 ref.null func local.get $n i32.const 4000 i32.add table.fill $t',
  'table.init out of bounds': 'i32.const 0 i32.const 1 i32.const 4 table.init $t $some',
  'call_indirect out of bounds': 'i32.const 7 call_indirect $t (type $v)',
  'call_indirect of null': 'i32.const 5 call_indirect $t (type $v)',
  'call_indirect of another type': 'i32.const 3 call_indirect $t (type $v)',
  'call_indirect through a slot emptied at run time':
    'i32.const 1 ref.null func table.set $t call $spin i32.const 1 call_indirect $t (type $v)',
  exit: 'i32.const 424242 call $log drop',
  'an exception that nothing catches': 'local.get $n throw $loose',
};

const PLAIN = 'in a function that can stop';

/** Where the instruction stands: what leads to it stops or does not. */
const PLACES: Readonly<Record<string, (way: string) => string>> = {
  [PLAIN]: (way) => `(func $boom (param $n i32) call $spin ${way} call $spin)`,
  'in a leaf without fuel': (way) =>
    `(func $leaf (param $n i32) ${way.replace('call $spin', '')})
     (func $boom (param $n i32) local.get $n call $leaf)`,
  'called through a table': (way) =>
    `(func $far (param $n i32) ${way} call $spin) (elem (table $t) (i32.const 4) func $far)
     (func $boom (param $n i32) local.get $n i32.const 4 call_indirect $t (type $f))`,
  'after a tail call': (way) =>
    `(func $far (param $n i32) call $spin ${way})
     (func $boom (param $n i32) call $spin local.get $n return_call $far)`,
  'in the body of a try that catches another exception': (way) =>
    `(func $boom (param $n i32) try call $spin ${way} catch $caught drop call $spin end)`,
  'in a handler': (way) =>
    `(func $boom (param $n i32) try i32.const 1 throw $caught catch $caught drop call $spin ${way} end)`,
};

interface Shape {
  readonly way: string;
  readonly place: string;
  /** Turns of each nested loop's function, outermost first. */
  readonly turns: readonly number[];
  /** The trap comes at this call of `$boom`'s place. */
  readonly at: number;
  readonly recursive: number;
}

function program({ way, place, turns, at, recursive }: Shape): string {
  const levels = turns.map(
    (n, k) => `
    (func $level${k} (param $deep i32) (local $i i32) (local $sum i64)
      loop $l
        local.get $i call $mark
        ${k + 1 < turns.length ? `i32.const ${recursive} call $level${k + 1}` : 'local.get $i call $maybe'}
        local.get $sum i64.const 3 i64.add local.set $sum
        local.get $deep if local.get $deep i32.const 1 i32.sub call $level${k} end
        local.get $i i32.const 1 i32.add local.tee $i i32.const ${n} i32.lt_u br_if $l
      end)`,
  );
  return `(module
    (import "fuzz" "log" (func $log (param i32) (result i32)))
    (type $f (func (param i32))) (type $v (func)) (type $i (func (result i64)))
    (tag $caught (param i32)) (tag $loose (param i32))
    (memory (export "memory") 1 1)
    (table $t 6 6 funcref)
    (elem (table $t) (i32.const 1) func $spin $spin $other)
    (elem $some func $spin $spin $spin)
    (data $bytes "0123456789")
    (global $calls (mut i32) (i32.const 0)) (global $marks (mut i64) (i64.const 1))
    (func $spin (local i32)
      i32.const 2 local.set 0
      loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
    (func $other (result i64) i64.const 1)
    (func $mark (param i32)
      global.get $marks i64.const 31 i64.mul local.get 0 i64.extend_i32_u i64.add global.set $marks
      global.get $marks i32.wrap_i64 i32.const 1023 i32.and local.get 0 i32.store8)
    ${PLACES[place]!(WAYS[way]!)}
    (func $maybe (param $n i32)
      global.get $calls i32.const 1 i32.add global.set $calls
      global.get $calls i32.const 7 i32.and i32.eqz if global.get $calls call $log drop end
      global.get $calls i32.const ${at} i32.eq if local.get $n call $boom end)
    ${levels.join('')}
    (func (export "run") i32.const ${recursive} call $level0))`;
}

const shape: fc.Arbitrary<Omit<Shape, 'way'>> = fc.record({
  place: fc.constantFrom(...Object.keys(PLACES)),
  turns: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
  at: fc.integer({ min: 1, max: 12 }),
  recursive: fc.integer({ min: 0, max: 2 }),
});

/** Safepoints before the end: the last position at which the run can be stopped. */
function lastStop(subject: Subject, most: bigint): bigint {
  const stops = (at: bigint): boolean => Journey.begin(subject).runTo(at);
  let [yes, no] = [0n, most];
  while (no - yes > 1n) {
    const middle = (yes + no) / 2n;
    if (stops(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}

/** What the engine shows of the module as it was. */
function plain(text: string, { loaded }: Subject): { trap: string | null; stack: string } {
  const log = (): number => 0;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble(text)), {
    fuzz: { log },
  });
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  try {
    (exports.run as () => void)();
    return { trap: null, stack: '' };
  } catch (error) {
    return { trap: trapKind(error), stack: guestStackOf(error, loaded.module).join(' < ') };
  } finally {
    Error.stackTraceLimit = before;
  }
}

const MOST = 1n << 20n;

/** Checks T1 for one program; gives F, or undefined when it did not trap. */
function same(text: string): bigint | undefined {
  const subject = everywhereSubject('trap', text);
  const whole = straight(subject);
  const engine = plain(text, subject);
  expect([whole.trap, whole.stack]).toEqual([engine.trap, engine.stack]);
  if (whole.trap === null) return undefined;
  const last = lastStop(subject, MOST);
  for (let at = 1n; at <= last + 2n; at++) {
    const journey = Journey.begin(subject);
    expect([at, journey.runTo(at)]).toEqual([at, at <= last]);
    if (at <= last) journey.hop();
    expect([at, journey.finish()]).toEqual([at, whole]);
  }
  for (const step of [1n, 2n, 3n]) {
    const { outcome, hops } = through(subject, every(step, last + 9n));
    expect([step, outcome, hops.size]).toEqual([step, whole, Number(last / step)]);
  }
  return last;
}

const EXIT = 424_242;

/** `log` ends the program when it is given the number. */
const exitsAt =
  (number: number): MakeFunctions =>
  (control, log) =>
    new Map([
      [
        'fuzz',
        new Map([
          [
            'log',
            (x) => {
              if (x === number) control.exit(7);
              else log(String(x));
              return 0;
            },
          ],
        ]),
      ],
    ]);

describe.each(Object.keys(WAYS).filter((way) => way !== 'exit'))('%s', (way) => {
  it('traps at one place and one fuel, straight and paused', () => {
    let trapped = 0;
    fc.assert(
      fc.property(shape, (given) => {
        const last = same(program({ ...given, way }));
        if (last !== undefined) trapped++;
      }),
      {
        numRuns: 9,
        seed: 20_260,
        examples: [
          ...Object.keys(PLACES).map((place): [Omit<Shape, 'way'>] => [
            { place, turns: [2, 2], at: 4, recursive: 1 },
          ]),
          [{ place: PLAIN, turns: [1], at: 21, recursive: 20 }], // deeper than the engine notes by itself
        ],
      },
    );
    expect(trapped).toBeGreaterThanOrEqual(Object.keys(PLACES).length);
  });
});

describe('an exit', () => {
  it('happens at one place and one fuel, straight and paused', () => {
    fc.assert(
      fc.property(shape, (given) => {
        const text = program({ ...given, way: 'exit' });
        const subject: Subject = { ...everywhereSubject('exit', text), functions: exitsAt(EXIT) };
        const whole = straight(subject);
        for (const step of [1n, 2n, 3n]) {
          const { outcome, hops } = through(subject, every(step, MOST));
          expect([step, outcome]).toEqual([step, whole]);
          if (whole.kind === 'exit') expect(hops.size).toBe(Number(whole.fuel! / step));
        }
      }),
      { numRuns: 15, seed: 20_260 },
    );
  });
});
