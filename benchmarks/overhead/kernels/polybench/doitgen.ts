// Multiresolution kernel: every fibre A(r, q, ·) of a cube is multiplied by one matrix, in place.
import { fold, matrix, zeros } from './common';

export function run(n: i32): i32 {
  const rows = n + 1;
  const columns = n - 1;
  const a = matrix(rows * columns, n, 1);
  const c = matrix(n, n, 2);
  const sum = zeros(n);
  for (let r = 0; r < rows; r++) {
    for (let q = 0; q < columns; q++) {
      const fibre = (r * columns + q) * n;
      for (let p = 0; p < n; p++) {
        let s: f64 = 0;
        for (let k = 0; k < n; k++) s += unchecked(a[fibre + k] * c[k * n + p]);
        unchecked((sum[p] = s));
      }
      for (let p = 0; p < n; p++) unchecked((a[fibre + p] = sum[p]));
    }
  }
  return fold(a, 0);
}
