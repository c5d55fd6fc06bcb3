/**
 * AutoETS and MSTL of @bsull/augurs as peers: exponential smoothing of the kind that AICc chooses, and the same over what a
 * seasonal decomposition leaves.
 *
 * They forecast each of the next K values, with normal intervals; wanted is the maximum of them. The error h steps ahead is
 *
 *     e(h) = ε(h) + c(1)·ε(h−1) + … + c(h−1)·ε(1)          variance  σ²(h) = σ²(1) · (1 + c²(1) + … + c²(h−1))
 *
 * so how the intervals widen gives the c, and with them how the errors of one path belong together (exact for additive errors,
 * near it for multiplicative ones). PATHS paths are drawn from that; the quantiles of their maxima are the forecast. A second
 * line of each has the median of the maxima with widths like those that simple predictors get, from errors over training points
 * (300 of them, where those predictors have all): normal errors need not be the fault of the model.
 *
 * Does: fit anew at every point that it is given, on the newest WINDOW samples. Does not: choose the points (run.ts), score.
 *
 * U1  Nothing after a point's step is read.
 * U2  Same points, same numbers: the draws are seeded, and the same for all points.
 * U3  Where the library finds no model (a series that stands still), the newest value is the forecast; how often is said.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { AutoETS, initSync as initEts } from '@bsull/augurs/ets';
import { initSync as initMstl, MSTL } from '@bsull/augurs/mstl';
import { randomFrom } from '../lib/statistics.js';
import { filled, type Points, type Prediction, TAUS, withResiduals } from './peers.js';
import type { Case } from './traces.js';

/** Three days of samples at five minutes; two are the least that MSTL takes a daily season from. */
const WINDOW = 864;
const PATHS = 4_000;
/** An interval of this level ends at this many standard deviations. */
const LEVEL = 0.8;
const LEVEL_SIGMAS = 1.2815515655446004;
const HOUR_S = 3_600;
const DAY_S = 86_400;

const MODELS = ['AutoETS', 'MSTL'] as const;
type Model = (typeof MODELS)[number];

/** Of each of the next values: the forecast, and the standard deviation of its error. */
export interface Path {
  readonly point: readonly number[];
  readonly sigma: readonly number[];
}

export interface AugursRun {
  readonly predictions: readonly Prediction[];
  /** Fits, how many found no model, time each. */
  readonly note: string;
}

let isLoaded = false;

function load(): void {
  if (isLoaded) return;
  const { resolve } = createRequire(import.meta.url);
  const bytes = (name: string): Uint8Array<ArrayBuffer> =>
    new Uint8Array(readFileSync(resolve(`@bsull/augurs/${name}`).replace(/\.js$/, '_bg.wasm')));
  initEts({ module: bytes('ets') });
  initMstl({ module: bytes('mstl') });
  isLoaded = true;
}

/** Undefined: the library finds no model. (The model is not freed then: a trap inside would make that fail too.) */
function pathOf(
  model: Model,
  values: Float64Array,
  intervalS: number,
  horizon: number,
): Path | undefined {
  load();
  try {
    // The library has no seasonal AutoETS yet; its MSTL wants every season twice.
    const seasons = [HOUR_S, DAY_S]
      .map((s) => Math.round(s / intervalS))
      .filter((steps) => 2 * steps <= values.length);
    const fitted = model === 'AutoETS' ? new AutoETS(1, 'ZZN') : MSTL.ets(seasons);
    fitted.fit(values);
    const { point, intervals } = fitted.predict(horizon, LEVEL);
    fitted.free();
    const sigma = point.map((p, h) => ((intervals?.upper[h] ?? Number.NaN) - p) / LEVEL_SIGMAS);
    return [...point, ...sigma].every(Number.isFinite) ? { point, sigma } : undefined;
  } catch {
    return undefined;
  }
}

const draws = new Map<number, Float64Array>();

/** PATHS × `horizon` standard normal numbers (Box and Muller). */
function normals(horizon: number): Float64Array {
  let made = draws.get(horizon);
  if (made === undefined) {
    const random = randomFrom(11);
    made = Float64Array.from(
      { length: PATHS * horizon },
      () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
    );
    draws.set(horizon, made);
  }
  return made;
}

/** Maxima of drawn paths, ascending. */
export function maximaOf({ point, sigma }: Path): Float64Array {
  const horizon = point.length;
  const first = sigma[0]! ** 2;
  const weights = sigma.map((s, h) =>
    h === 0 ? 1 : Math.sqrt(Math.max(0, s ** 2 - sigma[h - 1]! ** 2) / (first || 1)),
  );
  const unit = weights.map((_, h) => 1 / Math.hypot(...weights.slice(0, h + 1)));
  const errors = normals(horizon);
  return Float64Array.from({ length: PATHS }, (_, path) => {
    let most = Number.NEGATIVE_INFINITY;
    for (let h = 0; h < horizon; h++) {
      let error = 0;
      for (let j = 0; j <= h; j++) error += weights[j]! * errors[path * horizon + h - j]!;
      most = Math.max(most, point[h]! + sigma[h]! * unit[h]! * error);
    }
    return most;
  }).sort();
}

type Quantiles = readonly [Float64Array, Float64Array, Float64Array];

function quantilesOf(
  model: Model,
  one: Case,
  points: Points,
): { quantiles: Quantiles; failures: number } {
  const rows = points.rows.map(({ values }) => filled(values));
  const quantiles = TAUS.map(() => points.now.slice()) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  let failures = 0;
  points.row.forEach((r, i) => {
    const end = points.step[i]! + 1;
    const past = rows[r]!.slice(Math.max(0, end - WINDOW), end);
    const path = pathOf(model, past, one.intervalS, one.horizon);
    if (path === undefined) {
      failures++;
      return;
    }
    const maxima = maximaOf(path);
    TAUS.forEach((tau, k) => {
      quantiles[k]![i] = maxima[Math.floor(tau * PATHS)]!;
    });
  });
  return { quantiles, failures };
}

/** How far the median is below or above the capacity, in units of the spread above it: ranks as the probability does, without ties. */
function scoreOf([p50, p90]: Quantiles, capacity: number): Float64Array {
  return p50.map((median, i) => (median - capacity) / (p90[i]! - median + 1e-9));
}

/** Both models at these points; `training` gives the second line's widths. */
export function augursPeers(one: Case, points: Points, training: Points): AugursRun {
  const notes: string[] = [];
  const predictions = MODELS.flatMap((model): Prediction[] => {
    const startMs = performance.now();
    const { quantiles, failures } = quantilesOf(model, one, points);
    const past = quantilesOf(model, one, training).quantiles[0];
    const fits = points.row.length + training.row.length;
    const eachMs = (performance.now() - startMs) / Math.max(1, fits);
    notes.push(
      `${model} ${fits} fits, ${eachMs.toFixed(1)} ms each, ${failures} of ${points.row.length} without a model`,
    );
    const median = quantiles[0];
    return [
      { name: model, score: scoreOf(quantiles, one.capacity), quantiles },
      {
        name: `${model}, learned widths`,
        score: median,
        quantiles: withResiduals(median, past, training.actual),
      },
    ];
  });
  return { predictions, note: notes.join('; ') };
}
