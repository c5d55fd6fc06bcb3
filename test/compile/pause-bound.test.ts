/**
 * The published bound on the way to the next safepoint, against programs that count what they execute.
 */
import { describe, expect, it } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { type PauseBound, pauseBound } from '../../host/compile/pause-bound.js';
import { nodePlatform } from '../../host/node/platform.js';
import { settingsOf } from '../exact/corpus.js';
import { straight } from '../exact/drive.js';
import { generateModule } from '../exact/generate.js';
import { argsOf, assemble, load, mix, subjectOf } from '../exact/modules.js';
import { optimised } from '../exact/optimise.js';
import { type Counts, counted, countsOf } from './counted.js';

/** Runs the counting twin of a module. */
function measure(
  bytes: Uint8Array<ArrayBuffer>,
  entry: string,
  args: readonly unknown[],
): Counts & { readonly bound: PauseBound; readonly ended: boolean } {
  const shard = compileProgram(bytes, nodePlatform);
  const imports = { fuzz: { log: mix } };
  const twin = new WebAssembly.Module(counted(bytes, shard));
  const { exports } = new WebAssembly.Instance(twin, imports);
  let ended = true;
  try {
    (exports[entry] as (...args: readonly unknown[]) => unknown)(...args);
  } catch {
    ended = false;
  }
  return { ...countsOf(exports), bound: pauseBound(shard), ended };
}

const measureText = (text: string, ...args: readonly unknown[]) =>
  measure(assemble(text), 'run', args);

describe('small programs: the bound is what they execute', () => {
  it('straight-line code and a call', () => {
    const { longest, bound } = measureText(`(module
      (func $g (result i32) i32.const 1 i32.const 2 i32.add)
      (func (export "run") (result i32) call $g i32.const 3 i32.mul))`);
    expect(bound).toMatchObject({ instructions: 8, perReturn: 0 }); // 4 in $g, 4 in run (each with its end)
    expect(longest).toBe(8);
  });

  it('a loop: from header to header, and behind it', () => {
    const { longest, bound, passages } = measureText(
      `(module (func (export "run") (param i32) (result i32)
        loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end
        nop nop nop nop nop nop nop nop nop nop local.get 0))`,
      5,
    );
    expect(bound.instructions).toBe(5 + 1 + 10 + 2); // the last round, `end`, nops, result and `end`
    expect(longest).toBe(18);
    expect(passages).toBe(5);
  });

  it('the longer arm', () => {
    const text = `(module (func (export "run") (param i32)
      local.get 0 if nop nop nop nop nop nop else nop end))`;
    const [long, short] = [measureText(text, 1), measureText(text, 0)];
    expect(long.longest).toBe(long.bound.instructions);
    expect(short.longest).toBeLessThan(long.longest);
  });

  it('a poll in a callee on one way only', () => {
    const text = `(module
      (func $g (param i32)
        local.get 0 if loop $l nop end end nop)
      (func (export "run") (param i32)
        nop nop nop nop nop local.get 0 call $g nop nop nop nop))`;
    const without = measureText(text, 0);
    expect(without.longest).toBe(without.bound.instructions);
    expect(without.passages).toBe(0);
    expect(measureText(text, 1).longest).toBeLessThan(without.longest);
  });

  it('an indirect call reaches the longest function of its type', () => {
    const { longest, bound } = measureText(
      `(module (table funcref (elem $a $b)) (type $t (func))
        (func $a nop) (func $b nop nop nop nop nop nop nop)
        (func (export "run") (param i32) local.get 0 call_indirect (type $t)))`,
      1,
    );
    expect(longest).toBe(bound.instructions);
  });

  it('exceptions, from the throw to the handler', () => {
    const { longest, bound } = measureText(
      `(module (tag $e)
        (func $g (param i32) nop nop nop local.get 0 if throw $e end)
        (func (export "run") (param i32)
          try local.get 0 call $g catch $e nop nop nop nop nop nop end))`,
      1,
    );
    expect(longest).toBeLessThanOrEqual(bound.instructions);
    expect(bound.instructions - longest).toBeLessThanOrEqual(1); // the way without a throw passes another `end`
  });

  it('start function and entry are one stretch', () => {
    const { longest, bound } = measureText(`(module
      (func $s nop nop nop) (start $s) (func (export "run") nop nop))`);
    expect([longest, bound.instructions]).toEqual([7, 7]);
  });
});

