/** Garbage collection while others write: what a record names, or is about to name, stays. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeCapsule } from '../../host/capsule/index.js';
import type { Cluster, ClusterListener } from '../../host/control/cluster.js';
import { Janitor } from '../../host/control/janitor.js';
import { collectGarbage } from '../../host/control/reach.js';
import { type EmbeddedFabric, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { nodePlatform } from '../../host/node/platform.js';
import { encodeSpec } from '../../host/runtime/index.js';
import type { GcReply } from '../../host/types/api.js';
import type { ProgressHint } from '../../host/types/hints.js';
import { encodePlain } from '../../host/types/pack.js';
import type { Hash } from '../../host/types/platform.js';
import type { OutputChunk, ShardRecord } from '../../host/types/records.js';
import { smallCase } from '../capsule/arbitrary.js';
import { asFile } from '../fabric/as-file.js';
import { owned, queued } from '../protocol/records.js';

let directory: string;
let fabric: EmbeddedFabric;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sherd-garbage-'));
  fabric = await openEmbeddedFabric(directory, { create: true });
});
afterEach(async () => {
  await fabric.close();
  await rm(directory, { recursive: true, force: true });
});

async function put(bytes: Uint8Array): Promise<Hash> {
  const hash = nodePlatform.sha256(bytes);
  await fabric.blobs.put(hash, bytes);
  return hash;
}

const putText = (text: string): Promise<Hash> => put(new TextEncoder().encode(text));

function chunk(previous: Hash | null, text: string): Promise<Hash> {
  const bytes = new TextEncoder().encode(text);
  const value: OutputChunk = { v: 1, previous, offset: 0, pieces: [{ stream: 'stdout', bytes }] };
  return put(encodePlain(value));
}

async function specWithStdin(hash: Hash): Promise<Hash> {
  return put(
    encodeSpec({
      v: 1,
      programName: 'test',
      moduleHash: await putText('module'),
      entry: '_start',
      entryArgs: new Uint8Array(0),
      args: [],
      env: [],
      stdin: [{ hash, bytes: 1 }],
      dirs: [],
      seed: '00'.repeat(16),
      maxMemoryPages: 0,
      maxFuel: 0n,
      maxTimeMs: 0,
      priority: 0,
    }),
  );
}

/** One that a checkpoint has left behind. */
function someCapsule(): Uint8Array {
  const { state, base } = smallCase();
  const names = { specHash: '5'.repeat(64), references: [], shardId: 's-1', epoch: 1 };
  return encodeCapsule({ ...names, state, base }, nodePlatform).bytes;
}

async function record(id: string, head: Hash | null, stdin: Hash): Promise<ShardRecord> {
  const moduleHash = await putText('module');
  const output = { head, chunks: 1, bytes: 1 };
  return queued(id, { spec: await specWithStdin(stdin), moduleHash, output });
}

const collect = async (
  readRecords: () => Promise<readonly ShardRecord[]>,
  graceMs = 0,
): Promise<Omit<GcReply, 'shards'>> => {
  // Files have times of fractions of a ms, a collection begins at a whole one: what is just written is spared.
  await setTimeout(20);
  const nowMs = (): number => performance.now();
  return collectGarbage({ fabric, platform: nodePlatform, graceMs, nowMs, readRecords });
};

