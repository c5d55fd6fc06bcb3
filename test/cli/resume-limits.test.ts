/** `sherd resume FILE` with limits, and limits that the file brings along. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCapsuleFile, withLimits } from '../../host/cli/capsule-file.js';
import { programDirectory } from './programs.js';
import { type Ended, sherd } from './sherd.js';

const SLOW = 120_000;
const PAUSED = 100_000n;
let cwd: string;

const run = (...args: string[]): Promise<Ended> => sherd(args, { cwd });
const resume = (...args: string[]): Promise<Ended> => run('resume', '--status', 's.json', ...args);
const figures = async () => JSON.parse(await readFile(join(cwd, 's.json'), 'utf8')).figures;

beforeAll(async () => {
  cwd = await programDirectory(['counter', 'grow']);
  const at = ['--max-time', '1h', '--pause-at', String(PAUSED), '-o', 'x.capsule'];
  expect((await run('run', ...at, 'counter.wasm')).code).toBe(75);
}, SLOW);
afterAll(() => rm(cwd, { recursive: true, force: true }));

describe('resume with limits', { timeout: SLOW }, () => {
  it('ends it at a fuel quota that counts from its beginning', async () => {
    const ended = await resume('--max-fuel', '250000', 'x.capsule');
    expect([ended.code, ended.stderr]).toEqual([124, expect.stringContaining('SHERD_FUEL_QUOTA')]);
    expect(Number((await figures()).fuelUsed)).toBe(250_000);
    expect((await resume('x.capsule')).code).toBe(7);
  });

  it('refuses one that is used up already, before anything starts', async () => {
    const refusals = [
      ['--max-fuel', '100000', 'has used 100000 units of fuel already'],
      ['--max-memory', '64KiB', 'more than the limit of 64 KiB'],
    ] as const;
    for (const [option, value, message] of refusals) {
      const ended = await resume(option, value, 'x.capsule');
      expect([option, ended.code, ended.text]).toEqual([option, 2, '']);
      expect(ended.stderr).toMatch(new RegExp(`^sherd: x.capsule: .*${message}.*\\n$`));
    }
  });

  it('the time quota of the file goes on where it was', async () => {
    const before = await readCapsuleFile(join(cwd, 'x.capsule'));
    const limits = { maxMemoryPages: 0, maxFuel: 0n, maxTimeMs: 4_000, dropDead: false };
    expect(() => withLimits({ ...before, ranMs: 4_000 }, limits)).toThrow(
      /has used 4000 ms already/,
    );
    expect(before.ranMs).toBeGreaterThan(0);
    const at = ['--max-time', '2h', '--pause-at', '200000', '-o', 'y.capsule'];
    expect((await resume(...at, 'x.capsule')).code).toBe(75);
    const after = await readCapsuleFile(join(cwd, 'y.capsule'));
    expect(after.ranMs).toBeGreaterThan(before.ranMs);
    expect([before, after].map(({ spec }) => spec.maxTimeMs)).toEqual([3_600_000, 7_200_000]);
    expect((await resume('y.capsule')).code).toBe(7);
  });

  it('goes with a file only', async () => {
    const ended = await run('resume', '--max-fuel', '1e9', 's-abcdef');
    expect([ended.code, ended.stderr]).toEqual([
      2,
      expect.stringContaining('sherd pause s-abcdef -o'),
    ]);
  });
});
