/** What goes wrong around a run: no room, no place, no reader, no parent. One line each, and nothing is lost. */

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCapsuleFile } from '../../host/cli/capsule-file.js';
import { isAlive } from '../../host/cli/temporary.js';
import { SherdError } from '../../host/types/errors.js';
import { type ProgramName, programDirectory, TEXT } from './programs.js';
import { type Ended, MAIN, sherd, startSherd } from './sherd.js';

const SLOW = 180_000;
const SORT = fileURLToPath(new URL('../fixtures/wc_sort.wasm', import.meta.url));
let cwd: string;

const run = (...args: string[]): Promise<Ended> => sherd(args, { cwd });
const statusOf = async (name: string) => JSON.parse(await readFile(join(cwd, name), 'utf8'));
/** The same through a shell, for redirections and limits. */
const shell = (script: string) =>
  spawnSync('sh', ['-c', script, 'sh', process.execPath, MAIN], {
    cwd,
    env: { ...process.env, TMPDIR: cwd },
    encoding: 'utf8',
  });
/** The process has looked at its options and made its temporary directory. */
async function ownsTemporary(pid: number | undefined): Promise<boolean> {
  for (const name of await readdir(cwd)) {
    if (!name.startsWith('sherd-')) continue;
    const owner = await readFile(join(cwd, name, 'owner'), 'utf8').catch(() => '');
    if (owner !== '' && JSON.parse(owner).pid === pid) return true;
  }
  return false;
}

beforeAll(async () => {
  cwd = await programDirectory(Object.keys(TEXT) as ProgramName[]);
}, SLOW);
afterAll(() => rm(cwd, { recursive: true, force: true }));

describe('a place that cannot be written in', { timeout: SLOW }, () => {
  /** As somebody who may not write there; the superuser may write anywhere. */
  const check = (target: string): string => {
    const script = `
      import { requireDirectoryOf } from ${JSON.stringify(pathToFileURL(join(dirname(MAIN), 'status.js')))};
      if (process.getuid?.() === 0) process.setuid?.(65534);
      await requireDirectoryOf(process.argv[1], '-o').then(() => console.log('fine'), (e) => console.log(e.code, e.exitCode));
    `;
    const args = ['--input-type=module', '-e', script, target];
    return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim();
  };

  it('is refused before the start, a device there is not', async () => {
    const open = await mkdtemp(join(tmpdir(), 'sherd-place-'));
    try {
      const shut = join(open, 'shut');
      await mkdir(shut);
      await symlink(join(shut, 'file'), join(open, 'link'));
      await writeFile(join(shut, 'file'), '');
      await chmod(shut, 0o555);
      await chmod(open, 0o777);
      expect(check(join(open, 'x.capsule'))).toBe('fine');
      expect(check(join(shut, 'x.capsule'))).toBe('SHERD_FILE 2');
      expect(check(join(open, 'link'))).toBe('SHERD_FILE 2');
      expect(check('/dev/null')).toBe('fine');
    } finally {
      await chmod(join(open, 'shut'), 0o777);
      await rm(open, { recursive: true, force: true });
    }
  });
});

describe('no room', { timeout: SLOW }, () => {
  it('for the output: the line names it, the code is 1', () => {
    const ended = shell('"$1" "$2" run counter.wasm > /dev/full');
    expect([ended.status, ended.stderr.trimEnd().split('\n')]).toEqual([
      1,
      [expect.stringMatching(/^sherd: standard output: .*the disk is full.* \[SHERD_DISK\]$/)],
    ]);
  });

  it('for the state of the program: it waits, says so once, and can be ended', async () => {
    // A limit for the size of files, in place of a disk that is full: 300 KiB in blocks of 512 bytes.
    const script = 'ulimit -f 600; exec "$1" "$2" run --status room.json large.wasm';
    const child = spawn('sh', ['-c', script, 'sh', process.execPath, MAIN], {
      cwd,
      env: { ...process.env, TMPDIR: cwd },
    });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (piece) => {
      text += piece;
    });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    while (!text.includes('\n')) await sleep(20);
    await sleep(2_500); // longer than the longest pause between two tries
    child.kill('SIGINT');
    expect(await exited).toBe(130);
    expect(text.trimEnd().split('\n')).toEqual([
      expect.stringMatching(
        /^sherd: large\.wasm: it waits and tries again: .*SHERD_DISK.* Ctrl-C$/,
      ),
    ]);
  });

  it('for the files of the program: they are kept, and can be fetched as the line says', async () => {
    await mkdir(join(cwd, 'in'), { recursive: true });
    await mkdir(join(cwd, 'later'), { recursive: true });
    await writeFile(join(cwd, 'in', 'in.txt'), 'b\na\n'.repeat(500));
    // An empty directory in which nobody can make a file.
    const nowhere = '/proc/tty/ldisc';
    const dirs = ['--dir', '/in=in:ro', '--dir', `/d=${nowhere}`];
    const ended = await run('run', ...dirs, SORT, '/d', '/in/in.txt');
    expect([ended.code, ended.stderr.trimEnd().split('\n').length]).toEqual([1, 1]);
    const next =
      /sherd up --fabric (\S+), and there sherd result --fabric (\S+) --dir (\S+) (\S+) \[/;
    const [, up, result, dir, id] = next.exec(ended.stderr) ?? [];
    expect([up, dir]).toEqual([result, `/d=${nowhere}`]);
    const cluster = startSherd(['up', '--fabric', up ?? ''], { cwd });
    await cluster.until('Ctrl-C, or sherd down');
    const fetched = await run('result', '--fabric', up ?? '', '--dir', '/d=later', id ?? '');
    cluster.child.kill('SIGTERM');
    await cluster.ended;
    expect([fetched.code, fetched.text]).toEqual([0, ended.text]);
    expect((await readdir(join(cwd, 'later', 'out'))).length).toBeGreaterThan(0);
  });
});

