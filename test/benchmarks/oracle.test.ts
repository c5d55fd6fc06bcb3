/**
 * The oracle's benchmark: samples of points, AutoETS and MSTL as peers, lines that ablations change, predictions that are kept.
 *
 * Does not run the benchmark: that needs traces.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ABLATIONS, effectOf, sourceOf } from '../../benchmarks/oracle/ablation.js';
import { augursPeers, maximaOf } from '../../benchmarks/oracle/augurs.js';
import {
  codeHash,
  hashOfCase,
  hashOfParts,
  type Kept,
  keptIn,
} from '../../benchmarks/oracle/keep.js';
import { pointsOf, predictionAt, sampled } from '../../benchmarks/oracle/peers.js';
import type { Case, Row } from '../../benchmarks/oracle/traces.js';
import { ROOT } from '../tidy/sources.js';

/** Two rows of an hourly wave with a small disturbance. */
function rows(steps: number): Row[] {
  return [0, 5].map((shift) => ({
    name: `row-${shift}`,
    values: Float64Array.from(
      { length: steps },
      (_, t) => 5 + Math.sin((2 * Math.PI * (t + shift)) / 12) + 0.1 * ((t * 7) % 5),
    ),
  }));
}

const caseOf = (test: readonly Row[]): Case => ({
  name: 'made',
  intervalS: 300,
  horizon: 6,
  capacity: 6,
  train: [],
  test,
  from: 24,
});

describe('a sample of points', () => {
  const points = pointsOf(rows(100), 6, 24);

  it('has about as many as asked for, of all rows, in order', () => {
    const { points: some, index } = sampled(points, 50);
    expect(some.row.length).toBeGreaterThan(40);
    expect(some.row.length).toBeLessThanOrEqual(51);
    expect(new Set(some.row)).toEqual(new Set([0, 1]));
    index.forEach((i, place) => {
      expect([some.row[place], some.step[place]]).toEqual([points.row[i], points.step[i]]);
      expect(some.actual[place]).toBe(points.actual[i]);
    });
  });

  it('takes predictions to the same points', () => {
    const { points: some, index } = sampled(points, 10);
    const { score } = predictionAt(index, { name: 'now', score: points.now });
    expect(score).toEqual(some.now);
  });
});

describe('AutoETS and MSTL', () => {
  it('has the maximum of independent errors where intervals do not widen', () => {
    const maxima = maximaOf({ point: new Array(6).fill(0), sigma: new Array(6).fill(1) });
    // The median of the maximum of six standard normal numbers, and their P90.
    expect(maxima[maxima.length / 2]).toBeCloseTo(1.231, 1);
    expect(maxima[0.9 * maxima.length]).toBeCloseTo(2.112, 1);
  });

  it('has the maximum of a random walk where variances grow by steps', () => {
    const sigma = [1, 2, 3, 4, 5, 6].map(Math.sqrt);
    const maxima = maximaOf({ point: new Array(6).fill(0), sigma });
    // Far beyond any single step a walk is at its maximum by reflection: P(maximum > x) is near 2 P(end > x + 0.58).
    expect(maxima[0.9 * maxima.length]).toBeGreaterThan(3);
    expect(maxima[0.9 * maxima.length]).toBeLessThan(4);
  });

  it('has no spread where there is none', () => {
    const maxima = maximaOf({ point: [1, 3, 2], sigma: [0, 0, 0] });
    expect(new Set(maxima)).toEqual(new Set([3]));
  });

  it('forecasts from the past alone', () => {
    const steps = 60;
    const whole = rows(steps);
    const points = pointsOf(whole, 6, 24, 33);
    const changed = whole.map(({ name, values }) => ({
      name,
      values: values.map((v, t) => (t > 26 ? v * 9 : v)),
    }));
    const run = (test: Row[]) => augursPeers(caseOf(test), { ...points, rows: test }, points);
    const [before, after] = [run(whole), run(changed)];
    expect(before.note).toMatch(/^AutoETS .* 0 of .*; MSTL .* 0 of /);
    before.predictions.forEach(({ name, quantiles }, p) => {
      const other = after.predictions[p]!;
      expect(other.name).toBe(name);
      expect(quantiles![0].every(Number.isFinite)).toBe(true);
      quantiles!.forEach((list, k) => {
        list.forEach((value, i) => {
          if (name.includes('learned')) return;
          if (points.step[i]! <= 26) expect(other.quantiles![k as 0][i]).toBe(value);
          if (k > 0) expect(value).toBeGreaterThanOrEqual(quantiles![(k - 1) as 0][i]!);
        });
      });
    });
  });

  it('stays near the value of a series that stands still', () => {
    const still = [{ name: 'still', values: new Float64Array(60).fill(3) }];
    const points = pointsOf(still, 6, 24);
    const { predictions } = augursPeers(caseOf(still), points, points);
    for (const { quantiles } of predictions)
      for (const list of quantiles!) list.forEach((value) => void expect(value).toBeCloseTo(3, 4));
  });
});

