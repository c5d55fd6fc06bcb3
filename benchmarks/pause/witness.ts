/**
 * A thread that does nothing but look whether it was asked: what this machine itself adds to a pause.
 *
 *   begin ─▶ 'looks' ─▶ looks, looks … (as long as a guest would run) ─▶ asked ─▶ 'answers'
 *                                                                        ├── latency ───┤
 *
 * A thread that sleeps (an idle ping) is not what a running guest's is: a core that is taken away in the middle of its work, by the
 * host of this machine or by another process, is seen only by a thread that was using it. There is no quantum here, no
 * WebAssembly and nothing of sherd; only the thread's priority is a guest's thread's (fabric/background).
 *
 * Does: ask, say what the answer took. Does not: judge.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { backgroundPriority } from '../../host/fabric/background.js';

const SOURCE = `
  const { parentPort, workerData: { asked, niceness } } = require('node:worker_threads');
  const { readlinkSync } = require('node:fs');
  const { basename } = require('node:path');
  try {
    const thread = Number(basename(readlinkSync('/proc/thread-self')));
    require('node:os').setPriority(thread, niceness);
  } catch {}
  parentPort.on('message', () => {
    parentPort.postMessage('looks');
    while (Atomics.load(asked, 0) === 0);
    Atomics.store(asked, 0, 0);
    parentPort.postMessage('answers');
  });`;

export class Witness {
  readonly #asked = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker = new Worker(SOURCE, {
    eval: true,
    workerData: { asked: this.#asked, niceness: backgroundPriority() },
  });

  /** Lets it look for so long, then asks. Gives µs until its answer is here. */
  async ask(afterMs: number): Promise<number> {
    const looks = once(this.#worker, 'message');
    this.#worker.postMessage('begin');
    await looks;
    await sleep(afterMs);
    const answers = once(this.#worker, 'message');
    const askedMs = performance.now();
    Atomics.store(this.#asked, 0, 1);
    await answers;
    return (performance.now() - askedMs) * 1_000;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
