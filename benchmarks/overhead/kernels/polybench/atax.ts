// y := Aᵀ(Ax), again and again with x made from the last y.
import { fold, matrix, vector, zeros } from './common';

const M: i32 = 190;
const N: i32 = 210;

export function run(times: i32): i32 {
  const a = matrix(M, N, 1);
  const x = vector(N, 2);
  const y = zeros(N);
  for (let t = 0; t < times; t++) {
    for (let j = 0; j < N; j++) unchecked((y[j] = 0));
    for (let i = 0; i < M; i++) {
      const row = i * N;
      let sum: f64 = 0;
      for (let j = 0; j < N; j++) sum += unchecked(a[row + j] * x[j]);
      for (let j = 0; j < N; j++) unchecked((y[j] += a[row + j] * sum));
    }
    for (let j = 0; j < N; j++) unchecked((x[j] = y[j] / y[0]));
  }
  return fold(y, 0);
}
