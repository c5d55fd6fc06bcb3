/**
 * The runs of one group of programs that are taken to be alike: a bounded ring of what each needed, newest last.
 *
 *     runs     oldest ─────────────────────────▶ newest       at most RUNS_MAX
 *     value    120      80     ≥ 300     95      110          what it needed, ≥ 1; "≥": it was stopped there (censored)
 *     numbers  [10]     [8]    [10]      [8]     [10]         what was known of it before it began
 *
 * Does: keep runs, weigh them by how recent they are, tell what those that were stopped may have come to.
 * Does not: choose between weights (history-model.ts does), know what a value means.
 *
 * G1  Bounded: RUNS_MAX runs, NUMBERS_MAX numbers of each. G2  Values are finite and from 1 to MEASURABLE_MAX.
 * G3  A stopped run counts as "at least so much": its weight goes to the longer ones, in proportion to theirs; where there are
 *     none, to the tail for which a run that came so far is as likely as not to come twice as far.
 *     (Kaplan & Meier 1958; Efron 1967, redistribution to the right. Tail: Pareto with exponent 1.)
 */
import { MEASURABLE_MAX } from './series.js';

export const RUNS_MAX = 64;
export const NUMBERS_MAX = 6;

export interface PastRun {
  readonly value: number;
  /** Natural logarithm of the value. */
  readonly log: number;
  /** False: it was stopped when it had needed so much. */
  readonly ended: boolean;
  readonly numbers: readonly number[];
}

/** What is saved of a run: value, ended (1 or 0), numbers. */
export type SavedRun = readonly [value: number, ended: number, numbers: readonly number[]];

export function pastRun(value: number, ended: boolean, numbers: readonly number[]): PastRun {
  const bounded = boundedValue(value);
  return { value: bounded, log: Math.log(bounded), ended, numbers };
}

/** From 1 to MEASURABLE_MAX; what is no number is 1. */
export function boundedValue(value: number): number {
  return value >= 1 ? Math.min(value, MEASURABLE_MAX) : 1;
}

/** Numbers that can be calculated with: finite, 0 or more, at most so many. */
export function usableNumbers(numbers: readonly number[]): readonly number[] {
  return numbers
    .slice(0, NUMBERS_MAX)
    .map((each) => (each > 0 ? Math.min(each, MEASURABLE_MAX) : 0));
}

export function addRun(runs: PastRun[], run: PastRun): void {
  runs.push(run);
  if (runs.length > RUNS_MAX) runs.shift();
}

/** Values by place, and their places in ascending order. */
export interface Points {
  readonly values: readonly number[];
  readonly order: Uint16Array;
}

/** A distribution over points; weights by place, which add up to 1. */
export interface Atoms {
  readonly points: Points;
  readonly weights: Float64Array;
}

/** A group's runs, ready to be weighed by several. */
export interface View {
  readonly runs: readonly PastRun[];
  readonly points: Points;
  readonly allEnded: boolean;
}

export function pointsOf(values: readonly number[]): Points {
  const order = Uint16Array.from(values, (_, at) => at);
  return { values, order: order.sort((a, b) => values[a]! - values[b]! || a - b) };
}

export function viewOf(runs: readonly PastRun[]): View {
  const points = pointsOf(runs.map(({ value }) => value));
  return { runs, points, allEnded: runs.every(({ ended }) => ended) };
}

/** Where the weight beyond the last known value goes: factors of that value, and shares. */
const TAIL_FACTORS = [1.25, 2.2, 5, 20] as const;
const TAIL_SHARES = [0.4, 0.3, 0.2, 0.1] as const;

/** Weights of ended and stopped runs as a distribution of what they would have come to (G3); `points` has a value for each run. */
export function redistributed(
  { runs, allEnded }: View,
  points: Points,
  weights: Float64Array,
): Atoms {
  if (allEnded) return { points, weights };
  const { values } = points;
  const order = [...points.order].sort(
    (a, b) => values[a]! - values[b]! || Number(runs[b]!.ended) - Number(runs[a]!.ended) || a - b,
  );
  const moved = new Float64Array(values.length);
  let ahead = weights.reduce((sum, each) => sum + each, 0);
  let factor = 1;
  let beyond = 0;
  for (const at of order) {
    const own = weights[at]!;
    const after = Math.max(0, ahead - own);
    if (runs[at]!.ended) moved[at] = own * factor;
    else if (after > 1e-12 * ahead) factor *= ahead / after;
    else beyond += own * factor;
    ahead = after;
  }
  if (beyond === 0) return { points, weights: moved };
  const last = values[order.at(-1) ?? 0] ?? 1;
  const tail = TAIL_FACTORS.map((by) => Math.min(MEASURABLE_MAX, last * by));
  const shares = TAIL_SHARES.map((share) => share * beyond);
  return {
    points: pointsOf([...values, ...tail]),
    weights: Float64Array.from([...moved, ...shares]),
  };
}

/** Quantiles at ascending levels: the least value up to which there is that share of the weight. */
export function atomQuantiles({ points, weights }: Atoms, levels: readonly number[]): number[] {
  const { values, order } = points;
  const total = weights.reduce((sum, each) => sum + each, 0);
  let at = 0;
  let below = 0;
  return levels.map((level) => {
    while (at < order.length - 1 && below + weights[order[at]!]! < level * total) {
      below += weights[order[at]!]!;
      at++;
    }
    return values[order[at]!]!;
  });
}
