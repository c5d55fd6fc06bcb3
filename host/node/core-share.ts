/**
 * How much of the time in which a thread wanted a core it had one: what separates the length of a quantum from the work in it.
 *
 *   /proc/thread-self/schedstat     on a core, ns   ready and waiting for one, ns   turns
 *                                   share = Δon / (Δon + Δwaiting) between two reads
 *
 * Does: read that for the thread that calls. Does not: exist outside Linux (there the share is 1: what is measured is the wall clock).
 *
 * H1  Within 0..1, never NaN; counters that stood still give the share known before. H2  Read at most once in WINDOW_NS.
 */
import { readFileSync } from 'node:fs';

const WINDOW_NS = 200_000_000n;
const COUNTERS = /^(\d+) (\d+) \d+\s*$/;

export class CoreShare {
  readonly #read: () => string | undefined;
  #before: { readonly on: number; readonly waiting: number } | undefined;
  #share = 1;
  #atNs = 0n;

  constructor(read: () => string | undefined = readOwn) {
    this.#read = read;
    this.#before = this.#counters();
  }

  at(nowNs: bigint): number {
    if (nowNs - this.#atNs < WINDOW_NS) return this.#share;
    this.#atNs = nowNs;
    const now = this.#counters();
    const before = this.#before;
    this.#before = now;
    if (now === undefined || before === undefined) return this.#share;
    const on = now.on - before.on;
    const waiting = now.waiting - before.waiting;
    if (on >= 0 && waiting >= 0 && on + waiting > 0) this.#share = on / (on + waiting);
    return this.#share;
  }

  #counters(): { readonly on: number; readonly waiting: number } | undefined {
    const [, on, waiting] = COUNTERS.exec(this.#read() ?? '') ?? [];
    return on === undefined ? undefined : { on: Number(on), waiting: Number(waiting) };
  }
}

function readOwn(): string | undefined {
  try {
    return readFileSync('/proc/thread-self/schedstat', 'utf8');
  } catch {
    return undefined;
  }
}
