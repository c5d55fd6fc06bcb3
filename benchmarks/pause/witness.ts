/**
 * A thread that does nothing but look whether it was asked: what this machine itself adds to a pause.
 *
 *   begin ─▶ looks, looks, looks … (as long as a guest would run) ─▶ asked ─▶ answers
 *                                                                    ├── latency ──┤
 *
 * A thread that sleeps (an idle ping) is not what a running guest's is: a core that is taken away in the middle of its work, by the
 * host of this machine or by another process, is seen only by a thread that was using it. There is no quantum here, no
 * WebAssembly and nothing of sherd.
 *
 * Does: ask, say what the answer took. Does not: judge.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

const SOURCE = `
  const { parentPort, workerData: asked } = require('node:worker_threads');
  parentPort.on('message', () => {
    while (Atomics.load(asked, 0) === 0);
    Atomics.store(asked, 0, 0);
    parentPort.postMessage('answer');
  });`;

export class Witness {
  readonly #asked = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker = new Worker(SOURCE, { eval: true, workerData: this.#asked });

  /** Lets it look for so long, then asks. Gives µs until its answer is here. */
  async ask(afterMs: number): Promise<number> {
    const answered = once(this.#worker, 'message');
    this.#worker.postMessage('begin');
    await sleep(afterMs);
    const askedMs = performance.now();
    Atomics.store(this.#asked, 0, 1);
    await answered;
    return (performance.now() - askedMs) * 1_000;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
