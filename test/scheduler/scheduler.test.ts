/** The scheduler's decisions, one by one, and that it issues nothing twice. */
import { describe, expect, it } from 'vitest';
import type { BrainAction } from '../../host/types/brain.js';
import { forecastOf, owned, queued } from '../protocol/records.js';
import { Bench, crowded, MIB } from './bench.js';

const kinds = (actions: readonly BrainAction[]): string[] => actions.map((action) => action.kind);

describe('placing', () => {
  it('on the least loaded node, for each of its workers', () => {
    const bench = new Bench();
    bench.node('a', { workers: 1 });
    bench.node('b', { workers: 4 });
    for (const id of ['s1', 's2', 's3', 's4', 's5']) bench.applyAll(bench.shard(id));
    expect([bench.on('a').length, bench.on('b').length]).toEqual([1, 4]);
  });

  it('by priority, then by age', () => {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.shard('old');
    bench.nowMs = 100;
    bench.shard('new');
    bench.shard('urgent', { priority: 1 });
    const order: string[] = [];
    for (const id of ['a', 'b', 'c'])
      order.push(...bench.node(id).flatMap((a) => (a.kind === 'assign' ? [a.shardId] : [])));
    expect(order).toEqual(['urgent', 'old', 'new']);
  });

  it('waiting long enough outweighs a step of priority', () => {
    const bench = new Bench({ slotsPerWorker: 1, ageingMs: 1_000 });
    bench.shard('patient');
    bench.pass(1_100);
    bench.shard('urgent', { priority: 1 });
    expect(bench.node('a')[0]).toMatchObject({ kind: 'assign', shardId: 'patient' });
  });

  it('never beyond the memory of a node, and says so', () => {
    const bench = new Bench({ slotsPerWorker: 9, shardMemoryBytes: 10 * MIB });
    bench.node('a', { memoryBytes: 100 * MIB });
    bench.applyAll(bench.shard('big', { memoryBytes: 70 * MIB }));
    bench.applyAll(bench.shard('second', { memoryBytes: 40 * MIB }));
    bench.applyAll(bench.shard('small'));
    expect(bench.on('a')).toEqual(['big', 'small']);
    expect(bench.scheduler.why('second')).toBe('needs 40 MiB: no node has that much free');
    bench.applyAll(bench.node('b', { memoryBytes: 50 * MIB }));
    expect(bench.on('b')).toEqual(['second']);
  });

  it('finds the one node with enough memory among many that are less loaded', () => {
    const bench = new Bench({ slotsPerWorker: 9 });
    for (let i = 0; i < 50; i++) bench.node(`n${i}`, { memoryBytes: 32 * MIB });
    bench.node('huge', { memoryBytes: 900 * MIB });
    bench.put(owned('huge', 1, { id: 'there', status: 'running' }));
    bench.applyAll(bench.shard('s', { memoryBytes: 500 * MIB }));
    expect(bench.on('huge')).toEqual(['there', 's']);
  });

  it('not on draining, lost or unproven nodes', () => {
    const bench = new Bench();
    bench.node('draining', { draining: true });
    bench.node('stale', { beat: 700 });
    bench.node('dead');
    bench.feed({ kind: 'node-dead', nodeId: 'dead' });
    expect(kinds(bench.shard('s'))).toEqual(['explain']);
    expect(bench.scheduler.why('s')).toBe('no node is up that takes shards');
    expect(bench.node('stale')).toMatchObject([{ kind: 'assign', node: 'stale' }]);
  });

  it('counts what is on its way', () => {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.node('a');
    bench.node('b');
    const first = bench.shard('s1');
    const second = bench.shard('s2');
    expect(kinds([...first, ...second])).toEqual(['assign', 'assign']);
    expect(first[0]).not.toMatchObject({ node: (second[0] as { node: string }).node });
    expect(kinds(bench.shard('s3'))).toEqual(['explain']);
  });
});

