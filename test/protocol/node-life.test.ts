/** The life of a shard on a node: its normal course, and requests, losses and faults at every step of it. */
import { describe, expect, it } from 'vitest';
import type { Wanted } from '../../host/types/records.js';
import { HASH, owned } from './records.js';
import { EXIT, Rig } from './rig.js';

const REQUESTS: Record<string, Wanted> = {
  pause: { op: 'pause', actionId: 'p', atFuel: null },
  move: { op: 'move', actionId: 'm', target: 'b' },
  kill: { op: 'kill', actionId: 'k' },
  preempt: { op: 'preempt', actionId: 'x' },
};
const RESULT: Record<string, object> = {
  pause: { status: 'paused', owner: null, wanted: null },
  move: { status: 'assigned', owner: 'b', epoch: 2, moves: 1, wanted: null },
  kill: { status: 'done', owner: null, capsule: null, exit: { reason: 'killed', code: 137 } },
  preempt: { status: 'queued', owner: null, wanted: null },
  stop: { status: 'queued', owner: null },
};

/** Brings a new life to a point; the actions that are open then are not answered yet. */
const POINTS: Record<string, (rig: Rig) => void> = {
  loading: (rig) => void rig.see(),
  taking: (rig) => {
    rig.see();
    rig.answer();
  },
  running: (rig) => {
    rig.started().run(10, 3);
  },
  capturing: (rig) => {
    rig.started().run(10, 3);
    rig.later(5_000);
  },
  storing: (rig) => {
    POINTS.capturing?.(rig);
    rig.answer();
  },
  committing: (rig) => {
    POINTS.storing?.(rig);
    rig.answer();
  },
  ending: (rig) => {
    rig.started().run(10, 3);
    rig.end();
  },
  'committing the end': (rig) => {
    POINTS.ending?.(rig);
    rig.answer();
  },
};

describe('the normal course', () => {
  it('loads, takes up, runs, checkpoints, ends', () => {
    const rig = new Rig().started();
    expect(rig.kinds()).toEqual(['load', 'cas', 'start']);
    expect([rig.life.phase, rig.truth.record.status]).toEqual(['running', 'running']);
    rig.run(100);
    expect(rig.later(1_999)).toEqual([]);
    rig.later(1);
    rig.settle();
    expect(rig.kinds().slice(3)).toEqual(['capture', 'store', 'cas', 'forget']);
    expect(rig.truth.record).toMatchObject({ fuelUsed: 100n, capsuleBytes: 5, ranMs: 100 });
    rig.run(50, 8);
    rig.end();
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'done', exit: EXIT, output: { bytes: 8 } });
    expect(rig.truth.record.artifacts).not.toBeNull();
    expect([rig.life.phase, rig.life.idle]).toEqual(['none', true]);
  });

  it('resumes from the capsule of the record, and its time goes on', () => {
    const record = owned('a', 4, { capsule: HASH(5), fuelUsed: 70n, ranMs: 500 });
    const rig = new Rig({}, record).started();
    expect(rig.all.at(-1)).toMatchObject({ kind: 'resume', capsule: HASH(5) });
    rig.feed({
      kind: 'progress',
      runId: rig.runId,
      run: { fuelUsed: 90n, memoryBytes: 1, ranMs: 25 },
      outputBytes: 0,
    });
    rig.fuel = 90n;
    rig.end();
    rig.settle();
    expect(rig.truth.record.ranMs).toBe(590);
  });

  it('does not checkpoint a guest that has done nothing since', () => {
    const rig = new Rig().started();
    expect(rig.later(60_000)).toEqual([]);
    expect(rig.life.wakeAtMs).toBeNull();
  });

  it('says when it wants to be woken', () => {
    const rig = new Rig().started();
    rig.run(1);
    expect(rig.life.wakeAtMs).toBe(rig.nowMs + 2_000);
    rig.run(1, 5);
    expect(rig.life.wakeAtMs).toBe(rig.nowMs + 30);
  });
});

