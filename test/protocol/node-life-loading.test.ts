/** A shard that cannot be loaded: tried again, set aside with what it has, or ended when nothing helps and nothing is lost. */
import { describe, expect, it } from 'vitest';
import type { Remedy } from '../../host/protocol/life-types.js';
import { HASH, owned } from './records.js';
import { Rig } from './rig.js';

describe('loading', () => {
  const fail = (rig: Rig, message: string, remedy: Remedy): void => {
    rig.feed({ kind: 'load-failed', opId: rig.take('load').opId, message, remedy });
  };

  it('tries again, then sets the shard aside with the reason; nothing committed is lost', () => {
    const record = owned('a', 4, { capsule: HASH(5), fuelUsed: 70n, ranMs: 500 });
    const rig = new Rig({ loadTries: 3 }, record);
    rig.see();
    for (let i = 0; i < 3; i++) {
      fail(rig, 'blob x is missing', 'retry');
      rig.later(2_000);
    }
    rig.settle();
    expect(rig.truth.record).toMatchObject({
      status: 'paused',
      owner: null,
      capsule: HASH(5),
      fuelUsed: 70n,
      fault: 'could not be loaded: blob x is missing',
      reason: expect.stringMatching(/blob x is missing.*sherd resume s-1/),
    });
    expect(rig.life.idle).toBe(true);
  });

  it('what only somebody can mend is set aside at once, also before it ever ran', () => {
    const rig = new Rig();
    rig.see();
    fail(rig, 'damaged', 'mend');
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'paused', fault: expect.any(String) });
  });

  it('resumed, it is tried again with as much patience as at first, and then runs', () => {
    const rig = new Rig({ loadTries: 2 });
    rig.see();
    for (let i = 0; i < 2; i++) {
      fail(rig, 'gone', 'retry');
      rig.later(2_000);
    }
    rig.settle();
    const { fault, ...rest } = rig.truth.record;
    expect(fault).toBeDefined();
    rig.truth = { record: rest, revision: rig.truth.revision };
    rig.write({ status: 'assigned', owner: 'a', epoch: rest.epoch + 1 });
    rig.see();
    fail(rig, 'gone', 'retry');
    rig.later(2_000);
    rig.settle();
    expect(rig.truth.record.status).toBe('running');
  });

  it('a refused program of which nothing is kept ends; it is not tried again', () => {
    const rig = new Rig();
    rig.see();
    fail(rig, 'not wasm', 'none');
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'done', exit: { reason: 'failed', code: 1 } });
    expect(rig.truth.record.exit?.message).toContain('not wasm');
  });

  it('one that ran elsewhere and is refused here keeps its capsule', () => {
    const rig = new Rig({}, owned('a', 4, { capsule: HASH(5), fuelUsed: 70n }));
    rig.see();
    fail(rig, 'this engine has no SIMD', 'none');
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'paused', capsule: HASH(5) });
  });

  it('a shard that cannot be loaded here can still be moved away', () => {
    const rig = new Rig();
    rig.see();
    rig.want({ op: 'move', actionId: 'm', target: 'b' });
    rig.feed({
      kind: 'load-failed',
      opId: rig.take('load').opId,
      message: 'no disk',
      remedy: 'mend',
    });
    rig.see();
    rig.later(20);
    rig.settle();
    expect(rig.truth.record).toMatchObject({ status: 'assigned', owner: 'b' });
  });
});
