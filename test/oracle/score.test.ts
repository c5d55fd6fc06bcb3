/** Who answers, for how long, and what is a change of the world: on losses as they come. */
import { describe, expect, it } from 'vitest';
import { newLevels, withTails } from '../../host/oracle/levels.js';
import { Score, STEPS_MIN } from '../../host/oracle/score.js';
import { FORECASTERS, JUDGED, MODEL, WINDOW_STEPS, Windows } from '../../host/oracle/simple.js';
import { Random } from '../exact/random.js';

/** Mean losses of last-value, EWMA, seasonal-naive, model; NaN: it has no forecast. */
type Means = readonly [number, number, number, number];

/** Steps with losses spread around these means. */
function feed(score: Score, means: Means, steps: number, random: Random, spread = 1): number {
  let drifts = 0;
  for (let i = 0; i < steps; i++) {
    const common = random.below(1_000) / 1_000;
    const losses = new Float64Array(FORECASTERS.length * JUDGED.length);
    losses.forEach((_, at) => {
      const mean = means[Math.floor(at / JUDGED.length)]!;
      const own = random.below(1_000) / 1_000;
      losses[at] = mean * (1 + spread * (0.7 * common + 0.3 * own - 0.5));
    });
    score.add(losses);
    drifts += Number(score.step());
  }
  return drifts;
}

const NO = Number.NaN;

describe('who answers', () => {
  it('last-value, until enough is judged; then the model if it is better', () => {
    const score = new Score();
    const random = new Random(1);
    feed(score, [1, 2, NO, 0.8], STEPS_MIN - 1, random);
    expect(score.view.answers).toBe('last-value');
    feed(score, [1, 2, NO, 0.8], 1, random);
    expect(score.view.answers).toBe('peaks');
    expect(score.view.loss['seasonal-naive']).toBeNull();
  });

  it('the best simple one where the model loses, or there is none', () => {
    for (const model of [1.2, NO]) {
      const score = new Score();
      feed(score, [1, 0.7, 2, model], 300, new Random(2));
      expect(score.view.answers).toBe('ewma');
    }
    const seasonal = new Score();
    feed(seasonal, [1, 0.9, 0.5, 0.8], 300, new Random(3));
    expect(seasonal.view.answers).toBe('seasonal-naive');
  });

  it('a model that is not worse beyond noise stays; one that is goes, and comes back only when it is better', () => {
    const score = new Score();
    const random = new Random(4);
    feed(score, [1, 2, NO, 0.9], 400, random);
    expect(score.answers).toBe(MODEL);
    feed(score, [1, 2, NO, 1.0], 2_000, random);
    expect(score.answers).toBe(MODEL); // equal: no reason to change
    feed(score, [1, 2, NO, 1.3], 2_000, random);
    expect(score.view.answers).toBe('last-value');
    feed(score, [1, 2, NO, 1.03], 2_000, random);
    expect(score.view.answers).toBe('last-value');
    feed(score, [1, 2, NO, 0.8], 2_000, random);
    expect(score.answers).toBe(MODEL);
  });

  it('does not flicker: equal forecasters change places seldom', () => {
    const score = new Score();
    const random = new Random(5);
    let changes = 0;
    for (let i = 0; i < 5_000; i++) {
      const before = score.answers;
      feed(score, [1, 1, NO, 1], 1, random);
      changes += Number(score.answers !== before);
    }
    expect(changes).toBeLessThan(12);
  });

  it('a step without a window changes nothing', () => {
    const score = new Score();
    feed(score, [1, 2, NO, 0.8], 100, new Random(6));
    const before = score.view;
    for (let i = 0; i < 500; i++) score.step();
    expect(score.view).toEqual(before);
  });
});

describe('drift', () => {
  it('is not seen in a steady world, however noisy', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const score = new Score();
      expect(feed(score, [1, 1.1, NO, 0.9], 10_000, new Random(seed), 2)).toBe(0);
    }
  });

  it('is seen when losses rise, begins the score anew and widens the bands for a while', () => {
    const score = new Score();
    const random = new Random(8);
    feed(score, [1, 1.1, NO, 0.7], 1_000, random);
    expect([score.view.answers, score.wide]).toEqual(['peaks', 1]);
    let steps = 0;
    while (feed(score, [4, 4.4, NO, 4], 1, random) === 0 && steps < 200) steps++;
    expect(steps).toBeLessThan(60);
    expect(score.view).toMatchObject({ answers: 'last-value', steps: 0, drifts: 1, wide: 2 });
    feed(score, [4, 4.4, NO, 2], 50, random);
    expect(score.wide).toBeCloseTo(1.5);
    feed(score, [4, 4.4, NO, 2], 200, random);
    expect([score.wide, score.view.answers]).toEqual([1, 'peaks']);
  });

  it('is not seen when losses fall, nor in a single outburst', () => {
    const score = new Score();
    const random = new Random(9);
    feed(score, [1, 1, NO, 1], 1_000, random);
    expect(feed(score, [0.1, 0.1, NO, 0.1], 1_000, random)).toBe(0);
    expect(feed(score, [1e6, 1e6, NO, 1e6], 5, random)).toBe(0);
    expect(feed(score, [0.1, 0.1, NO, 0.1], 1_000, random)).toBe(0);
  });
});

