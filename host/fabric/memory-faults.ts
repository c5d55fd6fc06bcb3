/**
 * The faults that the memory fabric can inject: each one is permitted by F1–F6 of the contract.
 *
 * Does: say which faults there are, how likely, and count those that happened. Does not: carry them out.
 *
 * J1  One seed gives one sequence of draws: the same calls in the same order meet the same faults.
 * J2  A fault is counted when it took effect, not when it was drawn, so a count above zero proves that it occurred.
 * J3  With every probability 0 (the default) there are no draws at all besides latencies.
 */

/** Probabilities are 0..1 for each operation, event or message; times are milliseconds of the scheduler. */
export interface MemoryFaults {
  /** Each way of every operation takes this long, evenly distributed. */
  readonly latencyMs: readonly [min: number, max: number];
  /** F2: applied, but the answer is lost. */
  readonly unknownApplied: number;
  /** F2: never applied. */
  readonly unknownLost: number;
  /** F2: tried `lateMs` after the caller was told `unknown`. */
  readonly unknownLate: number;
  readonly lateMs: readonly [min: number, max: number];
  /** How long a caller waits for an answer that does not come. */
  readonly timeoutMs: number;
  /** A conflict that does not say what is there now. */
  readonly conflictBlind: number;
  /** F3: `get` and each entry of `list` answer with what was there up to `staleMs` ago. */
  readonly staleRead: number;
  readonly staleMs: number;
  /** F4. */
  readonly watchDelay: number;
  readonly watchDelayMs: readonly [min: number, max: number];
  readonly watchCoalesce: number;
  readonly watchResync: number;
  /** F5: the put or read takes this much longer. */
  readonly blobSlow: number;
  readonly blobSlowMs: readonly [min: number, max: number];
  /** A read that answers as if the blob were not there. */
  readonly blobMissing: number;
  /** A read that finds the blob damaged. */
  readonly blobDamaged: number;
  /** A put or read that fails altogether (the put may have stored the blob). */
  readonly blobFails: number;
  /** F6. */
  readonly messageLost: number;
  readonly messageTwice: number;
  readonly messageDelay: number;
  readonly messageDelayMs: readonly [min: number, max: number];
}

export const NO_FAULTS: MemoryFaults = {
  latencyMs: [0, 0],
  unknownApplied: 0,
  unknownLost: 0,
  unknownLate: 0,
  lateMs: [0, 0],
  timeoutMs: 1_000,
  conflictBlind: 0,
  staleRead: 0,
  staleMs: 0,
  watchDelay: 0,
  watchDelayMs: [0, 0],
  watchCoalesce: 0,
  watchResync: 0,
  blobSlow: 0,
  blobSlowMs: [0, 0],
  blobMissing: 0,
  blobDamaged: 0,
  blobFails: 0,
  messageLost: 0,
  messageTwice: 0,
  messageDelay: 0,
  messageDelayMs: [0, 0],
};

/** Every permitted fault at once, often. */
export const EVERY_FAULT: MemoryFaults = {
  latencyMs: [0, 5],
  unknownApplied: 0.1,
  unknownLost: 0.1,
  unknownLate: 0.1,
  lateMs: [1, 400],
  timeoutMs: 100,
  conflictBlind: 0.3,
  staleRead: 0.4,
  staleMs: 300,
  watchDelay: 0.3,
  watchDelayMs: [1, 300],
  watchCoalesce: 0.3,
  watchResync: 0.1,
  blobSlow: 0.3,
  blobSlowMs: [10, 500],
  blobMissing: 0.1,
  blobDamaged: 0.1,
  blobFails: 0.1,
  messageLost: 0.2,
  messageTwice: 0.2,
  messageDelay: 0.4,
  messageDelayMs: [1, 200],
};

/** How often each fault took effect. */
export interface FaultCounts {
  unknownApplied: number;
  unknownLost: number;
  unknownLate: number;
  conflictBlind: number;
  staleRead: number;
  watchDelay: number;
  watchCoalesce: number;
  watchResync: number;
  blobSlow: number;
  blobMissing: number;
  blobDamaged: number;
  blobFails: number;
  messageLost: number;
  messageTwice: number;
  messageDelay: number;
  /** An operation, event or message that met a partition. */
  partition: number;
}

export function noFaultsYet(): FaultCounts {
  return {
    unknownApplied: 0,
    unknownLost: 0,
    unknownLate: 0,
    conflictBlind: 0,
    staleRead: 0,
    watchDelay: 0,
    watchCoalesce: 0,
    watchResync: 0,
    blobSlow: 0,
    blobMissing: 0,
    blobDamaged: 0,
    blobFails: 0,
    messageLost: 0,
    messageTwice: 0,
    messageDelay: 0,
    partition: 0,
  };
}

/** Draws of one seed (xorshift32 over a mixed seed). */
export class FaultDice {
  #state: number;

  constructor(seed: number) {
    // Mixed, so that seeds 1, 2, 3… do not begin alike; never 0, where xorshift would stay.
    let z = (seed | 0) + 0x9e3779b9;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    this.#state = (z ^ (z >>> 15)) | 0 || 1;
  }

  /** Evenly distributed in [0, 1). */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) / 2 ** 32;
  }

  hits(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  between([min, max]: readonly [number, number]): number {
    return max > min ? min + this.next() * (max - min) : min;
  }
}
