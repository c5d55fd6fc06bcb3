/**
 * Time for the memory fabric: virtual (a queue of events, for the simulator) or real (timers).
 *
 * Does: order events by time and then by the order in which they were scheduled. Does not: read a clock when virtual.
 *
 * V1  Virtual time moves only in `step` and what is built on it; it never goes back.
 * V2  Two events at the same time run in the order in which they were scheduled.
 * V3  Between two events all microtasks run, so awaiting code sees each event on its own.
 */
import { invariant } from '../types/errors.js';

export interface FabricScheduler {
  nowMs(): number;
  /** Runs later, never within this call. */
  schedule(delayMs: number, run: () => void): void;
}

export const realTime: FabricScheduler = {
  nowMs: () => performance.now(),
  schedule: (delayMs, run) => {
    if (delayMs <= 0) setImmediate(run);
    else setTimeout(run, delayMs);
  },
};

interface TimedEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class VirtualTime implements FabricScheduler {
  #nowMs = 0;
  #order = 0;
  /** Binary heap, earliest event first. */
  readonly #heap: TimedEvent[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  get pending(): number {
    return this.#heap.length;
  }

  schedule(delayMs: number, run: () => void): void {
    invariant(delayMs >= 0 && Number.isFinite(delayMs), `a delay of ${delayMs} ms`);
    this.#push({ atMs: this.#nowMs + delayMs, order: this.#order++, run });
  }

  /** Runs the next event. False when there is none. */
  step(): boolean {
    const event = this.#pop();
    if (event === undefined) return false;
    invariant(event.atMs >= this.#nowMs, 'virtual time goes forward');
    this.#nowMs = event.atMs;
    event.run();
    return true;
  }

  /** Runs everything that is due within the next `ms`, and leaves the clock there. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await microtasks();
    while ((this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY) <= endMs) {
      this.step();
      await microtasks();
    }
    this.#nowMs = endMs;
  }

  /** Runs events until the promise settles. Rejects when no event is left and it has not settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (;;) {
      await microtasks();
      if (settled) return promise;
      invariant(this.step(), 'virtual time stands still: nothing is scheduled any more');
    }
  }

  /** Runs events until none is left; `maxSteps` bounds it. */
  async runUntilIdle(maxSteps = 1_000_000): Promise<void> {
    await microtasks();
    for (let i = 0; this.step(); i++) {
      invariant(i < maxSteps, 'virtual time does not come to rest');
      await microtasks();
    }
  }

  #push(event: TimedEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!earlier(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): TimedEvent | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && earlier(heap[child + 1]!, heap[child]!)) child++;
      if (!earlier(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function earlier(a: TimedEvent, b: TimedEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
