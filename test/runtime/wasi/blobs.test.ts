/** Chunks as blobs: fetched when needed, named when written, kept apart from what is on its way to the store. */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../host/runtime/wasi/errno.js';
import { CHUNK_BYTES } from '../../../host/types/host.js';
import { FakeBlobs, Guest, noise, type Stat, sha256 } from './guest.js';

const content = noise(CHUNK_BYTES * 3 + 100);

function lazyGuest(): { guest: Guest; hashes: string[] } {
  const guest = new Guest({ f: content });
  guest.blobs.lazy = true;
  const root = guest.spec.dirs[0]!.root.entries[0]![1];
  const hashes = root.kind === 'file' ? root.chunks.map((chunk) => chunk.hash) : [];
  return { guest, hashes };
}

describe('missing blobs', () => {
  it('wait before anything has changed, then the call is exact', () => {
    const { guest, hashes } = lazyGuest();
    const fd = guest.open('f');
    guest.view.setUint32(512, 65_536, true);
    guest.view.setUint32(516, CHUNK_BYTES + 10, true);
    const before = guest.bytes.slice();
    const snapshot = guest.host.snapshot();
    guest.callOnce('fd_read', fd, 512, 1, 0);
    expect(guest.suspended).toEqual({ kind: 'blob', hash: hashes[0] });
    expect(Buffer.compare(guest.bytes, before)).toBe(0);
    guest.blobs.present.add(hashes[0]!);
    guest.callOnce('fd_read', fd, 512, 1, 0);
    expect(guest.suspended).toEqual({ kind: 'blob', hash: hashes[1] });
    expect(Buffer.compare(guest.bytes, before)).toBe(0);
    expect(guest.host.snapshot()).toEqual(snapshot);
    // The first blob is forgotten by the cache meanwhile: the call still gets through.
    guest.blobs.present.clear();
    guest.blobs.present.add(hashes[1]!);
    expect(guest.callOnce('fd_read', fd, 512, 1, 0)).toBe(0);
    expect(guest.suspended).toBeUndefined();
    const read = guest.bytes.subarray(65_536, 65_536 + CHUNK_BYTES + 10);
    expect(Buffer.compare(read, content.subarray(0, CHUNK_BYTES + 10))).toBe(0);
  });

  it('are only asked for when their old content matters', () => {
    const { guest, hashes } = lazyGuest();
    const fd = guest.open('f');
    expect(guest.write(fd, new Uint8Array(CHUNK_BYTES).fill(1), { at: 0n })).toBe(CHUNK_BYTES);
    expect((guest.stat('f') as Stat).size).toBe(BigInt(content.length));
    expect(guest.blobs.waits).toEqual([]);
    guest.write(fd, 'x', { at: BigInt(CHUNK_BYTES + 5) });
    expect(guest.blobs.waits).toEqual([hashes[1]]);
    guest.call('fd_filestat_set_size', fd, BigInt(CHUNK_BYTES * 3));
    expect(guest.blobs.waits).toEqual([hashes[1]]);
    guest.call('fd_filestat_set_size', fd, BigInt(CHUNK_BYTES * 2 + 1));
    expect(guest.blobs.waits).toEqual([hashes[1], hashes[2]]);
  });

  it('do not lose a write over several chunks with several waits', () => {
    const { guest, hashes } = lazyGuest();
    const fd = guest.open('f');
    const data = new Uint8Array(CHUNK_BYTES * 2).fill(9);
    expect(guest.write(fd, data, { at: 50n, pieces: 3 })).toBe(data.length);
    expect(guest.blobs.waits).toEqual([hashes[0], hashes[2]]);
    const expected = content.slice();
    expected.set(data, 50);
    expect(guest.tree()).toEqual({ f: Buffer.from(expected).toString('latin1') });
  });

  it('of the wrong length are an I/O error', () => {
    const { guest, hashes } = lazyGuest();
    guest.blobs.store.set(hashes[0]!, new Uint8Array(3));
    guest.blobs.lazy = false;
    expect(guest.read(guest.open('f'), 10)).toBe(-ERRNO.io);
  });
});

