// SIMD: n passes of a saxpy-like f32x4 loop and a horizontal reduction over 64 Ki floats.
const LENGTH: i32 = 65536;

export function run(passes: i32): i32 {
  const x = changetype<usize>(new StaticArray<f32>(LENGTH));
  const y = changetype<usize>(new StaticArray<f32>(LENGTH));
  for (let i = 0; i < LENGTH; i++) {
    store<f32>(x + ((<usize>i) << 2), <f32>(i & 1023) * 0.001);
    store<f32>(y + ((<usize>i) << 2), <f32>((i * 7) & 511) * 0.002);
  }
  const end = (<usize>LENGTH) << 2;
  let total = f32x4.splat(0);
  for (let pass = 0; pass < passes; pass++) {
    const scale = f32x4.splat(<f32>(pass & 7) * 0.01);
    for (let at: usize = 0; at < end; at += 16) {
      const value = f32x4.add(f32x4.mul(v128.load(x + at), scale), v128.load(y + at));
      v128.store(y + at, f32x4.min(value, f32x4.splat(4)));
      total = f32x4.max(total, value);
    }
  }
  const sum =
    f32x4.extract_lane(total, 0) +
    f32x4.extract_lane(total, 1) +
    f32x4.extract_lane(total, 2) +
    f32x4.extract_lane(total, 3);
  return <i32>(sum * 1e5);
}
