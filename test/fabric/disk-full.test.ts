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
import { bytesOf, hashOf } from './world.js';

const disk = vi.hoisted(() => ({ roomBytes: Number.POSITIVE_INFINITY }));

/** `writeSync` of a disk with so much room: writes what fits, then fails as the system does. */
vi.mock('node:fs', async (original) => {
  const real = await original<typeof Fs>();
  const writeSync = (file: number, data: Uint8Array, at: number): number => {
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

  if (!mayMount()) return;

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
