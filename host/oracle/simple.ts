/**
 * The simple forecasters of one series, and the windows by which they and the model are judged.
 *
 *     step        t ●───────── window: the WINDOW_STEPS values after t ─────────▶│ its maximum y (“at least” y: one was censored)
 *     opened at t:  base of each simple forecaster, P50 P90 P99 of each and of the model
 *     closed:       y − base ─▶ residuals of that forecaster (newest RESIDUALS)          loss of each ─▶ score.ts
 *
 *     last-value   base = the value at t                    quantiles = base + quantiles of its residuals
 *     ewma         base = exponentially weighted mean
 *     seasonal-naive  base = maximum of the same window a day ago; only where a day has at most SEASON_STEPS_MAX steps
 *
 * Does: keep windows and residuals, quantiles from them. Does not: choose (score.ts), know time or names.
 *
 * W1  Honest from the start: PRIOR residuals of half the capacity up and down, and two of nothing, are always mixed in.
 * W2  Censored: a residual that is only "at least" r counts as the mean of r and of those residuals that are r or more (Buckley and
 *     James, "Linear regression with censored data", Biometrika 66, 1979). Judged it is as if y were all that came: who forecasts far
 *     too much is not to gain by it, nor who forecasts that it never comes.
 * W3  A window of which half the values or more are missing is neither judged nor learned from.
 * W4  Bounded: WINDOW_STEPS / STRIDE windows, RESIDUALS residuals a forecaster, SEASON_STEPS_MAX values.
 */
import { LEVELS, type Levels, levelsOf, newLevels } from './levels.js';
import type { Numbers } from './packed.js';
import { pinball } from './replay.js';

/** Steps of a window; the same on each rung. */
export const WINDOW_STEPS = 10;
/** A window is opened every so many steps. */
export const STRIDE = 2;
const RESIDUALS = 128;
const SEASON_STEPS_MAX = 2_000;
const EWMA = 0.3;
const PRIOR = [-0.5, 0, 0, 0.5];

export const SIMPLE = ['last-value', 'ewma', 'seasonal-naive'] as const;
/** The forecasters that are judged, by index; the model is the last one. */
export const FORECASTERS = [...SIMPLE, 'peaks'] as const;
export type ForecasterName = (typeof FORECASTERS)[number];
export const MODEL = SIMPLE.length;
/** What is judged of each. */
export const JUDGED = [0.5, 0.9, 0.99] as const;
const JUDGED_AT = JUDGED.map((tau) => LEVELS.indexOf(tau));
const SEASON = SIMPLE.indexOf('seasonal-naive');
/** Numbers of a window: steps left (0 = free), values seen, maximum, 1 = "at least"; then bases, then quantiles. */
const [LEFT, SEEN, PEAK, LEAST, BASES] = [0, 1, 2, 3, 4];
const QUANTILES = BASES + SIMPLE.length;
const WINDOW_NUMBERS = QUANTILES + FORECASTERS.length * JUDGED.length;
const WINDOWS = WINDOW_STEPS / STRIDE;

/** Takes in what a closed window says of each forecaster; losses are NaN where it had no forecast. */
export type Judge = (losses: Float64Array) => void;

/** The newest residuals, in order of time and of size. */
class Residuals {
  readonly ring = new Float32Array(RESIDUALS);
  /** How many were ever added. */
  readonly added = new Float64Array(1);
  readonly #sorted = new Float32Array(RESIDUALS + PRIOR.length);
  #sortedCount = 0;

  constructor() {
    this.sort();
  }

  get count(): number {
    return this.added[0]!;
  }

  add(residual: number, isLeast: boolean): void {
    const value = Math.fround(isLeast ? this.#meanFrom(residual) : residual);
    const at = this.count % RESIDUALS;
    if (this.count >= RESIDUALS) this.#remove(this.ring[at]!);
    this.ring[at] = value;
    this.added[0]!++;
    const to = this.#indexOf(value);
    this.#sorted.copyWithin(to + 1, to, this.#sortedCount);
    this.#sorted[to] = value;
    this.#sortedCount++;
  }

  levels(base: number, target: Levels): void {
    levelsOf(this.#sorted, this.#sortedCount, base, target);
  }

  /** Puts in order what is in the ring. */
  sort(): void {
    const all = [...PRIOR, ...this.ring.subarray(0, Math.min(this.count, RESIDUALS))];
    this.#sorted.set(Float32Array.from(all).sort());
    this.#sortedCount = all.length;
  }

  #remove(value: number): void {
    const at = this.#indexOf(value);
    this.#sorted.copyWithin(at, at + 1, this.#sortedCount);
    this.#sortedCount--;
  }

  /** W2; the prior does not count. */
  #meanFrom(value: number): number {
    let sum = value;
    let count = 1;
    for (const other of this.ring.subarray(0, Math.min(this.count, RESIDUALS))) {
      if (other < value) continue;
      sum += other;
      count++;
    }
    return sum / count;
  }

