// Â := A + uvᵀ + wzᵀ; x := βÂᵀy + c; y := αÂx, repeated with Â as the next A.
import { fold, matrix, vector, zeros } from './common';

const N: i32 = 200;
const ALPHA: f64 = 0.0625;
const BETA: f64 = 0.125;

export function run(times: i32): i32 {
  const a = matrix(N, N, 1);
  const u = vector(N, 2);
  const v = vector(N, 3);
  const w = vector(N, 4);
  const z = vector(N, 5);
  const c = vector(N, 6);
  const y = vector(N, 7);
  const x = zeros(N);
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < N; i++) {
      const row = i * N;
      const ui = unchecked(u[i]);
      const wi = unchecked(w[i]);
      for (let j = 0; j < N; j++)
        unchecked((a[row + j] = a[row + j] + ui * v[j] + wi * z[j]));
    }
    for (let i = 0; i < N; i++) {
      let sum = unchecked(c[i]);
      for (let j = 0; j < N; j++) sum += BETA * unchecked(a[j * N + i] * y[j]);
      unchecked((x[i] = sum));
    }
    for (let i = 0; i < N; i++) {
      const row = i * N;
      let sum: f64 = 0;
      for (let j = 0; j < N; j++) sum += ALPHA * unchecked(a[row + j] * x[j]);
      unchecked((y[i] = sum));
    }
    const scale = 1.0 / unchecked(y[0]);
    for (let i = 0; i < N; i++) unchecked((y[i] *= scale));
  }
  return fold(x, fold(y, 0));
}
