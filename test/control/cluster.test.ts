/** Control and nodes together, in one process, over the memory fabric: what a client sees from submit to end. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryFabric } from '../../host/fabric/memory.js';
import { SherdError } from '../../host/types/errors.js';
import {
  compiled,
  ENDLESS,
  followed,
  hasRun,
  pausedSums,
  SPIN,
  sleeps,
  submit,
  sums,
  sumsOutput,
  TestCluster,
  TRAP,
  until,
} from './harness.js';

const LINES = 40;
const TURNS = 1_000_000;

let cluster: TestCluster;

beforeEach(async () => {
  const memory = createMemoryFabric();
  cluster = new TestCluster((name) => memory.connect(name));
  await cluster.startControl();
  await cluster.startNode('n1');
  await cluster.startNode('n2');
});

afterEach(() => cluster.close());

describe('a shard in a cluster', () => {
  it('runs to its end; output, exit code and trace are complete', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(LINES, 10_000));
    expect(await followed(client, id)).toBe(sumsOutput(LINES, 10_000));
    const view = await client.shard(id);
    expect(view).toMatchObject({
      status: 'done',
      owner: null,
      capsule: null,
      restarts: 0,
      reason: '',
    });
    expect(view.exit).toMatchObject({ reason: 'exit', code: 7 });
    const steps = new Set<number>();
    for await (const event of client.events()) if (event.shardId === id) steps.add(event.step);
    // On a busy machine it may be moved, too.
    steps.delete(7);
    expect([...steps].sort()).toEqual([1, 2, 3, 4, 5]);
  });

  it('moves back and forth; nothing is lost or repeated, and the table of moves is filled', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(ENDLESS, TURNS, 256));
    const output = followed(client, id);
    // What it prints comes after its memory is filled.
    await until(client, id, (view) => view.output.bytes > 0);
    for (let moves = 0; moves < 6; moves++) {
      const { owner } = await client.shard(id);
      const target = cluster.nodes.find((node) => node.id !== owner)!.id;
      await client.move(id, { target });
      await until(client, id, (view) => view.owner === target && view.status === 'running');
    }
    const text = await pausedSums(client, id, TURNS, 256);
    expect((await client.shard(id)).moves).toBe(6);
    await client.kill(id);
    expect(await output).toBe(text);
    const table = await client.moves(id);
    expect(table).toHaveLength(6);
    for (const move of table) {
      expect(move.capsuleBytes).toBeGreaterThan(256 * 1024);
      expect(move.downMs).toBeGreaterThan(0);
      expect(move.restoreUs).toBeGreaterThan(0);
    }
  });

  it('pauses at exactly the fuel that was asked for, and resumes to the same output', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(LINES, 50_000), { pauseAtFuel: 1_234_567n });
    const paused = await client.untilStatus(id, ['paused', 'done']);
    expect(paused).toMatchObject({ status: 'paused', fuelUsed: '1234567', owner: null });
    expect(paused.artifacts).not.toBeNull();
    await client.resume(id);
    await client.pause(id, { atFuel: '1500000' });
    expect(await client.untilStatus(id, ['paused', 'done'])).toMatchObject({ fuelUsed: '1500000' });
    await client.resume(id);
    expect(await followed(client, id)).toBe(sumsOutput(LINES, 50_000));
  });

  it('pauses a busy loop, says why it does not run, and shows what is inside', async () => {
    const { client } = cluster;
    const id = await submit(client, SPIN);
    await until(client, id, hasRun);
    const live = await client.inspect(id);
    expect(live.source).toBe('live');
    expect(live.source === 'live' ? live.guestStack.join() : '').toContain('turn');
    await client.pause(id);
    const paused = await client.untilStatus(id, ['paused']);
    expect(paused.reason).not.toBe('');
    expect((await client.inspect(id)).source).toBe('capsule');
    await client.pause(id);
    // It has computed something: only who insists loses that.
    await expect(client.remove(id)).rejects.toMatchObject({
      code: 'SHERD_STATE',
      message: expect.stringContaining('is paused, not done'),
    });
    expect((await client.shard(id)).capsule).toBe(paused.capsule);
    await client.remove(id, { force: true });
    await expect(client.shard(id)).rejects.toMatchObject({ code: 'SHERD_NO_SHARD' });
  });

  it('kills; twice is no error; a killed shard does not resume', async () => {
    const { client } = cluster;
    const id = await submit(client, SPIN);
    await until(client, id, (view) => view.status === 'running');
    await expect(client.remove(id)).rejects.toMatchObject({ code: 'SHERD_STATE' });
    await client.kill(id);
    const view = await client.untilStatus(id, ['done']);
    expect(view.exit).toMatchObject({ reason: 'killed', code: 137 });
    await client.kill(id);
    await expect(client.resume(id)).rejects.toMatchObject({ code: 'SHERD_STATE' });
  });

  it('kill --force ends it without asking its node', async () => {
    const { client } = cluster;
    const id = await submit(client, SPIN);
    await until(client, id, (view) => view.status === 'running');
    expect((await client.kill(id, { force: true })).status).toBe('done');
    const next = await submit(client, sums(2, 10));
    expect(await followed(client, next)).toBe(sumsOutput(2, 10));
  });

  it('what waits for a place is not forgotten by mistake, and a move that finds none is refused at once', async () => {
    const { client } = cluster;
    const ids: string[] = [];
    // Two nodes of one worker take two each; the fifth waits.
    for (let i = 0; i < 5; i++) ids.push(await submit(client, SPIN));
    const [first, , , , waiting] = ids as [string, string, string, string, string];
    for (const id of ids.slice(0, 4)) await client.untilStatus(id, ['running']);
    const refused = {
      code: 'SHERD_STATE',
      message: expect.stringContaining('is queued, not done'),
    };
    await expect(client.remove(waiting)).rejects.toMatchObject(refused);
    expect((await client.shard(waiting)).status).toBe('queued');
    const full = {
      code: 'SHERD_STATE',
      message: expect.stringContaining('no other node has room'),
    };
    for (let twice = 0; twice < 2; twice++)
      await expect(client.move(first)).rejects.toMatchObject(full);
    expect(await client.shard(first)).toMatchObject({ status: 'running', wanted: null, moves: 0 });
    for (const id of ids) await client.remove(id, { force: true });
  });

  it('reports a trap with the guest stack, and keeps the output before it', async () => {
    const { client } = cluster;
    const id = await submit(client, TRAP);
    expect(await followed(client, id)).toBe('1\n');
    const { exit } = await client.shard(id);
    expect(exit).toMatchObject({ reason: 'trap', code: 134 });
    expect(exit?.guestStack.join()).toContain('divide');
  });

  it('stops at its fuel quota and at its time quota', async () => {
    const { client } = cluster;
    const fuel = await submit(client, SPIN, { maxFuel: 1_000_000n });
    const time = await submit(client, SPIN, { maxTimeMs: 100 });
    expect((await client.untilStatus(fuel, ['done'])).exit).toMatchObject({
      reason: 'fuel-quota',
      code: 124,
    });
    expect((await client.shard(fuel)).fuelUsed).toBe('1000000');
    expect((await client.untilStatus(time, ['done'])).exit).toMatchObject({
      reason: 'time-quota',
      code: 124,
    });
  });

  it('shares one worker fairly between shards', async () => {
    const { client } = cluster;
    await cluster.nodes[1]!.stop();
    const ids = [await submit(client, SPIN), await submit(client, SPIN)];
    for (const id of ids) await until(client, id, hasRun);
    const fuel = async (): Promise<number[]> =>
      Promise.all(ids.map(async (id) => Number((await client.shard(id)).progress?.fuelUsed ?? 0)));
    const before = await fuel();
    // Both have run for a second or more: that one was kept from its core for some 10 ms, by whatever else this machine
    // does, is charged to it as its turn, and weighs little then.
    let after = before;
    while (after.some((value, i) => value - before[i]! < 1_000_000_000)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      after = await fuel();
    }
    const [a, b] = after.map((value, i) => value - before[i]!);
    expect(a! / b!).toBeGreaterThan(0.4);
    expect(a! / b!).toBeLessThan(2.5);
    for (const id of ids) await client.kill(id);
  });

  it('spreads its shards over the worker threads again when one falls idle', async () => {
    const { client } = cluster;
    for (const node of cluster.nodes.splice(0)) await node.stop();
    const node = await cluster.startNode('wide', 2);
    const first = await submit(client, SPIN);
    const second = await submit(client, SPIN);
    await until(client, second, hasRun);
    const third = await submit(client, sums(ENDLESS, TURNS));
    await until(client, third, hasRun);
    expect([...node.pool.runsByThread].sort()).toEqual([1, 2]);
    await client.kill(first);
    await client.untilStatus(first, ['done']);
    // Two in one thread, or one in each already, whichever shared with the killed one.
    while (node.pool.runsByThread.join() !== '1,1') await new Promise((r) => setTimeout(r, 20));
    await pausedSums(client, third, TURNS);
    expect(await client.shard(third)).toMatchObject({ moves: 0, restarts: 0 });
    await client.kill(second);
  });

  it('sleeping shards do not keep a worker, and sleep on after a move', async () => {
    const { client } = cluster;
    const id = await submit(client, sleeps(1_500));
    const asleep = await until(client, id, (view) => view.progress?.activity === 'sleeping');
    const target = cluster.nodes.find((node) => node.id !== asleep.owner)!.id;
    const other = await submit(client, sums(2, 10));
    expect(await followed(client, other)).toBe(sumsOutput(2, 10));
    await client.move(id, { target });
    expect(await followed(client, id)).toBe('1\n2\n');
    expect((await client.shard(id)).moves).toBe(1);
  });
});

describe('a cluster that loses parts', () => {
  it('recovers the shard of a lost node from its last commit; output is complete and not repeated', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(ENDLESS, TURNS));
    const output = followed(client, id);
    const view = await until(client, id, (seen) => seen.output.bytes > 0 && seen.capsule !== null);
    await cluster.nodeOf(view.owner).close();
    await until(client, id, (seen) => seen.restarts === 1 && seen.output.bytes > view.output.bytes);
    const text = await pausedSums(client, id, TURNS);
    await client.kill(id);
    expect(await output).toBe(text);
  });

  it('carries a shard on when its worker thread dies', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(ENDLESS, TURNS));
    const view = await until(client, id, (seen) => seen.output.bytes > 0);
    await cluster.nodeOf(view.owner).pool.endThread(0);
    const before = (await client.shard(id)).output.bytes;
    await until(client, id, (seen) => seen.output.bytes > before);
    await pausedSums(client, id, TURNS);
    expect((await client.shard(id)).restarts).toBe(0);
  });

  it('goes on under a new control when the old one is gone', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(ENDLESS, TURNS));
    const output = followed(client, id);
    const view = await until(client, id, (seen) => seen.output.bytes > 0);
    const old = cluster.control!;
    cluster.control = undefined;
    await old.crash();
    await cluster.startControl();
    const later = await submit(client, sums(2, 10));
    expect(await followed(client, later)).toBe(sumsOutput(2, 10));
    await until(client, id, (seen) => seen.output.bytes > view.output.bytes);
    const text = await pausedSums(client, id, TURNS);
    await client.kill(id);
    expect(await output).toBe(text);
  });

  it('stores everything on a shutdown; a later start carries on', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(ENDLESS, TURNS));
    const before = await until(client, id, (seen) => seen.output.bytes > 0);
    expect(await client.shutdown()).toEqual({ paused: 1 });
    const stored = await client.shard(id);
    expect(stored).toMatchObject({ status: 'queued', owner: null });
    expect(BigInt(stored.fuelUsed)).toBeGreaterThanOrEqual(BigInt(before.fuelUsed));
    for (const node of cluster.nodes.splice(0)) await node.close();
    await cluster.control!.close();
    await cluster.startControl();
    await cluster.startNode('n3');
    await until(client, id, (seen) => seen.output.bytes > stored.output.bytes);
    await pausedSums(client, id, TURNS);
  });
});

describe('the HTTP API', () => {
  it('refuses a request without the token, and says nothing else', async () => {
    const { url } = cluster.control!.info;
    for (const headers of [{}, { authorization: 'Bearer x' }]) {
      const response = await fetch(`${url}/v1/shards`, { headers });
      expect(response.status).toBe(401);
      expect(await response.text()).toBe('');
    }
  });

  it('answers bad input with a code and the place', async () => {
    const { client } = cluster;
    const { url, token } = cluster.control!.info;
    await expect(client.shard('s-none')).rejects.toBeInstanceOf(SherdError);
    await expect(client.getBlob('zz')).rejects.toMatchObject({ code: 'SHERD_USAGE', exitCode: 2 });
    await expect(client.getBlob('0'.repeat(64))).rejects.toMatchObject({
      code: 'SHERD_BLOB_MISSING',
    });
    await expect(client.putBlob('0'.repeat(64), Uint8Array.of(1))).rejects.toMatchObject({
      code: 'SHERD_BLOB_DAMAGED',
    });
    const submission = { name: 'x', spec: '1'.repeat(64), moduleHash: '2'.repeat(64), priority: 0 };
    await expect(client.submit(submission)).rejects.toMatchObject({ code: 'SHERD_BLOB_MISSING' });
    await expect(client.submit({ ...submission, spec: 'x' })).rejects.toMatchObject({
      code: 'SHERD_USAGE',
    });
    const headers = { authorization: `Bearer ${token}` };
    const notJson = await fetch(`${url}/v1/shards`, { method: 'POST', headers, body: '{' });
    expect(notJson.status).toBe(400);
    const long = { method: 'POST', headers, body: `{"name":"${'x'.repeat(2 << 20)}"}` };
    const tooLong = await fetch(`${url}/v1/shards`, long);
    expect([tooLong.status, (await tooLong.json()).error.code]).toEqual([413, 'SHERD_LIMIT']);
    const unknown = await fetch(`${url}/v1/nothing`, { headers });
    expect((await unknown.json()).error.code).toBe('SHERD_USAGE');
    const id = await submit(client, SPIN);
    await until(client, id, (view) => view.status === 'running');
    await expect(client.move(id, { target: 'n9' })).rejects.toMatchObject({ code: 'SHERD_STATE' });
    await client.kill(id);
  });

  it('numbers events for its own trace only', async () => {
    const { url, token } = cluster.control!.info;
    const headers = { authorization: `Bearer ${token}` };
    const ask = async (query: string): Promise<{ kind: string; event?: { seq: number } }[]> => {
      const answer = await fetch(`${url}/v1/events?${query}`, { headers });
      const lines = (await answer.text()).trimEnd().split('\n');
      return lines.map((line) => JSON.parse(line));
    };
    const [first, ...all] = await ask('from=0');
    expect([first?.kind, all.length > 2, all.at(-1)?.kind]).toEqual(['trace', true, 'end']);
    const last = all.at(-2)?.event?.seq ?? 0;
    const { id } = first as unknown as { id: string };
    expect((await ask(`from=${last}&trace=${id}`))[1]?.event?.seq).toBe(last);
    expect((await ask(`from=${last}&trace=other`))[1]).toEqual(all[0]);
  });

  it('collects blobs that no record reaches, and only these', async () => {
    const { client } = cluster;
    const id = await submit(client, sums(LINES, 50_000), { pauseAtFuel: 500_000n });
    await client.untilStatus(id, ['paused']);
    const stray = new TextEncoder().encode('nobody names me');
    const { nodePlatform } = await import('../../host/node/platform.js');
    await client.putBlob(nodePlatform.sha256(stray), stray);
    expect((await client.gc()).blobs).toBe(0);
    expect((await client.gc({ graceMs: 0 })).blobs).toBeGreaterThan(0);
    expect(await client.hasBlob(nodePlatform.sha256(stray))).toBe(false);
    const { moduleHash } = await compiled(sums(LINES, 50_000));
    expect(await client.hasBlob(moduleHash)).toBe(true);
    const use = await client.du();
    expect(use.reachableBlobs).toBe(use.blobs);
    expect(use.shards.map((shard) => shard.id)).toEqual([id]);
    await client.resume(id);
    expect(await followed(client, id)).toBe(sumsOutput(LINES, 50_000));
  });

  it('moves by the name of a node, and anywhere', async () => {
    const { client } = cluster;
    const id = await submit(client, SPIN);
    const { owner } = await until(client, id, (view) => view.status === 'running');
    const target = owner!.startsWith('n1') ? 'n2' : 'n1';
    await client.move(id, { target });
    await until(
      client,
      id,
      (view) => view.owner?.startsWith(target) === true && view.status === 'running',
    );
    await client.move(id);
    await until(client, id, (view) => view.owner === owner && view.status === 'running');
    await client.kill(id);
  });
});
