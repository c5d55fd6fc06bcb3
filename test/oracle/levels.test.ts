/** Distributions by levels: coherent, ordered, finite. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  between,
  exceeds,
  LEVELS,
  type Levels,
  levelsOf,
  newLevels,
  quantilesIn,
  raise,
  raiseTo,
  widen,
  withTails,
} from '../../host/oracle/levels.js';

function levels(values: readonly number[]): Levels {
  const made = newLevels();
  made.set([...values].sort((a, b) => a - b));
  return withTails(made);
}

const some = fc
  .array(fc.double({ min: -5, max: 5, noNaN: true }), {
    minLength: LEVELS.length,
    maxLength: LEVELS.length,
  })
  .map(levels);
const point = fc.double({ min: -20, max: 20, noNaN: true });

describe('levels', () => {
  it('probability and quantiles are of one distribution', () => {
    const steep = levels([1, 2, 3, 4, 5, 6, 7, 8]);
    LEVELS.forEach((tau, k) => {
      expect(exceeds(steep, steep[k]!)).toBeCloseTo(1 - tau, 12);
    });
    expect(exceeds(steep, 3.5)).toBeCloseTo(0.4, 12);
    expect(quantilesIn(steep, 2)).toEqual({ p50: 6, p90: 12, p99: 16 });
  });

  it('tails go on falling, and never end in a certainty that was not there', () => {
    const steep = levels([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(exceeds(steep, 8.5)).toBeLessThan(0.01);
    expect(exceeds(steep, 100)).toBeGreaterThan(0);
    expect(exceeds(steep, 0)).toBeGreaterThan(0.9);
    expect(exceeds(steep, -100)).toBeLessThan(1);
    const flat = levels([2, 2, 2, 2, 2, 2, 2, 2]);
    expect(exceeds(flat, 2.001)).toBeLessThan(1e-200);
    expect(exceeds(flat, 1.999)).toBe(1);
  });

  it('a point farther up is exceeded less', () => {
    fc.assert(
      fc.property(some, point, point, (one, x, y) => {
        expect(exceeds(one, Math.max(x, y))).toBeLessThanOrEqual(exceeds(one, Math.min(x, y)));
      }),
    );
  });

  it('raised to another, and on the way there, nothing is exceeded less often', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(some, some, point, share, share, (a, b, x, one, two) => {
        raiseTo(b, a);
        const low = between(a, b, Math.min(one, two));
        const high = between(a, b, Math.max(one, two));
        expect(exceeds(low, x)).toBeLessThanOrEqual(exceeds(high, x) + 1e-9);
        expect([...high.slice(0, LEVELS.length)]).toEqual(
          [...high.slice(0, LEVELS.length)].sort((p, q) => p - q),
        );
      }),
    );
  });

  it('of two that are ordered at every level the higher one is exceeded more, up to the outer levels', () => {
    const rises = fc.array(fc.double({ min: 0, max: 3, noNaN: true }), {
      minLength: LEVELS.length,
      maxLength: LEVELS.length,
    });
    fc.assert(
      fc.property(some, rises, point, (low, by, x) => {
        const high = newLevels();
        let before = Number.NEGATIVE_INFINITY;
        by.forEach((rise, k) => {
          before = Math.max(before, low[k]! + rise);
          high[k] = before;
        });
        withTails(high);
        if (x < low[0]! || x > high[LEVELS.length - 1]!) return;
        expect(exceeds(high, x)).toBeGreaterThanOrEqual(exceeds(low, x) - 1e-9);
      }),
    );
  });

  it('hold to the smallest numbers that there are', () => {
    const a = levels([-7e-323, -8.8e-9, 0, 8.4e-323, 1.8e-247, 1.6e-206, 1.1e-131, 5]);
    const b = levels([-5e-324, 0, 0, 8.4e-323, 1.8e-247, 1.6e-206, 1.1e-131, 5]);
    raiseTo(b, a);
    for (const share of [1.5e-40, 0.3, 0.5, 1]) {
      const ordered = [...between(a, b, share).slice(0, LEVELS.length)];
      expect(ordered).toEqual([...ordered].sort((p, q) => p - q));
    }
    const near = levels([0, 1e-40, 1, 1, 1, 1, 1, 1]);
    expect(exceeds(near, 1e-40)).toBeCloseTo(1 - LEVELS[1]!, 12);
  });

  it('raised to a value, everything below it is impossible', () => {
    fc.assert(
      fc.property(some, fc.double({ min: -6, max: 6, noNaN: true }), (one, least) => {
        raise(one, least);
        expect(one[0]).toBeGreaterThanOrEqual(least);
        if (one[0] === least) expect(exceeds(one, least - 0.001)).toBe(1);
      }),
    );
  });

  it('wider means farther from the median, which stays', () => {
    const one = levels([1, 2, 3, 4, 5, 6, 7, 8]);
    const before = exceeds(one, 9);
    widen(one, 2);
    expect([...one.slice(0, 8)]).toEqual([-1, 1, 3, 5, 7, 9, 11, 13]);
    expect(exceeds(one, 9)).toBeCloseTo(0.1, 12);
    expect(before).toBeLessThan(0.01);
  });

  it('of a list are its quantiles', () => {
    const made = newLevels();
    levelsOf(
      Array.from({ length: 101 }, (_, i) => i),
      101,
      1_000,
      made,
    );
    expect([...made.slice(0, 8)].map((value) => Math.round(value * 1e6) / 1e6)).toEqual(
      LEVELS.map((tau) => 1_000 + 100 * tau),
    );
    levelsOf([7], 1, 0, made);
    expect([...made]).toEqual([7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
  });
});
