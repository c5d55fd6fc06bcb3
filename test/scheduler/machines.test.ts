/** Nodes that share a machine: its cores and its memory are there once, and moving between them makes none. */
import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../../host/types/records.js';
import { forecastOf } from '../protocol/records.js';
import { Bench, MIB } from './bench.js';

const M = { id: 'm', cores: 2 };

function bench(nodes: Record<string, Partial<NodeRecord>>, slotsPerWorker = 2): Bench {
  const made = new Bench({ slotsPerWorker, settleMs: 1_000, shardMemoryBytes: MIB });
  for (const [id, change] of Object.entries(nodes)) made.node(id, change);
  return made;
}

const submit = (made: Bench, ...ids: string[]): void => {
  for (const id of ids) made.applyAll(made.shard(id));
  made.nodesAct();
};

/** Every node tells of contention again and again. */
function alarms(made: Bench, rounds = 30): void {
  for (let i = 0; i < rounds; i++) {
    made.pass(1_200);
    for (const id of made.nodes.keys()) {
      const { machine } = made.nodes.get(id)!.record;
      const change = { crowded: true, ...(machine === undefined ? {} : { machine }) };
      made.applyAll(made.feed({ kind: 'forecast', forecast: forecastOf(id, 1, 0, change) }));
    }
    made.nodesAct();
  }
}

const counts = (made: Bench, ...ids: string[]): number[] => ids.map((id) => made.on(id).length);

describe('placing', () => {
  it('spreads over the nodes of one machine, and between machines by their cores, not by their nodes', () => {
    const one = bench({ a: { machine: M }, b: { machine: M }, c: { machine: M } }, 6);
    submit(one, 's1', 's2', 's3', 's4', 's5', 's6');
    expect(counts(one, 'a', 'b', 'c')).toEqual([2, 2, 2]);
    const two = bench({
      a: { machine: M },
      b: { machine: M },
      c: { machine: M },
      d: { workers: 2, machine: { id: 'n', cores: 2 } },
    });
    submit(two, 's1', 's2', 's3', 's4');
    expect(counts(two, 'a', 'b', 'c', 'd')).toEqual([1, 1, 0, 2]);
  });

  it('a machine that others keep busy is busy for all its nodes', () => {
    const made = bench({
      a: { machine: M },
      b: { machine: M },
      c: { machine: { id: 'n', cores: 2 } },
    });
    made.feed({ kind: 'forecast', forecast: forecastOf('a', 0.1, 1.5, { machine: M }) });
    submit(made, 's1');
    expect(made.on('c')).toEqual(['s1']);
  });

  it('memory is there once', () => {
    const memoryBytes = 100 * MIB;
    const made = bench({ a: { machine: M, memoryBytes }, b: { machine: M, memoryBytes } });
    made.applyAll(made.shard('s1', { memoryBytes: 70 * MIB }));
    made.applyAll(made.shard('s2', { memoryBytes: 40 * MIB }));
    expect(made.scheduler.why('s2')).toBe('needs 40 MiB: no node has that much free');
    made.applyAll(made.shard('s3', { memoryBytes: 30 * MIB }));
    expect(made.on('b')).toEqual(['s3']);
    made.applyAll(made.shard('s1', { status: 'done', owner: null }));
    expect([...made.on('a'), ...made.on('b')].sort()).toEqual(['s2', 's3']);
  });

  it('a node that is gone leaves nothing behind on its machine', () => {
    const memoryBytes = 100 * MIB;
    const made = bench({ a: { machine: M, memoryBytes }, b: { machine: M, memoryBytes } });
    submit(made, 's1', 's2');
    made.applyAll(made.feed({ kind: 'node-dead', nodeId: 'a' }));
    made.applyAll(made.feed({ kind: 'node-gone', nodeId: 'a' }));
    made.nodesAct();
    expect(made.on('b').sort()).toEqual(['s1', 's2']);
    for (const id of ['s1', 's2']) made.applyAll(made.shard(id, { status: 'done', owner: null }));
    made.applyAll(made.shard('s3', { memoryBytes }));
    expect([made.on('b'), made.of('assign').at(-1)?.why]).toEqual([
      ['s3'],
      'least loaded: 0.00 a core',
    ]);
  });

  it('a node that says another machine takes what it claims along', () => {
    const made = bench({ a: { machine: M }, b: { machine: M } });
    submit(made, 's1', 's2');
    made.node('a', { workers: 2, machine: { id: 'n', cores: 1 } });
    made.applyAll(made.feed({ kind: 'node-dead', nodeId: 'b' }));
    made.applyAll(made.shard('s2', { status: 'done', owner: null }));
    submit(made, 's3');
    expect(made.of('assign').at(-1)?.why).toBe('least loaded: 1.00 a core');
    for (const id of ['s1', 's3']) made.applyAll(made.shard(id, { status: 'done', owner: null }));
    submit(made, 's4');
    expect(made.of('assign').at(-1)?.why).toBe('least loaded: 0.00 a core');
  });
});

describe('a predicted bottleneck', () => {
  it('six shards on two cores and three nodes stay where they are, however long all are in alarm', () => {
    const made = bench({ a: { machine: M }, b: { machine: M }, c: { machine: M } });
    submit(made, 's1', 's2', 's3', 's4', 's5', 's6');
    alarms(made);
    expect([counts(made, 'a', 'b', 'c'), made.of('migrate')]).toEqual([[2, 2, 2], []]);
  });

  it('as many workers as shards are enough: nothing is gained by another node of the machine', () => {
    const made = bench({ a: { workers: 2, machine: M } });
    submit(made, 's1', 's2');
    made.node('b', { workers: 2, machine: M });
    alarms(made);
    expect(made.of('migrate')).toEqual([]);
  });

  it('shards that share a worker are spread over the nodes of the machine, each moved at most once', () => {
    const made = bench({ a: { workers: 3, machine: M } });
    submit(made, 's1', 's2', 's3', 's4', 's5', 's6');
    made.node('a', { workers: 1 });
    made.node('b', { machine: M });
    made.node('c', { machine: M });
    alarms(made);
    expect(counts(made, 'a', 'b', 'c')).toEqual([2, 2, 2]);
    expect(new Set(made.of('migrate').map(({ shardId }) => shardId)).size).toBe(4);
    expect(made.of('migrate').length).toBe(4);
  });

  it('goes to a machine that is free, one shard at a time off all nodes together', () => {
    const made = bench({ a: { machine: M }, b: { machine: M } });
    submit(made, 's1', 's2', 's3', 's4');
    made.node('c', { workers: 2, machine: { id: 'n', cores: 2 } });
    made.pass(1_200);
    for (const id of ['a', 'b', 'a'])
      made.feed({ kind: 'forecast', forecast: forecastOf(id, 1, 0, { machine: M }) });
    expect(made.of('migrate')).toMatchObject([{ target: 'c' }]);
    made.applyAll(made.of('migrate'));
    made.nodesAct();
    alarms(made);
    expect([made.on('c').length, made.on('a').length + made.on('b').length]).toEqual([2, 2]);
    // Whoever is left on m may still spread over its two workers.
    const targets = made.of('migrate').map((action) => ('target' in action ? action.target : ''));
    expect([targets.filter((id) => id === 'c').length, targets.length <= 3]).toEqual([2, true]);
  });

  it('workers that are fewer than cores are what is scarce', () => {
    const made = bench({ a: { machine: { id: 'wide', cores: 64 } } });
    submit(made, 's1', 's2');
    made.node('b', {});
    alarms(made);
    expect(counts(made, 'a', 'b')).toEqual([1, 1]);
  });
});
