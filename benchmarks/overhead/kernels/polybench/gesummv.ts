// y := αAx + βBx: two matrices in one sweep; then x from y.
import { fold, matrix, vector, zeros } from './common';

const N: i32 = 180;
const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(times: i32): i32 {
  const a = matrix(N, N, 1);
  const b = matrix(N, N, 2);
  const x = vector(N, 3);
  const y = zeros(N);
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < N; i++) {
      const row = i * N;
      let ax: f64 = 0;
      let bx: f64 = 0;
      for (let j = 0; j < N; j++) {
        ax += unchecked(a[row + j] * x[j]);
        bx += unchecked(b[row + j] * x[j]);
      }
      unchecked((y[i] = ALPHA * ax + BETA * bx));
    }
    for (let i = 0; i < N; i++) unchecked((x[i] = y[i] / y[0]));
  }
  return fold(y, 0);
}