describe('a collection', () => {
  it("follows what names blobs, even where the same bytes are somebody else's file", async () => {
    const first = await chunk(null, 'first');
    const head = await chunk(first, 'second');
    const plain = await putText('input');
    const stray = await putText('nobody names me');
    const records = [await record('a', null, head), await record('b', head, plain)];
    expect(await collect(async () => records)).toMatchObject({ blobs: 1 });
    expect(await fabric.blobs.get(stray)).toBeUndefined();
    expect(await fabric.blobs.get(first)).toBeDefined();
  });

  it('keeps the whole chain below a capsule, and what its newest link names', async () => {
    const input = await putText('input');
    const file = await putText('a file of the guest');
    const { state } = smallCase();
    const bytes = state.memory?.bytes ?? new Uint8Array(0);
    const names: Hash[] = [];
    for (let i = 0; i < 3; i++) {
      const [capsule, ...below] = names.toReversed();
      const base = capsule === undefined ? smallCase().base : { capsule, below, pages: 1, bytes };
      const facts = { shardId: 'a', epoch: 1, specHash: '0'.repeat(64), references: [file] };
      const fuelUsed = BigInt(i);
      const encoded = encodeCapsule(
        { ...facts, state: { ...state, fuelUsed }, base },
        nodePlatform,
      );
      names.push(await put(encoded.bytes));
    }
    const stray = await putText('nobody names me');
    const paused = { ...(await record('a', null, input)), capsule: names[2]! };
    expect(await collect(async () => [paused])).toMatchObject({ blobs: 1 });
    expect(await fabric.blobs.get(stray)).toBeUndefined();
    for (const hash of [...names, file]) expect(await fabric.blobs.get(hash)).toBeDefined();
  });

  it('keeps old capsules of the same module while a capsule cannot be read: it may be based on them', async () => {
    const lost = nodePlatform.sha256(new TextEncoder().encode('lost'));
    const capsule = await put(someCapsule());
    const { moduleHash } = smallCase().state;
    const input = await putText('input');
    const broken = { ...(await record('broken', null, input)), capsule: lost, moduleHash };
    expect(await collect(async () => [broken])).toMatchObject({ unread: [{ what: 'capsule' }] });
    expect(await fabric.blobs.get(capsule)).toBeDefined();
    const mended = { ...broken, capsule: null };
    expect(await collect(async () => [mended])).toMatchObject({ unread: [] });
    expect(await fabric.blobs.get(capsule)).toBeUndefined();
  });

  it('keeps what is named while it looks, however old it is', async () => {
    const input = await putText('input');
    const named = await record('late', await chunk(null, 'late'), input);
    let readings = 0;
    const freed = await collect(async () => (readings++ === 0 ? [] : [named]));
    expect([readings, freed.blobs]).toEqual([2, 0]);
    expect(await fabric.blobs.get(named.output.head!)).toBeDefined();
  });

  it('keeps what is put, or asked for, after it began', async () => {
    const asked = await putText('asked');
    const old = await putText('old');
    let fresh = '';
    await collect(async () => {
      if (fresh === '') {
        await setTimeout(20);
        fresh = await putText('fresh');
        expect(await fabric.blobs.has(asked)).toBe(true);
      }
      return [];
    });
    expect(await fabric.blobs.get(fresh)).toBeDefined();
    expect(await fabric.blobs.get(asked)).toBeDefined();
    expect(await fabric.blobs.get(old)).toBeUndefined();
  });

  it('keeps what a lost piece of output may name, says whose it is, and frees the rest', async () => {
    const lost = nodePlatform.sha256(new TextEncoder().encode('lost'));
    const before = await chunk(null, 'may come before the lost one');
    const stray = await putText('nobody names me');
    const capsule = await put(someCapsule());
    const broken = await record('broken', lost, await putText('input'));
    const freed = await collect(async () => [broken]);
    expect(freed).toMatchObject({
      blobs: 2,
      unread: [{ id: 'broken', what: 'output', hash: lost }],
    });
    for (const gone of [stray, capsule]) expect(await fabric.blobs.get(gone)).toBeUndefined();
    expect(await fabric.blobs.get(before)).toBeDefined();
    // A checkpoint that has been replaced meanwhile is no loss.
    const { output: _, ...rest } = broken;
    const mended = { ...rest, output: { head: null, chunks: 0, bytes: 0 } };
    let readings = 0;
    const now = await collect(async () => [readings++ === 0 ? broken : mended]);
    expect(now).toMatchObject({ blobs: 1, unread: [] });
    expect(await fabric.blobs.get(before)).toBeUndefined();
  });

  it.each(['capsule', 'spec', 'artifacts'] as const)(
    'keeps what a lost %s may name: any content of files, but no old capsule, spec or output',
    async (what) => {
      const lost = nodePlatform.sha256(new TextEncoder().encode('lost'));
      const written = await putText('a file that it wrote');
      const old = [
        await put(someCapsule()),
        await chunk(null, 'printed by a shard that is gone'),
        await specWithStdin(written),
      ];
      const broken = { ...(await record('broken', null, await putText('input'))), [what]: lost };
      const { blobs, unread } = await collect(async () => [broken]);
      expect(unread).toMatchObject([{ id: 'broken', hash: lost }]);
      // With its spec the one of `record` is unnamed, too.
      expect(blobs).toBe(what === 'spec' ? old.length + 1 : old.length);
      for (const gone of old) expect(await fabric.blobs.get(gone)).toBeUndefined();
      expect(await fabric.blobs.get(written)).toBeDefined();
    },
  );

  it('keeps what is damaged itself while something is unread: nobody knows what it was', async () => {
    const lost = nodePlatform.sha256(new TextEncoder().encode('lost'));
    const capsule = await put(someCapsule());
    await writeFile(await asFile(directory, capsule), 'overwritten');
    const broken = await record('broken', lost, await putText('input'));
    expect(await collect(async () => [broken])).toMatchObject({ blobs: 0 });
    expect(await collect(async () => [])).toMatchObject({ unread: [] });
    expect(await fabric.blobs.has(capsule)).toBe(false);
  });
});

