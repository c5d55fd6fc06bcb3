/**
 * A move whose memory is staged first: when it is, what the guest does meanwhile, and every way in which it is not completed.
 */
import { describe, expect, it } from 'vitest';
import type { LifePolicy } from '../../host/protocol/life-types.js';
import type { Wanted } from '../../host/types/records.js';
import { Rig } from './rig.js';

const MOVE: Wanted = { op: 'move', actionId: 'm', target: 'b' };
const MAX_MS = 5_000;

/** A shard of 1,000 bytes that has been running for a while and is to move. */
function moving(policy: Partial<LifePolicy> = {}): Rig {
  const rig = new Rig({ stageFromBytes: 1_000, stageMaxMs: MAX_MS, ...policy });
  rig.memoryBytes = 1_000;
  rig.started();
  rig.run(5);
  rig.want(MOVE);
  rig.see();
  return rig;
}

const since = (rig: Rig, kind: string): string[] => rig.kinds().slice(rig.kinds().indexOf(kind));

describe('a staged move', () => {
  it('stages, then stops for what is left, then hands over', () => {
    const rig = moving();
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
    expect(rig.open[0]).toMatchObject({ runId: rig.runId, target: 'b', epoch: 1 });
    rig.settle();
    expect(since(rig, 'stage')).toEqual(['stage', 'capture', 'store', 'cas', 'drop', 'hint']);
    const stage = rig.all.find(({ kind }) => kind === 'stage') as { opId: string };
    expect(rig.all.find(({ kind }) => kind === 'capture')).toMatchObject({
      hold: true,
      staged: stage.opId,
    });
    expect(rig.truth.record).toMatchObject({ status: 'assigned', owner: 'b', epoch: 2 });
  });

  it('a smaller memory moves at once', () => {
    const rig = moving({ stageFromBytes: 1_001 });
    expect(rig.open.map(({ kind }) => kind)).toEqual(['capture']);
    expect(rig.take('capture').staged).toBeNull();
  });

  it('the guest runs and commits its output meanwhile', () => {
    const rig = moving();
    const stage = rig.take('stage');
    rig.run(5, 3);
    rig.later(50);
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: null }]);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ owner: 'a', wanted: MOVE, output: { bytes: 3 } });
    rig.feed({ kind: 'staged', opId: stage.opId, ready: true });
    rig.settle();
    expect(rig.truth.record).toMatchObject({ owner: 'b', status: 'assigned' });
  });

  it('makes no checkpoint meanwhile for what it has only computed', () => {
    const rig = moving();
    const stage = rig.take('stage');
    for (let i = 0; i < 4; i++) {
      rig.run(5);
      rig.later(1_000);
    }
    expect(rig.open).toEqual([]);
    rig.feed({ kind: 'staged', opId: stage.opId, ready: false });
    expect(rig.open.map(({ kind }) => kind)).toEqual(['capture']);
  });

  it('that is ready during a checkpoint waits for the commit', () => {
    const rig = moving();
    const stage = rig.take('stage');
    rig.run(5, 3);
    rig.later(50);
    rig.feed({ kind: 'staged', opId: stage.opId, ready: true });
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false }]);
    rig.settle();
    expect(rig.truth.record.owner).toBe('b');
    expect(since(rig, 'stage')).toEqual([
      'stage',
      'capture',
      'store',
      'cas',
      'forget',
      'capture',
      'store',
      'cas',
      'drop',
      'hint',
    ]);
  });

  it('given up, or too long under way: the move is made without it', () => {
    const givenUp = moving();
    givenUp.feed({ kind: 'staged', opId: givenUp.take('stage').opId, ready: false });
    expect(since(givenUp, 'stage')).toEqual(['stage', 'unstage', 'capture']);
    const late = moving();
    expect(late.life.wakeAtMs).toBeLessThanOrEqual(late.nowMs + MAX_MS);
    late.later(MAX_MS);
    expect(since(late, 'stage')).toEqual(['stage', 'unstage', 'capture']);
    for (const rig of [givenUp, late]) {
      expect(rig.take('capture')).toMatchObject({ hold: true, staged: null });
    }
  });

  it.each([
    ['a pause', { op: 'pause', actionId: 'p', atFuel: null }, 'capture'],
    ['a preemption', { op: 'preempt', actionId: 'p' }, 'capture'],
    ['nothing any more', null, undefined],
  ] as const)('ends when %s is wanted instead', (_, wanted, next) => {
    const rig = moving();
    rig.want(wanted);
    rig.see();
    expect(since(rig, 'stage')).toEqual([
      'stage',
      'unstage',
      ...(next === undefined ? [] : [next]),
    ]);
    if (next !== undefined) expect(rig.take('capture').staged).toBeNull();
  });

  it('a kill, the end of the guest and a crash end it without a word: what is dropped has no staging', () => {
    const killed = moving();
    killed.want({ op: 'kill', actionId: 'k' });
    killed.see();
    expect(since(killed, 'stage')).toEqual(['stage', 'drop', 'cas']);
    const ended = moving();
    ended.end();
    ended.settle();
    expect(ended.truth.record.status).toBe('done');
    const crashed = moving();
    crashed.feed({ kind: 'crashed', runId: crashed.runId, message: 'boom', remedy: 'retry' });
    crashed.later(2_000);
    crashed.settle();
    expect(crashed.truth.record.owner).toBe('b');
  });

  it('begins anew for another target', () => {
    const rig = moving();
    rig.want({ op: 'move', actionId: 'n', target: 'c' });
    rig.see();
    expect(since(rig, 'stage')).toEqual(['stage', 'unstage', 'stage']);
    expect(rig.take('stage').target).toBe('c');
  });

  it('a node that goes down does not wait for it', () => {
    const rig = moving();
    rig.feed({ kind: 'stop' });
    expect(rig.open.map(({ kind }) => kind)).toContain('capture');
    expect(rig.take('capture')).toMatchObject({ hold: true, staged: null });
  });

  it('a late answer for a staging that was forgotten is nothing', () => {
    const rig = moving();
    const first = rig.take('stage');
    rig.want({ op: 'move', actionId: 'n', target: 'c' });
    rig.see();
    rig.feed({ kind: 'staged', opId: first.opId, ready: true });
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
  });
});
