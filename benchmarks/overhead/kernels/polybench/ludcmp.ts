// Solves Ax = b: LU decomposition, then Ly = b forwards and Ux = y backwards.
import { definite, fold, vector, zeros } from './common';

function decompose(n: i32, a: StaticArray<f64>): void {
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j < i; j++) {
      let w = unchecked(a[row + j]);
      for (let k = 0; k < j; k++) w -= unchecked(a[row + k] * a[k * n + j]);
      unchecked((a[row + j] = w / a[j * n + j]));
    }
    for (let j = i; j < n; j++) {
      let w = unchecked(a[row + j]);
      for (let k = 0; k < i; k++) w -= unchecked(a[row + k] * a[k * n + j]);
      unchecked((a[row + j] = w));
    }
  }
}

export function run(n: i32): i32 {
  const a = definite(n, 1);
  const b = vector(n, 2);
  const x = zeros(n);
  const y = zeros(n);
  decompose(n, a);
  for (let i = 0; i < n; i++) {
    let w = unchecked(b[i]);
    for (let j = 0; j < i; j++) w -= unchecked(a[i * n + j] * y[j]);
    unchecked((y[i] = w));
  }
  for (let i = n - 1; i >= 0; i--) {
    let w = unchecked(y[i]);
    for (let j = i + 1; j < n; j++) w -= unchecked(a[i * n + j] * x[j]);
    unchecked((x[i] = w / a[i * n + i]));
  }
  return fold(x, fold(y, 0));
}
