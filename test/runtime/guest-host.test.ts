/** A shard's host as a whole: what a capsule carries of it, and that it carries on. */
import { describe, expect, it } from 'vitest';
import { addTreeHashes, createGuestHost, specHashes } from '../../host/runtime/guest-host.js';
import { CHUNK_BYTES } from '../../host/types/host.js';
import { encodePlain } from '../../host/types/pack.js';
import { FakeBlobs, FakePlatform, Guest, noise, O } from './wasi/guest.js';

describe('snapshots', () => {
  it('of a shard that has not run are a few bytes, whatever its inputs are', () => {
    const files = Array.from({ length: 500 }, (_, index) => [`file${index}`, `content ${index}`]);
    const guest = new Guest({ ...Object.fromEntries(files), big: noise(CHUNK_BYTES * 4) });
    expect(encodePlain(guest.host.snapshot()).length).toBeLessThan(80);
    expect(guest.host.newBlobs().size).toBe(0);
    expect(guest.host.references()).toEqual([...specHashes(guest.spec)].sort());
    expect(guest.host.trees()).toEqual(guest.spec.dirs);
  });

  it('grow with what was changed only', () => {
    const guest = new Guest({ big: noise(CHUNK_BYTES * 100), other: 'x' });
    const before = encodePlain(guest.host.snapshot()).length;
    const fd = guest.open('big');
    guest.write(fd, 'changed', { at: BigInt(CHUNK_BYTES * 50) });
    const after = encodePlain(guest.host.snapshot()).length;
    expect(after - before).toBeLessThan(150);
    expect(guest.host.newBlobs().size).toBe(1);
  });

  it('are the same when taken twice, and after a restore', () => {
    const guest = new Guest({ a: 'A', d: { e: {} } });
    guest.write(guest.open('n', { oflags: O.creat }), 'new');
    guest.rename('a', 'd/e/b');
    guest.unlink('none');
    guest.call('random_get', 65_536, 100);
    const first = guest.host.snapshot();
    expect(guest.host.snapshot()).toEqual(first);
    guest.move();
    expect(encodePlain(guest.host.snapshot())).toEqual(encodePlain(first));
  });

  it('do not carry output', () => {
    const guest = new Guest();
    const before = guest.host.snapshot();
    guest.write(1, 'said');
    expect(guest.host.snapshot()).toEqual(before);
    expect(guest.output()).toBe('stdout:said');
  });
});

describe('trees', () => {
  it('name chunks that are inputs, durable or new, also without a snapshot before', () => {
    const guest = new Guest({ keep: 'kept', gone: 'gone' });
    const fd = guest.open('keep', { flags: 1 });
    guest.write(fd, ' and more');
    guest.unlink('gone');
    const fresh = new Set(guest.host.newBlobs().keys());
    const named = new Set<string>();
    for (const tree of guest.host.trees()) addTreeHashes(tree.root, named);
    expect(named).toEqual(fresh);
    expect(guest.tree()).toEqual({ keep: 'kept and more' });
  });

  it('keep what a snapshot named until it is durable, though the guest ran on', () => {
    const guest = new Guest();
    const fd = guest.open('f', { oflags: O.creat });
    guest.write(fd, 'one');
    guest.host.snapshot();
    const [one] = guest.host.newBlobs().keys();
    guest.write(fd, 'two', { at: 0n });
    guest.host.trees();
    expect(guest.host.newBlobs().has(one!)).toBe(true);
    expect(guest.host.newBlobs().size).toBe(2);
    guest.host.markDurable([one!]);
    expect(guest.host.newBlobs().has(one!)).toBe(false);
  });
});

describe('hosts', () => {
  it('offer WASI under its module name', () => {
    const guest = new Guest();
    const host = createGuestHost(guest.spec, new FakeBlobs(), new FakePlatform());
    expect([...host.functions(guest).keys()]).toEqual(['wasi_snapshot_preview1']);
  });
});
