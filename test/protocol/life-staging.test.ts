/**
 * Moves and checkpoints whose memory is copied first: when it is, what the guest does meanwhile, and every way in which the copy is
 * not completed.
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
    rig.feed({ kind: 'staged', opId: stage.opId, ready: true, costMs: 1 });
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
    rig.feed({ kind: 'staged', opId: stage.opId, ready: false, costMs: 1 });
    expect(rig.open.map(({ kind }) => kind)).toEqual(['capture']);
  });

  it('that is ready during a checkpoint waits for the commit', () => {
    const rig = moving();
    const stage = rig.take('stage');
    rig.run(5, 3);
    rig.later(50);
    rig.feed({ kind: 'staged', opId: stage.opId, ready: true, costMs: 1 });
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
    givenUp.feed({ kind: 'staged', opId: givenUp.take('stage').opId, ready: false, costMs: 1 });
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
    rig.feed({ kind: 'staged', opId: first.opId, ready: true, costMs: 1 });
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
  });
});

/** A shard of 1,000 bytes whose first checkpoint is due, and computed something. */
function checkpointing(policy: Partial<LifePolicy> = {}): Rig {
  const rig = new Rig({ stageFromBytes: 1_000, stageMaxMs: MAX_MS, checkpointMs: 100, ...policy });
  rig.memoryBytes = 1_000;
  rig.started();
  rig.run(5);
  rig.later(100);
  return rig;
}

/** The next checkpoint of it. */
function again(rig: Rig): void {
  rig.run(5);
  rig.later(100);
}

const committed = (rig: Rig): bigint => rig.truth.record.fuelUsed;

