/** What shards were measured to want: where the next one goes, what a slot is, what is moved before a bottleneck. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Oracle } from '../../host/oracle/oracle.js';
import type { ShardForecast } from '../../host/types/brain.js';
import { forecastOf } from '../protocol/records.js';
import { Bench, crowded, MIB } from './bench.js';

const remaining = (shardId: string, ms: number): ShardForecast => ({
  shardId,
  fuelPerSecond: { p50: 1, p90: 1, p99: 1 },
  remainingFuel: { p50: ms, p90: ms, p99: ms },
  remainingMs: { p50: ms, p90: ms, p99: ms },
  model: 'test',
});

/** A shard says this often what it wants and how much memory it has. */
function measure(bench: Bench, shardId: string, demand: number, memoryBytes = 0, times = 30): void {
  const sample = { shardId, atMs: 0, fuelUsed: 1n, fuelPerSecond: 1, memoryBytes, capsuleBytes: 0 };
  for (let i = 0; i < times; i++)
    bench.applyAll(bench.feed({ kind: 'progress', sample: { ...sample, demand } }));
}

describe('measured use', () => {
  function two(): Bench {
    const bench = new Bench({ slotsPerWorker: 2 });
    bench.node('a');
    bench.node('b');
    for (const id of ['s1', 's2']) bench.applyAll(bench.shard(id));
    bench.nodesAct();
    return bench;
  }

  it('the next shard goes where little is done, not where few shards are', () => {
    const bench = two();
    const sleeper = bench.on('b')[0] ?? '';
    bench.applyAll(bench.shard('s3'));
    expect(bench.on('a').length).toBe(2); // equal: by name
    bench.applyAll(bench.shard('s4'));
    bench.nodesAct();
    const sleepers = bench.on('b');
    expect(sleepers).toContain(sleeper);
    for (const id of sleepers) measure(bench, id, 0);
    bench.applyAll(bench.shard('s5'));
    expect(bench.on('b')).toContain('s5');
    expect([bench.on('a').length, bench.on('b').length]).toEqual([2, 3]);
  });

  it('shards that sleep leave their slots to others; those that work do not', () => {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.node('a');
    bench.applyAll(bench.shard('s1'));
    bench.nodesAct();
    measure(bench, 's1', 0);
    bench.applyAll(bench.shard('s2'));
    expect(bench.on('a')).toEqual(['s1']); // an eighth of the core is still kept for it
    const wide = new Bench({ slotsPerWorker: 2 });
    wide.node('a');
    for (const id of ['s1', 's2']) wide.applyAll(wide.shard(id));
    wide.nodesAct();
    wide.applyAll(wide.shard('s3'));
    expect(wide.on('a')).toEqual(['s1', 's2']);
    measure(wide, 's1', 0);
    measure(wide, 's2', 0.4);
    expect(wide.on('a')).toEqual(['s1', 's2', 's3']);
  });

  it('one odd measurement is not believed', () => {
    const bench = new Bench({ slotsPerWorker: 2 });
    bench.node('a');
    for (const id of ['s1', 's2']) bench.applyAll(bench.shard(id));
    bench.nodesAct();
    bench.shard('s3');
    measure(bench, 's1', 0.6, 0, 1);
    expect(bench.on('a')).toEqual(['s1', 's2']);
  });

  it('memory that a shard has grown to since its last commit counts', () => {
    const bench = new Bench({ slotsPerWorker: 9, shardMemoryBytes: MIB });
    bench.node('a', { memoryBytes: 100 * MIB });
    bench.applyAll(bench.shard('s1'));
    bench.nodesAct();
    measure(bench, 's1', 1, 70 * MIB, 1);
    bench.applyAll(bench.shard('s2', { memoryBytes: 40 * MIB }));
    expect(bench.on('a')).toEqual(['s1']);
    bench.applyAll(bench.shard('s1', { status: 'done', owner: null }));
    expect(bench.on('a')).toEqual(['s2']);
  });

  it('makes room by the shard that frees most', () => {
    const bench = new Bench({ slotsPerWorker: 2 });
    bench.node('a');
    for (const id of ['busy', 'sleepy', 'third']) bench.applyAll(bench.shard(id));
    bench.nodesAct();
    measure(bench, 'sleepy', 0.3);
    measure(bench, 'busy', 1);
    bench.nodesAct();
    expect(bench.on('a')).toEqual(['busy', 'sleepy']);
    bench.shard('high', { priority: 3, memoryBytes: 0 });
    expect(bench.of('preempt')).toMatchObject([{ shardId: 'busy' }]);
  });

  it.each([
    ['of any demand', fc.double()],
    ['of demands from 0 to 1', fc.double({ min: 0, max: 1 })],
  ])('sums stay right in any history %s', (_what, demand) => {
    const step = fc.record({ id: fc.nat(5), demand, bytes: fc.nat(50 * MIB), end: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const bench = new Bench({ slotsPerWorker: 9 });
        bench.node('a', { memoryBytes: 1_000 * MIB });
        for (let i = 0; i < 6; i++) bench.applyAll(bench.shard(`s${i}`));
        bench.nodesAct();
        for (const { id, demand: wanted, bytes, end } of steps) {
          measure(bench, `s${id}`, wanted, bytes, 3);
          if (end === 0) bench.applyAll(bench.shard(`s${id}`, { status: 'done', owner: null }));
        }
        for (let i = 0; i < 6; i++)
          bench.applyAll(bench.shard(`s${i}`, { status: 'done', owner: null }));
        // All are gone: as empty as a new node, to the last bit.
        bench.applyAll(bench.shard('last', { memoryBytes: 1_000 * MIB }));
        expect(bench.on('a')).toEqual(['last']);
        expect(bench.of('assign').at(-1)?.why).toBe('least loaded: 0.00 a core');
      }),
    );
  });
});

