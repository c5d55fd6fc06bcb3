/**
 * How good predictions are: onset average precision, pinball loss, coverage with ties, alarms at a budget, Brier score.
 *
 * Does: score one case, resample its hosts. Does not: predict, print.
 *
 * S1  Onsets only: a point counts for contention when it is below the capacity now.
 * S2  A score is a function of how often each host was drawn, so that predictors are compared on the same draw.
 */
import { pinball } from '../../host/oracle/replay.js';
import { type Points, type Prediction, TAUS } from './peers.js';

export interface Labels {
  readonly points: Points;
  readonly capacity: number;
  /** Points below the capacity now. */
  readonly open: Int32Array;
  readonly hosts: number;
}

export function labelsOf(points: Points, capacity: number): Labels {
  const open: number[] = [];
  points.now.forEach((v, i) => {
    if (v < capacity) open.push(i);
  });
  return { points, capacity, open: Int32Array.from(open), hosts: points.rows.length };
}

/** A predictor's open points by falling score, for average precision of any draw of hosts. */
export function orderOf({ open }: Labels, { score }: Prediction): Int32Array {
  return open.slice().sort((a, b) => score[b]! - score[a]!);
}

/** Average precision; equal scores are taken together. `draws`: how often each host counts. */
export function averagePrecision(
  { points, capacity }: Labels,
  { score }: Prediction,
  order: Int32Array,
  draws: Float64Array,
): number {
  let seen = 0;
  let hits = 0;
  let sum = 0;
  for (let i = 0; i < order.length; ) {
    let group = 0;
    const value = score[order[i]!]!;
    for (; i < order.length && score[order[i]!] === value; i++) {
      const point = order[i]!;
      const weight = draws[points.row[point]!]!;
      seen += weight;
      if (points.actual[point]! >= capacity) group += weight;
    }
    hits += group;
    if (seen > 0) sum += (group * hits) / seen;
  }
  return hits > 0 ? sum / hits : Number.NaN;
}

/** Sum of the pinball losses of one quantile, by host, and points by host. */
export function lossByHost(
  { points, hosts }: Labels,
  { quantiles }: Prediction,
  k: 0 | 1 | 2,
): { readonly loss: Float64Array; readonly count: Float64Array } | undefined {
  if (quantiles === undefined) return undefined;
  const loss = new Float64Array(hosts);
  const count = new Float64Array(hosts);
  points.actual.forEach((v, i) => {
    loss[points.row[i]!]! += pinball(v, quantiles[k][i]!, TAUS[k]);
    count[points.row[i]!]! += 1;
  });
  return { loss, count };
}

export function meanLoss(
  { loss, count }: { readonly loss: Float64Array; readonly count: Float64Array },
  draws: Float64Array,
): number {
  let sum = 0;
  let points = 0;
  draws.forEach((n, host) => {
    sum += n * loss[host]!;
    points += n * count[host]!;
  });
  return sum / points;
}

/** Shares of outcomes below, and at or below, a quantile; of all points or of some. */
export function coverage(
  actual: Float64Array,
  quantile: Float64Array,
  only?: (i: number) => boolean,
): { readonly below: number; readonly atOrBelow: number; readonly points: number } {
  let below = 0;
  let atOrBelow = 0;
  let points = 0;
  actual.forEach((v, i) => {
    if (only !== undefined && !only(i)) return;
    points++;
    if (v < quantile[i]!) below++;
    if (v <= quantile[i]!) atOrBelow++;
  });
  return { below: below / points, atOrBelow: atOrBelow / points, points };
}

/** How far coverage is from `tau`, 0 when ties can explain it. */
export function miss(
  c: { readonly below: number; readonly atOrBelow: number },
  tau: number,
): number {
  return c.below > tau ? c.below - tau : c.atOrBelow < tau ? c.atOrBelow - tau : 0;
}

export interface Alarms {
  readonly events: number;
  readonly caught: number;
  readonly alarmStepsPerHostDay: number;
  /** From the first alarm of the window to the onset, s. */
  readonly medianLeadS: number;
}

const BUDGET_A_DAY = 4;
const CELLS = 2_000;

/** Open points by step, and where an alarm would be spent. */
interface AlarmRun {
  readonly ranks: Int32Array;
  readonly byStep: ReadonlyMap<number, readonly number[]>;
  readonly isOpen: (i: number) => boolean;
  /** Steps that an alarm of a host stands for: meanwhile no other one is rung there. */
  readonly standsFor: number;
  readonly points: Points;
}

/**
 * Alarms where the score reaches a threshold that is causal: the lowest one with which, over all earlier steps, no more alarms
 * would have been rung than the budget allows. An alarm says "within the next `horizon` steps", so it stands for as many: a
 * second one of the same host within that time says nothing new and is not rung (nor paid for). `isRepeated` rings and pays
 * for every step instead; then a single event uses up to `horizon` alarms, and not even perfect knowledge catches many.
 */