describe('in flight', () => {
  it('nothing is decided twice while an action is under way, whatever is seen', () => {
    const bench = new Bench();
    bench.node('a');
    expect(kinds(bench.shard('s'))).toEqual(['assign']);
    expect(bench.pass(1_900)).toEqual([]);
    const seen = bench.shards.get('s');
    if (seen !== undefined) expect(bench.feed({ kind: 'shard', seen })).toEqual([]);
  });

  it.each(['ok', 'conflict', 'unknown'] as const)(
    'after %s it waits for the newer record',
    (outcome) => {
      const bench = new Bench();
      bench.node('a');
      const [action] = bench.shard('s');
      expect(bench.feed({ kind: 'action-done', actionId: action?.id ?? '', outcome })).toEqual([]);
      expect(kinds(bench.shard('s', { reason: 'somebody wrote' }))).toEqual(['assign']);
    },
  );

  it('an action without visible effect is decided anew, with the same name', () => {
    const bench = new Bench();
    bench.node('a');
    const [action] = bench.shard('s');
    bench.forget(action?.id ?? '');
    expect(bench.pass(2_100)).toMatchObject([{ kind: 'assign', id: action?.id }]);
  });

  it('old and repeated records change nothing', () => {
    const bench = new Bench();
    bench.node('a');
    bench.applyAll(bench.shard('s'));
    expect(bench.feed({ kind: 'shard', seen: { record: queued('s'), revision: 1 } })).toEqual([]);
    expect(bench.scheduler.stats.queued).toBe(0);
  });
});

describe('recovery', () => {
  const running = (bench: Bench): void => {
    bench.node('a');
    bench.applyAll(bench.shard('s'));
    bench.nodesAct();
  };

  it('at once when the process is known to be dead, once', () => {
    const bench = new Bench();
    running(bench);
    expect(bench.feed({ kind: 'node-dead', nodeId: 'a' })).toMatchObject([
      { kind: 'recover', shardId: 's', lost: 'a' },
    ]);
    expect(bench.feed({ kind: 'node-dead', nodeId: 'a' })).toEqual([]);
    expect(bench.feed({ kind: 'node-gone', nodeId: 'a' })).toEqual([]);
  });

  it('when the lease ran out; other nodes keep theirs', () => {
    const bench = new Bench();
    running(bench);
    bench.node('b');
    expect(kinds(bench.pass(2_900, ['b']))).toEqual([]);
    const actions = bench.pass(200, ['b']);
    expect(actions).toMatchObject([{ kind: 'recover', lost: 'a' }]);
    bench.applyAll(actions);
    expect(bench.on('b')).toEqual(['s']);
  });

  it('of shards whose owner nobody has ever seen, after one lease', () => {
    const bench = new Bench();
    bench.put(owned('ghost', 4, { id: 's', status: 'running' }));
    expect(bench.pass(2_900)).toEqual([]);
    expect(bench.pass(300)).toMatchObject([{ kind: 'recover', lost: 'ghost' }]);
  });

  it('of a shard that was assigned to a node just before that died', () => {
    const bench = new Bench();
    bench.node('a');
    const actions = bench.shard('s');
    bench.feed({ kind: 'node-dead', nodeId: 'a' });
    expect(actions.flatMap((action) => bench.apply(action))).toMatchObject([
      { kind: 'recover', lost: 'a' },
    ]);
  });

  it('also while a request waits for its owner', () => {
    const bench = new Bench();
    running(bench);
    bench.shard('s', { wanted: { op: 'pause', actionId: 'p', atFuel: null } });
    expect(kinds(bench.feed({ kind: 'node-dead', nodeId: 'a' }))).toEqual(['recover']);
  });

  it('supersedes a migration that is in flight', () => {
    const bench = new Bench();
    running(bench);
    bench.node('b');
    expect(kinds(bench.feed({ kind: 'request-move', shardId: 's', target: 'b' }))).toEqual([
      'migrate',
    ]);
    expect(kinds(bench.feed({ kind: 'node-dead', nodeId: 'a' }))).toEqual(['recover']);
  });

  it('a node that comes back before its shards were taken keeps them', () => {
    const bench = new Bench();
    running(bench);
    const actions = bench.pass(3_200, []);
    expect(kinds(actions)).toEqual(['recover']);
    bench.node('a');
    bench.shard('s', { fuelUsed: 5n });
    expect(bench.pass(5_000)).toEqual([]);
  });
});

