/** `--drop-dead`: what capsule files hold with and without it, on the way of `run`, `resume` and `submit`. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCapsuleFile } from '../../host/cli/capsule-file.js';
import { SLOW, UpCluster } from './up-cluster.js';

const DEAD_BYTES = 32_768;
const cluster = new UpCluster();
const { run, json } = cluster;
/** What the program prints: its first word, and the same or 0 after the pause. */
let first: string;

beforeAll(async () => {
  await cluster.open(['declares', 'spin']);
  const ended = await run('run', 'declares.wasm');
  const lines = ended.text.trimEnd().split('\n');
  expect([ended.code, lines.length, lines[0] === lines[1]]).toEqual([0, 2, true]);
  first = `${lines[0]}\n`;
  expect(first).not.toBe('0\n');
}, SLOW);
afterAll(() => cluster.close());

const file = (name: string) => readCapsuleFile(join(cluster.cwd, name));
const pause = (...args: string[]) =>
  run('run', ...args, '--pause-at', '50000', '-o', `${args.length}.capsule`, 'declares.wasm');

describe('--drop-dead', { timeout: SLOW }, () => {
  it('is off: the capsule holds all of the memory, and the program finds it', async () => {
    expect((await pause()).code).toBe(75);
    const { decoded, spec } = await file('0.capsule');
    expect([decoded.header.deadBytes, spec.dropDead]).toEqual([0, undefined]);
    expect(decoded.sizes.storedBytes).toBeGreaterThanOrEqual(DEAD_BYTES);
    expect((await run('inspect', '0.capsule')).text).not.toMatch(/\bdead\b/);
    expect((await run('resume', '0.capsule')).text).toBe(first);
  });

  it('leaves out what the program declares dead, says so, and there are zeros', async () => {
    expect((await pause('--drop-dead')).code).toBe(75);
    const { decoded, bytes } = await file('1.capsule');
    expect(decoded.header.deadBytes).toBe(DEAD_BYTES);
    expect(decoded.sizes.storedBytes).toBeLessThan(4_096);
    expect(bytes).toBeLessThan((await file('0.capsule')).bytes - DEAD_BYTES / 2);
    expect((await run('inspect', '1.capsule')).text).toContain(
      '32.0 KiB  zeros, whatever was there',
    );
    expect((await run('resume', '1.capsule')).text).toBe('0\n');
  });

  it('goes on with the file, and can begin with it', async () => {
    const at = ['--pause-at', '60000', '-o', 'later.capsule'];
    expect((await run('resume', ...at, '1.capsule')).code).toBe(75);
    expect((await file('later.capsule')).decoded.header.deadBytes).toBe(DEAD_BYTES);
    expect((await run('resume', '--drop-dead', ...at, '0.capsule')).code).toBe(75);
    const { decoded, spec } = await file('later.capsule');
    expect([decoded.header.deadBytes, spec.dropDead]).toEqual([DEAD_BYTES, true]);
  });

  it('holds for all capsules of a shard that was submitted with it', async () => {
    const id = await cluster.submit('--drop-dead', 'spin.wasm');
    expect((await run('pause', id, '-o', 'spin.capsule')).code).toBe(0);
    expect((await file('spin.capsule')).spec.dropDead).toBe(true);
    const refused = await run('resume', '--drop-dead', id);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining('goes with a capsule file'),
    ]);
    await json('rm', '--force', id);
  });
});
