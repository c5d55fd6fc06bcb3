/**
 * The trees of the forecaster's model: what the linear part leaves.
 *
 * Gradient boosting (Friedman, Ann. Stat. 29, 2001) of the quantile loss with oblivious trees (one split a level, as CatBoost has
 * them: Prokhorenkova et al., NeurIPS 2018). The structure of a tree follows the gradient of one level, in turn; its leaves hold a
 * Newton step for every level, with the density of the residuals around 0 as second derivative. So the levels cost the structure of one.
 *
 *     features ── codes of 5 bits ──▶ TREES_MAX trees, each with LEVELS values a leaf ──▶ added to S_FIT
 *
 * Does: code features, add a tree, evaluate one. Does not: decide when (forecast-train.ts).
 */
import {
  BINS, DEPTH, FEATURES, H_BAND, H_TAU, L_X, L_Y, LEAVES, LEVELS, M_TREES, POOL_ROWS, S_CODES, S_EDGE_COUNT,
  S_EDGES, S_FIT, S_GAIN, S_GRADIENT, S_HISTOGRAM, S_LEAF, S_LEAF_SUMS, S_ORDER, S_PICKED, S_PICKED_LEAF,
  S_PICKED_WEIGHT, S_SORT, S_WEIGHT, SORT_MAX, T_LEAVES, T_THRESHOLD, TREE_BYTES,
} from './forecast-layout';
import { isCensored, random, sorted, sortFloats, STEP } from './forecast-linear';

const RATE: f32 = 0.06;
/** Rows of weight that every leaf is thought to have besides its own, without any error in them. */
const PRIOR_ROWS: f32 = 20;
const LEAF_ROWS_MIN: f32 = 50;
/** One feature in so many is looked at for a tree. */
const FEATURES_A_TREE: i32 = 24;
const BAND_EVERY: i32 = 10;
export const FIT_STEP: usize = <usize>LEVELS << 2;

// --- trees ----------------------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function edgesOf(feature: i32): usize {
  return S_EDGES + <usize>feature * (<usize>BINS << 2);
}

/** Thresholds at the quantiles of a sample; a row's code is the number of thresholds that it reaches. */
export function encode(rows: i32, f: i32): void {
  const step = max(1, rows / SORT_MAX);
  const column = L_X + (<usize>f << 2);
  let count = 0;
  for (let i = 0; i < rows && count < SORT_MAX; i += step) {
    store<f32>(S_SORT + (<usize>count << 2), load<f32>(column + <usize>i * STEP));
    count++;
  }
  sortFloats(S_SORT, count);
  const edges = edgesOf(f);
  let edgeCount = 0;
  for (let b = 1; b < BINS; b++) {
    const value = sorted((b * count) / BINS);
    const before = edgeCount == 0 ? sorted(0) : load<f32>(edges + (<usize>(edgeCount - 1) << 2));
    if (value > before) {
      store<f32>(edges + (<usize>edgeCount << 2), value);
      edgeCount++;
    }
  }
  store<i32>(S_EDGE_COUNT + (<usize>f << 2), edgeCount);
  const codes = S_CODES + <usize>f * <usize>POOL_ROWS;
  for (let i = 0; i < rows; i++) {
    const value = load<f32>(column + <usize>i * STEP);
    let low = 0;
    let high = edgeCount;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value < load<f32>(edges + (<usize>middle << 2))) high = middle;
      else low = middle + 1;
    }
    store<u8>(codes + <usize>i, low);
  }
}

/** The level whose gradient shapes tree `m`: mostly those in the middle and P90. */
function levelOf(m: i32): i32 {
  switch (m & 7) {
    case 0: return 2;
    case 1: return 5;
    case 2: return 4;
    case 3: return 6;
    case 4: return 2;
    case 5: return 5;
    case 6: return 7;
    default: return 3;
  }
}

/** Every second row, with the gradient of the level. Gives their number. */
function pickRows(rows: i32, level: i32): i32 {
  const tau = load<f32>(H_TAU + (<usize>level << 2));
  let count: usize = 0;
  let bits: u32 = 0;
  for (let i: usize = 0; i < <usize>rows; i++) {
    if ((i & 31) == 0) bits = random();
    const take = bits & 1;
    bits >>= 1;
    if (!take) continue;
    const fit = load<f32>(S_FIT + i * FIT_STEP + (<usize>level << 2));
    const w = load<f32>(S_WEIGHT + (i << 2));
    store<i32>(S_PICKED + (count << 2), <i32>i);
    const below: f32 = isCensored(i) ? 0 : w * (tau - 1);
    store<f32>(S_GRADIENT + (count << 2), load<f32>(L_Y + (i << 2)) > fit ? w * tau : below);
    store<f32>(S_PICKED_WEIGHT + (count << 2), w);
    count++;
  }
  memory.fill(S_PICKED_LEAF, 0, count);
  return <i32>count;
}

