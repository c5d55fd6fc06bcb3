// Mandelbrot set, n × n points, at most 200 iterations each: an f64 loop with an early way out.
export function run(n: i32): i32 {
  let total = 0;
  for (let py = 0; py < n; py++) {
    const cy = (<f64>py / <f64>n) * 2.4 - 1.2;
    for (let px = 0; px < n; px++) {
      const cx = (<f64>px / <f64>n) * 3.0 - 2.2;
      let x: f64 = 0;
      let y: f64 = 0;
      let i = 0;
      while (i < 200) {
        const xx = x * x;
        const yy = y * y;
        if (xx + yy > 4) break;
        y = 2 * x * y + cy;
        x = xx - yy + cx;
        i++;
      }
      total += i;
    }
  }
  return total;
}
