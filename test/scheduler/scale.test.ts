/** 1,000 nodes and 10,000 shards: decisions take a logarithm of comparisons; a random history keeps the limits. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forecastOf } from '../protocol/records.js';
import { Bench } from './bench.js';

const NODES = 1_000;
const SHARDS = 10_000;

describe('scale', () => {
  it('places, refuses, loses and ends with O(log n) comparisons an event', () => {
    const bench = new Bench({ slotsPerWorker: 2 });
    const { scheduler } = bench;
    let events = 0;
    let compares = scheduler.stats.compares;
    const perEvent = (count: number): number => {
      const used = (scheduler.stats.compares - compares) / count;
      compares = scheduler.stats.compares;
      return used;
    };
    for (let i = 0; i < NODES; i++) bench.node(`n${i}`, { workers: 4 });
    expect(perEvent(NODES)).toBeLessThan(2 * Math.log2(NODES));
    for (let i = 0; i < SHARDS; i++) {
      bench.applyAll(bench.shard(`s${i}`, { priority: i % 5 }));
      events += 1;
    }
    const log = Math.log2(SHARDS);
    // 8,000 find a place; those that do not cost a look at 16 of the waiting, each time that something changed.
    expect(perEvent(events)).toBeLessThan(16 * log);
    const placed = bench.of('assign').length;
    expect(placed).toBeGreaterThanOrEqual(8_000);
    // A beat that changes nothing looks at nothing.
    for (let i = 0; i < NODES; i++) bench.node(`n${i}`);
    expect(perEvent(NODES)).toBeLessThan(log);
    const load = new Map<string | null, number>();
    for (const { record } of bench.shards.values())
      load.set(record.owner, (load.get(record.owner) ?? 0) + 1);
    load.delete(null);
    expect([load.size, Math.min(...load.values()), Math.max(...load.values())]).toEqual([
      NODES,
      8,
      8,
    ]);
  });

  it('keeps memory and slots, places everything that fits, and issues nothing twice, in any history', () => {
    const event = fc.record({
      kind: fc.constantFrom(
        'shard',
        'shard',
        'node',
        'act',
        'act',
        'done',
        'dead',
        'drain',
        'pass',
        'move',
        'alarm',
      ),
      n: fc.nat(5),
      s: fc.nat(11),
      priority: fc.nat(2),
      memory: fc.integer({ min: 1, max: 60 }),
    });
    const MIB = 1_048_576;
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const bench = new Bench({ slotsPerWorker: 2, shardMemoryBytes: MIB, settleMs: 100 });
        const dead = new Set<string>();
        const alive = (): string[] => [...bench.nodes.keys()].filter((id) => !dead.has(id));
        for (const e of events) {
          const node = `n${e.n}`;
          const id = `s${e.s}`;
          const record = bench.shards.get(id)?.record;
          switch (e.kind) {
            case 'shard':
              if (record === undefined)
                bench.applyAll(
                  bench.shard(id, { priority: e.priority, memoryBytes: e.memory * MIB }),
                );
              break;
            case 'node':
              if (!dead.has(node))
                bench.applyAll(
                  bench.node(node, { memoryBytes: 100 * MIB, workers: 1 + (e.n % 2) }),
                );
              break;
            case 'act':
              bench.nodesAct();
              break;
            case 'done':
              if (record?.status === 'running')
                bench.applyAll(bench.put({ ...record, status: 'done', owner: null, wanted: null }));
              break;
            case 'dead':
              if (e.s === 0 && bench.nodes.has(node)) {
                dead.add(node);
                bench.applyAll(bench.feed({ kind: 'node-dead', nodeId: node }));
              }
              break;
            case 'drain':
              if (e.s < 3 && bench.nodes.has(node) && !dead.has(node))
                bench.applyAll(bench.node(node, { draining: e.s > 0 }));
              break;
            case 'pass':
              bench.applyAll(bench.pass(200, alive()));
              break;
            case 'move':
              bench.applyAll(
                bench.feed({
                  kind: 'request-move',
                  shardId: id,
                  target: e.memory > 30 ? node : null,
                }),
              );
              break;
            case 'alarm': {
              const forecast = forecastOf(node, 1, 9);
              bench.applyAll(bench.feed({ kind: 'forecast', forecast }));
              break;
            }
          }
          for (const [nodeId, seen] of bench.nodes) {
            const shards = bench.on(nodeId).map((shardId) => bench.shards.get(shardId)?.record);
            const bytes = shards.reduce(
              (sum, shard) => sum + Math.max(MIB, shard?.memoryBytes ?? 0),
              0,
            );
            expect(bytes).toBeLessThanOrEqual(seen.record.memoryBytes);
            if (dead.has(nodeId)) expect(shards).toEqual([]);
          }
        }
        for (let i = 0; i < 6; i++) {
          bench.nodesAct();
          bench.applyAll(bench.pass(2_500, alive()));
        }
        for (const { record } of bench.shards.values()) {
          if (record.status !== 'queued') continue;
          expect(bench.scheduler.why(record.id)).toMatch(
            /no node is up|full|no node has that much|make room/,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});
