/**
 * Forecasts the maximum of many series within the next K steps: LEVELS quantiles each, and the probability that it reaches
 * a level.
 *
 *     sample ─▶ state of the series ─▶ features, in units of its scale ─▶ linear + trees ─▶ quantiles ─▶ + offsets ─▶ out
 *                      │                        │ kept until the window is over                              ▲
 *                      │                        ▼                                                            │
 *                      └── maximum of the window ──▶ pool (all series) ──▶ training          errors of the series so far
 *
 *     scale    S = geometric mean of spread and mean step of the series, with the pooled ratio to its level as prior
 *     outcome  y = (maximum of the window − newest value) / S
 *
 * One model serves all series (it is pooled): what makes one differ from another is in the features and in the offsets,
 * which are moved by each finished window as online quantile estimates are (Gibbs and Candès, "Adaptive conformal inference
 * under distribution shift", NeurIPS 2021).
 *
 * Does: keep states, make features, keep the pool, forecast. Does not: train (forecast-train.ts), know names or time.
 *
 * F1  Everything scales: x → a·x (a > 0), the capacity with it, gives a·quantiles, up to rounding.
 * F2  Finite in, finite out; what is not finite, or larger than LARGEST, is a missing sample.
 * F3  Quantiles ascend, and the probability is that of the distribution through them as they are before F7: P(≥ p90) = 0.1.
 * F4  Nothing but the bytes of the head, model, pool and states decides: the order of the states, no clock, no address.
 * F5  STATE_BYTES a series, whatever the horizon: windows begin every H_STRIDE steps, at most SLOTS are open.
 * F6  A value may be "at least" (censored: the demand was cut off by the capacity). Then the maximum of its windows is "at least"
 *     too, and a quantile above it is not wrong: only those below it learn (Powell, "Censored regression quantiles", J.
 *     Econometrics 32, 1986).
 * F7  Where it was asked for (forecastEndAtTop), and once TOP_WINDOWS live windows are over, no quantile lies beyond an end:
 *     BEYOND_TOP beyond the highest value of any series, but not below the capacity; unless a value was "at least". So what is
 *     said is the distribution of the lesser of maximum and end. The end is not below the capacity, so both reach it equally
 *     often: the probability is that of the quantiles before they end. It is coherent with those that are given (where one is
 *     above the capacity it is 1 − τ or more, where one is below, 1 − τ or less), and ordered as they were: what ends sooner does
 *     not seem calmer. Of two series ordered at all levels, that is, unless the capacity lies above the last level of both or below
 *     the first of both: there the slopes of the tails decide.
 *     Replay of records asks for it (replay.ts: it was measured there). The live oracle does not: its kinds have one pool, so that
 *     the highest value of one would be the end of another; its windows overlap and are those of all series together, so that
 *     TOP_WINDOWS may be half a minute; one "at least" would end it for ever; and the top of who has left would stay.
 */
import { back, features, NEVER, ringAt, SMALLEST } from './forecast-features';
import {
  A_ANCHOR, A_CENSORED, A_COUNT, A_EXCESS, A_EXCESS_P90, A_FAST, A_GAP, A_HIGH, A_INPUT, A_LEVELS, A_LONG, A_LOW, A_PROFILE, A_OFFSETS,
  A_OUTPUT, A_PRESENT, A_SCALE, A_SEASON, A_SLOTS, A_SLOW, A_STEP, A_VARIANCE, A_WINDOWS, H_CROSS, H_CROSS_COUNT,
  H_ENDS_AT_TOP, H_FEATURES, H_HORIZON, H_LEVEL, H_LIVE, H_NORMAL, H_OFFERED, H_OFFERED_LIVE, H_OFFSET, H_PERIOD, H_POOL, H_QUANTILES,
  H_RANDOM, H_RATIO, H_READY, H_ROWS, H_SCALE, H_STANDARD, H_STRIDE, H_TAU, H_TOP, H_TOP_CENSORED, H_TREES, L_LIVE, L_W, L_X, L_Y, LEVELS, M_MEAN,
  M_TREES, P50, P90, P99, POOL_ROWS, RING, ROW, S_SORT, SEASON, SLOT_BYTES, SLOTS, STATE_BYTES, STATES,
  H_UNORDERED, T_LEAVES, TREE_BYTES, W_CENSORED, W_FEATURES, W_LEFT, W_PEAK, W_QUANTILES, W_SCALE, W_SEEN, W_START,
  W_WEIGHT,
} from './forecast-layout';
import { designOf, linearQuantiles, random, sortFloats } from './forecast-linear';
import { addLeaf, leafOf } from './forecast-trees';

