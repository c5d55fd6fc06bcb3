/** Last-value forecasts: residuals, honest bands, contention, and no NaN ever. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shardSample } from '../../host/oracle/demand.js';
import { Oracle } from '../../host/oracle/oracle.js';
import { quantile, Series } from '../../host/oracle/series.js';
import type { ProgressHint } from '../../host/types/hints.js';
import type { NodeSampleValues } from '../../host/types/records.js';

const CAPACITY = { cores: 4, memoryBytes: 1_000 };
const values = (cpu: number, change: Partial<NodeSampleValues> = {}): NodeSampleValues => ({
  cpu,
  guestCpu: 0,
  memoryUsedBytes: 100,
  eventLoopDelayMs: 0,
  runnable: 0,
  ...change,
});

function oracleOf(loads: readonly number[]): Oracle {
  const oracle = new Oracle();
  loads.forEach((cpu, i) => {
    oracle.observe({ nodeId: 'a', atMs: i * 100, values: values(cpu) }, CAPACITY);
  });
  return oracle;
}

/** Probability of a bottleneck after these numbers of shards that want a core each, on a node with so many workers. */
function contention(cores: number, shards: readonly number[], background = 0): number {
  const oracle = new Oracle();
  shards.forEach((runnable, i) => {
    const guestCpu = Math.min(runnable, cores - background);
    const sample = values((guestCpu + background) / cores, { guestCpu, runnable });
    oracle.observe({ nodeId: 'a', atMs: i * 100, values: sample }, { cores, memoryBytes: 0 });
  });
  return oracle.forecast('a', 1_000)?.contention ?? -1;
}

describe('series', () => {
  it('gives residuals at the end of the horizon and at the peak within it, as the definition says', () => {
    const point = fc.record({
      gap: fc.integer({ min: 1, max: 30 }),
      value: fc.integer({ min: -9, max: 9 }),
    });
    fc.assert(
      fc.property(
        fc.array(point, { maxLength: 60 }),
        fc.integer({ min: 0, max: 100 }),
        (points, horizon) => {
          const series = new Series(1_000);
          let at = 0;
          const xs = points.map(({ gap, value }) => {
            at += gap;
            series.add(at, value);
            return { at, value };
          });
          const end: number[] = [];
          const peak: number[] = [];
          xs.forEach((x, i) => {
            const window = xs.slice(i).filter((y) => y.at <= x.at + horizon);
            if (x.at + horizon > at || window.length < 2) return;
            end.push((window.at(-1)?.value ?? 0) - x.value);
            peak.push(Math.max(...window.map((y) => y.value)) - x.value);
          });
          expect(series.residuals(horizon)).toEqual({ end, peak });
        },
      ),
    );
  });

  it('is bounded, goes forward and holds finite values only', () => {
    const series = new Series(3);
    for (const [at, value] of [
      [1, 1],
      [2, 2],
      [2, 9],
      [1, 9],
      [3, Number.NaN],
      [Number.NaN, 3],
      [4, 4],
      [5, 5],
    ] as const) {
      series.add(at, value);
    }
    expect([series.length, series.last]).toEqual([3, 5]);
  });

  it('quantiles are linear between points', () => {
    expect([
      quantile([], 0.5),
      quantile([3], 0.9),
      quantile([0, 10], 0.25),
      quantile([0, 1, 2], 1),
    ]).toEqual([0, 3, 2.5, 2]);
  });
});

