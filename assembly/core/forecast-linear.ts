/**
 * The linear part of the forecaster's model: quantile regression at P50, P90, P99, and pooled tails.
 *
 *     features ── standardised, cut at ±6 ──▶ S_DESIGN ──▶ three rows of coefficients at M_LINEAR, tails ──▶ LEVELS quantiles
 *
 * Hunter and Lange, "Quantile regression via an MM algorithm" (J. Comp. Graph. Stat. 9, 2000): each round is a weighted least
 * squares with weights 1 / (ε + |residual|). ε falls in stages: where half of the outcomes lie within a hundredth of the scale,
 * one of 0.005 at the end cost 3 % of the loss of P90. Also the generator and the sort that all of the training uses.
 *
 * Does: standardise, fit, evaluate. Does not: decide when (forecast-train.ts), or grow trees (forecast-trees.ts).
 */
import {
  DESIGN, FEATURES, H_NORMAL, H_RANDOM, L_LIVE, L_X, L_Y, M_LINEAR, M_MEAN, M_SPREAD, M_TAILS, P90, ROW, S_BLOCK,
  S_DESIGN, S_MATRIX, S_RIGHT, S_SOLUTION, S_SORT, S_WEIGHT, SORT_MAX,
} from './forecast-layout';

const CUT: f32 = 6;
const RIDGE: f64 = 30;
/** Few rows: so much more, divided by their number. */
const RIDGE_FEW: f64 = 100_000;
/** Rounds at each smoothing, in units of the scale: the first, and so on, a third of the one before. */
const STAGE_ROUNDS: i32 = 3;
const MM_SMOOTHINGS: i32 = 4;
const MM_SMOOTHING: f32 = 0.03;
const MM_ROUNDS: i32 = STAGE_ROUNDS * MM_SMOOTHINGS;
/** Outcomes beyond are cut for the linear part and its tails, in units of the scale: single jumps would bend all of it. */
const LINEAR_MAX: f32 = 12;
/** Least distance from P50 to P90 by which tails are measured, in units of the scale. */
const UNIT_MIN: f32 = 0.25;
/** Thirds: 0, 1/3, 2/3, 1. */
const TAIL_POWERS: i32 = 4;
/** Share of P99 that is its own linear fit; the rest is the pooled tail beyond P90. */
const P99_LINEAR: f32 = 0.8;
export const STEP: usize = <usize>ROW << 2;
export const DESIGN_STEP: usize = <usize>DESIGN << 2;

// --- random and sorting ---------------------------------------------------------------------------------------

/** Marsaglia's xorshift32. */
// @ts-ignore: decorator
@inline
export function random(): u32 {
  let x = load<u32>(H_RANDOM);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  store<u32>(H_RANDOM, x);
  return x;
}

/** Shell sort (Ciura's gaps begin far below what is sorted here; ×3+1 is enough), ascending. */
export function sortFloats(at: usize, count: i32): void {
  let gap = 1;
  while (gap < count / 3) gap = gap * 3 + 1;
  for (; gap > 0; gap /= 3) {
    for (let i = gap; i < count; i++) {
      const value = load<f32>(at + (<usize>i << 2));
      let j = i;
      while (j >= gap) {
        const other = load<f32>(at + (<usize>(j - gap) << 2));
        if (other <= value) break;
        store<f32>(at + (<usize>j << 2), other);
        j -= gap;
      }
      store<f32>(at + (<usize>j << 2), value);
    }
  }
}

// @ts-ignore: decorator
@inline
export function sorted(index: i32): f32 {
  return load<f32>(S_SORT + (<usize>index << 2));
}

// @ts-ignore: decorator
@inline
function cut(value: f32): f32 {
  return min<f32>(max<f32>(value, -CUT), CUT);
}

// --- standardised rows ----------------------------------------------------------------------------------------

/** Age and time of day: a slope over the part of a day that was seen leads astray in the rest. Trees do not extrapolate. */
function isClock(feature: i32): bool {
  return feature == 43 || feature == 52 || feature == 53;
}

