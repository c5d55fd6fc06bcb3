/** The embedded fabric among real processes that are killed at any moment. Uses dist/. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type EmbeddedFabric,
  lockDirectory,
  openEmbeddedFabric,
  startEmbeddedHub,
} from '../../host/fabric/embedded.js';
import { bytesOf, contentOf, eventually, hashOf, View, type World } from './world.js';

const CHILD = fileURLToPath(new URL('child.mjs', import.meta.url));
const real = { sleep: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) } as World;

interface Child {
  readonly process: ChildProcess;
  readonly said: Record<string, unknown>[];
  readonly ended: Promise<void>;
}

let dir: string;
let fabric: EmbeddedFabric;
let children: Child[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-fabric-'));
  fabric = await openEmbeddedFabric(dir, { create: true });
  children = [];
});
afterEach(async () => {
  for (const child of children) child.process.kill('SIGKILL');
  await Promise.all(children.map((child) => child.ended));
  await fabric.close();
  rmSync(dir, { recursive: true, force: true });
});

function start(job: string, name: string, ...rest: string[]): Child {
  const child = fork(CHILD, [job, dir, name, ...rest], { execArgv: [] });
  const said: Record<string, unknown>[] = [];
  child.on('message', (message) => said.push(message as Record<string, unknown>));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const started = { process: child, said, ended };
  children.push(started);
  return started;
}

async function kill(child: Child): Promise<void> {
  child.process.kill('SIGKILL');
  await child.ended;
}

const said = (child: Child, what: string): Promise<unknown> =>
  eventually(real, `${what} from a child`, () => {
    const error = child.said.find((message) => 'error' in message);
    if (error !== undefined && what !== 'error') throw new Error(JSON.stringify(error));
    return child.said.find((message) => what in message)?.[what];
  });

describe('embedded fabric among processes', () => {
  it('increments by many processes, killed in the middle and started again, lose and repeat nothing', async () => {
    const names = ['p0', 'p1', 'p2'];
    const target = 400;
    const hub = await startEmbeddedHub(dir);
    const view = new View();
    fabric.records.watch('counter', view.handle);
    let kills = 0;
    const untilDone = async (name: string, seed: number): Promise<void> => {
      for (let life = 0; ; life++) {
        const child = start('increments', name, String(target));
        const early = real.sleep(250 + ((seed * 131 + life * 197) % 300));
        await Promise.race([child.ended, life < 4 ? early : child.ended]);
        if (child.said.some((message) => 'finished' in message)) return;
        expect(child.said).toEqual([]);
        if (child.process.exitCode === null) kills++;
        await kill(child);
      }
    };
    await Promise.all(names.map(untilDone));
    const count = contentOf<{ total: number; done: Record<string, number> }>(
      (await fabric.records.get('counter'))!.value,
    );
    expect(kills).toBeGreaterThan(2);
    expect(count.done).toEqual({ p0: target, p1: target, p2: target });
    expect(count.total).toBe(3 * target);
    const newest = await fabric.records.get('counter');
    await eventually(real, 'the watcher knows', () =>
      view.entries.get('counter')?.revision === newest?.revision ? true : undefined,
    );
    expect(view.wrong).toEqual([]);
    await hub.close();
  });

  it('a put killed in the middle leaves nothing visible, and what was said to be stored is there', async () => {
    let stored = 0;
    for (let life = 0; life < 6; life++) {
      const child = start('puts', `p${life}`, String(life + 1));
      await said(child, 'hash');
      await real.sleep(20 + life * 13);
      await kill(child);
      for (const { hash } of child.said) {
        expect(hashOf((await fabric.blobs.get(hash as string))!)).toBe(hash);
        stored++;
      }
    }
    let visible = 0;
    for await (const blob of fabric.blobs.list()) {
      visible++;
      expect((await fabric.blobs.get(blob.hash))!.length).toBe(blob.bytes);
    }
    expect(visible).toBeGreaterThanOrEqual(stored);
    expect(visible).toBeLessThanOrEqual(stored + 6); // at most the last one of each life was not reported any more
    await fabric.blobs.collect(() => false, 0);
    expect(fabric.usage().blobBytes).toBe(0);
  });

  it('small blobs are put, removed and moved by processes that are killed at any moment: what is kept stays', async () => {
    const isKept = (hash: string): boolean => hash < '8';
    const kept: string[] = [];
    for (let life = 0; life < 5; life++) {
      const putters = [0, 1].map((n) => start('smalls', `s${life}${n}`, String(10 * life + n)));
      const collector = start('collects', `c${life}`);
      for (const child of putters) await said(child, 'hash');
      await said(collector, 'round');
      await real.sleep(60 + life * 37);
      await Promise.all([collector, ...putters].map(kill));
      for (const child of putters)
        kept.push(...child.said.map(({ hash }) => hash as string).filter(isKept));
      for (const hash of kept) expect(hashOf((await fabric.blobs.get(hash))!)).toBe(hash);
    }
    await fabric.blobs.collect(isKept, 0);
    let bytes = 0;
    const left = new Set<string>();
    for await (const blob of fabric.blobs.list()) {
      expect(isKept(blob.hash)).toBe(true);
      expect(hashOf((await fabric.blobs.get(blob.hash))!)).toBe(blob.hash);
      left.add(blob.hash);
      bytes += blob.bytes;
    }
    for (const hash of kept) expect(left.has(hash)).toBe(true);
    expect(fabric.usage().blobBytes).toBe(bytes);
    const packs = readdirSync(join(dir, 'packs')).map((name) => statSync(join(dir, 'packs', name)));
    expect(packs.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual((bytes * 8) / 7);
    await fabric.blobs.collect(() => false, 0);
    expect(fabric.usage().blobBytes).toBe(0);
    expect(readdirSync(join(dir, 'packs'))).toEqual([]);
  });

  it('a hub that is killed and comes back elsewhere is found again', async () => {
    const echo = start('echo', 'echo');
    await said(echo, 'ready');
    const answers: string[] = [];
    const view = new View();
    fabric.messages.subscribe('answer', (message) => answers.push(contentOf(message.payload)));
    fabric.records.watch('pong', view.handle);
    let revision = 0;
    for (let round = 0; round < 3; round++) {
      const hub = start('hub', `hub-${round}`);
      await said(hub, 'socketPath');
      await eventually(real, 'an answer', async () => {
        fabric.messages.publish('ask', bytesOf(`round ${round}`));
        await real.sleep(20);
        return answers.includes(`round ${round}`) ? true : undefined;
      });
      // The child polls once an hour: only the hub's hint can make it see this.
      const outcome = await fabric.records.compareAndSet('ping', revision, bytesOf(round));
      if (outcome.kind === 'ok') revision = outcome.revision;
      await eventually(real, 'the echo', () => {
        const pong = view.entries.get('pong');
        return pong !== undefined && contentOf(pong.value) === round ? true : undefined;
      });
      await kill(hub);
      await eventually(real, 'the end of the connection', () =>
        fabric.hubConnected ? undefined : true,
      );
    }
    const last = await startEmbeddedHub(dir);
    await eventually(real, 'everybody', () => (last.clients === 2 ? true : undefined));
    await last.close();
    expect(readdirSync(dir).filter((name) => name.endsWith('.sock'))).toEqual([]);
  });

  it('a lock is held by a living process, also a stopped one, and not by a killed one', async () => {
    const holder = start('lock', 'first');
    await said(holder, 'locked');
    const busy = {
      code: 'SHERD_FABRIC_BUSY',
      message: expect.stringContaining(String(holder.process.pid)),
    };
    await expect(lockDirectory(dir)).rejects.toMatchObject(busy);
    const second = start('lock', 'second');
    expect(await said(second, 'error')).toMatchObject({ code: 'SHERD_FABRIC_BUSY' });
    holder.process.kill('SIGSTOP');
    await expect(lockDirectory(dir)).rejects.toMatchObject(busy);
    await kill(holder);
    const mine = await lockDirectory(dir);
    await mine.release();
    const third = start('lock', 'third');
    await said(third, 'locked');
  });

  it('a process killed while it holds LMDB’s lock stops nobody', async () => {
    for (let round = 0; round < 5; round++) {
      const writer = start('increments', `w${round}`, '1000000');
      await eventually(real, 'some writes', async () => {
        const entry = await fabric.records.get('counter');
        const count = entry && contentOf<{ done: Record<string, number> }>(entry.value);
        return (count?.done[`w${round}`] ?? 0) > 50 ? true : undefined;
      });
      await kill(writer);
      expect((await fabric.records.compareAndSet(`after.${round}`, 0, bytesOf(round))).kind).toBe(
        'ok',
      );
    }
  });
});
