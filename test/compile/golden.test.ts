/**
 * Golden text of instrumented functions and continuations. Regenerate: `npx vitest run test/compile/golden.test.ts -u`
 */
import { describe, expect, test } from 'vitest';
import { ContinuationBuilder } from '../../host/compile/continuation.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { text, wat } from '../runtime/support.js';

const CASES: Record<string, string> = {
  'loop-in-loop': `(module (func $f (export "f") (param $n i32) (result f64) (local $i i32) (local $j i32) (local $s f64)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (local.set $s (f64.add (local.get $s) (f64.convert_i32_s (local.get $j))))
        (br_if $inner (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $s)))`,
  'operands-below-a-call': `(module (memory 1) (func $g (param i32) (result i32) (loop) (local.get 0))
    (func $f (export "f") (param $a i32) (result i32)
      (i32.add (i32.load (local.get $a)) (i32.add (local.get $a) (i32.add (i32.const 7) (call $g (i32.const 1)))))))`,
  recursion: `(module (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2))))))))`,
  indirect: `(module (type $t (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $a $b)
    (func $a (param i32) (result i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0))
    (func $b (param i32) (result i32) (local.get 0))
    (func $f (export "f") (param i32) (result i32) (call_indirect (type $t) (i32.const 3) (local.get 0))))`,
  'host-call': `(module (import "env" "ask" (func $ask (param i32) (result i32)))
    (func $f (export "f") (param i32) (result i32) (i32.mul (local.get 0) (call $ask (i32.const 9)))))`,
  'leaf-untouched':
    '(module (func $f (export "f") (param i32) (result i32) (block $x (br_if $x (local.get 0)) (return (i32.const 1))) (i32.const 2)))',
};

describe('shard modules', () => {
  test.each(Object.keys(CASES))('%s', async (name) => {
    const shard = compileProgram(wat(CASES[name]!), nodePlatform);
    await expect(text(shard.bytes)).toMatchFileSnapshot(`golden/${name}.wat`);
  });
});

describe('continuations', () => {
  test.each([
    ['loop-in-loop', 0, 0],
    ['loop-in-loop', 0, 1],
    ['operands-below-a-call', 1, 0],
    ['recursion', 0, 2],
  ])('%s, function %i, safepoint %i', async (name, func, safepoint) => {
    const built = new ContinuationBuilder(compileProgram(wat(CASES[name]!), nodePlatform)).build(
      func,
      safepoint,
    );
    await expect(text(built.bytes)).toMatchFileSnapshot(`golden/${name}.${func}.${safepoint}.wat`);
  });
});
