/**
 * What simple predictors say of the next run of a key, from the runs of that key that have completed.
 *
 *   mean of last 2: Tsafrir, Etsion & Feitelson 2007 · mean of last 5, last, median: folklore · its quantiles: empirical, of all runs
 *
 * Does: predict. Does not: know anything of the run but its key.
 */
import { median, quantile } from '../lib/statistics.js';
import { type Forecasts, pointForecast } from './score.js';

export class KeyHistory {
  readonly #values: number[] = [];

  add(value: number): void {
    this.#values.push(value);
  }

  get length(): number {
    return this.#values.length;
  }

  /** The newest so many, or all. */
  last(count = this.#values.length): readonly number[] {
    return this.#values.slice(-count);
  }
}

export interface Peer {
  readonly name: string;
  readonly of: (key: KeyHistory) => Forecasts;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, each) => sum + each, 0) / values.length;

/** The one that the bars name. */
export const BAR_PEER = 'mean of last 5';

export const PEERS: readonly Peer[] = [
  { name: BAR_PEER, of: (key) => pointForecast(mean(key.last(5))) },
  { name: 'mean of last 2', of: (key) => pointForecast(mean(key.last(2))) },
  { name: 'last value', of: (key) => pointForecast(key.last(1)[0]!) },
  { name: 'median of key', of: (key) => pointForecast(median(key.last())) },
  {
    name: 'quantiles of key',
    of: (key) => {
      const all = key.last();
      const at = (q: number): number => quantile(all, q);
      return { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
    },
  },
];
