/** A shard whose capsule is lost or damaged on the disk: kept, explained, and carried on with when it is back. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ShardView } from '../../host/types/api.js';
import { SLOW, upCluster } from './up-cluster.js';

const cluster = upCluster(['spin']);
const { run, json, submit, shards, view, untilView } = cluster;

const blob = (hash: string | null): string =>
  join(cluster.cwd, 'data', 'blobs', String(hash).slice(0, 2), String(hash));

async function paused(): Promise<ShardView> {
  const id = await submit('spin.wasm');
  await untilView(id, (shard) => shard.status === 'running' && shard.fuelUsed !== '0');
  await json('pause', id);
  return view(id);
}

/** A line about this shard that names the blob and ends with what to do. */
const said = (shard: ShardView) =>
  new RegExp(`^sherd: ${shard.id}: .*${shard.capsule}.* — .*sherd resume ${shard.id}.*\\n$`);

describe('a shard that cannot go on', { timeout: SLOW }, () => {
  it('without its capsule it is set aside; nobody waits for it for ever; put back, it goes on', async () => {
    const shard = await paused();
    const { id, capsule } = shard;
    const follower = cluster.start('logs', '-f', id);
    await rename(blob(capsule), join(cluster.cwd, 'taken'));
    await json('resume', id);
    const waited = await run('result', '--wait', id);
    expect([waited.code, waited.text, waited.stderr]).toEqual([
      1,
      '',
      expect.stringMatching(said(shard)),
    ]);
    expect(await follower.ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(said(shard)),
    });
    const aside = await view(id);
    expect(aside).toMatchObject({ status: 'paused', capsule, fuelUsed: shard.fuelUsed });
    const why = `cannot go on: ${aside.fault} — put that right, then: sherd resume ${id}`;
    expect((await run('ps')).text).toContain(why);
    expect((await run('inspect', id)).text).toBe(`${id}  ${why}\n`);
    await rename(join(cluster.cwd, 'taken'), blob(capsule));
    await json('resume', id);
    const again = await untilView(id, (now) => now.status === 'running' && now.progress !== null);
    expect(again.fault).toBeUndefined();
    expect(BigInt(again.fuelUsed)).toBeGreaterThanOrEqual(BigInt(shard.fuelUsed));
    await json('kill', id);
  });

  it('with a damaged one the same, and at once; a run that follows it ends; a kill ends it', async () => {
    await mkdir(join(cluster.cwd, 'd'));
    const follower = cluster.start(
      'run',
      '--fabric',
      'embedded:data',
      '--dir',
      '/d=d',
      'spin.wasm',
    );
    const runs = (all: ShardView[]) => all.find(({ status }) => status === 'running');
    let found: ShardView | undefined;
    while (found === undefined) found = runs(await shards());
    await json('pause', found.id);
    const shard = await view(found.id);
    const bytes = await readFile(blob(shard.capsule));
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(blob(shard.capsule), bytes);
    await json('resume', shard.id);
    const result = await run('result', '--wait', shard.id);
    expect([result.code, result.stderr]).toEqual([1, expect.stringMatching(said(shard))]);
    const ended = await follower.ended;
    expect(ended).toMatchObject({ code: 1, text: '' });
    const fabric = `--fabric embedded:${cluster.cwd}/data`;
    const next = `sherd resume ${fabric} ${shard.id} && sherd result --wait ${fabric} --dir /d=d ${shard.id} [SHERD_SET_ASIDE]\n`;
    expect(ended.stderr).toMatch(
      new RegExp(`^sherd: spin.wasm: it cannot go on: .*${shard.capsule}`),
    );
    expect(ended.stderr.slice(-next.length)).toBe(next);
    expect(await json('kill', shard.id)).toMatchObject([{ exit: { reason: 'killed' } }]);
  });
});