describe('what commits cost', () => {
  it('waiting output forces a commit after a short while', () => {
    const rig = new Rig().started();
    rig.run(10, 4);
    expect(rig.later(29)).toEqual([]);
    rig.later(1);
    rig.settle();
    expect(rig.truth.record.output).toMatchObject({ chunks: 1, bytes: 4 });
  });

  it('a commit that cost 50 ms puts the next one off to ten times that', () => {
    const rig = new Rig().started();
    rig.costMs = 50;
    rig.run(10, 4);
    rig.later(30);
    const startedMs = rig.nowMs;
    rig.settle();
    expect(rig.life.commitCostMs).toBe(50);
    rig.run(10, 4);
    expect(rig.later(startedMs + 499 - rig.nowMs)).toEqual([]);
    expect(rig.later(1).map((action) => action.kind)).toEqual(['capture']);
  });
});

describe.each(Object.entries(POINTS))('while %s', (point, bring) => {
  const ended = point === 'ending' || point === 'committing the end';

  it.each(Object.keys(RESULT))('%s is done, whatever is under way', (what) => {
    const rig = new Rig();
    bring(rig);
    if (what === 'stop') rig.feed({ kind: 'stop' });
    else {
      rig.want(REQUESTS[what] ?? null);
      rig.see();
    }
    rig.settle();
    const expected = ended && what !== 'kill' ? { status: 'done', exit: EXIT } : RESULT[what];
    expect(rig.truth.record).toMatchObject(expected ?? {});
    expect(rig.life.idle).toBe(true);
    const ran = point !== 'loading' && point !== 'taking';
    if (what !== 'kill') expect(rig.truth.record.output.bytes).toBe(ran ? 3 : 0);
    const hints = rig.all.filter((action) => action.kind === 'hint');
    expect(hints.length).toBe(what === 'move' && !ended ? 1 : 0);
  });

  it.each(Object.keys(REQUESTS))('%s that is only found out by a conflict is done too', (what) => {
    const rig = new Rig();
    bring(rig);
    rig.want(REQUESTS[what] ?? null);
    rig.settle();
    if (rig.life.epoch !== 0) rig.see();
    rig.settle();
    const expected = ended && what !== 'kill' ? { status: 'done', exit: EXIT } : RESULT[what];
    expect(rig.truth.record).toMatchObject(expected ?? {});
  });

  it('a shard that is lost is dropped at once, and answers that come late change nothing', () => {
    const rig = new Rig();
    bring(rig);
    const late = [...rig.open];
    rig.write({ owner: null, status: 'queued', epoch: 2, restarts: 1 });
    expect(rig.see().map((action) => action.kind)).toEqual(['drop']);
    rig.open = late;
    const before = rig.all.length;
    while (rig.open.length > 0) {
      if (rig.open[0]?.kind === 'store') rig.open.shift();
      else rig.answer();
    }
    rig.later(60_000);
    expect(rig.all.length).toBe(before);
    expect(rig.life.idle).toBe(true);
  });

  it('a shard that was removed is dropped', () => {
    const rig = new Rig();
    bring(rig);
    expect(rig.feed({ kind: 'gone', revision: 99 }).map((action) => action.kind)).toEqual(['drop']);
    expect(rig.later(60_000)).toEqual([]);
  });

  it('events that come again change nothing', () => {
    const rig = new Rig();
    bring(rig);
    rig.see();
    rig.see();
    rig.feed({ kind: 'record', seen: { record: owned('a', 1), revision: 10 } });
    rig.feed({ kind: 'gone', revision: 10 });
    rig.feed({ kind: 'record', seen: { record: owned('b', 9), revision: 3 } });
    expect(rig.open.length).toBe(point === 'running' ? 0 : 1);
    rig.settle();
    expect(rig.truth.record.status).toBe(ended ? 'done' : 'running');
  });

  it('a lost shard that comes back begins anew', () => {
    const rig = new Rig();
    bring(rig);
    rig.write({ owner: 'a', status: 'assigned', epoch: 3 });
    expect(rig.see().map((action) => action.kind)).toEqual(['drop', 'load']);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'running', epoch: 3, owner: 'a' });
  });
});

