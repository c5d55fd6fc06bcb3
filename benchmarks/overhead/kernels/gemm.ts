// Dense matrix product C = αAB + βC, f64, row-major, i-k-j order, as PolyBench defines `gemm`.
export function run(n: i32): i32 {
  const a = new StaticArray<f64>(n * n);
  const b = new StaticArray<f64>(n * n);
  const c = new StaticArray<f64>(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      unchecked((a[i * n + j] = <f64>((i * j + 1) % n) / <f64>n));
      unchecked((b[i * n + j] = <f64>((i * (j + 1)) % n) / <f64>n));
      unchecked((c[i * n + j] = <f64>((i * (j + 2)) % n) / <f64>n));
    }
  }
  const alpha: f64 = 1.5;
  const beta: f64 = 1.2;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) unchecked((c[i * n + j] *= beta));
    for (let k = 0; k < n; k++) {
      const scaled = alpha * unchecked(a[i * n + k]);
      for (let j = 0; j < n; j++) unchecked((c[i * n + j] += scaled * b[k * n + j]));
    }
  }
  let sum: f64 = 0;
  for (let i = 0; i < n * n; i++) sum += unchecked(c[i]);
  return <i32>sum;
}