const LARGEST: f64 = 1e30;
/** Outcomes are cut here, in units of the scale. */
const OUTCOME_MAX: f64 = 200;
/** Series that the medians look at. */
const MEDIAN_OF: i32 = 1024;
/** A level and scale like those of the others count like so many samples of its own. */
const PRIOR_SAMPLES: f64 = 4;
const CROSS_PRIOR: f64 = 4;
const CROSS_CUT: f64 = 3;
/**
 * Quantiles end so far beyond the highest value that any series of the stream has had, as a part of it, once so many windows are
 * over: of N windows that might come in any order, the next is the highest with a chance of 1 / N (a rule of thumb: they overlap).
 * Values are often bounded (a machine has 100 %), and a tail in units of the scale does not know where.
 */
const BEYOND_TOP: f64 = 0.1;
const TOP_WINDOWS: f64 = 1_000;
/** Steps of the offsets, in units of the scale: of one series (falling to), of all together. */
const OFFSET_RATE: f32 = 0.01;
const OFFSET_KEEP: f32 = 0.995;
const POOLED_RATE: f64 = 0.002;
/**
 * What all windows that end in one step may move the pooled offsets by, times the steps until that shows (a window's end comes a
 * horizon later): more, and with many series they swing ever wider. At a density of 0.3 the loop's gain is a third of that.
 */
const POOLED_GAIN: f64 = 1.2;

// --- layout for the host ---------------------------------------------------------------------------------------

export function forecastStates(): usize {
  return STATES;
}

export function forecastStateBytes(): usize {
  return STATE_BYTES;
}

export function forecastInputAt(): usize {
  return A_INPUT;
}

export function forecastLevelsAt(): usize {
  return A_LEVELS;
}

/** The model lies from here up to where the pool begins: POOL_ROWS rows of features, then outcomes, weights, origins. */
export function forecastModelAt(): usize {
  return M_MEAN;
}

export function forecastPoolAt(): usize {
  return L_X;
}

export function forecastPoolRows(): i32 {
  return POOL_ROWS;
}

export function forecastRowBytes(): usize {
  return <usize>ROW << 2;
}

/** There is a model. */
export function forecastReady(): i32 {
  return load<i32>(H_READY);
}

/** The pool takes no more: new windows take the place of old ones. */
export function forecastIsFull(): bool {
  return load<i32>(H_ROWS) >= load<i32>(H_POOL);
}

export function forecastRows(): i32 {
  return load<i32>(H_ROWS);
}

/** Windows ever offered to the pool by live series. */
export function forecastOffered(): f64 {
  return load<f64>(H_OFFERED_LIVE);
}

function level(index: usize, tau: f32, normal: f32): void {
  store<f32>(H_TAU + (index << 2), tau);
  store<f32>(H_NORMAL + (index << 2), normal);
}

/** Begins: nothing is known. The memory must be zero. */
export function forecastBegin(horizon: i32, seed: u32): void {
  store<i32>(H_HORIZON, horizon);
  store<i32>(H_STRIDE, (horizon + SLOTS - 1) / SLOTS);
  store<u32>(H_RANDOM, seed | 1);
  store<i32>(H_POOL, POOL_ROWS);
  level(0, 0.1, -1.28155);
  level(1, 0.3, -0.5244);
  level(2, 0.5, 0);
  level(3, 0.7, 0.5244);
  level(4, 0.8, 0.84162);
  level(5, 0.9, 1.28155);
  level(6, 0.95, 1.64485);
  level(7, 0.99, 2.32635);
}

