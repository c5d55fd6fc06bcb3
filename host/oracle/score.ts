/**
 * How good each forecaster has been lately, which one answers, and whether the world has changed.
 *
 *     losses of a step (score of windows that closed) ─▶ fading means ─▶ who answers: the model, or the best simple forecaster
 *                                          │
 *                                          └─▶ Page–Hinkley on last-value's loss ─▶ drift: forget, widen for a while
 *
 * One such score is kept for each rung and kind of series.
 *
 * Does: means, choice, drift. Does not: make forecasts or losses (simple.ts).
 *
 * Q1  Losses are compared in units of last-value's mean loss at the same quantile, so that P99 counts as much as P50.
 * Q2  Only windows for which both had a forecast are compared with each other. The windows of one step are one observation (series move
 *     together), and observations that overlap are worth 1 / OVERLAP each.
 * Q3  The model answers while it is not worse than the best simple one beyond noise (two standard errors). Once it has lost, it must be
 *     better in the mean to come back; the same holds before it has ever answered, and after at least STEPS_MIN judged steps.
 * Q4  Drift (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954; Hinkley's form for a mean that rises): last-value's
 *     loss (it is there at every step, and a world that has become harder shows in it, whoever answers) in units of its own slow
 *     mean, less 1 and a tolerance, summed; an alarm when the sum is DRIFT_LAMBDA above its least value. Then the score begins anew,
 *     last-value answers until enough is known again, and bands are wider, fading out over WIDE_STEPS.
 * Q5  No window closed: nothing changes. Nothing here is NaN.
 */
import type { Numbers } from './packed.js';
import {
  FORECASTERS,
  type ForecasterName,
  JUDGED,
  MODEL,
  SIMPLE,
  STRIDE,
  WINDOW_STEPS,
} from './simple.js';

/** Steps that the means remember, and that must have been judged before anybody but last-value answers. */
const MEMORY = 500;
export const STEPS_MIN = 60;
const OVERLAP = WINDOW_STEPS / STRIDE;
const ERRORS = 2;
/** Among simple forecasters: only for so much less loss. */
const SIMPLE_GAIN = 0.97;
const DRIFT_TOLERANCE = 0.5;
const DRIFT_LAMBDA = 60;
/** One window is no change of the world: losses are cut here, in units of their mean. */
const DRIFT_CUT = 10;
const WIDE_FACTOR = 2;
const WIDE_STEPS = 100;
const LOSSES = FORECASTERS.length * JUDGED.length;
const SMALLEST = 1e-12;
const [ANSWERS, JUDGED_STEPS, DRIFTS, WIDE] = [0, 1, 2, 3];

/** What is published of a score. */
export interface ScoreView {
  /** Who answers now. */
  readonly answers: ForecasterName;
  /** Steps with a judged window since the score began. */
  readonly steps: number;
  /** Mean pinball loss of P50, P90 and P99, in shares of the capacity; null: nothing judged yet. */
  readonly loss: Readonly<Record<ForecasterName, readonly [number, number, number] | null>>;
  readonly drifts: number;
  /** Bands are wider by this factor; 1 = no drift lately. */
  readonly wide: number;
}

export class Score {
  readonly #sums = new Float64Array(LOSSES);
  readonly #counts = new Float64Array(LOSSES);
  /** Fading means of losses, and how many steps are in each. */
  readonly #means = new Float64Array(LOSSES);
  readonly #steps = new Float64Array(LOSSES);
  /** The model's loss less that of each simple forecaster: mean, variance, steps. */
  readonly #gap = new Float64Array(SIMPLE.length);
  readonly #gapVariance = new Float64Array(SIMPLE.length);
  readonly #gapSteps = new Float64Array(SIMPLE.length);
  /** Page–Hinkley: slow mean of the loss, steps in it, sum, its least value. */
  readonly #drift = new Float64Array(4);
  /** Who answers, steps judged, drifts, steps until bands are as ever. */
  readonly #facts = new Float64Array(4);

  /** Adds the losses of a window to this step: three of each forecaster, NaN where it had no forecast. */
  add(losses: Float64Array): void {
    for (let i = 0; i < LOSSES; i++) {
      const loss = losses[i]!;
      if (Number.isNaN(loss)) continue;
      this.#sums[i]! += loss;
      this.#counts[i]!++;
    }
  }

