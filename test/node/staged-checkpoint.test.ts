/**
 * Checkpoints of shards with a large memory between real worker threads: made of a copy that is kept, each one only what was
 * written since the last; recovered from exactly.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeCapsule } from '../../host/capsule/index.js';
import { decodeStagedImage } from '../../host/capsule/staged-image.js';
import { createMemoryFabric, type MemoryFabric } from '../../host/fabric/memory.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardView } from '../../host/types/api.js';
import { ENDLESS, pausedSums, submit, sums, TestCluster, until } from '../control/harness.js';

const KIB = 4 * 1024;
const TURNS = 20_000;

let world: MemoryFabric;
let cluster: TestCluster;
const log: string[] = [];

beforeEach(async () => {
  log.length = 0;
  world = createMemoryFabric();
  cluster = new TestCluster((name) => world.connect(name));
  cluster.log = (name, what, shardId, detail) => log.push(`${name} ${what} ${shardId} ${detail}`);
  await cluster.startControl();
  await cluster.startNode('n1', 1, { stageFromBytes: KIB * 1024 });
  await cluster.startNode('n2', 1, { stageFromBytes: KIB * 1024 });
});

afterEach(() => cluster.close());

const staged = (): string[] => log.filter((line) => line.includes('staged for a checkpoint'));

/** Its capsule names an image of several batches. */
async function imageOf(view: ShardView): Promise<readonly string[]> {
  const { blobs } = world.connect('reader');
  const { header } = decodeCapsule((await blobs.get(view.capsule!))!, nodePlatform);
  if (header.base === null) return [];
  return decodeStagedImage((await blobs.get(header.base))!).batches;
}

/** Runs until so many of its checkpoints were of its copy. */
async function checkpointed(count: number): Promise<{ id: string; view: ShardView }> {
  const { client } = cluster;
  const id = await submit(client, sums(ENDLESS, TURNS, KIB));
  await until(client, id, () => staged().length >= count);
  const bytes = (await client.shard(id)).output.bytes;
  return { id, view: await until(client, id, ({ output }) => output.bytes > bytes) };
}

describe('a checkpoint of a large memory', { timeout: 180_000 }, () => {
  it('is of a kept copy: after the first one it holds only what was written since', async () => {
    const { id, view } = await checkpointed(4);
    const batches = await imageOf(view);
    expect(batches.length).toBeGreaterThan(0);
    expect(view.capsuleBytes).toBeLessThan(64 * 1024);
    // The program fills its memory once and then writes to a few lines of it.
    const last = /the last one (\d+) bytes/.exec(staged().at(-1)!)![1];
    expect(Number(last)).toBeLessThan(KIB * 64);
    expect((await client().shard(id)).restarts).toBe(0);
    await pausedSums(client(), id, TURNS, KIB);
  });

  it('is what the shard goes on from when its node dies, and a collection keeps all of it', async () => {
    const { id, view } = await checkpointed(3);
    await client().gc();
    const { blobs } = world.connect('reader');
    for (const hash of await imageOf(await client().shard(id)))
      expect(await blobs.has(hash)).toBe(true);
    const dies = cluster.nodeOf(view.owner!);
    await dies.close();
    cluster.nodes.splice(cluster.nodes.indexOf(dies), 1);
    const after = await until(client(), id, (v) => v.epoch > view.epoch && v.owner !== null);
    await until(client(), id, ({ output }) => output.bytes > after.output.bytes);
    await pausedSums(client(), id, TURNS, KIB);
  });

  it('ends when the shard is paused, moved, or at its end, and nothing is lost', async () => {
    const { id, view } = await checkpointed(2);
    await client().pause(id);
    const paused = await until(client(), id, ({ status }) => status === 'paused');
    // A capsule for a user has no list of batches below it.
    expect(await imageOf(paused)).toEqual([]);
    await client().resume(id);
    const before = staged().length;
    await until(client(), id, () => staged().length > before);
    const { owner } = await client().shard(id);
    const target = cluster.nodes.find((node) => node.id !== owner)!.id;
    await client().move(id, { target });
    const moved = await until(client(), id, (v) => v.moves === 1 && v.owner === target);
    await until(client(), id, ({ output }) => output.bytes > moved.output.bytes);
    expect(moved.output.bytes).toBeGreaterThan(view.output.bytes);
    await pausedSums(client(), id, TURNS, KIB);
  });
});

function client(): TestCluster['client'] {
  return cluster.client;
}
