/**
 * Samples at arbitrary times, as means over cells of CELL_MS on one clock for all series.
 *
 *     samples    ●◀─────●◀──●◀───────────●╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌        a sample speaks of the time since the one before it
 *     cells     │   m   │   m   │   m   │   m   │ m │  –  │  –       … and holds on after it where a cell ends before the next one comes
 *
 * Does: turn one series into cells, and foreign time into time that only goes forward. Does not: know what a value means.
 *
 * Rules, each of which is tested:
 * R1  A cell is the mean over its time of what samples say of it, of as much of it as is covered; a cell of which nothing is covered is
 *     missing (NaN). A sample speaks of the time since the one before (it is a mean over that time, as shares and rates are); where a
 *     cell ends before the next sample has come, the last one holds. So the rate at which a series is sampled does not change what its
 *     cells say, nor does a change of rate.
 * R2  Gap: a value holds HOLD times the usual pause between the series' samples, within HOLD_MIN_MS to HOLD_MAX_MS. A sample after a
 *     longer pause says nothing of it.
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

  get newestMs(): number {
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

const [VALUE, LEAST, FROM, UNTIL] = [0, 1, 2, 3];

/** One series, cell by cell (R1–R5). */
export class Cells {
  /** What the newest sample says, and what the one before a gap said: value, 1 = "at least", from and until when. */
  readonly #newest = Float64Array.of(Number.NaN, 0, Number.NaN, Number.NEGATIVE_INFINITY);
  readonly #past = Float64Array.of(Number.NaN, 0, Number.NaN, Number.NEGATIVE_INFINITY);
  /** Of the open cell: covered up to here, sum of value · time, time that is covered, 1 = one value was "at least". */
  readonly #open = Float64Array.of(Number.NEGATIVE_INFINITY, 0, 0, 0);
  /** When the newest sample came; the usual pause. */
  readonly #times = Float64Array.of(Number.NEGATIVE_INFINITY, CELL_MS);

  /** Nothing is said of this instant. */
  isSilent(atMs: number): boolean {
    const says = (said: Float64Array): boolean => atMs <= said[UNTIL]! && !(atMs < said[FROM]!);
    return !says(this.#newest) && !says(this.#past);
  }

  /** When the newest sample came. */
  get atMs(): number {
    return this.#times[0]!;
  }

  /** Takes in a sample; `endMs`: end of the open cell. False: it was dropped. */
  add(atMs: number, value: number, isLeast: boolean, endMs: number): boolean {
    if (!(Math.abs(value) <= MEASURABLE_MAX) || !(atMs > this.atMs)) return false;
    this.#cover(Math.min(this.atMs, endMs));
    const pauseMs = atMs - this.atMs;
    const isGap = !(atMs <= this.#newest[UNTIL]!);
    if (isGap) this.#past.set(this.#newest);
    else this.#past[UNTIL] = Number.NEGATIVE_INFINITY;
    if (Number.isFinite(pauseMs))
      this.#times[1]! += (Math.min(pauseMs, HOLD_MAX_MS) - this.#times[1]!) / PAUSES;
    const holdMs = Math.min(HOLD_MAX_MS, Math.max(HOLD_MIN_MS, HOLD * this.#times[1]!));
    this.#times[0] = atMs;
    const fromMs = isGap ? atMs : Math.max(this.#open[0]!, this.#newest[FROM]!);
    this.#newest.set([value, Number(isLeast), fromMs, atMs + holdMs]);
    this.#cover(Math.min(atMs, endMs));
    return true;
  }

  /** Ends the cell that ends at this time, and begins the next. */
  close(endMs: number): Cell {
    this.#cover(endMs);
    const [, sum = 0, coveredMs = 0, least] = this.#open;
    this.#open.set([Math.max(this.#open[0]!, endMs), 0, 0, 0]);
    return coveredMs > 0 ? { value: sum / coveredMs, isLeast: least === 1 } : MISSING;
  }

  /** Adds up to here what the samples say. */
  #cover(toMs: number): void {
    for (const said of [this.#past, this.#newest]) {
      const fromMs = Math.max(this.#open[0]!, said[FROM]!);
      const untilMs = Math.min(toMs, said[UNTIL]!);
      if (!(untilMs > fromMs)) continue;
      this.#open[0] = untilMs;
      this.#open[1]! += said[VALUE]! * (untilMs - fromMs);
      this.#open[2]! += untilMs - fromMs;
      this.#open[3] = Math.max(this.#open[3]!, said[LEAST]!);
    }
  }

  /** All of its state. */
  get numbers(): readonly Float64Array[] {
    return [this.#newest, this.#past, this.#open, this.#times];
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
