// Finite differences in the time domain: an electric and a magnetic field on a staggered grid.
import { fold, matrix } from './common';

const X: i32 = 180;
const Y: i32 = 200;

export function run(steps: i32): i32 {
  const ex = matrix(X, Y, 1);
  const ey = matrix(X, Y, 2);
  const hz = matrix(X, Y, 3);
  for (let t = 0; t < steps; t++) {
    for (let j = 0; j < Y; j++) unchecked((ey[j] = <f64>t));
    for (let i = 1; i < X; i++) {
      const row = i * Y;
      for (let j = 0; j < Y; j++)
        unchecked((ey[row + j] -= 0.5 * (hz[row + j] - hz[row + j - Y])));
    }
    for (let i = 0; i < X; i++) {
      const row = i * Y;
      for (let j = 1; j < Y; j++)
        unchecked((ex[row + j] -= 0.5 * (hz[row + j] - hz[row + j - 1])));
    }
    for (let i = 0; i < X - 1; i++) {
      const row = i * Y;
      for (let j = 0; j < Y - 1; j++) {
        const curl = unchecked(ex[row + j + 1] - ex[row + j] + ey[row + j + Y] - ey[row + j]);
        unchecked((hz[row + j] -= 0.7 * curl));
      }
    }
  }
  return fold(hz, fold(ey, fold(ex, 0)));
}
