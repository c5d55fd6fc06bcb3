/** Small blobs of the embedded fabric: packed, found, damaged, tidied. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EmbeddedFabric, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { PACKED_BYTES, Packs } from '../../host/fabric/embedded-packs.js';
import { leaseStore } from '../../host/fabric/embedded-store.js';
import { hashOf } from './world.js';

let dir: string;
let fabric: EmbeddedFabric;
let others: EmbeddedFabric[];
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-packs-'));
  fabric = await openEmbeddedFabric(dir, { create: true });
  others = [];
});
afterEach(async () => {
  for (const each of [fabric, ...others]) await each.close();
  rmSync(dir, { recursive: true, force: true });
});

async function another(): Promise<EmbeddedFabric> {
  const opened = await openEmbeddedFabric(dir);
  others.push(opened);
  return opened;
}

/** Content number n of this size. */
function content(n: number, bytes: number): Uint8Array {
  const made = new Uint8Array(bytes).map((_, i) => (i * 31 + n * 7) & 0xff);
  if (bytes >= 4) new DataView(made.buffer).setUint32(0, n);
  return made;
}

async function putAll(contents: readonly Uint8Array[], store = fabric): Promise<string[]> {
  for (const each of contents) await store.blobs.put(hashOf(each), each);
  return contents.map(hashOf);
}

const packNames = (): string[] => readdirSync(join(dir, 'packs'));
const packBytes = (): number =>
  packNames().reduce((sum, name) => sum + statSync(join(dir, 'packs', name)).size, 0);
const fileNames = (): string[] =>
  readdirSync(join(dir, 'blobs')).flatMap((part) => readdirSync(join(dir, 'blobs', part)));

async function listed(store = fabric): Promise<string[]> {
  const names: string[] = [];
  for await (const { hash } of store.blobs.list()) names.push(hash);
  return names;
}

/** Lets this much time have passed since the blobs were put or asked for last. */
async function age(hashes: readonly string[], ms: number): Promise<void> {
  const { store, release } = leaseStore(join(dir, 'records.mdb'));
  const packs = new Packs(join(dir, 'packs'), store, false);
  store.write(() => {
    for (const hash of hashes) packs.renew(hash, packs.find(hash)!, Date.now() - ms);
  });
  await release();
}

