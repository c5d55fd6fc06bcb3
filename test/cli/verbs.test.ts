/** Verbs of a running cluster that come at the wrong moment, twice, against each other, or about nobody. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NodeView, ShardView } from '../../host/types/api.js';
import type { Ended, Running } from './sherd.js';
import { SLOW, upCluster } from './up-cluster.js';

/** Far more than anything here runs. */
const FAR = '99999999999999999';
const cluster = upCluster(['spin', 'yes']);
const { run, submit, shards, untilView } = cluster;

const running = async (): Promise<ShardView> =>
  untilView(await submit('spin.wasm'), (shard) => shard.status === 'running');

/** The one line of a refusal. */
const refusal = ({ code, text, stderr }: Ended) => ({ code, text, lines: stderr.split('\n') });

describe('an id that nobody has', { timeout: SLOW }, () => {
  const IDS = ['s-nobody', '', '.', '..', '../nodes', 'a b', 'a?force=1', '%2e%2e', 'a\nb'];
  const VERBS = [['logs'], ['pause'], ['move'], ['kill'], ['kill', '--force'], ['result'], ['rm']];

  it('is no shard, whatever it looks like', async () => {
    for (const [at, id] of IDS.entries()) {
      const verb = VERBS[at % VERBS.length]!;
      const { code, text, lines } = refusal(await run(...verb, '--', id));
      expect([verb, id, code, text, lines.length]).toEqual([verb, id, 1, '', 2]);
      expect(lines[0]).toMatch(
        /: no shard .* — list them with: sherd ps \[SHERD_NO_SHARD\]$|^sherd: no shard without an id/,
      );
    }
  });

  it('adds nothing to a request: what looks like an option of one does not force it', async () => {
    const { id } = await running();
    const removed = await run('rm', `${id}?force=1`);
    expect([removed.code, removed.stderr]).toEqual([1, expect.stringContaining('SHERD_NO_SHARD')]);
    expect((await shards()).find((shard) => shard.id === id)?.status).toBe('running');
    expect((await run('rm', '--force', id)).text).toBe('removed 1 shard\n');
  });

  it('does not hold up the others that were named', async () => {
    const [one, two] = [await running(), await running()];
    const paused = await run('pause', one.id, 's-nobody', two.id);
    expect([paused.code, paused.text.split('\n').length]).toEqual([1, 3]);
    expect(paused.stderr).toMatch(/^sherd: s-nobody: no shard/);
    const killed = await run('kill', 's-none', one.id, 's-nobody', two.id);
    expect([killed.code, killed.text]).toEqual([1, `${one.id}  killed\n${two.id}  killed\n`]);
    expect(killed.stderr.trimEnd().split('\n')).toEqual([
      expect.stringContaining('s-none'),
      expect.stringContaining('s-nobody'),
    ]);
    const removed = await run('rm', '--json', one.id, 's-nobody', '--done');
    expect(removed.code).toBe(1);
    const gone = (JSON.parse(removed.text) as { removed: string[] }).removed;
    expect(new Set(gone)).toEqual(new Set([one.id, two.id]));
  });
});

