// Covariance matrix of m variables, n observations each.
import { fold, matrix, zeros } from './common';

export function run(m: i32): i32 {
  const n = m + 7;
  const data = matrix(n, m, 1);
  const mean = zeros(m);
  const out = zeros(m * m);
  for (let j = 0; j < m; j++) {
    let sum: f64 = 0;
    for (let i = 0; i < n; i++) sum += unchecked(data[i * m + j]);
    unchecked((mean[j] = sum / <f64>n));
  }
  for (let i = 0; i < n; i++)
    for (let j = 0; j < m; j++) unchecked((data[i * m + j] -= mean[j]));
  for (let i = 0; i < m; i++) {
    for (let j = i; j < m; j++) {
      let sum: f64 = 0;
      for (let k = 0; k < n; k++) sum += unchecked(data[k * m + i] * data[k * m + j]);
      sum /= <f64>(n - 1);
      unchecked((out[i * m + j] = sum));
      unchecked((out[j * m + i] = sum));
    }
  }
  return fold(out, 0);
}
