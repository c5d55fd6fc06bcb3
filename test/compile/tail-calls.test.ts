/**
 * Tail calls: loops made of them stop and go on, their stack stays flat, fuel passes through.
 */
import { describe, expect, test } from 'vitest';
import { every, straight, through } from '../exact/drive.js';
import { everywhereSubject, exactEverywhere } from '../exact/everywhere.js';

const SPIN = `(func $spin (local i32) i32.const 2 local.set 0
  loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)`;

const CASES: readonly (readonly [string, string])[] = [
  [
    'a function that calls itself at its end',
    `(module
    (func $sum (param i32 i64) (result i64)
      local.get 0 i32.eqz if local.get 1 return end
      local.get 0 i32.const 1 i32.sub local.get 1 local.get 0 i64.extend_i32_u i64.add return_call $sum)
    (func (export "run") (result i64) i32.const 9 i64.const 5 call $sum))`,
  ],
  [
    'two that call one another',
    `(module ${SPIN}
    (func $even (param i32) (result i32) local.get 0 i32.eqz if i32.const 1 return end
      call $spin local.get 0 i32.const 1 i32.sub return_call $odd)
    (func $odd (param i32) (result i32) local.get 0 i32.eqz if i32.const 0 return end
      local.get 0 i32.const 1 i32.sub return_call $even)
    (func (export "run") (result i32) i32.const 5 call $even i32.const 10 i32.mul i32.const 3 return_call $add)
    (func $add (param i32 i32) (result i32) call $spin local.get 0 local.get 1 i32.add))`,
  ],
  [
    'through a table',
    `(module ${SPIN}
    (type $t (func (param i32 i32) (result i32 i32)))
    (table 3 funcref) (elem (i32.const 0) $a $b $c)
    (func $a (param i32 i32) (result i32 i32) local.get 0 i32.const 1 i32.sub local.get 1 i32.const 3 i32.mul
      i32.const 0 i32.const 1 local.get 0 select return_call_indirect (type $t))
    (func $b (param i32 i32) (result i32 i32) call $spin local.get 0 local.get 1 i32.const 2 return_call_indirect (type $t))
    (func $c (param i32 i32) (result i32 i32) local.get 1 local.get 0)
    (func (export "run") (result i32 i32) i32.const 4 i32.const 7 i32.const 0 return_call_indirect (type $t)))`,
  ],
  [
    'through a table of functions without safepoints',
    `(module ${SPIN}
    (type $t (func (param i32) (result i32)))
    (table 1 funcref) (elem (i32.const 0) $plain)
    (func $plain (param i32) (result i32) local.get 0 i32.const 100 i32.add)
    (func $direct (param i32) (result i32) local.get 0 i32.const 2 i32.and if local.get 0 return_call $plain end
      call $spin local.get 0 i32.const 0 return_call_indirect (type $t))
    (func $leaf (param i32) (result i32) local.get 0 i32.const 0 return_call_indirect (type $t))
    (func (export "run") (result i32)
      i32.const 1 call $direct i32.const 2 call $direct i32.mul i32.const 3 call $leaf i32.add call $spin))`,
  ],
  [
    'a host call',
    `(module (import "fuzz" "log" (func $log (param i32) (result i32))) ${SPIN}
    (func $say (param i32) (result i32) call $spin local.get 0 return_call $log)
    (func (export "run") (result i32) i32.const 1 call $say i32.const 2 call $say i32.sub call $spin i32.const 3 return_call $say))`.replace(
      'i32.sub call $spin i32.const 3 return_call $say',
      'i32.sub return_call $say',
    ),
  ],
  [
    'operands and blocks around it',
    `(module ${SPIN}
    (func $pick (param i32) (result i32 f64)
      block $out (result i32)
        i32.const 8
        loop $l (param i32) (result i32)
          call $spin
          local.get 0 if i64.const 1 local.get 0 i32.const 1 i32.sub return_call $pick end
          local.get 0 br_if $l
        end
      end
      f64.const 2.5)
    (func (export "run") (result i32 f64) i32.const 3 call $pick))`,
  ],
];

describe('tail calls across pauses', () => {
  test.each(CASES)('%s', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(1n);
  });

  test('a million of them need no stack, also from a continuation on', () => {
    const text = `(module
      (func $count (param i32 i32) (result i32)
        local.get 0 i32.eqz if local.get 1 return end
        local.get 0 i32.const 1 i32.sub local.get 1 i32.const 3 i32.mul local.get 0 i32.xor return_call $count)
      (func (export "run") (result i32) i32.const 1000000 i32.const 1 call $count))`;
    const subject = everywhereSubject('a million', text);
    const expected = straight(subject);
    expect(expected.kind).toBe('done');
    expect(expected.fuel).toBe(1_000_001n);
    const { outcome, hops } = through(subject, every(300_000n, 1_000_000n));
    expect(hops.size).toBe(3);
    expect(outcome).toEqual(expected);
  });
});