/** The pool keeps at most so many rows: a power of two, up to POOL_ROWS. Before the first of them. */
export function forecastLimit(rows: i32): void {
  store<i32>(H_POOL, rows);
}

/** Quantiles end near the highest value (F7). Before the first sample. */
export function forecastEndAtTop(): void {
  store<i32>(H_ENDS_AT_TOP, 1);
}

/** A stream of series begins: history of others (0) or live (1); steps a day, 0 = not known. */
export function forecastStream(live: i32, period: i32): void {
  store<i32>(H_LIVE, live);
  store<f64>(H_TOP, NEVER);
  store<i32>(H_TOP_CENSORED, 0);
  store<i32>(H_PERIOD, period);
  // Of the others' level and scale only the ratio means something for series that may be in another unit.
  if (load<f64>(H_LEVEL) > 0) store<f64>(H_RATIO, load<f64>(H_SCALE) / load<f64>(H_LEVEL));
  store<f64>(H_LEVEL, 0);
  store<f64>(H_SCALE, 0);
}

/** A state that knows nothing. */
export function forecastClear(slot: i32): void {
  const state = stateOf(slot);
  memory.fill(state, 0, STATE_BYTES);
  for (let i: usize = 0; i < <usize>SEASON; i++) {
    store<f32>(state + (i << 2), f32.NaN, A_SEASON);
    store<f32>(state + (i << 2), f32.NaN, A_PROFILE);
  }
}

// @ts-ignore: decorator
@inline
function stateOf(slot: i32): usize {
  return STATES + <usize>slot * STATE_BYTES;
}

// --- a sample ---------------------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function usable(value: f64): bool {
  return Math.abs(value) <= LARGEST;
}

function observeOne(state: usize): void {
  let given = load<f64>(state, A_INPUT);
  // So small a scale has no finite reciprocal.
  if (Math.abs(given) < SMALLEST) given = 0;
  const count = load<i32>(state, A_COUNT);
  const isGiven = usable(given);
  if (!isGiven && count == 0) return;
  store<i32>(state, isGiven ? 0 : load<i32>(state, A_GAP) + 1, A_GAP);
  const before = count == 0 ? given : load<f64>(ringAt(state, count, 0));
  const value = isGiven ? given : before;
  closeWindows(state, value, isGiven, load<i32>(state, A_CENSORED));
  const n = count == i32.MAX_VALUE ? count - RING : count + 1;
  store<i32>(state, n, A_COUNT);
  store<f64>(ringAt(state, n, 0), value);
  store<f64>(H_TOP, Math.max(value, load<f64>(H_TOP)));
  if (load<i32>(state, A_CENSORED)) store<i32>(H_TOP_CENSORED, 1);
  if (n == 1) {
    for (let at: usize = A_ANCHOR; at <= A_LOW; at += 8) store<f64>(state + at, value);
    store<f64>(state, 0, A_VARIANCE);
    store<f64>(state, 0, A_STEP);
    store<f64>(state, value, A_LONG);
    return;
  }
  if (isGiven) learn(state, value, Math.abs(value - before), <f64>n);
}

function learn(state: usize, value: f64, step: f64, n: f64): void {
  const slowRate = Math.max(1 / n, 1.0 / 576);
  let slow = load<f64>(state, A_SLOW);
  const off = value - slow;
  slow += slowRate * off;
  store<f64>(state, slow, A_SLOW);
  store<f64>(state, (1 - slowRate) * (load<f64>(state, A_VARIANCE) + slowRate * off * off), A_VARIANCE);
  const long = load<f64>(state, A_LONG);
  store<f64>(state, long + Math.max(1 / n, 1.0 / 4096) * (value - long), A_LONG);
  const meanStep = load<f64>(state, A_STEP);
  store<f64>(state, meanStep + Math.max(1 / (n - 1), 1.0 / 288) * (step - meanStep), A_STEP);
  const fast = load<f64>(state, A_FAST);
  store<f64>(state, fast + 0.4 * (value - fast), A_FAST);
  store<f64>(state, Math.max(value, slow + (load<f64>(state, A_HIGH) - slow) * 0.998), A_HIGH);
  store<f64>(state, Math.min(value, slow + (load<f64>(state, A_LOW) - slow) * 0.998), A_LOW);
}

