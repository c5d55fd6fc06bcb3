/**
 * Keeps a process of sherd from taking cores away from the guests that run beside it.
 *
 * Does: say with which engine options such a process is started, lower the priority of the engine's own helper threads,
 * and of threads that ask for it (those that run guests). Does not: touch the threads that carry requests.
 *
 * Why: measured on two cores that are both at work on shards, the engine's helpers (garbage collection, compilation) took
 * a core for 5 to 13 ms at a time, and a collection in the main thread for 25 to 50: the largest part of the time that a
 * guest had to wait for its turn and so could not stop.
 *
 * Z1  Best effort: where there is no /proc, or it is not allowed, nothing happens.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';

/** How much less priority threads get that may wait (guests, the engine's helpers) than those that carry requests. */
const BACKGROUND_NICE = 10;
const LEAST_PRIORITY = constants.priority.PRIORITY_LOW;

/**
 * Engine options of control and node processes: the collector works in the thread whose garbage it is and takes no other
 * core, and does not use idle time to make a small heap smaller (25 to 50 ms at a time, every few seconds).
 */
export const ENGINE_OPTIONS: readonly string[] = ['--single-threaded-gc', '--no-memory-reducer'];

/**
 * Of node processes: and it collects where memory is allocated, at once. What fills a worker thread's heap are the memories of
 * guests that come and go. The engine would begin to mark when a guest comes, go on in steps of 0.5 to 3.5 ms while guests run, and end
 * with 7 to 20 ms in the middle of one: none of these can be stopped meanwhile. At once it takes 20 to 30 ms, but before the guest
 * that came begins; or, asked for by the thread (worker.ts, T8), when it has nothing to do. Measured, pauses of a warm guest's thread, 44 kernels, 1,850 pauses: 99th percentile 1.90 ms in steps, 0.60
 * and 0.89 at once; with the engine's threads to help 1.34 and 1.41.
 */
export const NODE_ENGINE_OPTIONS: readonly string[] = [
  ...ENGINE_OPTIONS,
  '--no-incremental-marking',
  '--expose-gc',
];

/** To be called first in a process: every thread that is there then, except this one, is the engine's. */
export function calmEngine(): void {
  let threads: string[];
  try {
    threads = readdirSync('/proc/self/task');
  } catch {
    return;
  }
  for (const thread of threads) if (Number(thread) !== process.pid) giveWay(Number(thread));
}

/** Lowers the priority of a thread of this process; default: the one that calls. */
export function giveWay(thread = ownThread()): void {
  try {
    if (thread !== undefined) setPriority(thread, backgroundPriority());
  } catch {
    // Z1.
  }
}

/** Of a thread that gives way, as the operating system counts. */
export function backgroundPriority(): number {
  return Math.min(LEAST_PRIORITY, getPriority() + BACKGROUND_NICE);
}

function ownThread(): number | undefined {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')));
  } catch {
    return undefined;
  }
}
