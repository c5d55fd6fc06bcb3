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

/** A platform that counts the modules that it compiles. */
function counting(): { readonly platform: Platform; compiled: () => number } {
  let count = 0;
  const platform: Platform = {
    ...nodePlatform,
    compileWasm(bytes) {
      count++;
      return nodePlatform.compileWasm(bytes);
    },
  };
  return { platform, compiled: () => count };
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
    const { platform, compiled } = counting();
    const target = LoadedModule.load(module, platform);
    const before = compiled();
    const resumed = Instance.resume(target, hostOf(), state);
    const result = resumed.run(MAX_BUDGET);
    expect([i32Of(result), result.fuelUsed]).toEqual([i32Of(straight), straight.fuelUsed]);
    expect(compiled() - before).toBe(state.frames.length);
    expect(state.frames.length).toBeGreaterThan(0);
  });
});
