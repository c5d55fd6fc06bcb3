/**
 * Opinions on what the next run will need, each a weighting of past runs of one group.
 *
 *     recent    ▁▂▄█   half the weight every HALF_LIVES runs back, in each group of the ladder
 *     scaled    ●─●─●  past runs carried over to the numbers of this request, along a line fitted to them
 *
 *     the line: log need = a + b · x            x =  log of the product of (1 + number)         (one slope)
 *                                                    log (1 + number), one slope each           (a power law)
 *                                                    number, one slope each                     (an exponential)
 *
 * Does: weigh, fit, carry over. Does not: say which opinion to follow.
 *
 * E1  A number of the request is no size until runs have shown it: a line has an opinion once it explains past runs, by adjusted R²,
 *     and is one opinion among others, which loses when it is wrong.
 * E2  Needs that are all c times as large give opinions that are c times as large.
 * E3  Nothing is NaN: a line that cannot be fitted carries nothing over; what is carried over stays within a bounded factor.
 */
import { type Atoms, type PastRun, pointsFor, redistributed, type View } from './history-group.js';

const HALF_LIVES = [0.7, 2, 6, 25] as const;
const LINES = ['product', 'power', 'exponential'] as const;
/** Ridge, per run; features have unit variance. */
const RIDGE = 1e-4;
/** Runs further from the request than so many standard deviations count for 1/e. */
const NEARNESS = 0.25;
const FARTHEST = 30;
const LINE_HALF_LIFE = 25;
/** Largest factor by which a need is carried over, as a logarithm. */
const CARRY_MAX = 14;
/** Share of the variance that a line must explain, adjusted for its slopes, before it is listened to. */
const EXPLAINED_MIN = 0.8;
/** How much less a wider group is believed before anything is known, as a logarithm. */
const WIDER = -0.3;

type Line = (typeof LINES)[number];

export interface Expert {
  readonly name: string;
  /** Place of its group in the ladder, 0 = the narrowest. */
  readonly rung: number;
  /** Runs until half the weight. */
  readonly halfLife: number;
  /** Undefined: past runs as they are. */
  readonly line: Line | undefined;
  /** How much it is believed before anything is known, as a logarithm. */
  readonly prior: number;
}

/** Opinions for a ladder of so many groups; their order is part of what is saved. */
export function expertsFor(rungs: number): readonly Expert[] {
  const recent = Array.from({ length: rungs }, (_, rung) =>
    HALF_LIVES.map((halfLife) => {
      return {
        name: `recent ${rung}/${halfLife}`,
        rung,
        halfLife,
        line: undefined,
        prior: WIDER * rung,
      };
    }),
  );
  const scaled = LINES.map((line) => {
    return { name: `scaled ${line}`, rung: 1, halfLife: LINE_HALF_LIFE, line, prior: 0 };
  });
  return [...recent.flat(), ...(rungs > 1 ? scaled : [])];
}

/** The opinion of an expert on a group; undefined when it has none. */
export function opinion(expert: Expert, view: View, numbers: readonly number[]): Atoms | undefined {
  const { runs, points } = view;
  const weights = recency(runs.length, expert.halfLife);
  if (expert.line === undefined) return redistributed(view, points, weights);
  // One number has one slope, whatever the line is called.
  if (expert.line === 'power' && numbers.length < 2) return undefined;
  const carried = carriedOver(expert.line, runs, numbers, weights);
  return carried === undefined
    ? undefined
    : redistributed(view, pointsFor(runs, carried.values, view.allEnded), carried.weights);
}

/** Shared by all that ask: never written to. */
const known = new Map<number, Float64Array>();

function recency(count: number, halfLife: number): Float64Array {
  const key = halfLife * 1_000 + count;
  const before = known.get(key);
  if (before !== undefined) return before;
  const weights = Float64Array.from(
    { length: count },
    (_, at) => 0.5 ** ((count - 1 - at) / halfLife),
  );
  const sum = weights.reduce((total, each) => total + each, 0);
  const shared = weights.map((each) => each / sum);
  known.set(key, shared);
  return shared;
}

type Numbered = Pick<PastRun, 'numbers' | 'numberLogs'>;

function features(line: Line, { numbers, numberLogs }: Numbered, count: number): readonly number[] {
  if (line === 'product') return [numberLogs.reduce((sum, each) => sum + each, 0)];
  const from = line === 'power' ? numberLogs : numbers;
  return from.length === count ? from : Array.from({ length: count }, (_, at) => from[at] ?? 0);
}

/** Past runs as they would have been with these numbers. Undefined when the runs' numbers say nothing. */
function carriedOver(
  line: Line,
  runs: readonly PastRun[],
  numbers: readonly number[],
  recent: Float64Array,
): { values: number[]; weights: Float64Array } | undefined {
  if (runs.length < 3 || numbers.length === 0) return undefined;
  const count = numbers.length;
  const asking = { numbers, numberLogs: numbers.map((each) => Math.log1p(each)) };
  const rows = runs.map((run) => features(line, run, count));
  const asked = features(line, asking, count);
  const scale = spreads(rows, recent);
  const used = scale.flatMap((each, at) => (each > 0 ? [at] : []));
  if (used.length === 0) return undefined;
  const unit = rows.map((row) => used.map((at) => row[at]! / scale[at]!));
  const here = used.map((at, k) => withinReach(asked[at]! / scale[at]!, unit, k));
  const all = fitted(unit, runs, recent);
  if (all === undefined || explained(unit, runs, recent, all) < EXPLAINED_MIN) return undefined;
  const steps = unit.map((row) => row.map((each, k) => here[k]! - each));
  const weights = nearby(steps, recent);
  const slopes = fitted(unit, runs, weights) ?? all;
  const values = runs.map((run, at) => {
    const carry = steps[at]!.reduce((sum, step, k) => sum + slopes[k]! * step, 0);
    return run.value * Math.exp(Math.min(CARRY_MAX, Math.max(-CARRY_MAX, carry)));
  });
  return values.every((value) => Number.isFinite(value)) ? { values, weights } : undefined;
}