describe('outcomes of writes', () => {
  function committing(): Rig {
    const rig = new Rig();
    POINTS.committing?.(rig);
    return rig;
  }
  const unknown = { kind: 'unknown' } as const;

  it('unknown and never applied: the same is sent again and lands', () => {
    const rig = committing();
    const first = rig.take('cas');
    expect(rig.feed({ kind: 'cas', opId: first.opId, answer: unknown })).toEqual([]);
    expect(rig.life.trouble).not.toBe('');
    rig.later(20);
    const second = rig.take('cas');
    expect({ ...second, opId: '' }).toEqual({ ...first, opId: '' });
    rig.cas(second);
    expect([rig.truth.record.output.chunks, rig.life.phase, rig.life.trouble]).toEqual([
      1,
      'running',
      '',
    ]);
  });

  it('unknown but applied: the second try conflicts with our own write', () => {
    const rig = committing();
    const first = rig.take('cas');
    rig.land(first);
    rig.feed({ kind: 'cas', opId: first.opId, answer: unknown });
    rig.later(20);
    rig.settle();
    expect([
      rig.truth.record.output.chunks,
      rig.life.phase,
      rig.kinds().filter((k) => k === 'forget').length,
    ]).toEqual([1, 'running', 1]);
  });

  it('applied, and the watch tells before the answer comes', () => {
    const rig = committing();
    const first = rig.take('cas');
    rig.land(first);
    expect(rig.see().map((action) => action.kind)).toEqual(['forget']);
    expect(
      rig.feed({
        kind: 'cas',
        opId: first.opId,
        answer: { kind: 'ok', revision: rig.truth.revision },
      }),
    ).toEqual([]);
  });

  it('applied, then a request came on top of it: it counts, and is not committed twice', () => {
    const rig = committing();
    const first = rig.take('cas');
    rig.land(first);
    rig.want(REQUESTS.pause ?? null);
    rig.feed({ kind: 'cas', opId: first.opId, answer: { kind: 'conflict', current: rig.truth } });
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'paused', output: { chunks: 1, bytes: 3 } });
  });

  it('a conflict that does not say what is there is settled by reading, past old reads', () => {
    const rig = committing();
    const first = rig.take('cas');
    const old = { ...rig.truth };
    rig.want(null);
    rig.feed({ kind: 'cas', opId: first.opId, answer: { kind: 'conflict', current: null } });
    for (const answer of [
      { kind: 'failed' },
      { kind: 'absent' },
      { kind: 'found', seen: old },
    ] as const) {
      rig.feed({ kind: 'read', opId: rig.take('read').opId, answer });
      expect(rig.open).toEqual([]);
      rig.later(2_000);
    }
    rig.settle();
    expect(rig.truth.record.output).toMatchObject({ chunks: 1, bytes: 3 });
  });

  it('a record that reads as absent again and again is gone', () => {
    const rig = committing();
    rig.feed({
      kind: 'cas',
      opId: rig.take('cas').opId,
      answer: { kind: 'conflict', current: null },
    });
    for (let i = 0; i < 8; i++) {
      rig.feed({ kind: 'read', opId: rig.take('read').opId, answer: { kind: 'absent' } });
      rig.later(2_000);
    }
    expect([rig.life.idle, rig.all.at(-1)?.kind]).toEqual([true, 'drop']);
  });

  it('tries are further and further apart, up to a bound', () => {
    const rig = committing();
    const gaps: number[] = [];
    for (let i = 0; i < 10; i++) {
      rig.feed({ kind: 'cas', opId: rig.take('cas').opId, answer: unknown });
      gaps.push((rig.life.wakeAtMs ?? 0) - rig.nowMs);
      rig.later(gaps.at(-1) ?? 0);
    }
    expect(gaps).toEqual([20, 40, 80, 160, 320, 640, 1_280, 2_000, 2_000, 2_000]);
  });
});

