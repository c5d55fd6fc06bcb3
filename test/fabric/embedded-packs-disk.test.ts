/** Packs and what happens to their files: in which order things reach the disk, links, renames, failures. */
import type * as Fs from 'node:fs';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import type * as FsPromises from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type EmbeddedFabric, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { Packs } from '../../host/fabric/embedded-packs.js';
import { leaseStore, type Store } from '../../host/fabric/embedded-store.js';
import { hashOf } from './world.js';

/** What reaches the disk, in its order; what is called before a file is opened, by its path. */
const seen = vi.hoisted(() => ({
  events: [] as string[],
  /** Packs that cannot be read. */
  unreadable: new Map<string, string>(),
  /** Whole files that were read. */
  read: [] as string[],
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

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof FsPromises>();
  const readFile = async (path: string): Promise<Buffer> => {
    const code = seen.unreadable.get(basename(path));
    seen.read.push(basename(path));
    if (code !== undefined) throw Object.assign(new Error(`${code}: read`), { code });
    return real.readFile(path);
  };
  return { ...real, readFile };
});

let dir: string;
let fabric: EmbeddedFabric;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-packs-'));
  fabric = await openEmbeddedFabric(dir, { create: true });
});
afterEach(async () => {
  seen.opening = undefined;
  seen.unreadable.clear();
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
      'remove reserve',
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

  it('that cannot be read does not keep others from being tidied', async () => {
    const hashes = await putAll(many(30_000));
    expect(packNames()).toEqual(['1', '2']);
    const kept = new Set(hashes.filter((_, n) => n % 3 === 0));
    // The one with less left in it is the first one to be emptied.
    seen.unreadable.set('2', 'EIO');
    const collected = fabric.blobs.collect((hash) => kept.has(hash), 0);
    await expect(collected).rejects.toMatchObject({ code: 'SHERD_DISK' });
    expect(packNames()).toEqual(['2', '3']);
    expect(fabric.usage().blobBytes).toBe(kept.size * 30_000);
    seen.unreadable.clear();
    expect(await fabric.blobs.collect((hash) => kept.has(hash), 0)).toEqual({
      blobs: 0,
      bytes: 0,
    });
    expect(packNames()).toEqual(['3']);
  });

  it.runIf(process.platform === 'linux')(
    'that there is no room to empty is made shorter in its place, in an order that a power cut may break off',
    async () => {
      const contents = many(10_000);
      const hashes = await putAll(contents);
      const kept = new Set(hashes.filter((_, n) => n % 3 === 1));
      seen.unreadable.set('1', 'ENOSPC');
      seen.events = [];
      expect(await fabric.blobs.collect((hash) => kept.has(hash), 0)).toEqual({
        blobs: 200 - kept.size,
        bytes: (200 - kept.size) * 10_000,
      });
      // The names that went (and where the others are), what was written over, the names that changed; then the pack is cut.
      const round = ['sync packs', 'sync records.mdb', 'sync 1', 'sync records.mdb'];
      const [first, ...rounds] = seen.events;
      expect(first).toBe('remove reserve');
      expect(rounds.length).toBeGreaterThan(round.length);
      expect(rounds).toEqual(rounds.map((_, at) => round[at % round.length]));
      expect(statSync(join(dir, 'packs/1')).size).toBe(kept.size * 10_000);
      for (const each of contents) {
        const there = await fabric.blobs.get(hashOf(each));
        expect(there).toEqual(kept.has(hashOf(each)) ? each : undefined);
      }
    },
  );

  it('that is damaged at its end, or cut short, is not shortened, and says so', async () => {
    const hashes = await putAll(many(10_000));
    const kept = new Set(hashes.filter((_, n) => n % 3 === 1));
    seen.unreadable.set('1', 'ENOSPC');
    truncateSync(join(dir, 'packs/1'), 1_985_000);
    const collected = await fabric.blobs.collect((hash) => kept.has(hash), 0);
    expect(collected.untidiedPacks).toBe(1);
    expect(statSync(join(dir, 'packs/1')).size).toBe(1_985_000);
  });
});

/** With packs of their own on the same directory. */
async function withPacks(act: (packs: Packs, store: Store) => void | Promise<void>): Promise<void> {
  const { store, release } = leaseStore(join(dir, 'records.mdb'));
  const packs = new Packs(join(dir, 'packs'), store, false);
  await act(packs, store);
  packs.close();
  await release();
}

it('what is removed while it is read, and written over, is not there', async () => {
  const [hash] = await putAll([content(1, 1_000)]);
  await withPacks(async (packs, store) => {
    seen.opening = (path) => {
      seen.opening = undefined;
      store.write(() => packs.remove(hash!));
      writeFileSync(path, new Uint8Array(1_000), { flag: 'r+' });
    };
    expect(await fabric.blobs.get(hash!)).toBeUndefined();
    expect(seen.opening).toBeUndefined();
  });
});

