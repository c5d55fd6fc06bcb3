/** Transitions of a shard's record: the legal ones, the refusals, settling, and laws over random histories. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkRecord, checkTransition } from '../../host/protocol/check-transition.js';
import * as shard from '../../host/protocol/shard-record.js';
import type { ShardRecord, Wanted } from '../../host/types/records.js';
import { HASH, owned, queued } from './records.js';

const S = { writer: 'w', attempt: 9 };
const A1 = { node: 'a', epoch: 1 };
const snapshot = (fuel: number, chunk: shard.ChunkLink | null = null): shard.Snapshot => ({
  capsule: HASH(100 + fuel),
  capsuleBytes: 10,
  fuelUsed: BigInt(fuel),
  memoryBytes: 20,
  ranMs: fuel,
  chunk,
});
const exit = {
  reason: 'exit',
  code: 3,
  message: '',
  guestStack: [],
  results: new Uint8Array(0),
} as const;
const kill: Wanted = { op: 'kill', actionId: 'k' };
const pauseNow: Wanted = { op: 'pause', actionId: 'p', atFuel: null };
const pauseAt: Wanted = { op: 'pause', actionId: 'p', atFuel: 50n };
const move: Wanted = { op: 'move', actionId: 'm', target: 'b' };
const preempt: Wanted = { op: 'preempt', actionId: 'x' };

function ok(result: shard.Transition): ShardRecord {
  if (!result.ok) throw new Error(`refused: ${result.refusal.message}`);
  return result.record;
}
const code = (result: shard.Transition): string => (result.ok ? 'ok' : result.refusal.code);

describe('a life', () => {
  it('runs from submit to done, moving once, with its output linked', () => {
    const assigned = ok(shard.assign(queued(), 'a', S));
    expect(assigned).toMatchObject({ status: 'assigned', owner: 'a', epoch: 1 });
    const running = ok(shard.takeUp(assigned, A1, S));
    const committed = ok(shard.commit(running, A1, snapshot(10, { hash: HASH(7), bytes: 5 }), S));
    expect(committed.output).toEqual({ head: HASH(7), chunks: 1, bytes: 5 });
    const asked = ok(shard.setWanted(committed, move, S));
    const moved = ok(shard.handOver(asked, A1, 'b', snapshot(20), S));
    expect(moved).toMatchObject({
      status: 'assigned',
      owner: 'b',
      epoch: 2,
      moves: 1,
      wanted: null,
      fuelUsed: 20n,
    });
    const b2 = { node: 'b', epoch: 2 };
    const there = ok(shard.takeUp(moved, b2, S));
    const ending = {
      exit,
      fuelUsed: 30n,
      memoryBytes: 1,
      ranMs: 30,
      chunk: { hash: HASH(8), bytes: 2 },
      artifacts: null,
    };
    const done = ok(shard.finish(there, b2, ending, S));
    expect(done).toMatchObject({
      status: 'done',
      owner: null,
      capsule: null,
      output: { chunks: 2, bytes: 7 },
    });
    expect(done.exit?.code).toBe(3);
  });

  it('an imported shard starts from its capsule, paused when asked', () => {
    const from = { capsule: HASH(5), capsuleBytes: 9, fuelUsed: 77n, memoryBytes: 3, ranMs: 4 };
    const input = {
      id: 's',
      name: 's',
      spec: HASH(1),
      moduleHash: HASH(2),
      priority: 0,
      createdMs: 0,
    };
    const record = shard.submit({ ...input, from, paused: true }, S);
    expect(record).toMatchObject({ status: 'paused', capsule: HASH(5), fuelUsed: 77n });
    expect(checkTransition(null, record)).toEqual([]);
  });
});

describe('who may', () => {
  const running = owned('a', 1, { status: 'running' });

  it.each([
    ['another node', { node: 'b', epoch: 1 }, 'not-owner'],
    ['an older epoch', { node: 'a', epoch: 0 }, 'old-epoch'],
    ['a newer epoch', { node: 'a', epoch: 2 }, 'old-epoch'],
  ])('%s changes nothing', (_who, claim, expected) => {
    const ending = { exit, fuelUsed: 1n, memoryBytes: 1, ranMs: 1, chunk: null, artifacts: null };
    const tries = [
      shard.takeUp(owned('a', 1), claim, S),
      shard.commit(running, claim, snapshot(1), S),
      shard.handOver(running, claim, 'c', null, S),
      shard.pause(running, claim, null, null, S),
      shard.setAside(running, claim, 'why', S),
      shard.requeue(running, claim, null, '', S),
      shard.finish(running, claim, ending, S),
      shard.answer({ ...running, wanted: move }, claim, S),
    ];
    expect(tries.map(code)).toEqual(tries.map(() => expected));
  });

  it('refuses what the status does not allow', () => {
    expect(code(shard.assign(running, 'b', S))).toBe('bad-status');
    expect(code(shard.takeUp(running, A1, S))).toBe('bad-status');
    expect(code(shard.commit(owned('a', 1), A1, snapshot(1), S))).toBe('bad-status');
    expect(code(shard.pause(owned('a', 1), A1, snapshot(1), null, S))).toBe('bad-status');
    expect(code(shard.resume(queued(), S))).toBe('bad-status');
    expect(code(shard.explain(running, 'x', S))).toBe('bad-status');
    expect(code(shard.recover(running, 'b', '', S))).toBe('not-owner');
  });

  it('refuses to go back', () => {
    const ahead = { ...running, fuelUsed: 9n };
    expect(code(shard.commit(ahead, A1, snapshot(8), S))).toBe('bad-value');
    expect(code(shard.commit(running, A1, snapshot(8, { hash: HASH(1), bytes: 0 }), S))).toBe(
      'bad-value',
    );
    expect(code(shard.handOver(running, A1, 'a', null, S))).toBe('bad-value');
  });
});

describe('requests', () => {
  const running = owned('a', 1, { status: 'running' });

  it.each([
    ['a move does not override a pause', pauseNow, move, 'busy'],
    ['a preemption does not override a kill', kill, preempt, 'busy'],
    ['a pause does not override a kill', kill, pauseNow, 'busy'],
    ['a kill overrides a pause', pauseNow, kill, 'ok'],
    ['a pause overrides a move', move, pauseNow, 'ok'],
    ['a move overrides a move', move, { ...move, target: 'c' }, 'ok'],
  ] as const)('%s', (_what, asked, wanted, expected) => {
    expect(code(shard.setWanted({ ...running, wanted: asked }, wanted, S))).toBe(expected);
  });

  it('a move to where the shard is takes back one elsewhere; asked twice it is the same', () => {
    const leaving = { ...running, wanted: move };
    expect(ok(shard.askMove(leaving, 'a', 'm2', S))).toMatchObject({ owner: 'a', wanted: null });
    const other = { op: 'move', actionId: 'm2', target: 'c' };
    expect(ok(shard.askMove(leaving, 'c', 'm2', S)).wanted).toEqual(other);
    expect(ok(shard.askMove(leaving, 'b', 'm2', S))).toBe(leaving);
    expect(ok(shard.askMove(running, 'a', 'm2', S))).toBe(running);
    const pausing = { ...running, wanted: pauseNow };
    expect(ok(shard.askMove(pausing, 'a', 'm2', S))).toBe(pausing);
    expect(code(shard.askMove(pausing, 'b', 'm2', S))).toBe('busy');
    expect(code(shard.askMove(queued(), 'b', 'm2', S))).toBe('bad-status');
  });

  it('only a pause at a fuel value may wait in the queue', () => {
    expect(code(shard.setWanted(queued(), pauseAt, S))).toBe('ok');
    expect(
      [pauseNow, move, kill, preempt].map((w) => code(shard.setWanted(queued(), w, S))),
    ).toEqual(Array.from({ length: 4 }, () => 'bad-status'));
    expect(code(shard.setWanted({ ...running, status: 'paused', owner: null }, pauseAt, S))).toBe(
      'bad-status',
    );
  });

  it('clears what it names, and nothing else', () => {
    const asked = { ...running, wanted: move };
    expect(ok(shard.clearWanted(asked, 'm', S)).wanted).toBeNull();
    expect(code(shard.clearWanted(asked, 'other', S))).toBe('bad-value');
    expect(code(shard.answer(running, A1, S))).toBe('bad-value');
  });

  it.each([
    ['queues it again', null, { status: 'queued', wanted: null, restarts: 1 }],
    ['keeps a pause at a fuel value', pauseAt, { status: 'queued', wanted: pauseAt }],
    ['pauses what was to be paused', pauseNow, { status: 'paused', wanted: null }],
    ['kills what was to be killed', kill, { status: 'done', wanted: null, restarts: 0 }],
    ['forgets a move', move, { status: 'queued', wanted: null }],
  ] as const)('recovery %s', (_what, wanted, expected) => {
    const before = { ...running, wanted };
    const after = ok(shard.recover(before, 'a', 'died', S));
    expect(after).toMatchObject({ owner: null, epoch: 2, ...expected });
    expect(checkTransition(before, after)).toEqual([]);
  });
});

describe('sending on what a lost owner did not take up', () => {
  const there = owned('a', 4, { moves: 2, fuelUsed: 9n, capsule: HASH(5) });

  it.each([
    ['nothing asked', null, null],
    ['a move', move, null],
    ['a preemption', preempt, null],
    ['a pause at a fuel value, which is kept', pauseAt, pauseAt],
  ] as const)('with %s', (_what, wanted, kept) => {
    const before = { ...there, wanted };
    const after = ok(shard.redirect(before, 'a', 'b', { writer: 'c', attempt: 7 }));
    expect(after).toMatchObject({ status: 'assigned', owner: 'b', epoch: 5, wanted: kept });
    expect([after.moves, after.restarts, after.capsule]).toEqual([2, 0, HASH(5)]);
    expect(checkTransition(before, after)).toEqual([]);
    const claim = { node: 'a', epoch: 4 };
    expect(code(shard.takeUp(after, claim, S))).toBe('not-owner');
  });

  it('refuses what ran, another owner, the same node, and what is to be paused or killed', () => {
    const to = (before: ShardRecord, lost = 'a', node = 'b') =>
      code(shard.redirect(before, lost, node, S));
    expect(to({ ...there, status: 'running' })).toBe('bad-status');
    expect(to(there, 'x')).toBe('not-owner');
    expect(to(there, 'a', 'a')).toBe('bad-value');
    expect(to({ ...there, wanted: pauseNow })).toBe('busy');
    expect(to({ ...there, wanted: kill })).toBe('busy');
  });
});

describe('the end', () => {
  const ending = { exit, fuelUsed: 1n, memoryBytes: 1, ranMs: 1, chunk: null, artifacts: null };
  const running = owned('a', 1, { status: 'running' });

  it('has the time of whoever wrote it, and nothing else has', () => {
    const stamp = { writer: 'a', attempt: 2, wallMs: 77 };
    expect(ok(shard.finish(running, A1, ending, stamp)).endedMs).toBe(77);
    expect(ok(shard.killNow(running, 'k', stamp)).endedMs).toBe(77);
    const killed = ok(shard.recover({ ...running, wanted: kill }, 'a', 'died', stamp));
    expect(killed.endedMs).toBe(77);
    expect('endedMs' in ok(shard.commit(running, A1, snapshot(1), stamp))).toBe(false);
    expect('endedMs' in ok(shard.finish(running, A1, ending, S))).toBe(false);
  });
});

describe('settling an unknown outcome', () => {
  const before = owned('a', 1, { status: 'running', writer: 'a', attempt: 4 });
  const ours = ok(
    shard.commit(before, A1, snapshot(10, { hash: HASH(7), bytes: 5 }), {
      writer: 'a',
      attempt: 5,
    }),
  );
  const write = { expected: 40, record: ours };

  it.each([
    ['an older revision says nothing', { record: before, revision: 39 }, 'stale'],
    ['the expected revision: it may still land', { record: before, revision: 40 }, 'open'],
    ['our stamp: it landed', { record: ours, revision: 41 }, 'landed'],
    [
      'a request on top of it: it landed',
      { record: { ...ours, wanted: move, writer: 'c', attempt: 1 }, revision: 42 },
      'landed',
    ],
    [
      'a request instead of it: it never will',
      { record: { ...before, wanted: move, writer: 'c', attempt: 1 }, revision: 41 },
      'lost',
    ],
    [
      'taken away',
      { record: { ...before, owner: null, epoch: 2, status: 'queued', writer: 'c' }, revision: 41 },
      'lost',
    ],
    ['an older attempt of ours', { record: { ...before, attempt: 4 }, revision: 41 }, 'lost'],
  ] as const)('%s', (_what, seen, expected) => {
    expect(shard.settle(seen as { record: ShardRecord; revision: number }, write)).toBe(expected);
  });

  it('a stamp differs from what is there and from the last one', () => {
    expect(shard.nextStamp('a', before, 0).attempt).toBe(5);
    expect(shard.nextStamp('a', before, 7).attempt).toBe(8);
    expect(shard.nextStamp('b', before, 0).attempt).toBe(1);
    expect(shard.nextStamp('b', null, 2).attempt).toBe(3);
  });
});

/** A step of a random history: some claim, some values, some function. */
const step = fc.record({
  what: fc.nat(14),
  asOwner: fc.constantFrom(true, true, true, false),
  who: fc.constantFrom('a', 'b', 'c'),
  epochOff: fc.constantFrom(0, 0, 0, 0, 0, 1, -1),
  fuel: fc.nat(5),
  output: fc.nat(3),
  snap: fc.boolean(),
  wanted: fc.constantFrom<Wanted>(kill, pauseNow, pauseAt, move, preempt),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function apply(r: ShardRecord, s: Step, attempt: number): shard.Transition {
  const who = s.asOwner ? (r.owner ?? s.who) : s.who;
  const stamp = { writer: who, attempt };
  const claim = { node: who, epoch: r.epoch + s.epochOff };
  const fuelUsed = r.fuelUsed + BigInt(s.fuel) - 1n;
  const chunk = s.output === 0 ? null : { hash: HASH(1_000 + attempt), bytes: s.output };
  const facts = { fuelUsed, memoryBytes: 1, ranMs: r.ranMs + s.fuel - 1, chunk };
  const snap = { ...facts, capsule: HASH(2_000 + attempt), capsuleBytes: 3 };
  const maybe = s.snap ? snap : null;
  switch (s.what) {
    case 0:
      return shard.assign(r, s.who, stamp);
    case 1:
    case 2:
      return shard.takeUp(r, claim, stamp);
    case 3:
    case 4:
      return shard.commit(r, claim, snap, stamp);
    case 5:
      return shard.handOver(r, claim, 'c', maybe, stamp);
    case 6:
      return shard.pause(r, claim, maybe, HASH(3), stamp);
    case 7:
      return shard.requeue(r, claim, maybe, 'why', stamp);
    case 8:
      return shard.setWanted(r, s.wanted, stamp);
    case 9:
      return shard.recover(r, who, 'why', stamp);
    case 10:
      return shard.resume(r, stamp);
    case 11:
      return shard.pauseQueued(r, stamp);
    case 12:
      if (s.fuel === 5 && s.output === 3) return shard.killNow(r, 'k', stamp);
      return s.fuel === 4
        ? shard.setAside(r, claim, 'a blob is gone', stamp)
        : shard.answer(r, claim, stamp);
    case 13:
      return shard.redirect(r, r.owner ?? 'a', s.who, { writer: 'control', attempt });
    default:
      return s.fuel < 5
        ? shard.explain(r, 'x', stamp)
        : shard.finish(r, claim, { ...facts, exit, artifacts: null }, stamp);
  }
}

describe('a shard that is set aside', () => {
  const running = owned('a', 1, { status: 'running', capsule: HASH(5), fuelUsed: 7n });
  const aside = (): ShardRecord => {
    const next = shard.setAside(running, A1, 'its capsule is gone', S);
    if (!next.ok) throw new Error(next.refusal.message);
    return next.record;
  };

  it('keeps what is committed and says what is wrong and what to do', () => {
    expect(aside()).toMatchObject({ status: 'paused', capsule: HASH(5), fuelUsed: 7n });
    expect(aside().reason).toBe(
      'cannot go on: its capsule is gone — put that right, then: sherd resume s-1',
    );
  });

  it('stays so under words, and not beyond the pause (T8)', () => {
    expect(shard.explain(aside(), 'still', S)).toMatchObject({
      record: { fault: 'its capsule is gone' },
    });
    const left = [shard.resume(aside(), S), shard.killNow(aside(), 'k', S)];
    for (const next of left) expect(next.ok && 'fault' in next.record).toBe(false);
  });
});

describe('laws', () => {
  it('whatever is allowed is legal to an independent judge', () => {
    let allowed = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
        let record = queued();
        expect(checkTransition(null, record)).toEqual([]);
        steps.forEach((s, i) => {
          const next = apply(record, s, i + 10);
          if (!next.ok) return;
          allowed += 1;
          expect(checkTransition(record, next.record)).toEqual([]);
          expect(checkRecord(next.record)).toEqual([]);
          record = next.record;
        });
      }),
      { numRuns: 500 },
    );
    expect(allowed).toBeGreaterThan(1_000);
  });

  it('after a recovery the lost owner can write nothing, ever', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let record = ok(shard.recover(owned('a', 1, { status: 'running' }), 'a', 'died', S));
        steps.forEach((s, i) => {
          const claims = shard.commit(record, A1, snapshot(1_000), S);
          expect(claims.ok).toBe(false);
          const next = apply(record, s, i + 10);
          if (next.ok) record = next.record;
        });
      }),
    );
  });
});
