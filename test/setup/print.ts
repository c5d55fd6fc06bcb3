/** Wasm text that test programs share. */

/** print(i32): the number in decimal and a newline, one fd_write. Needs $fd_write and a memory; uses bytes 0 to 1041. */
export const PRINT = `
  (func $print (param $n i32) (local $at i32)
    (local.set $at (i32.const 1040))
    (i32.store8 (local.get $at) (i32.const 10))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $digits (local.get $n)))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 1041) (local.get $at)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))`;

/** Fills `kib` KiB of memory from 64 KiB on with a series that $sum goes through. Needs locals $j and $sum. */
export const fillMemory = (kib: number): string => `
      (local.set $j (i32.const ${kib * 1024}))
      (if (local.get $j) (then (loop $fill
        (local.set $j (i32.sub (local.get $j) (i32.const 4)))
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 1664525)) (i32.const 1013904223)))
        (i32.store (i32.add (i32.const 65536) (local.get $j)) (local.get $sum))
        (br_if $fill (local.get $j)))))`;
