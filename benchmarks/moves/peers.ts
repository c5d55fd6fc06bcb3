/**
 * What a move is compared with: the same bytes sent to another process otherwise, one copy of them, and fresh memory.
 *
 *   structured clone  the memory posted to a child process (its `advanced` channel: V8's structured clone over a socket), which
 *                     copies it into memory that it used before and answers
 *   full dump+gzip    the same of zlib's output, level 6; the child unpacks it
 *   memcpy            one copy within this process into memory that was touched before: the limit
 *   cold memcpy       one copy into a new instance's memory, fresh from the system; what it takes longer, a page, is the cost of a page fault
 * Nothing of these stops, stores or starts a program.
 *
 * Does: time single calls, wall clock. Does not: judge.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { randomFrom } from '../lib/statistics.js';

const CHILD = fileURLToPath(new URL('./peer-child.js', import.meta.url));
const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65_536;

export type PeerName = 'structured clone' | 'full dump+gzip' | 'memcpy' | 'cold memcpy';
export type PeerTimes = Readonly<Record<PeerName, number[]>>;

export class Peers {
  readonly times: PeerTimes = {
    'structured clone': [],
    'full dump+gzip': [],
    memcpy: [],
    'cold memcpy': [],
  };
  readonly #memory: Uint8Array;
  readonly #warm: Uint8Array;

  private constructor(
    private readonly child: ChildProcess,
    readonly bytes: number,
  ) {
    this.#memory = new Uint8Array(bytes);
    this.#warm = new Uint8Array(bytes).fill(1);
    const random = randomFrom(7);
    const words = new Uint32Array(this.#memory.buffer);
    // Half of the words small numbers, half noise: gzip has work to do.
    for (let i = 0; i < words.length; i++) words[i] = random() * (random() < 0.5 ? 5_000 : 2 ** 32);
  }

  static start(bytes: number): Peers {
    return new Peers(fork(CHILD, [], { serialization: 'advanced', execArgv: [] }), bytes);
  }

  /** Each of them so many times. */
  async round(calls: number): Promise<void> {
    for (let i = 0; i < calls; i++) {
      await this.#time('structured clone', () => this.#send({ memory: this.#memory }));
      await this.#time('full dump+gzip', () => this.#send({ packed: gzipSync(this.#memory) }));
      await this.#time('memcpy', async () => this.#warm.set(this.#memory));
      const fresh = new WebAssembly.Memory({ initial: this.bytes / WASM_PAGE_BYTES });
      await this.#time('cold memcpy', async () => new Uint8Array(fresh.buffer).set(this.#memory));
    }
  }

  /** µs a page of 4 KiB. */
  faultUs(pick: (times: readonly number[]) => number): number {
    const { 'cold memcpy': cold, memcpy } = this.times;
    return ((pick(cold) - pick(memcpy)) * 1_000) / (this.bytes / PAGE_BYTES);
  }

  close(): void {
    this.child.kill();
  }

  async #time(name: PeerName, act: () => Promise<void>): Promise<void> {
    const started = process.hrtime.bigint();
    await act();
    this.times[name].push(Number(process.hrtime.bigint() - started) / 1e6);
  }

  #send(message: object): Promise<void> {
    return new Promise((resolve, reject) => {
      this.child.once('message', () => resolve());
      this.child.send(message, (error) => {
        if (error !== null) reject(error);
      });
    });
  }
}
