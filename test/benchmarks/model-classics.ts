/**
 * Plain models of the other kernels: a known answer by another way where there is one.
 */
import { coremix } from './model-coremix.js';

const fib = (n: number): number => (n < 2 ? n : fib(n - 1) + fib(n - 2));

function collatzSteps(start: number): number {
  let steps = 0;
  for (let x = start; x > 1; steps++) x = x % 2 === 1 ? 3 * x + 1 : x / 2;
  return steps;
}

function primes(limit: number): number {
  let count = 0;
  for (let n = 2; n <= limit; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (prime) count++;
  }
  return count;
}

/** Solutions of the n queens problem. */
function queens(board: readonly number[], n: number): number {
  if (board.length === n) return 1;
  let found = 0;
  for (let column = 0; column < n; column++) {
    const free = board.every(
      (other, row) => other !== column && Math.abs(other - column) !== board.length - row,
    );
    if (free) found += queens([...board, column], n);
  }
  return found;
}

function countedWords(n: number): number {
  const counts = new Map<string, number>();
  let total = 0;
  for (let i = 1; i <= n; i++) {
    const key = `w${(i * i) % 37}`;
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    total += key.length * count;
  }
  return total;
}

/** The first 32 bits of the fractional part of `root(p)` for the first primes. */
function fractions(count: number, root: (p: number) => number): number[] {
  const found: number[] = [];
  for (let p = 2; found.length < count; p++)
    if (primes(p) !== primes(p - 1)) found.push(Math.floor((root(p) % 1) * 2 ** 32) | 0);
  return found;
}

const H0 = fractions(8, Math.sqrt);
const K = fractions(64, Math.cbrt);
const rotate = (x: number, by: number): number => (x >>> by) | (x << (32 - by));

/** FIPS 180-4's compression function. */
function compress(state: readonly number[], block: readonly number[]): number[] {
  const w = [...block];
  for (let i = 16; i < 64; i++) {
    const [x, y] = [w[i - 15]!, w[i - 2]!];
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    w.push((w[i - 16]! + s0 + w[i - 7]! + s1) | 0);
  }
  let v = [...state];
  for (let i = 0; i < 64; i++) {
    const [a, b, c, , e, f, g, h] = v as [
      ...[number, number, number, number],
      ...[number, number, number, number],
    ];
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    v = [(t1 + t2) | 0, a, b, c, (v[3]! + t1) | 0, e, f, g];
  }
  return v.map((x, i) => (x + state[i]!) | 0);
}

const WORDS = ['shard', 'capsule', 'fuel', 'node', 'epoch', 'record', 'Grüße', '状态'];

function sentence(seed: number): string {
  const words: string[] = [];
  for (let i = 0, state = seed; i < 6; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    words.push(WORDS[(state >>> 16) & 7]! + ((state & 1024) !== 0 ? '' : String(state & 63)));
  }
  return words.join(' ');
}

const hashText = (text: string): number => {
  let h = 0;
  for (let i = 0; i < text.length; i++) h = (Math.imul(h, 31) + text.charCodeAt(i)) | 0;
  return h;
};