/** The open windows see the value; those that are over go to the pool and move the offsets. */
function closeWindows(state: usize, value: f64, isGiven: bool, censored: i32): void {
  for (let s: usize = 0; s < <usize>SLOTS; s++) {
    const slot = state + A_SLOTS + s * SLOT_BYTES;
    const left = load<i32>(slot, W_LEFT);
    if (left == 0) continue;
    if (isGiven) {
      store<f64>(slot, Math.max(value, load<f64>(slot, W_PEAK)), W_PEAK);
      store<i32>(slot, load<i32>(slot, W_SEEN) + 1, W_SEEN);
      if (censored) store<i32>(slot, 1, W_CENSORED);
    }
    store<i32>(slot, left - 1, W_LEFT);
    if (left == 1 && load<i32>(slot, W_SEEN) * 2 > load<i32>(H_HORIZON)) finish(state, slot);
  }
}

function finish(state: usize, slot: usize): void {
  const excess = load<f64>(slot, W_PEAK) - load<f64>(slot, W_START);
  const scale = <f64>load<f32>(slot, W_SCALE);
  const windows = load<i32>(state, A_WINDOWS) + 1;
  store<i32>(state, windows, A_WINDOWS);
  const mean = load<f64>(state, A_EXCESS);
  store<f64>(state, mean + Math.max(1 / <f64>windows, 0.01) * (excess - mean), A_EXCESS);
  const high = load<f64>(state, A_EXCESS_P90);
  const rate = Math.max(0.04, 1 / <f64>windows) * load<f64>(state, A_SCALE);
  const down = load<i32>(slot, W_CENSORED) ? 0 : -0.1 * rate;
  store<f64>(state, high + (excess > high ? 0.9 * rate : down), A_EXCESS_P90);
  const outcome = <f32>Math.min(OUTCOME_MAX, Math.max(-OUTCOME_MAX, excess / scale));
  recalibrate(state, slot, outcome);
  offer(slot, outcome);
}

/** Of each window: with few series POOLED_RATE. */
function pooledRate(): f32 {
  const delay = <f64>(load<i32>(H_HORIZON) + 1);
  const series = Math.max(1, load<f64>(H_CROSS_COUNT));
  return <f32>Math.min(POOLED_RATE, POOLED_GAIN / (delay * series));
}

function recalibrate(state: usize, slot: usize, outcome: f32): void {
  const rate = pooledRate();
  const isCensored = load<i32>(slot, W_CENSORED) != 0;
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    const tau = load<f32>(H_TAU + (k << 2));
    const gradient = outcome > load<f32>(slot + (k << 2), W_QUANTILES) ? tau : isCensored ? 0 : tau - 1;
    const own = state + A_OFFSETS + (k << 2);
    store<f32>(own, load<f32>(own) * OFFSET_KEEP + OFFSET_RATE * gradient);
    if (!load<i32>(H_LIVE)) continue;
    const pooled = H_OFFSET + (k << 2);
    store<f32>(pooled, load<f32>(pooled) + rate * gradient);
  }
}

