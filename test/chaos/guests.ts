/** Small programs for the chaos runs, in the text format: what they print depends on every turn that they have taken. */
import wabt from 'wabt';
import { fillMemory, PRINT } from '../setup/print.js';

const IMPORTS = `
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))`;

export interface Ticking {
  readonly lines: number;
  /** Turns of a loop before each line. */
  readonly turns: number;
  /** KiB of memory that are filled first, and changed by every line. */
  readonly kib: number;
  /** Sleep before each line. */
  readonly sleepMs: number;
  /** What it ends with: a trap, or this exit code. */
  readonly end: 'trap' | number;
}

/** Prints `lines` running sums, which also depend on the random numbers that it draws; sleeps; fills memory. */
export function ticking({ lines, turns, kib, sleepMs, end }: Ticking): string {
  const sleeping = `(i32.store (i32.const 2064) (i32.const 1))
    (i64.store (i32.const 2072) (i64.const ${sleepMs * 1_000_000}))
    (drop (call $poll (i32.const 2048) (i32.const 4096) (i32.const 1) (i32.const 8192)))`;
  const last = end === 'trap' ? 'unreachable' : `(call $exit (i32.const ${end}))`;
  return `(module ${IMPORTS} (memory (export "memory") ${2 + Math.ceil(kib / 64)}) ${PRINT}
    (func $line (param $sum i32) (param $turns i32) (result i32)
      (loop $inner
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $turns)))
        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
        (br_if $inner (local.get $turns)))
      (drop (call $random (i32.const 1536) (i32.const 4)))
      (i32.xor (local.get $sum) (i32.load (i32.const 1536))))
    (func (export "_start") (local $i i32) (local $j i32) (local $sum i32)
      ${fillMemory(kib)}
      (loop $outer
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        ${sleepMs > 0 ? sleeping : ''}
        (local.set $sum (call $line (local.get $sum) (i32.const ${turns})))
        (local.set $j (i32.add (i32.const 65536)
          (i32.shl (i32.rem_u (local.get $sum) (i32.const ${Math.max(1, kib * 256)})) (i32.const 2))))
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $j))))
        (i32.store (local.get $j) (local.get $sum))
        (call $print (local.get $sum))
        (br_if $outer (i32.lt_u (local.get $i) (i32.const ${lines}))))
      ${last}))`;
}

export async function wasmOf(text: string): Promise<Uint8Array> {
  const parsed = (await wabt()).parseWat('guest.wat', text);
  try {
    return Uint8Array.from(parsed.toBinary({ write_debug_names: true }).buffer);
  } finally {
    parsed.destroy();
  }
}
