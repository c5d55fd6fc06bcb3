/** `sherd oracle replay` and `plot` as a user runs them: lines, training, packed files, what is refused. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { forecastSvg, type PlotStep } from '../../host/cli/forecast-svg.js';
import { parseSeries } from '../../host/cli/series-file.js';
import { SherdError } from '../../host/types/errors.js';
import { type Ended, sherd } from './sherd.js';

const SLOW = 240_000;
let cwd: string;
const run = (...args: string[]): Promise<Ended> => sherd(['oracle', ...args], { cwd });
const replay = (file: string, ...args: string[]): Promise<Ended> =>
  run('replay', file, '--interval', '300', '--horizon', '3', ...args);

/** Rows with a gap, a late beginning, an early end. */
function csv(rows: number, steps: number, seed = 1): string {
  let x = seed;
  const next = (): number => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 32;
  };
  const lines = Array.from({ length: rows }, (_, r) => {
    const values = Array.from({ length: r === 1 ? steps - 5 : steps }, (_, t) =>
      (r === 0 && t < 3) || (r === 2 && t > 10 && t < 15) ? '' : (10 + r + 4 * next()).toFixed(2),
    );
    return `row-${String(r).padStart(2, '0')},${values.join(',')}`;
  });
  return `${lines.join('\n')}\n`;
}

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'sherd-oracle-'));
  await writeFile(join(cwd, 'a.csv'), csv(6, 60));
  await writeFile(join(cwd, 'a.csv.gz'), gzipSync(csv(6, 60)));
  await writeFile(join(cwd, 'past.csv'), csv(5, 80, 7));
  const lines = csv(6, 60).trim().split('\n');
  await writeFile(join(cwd, 'turned.csv'), `# turned\n\n${lines.reverse().join('\r\n')}\r\n`);
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