export const CLASSICS: Readonly<Record<string, (n: number) => number>> = {
  fib,
  sieve: primes,
  /** Longest Collatz path from a start in [1, n). */
  vm: (n) => Math.max(...Array.from({ length: n - 1 }, (_, i) => collatzSteps(i + 1))),
  /** Published: checksum and largest number of flips. */
  fannkuch(n) {
    const known: Readonly<Record<number, readonly [number, number]>> = {
      6: [49, 10],
      7: [228, 16],
    };
    const [checksum, flips] = known[n]!;
    return checksum * 100 + flips;
  },
  /** Nodes of all trees. */
  trees(depth) {
    let total = 0;
    for (let d = 4; d <= depth; d += 2) total += 2 ** (depth - d) * (2 ** (d + 1) - 1);
    return total;
  },
  quicksort(n) {
    let state = 12345;
    const items = Array.from({ length: n }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 1;
    });
    items.sort((a, b) => a - b);
    let check = 0;
    for (let i = 0; i < n; i += 97) check = (Math.imul(check, 31) + items[i]!) | 0;
    const low = items.map((x) => x & 0xffff).sort((a, b) => a - b);
    for (let i = 0; i < n; i += 97) check = (Math.imul(check, 31) + low[i]!) | 0;
    return check;
  },
  mandelbrot(n) {
    let total = 0;
    for (let py = 0; py < n; py++) {
      for (let px = 0; px < n; px++) {
        const [cx, cy] = [(px / n) * 3 - 2.2, (py / n) * 2.4 - 1.2];
        let [x, y, i] = [0, 0, 0];
        for (; i < 200 && x * x + y * y <= 4; i++) [x, y] = [x * x - y * y + cx, 2 * x * y + cy];
        total += i;
      }
    }
    return total;
  },
  nbody(steps) {
    const bodies = [
      [0, 0, 0, 0, -0.0004, 0, 39.47],
      [4.84, -1.16, -0.1, 0.606, 2.81, -0.02, 0.0377],
      [8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.0113],
      [12.89, -15.11, -0.22, 1.08, 0.868, -0.01, 0.0017],
      [15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002],
    ];
    const dt = 0.001;
    for (let t = 0; t < steps; t++) {
      bodies.forEach((a, i) => {
        for (const b of bodies.slice(i + 1)) {
          const d = [0, 1, 2].map((axis) => a[axis]! - b[axis]!) as [number, number, number];
          const squared = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
          const force = dt / (squared * Math.sqrt(squared));
          const [toA, toB] = [b[6]! * force, a[6]! * force];
          for (const axis of [0, 1, 2]) {
            a[3 + axis]! -= d[axis]! * toA;
            b[3 + axis]! += d[axis]! * toB;
          }
        }
      });
      for (const body of bodies) for (const axis of [0, 1, 2]) body[axis]! += dt * body[3 + axis]!;
    }
    const total = bodies.flat().reduce((sum, x) => sum + x, 0);
    return Math.trunc(total * 1e6);
  },
  sha256(blocks) {
    let state = H0;
    for (let block = 0; block < blocks; block++)
      state = compress(
        state,
        Array.from({ length: 16 }, (_, i) => (block << 4) + i),
      );
    return state[0]! ^ state[7]!;
  },
  spectral(n) {
    const element = (i: number, j: number): number => 1 / ((((i + j) * (i + j + 1)) >> 1) + i + 1);
    const times = (x: readonly number[], at: (i: number, j: number) => number): number[] =>
      x.map((_, i) => x.reduce((sum, v, j) => sum + at(i, j) * v, 0));
    const twice = (x: readonly number[]): number[] =>
      times(times(x, element), (i, j) => element(j, i));
    let u = new Array<number>(n).fill(1);
    let v = u;
    for (let round = 0; round < 5; round++) {
      v = twice(u);
      u = twice(v);
    }
    const dot = (x: readonly number[]): number => x.reduce((sum, e, i) => sum + e * v[i]!, 0);
    return Math.trunc(Math.sqrt(dot(u) / dot(v)) * 1e8);
  },
  simd(passes) {
    const f = Math.fround;
    const n = 65_536;
    const x = Float32Array.from({ length: n }, (_, i) => f(i & 1023) * f(0.001));
    const y = Float32Array.from({ length: n }, (_, i) => f((i * 7) & 511) * f(0.002));
    const lanes = new Float32Array(4);
    for (let pass = 0; pass < passes; pass++) {
      const scale = f(f(pass & 7) * f(0.01));
      for (let i = 0; i < n; i++) {
        const sum = f(f(x[i]! * scale) + y[i]!);
        y[i] = Math.min(sum, 4);
        lanes[i & 3] = Math.max(lanes[i & 3]!, sum);
      }
    }
    const [a, b, c, d] = lanes as unknown as [number, number, number, number];
    return Math.trunc(f(f(f(f(a + b) + c) + d) * f(1e5)));
  },
  coremix,
  strings(lines) {
    let h = 0;
    let size = 0;
    for (let from = 0; from < lines; ) {
      const counts = new Map<string, number>();
      let i = from;
      for (; i < lines && counts.size < 500; i++) {
        const text = sentence(i % 700);
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
      from = i;
      if (counts.size < 500) {
        size = counts.size;
        break;
      }
      for (const [text, count] of counts) h = (Math.imul(h, 7) + hashText(text) + count) | 0;
      h = (h + hashText([...counts.keys()].map((text) => text.toUpperCase()).join(','))) | 0;
    }
    return (h + size) | 0;
  },
  luette(n) {
    let [fibs, found, placed, words] = [0, 0, 0, 0];
    for (let round = 1; round <= n; round++) {
      fibs += fib(12 + (round % 4));
      found += primes(200 + round);
      placed += queens([], 5);
      words += countedWords(60);
    }
    return fibs * 7 + found * 5 + placed * 3 + words;
  },
};
