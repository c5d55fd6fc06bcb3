// Heat equation in a cube: a seven-point stencil from one array to the other and back, in each time step.
import { fold, matrix } from './common';

const N: i32 = 34;
const ROW: i32 = N;
const PLANE: i32 = N * N;

function step(from: StaticArray<f64>, to: StaticArray<f64>): void {
  for (let i = 1; i < N - 1; i++) {
    for (let j = 1; j < N - 1; j++) {
      const line = i * PLANE + j * ROW;
      for (let k = 1; k < N - 1; k++) {
        const at = line + k;
        const here = unchecked(from[at]);
        const x = unchecked(from[at + PLANE] - 2.0 * here + from[at - PLANE]);
        const y = unchecked(from[at + ROW] - 2.0 * here + from[at - ROW]);
        const z = unchecked(from[at + 1] - 2.0 * here + from[at - 1]);
        unchecked((to[at] = 0.125 * x + 0.125 * y + 0.125 * z + here));
      }
    }
  }
}

export function run(steps: i32): i32 {
  const a = matrix(N * N, N, 1);
  const b = matrix(N * N, N, 1);
  for (let t = 0; t < steps; t++) {
    step(a, b);
    step(b, a);
  }
  return fold(a, 0);
}