describe('ablations', () => {
  it('change lines that are in the source once', () => {
    for (const { changes } of ABLATIONS)
      for (const { file, from, to } of changes) {
        const text = sourceOf(ROOT, file, changes);
        expect([text.includes(from), text.includes(to)]).toEqual([false, true]);
      }
  });

  it('refuse a line that is not there', () => {
    const changes = [{ file: 'forecast.ts', from: 'no such line', to: '' }];
    expect(() => sourceOf(ROOT, 'forecast.ts', changes)).toThrow('0 times');
  });

  it('say the mean of logarithms and its error', () => {
    const { mean, error } = effectOf([Math.exp(0.1), Math.exp(0.3)]);
    expect(mean).toBeCloseTo(0.2, 10);
    expect(error).toBeCloseTo(0.1, 10);
  });
});

describe('predictions that are kept', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-kept-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const made: Kept = {
    predictions: [
      { name: 'none', score: Float64Array.of(1, Number.NaN, 3) },
      {
        name: 'all',
        score: Float64Array.of(0.1, 0.2, 0.3),
        quantiles: [Float64Array.of(1, 2, 3), Float64Array.of(4, 5, 6), Float64Array.of(7, 8, 9)],
      },
    ],
    oracleMs: 5,
    note: 'a note',
  };
  const never = (): never => {
    throw new Error('made again');
  };

  it('are made once, and nothing else is left beside them', () => {
    const place = { file: join(folder, 'some/one.json'), points: 3 };
    expect(keptIn(place, () => made)).toBe(made);
    expect(keptIn(place, never)).toEqual(made);
    expect(readdirSync(join(folder, 'some'))).toEqual(['one.json']);
  });

  it('are refused where they have other points, or not three quantiles', () => {
    const file = join(folder, 'two.json');
    keptIn({ file, points: 3 }, () => made);
    expect(() => keptIn({ file, points: 4 }, never)).toThrow('delete it');
    const none = Buffer.from(new Float64Array(3).buffer).toString('base64');
    const predictions = [{ name: 'odd', score: none, quantiles: [none, none] }];
    writeFileSync(file, JSON.stringify({ oracleMs: 0, predictions }));
    expect(() => keptIn({ file, points: 3 }, never)).toThrow('2 quantiles of odd');
  });

  it('go by everything that is in the case', () => {
    const whole = caseOf(rows(50));
    const changed = rows(50);
    changed[1]!.values[7]! += 1e-12;
    const others: Case[] = [
      { ...whole, horizon: 7 },
      { ...whole, capacity: 6.5 },
      { ...whole, train: [{ rows: rows(50), intervalS: 300 }] },
      { ...whole, test: changed },
      { ...whole, test: rows(50).reverse() },
    ];
    expect(hashOfCase(caseOf(rows(50)))).toBe(hashOfCase(whole));
    expect(new Set([whole, ...others].map(hashOfCase)).size).toBe(1 + others.length);
    expect(hashOfParts(['a', 'bc'])).not.toBe(hashOfParts(['ab', 'c']));
  });

  it('go by the compiled code, the packages, and nothing else', () => {
    const files = [
      'dist/.bench/host/core/forecast.js',
      'dist/.bench/host/oracle/peaks.js',
      'dist/.bench/benchmarks/oracle/peers.js',
      'dist/.bench/benchmarks/lib/statistics.js',
      'package-lock.json',
    ];
    const root = join(folder, 'root');
    for (const file of files) {
      mkdirSync(join(root, file, '..'), { recursive: true });
      writeFileSync(join(root, file), 'before');
    }
    const before = codeHash(root);
    writeFileSync(join(root, 'README.md'), 'other');
    expect(codeHash(root)).toBe(before);
    files.forEach((file, i) => {
      const other = join(folder, `root-${i}`);
      cpSync(root, other, { recursive: true });
      writeFileSync(join(other, file), 'after');
      expect(codeHash(other), file).not.toBe(before);
    });
  });
});