describe('what cannot begin', { timeout: SLOW }, () => {
  it.each([
    ['--help', '"$1" "$2" --help > /dev/full', 1, 'SHERD_DISK'],
    ['help about a command', '"$1" "$2" help run > /dev/full', 1, 'SHERD_DISK'],
    ['--version', '"$1" "$2" --version > /dev/full', 1, 'SHERD_DISK'],
    ['a report', '"$1" "$2" inspect counter.wasm > /dev/full', 1, 'SHERD_DISK'],
    ['help about what is no command', '"$1" "$2" help nonsense', 2, 'SHERD_USAGE'],
    ['an input that is a directory', '"$1" "$2" run cat.wasm < .', 2, 'SHERD_FILE'],
  ])('%s: one line, and an exit code', (_what, script, code, text) => {
    const ended = shell(script);
    expect([ended.status, ended.stdout, ended.stderr.trimEnd().split('\n')]).toEqual([
      code,
      '',
      [expect.stringMatching(new RegExp(`^sherd: .*${text}\\]$`))],
    ]);
  });

  it('few open files: one line, whether this process has too few or its children', () => {
    const ended = shell('ulimit -n 32; exec "$1" "$2" run counter.wasm');
    expect([1, 2]).toContain(ended.status);
    expect(ended.stderr.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^sherd: .*ulimit -n.* \[SHERD_LIMIT\]$/),
    ]);
  });

  it('help that was asked for is no mistake', () => {
    for (const words of ['help', 'help run', '--help', 'run --help']) {
      const ended = shell(`"$1" "$2" ${words}`);
      expect([words, ended.status, ended.stderr]).toEqual([words, 0, '']);
      expect(ended.stdout).toContain('Usage: sherd');
    }
  });
});

