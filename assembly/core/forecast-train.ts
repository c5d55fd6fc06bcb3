/**
 * Trains the forecaster's model on the pool of past windows, at once or piece by piece.
 *
 *     features ── standardised, cut at ±6 ──▶ linear quantile regression at P50, P90, P99; pooled tails ──▶ LEVELS quantiles
 *                                                                                                │ start
 *     features ── codes of 5 bits ──▶ TREES_MAX oblivious trees, each with LEVELS values a leaf ──┴─▶ LEVELS quantiles
 *
 *     pieces   standardise │ LINEAR_STEPS rounds │ tails, fit so far │ FEATURES codings │ TREES_MAX trees
 *
 * Does: put the parts in order. Does not: fit them (forecast-linear.ts, forecast-trees.ts), keep the pool (forecast.ts).
 *
 * T1  Deterministic: the generator's state is in the head; sums run in the order of the rows. Pieces give the bytes that all at
 *     once gives.
 * T2  A pool of fewer than ROWS_MIN rows trains nothing; the old model stays.
 * T3  Features and outcomes are finite (forecast.ts cuts them), so is everything here.
 */
import {
  FEATURES, H_READY, H_ROWS, H_TREES, L_LIVE, L_W, S_DESIGN, S_FIT, S_WEIGHT, TREES_MAX,
} from './forecast-layout';
import { DESIGN_STEP, fitLinear, fitTails, LINEAR_STEPS, linearQuantiles, standardise } from './forecast-linear';
import { addTree, encode, FIT_STEP } from './forecast-trees';

const ROWS_MIN: i32 = 200;

/** Weights as they are, those of other series' history times `historyWeight`. */
function weigh(rows: i32, historyWeight: f32): void {
  for (let i: usize = 0; i < <usize>rows; i++) {
    const w = load<f32>(L_W + (i << 2));
    store<f32>(S_WEIGHT + (i << 2), (load<u8>(L_LIVE + i) & 1) ? w : w * historyWeight);
  }
}

/** Of the training that is going on: its next step, and its rows. */
let trainStep: i32 = 0;
let trainRows: i32 = 0;

/** Begins to fit a new model to the pool, in the place of the old one. False: there is too little in it. */
export function forecastTrainBegin(historyWeight: f32): bool {
  const rows = load<i32>(H_ROWS);
  if (rows < ROWS_MIN) return false;
  weigh(rows, historyWeight);
  trainStep = 0;
  trainRows = rows;
  return true;
}

/** One piece of the work, a few microseconds a row at most; the pool must be as it was. False: that was the last one. */
export function forecastTrainStep(): bool {
  const rows = trainRows;
  let step = trainStep++;
  if (step == 0) {
    standardise(rows);
    return true;
  }
  step -= 1;
  if (step < LINEAR_STEPS) {
    fitLinear(rows, step);
    return true;
  }
  step -= LINEAR_STEPS;
  if (step == 0) {
    fitTails(rows);
    for (let i: usize = 0; i < <usize>rows; i++) {
      linearQuantiles(S_DESIGN + i * DESIGN_STEP, S_FIT + i * FIT_STEP);
    }
    return true;
  }
  step -= 1;
  if (step < FEATURES) {
    encode(rows, step);
    return true;
  }
  step -= FEATURES;
  addTree(rows, step);
  if (step + 1 < TREES_MAX) return true;
  store<i32>(H_TREES, TREES_MAX);
  store<i32>(H_READY, 1);
  return false;
}

/** Fits a new model to the pool at once. False: there is too little in it. */
export function forecastTrain(historyWeight: f32): bool {
  if (!forecastTrainBegin(historyWeight)) return false;
  while (forecastTrainStep()) {}
  return true;
}
