/**
 * A distribution as its quantiles at fixed levels: what forecasts of the live oracle are made of.
 *
 *     P(≤ x)
 *     0.99 ┤                    ╭───▶ power tail of slope HIGH               Levels   quantiles at 0.1 0.3 0.5 0.7 0.8 0.9 0.95 0.99,
 *     0.90 ┤              ╭─────╯                                            ascending; then the slopes of the lower and upper tail
 *     0.50 ┤         ╭────╯   linear between
 *     0.10 ┤  ◀──────╯ power tail of slope LOW
 *          └──────────────────────── x
 *
 * Does: probabilities, widening, mixing, the larger of two, level by level. Does not: know where the quantiles come from.
 *
 * L1  Ascending in, ascending out; finite in, finite out.
 * L2  Order: `raiseTo` gives a distribution that lies above both, at every level and in both tails; what lies `between` two ordered ones
 *     is ordered too. So `exceeds(·, x)` never falls with the share, for any x. Of two that are ordered at all levels but not in their tails
 *     that holds unless x is below the first level of both, or above the last of both.
 * L3  Coherent: exceeds(q, q[k]) = 1 − LEVELS[k] where q rises strictly.
 */
import { FORECAST_LEVELS } from '../core/forecast.js';
import type { Quantiles } from '../types/brain.js';

export type Levels = Float64Array;

export const LEVELS = FORECAST_LEVELS;
const COUNT = LEVELS.length;
const LAST = COUNT - 1;
const LOW = COUNT;
const HIGH = COUNT + 1;
const MIDDLE = LEVELS.indexOf(0.5);
const P90 = LEVELS.indexOf(0.9);
const P99 = LEVELS.indexOf(0.99);
/** ln of the ratio of the tail's shares at the two levels by which its slope is measured, as in assembly/core/forecast.ts. */
const LOW_SPAN = Math.log(5);
const HIGH_SPAN = Math.LN10;
const SMALLEST = 1e-30;

export function newLevels(): Levels {
  return new Float64Array(COUNT + 2);
}

/** Sets the slopes of the tails by the outer levels, which nothing must have cut. */
export function withTails(levels: Levels): Levels {
  levels[LOW] = (levels[MIDDLE]! - levels[0]!) / LOW_SPAN;
  levels[HIGH] = (levels[LAST]! - levels[P90]!) / HIGH_SPAN;
  return levels;
}

/** P50, P90 and P99, in units of `unit`. */
export function quantilesIn(levels: Levels, unit: number): Quantiles {
  return { p50: levels[MIDDLE]! * unit, p90: levels[P90]! * unit, p99: levels[P99]! * unit };
}

/** P(value ≥ x), 0..1. */
export function exceeds(levels: Levels, x: number): number {
  const first = levels[0]!;
  const last = levels[LAST]!;
  if (x <= first) return 1 - LEVELS[0]! * tail((first - x) / (levels[LOW]! + SMALLEST));
  if (x > last) return (1 - LEVELS[LAST]!) * tail((x - last) / (levels[HIGH]! + SMALLEST));
  let k = 1;
  while (x > levels[k]!) k++;
  const below = levels[k - 1]!;
  const share = (x - below) / (levels[k]! - below); // below < x ≤ levels[k]
  return 1 - (LEVELS[k - 1]! + share * (LEVELS[k]! - LEVELS[k - 1]!));
}

function tail(u: number): number {
  return (1 + u / 8) ** -8;
}

/** Farther from the median, by this factor. */
export function widen(levels: Levels, factor: number): void {
  const middle = levels[MIDDLE]!;
  for (let k = 0; k < COUNT; k++) levels[k] = middle + (levels[k]! - middle) * factor;
  levels[LOW]! *= factor;
  levels[HIGH]! *= factor;
}

/** Nothing below this. */
export function raise(levels: Levels, least: number): void {
  if (levels[0]! < least) levels[LOW] = 0;
  for (let k = 0; k < COUNT; k++) levels[k] = Math.max(levels[k]!, least);
}

/** At least the other, everywhere (L2). */
export function raiseTo(levels: Levels, other: Levels): void {
  for (let k = 0; k < COUNT; k++) levels[k] = Math.max(levels[k]!, other[k]!);
  levels[LOW] = Math.min(levels[LOW]!, other[LOW]!);
  levels[HIGH] = Math.max(levels[HIGH]!, other[HIGH]!);
}

/** `share` (0..1) of the way from a to b. */
export function between(a: Levels, b: Levels, share: number): Levels {
  const made = a.map((value, k) => value + (b[k]! - value) * share);
  for (let k = 1; k < COUNT; k++) made[k] = Math.max(made[k]!, made[k - 1]!); // L1, whatever was rounded
  return made;
}

/** Levels of the first `count` (1 or more) values of an ascending list, linear between its points, plus `base`. */
export function levelsOf(
  ascending: ArrayLike<number>,
  count: number,
  base: number,
  target: Levels,
): void {
  for (let k = 0; k < COUNT; k++) {
    const at = LEVELS[k]! * (count - 1);
    const low = Math.floor(at);
    const a = ascending[low]!;
    const b = ascending[Math.min(low + 1, count - 1)]!;
    target[k] = base + a + (b - a) * (at - low);
  }
  withTails(target);
}
