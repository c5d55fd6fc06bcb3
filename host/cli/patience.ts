/**
 * Waiting for as long as the user said, also when that is longer than one timer of Node.js can count (24.8 days).
 *
 * Does: wait, give up after a time. Does not: decide what is waited for.
 *
 * Q1  A time of any length is waited out: a timer that would overflow (and fire at once) is never set.
 */

/** What setTimeout counts at most: 2^31 − 1 ms. */
const TIMER_MAX_MS = 0x7fff_ffff;

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

/** Resolves after the time, or at once when aborted. */
export function waitMs(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      callOff();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const callOff = after(ms, end);
    signal.addEventListener('abort', end);
  });
}

/** A signal that aborts after the time; it keeps no process alive. */
export function giveUpAfter(ms: number): AbortSignal {
  return AbortSignal.timeout(Math.min(ms, TIMER_MAX_MS));
}
