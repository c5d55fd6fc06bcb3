/**
 * Small programs for tests of the command line and the library, in the text format, made into files on demand.
 *
 * Does: give Wasm bytes. Each one uses WASI preview 1 only, and shows one thing that a run can do.
 */

import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import wabt from 'wabt';
import { fillMemory, PRINT } from '../setup/print.js';

const FD_WRITE =
  '(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))';
const EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))';

export const TEXT = {
  /** Prints 1 … 20, each after 50,000 turns of a loop (a sum that depends on all of them), then the sum; exits with 7. */
  counter: `(module ${FD_WRITE} ${EXIT} (memory (export "memory") 2) ${PRINT}
    (func (export "_start") (local $i i32) (local $j i32) (local $sum i32)
      (loop $outer
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.const 50000))
        (loop $inner
          (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $j)))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br_if $inner (local.get $j)))
        (call $print (local.get $i))
        (br_if $outer (i32.lt_u (local.get $i) (i32.const 20))))
      (call $print (local.get $sum))
      (call $exit (i32.const 7))))`,
  /** Never ends, prints nothing. */
  spin: `(module (memory (export "memory") 1) (global $n (mut i64) (i64.const 0))
    (func (export "_start") (loop $l (global.set $n (i64.add (global.get $n) (i64.const 1))) (br $l))))`,
  /** Never ends, prints 7 all the time. */
  yes: `(module ${FD_WRITE} (memory (export "memory") 2) ${PRINT}
    (func (export "_start") (loop $l (call $print (i32.const 7)) (br $l))))`,
  /** Divides by zero, three calls deep, after some output. */
  trap: `(module ${FD_WRITE} (memory (export "memory") 2) ${PRINT}
    (func $divide (param $a i32) (param $b i32) (result i32) (i32.div_s (local.get $a) (local.get $b)))
    (func $middle (param $n i32) (result i32) (loop $l (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (local.get $n))) (call $divide (i32.const 1) (local.get $n)))
    (func (export "_start") (call $print (i32.const 1)) (call $print (call $middle (i32.const 9)))))`,
  /** Recurses without end. */
  recurse: `(module (memory (export "memory") 1)
    (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (i32.add (local.get 0) (i32.const 1)))))
    (func (export "_start") (drop (call $down (i32.const 0)))))`,
  /** Grows its memory until that fails, then cannot go on. */
  grow: `(module (memory (export "memory") 1)
    (func (export "_start") (loop $l
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
      (br $l))))`,
  /** Prints one mebibyte at once. */
  large: `(module ${FD_WRITE} (memory (export "memory") 18)
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1048576))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))`,
  /** Copies standard input to standard output. */
  cat: `(module ${FD_WRITE}
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
      (loop $l
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.load (i32.const 8)) (then
          (i32.store (i32.const 4) (i32.load (i32.const 8)))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
          (br $l))))))`,
  /** Exports no _start but two functions that could be meant, and one that takes a parameter. */
  entries: `(module (memory (export "memory") 1)
    (func (export "one")) (func (export "two")) (func (export "three") (param i32)))`,
  /** Fills 32 KiB that it declares dead, prints their first word before and after a long loop: it reads what it must not read. */
  declares: `(module ${FD_WRITE} (memory (export "memory") 2) ${PRINT}
    (global (export "sherd_dead") i32 (i32.const 60000))
    (data (i32.const 60000) "\\01\\00\\00\\00\\00\\00\\01\\00\\00\\80\\00\\00")
    (func (export "_start") (local $j i32) (local $sum i32) ${fillMemory(32)}
      (call $print (i32.load (i32.const 65536)))
      (local.set $j (i32.const 100000))
      (loop $wait (br_if $wait (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
      (call $print (i32.load (i32.const 65536)))))`,
  /** Imports something that no host gives. */
  foreign: '(module (import "env" "launch" (func)) (func (export "_start") (call 0)))',
} as const;

export type ProgramName = keyof typeof TEXT;

let library: ReturnType<typeof wabt> | undefined;

export async function wasmOf(name: ProgramName): Promise<Uint8Array> {
  library ??= wabt();
  const module = (await library).parseWat(`${name}.wat`, TEXT[name]);
  return module.toBinary({ write_debug_names: true }).buffer;
}

/** A directory of its own with these programs as `<name>.wasm`. */
export async function programDirectory(names: readonly ProgramName[]): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'cli-run-'));
  for (const name of names) await writeFile(join(directory, `${name}.wasm`), await wasmOf(name));
  return directory;
}