/** Keeps a uniform sample of the windows (Vitter's algorithm R); once it is full, a tenth of live ones at least. */
function offer(slot: usize, outcome: f32): void {
  const live = load<i32>(H_LIVE);
  const offered = load<f64>(H_OFFERED) + 1;
  store<f64>(H_OFFERED, offered);
  if (live) store<f64>(H_OFFERED_LIVE, load<f64>(H_OFFERED_LIVE) + 1);
  const rows = load<i32>(H_ROWS);
  let row = rows;
  const most = load<i32>(H_POOL);
  if (rows >= most) {
    const chance = <f64>most / offered;
    const keep = live ? Math.max(chance, 0.1) : chance;
    if (<f64>random() * 2.3283064365386963e-10 >= keep) return;
    row = random() & (most - 1);
  } else {
    store<i32>(H_ROWS, rows + 1);
  }
  const at = <usize>row;
  memory.copy(L_X + at * (<usize>ROW << 2), slot + W_FEATURES, <usize>ROW << 2);
  store<f32>(L_Y + (at << 2), outcome);
  store<f32>(L_W + (at << 2), load<f32>(slot, W_WEIGHT));
  store<u8>(L_LIVE + at, live | (load<i32>(slot, W_CENSORED) << 1));
}

// --- all series together ----------------------------------------------------------------------------------------

/** Takes in what the host has put into the states: one step of all series. */
export function forecastObserve(slots: i32): void {
  for (let s = 0; s < slots; s++) {
    const state = stateOf(s);
    if (load<i32>(state, A_PRESENT)) observeOne(state);
  }
  const before: f64 = load<f64>(H_RATIO) > 0 ? load<f64>(H_RATIO) : 0.25;
  const ratio = load<f64>(H_LEVEL) > 0 ? load<f64>(H_SCALE) / load<f64>(H_LEVEL) : before;
  for (let s = 0; s < slots; s++) {
    const state = stateOf(s);
    if (isLive(state)) scale(state, ratio);
  }
  store<f64>(H_LEVEL, median(slots, A_SLOW));
  store<f64>(H_SCALE, median(slots, A_SCALE));
  cross(slots);
}

// @ts-ignore: decorator
@inline
function isLive(state: usize): bool {
  return load<i32>(state, A_PRESENT) != 0 && load<i32>(state, A_COUNT) > 0;
}

function scale(state: usize, ratio: f64): void {
  const n = <f64>load<i32>(state, A_COUNT);
  const level = Math.abs(load<f64>(state, A_SLOW));
  const own = Math.sqrt(1.6 * load<f64>(state, A_STEP) * Math.sqrt(load<f64>(state, A_VARIANCE)));
  const mixed = (PRIOR_SAMPLES * ratio * level + n * own) / (PRIOR_SAMPLES + n);
  store<f64>(state, mixed + 1e-3 * level + 1e-2 * load<f64>(H_SCALE) + SMALLEST, A_SCALE);
}

/** Median of a field's absolute value over the series, or over a sample of them. */
function median(slots: i32, field: usize): f64 {
  const step = (slots + MEDIAN_OF - 1) / MEDIAN_OF;
  let count = 0;
  for (let s = 0; s < slots; s += max(1, step)) {
    const state = stateOf(s);
    if (!isLive(state)) continue;
    store<f64>(S_SORT + (<usize>count << 3), Math.abs(load<f64>(state + field)));
    count++;
  }
  return count == 0 ? 0 : middle(S_SORT, count);
}

/** Hoare's selection. */
function middle(at: usize, count: i32): f64 {
  const wanted = count >> 1;
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = load<f64>(at + (<usize>wanted << 3));
    let i = low;
    let j = high;
    while (i <= j) {
      while (load<f64>(at + (<usize>i << 3)) < pivot) i++;
      while (load<f64>(at + (<usize>j << 3)) > pivot) j--;
      if (i > j) break;
      const value = load<f64>(at + (<usize>i << 3));
      store<f64>(at + (<usize>i << 3), load<f64>(at + (<usize>j << 3)));
      store<f64>(at + (<usize>j << 3), value);
      i++;
      j--;
    }
    if (j < wanted) low = i;
    if (wanted < i) high = j;
  }
  return load<f64>(at + (<usize>wanted << 3));
}

// @ts-ignore: decorator
@inline
function cutCross(value: f64): f64 {
  return Math.max(-CROSS_CUT, Math.min(CROSS_CUT, value));
}