describe('small blobs', () => {
  it('lie one after the other in one file, larger ones are files of their own', async () => {
    const small = Array.from({ length: 200 }, (_, n) => content(n, 1 + n * 11));
    const limit = [content(1, PACKED_BYTES), content(2, PACKED_BYTES + 1)];
    const hashes = await putAll([...small, ...limit]);
    const bytes = small.reduce((sum, each) => sum + each.length, 0);
    expect(packNames()).toEqual(['1']);
    expect(packBytes()).toBe(bytes + PACKED_BYTES);
    expect(fileNames()).toEqual([hashes.at(-1)]);
    expect(fabric.usage().blobBytes).toBe(bytes + 2 * PACKED_BYTES + 1);
    expect((await listed()).sort()).toEqual([...hashes].sort());
    const reader = await another();
    for (const each of [...small, ...limit])
      expect(await reader.blobs.get(hashOf(each))).toEqual(each);
  });

  it('that come as streams are packed, too; a stream that turns out long is a file, all of it', async () => {
    let ended = 0;
    async function* stream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
      const memory = new Uint8Array(1_000); // the same for every part
      try {
        for (let at = 0; at < bytes.length; at += 1_000) {
          const part = memory.subarray(0, Math.min(1_000, bytes.length - at));
          part.set(bytes.subarray(at, at + 1_000));
          yield part;
        }
      } finally {
        ended++;
      }
    }
    for (const bytes of [0, 1, 1_000, PACKED_BYTES, PACKED_BYTES + 1, 100_000]) {
      const each = content(bytes, bytes);
      await fabric.blobs.put(hashOf(each), stream(each));
      expect(await fabric.blobs.get(hashOf(each))).toEqual(each);
    }
    expect(fileNames().length).toBe(2);
    expect(ended).toBe(6);
    const long = content(3, 100_000);
    await expect(fabric.blobs.put(hashOf(content(4, 5)), stream(long))).rejects.toMatchObject({
      code: 'SHERD_BLOB_DAMAGED',
    });
    expect(ended).toBe(7);
  });

  it('the empty one needs no file, and stays when all others go', async () => {
    const [empty, one] = await putAll([new Uint8Array(0), content(1, 10)]);
    await fabric.blobs.collect((hash) => hash === empty, 0);
    expect(packNames()).toEqual([]);
    expect(await fabric.blobs.has(empty!)).toBe(true);
    expect(await fabric.blobs.get(empty!)).toEqual(new Uint8Array(0));
    expect(await fabric.blobs.get(one!)).toBeUndefined();
  });

  it('put twice, by several at once, lie there once', async () => {
    const each = content(1, 5_000);
    const stores = [fabric, await another(), await another()];
    await Promise.all(stores.map(({ blobs }) => blobs.put(hashOf(each), each)));
    await fabric.blobs.put(hashOf(each), each);
    expect(packBytes()).toBe(5_000);
    expect(fabric.usage().blobBytes).toBe(5_000);
  });

  it('of an older directory are files, which are read, listed once, renewed and collected as such', async () => {
    const each = content(1, 300);
    const hash = hashOf(each);
    const path = join(dir, 'blobs', hash.slice(0, 2), hash);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, each);
    expect(await fabric.blobs.has(hash)).toBe(true);
    await fabric.blobs.put(hash, each);
    expect(packNames()).toEqual([]);
    expect(await listed()).toEqual([hash]);
    expect(await fabric.blobs.get(hash)).toEqual(each);
    // Damaged, it is replaced by what is put; the file must not stand before that.
    writeFileSync(path, 'damaged');
    await expect(fabric.blobs.get(hash)).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    await fabric.blobs.put(hash, each);
    expect(fileNames()).toEqual([]);
    expect(await fabric.blobs.get(hash)).toEqual(each);
    await fabric.blobs.collect(() => true, 0);
    expect(fabric.usage().blobBytes).toBe(300);
    // Copied back by somebody, it is there in both ways: as one.
    writeFileSync(path, each);
    expect(await listed()).toEqual([hash]);
  });
});

describe('damage in a pack', () => {
  it('is found in what it hits and nowhere else, and mended by a put', async () => {
    const contents = [content(1, 2_000), content(2, 3_000), content(3, 4_000)];
    const [first, hit, last] = await putAll(contents);
    const pack = join(dir, 'packs/1');
    const damaged = readFileSync(pack);
    damaged[2_500]! ^= 16;
    writeFileSync(pack, damaged);
    const error = { code: 'SHERD_BLOB_DAMAGED', at: hit };
    await expect(fabric.blobs.get(hit!)).rejects.toMatchObject(error);
    const stream = fabric.blobs.read(hit!)[Symbol.asyncIterator]();
    await expect(stream.next()).rejects.toMatchObject(error);
    for (const sound of [first, last])
      expect(hashOf((await fabric.blobs.get(sound!))!)).toBe(sound);
    expect(await fabric.blobs.has(hit!)).toBe(false);
    await fabric.blobs.put(hit!, contents[1]!);
    expect(await fabric.blobs.has(hit!)).toBe(true);
    expect(await fabric.blobs.get(hit!)).toEqual(contents[1]);
    expect(fabric.usage().blobBytes).toBe(9_000);
  });

  it('that is mended by copying the pack back is no damage any more', async () => {
    const each = content(1, 2_000);
    const [hash] = await putAll([each]);
    const pack = join(dir, 'packs/1');
    for (const reads of [false, true]) {
      writeFileSync(pack, Buffer.from(each).fill(9, 100, 110));
      await expect(fabric.blobs.get(hash!)).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
      expect(await fabric.blobs.has(hash!)).toBe(false);
      writeFileSync(pack, each);
      if (reads) expect(await fabric.blobs.get(hash!)).toEqual(each);
      expect(await fabric.blobs.has(hash!)).toBe(true);
    }
  });

  it('a pack that is cut short has damaged blobs; one that is missing has none; both are mended by puts', async () => {
    const contents = [content(1, 2_000), content(2, 3_000)];
    const [first, second] = await putAll(contents);
    truncateSync(join(dir, 'packs/1'), 2_500);
    expect(await fabric.blobs.get(first!)).toEqual(contents[0]);
    await expect(fabric.blobs.get(second!)).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    await fabric.blobs.put(second!, contents[1]!);
    expect(await fabric.blobs.get(second!)).toEqual(contents[1]);
    rmSync(join(dir, 'packs/1'));
    for (const hash of [first!, second!]) {
      expect(await fabric.blobs.has(hash)).toBe(false);
      expect(await fabric.blobs.get(hash)).toBeUndefined();
    }
    await putAll(contents);
    for (const each of contents) expect(await fabric.blobs.get(hashOf(each))).toEqual(each);
    expect(fabric.usage().blobBytes).toBe(5_000);
  });
});

