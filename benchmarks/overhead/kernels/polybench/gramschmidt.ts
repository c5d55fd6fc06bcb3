// QR decomposition by the modified Gram-Schmidt process: A becomes Q's working copy, columns of a row-major matrix.
import { fold, matrix, zeros } from './common';

export function run(n: i32): i32 {
  const m = n + 9;
  const a = matrix(m, n, 1);
  const q = zeros(m * n);
  const r = zeros(n * n);
  for (let k = 0; k < n; k++) {
    let norm: f64 = 0;
    for (let i = 0; i < m; i++) {
      const x = unchecked(a[i * n + k]);
      norm += x * x;
    }
    norm = Math.sqrt(norm);
    unchecked((r[k * n + k] = norm));
    for (let i = 0; i < m; i++) unchecked((q[i * n + k] = a[i * n + k] / norm));
    for (let j = k + 1; j < n; j++) {
      let dot: f64 = 0;
      for (let i = 0; i < m; i++) dot += unchecked(q[i * n + k] * a[i * n + j]);
      unchecked((r[k * n + j] = dot));
      for (let i = 0; i < m; i++) unchecked((a[i * n + j] -= q[i * n + k] * dot));
    }
  }
  return fold(q, fold(r, 0));
}
