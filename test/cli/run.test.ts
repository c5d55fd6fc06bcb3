/** `sherd run`, `resume`, `compile`, `inspect`: real processes, private clusters. */
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ProgramName, programDirectory, TEXT } from './programs.js';
import { type Ended, sherd, startSherd } from './sherd.js';

const SLOW = 120_000;
let cwd: string;
/** The counter's whole output, its fuel and its code. */
let whole: { readonly text: string; readonly fuel: number };

const run = (...args: string[]): Promise<Ended> => sherd(args, { cwd });
const statusOf = async (name: string) => JSON.parse(await readFile(join(cwd, name), 'utf8'));

/** Directories of private clusters that are still there. */
const leftovers = async (): Promise<string[]> =>
  (await readdir(cwd)).filter((name) => name.startsWith('sherd-'));

beforeAll(async () => {
  cwd = await programDirectory(Object.keys(TEXT) as ProgramName[]);
  const ended = await run('run', '--status', 'whole.json', 'counter.wasm');
  whole = { text: ended.text, fuel: (await statusOf('whole.json')).figures.fuelUsed };
}, SLOW);
afterAll(() => rm(cwd, { recursive: true, force: true }));

describe('run', { timeout: SLOW }, () => {
  it("prints the program's output, ends with its code, and leaves nothing behind", async () => {
    const ended = await run('run', '--status', 's.json', 'counter.wasm');
    expect([ended.code, ended.stderr]).toEqual([7, '']);
    expect(ended.text.split('\n').slice(0, 20)).toEqual(
      Array.from({ length: 20 }, (_, i) => `${i + 1}`),
    );
    expect(ended.text).toBe(whole.text);
    expect(await statusOf('s.json')).toMatchObject({
      reason: 'exit',
      code: 7,
      figures: { fuelUsed: whole.fuel, moves: 0 },
    });
    expect(await leftovers()).toEqual([]);
  });

  it('hands what follows the program to it, and its input byte for byte', async () => {
    const bytes = new Uint8Array(600_000).map((_, i) => (i * 31) ^ (i >> 7));
    const ended = await sherd(['run', 'cat.wasm', '--nodes', '99', '-o', 'x'], {
      cwd,
      stdin: bytes,
    });
    expect([ended.code, Buffer.compare(ended.stdout, bytes)]).toEqual([0, 0]);
    await writeFile(join(cwd, 'input'), bytes);
    const fromFile = await run('run', '--stdin', 'input', 'cat.wasm');
    expect([fromFile.code, Buffer.compare(fromFile.stdout, bytes)]).toEqual([0, 0]);
  });

  it('moves between processes without a difference', async () => {
    const options = ['--nodes', '2', '--move-every', '20ms', '--status', 'm.json'];
    const program = fileURLToPath(new URL('../fixtures/forth.wasm', import.meta.url));
    const [still, moved] = [
      await run('run', program, '--self-test'),
      await run('run', ...options, program, '--self-test'),
    ];
    expect([moved.code, moved.text]).toEqual([still.code, still.text]);
    expect(still.text.length).toBeGreaterThan(0);
  });

  it.each<[string, string[], number, string, string]>([
    ['a trap', ['trap.wasm'], 134, 'trap', 'divide by zero'],
    ['endless recursion', ['recurse.wasm'], 134, 'trap', 'SHERD_STACK_EXHAUSTED'],
    [
      'the memory limit',
      ['--max-memory', '1MiB', 'grow.wasm'],
      137,
      'memory-limit',
      '--max-memory',
    ],
    ['the fuel quota', ['--max-fuel', '100000', 'spin.wasm'], 124, 'fuel-quota', '--max-fuel'],
    ['the time quota', ['--max-time', '100ms', 'spin.wasm'], 124, 'time-quota', '--max-time'],
  ])('says %s', async (_what, args, code, reason, text) => {
    const ended = await run('run', '--status', 'e.json', ...args);
    expect([ended.code, ended.stderr.includes(text)]).toEqual([code, true]);
    expect(ended.stderr).not.toMatch(/at .*\.js:\d+/);
    expect(await statusOf('e.json')).toMatchObject({ reason, code });
  });

  it('prints the output before a trap, and the call stack of the program', async () => {
    const ended = await run('run', 'trap.wasm');
    expect(ended.text).toBe('1\n');
    expect(ended.stderr.split('\n').slice(1, 4)).toEqual([
      '    at divide (function 2)',
      '    at middle (function 3)',
      '    at _start (function 4)',
    ]);
  });

  it('ends quietly when its reader goes away', async () => {
    const { child, ended, until } = startSherd(['run', '--status', 'p.json', 'yes.wasm'], { cwd });
    await until('7\n');
    child.stdout?.destroy();
    expect(await ended).toMatchObject({ code: 141, stderr: '' });
    expect(await statusOf('p.json')).toMatchObject({ reason: 'closed-pipe' });
    expect(await leftovers()).toEqual([]);
  });
});

