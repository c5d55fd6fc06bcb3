/**
 * Reference types and tables that change at run time: every instruction with what it produced live across pauses.
 */
import { describe, expect, test } from 'vitest';
import { decodeCapsule } from '../../host/capsule/index.js';
import { EXPORT } from '../../host/compile/abi.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Journey } from '../exact/drive.js';
import { everywhereSubject, exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { load } from '../runtime/support.js';

/** Functions to refer to; `$spin` passes three safepoints. */
const COMMON = `
  (type $f (func (result i32)))
  (func $one (result i32) i32.const 1)
  (func $two (result i32) call $spin i32.const 2)
  (func $three (result i32) i32.const 3 call $spin)
  (func $spin (local i32)
    i32.const 3 local.set 0
    loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
  (table $t 4 12 funcref) (table $u 3 funcref)
  (elem $seg func $three $two $one $two)
  (elem declare func $one $two $three)
  (func $show (param funcref) (result i32)
    local.get 0 ref.is_null if i32.const 9 return end
    call $spin
    i32.const 0 local.get 0 table.set $t
    i32.const 0 call_indirect $t (type $f))
  (func $digit (param i32 i32) (result i32) local.get 0 i32.const 10 i32.mul local.get 1 i32.add)`;

const run = (body: string, result = 'i32'): string =>
  `(module ${COMMON} (func (export "run") (result ${result}) (local $a funcref) (local $b funcref) (local $n i32) ${body}))`;

const CASES: readonly (readonly [string, string])[] = [
  [
    'ref.func, ref.null, ref.is_null on the stack',
    run(`
    ref.func $two call $spin call $show
    ref.null func call $spin call $show call $digit
    ref.func $one ref.is_null call $spin call $digit`),
  ],
  [
    'funcref locals',
    run(`
    ref.func $three local.set $a call $spin local.get $a local.set $b call $spin
    ref.null func local.set $a
    local.get $b call $show local.get $a call $show call $digit local.get $b call $show call $digit`),
  ],
  [
    'a funcref operand below calls',
    run(`
    ref.func $two call $id call $spin ref.func $one call $id call $spin
    call $show local.set $n call $show local.get $n call $digit`).replace(
      '(func (export',
      '(func $id (param funcref) (result funcref) call $spin local.get 0) (func (export',
    ),
  ],
  [
    'many results with references',
    run(`
    i32.const 5 call $many local.set $b local.set $a call $digit call $spin
    local.get $a call $show call $digit local.get $b call $show call $digit`).replace(
      '(func (export',
      `(func $many (param i32) (result i32 i32 funcref funcref)
      local.get 0 i32.const 7 ref.func $three ref.null func call $spin) (func (export`,
    ),
  ],
  [
    'typed select',
    run(`
    ref.func $one ref.func $two i32.const 0 select (result funcref) call $spin call $show
    ref.func $one ref.func $two i32.const 1 select (result funcref) call $spin call $show call $digit`),
  ],
  [
    'blocks, ifs and loops with references',
    run(`
    ref.func $three
    loop $again (param funcref) (result funcref)
      call $spin local.set $a
      block $out (result funcref)
        ref.null func local.get $n i32.const 2 i32.eq br_if $out
        drop local.get $n i32.const 1 i32.add local.set $n
        local.get $n i32.const 1 i32.eq if (result funcref) ref.func $two else local.get $a end
        br $again
      end
      drop local.get $a
    end
    call $show`),
  ],
  [
    'table.get, table.set, table.size',
    run(`
    i32.const 2 ref.func $two table.set $t
    i32.const 2 table.get $t call $spin call $show
    i32.const 3 table.get $t call $spin call $show call $digit
    table.size $t call $spin call $digit`),
  ],
  [
    'table.grow and table.fill',
    run(`
    ref.func $three i32.const 5 table.grow $t call $spin
    table.size $t call $spin call $digit
    i32.const 5 ref.func $two i32.const 3 table.fill $t
    i32.const 4 call_indirect $t (type $f) call $digit call $spin
    i32.const 7 call_indirect $t (type $f) call $digit
    i32.const 8 call_indirect $t (type $f) call $digit
    ref.null func i32.const 50 table.grow $t call $spin call $digit`),
  ],
  [
    'table.init, table.copy, elem.drop',
    run(`
    i32.const 0 i32.const 1 i32.const 3 table.init $t $seg
    call $spin
    i32.const 1 i32.const 0 i32.const 3 table.copy $t $t
    i32.const 0 i32.const 1 i32.const 2 table.copy $u $t
    call $spin elem.drop $seg call $spin
    i32.const 1 call_indirect $t (type $f) i32.const 2 call_indirect $t (type $f) call $digit
    i32.const 3 call_indirect $t (type $f) call $digit i32.const 1 call_indirect $u (type $f) call $digit
    i32.const 0 i32.const 0 i32.const 0 table.init $t $seg`),
  ],
  [
    'table.init of a dropped segment traps',
    run(`
    elem.drop $seg call $spin i32.const 0 i32.const 0 i32.const 1 table.init $t $seg i32.const 4`),
  ],
  [
    'call_indirect through null traps',
    run(`
    i32.const 1 ref.func $two table.set $t call $spin i32.const 1 ref.null func table.set $t call $spin
    i32.const 1 call_indirect $t (type $f)`),
  ],
  [
    'call_indirect beyond the table traps',
    run('call $spin i32.const 99 call_indirect $t (type $f)'),
  ],
  ['table.get beyond the table traps', run('call $spin i32.const 99 table.get $t call $show')],
  [
    'a mutable funcref global',
    `(module ${COMMON}
    (global $g (mut funcref) (ref.func $one)) (global $h (mut funcref) (ref.null func)) (global $i (mut i64) (i64.const 5))
    (func (export "run") (result i32)
      call $spin global.get $g ref.func $three global.set $g call $show global.get $g call $spin call $show call $digit
      global.get $g global.set $h call $spin global.get $h call $show call $digit
      ref.null func global.set $g call $spin global.get $g call $show call $digit))`,
  ],
  [
    'an imported function as a value',
    `(module (import "fuzz" "log" (func $log (param i32) (result i32)))
    (type $f (func (param i32) (result i32)))
    (func $own (param i32) (result i32) (local i32) i32.const 2 local.set 1
      loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end local.get 0 call $log)
    (table 4 funcref) (elem (i32.const 1) $log $own) (export "elsewhere" (func $log))
    (func (export "run") (result i32)
      i32.const 0 ref.func $log table.set 0
      i32.const 5 i32.const 0 call_indirect (type $f)
      i32.const 6 i32.const 1 call_indirect (type $f) i32.xor
      i32.const 7 i32.const 2 call_indirect (type $f) i32.xor
      i32.const 8 call $log i32.xor))`,
  ],
  [
    'externref that is null',
    run(`
    call $null call $spin ref.is_null
    ref.null extern i32.const 3 table.grow $x call $spin call $digit
    table.size $x call $digit i32.const 1 table.get $x call $spin ref.is_null call $digit`).replace(
      '(func (export',
      `(table $x 2 externref)
      (func $null (result externref) (local externref) call $spin local.get 0) (func (export`,
    ),
  ],
];

describe('references across pauses', () => {
  test.each(CASES)('%s', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(1n);
  });

  test('deep recursion with a reference in each frame', () => {
    const text = `(module ${COMMON}
      (func $deep (param $n i32) (param $r funcref) (result i32)
        local.get $n i32.eqz if local.get $r call $show return end
        local.get $n i32.const 1 i32.sub
        ref.func $two ref.func $three local.get $n i32.const 1 i32.and select (result funcref)
        call $deep local.get $r call $show i32.add)
      (func (export "run") (result i32) i32.const 6 ref.func $one call $deep))`;
    exactEverywhere('deep', text);
  });
});

