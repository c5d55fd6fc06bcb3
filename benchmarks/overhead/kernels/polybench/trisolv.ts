// Lx = b by forward substitution; the next right-hand side is made from x.
import { definite, fold, vector, zeros } from './common';

const N: i32 = 250;

export function run(times: i32): i32 {
  const l = definite(N, 1);
  const b = vector(N, 2);
  const x = zeros(N);
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < N; i++) {
      let sum = unchecked(b[i]);
      for (let j = 0; j < i; j++) sum -= unchecked(l[i * N + j] * x[j]);
      unchecked((x[i] = sum / l[i * N + i]));
    }
    for (let i = 0; i < N; i++) unchecked((b[i] += 0.5 * x[N - 1 - i]));
  }
  return fold(x, 0);
}
