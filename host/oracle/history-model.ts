/**
 * What the next run of a program will need of one quantity (fuel, time, memory), learned from those that have ended.
 *
 *     request ─▶ a ladder of groups, narrow to wide ─▶ opinions (history-experts.ts)
 *                                                          │ weights, a set for each quantile
 *                                 one distribution  ◀──────┘
 *        share 1 − ε   ▂▆█▃▁▁   the opinions' points
 *        share ε       ▁▂▃▂▁▁   anything: Laplace around the median, on the logarithm; ε = RESERVE / (1 + runs)
 *                          │
 *                      conditioned on "more than so much"  ─▶  quantiles  ─▶  each corrected by its own mistakes so far
 *
 * Weights: exp(−η · loss) by pinball loss on the logarithm, in units of what all opinions together lost lately, older loss forgotten
 * (Cesa-Bianchi & Lugosi 2006, §2.3); kept for each group of the second rung. Before anything is known, the narrower group is
 * believed a little more. Tried, no better: weights shared by groups with as many runs; averages of quantiles instead of points;
 * what came after a run like the newest one; harder weights where one opinion is far better (programs gain what jobs lose).
 * Correction: the factor that makes a share τ of what came lie below the quantile τ, followed step by step (Gibbs & Candès 2021,
 * adaptive conformal inference). The median has none: it lay within two points, and following it only made it tremble.
 *
 * Does: forecast, learn, save, restore; all of it is calculation. Does not: know programs, shards or time.
 *
 * R1  Learns from runs that have ended alone. One that was stopped counts as "at least so much" (history-group.ts G3).
 * R2  Never an answer without a band: ε is above 0. Quantiles ascend, are finite, and are at least what was used already.
 * R3  Needs that are all c times as large give forecasts that are c times as large (values from 1 to MEASURABLE_MAX).
 * R4  Bounded: GROUPS_MAX groups, the one that was touched longest ago goes; RUNS_MAX runs each.
 * R5  What was saved and restored answers the same, bit for bit.
 */
import { invariant } from '../types/errors.js';
import { type Expert, expertsFor, opinion } from './history-experts.js';
import {
  type Atoms,
  addRun,
  atomQuantiles,
  boundedValue,
  type PastRun,
  type Points,
  pastRun,
  RUNS_MAX,
  type SavedRun,
  usableNumbers,
  type View,
  viewOf,
} from './history-group.js';
import { MEASURABLE_MAX } from './series.js';

/** What is known of a run before it begins. */
export interface RunRequest {
  /** Names of the groups of runs that it is like, from the narrowest to the widest; always as many as the model has rungs. */
  readonly groups: readonly string[];
  /** Numbers that may or may not have to do with its needs: bytes of input, processors, numeric arguments. 0 or more. */
  readonly numbers: readonly number[];
}

/** What runs that have not ended have needed up to now. */
export interface OtherRuns {
  /** Says what they are: equal keys, equal runs. */
  readonly key: string;
  readonly byGroup: ReadonlyMap<string, readonly PastRun[]>;
}

export const NO_OTHERS: OtherRuns = { key: '', byGroup: new Map() };

export interface RunQuantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
}

/** What can be changed about the model, for ablations in the benchmark. */
export interface RunTuning {
  /** How fast opinions that lose are believed less, per recent loss of all together in the group. */
  readonly rate: number;
  /** What is kept of older losses at each run. */
  readonly keep: number;
  /** Step of the correction. */
  readonly step: number;
  /** Groups whose mean mistake is a share of less than 1 in so many of the usual one get less of the correction. */
  readonly spared: number;
  /** ε of no runs, and the width of what it stands for, as a logarithm. */
  readonly reserve: number;
  readonly reserveWidth: number;
  /** Experts whose name begins with one of these are left out. */
  readonly without: readonly string[];
}

