/** `sherd fork`: copies go on from one capsule, each to the same end, and the shard that they are of goes on too. */
import { describe, expect, it } from 'vitest';
import type { DuReply, ShardView } from '../../host/types/api.js';
import { SLOW, upCluster } from './up-cluster.js';

interface Forked {
  readonly shard: string;
  readonly fuelUsed: string;
  readonly copies: readonly string[];
}

const cluster = upCluster(['laps', 'spin']);
const { run, json, submit, view, untilView } = cluster;

const started = async (...args: readonly string[]): Promise<ShardView> =>
  untilView(await submit(...args), (shard) => shard.status === 'running');

describe('sherd fork', { timeout: SLOW }, () => {
  it('gives copies that print the rest and end as the shard does, with the same fuel', async () => {
    const { id } = await started('laps.wasm');
    await run('pause', id);
    const { copies, fuelUsed } = await json<Forked>('fork', '-n', '2', '--name', 'twin', id);
    await run('resume', id);
    expect(new Set([id, ...copies]).size).toBe(3);
    expect(BigInt(fuelUsed)).toBeGreaterThan(0n);
    const whole = await run('result', '--wait', id);
    expect([whole.code, whole.stderr]).toEqual([7, '']);
    expect(whole.text.trimEnd().split('\n')).toHaveLength(21);
    const end = await view(id);
    for (const copy of copies) {
      const rest = await run('result', '--wait', copy);
      expect([rest.code, rest.stderr]).toEqual([7, '']);
      const lines = rest.text.trimEnd().split('\n');
      expect(whole.text.endsWith(rest.text)).toBe(true);
      // What had been printed by then is not printed again.
      const printed = Number(BigInt(fuelUsed) / 40_000_000n);
      expect(21 - lines.length).toBe(printed);
      const { fuelUsed: used, name } = await view(copy);
      expect([used, name]).toEqual([end.fuelUsed, 'twin']);
    }
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