export function standardise(rows: i32): void {
  for (let f = 0; f < FEATURES; f++) {
    let sum: f64 = 0;
    let squares: f64 = 0;
    let at = L_X + (<usize>f << 2);
    for (let i = 0; i < rows; i++) {
      const x = <f64>load<f32>(at);
      sum += x;
      squares += x * x;
      at += STEP;
    }
    const mean = sum / <f64>rows;
    const spread = Math.sqrt(Math.max(0, squares / <f64>rows - mean * mean));
    store<f32>(M_MEAN + (<usize>f << 2), <f32>mean);
    store<f32>(M_SPREAD + (<usize>f << 2), <f32>(spread > 1e-6 && !isClock(f) ? 1 / spread : 0));
  }
  for (let i = 0; i < rows; i++) {
    designOf(L_X + <usize>i * STEP, S_DESIGN + <usize>i * DESIGN_STEP);
  }
}

/** Writes the constant and the standardised features. */
export function designOf(from: usize, to: usize): void {
  store<f32>(to, 1);
  for (let f: usize = 0; f < <usize>FEATURES << 2; f += 4) {
    store<f32>(to + f, cut((load<f32>(from + f) - load<f32>(M_MEAN + f)) * load<f32>(M_SPREAD + f)), 4);
  }
}

export function dot(coefficients: usize, design: usize): f32 {
  let sum = f32x4.splat(0);
  for (let at: usize = 0; at < DESIGN_STEP; at += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(coefficients + at), v128.load(design + at)));
  }
  return (
    f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + (f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3))
  );
}

// --- linear quantile regression -------------------------------------------------------------------------------

const BLOCK_ROWS: i32 = 256;

function clearEquations(): void {
  memory.fill(S_MATRIX, 0, (<usize>DESIGN * <usize>DESIGN) << 3);
  memory.fill(S_RIGHT, 0, <usize>DESIGN << 3);
  memory.fill(S_BLOCK, 0, (<usize>DESIGN * <usize>DESIGN) << 2);
}

/** Adds weight · row · rowᵀ, upper vectors only. */
// @ts-ignore: decorator
@inline
function addRow(design: usize, weight: f32): void {
  let block = S_BLOCK;
  for (let a: usize = 0; a < DESIGN_STEP; a += 4) {
    const factor = f32x4.splat(load<f32>(design + a) * weight);
    for (let b = a & ~15; b < DESIGN_STEP; b += 16) {
      v128.store(block + b, f32x4.add(v128.load(block + b), f32x4.mul(factor, v128.load(design + b))));
    }
    block += DESIGN_STEP;
  }
}

function flushBlock(): void {
  for (let i: usize = 0; i < <usize>DESIGN * <usize>DESIGN; i++) {
    const at = S_MATRIX + (i << 3);
    store<f64>(at, load<f64>(at) + <f64>load<f32>(S_BLOCK + (i << 2)));
  }
  memory.fill(S_BLOCK, 0, (<usize>DESIGN * <usize>DESIGN) << 2);
}

// @ts-ignore: decorator
@inline
function entry(row: i32, column: i32): usize {
  return S_MATRIX + (<usize>(row * DESIGN + column) << 3);
}

/** Cholesky, in place; the solution is written as f32 coefficients. */
function solve(target: usize, rows: i32): void {
  const n = FEATURES + 1;
  const ridge = RIDGE + RIDGE_FEW / <f64>rows;
  for (let i = 0; i < n; i++) {
    store<f64>(entry(i, i), load<f64>(entry(i, i)) + (i == 0 ? 1e-6 : ridge));
    for (let j = 0; j < i; j++) store<f64>(entry(i, j), load<f64>(entry(j, i)));
  }
  for (let j = 0; j < n; j++) {
    let d = load<f64>(entry(j, j));
    for (let k = 0; k < j; k++) d -= load<f64>(entry(j, k)) * load<f64>(entry(j, k));
    d = Math.sqrt(Math.max(d, 1e-9));
    store<f64>(entry(j, j), d);
    for (let i = j + 1; i < n; i++) {
      let v = load<f64>(entry(i, j));
      for (let k = 0; k < j; k++) v -= load<f64>(entry(i, k)) * load<f64>(entry(j, k));
      store<f64>(entry(i, j), v / d);
    }
  }
  for (let i = 0; i < n; i++) {
    let v = load<f64>(S_RIGHT + (<usize>i << 3));
    for (let k = 0; k < i; k++) v -= load<f64>(entry(i, k)) * load<f64>(S_SOLUTION + (<usize>k << 3));
    store<f64>(S_SOLUTION + (<usize>i << 3), v / load<f64>(entry(i, i)));
  }
  for (let i = n - 1; i >= 0; i--) {
    let v = load<f64>(S_SOLUTION + (<usize>i << 3));
    for (let k = i + 1; k < n; k++) v -= load<f64>(entry(k, i)) * load<f64>(S_SOLUTION + (<usize>k << 3));
    v /= load<f64>(entry(i, i));
    store<f64>(S_SOLUTION + (<usize>i << 3), v);
    store<f32>(target + (<usize>i << 2), <f32>v);
  }
}

