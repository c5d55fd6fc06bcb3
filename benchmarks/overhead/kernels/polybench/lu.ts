// A = LU without pivoting, in place.
import { definite, fold } from './common';

export function run(n: i32): i32 {
  const a = definite(n, 1);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j < i; j++) {
      let sum = unchecked(a[row + j]);
      for (let k = 0; k < j; k++) sum -= unchecked(a[row + k] * a[k * n + j]);
      unchecked((a[row + j] = sum / a[j * n + j]));
    }
    for (let j = i; j < n; j++) {
      let sum = unchecked(a[row + j]);
      for (let k = 0; k < i; k++) sum -= unchecked(a[row + k] * a[k * n + j]);
      unchecked((a[row + j] = sum));
    }
  }
  return fold(a, 0);
}
