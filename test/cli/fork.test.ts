/** `sherd fork`: what it prints, stores and refuses. That copies end as the shard does: test/control/fork.test.ts. */
import { describe, expect, it } from 'vitest';
import type { DuReply, ShardView } from '../../host/types/api.js';
import { SLOW, upCluster } from './up-cluster.js';

interface Forked {
  readonly shard: string;
  readonly fuelUsed: string;
  readonly copies: readonly string[];
}

const cluster = upCluster(['spin']);
const { run, json, submit, view, untilView } = cluster;

const started = async (...args: readonly string[]): Promise<ShardView> =>
  untilView(await submit(...args), (shard) => shard.status === 'running');

describe('sherd fork', { timeout: SLOW }, () => {
  it('names the copies, a line each, and goes on', async () => {
    const { id } = await started('spin.wasm');
    const forked = await run('fork', '-n', '2', '--name', 'twin', id);
    expect([forked.code, forked.stderr]).toEqual([0, '']);
    const lines = forked.text.trimEnd().split('\n');
    const copies = lines.map((line) => /^(s-\w+) {2}copy of (s-\w+) at fuel \d+$/.exec(line) ?? []);
    expect(copies.map(([, , of]) => of)).toEqual([id, id]);
    for (const [, copy] of copies) expect((await view(copy ?? '')).name).toBe('twin');
    await untilView(id, (shard) => shard.status === 'running');
    await run('rm', '--force', id, ...copies.map(([, copy]) => copy ?? ''));
  });

  it('stores nothing for copies that stay paused, and leaves a paused shard paused', async () => {
    const { id } = await started('spin.wasm');
    await run('pause', id);
    const before = await json<DuReply>('du');
    const { copies } = await json<Forked>('fork', '-n', '20', '--paused', id);
    const after = await json<DuReply>('du');
    expect(after.blobs).toEqual(before.blobs);
    const shard = await view(id);
    for (const copy of copies) {
      const { status, capsule, fuelUsed } = await view(copy);
      expect([status, capsule, fuelUsed]).toEqual(['paused', shard.capsule, shard.fuelUsed]);
    }
    expect(shard.status).toBe('paused');
    await run('resume', copies[0]!);
    await untilView(copies[0]!, (each) => each.status === 'running');
    await run('rm', '--force', id, ...copies);
  });

  it('lets a running shard go on, also when it cannot be stopped in time', async () => {
    const { id } = await started('spin.wasm');
    await run('fork', '--paused', id);
    await untilView(id, ({ status, wanted }) => status === 'running' && wanted === null);
    const late = await run('fork', '--timeout', '0s', id);
    // It may just have stood still already.
    const told = late.code === 0 ? late.text : late.stderr;
    expect(told).toMatch(/copy of .* at fuel \d|did not stop within 0 s .*\[SHERD_TIMEOUT\]/);
    await untilView(id, ({ status, wanted }) => status === 'running' && wanted === null);
  });

  it('refuses what has ended, what is asked for something else, and what is nobody', async () => {
    const { id } = await started('spin.wasm');
    const pausing = cluster.start('pause', '--at', '99999999999999999', '--timeout', '100s', id);
    await untilView(id, (shard) => shard.wanted?.op === 'pause');
    const asked = await run('fork', id);
    expect([asked.code, asked.stderr]).toEqual([
      1,
      expect.stringContaining('a pause of it is asked for'),
    ]);
    expect((await view(id)).wanted?.op).toBe('pause');
    await run('kill', id);
    await pausing.ended;
    const dead = await run('fork', id);
    expect([dead.code, dead.stderr]).toEqual([1, expect.stringContaining('it has ended')]);
    const nobody = await run('fork', 's-nobody');
    expect([nobody.code, nobody.stderr]).toEqual([1, expect.stringContaining('SHERD_NO_SHARD')]);
    expect((await run('fork', '-n', '0', id)).code).toBe(2);
  });
});
