/**
 * Runs the oracle and its peers over cases, and keeps what statistics need.
 *
 * Does: forecast, score by host, resample. Does not: print, choose cases.
 *
 * N1  The bound of a ratio: in every resample the hosts of each composition are drawn anew, for both predictors alike; the
 *     ratio's median over the compositions is taken; 5 % and 95 % of those medians are the bound.
 */
import { nodePlatform } from '../../host/node/platform.js';
import { replay } from '../../host/oracle/replay.js';
import type { Platform } from '../../host/types/platform.js';
import { type Estimate, median, quantile, randomFrom } from '../lib/statistics.js';
import { augursPeers } from './augurs.js';
import type { Kept } from './keep.js';
import {
  type Points,
  type Prediction,
  peersOf,
  perfect,
  pointsOf,
  predictionAt,
  sampled,
} from './peers.js';
import { averagePrecision, type Labels, labelsOf, lossByHost, meanLoss, orderOf } from './score.js';
import type { Case } from './traces.js';

export const ORACLE = 'sherd oracle';
const RESAMPLES = 400;
/** Points of a case, and of its training, at which AutoETS and MSTL are fitted (a fit takes longer than a series of forecasts). */
const FITTED_POINTS = 1_000;
const FITTED_TRAINING = 300;

export interface Outcome {
  readonly case: Case;
  readonly labels: Labels;
  readonly predictions: readonly Prediction[];
  readonly oracleMs: number;
}

/** The oracle's forecasts at the points, by one replay of the whole test rows, with the core of `platform`. */
export function oraclePrediction(
  one: Case,
  points: Points,
  platform: Platform = nodePlatform,
): Prediction {
  const n = points.row.length;
  const score = new Float64Array(n);
  const quantiles = [new Float64Array(n), new Float64Array(n), new Float64Array(n)] as const;
  const index = new Map<string, Map<number, number>>();
  points.row.forEach((r, i) => {
    const name = points.rows[r]!.name;
    const steps = index.get(name) ?? new Map<number, number>();
    index.set(name, steps.set(points.step[i]!, i));
  });
  const history = one.train.map(({ rows, intervalS }) => ({ series: rows, intervalS }));
  const { intervalS, horizon, capacity } = one;
  const input = { series: one.test, intervalS, horizon, capacity, history };
  replay(platform, input, (series, step, forecast) => {
    const i = index.get(series.name)?.get(step);
    if (i === undefined) return;
    score[i] = forecast.contention;
    quantiles[0][i] = forecast.p50;
    quantiles[1][i] = forecast.p90;
    quantiles[2][i] = forecast.p99;
  });
  return { name: ORACLE, score, quantiles };
}

/** What offline models train on: the training rows, or the test rows' own past where there are none. */
export function trainingPoints(one: Case): Points {
  return one.train.length > 0
    ? pointsOf(
        one.train.flatMap(({ rows }) => rows),
        one.horizon,
        24,
      )
    : pointsOf(one.test, one.horizon, 24, one.from);
}

/** Everything but the oracle, which alone changes when the forecaster does. */
export function peersOfCase(one: Case, withTrees: boolean): Prediction[] {
  const points = pointsOf(one.test, one.horizon, one.from);
  return [...peersOf(one, points, trainingPoints(one), withTrees), perfect(points)];
}

/** Points of the predictions of a case; of AutoETS and MSTL. */
export function pointCounts(one: Case): { readonly all: number; readonly fitted: number } {
  const points = pointsOf(one.test, one.horizon, one.from);
  return { all: points.row.length, fitted: sampled(points, FITTED_POINTS).index.length };
}

export function oracleOfCase(one: Case, platform: Platform = nodePlatform): Kept {
  const points = pointsOf(one.test, one.horizon, one.from);
  const startMs = performance.now();
  const prediction = oraclePrediction(one, points, platform);
  return { predictions: [prediction], oracleMs: performance.now() - startMs };
}