export const TUNING: RunTuning = {
  rate: 0.2,
  keep: 0.9,
  step: 0.005,
  spared: 3,
  reserve: 0.5,
  reserveWidth: 1,
  without: [],
};

export const LEVELS = [0.5, 0.9, 0.95, 0.99] as const;
export const GROUPS_MAX = 4_096;
const LOSS_MAX = 3;
/** Loss that is as good as none. */
const LOSS_MIN = 1e-3;
const UNIT_STEP = 0.15;
/** Bounds of the correction, as a logarithm. */
const CORRECTION_MIN = -1.5;
const CORRECTION_MAX = 6;
/** Runs of a group from which its own mean mistake counts as much as that of all. */
const OWN_HALF = 2;
const MISTAKE_STEP = 0.05;
const OUTCOMES_MAX = 512;
/** Weight below which an opinion is left out. */
const WEIGHT_MIN = 1e-4;

/** How opinions did: for each of LEVELS, loss by expert. */
type Losses = number[][];

interface Group {
  readonly runs: PastRun[];
  /** Of the group on the second rung only: its own losses, how wrong the median was, and in how many runs. */
  losses: Losses | null;
  /** For each of LEVELS, the recent loss of all opinions together. */
  unit: number[];
  mistake: number;
  scored: number;
}

export interface SavedModel {
  readonly rungs: number;
  readonly groups: readonly (readonly [
    name: string,
    runs: readonly SavedRun[],
    losses: Losses | null,
    unit: readonly number[],
    mistake: number,
    scored: number,
  ])[];
  readonly meanLoss: readonly number[];
  readonly correction: readonly number[];
  readonly mistake: number;
  readonly scored: number;
}

/** Everything that a forecast of one request rests on. */
interface Situation {
  readonly groups: readonly (Group | undefined)[];
  readonly opinions: readonly (Atoms | undefined)[];
  /** For each of LEVELS, weight by expert; they add up to 1. */
  readonly weights: readonly Float64Array[];
  readonly runs: number;
}

/** What a request's forecasts are read from, whatever was used already. */
interface Outcome {
  readonly mixture: Mixture;
  readonly middle: number;
  readonly share: number;
  readonly scale: number;
  readonly runs: number;
}

export interface RunForecast extends RunQuantiles {
  /** Runs that it rests on: those of the groups that are believed, by how much they are. */
  readonly runs: number;
}

const hasMore = (least: number, value: number): boolean =>
  least > value && least < Number.POSITIVE_INFINITY;

export class RunModel {
  readonly #tuning: RunTuning;
  readonly #rungs: number;
  readonly #experts: readonly Expert[];
  readonly #groups = new Map<string, Group>();
  readonly #outcomes = new Map<string, Outcome>();
  #meanLoss: number[] = LEVELS.map(() => 0);
  #correction: number[] = LEVELS.map(() => 0);
  #mistake = 0;
  #scored = 0;

