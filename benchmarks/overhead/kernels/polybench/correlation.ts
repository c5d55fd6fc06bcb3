// Correlation matrix of m variables, n observations each.
import { fold, matrix, zeros } from './common';

export function run(m: i32): i32 {
  const n = m + 7;
  const data = matrix(n, m, 1);
  const mean = zeros(m);
  const deviation = zeros(m);
  const out = zeros(m * m);
  for (let j = 0; j < m; j++) {
    let sum: f64 = 0;
    for (let i = 0; i < n; i++) sum += unchecked(data[i * m + j]);
    unchecked((mean[j] = sum / <f64>n));
  }
  for (let j = 0; j < m; j++) {
    let sum: f64 = 0;
    for (let i = 0; i < n; i++) {
      const x = unchecked(data[i * m + j] - mean[j]);
      sum += x * x;
    }
    const root = Math.sqrt(sum / <f64>n);
    unchecked((deviation[j] = root <= 0.1 ? 1.0 : root));
  }
  const scale = Math.sqrt(<f64>n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      unchecked((data[i * m + j] = (data[i * m + j] - mean[j]) / (scale * deviation[j])));
  for (let i = 0; i < m; i++) {
    unchecked((out[i * m + i] = 1));
    for (let j = i + 1; j < m; j++) {
      let sum: f64 = 0;
      for (let k = 0; k < n; k++) sum += unchecked(data[k * m + i] * data[k * m + j]);
      unchecked((out[i * m + j] = sum));
      unchecked((out[j * m + i] = sum));
    }
  }
  return fold(out, 0);
}
