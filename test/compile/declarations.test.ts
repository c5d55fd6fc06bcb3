/**
 * What stands outside of the code: constant expressions, several tables, exported globals, what comes from outside. Exact across pauses,
 * or refused in words that help.
 *
 * Does: one small program for each. Does not: say what an instruction does (instructions.test.ts).
 */
import { describe, expect, test } from 'vitest';
import { Instance } from '../../host/runtime/instance.js';
import { exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { hostOf, i32Of, load, raw } from '../runtime/support.js';

const SPIN = `(func $spin (local i32)
  i32.const 2 local.set 0
  loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)`;

/** Extended constant expressions, where this engine has none: it refuses them itself (newest-engine.test.ts runs them). */
const EXTENDED = '(module (global i32 (i32.add (i32.const 1) (i32.const 2))))';
const OLDER = WebAssembly.validate(assemble(EXTENDED))
  ? /(?!)/
  : /\(i32\.(mul|sub|add) \(i32\.const/;

const CASES: readonly (readonly [name: string, text: string])[] = [
  [
    'extended constant expressions: globals, offsets of data and elements',
    `(module ${SPIN}
      (memory (export "memory") 1)
      (table $t 8 funcref)
      (global $a (mut i32) (i32.add (i32.mul (i32.const 7) (i32.const 9)) (i32.const -3)))
      (global $b (mut i64) (i64.sub (i64.mul (i64.const 0x100000001) (i64.const 3)) (i64.const 1)))
      (data (i32.sub (i32.mul (i32.const 8) (i32.const 9)) (i32.const 8)) "\\2a\\00\\00\\00")
      (elem (table $t) (offset (i32.add (i32.const 2) (i32.const 3))) func $five)
      (func $five (result i32) call $spin i32.const 5)
      (func (export "run") (result i32)
        call $spin
        global.get $a i32.const 1 i32.add global.set $a
        i32.const 64 i32.load call $spin
        i32.const 5 call_indirect $t (result i32) i32.mul
        global.get $a i32.add global.get $b i32.wrap_i64 i32.xor))`,
  ],
  [
    'several tables, changed at run time, called through',
    `(module ${SPIN}
      (table $t 3 funcref) (table $u 2 5 funcref) (table $v 1 funcref)
      (elem (table $t) (i32.const 0) func $one $two $three)
      (elem (table $v) (i32.const 0) func $three)
      (func $one (result i32) i32.const 1)
      (func $two (result i32) call $spin i32.const 2)
      (func $three (result i32) i32.const 3 call $spin)
      (func (export "run") (result i32)
        i32.const 0 i32.const 1 i32.const 2 table.copy $u $t call $spin
        ref.func $one i32.const 1 table.grow $u drop
        i32.const 0 call_indirect $u (result i32) i32.const 10 i32.mul
        i32.const 1 call_indirect $u (result i32) i32.add i32.const 10 i32.mul
        i32.const 2 call_indirect $u (result i32) i32.add i32.const 10 i32.mul
        i32.const 0 ref.func $two table.set $v call $spin
        i32.const 0 call_indirect $v (result i32) i32.add i32.const 10 i32.mul
        i32.const 2 call_indirect $t (result i32) i32.add
        i32.const 1 ref.null func table.set $u call $spin
        table.size $u i32.add))`,
  ],
  [
    'a program that calls back: a sort whose comparison can stop',
    `(module ${SPIN}
      (memory (export "memory") 1) (data (i32.const 0) "\\09\\03\\07\\01\\08\\02")
      (type $less (func (param i32 i32) (result i32)))
      (table 2 funcref) (elem (i32.const 0) $up $down)
      (global $asked (export "asked") (mut i32) (i32.const 0))
      (func $up (type $less) call $spin global.get $asked i32.const 1 i32.add global.set $asked
        local.get 0 local.get 1 i32.lt_u)
      (func $down (type $less) local.get 1 local.get 0 call $up)
      (func $sort (param $by i32) (local $i i32) (local $j i32) (local $x i32)
        i32.const 1 local.set $i
        loop $outer
          local.get $i i32.load8_u local.set $x
          local.get $i local.set $j
          block $placed
            loop $inner
              local.get $j i32.eqz br_if $placed
              local.get $x local.get $j i32.const 1 i32.sub i32.load8_u local.get $by
              call_indirect (type $less) i32.eqz br_if $placed
              local.get $j local.get $j i32.const 1 i32.sub i32.load8_u i32.store8
              local.get $j i32.const 1 i32.sub local.set $j br $inner
            end
          end
          local.get $j local.get $x i32.store8
          local.get $i i32.const 1 i32.add local.tee $i i32.const 6 i32.lt_u br_if $outer
        end)
      (func (export "run") (result i64)
        i32.const 0 call $sort i32.const 0 i64.load i32.const 1 call $sort i32.const 0 i64.load
        i64.const 13 i64.mul i64.add global.get $asked i64.extend_i32_u i64.xor))`,
  ],
];

describe('declarations across pauses', () => {
  test.each(CASES)('%s', (name, text) => {
    if (OLDER.test(text)) {
      expect(() => load(assemble(text))).toThrow('not allowed in constant expressions');
      return;
    }
    expect(exactEverywhere(name, text)).toBeGreaterThan(5n);
  });
});

describe('what comes from outside', () => {
  test('an externref argument that is not null is refused before the start', () => {
    const loaded = load(
      assemble(
        '(module (func (export "f") (param externref) (result i32) local.get 0 ref.is_null))',
      ),
    );
    const start = (value: bigint): Instance =>
      Instance.start(loaded, hostOf(), { entry: 'f', entryArgs: raw(value), limitPages: 0 });
    expect(i32Of(start(0n).run(10))).toBe(1);
    expect(() => start(5n)).toThrow(
      expect.objectContaining({
        code: 'SHERD_USAGE',
        message: "'f' takes an externref: only null can be given",
      }),
    );
  });

  test('a host function cannot enter the guest again: nothing of it is given to the host', () => {
    const loaded = load(
      assemble(`(module (import "env" "back" (func $back (result i32))) ${SPIN}
        (func (export "f") (result i32) call $spin call $back call $spin))`),
    );
    const refused: unknown[] = [];
    let instance: Instance | undefined;
    const host = hostOf(() => ({
      back: () => {
        for (const again of [() => instance?.run(5), () => instance?.capture()]) {
          try {
            again();
          } catch (error) {
            refused.push((error as Error).message);
          }
        }
        return 7;
      },
    }));
    instance = Instance.start(loaded, host, { entry: 'f', entryArgs: raw(), limitPages: 0 });
    expect(i32Of(instance.run(100))).toBe(7);
    expect(refused).toEqual(['internal: run inside run', 'internal: capture while the guest runs']);
  });
});

describe('a segment that does not fit', () => {
  const table = '(table 1 funcref) (table $u 4 9 funcref) (func $f)';
  const cases: readonly (readonly [fits: string, not: string, words: string])[] = [
    [
      '(memory 1) (data (i32.const 65530) "abcdef")',
      '(memory 1) (data (i32.const 65531) "abcdef")',
      'data segment 0 is out of bounds (65531 + 6 > 65536)',
    ],
    [
      '(memory 0) (data (i32.const 0) "")',
      '(memory 0 2) (data (i32.const 1) "")',
      'data segment 0 is out of bounds (1 + 0 > 0)',
    ],
    [
      '(memory 1) (data "passive") (data (i32.mul (i32.const 6) (i32.const 10922)) "abcd")',
      '(memory 1) (data "passive") (data (i32.sub (i32.const 0) (i32.const 1)) "abcd")',
      'data segment 1 is out of bounds (4294967295 + 4 > 65536)',
    ],
    [
      `${table} (elem (table $u) (i32.const 2) func $f $f)`,
      `${table} (elem (table $u) (i32.const 3) func $f $f)`,
      'element segment 0 is out of bounds (3 + 2 > 4)',
    ],
    [
      `${table} (elem func $f $f $f) (elem declare func $f) (elem (table $u) (i32.const 0) funcref (ref.null func) (ref.func $f))`,
      `${table} (elem func $f $f $f) (elem declare func $f) (elem (table 0) (i32.const 0) funcref (ref.null func) (ref.func $f))`,
      'element segment 2 is out of bounds (0 + 2 > 1)',
    ],
    [
      `(memory 1) ${table} (elem (i32.const 0) $f) (data (i32.const 65535) "x")`,
      `(memory 1) ${table} (elem (i32.const 0) $f) (data (i32.const 65536) "x")`,
      'data segment 0 is out of bounds (65536 + 1 > 65536)',
    ],
  ];

  test.each(cases.filter(([fits]) => !OLDER.test(fits)))(
    '%s fits, %s traps',
    (fits, not, words) => {
      const run = '(func (export "run") (result i32) i32.const 1)';
      const [good, bad] = [assemble(`(module ${fits} ${run})`), assemble(`(module ${not} ${run})`)];
      expect(() => new WebAssembly.Instance(new WebAssembly.Module(good))).not.toThrow();
      expect(() => new WebAssembly.Instance(new WebAssembly.Module(bad))).toThrow(/out of bounds/);
      expect(() => load(good)).not.toThrow();
      expect(() => load(bad)).toThrow(
        expect.objectContaining({
          code: 'SHERD_TRAP',
          exitCode: 134,
          message: `the program traps while it is instantiated: ${words}`,
        }),
      );
    },
  );
});
