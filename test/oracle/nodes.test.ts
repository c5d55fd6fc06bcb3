/** Forecasts of nodes at long horizons: priced moves, lead, censoring, what is saved; short horizons are in oracle.test.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { Machines } from '../../host/oracle/machines.js';
import { Oracle } from '../../host/oracle/oracle.js';
import { BOTTLENECK, type Quantiles } from '../../host/types/brain.js';
import type { NodeSampleValues } from '../../host/types/records.js';
import { Random } from '../exact/random.js';

const MACHINE = { id: 'm', cores: 4 };
const ON = { cores: 4, memoryBytes: 8e9, machine: MACHINE };
const values = (cpu: number, change: Partial<NodeSampleValues> = {}): NodeSampleValues => ({
  cpu,
  guestCpu: 0,
  ownCores: 0,
  memoryUsedBytes: 2e9,
  eventLoopDelayMs: 0,
  runnable: 0,
  ...change,
});

/** Noise of a machine that others use: about this share, and outbursts of `burst` more. */
function others(seed: number, level = 0.3, burst = 0.5): () => number {
  const random = new Random(seed);
  let left = 0;
  return () => {
    left = left > 0 ? left - 1 : random.below(100) === 0 ? 20 : 0;
    return Math.min(1, level + random.below(1_000) / 20_000 + (left > 0 ? burst : 0));
  };
}

function fed(oracle: Oracle, steps: number, load: () => number, fromMs = 0, shards = 0): Oracle {
  for (let step = 0; step < steps; step++) {
    const cpu = Math.min(1, load() + shards / 4);
    const sample = values(cpu, { ownCores: shards, guestCpu: shards, runnable: shards });
    oracle.observe({ nodeId: 'a', atMs: fromMs + step * 500, values: sample }, ON);
  }
  return oracle;
}

const ordered = ({ p50, p90, p99 }: Quantiles): boolean => p50 <= p90 && p90 <= p99;

describe('a longer horizon', () => {
  const oracle = fed(new Oracle(nodePlatform), 2_400, others(1));

  it('never has less demand, nor less contention', () => {
    const horizon = fc.integer({ min: 5_000, max: 1_800_000 });
    const cores = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 });
    fc.assert(
      fc.property(horizon, horizon, cores, (one, two, shards) => {
        const near = oracle.forecast('a', Math.min(one, two), { with: shards })!;
        const far = oracle.forecast('a', Math.max(one, two), { with: shards })!;
        for (const part of ['cpu', 'background', 'memoryBytes'] as const) {
          expect(ordered(near[part]) && ordered(far[part])).toBe(true);
          expect(far[part].p50).toBeGreaterThanOrEqual(near[part].p50 - 1e-9);
          expect(far[part].p99).toBeGreaterThanOrEqual(near[part].p99 - 1e-9);
        }
        expect(far.contention).toBeGreaterThanOrEqual(near.contention - 1e-9);
      }),
    );
    expect(oracle.forecast('a', 5e9)).toEqual({
      ...oracle.forecast('a', 1_800_000),
      horizonMs: 5e9,
    });
  });

  it('quantiles and contention are of one distribution', () => {
    // So many cores wanted that the room is the P90 of the background: a tenth is above.
    const { background } = oracle.forecast('a', 15_000)!;
    const room = 4.25 - background.p90;
    const { contention, cpu } = oracle.forecast('a', 15_000, { with: [room] })!;
    expect(contention).toBeCloseTo(0.1, 6);
    expect(cpu.p90).toBeCloseTo(4.25, 6);
  });
});