// @ts-ignore: decorator
@inline
function addRight(design: usize, value: f64): void {
  for (let a: usize = 0; a < <usize>DESIGN; a++) {
    const at = S_RIGHT + (a << 3);
    store<f64>(at, load<f64>(at) + value * <f64>load<f32>(design + (a << 2)));
  }
}

// @ts-ignore: decorator
@inline
export function isCensored(row: usize): bool {
  return (load<u8>(L_LIVE + row) & 2) != 0;
}

/** One round towards the quantile `tau`; with `epsilon` 0 least squares instead. A fit above what is "at least" is not wrong. */
function fitRound(rows: i32, target: usize, tau: f64, epsilon: f32): void {
  clearEquations();
  for (let i = 0; i < rows; i++) {
    const design = S_DESIGN + <usize>i * DESIGN_STEP;
    const y = min<f32>(LINEAR_MAX, load<f32>(L_Y + (<usize>i << 2)));
    const w = load<f32>(S_WEIGHT + (<usize>i << 2));
    if (epsilon == 0) {
      addRow(design, w);
      addRight(design, <f64>(w * y));
    } else {
      const residual = y - dot(target, design);
      if (residual > 0 || !isCensored(<usize>i)) {
        const weight = (w * 0.5) / (epsilon + abs<f32>(residual));
        addRow(design, weight);
        addRight(design, <f64>weight * <f64>y + <f64>w * (tau - 0.5));
      }
    }
    if (i % BLOCK_ROWS == BLOCK_ROWS - 1) flushBlock();
  }
  flushBlock();
  solve(target, rows);
}

/** Quantile of residuals of a sample of rows against `coefficients`. */
function residualQuantile(rows: i32, coefficients: usize, tau: f64): f32 {
  const step = max(1, rows / SORT_MAX);
  let count = 0;
  for (let i = 0; i < rows && count < SORT_MAX; i += step) {
    const fit = dot(coefficients, S_DESIGN + <usize>i * DESIGN_STEP);
    store<f32>(S_SORT + (<usize>count << 2), load<f32>(L_Y + (<usize>i << 2)) - fit);
    count++;
  }
  sortFloats(S_SORT, count);
  return sorted(min(count - 1, <i32>(<f64>count * tau)));
}

/** The first step is least squares for all three levels, then MM_ROUNDS for each. */
export const LINEAR_STEPS: i32 = 1 + 3 * MM_ROUNDS;

export function fitLinear(rows: i32, step: i32): void {
  if (step == 0) {
    fitRound(rows, M_LINEAR, 0.5, 0);
    memory.copy(M_LINEAR + DESIGN_STEP, M_LINEAR, DESIGN_STEP);
    memory.copy(M_LINEAR + 2 * DESIGN_STEP, M_LINEAR, DESIGN_STEP);
    return;
  }
  const k = (step - 1) / MM_ROUNDS;
  const round = (step - 1) % MM_ROUNDS;
  const tau: f64 = k == 0 ? 0.5 : k == 1 ? 0.9 : 0.99;
  const target = M_LINEAR + <usize>k * DESIGN_STEP;
  if (round == 0) store<f32>(target, load<f32>(target) + residualQuantile(rows, target, tau));
  let epsilon = MM_SMOOTHING;
  for (let stage = round / STAGE_ROUNDS; stage > 0; stage--) epsilon *= <f32>0.3333;
  fitRound(rows, target, tau, epsilon);
}

/** The power of the distance from P50 to P90 that tails are measured in. */
// @ts-ignore: decorator
@inline
function tailUnit(p50: f32, p90: f32, power: f32): f32 {
  const whole = p90 - p50 + UNIT_MIN;
  if (power == 0) return 1;
  if (power == 1) return whole;
  // By thirds: a general power would bring tables of its own into the memory.
  const third = <f32>Math.cbrt(<f64>whole);
  return power < 0.5 ? third : third * third;
}