describe('a checkpoint of a large memory', () => {
  it('is of a copy; the guest runs until that is ready, and is committed then', () => {
    const rig = checkpointing();
    expect(rig.open).toMatchObject([{ kind: 'stage', target: null, runId: rig.runId, epoch: 1 }]);
    rig.run(5);
    rig.later(1_000);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
    const { opId } = rig.take('stage');
    rig.feed({ kind: 'staged', opId, ready: true, costMs: 1 });
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: opId }]);
    rig.settle();
    expect(committed(rig)).toBe(10n);
  });

  it('the copy is kept for the next one and for a move, and ends with a pause', () => {
    const rig = checkpointing();
    rig.settle();
    again(rig);
    rig.settle();
    expect(since(rig, 'stage')).toEqual([
      ...['stage', 'capture', 'store', 'cas', 'forget'],
      ...['stage', 'capture', 'store', 'cas', 'forget'],
    ]);
    expect(committed(rig)).toBe(10n);
    rig.want({ op: 'pause', actionId: 'p', atFuel: null });
    rig.see();
    expect(rig.kinds().slice(-2)).toEqual(['unstage', 'capture']);
    expect(rig.take('capture')).toMatchObject({ hold: true, staged: null });
    const moved = checkpointing();
    moved.settle();
    moved.want(MOVE);
    moved.see();
    expect(moved.kinds().slice(-2)).toEqual(['forget', 'stage']);
    expect(moved.open).toMatchObject([{ kind: 'stage', target: 'b' }]);
    moved.settle();
    expect(moved.truth.record.owner).toBe('b');
  });

  it('a smaller memory is captured at once', () => {
    const rig = checkpointing({ stageFromBytes: 1_001 });
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: null }]);
  });

  it('output does not wait for a first copy, but for one that is kept', () => {
    const rig = checkpointing();
    const { opId } = rig.take('stage');
    rig.run(5, 3);
    rig.later(50);
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: null }]);
    rig.settle();
    expect(rig.truth.record.output.bytes).toBe(3);
    expect(rig.kinds()).not.toContain('unstage');
    rig.feed({ kind: 'staged', opId, ready: true, costMs: 1 });
    // It stands still: its checkpoint is due at once.
    expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: opId }]);
    rig.settle();
    rig.run(5, 4);
    rig.later(50);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
    rig.later(50);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
    expect(rig.life.wakeAtMs).toBeGreaterThan(rig.nowMs + 1_000);
    rig.settle();
    expect(rig.truth.record.output.bytes).toBe(7);
  });

  it('given up, or too long under way: it is made without, and without another try for a while, longer each time', () => {
    const rig = checkpointing();
    const spent = [
      () => rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: false, costMs: 0 }),
      () => rig.later(MAX_MS),
      () => rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: false, costMs: 0 }),
    ];
    let pauseMs = 30_000;
    for (const spend of spent) {
      spend();
      rig.open = rig.open.filter(({ kind }) => kind !== 'stage');
      expect(rig.kinds().slice(-2)).toEqual(['unstage', 'capture']);
      rig.settle();
      const tries = rig.kinds().filter((kind) => kind === 'stage').length;
      for (let ms = 0; ms < pauseMs - 1_000; ms += 1_000) {
        rig.run(5);
        rig.later(1_000);
        rig.settle();
      }
      expect(rig.kinds().filter((kind) => kind === 'stage').length).toBe(tries);
      expect(committed(rig)).toBe(rig.fuel);
      rig.run(5);
      rig.later(2_000);
      expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
      pauseMs *= 2;
    }
    rig.settle();
    // One that worked ends the row.
    again(rig);
    rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: false, costMs: 0 });
    rig.settle();
    again(rig);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
  });

  it('output does not wait for a copy that has to begin anew', () => {
    const rig = checkpointing();
    rig.settle();
    rig.run(5, 3);
    rig.later(50);
    const { opId } = rig.open[0] as { opId: string };
    expect(rig.open).toMatchObject([{ kind: 'stage' }]);
    rig.feed({ kind: 'staged-anew', opId });
    rig.later(50);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage', 'capture']);
    expect(rig.open[1]).toMatchObject({ hold: false, staged: null });
  });

  it('a move waits for a kept copy that is being brought up to date, and takes it over', () => {
    for (const ready of [false, true]) {
      const rig = checkpointing();
      rig.settle();
      again(rig);
      const { opId } = rig.open[0] as { opId: string };
      rig.want(MOVE);
      rig.see();
      expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
      rig.take('stage');
      rig.feed({ kind: 'staged', opId, ready, costMs: 1 });
      if (ready) {
        expect(rig.open).toMatchObject([{ kind: 'capture', hold: false, staged: opId }]);
        for (let i = 0; i < 3; i++) rig.answer();
        expect(rig.kinds().slice(-2)).toEqual(['forget', 'stage']);
        expect(rig.open).toMatchObject([{ kind: 'stage', target: 'b' }]);
      }
      rig.settle();
      expect(rig.truth.record).toMatchObject({ owner: 'b', status: 'assigned' });
    }
  });

  it('what cannot be captured any more needs no copy', () => {
    const rig = checkpointing();
    rig.settle();
    again(rig);
    rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: true, costMs: 1 });
    const { opId } = rig.take('capture');
    rig.feed({ kind: 'capture-failed', opId, message: 'no', permanent: true });
    rig.run(5);
    rig.later(3_000);
    expect(rig.kinds().at(-1)).toBe('unstage');
  });

  it('whose batches are gone is not committed: the shard goes on from its last commit', () => {
    const rig = checkpointing();
    rig.settle();
    const before = committed(rig);
    again(rig);
    rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: true, costMs: 1 });
    rig.answer();
    const { opId } = rig.take('store');
    rig.feed({ kind: 'store-failed', opId, message: 'gone', lost: true });
    expect(rig.kinds().at(-1)).toBe('drop');
    rig.later(2_000);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ owner: 'a', status: 'running', fuelUsed: before });
    expect(rig.kinds().slice(-2)).toEqual(['load', 'resume']);
  });

  it('a kept copy that cannot go on is no reason not to begin another one', () => {
    const rig = checkpointing();
    rig.settle();
    for (let i = 0; i < 4; i++) {
      again(rig);
      rig.feed({ kind: 'staged', opId: rig.take('stage').opId, ready: false, costMs: 0 });
      rig.settle();
      again(rig);
      rig.settle();
    }
    expect(committed(rig)).toBe(45n);
  });

  it('what the copy costs the guest counts: the next one is not due before its share of the time', () => {
    const rig = checkpointing({ budgetShare: 0.1 });
    rig.stageCostMs = 50;
    rig.settle();
    again(rig);
    expect(rig.open).toEqual([]);
    rig.later(450);
    expect(rig.open.map(({ kind }) => kind)).toEqual(['stage']);
  });

  it('a crash and the end of the guest end it without a word', () => {
    const rig = checkpointing();
    rig.settle();
    rig.feed({ kind: 'crashed', runId: rig.runId, message: 'boom', remedy: 'retry' });
    rig.later(2_000);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ owner: 'a', status: 'running' });
    again(rig);
    rig.settle();
    rig.end();
    rig.settle();
    expect(rig.truth.record.status).toBe('done');
    expect(rig.kinds()).not.toContain('unstage');
  });
});
