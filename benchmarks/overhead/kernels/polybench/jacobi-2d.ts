// Mean of a point and its four neighbours on a square, from one array to the other and back.
import { fold, matrix } from './common';

const N: i32 = 200;

function step(from: StaticArray<f64>, to: StaticArray<f64>): void {
  for (let i = 1; i < N - 1; i++) {
    const row = i * N;
    for (let j = 1; j < N - 1; j++) {
      const at = row + j;
      unchecked(
        (to[at] = 0.2 * (from[at] + from[at - 1] + from[at + 1] + from[at + N] + from[at - N])),
      );
    }
  }
}

export function run(steps: i32): i32 {
  const a = matrix(N, N, 1);
  const b = matrix(N, N, 2);
  for (let t = 0; t < steps; t++) {
    step(a, b);
    step(b, a);
  }
  return fold(a, fold(b, 0));
}
