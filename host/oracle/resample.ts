/**
 * Samples at arbitrary times, as means over cells of CELL_MS on one clock for all series.
 *
 *     samples    ●──────●───●────────────●╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌        a sample holds until the next one
 *     cells     │   m   │   m   │   m   │   m   │ m │  –  │  –       … but no longer than the series' usual pause times HOLD
 *
 * Does: turn one series into cells, and foreign time into time that only goes forward. Does not: know what a value means.
 *
 * Rules, each of which is tested:
 * R1  A cell is the mean over its time of the value that held, of as much of it as is covered; a cell of which nothing is covered is
 *     missing (NaN). So the rate at which a series is sampled does not change what its cells say, nor does a change of rate.
 * R2  Gap: a value holds HOLD times the usual pause between the series' samples, within HOLD_MIN_MS to HOLD_MAX_MS.
 * R3  Not a number, or beyond MEASURABLE_MAX: as if it had not come.
 * R4  Duplicate (same time) or out of order (earlier than the series' newest): the first one counts, the later one is dropped.
 * R5  A sample for a cell that is closed counts from the cell that is open.
 * R6  Clock: time is followed forward, any distance. Time that lies BACK_MS or more behind is a clock that was set back if BACK_SAMPLES
 *     samples in a row say so, each not before the one before it: from then on it goes on from where it stood. Until then, and nearer
 *     than that, it is a late sample, and dropped.
 * R7  Counters: `Rate` turns a counter into a rate. One that stood still gives 0; one that went back (reset, other interface) or came
 *     at the same or an earlier time gives no rate, and a new base.
 */
import { MEASURABLE_MAX } from './series.js';

export const CELL_MS = 500;
const HOLD = 3;
const HOLD_MIN_MS = 2_000;
const HOLD_MAX_MS = 60_000;
const BACK_MS = 10_000;
const BACK_SAMPLES = 3;
/** The usual pause is a mean of so many. */
const PAUSES = 8;

/** Time that only goes forward (R6). */
export class ForwardClock {
  #newestMs = Number.NEGATIVE_INFINITY;
  #shiftMs = 0;
  #backMs = 0;
  #backSamples = 0;

  /** Own time of a sample's time; NaN: the sample is late, or has no time. */
  take(atMs: number): number {
    if (!(Math.abs(atMs) <= MEASURABLE_MAX)) return Number.NaN;
    const ownMs = atMs + this.#shiftMs;
    if (ownMs > this.#newestMs - BACK_MS) {
      this.#backSamples = 0;
      this.#newestMs = Math.max(this.#newestMs, ownMs);
      return ownMs;
    }
    this.#backSamples = this.#backSamples > 0 && atMs < this.#backMs ? 1 : this.#backSamples + 1;
    this.#backMs = atMs;
    if (this.#backSamples < BACK_SAMPLES) return Number.NaN;
    this.#backSamples = 0;
    this.#shiftMs = this.#newestMs - atMs;
    return this.#newestMs;
  }

  save(): Float64Array {
    return Float64Array.of(this.#newestMs, this.#shiftMs);
  }

  /** `laterMs`: how much later the clock of the samples shows the same instant now. */
  load([newestMs = 0, shiftMs = 0]: Float64Array, laterMs: number): void {
    this.#newestMs = newestMs;
    this.#shiftMs = shiftMs - laterMs;
  }
}

/** A cell's mean; `isLeast`: a value in it may have been more. */
export interface Cell {
  readonly value: number;
  readonly isLeast: boolean;
}

const MISSING: Cell = { value: Number.NaN, isLeast: false };

/** One series, cell by cell (R1–R5). */
export class Cells {
  #atMs = Number.NEGATIVE_INFINITY;
  #value = Number.NaN;
  #isLeast = false;
  #pauseMs = CELL_MS;
  /** Up to here what held has been added to the open cell. */
  #doneMs = Number.NEGATIVE_INFINITY;
  #sum = 0;
  #coveredMs = 0;
  #sumIsLeast = false;

  /** The newest value; NaN when it holds no longer, or there was none. */
  valueAt(nowMs: number): number {
    return nowMs <= this.#untilMs ? this.#value : Number.NaN;
  }

  /** When the newest sample came. */
  get atMs(): number {
    return this.#atMs;
  }

  add(atMs: number, value: number, isLeast: boolean): boolean {
    if (!(Math.abs(value) <= MEASURABLE_MAX) || !(atMs > this.#atMs)) return false;
    const pauseMs = atMs - this.#atMs;
    this.#cover(atMs);
    if (Number.isFinite(pauseMs)) {
      const usualMs = Math.min(pauseMs, HOLD_MAX_MS);
      this.#pauseMs += (usualMs - this.#pauseMs) / PAUSES;
    }
    this.#atMs = atMs;
    this.#value = value;
    this.#isLeast = isLeast;
    this.#doneMs = Math.max(this.#doneMs, atMs);
    return true;
  }

  /** Ends the cell that ends at this time, and begins the next. */
  close(endMs: number): Cell {
    this.#cover(endMs);
    const { value, isLeast } =
      this.#coveredMs > 0
        ? { value: this.#sum / this.#coveredMs, isLeast: this.#sumIsLeast }
        : MISSING;
    this.#sum = 0;
    this.#coveredMs = 0;
    this.#sumIsLeast = false;
    this.#doneMs = Math.max(this.#doneMs, endMs);
    return { value, isLeast };
  }

  get #untilMs(): number {
    return this.#atMs + Math.min(HOLD_MAX_MS, Math.max(HOLD_MIN_MS, HOLD * this.#pauseMs));
  }

  /** Adds what held from `doneMs` up to here. */
  #cover(toMs: number): void {
    const fromMs = Math.max(this.#doneMs, this.#atMs);
    const forMs = Math.min(toMs, this.#untilMs) - fromMs;
    if (!(forMs > 0)) return;
    this.#sum += this.#value * forMs;
    this.#coveredMs += forMs;
    this.#sumIsLeast ||= this.#isLeast;
    this.#doneMs = fromMs + forMs;
  }

  save(): Float64Array {
    return Float64Array.of(
      this.#atMs,
      this.#value,
      Number(this.#isLeast),
      this.#pauseMs,
      this.#doneMs,
      this.#sum,
      this.#coveredMs,
      Number(this.#sumIsLeast),
    );
  }

  load(saved: Float64Array): void {
    const [atMs = 0, value = 0, isLeast, pauseMs = 0, doneMs = 0, sum = 0, coveredMs = 0, least] =
      saved;
    this.#atMs = atMs;
    this.#value = value;
    this.#isLeast = isLeast === 1;
    this.#pauseMs = pauseMs;
    this.#doneMs = doneMs;
    this.#sum = sum;
    this.#coveredMs = coveredMs;
    this.#sumIsLeast = least === 1;
  }
}

/** The rate of a counter that may be reset (R7). */
export class Rate {
  #atMs = Number.NaN;
  #counter = Number.NaN;

  /** Counts a second since the last take; undefined: there is no rate to be told. */
  take(atMs: number, counter: number): number | undefined {
    const forMs = atMs - this.#atMs;
    const counts = counter - this.#counter;
    this.#atMs = atMs;
    this.#counter = counter;
    return forMs > 0 && counts >= 0 && Number.isFinite(counts)
      ? (counts * 1_000) / forMs
      : undefined;
  }
}
