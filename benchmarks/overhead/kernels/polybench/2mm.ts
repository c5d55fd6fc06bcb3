// D := αABC + βD, by way of T = αAB: dot products along a row and a column.
import { fold, matrix, zeros } from './common';

const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(n: i32): i32 {
  const m = n + 1;
  const a = matrix(n, m, 1);
  const b = matrix(m, n, 2);
  const c = matrix(n, n, 3);
  const d = matrix(n, n, 4);
  const t = zeros(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum: f64 = 0;
      for (let k = 0; k < m; k++) sum += ALPHA * unchecked(a[i * m + k] * b[k * n + j]);
      unchecked((t[i * n + j] = sum));
    }
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = BETA * unchecked(d[i * n + j]);
      for (let k = 0; k < n; k++) sum += unchecked(t[i * n + k] * c[k * n + j]);
      unchecked((d[i * n + j] = sum));
    }
  }
  return fold(d, 0);
}
