/**
 * Features of a series for the forecaster: what it did lately, in the days before, and by comparison with the others.
 *
 * Does: read a state, write H_FEATURES; note the pieces of the day. Does not: forecast, or change anything else.
 *
 * E1  All but phases and age are relative to the newest value, in units of the scale; finite, cut at ±FEATURE_MAX.
 */
import { A_ANCHOR, A_COUNT, A_EXCESS, A_EXCESS_P90, A_FAST, A_HIGH, A_LONG, A_LOW, A_PIECE, A_PROFILE, A_SCALE, A_SEASON, A_SLOW, A_VARIANCE, H_CROSS, H_DIFFERENCES, H_FEATURES, H_HORIZON, H_LEVEL, H_PERIOD, H_SCALE, H_TOP, RING, SEASON } from './forecast-layout';

export const SMALLEST: f64 = 1e-30;
export const NEVER: f64 = -1e300;
/** Features are cut here, in units of the scale. */
const FEATURE_MAX: f64 = 200;

// @ts-ignore: decorator
@inline
export function ringAt(state: usize, count: i32, back: i32): usize {
  return state + (<usize>((count - 1 - back) & (RING - 1)) << 3);
}

/** The value some steps back; before the beginning, the mean so far. */
// @ts-ignore: decorator
@inline
export function back(state: usize, count: i32, steps: i32): f64 {
  return count > steps ? load<f64>(ringAt(state, count, steps)) : load<f64>(state, A_SLOW);
}

// --- features ---------------------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function difference(index: i32): f64 {
  return <f64>load<f32>(H_DIFFERENCES + (<usize>index << 2));
}

/** Running sums of the differences while `window` goes through them. */
let sum: f64 = 0;
let squares: f64 = 0;
let high: f64 = 0;
let low: f64 = 0;
let steps: f64 = 0;

function through(from: i32, to: i32): void {
  for (let i = from; i < to; i++) {
    const value = difference(i);
    sum += value;
    squares += value * value;
    high = Math.max(high, value);
    low = Math.min(low, value);
    if (i > 0) steps += Math.abs(value - difference(i - 1));
  }
}

// @ts-ignore: decorator
@inline
function at(index: usize): usize {
  return H_FEATURES + (index << 2);
}

// @ts-ignore: decorator
@inline
function set(index: usize, value: f64): void {
  store<f32>(at(index), <f32>Math.min(FEATURE_MAX, Math.max(-FEATURE_MAX, value)));
}

/** Mean, maximum, minimum and spread of the window that ends here: every fourth of twenty features. */
function window(index: usize, length: f64): void {
  const mean = sum / length;
  set(12 + index, mean);
  set(22 + index, high);
  set(26 + index, low);
  set(30 + index, Math.sqrt(Math.max(0, squares / length - mean * mean)));
}

/**
 * Writes the features of a series, all in units of its scale and relative to its newest value:
 *
 *     0 … 11   values 1 to 12 steps back            30 … 33  spreads of these windows
 *     12 … 15  means of 6, 12, 24, 48 steps         34, 35   mean step of 6 and 24 steps
 *     16 … 19  means of steps 13–18, 19–24,         36       value against 0
 *              25–36, 37–60 back                    37, 38   fading maximum and minimum
 *     20, 21   slow and fast mean                   39, 40   mean and P90 of past outcomes
 *     22 … 25  maxima of these windows              41, 54   yesterday: maximum of the window that comes; of now
 *     26 … 29  minima of them                       55, 56   the same of the days so far
 *     42       long spread
 *     43 … 49  age, level and scale against the     52, 53   time of day, as two triangle waves
 *              others, what all do                  51, 57   value and long mean against the others; 58 long mean;
 *                                                          50 room to the highest value of any series
 */