describe('a predicted bottleneck', () => {
  it('leaves alone what is about to end, and what sleeps, and moves what gains most', () => {
    const bench = crowded(4);
    bench.feed({ kind: 'shard-forecast', forecast: remaining('s0', 50) });
    bench.feed({ kind: 'shard-forecast', forecast: remaining('s1', 9_000) });
    bench.feed({ kind: 'shard-forecast', forecast: remaining('s2', 90_000) });
    bench.feed({ kind: 'shard-forecast', forecast: remaining('s3', 95_000) });
    measure(bench, 's3', 0.1);
    expect(bench.feed({ kind: 'forecast', forecast: forecastOf('a', 0.9) })).toMatchObject([
      { kind: 'migrate', shardId: 's2' },
    ]);
    const ending = crowded(3);
    for (const id of ['s0', 's1', 's2'])
      ending.feed({ kind: 'shard-forecast', forecast: remaining(id, 20) });
    expect(ending.feed({ kind: 'forecast', forecast: forecastOf('a', 0.9) })).toEqual([]);
  });

  it.each([
    [1, 0],
    [2, 1],
  ])(
    'by the oracle: %d shard(s) on one worker, beside a larger empty node: %d move',
    (shards, moves) => {
      const bench = crowded(shards);
      bench.node('b', { workers: 4 });
      const oracle = new Oracle();
      const record = bench.nodes.get('a')!.record;
      const values = { ...record.sample, cpu: 1, guestCpu: 1, runnable: shards };
      bench.node('a', { sample: values });
      for (let i = 0; i < 60; i++) {
        bench.pass(500);
        const capacity = { cores: 1, memoryBytes: 0 };
        oracle.observe({ nodeId: 'a', atMs: bench.nowMs, values }, capacity);
        bench.applyAll(bench.feed({ kind: 'forecast', forecast: oracle.forecast('a', 5_000)! }));
      }
      expect(bench.of('migrate').length).toBe(moves);
    },
  );
});
