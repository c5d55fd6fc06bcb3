// What the PolyBench kernels share: input values that are exact in f64, arrays, and a checksum of every bit of an output.

/** Pseudo-random multiple of 2^-16 in [0, 1) for the element (i, j) of array `seed`. */
export function value(i: i32, j: i32, seed: i32): f64 {
  let h = (<u32>i) * 0x9e3779b1 + (<u32>j) * 0x85ebca77 + (<u32>seed) * 0xc2b2ae3d;
  h = (h ^ (h >> 15)) * 0x2c1b3c6d;
  h = (h ^ (h >> 12)) * 0x297a2d39;
  return <f64>(h >> 16) / 65536.0;
}

export function vector(n: i32, seed: i32): StaticArray<f64> {
  const out = new StaticArray<f64>(n);
  for (let i = 0; i < n; i++) unchecked((out[i] = value(i, 0, seed)));
  return out;
}

/** Row-major. */
export function matrix(rows: i32, columns: i32, seed: i32): StaticArray<f64> {
  const out = new StaticArray<f64>(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) unchecked((out[i * columns + j] = value(i, j, seed)));
  return out;
}

/** Symmetric, positive definite because its diagonal dominates. */
export function definite(n: i32, seed: i32): StaticArray<f64> {
  const out = new StaticArray<f64>(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const x = value(i, j, seed);
      unchecked((out[i * n + j] = x));
      unchecked((out[j * n + i] = x));
    }
    unchecked((out[i * n + i] = <f64>n + value(i, i, seed)));
  }
  return out;
}

export function zeros(n: i32): StaticArray<f64> {
  return new StaticArray<f64>(n);
}

/** FNV-1a over the 32-bit halves of all elements: any flipped bit shows. */
export function fold(out: StaticArray<f64>, from: i32): i32 {
  let h = from;
  for (let i = 0, n = out.length; i < n; i++) {
    const bits = reinterpret<u64>(unchecked(out[i]));
    h = (h ^ <i32>bits) * 0x01000193;
    h = (h ^ <i32>(bits >> 32)) * 0x01000193;
  }
  return h;
}
