/**
 * The forecaster of peaks: what it may look at, what it never says, and that a saved one goes on as if nothing had been.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomFrom } from '../../benchmarks/lib/statistics.js';
import { FORECAST_VERSION, ForecastTrainer } from '../../host/core/forecast.js';
import { nodePlatform } from '../../host/node/platform.js';
import { type PeakForecast, PeakOracle } from '../../host/oracle/peaks.js';
import { peaksOf, pinball, type RecordedSeries, replay, Scorer } from '../../host/oracle/replay.js';
import { Random } from '../exact/random.js';

type Line = readonly [
  name: string,
  step: number,
  p50: number,
  p90: number,
  p99: number,
  contention: number,
];

interface Run {
  readonly horizon?: number;
  readonly capacity?: number | undefined;
  readonly history?: readonly RecordedSeries[];
  readonly intervalS?: number;
}

function linesOf(series: readonly RecordedSeries[], run: Run = {}): Line[] {
  const lines: Line[] = [];
  const { horizon = 4, capacity = 20, history, intervalS = 3_600 } = run;
  const histories = history === undefined ? [] : [{ series: history, intervalS }];
  replay(
    nodePlatform,
    { series, intervalS, horizon, capacity, history: histories },
    (one, step, f) => {
      lines.push([one.name, step, f.p50, f.p90, f.p99, f.contention]);
    },
  );
  return lines;
}

/** A walk with noise and a daily swing. */
function walk(name: string, steps: number, seed: number, scale = 1, base = 10): RecordedSeries {
  const random = randomFrom(seed);
  let level = base;
  const values = Float64Array.from({ length: steps }, (_, t) => {
    level += random() - 0.5;
    return scale * (level + 3 * random() + 2 * Math.sin(t / 4));
  });
  return { name, values };
}

const many = (count: number, steps: number, seed = 1, scale = 1): RecordedSeries[] =>
  Array.from({ length: count }, (_, i) => walk(`s${i}`, steps, seed * 1_000 + i, scale));

function expectSound(lines: readonly Line[]): void {
  for (const [name, step, p50, p90, p99, contention] of lines) {
    const where = `${name} at ${step}`;
    expect([p50, p90, p99].every(Number.isFinite), where).toBe(true);
    expect(p50 <= p90 && p90 <= p99, where).toBe(true);
    expect(contention >= 0 && contention <= 1, where).toBe(true);
  }
}

const sample = fc.oneof(
  { weight: 6, arbitrary: fc.double({ min: -50, max: 150, noNaN: true }) },
  { weight: 1, arbitrary: fc.constant(Number.NaN) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, 1e9, -1e9, 1e300, Number.POSITIVE_INFINITY, 1e-300, 5e-324),
  },
);
const anySeries = fc
  .array(fc.array(sample, { maxLength: 40 }), { minLength: 1, maxLength: 6 })
  .map((rows) => rows.map((row, i) => ({ name: `r${i}`, values: Float64Array.from(row) })));