describe('a pause that cannot be stored in its file', { timeout: SLOW }, () => {
  const kept =
    /^sherd: (\S+): .*; the program is paused and kept in (\S+) — .*, then: sherd up --fabric (\S+), and there sherd pause --fabric (\S+) -o FILE (\S+) \[SHERD_FILE\]$/;

  /** Checks the last line, and does what it says: the program is then in fetched.capsule. */
  async function fetchAsItSays(stderr: string, file: string): Promise<void> {
    const lines = stderr.trimEnd().split('\n');
    const [, at, place, up, fabric, id] = kept.exec(lines.at(-1) ?? '') ?? [];
    expect([at, up, fabric], stderr).toEqual([file, place, place]);
    const cluster = startSherd(['up', '--fabric', up ?? ''], { cwd });
    await cluster.until('Ctrl-C, or sherd down');
    const fetched = await run('pause', '--fabric', up ?? '', '-o', 'fetched.capsule', id ?? '');
    cluster.child.kill('SIGTERM');
    await cluster.ended;
    expect(fetched.code).toBe(0);
  }

  it('is kept, and nothing of it is lost: a file larger than may be written', async () => {
    // Noise, so that packing gains little.
    const input = randomBytes(360_000).toString('base64');
    await writeFile(join(cwd, 'long.txt'), input);
    // 300 KiB in blocks of 512 bytes: each part fits, the file that holds all of them does not.
    const first = shell(
      'ulimit -f 600; "$1" "$2" run --status e.json --pause-at 3 -o e.capsule cat.wasm < long.txt',
    );
    expect(first.status).toBe(1);
    expect(first.stderr.trimEnd().split('\n')).toEqual([expect.stringContaining('ulimit -f')]);
    expect(await statusOf('e.json')).toMatchObject({
      reason: 'failed',
      code: 1,
      error: 'SHERD_FILE',
      figures: { fuelUsed: 3 },
    });
    await fetchAsItSays(first.stderr, 'e.capsule');
    const second = await run('resume', 'fetched.capsule');
    expect(second.code).toBe(0);
    expect(first.stdout.length).toBeGreaterThan(0);
    expect(first.stdout + second.text === input).toBe(true);
  });

  it.each(['SIGTERM', '--pause-after'])('is kept: its directory is gone (%s)', async (why) => {
    await mkdir(join(cwd, 'gone'));
    const places = ['-o', 'gone/x.capsule', '--status', 'gone/s.json'];
    const timer = why === 'SIGTERM' ? [] : ['--pause-after', '500ms'];
    const running = startSherd(['run', ...places, ...timer, 'yes.wasm'], { cwd });
    // It has looked at the directory before it starts anything.
    if (why === 'SIGTERM') await running.until('7\n');
    else while (!(await ownsTemporary(running.child.pid))) await sleep(20);
    await rm(join(cwd, 'gone'), { recursive: true });
    if (why === 'SIGTERM') running.child.kill('SIGTERM');
    const ended = await running.ended;
    expect(ended.code).toBe(1);
    // The status file has no place either: that is said first.
    const lines = ended.stderr.trimEnd().split('\n');
    expect(lines.at(-2)).toMatch(/^sherd: gone\/s\.json: cannot be written: .*\[SHERD_FILE\]$/);
    await fetchAsItSays(ended.stderr, 'gone/x.capsule');
    const facts = JSON.parse((await run('inspect', '--json', 'fetched.capsule')).text);
    expect(facts).toMatchObject({ program: 'yes.wasm', capsule: { kind: 'capsule' } });
  });
});

describe('places', { timeout: SLOW }, () => {
  it('--status goes into a pipe, and through a symlink, and leaves both what they are', async () => {
    const [pipe, link] = [join(cwd, 'pipe'), join(cwd, 'link')];
    spawnSync('mkfifo', [pipe]);
    await writeFile(join(cwd, 'real.json'), 'old');
    await symlink('real.json', link);
    const reader = readFile(pipe, 'utf8');
    expect((await run('run', '--status', pipe, 'counter.wasm')).code).toBe(7);
    expect(JSON.parse(await reader)).toMatchObject({ reason: 'exit', code: 7 });
    expect((await lstat(pipe)).isFIFO()).toBe(true);
    expect((await run('run', '--status', 'link', 'counter.wasm')).code).toBe(7);
    expect([await readlink(link), (await statusOf('real.json')).code]).toEqual(['real.json', 7]);
  });

  it('a status that cannot be written is said once', async () => {
    const ended = await run('run', '--status', '/dev/full', 'counter.wasm');
    expect([ended.code, ended.stderr.trimEnd().split('\n')]).toEqual([
      1,
      [expect.stringMatching(/^sherd: \/dev\/full: .*the disk is full.* \[SHERD_DISK\]$/)],
    ]);
  });

  it('a temporary directory in which nothing can be written is not left behind', async () => {
    const before = (await readdir(cwd)).filter((name) => name.startsWith('sherd-'));
    const ended = shell('ulimit -f 0; exec "$1" "$2" run counter.wasm 2>&1 | cat');
    expect(ended.stdout).toMatch(/^sherd: .*TMPDIR=DIR.* \[SHERD_FILE\]\n$/);
    expect((await readdir(cwd)).filter((name) => name.startsWith('sherd-'))).toEqual(before);
  });

  it.each([
    ['run', ['run']],
    ['resume', ['resume']],
    ['run --stdin', ['run', 'counter.wasm', '--stdin']],
  ])(
    '%s: a pipe that nobody writes into is waited for, and one signal ends that',
    async (what, args) => {
      const pipe = join(cwd, `${what.replaceAll(' ', '')}.pipe`);
      spawnSync('mkfifo', [pipe]);
      const words = args[1] === undefined ? [...args, pipe] : ['run', '--stdin', pipe, 'cat.wasm'];
      const running = startSherd(words, { cwd });
      const looks = join('/proc', String(running.child.pid), 'fd');
      const opened = async (): Promise<boolean> => {
        const fds = await readdir(looks);
        const links = await Promise.all(fds.map((fd) => readlink(join(looks, fd)).catch(() => '')));
        return links.includes(pipe);
      };
      while (!(await opened())) await sleep(20);
      running.child.kill('SIGTERM');
      expect((await running.ended).code).toBe(143);
    },
  );

  it('a program and a capsule may come out of a pipe', async () => {
    const [pipe, capsule] = [join(cwd, 'prog.pipe'), join(cwd, 'capsule.pipe')];
    for (const path of [pipe, capsule]) spawnSync('mkfifo', [path]);
    const feed = async (source: string, target: string): Promise<void> =>
      writeFile(target, await readFile(join(cwd, source)));
    const [looked] = await Promise.all([
      run('inspect', '--json', pipe),
      feed('counter.wasm', pipe),
    ]);
    expect([looked.code, JSON.parse(looked.text).sizes.safepoints]).toEqual([
      0,
      expect.any(Number),
    ]);
    const [ended] = await Promise.all([run('run', pipe), feed('counter.wasm', pipe)]);
    expect(ended.code).toBe(7);
    await run('run', '--pause-at', '2', '-o', 'piped.capsule', 'counter.wasm');
    const [again] = await Promise.all([run('resume', capsule), feed('piped.capsule', capsule)]);
    expect(again.code).toBe(7);
  });

  it('less memory than the program begins with is refused before the start', async () => {
    const ended = await run('run', '--status', 'm.json', '--max-memory', '64KiB', 'counter.wasm');
    expect([ended.code, ended.stderr]).toEqual([
      2,
      'sherd: counter.wasm: the program begins with 128.0 KiB of memory, more than --max-memory 64.0 KiB' +
        ' — give at least 128.0 KiB [SHERD_MEMORY_LIMIT]\n',
    ]);
    expect(await statusOf('m.json')).toMatchObject({ reason: 'refused', code: 2 });
  });

  it('a data directory that is a file is refused', async () => {
    await writeFile(join(cwd, 'file'), '');
    for (const place of ['file', 'file/below']) {
      const ended = await run('up', '--fabric', `embedded:${place}`);
      expect([ended.code, ended.stderr]).toEqual([
        2,
        expect.stringMatching(/^sherd: \S*file\S*: .*not a directory.*\n$/),
      ]);
    }
  });

  it('a data directory where none can be made is refused, and not tried for ever', async () => {
    const ended = await run('up', '--fabric', 'embedded:/proc/none/here');
    expect([ended.code, ended.stderr]).toEqual([
      2,
      expect.stringMatching(/^sherd: \/proc\/none\/here: .*\[SHERD_DISK\]\n$/),
    ]);
  });

  it('a data directory is free again when `down` returns', async () => {
    const fabric = ['--fabric', 'embedded:cluster'];
    for (let round = 0; round < 2; round++) {
      const up = startSherd(['up', ...fabric], { cwd });
      await up.until('Ctrl-C, or sherd down');
      expect((await run('down', ...fabric)).code).toBe(0);
      expect((await up.ended).code).toBe(0);
    }
  });
});

