/** Sealed capsule files on the command line, `sherd key`, `sherd diff`, and what `inspect` shows beside the report. */
import { chmod, copyFile, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unpackBytes } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { programDirectory } from './programs.js';
import { type Ended, sherd } from './sherd.js';

const SLOW = 300_000;
let cwd: string;
const run = (...args: string[]): Promise<Ended> =>
  sherd(args, { cwd, env: { SHERD_KEY_FILE: '' } });
const withKey = (file: string, ...args: string[]): Promise<Ended> =>
  sherd(args, { cwd, env: { SHERD_KEY_FILE: file } });

beforeAll(async () => {
  cwd = await programDirectory(['counter']);
  const fixture = fileURLToPath(new URL('../fixtures/lines/lines5.wasm', import.meta.url));
  await copyFile(fixture, join(cwd, 'lines.wasm'));
  expect((await run('key', 'new', 'k.key')).code).toBe(0);
  expect((await run('key', 'new', 'other.key')).code).toBe(0);
  const at = ['--pause-at', '100000', '-o'];
  const sealed = await run('run', '--key', 'k.key', ...at, 'sealed.capsule', 'counter.wasm');
  expect(sealed.code).toBe(75);
  expect(sealed.stderr).toContain('go on with: sherd resume --key k.key sealed.capsule');
  expect((await run('run', ...at, 'plain.capsule', 'counter.wasm')).code).toBe(75);
}, SLOW);
afterAll(() => rm(cwd, { recursive: true, force: true }));

/** One line, code 2. */
async function refused(ended: Promise<Ended>, message: RegExp): Promise<void> {
  const { code, text, stderr } = await ended;
  expect([code, text]).toEqual([2, '']);
  expect(stderr).toMatch(/^sherd: [^\n]*\n$/);
  expect(stderr).toMatch(message);
}

describe('sealed capsule files', { timeout: SLOW }, () => {
  it('show nothing and go on with their key, also from the environment', async () => {
    const bytes = await readFile(join(cwd, 'sealed.capsule'));
    expect(bytes.includes('counter')).toBe(false);
    const plain = unpackBytes(await readFile(join(cwd, 'plain.capsule')), nodePlatform);
    expect(Buffer.from(plain).includes('counter')).toBe(true);
    expect((await run('resume', '--key', 'k.key', 'sealed.capsule')).code).toBe(7);
    expect((await withKey('k.key', 'resume', 'sealed.capsule')).code).toBe(7);
    expect((await run('resume', 'plain.capsule')).code).toBe(7);
  });

  it('are refused without a key, with another, in the place of a plain one, from another shard or epoch', async () => {
    await refused(
      run('resume', 'sealed.capsule'),
      /sealed with key [0-9a-f]{16} — give --key FILE.*SHERD_KEY\]/,
    );
    await refused(run('inspect', 'sealed.capsule'), /give --key FILE/);
    await refused(
      run('resume', '--key', 'other.key', 'sealed.capsule'),
      /not among yours.*SHERD_KEY\]/,
    );
    await refused(run('resume', '--key', 'k.key', 'plain.capsule'), /the file is not sealed/);
    const inside = JSON.parse(
      (await run('inspect', '--json', '--key', 'k.key', 'sealed.capsule')).text,
    );
    const { shardId, epoch } = inside.capsule;
    expect(inside.sealedWith).toMatch(/^[0-9a-f]{16}$/);
    const expecting = (text: string): Promise<Ended> =>
      run('resume', '--key', 'k.key', '--expect', text, 'sealed.capsule');
    expect((await expecting(`${shardId}@${epoch}`)).code).toBe(7);
    await refused(expecting('s-other'), /of shard .*SHERD_CAPSULE_REPLAYED\]/);
    await refused(expecting(`${shardId}@${epoch + 1}`), /older than.*SHERD_CAPSULE_REPLAYED\]/);
    await refused(expecting('a@b@c'), /not SHARD or SHARD@EPOCH/);
  });

  it('open with rotated keys; the newest seals', async () => {
    await copyFile(join(cwd, 'k.key'), join(cwd, 'r.key'));
    await chmod(join(cwd, 'r.key'), 0o600);
    const rotated = JSON.parse((await run('key', 'rotate', '--json', 'r.key')).text);
    expect(rotated.opens.length).toBe(2);
    const again = ['--pause-at', '200000', '-o', 'again.capsule', 'sealed.capsule'];
    expect((await withKey('r.key', 'resume', ...again)).code).toBe(75);
    await refused(run('resume', '--key', 'k.key', 'again.capsule'), new RegExp(rotated.seals));
    const diff = await run('diff', '--json', '--key', 'r.key', 'sealed.capsule', 'again.capsule');
    expect(JSON.parse(diff.text).fuel.more).toBe('100000');
  });
});

