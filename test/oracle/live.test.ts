/**
 * The ladder: forecasts at every horizon, which are ordered and coherent, rest on the samples alone, get better with time, and go on
 * from a saved state as if nothing had been.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { LEVELS, levelsOf, newLevels } from '../../host/oracle/levels.js';
import {
  type Cold,
  HORIZON_MAX_MS,
  HORIZON_MIN_MS,
  LiveOracle,
  type Outlook,
} from '../../host/oracle/live.js';
import { Random } from '../exact/random.js';

const cold: Cold = () => {
  const levels = newLevels();
  levelsOf([-0.5, 0, 0, 0.5], 4, 0.2, levels);
  return levels;
};

const outlook = (live: LiveOracle, name: string, present = 0): Outlook =>
  live.outlook(name, present, cold)!;

const levelsAt = (live: LiveOracle, name: string, horizonMs: number): number[] => [
  ...outlook(live, name).at(horizonMs).levels.slice(0, LEVELS.length),
];

/** A machine's load: a slow walk, noise, and outbursts that last a while. */
class Load {
  readonly #random: Random;
  #level = 0.3;
  #burst = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  next(): number {
    const r = (): number => this.#random.below(10_000) / 10_000;
    this.#level += 0.05 * (0.3 - this.#level) + 0.03 * (r() - 0.5);
    this.#burst = this.#burst > 0 ? this.#burst - 1 : r() < 0.01 ? 20 + this.#random.below(40) : 0;
    return Math.min(1, Math.max(0, this.#level + (this.#burst > 0 ? 0.4 : 0) + 0.05 * r()));
  }
}

function fed(count: number, steps: number, platform?: typeof nodePlatform): LiveOracle {
  const live = new LiveOracle(platform);
  const loads = Array.from({ length: count }, (_, i) => new Load(i + 1));
  for (let step = 0; step < steps; step++)
    loads.forEach((load, i) => {
      live.observe(`m${i}`, 'cpu', step * 500 + i, load.next());
    });
  return live;
}

describe('an outlook', () => {
  it('of a series that never had a sample is none', () => {
    const live = fed(1, 3);
    expect(live.outlook('other', 0, cold)).toBeUndefined();
    live.observe('odd', 'cpu', Number.NaN, 0.3);
    expect(live.outlook('odd', 0, cold)).toBeUndefined();
  });

  it('at the beginning is what the newest samples say, at every horizon', () => {
    const live = fed(1, 8, nodePlatform);
    for (const horizonMs of [5_000, 60_000, 1_800_000]) {
      const { levels, model } = outlook(live, 'm0').at(horizonMs);
      expect([model, levels[2]]).toEqual(['last-value', expect.closeTo(0.2)]);
    }
  });

  it('is ordered in the horizon, level by level and in the probability, whatever came', () => {
    const value = fc.oneof(
      { weight: 8, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
      { weight: 1, arbitrary: fc.double() },
    );
    const sample = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      pause: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 0, max: 1_500 }) }, fc.double()),
      value,
      least: fc.boolean(),
    });
    const horizons = fc.array(fc.double({ min: 1_000, max: 4e6, noNaN: true }), {
      minLength: 2,
      maxLength: 6,
    });
    fc.assert(
      fc.property(
        fc.array(sample, { minLength: 1, maxLength: 150 }),
        horizons,
        fc.double({ min: 0, max: 1.5, noNaN: true }),
        (samples, asked, x) => {
          const live = new LiveOracle();
          let atMs = 0;
          for (const one of samples) {
            atMs += one.pause;
            live.observe(one.name, 'cpu', atMs, one.value, one.least);
            if (Number.isNaN(atMs)) atMs = 0;
          }
          for (const name of live.names) {
            const said = outlook(live, name, 0.1);
            let before = { levels: new Float64Array(LEVELS.length), p: 0 };
            for (const horizonMs of [...asked].sort((a, b) => a - b)) {
              const levels = said.at(horizonMs).levels.slice(0, LEVELS.length);
              const p = said.exceeds(horizonMs, x);
              expect([...levels].every(Number.isFinite)).toBe(true);
              expect([...levels]).toEqual([...levels].sort((a, b) => a - b));
              levels.forEach((level, k) => {
                expect(level).toBeGreaterThanOrEqual(before.levels[k]! - 1e-9);
              });
              expect(p).toBeGreaterThanOrEqual(before.p - 1e-9);
              expect(p >= 0 && p <= 1).toBe(true);
              before = { levels, p };
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('has a lead: the first horizon at which the probability is reached, or none', () => {
    const live = fed(2, 3_000, nodePlatform);
    const said = outlook(live, 'm0');
    const high = said.at(HORIZON_MAX_MS).levels[2]! - 0.001;
    const leadMs = said.lead(high, 0.5)!;
    expect(leadMs).toBeGreaterThanOrEqual(HORIZON_MIN_MS);
    expect(said.exceeds(leadMs, high)).toBeGreaterThanOrEqual(0.5);
    if (leadMs > HORIZON_MIN_MS) expect(said.exceeds(leadMs * 0.999, high)).toBeLessThan(0.5);
    expect(said.lead(0, 0.5)).toBe(HORIZON_MIN_MS);
    expect(said.lead(99, 0.5)).toBeUndefined();
  });

  it('includes the present', () => {
    const live = fed(1, 400);
    const now = outlook(live, 'm0', 0.95);
    expect(now.at(5_000).levels[0]).toBe(0.95);
    expect(now.exceeds(5_000, 0.9)).toBe(1);
  });
});

describe('samples', () => {
  it('of one instant, and series, in any order give the same bits', () => {
    const run = (order: (i: number) => number): number[][] => {
      const live = new LiveOracle(nodePlatform);
      const loads = Array.from({ length: 6 }, (_, i) => new Load(i + 1));
      for (let step = 0; step < 700; step++) {
        const values = loads.map((load) => load.next());
        for (let i = 0; i < 6; i++) {
          const k = order(i);
          live.observe(`m${k}`, k < 3 ? 'cpu' : 'memory', step * 500, values[k]!);
        }
      }
      return live.names.map((name) => levelsAt(live, name, 15_000));
    };
    const forward = run((i) => i);
    expect(run((i) => 5 - i)).toEqual(forward);
    expect(run((i) => (i * 5 + 2) % 6)).toEqual(forward);
  });

  it('a sleep of the whole cluster is a gap, however long; what was known is known still', () => {
    for (const sleepMs of [60_000, 3_000_000, 3e9, 1e15]) {
      const live = fed(2, 600, nodePlatform);
      const load = new Load(7);
      for (let step = 0; step < 100; step++) {
        for (const name of ['m0', 'm1'])
          live.observe(name, 'cpu', 300_000 + sleepMs + step * 500, load.next());
      }
      expect(live.names).toEqual(['m0', 'm1']);
      expect(levelsAt(live, 'm0', 5_000).every((q) => q >= 0 && q < 2)).toBe(true);
    }
  });

  it('a clock that is set back does not stop the ladder', () => {
    const live = fed(1, 600);
    const before = levelsAt(live, 'm0', 5_000);
    for (let step = 0; step < 200; step++) live.observe('m0', 'cpu', step * 500, 0.9);
    expect(levelsAt(live, 'm0', 5_000)[2]).toBeGreaterThan(0.8);
    expect(before[2]).toBeLessThan(0.8);
  });

  it('series that are silent for an hour go, and those that were silent longest when there are too many', () => {
    const live = new LiveOracle();
    live.observe('old', 'cpu', 0, 0.5);
    live.observe('new', 'cpu', 0, 0.5);
    for (let atMs = 0; atMs < 3_900_000; atMs += 30_000) live.observe('new', 'cpu', atMs, 0.5);
    expect(live.names).toEqual(['new']);
    for (let i = 0; i < 4_096; i++) live.observe(`s${i}`, 'cpu', 3_900_000 + i, 0.5);
    expect(live.names.length).toBe(4_096);
    expect(live.names).not.toContain('new');
  });
});

describe('the model', () => {
  const live = fed(8, 4_000, nodePlatform);
  const scores = (windowMs: number) =>
    live.scores.find((one) => one.windowMs === windowMs && one.kind === 'cpu')!.score;

  it('answers where it is better than everything simple, and says so', () => {
    const { loss, answers } = scores(5_000);
    expect(answers).toBe('peaks');
    expect(outlook(live, 'm0').at(5_000).model).toBe('peaks');
    const sum = (name: 'peaks' | 'last-value'): number => loss[name]!.reduce((a, b) => a + b, 0);
    expect(sum('peaks')).toBeLessThan(sum('last-value'));
  });

  it('covers what it says', () => {
    const loads = Array.from({ length: 8 }, (_, i) => new Load(100 + i));
    const judge = fed(8, 4_000, nodePlatform);
    const values: number[][] = loads.map(() => []);
    const said: { readonly at: number; readonly i: number; readonly levels: number[] }[] = [];
    for (let step = 4_000; step < 6_000; step++) {
      loads.forEach((load, i) => {
        const value = load.next();
        values[i]!.push(value);
        judge.observe(`m${i}`, 'cpu', step * 500 + i, value);
        if (step % 7 === 0 && step > 4_200)
          said.push({ at: step - 4_000, i, levels: levelsAt(judge, `m${i}`, 5_000) });
      });
    }
    const below = [0, 0, 0];
    let known = 0;
    for (const { at, i, levels } of said) {
      // The step that has just begun is not over when it is asked: it is the first of the window.
      const window = values[i]!.slice(at, at + 10);
      if (window.length < 10) continue;
      const peak = Math.max(...window);
      [2, 5, 7].forEach((k, j) => {
        below[j]! += Number(peak <= levels[k]!);
      });
      known++;
    }
    const share = below.map((count) => count / known);
    expect(known).toBeGreaterThan(1_000);
    expect(share[0]).toBeGreaterThan(0.4);
    expect(share[0]).toBeLessThan(0.65);
    expect(share[1]).toBeGreaterThan(0.85);
    expect(share[1]).toBeLessThan(0.96);
    expect(share[2]).toBeGreaterThan(0.96);
  });

  it('a new series is forecast by what its siblings taught', () => {
    const fresh = fed(8, 4_000, nodePlatform);
    for (let step = 4_000; step < 4_004; step++) {
      for (let i = 0; i < 8; i++) fresh.observe(`m${i}`, 'cpu', step * 500 + i, 0.3);
      fresh.observe('new', 'cpu', step * 500 + 9, 0.3);
    }
    const { model, levels } = outlook(fresh, 'new').at(5_000);
    expect(model).toBe('peaks');
    expect(levels[2]).toBeGreaterThan(0.2);
    expect(levels[5]).toBeLessThan(1);
  });
});

describe('saved and restored', () => {
  const saved = (live: LiveOracle) => {
    const { head, parts } = live.save();
    return { head, parts: parts.map((pieces) => Uint8Array.from(pieces.flatMap((p) => [...p]))) };
  };

  it('goes on with the same bits, also in the middle of a training', () => {
    const live = fed(3, 480, nodePlatform);
    expect(live.isTraining).toBe(true);
    const { head, parts } = saved(live);
    const again = new LiveOracle(nodePlatform);
    again.load(head, parts, 0);
    const loads = [new Load(50), new Load(51)];
    for (let step = 480; step < 1_500; step++) {
      const values = loads.map((load) => load.next());
      for (const one of [live, again])
        values.forEach((value, i) => {
          one.observe(`m${i}`, 'cpu', step * 500 + i, value);
        });
      if (step % 50 !== 0) continue;
      for (const horizonMs of [5_000, 12_345, 1_800_000])
        expect(levelsAt(again, 'm1', horizonMs)).toEqual(levelsAt(live, 'm1', horizonMs));
    }
    expect(again.scores).toEqual(live.scores);
  });

  it('the clock of the samples may be another: time goes on from where it stood', () => {
    const live = fed(2, 700, nodePlatform);
    const { head, parts } = saved(live);
    const again = new LiveOracle(nodePlatform);
    again.load(head, parts, -350_000);
    for (let step = 0; step < 100; step++) {
      live.observe('m0', 'cpu', 350_000 + step * 500, 0.4);
      again.observe('m0', 'cpu', step * 500, 0.4);
    }
    expect(levelsAt(again, 'm0', 20_000)).toEqual(levelsAt(live, 'm0', 20_000));
  });

  it('a damaged or older one is refused', () => {
    const { head, parts } = saved(fed(2, 300, nodePlatform));
    const load = (change: Partial<typeof head>, pieces = parts): void =>
      new LiveOracle(nodePlatform).load({ ...head, ...change }, pieces, 0);
    expect(() => load({})).not.toThrow();
    expect(() => load({ version: 0 })).toThrow('of version 0');
    expect(() => load({ kinds: ['cpu', 'what'] })).toThrow('no known kind');
    expect(() => load({ names: ['m0'] })).toThrow('too long');
    expect(() => load({}, parts.slice(1))).toThrow('other rungs');
    expect(() =>
      load(
        {},
        parts.map((part, i) => (i === 2 ? part.subarray(8) : part)),
      ),
    ).toThrow('too short');
  });
});
