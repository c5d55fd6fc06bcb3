// The two products of a biconjugate gradient step: q := Ap and s := Aᵀr in one sweep; then p and r from them.
import { fold, matrix, vector, zeros } from './common';

const N: i32 = 190;
const M: i32 = 210;

export function run(times: i32): i32 {
  const a = matrix(N, M, 1);
  const p = vector(M, 2);
  const r = vector(N, 3);
  const q = zeros(N);
  const s = zeros(M);
  for (let t = 0; t < times; t++) {
    for (let j = 0; j < M; j++) unchecked((s[j] = 0));
    for (let i = 0; i < N; i++) {
      const row = i * M;
      const scale = unchecked(r[i]);
      let sum: f64 = 0;
      for (let j = 0; j < M; j++) {
        const x = unchecked(a[row + j]);
        unchecked((s[j] += scale * x));
        sum += x * unchecked(p[j]);
      }
      unchecked((q[i] = sum));
    }
    for (let j = 0; j < M; j++) unchecked((p[j] = s[j] / s[0]));
    for (let i = 0; i < N; i++) unchecked((r[i] = q[i] / q[0]));
  }
  return fold(s, fold(q, 0));
}