describe('capsules of tables', () => {
  const text = run(
    'i32.const 3 ref.func $two table.set $t call $spin i32.const 3 ref.null func table.set $t call $spin i32.const 0',
  );
  const stateAt = (fuel: bigint, of = text): Record<string, unknown> => {
    const journey = Journey.begin(everywhereSubject('tables', of));
    journey.runTo(fuel);
    const capsule = decodeCapsule(journey.pack().bytes, nodePlatform);
    return capsule.stateApart() as unknown as Record<string, unknown>;
  };

  test('hold what differs from the first content, and nothing when it is the same again', () => {
    const two = load(assemble(text)).module.functions.find((f) => f.name === 'two')?.index ?? 1;
    expect(stateAt(1n).tables).toEqual([{ index: 0, size: 4, changes: [3, two + 1] }]);
    expect(stateAt(4n).tables).toBeUndefined();
    expect(stateAt(1n).droppedElements).toBeUndefined();
  });

  test('a table that no instruction changes is not looked at', () => {
    const loaded = load(
      assemble('(module (table 2 funcref) (elem (i32.const 0) $f) (func $f (export "run")))'),
    );
    expect(loaded.changingTables).toEqual([]);
    expect(loaded.references).toBe(false);
    expect(
      WebAssembly.Module.exports(new WebAssembly.Module(loaded.module.bytes as BufferSource)).map(
        (e) => e.name,
      ),
    ).not.toContain(EXPORT.ref);
  });
});

describe('refused by name', () => {
  test.each([
    [
      'a reference that passes a host call',
      '(module (import "e" "f" (func (param externref))))',
      'import e.f',
    ],
    [
      'a reference that passes a host call',
      '(module (import "e" "g" (func (result funcref))))',
      'import e.g',
    ],
  ])('%s', (feature, source, where) => {
    expect(() => load(assemble(source))).toThrowError(feature);
    expect(() => load(assemble(source))).toThrowError(where);
  });
});