describe('sherd oracle replay', { timeout: SLOW }, () => {
  it('writes a line for every step of every series, by step, to stdout or a file', async () => {
    const { code, text, stderr } = await replay('a.csv', '--capacity', '14');
    expect(code).toBe(0);
    expect(stderr).toMatch(/series +6\n(.|\n)*covered/);
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.length).toBe(5 * 60 + 55);
    expect(Object.keys(lines[0]!)).toEqual(['series', 'step', 'p50', 'p90', 'p99', 'contention']);
    expect(lines.slice(0, 7).map(({ series, step }) => `${series} ${step}`)).toEqual([
      'row-00 0',
      'row-01 0',
      'row-02 0',
      'row-03 0',
      'row-04 0',
      'row-05 0',
      'row-00 1',
    ]);
    for (const { p50, p90, p99, contention } of lines as Record<string, number>[]) {
      expect(p50! <= p90! && p90! <= p99!).toBe(true);
      expect(contention! >= 0 && contention! <= 1).toBe(true);
    }
    const toFile = await replay('a.csv', '--capacity', '14', '--json', 'out.jsonl');
    expect([toFile.code, toFile.stderr]).toEqual([0, '']);
    expect(toFile.text).toMatch(/pinball ÷ last value/);
    expect(await readFile(join(cwd, 'out.jsonl'), 'utf8')).toBe(text);
    expect((await readdir(cwd)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('gives the same bytes for packed and for reordered files, and without --capacity no probability', async () => {
    const [plain, packed, turned] = await Promise.all(
      ['a.csv', 'a.csv.gz', 'turned.csv'].map((file) => replay(file, '-q')),
    );
    expect(plain!.text).toContain('"contention":null');
    expect(packed!.text).toBe(plain!.text);
    expect(turned!.text).toBe(plain!.text);
    expect(plain!.stderr).toBe('');
  });

  it('learns from other series first, of another step too', async () => {
    const alone = await replay('a.csv', '-q');
    const taught = await replay('a.csv', '-q', '--train', 'past.csv', '--train', 'a.csv.gz@60');
    expect(taught.code).toBe(0);
    expect(taught.text.split('\n').length).toBe(alone.text.split('\n').length);
    expect(taught.text).not.toBe(alone.text);
  });

  it('refuses what it cannot use, in one line, and leaves an old result as it was', async () => {
    await writeFile(join(cwd, 'bad.csv'), 'a,1,2\nb,1,x9,3\n');
    await writeFile(join(cwd, 'twice.csv'), 'a,1\nb,2\na,3\n');
    await writeFile(join(cwd, 'empty.csv'), '# nothing\n\n');
    await writeFile(join(cwd, 'cut.csv.gz'), gzipSync(csv(4, 40)).subarray(0, 60));
    await writeFile(join(cwd, 'kept.jsonl'), 'old\n');
    const cases: readonly (readonly [string[], RegExp])[] = [
      [
        ['replay', 'bad.csv', '--interval', '300', '--horizon', '3', '--json', 'kept.jsonl'],
        /line 2, value 1: x9 is not a number.*SHERD_FILE\]/,
      ],
      [
        ['replay', 'twice.csv', '--interval', '300', '--horizon', '3'],
        /line 3: series a is on line 1 already/,
      ],
      [['replay', 'empty.csv', '--interval', '300', '--horizon', '3'], /it holds no series/],
      [['replay', 'cut.csv.gz', '--interval', '300', '--horizon', '3'], /cannot be unpacked/],
      [['replay', 'none.csv', '--interval', '300', '--horizon', '3'], /no such file/],
      [
        ['replay', 'a.csv', '--interval', '0', '--horizon', '3'],
        /--interval 0: not a number of seconds above 0.*SHERD_USAGE\]/,
      ],
      [['replay', 'a.csv', '--interval', '300', '--horizon', '0'], /--horizon 0/],
      [
        ['replay', 'a.csv', '--interval', '300', '--horizon', '3', '--capacity', 'much'],
        /--capacity much: not a number/,
      ],
      [
        ['replay', 'a.csv', '--interval', '300', '--horizon', '3', '--train', 'none.csv@30'],
        /none.csv: cannot read it/,
      ],
      [
        ['replay', 'a.csv', '--interval', '300', '--horizon', '3', '--json', 'no/where.jsonl'],
        /is not a directory/,
      ],
      [['replay', 'a.csv', '--horizon', '3'], /--interval/],
      [
        ['plot', 'a.csv', 'row-77', '--interval', '300', '--horizon', '3', '-o', 'x.svg'],
        /no series row-77.*such as row-00/,
      ],
    ];
    for (const [args, message] of cases) {
      const { code, text, stderr } = await run(...args);
      expect([code, text]).toEqual([2, '']);
      expect(stderr).toMatch(/^sherd: [^\n]*\n$/);
      expect(stderr).toMatch(message);
    }
    expect(await readFile(join(cwd, 'kept.jsonl'), 'utf8')).toBe('old\n');
    expect(existsSync(join(cwd, 'x.svg'))).toBe(false);
  });
});

describe('sherd oracle plot', { timeout: SLOW }, () => {
  it('draws bands, what came and alarms', async () => {
    const { code, text } = await run(
      'plot',
      'a.csv',
      'row-02',
      '--interval',
      '300',
      '--horizon',
      '3',
      '--capacity',
      '14',
      '-o',
      'x.svg',
    );
    expect(code).toBe(0);
    expect(text).toMatch(/^x\.svg {2}60 steps, \d+ steps with an alarm\n$/);
    const svg = await readFile(join(cwd, 'x.svg'), 'utf8');
    expect(svg).toMatch(/^<svg [^>]*>[\s\S]*<\/svg>\n$/);
    expect(svg).toContain('>row-02<');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('draws what is empty, constant or long, and escapes the name', () => {
    const step = (value: number): PlotStep => ({
      value,
      peak: value,
      p50: value,
      p90: value,
      p99: value,
      contention: 0.6,
      alarm: true,
    });
    for (const steps of [
      [],
      [step(3)],
      new Array<PlotStep>(5_000).fill(step(0)),
      [{ ...step(1), value: Number.NaN, peak: Number.NaN }, step(2)],
    ]) {
      const svg = forecastSvg({ title: 'a<b&c', steps, intervalS: 5, horizon: 6, capacity: 4 });
      expect(svg).toContain('a&lt;b&amp;c');
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      expect(svg.length).toBeLessThan(400_000);
    }
  });
});

describe('files of series', () => {
  const parse = (text: string) => parseSeries(Buffer.from(text), 'x.csv');

  it('are sorted by name; empty fields and names of nothing are missing samples', () => {
    const read = parse('\uFEFFb,1,,NaN,-2.5e3,1e999\r\na\nc,\n');
    expect(read.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(read.map(({ values }) => [...values])).toEqual([
      [],
      [1, Number.NaN, Number.NaN, -2500, Number.NaN],
      [Number.NaN],
    ]);
  });

  it.each([
    [',1,2\n', /no name/],
    ['a,0x10\n', /0x10 is not a number/],
    ['a,1 2\n', /not a number/],
    ['', /no series/],
  ])('%j is refused', (text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(SherdError);
  });
});