describe('the janitor', () => {
  interface Rig {
    readonly graces: number[];
    readonly janitor: Janitor;
    readonly listener: ClusterListener;
    pass(ms: number): void;
  }

  function rig(leastBytes: number): Rig {
    let nowMs = 0;
    let listener: ClusterListener = {};
    const graces: number[] = [];
    const listen = (to: ClusterListener): (() => void) => {
      listener = to;
      return () => undefined;
    };
    const janitor = new Janitor({
      cluster: { listen } as unknown as Cluster,
      nowMs: () => nowMs,
      collect: async (graceMs) => {
        graces.push(graceMs);
        return { blobs: 1, bytes: 150, keptBlobs: 0, unread: [], shards: 0 };
      },
      leastBytes,
    });
    janitor.start();
    janitor.stop();
    const pass = (ms: number): void => {
      nowMs += ms;
    };
    return { graces, janitor, listener, pass };
  }

  const at = (capsule: string): ShardRecord =>
    owned('n1', 1, { id: 's', status: 'running', capsule, capsuleBytes: 100 });

  it('collects when checkpoints have left enough behind, and not again at once', async () => {
    const { graces, janitor, listener, pass } = rig(150);
    listener.shard?.({ record: at('a'), revision: 1 }, undefined);
    listener.shard?.({ record: at('b'), revision: 2 }, at('a'));
    await janitor.look();
    expect(graces).toHaveLength(0);
    listener.shard?.({ record: at('c'), revision: 3 }, at('b'));
    listener.shard?.({ record: at('c'), revision: 4 }, at('c'));
    expect(janitor.garbageBytes).toBe(200);
    await janitor.look();
    expect([graces.length, janitor.garbageBytes]).toEqual([1, 50]);
    listener.shard?.({ record: at('d'), revision: 5 }, at('c'));
    await janitor.look();
    expect(graces).toHaveLength(1);
    pass(3_600_000);
    await janitor.look();
    expect(graces).toHaveLength(2);
  });

  it('collects when a node says that the disk is full, and spares less', async () => {
    const { graces, janitor, listener, pass } = rig(1);
    listener.shard?.({ record: at('b'), revision: 2 }, at('a'));
    await janitor.look();
    pass(3_600_000);
    const say = (trouble: string): void =>
      listener.progress?.({ hint: { shardId: 's', trouble } as ProgressHint, atMs: 0 });
    say('');
    await janitor.look();
    expect(graces).toHaveLength(1);
    say('data: the disk is full [SHERD_DISK]');
    await janitor.look();
    expect(graces).toHaveLength(2);
    expect(graces[1]).toBeLessThan(graces[0]!);
  });

  it("counts a copy of a shard's memory when it has ended, or another one has begun", () => {
    const { janitor, listener } = rig(1e9);
    const say = (shardId: string, stagedBytes?: number): void =>
      listener.progress?.({
        hint: { shardId, trouble: '', ...(stagedBytes === undefined ? {} : { stagedBytes }) },
        atMs: 0,
      } as Parameters<NonNullable<ClusterListener['progress']>>[0]);
    for (const bytes of [100, 150, 150, 400]) say('s', bytes);
    say('t', 7);
    expect(janitor.garbageBytes).toBe(0);
    say('s', 120);
    expect(janitor.garbageBytes).toBe(400);
    say('s');
    say('s', 0);
    expect(janitor.garbageBytes).toBe(520);
    listener.shardGone?.('t', { ...at('a'), capsuleBytes: 0 });
    expect(janitor.garbageBytes).toBe(527);
    say('s', 50);
    listener.shard?.(
      { record: { ...at('a'), owner: null, status: 'paused' }, revision: 9 },
      at('a'),
    );
    expect(janitor.garbageBytes).toBe(577);
  });
});
