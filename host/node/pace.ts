/**
 * How much fuel a guest gets for one slice of a quantum (quantum.ts).
 *
 *   took = setup (continuations of frames that never stopped here before) + running
 *                                                       └─ running ÷ fuel = time per fuel
 *   time per fuel      ▁▁▁▂▁▁▁▇▁▁▁▁▁▁▁▁        what each slice took, divided by its fuel
 *   `slowNs`           ▁▁▁▂▂▂▂▇▇▇▇▆▆▆▅▅        the slowest, forgotten within some FORGET_NS
 *   budget             ████▇▇▇▁▁▁▁▂▂▂▃▃        slice ÷ slowNs
 *
 * A program's passages take different time from one loop to the next. A budget made from the last slice's figure would
 * run far over its time whenever a slow part follows a fast one, and a pause waits for its end: with gemm, strings and
 * luette the wait's 99th percentile was 4–10 ms so, and 0.5–1.2 ms with the slowest of the last 50 ms (measured when a quantum
 * was one slice). The first time that a slow part follows (a row of a matrix is summed up, then a column: 40 times as long), it is run into with the whole
 * budget: that is why slices are short.
 *
 * A stop costs about 1 µs, and 0.4 µs more for every frame that is run on the way to the next one; a slice is STOP_WORTH times
 * as long within a quantum, and with all distrust LEAST_WORTH times. Setup is left out of the time per fuel: it comes with the stop and not with the fuel. Counted in, it
 * would shrink the budget, so that the next stop comes sooner and sets up the next place (Ruby's interpreter, 16 MB, came
 * down to a budget of 1: 38 s instead of 0.9). A slice is made SETUP_WORTH times as long as its setup within a quantum, and as
 * long as its setup within MAX_STRETCH_NS.
 *
 * Does: arithmetic. Does not: read a clock.
 *
 * P1  A budget is at least 1 and at most MAX_BUDGET, and grows at most by MAX_GROWTH from one slice to the next.
 * P2  However slow a slice was (its thread may have waited for a core), after the next one the budget grows until it is
 *     worth 1/MAX_DISTRUST of a slice at the newest figure, or LEAST_WORTH stops, and from there as the slow one is
 *     forgotten. A thread that often loses its core would else stop for a tenth of its time.
 * P3  While setups take long, slices last at least as long as these do on average, at most MAX_STRETCH_NS.
 * P4  A slice that was cut short by a stop never raises the budget, and one too short to say anything is left out.
 */
import { invariant } from '../types/errors.js';

const FIRST_BUDGET = 2_000;
const MAX_BUDGET = 2 ** 31 - 1;
const MAX_GROWTH = 2;
const FORGET_NS = 40_000_000;
const MAX_DISTRUST = 8;
/** What was cut short to less of a slice than this says nothing. */
const TELLING_PART = 1 / 8;
/** Of the mean time that setting up and stopping take, how much the newest slice's weighs. */
const SETUP_WEIGHT = 1 / 4;
/** A slice is never made longer than this to be worth its setup: a pause would wait for it. */
const MAX_STRETCH_NS = 8_000_000;
/** The shortest slice is this part of a quantum. */
const LEAST_SLICE = 1 / 5;
/** A slice lasts so many times what it costs to stop after it, and to set up its beginning, but within a quantum. */
const STOP_WORTH = 64;
const SETUP_WORTH = 4;
/** A slice is never made shorter than so many times what its stop costs, at the newest figure. */
const LEAST_WORTH = 32;
/** What a stop costs, and each frame that is written there and run from there, ns. */
const STOP_NS = 1_000;
const STEP_NS = 400;
/** Times below it are mostly the slice's own cost. */
const LEAST_NS = 1_000;

export class Pace {
  readonly #quantumNs: number;
  #slowNs = 0;
  #setupNs = 0;
  #stopNs = STOP_NS;
  #budget = FIRST_BUDGET;

  constructor(quantumNs: number) {
    invariant(quantumNs > 0, 'a quantum has a length');
    this.#quantumNs = quantumNs;
  }

  /** Fuel for the next slice. */
  get budget(): number {
    return this.#budget;
  }

  /**
   * A slice has run for `fuel`: its whole budget, or less when it was cut short. `setupNs` is a part of `tookNs`; `steps` is
   * the number of frames that were run in it.
   */
  took(fuel: number, tookNs: number, setupNs = 0, steps = 1): void {
    invariant(fuel > 0, 'a slice that ends has used fuel');
    invariant(setupNs >= 0 && steps >= 0, 'setting up takes time');
    this.#setupNs += (setupNs - this.#setupNs) * SETUP_WEIGHT;
    this.#stopNs += (STOP_NS + steps * STEP_NS - this.#stopNs) * SETUP_WEIGHT;
    this.#ran(fuel, Math.max(0, tookNs - setupNs), this.#sliceNs());
  }

  #sliceNs(): number {
    const worthNs = Math.max(this.#stopNs * STOP_WORTH, this.#setupNs * SETUP_WORTH);
    const sliceNs = Math.max(this.#quantumNs * LEAST_SLICE, Math.min(worthNs, this.#quantumNs));
    return Math.max(sliceNs, Math.min(this.#setupNs, MAX_STRETCH_NS));
  }

  #leastNs(sliceNs: number): number {
    return Math.min(this.#stopNs * LEAST_WORTH, sliceNs);
  }

  #ran(fuel: number, tookNs: number, sliceNs: number): void {
    const cut = fuel < this.#budget;
    if (cut && tookNs < sliceNs * TELLING_PART) return;
    const costNs = Math.max(tookNs, LEAST_NS) / fuel;
    const remembered = this.#slowNs * Math.exp(-tookNs / FORGET_NS);
    this.#slowNs = Math.max(costNs, Math.min(remembered, costNs * MAX_DISTRUST));
    const most = cut ? this.#budget : fuel * MAX_GROWTH;
    const wanted = Math.round(Math.max(sliceNs / this.#slowNs, this.#leastNs(sliceNs) / costNs));
    this.#budget = Math.max(1, Math.min(MAX_BUDGET, most, wanted));
  }
}
