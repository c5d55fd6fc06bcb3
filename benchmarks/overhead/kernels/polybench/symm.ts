// C := αAB + βC with a symmetric A of which only the lower triangle is read.
import { fold, matrix } from './common';

const ALPHA: f64 = 1.5;
const BETA: f64 = 1.25;

export function run(m: i32): i32 {
  const n = m + 1;
  const a = matrix(m, m, 1);
  const b = matrix(m, n, 2);
  const c = matrix(m, n, 3);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const scaled = ALPHA * unchecked(b[i * n + j]);
      let sum: f64 = 0;
      for (let k = 0; k < i; k++) {
        const x = unchecked(a[i * m + k]);
        unchecked((c[k * n + j] += scaled * x));
        sum += unchecked(b[k * n + j]) * x;
      }
      unchecked((c[i * n + j] = BETA * c[i * n + j] + scaled * a[i * m + i] + ALPHA * sum));
    }
  }
  return fold(c, 0);
}
