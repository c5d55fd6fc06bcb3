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
import { type Estimate, median, quantile, randomFrom } from '../lib/statistics.js';
import { type Points, type Prediction, peersOf, perfect, pointsOf } from './peers.js';
import { averagePrecision, type Labels, labelsOf, lossByHost, meanLoss, orderOf } from './score.js';
import type { Case } from './traces.js';

export const ORACLE = 'sherd oracle';
const RESAMPLES = 400;

export interface Outcome {
  readonly case: Case;
  readonly labels: Labels;
  readonly predictions: readonly Prediction[];
  readonly oracleMs: number;
}

/** The oracle's forecasts at the points, by one replay of the whole test rows. */
export function oraclePrediction(one: Case, points: Points): Prediction {
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
  replay(nodePlatform, input, (series, step, forecast) => {
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

export function oracleOfCase(one: Case): Kept {
  const points = pointsOf(one.test, one.horizon, one.from);
  const startMs = performance.now();
  const prediction = oraclePrediction(one, points);
  return { predictions: [prediction], oracleMs: performance.now() - startMs };
}

export function outcomeOf(one: Case, oracle: Kept, peers: readonly Prediction[]): Outcome {
  const points = pointsOf(one.test, one.horizon, one.from);
  const labels = labelsOf(points, one.capacity);
  const predictions = [...oracle.predictions, ...peers];
  return { case: one, labels, predictions, oracleMs: oracle.oracleMs };
}

/** What lies in a file of --keep. */
export interface Kept {
  readonly predictions: readonly Prediction[];
  readonly oracleMs: number;
}

/** Predictions as text, and back: a long run can be made in parts (--keep DIR). */
export function packed({ predictions, oracleMs }: Kept): string {
  const text = (values: Float64Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  const kept = predictions.map(({ name, score, quantiles }) => ({
    name,
    score: text(score),
    quantiles: quantiles?.map(text),
  }));
  return JSON.stringify({ oracleMs, predictions: kept });
}

export function unpacked(text: string): Kept {
  const kept = JSON.parse(text) as {
    oracleMs: number;
    predictions: { name: string; score: string; quantiles?: string[] }[];
  };
  const values = (part: string): Float64Array => {
    const bytes = Uint8Array.from(Buffer.from(part, 'base64'));
    return new Float64Array(bytes.buffer);
  };
  const predictions = kept.predictions.map(({ name, score, quantiles }): Prediction => {
    const [a, b, c] = (quantiles ?? []).map(values);
    return {
      name,
      score: values(score),
      ...(a === undefined || b === undefined || c === undefined ? {} : { quantiles: [a, b, c] }),
    };
  });
  return { predictions, oracleMs: kept.oracleMs };
}

type Metric = 'ap' | 0 | 1 | 2;
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
