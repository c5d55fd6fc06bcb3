/**
 * Ends children that were stopped (SIGSTOP) and are not continued: what stands still cannot be replaced before it is gone.
 *
 *     a stopped control   holds its socket and its port: no other control may begin
 *     a stopped node      is not restarted, and its workers are missing
 *     either, in the middle of a write: holds the store's lock, and every other process waits for it
 *
 * Does: look at each child once a second, kill what has been stopped for too long. Starting another one is its parent's business.
 * Does not: judge who is slow, or stands still in a debugger. Where there is no /proc, nobody is ended.
 *
 * V1  Only time in which this process ran counts: what was stopped together with it (Ctrl-Z, a suspended machine) is given time anew.
 * V2  A child that was continued in between begins anew.
 */
import type { ChildProcess } from 'node:child_process';
import { stateOf } from '../fabric/stopped.js';

/** Longer than any lease, and than somebody needs who looks into a process and lets it go on. */
export const STOPPED_MS = 20_000;
const LOOK_MS = 1_000;

export interface Watched {
  readonly name: string;
  readonly process: ChildProcess | undefined;
}

interface Options {
  readonly children: () => Iterable<Watched>;
  readonly log: (line: string) => void;
  readonly stoppedMs?: number | undefined;
}

export class Vigil {
  readonly #options: Options;
  /** For how long each stopped process has been so, by id. */
  #stoppedMs = new Map<number, number>();
  #lookedMs = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(performance.now()), LOOK_MS);
    this.#timer.unref();
  }

  end(): void {
    clearInterval(this.#timer);
  }

  look(nowMs: number): void {
    const { children, log, stoppedMs = STOPPED_MS } = this.#options;
    const passedMs = Math.min(nowMs - this.#lookedMs, 2 * LOOK_MS); // V1
    this.#lookedMs = nowMs;
    const now = new Map<number, number>();
    for (const { name, process } of children()) {
      if (process?.pid === undefined || stateOf(process.pid) !== 'T') continue;
      const ms = this.#stoppedMs.has(process.pid)
        ? this.#stoppedMs.get(process.pid)! + passedMs
        : 0;
      now.set(process.pid, ms);
      if (ms < stoppedMs) continue;
      log(
        `${name}: is stopped (pid ${process.pid}) and was not continued for ${stoppedMs / 1_000} s, ending it`,
      );
      process.kill('SIGKILL');
    }
    this.#stoppedMs = now;
  }
}