describe('pause and resume', { timeout: SLOW }, () => {
  it('after a time of running: what starting takes is no part of it', async () => {
    const asked = ['--pause-after', '300ms', '--status', 't.json'];
    expect((await run('run', ...asked, '-o', 'timed.capsule', 'spin.wasm')).code).toBe(75);
    const first = (await statusOf('t.json')).figures;
    expect(first.ranMs).toBeGreaterThanOrEqual(300);
    const again = await run('resume', ...asked, '-o', 'timed-2.capsule', 'timed.capsule');
    expect(again.code).toBe(75);
    const second = (await statusOf('t.json')).figures;
    expect(second.ranMs).toBeGreaterThanOrEqual(300);
    expect(second.fuelUsed).toBeGreaterThan(first.fuelUsed);
  });

  it('in another process, with nothing but the file', async () => {
    const args = [
      '--pause-at',
      String(Math.floor(whole.fuel / 3)),
      '-o',
      'third.capsule',
      '--status',
      'q.json',
    ];
    const first = await run('run', ...args, 'counter.wasm');
    expect(first.code).toBe(75);
    expect(await statusOf('q.json')).toMatchObject({
      reason: 'paused',
      code: 75,
      capsuleFile: 'third.capsule',
      figures: { fuelUsed: Math.floor(whole.fuel / 3) },
    });
    const elsewhere = join(cwd, 'elsewhere');
    await mkdir(elsewhere);
    await copyFile(join(cwd, 'third.capsule'), join(elsewhere, 'third.capsule'));
    const second = await sherd(['resume', '--status', 'r.json', 'third.capsule'], {
      cwd: elsewhere,
    });
    expect([second.code, first.text + second.text]).toEqual([7, whole.text]);
    const status = JSON.parse(await readFile(join(elsewhere, 'r.json'), 'utf8'));
    expect(status.figures.fuelUsed).toBe(whole.fuel);
  });

  it('again and again, thin where the module is known', async () => {
    let text = (await run('run', '--pause-at', '100000', '-o', 'chain.capsule', 'counter.wasm'))
      .text;
    for (const at of ['300000', '600000']) {
      const next = await run(
        'resume',
        '--pause-at',
        at,
        '--thin',
        '-o',
        'chain.capsule',
        'chain.capsule',
      );
      expect(next.code).toBe(75);
      text += next.text;
    }
    text += (await run('resume', 'chain.capsule')).text;
    expect(text).toBe(whole.text);
    const stranger = await sherd(['resume', 'chain.capsule'], {
      cwd,
      env: { XDG_CACHE_HOME: join(cwd, 'nothing') },
    });
    expect([stranger.code, stranger.stderr]).toEqual([
      2,
      expect.stringContaining('SHERD_CAPSULE_INCOMPLETE'),
    ]);
  });

  it('Ctrl-C pauses into the file of -o', async () => {
    const { child, ended, until } = startSherd(['run', '-o', 'ctrl-c.capsule', 'yes.wasm'], {
      cwd,
    });
    await until('7\n');
    child.kill('SIGINT');
    const end = await ended;
    expect([end.code, end.stderr]).toEqual([
      75,
      expect.stringContaining('go on with: sherd resume ctrl-c.capsule'),
    ]);
    const report = await run('inspect', '--json', 'ctrl-c.capsule');
    expect(JSON.parse(report.text)).toMatchObject({
      program: 'yes.wasm',
      capsule: { kind: 'capsule' },
    });
    const text = await run('inspect', 'ctrl-c.capsule');
    expect(text.text).toMatch(/call stack: \d+ frames?/);
  });

  it.each<[NodeJS.Signals, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('%s ends what has no file to pause into', async (signal, code) => {
    const { child, ended, until } = startSherd(['run', '--status', 'i.json', 'yes.wasm'], { cwd });
    await until('7\n');
    child.kill(signal);
    expect((await ended).code).toBe(code);
    expect(await statusOf('i.json')).toMatchObject({ reason: 'interrupted', code });
    expect(await leftovers()).toEqual([]);
  });

  it('SIGKILL takes the children along; the next run sweeps what is left', async () => {
    const { child, ended, until } = startSherd(['run', '--nodes', '2', 'yes.wasm'], { cwd });
    await until('7\n');
    const [directory] = await leftovers();
    const control = JSON.parse(
      await readFile(join(cwd, directory ?? '', 'fabric', 'control.json'), 'utf8'),
    );
    child.kill('SIGKILL');
    expect((await ended).signal).toBe('SIGKILL');
    await untilGone(control.pid);
    await run('run', 'counter.wasm');
    expect(await leftovers()).toEqual([]);
  });
});

async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(10);
  }
}

