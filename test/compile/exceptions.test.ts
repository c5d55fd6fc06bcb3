/**
 * Exceptions of the module's own tags: a frame inside `try`, a pause inside `catch`, rethrow, delegate, and fuel that
 * survives a throw.
 */
import { describe, expect, test } from 'vitest';
import { every, straight, through } from '../exact/drive.js';
import { everywhereSubject, exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { load } from '../runtime/support.js';
import { HAS_TRY_TABLE } from './try-table.js';

const COMMON = `
  (import "fuzz" "log" (func $log (param i32) (result i32)))
  (tag $int (param i32)) (tag $pair (param i64 f64)) (tag $none) (tag $vec (param v128 i32))
  (global $g (mut i32) (i32.const 0))
  (func $spin (local i32) i32.const 2 local.set 0
    loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
  (func $throws (param $what i32) (result i32)
    call $spin
    block $3 block $2 block $1 block $0 local.get 0 br_table $0 $1 $2 $3 end
      i32.const 77 throw $int end
      i64.const -5 f64.const 2.5 throw $pair end
      throw $none end
    i32.const 5)
  (func $plainThrow (param i32) local.get 0 throw $int)
  (func $digit (param i32 i32) (result i32) local.get 0 i32.const 10 i32.mul local.get 1 i32.add)`;

const module = (rest: string): string => `(module ${COMMON} ${rest})`;
const run = (body: string, result = 'i32'): string =>
  module(
    `(func (export "run") (result ${result}) (local $n i32) (local $x i64) (local $y f64) ${body})`,
  );

const CASES: readonly (readonly [string, string])[] = [
  [
    'a call below a try throws, its values are caught',
    run(`
    i32.const 40 local.set $n i32.const 1000
    try (result i32) call $spin i32.const 0 call $throws
    catch $int call $spin local.get $n i32.add
    end
    call $spin i32.add`),
  ],
  [
    'which clause',
    run(`
    loop $again
      try
        local.get $n call $throws drop
      catch $pair
        local.set $y local.set $x call $spin
        global.get $g local.get $x i32.wrap_i64 local.get $y i32.trunc_f64_s i32.add i32.add global.set $g
      catch $int
        call $spin global.get $g i32.add global.set $g
      catch_all
        call $spin global.get $g i32.const 1000 i32.add global.set $g call $spin
      end
      local.get $n i32.const 1 i32.add local.tee $n i32.const 4 i32.lt_s br_if $again
    end
    global.get $g`),
  ],
  [
    'a pause inside a catch, operands below',
    run(`
    i32.const 3 call $log
    try (result i32)
      i32.const 4 call $log i32.const 0 call $throws i32.add
    catch $int
      call $spin i32.const 5 call $log call $spin i32.xor
    end
    call $spin i32.sub`),
  ],
  [
    'through frames that do not catch',
    module(`
    (func $deep (param i32) (result i32)
      call $spin
      local.get 0 i32.eqz if i32.const 0 call $throws return end
      local.get 0 i32.const 1 i32.sub call $deep i32.const 1 i32.add)
    (func (export "run") (result i32) (local i32)
      try (result i32) i32.const 4 call $deep catch $int call $spin local.get 0 i32.add end
      try (result i32) i32.const 2 call $deep catch_all call $spin i32.const 8 end
      i32.add)`),
  ],
  [
    'rethrow of a tag',
    run(`
    try (result i32)
      try (result i32)
        i32.const 0 call $throws
      catch $int
        i32.const 1 i32.add local.set $n call $spin
        rethrow 0
      end
    catch $int
      call $spin local.get $n call $digit
    end`),
  ],
  [
    'rethrow in catch_all, of every tag',
    run(`
    i32.const -1 local.set $n
    loop $again
      local.get $n i32.const 1 i32.add local.set $n
      try
        try
          local.get $n call $throws drop
        catch_all
          i32.const 9 call $log drop
          call $spin
          try call $spin rethrow 1 catch $none call $spin i32.const 500 global.set $g end
        end
      catch $int
        global.get $g i32.add global.set $g call $spin
      catch $pair
        local.set $y local.set $x call $spin
        local.get $x i32.wrap_i64 local.get $y i32.trunc_f64_s i32.add global.get $g i32.add global.set $g
      end
      local.get $n i32.const 3 i32.lt_s br_if $again
    end
    global.get $g`),
  ],
  [
    'rethrow of a vector',
    run(`
    try (result i32)
      try (result i32)
        v128.const i32x4 1 2 3 4 i32.const 6 call $spin throw $vec
      catch_all
        call $spin
        try (result i32) rethrow 1 catch $int end
      end
    catch $vec
      local.set $n call $spin i32x4.extract_lane 2 local.get $n i32.add
    end`),
  ],
  [
    'rethrow of an outer clause',
    run(`
    try (result i32)
      try (result i32)
        i32.const 0 call $throws
      catch $int
        drop
        try (result i32)
          i32.const 1 call $throws
        catch $pair
          drop drop call $spin rethrow 1
        end
      end
    catch $int
    catch $pair
      drop i32.wrap_i64
    end
    call $spin`),
  ],
  [
    'delegate to a try, past another',
    run(`
    try $outer (result i32)
      try (result i32)
        try (result i32)
          i32.const 1 call $throws
        delegate $outer
        call $spin
      catch_all
        i32.const 1000
      end
    catch $pair
      drop i32.wrap_i64 call $spin
    end`),
  ],
  [
    'delegate to the caller',
    module(`
    (func $f (result i32)
      try (result i32)
        try (result i32) call $spin i32.const 0 call $throws delegate 1
      catch_all i32.const 1000 end)
    (func (export "run") (result i32) try (result i32) call $f catch $int call $spin end)`),
  ],
  [
    'no exception at all',
    run(`
    try (result i32) i32.const 9 call $throws call $spin catch_all i32.const 1 end call $spin`),
  ],
  [
    'a throw in a handler, and one not caught here',
    run(`
    try (result i32)
      try (result i32)
        i32.const 2 call $throws
      catch $none
        call $spin i32.const 3 throw $int
      catch $int
        i32.const 100 i32.add
      end
    catch $int
      call $spin i32.const 10 i32.add
    end`),
  ],
  [
    'nobody catches: a trap',
    run('call $spin try (result i32) i32.const 2 call $throws catch $int call $spin end'),
  ],
  [
    'a throw from a function without safepoints',
    run(`
    call $spin
    try i32.const 6 call $plainThrow i32.const 1 local.set $n
    catch $int call $spin local.set $n end
    call $spin local.get $n`),
  ],
  [
    'through a table, with tail calls',
    module(`
    (type $t (func (param i32) (result i32)))
    (table 2 funcref) (elem (i32.const 0) $throws $tail)
    (func $tail (param i32) (result i32) try call $spin catch_all end local.get 0 i32.const 0 return_call_indirect (type $t))
    (func (export "run") (result i32)
      try (result i32) i32.const 0 i32.const 1 call_indirect (type $t) catch_all i32.const 4 end
      try (result i32) call $spin i32.const 0 i32.const 0 call_indirect (type $t) catch $int call $spin end
      i32.add)`),
  ],
  [
    'a branch out of and around a try',
    run(`
    block $out (result i32)
      loop $l
        try
          call $spin
          local.get $n i32.const 1 i32.add local.set $n
          local.get $n i32.const 1 i32.eq br_if $l
          local.get $n i32.const 2 i32.eq if i32.const 0 call $throws drop end
          local.get $n br $out
        catch $int
          call $spin drop
          br $l
        end
      end
      i32.const 5
    end
    call $spin`),
  ],
  [
    'a loop inside a handler',
    run(`
    try
      i32.const 0 call $throws drop
    catch $int
      local.set $n
      loop $l
        call $spin
        local.get $n i32.const 30 i32.sub local.tee $n i32.const 0 i32.gt_s br_if $l
      end
    end
    local.get $n`),
  ],
];

/** The newer form, where the engine has it. */
const TRY_TABLE: readonly (readonly [string, string])[] = [
  ...['br 1', 'i32.const 1 br_if 1 unreachable', 'i32.const 0 br_table 1 0'].map(
    (leave) =>
      [
        `a try_table without clauses, left by ${leave}`,
        run(`
    block $out
      block
        try_table ${leave} end
        unreachable
      end
      i32.const 7 local.set $n
      br $out
    end
    local.get $n call $spin`),
      ] as const,
  ),
  [
    'a try_table without clauses around a loop, left from inside',
    run(`
    block $out (result i32)
      try_table (result i32)
        loop $l (result i32)
          call $spin local.get $n
          local.get $n i32.const 1 i32.add local.tee $n i32.const 3 i32.gt_s br_if $out
          drop br $l
        end
      end
      drop i32.const -1
    end`),
  ],
  [
    'which clause of a try_table, to blocks and to a loop',
    run(`
    loop $again
      local.get $n i32.const 4 i32.ge_s if global.get $g return end
      block $done
        block $none
          block $pair (result i64 f64)
            block $int (result i32)
              i32.const 11 call $log
              try_table (param i32) (catch $int $int) (catch $pair $pair) (catch_all $none)
                drop call $spin
                local.get $n local.get $n i32.const 1 i32.add local.set $n
                call $throws global.get $g i32.add global.set $g
                br $done
              end
              br $done
            end
            call $spin global.get $g i32.add global.set $g br $again
          end
          local.set $y local.set $x call $spin
          local.get $x i32.wrap_i64 local.get $y i32.trunc_f64_s i32.add global.get $g i32.add global.set $g
          br $done
        end
        call $spin global.get $g i32.const 1000 i32.add global.set $g
      end
      br $again
    end
    unreachable`),
  ],
  [
    'a try_table that goes on in its loop, one inside another',
    run(`
    i32.const 5
    loop $again (param i32) (result i32)
      local.set $n
      local.get $n i32.eqz if i32.const 9 return end
      local.get $n i32.const 1 i32.sub
      drop
      try_table (result i32) (catch $int $again)
        block $inner
          try_table (catch_all $inner)
            call $spin i32.const 2 call $throws drop
          end
        end
        local.get $n i32.const 1 i32.sub call $spin throw $int
      end
    end`),
  ],
];

describe('exceptions across pauses', () => {
  test.each(CASES)('%s', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(1n);
  });

  test.each(HAS_TRY_TABLE ? TRY_TABLE : [])('%s', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(1n);
  });

  test('an exception goes through a hundred thousand saved frames', () => {
    const subject = everywhereSubject(
      'deep',
      module(`
      (func $deep (param i32) (result i32)
        local.get 0 i32.eqz if i32.const 0 call $throws return end
        local.get 0 i32.const 1 i32.sub call $deep)
      (func (export "run") (result i32)
        try (result i32) i32.const 100000 call $deep catch $int call $spin end)`),
    );
    const { outcome, hops } = through(subject, every(4_000n, 100_004n));
    expect(hops.size).toBeGreaterThan(20);
    expect(outcome.kind).toBe('done');
    expect(Buffer.from(outcome.results, 'hex').readInt32LE()).toBe(77);
  });

  test('an exception that nobody catches is a trap with its name', () => {
    expect(straight(everywhereSubject('uncaught', run('i32.const 3 throw $int'))).trap).toBe(
      'uncaught exception',
    );
  });
});

describe('refused by name', () => {
  test.each([['imports a tag', '(module (import "e" "t" (tag (param i32))))']])(
    '%s',
    (words, source) => {
      expect(() => load(assemble(source))).toThrowError(words);
    },
  );
});