describe('forecast', () => {
  it('says nothing of a node that was never measured', () => {
    expect(new Oracle().forecast('a', 1_000)).toBeUndefined();
  });

  it('little experience means a wide band, much experience of calm a narrow one', () => {
    const width = (oracle: Oracle): number => {
      const cpu = oracle.forecast('a', 500)?.cpu;
      return (cpu?.p99 ?? 0) - (cpu?.p50 ?? 0);
    };
    expect(width(oracleOf([0.25]))).toBeGreaterThan(1);
    expect(width(oracleOf(Array.from({ length: 240 }, () => 0.25)))).toBeLessThan(0.1);
  });

  it('the band covers what it says', () => {
    const loads = Array.from(
      { length: 400 },
      (_, i) => 0.5 + 0.4 * Math.sin(i * 1.7) * Math.sin(i * 0.13),
    );
    let within = 0;
    let asked = 0;
    for (let i = 60; i + 5 < loads.length; i++) {
      const p90 = oracleOf(loads.slice(0, i)).forecast('a', 500)?.cpu.p90 ?? 0;
      asked += 1;
      if ((loads[i + 4] ?? 0) * 4 <= p90) within += 1;
    }
    expect(within / asked).toBeGreaterThan(0.85);
  });

  it('contention: certain when it is there, likely after a history of peaks, unlikely in calm', () => {
    const calm =
      oracleOf(Array.from({ length: 200 }, () => 0.2)).forecast('a', 1_000)?.contention ?? 1;
    // Others take what is left of four cores every now and then, beside three shards.
    const spiky = new Oracle();
    for (let i = 0; i < 200; i++) {
      const busy = i % 10 === 0 ? 1 : 0.6;
      const sample = {
        nodeId: 'a',
        atMs: i * 100,
        values: values(busy, { ownCores: 2, runnable: 3 }),
      };
      spiky.observe(sample, CAPACITY);
    }
    expect(calm).toBeLessThan(0.05);
    expect(spiky.forecast('a', 1_000)?.contention).toBeGreaterThan(0.8);
    expect(spiky.forecast('a', 1_000)?.cpu.p50).toBeCloseTo(3.4);
    expect(contention(4, [6])).toBe(1);
  });

  it.each([1, 2, 4, 64])(
    'as many shards as workers, for ever, are no bottleneck on %d; one more is',
    (cores) => {
      const steady = (shards: number): number[] => Array.from({ length: 240 }, () => shards);
      expect(contention(cores, steady(cores))).toBeLessThan(0.05);
      expect(contention(cores, steady(cores), 0.2)).toBeLessThan(0.05);
      expect(contention(cores, steady(cores + Math.max(1, cores / 16)))).toBe(1);
    },
  );

  it.each([0.25, 0.5, 0.9])(
    'one shard alone under a quota of %d cores is no bottleneck; two are',
    (cores) => {
      const steady = (shards: number): number[] => Array.from({ length: 240 }, () => shards);
      expect(contention(cores, steady(1))).toBeLessThan(0.05);
      expect(contention(cores, steady(2))).toBe(1);
    },
  );

  it('a bottleneck is over in the forecast once one of two shards has left a worker', () => {
    const crowded = Array.from({ length: 60 }, () => 2);
    expect(contention(1, crowded)).toBe(1);
    expect(contention(1, [...crowded, 1])).toBeLessThan(0.3);
  });

  it('other programs count as shards do: what they and shards want together', () => {
    const busy = (cpu: number, guestCpu: number, runnable: number): number => {
      const oracle = new Oracle();
      for (let i = 0; i < 240; i++) {
        const sample = { nodeId: 'a', atMs: i * 100, values: values(cpu, { guestCpu, runnable }) };
        oracle.observe(sample, { cores: 2, memoryBytes: 0 });
      }
      return oracle.forecast('a', 1_000)?.contention ?? -1;
    };
    expect(busy(1, 0, 0)).toBeLessThan(0.05); // others alone: no shard waits
    expect(busy(1, 1, 1)).toBeLessThan(0.05); // one core each
    expect(busy(1, 1, 2)).toBe(1); // two shards beside a whole core of others
    expect(busy(1, 2, 2)).toBeLessThan(0.05);
  });

  it('demand counts shards that wait for a worker, and background once', () => {
    const demand = (change: Partial<NodeSampleValues>, cpu: number): [number, number] => {
      const oracle = new Oracle();
      oracle.observe({ nodeId: 'a', atMs: 1, values: values(cpu, change) }, CAPACITY);
      const forecast = oracle.forecast('a', 0);
      return [forecast?.background.p50 ?? -1, forecast?.cpu.p50 ?? -1];
    };
    expect(demand({ guestCpu: 2, runnable: 7 }, 1)).toEqual([2, 9]);
    expect(demand({ guestCpu: 2, runnable: 1 }, 0.5)).toEqual([0, 2]);
    expect(demand({ guestCpu: 2, ownCores: 3, runnable: 1 }, 1)).toEqual([1, 4]);
    expect(demand({ guestCpu: 0, ownCores: 99, runnable: 0 }, 0.5)).toEqual([0, 4]);
  });

  it('a capacity and a demand near the largest number do not overflow the band', () => {
    const oracle = new Oracle();
    const capacity = { cores: Number.MAX_VALUE, memoryBytes: Number.MAX_VALUE };
    const v = values(0.515, { guestCpu: 0, memoryUsedBytes: 0, runnable: 0 });
    oracle.observe({ nodeId: 'a', atMs: 0, values: v }, capacity);
    const { cpu } = oracle.forecast('a', 0)!;
    expect([cpu.p50, cpu.p90, cpu.p99].every(Number.isFinite)).toBe(true);
  });

  it('is finite, ordered and within its bounds for every input', () => {
    const any = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1, 0));
    const node = fc.constantFrom('a', 'b', 'c');
    const measured = { at: any, cpu: any, guestCpu: any, own: any, memory: any, runnable: any };
    const sample = fc.record({ node, alone: fc.boolean(), ...measured });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 20 }), any, any, (samples, cores, horizon) => {
        const oracle = new Oracle();
        for (const s of samples) {
          const v = values(s.cpu, {
            guestCpu: s.guestCpu,
            ownCores: s.own,
            memoryUsedBytes: s.memory,
            runnable: s.runnable,
          });
          const machine = s.alone ? undefined : { id: 'm', cores };
          const capacity = { cores, memoryBytes: cores, machine };
          oracle.observe({ nodeId: s.node, atMs: s.at, values: v }, capacity);
        }
        const forecast = oracle.forecast('a', horizon);
        if (forecast === undefined) return;
        for (const q of [forecast.cpu, forecast.background, forecast.memoryBytes]) {
          expect([q.p50, q.p90, q.p99].every((x) => Number.isFinite(x) && x >= 0)).toBe(true);
          expect(q.p50 <= q.p90 && q.p90 <= q.p99).toBe(true);
        }
        expect(forecast.contention).toBeGreaterThanOrEqual(0);
        expect(forecast.contention).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('nodes of one machine', () => {
  const machine = { id: 'm', cores: 2 };
  const ON = { cores: 2, memoryBytes: 0, machine };

  /** Beats of these nodes in turn, for as long: the shards that each has, what others use, and what the machine can give. */
  function beats(
    oracle: Oracle,
    shards: Record<string, number>,
    others = 0,
    rounds = 60,
    fromMs = 0,
  ) {
    const wanted = Object.values(shards).reduce((sum, each) => sum + Math.min(2, each), 0);
    const granted = Math.min(1, (machine.cores - others) / Math.max(wanted, 1e-9));
    const cpu = (others + wanted * granted) / machine.cores;
    let atMs = fromMs;
    for (let i = 0; i < rounds; i++) {
      for (const [nodeId, runnable] of Object.entries(shards)) {
        atMs += 100;
        const ownCores = Math.min(2, runnable) * granted;
        // The wall clock of quanta: each worker thinks that it was busy all the time.
        const sample = values(cpu, { guestCpu: Math.min(2, runnable), ownCores, runnable });
        oracle.observe({ nodeId, atMs, values: sample }, ON);
      }
    }
    return atMs;
  }

  it('what one has its guests do is no background of another', () => {
    const oracle = new Oracle();
    beats(oracle, { a: 1, b: 1, c: 0 });
    for (const id of ['a', 'b', 'c']) {
      const forecast = oracle.forecast(id, 5_000);
      expect([id, forecast?.background.p50, forecast?.cpu.p50]).toEqual([id, 0, 2]);
      expect(forecast?.contention).toBeLessThan(0.05);
      expect([forecast?.machine, forecast?.crowded]).toEqual([machine, false]);
    }
  });

  it("the capacity is the machine's, not the sum of their workers", () => {
    const oracle = new Oracle();
    beats(oracle, { a: 1, b: 1, c: 1 });
    for (const id of ['a', 'b', 'c']) {
      expect(oracle.forecast(id, 5_000)).toMatchObject({ contention: 1, crowded: false });
      expect(oracle.forecast(id, 5_000)?.cpu.p50).toBeCloseTo(3);
      expect(oracle.forecast(id, 5_000)?.background.p50).toBeCloseTo(0);
    }
  });

  it('work of others is theirs, however little the guests get beside it', () => {
    const oracle = new Oracle();
    beats(oracle, { a: 1, b: 2 }, 1);
    expect(oracle.forecast('a', 5_000)?.background.p50).toBeCloseTo(1);
    expect(oracle.forecast('b', 5_000)?.cpu.p50).toBeCloseTo(4);
  });

  it('a shard that has just begun on another node is not taken for work of others', () => {
    const oracle = new Oracle();
    const atMs = beats(oracle, { a: 0, b: 0 });
    // a beats first: its busy share has the new work of b in it already.
    const late = values(0.5, { ownCores: 0, runnable: 0 });
    oracle.observe({ nodeId: 'a', atMs: atMs + 100, values: late }, ON);
    expect(oracle.forecast('a', 5_000)?.background.p50).toBe(0);
    beats(oracle, { a: 0, b: 1 }, 0, 60, atMs + 100);
    expect(oracle.forecast('a', 5_000)).toMatchObject({ background: { p50: 0 } });
    expect(oracle.forecast('a', 5_000)?.cpu.p50).toBeCloseTo(1);
  });

  it('moves of shards are known, not surprises: they teach the forecast nothing', () => {
    const oracle = new Oracle();
    let atMs = 0;
    for (let i = 0; i < 10; i++)
      atMs = beats(oracle, i % 2 === 0 ? { a: 2, b: 0 } : { a: 0, b: 2 }, 0, 6, atMs);
    expect(oracle.forecast('a', 5_000)?.contention).toBeLessThan(0.05);
  });

  it('a node is crowded by more shards than workers, for as long as it has them, where that is not the machine itself', () => {
    const oracle = new Oracle();
    let atMs = beats(oracle, { a: 3, b: 0 });
    expect([oracle.forecast('a', 9)?.crowded, oracle.forecast('b', 9)?.crowded]).toEqual([
      true,
      false,
    ]);
    atMs = beats(oracle, { a: 2, b: 1 }, 0, 1, atMs);
    expect(oracle.forecast('a', 9)?.crowded).toBe(false);
    // Alone there, with a worker for each core: this is contention.
    oracle.forget('b');
    beats(oracle, { a: 3 }, 0, 9, atMs);
    expect(oracle.forecast('a', 9)).toMatchObject({ contention: 1, crowded: false });
    const narrow = new Oracle();
    const sample = values(0.5, { ownCores: 1, runnable: 2 });
    narrow.observe({ nodeId: 'a', atMs: 1, values: sample }, { ...ON, cores: 1 });
    expect(narrow.forecast('a', 9)?.crowded).toBe(true);
  });

  it('a shard that sleeps and wakes rings no bell; one that stays does', () => {
    const oracle = new Oracle();
    const alarms: boolean[] = [];
    let atMs = 0;
    for (let i = 0; i < 40; i++) {
      atMs = beats(oracle, { a: i % 4 === 0 ? 3 : 1, b: 0 }, 0, 1, atMs);
      alarms.push(oracle.forecast('a', 9)?.crowded ?? true);
    }
    expect(alarms.slice(1)).not.toContain(true);
    beats(oracle, { a: 3, b: 0 }, 0, 6, atMs);
    expect(oracle.forecast('a', 9)?.crowded).toBe(true);
  });

  it('one that is silent, or gone, counts no more', () => {
    const oracle = new Oracle();
    const atMs = beats(oracle, { a: 2, b: 2 });
    expect(oracle.forecast('a', 9)?.contention).toBe(1);
    beats(oracle, { a: 1 }, 0, 1, atMs + 3_000);
    expect(oracle.forecast('a', 9)?.cpu.p50).toBe(1);
    const other = new Oracle();
    beats(other, { a: 2, b: 2 });
    other.forget('b');
    expect(other.forecast('a', 9)?.cpu.p50).toBe(2);
    expect(other.forecast('b', 9)).toBeUndefined();
    other.forget('a');
    expect(other.forecast('a', 9)).toBeUndefined();
  });

  it('a node that says another machine, or another size of it, is there with what it has', () => {
    const oracle = new Oracle();
    const atMs = beats(oracle, { a: 1, b: 1 });
    const sample = values(0.5, { ownCores: 1, runnable: 1 });
    const larger = { id: 'm', cores: 4 };
    oracle.observe({ nodeId: 'a', atMs: atMs + 100, values: sample }, { ...ON, machine: larger });
    expect(oracle.forecast('b', 9)?.machine).toEqual(larger);
    oracle.observe(
      { nodeId: 'a', atMs: atMs + 200, values: sample },
      { ...ON, machine: { id: 'n', cores: 2 } },
    );
    expect([oracle.forecast('a', 9)?.cpu.p50, oracle.forecast('b', 9)?.cpu.p50]).toEqual([1, 1]);
  });
});

describe('needs of a shard', () => {
  const sample = (atMs: number, memoryBytes: number) => ({
    shardId: 's',
    atMs,
    fuelUsed: 0n,
    fuelPerSecond: 1_000,
    memoryBytes,
    capsuleBytes: 0,
  });

  it('a guess with a wide band before, the history of the program after', () => {
    const oracle = new Oracle();
    const guess = oracle.needs('m', 0);
    expect([guess.model, guess.samples]).toEqual(['guess', 0]);
    expect(guess.memoryBytes.p99).toBeGreaterThan(guess.memoryBytes.p50);
    for (let i = 0; i < 100; i++) oracle.observeShard('m', sample(i * 100, 50_000_000));
    expect(oracle.needs('m', 0)).toMatchObject({
      model: 'last-value',
      memoryBytes: { p50: 50_000_000 },
    });
    expect(oracle.needs('m', 90_000_000).memoryBytes.p50).toBe(90_000_000);
  });

  it('remembers a bounded number of programs', () => {
    const oracle = new Oracle();
    for (let i = 0; i < 1_500; i++) oracle.observeShard(`m${i}`, sample(1, 1));
    expect([oracle.needs('m0', 0).samples, oracle.needs('m1499', 0).samples]).toEqual([0, 1]);
  });
});

const HINT: ProgressHint = {
  shardId: 's',
  nodeId: 'a',
  epoch: 1,
  fuelUsed: 100n,
  fuelPerSecond: 50,
  memoryBytes: 1,
  capsuleBytes: 2,
  safepoint: null,
  activity: 'running',
  trouble: '',
};

describe('demand of a shard', () => {
  it.each<[Partial<ProgressHint>, number]>([
    [{ activity: 'running', share: 0.2 }, 1],
    [{ activity: 'runnable', share: 0 }, 1],
    [{ activity: 'sleeping', share: 0.2 }, 0.2],
    [{ activity: 'fetching' }, 0],
    [{ activity: 'sleeping', share: 7 }, 1],
  ])('%o', (change, demand) => {
    expect(shardSample({ ...HINT, ...change }, 9)).toMatchObject({ atMs: 9, demand });
  });
});

describe('what a running shard still needs', () => {
  const sample = shardSample(HINT, 9);

  it('is not known before a shard of its program has ended', () => {
    const oracle = new Oracle();
    expect(oracle.outlook('m', sample)).toMatchObject({ remainingFuel: null, remainingMs: null });
    oracle.observeEnd('other', 2, 900n);
    expect(oracle.outlook('m', sample)).toMatchObject({ remainingFuel: null, remainingMs: null });
  });

  it('has come as far as any of its program: about as much again, with a wide band', () => {
    const oracle = new Oracle();
    oracle.observeEnd('m', 1, 100n);
    const { remainingFuel, model } = oracle.outlook('m', sample);
    expect(model).toBe('history');
    expect(remainingFuel?.p50).toBeCloseTo(100, 0);
    expect(remainingFuel?.p99).toBeGreaterThan(1_000);
  });

  it('is what others of its program needed from here on, at its own speed', () => {
    const oracle = new Oracle();
    for (const [at, total] of [
      [1, 50n],
      [2, 200n],
      [3, 300n],
      [4, 400n],
    ] as const)
      oracle.observeEnd('m', at, total);
    const { remainingFuel, remainingMs, fuelPerSecond } = oracle.outlook('m', sample);
    expect([remainingFuel?.p50, remainingMs?.p50]).toEqual([200, 4_000]);
    expect(fuelPerSecond.p50).toBe(50);
    const still = oracle.outlook('m', { ...sample, fuelPerSecond: 0 });
    expect([still.remainingFuel?.p50, still.remainingMs]).toEqual([200, null]);
  });

  it('is never negative, never NaN, and its quantiles are in order', () => {
    const total = fc.bigInt({ min: 0n, max: 1_000n });
    fc.assert(
      fc.property(
        fc.array(total, { maxLength: 80 }),
        total,
        fc.double(),
        (totals, fuelUsed, rate) => {
          const oracle = new Oracle();
          totals.forEach((fuel, i) => {
            oracle.observeEnd('m', i, fuel);
          });
          const outlook = oracle.outlook('m', { ...sample, fuelUsed, fuelPerSecond: rate });
          for (const q of [outlook.remainingFuel, outlook.remainingMs, outlook.fuelPerSecond]) {
            if (q === null) continue;
            expect(q.p50).toBeGreaterThanOrEqual(0);
            expect(q.p90).toBeGreaterThanOrEqual(q.p50);
            expect(q.p99).toBeGreaterThanOrEqual(q.p90);
          }
        },
      ),
    );
  });
});