describe('preemption', () => {
  function full(): Bench {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.node('a');
    bench.applyAll(bench.shard('low', { priority: 1 }));
    bench.nodesAct();
    return bench;
  }

  it('a higher priority gets the place of a lower one, once it is free', () => {
    const bench = full();
    const actions = bench.shard('high', { priority: 2 });
    expect(actions).toMatchObject([
      { kind: 'preempt', shardId: 'low', by: 'high' },
      { kind: 'explain' },
    ]);
    expect(bench.scheduler.why('high')).toBe('waiting for low to make room');
    bench.applyAll(actions);
    expect(bench.pass(1_000)).toEqual([]);
    bench.nodesAct();
    expect(bench.on('a')).toEqual(['high']);
    expect(bench.of('preempt').length).toBe(1);
  });

  it('not for the same priority', () => {
    expect(kinds(full().shard('same', { priority: 1 }))).toEqual(['explain']);
  });

  it('one victim for each that waits, the cheapest first', () => {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.node('a', { workers: 3 });
    for (const [id, priority, memoryBytes] of [
      ['x', 0, 9 * MIB],
      ['y', 0, MIB],
      ['z', 1, MIB],
    ] as const) {
      bench.applyAll(bench.shard(id, { priority, memoryBytes }));
    }
    bench.nodesAct();
    bench.applyAll(bench.shard('h1', { priority: 5 }));
    bench.applyAll(bench.shard('h2', { priority: 5 }));
    expect(bench.of('preempt').map((a) => a.shardId)).toEqual(['y', 'x']);
    bench.nodesAct();
    expect(new Set(bench.on('a'))).toEqual(new Set(['z', 'h1', 'h2']));
  });
});

describe('draining', () => {
  it('moves everything off, also onto full nodes, but not beyond memory', () => {
    const bench = new Bench({ slotsPerWorker: 1 });
    bench.node('a', { workers: 2 });
    bench.applyAll([...bench.shard('s1'), ...bench.shard('s2', { memoryBytes: 90 * MIB })]);
    bench.nodesAct();
    bench.node('b', { memoryBytes: 50 * MIB });
    bench.applyAll(bench.shard('s3'));
    bench.nodesAct();
    bench.applyAll(bench.node('a', { draining: true }));
    bench.nodesAct();
    expect([bench.on('a'), bench.on('b')]).toEqual([['s2'], ['s1', 's3']]);
    expect(bench.all.at(-1)).toMatchObject({ kind: 'explain', shardId: 's2' });
    bench.applyAll(bench.node('c', { memoryBytes: 200 * MIB }));
    bench.nodesAct();
    expect(bench.on('c')).toEqual(['s2']);
  });
});

describe('a client asks for a move', () => {
  function two(): Bench {
    const bench = new Bench();
    bench.node('a');
    bench.applyAll(bench.shard('s'));
    bench.nodesAct();
    bench.node('b');
    return bench;
  }

  it('to a node, or wherever it is best', () => {
    for (const target of ['b', null]) {
      const bench = two();
      expect(bench.feed({ kind: 'request-move', shardId: 's', target })).toMatchObject([
        { kind: 'migrate', target: 'b' },
      ]);
    }
  });

  it('places a waiting shard there', () => {
    const bench = new Bench({ slotsPerWorker: 0 });
    bench.node('a');
    bench.shard('s');
    expect(bench.feed({ kind: 'request-move', shardId: 's', target: 'a' })).toMatchObject([
      { kind: 'assign', node: 'a' },
    ]);
  });

  it.each([
    ['a', 'is on a already'],
    ['nowhere', 'nowhere takes no shards'],
  ])('to %s: says why not', (target, why) => {
    expect(two().feed({ kind: 'request-move', shardId: 's', target })).toMatchObject([
      { kind: 'explain', why },
    ]);
  });

  it.each(['b', null])('to %s: again when a checkpoint came before the request', (target) => {
    const bench = two();
    const [late] = bench.feed({ kind: 'request-move', shardId: 's', target });
    const again = bench.shard('s', { fuelUsed: 5n });
    expect(again).toMatchObject([{ kind: 'migrate', target: 'b' }]);
    expect(bench.apply(late as BrainAction)).toEqual([]);
    bench.applyAll(again);
    bench.nodesAct();
    expect(bench.on('b')).toEqual(['s']);
    expect(bench.shard('s', { fuelUsed: 9n })).toEqual([]);
    expect(bench.of('migrate').length).toBe(2);
  });

  it('once, when its owner drains and the request came too late', () => {
    const bench = two();
    bench.feed({ kind: 'request-move', shardId: 's', target: null });
    bench.node('a', { draining: true });
    expect(kinds(bench.shard('s', { fuelUsed: 5n }))).toEqual(['migrate']);
  });

  it('not again when only the last of many records of the move was seen', () => {
    const bench = two();
    bench.feed({ kind: 'request-move', shardId: 's', target: null });
    bench.shard('s', { owner: 'b', epoch: 2, moves: 1, status: 'assigned' });
    expect(bench.shard('s', { owner: 'a', epoch: 3, moves: 2 })).toEqual([]);
    expect(bench.of('migrate').length).toBe(1);
  });

  it('again with the same name when nothing was heard of the action', () => {
    const bench = two();
    const [lost] = bench.feed({ kind: 'request-move', shardId: 's', target: null });
    bench.forget(lost?.id ?? '');
    expect(bench.pass(2_500).map(({ id }) => id)).toEqual([lost?.id]);
  });

  it('waits until another request is answered', () => {
    const bench = two();
    bench.shard('s', { wanted: { op: 'preempt', actionId: 'x' } });
    expect(bench.feed({ kind: 'request-move', shardId: 's', target: 'b' })).toEqual([]);
    expect(bench.shard('s', { wanted: null })).toMatchObject([{ kind: 'migrate', target: 'b' }]);
  });
});

