/**
 * Plain models of PolyBench's stencils and dynamic programs, from their definitions, with nested arrays.
 *
 * Terms are added in the kernels' order, so that results are equal bit by bit.
 */
import {
  filled,
  fold,
  foldIntegers,
  type Matrix,
  matrix,
  sum,
  value,
  vector,
} from './model-parts.js';

/** A new grid whose inner points are `point(i, j)`; the border stays. */
function inner(grid: Matrix, point: (i: number, j: number) => number): Matrix {
  const last = grid.length - 1;
  return grid.map((row, i) =>
    row.map((x, j) => (i === 0 || j === 0 || i === last || j === row.length - 1 ? x : point(i, j))),
  );
}

/** Thomas algorithm for p x[j-1] + middle x[j] + p x[j+1] = right(j), x = 1 at both ends. */
function tridiagonal(n: number, p: number, middle: number, right: (j: number) => number): number[] {
  const forward: [number, number][] = [[0, 1]];
  for (let j = 1; j < n - 1; j++) {
    const [before, q] = forward[j - 1]!;
    const pivot = p * before + middle;
    forward.push([-p / pivot, (right(j) - p * q) / pivot]);
  }
  const x = new Array<number>(n).fill(1);
  for (let j = n - 2; j >= 1; j--) x[j] = forward[j]![0] * x[j + 1]! + forward[j]![1];
  return x;
}

/** Both passes of the recursive filter over one line, in f32. */
function smooth(line: readonly number[]): number[] {
  const f = Math.fround;
  const decay = Math.exp(-0.25);
  const k = ((1 - decay) * (1 - decay)) / (1 + 0.5 * decay - decay * decay);
  const [a1, a2, a3, a4] = [k, k * decay * -0.75, k * decay * 1.25, -k * decay * decay].map(f) as [
    number,
    number,
    number,
    number,
  ];
  const [b1, b2] = [f(2 * decay), f(-decay * decay)];
  const causal = (now: number, then: number, m: number, n: number): ((x: number) => number) => {
    let [x1, y1, y2, x2] = [0, 0, 0, 0];
    return (x) => {
      const [p, q] = now === 0 ? [f(m * x1), f(n * x2)] : [f(now * x), f(then * x1)];
      const y = f(f(f(p + q) + f(b1 * y1)) + f(b2 * y2));
      [x2, x1, y2, y1] = [x1, x, y1, y];
      return y;
    };
  };
  const before = line.map(causal(a1, a2, 0, 0));
  const after = [...line]
    .reverse()
    .map(causal(0, 0, a3, a4))
    .reverse();
  return before.map((x, i) => f(x + after[i]!));
}

const transpose = (grid: Matrix): Matrix => grid[0]!.map((_, j) => grid.map((row) => row[j]!));