  /** @param rungs groups in each request's ladder, at least 1 */
  constructor(rungs: number, tuning = TUNING) {
    this.#rungs = rungs;
    this.#tuning = tuning;
    this.#experts = expertsFor(rungs).filter(
      ({ name }) => !tuning.without.some((prefix) => name.startsWith(prefix)),
    );
  }

  /**
   * Quantiles of what a run needs in all.
   *
   * @param used what it has needed up to now: the forecast is of runs that need more
   * @returns undefined when no group of the ladder has a run
   */
  forecast(request: RunRequest, used = 0, others = NO_OTHERS): RunForecast | undefined {
    const outcome = this.#outcome(request, others);
    if (outcome === undefined) return undefined;
    const { mixture, middle, share, scale, runs } = outcome;
    const from = used > 0 ? Math.min(used, MEASURABLE_MAX) : 0;
    const width = this.#tuning.reserveWidth;
    let before = from;
    const [p50, p90, p95, p99] = LEVELS.map((level, k) => {
      const value = crossing(mixture, k, { level, from, share, middle, width });
      // On its way it is never expected to need less than before it began: no correction downwards.
      const correction = Math.max(from > 0 ? 0 : CORRECTION_MIN, this.#correction[k]! * scale);
      before = Math.max(before, Math.min(MEASURABLE_MAX, value * Math.exp(correction)));
      return before;
    });
    return { p50: p50!, p90: p90!, p95: p95!, p99: p99!, runs };
  }

  /**
   * Takes in a run.
   *
   * @param ended false: it was stopped when it had needed so much
   * @param expected what was forecast when it began; undefined = what is forecast now
   */
  learn(request: RunRequest, value: number, ended: boolean, expected?: RunQuantiles): void {
    // One that was stopped before all others had ended says nothing, and would take the place of one that does.
    if (!ended && hasMore(this.least(request.groups), value)) return;
    const run = pastRun(value, ended, usableNumbers(request.numbers));
    if (ended) this.#score(request, run, expected ?? this.forecast(request));
    this.#outcomes.clear();
    for (let rung = 0; rung < this.#rungs; rung++)
      addRun(this.#touch(request.groups[rung] ?? '', rung).runs, run);
  }

  /** The least that a run of these groups needed; a run on the way that has needed less says nothing yet. */
  least(groups: readonly string[]): number {
    let least = Number.POSITIVE_INFINITY;
    groups.forEach((name, rung) => {
      for (const { value } of this.#groups.get(keyOf(name, rung))?.runs ?? [])
        least = Math.min(least, value);
    });
    return least;
  }

  /** Everything, as data that JSON can hold. */
  save(): SavedModel {
    return {
      rungs: this.#rungs,
      groups: [...this.#groups].map(([name, { runs, losses, unit, mistake, scored }]) => [
        name,
        runs.map(({ value, ended, numbers }) => [value, ended ? 1 : 0, numbers]),
        losses?.map((each) => [...each]) ?? null,
        [...unit],
        mistake,
        scored,
      ]),
      meanLoss: [...this.#meanLoss],
      correction: [...this.#correction],
      mistake: this.#mistake,
      scored: this.#scored,
    };
  }

  /** Becomes what `save` saved. Throws an Error when it cannot be that. */
  take(saved: SavedModel): void {
    invariant(saved.rungs === this.#rungs, 'another ladder');
    this.#groups.clear();
    this.#outcomes.clear();
    for (const [name, runs, losses, unit, mistake, scored] of saved.groups.slice(-GROUPS_MAX))
      this.#groups.set(name, {
        runs: runs.slice(-RUNS_MAX).map(([value, ended, numbers]) => {
          demandNumbers([value, ...numbers]);
          return pastRun(value, ended === 1, usableNumbers(numbers));
        }),
        losses: losses === null ? null : this.#lossesIn(losses),
        unit: unit.slice(0, LEVELS.length).map(count),
        mistake: count(mistake),
        scored: count(scored),
      });
    this.#meanLoss = LEVELS.map((_, k) => count(saved.meanLoss[k]));
    demandNumbers(saved.correction);
    this.#correction = LEVELS.map((_, k) =>
      Math.min(CORRECTION_MAX, Math.max(CORRECTION_MIN, saved.correction[k] ?? 0)),
    );
    this.#mistake = count(saved.mistake);
    this.#scored = count(saved.scored);
  }

  #lossesIn(saved: Losses): Losses {
    invariant(saved.length === LEVELS.length, 'losses of other quantiles');
    for (const each of saved) {
      demandNumbers(each);
      invariant(each.length === this.#experts.length, 'losses of other opinions');
    }
    return saved.map((each) => [...each]);
  }

  get #ownRung(): number {
    return Math.min(1, this.#rungs - 1);
  }

  #situation(request: RunRequest, others: OtherRuns): Situation | undefined {
    const numbers = usableNumbers(request.numbers);
    const groups = this.#ladder(request);
    const views = groups.map((group, rung): View | undefined => {
      const more = others.byGroup.get(request.groups[rung] ?? '') ?? [];
      const runs = [...(group?.runs ?? []), ...more];
      return runs.length === 0 ? undefined : viewOf(runs);
    });
    if (views.every((view) => view === undefined)) return undefined;
    const opinions = this.#experts.map((expert) => {
      const view = views[expert.rung];
      return view === undefined ? undefined : opinion(expert, view, numbers);
    });
    const weights = this.#weights(groups, opinions);
    const runs = this.#experts.reduce(
      (sum, { rung }, at) => sum + weights[0]![at]! * (views[rung]?.runs.length ?? 0),
      0,
    );
    return { groups, opinions, weights, runs };
  }

  #ladder(request: RunRequest): (Group | undefined)[] {
    return Array.from({ length: this.#rungs }, (_, rung) =>
      this.#groups.get(keyOf(request.groups[rung] ?? '', rung)),
    );
  }

  #weights(
    groups: readonly (Group | undefined)[],
    opinions: readonly (Atoms | undefined)[],
  ): Float64Array[] {
    const own = groups[this.#ownRung]?.losses;
    return LEVELS.map((_, k) => {
      const sums = own?.[k] ?? [];
      const logs = this.#experts.map(({ prior }, at) =>
        opinions[at] === undefined ? Number.NEGATIVE_INFINITY : prior - (sums[at] ?? 0),
      );
      const most = Math.max(...logs);
      const weights = Float64Array.from(logs, (each) => Math.exp(each - most));
      for (let at = 0; at < weights.length; at++) if (weights[at]! < WEIGHT_MIN) weights[at] = 0;
      const sum = weights.reduce((total, each) => total + each, 0);
      return weights.map((each) => each / sum);
    });
  }

  /** Calculated once for each request until something is learned. */
  #outcome(request: RunRequest, others: OtherRuns): Outcome | undefined {
    const key = JSON.stringify([request.groups, request.numbers, others.key]);
    const known = this.#outcomes.get(key);
    if (known !== undefined) return known;
    const situation = this.#situation(request, others);
    if (situation === undefined) return undefined;
    const mixture = mixed(situation);
    const outcome = {
      mixture,
      middle: crossing(mixture, 0, { level: 0.5, from: 0, share: 0, middle: 1, width: 1 }),
      share: this.#tuning.reserve / (1 + situation.runs),
      scale: this.#scaleOf(situation.groups[this.#ownRung]),
      runs: situation.runs,
    };
    if (this.#outcomes.size >= OUTCOMES_MAX) this.#outcomes.clear();
    this.#outcomes.set(key, outcome);
    return outcome;
  }

  /** How much of the correction a group gets: all, but for those whose own mistakes are far smaller than usual. */
  #scaleOf(own: Group | undefined): number {
    const count = own?.scored ?? 0;
    const usual = this.#mistake * OWN_HALF;
    const mistake = ((own?.mistake ?? 0) * count + usual) / (count + OWN_HALF);
    return this.#mistake === 0 ? 0 : Math.min(1, (this.#tuning.spared * mistake) / this.#mistake);
  }

  /** Before the run itself is known to its groups. */
  #score(request: RunRequest, run: PastRun, expected: RunQuantiles | undefined): void {
    const situation = this.#situation(request, NO_OTHERS);
    if (situation === undefined) return;
    const own = this.#touch(request.groups[this.#ownRung] ?? '', this.#ownRung);
    own.losses ??= LEVELS.map(() => new Array<number>(this.#experts.length).fill(0));
    const losses = situation.opinions.map((atoms) =>
      atoms === undefined
        ? undefined
        : atomQuantiles(atoms, LEVELS).map((value, k) =>
            Math.min(LOSS_MAX, pinball(run.log - Math.log(boundedValue(value)), LEVELS[k]!)),
          ),
    );
    this.#scored++;
    for (let k = 0; k < LEVELS.length; k++) {
      const mean = losses.reduce(
        (sum, each, at) => sum + situation.weights[k]![at]! * (each?.[k] ?? 0),
        0,
      );
      this.#meanLoss[k]! += (mean - this.#meanLoss[k]!) * Math.max(0.01, 1 / this.#scored);
      const { rate, keep } = this.#tuning;
      const unit = own.unit[k] ?? this.#meanLoss[k]!;
      own.unit[k] = unit + (mean - unit) * UNIT_STEP;
      takeLosses(own.losses[k]!, losses, k, mean, { rate: rate / (own.unit[k]! + LOSS_MIN), keep });
    }
    if (expected !== undefined) this.#correct(own, run, expected);
  }

  #correct(own: Group, run: PastRun, expected: RunQuantiles): void {
    const said = [expected.p50, expected.p90, expected.p95, expected.p99];
    for (let k = 1; k < LEVELS.length; k++) {
      const level = LEVELS[k]!;
      const miss = (run.value > said[k]! * (1 + 1e-12) ? 1 : 0) - (1 - level);
      const next =
        this.#correction[k]! + (this.#tuning.step * miss) / Math.sqrt(level * (1 - level));
      this.#correction[k] = Math.min(CORRECTION_MAX, Math.max(CORRECTION_MIN, next));
    }
    const mistake = Math.abs(run.log - Math.log(boundedValue(expected.p50)));
    own.scored++;
    own.mistake += (mistake - own.mistake) * Math.max(MISTAKE_STEP, 1 / own.scored);
    this.#mistake += (mistake - this.#mistake) * Math.max(0.005, 1 / this.#scored);
  }

  /** The group, made if need be, as the one that was touched last. */
  #touch(name: string, rung: number): Group {
    const key = keyOf(name, rung);
    const group = this.#groups.get(key) ?? {
      runs: [],
      losses: null,
      unit: [],
      mistake: 0,
      scored: 0,
    };
    this.#groups.delete(key);
    this.#groups.set(key, group);
    if (this.#groups.size > GROUPS_MAX) {
      const oldest = this.#groups.keys().next();
      if (oldest.done === false) this.#groups.delete(oldest.value);
    }
    return group;
  }
}

