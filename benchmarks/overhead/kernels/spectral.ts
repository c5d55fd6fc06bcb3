// Spectral norm of the infinite matrix A(i, j) = 1 / ((i + j)(i + j + 1) / 2 + i + 1): f64 division in a nest of two.
function element(i: i32, j: i32): f64 {
  return 1.0 / <f64>((((i + j) * (i + j + 1)) >> 1) + i + 1);
}

function timesA(n: i32, x: StaticArray<f64>, out: StaticArray<f64>): void {
  for (let i = 0; i < n; i++) {
    let sum: f64 = 0;
    for (let j = 0; j < n; j++) sum += element(i, j) * unchecked(x[j]);
    unchecked((out[i] = sum));
  }
}

function timesTransposed(n: i32, x: StaticArray<f64>, out: StaticArray<f64>): void {
  for (let i = 0; i < n; i++) {
    let sum: f64 = 0;
    for (let j = 0; j < n; j++) sum += element(j, i) * unchecked(x[j]);
    unchecked((out[i] = sum));
  }
}

export function run(n: i32): i32 {
  const u = new StaticArray<f64>(n);
  const v = new StaticArray<f64>(n);
  const t = new StaticArray<f64>(n);
  for (let i = 0; i < n; i++) unchecked((u[i] = 1));
  for (let round = 0; round < 5; round++) {
    timesA(n, u, t);
    timesTransposed(n, t, v);
    timesA(n, v, t);
    timesTransposed(n, t, u);
  }
  let uv: f64 = 0;
  let vv: f64 = 0;
  for (let i = 0; i < n; i++) {
    uv += unchecked(u[i] * v[i]);
    vv += unchecked(v[i] * v[i]);
  }
  return <i32>(Math.sqrt(uv / vv) * 1e8);
}