/**
 * How far beyond P90 outcomes lie: pooled quantiles for P95 and P99, in units of a power of the distance from P50 to P90. Of a
 * family of one shape that is the distance itself (1); where series are now here, now there, it is a constant (0), and the
 * distance would make tails of a hundred times the range. The power with the least loss of P99 is taken.
 */
export function fitTails(rows: i32): void {
  let least: f64 = Infinity;
  for (let candidate = 0; candidate < TAIL_POWERS; candidate++) {
    const power: f32 = <f32>candidate / <f32>(TAIL_POWERS - 1);
    const count = tailResiduals(rows, power);
    sortFloats(S_SORT, count);
    const p95 = max<f32>(0, sorted(min(count - 1, <i32>(<f32>count * 0.95))));
    const p99 = max<f32>(0, sorted(min(count - 1, <i32>(<f32>count * 0.99))));
    const loss = tailLoss(rows, power, p99);
    if (loss >= least) continue;
    least = loss;
    store<f32>(M_TAILS, p95);
    store<f32>(M_TAILS, p99, 4);
    store<f32>(M_TAILS, power, 8);
  }
}

/** Writes (outcome − P90) / unit of a sample of rows for sorting; gives their number. */
function tailResiduals(rows: i32, power: f32): i32 {
  const step = max(1, rows / SORT_MAX);
  let count = 0;
  for (let i = 0; i < rows && count < SORT_MAX; i += step) {
    const design = S_DESIGN + <usize>i * DESIGN_STEP;
    const p50 = dot(M_LINEAR, design);
    const p90 = max<f32>(p50, dot(M_LINEAR + DESIGN_STEP, design));
    const beyond = min<f32>(LINEAR_MAX, load<f32>(L_Y + (<usize>i << 2))) - p90;
    store<f32>(S_SORT + (<usize>count << 2), beyond / tailUnit(p50, p90, power));
    count++;
  }
  return count;
}

/** Pinball loss of P90 + unit · `p99` over the same sample; above what is "at least" there is none. */
function tailLoss(rows: i32, power: f32, p99: f32): f64 {
  const step = max(1, rows / SORT_MAX);
  let loss: f64 = 0;
  for (let i = 0, count = 0; i < rows && count < SORT_MAX; i += step, count++) {
    const design = S_DESIGN + <usize>i * DESIGN_STEP;
    const p50 = dot(M_LINEAR, design);
    const p90 = max<f32>(p50, dot(M_LINEAR + DESIGN_STEP, design));
    const miss = <f64>(load<f32>(L_Y + (<usize>i << 2)) - p90 - tailUnit(p50, p90, power) * p99);
    if (miss < 0 && isCensored(<usize>i)) continue;
    loss += <f64>load<f32>(S_WEIGHT + (<usize>i << 2)) * (miss > 0 ? 0.99 * miss : -0.01 * miss);
  }
  return loss;
}

/** Quantiles of all levels: between P50 and P90 over normal scores; P95 by the pooled tail; P99 mostly linear, the tail tames it. */
export function linearQuantiles(design: usize, target: usize): void {
  const p50 = dot(M_LINEAR, design);
  const p90 = max<f32>(p50, dot(M_LINEAR + DESIGN_STEP, design));
  for (let k: usize = 0; k < <usize>P90 + 1; k++) {
    const z = load<f32>(H_NORMAL + (k << 2));
    const share: f32 = (z < 0 ? z * <f32>0.8 : z) / <f32>1.28155;
    store<f32>(target + (k << 2), p50 + (p90 - p50) * share);
  }
  const unit = tailUnit(p50, p90, load<f32>(M_TAILS, 8));
  store<f32>(target + ((<usize>P90 + 1) << 2), p90 + unit * load<f32>(M_TAILS));
  const p99 = max<f32>(p90, dot(M_LINEAR + 2 * DESIGN_STEP, design));
  store<f32>(target + ((<usize>P90 + 2) << 2), P99_LINEAR * p99 + (1 - P99_LINEAR) * (p90 + unit * load<f32>(M_TAILS, 4)));
}