describe('a predicted bottleneck', () => {
  it('moves the smallest shard to where it gains', () => {
    const bench = crowded(3);
    expect(bench.feed({ kind: 'forecast', forecast: forecastOf('a', 0.3) })).toEqual([]);
    const actions = bench.feed({ kind: 'forecast', forecast: forecastOf('a', 0.9) });
    expect(actions).toMatchObject([{ kind: 'migrate', shardId: 's0', target: 'b' }]);
    expect(bench.feed({ kind: 'forecast', forecast: forecastOf('a', 0.9) })).toEqual([]);
  });

  it('does not move what gains nothing', () => {
    expect(crowded(1).feed({ kind: 'forecast', forecast: forecastOf('a', 1) })).toEqual([]);
  });

  it('not before a shard has settled', () => {
    const bench = crowded(3);
    bench.applyAll(bench.feed({ kind: 'forecast', forecast: forecastOf('a', 1) }));
    bench.nodesAct();
    bench.feed({ kind: 'forecast', forecast: forecastOf('b', 1) });
    expect(bench.of('migrate').length).toBe(1);
  });

  it('nothing bounces, however long everybody is in alarm', () => {
    const bench = crowded(4);
    for (let i = 0; i < 60; i++) {
      bench.pass(1_200);
      for (const id of ['a', 'b'])
        bench.applyAll(bench.feed({ kind: 'forecast', forecast: forecastOf(id, 1) }));
      bench.nodesAct();
    }
    expect([bench.on('a').length, bench.on('b').length]).toEqual([2, 2]);
    expect(bench.of('migrate').length).toBe(2);
  });

  it('counts the work of others', () => {
    const bench = new Bench({ slotsPerWorker: 9 });
    bench.node('a', { workers: 2 });
    bench.node('b', { workers: 2 });
    bench.feed({ kind: 'forecast', forecast: forecastOf('a', 0.1, 1.5) });
    bench.applyAll(bench.shard('s'));
    expect(bench.on('b')).toEqual(['s']);
  });
});

describe('rebuilt from records', () => {
  it('a new scheduler goes on where the old one stopped', () => {
    const old = new Bench({ slotsPerWorker: 1 });
    old.node('a');
    old.node('b');
    for (const id of ['s1', 's2', 's3']) old.applyAll(old.shard(id));
    old.nodesAct();
    const fresh = new Bench({ slotsPerWorker: 1 });
    for (const { record } of old.nodes.values()) fresh.node(record.id, record);
    for (const { record } of old.shards.values()) fresh.put(record);
    expect(fresh.of('assign')).toEqual([]);
    expect(fresh.scheduler.why('s3')).toBe('every node is full (2 up)');
    fresh.applyAll(
      fresh.put({ ...(fresh.shards.get('s1')?.record ?? queued()), status: 'done', owner: null }),
    );
    expect(fresh.of('assign')).toMatchObject([{ shardId: 's3' }]);
  });
});