  /** First place of a value that is not less. */
  #indexOf(value: number): number {
    let low = 0;
    let high = this.#sortedCount;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Windows {
  readonly #residuals = SIMPLE.map(() => new Residuals());
  readonly #windows = new Float64Array(WINDOWS * WINDOW_NUMBERS);
  readonly #days: Float32Array;
  readonly #bases = new Float64Array(SIMPLE.length).fill(Number.NaN);
  readonly #losses = new Float64Array(FORECASTERS.length * JUDGED.length);
  readonly #levels = newLevels();

  /** `stepsADay`: 0 = there are too many, or none. */
  constructor(stepsADay: number) {
    const steps = stepsADay <= SEASON_STEPS_MAX ? stepsADay : 0;
    this.#days = new Float32Array(steps).fill(Number.NaN);
  }

  /** Windows closed so far. */
  get closed(): number {
    return this.#residuals[0]!.count;
  }

  /** It ever had a value. */
  get hasBegun(): boolean {
    return !Number.isNaN(this.#bases[0]!);
  }

  /** Takes in the value of a step, NaN = missing: closes what is over. `judge` is called for each window that is. */
  take(step: number, value: number, isLeast: boolean, judge: Judge): void {
    for (let w = 0; w < WINDOWS; w++) {
      const at = w * WINDOW_NUMBERS;
      const left = this.#windows[at + LEFT]!;
      if (left === 0) continue;
      if (!Number.isNaN(value)) {
        this.#windows[at + PEAK] = Math.max(this.#windows[at + PEAK]!, value);
        this.#windows[at + SEEN]!++;
        if (isLeast) this.#windows[at + LEAST] = 1;
      }
      this.#windows[at + LEFT] = left - 1;
      if (left === 1 && this.#windows[at + SEEN]! * 2 > WINDOW_STEPS) this.#close(at, judge);
    }
    if (this.#days.length > 0) this.#days[step % this.#days.length] = value;
    this.#rebase(step, value);
  }

  /** Steps that nobody saw, from this one on: what was a day ago is not known there. */
  skip(step: number, steps: number): void {
    const days = this.#days.length;
    for (let i = 0; i < Math.min(steps, days); i++) this.#days[(step + i) % days] = Number.NaN;
  }

  /** Opens a window when it is time for one. `model`: what the model says now; undefined: there is no model. */
  open(step: number, value: number, model: Levels | undefined): void {
    if (step % STRIDE !== 0 || Number.isNaN(value)) return;
    let at = 0;
    while (at < this.#windows.length && this.#windows[at + LEFT] !== 0) at += WINDOW_NUMBERS;
    if (at >= this.#windows.length) return;
    const window = this.#windows.subarray(at, at + WINDOW_NUMBERS);
    window.fill(Number.NaN);
    window.set([WINDOW_STEPS, 0, Number.NEGATIVE_INFINITY, 0, ...this.#bases]);
    SIMPLE.forEach((_, k) => {
      if (this.simple(k, this.#levels)) this.#write(window, k, this.#levels);
    });
    if (model !== undefined) this.#write(window, MODEL, model);
  }

  /** What a simple forecaster says after the newest value. False: it says nothing. */
  simple(forecaster: number, target: Levels): boolean {
    const base = this.#bases[forecaster]!;
    if (Number.isNaN(base)) return false;
    this.#residuals[forecaster]!.levels(base, target);
    return true;
  }

  #write(window: Float64Array, forecaster: number, levels: Levels): void {
    const at = QUANTILES + forecaster * JUDGED.length;
    JUDGED_AT.forEach((level, i) => {
      window[at + i] = levels[level]!;
    });
  }

  #close(at: number, judge: Judge): void {
    const window = this.#windows.subarray(at, at + WINDOW_NUMBERS);
    const outcome = window[PEAK]!;
    const isLeast = window[LEAST] === 1;
    this.#residuals.forEach((residuals, k) => {
      const base = window[BASES + k]!;
      if (!Number.isNaN(base)) residuals.add(outcome - base, isLeast);
    });
    for (let i = 0; i < this.#losses.length; i++)
      this.#losses[i] = pinball(outcome, window[QUANTILES + i]!, JUDGED[i % JUDGED.length]!);
    judge(this.#losses);
  }

  /** Where the simple forecasters stand after this value; a missing one leaves them as they were. */
  #rebase(step: number, value: number): void {
    if (Number.isNaN(value)) return;
    const mean = this.#bases[1]!;
    this.#bases[0] = value;
    this.#bases[1] = Number.isNaN(mean) ? value : mean + EWMA * (value - mean);
    this.#bases[SEASON] = this.#aDayAgo(step);
  }

  #aDayAgo(step: number): number {
    const days = this.#days.length;
    let peak = Number.NaN;
    for (let i = 1; i <= WINDOW_STEPS && days > 0; i++) {
      const value = this.#days[(step + i) % days]!;
      if (!Number.isNaN(value)) peak = Number.isNaN(peak) ? value : Math.max(peak, value);
    }
    return peak;
  }

  /** All of its state; whoever writes into these calls `loaded`. */
  get numbers(): readonly Numbers[] {
    const residuals = this.#residuals.flatMap(({ added, ring }) => [added, ring]);
    return [this.#bases, this.#windows, this.#days, ...residuals];
  }

  loaded(): void {
    for (const residuals of this.#residuals) residuals.sort();
  }
}
