/** Status files, temporary directories, the compile cache: what is on disk is whole, and what is dead is swept. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CompileCache, sha256 } from '../../host/cli/cache.js';
import { untilFree } from '../../host/cli/commands/down.js';
import { errorStatus, fileError, requireDirectoryOf, writeStatus } from '../../host/cli/status.js';
import { isAlive, makeTemporary, sweepTemporaries } from '../../host/cli/temporary.js';
import { lockDirectory } from '../../host/fabric/embedded.js';
import { SherdError } from '../../host/types/errors.js';

let base: string;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'cli-files-'));
});
afterEach(() => rm(base, { recursive: true, force: true }));

describe('status', () => {
  it('replaces the file whole and leaves no temporary', async () => {
    const path = join(base, 'status.json');
    await writeFile(path, 'x'.repeat(10_000));
    const error = new SherdError('SHERD_NOT_WASM', 'no', { exitCode: 2 });
    await writeStatus(path, errorStatus(error));
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({
      v: 1,
      reason: 'refused',
      code: 2,
      error: 'SHERD_NOT_WASM',
    });
    expect(await readdir(base)).toEqual(['status.json']);
  });

  it('refuses a place that does not exist before the start', async () => {
    await expect(requireDirectoryOf(join(base, 'no', 'f'), '-o')).rejects.toMatchObject({
      code: 'SHERD_FILE',
      exitCode: 2,
    });
    await expect(requireDirectoryOf(base, '-o')).rejects.toMatchObject({
      code: 'SHERD_FILE',
      exitCode: 2,
    });
    await requireDirectoryOf(join(base, 'f'), '-o');
  });

  it('names the disk when it is full', () => {
    expect(fileError({ code: 'ENOSPC' }, 'x', 'cannot be written')).toMatchObject({
      code: 'SHERD_DISK',
      at: 'x',
    });
  });
});

describe('temporaries', () => {
  it('keeps those of the living, sweeps those of the dead', async () => {
    const living = await makeTemporary(base);
    const dead = await makeTemporary(base);
    const { pid } = spawnSync('true');
    await writeFile(join(dead.directory, 'owner'), JSON.stringify({ pid, started: '1' }));
    const reused = await makeTemporary(base);
    await writeFile(
      join(reused.directory, 'owner'),
      JSON.stringify({ pid: process.pid, started: '1' }),
    );
    await mkdir(join(base, 'something-else'));
    const swept = await sweepTemporaries(base);
    const left = await readdir(base);
    expect(left).toContain('something-else');
    expect(left.map((name) => join(base, name))).toContain(living.directory);
    // A reused pid is told apart by its start time, where there is /proc.
    expect(swept).toBe(process.platform === 'linux' ? 2 : 1);
    living.removeNow();
    expect(await readdir(base)).toEqual(
      process.platform === 'linux' ? ['something-else'] : expect.anything(),
    );
  });

  it.each(['where nobody sweeps it', 'in its place, when there is no other'])(
    'keeps a data directory %s',
    async (where) => {
      const temporary = await makeTemporary(base);
      const data = join(temporary.directory, 'fabric');
      await mkdir(data);
      await writeFile(join(data, 'file'), 'x');
      // What is not there cannot be moved: as where nothing can be made in the directory above.
      const moves = where.startsWith('where');
      const inside = moves ? data : join(temporary.directory, 'elsewhere', 'fabric');
      const place = await temporary.keep(inside);
      expect(place === inside).toBe(!moves);
      const old = new Date(Date.now() - 3_600_000);
      const [top] = await readdir(base);
      await utimes(join(base, top ?? ''), old, old);
      await sweepTemporaries(base);
      expect(await readFile(join(moves ? place : data, 'file'), 'utf8')).toBe('x');
      expect(await readdir(base)).toEqual([
        moves ? basename(place) : basename(temporary.directory),
      ]);
    },
  );

  it('takes a process that has ended and is not reaped for what it is', async () => {
    // The shell becomes a sleep, which reaps nobody, before the first one ends.
    const parent = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 60']);
    const [pid] = (await once(parent.stdout, 'data')) as [Buffer];
    while (isAlive(Number(pid))) await new Promise((resolve) => setImmediate(resolve));
    expect(() => process.kill(Number(pid), 0)).not.toThrow();
    expect(isAlive(parent.pid ?? 0)).toBe(true);
    parent.kill('SIGKILL');
    await once(parent, 'close');
  });

  it('gives a directory that is just being made its time', async () => {
    const { directory } = await makeTemporary(base);
    await rm(join(directory, 'owner'));
    expect(await sweepTemporaries(base)).toBe(0);
    const old = new Date(Date.now() - 3_600_000);
    await utimes(directory, old, old);
    expect(await sweepTemporaries(base)).toBe(1);
  });
});

describe('CompileCache', () => {
  const module = { bytes: Buffer.from('module'), hash: sha256('module') };

  it('gives back what was stored, by program and by hash', async () => {
    const cache = new CompileCache(base);
    await cache.store('wasm', 'program', module);
    expect(await cache.find('wasm', 'program')).toEqual(module.bytes);
    expect(await cache.find('wasm', 'another')).toBeUndefined();
    expect(await cache.find('source', 'program')).toBeUndefined();
    expect(await cache.module(module.hash)).toEqual(module.bytes);
    expect(await cache.module('../../etc/passwd')).toBeUndefined();
  });

  it('forgets a source whose inputs changed, appeared or went', async () => {
    const cache = new CompileCache(base);
    const input = join(base, 'a.ts');
    const absent = join(base, 'b.ts');
    await writeFile(input, 'one');
    await cache.store('source', 'p', module, [
      [input, sha256('one')],
      [absent, null],
    ]);
    expect(await cache.find('source', 'p')).toEqual(module.bytes);
    await writeFile(absent, 'now here');
    expect(await cache.find('source', 'p')).toBeUndefined();
    await rm(absent);
    await writeFile(input, 'two');
    expect(await cache.find('source', 'p')).toBeUndefined();
  });

  it('does not believe a damaged module', async () => {
    const cache = new CompileCache(base);
    await cache.store('wasm', 'program', module);
    await writeFile(join(base, 'modules', `${module.hash}.wasm`), 'modulf');
    expect(await cache.find('wasm', 'program')).toBeUndefined();
  });

  it('is silent about a place where it cannot write', async () => {
    await writeFile(join(base, 'file'), '');
    for (const place of [join(base, 'file', 'below'), '/proc/none/below']) {
      const cache = new CompileCache(place);
      await cache.store('wasm', 'program', module);
      expect(await cache.find('wasm', 'program')).toBeUndefined();
    }
  });
});

it('a data directory that is still held when the time is over is said to be, with its shards stored', async () => {
  const lock = await lockDirectory(base, { create: true });
  const waited = untilFree(base, performance.now());
  await expect(waited).rejects.toMatchObject({
    code: 'SHERD_TIMEOUT',
    message: expect.stringMatching(
      /^its shards are stored, but another sherd up runs .*process \d+/,
    ),
    next: expect.stringContaining('kill -CONT'),
  });
  await lock.release();
  await untilFree(base, performance.now());
});