  /** Ends the step. True: the world has changed (Q4). */
  step(): boolean {
    this.#facts[WIDE] = Math.max(0, this.#facts[WIDE]! - 1);
    // Whoever forecasts at all forecasts from the first value on, as last-value does.
    if (this.#counts[0] === 0) return false;
    const now = this.#sums.map((sum, i) => sum / this.#counts[i]!);
    this.#sums.fill(0);
    this.#counts.fill(0);
    this.#facts[JUDGED_STEPS]!++;
    this.#remember(now);
    this.#compare(now);
    const hasChanged = this.#isDrift(now);
    if (hasChanged) this.#beginAnew();
    else this.#choose();
    return hasChanged;
  }

  /** Index of whoever answers now. */
  get answers(): number {
    return this.#facts[ANSWERS]!;
  }

  /** Bands are to be wider by this factor. */
  get wide(): number {
    return 1 + ((WIDE_FACTOR - 1) * this.#facts[WIDE]!) / WIDE_STEPS;
  }

  get view(): ScoreView {
    const lossOf = (f: number): readonly [number, number, number] | null => {
      const at = f * JUDGED.length;
      if (this.#steps[at] === 0) return null;
      return [this.#means[at]!, this.#means[at + 1]!, this.#means[at + 2]!];
    };
    const loss = Object.fromEntries(FORECASTERS.map((name, f) => [name, lossOf(f)]));
    return {
      answers: FORECASTERS[this.answers]!,
      steps: this.#facts[JUDGED_STEPS]!,
      loss: loss as ScoreView['loss'],
      drifts: this.#facts[DRIFTS]!,
      wide: this.wide,
    };
  }

  /** Loss of a forecaster in these means, in units of last-value's mean so far (Q1); NaN: it had none. */
  #relative(losses: ArrayLike<number>, forecaster: number): number {
    let sum = 0;
    for (let j = 0; j < JUDGED.length; j++) {
      const loss = losses[forecaster * JUDGED.length + j]!;
      sum += (loss + SMALLEST) / (this.#means[j]! + SMALLEST);
    }
    return sum / JUDGED.length;
  }

  #remember(now: Float64Array): void {
    for (let i = 0; i < LOSSES; i++) {
      if (Number.isNaN(now[i]!)) continue;
      const steps = Math.min(this.#steps[i]! + 1, MEMORY);
      this.#steps[i] = steps;
      this.#means[i]! += (now[i]! - this.#means[i]!) / steps;
    }
  }

  #compare(now: Float64Array): void {
    const model = this.#relative(now, MODEL);
    SIMPLE.forEach((_, k) => {
      const gap = model - this.#relative(now, k);
      if (Number.isNaN(gap)) return;
      const steps = Math.min(this.#gapSteps[k]! + 1, MEMORY);
      const off = gap - this.#gap[k]!;
      this.#gapSteps[k] = steps;
      this.#gap[k]! += off / steps;
      this.#gapVariance[k]! += (off * (gap - this.#gap[k]!) - this.#gapVariance[k]!) / steps;
    });
  }

  #choose(): void {
    const best = this.#bestSimple();
    const steps = this.#gapSteps[best]!;
    if (steps >= STEPS_MIN) {
      const error = Math.sqrt((this.#gapVariance[best]! * OVERLAP) / steps);
      const isIn = this.answers === MODEL;
      const gap = this.#gap[best]!;
      if (isIn ? gap <= ERRORS * error : gap <= 0) {
        this.#facts[ANSWERS] = MODEL;
        return;
      }
    }
    const current = this.answers;
    const mayStay = current !== MODEL && this.#meanOf(best) > SIMPLE_GAIN * this.#meanOf(current);
    if (!mayStay) this.#facts[ANSWERS] = best;
  }

  #bestSimple(): number {
    let best = 0;
    for (let k = 1; k < SIMPLE.length; k++) {
      const isKnown = this.#steps[k * JUDGED.length]! >= STEPS_MIN;
      if (isKnown && this.#meanOf(k) < this.#meanOf(best)) best = k;
    }
    return best;
  }

  #meanOf(forecaster: number): number {
    return this.#relative(this.#means, forecaster);
  }

  /** Q4. */
  #isDrift(now: Float64Array): boolean {
    const loss = (now[0]! + now[1]! + now[2]!) / JUDGED.length;
    const [mean = 0, steps = 0] = this.#drift;
    const next = steps === 0 ? loss : Math.min(loss, DRIFT_CUT * (mean + SMALLEST));
    this.#drift[0] = mean + (next - mean) / Math.min(steps + 1, MEMORY);
    this.#drift[1] = steps + 1;
    if (steps < STEPS_MIN) return false;
    const inMeans = Math.min(DRIFT_CUT, (loss + SMALLEST) / (mean + SMALLEST));
    this.#drift[2]! += inMeans - 1 - DRIFT_TOLERANCE;
    this.#drift[3] = Math.min(this.#drift[3]!, this.#drift[2]!);
    return this.#drift[2]! - this.#drift[3]! > DRIFT_LAMBDA;
  }

  #beginAnew(): void {
    for (const numbers of [this.#means, this.#steps, this.#gap, this.#gapVariance]) numbers.fill(0);
    this.#gapSteps.fill(0);
    this.#drift.fill(0);
    this.#facts.set([0, 0, this.#facts[DRIFTS]! + 1, WIDE_STEPS]);
  }

  /** All of its state between two steps. */
  get numbers(): readonly Numbers[] {
    return [
      this.#facts,
      this.#means,
      this.#steps,
      this.#gap,
      this.#gapVariance,
      this.#gapSteps,
      this.#drift,
    ];
  }
}
