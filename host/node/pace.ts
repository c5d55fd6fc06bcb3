/**
 * How much fuel a guest gets for one quantum of time.
 *
 *   took = setup (continuations of frames that never stopped here before) + running
 *                                                       └─ running ÷ fuel = time per fuel
 *   time per fuel      ▁▁▁▂▁▁▁▇▁▁▁▁▁▁▁▁        what each quantum took, divided by its fuel
 *   `slowNs`           ▁▁▁▂▂▂▂▇▇▇▇▆▆▆▅▅        the slowest, forgotten within some FORGET_NS
 *   budget             ████▇▇▇▁▁▁▁▂▂▂▃▃        quantum ÷ slowNs
 *
 * A program's passages take different time from one loop to the next. A budget made from the last quantum's figure would
 * run far over the quantum whenever a slow part follows a fast one, and a pause waits for its end: with gemm, strings and
 * luette the wait's 99th percentile was 4–10 ms so, and 0.5–1.2 ms with the slowest of the last hundred quanta. A quantum
 * costs about 5 µs: the kernels' run time was the same within the noise, the ray tracer's 3 % more.
 *
 * Setup is left out of the time per fuel: it comes with the stop and not with the fuel. Counted in, it would shrink the budget,
 * so that the next stop comes sooner and sets up the next place (Ruby's interpreter, 16 MB, came down to a budget of 1: 38 s
 * instead of 0.9). A quantum is made as long as its setup instead, within MAX_STRETCH_NS (3.1 s).
 *
 * Does: arithmetic. Does not: read a clock.
 *
 * P1  A budget is at least 1 and at most MAX_BUDGET, and grows at most by MAX_GROWTH from one quantum to the next.
 * P2  However slow a quantum was (its thread may have waited for a core), after the next one the budget grows until it is
 *     worth 1/MAX_DISTRUST of a quantum at the newest figure, and from there as the slow one is forgotten.
 * P3  While setups take long, quanta last as long as these do on average, at most MAX_STRETCH_NS.
 * P4  A quantum that was cut short by a stop never raises the budget, and one too short to say anything is left out.
 */
import { invariant } from '../types/errors.js';

const FIRST_BUDGET = 2_000;
const MAX_BUDGET = 2 ** 31 - 1;
const MAX_GROWTH = 2;
const FORGET_NS = 40_000_000;
const MAX_DISTRUST = 8;
/** What was cut short to less of a quantum than this says nothing. */
const TELLING_PART = 1 / 8;
/** Of the mean time that setting up takes, how much the newest quantum's weighs. */
const SETUP_WEIGHT = 1 / 4;
/** A quantum is never made longer than this to be worth its setup: a pause would wait for it. */
const MAX_STRETCH_NS = 8_000_000;
/** Times below it are mostly the quantum's own cost. */
const LEAST_NS = 1_000;

export class Pace {
  readonly #quantumNs: number;
  #slowNs = 0;
  #setupNs = 0;
  #budget = FIRST_BUDGET;

  constructor(quantumNs: number) {
    invariant(quantumNs > 0, 'a quantum has a length');
    this.#quantumNs = quantumNs;
  }

  /** Fuel for the next quantum. */
  get budget(): number {
    return this.#budget;
  }

  /** A quantum has run for `fuel`: its whole budget, or less when it was cut short. `setupNs` is a part of `tookNs`. */
  took(fuel: number, tookNs: number, setupNs = 0): void {
    invariant(fuel > 0, 'a quantum that ends has used fuel');
    invariant(setupNs >= 0, 'setting up takes time');
    this.#setupNs += (setupNs - this.#setupNs) * SETUP_WEIGHT;
    const quantumNs = Math.max(this.#quantumNs, Math.min(this.#setupNs, MAX_STRETCH_NS));
    this.#ran(fuel, Math.max(0, tookNs - setupNs), quantumNs);
  }

  #ran(fuel: number, tookNs: number, quantumNs: number): void {
    const cut = fuel < this.#budget;
    if (cut && tookNs < quantumNs * TELLING_PART) return;
    const costNs = Math.max(tookNs, LEAST_NS) / fuel;
    const remembered = this.#slowNs * Math.exp(-tookNs / FORGET_NS);
    this.#slowNs = Math.max(costNs, Math.min(remembered, costNs * MAX_DISTRUST));
    const most = cut ? this.#budget : fuel * MAX_GROWTH;
    const wanted = Math.round(quantumNs / this.#slowNs);
    this.#budget = Math.max(1, Math.min(MAX_BUDGET, most, wanted));
  }
}
