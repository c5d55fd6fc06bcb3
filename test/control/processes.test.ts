/** The cluster as it is used: real processes over the embedded fabric, killed with SIGKILL wherever it hurts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Supervisor } from '../../host/cli/supervisor.js';
import { processIsGone } from '../../host/control/server.js';
import {
  CODE,
  ENDLESS,
  followed,
  pausedSums,
  SPIN,
  submit,
  sums,
  sumsOutput,
  until,
} from './harness.js';

const TURNS = 1_000_000;
const KIB = 1_024;
const PROGRAM = sums(ENDLESS, TURNS, KIB);

let directory: string;
let running: Supervisor[];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sherd-processes-'));
  running = [];
});

afterEach(async () => {
  for (const supervisor of running) await supervisor.stop();
  await rm(directory, { recursive: true, force: true });
});

async function up(nodes = 2): Promise<Supervisor> {
  const supervisor = await Supervisor.start({ directory, nodes, workers: 1, code: CODE });
  running.push(supervisor);
  return supervisor;
}

function kill(
  supervisor: Supervisor,
  which: (child: Supervisor['pids'][number]) => boolean,
): number {
  const child = supervisor.pids.find(which);
  if (child === undefined) throw new Error('no such child');
  process.kill(child.pid, 'SIGKILL');
  return child.pid;
}

async function gone(pids: readonly number[]): Promise<void> {
  while (!pids.every(processIsGone)) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('a cluster of processes', () => {
  it('moves 1 MiB of state between processes; the output is that of a straight run', async () => {
    const { client } = await up(3);
    const id = await submit(client, PROGRAM);
    const output = followed(client, id);
    // Not before all of it is filled: a pass of the filling loop is one of fuel, and writes at least one byte.
    let view = await until(
      client,
      id,
      ({ progress }) => progress !== null && BigInt(progress.fuelUsed) > BigInt(KIB * 1_024),
    );
    const visited = new Set([view.owner]);
    for (let i = 0; i < 5; i++) {
      const nodes = await client.nodes();
      const target = nodes.filter(({ node }) => node.id !== view.owner)[i % 2]!.node.id;
      await client.move(id, { target });
      view = await until(client, id, (seen) => seen.owner === target && seen.status === 'running');
      visited.add(target);
    }
    expect(visited.size).toBeGreaterThan(1);
    const text = await pausedSums(client, id, TURNS, KIB);
    await client.kill(id);
    expect(await output).toBe(text);
    const moves = await client.moves(id);
    expect(moves).toHaveLength(5);
    expect(moves.every((move) => move.capsuleBytes > 1_000_000)).toBe(true);
  });

  it('SIGKILL of the node: the shard goes on elsewhere, output complete and not repeated', async () => {
    const supervisor = await up();
    const { client } = supervisor;
    const id = await submit(client, PROGRAM);
    const output = followed(client, id);
    for (let kills = 1; kills <= 2; kills++) {
      const before = (await client.shard(id)).output.bytes;
      const view = await until(
        client,
        id,
        (seen) =>
          seen.status === 'running' && seen.restarts === kills - 1 && seen.output.bytes > before,
      );
      kill(supervisor, (child) => child.nodeId === view.owner);
    }
    const { output: before } = await client.shard(id);
    await until(client, id, (seen) => seen.restarts === 2 && seen.output.bytes > before.bytes);
    const text = await pausedSums(client, id, TURNS, KIB);
    await client.kill(id);
    expect(await output).toBe(text);
  });

  it('a control and a node that were stopped, and not continued, are replaced; nothing is lost', {
    timeout: 180_000,
  }, async () => {
    const how = { directory, nodes: 1, workers: 1, code: CODE, stoppedMs: 1_000 };
    const supervisor = await Supervisor.start(how);
    running.push(supervisor);
    const { client } = supervisor;
    const id = await submit(client, PROGRAM);
    for (const name of ['control', 'n1']) {
      const { bytes } = (await until(client, id, (seen) => seen.output.bytes > 0)).output;
      const stopped = supervisor.pids.find((child) => child.name === name)?.pid ?? 0;
      process.kill(stopped, 'SIGSTOP');
      while (supervisor.pids.every((child) => child.name !== name || child.pid === stopped))
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(processIsGone(stopped)).toBe(true);
      await until(client, id, (seen) => seen.status === 'running' && seen.output.bytes > bytes);
    }
    expect((await client.shard(id)).restarts).toBe(1);
    await pausedSums(client, id, TURNS, KIB);
    await client.kill(id);
  });

  it('a process that cannot be started is tried again until it can', async () => {
    const lines: string[] = [];
    const log = (line: string): unknown => lines.push(line);
    const supervisor = await Supervisor.start({ directory, nodes: 1, workers: 1, code: CODE, log });
    running.push(supervisor);
    const { execPath } = process;
    process.execPath = path.join(directory, 'no-such-program');
    const killed = kill(supervisor, (child) => child.nodeId !== undefined);
    try {
      while (!lines.some((line) => line.includes('could not be started')))
        await new Promise((resolve) => setTimeout(resolve, 10));
    } finally {
      process.execPath = execPath;
    }
    expect(lines.join('\n')).toMatch(/no process can be started: ENOENT .* \[SHERD_LIMIT\]/);
    const again = (): boolean =>
      supervisor.pids.some((child) => child.nodeId !== undefined && child.pid !== killed);
    while (!again()) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it('SIGKILL of the control: another one takes over, clients go on, nothing is lost', async () => {
    const supervisor = await up();
    const { client } = supervisor;
    const id = await submit(client, PROGRAM);
    const output = followed(client, id);
    const view = await until(client, id, (seen) => seen.output.bytes > 0);
    const before = await supervisor.info();
    kill(supervisor, (child) => child.name === 'control');
    const later = await submit(client, sums(2, 10));
    expect(await followed(client, later)).toBe(sumsOutput(2, 10));
    expect((await supervisor.info()).pid).not.toBe(before.pid);
    await until(client, id, (seen) => seen.output.bytes > view.output.bytes);
    const text = await pausedSums(client, id, TURNS, KIB);
    expect((await client.shard(id)).restarts).toBe(0);
    await client.kill(id);
    expect(await output).toBe(text);
  });

  it('SIGKILL of everything at once: the next start carries on', async () => {
    const first = await up();
    const id = await submit(first.client, PROGRAM);
    const before = await until(
      first.client,
      id,
      (seen) => seen.output.bytes > 0 && seen.capsule !== null,
    );
    const pids = first.pids.map((child) => child.pid);
    first.killNow();
    await gone(pids);
    // The lock dies with its process; here that is the test's own.
    await first.stop();
    const second = await up();
    await until(second.client, id, (seen) => seen.output.bytes > before.output.bytes);
    await pausedSums(second.client, id, TURNS, KIB);
    expect(await second.client.shard(id)).toMatchObject({ restarts: 1, moves: 0 });
  });

  it('a clean stop stores the shards; the next start carries on, without a restart', async () => {
    const first = await up();
    const id = await submit(first.client, PROGRAM);
    const before = await until(first.client, id, (seen) => seen.output.bytes > 0);
    const pids = first.pids.map((child) => child.pid);
    await first.stop();
    await gone(pids);
    await expect(stat(path.join(directory, 'control.json'))).rejects.toMatchObject({
      code: 'ENOENT',
    });
    const second = await up();
    await until(second.client, id, (seen) => seen.output.bytes > before.output.bytes);
    await pausedSums(second.client, id, TURNS, KIB);
    expect((await second.client.shard(id)).restarts).toBe(0);
  });

  it('a client can take the cluster down', async () => {
    const supervisor = await up();
    const id = await submit(supervisor.client, SPIN);
    await until(supervisor.client, id, (seen) => seen.status === 'running');
    const pids = supervisor.pids.map((child) => child.pid);
    expect(await supervisor.client.shutdown()).toEqual({ paused: 1 });
    await supervisor.ended;
    await gone(pids);
  });

  it('keeps its token to itself, and one cluster a directory', async () => {
    await up(1);
    expect((await stat(path.join(directory, 'control.json'))).mode & 0o777).toBe(0o600);
    await expect(Supervisor.start({ directory, nodes: 1, code: CODE })).rejects.toMatchObject({
      code: 'SHERD_FABRIC_BUSY',
    });
  });

  it('a control file that was removed or spoilt is there again, and so is the cluster for its clients', async () => {
    const supervisor = await up(1);
    const file = path.join(directory, 'control.json');
    const before = await readFile(file, 'utf8');
    const spoilt = ['{"url":', before.replace(/"token":"..../, '"token":"????')];
    for (const spoil of [() => rm(file), ...spoilt.map((text) => () => writeFile(file, text))]) {
      await spoil();
      while ((await readFile(file, 'utf8').catch(() => '')) !== before)
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    }
    // That of another control is left alone.
    const other = '{"url":"http://127.0.0.1:9","token":"of another one","pid":1}\n';
    await writeFile(file, other);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect(await readFile(file, 'utf8')).toBe(other);
    await supervisor.stop();
    expect(await readFile(file, 'utf8')).toBe(other);
  });

  it('a port that is taken is said at once', async () => {
    const supervisor = await up(1);
    const port = Number(new URL((await supervisor.info()).url).port);
    const other = await mkdtemp(path.join(tmpdir(), 'sherd-processes-'));
    try {
      await expect(
        Supervisor.start({ directory: other, nodes: 1, port, code: CODE }),
      ).rejects.toMatchObject({ code: 'SHERD_PORT' });
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  });

  it('SIGKILL of the supervisor ends its children', async () => {
    const script = `
      const { Supervisor } = await import(${JSON.stringify(new URL('cli/supervisor.js', CODE).href)});
      const supervisor = await Supervisor.start({ directory: process.argv[1], nodes: 2, workers: 1 });
      console.log(JSON.stringify(supervisor.pids.map((child) => child.pid)));
      setInterval(() => undefined, 1000);`;
    const parent: ChildProcess = spawn(
      process.execPath,
      ['--input-type=module', '-e', script, directory],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = (await once(parent.stdout!, 'data')) as [Buffer];
    const pids = JSON.parse(line.toString()) as number[];
    expect(pids).toHaveLength(3);
    expect(pids.some(processIsGone)).toBe(false);
    parent.kill('SIGKILL');
    await gone(pids);
  });
});
