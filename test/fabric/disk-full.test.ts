/**
 * The embedded fabric when the disk is full: with write failures put in, and, where this process may mount one, on a
 * real file system of 2 MiB.
 */
import { spawnSync } from 'node:child_process';
import type * as Fs from 'node:fs';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type EmbeddedFabric, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { RESERVE_BYTES } from '../../host/fabric/embedded-reserve.js';
import { bytesOf, hashOf } from './world.js';

const disk = vi.hoisted(() => ({ roomBytes: Number.POSITIVE_INFINITY }));

/** `writeSync` of a disk with so much room: writes what fits, then fails as the system does. Writing over what is there needs none. */
vi.mock('node:fs', async (original) => {
  const real = await original<typeof Fs>();
  const writeSync = (
    file: number,
    data: Uint8Array,
    at: number,
    length?: number,
    position?: number,
  ): number => {
    if (position !== undefined) return real.writeSync(file, data, at, length, position);
    if (disk.roomBytes === 0) {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    }
    const bytes = Math.min(disk.roomBytes, data.length - at);
    disk.roomBytes -= bytes;
    return real.writeSync(file, data, at, bytes);
  };
  return { ...real, writeSync };
});

const full = {
  code: 'SHERD_DISK',
  message: expect.stringContaining('full'),
  next: expect.stringContaining('sherd gc'),
};

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-fabric-'));
});
afterEach(() => {
  disk.roomBytes = Number.POSITIVE_INFINITY;
  rmSync(dir, { recursive: true, force: true });
});

/** A file system of its own, where this process may mount one. */
function mountSmall(at: string): boolean {
  mkdirSync(at, { recursive: true });
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', at]).status === 0;
}

function packBytes(at: string): number {
  const packs = readdirSync(join(at, 'packs'));
  return packs.reduce((sum, name) => sum + statSync(join(at, 'packs', name)).size, 0);
}

function mayMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'sherd-mount-'));
  const may = mountSmall(at);
  if (may) spawnSync('umount', [at]);
  rmSync(at, { recursive: true });
  return may;
}

