/**
 * What is left of a resume when the resumed frames have returned: nothing. Only the frames that were on the stack run as
 * continuations, each once; every call after that is one of the module's own functions.
 */
import { describe, expect, it } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance, MAX_BUDGET } from '../../host/runtime/instance.js';
import { LoadedModule } from '../../host/runtime/loaded.js';
import type { Platform } from '../../host/types/platform.js';
import { detached, hostOf, i32Of, raw, wat } from './support.js';

/** main(calls): the sum of work(0) … work(calls − 1); work goes through a middle function. */
const PROGRAM = wat(`(module
  (func $work (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (i32.gt_s (local.get $n) (i32.const -50))))
    (local.get $sum))
  (func $middle (param $n i32) (result i32) (i32.xor (call $work (local.get $n)) (i32.const 5)))
  (func (export "main") (param $calls i32) (result i32) (local $sum i32) (local $i i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $middle (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $calls))))
    (local.get $sum)))`);

/** A platform that notes the modules that it compiles, by their bytes. */
function counting(): { readonly platform: Platform; readonly sizes: number[] } {
  const sizes: number[] = [];
  const platform: Platform = {
    ...nodePlatform,
    compileWasm(bytes) {
      sizes.push(bytes.length);
      return nodePlatform.compileWasm(bytes);
    },
  };
  return { platform, sizes };
}

describe('after a resumed frame has returned', () => {
  it.each([1, 40, 77, 1_234])('paused at fuel %d: a continuation a frame, no more', (fuel) => {
    const options = { entry: 'main', entryArgs: raw(30), limitPages: 0 };
    const module = compileProgram(PROGRAM, nodePlatform);
    const source = LoadedModule.load(module, nodePlatform);
    const straight = Instance.start(source, hostOf(), options).run(MAX_BUDGET);
    const paused = Instance.start(source, hostOf(), options);
    expect(paused.run(fuel).kind).toBe('quantum');
    const state = detached(paused.capture());
    const { platform, sizes } = counting();
    const target = LoadedModule.load(module, platform);
    const before = sizes.length;
    const resumed = Instance.resume(target, hostOf(), state);
    const result = resumed.run(MAX_BUDGET);
    expect([i32Of(result), result.fuelUsed]).toEqual([i32Of(straight), straight.fuelUsed]);
    expect(sizes.length - before).toBe(state.frames.length);
    expect(state.frames.length).toBeGreaterThan(0);
  });
});

describe('continuations that are forgotten', () => {
  it('are made again: the same end, whether all or only the newest one is kept', () => {
    const options = { entry: 'main', entryArgs: raw(12), limitPages: 0 };
    const module = compileProgram(PROGRAM, nodePlatform);
    const ends = [undefined, 0].map((keepBytes) => {
      const { platform, sizes } = counting();
      const loaded = LoadedModule.load(module, platform, keepBytes);
      const before = sizes.length;
      const instance = Instance.start(loaded, hostOf(), options);
      let result = instance.run(1);
      while (result.kind === 'quantum') result = instance.run(1);
      return { sum: i32Of(result), fuelUsed: result.fuelUsed, made: sizes.length - before };
    });
    const [all, newest] = ends;
    expect([newest!.sum, newest!.fuelUsed]).toEqual([all!.sum, all!.fuelUsed]);
    const safepoints = module.functions.reduce((sum, f) => sum + f.safepoints.length, 0);
    expect(all!.made).toBeLessThanOrEqual(safepoints);
    expect(newest!.made).toBeGreaterThan(2 * safepoints);
  });
});

/** An interpreter: a loop with a switch of 12 cases, a call in each, in a block within an outer loop. */
const CASES = 12;
const INTERPRETER = wat(`(module
  (func $work (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (i32.gt_s (local.get $n) (i32.const -3))))
    (local.get $sum))
  (func (export "main") (param $passes i32) (result i32) (local $sum i32) (local $i i32)
    (loop $outer
      (local.set $i (i32.const 40))
      (loop $main
        (block $next
          ${Array.from({ length: CASES }, (_, n) => `(block $c${CASES - 1 - n}`).join(' ')}
            (br_table ${Array.from({ length: CASES }, (_, n) => `$c${n}`).join(' ')}
              (i32.rem_u (i32.mul (local.get $i) (i32.const 7)) (i32.const ${CASES})))
          ${Array.from(
            { length: CASES },
            (_, n) =>
              `) (local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const ${n + 1}))
                (call $work (i32.add (local.get $i) (i32.const ${n}))))) (br $next)`,
          ).join(' ')}
        )
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if $main (local.get $i)))
      (local.set $passes (i32.sub (local.get $passes) (i32.const 1)))
      (br_if $outer (local.get $passes)))
    (local.get $sum)))`);

describe('the continuations of a loop with many safepoints', () => {
  it('share the loop: the same end from every stop, and each of them is small', () => {
    const options = { entry: 'main', entryArgs: raw(3), limitPages: 0 };
    const module = compileProgram(INTERPRETER, nodePlatform);
    const { platform, sizes } = counting();
    const loaded = LoadedModule.load(module, platform);
    const straight = Instance.start(loaded, hostOf(), options).run(MAX_BUDGET);
    for (const budget of [1, 2, 3, 7, 50]) {
      sizes.length = 0;
      const instance = Instance.start(loaded, hostOf(), options);
      let result = instance.run(budget);
      while (result.kind === 'quantum') {
        expect(result.fuelUsed % BigInt(budget)).toBe(0n);
        result = instance.run(budget);
      }
      expect([i32Of(result), result.fuelUsed]).toEqual([i32Of(straight), straight.fuelUsed]);
      if (budget !== 1) continue;
      // Two have a loop whole: that of its poll, and that of the outer one.
      const whole = sizes.filter((bytes) => bytes > 600);
      expect(sizes.length).toBeGreaterThan(CASES);
      expect(whole).toHaveLength(2);
    }
  });
});
