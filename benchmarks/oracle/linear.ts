/**
 * Linear regression and linear quantile regression, as peers: plain double arithmetic, normal equations.
 * Quantile regression by Hunter and Lange's MM algorithm (2000), the smoothing narrowed in three stages.
 */
import type { Matrix } from './trees.js';

export interface Linear {
  readonly mean: Float64Array;
  readonly spread: Float64Array;
  /** Constant first. */
  readonly coefficients: Float64Array;
}

const RIDGE = 1;

function solve(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const l = a.slice();
  for (let j = 0; j < n; j++) {
    for (let k = 0; k < j; k++) l[j * n + j]! -= l[j * n + k]! ** 2;
    l[j * n + j] = Math.sqrt(Math.max(l[j * n + j]!, 1e-12));
    for (let i = j + 1; i < n; i++) {
      for (let k = 0; k < j; k++) l[i * n + j]! -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j]! /= l[j * n + j]!;
    }
  }
  const x = b.slice();
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= l[i * n + k]! * x[k]!;
    x[i]! /= l[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= l[k * n + i]! * x[k]!;
    x[i]! /= l[i * n + i]!;
  }
  return x;
}

function standardise(x: Matrix): { mean: Float64Array; spread: Float64Array } {
  const mean = new Float64Array(x.columns);
  const spread = new Float64Array(x.columns);
  for (let i = 0; i < x.rows; i++)
    for (let f = 0; f < x.columns; f++) mean[f]! += x.data[i * x.columns + f]! / x.rows;
  for (let i = 0; i < x.rows; i++)
    for (let f = 0; f < x.columns; f++)
      spread[f]! += (x.data[i * x.columns + f]! - mean[f]!) ** 2 / x.rows;
  return { mean, spread: spread.map((v) => Math.sqrt(v) || 1) };
}

function designOf(x: Matrix, { mean, spread }: Pick<Linear, 'mean' | 'spread'>): Float64Array {
  const n = x.columns + 1;
  const z = new Float64Array(x.rows * n);
  for (let i = 0; i < x.rows; i++) {
    z[i * n] = 1;
    for (let f = 0; f < x.columns; f++)
      z[i * n + f + 1] = (x.data[i * x.columns + f]! - mean[f]!) / spread[f]!;
  }
  return z;
}

function dot(z: Float64Array, i: number, c: Float64Array): number {
  let sum = 0;
  for (let a = 0; a < c.length; a++) sum += z[i * c.length + a]! * c[a]!;
  return sum;
}

/** Weighted least squares: Σ w (target − z·c)² . */
function weighted(
  z: Float64Array,
  rows: number,
  n: number,
  weight: (i: number) => number,
  right: (i: number, w: number) => number,
): Float64Array {
  const a = new Float64Array(n * n);
  const b = new Float64Array(n);
  for (let i = 0; i < rows; i++) {
    const w = weight(i);
    const r = right(i, w);
    for (let p = 0; p < n; p++) {
      const zp = z[i * n + p]!;
      b[p]! += zp * r;
      for (let q = 0; q <= p; q++) a[p * n + q]! += w * zp * z[i * n + q]!;
    }
  }
  for (let p = 0; p < n; p++) {
    for (let q = 0; q < p; q++) a[q * n + p] = a[p * n + q]!;
    a[p * n + p]! += p === 0 ? 1e-6 : RIDGE;
  }
  return solve(a, b, n);
}

export function fitMean(x: Matrix, y: Float64Array): Linear {
  const scale = standardise(x);
  const z = designOf(x, scale);
  const n = x.columns + 1;
  return {
    ...scale,
    coefficients: weighted(
      z,
      x.rows,
      n,
      () => 1,
      (i) => y[i]!,
    ),
  };
}

export function fitQuantile(x: Matrix, y: Float64Array, tau: number): Linear {
  const scale = standardise(x);
  const z = designOf(x, scale);
  const n = x.columns + 1;
  let c = weighted(
    z,
    x.rows,
    n,
    () => 1,
    (i) => y[i]!,
  );
  const sorted = Float64Array.from(y, (v, i) => v - dot(z, i, c)).sort();
  c[0]! += sorted[Math.floor(tau * (sorted.length - 1))]!;
  const unit = Math.max(
    1e-9,
    sorted[Math.floor(0.75 * sorted.length)]! - sorted[Math.floor(0.25 * sorted.length)]!,
  );
  for (let round = 0; round < 15; round++) {
    const smooth = unit * (round < 5 ? 0.1 : round < 10 ? 0.03 : 0.01);
    const before = c;
    c = weighted(
      z,
      x.rows,
      n,
      (i) => 0.5 / (smooth + Math.abs(y[i]! - dot(z, i, before))),
      (i, w) => w * y[i]! + (tau - 0.5),
    );
  }
  return { ...scale, coefficients: c };
}

export function predictLinear(model: Linear, x: Matrix): Float64Array {
  const z = designOf(x, model);
  return Float64Array.from({ length: x.rows }, (_, i) => dot(z, i, model.coefficients));
}
