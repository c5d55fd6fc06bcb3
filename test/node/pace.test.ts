/** Laws of the budget: how far a slice may run over its time, and what it never becomes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pace } from '../../host/node/pace.js';

const QUANTUM_NS = 500_000;
const SLICE_NS = QUANTUM_NS / 5;

/** Runs slices of a program whose passages take `costNs[i]` at its i-th passage; gives what each of them took. */
function slices(costOf: (fuel: number) => number, count: number): number[] {
  const pace = new Pace(QUANTUM_NS);
  const times: number[] = [];
  for (let at = 0; times.length < count; ) {
    const { budget } = pace;
    let tookNs = 0;
    for (let i = 0; i < budget; i++) tookNs += costOf(at + i);
    at += budget;
    pace.took(budget, tookNs);
    times.push(tookNs);
  }
  return times;
}

describe('Pace', () => {
  it('settles at one slice of time for a steady program', () => {
    for (const costNs of [2, 70, 3_000]) {
      const times = slices(() => costNs, 200);
      expect(times.at(-1)).toBeGreaterThan(SLICE_NS * 0.95);
      expect(times.at(-1)).toBeLessThan(SLICE_NS * 1.05);
    }
  });

  it('runs over its time once, not each time that a slow part follows a fast one', () => {
    // 5 ms at 10 ns a passage, then 1 ms at 100 ns, and so on.
    const costOf = (fuel: number): number => (fuel % 510_000 < 500_000 ? 10 : 100);
    const late = slices(costOf, 600).slice(100);
    // A slice is worth 32 stops of 1.4 µs in the fast part, and is run into the slow one, which takes ten times as long.
    expect(Math.max(...late)).toBeLessThan(32 * 1_400 * 10 * 1.02);
  });

  it('recovers from a slice in which the thread had no core', () => {
    const pace = new Pace(QUANTUM_NS);
    for (let i = 0; i < 50; i++) pace.took(pace.budget, pace.budget * 10);
    const before = pace.budget;
    pace.took(before, 40_000_000);
    for (let i = 0; i < 8; i++) pace.took(pace.budget, pace.budget * 10);
    expect(pace.budget).toBeGreaterThanOrEqual(before / 8 / 1.01);
    for (let i = 0; i < 4_000; i++) pace.took(pace.budget, pace.budget * 10);
    expect(pace.budget).toBeGreaterThan(before * 0.95);
  });

  it('keeps stops a small part of the time on a thread that loses its core again and again', () => {
    const pace = new Pace(QUANTUM_NS);
    const stopNs = 1_400;
    let [stops, ranNs, stalledNs] = [0, 0, 0];
    for (let i = 0; i < 20_000; i++) {
      const { budget } = pace;
      // 4 ms without a core after every 8 ms.
      const stallNs = Math.floor((ranNs + budget * 10) / 8e6) * 4e6 - stalledNs;
      pace.took(budget, budget * 10 + stopNs + stallNs);
      stops += stopNs;
      ranNs += budget * 10;
      stalledNs += stallNs;
    }
    expect(stops / (stops + ranNs)).toBeLessThan(0.04);
  });

  it('only ever lowers the budget after a slice that was cut short', () => {
    const pace = new Pace(QUANTUM_NS);
    for (let i = 0; i < 50; i++) pace.took(pace.budget, pace.budget * 10);
    const { budget } = pace;
    for (let i = 0; i < 400; i++) pace.took(20, 200);
    expect(pace.budget).toBe(budget);
    for (let i = 0; i < 400; i++) pace.took(4_000, 4_000);
    expect(pace.budget).toBe(budget);
    pace.took(4_000, 400_000);
    expect(pace.budget).toBe(1_000);
  });

  it('does not shrink the budget for what a stop costs: that would bring the next stop sooner', () => {
    const pace = new Pace(QUANTUM_NS);
    for (let i = 0; i < 50; i++) pace.took(pace.budget, pace.budget * 10);
    const steady = pace.budget;
    for (let i = 0; i < 50; i++) {
      pace.took(pace.budget, pace.budget * 10 + 20_000_000, 20_000_000);
      expect(pace.budget).toBeGreaterThanOrEqual(steady);
    }
    // 8 ms and no more.
    expect(pace.budget).toBe(800_000);
    for (let i = 0; i < 50; i++) pace.took(pace.budget, pace.budget * 10);
    expect(pace.budget).toBe(steady);
  });

  it('is worth its stop: as long as many frames take to be written and run, within a quantum', () => {
    const budgetOf = (steps: number): number => {
      const pace = new Pace(QUANTUM_NS);
      for (let i = 0; i < 50; i++) pace.took(pace.budget, pace.budget * 10, 0, steps);
      return pace.budget;
    };
    expect(budgetOf(1) * 10).toBe(SLICE_NS);
    expect(budgetOf(10) * 10).toBeGreaterThan(SLICE_NS * 2);
    expect(budgetOf(10_000) * 10).toBe(QUANTUM_NS);
  });

  it('stays a positive int32 and grows at most twofold, whatever the times are', () => {
    const times = fc.array(fc.double({ min: 0, max: 1e12, noNaN: true }), { maxLength: 60 });
    fc.assert(
      fc.property(times, (all) => {
        const pace = new Pace(QUANTUM_NS);
        for (const tookNs of all) {
          const before = pace.budget;
          pace.took(before, tookNs);
          expect(Number.isInteger(pace.budget)).toBe(true);
          expect(pace.budget).toBeGreaterThanOrEqual(1);
          expect(pace.budget).toBeLessThanOrEqual(Math.min(before * 2, 2 ** 31 - 1));
        }
      }),
    );
  });
});
