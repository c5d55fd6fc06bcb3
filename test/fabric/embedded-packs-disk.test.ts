/** Packs and what happens to their files: in which order things reach the disk, links, renames, failures. */
import type * as Fs from 'node:fs';
import {
  linkSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type EmbeddedFabric, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { hashOf } from './world.js';

/** What reaches the disk, in its order; what is called before a file is opened, by its path. */
const seen = vi.hoisted(() => ({
  events: [] as string[],
  opening: undefined as ((path: string) => void) | undefined,
}));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof Fs>();
  return {
    ...real,
    fdatasyncSync: (file: number) => {
      real.fdatasyncSync(file);
      seen.events.push(`sync ${basename(real.readlinkSync(`/proc/self/fd/${file}`))}`);
    },
    openSync: (path: string, flags: string, mode?: number) => {
      seen.opening?.(path);
      return real.openSync(path, flags, mode);
    },
    rmSync: (path: string, options?: Fs.RmOptions) => {
      real.rmSync(path, options);
      seen.events.push(`remove ${basename(path)}`);
    },
  };
});

let dir: string;
let fabric: EmbeddedFabric;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-packs-'));
  fabric = await openEmbeddedFabric(dir, { create: true });
});
afterEach(async () => {
  seen.opening = undefined;
  await fabric.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Content number n of this size. */
function content(n: number, bytes: number): Uint8Array {
  const made = new Uint8Array(bytes).fill(n);
  new DataView(made.buffer).setUint32(0, n);
  return made;
}

async function putAll(contents: readonly Uint8Array[]): Promise<string[]> {
  for (const each of contents) await fabric.blobs.put(hashOf(each), each);
  return contents.map(hashOf);
}

const many = (bytes: number): Uint8Array[] =>
  Array.from({ length: 200 }, (_, n) => content(n, bytes));
const packNames = (): string[] => readdirSync(join(dir, 'packs'));

it.runIf(process.platform === 'linux')(
  'what is moved is on the disk, with its names, before the old pack goes',
  async () => {
    const hashes = await putAll(many(10_000));
    const kept = new Set(hashes.filter((_, n) => n % 3 === 0));
    seen.events = [];
    await fabric.blobs.collect((hash) => kept.has(hash), 0);
    expect(packNames()).toEqual(['2']);
    const removed = seen.events.indexOf('remove 1');
    expect(seen.events.slice(0, removed)).toEqual([
      'sync 2',
      'sync 2',
      'sync packs',
      'sync records.mdb',
    ]);
  },
);

describe('a pack', () => {
  it('that is gone, though a link to it is left, is not appended to', async () => {
    const [first] = await putAll([content(1, 1_000)]);
    linkSync(join(dir, 'packs/1'), join(dir, 'snapshot'));
    const other = await openEmbeddedFabric(dir);
    await other.blobs.collect(() => false, 0);
    await other.close();
    expect(packNames()).toEqual([]);
    const more = content(2, 1_000);
    await fabric.blobs.put(hashOf(more), more);
    expect(await fabric.blobs.get(hashOf(more))).toEqual(more);
    expect(await fabric.blobs.get(first!)).toBeUndefined();
    expect(statSync(join(dir, 'snapshot')).size).toBe(1_000);
  });

  it('that has been replaced by a copy of itself is not appended to', async () => {
    const [first] = await putAll([content(1, 1_000)]);
    const path = join(dir, 'packs/1');
    renameSync(path, join(dir, 'old'));
    writeFileSync(path, content(1, 1_000));
    const more = content(2, 1_000);
    await fabric.blobs.put(hashOf(more), more);
    expect(await fabric.blobs.get(hashOf(more))).toEqual(more);
    expect(await fabric.blobs.get(first!)).toEqual(content(1, 1_000));
  });
});
