// x += Ay and z += Aᵀw: a product with a matrix and one with its transpose; then y and w from them.
import { fold, matrix, vector } from './common';

const N: i32 = 200;

export function run(times: i32): i32 {
  const a = matrix(N, N, 1);
  const x = vector(N, 2);
  const z = vector(N, 3);
  const y = vector(N, 4);
  const w = vector(N, 5);
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < N; i++) {
      let sum = unchecked(x[i]);
      for (let j = 0; j < N; j++) sum += unchecked(a[i * N + j] * y[j]);
      unchecked((x[i] = sum));
    }
    for (let i = 0; i < N; i++) {
      let sum = unchecked(z[i]);
      for (let j = 0; j < N; j++) sum += unchecked(a[j * N + i] * w[j]);
      unchecked((z[i] = sum));
    }
    for (let i = 0; i < N; i++) {
      unchecked((y[i] = x[i] / x[0]));
      unchecked((w[i] = z[i] / z[0]));
    }
  }
  return fold(x, fold(z, 0));
}
