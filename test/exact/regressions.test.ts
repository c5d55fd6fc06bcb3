/**
 * What fuzzing has found, as small modules: each once gave another result after some pauses.
 */
import { describe, it } from 'vitest';
import { exactEverywhere } from './everywhere.js';

const CASES: readonly (readonly [string, string])[] = [
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
