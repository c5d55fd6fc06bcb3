/** Copies of a shard, in a cluster of one process: what the shard and the requests of others keep. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryFabric } from '../../host/fabric/memory.js';
import type { Fabric, Records } from '../../host/types/fabric.js';
import {
  ENDLESS,
  followed,
  hasRun,
  submit,
  sums,
  sumsOutput,
  TestCluster,
  until,
} from './harness.js';

const FAR = '99999999999999999';
const RUNNING = sums(ENDLESS, 1_000_000);
const LINES = 20;
const TURNS = 50_000;
const FUEL = 333_333n;

let cluster: TestCluster;
/** How many new records the control's store still takes. */
let room: number;

/** A store that refuses new records when there is no more room. */
function limited(fabric: Fabric): Fabric {
  const records: Records = {
    get: (key) => fabric.records.get(key),
    list: (prefix) => fabric.records.list(prefix),
    remove: (key, expected) => fabric.records.remove(key, expected),
    watch: (prefix, listener) => fabric.records.watch(prefix, listener),
    async compareAndSet(key, expected, value) {
      if (expected === 0 && key.startsWith('shard') && room-- <= 0) throw new Error('no more room');
      return fabric.records.compareAndSet(key, expected, value);
    },
  };
  return new Proxy(fabric, {
    get: (target, name) => (name === 'records' ? records : Reflect.get(target, name, target)),
  });
}

beforeEach(async () => {
  const memory = createMemoryFabric();
  room = Number.POSITIVE_INFINITY;
  cluster = new TestCluster((name) =>
    name.startsWith('n') ? memory.connect(name) : limited(memory.connect(name)),
  );
  await cluster.startControl();
  await cluster.startNode('n1');
});

afterEach(() => cluster.close());

describe('fork', () => {
  it('of a running shard: it goes on before its copies, all from where it was', async () => {
    const { client } = cluster;
    const id = await submit(client, RUNNING);
    await until(client, id, hasRun);
    const forked = await client.fork(id, { copies: 3 });
    expect([forked.shard, forked.copies.length, forked.error]).toEqual([id, 3, null]);
    const from = BigInt(forked.fuelUsed);
    expect(from).toBeGreaterThan(0n);
    // There is room for two: nobody waits for a place that a copy has taken.
    for (const each of [id, forked.copies[0]!]) {
      const view = await until(
        client,
        each,
        ({ status, progress }) => status === 'running' && BigInt(progress?.fuelUsed ?? 0) > from,
      );
      expect(view.wanted).toBeNull();
    }
    for (const each of forked.copies.slice(1))
      expect(await client.shard(each)).toMatchObject({
        status: 'queued',
        fuelUsed: forked.fuelUsed,
      });
  });

  it('gives copies that print the rest and end as the shard does, with the same fuel', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(LINES, TURNS), { pauseAtFuel: FUEL });
    await client.untilStatus(id, ['paused']);
    const { copies, fuelUsed } = await client.fork(id, { copies: 2 });
    expect(fuelUsed).toBe(FUEL.toString());
    await client.resume(id);
    const whole = await followed(client, id);
    expect(whole).toBe(sumsOutput(LINES, TURNS));
    const end = await client.shard(id);
    const printed = Number(FUEL / BigInt(TURNS));
    for (const copy of copies) {
      expect(await followed(client, copy)).toBe(
        whole
          .split(/(?<=\n)/)
          .slice(printed)
          .join(''),
      );
      const { fuelUsed: used, exit } = await client.shard(copy);
      expect([used, exit?.code]).toEqual([end.fuelUsed, 7]);
    }
  });

  it('leaves a paused shard paused, and a pause that was asked for asked for', async () => {
    const { client } = cluster;
    const id = await submit(client, RUNNING);
    await until(client, id, hasRun);
    await client.pause(id, { atFuel: FAR });
    await expect(client.fork(id, { copies: 1 })).rejects.toThrow('a pause of it is asked for');
    expect((await client.shard(id)).wanted).toEqual({ op: 'pause', atFuel: FAR });
    await client.pause(id);
    await client.untilStatus(id, ['paused']);
    const { copies, fuelUsed } = await client.fork(id, { copies: 1, paused: true, name: 'twin' });
    const [paused, copy] = [await client.shard(id), await client.shard(copies[0]!)];
    expect([paused.status, paused.fuelUsed]).toEqual(['paused', fuelUsed]);
    expect(copy).toMatchObject({
      status: 'paused',
      name: 'twin',
      capsule: paused.capsule,
      fuelUsed,
    });
  });

  it('of a shard that no node has taken up yet begins as that does', async () => {
    const { client } = cluster;
    const id = await submit(client, RUNNING);
    await client.pause(id);
    await client.untilStatus(id, ['paused']);
    const { copies, fuelUsed } = await client.fork(id, { copies: 2 });
    expect(fuelUsed).toBe((await client.shard(id)).fuelUsed);
    for (const copy of copies) await until(client, copy, hasRun);
  });

  // A write that fails is tried for 10 s.
  it('tells the copies that were made when one fails, and the shard goes on', {
    timeout: 120_000,
  }, async () => {
    const { client } = cluster;
    const id = await submit(client, RUNNING);
    await until(client, id, hasRun);
    room = 2;
    const forked = await client.fork(id, { copies: 5 });
    expect(forked.copies).toHaveLength(2);
    expect(forked.error).not.toBeNull();
    await until(client, id, ({ status, wanted }) => status === 'running' && wanted === null);
    room = 0;
    const none = await client.fork(id, { copies: 1 });
    expect([none.copies, none.error === null]).toEqual([[], false]);
    // Its copies have taken both places meanwhile: it waits, and is not paused.
    expect(await client.shard(id)).toMatchObject({ status: 'queued', wanted: null });
  });
});
