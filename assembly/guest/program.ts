/**
 * The program itself: arguments, environment, exit, and what the language calls when something goes wrong.
 *
 * Does: `args`, `env`, `exit`; the handlers `abort`, `seed` and `trace` that the compiler is told to use.
 * Does not: catch traps; those are the host's.
 *
 * P1  Every clean end flushes stdout and open files first.
 * P2  `abort` prints `abort: message in file:line:column` and traps; nothing after it runs.
 */
import { flushAll } from "./output";
import { answer, args_get, args_sizes_get, environ_get, environ_sizes_get, proc_exit, writeError } from "./wasi";
import { randomU64 } from "./random";

/** Arguments of the program, without its name. */
export function args(): string[] {
  return commandLine().slice(1);
}

/** Name under which the program was started; empty when the host gave none. */
export function programName(): string {
  const all = commandLine();
  return all.length > 0 ? all[0] : "";
}

/** Value of an environment variable, or null. */
export function env(name: string): string | null {
  const prefix = name + "=";
  const all = environment();
  for (let i = 0; i < all.length; i++) if (all[i].startsWith(prefix)) return all[i].substring(prefix.length);
  return null;
}

/** The whole environment as `NAME=value`. */
export function environment(): string[] {
  if (environ_sizes_get(answer, answer + 4) != 0) return [];
  const table = new ArrayBuffer(load<i32>(answer) * 4);
  const text = new ArrayBuffer(load<i32>(answer, 4));
  if (environ_get(changetype<usize>(table), changetype<usize>(text)) != 0) return [];
  return strings(table);
}

/** Flushes everything and ends the program with this exit code. */
export function exit(code: i32 = 0): void {
  flushAll();
  proc_exit(code);
  unreachable();
}

/** Prints a message to stderr and ends the program with exit code 1 (or the one given). */
export function fail(message: string, code: i32 = 1): void {
  flushAll();
  writeError(message + "\n");
  exit(code);
}

/** Internal: called after the program's top-level code. */
export function finish(): void {
  flushAll();
}

/** Internal: the compiler's handler of `throw`, failed assertions and bounds checks. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  flushAll();
  const what = message === null ? "" : message;
  const where = file === null ? "" : " in " + file + ":" + line.toString() + ":" + column.toString();
  writeError("abort: " + what + where + "\n");
  unreachable();
}

/** Internal: the compiler's `trace` builtin. */
export function trace(
  message: string, count: i32 = 0, a0: f64 = 0, a1: f64 = 0, a2: f64 = 0, a3: f64 = 0, a4: f64 = 0,
): void {
  let text = "trace: " + message;
  if (count > 0) text += " " + a0.toString();
  if (count > 1) text += ", " + a1.toString();
  if (count > 2) text += ", " + a2.toString();
  if (count > 3) text += ", " + a3.toString();
  if (count > 4) text += ", " + a4.toString();
  writeError(text + "\n");
}

/** Internal: seed of `Math.random`, from the host's random source. */
export function seed(): f64 {
  return reinterpret<f64>(randomU64());
}

function commandLine(): string[] {
  if (args_sizes_get(answer, answer + 4) != 0) return [];
  const table = new ArrayBuffer(load<i32>(answer) * 4);
  const text = new ArrayBuffer(load<i32>(answer, 4));
  if (args_get(changetype<usize>(table), changetype<usize>(text)) != 0) return [];
  return strings(table);
}

/** A table of addresses of zero-terminated UTF-8 texts. */
function strings(table: ArrayBuffer): string[] {
  const all: string[] = [];
  for (let at = 0; at < table.byteLength; at += 4) {
    const start = load<u32>(changetype<usize>(table) + at) as usize;
    let end = start;
    while (load<u8>(end) != 0) end++;
    all.push(String.UTF8.decodeUnsafe(start, end - start));
  }
  return all;
}