describe('directories', { timeout: SLOW }, () => {
  const program = fileURLToPath(new URL('../fixtures/wc_sort.wasm', import.meta.url));
  const input = Array.from({ length: 3_000 }, (_, i) => `line ${i} of ${i % 97} words`).join('\n');

  async function freshDirectory(name: string): Promise<string> {
    await mkdir(join(cwd, name), { recursive: true });
    await writeFile(join(cwd, name, 'in.txt'), input);
    return name;
  }
  const filesOf = async (name: string): Promise<Record<string, string>> => {
    const files: Record<string, string> = {};
    for (const file of (await readdir(join(cwd, name, 'out'))).sort()) {
      files[file] = await readFile(join(cwd, name, 'out', file), 'utf8');
    }
    return files;
  };

  it('come home after a run, and after a pause in between they are the same', async () => {
    const straight = await freshDirectory('straight');
    const ended = await run(
      'run',
      '--status',
      'd.json',
      '--dir',
      `/d=${straight}`,
      program,
      '/d',
      '/d/in.txt',
    );
    expect(ended.code).toBe(0);
    const { fuelUsed } = (await statusOf('d.json')).figures;
    const paused = await freshDirectory('paused');
    const half = String(Math.floor(fuelUsed / 2));
    const first = await run(
      'run',
      '--pause-at',
      half,
      '-o',
      'd.capsule',
      '--dir',
      `/d=${paused}`,
      program,
      '/d',
      '/d/in.txt',
    );
    expect([first.code, await readdir(join(cwd, paused))]).toEqual([75, ['in.txt']]);
    const second = await run('resume', '--dir', `/d=${paused}`, 'd.capsule');
    expect([second.code, first.text + second.text]).toEqual([0, ended.text]);
    expect(await filesOf(paused)).toEqual(await filesOf(straight));
  });

  it('that nobody claims are kept beside the capsule', async () => {
    const ended = await run('resume', 'd.capsule');
    expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining('d.capsule.files')]);
    expect(await readdir(join(cwd, 'd.capsule.files', 'd'))).toContain('out');
  });

  it('given read-only stay as they are', async () => {
    const name = await freshDirectory('readonly');
    const ended = await run('run', '--dir', `/d=${name}:ro`, program, '/d', '/d/in.txt');
    expect(ended.code).not.toBe(0);
    expect(await readdir(join(cwd, name))).toEqual(['in.txt']);
  });

  it('a host file that changed meanwhile is kept, exit 1', async () => {
    const name = await freshDirectory('changed');
    await mkdir(join(cwd, name, 'out'));
    await writeFile(join(cwd, name, 'out', 'text.txt'), 'before');
    const pausing = ['--pause-at', '1000', '-o', 'c.capsule', '--dir', `/d=${name}`];
    expect((await run('run', ...pausing, program, '/d', '/d/in.txt')).code).toBe(75);
    await writeFile(join(cwd, name, 'out', 'text.txt'), 'changed by someone else');
    const ended = await run('resume', '--dir', `/d=${name}`, 'c.capsule');
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining('is kept')]);
    expect(await readFile(join(cwd, name, 'out', 'text.txt'), 'utf8')).toBe(
      'changed by someone else',
    );
  });
});