export const GRIDS: Readonly<Record<string, (n: number) => number>> = {
  adi(steps) {
    const n = 140;
    const r = (n * n) / 1024;
    const [a, d] = [-r, -0.5 * r];
    let u = matrix(n, n, 1);
    const solve = (p: number, middle: number, right: (i: number, j: number) => number): Matrix =>
      u.map((row, i) =>
        i === 0 || i === n - 1 ? row : tridiagonal(n, p, middle, (j) => right(i, j)),
      );
    for (let t = 0; t < steps; t++) {
      const v = transpose(
        solve(
          a,
          1 + 2 * r,
          (i, j) => -d * u[j]![i - 1]! + (1 + 2 * d) * u[j]![i]! - d * u[j]![i + 1]!,
        ),
      );
      u = solve(
        d,
        1 + r,
        (i, j) => -a * v[i - 1]![j]! + (1 + 2 * a) * v[i]![j]! - a * v[i + 1]![j]!,
      );
    }
    return fold(u);
  },
  deriche(times) {
    let image = Array.from({ length: 200 }, (_, i) =>
      Array.from({ length: 256 }, (_, j) => Math.fround(value(i, j, 1))),
    );
    for (let t = 0; t < times; t++) image = transpose(transpose(image.map(smooth)).map(smooth));
    const bits = new Int32Array(Float32Array.from(image.flat()).buffer);
    return foldIntegers([...bits]);
  },
  'fdtd-2d'(steps) {
    const [nx, ny] = [180, 200];
    const [ex, ey, hz] = [1, 2, 3].map((seed) => matrix(nx, ny, seed)) as [Matrix, Matrix, Matrix];
    for (let t = 0; t < steps; t++) {
      for (let i = 0; i < nx; i++)
        for (let j = 0; j < ny; j++)
          if (i === 0) ey[i]![j] = t;
          else ey[i]![j]! -= 0.5 * (hz[i]![j]! - hz[i - 1]![j]!);
      for (let i = 0; i < nx; i++)
        for (let j = 1; j < ny; j++) ex[i]![j]! -= 0.5 * (hz[i]![j]! - hz[i]![j - 1]!);
      for (let i = 0; i < nx - 1; i++)
        for (let j = 0; j < ny - 1; j++)
          hz[i]![j]! -= 0.7 * (ex[i]![j + 1]! - ex[i]![j]! + ey[i + 1]![j]! - ey[i]![j]!);
    }
    return fold(hz, fold(ey, fold(ex)));
  },
  'floyd-warshall'(n) {
    let path = matrix(n, n, 1).map((row, i) =>
      row.map((x, j) => (i === j ? 0 : 1 + Math.trunc(x * 4096))),
    );
    for (let k = 0; k < n; k++) {
      const known = path;
      path = known.map((row) => row.map((x, j) => Math.min(x, row[k]! + known[k]![j]!)));
    }
    return foldIntegers(path);
  },
  'heat-3d'(steps) {
    const n = 34;
    let cube: number[][][] = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_, j) =>
        Array.from({ length: n }, (_, k) => value(i * n + j, k, 1)),
      ),
    );
    const last = n - 1;
    for (let t = 0; t < 2 * steps; t++) {
      const from = cube;
      cube = from.map((plane, i) =>
        plane.map((row, j) =>
          row.map((here, k) => {
            if ([i, j, k].some((at) => at === 0 || at === last)) return here;
            const x = from[i + 1]![j]![k]! - 2 * here + from[i - 1]![j]![k]!;
            const y = plane[j + 1]![k]! - 2 * here + plane[j - 1]![k]!;
            const z = row[k + 1]! - 2 * here + row[k - 1]!;
            return 0.125 * x + 0.125 * y + 0.125 * z + here;
          }),
        ),
      );
    }
    return fold(cube.flat());
  },
  'jacobi-1d'(steps) {
    const [a, b] = [vector(2000, 1), vector(2000, 2)];
    const relax = (from: readonly number[], to: number[]): void => {
      for (let i = 1; i < 1999; i++) to[i] = 0.33333 * (from[i - 1]! + from[i]! + from[i + 1]!);
    };
    for (let t = 0; t < steps; t++) {
      relax(a, b);
      relax(b, a);
    }
    return fold(a, fold(b));
  },
  'jacobi-2d'(steps) {
    let a = matrix(200, 200, 1);
    let b = matrix(200, 200, 2);
    const mean = (from: Matrix, i: number, j: number): number => {
      const row = from[i]!;
      return 0.2 * (row[j]! + row[j - 1]! + row[j + 1]! + from[i + 1]![j]! + from[i - 1]![j]!);
    };
    for (let t = 0; t < steps; t++) {
      b = inner(b, (i, j) => mean(a, i, j));
      a = inner(a, (i, j) => mean(b, i, j));
    }
    return fold(a, fold(b));
  },
  nussinov(n) {
    const strand = Array.from({ length: n }, (_, i) => Math.trunc(value(i, 0, 1) * 4));
    const best = filled(n, n);
    for (let span = 1; span < n; span++) {
      for (let i = 0; i + span < n; i++) {
        const j = i + span;
        const pair = span > 1 && strand[i]! + strand[j]! === 3 ? 1 : 0;
        const inside = (best[i + 1]![j - 1] ?? 0) + pair;
        const splits = Array.from(
          { length: span },
          (_, k) => best[i]![i + k]! + best[i + k + 1]![j]!,
        );
        best[i]![j] = Math.max(inside, ...splits);
      }
    }
    return foldIntegers(best);
  },
  'seidel-2d'(steps) {
    const a = matrix(150, 150, 1);
    const three = (row: readonly number[], j: number): number =>
      sum(j, j + 2, (k) => row[k]!, row[j - 1]!);
    for (let t = 0; t < steps; t++)
      for (let i = 1; i < 149; i++)
        for (let j = 1; j < 149; j++)
          a[i]![j] = (three(a[i - 1]!, j) + three(a[i]!, j) + three(a[i + 1]!, j)) / 9;
    return fold(a);
  },
};
