/**
 * A small program for every instruction that a table of types cannot describe: control, locals, globals, references,
 * exceptions. What the instruction produces, or the values that it carries, are live across a stop.
 *
 * Does: give one `run () -> i32` each, by name ("select t" is the typed form). Does not: run them (instructions.test.ts).
 */

/** `$spin` passes two stops; `$after` puts one between a value and its use; `$digit` appends a digit. */
const COMMON = `
  (type $f (func (result i32)))
  (type $g (func (param i32) (result i32)))
  (tag $int (param i32)) (tag $pair (param i32 i64))
  (table $t 6 20 funcref)
  (elem (i32.const 1) $one $two $after)
  (elem declare func $one $two)
  (global $n (mut i32) (i32.const 17))
  (global $wide (mut i64) (i64.const -0x123456789abcdef))
  (func $spin (local i32) i32.const 2 local.set 0
    loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)
  (func $one (result i32) call $spin i32.const 1)
  (func $two (result i32) i32.const 2 call $spin)
  (func $after (param i32) (result i32) local.get 0 call $spin)
  (func $throws (param i32) (result i32)
    call $spin local.get 0 if local.get 0 throw $int end i32.const 5)
  (func $digit (param i32 i32) (result i32) local.get 0 i32.const 10 i32.mul local.get 1 i32.add)
  (func $of (param funcref) (result i32)
    call $spin i32.const 0 local.get 0 table.set $t i32.const 0 call_indirect $t (type $f))`;

const program = (body: string, before = ''): string =>
  `(module ${COMMON} ${before}
    (func (export "run") (result i32) (local $a i32) (local $b i32) (local $r funcref) (local $w i64) ${body}))`;

const TAIL = (call: string): string => `
  (func $tail (param $x i32) (result i32) (local $keep i32)
    local.get $x i32.const 3 i32.mul local.set $keep call $spin local.get $keep ${call})`;