describe('embedded fabric on a full disk', () => {
  it.each([
    ['a file', 100_000],
    ['in a pack', 20_000],
  ])(
    'a write of %s that fails halfway leaves nothing, and the next one that fits succeeds',
    async (_, bytes) => {
      const fabric = await openEmbeddedFabric(dir, { create: true });
      const before = new Uint8Array(3_000).fill(7);
      await fabric.blobs.put(hashOf(before), before);
      const content = new Uint8Array(bytes).fill(1);
      const hash = hashOf(content);
      for (const roomBytes of [0, 1, bytes - 1]) {
        disk.roomBytes = roomBytes;
        await expect(fabric.blobs.put(hash, content)).rejects.toMatchObject(full);
        expect(await fabric.blobs.has(hash)).toBe(false);
        expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
        expect(fabric.usage().blobBytes).toBe(before.length);
        expect(statSync(join(dir, 'packs/1')).size).toBe(before.length);
      }
      disk.roomBytes = bytes;
      await fabric.blobs.put(hash, content);
      expect(Buffer.compare((await fabric.blobs.get(hash))!, content)).toBe(0);
      expect(Buffer.compare((await fabric.blobs.get(hashOf(before)))!, before)).toBe(0);
      await fabric.close();
    },
  );

  /** Blobs of 3 MB in all, of which a third is kept. */
  const blobsOf = (bytes: number): Uint8Array[] =>
    Array.from({ length: 3_000_000 / bytes }, (_, n) => {
      const content = new Uint8Array(bytes - (n % 7)).fill(n);
      new DataView(content.buffer).setUint32(0, n);
      return content;
    });
  const keptOf = (blobs: readonly Uint8Array[]): Map<string, Uint8Array> =>
    new Map(blobs.filter((_, n) => n % 3 === 1).map((each) => [hashOf(each), each]));

  it('a collection makes packs shorter in their own room, while they are read', async () => {
    const small = blobsOf(10_000);
    const kept = keptOf(small);
    const fabric = await openEmbeddedFabric(dir, { create: true });
    const reader = await openEmbeddedFabric(dir);
    for (const each of small) await fabric.blobs.put(hashOf(each), each);
    const before = packBytes(dir);
    disk.roomBytes = 0;
    let reads = 0;
    const stop = new AbortController();
    const reading = (async () => {
      while (!stop.signal.aborted) {
        for (const [hash, content] of kept) {
          expect(Buffer.compare((await reader.blobs.get(hash))!, content)).toBe(0);
          reads++;
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    })();
    const freed = await fabric.blobs.collect((hash) => kept.has(hash), 0);
    stop.abort();
    await reading;
    expect(reads).toBeGreaterThan(0);
    expect(freed).toEqual({ blobs: 200, bytes: expect.any(Number) });
    expect(packBytes(dir)).toBeLessThan(before * 0.4);
    for (const [hash, content] of kept)
      expect(Buffer.compare((await reader.blobs.get(hash))!, content)).toBe(0);
    disk.roomBytes = Number.POSITIVE_INFINITY;
    const more = new Uint8Array(5_000).fill(9);
    await reader.blobs.put(hashOf(more), more);
    expect(await fabric.blobs.get(hashOf(more))).toEqual(more);
    await reader.close();
    await fabric.close();
  });

  if (!mayMount()) return;

  it.each([10_000, 1_000])(
    'a collection of blobs of %d bytes frees room on a real one',
    async (bytes) => {
      const small = blobsOf(bytes);
      const kept = keptOf(small);
      const at = join(dir, 'small');
      expect(mountSmall(at)).toBe(true);
      try {
        const fabric = await openEmbeddedFabric(at, { create: true });
        const there = new Map<string, Uint8Array>();
        for (const each of small) {
          const put = await fabric.blobs.put(hashOf(each), each).catch((error: unknown) => error);
          if (put === undefined) there.set(hashOf(each), each);
        }
        expect(there.size).toBeLessThan(small.length);
        const before = packBytes(at);
        expect(statSync(join(at, 'reserve')).size).toBe(RESERVE_BYTES);
        await fabric.blobs.collect((hash) => kept.has(hash), 0);
        // Set aside again.
        expect(statSync(join(at, 'reserve')).size).toBe(RESERVE_BYTES);
        expect(packBytes(at)).toBeLessThan(before * 0.4);
        for (const [hash, content] of there) {
          const now = await fabric.blobs.get(hash);
          expect(now === undefined ? undefined : hashOf(now)).toBe(
            kept.has(hash) ? hash : undefined,
          );
          if (now !== undefined) expect(Buffer.compare(now, content)).toBe(0);
        }
        await fabric.close();
      } finally {
        spawnSync('umount', [at]);
      }
    },
  );

  it('says so, stores nothing halfway, and goes on once there is room', async () => {
    const at = join(dir, 'small');
    expect(mountSmall(at)).toBe(true);
    try {
      const small = await openEmbeddedFabric(at, { create: true });
      try {
        await fillUp(small, at);
      } finally {
        await small.close();
      }
    } finally {
      spawnSync('umount', [at]);
    }
  });

  async function fillUp(small: EmbeddedFabric, at: string): Promise<void> {
    const kept = new Uint8Array(200_000).fill(1);
    await small.blobs.put(hashOf(kept), kept);
    for (const size of [1_000_000, 3_000_000]) {
      const big = new Uint8Array(2 * size).fill(2);
      await expect(small.blobs.put(hashOf(big), big)).rejects.toMatchObject(full);
      expect(await small.blobs.has(hashOf(big))).toBe(false);
      expect(readdirSync(join(at, 'tmp'))).toEqual([]);
    }
    // Small ones until not even a record fits any more.
    let revision = 0;
    let refusal: unknown;
    for (let i = 0; refusal === undefined && i < 10_000; i++) {
      const filler = new Uint8Array(20_000).fill(i);
      new DataView(filler.buffer).setUint32(0, i);
      await small.blobs.put(hashOf(filler), filler).catch(() => {});
      const write = small.records.compareAndSet(`k.${i}`, 0, new Uint8Array(40_000).fill(i));
      await write.then(
        (outcome) => {
          if (outcome.kind === 'ok') revision = outcome.revision;
          else if (outcome.kind === 'unknown') refusal = outcome;
        },
        (error: unknown) => {
          refusal = error;
        },
      );
    }
    expect(refusal).toMatchObject(full);
    const entries = await small.records.list('k');
    expect(Math.max(...entries.map((entry) => entry.revision))).toBe(revision);
    for await (const blob of small.blobs.list()) {
      expect(hashOf((await small.blobs.get(blob.hash))!)).toBe(blob.hash);
    }
    expect((await small.blobs.collect((hash) => hash === hashOf(kept), 0)).blobs).toBeGreaterThan(
      0,
    );
    const outcome = await small.records.compareAndSet('k.again', 0, bytesOf('room'));
    expect(outcome.kind).toBe('ok');
    expect(Buffer.compare((await small.blobs.get(hashOf(kept)))!, kept)).toBe(0);
    expect(existsSync(join(at, 'records.mdb'))).toBe(true);
  }
});