describe('crashes', () => {
  it('goes on from the newest commit, in the same epoch', () => {
    const rig = new Rig().started();
    rig.run(10);
    rig.later(2_000);
    rig.settle();
    rig.run(10, 5);
    rig.feed({ kind: 'crashed', runId: rig.runId, message: 'worker lost', remedy: 'retry' });
    rig.later(20);
    rig.settle();
    expect(rig.all.at(-1)).toMatchObject({ kind: 'resume', capsule: rig.truth.record.capsule });
    expect([rig.fuel, rig.truth.record.epoch]).toEqual([10n, 1]);
  });

  it('three in a row without a commit end it', () => {
    const rig = new Rig({ crashTries: 3 }).started();
    for (let i = 0; i < 3; i++) {
      rig.feed({ kind: 'crashed', runId: rig.runId, message: 'boom', remedy: 'retry' });
      rig.later(2_000);
      rig.settle();
    }
    expect(rig.truth.record.exit).toMatchObject({ reason: 'failed' });
    expect(rig.truth.record.exit?.message).toContain('boom');
  });

  it.each([
    ['of something that somebody can mend', 'mend', null],
    ['with work that is committed', 'retry', HASH(5)],
  ] as const)('three in a row %s set it aside', (_what, remedy, capsule) => {
    const rig = new Rig({ crashTries: 3 }, owned('a', 2, { capsule, fuelUsed: 7n })).started();
    for (let i = 0; i < 3; i++) {
      rig.feed({ kind: 'crashed', runId: rig.runId, message: 'boom', remedy });
      rig.later(2_000);
      rig.settle();
    }
    expect(rig.truth.record).toMatchObject({ status: 'paused', capsule, fault: 'crashed: boom' });
  });

  it('a capture that was given before the crash is still committed', () => {
    const rig = new Rig();
    POINTS.storing?.(rig);
    rig.feed({ kind: 'crashed', runId: rig.runId, message: 'boom', remedy: 'retry' });
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'running',
      fuelUsed: 10n,
      output: { bytes: 3 },
    });
    expect(rig.all.at(-1)).toMatchObject({ kind: 'resume', capsule: rig.truth.record.capsule });
  });
});

describe('fuel', () => {
  const reach = (rig: Rig, fuel: bigint): void => {
    rig.fuel = fuel;
    rig.feed({ kind: 'reached', runId: rig.runId, run: rig.facts() });
  };
  const pauseAt = (fuel: bigint): Wanted => ({ op: 'pause', actionId: 'p', atFuel: fuel });

  it('pauses exactly at the value that was asked at submit', () => {
    const rig = new Rig({}, owned('a', 1, { wanted: pauseAt(40n) })).started();
    expect(rig.all.at(-1)).toMatchObject({ kind: 'start', stopAtFuel: 40n });
    reach(rig, 40n);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'paused', fuelUsed: 40n });
    expect(rig.truth.record.artifacts).not.toBeNull();
  });

  it('a value that is asked later is set while it runs, and taken back', () => {
    const rig = new Rig().started();
    rig.want(pauseAt(40n));
    expect(rig.see()).toEqual([{ kind: 'set-stop', runId: rig.runId, stopAtFuel: 40n }]);
    rig.want(null);
    expect(rig.see()).toEqual([{ kind: 'set-stop', runId: rig.runId, stopAtFuel: null }]);
    reach(rig, 40n);
    expect(rig.all.at(-1)).toEqual({ kind: 'go-on', runId: rig.runId, stopAtFuel: null });
  });

  it('the quota ends it where it stands', () => {
    const rig = new Rig();
    rig.limits = { maxFuel: 30n, maxTimeMs: 0 };
    rig.started();
    rig.want(pauseAt(90n));
    rig.see();
    reach(rig, 30n);
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'done',
      fuelUsed: 30n,
      exit: { reason: 'fuel-quota', code: 124 },
    });
  });

  it('so does the time', () => {
    const rig = new Rig();
    rig.limits = { maxFuel: 0n, maxTimeMs: 30 };
    rig.started();
    rig.run(29);
    expect(rig.open).toEqual([]);
    rig.run(1);
    rig.settle();
    expect(rig.truth.record.exit).toMatchObject({ reason: 'time-quota', code: 124 });
  });

  it('a pause whose value is behind already needs no run', () => {
    const rig = new Rig(
      {},
      owned('a', 1, { fuelUsed: 50n, capsule: HASH(3), wanted: pauseAt(40n) }),
    );
    rig.see();
    rig.settle();
    expect(rig.kinds()).not.toContain('load');
    expect(rig.truth.record).toMatchObject({ status: 'paused', capsule: HASH(3) });
  });
});

