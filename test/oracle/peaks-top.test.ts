/**
 * F7 of the forecaster: where it is asked for, quantiles end a tenth beyond the highest value that any series has had, or at the
 * capacity if that is higher, once 1,000 windows are over; not where values are known to be cut off. The probability does not
 * notice. The live oracle does not ask for it.
 */
import { describe, expect, it } from 'vitest';
import { FORECAST_LEVELS } from '../../host/core/forecast.js';
import { nodePlatform } from '../../host/node/platform.js';
import { newLevels } from '../../host/oracle/levels.js';
import { PeakOracle } from '../../host/oracle/peaks.js';
import { replay } from '../../host/oracle/replay.js';
import { Rung } from '../../host/oracle/rung.js';
import { Random } from '../exact/random.js';

const SERIES = 20;
const STEPS = 240;
const HORIZON = 4;
/** The windows of a step are over HORIZON steps later. */
const BOUND_FROM = 1_000 / SERIES + HORIZON + 1;
const NAMES = Array.from({ length: SERIES }, (_, i) => `s${10 + i}`);
const LAST = FORECAST_LEVELS.length - 1;
/** Of P50, P90, P99: the chance to be above. */
const RESTS = [0.5, 0.1, 0.01] as const;

/** Of each step the values of all: machines that idle at different loads, with rare bursts up to 100. */
function loads(steps: number): number[][] {
  const random = new Random(9);
  return Array.from({ length: steps }, () =>
    NAMES.map((_, i) =>
      random.below(12) === 0 ? 100 - random.below(40) : 1 + 2 * i + random.below(300) / 100,
    ),
  );
}

const most = (list: readonly number[]): number => list.reduce((a, b) => Math.max(a, b), -Infinity);

function begun(endsAtTop: boolean): PeakOracle {
  const oracle = new PeakOracle(nodePlatform, HORIZON, { poolRows: 4_096, endsAtTop });
  oracle.begin(NAMES, 300);
  return oracle;
}

/** What is said of a series: P50, P90, P99, the probability, and all levels. */
interface Said {
  readonly quantiles: readonly number[];
  readonly contention: number;
  readonly levels: readonly number[];
}

function saidBy(oracle: PeakOracle): Said[] {
  const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
  const levels = new Float64Array(LAST + 1);
  return NAMES.map((_, slot) => {
    oracle.read(slot, said);
    oracle.readLevels(slot, levels);
    const quantiles = [said.p50, said.p90, said.p99];
    return { quantiles, contention: said.contention, levels: [...levels] };
  });
}

/**
 * How far the highest P99 of each step lies beyond the highest value so far, in units of that value. `cutAt`: from this step on the
 * bursts are said to be "at least".
 */
function reachOf(scale: number, cutAt = STEPS, endsAtTop = true): number[] {
  const oracle = begun(endsAtTop);
  let top = Number.NEGATIVE_INFINITY;
  return loads(STEPS).map((load, step) => {
    const values = load.map((value) => scale * value);
    top = Math.max(top, most(values));
    oracle.advance(
      values,
      Number.NaN,
      load.map((value) => step >= cutAt && value > 60),
    );
    const said = saidBy(oracle);
    for (const { quantiles } of said)
      expect(quantiles).toEqual([...quantiles].sort((a, b) => a - b));
    return (most(said.map(({ quantiles }) => quantiles[2]!)) - top) / Math.abs(top);
  });
}

