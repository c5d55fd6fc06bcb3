/**
 * Everything that the oracle is compared with, on the same points: simple predictors, linear and tree models trained
 * offline, and perfect knowledge.
 *
 * A simple predictor gives one number; its quantiles are that number plus the quantiles of its own residuals over the
 * training points, which is the best that it can do with one width for all.
 *
 * Does: predict. Does not: score.
 *
 * P1  Every predictor of one case sees the same points, in the same order; features end at the point's step.
 */
import { peaksOf } from '../../host/oracle/replay.js';
import { fitMean, fitQuantile, predictLinear } from './linear.js';
import type { Case, Row } from './traces.js';
import { fitTrees, type Matrix, predictTrees } from './trees.js';

export interface Points {
  readonly rows: readonly Row[];
  /** Index of the row, and step, of each point. */
  readonly row: Int32Array;
  readonly step: Int32Array;
  readonly now: Float64Array;
  readonly actual: Float64Array;
}

export interface Prediction {
  readonly name: string;
  /** Higher = sooner contended. */
  readonly score: Float64Array;
  /** P50, P90, P99; undefined = it gives none. */
  readonly quantiles?: readonly [Float64Array, Float64Array, Float64Array];
}

export const TAUS = [0.5, 0.9, 0.99] as const;
const LAGS = 24;

/** Points of the rows from step `from` up to before `end` whose outcome is known (and, for training, ends by `end`). */
export function pointsOf(
  rows: readonly Row[],
  horizon: number,
  from: number,
  end = Infinity,
): Points {
  const row: number[] = [];
  const step: number[] = [];
  const now: number[] = [];
  const actual: number[] = [];
  rows.forEach(({ values }, r) => {
    const peaks = peaksOf(values, horizon);
    for (let t = from; t < values.length && t + horizon < end; t++) {
      if (Number.isNaN(peaks[t]!) || Number.isNaN(values[t]!)) continue;
      row.push(r);
      step.push(t);
      now.push(values[t]!);
      actual.push(peaks[t]!);
    }
  });
  return {
    rows,
    row: Int32Array.from(row),
    step: Int32Array.from(step),
    now: Float64Array.from(now),
    actual: Float64Array.from(actual),
  };
}

/** Some of the points, and their places among all. */
export interface Sample {
  readonly points: Points;
  readonly index: Int32Array;
}

/** About `most` of the points: every nth step of each row, not all rows at the same steps. */
export function sampled(points: Points, most: number): Sample {
  const every = Math.max(1, Math.ceil(points.row.length / most));
  const index = Int32Array.from(points.row.keys()).filter(
    (i) => (points.step[i]! + points.row[i]!) % every === 0,
  );
  return {
    index,
    points: {
      rows: points.rows,
      row: index.map((i) => points.row[i]!),
      step: index.map((i) => points.step[i]!),
      now: Float64Array.from(index, (i) => points.now[i]!),
      actual: Float64Array.from(index, (i) => points.actual[i]!),
    },
  };
}

/** The prediction at the points of a sample. */
export function predictionAt(
  index: Int32Array,
  { name, score, quantiles }: Prediction,
): Prediction {
  const at = (values: Float64Array): Float64Array => Float64Array.from(index, (i) => values[i]!);
  if (quantiles === undefined) return { name, score: at(score) };
  const [p50, p90, p99] = quantiles;
  return { name, score: at(score), quantiles: [at(p50), at(p90), at(p99)] };
}

type Simple = (values: Float64Array, t: number, horizon: number) => number;

function back(values: Float64Array, t: number, count: number): Float64Array {
  return values.subarray(Math.max(0, t - count + 1), t + 1);
}

function ewma(values: Float64Array, t: number): number {
  let mean = values[Math.max(0, t - 40)]!;
  for (let i = Math.max(0, t - 40) + 1; i <= t; i++) mean += 0.3 * (values[i]! - mean);
  return mean;
}

function meanAndSigma(window: Float64Array): [number, number] {
  const mean = window.reduce((a, b) => a + b, 0) / window.length;
  return [mean, Math.sqrt(window.reduce((a, b) => a + (b - mean) ** 2, 0) / window.length)];
}

/** CloudSim's local regression, extrapolated to the end of the horizon. */
function regression(values: Float64Array, t: number, horizon: number): number {
  const window = back(values, t, 10);
  const n = window.length;
  const middle = (n - 1) / 2;
  const mean = window.reduce((a, b) => a + b, 0) / n;
  let above = 0;
  let below = 0;
  window.forEach((v, i) => {
    above += (i - middle) * (v - mean);
    below += (i - middle) ** 2;
  });
  return 1.2 * (mean + (below > 0 ? above / below : 0) * (n - 1 - middle + horizon));
}

function holt(values: Float64Array, t: number, horizon: number): number {
  const from = Math.max(0, t - 60);
  let level = values[from]!;
  let trend = 0;
  for (let i = from + 1; i <= t; i++) {
    const before = level;
    level = 0.4 * values[i]! + 0.6 * (level + 0.9 * trend);
    trend = 0.1 * (level - before) + 0.9 * 0.9 * trend;
  }
  let sum = 0;
  for (let k = 1; k <= horizon; k++) sum += 0.9 ** k;
  return level + Math.max(0, trend) * sum;
}

const SIMPLE: Readonly<Record<string, Simple>> = {
  'last value': (v, t) => v[t]!,
  'window max 12': (v, t) => Math.max(...back(v, t, 12)),
  'EWMA 0.3': ewma,
  'mean + 2σ': (v, t) => {
    const [mean, sigma] = meanAndSigma(back(v, t, 24));
    return mean + 2 * sigma;
  },
  'P95 of 24': (v, t) => {
    const window = back(v, t, 24).slice().sort();
    return window[Math.floor(0.95 * (window.length - 1))]!;
  },
  'regression × 1.2': regression,
  'Holt, damped': holt,
  'max of predictors': (v, t, h) => {
    const [mean, sigma] = meanAndSigma(back(v, t, 24));
    return Math.max(ewma(v, t), mean + sigma, holt(v, t, h));
  },
};

