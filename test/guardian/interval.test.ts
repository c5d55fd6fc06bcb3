/** The checkpoint interval: the optimum, its clamps, and sense for every input. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkpointIntervalMs,
  DEFAULT_INTERVAL,
  mtbfMs,
  pace,
} from '../../host/guardian/interval.js';
import { DEFAULT_LIFE_POLICY } from '../../host/protocol/life-types.js';
import { Rig } from '../protocol/rig.js';

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

describe('laws', () => {
  const cost = fc.double({ min: 0.01, max: 1_000, noNaN: true });
  const mtbf = fc.double({ min: 1_000, max: 1e9, noNaN: true });

  it('grows with the square root of the cost, and of the time between failures', () => {
    fc.assert(
      fc.property(cost, mtbf, (c, m) => {
        // Far from C = 2M, where Daly's series ends, the optimum is √(2CM) but for a part in √(C/2M).
        fc.pre(c < m / 1_000);
        const at = checkpointIntervalMs(c, m, WIDE);
        const slack = 2 * Math.sqrt(c / m);
        for (const other of [
          checkpointIntervalMs(4 * c, m, WIDE),
          checkpointIntervalMs(c, 4 * m, WIDE),
        ])
          expect(Math.abs(other / at / 2 - 1)).toBeLessThanOrEqual(slack);
      }),
    );
  });

  it('never shrinks when the cost grows, never grows when nodes fail more often', () => {
    fc.assert(
      fc.property(cost, cost, mtbf, fc.nat(50), fc.nat(50), (c1, c2, m, f1, f2) => {
        const [low, high] = c1 < c2 ? [c1, c2] : [c2, c1];
        expect(checkpointIntervalMs(high, m)).toBeGreaterThanOrEqual(checkpointIntervalMs(low, m));
        const [few, many] = f1 < f2 ? [f1, f2] : [f2, f1];
        const rarely = checkpointIntervalMs(c1, mtbfMs(few, HOUR));
        expect(checkpointIntervalMs(c1, mtbfMs(many, HOUR))).toBeLessThanOrEqual(rarely);
      }),
    );
  });

  it('never below the least, never above the most, unless the budget asks for more', () => {
    const any = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -1));
    fc.assert(
      fc.property(any, any, (c, m) => {
        const { minMs, maxMs, budgetShare } = DEFAULT_INTERVAL;
        const { checkpointMs } = pace(c, m);
        const most = c >= 0 && Number.isFinite(c) ? Math.max(maxMs, c / budgetShare) : maxMs;
        expect(checkpointMs).toBeGreaterThanOrEqual(minMs);
        expect(checkpointMs).toBeLessThanOrEqual(most);
        if (c > 0 && Number.isFinite(c))
          expect(c / checkpointMs).toBeLessThanOrEqual(budgetShare * (1 + 1e-12));
      }),
    );
  });

  it('its budget is the one that the life of a shard keeps', () => {
    expect(DEFAULT_INTERVAL.budgetShare).toBe(DEFAULT_LIFE_POLICY.budgetShare);
    expect(DEFAULT_INTERVAL.defaultMs).toBe(DEFAULT_LIFE_POLICY.checkpointMs);
  });
});

describe('a shard that lives by it', () => {
  /** Runs silently with this cost and failure rate; gives the times between the starts of its checkpoints. */
  function gaps(costMs: number, mtbf: number): number[] {
    const rig = new Rig().started();
    rig.costMs = costMs;
    const starts: number[] = [];
    for (let i = 0; i < 6; i++) {
      rig.life.setPolicy(pace(rig.life.commitCostMs, mtbf));
      rig.run(10);
      const due = rig.life.wakeAtMs ?? Number.NaN;
      expect(rig.later(due - rig.nowMs - 1)).toEqual([]);
      expect(rig.later(1).map((action) => action.kind)).toEqual(['capture']);
      starts.push(rig.nowMs);
      rig.settle();
    }
    return starts.slice(1).map((at, i) => at - (starts[i] ?? 0));
  }

  it.each([
    [1, 600_000],
    [4, 600_000],
    [1, 2_400_000],
    [0.001, 60_000],
    [200, HOUR],
    [3_000, HOUR],
  ])('at %d ms a commit and a failure every %d ms', (costMs, mtbf) => {
    const expected = checkpointIntervalMs(costMs, mtbf);
    for (const gap of gaps(costMs, mtbf)) expect(Math.abs(gap - expected)).toBeLessThanOrEqual(1);
  });
});
