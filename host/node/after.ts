/**
 * A timer for any length of time: one of Node.js counts to 24.8 days, and fires at once when it is set to more.
 *
 * Does: call back after a time, by several timers where one does not reach. Does not: keep a clock.
 */

/** What setTimeout counts at most: 2^31 − 1 ms. */
export const TIMER_MAX_MS = 0x7fff_ffff;

/** Calls `run` after `ms`; returns how to call it off. */
export function after(ms: number, run: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number): void => {
    const nowMs = Math.min(leftMs, TIMER_MAX_MS);
    timer = setTimeout(() => (leftMs > nowMs ? wait(leftMs - nowMs) : run()), nowMs);
  };
  wait(ms);
  return () => clearTimeout(timer);
}
