// A = LLᵀ of a positive definite matrix, in place.
import { definite, fold } from './common';

export function run(n: i32): i32 {
  const a = definite(n, 1);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j < i; j++) {
      const other = j * n;
      let sum = unchecked(a[row + j]);
      for (let k = 0; k < j; k++) sum -= unchecked(a[row + k] * a[other + k]);
      unchecked((a[row + j] = sum / a[other + j]));
    }
    let sum = unchecked(a[row + i]);
    for (let k = 0; k < i; k++) {
      const x = unchecked(a[row + k]);
      sum -= x * x;
    }
    unchecked((a[row + i] = Math.sqrt(sum)));
  }
  return fold(a, 0);
}
