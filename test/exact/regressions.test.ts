/**
 * What fuzzing has found, as small modules: each once gave another result after some pauses.
 */
import { describe, expect, it } from 'vitest';
import { examineGenerated, examineTranslated } from './corpus.js';
import { exactEverywhere } from './everywhere.js';

const CASES: readonly (readonly [string, string])[] = [
  [
    // The exception went past the handlers: the label was that of a block around the `try`, put there for the rethrow.
    'an exception delegated to a try whose catch_all throws it again',
    `(module (tag $a (param i32)) (tag $b (param i64 i32)) (tag $c)
      (global $g (mut i64) (i64.const -9))
      (func $try (param i32) (result i64) (local i32)
        i32.const 3 local.set 1
        try $outer (result i64)
          try
            try
              loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end
              local.get 0 i32.eqz if i64.const 5 i32.const 6 throw $b end
              local.get 0 i32.const 1 i32.eq if i32.const 8 throw $a end
              local.get 0 i32.const 2 i32.eq if throw $c end
            catch $c
              global.get $g i64.const 100 i64.add global.set $g
            end
          delegate $outer
          i64.const 1
        catch $b
          local.set 1
          drop
          loop $m local.get 1 i32.const 1 i32.sub local.tee 1 br_if $m end
          local.get 1 i64.extend_i32_s
        catch_all
          i32.const 4 local.set 1
          loop $n local.get 1 i32.const 1 i32.sub local.tee 1 br_if $n end
          rethrow $outer
        end)
      (func $safe (param i32) (result i64)
        try (result i64) local.get 0 call $try
        catch $a i64.extend_i32_s i64.const 1000 i64.add
        end)
      (func (export "run") (result i64)
        i32.const 0 call $safe i32.const 1 call $safe i64.const 31 i64.mul i64.add
        i32.const 2 call $safe i64.const 37 i64.mul i64.add
        i32.const 3 call $safe i64.const 41 i64.mul i64.add global.get $g i64.xor))`,
  ],
  [
    // The rest of the outer loop had no loop any more, so that the branch left it: nothing behind the safepoint goes there.
    'a repeated inner loop that goes on in the outer one before the safepoint',
    `(module
      (func $spin (local i32)
        i32.const 2 local.set 0
        loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
      (func (export "run") (result i32) (local $a i32) (local $b i32)
        loop $outer
          local.get $a i32.const 1 i32.add local.set $a
          loop $inner
            local.get $b i32.const 1 i32.add local.tee $b
            i32.const 3 i32.rem_u i32.eqz local.get $a i32.const 4 i32.lt_s i32.and br_if $outer
            call $spin
            local.get $b i32.const 14 i32.lt_s br_if $inner
          end
        end
        local.get $a i32.const 100 i32.mul local.get $b i32.add))`,
  ],
  [
    // The same with values: the continuation was not even valid. clang 14 -Oz writes such code.
    'three loops with results, branches outwards before the safepoint only',
    `(module
      (func (export "run") (result i32) (local $a i32) (local $b i32) (local $c i32)
        loop $outer (result i32)
          local.get $a i32.const 1 i32.add local.set $a
          loop $middle (result i32)
            local.get $b i32.const 1 i32.add local.tee $b
            i32.const 4 i32.rem_u i32.eqz br_if $outer
            local.get $a i32.const 3 i32.gt_s
            if local.get $a i32.const 100 i32.mul local.get $b i32.add return end
            i32.const 3 local.set $c
            loop $inner
              local.get $c i32.const 1 i32.sub local.tee $c br_if $inner
            end
            br $middle
          end
        end))`,
  ],
  [
    // A continuation rebuilt the operand from the local and did not save it for the second call.
    'an operand from a local that is overwritten between two calls',
    `(module
      (func $spin (param i64) (result i64) (local i32)
        i32.const 3 local.set 1
        loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end
        local.get 0)
      (func (export "run") (result i64) (local i64)
        i64.const 1000 local.set 0
        local.get 0
        i64.const 7 call $spin local.set 0
        local.get 0 call $spin
        i64.sub))`,
  ],
  [
    'an operand from local.tee that is overwritten in a loop',
    `(module
      (func $spin (param i64) (result i64) (local i32)
        i32.const 2 local.set 1
        loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end
        local.get 0)
      (func (export "run") (result i64) (local i64 i32)
        i32.const 4 local.set 1
        i64.const 500 local.tee 0
        i64.const 3 call $spin drop
        loop $l
          local.get 0 i64.const 1 i64.add call $spin local.set 0
          local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l
        end
        local.get 0
        i64.mul))`,
  ],
  [
    // The handler took its fuel from the program's last global: the rewriter's own was made for modules with tags only.
    'a catch_all in a module without tags',
    `(module (global $last (mut i32) (i32.const -7))
      (func $spin (param i32) (result i32)
        loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end
        i32.const 5)
      (func (export "run") (result i32)
        try (result i32) i32.const 3 call $spin
        catch_all global.get $last i32.const 2 call $spin i32.mul
        end
        i32.const 2 call $spin i32.add))`,
  ],
  [
    'a catch_all in a module without tags, the last global of another type',
    `(module (global $last (mut f64) (f64.const -1.25))
      (func $spin (param i32) (result i32)
        loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end
        i32.const 5)
      (func (export "run") (result i32)
        try (result i32) i32.const 3 call $spin
        catch_all global.get $last i32.trunc_sat_f64_s
        end
        i32.const 2 call $spin i32.add))`,
  ],
];

describe('once found by fuzzing', () => {
  it.each(CASES)('%s', (name, text) => {
    exactEverywhere(name, text);
  });
});

describe('what the fuzzer itself once took for a difference', () => {
  const effort = { spread: 20, dense: 15, singles: 1 };

  it('a start function that traps: nobody can look into the memory of an instance that is not there', () => {
    const { reports } = examineTranslated(40_004, effort, 1);
    expect(reports.map(({ kind, differences }) => [kind, differences])).toEqual([
      ['unreachable', []],
      ['unreachable', []],
    ]);
  });

  it('of two traps another one first, after Binaryen has optimised', () => {
    const { reports } = examineGenerated(700_333, effort, 3);
    expect(reports.map(({ kind }) => kind)).toContain('the optimiser has another trap first');
    expect(reports.flatMap(({ differences }) => differences)).toEqual([]);
  });
});