describe('the highest value so far', () => {
  it('ends the quantiles a tenth beyond it, and not before enough windows are over', () => {
    const reach = reachOf(1);
    expect(most(reach.slice(BOUND_FROM))).toBeLessThan(0.1001);
    expect(most(reach.slice(0, BOUND_FROM - 2))).toBeGreaterThan(0.2);
  });

  it('does so in any unit, and below zero', () => {
    expect(most(reachOf(1e9).slice(BOUND_FROM))).toBeLessThan(0.1001);
    expect(most(reachOf(-1).slice(BOUND_FROM))).toBeLessThan(0.1001);
  });

  it('says nothing once demand is known to have been cut off, nor where it was not asked', () => {
    const free = reachOf(1, BOUND_FROM + 5).slice(BOUND_FROM + 10);
    expect(most(free)).toBeGreaterThan(0.2);
    expect(most(reachOf(1, STEPS, false).slice(BOUND_FROM))).toBeGreaterThan(0.2);
  });

  it('is asked for by a replay, and by what a saved state was', () => {
    const rows = loads(STEPS);
    const series = NAMES.map((name, i) => ({
      name,
      values: Float64Array.from(rows, (r) => r[i]!),
    }));
    const plan = { series, intervalS: 300, horizon: HORIZON };
    const replayed: number[] = [];
    replay(nodePlatform, plan, (_, step, { p99 }) => {
      if (step > BOUND_FROM + 10) replayed.push(p99);
    });
    expect(most(replayed)).toBeLessThan(110.1);
    const oracle = begun(true);
    for (const row of rows.slice(0, 100)) oracle.advance(row);
    const again = PeakOracle.restore(nodePlatform, oracle.save());
    for (const row of rows.slice(100)) {
      oracle.advance(row);
      again.advance(row);
      expect(saidBy(again)).toEqual(saidBy(oracle));
    }
  });

  it('does not end the quantiles of the live oracle', () => {
    const rung = new Rung(1, nodePlatform);
    NAMES.forEach((name, at) => {
      rung.join(at, name, 'cpu');
    });
    const levels = newLevels();
    let reach = 0;
    loads(STEPS).forEach((row, step) => {
      row.forEach((value, at) => {
        rung.add(at, { value: value / 100, isLeast: false });
      });
      rung.endStep(step, NAMES);
      if (step < 1_000 / SERIES + 20) return;
      NAMES.forEach((_, at) => {
        rung.peaks?.readLevels(at, levels);
        reach = Math.max(reach, levels[LAST]!);
      });
    });
    expect(reach).toBeGreaterThan(1.2);
  });
});

/** Below the top, above it, and above where quantiles would end without it. */
describe.each([70, 105, 130])('with a capacity of %d', (capacity) => {
  const [ending, free] = [begun(true), begun(false)];
  let top = Number.NEGATIVE_INFINITY;
  const steps = loads(STEPS).map((row) => {
    top = Math.max(top, most(row));
    for (const oracle of [ending, free]) oracle.advance(row, capacity);
    const end = Math.max(top + 0.1 * Math.abs(top), capacity);
    return { end, ended: saidBy(ending), uncut: saidBy(free) };
  });
  const bound = steps.slice(BOUND_FROM);

  it('the probability is that of the quantiles before they end there, or at the capacity', () => {
    let cut = 0;
    for (const { end, ended, uncut } of bound)
      ended.forEach(({ quantiles, contention }, slot) => {
        const before = uncut[slot]!;
        expect(contention).toBe(before.contention);
        expect(quantiles).toEqual(before.quantiles.map((q) => Math.min(q, end)));
        cut += Number(before.quantiles[2]! > end);
      });
    expect(cut).toBeGreaterThan(0);
  });

  it('quantiles and probability are coherent', () => {
    for (const { ended } of bound)
      for (const { quantiles, contention } of ended)
        quantiles.forEach((quantile, k) => {
          if (capacity < quantile) expect(contention).toBeGreaterThanOrEqual(RESTS[k]! - 1e-6);
          if (capacity > quantile) expect(contention).toBeLessThanOrEqual(RESTS[k]! + 1e-6);
        });
  });

  it('of two series ordered at every level the higher one is not the calmer one', () => {
    let pairs = 0;
    for (const { ended, uncut } of bound)
      for (let a = 0; a < SERIES; a++)
        for (let b = 0; b < SERIES; b++) {
          const [low, high] = [uncut[a]!.levels, uncut[b]!.levels];
          const isBetween = capacity >= low[0]! && capacity <= high[LAST]!;
          if (!isBetween || low.some((level, k) => level > high[k]!)) continue;
          pairs += Number(a !== b);
          const above = ended[b]!.contention - ended[a]!.contention;
          if (above < -1e-5) expect.fail(`${NAMES[b]} above ${NAMES[a]}: ${above}`);
        }
    expect(pairs).toBeGreaterThan(100);
  });
});