describe('a collection', () => {
  it('takes what is dead out of packs, keeps ages and marks, and leaves no pack with nothing in it', async () => {
    const contents = Array.from({ length: 400 }, (_, n) => content(n, 20_000 + n));
    const hashes = await putAll(contents);
    expect(packNames().length).toBeGreaterThan(1);
    const kept = new Set(hashes.filter((_, n) => n % 5 === 0));
    const [old, damaged] = [...kept];
    await age([old!], 3_600_000);
    const { store, release } = leaseStore(join(dir, 'records.mdb'));
    const packs = new Packs(join(dir, 'packs'), store, false);
    const before = packs.find(damaged!)!;
    store.write(() => packs.mark(damaged!, before, 7));
    const other = await another();
    await other.blobs.collect((hash) => kept.has(hash), 0);
    expect(packs.find(damaged!)).toMatchObject({ damagedMs: 7, renewedMs: before.renewedMs });
    expect(packs.hasMoved(damaged!, before)).toBe(true);
    await release();
    const bytes = contents
      .filter((_, n) => n % 5 === 0)
      .reduce((sum, each) => sum + each.length, 0);
    expect(fabric.usage().blobBytes).toBe(bytes);
    expect(packBytes()).toBeLessThanOrEqual((bytes * 8) / 7);
    for (const [n, each] of contents.entries())
      expect(await fabric.blobs.get(hashes[n]!)).toEqual(n % 5 === 0 ? each : undefined);
    // This handle's pack is gone: it goes on in a new one.
    const more = content(1_000, 100);
    await fabric.blobs.put(hashOf(more), more);
    expect(await other.blobs.get(hashOf(more))).toEqual(more);
    const ages = new Map<string, number>();
    for await (const { hash, ageMs } of other.blobs.list()) ages.set(hash, ageMs);
    expect(ages.get(old!)).toBeGreaterThanOrEqual(3_600_000);
    expect(ages.get(damaged!)).toBeLessThan(3_600_000);
    expect(await other.blobs.collect(() => false, 3_000_000)).toMatchObject({ blobs: 1 });
    await other.blobs.collect(() => false, 0);
    expect(packNames()).toEqual([]);
    expect(fabric.usage().blobBytes).toBe(0);
  });

  it('spares what is young, and what is asked for becomes young', async () => {
    const hashes = await putAll([content(1, 10), content(2, 10), content(3, 10)]);
    await age(hashes.slice(0, 2), 7_200_000);
    expect(await fabric.blobs.has(hashes[0]!)).toBe(true);
    expect(await fabric.blobs.collect(() => false, 3_600_000)).toEqual({ blobs: 1, bytes: 10 });
    expect((await listed()).sort()).toEqual([hashes[0], hashes[2]].sort());
  });

  it('puts packs of handles that are gone together, not those in use', async () => {
    const contents = Array.from({ length: 6 }, (_, n) => content(n, 5_000));
    for (const each of contents) {
      const store = await openEmbeddedFabric(dir);
      await store.blobs.put(hashOf(each), each);
      await store.close();
    }
    expect(packNames().length).toBe(6);
    await fabric.blobs.collect(() => true, 0);
    expect(packNames().length).toBe(6);
    const idle = new Date(Date.now() - 3_600_000);
    for (const name of packNames().slice(1)) utimesSync(join(dir, 'packs', name), idle, idle);
    await fabric.blobs.collect(() => true, 0);
    expect(packNames().length).toBe(2);
    for (const each of contents) expect(await fabric.blobs.get(hashOf(each))).toEqual(each);
  });

  it('moves blobs while others read and put them: nobody misses one', async () => {
    const contents = Array.from({ length: 300 }, (_, n) => content(n, 15_000));
    const hashes = await putAll(contents);
    const reader = await another();
    const writer = await another();
    const kept = new Set(hashes.filter((_, n) => n % 3 === 0));
    let collecting = true;
    const reading = (async () => {
      for (let n = 0; collecting || n < 300; n++) {
        const hash = hashes[(n * 3) % 300]!;
        expect(hashOf((await reader.blobs.get(hash))!)).toBe(hash);
        if (n % 4 === 0) await writer.blobs.put(hash, contents[(n * 3) % 300]!);
        if (n % 5 === 0) {
          const fresh = content(10_000 + n, 3_000);
          await writer.blobs.put(hashOf(fresh), fresh);
          kept.add(hashOf(fresh));
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 4; round++) await fabric.blobs.collect((hash) => kept.has(hash), 0);
    collecting = false;
    await reading;
    for (const hash of kept) expect(hashOf((await reader.blobs.get(hash))!)).toBe(hash);
  });

  it('goes on where one before it was cut off in the middle of moving', async () => {
    const contents = Array.from({ length: 40 }, (_, n) => content(n, 10_000));
    const hashes = await putAll(contents);
    await fabric.blobs.collect((hash) => hashes.indexOf(hash) % 2 === 0, 0);
    // As if half of what is left had been moved: the same bytes elsewhere, named there.
    const { store, release } = leaseStore(join(dir, 'records.mdb'));
    const packs = new Packs(join(dir, 'packs'), store, false);
    store.write(() => {
      for (const n of [0, 2, 4, 6]) packs.put(hashes[n]!, contents[n]!, Date.now());
    });
    packs.close();
    await release();
    await fabric.blobs.collect(() => true, 0);
    for (const [n, each] of contents.entries())
      expect(await fabric.blobs.get(hashes[n]!)).toEqual(n % 2 === 0 ? each : undefined);
    expect(packBytes()).toBeLessThanOrEqual((200_000 * 8) / 7);
  });
});

it('any order of puts, questions and collections by two handles is as a map of names (model)', async () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant('put' as const), n: fc.nat(30), by: fc.nat(1) }),
    fc.record({ what: fc.constant('has' as const), n: fc.nat(30), by: fc.nat(1) }),
    fc.record({ what: fc.constant('collect' as const), n: fc.nat(30), by: fc.nat(1) }),
    fc.record({ what: fc.constant('reopen' as const), n: fc.nat(30), by: fc.nat(1) }),
  );
  const sizes = [0, 1, 900, 4_096, 31_000, PACKED_BYTES, PACKED_BYTES + 1];
  const named = (n: number): Uint8Array => content(n, sizes[n % sizes.length]! + (n % 3));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      const place = mkdtempSync(join(tmpdir(), 'sherd-packs-'));
      const stores = [
        await openEmbeddedFabric(place, { create: true }),
        await openEmbeddedFabric(place),
      ];
      const there = new Map<string, Uint8Array>();
      try {
        for (const { what, n, by } of steps) {
          const each = named(n);
          const hash = hashOf(each);
          if (what === 'put') {
            await stores[by]!.blobs.put(hash, each);
            there.set(hash, each);
          } else if (what === 'has') {
            expect(await stores[by]!.blobs.has(hash)).toBe(there.has(hash));
          } else if (what === 'collect') {
            const keep = (name: string): boolean => Number.parseInt(name.slice(0, 2), 16) % 31 > n;
            await new Promise((resolve) => setTimeout(resolve, 2));
            await stores[by]!.blobs.collect(keep, 0);
            for (const name of there.keys()) if (!keep(name)) there.delete(name);
          } else {
            await stores[by]!.close();
            stores[by] = await openEmbeddedFabric(place);
          }
        }
        for (const [by, store] of stores.entries()) {
          expect((await listed(store)).sort(), String(by)).toEqual([...there.keys()].sort());
          for (const [hash, each] of there) expect(await store.blobs.get(hash)).toEqual(each);
        }
        const bytes = [...there.values()].reduce((sum, each) => sum + each.length, 0);
        expect(stores[0]!.usage().blobBytes).toBe(bytes);
      } finally {
        for (const store of stores) await store.close();
        rmSync(place, { recursive: true });
      }
    }),
    { numRuns: 25 },
  );
});