describe('windows', () => {
  /** Goes through values; gives the losses of the windows that closed. */
  function through(
    windows: Windows,
    values: readonly number[],
    least: readonly number[] = [],
  ): Float64Array[] {
    const judged: Float64Array[] = [];
    values.forEach((value, step) => {
      windows.take(step, value, least.includes(step), (losses) => judged.push(losses.slice()));
      windows.open(step, value, undefined);
    });
    return judged;
  }

  const p = (windows: Windows, forecaster: number): number[] | undefined => {
    const levels = newLevels();
    return windows.simple(forecaster, levels) ? [levels[2]!, levels[5]!, levels[7]!] : undefined;
  };

  it('begin with a band of half the capacity, which washes out', () => {
    const windows = new Windows(0);
    through(windows, [0.25]);
    const [p50, p90] = p(windows, 0)!;
    expect([p50, p90! > 0.5]).toEqual([0.25, true]);
    through(
      windows,
      Array.from({ length: 600 }, () => 0.25),
    );
    expect(p(windows, 0)!.every((q) => Math.abs(q - 0.25) < 0.01)).toBe(true);
  });

  it('learn the maximum of the window, also of a rhythm', () => {
    const windows = new Windows(0);
    // One in ten is high: every window has one.
    through(
      windows,
      Array.from({ length: 1_000 }, (_, i) => (i % 10 === 0 ? 0.9 : 0.1)),
    );
    expect(p(windows, 0)![0]).toBeCloseTo(0.9, 5);
  });

  it('a day ago is known after a day, and only where a day has few steps', () => {
    const day = 40;
    const windows = new Windows(day);
    const values = Array.from({ length: 3 * day }, (_, i) => (i % day === 15 ? 0.9 : 0.1));
    through(windows, values.slice(0, day - WINDOW_STEPS - 1));
    expect(p(windows, 2)).toBeUndefined();
    const later = new Windows(day);
    through(later, values.slice(0, 2 * day + 11)); // the high one comes in 5 steps
    expect(p(later, 2)![0]).toBeCloseTo(0.9, 5);
    expect(p(later, 0)![0]).toBeCloseTo(0.1, 5);
    const often = new Windows(172_800);
    through(often, values);
    expect(p(often, 2)).toBeUndefined();
  });

  it('of which half is missing are not judged', () => {
    const windows = new Windows(0);
    const holes = (period: number): number[] =>
      Array.from({ length: 101 }, (_, i) => (i % 10 < period ? 0.1 : Number.NaN));
    expect(through(windows, holes(5)).length).toBe(0);
    expect(through(new Windows(0), holes(6)).length).toBeGreaterThan(10);
  });

  it('what was "at least" does not teach that there is never more', () => {
    // Demand 0.5, and for a while in every fifty steps 1.5, of which a full machine shows 1 three times of four.
    const isHigh = (step: number): boolean => step % 50 < 4;
    const isCut = (step: number): boolean => isHigh(step) && step % 200 >= 50;
    const shown = Array.from({ length: 1_200 }, (_, i) => (isCut(i) ? 1 : isHigh(i) ? 1.5 : 0.5));
    const least = shown.flatMap((_, i) => (isCut(i) ? [i] : []));
    const knows = new Windows(0);
    through(knows, shown, least);
    const believes = new Windows(0);
    through(believes, shown);
    expect(p(believes, 0)![1]).toBeCloseTo(1, 5);
    expect(p(knows, 0)![1]).toBeGreaterThan(1.05);
    expect(p(knows, 0)![1]).toBeLessThan(1.5);
  });

  it('judge the model by what it said then', () => {
    const windows = new Windows(0);
    const model = withTails(newLevels().fill(0.3));
    const judged: number[] = [];
    for (let step = 0; step < 40; step++) {
      windows.take(step, 0.1, false, (losses) => judged.push(losses[MODEL * JUDGED.length]!));
      windows.open(step, 0.1, step < 20 ? model : undefined);
    }
    expect(
      judged.filter((loss) => !Number.isNaN(loss)).every((loss) => Math.abs(loss - 0.1) < 1e-12),
    ).toBe(true);
    expect([judged.length, judged.filter(Number.isNaN).length]).toEqual([15, 5]);
  });
});
