/**
 * How often a shard is checkpointed: Young and Daly's optimum from measured cost and failure rate.
 *
 * Does: compute an interval in ms. Does not: measure, count failures or start a checkpoint.
 *
 * For a checkpoint cost C and a mean time between failures M the loss per unit of time, C/T + T/(2M), is least at
 * T = √(2CM) (Young); Daly's series adds what C itself takes. See J. T. Daly, "A higher order estimate of the optimum
 * checkpoint interval for restart dumps", 2006.
 *
 * I1  The result is finite and within [minMs, maxMs], whatever comes in, and at least cost / budgetShare.
 */
export interface IntervalLimits {
  readonly minMs: number;
  readonly maxMs: number;
  /** Used as long as no cost is known. */
  readonly defaultMs: number;
  /** Share of time that checkpoints may cost, 0..1; it wins over maxMs. */
  readonly budgetShare: number;
}

export const DEFAULT_INTERVAL: IntervalLimits = {
  minMs: 500,
  maxMs: 10_000,
  defaultMs: 2_000,
  budgetShare: 0.1,
};

/** Interval between the starts of two checkpoints. */
export function checkpointIntervalMs(
  costMs: number | null,
  mtbfMs: number,
  limits: IntervalLimits = DEFAULT_INTERVAL,
): number {
  if (costMs === null || !Number.isFinite(costMs) || costMs < 0) return limits.defaultMs;
  const clamped = Math.min(limits.maxMs, Math.max(limits.minMs, dalyMs(costMs, mtbfMs)));
  return Math.max(clamped, costMs / limits.budgetShare);
}

/** The policy of a shard's life (protocol/life-types) for its measured cost and the measured failure rate of nodes. */
export function pace(
  costMs: number | null,
  mtbf: number,
  limits: IntervalLimits = DEFAULT_INTERVAL,
): { readonly checkpointMs: number } {
  return { checkpointMs: checkpointIntervalMs(costMs, mtbf, limits) };
}

function dalyMs(costMs: number, mtbfMs: number): number {
  const mtbf = Number.isFinite(mtbfMs) && mtbfMs > 0 ? mtbfMs : Number.MAX_SAFE_INTEGER;
  if (costMs >= 2 * mtbf) return mtbf;
  const ratio = costMs / (2 * mtbf);
  return Math.sqrt(2 * costMs * mtbf) * (1 + Math.sqrt(ratio) / 3 + ratio / 9) - costMs;
}

/**
 * Mean time between failures of one node, from failures counted over node time. One imagined failure a day is mixed in, so that
 * "none so far" is neither never nor always.
 */
export function mtbfMs(failures: number, nodeTimeMs: number): number {
  const priorMs = 86_400_000;
  const seenMs = Number.isFinite(nodeTimeMs) ? Math.max(0, nodeTimeMs) : 0;
  return (seenMs + priorMs) / (Math.max(0, failures) + 1);
}