describe('a move', () => {
  const oracle = fed(new Oracle(), 1_200, others(2, 0.3, 0), 0, 1);

  it('is priced: demand with and without what the shards want', () => {
    const now = oracle.forecast('a', 5_000)!;
    const more = oracle.forecast('a', 5_000, { with: [1, 0.5] })!;
    const fewer = oracle.forecast('a', 5_000, { without: [1] })!;
    expect(more.cpu.p50).toBeCloseTo(now.cpu.p50 + 1.5);
    expect(fewer.cpu.p50).toBeCloseTo(now.cpu.p50 - 1);
    expect([more.background, fewer.background]).toEqual([now.background, now.background]);
    expect(oracle.forecast('a', 5_000, { with: [1], without: [1] })).toEqual(now);
    expect(oracle.forecast('a', 5_000, { without: [99] })!.cpu).toEqual(now.background);
    expect(oracle.forecast('a', 1_000, { with: [2] })!.cpu.p50).toBeCloseTo(
      oracle.forecast('a', 1_000)!.cpu.p50 + 2,
    );
  });

  it('with more is never less contention; what is no number of cores is none', () => {
    let before = -1;
    for (let shards = 0; shards < 6; shards++) {
      const { contention } = oracle.forecast('a', 60_000, { with: Array(shards).fill(1) })!;
      expect(contention).toBeGreaterThanOrEqual(before);
      before = contention;
    }
    expect(before).toBe(1);
    const odd = { with: [Number.NaN, -1, Number.POSITIVE_INFINITY, 1e300] };
    expect(oracle.forecast('a', 5_000, odd)).toEqual(oracle.forecast('a', 5_000));
  });
});

describe('lead', () => {
  it('0 where somebody waits now; none in calm; else the first horizon at which it is predicted', () => {
    const calm = fed(new Oracle(), 7_200, others(3, 0.3, 0));
    expect(calm.forecast('a', 5_000)).not.toHaveProperty('leadMs');
    expect(calm.forecast('a', 5_000, { with: [1, 1, 1, 1] })).toMatchObject({
      leadMs: 0,
      contention: 1,
    });
    // Outbursts of two cores, every fifty seconds or so: with three shards they are a bottleneck, not yet within 5 s.
    const wild = fed(new Oracle(nodePlatform), 9_000, others(4, 0.3, 0.5));
    const three = { with: [1, 1, 0.5] };
    const { leadMs, contention } = wild.forecast('a', 5_000, three)!;
    expect(contention).toBeLessThan(BOTTLENECK.predictedFrom);
    expect(leadMs).toBeGreaterThan(5_000);
    expect(leadMs).toBeLessThan(300_000);
    expect(wild.forecast('a', leadMs!, three)!.contention).toBeGreaterThanOrEqual(0.5);
    expect(wild.forecast('a', leadMs! * 0.9, three)!.contention).toBeLessThan(0.5);
  });
});

describe('a machine that was full', () => {
  const isLeast = (cpu: number, change: Partial<NodeSampleValues>): boolean =>
    new Machines().observe({ nodeId: 'a', atMs: 0, values: values(cpu, change) }, ON).isLeast;

  it('others may have wanted more, unless it had room, they got too little to want more, or nobody waited', () => {
    expect(isLeast(1, {})).toBe(true);
    expect(isLeast(0.98, {})).toBe(true);
    expect(isLeast(0.95, {})).toBe(false);
    // Beside three shards that want a core each, one thread of others would be given a whole one.
    expect(isLeast(1, { ownCores: 3, runnable: 3 })).toBe(true);
    expect(isLeast(1, { ownCores: 3.5, runnable: 4 })).toBe(false);
    expect(isLeast(1, { ownCores: 3.5, runnable: 7 })).toBe(true); // one of eight: half a core is its share
    expect(isLeast(1, { cpuPressure: 0.4 })).toBe(true);
    expect(isLeast(1, { cpuPressure: 0.01 })).toBe(false);
    expect(isLeast(Number.NaN, {})).toBe(false);
  });

  it('is no secret want of others where they take little: they got all that they wanted', () => {
    const oracle = fed(new Oracle(), 1_200, others(5, 0.02, 0), 0, 4);
    const { background } = oracle.forecast('a', 1_800_000)!;
    expect(
      fed(new Oracle(), 4_000, others(5, 0.02, 0), 0, 4).forecast('a', 5_000)!.contention,
    ).toBeLessThan(0.3);
    expect(background.p50).toBeLessThan(0.5);
  });
});