/** How all series moved in 1, 6 and 24 steps and stand against their means: cut, averaged, shrunk where they are few. */
function cross(slots: i32): void {
  let one: f64 = 0;
  let six: f64 = 0;
  let day: f64 = 0;
  let level: f64 = 0;
  let count: f64 = 0;
  for (let s = 0; s < slots; s++) {
    const state = stateOf(s);
    if (!isLive(state)) continue;
    const n = load<i32>(state, A_COUNT);
    const value = load<f64>(ringAt(state, n, 0));
    const unit = 1 / load<f64>(state, A_SCALE);
    one += cutCross((value - back(state, n, 1)) * unit);
    six += cutCross((value - back(state, n, 6)) * unit);
    day += cutCross((value - back(state, n, 24)) * unit);
    level += cutCross((value - load<f64>(state, A_SLOW)) * unit);
    count++;
  }
  const share = 1 / (count + CROSS_PRIOR);
  store<f64>(H_CROSS, one * share);
  store<f64>(H_CROSS, six * share, 8);
  store<f64>(H_CROSS, day * share, 16);
  store<f64>(H_CROSS, level * share, 24);
  store<f64>(H_CROSS_COUNT, count);
}

// --- forecast ---------------------------------------------------------------------------------------------------

/** Quantiles before there is a model, in units of the scale: wide. */
function coldQuantiles(): void {
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    const z = load<f32>(H_NORMAL + (k << 2));
    store<f32>(H_QUANTILES + (k << 2), <f32>0.9 + z * (z < 0 ? <f32>1 : <f32>2));
  }
}

function modelQuantiles(): void {
  designOf(H_FEATURES, H_STANDARD);
  linearQuantiles(H_STANDARD, H_QUANTILES);
  const trees = load<i32>(H_TREES);
  for (let m: usize = 0; m < <usize>trees; m++) {
    const tree = M_TREES + m * TREE_BYTES;
    addLeaf(tree + T_LEAVES + leafOf(tree, H_FEATURES) * (<usize>LEVELS << 2), H_QUANTILES);
  }
}

/**
 * Offsets, ascending order, a wider band after a gap. The errors of a level are those before the order: moved by the errors of
 * whatever stands at its place, the offset of a level that has crossed another would run away from it.
 */
function adjust(state: usize): void {
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    const q = H_QUANTILES + (k << 2);
    store<f32>(q, load<f32>(q) + load<f32>(state + A_OFFSETS + (k << 2)) + load<f32>(H_OFFSET + (k << 2)));
  }
  memory.copy(H_UNORDERED, H_QUANTILES, <usize>LEVELS << 2);
  sortFloats(H_QUANTILES, LEVELS);
  const gap = load<i32>(state, A_GAP);
  if (gap == 0) return;
  const widen: f32 = <f32>1 + <f32>min(gap, 48) / 12;
  const middle = load<f32>(H_QUANTILES + (<usize>P50 << 2));
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    const q = H_QUANTILES + (k << 2);
    store<f32>(q, middle + (load<f32>(q) - middle) * widen);
  }
}

/** Where quantiles end (F7). Only what is given ends there: not what the probability and the errors are taken from. */
function endOf(capacity: f64): f64 {
  if (!load<i32>(H_ENDS_AT_TOP) || load<i32>(H_TOP_CENSORED) || load<f64>(H_OFFERED_LIVE) < TOP_WINDOWS) return Infinity;
  const top = load<f64>(H_TOP);
  const most = top + BEYOND_TOP * Math.abs(top);
  return usable(capacity) ? Math.max(most, capacity) : most;
}

// @ts-ignore: decorator
@inline
function tail(u: f64): f64 {
  const v = 1 / (1 + u / 8);
  const w = v * v * (v * v);
  return w * w;
}

// @ts-ignore: decorator
@inline
function quantileAt(value: f64, unit: f64, k: i32): f64 {
  return value + unit * <f64>load<f32>(H_QUANTILES + (<usize>k << 2));
}

// @ts-ignore: decorator
@inline
function tau(k: i32): f64 {
  return <f64>load<f32>(H_TAU + (<usize>k << 2));
}

