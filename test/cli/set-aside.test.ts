/** A shard whose capsule is lost or damaged on the disk: kept, explained, and carried on with when it is back. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ShardView } from '../../host/types/api.js';
import { asFile } from '../fabric/as-file.js';
import { SLOW, upCluster } from './up-cluster.js';

const cluster = upCluster(['spin', 'counter', 'yes']);
const { run, json, submit, shards, view, untilView } = cluster;

const blob = (hash: string | null): Promise<string> =>
  asFile(join(cluster.cwd, 'data'), String(hash));

async function paused(program = 'spin.wasm'): Promise<ShardView> {
  const id = await submit(program);
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
    await rename(await blob(capsule), join(cluster.cwd, 'taken'));
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
    await rename(join(cluster.cwd, 'taken'), await blob(capsule));
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
    const bytes = await readFile(await blob(shard.capsule));
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(await blob(shard.capsule), bytes);
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

describe('a part that cannot be read', { timeout: SLOW }, () => {
  const damage = async (hash: string): Promise<() => Promise<void>> => {
    const path = await blob(hash);
    const sound = await readFile(path);
    await writeFile(path, Buffer.from(sound).fill(7, 40, 60));
    return () => writeFile(path, sound);
  };
  /** The line says whose part it is, what it is, and which blob. */
  const line = (id: string, what: string, hash: string | null) =>
    expect.stringMatching(
      new RegExp(`^sherd: ${id}: ${what} \\(blob ${hash}\\) cannot be read: .*\n$`),
    );

  it('the module: a paused shard can be looked into all the same; copied back, it is used again', async () => {
    const { id, moduleHash } = await paused();
    const mend = await damage(moduleHash);
    const looked = await run('inspect', id);
    expect([looked.code, looked.stderr]).toEqual([0, '']);
    expect(looked.text).toContain(`its module ${moduleHash} cannot be read`);
    expect(looked.text).toContain('stack');
    const wrote = await run('pause', '-o', 'x.capsule', id);
    expect(wrote).toMatchObject({ code: 1, stderr: line(id, 'its module', moduleHash) });
    await mend();
    expect(await run('pause', '-o', 'x.capsule', id)).toMatchObject({ code: 0 });
    await json('resume', id);
    await untilView(id, (now) => now.status === 'running');
    await json('kill', id);
  });

  it('the capsule: who looks is told whose it is, and what it may name is all that gc spares', async () => {
    const { id, capsule } = await paused();
    const mend = await damage(String(capsule));
    expect(await run('inspect', id)).toMatchObject({
      code: 1,
      stderr: line(id, 'its capsule', capsule),
    });
    // What cannot be read may be based on any capsule of its module, and on none of another.
    const kin = await paused();
    const gone = await paused('yes.wasm');
    for (const each of [kin, gone]) await json('rm', '--force', each.id);
    const freed = await run('gc', '--grace', '0', '--json');
    expect(freed.code).toBe(0);
    expect(freed.stderr).toContain(`sherd: ${id}: its capsule (blob ${capsule}) cannot be read`);
    expect(JSON.parse(freed.text)).toMatchObject({
      unread: [{ id, what: 'capsule', hash: capsule }],
    });
    await expect(readFile(await blob(gone.capsule))).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await readFile(await blob(kin.capsule))).length).toBe(kin.capsuleBytes);
    await mend();
    expect((await run('inspect', id)).code).toBe(0);
    expect((await run('gc', '--grace', '0')).code).toBe(0);
    await expect(readFile(await blob(kin.capsule))).rejects.toMatchObject({ code: 'ENOENT' });
    await json('kill', id);
  });

  it('a piece of the output', async () => {
    const id = await submit('counter.wasm');
    await run('result', '--wait', id);
    const { head } = (await view(id)).output;
    await rename(await blob(head), join(cluster.cwd, 'taken'));
    for (const verb of [['logs'], ['logs', '-f'], ['result']]) {
      const said = await run(...verb, id);
      expect(said).toMatchObject({ code: 1, stderr: line(id, 'a piece of its output', head) });
    }
  });
});