describe('an undone transaction', () => {
  it('leaves no bytes behind, and its number goes to nobody else', async () => {
    const [first, second] = [content(1, 1_000), content(2, 2_000)];
    await withPacks((packs, store) => {
      const putBoth = (): void => {
        for (const each of [first, second]) packs.put(hashOf(each), each, 1);
      };
      const undone = (): void => {
        putBoth();
        throw new Error('undone');
      };
      expect(() => packs.write(undone)).toThrow('undone');
      expect(statSync(join(dir, 'packs/1')).size).toBe(0);
      packs.write(putBoth);
      expect(() => packs.write(undone)).toThrow('undone');
      expect(statSync(join(dir, 'packs/1')).size).toBe(3_000);
      expect(store.read(() => store.counter('pack'))).toBe(1);
    });
    for (const each of [first, second]) expect(await fabric.blobs.get(hashOf(each))).toEqual(each);
  });
});

describe('a reader that comes late', () => {
  it('to a pack that is gone finds what has been moved, and so does who asks for it', async () => {
    const each = content(1, 1_000);
    const hash = hashOf(each);
    await putAll([each]);
    let moves = 0;
    await withPacks(async (packs, store) => {
      const move = (): void => {
        seen.opening = undefined;
        moves++;
        store.write(() => packs.put(hash, each, Date.now()));
        rmSync(join(dir, 'packs/1'));
      };
      seen.opening = (path) => {
        if (path.endsWith('packs/1')) move();
      };
      expect(await fabric.blobs.get(hash)).toEqual(each);
    });
    expect(moves).toBe(1);
    expect(packNames()).toEqual(['2']);
    expect(await fabric.blobs.has(hash)).toBe(true);
  });

  it('and finds damage where it was before marks nothing', async () => {
    const each = content(1, 1_000);
    const hash = hashOf(each);
    await putAll([each]);
    writeFileSync(join(dir, 'packs/1'), content(9, 1_000));
    await withPacks(async (packs, store) => {
      const found = packs.find(hash)!;
      store.write(() => packs.put(hash, each, Date.now()));
      store.write(() => packs.mark(hash, found, Date.now()));
      expect(packs.find(hash)!.damagedMs).toBe(0);
      store.write(() => packs.mark(hash, packs.find(hash)!, 7));
      expect(packs.find(hash)!.damagedMs).toBe(7);
    });
  });
});

it('a small file of an older directory goes only when what replaces it has been stored', async () => {
  const each = content(1, 300);
  const hash = hashOf(each);
  const path = join(dir, 'blobs', hash.slice(0, 2), hash);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, 'damaged');
  await expect(fabric.blobs.get(hash)).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
  await withPacks(async (_, store) => {
    const write = vi.spyOn(store, 'write').mockImplementationOnce((act) => {
      const real = (): never => {
        act();
        throw new Error('no commit');
      };
      return store.write(real);
    });
    await expect(fabric.blobs.put(hash, each)).rejects.toThrow('no commit');
    write.mockRestore();
  });
  expect(statSync(path).size).toBe(7);
  await fabric.blobs.put(hash, each);
  expect(await fabric.blobs.get(hash)).toEqual(each);
  expect(() => statSync(path)).toThrow('ENOENT');
});

it('packs that are cut short are tidied once, not again and again', async () => {
  for (const n of [1, 2]) {
    await putAll([content(n, 1_000), content(n + 10, 1_000)]);
    await fabric.close();
    fabric = await openEmbeddedFabric(dir);
  }
  const idle = new Date(Date.now() - 3_600_000);
  for (const name of packNames()) {
    truncateSync(join(dir, 'packs', name), 1_500);
    utimesSync(join(dir, 'packs', name), idle, idle);
  }
  for (let round = 0; round < 3; round++) {
    seen.read = [];
    await fabric.blobs.collect(() => true, 0);
    expect(seen.read.length).toBe(round === 0 ? 2 : 0);
  }
  for (const n of [1, 2]) expect(await fabric.blobs.get(hashOf(content(n, 1_000)))).toBeDefined();
});

it('a source is ended when its blob cannot be written at all', async () => {
  let ended = 0;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield content(1, 20_000);
    } finally {
      ended++;
    }
  }
  rmSync(join(dir, 'tmp'), { recursive: true });
  const hash = hashOf(content(1, 10));
  await expect(fabric.blobs.put(hash, source())).rejects.toMatchObject({ code: 'SHERD_DISK' });
  expect(ended).toBe(1);
  mkdirSync(join(dir, 'tmp'));
});

it('a tidying ends where it is when its fabric is closed', async () => {
  const hashes = await putAll(many(20_000));
  const other = await openEmbeddedFabric(dir);
  const collecting = other.blobs.collect((hash) => hashes.indexOf(hash) % 3 === 0, 0);
  const outcome = collecting.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );
  while (!packNames().includes('2')) await new Promise((resolve) => setImmediate(resolve));
  await other.close();
  expect(await outcome).toBe('SHERD_FABRIC');
  for (const [n, hash] of hashes.entries())
    if (n % 3 === 0) expect(hashOf((await fabric.blobs.get(hash))!)).toBe(hash);
});