describe('no parent', { timeout: SLOW }, () => {
  it('a run ends when the harness that started it is killed', async () => {
    const code = `
      const args = [process.argv[1], 'run', '--status', 'orphan.json', 'spin.wasm'];
      const child = require('node:child_process').spawn(process.execPath, args, { stdio: 'ignore' });
      console.log(child.pid);`;
    const harness = spawn(process.execPath, ['-e', code, MAIN], {
      cwd,
      env: { ...process.env, TMPDIR: cwd },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const pid = Number(await new Promise((resolve) => harness.stdout.once('data', resolve)));
    while (!(await ownsTemporary(pid))) await sleep(20);
    harness.kill('SIGKILL');
    while (isAlive(pid)) await sleep(20);
    expect(await statusOf('orphan.json')).toMatchObject({ reason: 'interrupted', code: 129 });
  });
});

describe('capsule files', { timeout: SLOW }, () => {
  it('with any bit changed, or cut anywhere, are refused', async () => {
    await run('run', '--pause-at', '100000', '-o', 'whole.capsule', 'counter.wasm');
    const whole = await readFile(join(cwd, 'whole.capsule'));
    const path = join(cwd, 'mutant.capsule');
    const refused = async (bytes: Uint8Array): Promise<boolean> => {
      await writeFile(path, bytes);
      const thrown = await readCapsuleFile(path).catch((cause: unknown) => cause);
      return thrown instanceof SherdError && thrown.exitCode === 2 && thrown.at === path;
    };
    for (let bit = 0; bit < whole.length * 8; bit += 97) {
      const mutant = Buffer.from(whole);
      mutant[bit >> 3]! ^= 1 << (bit & 7);
      expect([bit, await refused(mutant)]).toEqual([bit, true]);
    }
    for (let length = 0; length < whole.length; length += 61) {
      expect([length, await refused(whole.subarray(0, length))]).toEqual([length, true]);
    }
    expect(await refused(whole)).toBe(false);
  });
});
