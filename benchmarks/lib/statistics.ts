/**
 * Medians, geometric means and bootstrap bounds.
 *
 * Does: statistics on arrays of numbers. Does not: measure, print.
 *
 * S1  Deterministic: the bootstrap's generator is seeded.
 * S2  Rounds are resampled whole: the variants of one round share its noise, so that ratios are paired.
 */

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('quantile of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

export function geomean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('geometric mean of nothing');
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Small seeded generator (mulberry32): uniform in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Estimate {
  readonly value: number;
  /** 5 % and 95 % of the bootstrap distribution: a 90 % bound. */
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 1_000;

/** `statistic` of the rounds as they were, with a 90 % bootstrap bound over whole rounds. */
export function bootstrap(
  rounds: number,
  statistic: (picked: readonly number[]) => number,
  seed = 1,
): Estimate {
  const random = randomFrom(seed);
  const all = Array.from({ length: rounds }, (_, index) => index);
  const draws: number[] = [];
  for (let i = 0; i < RESAMPLES; i++) {
    draws.push(statistic(all.map(() => Math.floor(random() * rounds))));
  }
  return { value: statistic(all), low: quantile(draws, 0.05), high: quantile(draws, 0.95) };
}

function pick(values: readonly number[], picked: readonly number[]): number[] {
  return picked.map((index) => values[index]!);
}

/** Ratio of two variants' medians. */
export function ratioOf(values: readonly number[], base: readonly number[]): Estimate {
  return bootstrap(
    values.length,
    (picked) => median(pick(values, picked)) / median(pick(base, picked)),
  );
}

/** Geometric mean over several subjects of the ratio of medians. */
export function geomeanRatio(
  pairs: readonly { readonly values: readonly number[]; readonly base: readonly number[] }[],
): Estimate {
  const rounds = Math.min(...pairs.map(({ values }) => values.length));
  return bootstrap(rounds, (picked) =>
    geomean(
      pairs.map(({ values, base }) => median(pick(values, picked)) / median(pick(base, picked))),
    ),
  );
}
