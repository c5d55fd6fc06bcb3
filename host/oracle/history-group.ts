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
  /** log (1 + number) of each. */
  readonly numberLogs: readonly number[];
}

/** What is saved of a run: value, ended (1 or 0), numbers. */
export type SavedRun = readonly [value: number, ended: number, numbers: readonly number[]];

export function pastRun(value: number, ended: boolean, numbers: readonly number[]): PastRun {
  const bounded = boundedValue(value);
  const numberLogs = numbers.map((each) => Math.log1p(each));
  return { value: bounded, log: Math.log(bounded), ended, numbers, numberLogs };
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

/** A group's runs, ready to be weighed by several; `points` are those of `pointsFor` the runs' own values. */
export interface View {
  readonly runs: readonly PastRun[];
  readonly points: Points;
  readonly allEnded: boolean;
}

export function viewOf(runs: readonly PastRun[]): View {
  const allEnded = runs.every(({ ended }) => ended);
  const points = pointsFor(
    runs,
    runs.map(({ value }) => value),
    allEnded,
  );
  return { runs, points, allEnded };
}

/** Where the weight beyond the last known value goes: factors of that value, and shares. */
const TAIL_FACTORS = [1.25, 2.2, 5, 20] as const;
const TAIL_SHARES = [0.4, 0.3, 0.2, 0.1] as const;

/** The values, by run; where not all runs have ended, those of the tail after them. Of equal ones those that ended come first. */
export function pointsFor(
  runs: readonly PastRun[],
  values: readonly number[],
  allEnded: boolean,
): Points {
  const order = Uint16Array.from(values, (_, at) => at);
  order.sort(
    (a, b) => values[a]! - values[b]! || Number(runs[b]!.ended) - Number(runs[a]!.ended) || a - b,
  );
  if (allEnded) return { values, order };
  const last = values[order.at(-1)!]!;
  const tail = TAIL_FACTORS.map((by) => Math.min(MEASURABLE_MAX, last * by));
  return {
    values: [...values, ...tail],
    order: Uint16Array.from([...order, ...tail.map((_, at) => values.length + at)]),
  };
}

/** Weights of ended and stopped runs as a distribution of what they would have come to (G3); `points` are `pointsFor` the runs. */
export function redistributed(
  { runs, allEnded }: View,
  points: Points,
  weights: Float64Array,
): Atoms {
  if (allEnded) return { points, weights };
  const moved = new Float64Array(points.values.length);
  let ahead = weights.reduce((sum, each) => sum + each, 0);
  let factor = 1;
  let beyond = 0;
  for (const at of points.order) {
    if (at >= runs.length) break;
    const own = weights[at]!;
    const after = Math.max(0, ahead - own);
    if (runs[at]!.ended) moved[at] = own * factor;
    else if (after > 1e-12 * ahead) factor *= ahead / after;
    else beyond += own * factor;
    ahead = after;
  }
  TAIL_SHARES.forEach((share, at) => {
    moved[runs.length + at] = share * beyond;
  });
  return { points, weights: moved };
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
