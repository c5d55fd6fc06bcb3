/**
 * Random numbers from the host. The host seeds them once for a run, so that a moved run draws the same numbers.
 *
 * Does not: promise secrecy; that is the host's affair.
 */
import { answer, lastError, ok, random_get } from "./wasi";

/** `count` random bytes. */
export function randomBytes(count: i32): Uint8Array {
  const bytes = new Uint8Array(count);
  fill(bytes.dataStart, count);
  return bytes;
}

/** 64 random bits. */
export function randomU64(): u64 {
  fill(answer, 8);
  return load<u64>(answer);
}

/** A number in [0, 1), a multiple of 2^-53. */
export function random(): f64 {
  return ((randomU64() >> 11) as f64) * (1.0 / 9007199254740992.0);
}

function fill(target: usize, bytes: i32): void {
  if (!ok(random_get(target, bytes))) throw new Error("no random numbers: " + lastError());
}