describe('a request that meets another', { timeout: SLOW }, () => {
  it('a move to where the shard is says so', async () => {
    const { id, owner } = await running();
    const stays = await run('move', id, owner ?? '');
    expect([stays.code, stays.text]).toEqual([0, `${id}  is on ${owner} already\n`]);
    await run('rm', '--force', id);
  });

  it('a pause that is taken back ends at once, and says by what', async () => {
    const { id } = await running();
    const pausing = cluster.start('pause', '--at', FAR, '--timeout', '100s', id);
    await untilView(id, (shard) => shard.wanted?.op === 'pause');
    await run('resume', id);
    const { code, lines } = refusal(await pausing.ended);
    expect([code, lines[0]]).toEqual([1, expect.stringContaining('resumed meanwhile')]);
    await run('rm', '--force', id);
  });

  it('a pause that is far away stays asked for, and how to take it back is said', async () => {
    const { id } = await running();
    const paused = await run('pause', '--at', FAR, '--timeout', '10ms', id);
    expect(paused.code).toBe(1);
    expect(paused.stderr).toMatch(`take it back with: sherd resume ${id} [SHERD_TIMEOUT]`);
    expect((await shards()).find((shard) => shard.id === id)?.wanted?.op).toBe('pause');
    await run('rm', '--force', id);
  });

  it('a move waits for no paused, ended or removed shard', async () => {
    const { id } = await running();
    const nodes = JSON.parse((await run('ps', '--nodes', '--json')).text) as NodeView[];
    await run('pause', id);
    const [first] = nodes;
    for (const more of [[], [first?.node.id ?? '']]) {
      const { code, lines } = refusal(await run('move', id, ...more));
      const line = `sherd: ${id}: cannot move shard ${id}: it is paused — let it go on first: sherd resume ${id} [SHERD_STATE]`;
      expect([code, lines]).toEqual([1, [line, '']]);
    }
    await run('kill', id);
    expect(refusal(await run('move', id)).lines[0]).toMatch(`sherd result ${id} [SHERD_STATE]`);
    await run('rm', id);
  });
});

describe('a run in a cluster', { timeout: SLOW }, () => {
  const fabric = ['--fabric', 'embedded:data'];
  const follow = (name: string, ...options: string[]): Running =>
    cluster.start('run', ...fabric, '--name', name, ...options);
  const named = async (name: string): Promise<ShardView | undefined> =>
    (await shards()).find((shard) => shard.name === name);

  it('that is ended at once says which shard it leaves, and how it ended', async () => {
    await writeFile(join(cluster.cwd, 'status.json'), '{"reason":"of an earlier run"}');
    const how = ['-o', 'x.capsule', '--status', 'status.json', 'yes.wasm'];
    const following = follow('left', ...how);
    await following.until('7\n');
    following.child.kill('SIGINT');
    following.child.kill('SIGTERM');
    const { code, stderr } = await following.ended;
    const status = JSON.parse(await readFile(join(cluster.cwd, 'status.json'), 'utf8'));
    const { id } = (await named('left')) ?? { id: '' };
    expect(id).not.toBe('');
    // The line of the first signal may still be on its way when the second one's is written.
    expect(stderr.split('\n')).toContainEqual(
      expect.stringContaining(`sherd kill --fabric embedded:${cluster.cwd}/data ${id}`),
    );
    // The two signals may come in either order.
    expect(status).toMatchObject({ reason: 'interrupted', code, figures: { shard: id } });
    await run('rm', '--force', id);
  });

  it('that is killed without a word leaves its shard running, for anybody to follow', async () => {
    const following = follow('orphan', 'yes.wasm');
    await following.until('7\n');
    following.child.kill('SIGKILL');
    await following.ended;
    const { id, fuelUsed } = (await named('orphan')) ?? { id: '', fuelUsed: '0' };
    const more = await untilView(id, (shard) => BigInt(shard.fuelUsed) > BigInt(fuelUsed));
    expect(more).toMatchObject({ status: 'running', wanted: null });
    await run('kill', id);
    expect((await run('result', '--wait', id)).code).toBe(137);
  });

  it('that loses sight of its cluster says which shard it is; the shard goes on with it', async () => {
    await mkdir(join(cluster.cwd, 'in'));
    const following = follow('lost', '--dir', '/d=in', 'yes.wasm');
    await following.until('7\n');
    const { id } = (await named('lost')) ?? { id: '' };
    expect((await run('down')).code).toBe(0);
    const { code, stderr } = await following.ended;
    expect([code, stderr.trimEnd().split('\n').length]).toEqual([1, 1]);
    const hint = `sherd result --wait --fabric embedded:${cluster.cwd}/data --dir /d=in ${id} [SHERD_NO_CLUSTER]`;
    expect(stderr).toMatch(hint);
    await cluster.up.ended;
    await cluster.startUp();
    await untilView(id, (shard) => shard.status === 'running');
    await run('rm', '--force', id);
  });
});