function demandNumbers(values: readonly number[]): void {
  for (const value of values) invariant(Number.isFinite(value), 'no number where one must be');
}

function count(value: number | undefined): number {
  invariant(value !== undefined && Number.isFinite(value) && value >= 0, 'no count');
  return value;
}

function keyOf(name: string, rung: number): string {
  return `${rung} ${name}`;
}

/** Who had no opinion loses what all together did (sleeping experts; Freund, Schapire, Singer & Warmuth 1997). */
function takeLosses(
  sums: number[],
  losses: readonly (readonly number[] | undefined)[],
  k: number,
  mean: number,
  how: { readonly rate: number; readonly keep: number },
): void {
  for (let at = 0; at < sums.length; at++)
    sums[at] = sums[at]! * how.keep + how.rate * (losses[at]?.[k] ?? mean);
}

function pinball(error: number, level: number): number {
  return error > 0 ? level * error : (level - 1) * error;
}

/** Points of all opinions in ascending order; for each of LEVELS the weight of a point and all above it, and 0 at the end. */
interface Mixture {
  readonly values: Float64Array;
  readonly above: readonly Float64Array[];
}

interface Weighed {
  readonly values: Float64Array;
  readonly weights: readonly Float64Array[];
}

function mixed({ opinions, weights }: Situation): Mixture {
  const sums = new Map<Points, Float64Array[]>();
  opinions.forEach((atoms, at) => {
    if (atoms === undefined) return;
    weights.forEach((each, k) => {
      const weight = each[at]!;
      if (weight === 0) return;
      const known =
        sums.get(atoms.points) ?? LEVELS.map(() => new Float64Array(atoms.weights.length));
      sums.set(atoms.points, known);
      const sum = known[k]!;
      for (let i = 0; i < sum.length; i++) sum[i]! += weight * atoms.weights[i]!;
    });
  });
  const all = [...sums].reduce<Weighed>(
    (merged, [points, sum]) => mergedWith(merged, points, sum),
    { values: new Float64Array(0), weights: LEVELS.map(() => new Float64Array(0)) },
  );
  const above = all.weights.map((each) => {
    const suffix = new Float64Array(each.length + 1);
    for (let at = each.length - 1; at >= 0; at--) suffix[at] = suffix[at + 1]! + each[at]!;
    return suffix;
  });
  return { values: all.values, above };
}

