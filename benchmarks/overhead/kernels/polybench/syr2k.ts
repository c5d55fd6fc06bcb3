// C := α(ABᵀ + BAᵀ) + βC, lower triangle.
import { fold, matrix } from './common';

const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(n: i32): i32 {
  const m = n + 1;
  const a = matrix(n, m, 1);
  const b = matrix(n, m, 2);
  const c = matrix(n, n, 3);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) unchecked((c[i * n + j] *= BETA));
    for (let k = 0; k < m; k++) {
      const ax = ALPHA * unchecked(a[i * m + k]);
      const bx = ALPHA * unchecked(b[i * m + k]);
      for (let j = 0; j <= i; j++)
        unchecked((c[i * n + j] += b[j * m + k] * ax + a[j * m + k] * bx));
    }
  }
  return fold(c, 0);
}