/** P(maximum ≥ level): linear between the quantiles, power tails beyond, that continue the slope there. */
function reaches(value: f64, unit: f64, level: f64): f64 {
  const first = quantileAt(value, unit, 0);
  const last = quantileAt(value, unit, LEVELS - 1);
  if (level <= first) {
    const slope = (quantileAt(value, unit, 2) - first) / 1.609 + SMALLEST;
    return 1 - tau(0) * tail((first - level) / slope);
  }
  if (level > last) {
    const slope = (last - quantileAt(value, unit, LEVELS - 3)) / 2.303 + SMALLEST;
    return (1 - tau(LEVELS - 1)) * tail((level - last) / slope);
  }
  let k = 1;
  while (level > quantileAt(value, unit, k)) k++;
  const below = quantileAt(value, unit, k - 1);
  const share = (level - below) / (quantileAt(value, unit, k) - below + SMALLEST);
  return 1 - (tau(k - 1) + Math.min(1, share) * (tau(k) - tau(k - 1)));
}

/** Opens a window for this forecast, when one is due and there is room. */
function open(state: usize, value: f64, step: i32): void {
  if (step % load<i32>(H_STRIDE) != 0) return;
  for (let s: usize = 0; s < <usize>SLOTS; s++) {
    const slot = state + A_SLOTS + s * SLOT_BYTES;
    if (load<i32>(slot, W_LEFT) != 0) continue;
    store<i32>(slot, load<i32>(H_HORIZON), W_LEFT);
    store<i32>(slot, 0, W_SEEN);
    store<i32>(slot, 0, W_CENSORED);
    store<f64>(slot, value, W_START);
    store<f64>(slot, NEVER, W_PEAK);
    const unit = load<f64>(state, A_SCALE);
    store<f32>(slot, <f32>unit, W_SCALE);
    store<f32>(slot, <f32>Math.min(5, Math.max(0.2, unit / (load<f64>(H_SCALE) + SMALLEST))), W_WEIGHT);
    memory.copy(slot + W_QUANTILES, H_UNORDERED, <usize>LEVELS << 2);
    memory.copy(slot + W_FEATURES, H_FEATURES, <usize>ROW << 2);
    return;
  }
}

function forecastOne(state: usize, step: i32, capacity: f64, end: f64): void {
  const n = load<i32>(state, A_COUNT);
  const begun = n > 0;
  let value = load<f64>(H_LEVEL);
  let unit = value > 0 ? value : usable(capacity) && capacity != 0 ? Math.abs(capacity) : 1;
  if (begun) {
    value = load<f64>(ringAt(state, n, 0));
    unit = load<f64>(state, A_SCALE);
    features(state, step);
  }
  if (begun && load<i32>(H_READY)) modelQuantiles();
  else coldQuantiles();
  adjust(state);
  const most = begun ? end : Infinity;
  store<f64>(state, Math.min(most, quantileAt(value, unit, P50)), A_OUTPUT);
  store<f64>(state, Math.min(most, quantileAt(value, unit, P90)), A_OUTPUT + 8);
  store<f64>(state, Math.min(most, quantileAt(value, unit, P99)), A_OUTPUT + 16);
  for (let k: usize = 0; k < <usize>LEVELS; k++) {
    store<f32>(state + A_LEVELS + (k << 2), <f32>Math.min(most, quantileAt(value, unit, <i32>k)));
  }
  store<f64>(state, usable(capacity) ? reaches(value, unit, capacity) : NaN, A_OUTPUT + 24);
  if (begun && load<i32>(state, A_GAP) == 0) open(state, value, step);
}

/** Forecasts of all series that have a step now. */
export function forecastAll(slots: i32, step: i32, capacity: f64): void {
  const end = endOf(capacity);
  for (let s = 0; s < slots; s++) {
    const state = stateOf(s);
    if (load<i32>(state, A_PRESENT)) forecastOne(state, step, capacity, end);
  }
}
