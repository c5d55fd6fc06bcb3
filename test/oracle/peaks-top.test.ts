/**
 * Quantiles end a tenth beyond the highest value that any series has had, once 1,000 windows are over; not where values are
 * known to be cut off.
 */
import { describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { PeakOracle } from '../../host/oracle/peaks.js';
import { Random } from '../exact/random.js';

const SERIES = 20;
const STEPS = 240;
const HORIZON = 4;
/** The windows of a step are over HORIZON steps later. */
const BOUND_FROM = 1_000 / SERIES + HORIZON + 1;

/**
 * How far the highest P99 of each step lies beyond the highest value so far, in units of that value.
 * Machines that idle at different loads, with rare bursts up to 100. `cutAt`: from this step on the bursts are said to be "at least".
 */
function reachOf(scale: number, cutAt = STEPS): number[] {
  const oracle = new PeakOracle(nodePlatform, HORIZON, { poolRows: 4_096 });
  oracle.begin(
    Array.from({ length: SERIES }, (_, i) => `s${10 + i}`),
    300,
  );
  const random = new Random(9);
  const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
  const reach: number[] = [];
  let top = Number.NEGATIVE_INFINITY;
  for (let step = 0; step < STEPS; step++) {
    const load = Array.from({ length: SERIES }, (_, i) =>
      random.below(12) === 0 ? 100 - random.below(40) : 1 + 2 * i + random.below(300) / 100,
    );
    const values = load.map((value) => scale * value);
    top = values.reduce((a, b) => Math.max(a, b), top);
    oracle.advance(
      values,
      Number.NaN,
      load.map((value) => step >= cutAt && value > 60),
    );
    let most = Number.NEGATIVE_INFINITY;
    for (let slot = 0; slot < SERIES; slot++) {
      oracle.read(slot, said);
      expect(said.p50 <= said.p90 && said.p90 <= said.p99).toBe(true);
      most = Math.max(most, said.p99);
    }
    reach.push((most - top) / Math.abs(top));
  }
  return reach;
}

const most = (list: readonly number[]): number => list.reduce((a, b) => Math.max(a, b), -Infinity);

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

  it('says nothing once demand is known to have been cut off', () => {
    const free = reachOf(1, BOUND_FROM + 5).slice(BOUND_FROM + 10);
    expect(most(free)).toBeGreaterThan(0.2);
  });
});