export const STRUCTURED: ReadonlyMap<string, string> = new Map([
  ['unreachable', program('i32.const 4 call $after global.set $n call $spin unreachable')],
  ['nop', program('i32.const 41 nop call $spin nop')],
  [
    'block',
    program(`
      i32.const 3 i64.const -9
      block $x (param i32 i64) (result i32 i64 i32)
        local.set $w call $spin local.get $w i64.const 2 i64.mul call $spin
        i32.const 8
      end
      call $spin local.set $a i32.wrap_i64 call $digit local.get $a call $digit`),
  ],
  [
    'loop',
    program(`
      i32.const 7 i32.const 2
      loop $x (param i32 i32) (result i32)
        local.set $b call $after local.get $b i32.add
        local.get $a i32.const 1 i32.add local.tee $a i32.const 3 i32.lt_s
        if (param i32) (result i32) local.get $a br $x end
      end
      call $spin`),
  ],
  [
    'if',
    program(`
      i32.const 6 call $after
      i32.const 1
      if (param i32) (result i32) call $after i32.const 2 i32.mul call $after else i32.const 9 i32.mul end
      call $spin`),
  ],
  [
    'else',
    program(`
      i32.const 6 call $after
      global.get $n i32.const 99 i32.eq
      if (param i32) (result i32) i32.const 2 i32.mul else call $after i32.const 5 i32.mul call $after end
      call $spin`),
  ],
  ['end', program('block (result i32) i32.const 23 call $after end call $spin')],
  [
    'br',
    program(`
      i32.const 5
      block $out (result i32) block $in (result i32)
        i32.const 77 call $after i32.const 8 call $after br $in end
        call $after i32.const 1 i32.add br $out end
      call $spin i32.add`),
  ],
  [
    'br_if',
    program(`
      block $out (result i32)
        i32.const 31 call $after i32.const 0 call $after br_if $out
        call $after i32.const 1 i32.add i32.const 1 call $after br_if $out
        drop i32.const 99
      end
      call $spin`),
  ],
  [
    'br_table',
    program(`
      loop $again
        block $b (result i32) block $a (result i32)
          i32.const 4 call $after local.get $a br_table $a $b $a end
          call $after i32.const 3 i32.add end
        call $spin
        local.get $b call $digit local.set $b
        local.get $a i32.const 1 i32.add local.tee $a i32.const 4 i32.lt_s br_if $again
      end
      local.get $b`),
  ],
  ['return', program('i32.const 88 i32.const 19 call $after call $spin return')],
  ['call', program('i32.const 6 i32.const 12 call $after call $spin call $digit call $after')],
  [
    'call_indirect',
    program(`
      i32.const 4
      i32.const 2 call_indirect $t (type $f) call $spin
      call $digit
      i32.const 3 call_indirect $t (type $g) call $spin`),
  ],
  ['return_call', program('i32.const 5 return_call $tail', TAIL('return_call $after'))],
  [
    'return_call_indirect',
    program(
      'i32.const 5 i32.const 4 call $after return_call_indirect $t (type $g)',
      `${TAIL('i32.const 3 return_call_indirect $t (type $g)')} (elem (i32.const 4) $tail)`,
    ),
  ],
  [
    'try',
    program(`
      i32.const 6
      try (result i32) i32.const 0 call $throws call $after catch $int end
      call $spin call $digit`),
  ],
  [
    'catch',
    program(`
      i32.const 6 call $after
      try (result i32) i32.const 8 call $throws catch $int call $after i32.const 1 i32.add call $after end
      call $spin call $digit`),
  ],
  [
    'throw',
    program(`
      i32.const 6
      try (result i32 i64)
        i32.const 3 call $after i64.const -5 call $spin throw $pair
      catch $pair call $spin end
      i32.wrap_i64 call $spin i32.mul call $digit`),
  ],
  [
    'rethrow',
    program(`
      i32.const 6
      try (result i32)
        try (result i32) i32.const 4 call $throws
        catch $int local.set $a call $spin rethrow 0 end
      catch $int call $after local.get $a i32.add end
      call $spin call $digit`),
  ],
  [
    'delegate',
    program(`
      i32.const 6
      try $outer (result i32)
        try (result i32)
          try (result i32) i32.const 4 call $throws call $after delegate $outer
        catch_all i32.const 1 end
      catch $int call $after i32.const 2 i32.add end
      call $spin call $digit`),
  ],
  [
    'catch_all',
    program(`
      i32.const 6
      try (result i32) i32.const 4 call $throws catch_all call $spin i32.const 7 call $after end
      call $spin call $digit`),
  ],
  [
    'try_table',
    program(`
      i32.const 6
      block $caught (result i32)
        try_table (result i32) (catch $int $caught) i32.const 9 call $throws end
        drop i32.const 1
      end
      call $spin call $digit`),
  ],
  ['drop', program('i32.const 12 call $after i32.const 13 call $after drop call $spin')],
  [
    'select',
    program(`
      i32.const 3 call $after i32.const 4 global.get $n select call $spin
      i64.const 5 i64.const 6 i32.const 0 call $after select call $spin i32.wrap_i64 call $digit`),
  ],
  [
    'select t',
    program(`
      ref.func $one ref.func $two i32.const 0 call $after select (result funcref) call $spin call $of
      i32.const 8 i32.const 9 i32.const 1 select (result i32) call $spin call $digit`),
  ],
  ['local.get', program('i32.const 5 local.set $a call $spin local.get $a call $spin call $after')],
  ['local.set', program('i32.const 5 call $after local.set $a call $spin local.get $a')],
  [
    'local.tee',
    program(
      'i32.const 5 local.tee $a call $after i32.const 6 local.set $a local.get $a call $digit',
    ),
  ],
  [
    'global.get',
    program(`
      global.get $n global.get $wide call $spin
      i64.const 0 global.set $wide i32.const 0 global.set $n
      i64.const 20 i64.shr_s i32.wrap_i64 i32.xor`),
  ],
  [
    'global.set',
    program(`
      i32.const 44 call $after global.set $n i64.const -3 global.set $wide call $spin
      global.get $n global.get $wide i32.wrap_i64 i32.add`),
  ],
  [
    'table.get',
    program(`
      i32.const 1 table.get $t i32.const 1 ref.null func table.set $t call $spin call $of
      i32.const 2 table.get $t call $of call $digit`),
  ],
  [
    'table.set',
    program(`
      i32.const 2 ref.func $one table.set $t call $spin
      i32.const 2 call_indirect $t (type $f) i32.const 2 table.get $t ref.is_null call $digit`),
  ],
  [
    'ref.null',
    program(`
      ref.null func ref.null extern call $spin ref.is_null local.set $a
      ref.is_null local.get $a i32.add call $spin`),
  ],
  [
    'ref.is_null',
    program(`
      i32.const 5 table.get $t ref.is_null call $spin
      i32.const 1 table.get $t ref.is_null call $spin call $digit`),
  ],
  [
    'ref.func',
    program(`
      ref.func $two call $spin
      ref.func $one local.set $r loop end local.get $r call $of
      local.set $a call $of local.get $a call $digit`),
  ],
  [
    'table.grow',
    program(`
      ref.func $two i32.const 3 table.grow $t call $spin
      ref.null func i32.const 900 table.grow $t call $spin i32.sub
      i32.const 8 call_indirect $t (type $f) call $digit table.size $t call $digit`),
  ],
  [
    'table.fill',
    program(`
      i32.const 1 ref.func $two i32.const 4 table.fill $t call $spin
      i32.const 1 call_indirect $t (type $f) i32.const 4 call_indirect $t (type $f) call $digit
      i32.const 5 table.get $t ref.is_null call $digit`),
  ],
]);
