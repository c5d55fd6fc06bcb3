// Deriche's recursive smoothing filter on an f32 image: a causal and an anticausal pass along rows, then along columns.
import { value } from './common';

const WIDTH: i32 = 256;
const HEIGHT: i32 = 200;
const ALPHA: f64 = 0.25;

function foldF32(out: StaticArray<f32>): i32 {
  let h = 0;
  for (let i = 0, n = out.length; i < n; i++)
    h = (h ^ reinterpret<i32>(unchecked(out[i]))) * 0x01000193;
  return h;
}

export function run(times: i32): i32 {
  const decay = Math.exp(-ALPHA);
  const k = ((1.0 - decay) * (1.0 - decay)) / (1.0 + 2.0 * ALPHA * decay - decay * decay);
  const a1 = <f32>k;
  const a2 = <f32>(k * decay * (ALPHA - 1.0));
  const a3 = <f32>(k * decay * (ALPHA + 1.0));
  const a4 = <f32>(-k * decay * decay);
  const b1 = <f32>(2.0 * decay);
  const b2 = <f32>(-decay * decay);
  const image = new StaticArray<f32>(WIDTH * HEIGHT);
  const before = new StaticArray<f32>(WIDTH * HEIGHT);
  const after = new StaticArray<f32>(WIDTH * HEIGHT);
  for (let i = 0; i < HEIGHT; i++)
    for (let j = 0; j < WIDTH; j++) unchecked((image[i * WIDTH + j] = <f32>value(i, j, 1)));
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < HEIGHT; i++) {
      const row = i * WIDTH;
      let x1: f32 = 0;
      let y1: f32 = 0;
      let y2: f32 = 0;
      for (let j = 0; j < WIDTH; j++) {
        const x = unchecked(image[row + j]);
        const y = a1 * x + a2 * x1 + b1 * y1 + b2 * y2;
        unchecked((before[row + j] = y));
        x1 = x;
        y2 = y1;
        y1 = y;
      }
      let x2: f32 = 0;
      x1 = 0;
      y1 = 0;
      y2 = 0;
      for (let j = WIDTH - 1; j >= 0; j--) {
        const y = a3 * x1 + a4 * x2 + b1 * y1 + b2 * y2;
        unchecked((after[row + j] = y));
        x2 = x1;
        x1 = unchecked(image[row + j]);
        y2 = y1;
        y1 = y;
      }
      for (let j = 0; j < WIDTH; j++)
        unchecked((image[row + j] = before[row + j] + after[row + j]));
    }
    for (let j = 0; j < WIDTH; j++) {
      let x1: f32 = 0;
      let y1: f32 = 0;
      let y2: f32 = 0;
      for (let i = 0; i < HEIGHT; i++) {
        const at = i * WIDTH + j;
        const x = unchecked(image[at]);
        const y = a1 * x + a2 * x1 + b1 * y1 + b2 * y2;
        unchecked((before[at] = y));
        x1 = x;
        y2 = y1;
        y1 = y;
      }
      let x2: f32 = 0;
      x1 = 0;
      y1 = 0;
      y2 = 0;
      for (let i = HEIGHT - 1; i >= 0; i--) {
        const at = i * WIDTH + j;
        const y = a3 * x1 + a4 * x2 + b1 * y1 + b2 * y2;
        unchecked((after[at] = y));
        x2 = x1;
        x1 = unchecked(image[at]);
        y2 = y1;
        y1 = y;
      }
    }
    for (let i = 0; i < WIDTH * HEIGHT; i++) unchecked((image[i] = before[i] + after[i]));
  }
  return foldF32(image);
}
