/**
 * Clocks and sleep. Both clocks are the guest's: monotonic time leaves out what the run spent paused.
 */
import { stdout } from "./output";
import { answer, clock_time_get, lastError, ok, waitNs } from "./wasi";

/** Nanoseconds on a clock that never goes back; its zero means nothing. */
export function monotonicNs(): u64 {
  return time(1);
}

/** Milliseconds since 1970, UTC. */
export function wallMs(): i64 {
  return (time(0) / 1_000_000) as i64;
}

/** Does nothing for `ms` milliseconds. Flushes stdout first. */
export function sleep(ms: f64): void {
  stdout.flush();
  if (ms > 0) waitNs((ms * 1e6) as u64);
}

function time(clock: i32): u64 {
  if (!ok(clock_time_get(clock, 1, answer))) throw new Error("no clock: " + lastError());
  return load<u64>(answer);
}