/** Features of this tree: the first FEATURES_A_TREE of a shuffled list. */
function pickFeatures(): void {
  for (let f = 0; f < FEATURES; f++) store<u8>(S_ORDER + <usize>f, f);
  for (let f = 0; f < FEATURES_A_TREE; f++) {
    const other = f + <i32>(random() % <u32>(FEATURES - f));
    const value = load<u8>(S_ORDER + <usize>f);
    store<u8>(S_ORDER + <usize>f, load<u8>(S_ORDER + <usize>other));
    store<u8>(S_ORDER + <usize>other, value);
  }
}

let bestGain: f32 = 0;
let bestFeature: i32 = 0;
let bestBin: i32 = 0;

/** Histograms of one feature over the leaves so far; remembers its best split when it is the best yet. */
function trySplit(feature: i32, count: i32, leaves: i32): void {
  const edges = load<i32>(S_EDGE_COUNT + (<usize>feature << 2));
  if (edges == 0) return;
  const codes = S_CODES + <usize>feature * <usize>POOL_ROWS;
  memory.fill(S_HISTOGRAM, 0, (<usize>leaves * <usize>BINS) << 3);
  for (let i: usize = 0; i < <usize>count; i++) {
    const code = <usize>load<u8>(codes + <usize>load<i32>(S_PICKED + (i << 2)));
    const at = S_HISTOGRAM + (((<usize>load<u8>(S_PICKED_LEAF + i) * <usize>BINS) + code) << 3);
    store<f32>(at, load<f32>(at) + load<f32>(S_GRADIENT + (i << 2)));
    store<f32>(at, load<f32>(at, 4) + load<f32>(S_PICKED_WEIGHT + (i << 2)), 4);
  }
  memory.fill(S_GAIN, 0, <usize>BINS << 2);
  for (let leaf = 0; leaf < leaves; leaf++) addGains(S_HISTOGRAM + ((<usize>leaf * <usize>BINS) << 3), edges);
  for (let bin = 0; bin < edges; bin++) {
    const gain = load<f32>(S_GAIN + (<usize>bin << 2));
    if (gain > bestGain) {
      bestGain = gain;
      bestFeature = feature;
      bestBin = bin;
    }
  }
}

/** Adds what each split of a leaf gains: Σ of squared gradients over weights, children less parent. */
function addGains(histogram: usize, edges: i32): void {
  let gradient: f32 = 0;
  let weight: f32 = 0;
  for (let bin = 0; bin <= edges; bin++) {
    gradient += load<f32>(histogram + (<usize>bin << 3));
    weight += load<f32>(histogram + (<usize>bin << 3), 4);
  }
  const parent = (gradient * gradient) / (weight + PRIOR_ROWS);
  let left: f32 = 0;
  let leftWeight: f32 = 0;
  for (let bin = 0; bin < edges; bin++) {
    left += load<f32>(histogram + (<usize>bin << 3));
    leftWeight += load<f32>(histogram + (<usize>bin << 3), 4);
    const right = gradient - left;
    const rightWeight = weight - leftWeight;
    if (leftWeight < LEAF_ROWS_MIN || rightWeight < LEAF_ROWS_MIN) continue;
    const gain = (left * left) / (leftWeight + PRIOR_ROWS) + (right * right) / (rightWeight + PRIOR_ROWS) - parent;
    const at = S_GAIN + (<usize>bin << 2);
    store<f32>(at, load<f32>(at) + gain);
  }
}

/** Grows the structure; a level without a gain sends every row to the left. */
function grow(tree: usize, count: i32): void {
  for (let depth = 0; depth < DEPTH; depth++) {
    bestGain = 0;
    bestFeature = 0;
    bestBin = -1;
    for (let f = 0; f < FEATURES_A_TREE; f++) {
      trySplit(<i32>load<u8>(S_ORDER + <usize>f), count, 1 << depth);
    }
    const threshold = bestBin < 0 ? f32.MAX_VALUE : load<f32>(edgesOf(bestFeature) + (<usize>bestBin << 2));
    store<i32>(tree + (<usize>depth << 2), bestFeature);
    store<f32>(tree + (<usize>depth << 2), threshold, T_THRESHOLD);
    const codes = S_CODES + <usize>bestFeature * <usize>POOL_ROWS;
    for (let i: usize = 0; i < <usize>count; i++) {
      const code = <i32>load<u8>(codes + <usize>load<i32>(S_PICKED + (i << 2)));
      const right = bestBin >= 0 && code > bestBin ? 1 : 0;
      store<u8>(S_PICKED_LEAF + i, (<i32>load<u8>(S_PICKED_LEAF + i) << 1) | right);
    }
  }
}