/** The weights, less for runs whose numbers are far from those asked for: the line bends with them (Cleveland 1979). */
function nearby(steps: readonly (readonly number[])[], recent: Float64Array): Float64Array {
  const weights = recent.map((weight, at) => {
    const row = steps[at]!;
    const distance = Math.sqrt(row.reduce((sum, step) => sum + step * step, 0) / row.length);
    return weight * Math.exp(-Math.min(FARTHEST, distance / NEARNESS));
  });
  const sum = weights.reduce((total, each) => total + each, 0);
  return weights.map((each) => each / sum);
}

/** Beyond the numbers that were seen a line is followed for as far again as they reach, and no further. */
function withinReach(asked: number, rows: readonly (readonly number[])[], k: number): number {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const row of rows) {
    least = Math.min(least, row[k]!);
    most = Math.max(most, row[k]!);
  }
  return Math.min(most + (most - least), Math.max(least - (most - least), asked));
}

/** Weighted standard deviation of each feature; 0 where it does not vary. */
function spreads(rows: readonly (readonly number[])[], weights: Float64Array): number[] {
  const count = rows[0]?.length ?? 0;
  return Array.from({ length: count }, (_, k) => {
    let mean = 0;
    for (let at = 0; at < rows.length; at++) mean += weights[at]! * rows[at]![k]!;
    let square = 0;
    for (let at = 0; at < rows.length; at++) square += weights[at]! * (rows[at]![k]! - mean) ** 2;
    const spread = Math.sqrt(square);
    return spread > 1e-9 * Math.abs(mean) ? spread : 0;
  });
}

/** Slopes of a ridge regression of the runs' logarithms on their features. */
function fitted(
  rows: readonly (readonly number[])[],
  runs: readonly PastRun[],
  weights: Float64Array,
): number[] | undefined {
  const count = rows[0]!.length;
  const means = Array.from({ length: count }, (_, k) =>
    rows.reduce((sum, row, at) => sum + weights[at]! * row[k]!, 0),
  );
  const mean = runs.reduce((sum, { log }, at) => sum + weights[at]! * log, 0);
  const matrix = Array.from({ length: count }, () => new Array<number>(count + 1).fill(0));
  for (let at = 0; at < rows.length; at++) {
    for (let i = 0; i < count; i++) {
      const left = weights[at]! * (rows[at]![i]! - means[i]!);
      for (let j = 0; j < count; j++) matrix[i]![j]! += left * (rows[at]![j]! - means[j]!);
      matrix[i]![count]! += left * (runs[at]!.log - mean);
    }
  }
  for (let i = 0; i < count; i++) matrix[i]![i]! += RIDGE;
  return solved(matrix);
}

/** Adjusted R²: the share of the variance that the line explains, less what as many slopes explain of nothing. */
function explained(
  rows: readonly (readonly number[])[],
  runs: readonly PastRun[],
  weights: Float64Array,
  slopes: readonly number[],
): number {
  const freedom = rows.length - 1 - slopes.length;
  if (freedom < 1) return 0;
  const rests = rows.map((row, at) =>
    row.reduce((rest, each, k) => rest - slopes[k]! * each, runs[at]!.log),
  );
  const total = variance(
    runs.map(({ log }) => log),
    weights,
  );
  if (total === 0) return 0;
  return 1 - ((variance(rests, weights) / total) * (rows.length - 1)) / freedom;
}

function variance(values: readonly number[], weights: Float64Array): number {
  const mean = values.reduce((sum, each, at) => sum + weights[at]! * each, 0);
  return values.reduce((sum, each, at) => sum + weights[at]! * (each - mean) ** 2, 0);
}

/** Gaussian elimination with pivots of [A | b], in place. */
function solved(matrix: number[][]): number[] | undefined {
  const count = matrix.length;
  for (let column = 0; column < count; column++) {
    let pivot = column;
    for (let row = column + 1; row < count; row++)
      if (Math.abs(matrix[row]![column]!) > Math.abs(matrix[pivot]![column]!)) pivot = row;
    [matrix[column], matrix[pivot]] = [matrix[pivot]!, matrix[column]!];
    const top = matrix[column]!;
    if (!(Math.abs(top[column]!) > 1e-12)) return undefined;
    for (let row = column + 1; row < count; row++) {
      const by = matrix[row]![column]! / top[column]!;
      for (let k = column; k <= count; k++) matrix[row]![k]! -= by * top[k]!;
    }
  }
  const answer = new Array<number>(count).fill(0);
  for (let row = count - 1; row >= 0; row--) {
    let rest = matrix[row]![count]!;
    for (let k = row + 1; k < count; k++) rest -= matrix[row]![k]! * answer[k]!;
    answer[row] = rest / matrix[row]![row]!;
  }
  return answer.every((each) => Number.isFinite(each)) ? answer : undefined;
}