describe('odd cases', () => {
  it('a move to where it is is answered and nothing else', () => {
    const rig = new Rig().started();
    rig.want({ op: 'move', actionId: 'm', target: 'a' });
    rig.see();
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'running',
      owner: 'a',
      wanted: null,
      epoch: 1,
    });
  });

  it('a request that is taken back lets the held guest go on', () => {
    const rig = new Rig().started();
    rig.run(5);
    rig.want(REQUESTS.move ?? null);
    rig.see();
    rig.want(null);
    rig.see();
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'running', fuelUsed: 5n });
    expect(rig.all.at(-1)?.kind).toBe('go-on');
  });

  it('a move that becomes a pause after its capture was stored gets its trees stored too', () => {
    const rig = new Rig().started();
    rig.run(5);
    rig.want(REQUESTS.move ?? null);
    rig.see();
    rig.answer();
    rig.want(REQUESTS.pause ?? null);
    rig.see();
    rig.settle();
    expect(rig.truth.record.status).toBe('paused');
    expect(rig.truth.record.artifacts).not.toBeNull();
  });

  it('what cannot be captured now is captured later', () => {
    const rig = new Rig().started();
    rig.run(5);
    rig.want(REQUESTS.pause ?? null);
    rig.see();
    rig.feed({
      kind: 'capture-failed',
      opId: rig.take('capture').opId,
      message: 'host frame',
      permanent: false,
    });
    expect(rig.open).toEqual([]);
    rig.later(20);
    rig.settle();
    expect(rig.truth.record.status).toBe('paused');
  });

  it('what can never be captured is not moved, and goes back to its newest commit when the node stops', () => {
    const rig = new Rig().started();
    rig.run(5);
    rig.want(REQUESTS.move ?? null);
    rig.see();
    rig.feed({
      kind: 'capture-failed',
      opId: rig.take('capture').opId,
      message: 'externref',
      permanent: true,
    });
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'running', owner: 'a', wanted: null });
    expect(rig.later(60_000)).toEqual([]);
    rig.feed({ kind: 'stop' });
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'queued', fuelUsed: 0n });
  });

  it('a failing store holds the output back until it works', () => {
    const rig = new Rig();
    POINTS.storing?.(rig);
    for (let i = 0; i < 3; i++) {
      rig.feed({ kind: 'store-failed', opId: rig.take('store').opId, message: 'disk full' });
      expect(rig.life.trouble).toBe('disk full');
      expect(rig.later(1_000).map((action) => action.kind)).toEqual(['store']);
    }
    rig.settle();
    expect(rig.truth.record.output.bytes).toBe(3);
  });

  it('a restarted process under the same name does not take up what another one may still run', () => {
    const rig = new Rig({}, owned('a', 3, { status: 'running', fuelUsed: 9n, capsule: HASH(1) }));
    rig.see();
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'queued',
      owner: null,
      epoch: 4,
      restarts: 1,
    });
    expect(rig.kinds()).not.toContain('load');
  });

  it('a course that it did not write makes it let go and fence the other one', () => {
    const rig = new Rig().started();
    rig.run(5);
    rig.write({ capsule: HASH(77), fuelUsed: 50n, writer: 'twin' });
    rig.see();
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'queued',
      epoch: 2,
      fuelUsed: 50n,
      capsule: HASH(77),
    });
  });

  it('a node that is stopping gives new shards back without loading them', () => {
    const rig = new Rig();
    rig.feed({ kind: 'stop' });
    rig.see();
    rig.settle();
    expect(rig.kinds()).not.toContain('load');
    expect(rig.truth.record).toMatchObject({ status: 'queued', epoch: 1 });
  });
});
