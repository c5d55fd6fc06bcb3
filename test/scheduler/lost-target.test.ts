/** A move whose target dies, goes or drains: before the owner answered, and before the target took the shard up. */
import { describe, expect, it } from 'vitest';
import type { BrainAction } from '../../host/types/brain.js';
import type { Wanted } from '../../host/types/records.js';
import { owned } from '../protocol/records.js';
import { Bench } from './bench.js';

const kinds = (actions: readonly BrainAction[]): string[] => actions.map((action) => action.kind);

describe('the target of a move is lost', () => {
  /** `s` runs on a; b and, when asked for, c are there too. */
  function three(nodes = ['a', 'b', 'c']): Bench {
    const bench = new Bench();
    bench.node('a');
    bench.applyAll(bench.shard('s'));
    bench.nodesAct();
    for (const id of nodes) bench.node(id);
    return bench;
  }

  it.each<[string, (bench: Bench) => BrainAction[]]>([
    ['dies', (bench) => bench.feed({ kind: 'node-dead', nodeId: 'b' })],
    ['goes', (bench) => bench.feed({ kind: 'node-gone', nodeId: 'b' })],
    ['drains', (bench) => bench.node('b', { draining: true })],
    ['falls silent', (bench) => bench.pass(3_200, ['a', 'c'])],
  ])('it %s before the owner answered: the move is taken back', (_how, lose) => {
    const bench = three();
    bench.applyAll(bench.feed({ kind: 'request-move', shardId: 's', target: 'b' }));
    const actions = lose(bench);
    expect(actions).toMatchObject([{ kind: 'cancel', shardId: 's' }]);
    bench.applyAll(actions);
    const { record } = bench.shards.get('s')!;
    expect([record.owner, record.wanted, record.restarts]).toEqual(['a', null, 0]);
    expect(bench.pass(5_000, ['a', 'c'])).toEqual([]);
  });

  it('a target that nobody has ever seen has one lease to show up', () => {
    const bench = three();
    bench.shard('s', { wanted: { op: 'move', actionId: 'm', target: 'ghost' } });
    expect(bench.pass(2_900)).toEqual([]);
    expect(bench.pass(300)).toMatchObject([{ kind: 'cancel', request: 'm' }]);
  });

  it('before the action was carried out: taken back as soon as the request shows', () => {
    const bench = three();
    const [migrate] = bench.feed({ kind: 'request-move', shardId: 's', target: 'b' });
    expect(bench.feed({ kind: 'node-dead', nodeId: 'b' })).toEqual([]);
    expect(bench.apply(migrate!)).toMatchObject([{ kind: 'cancel' }]);
  });

  it('a node that must be emptied sends its shards elsewhere instead', () => {
    const bench = three();
    bench.applyAll(bench.node('a', { draining: true }));
    const target = (bench.shards.get('s')!.record.wanted as { target: string }).target;
    const other = target === 'b' ? 'c' : 'b';
    const actions = bench.feed({ kind: 'node-dead', nodeId: target });
    expect(actions).toMatchObject([{ kind: 'migrate', target: other }]);
    bench.applyAll(actions);
    bench.nodesAct();
    expect(bench.on(other)).toEqual(['s']);
  });

  it('after the hand-over, before it took it up: straight to another node, which is no restart', () => {
    const bench = three();
    bench.put({ ...owned('b', 2, { id: 's', moves: 1, fuelUsed: 9n }) });
    const actions = bench.feed({ kind: 'node-dead', nodeId: 'b' });
    expect(actions).toMatchObject([{ kind: 'redirect', lost: 'b' }]);
    bench.applyAll(actions);
    const { record } = bench.shards.get('s')!;
    expect([record.status, record.epoch, record.moves, record.restarts]).toEqual([
      'assigned',
      3,
      1,
      0,
    ]);
    expect(['a', 'c']).toContain(record.owner);
    bench.nodesAct();
    expect(bench.pass(10_000, ['a', 'c'])).toEqual([]);
  });

  it('again, when the next one is lost too', () => {
    const bench = three();
    bench.put(owned('b', 2, { id: 's' }));
    bench.applyAll(bench.feed({ kind: 'node-dead', nodeId: 'b' }));
    const next = bench.shards.get('s')!.record.owner ?? '';
    bench.applyAll(bench.feed({ kind: 'node-dead', nodeId: next }));
    expect(bench.of('redirect').length).toBe(2);
    expect(bench.on(next)).toEqual([]);
  });

  it('with no place left it is recovered, and waits in the queue', () => {
    const bench = three(['b']);
    bench.put(owned('b', 2, { id: 's' }));
    bench.feed({ kind: 'node-dead', nodeId: 'a' });
    const actions = bench.feed({ kind: 'node-dead', nodeId: 'b' });
    expect(actions).toMatchObject([{ kind: 'recover', lost: 'b' }]);
  });

  it.each<[string, Wanted, string]>([
    ['a pause', { op: 'pause', actionId: 'p', atFuel: null }, 'recover'],
    ['a kill', { op: 'kill', actionId: 'k' }, 'recover'],
    ['a pause at a fuel value', { op: 'pause', actionId: 'p', atFuel: 9n }, 'redirect'],
    ['a preemption', { op: 'preempt', actionId: 'x' }, 'redirect'],
  ])('%s that is asked for meanwhile', (_what, wanted, expected) => {
    const bench = three();
    bench.put(owned('b', 2, { id: 's', wanted }));
    const actions = bench.feed({ kind: 'node-dead', nodeId: 'b' });
    expect(kinds(actions)).toEqual([expected]);
    bench.applyAll(actions);
  });
});