/** Both are in order already. */
function mergedWith(to: Weighed, points: Points, sums: readonly Float64Array[]): Weighed {
  const count = to.values.length + points.values.length;
  const values = new Float64Array(count);
  const weights = LEVELS.map(() => new Float64Array(count));
  let left = 0;
  let right = 0;
  for (let at = 0; at < count; at++) {
    const place = points.order[right];
    const value =
      place === undefined ? Number.POSITIVE_INFINITY : boundedValue(points.values[place]!);
    const isLeft = left < to.values.length && (place === undefined || to.values[left]! <= value);
    values[at] = isLeft ? to.values[left]! : value;
    for (let k = 0; k < LEVELS.length; k++)
      weights[k]![at] = isLeft ? to.weights[k]![left]! : sums[k]![place!]!;
    if (isLeft) left++;
    else right++;
  }
  return { values, weights };
}

interface Question {
  readonly level: number;
  /** Only what is more than this. */
  readonly from: number;
  /** Of anything, as opposed to the points; around `middle`, with this width of the logarithm. */
  readonly share: number;
  readonly middle: number;
  readonly width: number;
}

/** The value up to which there is `level` of the distribution beyond `from`. O(log points). */
function crossing({ values, above }: Mixture, k: number, question: Question): number {
  const { level, from, share, middle, width } = question;
  const suffix = above[k]!;
  const anything = (value: number): number => share * survival(value, middle, width);
  const first = firstOf(values.length, 0, (at) => values[at]! > from);
  const all = (1 - share) * suffix[first]! + (share > 0 ? anything(from) : 0);
  const target = (1 - level) * all * (1 + 1e-9);
  // The first point that has no more than the target above it; or, between it and the one before, what is anything has.
  const at = firstOf(values.length, first, (place) => {
    return (1 - share) * suffix[place + 1]! + (share > 0 ? anything(values[place]!) : 0) <= target;
  });
  if (share === 0) return values[Math.min(at, values.length - 1)] ?? middle;
  const points = (1 - share) * suffix[at]!;
  const value = values[at];
  if (value !== undefined && points + anything(value) > target) return value;
  return inverse((target - points) / share, middle, width);
}

/** The first place from `from` on for which it holds, as it does for all after it; `count` when there is none. */
function firstOf(count: number, from: number, holds: (at: number) => boolean): number {
  let low = from;
  let high = count;
  while (low < high) {
    const half = (low + high) >> 1;
    if (holds(half)) high = half;
    else low = half + 1;
  }
  return low;
}

/** Share of a Laplace distribution of the logarithm that lies above the value. */
function survival(value: number, middle: number, width: number): number {
  if (value <= 0) return 1;
  const distance = (Math.log(value) - Math.log(middle)) / width;
  return distance > 0 ? 0.5 * Math.exp(-distance) : 1 - 0.5 * Math.exp(distance);
}

function inverse(share: number, middle: number, width: number): number {
  const below = Math.min(1 - 1e-15, Math.max(1e-300, share));
  const distance = below <= 0.5 ? -Math.log(2 * below) : Math.log(2 * (1 - below));
  return boundedValue(Math.exp(Math.log(middle) + width * distance));
}