describe('written chunks', () => {
  it('are new until they are durable, and unmodified chunks stay references', () => {
    const { guest, hashes } = lazyGuest();
    const fd = guest.open('f');
    guest.write(fd, 'x', { at: 0n });
    guest.host.snapshot();
    const [hash, ...more] = guest.host.newBlobs().keys();
    expect(more).toEqual([]);
    expect(guest.host.references()).toEqual([hash!, ...hashes.slice(1)].sort());
    guest.host.markDurable([hash!]);
    expect(guest.host.newBlobs().size).toBe(0);
    guest.host.snapshot();
    expect(guest.host.newBlobs().size).toBe(0);
  });

  it('stay as they were while they are on their way to the store', () => {
    const guest = new Guest();
    const fd = guest.open('f', { oflags: 1 });
    guest.write(fd, 'one');
    guest.host.snapshot();
    const [[hash, bytes]] = [...guest.host.newBlobs()] as [[string, Uint8Array]];
    guest.write(fd, 'two', { at: 0n });
    guest.write(fd, 'more');
    expect(sha256(bytes)).toBe(hash);
    expect(Buffer.from(bytes).toString()).toBe('one');
    expect(guest.host.newBlobs().get(hash)).toBe(bytes);
  });

  it('count as lost once no snapshot names them: the store may have collected them', () => {
    const guest = new Guest();
    const fd = guest.open('f', { oflags: 1 });
    guest.write(fd, 'one');
    guest.host.snapshot();
    const [hash] = guest.host.newBlobs().keys();
    guest.host.markDurable([hash!]);
    guest.write(fd, 'two', { at: 0n });
    guest.host.snapshot();
    guest.write(fd, 'one', { at: 0n });
    guest.host.snapshot();
    expect([...guest.host.newBlobs().keys()]).toContain(hash);
  });

  it('of zeros are holes: one blob, a few bytes in the snapshot', () => {
    const guest = new Guest();
    const fd = guest.open('f', { oflags: 1 });
    guest.call('fd_filestat_set_size', fd, BigInt(CHUNK_BYTES * 1000));
    guest.write(fd, new Uint8Array(CHUNK_BYTES), { at: 0n });
    const snapshot = guest.host.snapshot() as {
      files: { inodes: [number, number, number, unknown, unknown[]][] };
    };
    expect(snapshot.files.inodes[1]![4]).toHaveLength(4);
    expect(guest.host.newBlobs().size).toBe(1);
    guest.blobs.lazy = true;
    guest.move();
    expect(guest.read(fd, 3, { at: BigInt(CHUNK_BYTES * 500) })).toBe('\0\0\0');
    expect(guest.blobs.waits).toEqual([]);
  });

  it('are let go of when the store has them and there are many', () => {
    const guest = new Guest();
    guest.blobs.lazy = true;
    const fd = guest.open('f', { oflags: 1 });
    const chunks = 300;
    for (let index = 0; index < chunks; index++) {
      guest.write(fd, new Uint8Array(CHUNK_BYTES).fill(index + 1));
    }
    guest.host.snapshot();
    for (const [hash, bytes] of guest.host.newBlobs()) guest.blobs.store.set(hash, bytes.slice());
    guest.host.markDurable(guest.blobs.store.keys());
    expect(guest.read(fd, 1, { at: 0n })).toBe('\x01');
    expect(guest.blobs.waits).toHaveLength(1);
    expect(guest.read(fd, 1, { at: BigInt(CHUNK_BYTES * (chunks - 1)) })).toBe('\x2c');
    expect(guest.blobs.waits).toHaveLength(1);
  });
});

describe('forged snapshots', () => {
  it('name a damaged capsule', async () => {
    const { restoreGuestHost } = await import('../../../host/runtime/guest-host.js');
    const guest = new Guest({ f: 'x', d: {} });
    guest.close(guest.open('g', { oflags: 1 }));
    const good = guest.host.snapshot() as Record<string, never>;
    const root = [1, 0, null, [5n], [5, [], ['loop', 1, 4]]];
    const bad: Record<string, unknown>[] = [
      { ...good, fds: null },
      { ...good, random: 5 },
      { ...good, clock: [null, 0n] },
      { ...good, fds: [[], [[4, 4, 999, 0, 0, 0n, 0n, 0]]] },
      { ...good, fds: [[], [[4, 4, 1, 0, 0, 0n, 0n, 0]]] },
      { ...good, fds: [[], [[4, 9, 1, 0, 0, 0n, 0n, 0]]] },
      { ...good, files: { next: 2, inodes: [] } },
      { ...good, files: { next: 9, inodes: [root] } },
      { ...good, files: { next: 9, inodes: [[1, 0, null, [5n], [9, [], ['../x', 2, 8]]]] } },
      { ...good, files: { next: 9, inodes: [[2, 1, null, [5n], [CHUNK_BYTES * 4]]] } },
      { ...good, files: { next: 9, inodes: [[2, 1, null, [5n], [2 ** 50]]] } },
    ];
    const restore = (snapshot: unknown): unknown =>
      restoreGuestHost(guest.spec, snapshot as never, new FakeBlobs(), guest.platform);
    expect(() => restore(good)).not.toThrow();
    for (const [index, snapshot] of bad.entries()) {
      expect(() => restore(snapshot), `case ${index}`).toThrow(
        expect.objectContaining({ code: 'SHERD_CAPSULE_DAMAGED' }),
      );
    }
    expect(() => restore({ ...good, v: 2 })).toThrow(
      expect.objectContaining({ code: 'SHERD_CAPSULE_VERSION' }),
    );
  });
});
