// C := αAAᵀ + βC, lower triangle.
import { fold, matrix } from './common';

const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(n: i32): i32 {
  const m = n + 1;
  const a = matrix(n, m, 1);
  const c = matrix(n, n, 2);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) unchecked((c[i * n + j] *= BETA));
    for (let k = 0; k < m; k++) {
      const scaled = ALPHA * unchecked(a[i * m + k]);
      for (let j = 0; j <= i; j++) unchecked((c[i * n + j] += scaled * a[j * m + k]));
    }
  }
  return fold(c, 0);
}