export function features(state: usize, step: i32): void {
  const n = load<i32>(state, A_COUNT);
  const value = load<f64>(ringAt(state, n, 0));
  const unit = 1 / load<f64>(state, A_SCALE);
  const slow = load<f64>(state, A_SLOW);
  for (let i = 0; i < 60; i++) {
    const one = (back(state, n, i) - value) * unit;
    store<f32>(H_DIFFERENCES + (<usize>i << 2), <f32>Math.min(FEATURE_MAX, Math.max(-FEATURE_MAX, one)));
  }
  memory.copy(at(0), H_DIFFERENCES + 4, 48);
  sum = 0;
  squares = 0;
  high = -FEATURE_MAX;
  low = FEATURE_MAX;
  steps = 0;
  through(0, 6);
  window(0, 6);
  set(34, steps / 5);
  through(6, 12);
  window(1, 12);
  const sum12 = sum;
  through(12, 18);
  const sum18 = sum;
  through(18, 24);
  window(2, 24);
  set(35, steps / 23);
  const sum24 = sum;
  through(24, 36);
  const sum36 = sum;
  through(36, 48);
  window(3, 48);
  through(48, 60);
  set(16, (sum18 - sum12) / 6);
  set(17, (sum24 - sum18) / 6);
  set(18, (sum36 - sum24) / 12);
  set(19, (sum - sum36) / 24);
  set(20, (slow - value) * unit);
  set(21, (load<f64>(state, A_FAST) - value) * unit);
  set(36, Math.max(-30, Math.min(30, value * unit)));
  set(37, (load<f64>(state, A_HIGH) - value) * unit);
  set(38, (load<f64>(state, A_LOW) - value) * unit);
  set(39, load<f64>(state, A_EXCESS) * unit);
  set(40, load<f64>(state, A_EXCESS_P90) * unit);
  set(42, Math.sqrt(load<f64>(state, A_VARIANCE)) * unit);
  season(state, step, value, unit);
  const others = 1 / (load<f64>(H_LEVEL) + SMALLEST);
  const long = load<f64>(state, A_LONG);
  set(51, value * others);
  set(57, long * others);
  set(58, (long - value) * unit);
  set(43, Math.min(1, <f64>n / 48) + Math.min(1, <f64>n / 600));
  set(44, Math.max(-10, Math.min(10, slow / (load<f64>(H_LEVEL) + SMALLEST))));
  set(45, Math.min(10, load<f64>(state, A_SCALE) / (load<f64>(H_SCALE) + SMALLEST)));
  const all = load<f64>(H_CROSS);
  set(46, all);
  set(47, load<f64>(H_CROSS, 8));
  set(48, load<f64>(H_CROSS, 16));
  set(49, load<f64>(H_CROSS, 24));
  set(50, (load<f64>(H_TOP) - value) * unit);
}

// @ts-ignore: decorator
@inline
function binOf(step: i32, period: i32): usize {
  return <usize>((<i64>(step % period) * <i64>SEASON) / <i64>period) << 2;
}

/** Highest of the pieces in the window that comes; NEVER when none is known. */
function peakOf(pieces: usize, step: i32, period: i32): f64 {
  const horizon = load<i32>(H_HORIZON);
  const stride = (horizon + 23) / 24;
  let peak: f64 = NEVER;
  for (let k = 1; k <= horizon; k += stride) {
    const one = <f64>load<f32>(pieces + binOf(step + k, period));
    if (one == one) peak = Math.max(peak, one);
  }
  return peak;
}

// @ts-ignore: decorator
@inline
function wave(phase: f64): f64 {
  return Math.abs(2 * (phase - Math.floor(phase)) - 1);
}

/** What the days before show of the window that comes; then today's piece is noted. */
function season(state: usize, step: i32, value: f64, unit: f64): void {
  set(41, 0);
  for (let index: usize = 52; index <= 56; index++) set(index, 0);
  const period = load<i32>(H_PERIOD);
  if (period <= 0) return;
  const phase = <f64>(step % period) / <f64>period;
  set(52, wave(phase));
  set(53, wave(phase + 0.25));
  const days = state + A_SEASON;
  const profile = state + A_PROFILE;
  const bin = binOf(step, period);
  const shift = load<f64>(state, A_ANCHOR) - value;
  const then = <f64>load<f32>(days + bin);
  const peak = peakOf(days, step, period);
  if (then == then) set(54, (then + shift) * unit);
  if (peak > NEVER) {
    set(41, (peak + shift) * unit);
    const usual = peakOf(profile, step, period);
    set(55, (usual + shift) * unit);
    if (then == then) set(56, (<f64>load<f32>(profile + bin) + shift) * unit);
  }
  note(state, step, period, -shift);
}

/** The highest value of a piece of the day takes the place of yesterday's when the piece ends. */
function note(state: usize, step: i32, period: i32, value: f64): void {
  const bin = binOf(step, period);
  const begins = step == 0 || binOf(step - 1, period) != bin;
  const high = begins ? value : Math.max(value, load<f64>(state, A_PIECE));
  store<f64>(state, high, A_PIECE);
  if (binOf(step + 1, period) == bin) return;
  store<f32>(state + A_SEASON + bin, <f32>high);
  const usual = load<f32>(state + A_PROFILE + bin);
  store<f32>(state + A_PROFILE + bin, usual == usual ? usual + <f32>0.3 * (<f32>high - usual) : <f32>high);
}
