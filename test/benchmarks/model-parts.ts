/**
 * What the plain models of the kernels share: inputs, nested arrays, the checksum. Written apart from the kernels' own.
 */

export type Matrix = number[][];

export function value(i: number, j: number, seed: number): number {
  let h = (Math.imul(i, 0x9e3779b1) + Math.imul(j, 0x85ebca77) + Math.imul(seed, 0xc2b2ae3d)) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h >>> 16) / 65_536;
}

export function vector(n: number, seed: number): number[] {
  return Array.from({ length: n }, (_, i) => value(i, 0, seed));
}

export function matrix(rows: number, columns: number, seed: number): Matrix {
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => value(i, j, seed)),
  );
}

/** Symmetric, with a heavy diagonal. */
export function definite(n: number, seed: number): Matrix {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) =>
      i === j ? n + value(i, i, seed) : value(Math.max(i, j), Math.min(i, j), seed),
    ),
  );
}

export function filled(rows: number, columns: number): Matrix {
  return Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
}

/** Σ of `term(k)` for k in [from, to), added one after the other to `start`. */
export function sum(from: number, to: number, term: (k: number) => number, start = 0): number {
  let total = start;
  for (let k = from; k < to; k++) total += term(k);
  return total;
}

const VIEW = new DataView(new ArrayBuffer(8));

/** FNV-1a over the halves of each f64. */
export function fold(numbers: readonly number[] | Matrix, start = 0): number {
  let h = start;
  for (const x of (numbers as readonly (number | number[])[]).flat()) {
    VIEW.setFloat64(0, x, true);
    h = Math.imul(h ^ VIEW.getInt32(0, true), 0x01000193);
    h = Math.imul(h ^ VIEW.getInt32(4, true), 0x01000193);
  }
  return h;
}

export function foldIntegers(numbers: readonly number[] | Matrix): number {
  return (numbers as readonly (number | number[])[])
    .flat()
    .reduce((h: number, x: number) => Math.imul(h ^ x, 0x01000193), 0);
}
