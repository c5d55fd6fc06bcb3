/**
 * How much fuel a guest gets for one quantum of time.
 *
 *   time per fuel      ▁▁▁▂▁▁▁▇▁▁▁▁▁▁▁▁        what each quantum took, divided by its fuel
 *   `slowNs`           ▁▁▁▂▂▂▂▇▇▇▇▆▆▆▅▅        the slowest, forgotten within some FORGET_NS
 *   budget             ████▇▇▇▁▁▁▁▂▂▂▃▃        quantum ÷ slowNs
 *
 * A program's passages take different time from one loop to the next. A budget made from the last quantum's figure would
 * run far over the quantum whenever a slow part follows a fast one, and a pause waits for its end: with gemm, strings and
 * luette the wait's 99th percentile was 4–10 ms so, and 0.5–1.2 ms with the slowest of the last hundred quanta. A quantum
 * costs about 5 µs: the kernels' run time was the same within the noise, the ray tracer's 3 % more.
 *
 * Does: arithmetic. Does not: read a clock.
 *
 * P1  A budget is at least 1 and at most MAX_BUDGET, and grows at most by MAX_GROWTH from one quantum to the next.
 * P2  However slow a quantum was (its thread may have waited for a core), after the next one the budget grows until it is
 *     worth 1/MAX_DISTRUST of a quantum at the newest figure, and from there as the slow one is forgotten.
 * P3  A quantum that was cut short by a stop never raises the budget, and one too short to say anything is left out.
 */
import { invariant } from '../types/errors.js';

const FIRST_BUDGET = 2_000;
const MAX_BUDGET = 2 ** 31 - 1;
const MAX_GROWTH = 2;
const FORGET_NS = 40_000_000;
const MAX_DISTRUST = 8;
/** What was cut short to less of a quantum than this says nothing. */
const TELLING_PART = 1 / 8;
/** Times below it are mostly the quantum's own cost. */
const LEAST_NS = 1_000;

export class Pace {
  readonly #quantumNs: number;
  #slowNs = 0;
  #budget = FIRST_BUDGET;

  constructor(quantumNs: number) {
    invariant(quantumNs > 0, 'a quantum has a length');
    this.#quantumNs = quantumNs;
  }

  /** Fuel for the next quantum. */
  get budget(): number {
    return this.#budget;
  }

  /** A quantum has run for `fuel`: its whole budget, or less when it was cut short. */
  took(fuel: number, tookNs: number): void {
    invariant(fuel > 0, 'a quantum that ends has used fuel');
    const cut = fuel < this.#budget;
    if (cut && tookNs < this.#quantumNs * TELLING_PART) return;
    const costNs = Math.max(tookNs, LEAST_NS) / fuel;
    const remembered = this.#slowNs * Math.exp(-tookNs / FORGET_NS);
    this.#slowNs = Math.max(costNs, Math.min(remembered, costNs * MAX_DISTRUST));
    const most = cut ? this.#budget : fuel * MAX_GROWTH;
    const wanted = Math.round(this.#quantumNs / this.#slowNs);
    this.#budget = Math.max(1, Math.min(MAX_BUDGET, most, wanted));
  }
}