export const SIMPLE_NAMES = Object.keys(SIMPLE);

/** Missing samples as the last value; a step before the beginning as the first. */
export function filled(values: Float64Array): Float64Array {
  const copy = values.slice();
  for (let t = 1; t < copy.length; t++) if (Number.isNaN(copy[t]!)) copy[t] = copy[t - 1]!;
  return copy;
}

function lagMatrix(points: Points): Matrix {
  const data = new Float32Array(points.row.length * LAGS);
  const rows = points.rows.map(({ values }) => filled(values));
  points.row.forEach((r, i) => {
    for (let k = 0; k < LAGS; k++) data[i * LAGS + k] = rows[r]![Math.max(0, points.step[i]! - k)]!;
  });
  return { rows: points.row.length, columns: LAGS, data };
}

/** What boosted trees see: lags, and mean, spread, maximum, minimum of four windows, time of day, mean so far. */
function treeMatrix(points: Points, stepsADay: number): Matrix {
  const windows = [6, 12, 24, 48];
  const columns = LAGS + 4 * windows.length + 3;
  const data = new Float32Array(points.row.length * columns);
  const rows = points.rows.map(({ values }) => filled(values));
  const means = rows.map((values) => {
    let sum = 0;
    return values.map((v, t) => {
      sum += v;
      return sum / (t + 1);
    });
  });
  points.row.forEach((r, i) => {
    const t = points.step[i]!;
    let at = i * columns;
    for (let k = 0; k < LAGS; k++) data[at++] = rows[r]![Math.max(0, t - k)]!;
    for (const length of windows) {
      const window = back(rows[r]!, t, length);
      const [mean, sigma] = meanAndSigma(window);
      data[at++] = mean;
      data[at++] = sigma;
      data[at++] = window.reduce((a, b) => Math.max(a, b));
      data[at++] = window.reduce((a, b) => Math.min(a, b));
    }
    data[at++] = Math.sin((2 * Math.PI * t) / stepsADay);
    data[at++] = Math.cos((2 * Math.PI * t) / stepsADay);
    data[at++] = means[r]![t]!;
  });
  return { rows: points.row.length, columns, data };
}

function simplePredictions(points: Points, training: Points, horizon: number): Prediction[] {
  return Object.entries(SIMPLE).map(([name, predict]) => {
    const run = (of: Points): Float64Array => {
      const rows = of.rows.map(({ values }) => filled(values));
      return Float64Array.from(of.row, (r, i) => predict(rows[r]!, of.step[i]!, horizon));
    };
    const score = run(points);
    const past = run(training);
    return { name, score, quantiles: withResiduals(score, past, training.actual) };
  });
}

/** The score and the quantiles of the errors that it made over the training points. */
export function withResiduals(
  score: Float64Array,
  past: Float64Array,
  actual: Float64Array,
): [Float64Array, Float64Array, Float64Array] {
  const residuals = Float64Array.from(actual, (v, i) => v - past[i]!).sort();
  const shifted = (tau: number): Float64Array => {
    const shift =
      residuals[Math.min(residuals.length - 1, Math.floor(tau * residuals.length))] ?? 0;
    return score.map((v) => v + shift);
  };
  return [shifted(0.5), shifted(0.9), shifted(0.99)];
}

/** All simple predictors. `training` may be the points themselves: then their widths are chosen in hindsight. */
export function simplePeers(points: Points, training: Points, horizon: number): Prediction[] {
  return simplePredictions(points, training, horizon);
}

function treePeers(one: Case, points: Points, training: Points): Prediction[] {
  const y = training.actual;
  const day = 86_400 / one.intervalS;
  const x = treeMatrix(training, day);
  const xNow = treeMatrix(points, day);
  const treeQuantiles = TAUS.map((tau) => predictTrees(fitTrees(x, y, { tau }), xNow)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const contended = y.map((v) => (v >= one.capacity ? 1 : 0));
  return [
    {
      name: 'boosted trees',
      score: predictTrees(fitTrees(x, y, 'squared'), xNow),
      quantiles: treeQuantiles,
    },
    {
      name: 'boosted trees, classifier',
      score: predictTrees(fitTrees(x, contended, 'logistic'), xNow),
    },
  ];
}

/** All peers of a case; without trees, which take most of the time, when not wanted. */
export function peersOf(
  one: Case,
  points: Points,
  training: Points,
  withTrees: boolean,
): Prediction[] {
  const { horizon } = one;
  const y = training.actual;
  const lags = lagMatrix(training);
  const lagsNow = lagMatrix(points);
  const mean = fitMean(lags, y);
  const linear = predictLinear(mean, lagsNow);
  const quantileOf = (tau: number): Float64Array =>
    predictLinear(fitQuantile(lags, y, tau), lagsNow);
  const linearQuantiles = TAUS.map(quantileOf) as [Float64Array, Float64Array, Float64Array];
  return [
    ...simplePredictions(points, training, horizon),
    {
      name: 'linear autoregression',
      score: linear,
      quantiles: withResiduals(linear, predictLinear(mean, lags), y),
    },
    { name: 'linear quantile regression', score: linearQuantiles[1], quantiles: linearQuantiles },
    ...(withTrees ? treePeers(one, points, training) : []),
  ];
}

export function perfect(points: Points): Prediction {
  const { actual } = points;
  return { name: 'perfect knowledge', score: actual, quantiles: [actual, actual, actual] };
}