describe('bad input', { timeout: SLOW }, () => {
  it.each<[string, string[], string]>([
    ['a file that is not there', ['run', 'nowhere.wasm'], 'SHERD_FILE'],
    ['a file that is no program', ['run', 'junk'], 'SHERD_NOT_WASM'],
    ['half a module', ['run', 'half.wasm'], 'SHERD_WASM_MALFORMED'],
    ['a foreign import', ['run', 'foreign.wasm'], 'env.launch'],
    ['an unclear entry', ['run', 'entries.wasm'], '--entry: one, two'],
    ['an unknown entry', ['run', '--entry', 'four', 'entries.wasm'], 'SHERD_ENTRY_MISSING'],
    ['an unknown option', ['run', '--frobnicate', 'spin.wasm'], 'SHERD_USAGE'],
    ['an unknown command', ['pss'], 'Did you mean ps'],
    ['no program', ['run'], 'SHERD_USAGE'],
    ['a directory that is not there', ['run', '--dir', '/d=nowhere', 'spin.wasm'], 'SHERD_FILE'],
    ['an input that is not there', ['run', '--stdin', 'nowhere', 'cat.wasm'], 'SHERD_FILE'],
    [
      'a place for the capsule that is not there',
      ['run', '-o', 'no/x.capsule', 'spin.wasm'],
      'SHERD_FILE',
    ],
    [
      'a place for the status that is not there',
      ['run', '--status', 'no/s.json', 'spin.wasm'],
      'SHERD_FILE',
    ],
    ['a missing data directory', ['ps', '--fabric', 'embedded:nowhere'], 'sherd up --fabric'],
    [
      'a run in a missing data directory',
      ['run', '--fabric', 'embedded:nowhere', 'spin.wasm'],
      'SHERD_NO_CLUSTER',
    ],
    [
      'an unknown kind of fabric',
      ['ps', '--fabric', 'carrier:pigeon'],
      'SHERD_FEATURE_UNSUPPORTED',
    ],
    ['a capsule cut short', ['resume', 'cut.capsule'], 'cut short'],
    ['a capsule with one bit changed', ['resume', 'bit.capsule'], 'SHERD_CAPSULE_DAMAGED'],
    ['a file that is no capsule', ['resume', './junk'], 'SHERD_CAPSULE_DAMAGED'],
    ['source that does not compile', ['run', 'bad.ts'], 'SHERD_SOURCE_ERROR'],
    ['a component', ['compile', 'component.wasm'], 'npm install @bytecodealliance/jco'],
  ])('%s is refused in one line, exit 2', async (_what, args, text) => {
    await makeBadFiles();
    const ended = await run(...args);
    expect([ended.code, ended.stderr]).toEqual([2, expect.stringContaining(text)]);
    const lines = ended.stderr.trimEnd().split('\n');
    expect(lines.at(-1)).toMatch(/^sherd: .* \[SHERD_[A-Z_]+\]$/);
    expect(ended.stderr).not.toMatch(/\.js:\d+/);
    // A compiler's own diagnostics may come first.
    if (!args.includes('bad.ts')) expect(lines).toHaveLength(1);
    expect(ended.text).toBe('');
  });

  let made = false;
  async function makeBadFiles(): Promise<void> {
    if (made) return;
    made = true;
    const put = (name: string, bytes: Uint8Array | string): Promise<void> =>
      writeFile(join(cwd, name), bytes);
    await put('junk', 'not a program');
    await put('half.wasm', (await readFile(join(cwd, 'counter.wasm'))).subarray(0, 200));
    await put('bad.ts', 'let x: i32 = "text";\n');
    await put('component.wasm', Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0));
    await run('run', '--pause-at', '1000', '-o', 'good.capsule', 'counter.wasm');
    const good = await readFile(join(cwd, 'good.capsule'));
    await put('cut.capsule', good.subarray(0, good.length - 1));
    good[good.length >> 1]! ^= 4;
    await put('bit.capsule', good);
  }
});

