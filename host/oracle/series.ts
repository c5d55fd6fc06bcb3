/**
 * The recent past of one measured value, and how wrong "it stays as it is" was so far.
 *
 * Does: keep a bounded ring of (time, value); give the empirical residuals of the last-value forecast at any horizon.
 * Does not: know what the value means.
 *
 *   value     x(t)          residual at horizon h:  x(t + h) − x(t)         for every t of the ring for which t + h is known
 *   ▲      ╭──●╌╌╮           peak residual:          max x(t .. t + h) − x(t)
 *   │   ●──╯     ╰●
 *   └───t────────t+h──▶
 *
 * S1  Bounded: at most `capacity` points. S2  Time goes forward; a point that does not is dropped. S3  Values are finite, and at most
 * MEASURABLE_MAX in size, so that sums and differences of a few of them are finite too.
 */
import type { Quantiles } from '../types/brain.js';
import { packNumbers, unpackNumbers } from './packed.js';

/** No count of cores, bytes or fuel is larger; beyond it a number is a broken measurement, as NaN is. */
export const MEASURABLE_MAX = Number.MAX_SAFE_INTEGER;

export class Series {
  readonly #capacity: number;
  readonly #times: number[] = [];
  readonly #values: number[] = [];

  constructor(capacity = 240) {
    this.#capacity = capacity;
  }

  get last(): number {
    return this.#values.at(-1) ?? 0;
  }

  /** In time order. */
  get values(): readonly number[] {
    return this.#values;
  }

  get length(): number {
    return this.#values.length;
  }

  add(atMs: number, value: number): void {
    const before = this.#times.at(-1);
    if (!Number.isFinite(atMs) || !(Math.abs(value) <= MEASURABLE_MAX)) return;
    if (before !== undefined && atMs <= before) return;
    this.#times.push(atMs);
    this.#values.push(value);
    if (this.#times.length > this.#capacity) {
      this.#times.shift();
      this.#values.shift();
    }
  }

  /** Times, then values. */
  save(): Uint8Array {
    return packNumbers([Float64Array.from([...this.#times, ...this.#values])]);
  }

  /** What `save` gave, with times on a clock that shows so much more now. Throws SHERD_BLOB_DAMAGED when it cannot be. */
  static of(saved: Uint8Array, laterMs: number): Series {
    const series = new Series();
    const numbers = new Float64Array(Math.floor(saved.length / 16) * 2);
    unpackNumbers(saved, [numbers]);
    const count = numbers.length / 2;
    for (let i = 0; i < count; i++) series.add(numbers[i]! + laterMs, numbers[count + i]!);
    return series;
  }

  /** Residuals at the horizon, in time order: at its end, and at the highest point until then. O(points). */
  residuals(horizonMs: number): { readonly end: number[]; readonly peak: number[] } {
    const end: number[] = [];
    const peak: number[] = [];
    /** Indices of a falling run of values: the first one is the maximum of the window. */
    const falling: number[] = [];
    let to = 0;
    let head = 0;
    for (let from = 0; from < this.#times.length; from++) {
      const untilMs = this.#at(this.#times, from) + horizonMs;
      if (this.#at(this.#times, this.#times.length - 1) < untilMs) break;
      while (to < this.#times.length && this.#at(this.#times, to) <= untilMs) {
        while (
          falling.length > head &&
          this.#at(this.#values, falling.at(-1) ?? 0) <= this.#at(this.#values, to)
        ) {
          falling.pop();
        }
        falling.push(to);
        to += 1;
      }
      while ((falling[head] ?? from) < from) head += 1;
      if (to - 1 === from) continue;
      const base = this.#at(this.#values, from);
      end.push(this.#at(this.#values, to - 1) - base);
      peak.push(this.#at(this.#values, falling[head] ?? from) - base);
    }
    return { end, peak };
  }

  #at(list: readonly number[], index: number): number {
    return list[index] ?? 0;
  }
}

/** Quantile of an ascending list, linear between points; 0 for an empty list. */
export function quantile(ascending: readonly number[], q: number): number {
  if (ascending.length === 0) return 0;
  const at = Math.min(Math.max(q, 0), 1) * (ascending.length - 1);
  const low = Math.floor(at);
  const a = ascending[low] ?? 0;
  const b = ascending[Math.min(low + 1, ascending.length - 1)] ?? a;
  return a + (b - a) * (at - low);
}

/** Quantiles of a value and its residuals (any order), never negative. */
export function quantilesAround(value: number, residuals: readonly number[]): Quantiles {
  const ascending = [...residuals].sort((a, b) => a - b);
  const at = (q: number): number => Math.max(0, value + quantile(ascending, q));
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
