/**
 * The trace: what the cluster does, step by step of the workflow (protocol/trace names the steps), for `sherd events`.
 *
 * Does: number events, keep the newest RING, wake followers. Does not: survive the process.
 *
 * E1  `seq` grows by one; a follower that asks for a number that has been dropped is told which one is the first.
 */
import { randomBytes } from 'node:crypto';
import type { TraceEvent } from '../types/brain.js';

const RING = 10_000;

export class Trace {
  readonly #ring: TraceEvent[] = [];
  readonly #followers = new Set<() => void>();
  #next = 1;
  /** Whose numbers these are. */
  readonly id = randomBytes(8).toString('hex');

  add(event: TraceEvent): void {
    this.#ring.push({ ...event, seq: this.#next });
    this.#next += 1;
    if (this.#ring.length > RING) this.#ring.splice(0, this.#ring.length - RING);
    for (const wake of [...this.#followers]) wake();
  }

  /** Number of the oldest event that is kept. */
  get first(): number {
    return this.#ring[0]?.seq ?? this.#next;
  }

  /** Number that the next event will have. */
  get next(): number {
    return this.#next;
  }

  from(seq: number): readonly TraceEvent[] {
    return this.#ring.slice(Math.max(0, seq - this.first));
  }

  follow(wake: () => void): () => void {
    this.#followers.add(wake);
    return () => void this.#followers.delete(wake);
  }
}
