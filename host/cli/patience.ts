/**
 * Waiting for as long as the user said, also when that is longer than one timer of Node.js can count (24.8 days).
 *
 * Does: wait, give up after a time. Does not: decide what is waited for.
 *
 * Q1  A time of any length is waited out: a timer that would overflow (and fire at once) is never set.
 */
import { after, TIMER_MAX_MS } from '../node/after.js';

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
