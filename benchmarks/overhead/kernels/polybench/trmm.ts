// B := αAᵀB in place, with a unit lower triangular A.
import { fold, matrix } from './common';

const ALPHA: f64 = 1.5;

export function run(m: i32): i32 {
  const n = m + 1;
  const a = matrix(m, m, 1);
  const b = matrix(m, n, 2);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = unchecked(b[i * n + j]);
      for (let k = i + 1; k < m; k++) sum += unchecked(a[k * m + i] * b[k * n + j]);
      unchecked((b[i * n + j] = ALPHA * sum));
    }
  }
  return fold(b, 0);
}
