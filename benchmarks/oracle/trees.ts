/**
 * Gradient-boosted regression trees, trained offline: a peer, written plainly (Friedman 2001; leaves of the quantile loss
 * are residual quantiles, as LightGBM has them). Level by level, histograms of 64 bins, rows and features sampled.
 *
 * Does: fit and predict one target under squared, quantile or logistic loss. Does not: share code with the oracle.
 */
import { quantile, randomFrom } from '../lib/statistics.js';

export type Loss = 'squared' | 'logistic' | { readonly tau: number };

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** Row-major. */
  readonly data: Float32Array;
}

interface Tree {
  readonly feature: Int32Array;
  readonly threshold: Float32Array;
  readonly leaf: Float64Array;
}

export interface Trees {
  readonly start: number;
  readonly trees: readonly Tree[];
  readonly isLogistic: boolean;
}

const DEPTH = 5;
const BINS = 64;
const RATE = 0.08;
const ROUNDS = 100;
const LEAF_ROWS = 40;
const NODES = 2 ** DEPTH - 1;

function edgesOf(x: Matrix, column: number): Float32Array {
  const step = Math.max(1, Math.floor(x.rows / 8192));
  const sample: number[] = [];
  for (let i = 0; i < x.rows; i += step) sample.push(x.data[i * x.columns + column]!);
  sample.sort((a, b) => a - b);
  const edges: number[] = [];
  for (let b = 1; b < BINS; b++) {
    const value = sample[Math.floor((b * sample.length) / BINS)]!;
    if (value > (edges.at(-1) ?? sample[0]!)) edges.push(value);
  }
  return Float32Array.from(edges);
}

function codesOf(x: Matrix, edges: readonly Float32Array[]): Uint8Array {
  const codes = new Uint8Array(x.rows * x.columns);
  edges.forEach((list, f) => {
    for (let i = 0; i < x.rows; i++) {
      const value = x.data[i * x.columns + f]!;
      let low = 0;
      let high = list.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (value < list[middle]!) high = middle;
        else low = middle + 1;
      }
      codes[f * x.rows + i] = low;
    }
  });
  return codes;
}

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

export function fitTrees(x: Matrix, y: Float64Array, loss: Loss, seed = 1): Trees {
  const random = randomFrom(seed);
  const edges = Array.from({ length: x.columns }, (_, f) => edgesOf(x, f));
  const codes = codesOf(x, edges);
  const mean = y.reduce((a, b) => a + b, 0) / y.length;
  const start =
    loss === 'squared'
      ? mean
      : loss === 'logistic'
        ? Math.log(Math.max(1e-4, mean) / Math.max(1e-4, 1 - mean))
        : quantile([...y], loss.tau);
  const fit = new Float64Array(x.rows).fill(start);
  const trees: Tree[] = [];
  for (let m = 0; m < ROUNDS; m++) {
    const gradient = Float64Array.from(y, (v, i) => {
      if (loss === 'squared') return v - fit[i]!;
      if (loss === 'logistic') return v - sigmoid(fit[i]!);
      return v > fit[i]! ? loss.tau : loss.tau - 1;
    });
    const picked: number[] = [];
    for (let i = 0; i < x.rows; i++) if (random() < 0.5) picked.push(i);
    const features = Array.from({ length: x.columns }, (_, f) => f).filter(() => random() < 0.5);
    const { feature, threshold, bins } = grow(codes, x.rows, edges, gradient, picked, features);
    const leafOf = new Uint8Array(x.rows);
    for (let i = 0; i < x.rows; i++)
      leafOf[i] = place(feature, bins, (f) => codes[f * x.rows + i]!);
    const leaf = leaves(leafOf, y, fit, gradient, loss);
    for (let i = 0; i < x.rows; i++) fit[i]! += leaf[leafOf[i]!]!;
    trees.push({ feature, threshold, leaf });
  }
  return { start, trees, isLogistic: loss === 'logistic' };
}

function place(feature: Int32Array, bins: Int32Array, code: (f: number) => number): number {
  let node = 0;
  for (let d = 0; d < DEPTH; d++) {
    const right = feature[node]! >= 0 && code(feature[node]!) > bins[node]!;
    node = 2 * node + (right ? 2 : 1);
  }
  return node - NODES;
}

