// Mean of three neighbours on a line, from one array to the other and back.
import { fold, vector } from './common';

const N: i32 = 2000;
const THIRD: f64 = 0.33333;

export function run(steps: i32): i32 {
  const a = vector(N, 1);
  const b = vector(N, 2);
  for (let t = 0; t < steps; t++) {
    for (let i = 1; i < N - 1; i++) unchecked((b[i] = THIRD * (a[i - 1] + a[i] + a[i + 1])));
    for (let i = 1; i < N - 1; i++) unchecked((a[i] = THIRD * (b[i - 1] + b[i] + b[i + 1])));
  }
  return fold(a, fold(b, 0));
}
