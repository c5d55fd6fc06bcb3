/**
 * How good forecasts of what runs need are.
 *
 *   error            median over runs of |P50 − actual| ÷ actual
 *   over-allocation  bound = P95 × the least factor for which at most 1 % of the runs need more (in hindsight, each predictor its own);
 *                    bound ÷ actual: mean, median and 95th percentile over runs; Σ bound ÷ Σ actual
 *   coverage         share of the runs that need no more than the quantile
 *   pinball          of logarithms, mean over runs
 *
 * Does: score. Does not: predict.
 *
 * S1  Runs that need 0 have no percentage error: they are not scored by it.
 * S2  Ratios of two predictors are paired; their bounds come from drawing whole keys, whose runs are alike.
 */
import { bootstrap, type Estimate } from '../lib/statistics.js';

export interface Forecasts {
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
}

/** Of one run: what it needed, and what each predictor said before. */
export interface Scored {
  readonly key: string;
  /** Runs of the key that had completed. */
  readonly before: number;
  readonly actual: number;
  readonly forecasts: Readonly<Record<string, Forecasts>>;
}

export interface Score {
  readonly name: string;
  readonly runs: number;
  readonly medianError: number;
  /** Shares of runs that need no more than P50, P90, P95, P99. */
  readonly coverage: readonly number[];
  readonly pinball: readonly number[];
  readonly over: Over;
}

export interface Over {
  readonly factor: number;
  readonly mean: number;
  readonly median: number;
  readonly p95: number;
  readonly total: number;
}

export const LEVELS = [0.5, 0.9, 0.95, 0.99] as const;
export const UNDER_MAX = 0.01;
/** Equal but for the rounding of a logarithm. */
const SAME = 1 + 1e-9;
/** Stands for a forecast of 0 where it has to be divided by. */
const LEAST = 1e-3;

export function pointForecast(value: number): Forecasts {
  return { p50: value, p90: value, p95: value, p99: value };
}

export function predictorsOf(scored: readonly Scored[]): string[] {
  return [...new Set(scored.flatMap(({ forecasts }) => Object.keys(forecasts)))];
}

const levelsOf = ({ p50, p90, p95, p99 }: Forecasts): readonly number[] => [p50, p90, p95, p99];

export function scoreOf(scored: readonly Scored[], name: string): Score {
  const runs = scored.filter(({ forecasts }) => forecasts[name] !== undefined);
  const said = runs.map(({ forecasts }) => levelsOf(forecasts[name]!));
  const mean = (of: (at: number) => number): number =>
    runs.reduce((sum, _, at) => sum + of(at), 0) / runs.length;
  const columns = columnsOf(runs, name);
  return {
    name,
    runs: runs.length,
    medianError: medianError(columns),
    coverage: LEVELS.map((_, k) =>
      mean((at) => (runs[at]!.actual <= said[at]![k]! * SAME ? 1 : 0)),
    ),
    pinball: LEVELS.map((level, k) =>
      mean((at) => {
        const off = Math.log(runs[at]!.actual / Math.max(LEAST, said[at]![k]!));
        return off > 0 ? level * off : (level - 1) * off;
      }),
    ),
    over: overOf(columns),
  };
}

/** By run. */
interface Columns {
  readonly actuals: Float64Array;
  /** |P50 − actual| ÷ actual. */
  readonly errors: Float64Array;
  /** P95 ÷ actual. */
  readonly ratios: Float64Array;
}

function columnsOf(runs: readonly Scored[], name: string): Columns {
  const each = (of: (run: Scored, said: Forecasts) => number): Float64Array =>
    Float64Array.from(runs, (run) => of(run, run.forecasts[name]!));
  return {
    actuals: each(({ actual }) => actual),
    errors: each(({ actual }, { p50 }) => Math.abs(p50 - actual) / actual),
    ratios: each(({ actual }, { p95 }) => Math.max(LEAST, p95) / actual),
  };
}

const sorted = (values: Float64Array): Float64Array => values.slice().sort();
const middle = (ascending: Float64Array): number => {
  const half = ascending.length >> 1;
  return ascending.length % 2 === 1
    ? ascending[half]!
    : (ascending[half - 1]! + ascending[half]!) / 2;
};
const sum = (values: Float64Array): number => values.reduce((total, each) => total + each, 0);

function medianError({ errors }: Columns): number {
  return middle(sorted(errors));
}

/** Bounds that at most UNDER_MAX of the runs exceed. */
function overOf({ actuals, ratios }: Columns): Over {
  const ascending = sorted(ratios);
  const allowed = Math.floor(UNDER_MAX * ascending.length);
  const factor = 1 / ascending[allowed]!;
  const bounds = ratios.map((ratio, at) => factor * ratio * actuals[at]!);
  return {
    factor,
    mean: (factor * sum(ratios)) / ratios.length,
    median: factor * middle(ascending),
    p95: factor * ascending[Math.floor(0.95 * (ascending.length - 1))]!,
    total: sum(bounds) / sum(actuals),
  };
}

export const FIGURES = {
  'median error of P50': medianError,
  'over-allocation, mean': (columns: Columns) => overOf(columns).mean,
  'over-allocation, all ÷ all': (columns: Columns) => overOf(columns).total,
} as const;
export type Figure = keyof typeof FIGURES;

/** Of two that are both 0 neither is better. */
function quotient(value: number, other: number): number {
  return value === other ? 1 : value / other;
}

/** A figure of one predictor ÷ the same of another, with a 90 % bound from drawing keys (S2). */
export function compare(
  scored: readonly Scored[],
  figure: Figure,
  name: string,
  other: string,
): Estimate {
  const keys = new Map<string, number[]>();
  scored.forEach(({ key }, at) => {
    const runs = keys.get(key) ?? [];
    runs.push(at);
    keys.set(key, runs);
  });
  const groups = [...keys.values()];
  const [left, right] = [columnsOf(scored, name), columnsOf(scored, other)];
  const of = (columns: Columns, rows: readonly number[]): number => {
    const draw = (from: Float64Array): Float64Array => Float64Array.from(rows, (at) => from[at]!);
    const { actuals, errors, ratios } = columns;
    return FIGURES[figure]({ actuals: draw(actuals), errors: draw(errors), ratios: draw(ratios) });
  };
  return bootstrap(groups.length, (picked) => {
    const rows = picked.flatMap((at) => groups[at]!);
    return quotient(of(left, rows), of(right, rows));
  });
}
