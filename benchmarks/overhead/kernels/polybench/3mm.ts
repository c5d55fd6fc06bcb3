// G := (AB)(CD): three products, each a function call on three arrays.
import { fold, matrix, zeros } from './common';

function multiply(
  rows: i32,
  inner: i32,
  columns: i32,
  a: StaticArray<f64>,
  b: StaticArray<f64>,
  out: StaticArray<f64>,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum: f64 = 0;
      for (let k = 0; k < inner; k++) sum += unchecked(a[i * inner + k] * b[k * columns + j]);
      unchecked((out[i * columns + j] = sum));
    }
  }
}

export function run(n: i32): i32 {
  const m = n + 1;
  const a = matrix(n, m, 1);
  const b = matrix(m, n, 2);
  const c = matrix(n, m, 3);
  const d = matrix(m, n, 4);
  const e = zeros(n * n);
  const f = zeros(n * n);
  const g = zeros(n * n);
  multiply(n, m, n, a, b, e);
  multiply(n, m, n, c, d, f);
  multiply(n, n, n, e, f, g);
  return fold(g, 0);
}
