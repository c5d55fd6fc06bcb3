/**
 * SIMD: a Mandelbrot picture in f64x2, a matrix product in f32x4 and a hash in i32x4.
 *
 * Usage: simd [size [iterations]]         default 512 1000
 *
 * Renders the Mandelbrot set (size × size), multiplies two size × size matrices, hashes both results with four parallel
 * xxHash32 lanes, and prints the hashes, the sum of escape times and the trace of the product.
 */
import { args, fail, println } from "sherd/guest";

/** Escape times of two neighbouring points at once. */
function mandelbrotPair(cr: v128, ci: v128, most: i32): v128 {
  const four = f64x2.splat(4);
  const one = i64x2.splat(1);
  let zr = f64x2.splat(0), zi = f64x2.splat(0);
  let times = i64x2.splat(0);
  for (let n = 0; n < most; n++) {
    const r2 = f64x2.mul(zr, zr), i2 = f64x2.mul(zi, zi);
    const inside = f64x2.le(f64x2.add(r2, i2), four);
    if (!v128.any_true(inside)) break;
    times = i64x2.add(times, v128.and(inside, one));
    const cross = f64x2.mul(zr, zi);
    zr = f64x2.add(f64x2.sub(r2, i2), cr);
    zi = f64x2.add(f64x2.add(cross, cross), ci);
  }
  return times;
}

function mandelbrot(size: i32, most: i32, times: Int32Array): u64 {
  const scale = 3.0 / (size as f64);
  let sum: u64 = 0;
  for (let y = 0; y < size; y++) {
    const ci = f64x2.splat((y as f64) * scale - 1.5);
    for (let x = 0; x < size; x += 2) {
      const cr = f64x2(((x as f64) * scale) - 2.25, ((x + 1) as f64) * scale - 2.25);
      const pair = mandelbrotPair(cr, ci, most);
      const a = i64x2.extract_lane(pair, 0) as i32, b = i64x2.extract_lane(pair, 1) as i32;
      unchecked((times[y * size + x] = a));
      unchecked((times[y * size + x + 1] = b));
      sum += a + b;
    }
  }
  return sum;
}

/** c = a × b, four columns at a time; each element is summed in the same order as in scalar code. */
function multiply(a: Float32Array, b: Float32Array, c: Float32Array, size: i32): void {
  const pa = a.dataStart, pb = b.dataStart, pc = c.dataStart;
  const row = (size * 4) as usize;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j += 8) {
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0);
      let at = pb + ((j * 4) as usize);
      for (let k = 0; k < size; k++) {
        const factor = v128.load32_splat(pa + (i as usize) * row + ((k * 4) as usize));
        s0 = f32x4.add(s0, f32x4.mul(factor, v128.load(at)));
        s1 = f32x4.add(s1, f32x4.mul(factor, v128.load(at, 16)));
        at += row;
      }
      const target = pc + (i as usize) * row + ((j * 4) as usize);
      v128.store(target, s0);
      v128.store(target, s1, 16);
    }
  }
}

function rotate(x: v128, by: i32): v128 {
  return v128.or(i32x4.shl(x, by), i32x4.shr_u(x, 32 - by));
}

/** xxHash32 (seed 0) of a length that is a multiple of 16, its four lanes in one vector. */
function xxh32(start: usize, bytes: i32): u32 {
  const p1: u32 = 2654435761, p2: u32 = 2246822519, p3: u32 = 3266489917;
  let lanes = i32x4((p1 + p2) as i32, p2 as i32, 0, (0 - p1) as i32);
  const m1 = i32x4.splat(p1 as i32), m2 = i32x4.splat(p2 as i32);
  for (let at = 0; at < bytes; at += 16) {
    lanes = i32x4.mul(rotate(i32x4.add(lanes, i32x4.mul(v128.load(start + at), m2)), 13), m1);
  }
  let hash = rotl<u32>(i32x4.extract_lane(lanes, 0), 1) + rotl<u32>(i32x4.extract_lane(lanes, 1), 7)
    + rotl<u32>(i32x4.extract_lane(lanes, 2), 12) + rotl<u32>(i32x4.extract_lane(lanes, 3), 18);
  hash += bytes as u32;
  hash = (hash ^ (hash >> 15)) * p2;
  hash = (hash ^ (hash >> 13)) * p3;
  return hash ^ (hash >> 16);
}

function fill(matrix: Float32Array, seed: u32): void {
  let state = seed;
  for (let i = 0; i < matrix.length; i++) {
    state = state * 1664525 + 1013904223;
    matrix[i] = ((state >> 16) as f32) / 65536 - 0.5;
  }
}

function hex(value: u32): string {
  return value.toString(16).padStart(8, "0");
}

function main(): void {
  const given = args();
  const wanted = given.length > 0 ? parseInt(given[0]) : 512;
  const most = given.length > 1 ? parseInt(given[1]) : 1000;
  if (!(wanted >= 8 && wanted <= 4096 && wanted % 8 == 0 && most >= 1 && most <= 1e7)) {
    fail("usage: simd [size [iterations]], size a multiple of 8 up to 4096", 2);
  }
  const size = wanted as i32;
  const times = new Int32Array(size * size);
  const sum = mandelbrot(size, most as i32, times);
  println("mandelbrot sum " + sum.toString() + " hash " + hex(xxh32(times.dataStart, times.byteLength)));

  const a = new Float32Array(size * size), b = new Float32Array(size * size), c = new Float32Array(size * size);
  fill(a, 1);
  fill(b, 2);
  multiply(a, b, c, size);
  let diagonal = 0.0;
  for (let i = 0; i < size; i++) diagonal += c[i * size + i];
  println("product trace " + diagonal.toString() + " hash " + hex(xxh32(c.dataStart, c.byteLength)));
}

main();