/** Address of the leaf's values in which a row of features ends. */
// @ts-ignore: decorator
@inline
export function leafOf(tree: usize, row: usize): usize {
  let leaf: usize = 0;
  for (let depth: usize = 0; depth < <usize>DEPTH; depth++) {
    const value = load<f32>(row + (<usize>load<i32>(tree + (depth << 2)) << 2));
    leaf = (leaf << 1) | <usize>(value >= load<f32>(tree + (depth << 2), T_THRESHOLD));
  }
  return leaf;
}

/** Half widths of the residuals' middle, by which densities are measured: a sample's quantile of |residual|. */
function measureBands(rows: i32): void {
  const step = max(1, rows / 2048);
  for (let k = 0; k < LEVELS; k++) {
    let count = 0;
    for (let i = 0; i < rows && count < SORT_MAX; i += step) {
      const fit = load<f32>(S_FIT + <usize>i * FIT_STEP + (<usize>k << 2));
      store<f32>(S_SORT + (<usize>count << 2), abs<f32>(load<f32>(L_Y + (<usize>i << 2)) - fit));
      count++;
    }
    sortFloats(S_SORT, count);
    const tau = load<f32>(H_TAU + (<usize>k << 2));
    const share = min<f32>(0.4, <f32>0.8 * min<f32>(tau, 1 - tau) + <f32>0.02);
    store<f32>(H_BAND + (<usize>k << 2), sorted(min(count - 1, <i32>(<f32>count * share))) + <f32>1e-6);
  }
}

/** Newton steps of all levels in all leaves, and their effect on the fit. */
function fillLeaves(tree: usize, rows: i32): void {
  const sums: usize = (<usize>LEAVES * <usize>LEVELS) << 2;
  const densities = S_LEAF_SUMS + sums;
  memory.fill(S_LEAF_SUMS, 0, 2 * sums);
  let total: f64 = 0;
  for (let half: usize = 0; half < 32; half += 16) {
    const tau = v128.load(H_TAU + half);
    const tauLess = f32x4.sub(tau, f32x4.splat(1));
    const band = v128.load(H_BAND + half);
    for (let i: usize = 0; i < <usize>rows; i++) {
      if (half == 0) store<u8>(S_LEAF + i, <u8>leafOf(tree, L_X + i * STEP));
      const at = <usize>load<u8>(S_LEAF + i) * FIT_STEP + half;
      const weight = load<f32>(S_WEIGHT + (i << 2));
      const w = f32x4.splat(weight);
      const residual = f32x4.sub(f32x4.splat(load<f32>(L_Y + (i << 2))), v128.load(S_FIT + i * FIT_STEP + half));
      const below = isCensored(i) ? f32x4.splat(0) : tauLess;
      const gradient = v128.bitselect(tau, below, f32x4.gt(residual, f32x4.splat(0)));
      const near = v128.and(w, f32x4.lt(f32x4.abs(residual), band));
      v128.store(S_LEAF_SUMS + at, f32x4.add(v128.load(S_LEAF_SUMS + at), f32x4.mul(w, gradient)));
      v128.store(densities + at, f32x4.add(v128.load(densities + at), near));
      if (half == 0) total += <f64>weight;
    }
  }
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    const band = load<f32>(H_BAND + (k << 2));
    let near: f32 = 0;
    for (let leaf: usize = 0; leaf < <usize>LEAVES; leaf++) near += load<f32>(densities + leaf * FIT_STEP + (k << 2));
    const pooled: f32 = near / <f32>total / (<f32>2 * band);
    const limit: f32 = <f32>2 * band + <f32>0.3;
    for (let leaf: usize = 0; leaf < <usize>LEAVES; leaf++) {
      const at = leaf * FIT_STEP + (k << 2);
      const density: f32 = load<f32>(densities + at) / (<f32>2 * band) + PRIOR_ROWS * pooled + <f32>1e-9;
      const step = min<f32>(limit, max<f32>(-limit, load<f32>(S_LEAF_SUMS + at) / density));
      store<f32>(tree + T_LEAVES + at, RATE * step);
    }
  }
  for (let i: usize = 0; i < <usize>rows; i++) {
    addLeaf(tree + T_LEAVES + <usize>load<u8>(S_LEAF + i) * FIT_STEP, S_FIT + i * FIT_STEP);
  }
}

// @ts-ignore: decorator
@inline
export function addLeaf(values: usize, fit: usize): void {
  v128.store(fit, f32x4.add(v128.load(fit), v128.load(values)));
  v128.store(fit, f32x4.add(v128.load(fit, 16), v128.load(values, 16)), 16);
}

export function addTree(rows: i32, m: i32): void {
  if (m % BAND_EVERY == 0) measureBands(rows);
  const count = pickRows(rows, levelOf(m));
  pickFeatures();
  const tree = M_TREES + <usize>m * TREE_BYTES;
  grow(tree, count);
  fillLeaves(tree, rows);
}
