/**
 * Plain models of PolyBench's linear algebra and data mining kernels, from their definitions, with nested arrays.
 *
 * Sums run in the kernels' order, so that results are equal bit by bit. Each model takes the kernel's parameter and gives
 * its checksum.
 */
import { definite, filled, fold, type Matrix, matrix, sum, vector } from './model-parts.js';

const ALPHA = 1.5;
const BETA = 1.25;

const square = (x: number): number => x * x;

function product(a: Matrix, b: Matrix, scale = 1): Matrix {
  return a.map((row) =>
    b[0]!.map((_, j) => sum(0, b.length, (k) => scale * (row[k]! * b[k]![j]!))),
  );
}

function columnMeans(data: Matrix): number[] {
  return data[0]!.map((_, j) => sum(0, data.length, (i) => data[i]![j]!) / data.length);
}

function decompose(a: Matrix): void {
  a.forEach((row, i) => {
    row.forEach((start, j) => {
      const rest = sum(0, Math.min(i, j), (k) => -(row[k]! * a[k]![j]!), start);
      row[j] = j < i ? rest / a[j]![j]! : rest;
    });
  });
}

export const ALGEBRA: Readonly<Record<string, (n: number) => number>> = {
  gemm(n) {
    const a = matrix(n, n + 1, 1);
    const b = matrix(n + 1, n, 2);
    const c = matrix(n, n, 3);
    return fold(
      c.map((row, i) =>
        row.map((x, j) => sum(0, n + 1, (k) => ALPHA * a[i]![k]! * b[k]![j]!, BETA * x)),
      ),
    );
  },
  '2mm'(n) {
    const t = product(matrix(n, n + 1, 1), matrix(n + 1, n, 2), ALPHA);
    const c = matrix(n, n, 3);
    const d = matrix(n, n, 4);
    return fold(
      d.map((row, i) => row.map((x, j) => sum(0, n, (k) => t[i]![k]! * c[k]![j]!, BETA * x))),
    );
  },
  '3mm'(n) {
    const e = product(matrix(n, n + 1, 1), matrix(n + 1, n, 2));
    const f = product(matrix(n, n + 1, 3), matrix(n + 1, n, 4));
    return fold(product(e, f));
  },
  atax(times) {
    const a = matrix(190, 210, 1);
    let x = vector(210, 2);
    let y = x;
    for (let t = 0; t < times; t++) {
      const ax = a.map((row) => sum(0, 210, (j) => row[j]! * x[j]!));
      y = x.map((_, j) => sum(0, 190, (i) => a[i]![j]! * ax[i]!));
      x = y.map((v) => v / y[0]!);
    }
    return fold(y);
  },
  bicg(times) {
    const a = matrix(190, 210, 1);
    let p = vector(210, 2);
    let r = vector(190, 3);
    let q = r;
    let s = p;
    for (let t = 0; t < times; t++) {
      q = a.map((row) => sum(0, 210, (j) => row[j]! * p[j]!));
      s = p.map((_, j) => sum(0, 190, (i) => r[i]! * a[i]![j]!));
      p = s.map((v) => v / s[0]!);
      r = q.map((v) => v / q[0]!);
    }
    return fold(s, fold(q));
  },
  cholesky(n) {
    const a = definite(n, 1);
    for (let i = 0; i < n; i++) {
      const row = a[i]!;
      for (let j = 0; j < i; j++)
        row[j] = sum(0, j, (k) => -(row[k]! * a[j]![k]!), row[j]!) / a[j]![j]!;
      row[i] = Math.sqrt(sum(0, i, (k) => -(row[k]! * row[k]!), row[i]!));
    }
    return fold(a);
  },
  correlation(m) {
    const n = m + 7;
    const data = matrix(n, m, 1);
    const mean = columnMeans(data);
    const deviation = mean.map((mu, j) => {
      const root = Math.sqrt(sum(0, n, (i) => square(data[i]![j]! - mu)) / n);
      return root <= 0.1 ? 1 : root;
    });
    const scaled = data.map((row) =>
      row.map((x, j) => (x - mean[j]!) / (Math.sqrt(n) * deviation[j]!)),
    );
    return fold(
      mean.map((_, i) =>
        mean.map((_, j) => (i === j ? 1 : sum(0, n, (k) => scaled[k]![i]! * scaled[k]![j]!))),
      ),
    );
  },
  covariance(m) {
    const n = m + 7;
    const data = matrix(n, m, 1);
    const mean = columnMeans(data);
    const centred = data.map((row) => row.map((x, j) => x - mean[j]!));
    return fold(
      mean.map((_, i) =>
        mean.map((_, j) => sum(0, n, (k) => centred[k]![i]! * centred[k]![j]!) / (n - 1)),
      ),
    );
  },
  doitgen(n) {
    const fibres = matrix((n + 1) * (n - 1), n, 1);
    return fold(product(fibres, matrix(n, n, 2)));
  },
  durbin(times) {
    const n = 600;
    const r = vector(n, 1).map((x) => x * (0.5 / n));
    let h = 0;
    for (let t = 0; t < times; t++) {
      let alpha = -r[0]!;
      let beta = 1;
      let y = [alpha];
      for (let k = 1; k < n; k++) {
        beta *= 1 - alpha * alpha;
        alpha = -(r[k]! + sum(0, k, (i) => r[k - i - 1]! * y[i]!)) / beta;
        y = [...y.map((x, i) => x + alpha * y[k - i - 1]!), alpha];
      }
      h = fold(y, h);
      r[t % n]! *= 0.75;
    }
    return h;
  },
  gemver(times) {
    const n = 200;
    const a = matrix(n, n, 1);
    const [u, v, w, z, c] = [2, 3, 4, 5, 6].map((seed) => vector(n, seed)) as [
      number[],
      number[],
      number[],
      number[],
      number[],
    ];
    let y = vector(n, 7);
    let x = y;
    for (let t = 0; t < times; t++) {
      a.forEach((row, i) => {
        row.forEach((e, j) => {
          row[j] = e + u[i]! * v[j]! + w[i]! * z[j]!;
        });
      });
      x = c.map((start, i) => sum(0, n, (j) => 0.125 * (a[j]![i]! * y[j]!), start));
      const next = a.map((row) => sum(0, n, (j) => 0.0625 * (row[j]! * x[j]!)));
      const scale = 1 / next[0]!;
      y = next.map((e) => e * scale);
    }
    return fold(x, fold(y));
  },
  gesummv(times) {
    const n = 180;
    const a = matrix(n, n, 1);
    const b = matrix(n, n, 2);
    let x = vector(n, 3);
    let y = x;
    for (let t = 0; t < times; t++) {
      const dot = (row: readonly number[]): number => sum(0, n, (j) => row[j]! * x[j]!);
      y = a.map((row, i) => ALPHA * dot(row) + BETA * dot(b[i]!));
      x = y.map((v) => v / y[0]!);
    }
    return fold(y);
  },
  gramschmidt(n) {
    const m = n + 9;
    const a = matrix(m, n, 1);
    const q = filled(m, n);
    const r = filled(n, n);
    for (let k = 0; k < n; k++) {
      r[k]![k] = Math.sqrt(sum(0, m, (i) => a[i]![k]! * a[i]![k]!));
      for (let i = 0; i < m; i++) q[i]![k] = a[i]![k]! / r[k]![k]!;
      for (let j = k + 1; j < n; j++) {
        const dot = sum(0, m, (i) => q[i]![k]! * a[i]![j]!);
        r[k]![j] = dot;
        for (let i = 0; i < m; i++) a[i]![j]! -= q[i]![k]! * dot;
      }
    }
    return fold(q, fold(r));
  },
  lu(n) {
    const a = definite(n, 1);
    decompose(a);
    return fold(a);
  },
  ludcmp(n) {
    const a = definite(n, 1);
    const b = vector(n, 2);
    decompose(a);
    const y: number[] = [];
    for (let i = 0; i < n; i++) y.push(sum(0, i, (j) => -(a[i]![j]! * y[j]!), b[i]!));
    const x = new Array<number>(n).fill(0);
    for (let i = n - 1; i >= 0; i--)
      x[i] = sum(i + 1, n, (j) => -(a[i]![j]! * x[j]!), y[i]!) / a[i]![i]!;
    return fold(x, fold(y));
  },
  mvt(times) {
    const n = 200;
    const a = matrix(n, n, 1);
    let [x, z, y, w] = [2, 3, 4, 5].map((seed) => vector(n, seed)) as [
      number[],
      number[],
      number[],
      number[],
    ];
    for (let t = 0; t < times; t++) {
      x = x.map((start, i) => sum(0, n, (j) => a[i]![j]! * y[j]!, start));
      z = z.map((start, i) => sum(0, n, (j) => a[j]![i]! * w[j]!, start));
      y = x.map((v) => v / x[0]!);
      w = z.map((v) => v / z[0]!);
    }
    return fold(x, fold(z));
  },
  symm(m) {
    const n = m + 1;
    const a = matrix(m, m, 1);
    const b = matrix(m, n, 2);
    const at = (i: number, k: number): number => (k <= i ? a[i]![k]! : a[k]![i]!);
    const c = matrix(m, n, 3).map((row, i) =>
      row.map((x, j) => {
        const below = sum(0, i, (k) => b[k]![j]! * at(i, k));
        const start = BETA * x + ALPHA * b[i]![j]! * at(i, i) + ALPHA * below;
        return sum(i + 1, m, (k) => ALPHA * b[k]![j]! * at(i, k), start);
      }),
    );
    return fold(c);
  },
  syr2k(n) {
    const a = matrix(n, n + 1, 1);
    const b = matrix(n, n + 1, 2);
    const c = matrix(n, n, 3);
    const term = (i: number, j: number, k: number): number =>
      b[j]![k]! * (ALPHA * a[i]![k]!) + a[j]![k]! * (ALPHA * b[i]![k]!);
    return fold(
      c.map((row, i) =>
        row.map((x, j) => (j > i ? x : sum(0, n + 1, (k) => term(i, j, k), BETA * x))),
      ),
    );
  },
  syrk(n) {
    const a = matrix(n, n + 1, 1);
    const c = matrix(n, n, 2);
    return fold(
      c.map((row, i) =>
        row.map((x, j) =>
          j > i ? x : sum(0, n + 1, (k) => ALPHA * a[i]![k]! * a[j]![k]!, BETA * x),
        ),
      ),
    );
  },
  trisolv(times) {
    const n = 250;
    const l = definite(n, 1);
    let b = vector(n, 2);
    let x: number[] = [];
    for (let t = 0; t < times; t++) {
      x = [];
      for (let i = 0; i < n; i++) x.push(sum(0, i, (j) => -(l[i]![j]! * x[j]!), b[i]!) / l[i]![i]!);
      b = b.map((v, i) => v + 0.5 * x[n - 1 - i]!);
    }
    return fold(x);
  },
  trmm(m) {
    const a = matrix(m, m, 1);
    const b = matrix(m, m + 1, 2);
    return fold(
      b.map((row, i) => row.map((x, j) => ALPHA * sum(i + 1, m, (k) => a[k]![i]! * b[k]![j]!, x))),
    );
  },
};
