/** `sherd up` and the verbs of a running cluster: real processes, one cluster for all tests here. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { workersEach } from '../../host/cli/supervisor.js';
import type { NodeView, ShardView } from '../../host/types/api.js';
import { SLOW, upCluster } from './up-cluster.js';

const cluster = upCluster(['counter', 'spin', 'yes', 'trap', 'cat']);
const { run, json, submit, view, untilView } = cluster;

describe('a running cluster', { timeout: SLOW }, () => {
  it('runs what is submitted and keeps its output', async () => {
    const id = await submit('counter.wasm');
    const result = await run('result', '--wait', id);
    expect([result.code, result.text.split('\n').slice(0, 2)]).toEqual([7, ['1', '2']]);
    expect((await run('logs', id)).text).toBe(result.text);
    expect((await run('logs', '--from', '2', id)).text).toBe(result.text.slice(2));
    expect((await run('ps')).text).toMatch(new RegExp(`${id} +counter.wasm +exit 7`));
    await json('rm', id);
    expect(await run('result', id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('SHERD_NO_SHARD'),
    });
  });

  it('moves, pauses, resumes and kills a shard, and says so', async () => {
    const id = await submit('spin.wasm');
    const before = await untilView(id, (shard) => shard.status === 'running');
    const moved = await json<{ shard: ShardView }>('move', id);
    expect(moved.shard.owner).not.toBe(before.owner);
    expect(moved.shard.moves).toBe(1);
    const [paused] = await json<ShardView[]>('pause', id);
    expect(paused).toMatchObject({ status: 'paused', owner: null });
    expect((await view(id)).reason).not.toBe('');
    expect((await run('inspect', id)).text).toContain('call stack');
    const refused = await run('result', id);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('sherd result --wait'),
    ]);
    await json('resume', id);
    const again = await untilView(
      id,
      ({ status, progress }) =>
        status === 'running' && progress !== null && progress.fuelUsed !== '0',
    );
    expect(BigInt(again.fuelUsed)).toBeGreaterThanOrEqual(BigInt(paused?.fuelUsed ?? 0));
    expect(JSON.parse((await run('inspect', '--json', id)).text)).toMatchObject({ source: 'live' });
    const [killed] = await json<ShardView[]>('kill', id);
    expect(killed).toMatchObject({ status: 'done', exit: { reason: 'killed', code: 137 } });
    const result = await run('result', id);
    expect(result.code).toBe(137);
    const events = (await run('events', '--json', '--shard', id)).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    // 1 input, 2 split, 3 predict, 4 place, 5 run, 7 move: the workflow, visible.
    expect(new Set(events.map((event) => event.step))).toEqual(new Set([1, 2, 3, 4, 5, 7]));
  });

  it('pauses exactly at a fuel value, into a file that resumes without the cluster', async () => {
    const id = await submit('--name', 'exact', 'spin.wasm');
    await untilView(id, (shard) => shard.status === 'running' && shard.capsule !== null);
    const pauseAt = async (at: bigint): Promise<ShardView | undefined> => {
      const how = ['--timeout', '100s', '--at', at.toString(), '-q', '-o', 'exact.capsule'];
      return (await json<ShardView[]>('pause', ...how, id))[0];
    };
    let ahead = 200_000_000n;
    let at: string;
    let paused: ShardView | undefined;
    for (;;) {
      const { fuelUsed, progress } = await view(id);
      const now = BigInt(progress?.fuelUsed ?? fuelUsed);
      at = (now + ahead).toString();
      paused = await pauseAt(BigInt(at));
      // A request that comes too late stops it where it is: on a slow machine it is asked to go further.
      if (BigInt(paused?.fuelUsed ?? 0) <= BigInt(at)) break;
      await json('resume', id);
      ahead *= 2n;
    }
    expect(paused?.fuelUsed).toBe(at);
    const report = await run('inspect', '--json', 'exact.capsule');
    expect(JSON.parse(report.text)).toMatchObject({ program: 'spin.wasm' });
    await json('rm', '--force', id);
    const next = (BigInt(at) + 1000n).toString();
    const alone = await run('resume', '--pause-at', next, '-o', 'more.capsule', 'exact.capsule');
    expect([alone.code, alone.stderr]).toEqual([75, expect.stringContaining(`at fuel ${next}`)]);
  });

  it('run --fabric submits and follows; Ctrl-C takes the shard along', async () => {
    const ended = await run('run', '--fabric', 'embedded:data', 'counter.wasm');
    expect([ended.code, ended.text.startsWith('1\n2\n')]).toEqual([7, true]);
    const following = cluster.start(
      'run',
      '--fabric',
      'embedded:data',
      '--name',
      'followed',
      'yes.wasm',
    );
    await following.until('7\n');
    following.child.kill('SIGINT');
    expect((await following.ended).code).toBe(130);
    for (;;) {
      const left = (await json<ShardView[]>('ps')).find((shard) => shard.name === 'followed');
      if (left === undefined || left.status === 'done') break;
    }
  });

  it('keeps artifacts that result --dir fetches', async () => {
    await mkdir(join(cluster.cwd, 'in'));
    await writeFile(
      join(cluster.cwd, 'in', 'words.txt'),
      'one two two three three three\n'.repeat(100),
    );
    const program = fileURLToPath(new URL('../fixtures/wc_sort.wasm', import.meta.url));
    const id = await submit('--dir', '/d=in', program, '/d', '/d/words.txt');
    for (const [claim, line] of [
      [
        '/nope=fetched',
        'sherd: --dir /nope: the program has no such directory — it has /d [SHERD_USAGE]',
      ],
      [
        '/d=spin.wasm',
        'sherd: spin.wasm: --dir: not a directory — name a directory, or a place where one can be made [SHERD_FILE]',
      ],
    ]) {
      const refused = await run('result', '--wait', '--dir', claim ?? '', id);
      expect(refused).toMatchObject({ code: 2, text: '', stderr: `${line}\n` });
    }
    const result = await run('result', '--wait', '--dir', '/d=fetched', id);
    expect([result.code, result.stderr]).toEqual([0, '']);
    expect(await readdir(join(cluster.cwd, 'in'))).toEqual(['words.txt']);
    const text = await readFile(join(cluster.cwd, 'fetched', 'out', 'count.txt'), 'utf8');
    expect(text).toMatch(/three/);
  });

  it('goes on after the node that runs a shard was killed', async () => {
    const id = await submit('spin.wasm');
    const { owner, fuelUsed } = await untilView(
      id,
      (shard) => shard.status === 'running' && shard.capsule !== null,
    );
    const nodes = await json<{ node: { id: string; pid: number } }[]>('ps', '--nodes');
    const node = nodes.find((each) => each.node.id === owner);
    process.kill(node?.node.pid ?? 0, 'SIGKILL');
    const after = await untilView(
      id,
      (shard) => shard.restarts === 1 && shard.status === 'running',
    );
    expect(BigInt(after.fuelUsed)).toBeGreaterThanOrEqual(BigInt(fuelUsed));
    await json('kill', id);
  });

  it('one up a directory', async () => {
    const second = await run('up');
    expect([second.code, second.stderr]).toEqual([2, expect.stringContaining('SHERD_FABRIC_BUSY')]);
  });

  it('takes in another node process', async () => {
    const node = cluster.start('node', '--name', 'extra', '--json');
    await node.until('"id"');
    const nodes = (await json<NodeView[]>('ps', '--nodes')).map((view) => view.node);
    const extra = nodes.find(({ id }) => id.startsWith('extra-'));
    // Nodes of `up` divide the cores; one that comes by itself takes them all. They know that they share them.
    const cores = availableParallelism();
    const workers = nodes.filter((each) => each !== extra).map((each) => each.workers);
    expect([extra?.workers, workers]).toEqual([cores, [1, 1].map(() => Math.ceil(cores / 2))]);
    expect([workersEach(3, 2), workersEach(3, 16), workersEach(1, 8)]).toEqual([1, 6, 8]);
    expect(new Set(nodes.map(({ machine }) => machine?.id)).size).toBe(1);
    expect(extra?.machine?.cores).toBeGreaterThanOrEqual(cores);
    node.child.kill('SIGINT');
    expect((await node.ended).code).toBe(0);
  });

  it('counts and frees its disk', async () => {
    await run('rm', '--done');
    const freed = await json<{ blobs: number; keptBlobs: number }>('gc', '--grace', '0');
    expect(freed.blobs).toBeGreaterThan(0);
    const usage = await json<{ blobs: number; reachableBlobs: number }>('du');
    expect(usage.blobs).toBe(usage.reachableBlobs);
  });

  it('goes down with its shards stored, and up again with them running', async () => {
    const id = await submit('spin.wasm');
    await untilView(id, (shard) => shard.status === 'running' && shard.capsule !== null);
    const down = await json<{ paused: number }>('down');
    expect(down.paused).toBe(1);
    expect((await cluster.up.ended).code).toBe(0);
    const away = await run('ps');
    expect([away.code, away.stderr]).toEqual([1, expect.stringContaining('SHERD_NO_CLUSTER')]);
    await cluster.startUp();
    const again = await untilView(id, (shard) => shard.status === 'running');
    expect(again.capsule).not.toBeNull();
    await json('kill', id);
  });

  it('stops on SIGTERM, stores, and carries on', async () => {
    const id = await submit('spin.wasm');
    await untilView(id, (shard) => shard.status === 'running');
    cluster.up.child.kill('SIGTERM');
    expect((await cluster.up.ended).code).toBe(0);
    await cluster.startUp();
    await untilView(id, (shard) => shard.status === 'running');
    await json('kill', '--force', id);
  });
});