/** AutoETS and MSTL, at the points of `augursOutcome`. */
export function augursOfCase(one: Case): Kept {
  const points = pointsOf(one.test, one.horizon, one.from);
  const training = sampled(trainingPoints(one), FITTED_TRAINING);
  const run = augursPeers(one, sampled(points, FITTED_POINTS).points, training.points);
  return { ...run, oracleMs: 0 };
}

/** The same at fewer points, where all predictors are compared with AutoETS and MSTL. */
export function augursOutcome(whole: Outcome, augurs: readonly Prediction[]): Outcome {
  const { points, index } = sampled(whole.labels.points, FITTED_POINTS);
  return {
    ...whole,
    labels: labelsOf(points, whole.case.capacity),
    predictions: [...whole.predictions.map((each) => predictionAt(index, each)), ...augurs],
  };
}

export function outcomeOf(one: Case, oracle: Kept, peers: readonly Prediction[]): Outcome {
  const points = pointsOf(one.test, one.horizon, one.from);
  const labels = labelsOf(points, one.capacity);
  const predictions = [...oracle.predictions, ...peers];
  return { case: one, labels, predictions, oracleMs: oracle.oracleMs };
}

export type Metric = 'ap' | 0 | 1 | 2;
/** Of one predictor in one case: the metric of a draw of hosts. */
type Measure = (draws: Float64Array) => number;

function measureOf(
  { labels, predictions }: Outcome,
  name: string,
  metric: Metric,
): Measure | undefined {
  const prediction = predictions.find((each) => each.name === name);
  if (prediction === undefined) return undefined;
  if (metric === 'ap') {
    const order = orderOf(labels, prediction);
    return (draws) => averagePrecision(labels, prediction, order, draws);
  }
  const loss = lossByHost(labels, prediction, metric);
  return loss === undefined ? undefined : (draws) => meanLoss(loss, draws);
}

/** The metric of one predictor in one case. */
export function scoreOf(outcome: Outcome, name: string, metric: Metric): number {
  const whole = new Float64Array(outcome.labels.hosts).fill(1);
  return measureOf(outcome, name, metric)?.(whole) ?? Number.NaN;
}

export interface Comparison {
  readonly peer: string;
  /** Medians over the compositions. */
  readonly oracle: number;
  readonly other: number;
  /** N1. */
  readonly ratio: Estimate;
}

/** The oracle against one peer over all compositions; undefined when the peer gives no such thing. */
export function compare(
  outcomes: readonly Outcome[],
  peer: string,
  metric: Metric,
): Comparison | undefined {
  const ours = outcomes.map((each) => measureOf(each, ORACLE, metric));
  const others = outcomes.map((each) => measureOf(each, peer, metric));
  if (ours.some((m) => m === undefined) || others.some((m) => m === undefined)) return undefined;
  const random = randomFrom(7);
  const once = (draw: boolean): number[][] => {
    const values = outcomes.map(({ labels: { hosts } }, i) => {
      const draws = new Float64Array(hosts).fill(draw ? 0 : 1);
      if (draw) for (let h = 0; h < hosts; h++) draws[Math.floor(random() * hosts)]! += 1;
      return [ours[i]!(draws), others[i]!(draws)];
    });
    return values.filter(([a, b]) => !Number.isNaN(a) && !Number.isNaN(b));
  };
  const ratioOf = (values: number[][]): number => median(values.map(([a, b]) => a! / b!));
  const whole = once(false);
  const draws = Array.from({ length: RESAMPLES }, () => once(true))
    // A draw of hosts without any onset has no average precision.
    .filter((values) => values.length > 0)
    .map(ratioOf);
  return {
    peer,
    oracle: median(whole.map(([a]) => a!)),
    other: median(whole.map(([, b]) => b!)),
    ratio: { value: ratioOf(whole), low: quantile(draws, 0.05), high: quantile(draws, 0.95) },
  };
}
