// C := αAB + βC, general matrices.
import { fold, matrix } from './common';

const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(n: i32): i32 {
  const m = n + 1;
  const a = matrix(n, m, 1);
  const b = matrix(m, n, 2);
  const c = matrix(n, n, 3);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j < n; j++) unchecked((c[row + j] *= BETA));
    for (let k = 0; k < m; k++) {
      const scaled = ALPHA * unchecked(a[i * m + k]);
      for (let j = 0; j < n; j++) unchecked((c[row + j] += scaled * b[k * n + j]));
    }
  }
  return fold(c, 0);
}
