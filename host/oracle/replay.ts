/**
 * Goes through recorded series once, in time order, and forecasts at every step; afterwards says how good that was.
 *
 *     step t:  values v_t of all series ─▶ forecasts ─▶ visit(t, series, forecast)        nothing later has been looked at
 *
 * Does: drive the forecaster over arrays, score it. Does not: read files, draw.
 *
 * R1  Series are taken in the order of their names, whatever the order given.
 * R2  Quantiles end near the highest value so far (F7 of assembly/core/forecast.ts), but not below the capacity: with another capacity
 *     they may be others.
 * R3  A series has a step from 0 to its last value; where it has ended there is no forecast.
 */
import type { Platform } from '../types/platform.js';
import { type PastSeries, type PeakForecast, PeakOracle } from './peaks.js';

export interface RecordedSeries extends PastSeries {
  readonly name: string;
}

export interface History {
  readonly series: readonly RecordedSeries[];
  readonly intervalS: number;
}

export interface ReplayInput {
  readonly series: readonly RecordedSeries[];
  /** Length of a step, s. */
  readonly intervalS: number;
  /** Steps ahead. */
  readonly horizon: number;
  /** Undefined: no probability is asked for (it is NaN). */
  readonly capacity?: number | undefined;
  /** Learned from first, in this order. */
  readonly history?: readonly History[];
}

/** Called for every step of every series, by step, then by name; the forecast is valid until the next call. */
export type Visit = (series: RecordedSeries, step: number, forecast: PeakForecast) => void;

export function sortedByName<T extends { readonly name: string }>(series: readonly T[]): T[] {
  return [...series].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Runs through all steps. Gives the forecaster as it is at the end. */
export function replay(platform: Platform, input: ReplayInput, visit: Visit): PeakOracle {
  const steps = replaySteps(platform, input, visit);
  for (;;) {
    const next = steps.next();
    if (next.done === true) return next.value;
  }
}

/** The same, step by step: whoever writes the forecasts down can wait in between. */
export function* replaySteps(
  platform: Platform,
  input: ReplayInput,
  visit: Visit,
): Generator<number, PeakOracle> {
  const oracle = new PeakOracle(platform, input.horizon, { endsAtTop: true });
  for (const { series, intervalS } of input.history ?? [])
    oracle.learn(sortedByName(series), intervalS);
  const series = sortedByName(input.series);
  oracle.begin(
    series.map(({ name }) => name),
    input.intervalS,
  );
  const steps = series.reduce((most, { values }) => Math.max(most, values.length), 0);
  const now: (number | undefined)[] = new Array(series.length);
  const forecast: PeakForecast = { p50: 0, p90: 0, p99: 0, contention: 0 };
  for (let step = 0; step < steps; step++) {
    for (let slot = 0; slot < series.length; slot++) now[slot] = series[slot]!.values[step];
    oracle.advance(now, input.capacity);
    for (let slot = 0; slot < series.length; slot++) {
      if (now[slot] === undefined) continue;
      oracle.read(slot, forecast);
      visit(series[slot]!, step, forecast);
    }
    yield step;
  }
  return oracle;
}

/** What came: the maximum of the next `horizon` values, NaN where not all of them are there (or all are missing). */
export function peaksOf(values: Float64Array, horizon: number): Float64Array {
  const peaks = new Float64Array(values.length).fill(Number.NaN);
  /** Steps of a falling run of values: the first one is the maximum of the window. */
  const falling: number[] = [];
  let head = 0;
  for (let end = 1; end < values.length; end++) {
    const value = values[end]!;
    if (!Number.isNaN(value)) {
      while (falling.length > head && values[falling.at(-1)!]! <= value) falling.pop();
      falling.push(end);
    }
    const from = end - horizon;
    if (from < 0) continue;
    while (head < falling.length && falling[head]! <= from) head++;
    if (head < falling.length) peaks[from] = values[falling[head]!]!;
  }
  return peaks;
}

/** Pinball (quantile) loss of a forecast `q` of the `tau` quantile. */
export function pinball(actual: number, q: number, tau: number): number {
  return actual >= q ? tau * (actual - q) : (1 - tau) * (q - actual);
}

export interface Score {
  /** Forecasts whose outcome is known. */
  readonly forecasts: number;
  /** Shares of outcomes at or below P50, P90, P99. */
  readonly covered: readonly [number, number, number];
  /** Mean pinball loss of P50, P90, P99, and the same of the newest value taken as each of them. */
  readonly pinball: readonly [number, number, number];
  readonly lastValue: readonly [number, number, number];
}

const TAUS = [0.5, 0.9, 0.99] as const;

/** Adds up how good forecasts were. */
export class Scorer {
  readonly #peaks = new Map<string, Float64Array>();
  readonly #sums = new Float64Array(9);
  readonly #horizon: number;
  #count = 0;

  constructor(horizon: number) {
    this.#horizon = horizon;
  }

  /** For use in a `Visit`: the outcome is looked up here, after the forecast was made. */
  add(series: RecordedSeries, step: number, forecast: PeakForecast): void {
    let peaks = this.#peaks.get(series.name);
    if (peaks === undefined) {
      peaks = peaksOf(series.values, this.#horizon);
      this.#peaks.set(series.name, peaks);
    }
    const actual = peaks[step]!;
    const last = series.values[step]!;
    if (Number.isNaN(actual) || Number.isNaN(last)) return;
    this.#count++;
    const quantiles = [forecast.p50, forecast.p90, forecast.p99];
    TAUS.forEach((tau, k) => {
      this.#sums[k]! += actual <= quantiles[k]! ? 1 : 0;
      this.#sums[3 + k]! += pinball(actual, quantiles[k]!, tau);
      this.#sums[6 + k]! += pinball(actual, last, tau);
    });
  }

  get score(): Score {
    const mean = (from: number): [number, number, number] => {
      const [a, b, c] = this.#sums.subarray(from, from + 3);
      const n = Math.max(1, this.#count);
      return [a! / n, b! / n, c! / n];
    };
    return { forecasts: this.#count, covered: mean(0), pinball: mean(3), lastValue: mean(6) };
  }
}