describe('memory and network', () => {
  it('are forecast where they are measured', () => {
    const oracle = new Oracle();
    for (let step = 0; step < 600; step++) {
      const sample = values(0.2, { memoryUsedBytes: 2e9 + step * 1e6, networkBytesPerS: 1e6 });
      oracle.observe({ nodeId: 'a', atMs: step * 500, values: sample }, ON);
    }
    const { memoryBytes, networkBytesPerS } = oracle.forecast('a', 5_000)!;
    expect(memoryBytes.p50).toBeGreaterThan(2.6e9); // it grows by 20 MB in 5 s
    expect(memoryBytes.p50).toBeLessThan(2.63e9);
    expect(networkBytesPerS?.p50).toBeCloseTo(1e6, -2);
    expect(oracle.forecast('a', 1_000)).not.toHaveProperty('networkBytesPerS');
    expect(fed(new Oracle(), 9, others(1)).forecast('a', 5_000)).not.toHaveProperty(
      'networkBytesPerS',
    );
  });
});

describe('saved and restored', () => {
  const HORIZONS = [1_000, 5_000, 30_000, 1_800_000];

  it('goes on with the same bits', () => {
    const one = fed(new Oracle(nodePlatform), 1_500, others(6));
    const saved = one.save(750_000, 5e12);
    const two = new Oracle(nodePlatform);
    two.load(saved, 750_000, 5e12);
    const [a, b] = [others(7), others(7)];
    for (let round = 0; round < 8; round++) {
      for (const horizonMs of HORIZONS)
        expect(two.forecast('a', horizonMs)).toEqual(one.forecast('a', horizonMs));
      fed(one, 60, a, 750_000 + round * 30_000);
      fed(two, 60, b, 750_000 + round * 30_000);
    }
    expect(two.scores).toEqual(one.scores);
    expect(Buffer.compare(two.save(1e7, 6e12), one.save(1e7, 6e12))).toBe(0);
  });

  it('another process, with another clock: what it knows is as old as it is', () => {
    const one = fed(new Oracle(nodePlatform), 1_500, others(8));
    const before = one.forecast('a', 5_000)!;
    const two = new Oracle(nodePlatform);
    // Ten seconds later, in a process that has just begun.
    two.load(one.save(750_000, 5e12), 12, 5e12 + 10_000);
    fed(two, 40, others(9), 12);
    expect(two.forecast('a', 5_000)!.background.p99).toBeLessThan(4);
    expect(two.forecast('a', 5_000)!.background.p50).toBeCloseTo(before.background.p50, 0);
    expect(two.scores.find(({ windowMs }) => windowMs === 5_000)!.score.steps).toBeGreaterThan(700);
  });

  it('programs too', () => {
    const one = new Oracle();
    const module = 'a'.repeat(64);
    for (let run = 0; run < 30; run++)
      one.observeEnd(module, run, BigInt(1_000 + 7 * run), { ranMs: 50, memoryBytes: 65_536 });
    const two = new Oracle();
    two.load(one.save(0, 0), 0, 0);
    expect(two.needs(module, 0)).toEqual(one.needs(module, 0));
    expect(two.needs(module, 0).fuel?.p50).toBeGreaterThan(1_000);
  });

  it('nodes that are gone are forgotten', () => {
    const oracle = fed(new Oracle(), 10, others(1));
    oracle.keepOnly(new Set(['a']));
    expect(oracle.forecast('a', 5_000)).toBeDefined();
    oracle.keepOnly(new Set(['b']));
    expect(oracle.forecast('a', 5_000)).toBeUndefined();
  });

  it('what is damaged in any place is refused, or is another state; the oracle is as it was', () => {
    const saved = fed(new Oracle(), 60, others(1)).save(30_000, 0);
    const oracle = fed(new Oracle(), 60, others(2));
    const before = oracle.forecast('a', 5_000);
    for (const bad of [
      new Uint8Array(0),
      new Uint8Array(3),
      saved.subarray(0, 100),
      saved.subarray(0, -1),
    ]) {
      expect(() => oracle.load(bad, 0, 0)).toThrow('cannot be used');
      expect(oracle.forecast('a', 5_000)).toEqual(before);
    }
    fc.assert(
      fc.property(fc.nat(saved.length - 1), fc.nat(254), (at, by) => {
        const bad = Uint8Array.from(saved);
        bad[at] = (bad[at]! + by + 1) & 255;
        const one = new Oracle();
        try {
          one.load(bad, 30_000, 0);
        } catch (cause) {
          expect(cause).toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
          expect(one.forecast('a', 5_000)).toBeUndefined();
        }
      }),
      { numRuns: 60 },
    );
  });
});