describe('key files', { timeout: SLOW }, () => {
  it('are for their owner alone, and never replaced', async () => {
    expect((await stat(join(cwd, 'k.key'))).mode & 0o777).toBe(0o600);
    await refused(run('key', 'new', 'k.key'), /there is a file already/);
    await copyFile(join(cwd, 'other.key'), join(cwd, 'open.key'));
    await chmod(join(cwd, 'open.key'), 0o640);
    for (const args of [
      ['run', '--key', 'open.key', 'counter.wasm'],
      ['key', 'rotate', 'open.key'],
    ])
      await refused(run(...args), /can be used by others \(mode 0640\) — chmod 600/);
    await refused(run('run', '--key', 'nowhere.key', 'counter.wasm'), /no such file or directory/);
    await writeFile(join(cwd, 'bad.key'), 'sherd-key-1 0123456789abcdef 00\n', { mode: 0o600 });
    await refused(run('run', '--key', 'bad.key', 'counter.wasm'), /not a key file: line 1/);
    const wrong = (await readFile(join(cwd, 'k.key'), 'utf8')).replace(
      / [0-9a-f]{16} /,
      ' 0123456789abcdef ',
    );
    await writeFile(join(cwd, 'wrong.key'), wrong, { mode: 0o600 });
    await refused(run('key', 'list', 'wrong.key'), /line 3: the key is not 0123456789abcdef/);
    await refused(run('key', 'burn', 'k.key'), /key burn: unknown/);
  });
});

describe('inspect and diff', { timeout: SLOW }, () => {
  it('show source lines, the map and what is big; a picture; differences', async () => {
    const at = (fuel: string, file: string): Promise<Ended> =>
      run('run', '--pause-at', fuel, '-o', file, 'lines.wasm');
    expect([
      (await at('300000', 'a.capsule')).code,
      (await at('900000', 'b.capsule')).code,
    ]).toEqual([75, 75]);
    const { code, text } = await run(
      'inspect',
      '--program',
      'lines.wasm',
      '--svg',
      'a.svg',
      'a.capsule',
    );
    expect(code).toBe(0);
    expect(text).toMatch(/deep \[function 1\].*heap\.c:23:\d+/);
    expect(text).toMatch(/#0 {2}deep .* loop at .*heap\.c:21:3\n/);
    // Units of 64 bytes: 60,000 bytes of the pool from 0x14290 on, one each of `table` and `state`.
    expect(text).toMatch(/memory: data +60,160/);
    expect(text).toMatch(/memory: stack +8,512/);
    expect(text).toMatch(/0x00000000 {2}D\.\.\.D\.+D{15}/);
    expect(await readFile(join(cwd, 'a.svg'), 'utf8')).toMatch(/^<svg .*\n<\/svg>\n$/s);
    await refused(run('inspect', '--program', 'counter.wasm', 'a.capsule'), /another program/);
    const diff = await run('diff', 'a.capsule', 'b.capsule');
    expect(diff.text).toMatch(/fuel +300,000 → 900,000 \(\+600,000\)/);
    expect(diff.text).toContain('mix, safepoint 0');
    expect((await run('diff', 'a.capsule', 'a.capsule')).text).toMatch(/equal +in every part/);
  });
});