describe('compile', { timeout: SLOW }, () => {
  it('writes a shard module that runs as the program does', async () => {
    const ended = await run('compile', 'counter.wasm');
    expect(ended.code).toBe(0);
    expect(ended.text).toMatch(/2 of 2 functions instrumented, \d+ safepoints/);
    expect(await run('run', 'counter.sherd.wasm')).toMatchObject({ code: 7, text: whole.text });
    const facts = JSON.parse(
      (await run('compile', '--json', '-o', 'again.sherd.wasm', 'counter.wasm')).text,
    );
    expect(await readFile(join(cwd, 'again.sherd.wasm'))).toEqual(
      await readFile(join(cwd, 'counter.sherd.wasm')),
    );
    expect(facts).toMatchObject({ output: 'again.sherd.wasm', functionsTotal: 2 });
    const inside = JSON.parse((await run('inspect', '--json', 'counter.sherd.wasm')).text);
    expect(inside.moduleHash).toBe(facts.moduleHash);
  });

  it('publishes the same pause bound as inspect', async () => {
    const [compiled, inspected] = await Promise.all([
      run('compile', '--json', '-o', 'bound.sherd.wasm', 'counter.wasm'),
      run('inspect', '--json', 'counter.wasm'),
    ]);
    const { pauseBound } = JSON.parse(compiled.text);
    expect(pauseBound.instructions).toBeGreaterThan(10);
    expect(JSON.parse(inspected.text).pauseBound).toEqual(pauseBound);
    expect((await run('inspect', 'counter.wasm')).text).toMatch(
      /pause bound +[\d,]+ instructions at most between safepoints/,
    );
  });

  it('explains one function and writes nothing', async () => {
    const ended = await run('compile', 'counter.wasm', '--explain', '_start');
    expect(ended.code).toBe(0);
    expect(ended.text).toMatch(/^function \d+ {2}_start/);
    expect(ended.text).toMatch(/safepoints: \d+/);
    const json = JSON.parse(
      (await run('compile', '--json', '-o', 'x.sherd.wasm', '--explain', '_start', 'counter.wasm'))
        .text,
    );
    expect(json).toMatchObject({ name: '_start', canStop: true });
    expect(await readFile(join(cwd, 'x.sherd.wasm'))).toHaveLength(
      (await readFile(join(cwd, 'counter.sherd.wasm'))).length,
    );
    expect(await run('compile', 'counter.wasm', '--explain', 'nobody')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no function is called 'nobody'.*SHERD_USAGE/),
    });
  });

  it('takes a program without a subcommand', async () => {
    expect(await run('counter.wasm')).toMatchObject({ code: 7, text: whole.text });
  });
});

describe('--json', () => {
  it('gives an error as JSON on stdout, and its line on stderr as ever', async () => {
    for (const [words, code, at] of [
      [['compile', '--json', 'nowhere.ts'], 'SHERD_FILE', 'nowhere.ts'],
      [['inspect', 'nowhere.capsule', '--json'], 'SHERD_FILE', 'nowhere.capsule'],
      [['ps', '--json', '--frob'], 'SHERD_USAGE', null],
    ] as const) {
      const ended = await run(...words);
      const { error } = JSON.parse(ended.text);
      expect(error).toMatchObject({ code, at, exitCode: 2 });
      expect(ended.code).toBe(2);
      expect(ended.stderr).toContain(`${error.message} — ${error.next} [${code}]\n`);
    }
    expect((await run('inspect', 'nowhere.capsule')).text).toBe('');
  });
});
