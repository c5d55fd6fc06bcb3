/** The checkpoint interval: the optimum, its clamps, and sense for every input. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkpointIntervalMs, DEFAULT_INTERVAL, mtbfMs } from '../../host/guardian/interval.js';

const WIDE = { minMs: 0, maxMs: 1e12, defaultMs: 2_000, budgetShare: 1 };
const HOUR = 3_600_000;

/** Loss per ms: what checkpoints cost and what a failure throws away. */
const loss = (interval: number, cost: number, mtbf: number): number =>
  cost / (interval + cost) + interval / (2 * mtbf);

describe('checkpoint interval', () => {
  it.each([
    [10, HOUR],
    [200, HOUR],
    [1_000, 10 * HOUR],
  ])('cost %d ms, a failure every %d ms: near the least loss', (cost, mtbf) => {
    const best = checkpointIntervalMs(cost, mtbf, WIDE);
    for (const factor of [0.5, 0.8, 1.25, 2]) {
      expect(loss(best, cost, mtbf)).toBeLessThan(loss(best * factor, cost, mtbf));
    }
  });

  it('is clamped, and stretched by the budget', () => {
    expect(checkpointIntervalMs(null, HOUR)).toBe(2_000);
    expect(checkpointIntervalMs(0.001, 1_000)).toBe(DEFAULT_INTERVAL.minMs);
    expect(checkpointIntervalMs(900, HOUR)).toBe(DEFAULT_INTERVAL.maxMs);
    expect(checkpointIntervalMs(3_000, HOUR)).toBe(30_000);
  });

  it('grows with the cost and with the time between failures', () => {
    const at = (cost: number, mtbf: number): number => checkpointIntervalMs(cost, mtbf, WIDE);
    expect(at(20, HOUR)).toBeGreaterThan(at(10, HOUR));
    expect(at(10, 2 * HOUR)).toBeGreaterThan(at(10, HOUR));
  });

  it('is sensible for every input', () => {
    const any = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -1));
    fc.assert(
      fc.property(any, any, (cost, mtbf) => {
        const interval = checkpointIntervalMs(cost, mtbf);
        expect(interval).toBeGreaterThanOrEqual(DEFAULT_INTERVAL.minMs);
        expect(Number.isNaN(interval)).toBe(false);
      }),
    );
  });

  it('no failure so far is neither never nor always', () => {
    expect(mtbfMs(0, 0)).toBe(86_400_000);
    expect(mtbfMs(9, 10 * HOUR)).toBe((10 * HOUR + 86_400_000) / 10);
    expect(mtbfMs(0, Number.NaN)).toBe(86_400_000);
  });
});