function grow(
  codes: Uint8Array,
  rows: number,
  edges: readonly Float32Array[],
  gradient: Float64Array,
  picked: readonly number[],
  features: readonly number[],
): { feature: Int32Array; threshold: Float32Array; bins: Int32Array } {
  const feature = new Int32Array(NODES).fill(-1);
  const threshold = new Float32Array(NODES);
  const bins = new Int32Array(NODES);
  const at = new Uint8Array(picked.length);
  for (let d = 0; d < DEPTH; d++) {
    const nodes = 2 ** d;
    const best = new Float64Array(nodes);
    const sums = new Float64Array(nodes * BINS);
    const counts = new Float64Array(nodes * BINS);
    for (const f of features) {
      sums.fill(0);
      counts.fill(0);
      for (let a = 0; a < picked.length; a++) {
        const bin = at[a]! * BINS + codes[f * rows + picked[a]!]!;
        sums[bin]! += gradient[picked[a]!]!;
        counts[bin]! += 1;
      }
      for (let node = 0; node < nodes; node++) {
        let total = 0;
        let count = 0;
        for (let b = 0; b < BINS; b++) {
          total += sums[node * BINS + b]!;
          count += counts[node * BINS + b]!;
        }
        let left = 0;
        let leftCount = 0;
        for (let b = 0; b < edges[f]!.length; b++) {
          left += sums[node * BINS + b]!;
          leftCount += counts[node * BINS + b]!;
          const rightCount = count - leftCount;
          if (leftCount < LEAF_ROWS || rightCount < LEAF_ROWS) continue;
          const right = total - left;
          const gain =
            (left * left) / leftCount + (right * right) / rightCount - (total * total) / count;
          if (gain <= best[node]!) continue;
          best[node] = gain;
          feature[nodes - 1 + node] = f;
          threshold[nodes - 1 + node] = edges[f]![b]!;
          bins[nodes - 1 + node] = b;
        }
      }
    }
    for (let a = 0; a < picked.length; a++) {
      const node = nodes - 1 + at[a]!;
      const f = feature[node]!;
      at[a] = 2 * at[a]! + (f >= 0 && codes[f * rows + picked[a]!]! > bins[node]! ? 1 : 0);
    }
  }
  return { feature, threshold, bins };
}

function leaves(
  leafOf: Uint8Array,
  y: Float64Array,
  fit: Float64Array,
  gradient: Float64Array,
  loss: Loss,
): Float64Array {
  const leaf = new Float64Array(2 ** DEPTH);
  if (typeof loss === 'object') {
    const residuals: number[][] = Array.from({ length: leaf.length }, () => []);
    for (let i = 0; i < y.length; i++) residuals[leafOf[i]!]!.push(y[i]! - fit[i]!);
    residuals.forEach((list, l) => {
      if (list.length > 0) leaf[l] = RATE * quantile(list, loss.tau);
    });
    return leaf;
  }
  const weights = new Float64Array(leaf.length);
  for (let i = 0; i < y.length; i++) {
    const p = loss === 'logistic' ? sigmoid(fit[i]!) : 0;
    leaf[leafOf[i]!]! += gradient[i]!;
    weights[leafOf[i]!]! += loss === 'logistic' ? p * (1 - p) : 1;
  }
  return leaf.map((sum, l) => (weights[l]! > 0 ? (RATE * sum) / (weights[l]! + 1) : 0));
}

export function predictTrees(model: Trees, x: Matrix): Float64Array {
  return Float64Array.from({ length: x.rows }, (_, i) => {
    let sum = model.start;
    for (const { feature, threshold, leaf } of model.trees) {
      let node = 0;
      for (let d = 0; d < DEPTH; d++) {
        const f = feature[node]!;
        const right = f >= 0 && x.data[i * x.columns + f]! >= threshold[node]!;
        node = 2 * node + (right ? 2 : 1);
      }
      sum += leaf[node - NODES]!;
    }
    return model.isLogistic ? sigmoid(sum) : sum;
  });
}
