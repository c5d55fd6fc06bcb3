/** The independent judge: every one of its rules can be broken, and is then named. */
import { describe, expect, it } from 'vitest';
import { checkRecord, checkTransition } from '../../host/protocol/check-transition.js';
import type { ShardRecord } from '../../host/types/records.js';
import { HASH, owned, queued } from './records.js';

const running = owned('a', 3, { status: 'running', fuelUsed: 5n, ranMs: 5, attempt: 1 });
const exit = {
  reason: 'exit',
  code: 0,
  message: '',
  guestStack: [],
  results: new Uint8Array(0),
} as const;
const done = queued('s-1', { status: 'done', exit, epoch: 3 });

describe('between two records', () => {
  it.each<[string, ShardRecord, Partial<ShardRecord>]>([
    ['done is final', done, { reason: 'x' }],
    ['status may follow', queued(), { status: 'running', owner: 'a', epoch: 1 }],
    ['identity never changes', running, { spec: HASH(9) }],
    ['epoch never goes back', running, { epoch: 2 }],
    ['epoch never goes back and never jumps', running, { epoch: 5, owner: 'b' }],
    ['a new owner has a new epoch', queued(), { status: 'assigned', owner: 'a', epoch: 0 }],
    ['an epoch has one owner', running, { owner: 'b' }],
    ['a new epoch comes with a change of owner', running, { epoch: 4 }],
    ['fuel never goes back', running, { fuelUsed: 4n }],
    ['time never goes back', running, { ranMs: 4 }],
    ['output grows by one chunk', running, { output: { head: HASH(1), chunks: 2, bytes: 5 } }],
    ['output grows by one chunk', running, { output: { head: HASH(1), chunks: 1, bytes: 0 } }],
    ['output grows by one chunk', running, { output: { head: null, chunks: 0, bytes: 5 } }],
    ['only a running shard computes', owned('a', 3), { fuelUsed: 1n }],
    ['only a running shard computes', owned('a', 3), { capsule: HASH(1), status: 'running' }],
    [
      'nothing is computed by taking away',
      running,
      { owner: null, status: 'queued', epoch: 4, restarts: 1, fuelUsed: 6n },
    ],
    ['moves count direct hand-overs', running, { owner: 'b', epoch: 4, status: 'assigned' }],
    ['moves count direct hand-overs', running, { moves: 1 }],
    [
      'moves count direct hand-overs',
      owned('a', 3),
      { owner: 'b', epoch: 4, moves: 1, writer: 'control' },
    ],
    ['moves count direct hand-overs', owned('a', 3), { owner: 'b', epoch: 4, writer: 'a' }],
    ['restarts count recoveries', running, { owner: null, epoch: 4, status: 'queued' }],
    ['restarts count recoveries', running, { restarts: 1 }],
    ['writes differ', running, { attempt: running.attempt }],
  ])('%s', (rule, before, change) => {
    const after = { ...before, attempt: before.attempt + 1, ...change };
    expect(checkTransition(before, after).join('\n')).toContain(rule);
  });

  it('sending on what nobody took up is fine', () => {
    const after = { ...owned('b', 4), attempt: 2, writer: 'control' };
    expect(checkTransition(owned('a', 3), after)).toEqual([]);
  });

  it('a plain request is fine', () => {
    const wanted = { op: 'kill', actionId: 'k' } as const;
    expect(checkTransition(running, { ...running, attempt: 2, wanted })).toEqual([]);
  });
});

describe('of one record', () => {
  it.each<[string, ShardRecord]>([
    ['owner exactly while', queued('s', { owner: 'a' })],
    ['owner exactly while', owned('a', 1, { owner: null })],
    ['exit exactly when done', queued('s', { exit })],
    ['exit exactly when done', queued('s', { status: 'done' })],
    ['done holds no capsule', { ...done, capsule: HASH(1) }],
    [
      'nothing is asked of a paused',
      queued('s', { status: 'paused', wanted: { op: 'kill', actionId: 'k' } }),
    ],
    ['an owned shard has an epoch', owned('a', 0)],
    ['head exactly when', queued('s', { output: { head: null, chunks: 1, bytes: 1 } })],
  ])('%s', (rule, record) => {
    expect(checkRecord(record).join('\n')).toContain(rule);
  });

  it('a new record starts from nothing', () => {
    expect(checkTransition(null, queued())).toEqual([]);
    expect(checkTransition(null, queued('s', { moves: 1 })).join()).toContain(
      'starts from nothing',
    );
    expect(checkTransition(null, done).join()).toContain('starts from nothing');
  });
});
