/**
 * Continuations that leave a large loop to the continuation of its poll: with everything that a frame can hold there.
 *
 * Does: one small module for each thing (parameters, operands below, handlers, references, nested loops …), stopped everywhere.
 * Does not: count continuations (test/runtime/after-return.test.ts), try random modules (test/exact/fuzz.test.ts).
 */
import { describe, expect, test } from 'vitest';
import { ContinuationBuilder } from '../../host/compile/continuation.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { text } from '../runtime/support.js';

const COMMON = `
  (import "fuzz" "log" (func $log (param i32) (result i32)))
  (tag $int (param i32))
  (global $g (mut i32) (i32.const 1))
  (table $t 4 funcref)
  (elem (i32.const 1) func $one $two)
  (elem declare func $one $two)
  (func $one (result i32) i32.const 1)
  (func $two (result i32) i32.const 2)
  (func $spin (local i32) i32.const 2 local.set 0
    loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
  (func $mix (param i32)
    call $spin global.get $g i32.const 31 i32.mul local.get 0 i32.add global.set $g)`;

/** Nine safepoints: enough for a loop around them to be shared. */
const many = (n: number): string =>
  Array.from({ length: 9 }, (_, i) => `i32.const ${n + i} call $mix`).join('\n');

const run = (body: string, rest = ''): string => `(module ${COMMON} ${rest}
  (func (export "run") (result i32)
    (local $n i32) (local $x i64) (local $y f64) (local $v v128) (local $f funcref) ${body}))`;

const down = 'local.get $n i32.const 1 i32.sub local.tee $n';

const CASES: readonly (readonly [string, string])[] = [
  [
    'parameters, with operands below',
    run(`
    i32.const 3 call $log
    i64.const 7 i32.const 2
    loop $l (param i64 i32) (result i64)
      local.set $n
      ${many(1)}
      i64.const 3 i64.mul global.get $g i64.extend_i32_s i64.add
      local.get $n i32.const 1 i32.sub
      local.get $n br_if $l
      drop
    end
    i32.wrap_i64 i32.add`),
  ],
  [
    'parameters that are constants, vectors and floats',
    run(`
    i32.const 2 local.set $n
    f64.const 1.5 i32.const 9 i32x4.splat i32.const 40
    loop $l (param f64 v128 i32) (result f64 v128)
      global.set $g local.set $v local.set $y
      ${many(1)}
      local.get $y f64.const 0.75 f64.mul
      local.get $v global.get $g i32x4.splat i32x4.add
      global.get $g
      ${down} br_if $l
      drop
    end
    i32x4.extract_lane 2 local.set $n
    f64.const 1000 f64.mul i32.trunc_f64_s local.get $n i32.add`),
  ],
  [
    'the next loop of the same frame, of an arm, of a block with a value',
    run(`
    i32.const 2 local.set $n
    i32.const 8 call $log
    call $spin
    block $b (result i32)
      loop $l ${many(1)} ${down} br_if $l end
      call $spin
      global.get $g i32.const 1 i32.and
      if (result i32)
        call $spin i32.const 2 local.set $n
        loop $l (result i32) ${many(20)} ${down} br_if $l global.get $g end
      else
        call $spin i32.const 3 local.set $n
        loop $l ${many(30)} global.get $g ${down} i32.eqz br_if $b drop br $l end
        unreachable
      end
      call $spin
    end
    call $spin i32.add`),
  ],
  [
    'nested, each of them large: out, again and on, by a table',
    run(`
    i32.const 7 local.set $n
    block $out (result i32)
      loop $outer
        ${many(1)}
        loop $inner
          ${many(40)}
          block $on
            global.get $g call $log
            ${down} i32.eqz br_if $out
            drop
            local.get $n i32.const 3 i32.rem_u br_table $on $inner $outer
          end
          call $spin
          i32.const 99 call $log local.get $n i32.const 1 i32.eq br_if $out
          drop br $outer
        end
      end
      unreachable
    end
    global.get $g i32.add`),
  ],
  [
    'inside a try that its loop leaves by a throw, then in the handler',
    run(`
    i32.const 3 local.set $n i32.const 11 call $log
    try (result i32)
      loop $l
        ${many(1)}
        ${down} i32.eqz if i32.const 77 throw $int end
        br $l
      end
      unreachable
    catch $int
      i32.const 2 local.set $n
      loop $l (param i32) (result i32) ${many(50)} i32.const 1 i32.add ${down} br_if $l end
      call $spin
    catch_all
      i32.const 2 local.set $n
      loop $l ${many(60)} ${down} br_if $l end
      i32.const 0
    end
    call $spin i32.add global.get $g i32.xor`),
  ],
  [
    'around a try whose handler goes on with it',
    run(`
    i32.const 4 local.set $n
    loop $l
      ${many(1)}
      try
        call $spin
        local.get $n i32.const 1 i32.and if local.get $n throw $int end
        call $spin
      catch $int
        call $mix call $spin
        ${down} br_if $l
        i32.const 1 local.set $n
      end
      ${down} br_if $l
    end
    global.get $g`),
  ],
  [
    'references in locals and operands across it',
    run(`
    i32.const 2 local.set $n
    ref.func $two local.set $f
    i32.const 0 ref.func $one
    loop $l (param i32 funcref)
      table.set $t
      ${many(1)}
      i32.const 3 local.get $f table.set $t
      i32.const 0 call_indirect (result i32) i32.const 3 call_indirect (result i32) i32.const 10 i32.mul i32.add
      call $mix
      i32.const 1 table.get $t local.set $f
      i32.const 0 i32.const 2 table.get $t
      ${down} br_if $l
      drop drop
    end
    local.get $f ref.is_null global.get $g i32.add`),
  ],
  [
    'a frame of each of several calls of itself, the last of them in the place of its caller',
    run(
      'i32.const 2 call $again global.get $g i32.xor',
      `(func $again (param $depth i32) (result i32) (local $n i32)
        i32.const 2 local.set $n
        loop $l
          local.get $depth if
            ${many(1)}
            local.get $depth i32.const 1 i32.sub call $again call $mix
          end
          ${many(70)}
          ${down} br_if $l
        end
        local.get $depth i32.const 1 i32.eq
        if i32.const 0 return_call $again end
        local.get $depth)`,
    ),
  ],
  [
    'a trap in a later passage',
    run(`
    i32.const 2 local.set $n
    loop $l
      ${many(1)}
      i32.const 100 local.get $n i32.div_s call $mix
      local.get $n i32.const 1 i32.sub local.set $n
      br $l
    end
    unreachable`),
  ],
];

/** How many of a program's continuations have no loop: inside one that is not shared, none. */
function withoutLoop(program: string): number {
  const shard = compileProgram(assemble(program), nodePlatform);
  const builder = new ContinuationBuilder(shard);
  return shard.functions.reduce((sum, { safepoints }, at) => {
    const each = safepoints.map((_, i) => builder.build(shard.imports.length + at, i).bytes);
    return sum + each.filter((bytes) => !/\bloop\b/.test(text(bytes))).length;
  }, 0);
}

describe('a loop that is left to the continuation of its poll', () => {
  test.each(CASES)('%s', (name, program) => {
    expect(withoutLoop(program)).toBeGreaterThanOrEqual(8);
    expect(exactEverywhere(name, program)).toBeGreaterThan(20n);
  });
});