export function alarmsOf(
  labels: Labels,
  prediction: Prediction,
  intervalS: number,
  horizon: number,
  isRepeated = false,
): Alarms {
  const { points, capacity } = labels;
  const byStep = new Map<number, number[]>();
  points.step.forEach((t, i) => {
    const list = byStep.get(t) ?? [];
    list.push(i);
    byStep.set(t, list);
  });
  const alarms = alarmSteps(
    {
      ranks: rankCells(labels, prediction),
      byStep,
      isOpen: (i) => points.now[i]! < capacity,
      standsFor: isRepeated ? 1 : horizon,
      points,
    },
    BUDGET_A_DAY / (86_400 / intervalS),
  );
  const leads: number[] = [];
  let events = 0;
  points.step.forEach((t, i) => {
    const values = points.rows[points.row[i]!]!.values;
    if (!(points.now[i]! < capacity && values[t + 1]! >= capacity)) return;
    events++;
    for (let back = horizon - 1; back >= 0; back--) {
      if (!alarms.has(alarmKey(points.row[i]!, t - back))) continue;
      leads.push((back + 1) * intervalS);
      break;
    }
  });
  leads.sort((a, b) => a - b);
  const hostDays = (points.row.length * intervalS) / 86_400;
  return {
    events,
    caught: leads.length,
    alarmStepsPerHostDay: alarms.size / hostDays,
    medianLeadS: leads[leads.length >> 1] ?? 0,
  };
}

const alarmKey = (row: number, step: number): number => row * 1e7 + step;

/** Keys of the steps at which an alarm is rung; `share`: alarms a point that the budget allows. */
function alarmSteps(
  { ranks, byStep, isOpen, standsFor, points }: AlarmRun,
  share: number,
): Set<number> {
  const alarms = new Set<number>();
  const quietUntil = new Int32Array(points.rows.length);
  /** What each threshold would have rung so far, and of each host until when it would be quiet then. */
  const rung = new Int32Array(CELLS);
  const wouldBeQuiet = new Int32Array(points.rows.length * CELLS);
  let total = 0;
  for (const t of [...byStep.keys()].sort((a, b) => a - b)) {
    const from = thresholdCell(rung, total, share);
    for (const i of byStep.get(t)!) {
      total++;
      if (!isOpen(i)) continue;
      const row = points.row[i]!;
      if (ranks[i]! >= from && quietUntil[row]! <= t) {
        alarms.add(alarmKey(row, t));
        quietUntil[row] = t + standsFor;
      }
      for (let cell = 0; cell <= ranks[i]!; cell++) {
        if (wouldBeQuiet[row * CELLS + cell]! > t) continue;
        wouldBeQuiet[row * CELLS + cell] = t + standsFor;
        rung[cell]!++;
      }
    }
  }
  return alarms;
}

/** Scores as cells of equal count; only their order matters. */
function rankCells({ points }: Labels, { score }: Prediction): Int32Array {
  const order = Int32Array.from(points.row.keys()).sort((a, b) => score[a]! - score[b]!);
  const cells = new Int32Array(order.length);
  let cell = 0;
  order.forEach((point, rank) => {
    if (rank === 0 || score[point] !== score[order[rank - 1]!])
      cell = Math.floor((rank * CELLS) / order.length);
    cells[point] = cell;
  });
  return cells;
}

/** The lowest threshold above which every one keeps the budget; CELLS = ring nothing. */
function thresholdCell(rung: Int32Array, total: number, share: number): number {
  if (total === 0) return CELLS;
  let cell = CELLS;
  while (cell > 0 && rung[cell - 1]! <= share * total) cell--;
  return cell;
}

export interface Reliability {
  readonly brier: number;
  /** Brier score of the base rate. */
  readonly base: number;
  readonly bins: readonly {
    readonly said: number;
    readonly came: number;
    readonly points: number;
  }[];
}

export function reliabilityOf(
  { points, capacity, open }: Labels,
  probability: Float64Array,
): Reliability {
  const bins = Array.from({ length: 10 }, () => ({ said: 0, came: 0, points: 0 }));
  let brier = 0;
  let onsets = 0;
  for (const i of open) {
    const p = probability[i]!;
    const came = points.actual[i]! >= capacity ? 1 : 0;
    brier += (p - came) ** 2;
    onsets += came;
    const bin = bins[Math.min(9, Math.floor(p * 10))]!;
    bin.said += p;
    bin.came += came;
    bin.points++;
  }
  const rate = onsets / open.length;
  return {
    brier: brier / open.length,
    base: rate * (1 - rate),
    bins: bins.map(({ said, came, points: n }) => ({
      said: n > 0 ? said / n : 0,
      came: n > 0 ? came / n : 0,
      points: n,
    })),
  };
}
