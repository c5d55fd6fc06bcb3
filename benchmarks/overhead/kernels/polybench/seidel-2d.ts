// Gauss-Seidel sweeps: the mean of nine points, in place, so that every point waits for its left neighbour.
import { fold, matrix } from './common';

const N: i32 = 150;

export function run(steps: i32): i32 {
  const a = matrix(N, N, 1);
  for (let t = 0; t < steps; t++) {
    for (let i = 1; i < N - 1; i++) {
      for (let j = 1; j < N - 1; j++) {
        const at = i * N + j;
        const above = unchecked(a[at - N - 1] + a[at - N] + a[at - N + 1]);
        const beside = unchecked(a[at - 1] + a[at] + a[at + 1]);
        const below = unchecked(a[at + N - 1] + a[at + N] + a[at + N + 1]);
        unchecked((a[at] = (above + beside + below) / 9.0));
      }
    }
  }
  return fold(a, 0);
}