describe('recursion', () => {
  const FIB = `(module (func $fib (export "run") (param i32) (result i32)
    local.get 0 i32.const 2 i32.lt_s if (result i32) local.get 0 else
      local.get 0 i32.const 1 i32.sub call $fib
      local.get 0 i32.const 2 i32.sub call $fib i32.add end))`;

  it('only recursion: a poll in each call, a figure for each return', () => {
    const { longest, bound } = measureText(FIB, 12);
    expect(bound).toMatchObject({ instructions: 11, perReturn: 3 }); // 7 of the innermost call, 4 to the next one
    expect(longest).toBeGreaterThan(bound.instructions); // returns add up
    expect(longest).toBeLessThanOrEqual(bound.instructions + bound.perReturn * 12);
  });

  it('the figure for returns is reached by a deep one', () => {
    const text = `(module (func $f (export "run") (param i32)
      local.get 0 if local.get 0 i32.const 1 i32.sub call $f nop nop nop end))`;
    const { longest, bound } = measureText(text, 1000);
    expect(bound.perReturn).toBe(5); // 3 nops, two `end`s
    expect(longest).toBeGreaterThanOrEqual(1000 * bound.perReturn);
    expect(longest).toBeLessThanOrEqual(bound.instructions + 1000 * bound.perReturn);
  });

  it('mutual and indirect', () => {
    const text = `(module (table funcref (elem $b)) (type $t (func (param i32)))
      (func $a (export "run") (param i32) local.get 0 if local.get 0 i32.const 0 call_indirect (type $t) nop end)
      (func $b (param i32) nop local.get 0 i32.const 1 i32.sub call $a nop nop nop))`;
    const { longest, bound } = measureText(text, 50);
    expect(bound.perReturn).toBeGreaterThan(0);
    expect(longest).toBeLessThanOrEqual(bound.instructions + 100 * bound.perReturn);
    expect(longest).toBeGreaterThan(50 * 4);
  });

  it('tail calls return through no frames', () => {
    const { longest, bound } = measureText(
      `(module (func $f (export "run") (param i32) (result i32)
        local.get 0 i32.eqz if i32.const 7 return end
        local.get 0 i32.const 1 i32.sub return_call $f))`,
      100,
    );
    expect(bound.perReturn).toBe(0);
    expect(longest).toBeLessThanOrEqual(bound.instructions);
  });
});

const SEEDS = Number(process.env.SHERD_BOUND_SEEDS ?? 40);

describe('random modules', () => {
  it(`${SEEDS} seeds, at -O0 and -O3: never beyond the bound, and fuel is the passages counted`, {
    timeout: 3_600_000,
  }, () => {
    let close = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const bytes = assemble(generateModule(seed, settingsOf(seed)));
      for (const own of [bytes, optimised(bytes)]) {
        const args = argsOf(seed);
        const { longest, passages, bound, ended } = measure(own, 'run', args);
        const frames = args[0] + 1; // a call takes one off the depth that is left
        const most = bound.instructions + bound.perReturn * frames;
        expect([seed, longest <= most, longest, most]).toEqual([seed, true, longest, most]);
        if (longest * 2 > bound.instructions) close++;
        if (!ended) continue;
        const { fuel } = straight(subjectOf(`seed ${seed}`, load(own), args));
        expect([seed, fuel]).toEqual([seed, BigInt(passages)]);
      }
    }
    expect(close).toBeGreaterThan(SEEDS / 10); // a bound that nothing comes near would say nothing
  });
});