describe('forecasts of any series', () => {
  it('are finite, ordered and coherent: P(≥ C) is above a tail exactly when its quantile reaches C', () => {
    fc.assert(
      fc.property(
        anySeries,
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: -60, max: 160, noNaN: true }),
        (series, horizon, capacity) => {
          const lines = linesOf(series, { horizon, capacity });
          expect(lines.length).toBe(series.reduce((sum, { values }) => sum + values.length, 0));
          expectSound(lines);
          for (const [, , p50, p90, p99, contention] of lines) {
            for (const [quantile, rest] of [
              [p50, 0.5],
              [p90, 0.1],
              [p99, 0.01],
            ] as const) {
              if (capacity < quantile) expect(contention).toBeGreaterThanOrEqual(rest - 1e-6);
              if (capacity > quantile) expect(contention).toBeLessThanOrEqual(rest + 1e-6);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('do not depend on what comes after, nor on the order of the rows', () => {
    // Enough windows for several fits on the way.
    const series = many(12, 120);
    const whole = linesOf(series);
    for (const cut of [5, 60, 97]) {
      const other = series.map(({ name, values }, i) => ({
        name,
        values: values.map((v, t) => (t <= cut ? v : i % 3 === 0 ? Number.NaN : 1_000 - v)),
      }));
      const until = (lines: readonly Line[]): Line[] => lines.filter(([, step]) => step <= cut);
      expect(until(linesOf(other))).toEqual(until(whole));
      const shorter = series.map(({ name, values }, i) => ({
        name,
        values: values.slice(0, cut + 1 + (i % 2)),
      }));
      expect(until(linesOf(shorter))).toEqual(until(whole));
    }
    expect(linesOf([...series].reverse())).toEqual(whole);
    expect(linesOf(series, { history: many(5, 100, 9) })).toEqual(
      linesOf([...series].reverse(), { history: many(5, 100, 9).reverse() }),
    );
  }, 120_000);

  it('scale with the series', () => {
    const plain = linesOf(many(6, 90));
    const large = linesOf(many(6, 90, 1, 1e9), { capacity: 20e9 });
    plain.forEach(([name, step, p50, p90, p99, contention], i) => {
      const [otherName, otherStep, ...other] = large[i]!;
      expect([otherName, otherStep]).toEqual([name, step]);
      [p50, p90, p99].forEach((q, k) => {
        expect(Math.abs(other[k]! / 1e9 - q)).toBeLessThanOrEqual(2e-3 * (1 + Math.abs(q)));
      });
      expect(Math.abs(other[3]! - contention)).toBeLessThan(0.02);
    });
  });
});

describe('a history in another unit', () => {
  it.each([1e-6, 1e6])(
    'gives the forecasts of one in the same unit, from the first step on (%d)',
    (unit) => {
      const series = many(6, 30, 5);
      const [same, other] = [1, unit].map((scale) => {
        return linesOf(series, { history: many(12, 150, 3, scale) });
      });
      expect(other).toHaveLength(same!.length);
      other!.forEach((line, at) => {
        for (const k of [2, 3, 4] as const)
          expect(Math.abs(line[k] - same![at]![k])).toBeLessThan(
            0.02 * (1 + Math.abs(same![at]![k])),
          );
      });
    },
  );
});

describe('forecasts of odd series', () => {
  const row = (name: string, values: readonly number[]): RecordedSeries => ({
    name,
    values: Float64Array.from(values),
  });
  const flat = (value: number, length = 300): number[] => new Array<number>(length).fill(value);

  it.each([
    ['constant', flat(7)],
    ['zero', flat(0)],
    ['negative', flat(0).map((_, t) => -100 - (t % 7))],
    ['missing', flat(Number.NaN)],
    ['of one sample', [3]],
    ['that begin late', [...flat(Number.NaN, 50), ...flat(4, 50)]],
    ['with a gap', [...flat(5, 60), ...flat(Number.NaN, 60), ...flat(6, 60)]],
    ['with one huge jump', [...flat(1, 100), 1e12, ...flat(1, 100)]],
    ['of a billion', flat(0).map((_, t) => 1e9 + (t % 5))],
  ])('%s', (_, values) => {
    const lines = linesOf([row('odd', values), ...many(3, 200)]);
    expectSound(lines);
    expectSound(linesOf([row('odd', values)], { capacity: 0 }));
    expectSound(linesOf([row('odd', values)], { horizon: 5_000 }));
  });

  it('cover a constant series', () => {
    for (const [, step, p50, p90] of linesOf([row('flat', flat(7))])) {
      if (step < 100) continue;
      expect(p90).toBeGreaterThanOrEqual(7 - 0.05);
      expect(p50).toBeLessThan(7.5);
    }
  });

  it('are wider after a gap than before it', () => {
    const gap = many(1, 200)[0]!;
    gap.values.fill(Number.NaN, 150, 180);
    const lines = linesOf([gap]);
    const width = (step: number): number => lines[step]![4] - lines[step]![2];
    expect(width(170)).toBeGreaterThan(1.5 * width(149));
  });

  it('say nothing of contention when no capacity is given', () => {
    const lines: PeakForecast[] = [];
    replay(nodePlatform, { series: many(2, 10), intervalS: 300, horizon: 3 }, (_, __, f) =>
      lines.push({ ...f }),
    );
    expect(lines.every(({ contention }) => Number.isNaN(contention))).toBe(true);
  });
});

describe('accuracy on made series', () => {
  it('beats the last value by far, covers what it says, and history helps from the first step', () => {
    const series = many(30, 200, 3);
    const score = (history?: readonly RecordedSeries[]) => {
      const scorer = new Scorer(4);
      const histories = history === undefined ? [] : [{ series: history, intervalS: 3_600 }];
      const early = new Scorer(4);
      replay(
        nodePlatform,
        { series, intervalS: 3_600, horizon: 4, history: histories },
        (one, step, f) => {
          scorer.add(one, step, f);
          if (step < 20) early.add(one, step, f);
        },
      );
      return { all: scorer.score, early: early.score };
    };
    const alone = score();
    const taught = score(many(30, 200, 4));
    for (const { all } of [alone, taught]) {
      expect(all.pinball[0]).toBeLessThan(0.8 * all.lastValue[0]);
      expect(all.pinball[1]).toBeLessThan(0.4 * all.lastValue[1]);
      expect(Math.abs(all.covered[1] - 0.9)).toBeLessThan(0.04);
    }
    expect(taught.early.pinball[1]).toBeLessThan(alone.early.pinball[1]);
  }, 120_000);
});

describe('a saved forecaster', () => {
  const values = (series: readonly RecordedSeries[], step: number): number[] =>
    series.map((one) => one.values[step]!);
  const begun = (series: readonly RecordedSeries[], steps: number): PeakOracle => {
    const oracle = new PeakOracle(nodePlatform, 4);
    oracle.learn(many(4, 80, 5), 3_600);
    oracle.begin(
      series.map(({ name }) => name),
      3_600,
    );
    for (let step = 0; step < steps; step++) oracle.advance(values(series, step), 20);
    return oracle;
  };

  it('goes on with the same bits, through later fits too', () => {
    const series = many(8, 160);
    const oracle = begun(series, 50);
    const again = PeakOracle.restore(nodePlatform, oracle.save());
    expect([again.step, again.names, again.horizon]).toEqual([49, oracle.names, 4]);
    const [a, b] = [0, 0].map(() => ({ p50: 0, p90: 0, p99: 0, contention: 0 }));
    for (let step = 50; step < 160; step++) {
      oracle.advance(values(series, step), 20);
      again.advance(values(series, step), 20);
      for (let slot = 0; slot < series.length; slot++) {
        oracle.read(slot, a!);
        again.read(slot, b!);
        expect(b).toEqual(a);
      }
    }
    expect(Buffer.compare(again.save(), oracle.save())).toBe(0);
  }, 120_000);

  it('is refused when it is damaged or of another version', () => {
    const saved = begun(many(2, 20), 20).save();
    const refusal = (bytes: Uint8Array): unknown => {
      try {
        PeakOracle.restore(nodePlatform, bytes);
      } catch (cause) {
        return (cause as { code?: string }).code;
      }
      return 'taken';
    };
    expect(refusal(saved)).toBe('taken');
    for (const at of [0, 70, 100, saved.length >> 1, saved.length - 1]) {
      const changed = saved.slice();
      changed[at]! ^= 4;
      expect(refusal(changed)).toBe('SHERD_BLOB_DAMAGED');
    }
    expect(refusal(saved.subarray(0, saved.length - 9))).toBe('SHERD_BLOB_DAMAGED');
    expect(refusal(new Uint8Array(0))).toBe('SHERD_BLOB_DAMAGED');
  });

  it('keeps at most 4 KiB a series', () => {
    expect(new PeakOracle(nodePlatform, 6).stateBytes).toBeLessThanOrEqual(4096);
    expect(new PeakOracle(nodePlatform, 100_000).stateBytes).toBeLessThanOrEqual(4096);
  });
});

describe('peaksOf', () => {
  it('is the maximum of the next values that are not missing, where all steps are there', () => {
    const series = fc.array(fc.option(fc.integer({ min: -9, max: 9 }), { nil: Number.NaN }), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(series, fc.integer({ min: 1, max: 12 }), (list, horizon) => {
        const peaks = peaksOf(Float64Array.from(list), horizon);
        list.forEach((_, t) => {
          const next = list.slice(t + 1, t + 1 + horizon);
          const known = next.filter((v) => !Number.isNaN(v));
          const expected =
            next.length < horizon || known.length === 0 ? Number.NaN : Math.max(...known);
          expect(peaks[t]).toBe(expected);
        });
      }),
    );
  });

  it('pinball weighs both sides', () => {
    expect(pinball(10, 8, 0.9)).toBeCloseTo(1.8);
    expect(pinball(8, 10, 0.9)).toBeCloseTo(0.2);
  });
});

describe('many series', () => {
  it('their pooled correction does not swing: the windows of all of them end in one step, long after they began', () => {
    const [count, steps, horizon] = [700, 150, 6];
    const oracle = new PeakOracle(nodePlatform, horizon);
    oracle.begin(
      Array.from({ length: count }, (_, i) => `s${i}`),
      300,
    );
    const random = new Random(5);
    const series = Array.from({ length: count }, () => {
      const level = 10 + random.below(80);
      return Array.from({ length: steps }, () => level + random.below(1_000) / 100);
    });
    const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
    const below = [0, 0];
    let known = 0;
    for (let step = 0; step < steps; step++) {
      oracle.advance(series.map((values) => values[step]));
      if (step < 60 || step + horizon >= steps) continue;
      for (let slot = 0; slot < count; slot += 7) {
        oracle.read(slot, said);
        const peak = Math.max(...series[slot]!.slice(step + 1, step + 1 + horizon));
        below[0]! += Number(peak <= said.p50);
        below[1]! += Number(peak <= said.p90);
        known++;
      }
    }
    expect(below[0]! / known).toBeGreaterThan(0.4);
    expect(below[0]! / known).toBeLessThan(0.6);
    expect(below[1]! / known).toBeGreaterThan(0.85);
    expect(below[1]! / known).toBeLessThan(0.95);
  }, 240_000);
});

describe('series that are idle but for rare jobs', () => {
  it('keep their median: levels that lie close together cross, and each is moved by its own misses', () => {
    const [steps, horizon] = [2_000, 6];
    const series = Array.from({ length: 10 }, (_, i): RecordedSeries => {
      const random = randomFrom(100 + i);
      let isOn = false;
      const values = Float64Array.from({ length: steps }, () => {
        if (random() < (isOn ? 0.1 : 0.003)) isOn = !isOn;
        return 1 + (isOn ? 20 + 5 * random() : 0) + 0.05 * (random() + random() + random());
      });
      return { name: `s${i}`, values };
    });
    const peaks = new Map(series.map((one) => [one.name, peaksOf(one.values, horizon)]));
    const below = [0, 0];
    let known = 0;
    replay(nodePlatform, { series, intervalS: 300, horizon, capacity: 10 }, (one, step, said) => {
      const peak = peaks.get(one.name)![step]!;
      if (step < 1_200 || Number.isNaN(peak)) return;
      below[0]! += Number(peak <= said.p50);
      below[1]! += Number(peak <= said.p90);
      known++;
    });
    expect(Math.abs(below[0]! / known - 0.5)).toBeLessThan(0.08);
    expect(Math.abs(below[1]! / known - 0.9)).toBeLessThan(0.06);
  }, 120_000);
});

describe('series that come and go', () => {
  const options = { poolRows: 1_024 };

  /** Values of each series by name at each step; a series is there from its first step to its last. */
  function run(
    series: readonly { readonly name: string; readonly from: number; readonly to: number }[],
    order: (names: string[]) => string[],
    steps = 160,
  ): Map<string, number[]> {
    const oracle = new PeakOracle(nodePlatform, 4, options);
    oracle.begin([], 60);
    const walks = new Map(series.map(({ name }, i) => [name, walk(name, steps, i + 1).values]));
    const told = new Map<string, number[]>(series.map(({ name }) => [name, []]));
    const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
    for (let step = 0; step < steps; step++) {
      for (const name of order(series.filter(({ to }) => to === step).map((one) => one.name)))
        oracle.leave(name);
      for (const name of order(series.filter(({ from }) => from === step).map((one) => one.name)))
        oracle.join(name);
      oracle.advance(oracle.names.map((name) => walks.get(name)![step]));
      oracle.names.forEach((name, slot) => {
        oracle.read(slot, said);
        told.get(name)!.push(said.p50, said.p90, said.p99);
      });
    }
    return told;
  }

  const SERIES = Array.from({ length: 9 }, (_, i) => ({
    name: `s${(i * 5) % 9}`,
    from: i < 5 ? 0 : 20 * (i - 4),
    to: i % 3 === 0 ? 130 : 999,
  }));

  it('in any order give the same bits', () => {
    const forward = run(SERIES, (names) => names);
    expect(run(SERIES, (names) => names.reverse())).toEqual(forward);
    expect(run([...SERIES].reverse(), (names) => names)).not.toEqual(forward); // other walks: the test can tell
  });

  it('leave nothing of themselves behind in the others but what was learned from them', () => {
    const others = run(SERIES, (names) => names, 120);
    const oracle = new PeakOracle(nodePlatform, 4, options);
    oracle.begin([], 60);
    for (const name of ['a', 'c', 'b']) oracle.join(name);
    expect(oracle.names).toEqual(['a', 'b', 'c']);
    expect(() => oracle.join('b')).toThrow();
    oracle.advance([1, 2, 3]);
    oracle.leave('b');
    oracle.join('bb');
    const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
    oracle.advance([1, undefined, 3]);
    oracle.read(2, said);
    expect(said.p50).toBeGreaterThanOrEqual(3);
    oracle.advance([1, 70, 3]);
    oracle.read(1, said);
    expect(said.p50).toBeGreaterThan(69);
    expect(others.size).toBe(9);
  });
});

describe('fitted from outside, piece by piece', () => {
  const STEPS = 260;

  function learned(isFittedOutside: boolean): PeakOracle {
    const series = many(12, STEPS, 3);
    const oracle = new PeakOracle(nodePlatform, 4, { poolRows: 4_096, isFittedOutside });
    oracle.begin(
      series.map(({ name }) => name),
      60,
    );
    for (let step = 0; step < STEPS - 1; step++)
      oracle.advance(series.map(({ values }) => values[step]!));
    return oracle;
  }

  function levelsAfter(oracle: PeakOracle): number[][] {
    oracle.advance(many(12, STEPS, 3).map(({ values }) => values[STEPS - 1]!));
    return oracle.names.map((_, slot) => {
      const levels = new Float64Array(8);
      oracle.readLevels(slot, levels);
      return [...levels];
    });
  }

  it('gives the model that fitting at once gives, and forecasts with the old one meanwhile', () => {
    const oracle = learned(true);
    const twin = learned(true);
    expect([oracle.isFitDue, oracle.isReady]).toEqual([true, false]);
    const trainer = new ForecastTrainer(nodePlatform);
    expect(oracle.beginFit(trainer)).toBe(true);
    let pieces = 1;
    while (!trainer.step()) pieces++;
    expect(pieces).toBeGreaterThan(100);
    expect(oracle.isReady).toBe(false);
    const before = levelsAfter(learned(true));
    oracle.endFit(trainer);
    expect([oracle.isFitDue, oracle.isReady]).toEqual([false, true]);
    // The same trainer, used again after another pool, gives the same model again.
    const other = new PeakOracle(nodePlatform, 4, { poolRows: 4_096, isFittedOutside: true });
    other.begin(['x'], 60);
    for (const value of walk('x', 900, 9).values) other.advance([value]);
    expect(other.beginFit(trainer)).toBe(true);
    while (!trainer.step());
    twin.beginFit(trainer);
    while (!trainer.step());
    twin.endFit(trainer);
    const after = levelsAfter(oracle);
    expect(levelsAfter(twin)).toEqual(after);
    expect(after).not.toEqual(before);
    for (const levels of after) expect(levels).toEqual([...levels].sort((a, b) => a - b));
  });

  it('a model is inherited by a forecaster of as many steps', () => {
    const oracle = learned(true);
    const trainer = new ForecastTrainer(nodePlatform);
    oracle.beginFit(trainer);
    while (!trainer.step());
    oracle.endFit(trainer);
    const heir = learned(true);
    heir.inherit(oracle);
    expect(levelsAfter(heir)).toEqual(levelsAfter(oracle));
    expect(() => new PeakOracle(nodePlatform, 5).inherit(oracle)).toThrow();
  });

  it('a snapshot goes on with the same bits; another version, size or kind is refused', () => {
    const oracle = learned(false);
    const options = { poolRows: 4_096 };
    const saved = Uint8Array.from(oracle.snapshot().flatMap((piece) => [...piece]));
    const again = PeakOracle.fromSnapshot(nodePlatform, saved, options);
    expect(levelsAfter(again)).toEqual(levelsAfter(oracle));
    for (const bad of [saved.subarray(0, 400), saved.subarray(0, -1), new Uint8Array(9)])
      expect(() => PeakOracle.fromSnapshot(nodePlatform, bad, options)).toThrow('cannot be used');
    expect(() => PeakOracle.fromSnapshot(nodePlatform, saved, {})).toThrow('another size');
    const older = Uint8Array.from(saved);
    older.set(
      new TextEncoder().encode('1'),
      new TextDecoder().decode(saved.subarray(0, 200)).indexOf(`"version":${FORECAST_VERSION}`) +
        10,
    );
    expect(() => PeakOracle.fromSnapshot(nodePlatform, older, options)).toThrow('of version 1');
  });
});

describe('values that are "at least"', () => {
  /** Mean P50 and P90 of demand that is cut off at 10 half of the time; `says`: the forecaster is told when it was. */
  function told(cutShare: number, says: boolean): [p50: number, p90: number] {
    const oracle = new PeakOracle(nodePlatform, 4, { poolRows: 4_096 });
    const names = Array.from({ length: 20 }, (_, i) => `s${10 + i}`);
    oracle.begin(names, 60);
    const random = new Random(4);
    const said = { p50: 0, p90: 0, p99: 0, contention: 0 };
    const sums: [number, number] = [0, 0];
    for (let step = 0; step < 600; step++) {
      const demand = names.map(() => 6 + random.below(800) / 100);
      const isCut = demand.map((value) => random.below(100) < 100 * cutShare && value > 10);
      const shown = demand.map((value, i) => (isCut[i] === true ? 10 : value));
      oracle.advance(
        shown,
        Number.NaN,
        isCut.map((cut) => says && cut),
      );
      if (step < 400) continue;
      names.forEach((_, slot) => {
        oracle.read(slot, said);
        sums[0] += said.p50 / (200 * names.length);
        sums[1] += said.p90 / (200 * names.length);
      });
    }
    return sums;
  }

  it('do not teach that there is never more', () => {
    const [all, known, unknown] = [told(0, false), told(0.5, true), told(0.5, false)];
    expect(unknown[0]).toBeLessThan(all[0] - 0.8);
    expect(Math.abs(known[0] - all[0])).toBeLessThan(0.6);
    expect(Math.abs(known[1] - all[1])).toBeLessThan(0.3);
  });
});
