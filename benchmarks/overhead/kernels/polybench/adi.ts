// Alternating direction implicit method for the heat equation on a square: a tridiagonal solve along every column, then
// along every row, in each time step.
import { fold, matrix, zeros } from './common';

const N: i32 = 140;

export function run(steps: i32): i32 {
  const u = matrix(N, N, 1);
  const v = zeros(N * N);
  const p = zeros(N * N);
  const q = zeros(N * N);
  const r: f64 = <f64>(N * N) / 1024.0; // time step over the square of the space step
  const a = -r; // twice the diffusion along columns…
  const b = 1.0 + 2.0 * r;
  const d = -0.5 * r; // …as along rows
  const e = 1.0 + r;
  for (let t = 0; t < steps; t++) {
    for (let i = 1; i < N - 1; i++) {
      const row = i * N;
      unchecked((v[i] = 1));
      unchecked((p[row] = 0));
      unchecked((q[row] = 1));
      for (let j = 1; j < N - 1; j++) {
        const pivot = a * unchecked(p[row + j - 1]) + b;
        unchecked((p[row + j] = -a / pivot));
        const here = j * N + i;
        const right =
          -d * unchecked(u[here - 1]) +
          (1.0 + 2.0 * d) * unchecked(u[here]) -
          d * unchecked(u[here + 1]) -
          a * unchecked(q[row + j - 1]);
        unchecked((q[row + j] = right / pivot));
      }
      unchecked((v[(N - 1) * N + i] = 1));
      for (let j = N - 2; j >= 1; j--)
        unchecked((v[j * N + i] = p[row + j] * v[(j + 1) * N + i] + q[row + j]));
    }
    for (let i = 1; i < N - 1; i++) {
      const row = i * N;
      unchecked((u[row] = 1));
      unchecked((p[row] = 0));
      unchecked((q[row] = 1));
      for (let j = 1; j < N - 1; j++) {
        const pivot = d * unchecked(p[row + j - 1]) + e;
        unchecked((p[row + j] = -d / pivot));
        const right =
          -a * unchecked(v[row - N + j]) +
          (1.0 + 2.0 * a) * unchecked(v[row + j]) -
          a * unchecked(v[row + N + j]) -
          d * unchecked(q[row + j - 1]);
        unchecked((q[row + j] = right / pivot));
      }
      unchecked((u[row + N - 1] = 1));
      for (let j = N - 2; j >= 1; j--)
        unchecked((u[row + j] = p[row + j] * u[row + j + 1] + q[row + j]));
    }
  }
  return fold(u, 0);
}
