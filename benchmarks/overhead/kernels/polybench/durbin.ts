// Levinson-Durbin recursion: solves the Yule-Walker equations of a symmetric Toeplitz matrix with unit diagonal.
import { fold, vector, zeros } from './common';

const N: i32 = 600;

export function run(times: i32): i32 {
  const r = vector(N, 1);
  const y = zeros(N);
  const z = zeros(N);
  let h = 0;
  for (let i = 0; i < N; i++) unchecked((r[i] *= 0.5 / <f64>N));
  for (let t = 0; t < times; t++) {
    let beta: f64 = 1;
    let alpha = -unchecked(r[0]);
    unchecked((y[0] = alpha));
    for (let k = 1; k < N; k++) {
      beta *= 1.0 - alpha * alpha;
      let sum: f64 = 0;
      for (let i = 0; i < k; i++) sum += unchecked(r[k - i - 1] * y[i]);
      alpha = -(unchecked(r[k]) + sum) / beta;
      for (let i = 0; i < k; i++) unchecked((z[i] = y[i] + alpha * y[k - i - 1]));
      for (let i = 0; i < k; i++) unchecked((y[i] = z[i]));
      unchecked((y[k] = alpha));
    }
    h = fold(y, h);
    unchecked((r[t % N] *= 0.75));
  }
  return h;
}
