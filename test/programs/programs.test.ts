/** The guest programs give known-true results under plain WASI, before sherd touches them. */

import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { xxhash32 } from 'hash-wasm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compiledProgram, PROGRAMS, type ProgramName } from './compiled.js';
import { decodePng } from './png.js';
import { runWasi, type WasiOutcome, type WasiRun } from './run-wasi.js';

const COMPILE_MS = 120_000;
const modules = new Map<ProgramName, Uint8Array>();
const folder = mkdtempSync(join(tmpdir(), 'sherd-programs-'));

beforeAll(async () => {
  for (const name of PROGRAMS) modules.set(name, await compiledProgram(name));
}, COMPILE_MS);
afterAll(() => rmSync(folder, { recursive: true }));

async function run(name: ProgramName, args: string[], more: WasiRun = {}): Promise<WasiOutcome> {
  return runWasi(modules.get(name)!, { args, ...more });
}

async function text(name: ProgramName, args: string[], more: WasiRun = {}): Promise<string> {
  const outcome = await run(name, args, more);
  expect(outcome.stderr).toBe('');
  expect(outcome.code).toBe(0);
  return outcome.stdout.toString();
}

describe('every program', () => {
  it.each(PROGRAMS)('%s imports WASI only and keeps its function names', async (name) => {
    const module = new WebAssembly.Module(modules.get(name)! as BufferSource);
    const from = WebAssembly.Module.imports(module).map((entry) => entry.module);
    expect([...new Set(from)]).toEqual(['wasi_snapshot_preview1']);
    expect(WebAssembly.Module.customSections(module, 'name')).toHaveLength(1);
    const names = Buffer.from(WebAssembly.Module.customSections(module, 'name')[0]!).toString(
      'latin1',
    );
    expect(names).toContain(`${name}/main`);
  });

  it.each([
    ['raytracer', ['0', '10']],
    ['nbody', ['many']],
    ['wordcount', ['a', 'b']],
    ['perft', ['4', 'x', 'y']],
    ['sat', ['--random', '5']],
    ['gc', ['1', '0']],
    ['simd', ['7']],
  ] as [ProgramName, string[]][])(
    '%s refuses bad arguments with exit code 2',
    async (name, args) => {
      const outcome = await run(name, args);
      expect(outcome.code).toBe(2);
      expect(outcome.stderr).toContain(name);
      expect(outcome.stdout).toHaveLength(0);
    },
  );
});

describe('nbody', () => {
  it('gives the energies of the well-known benchmark', async () => {
    const energies = (await text('nbody', ['1000'])).match(/-\d\.\d+/g)!.map(Number);
    expect(energies.map((e) => e.toFixed(9))).toEqual(['-0.169075164', '-0.169087605']);
    const longer = (await text('nbody', ['500000', '250000'])).match(/-\d\.\d+/g)!.map(Number);
    expect(longer).toHaveLength(3);
    expect(longer[2]!.toFixed(9)).toBe('-0.169096567');
  });
});

describe('perft', () => {
  it.each([
    ['4', ['start'], 197281],
    ['3', ['kiwipete'], 97862],
    ['4', ['8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1'], 43238],
    ['3', ['r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1'], 9467],
    ['3', 'rnbq1k1r/pp1Pbppp/2p5/8/2B5/8/PPP1NnPP/RNBQK2R w KQ - 1 8'.split(' '), 62379],
  ] as [string, string[], number][])('depth %s of %j is %i', async (depth, position, nodes) => {
    const lines = (await text('perft', [depth, ...position])).trim().split('\n');
    expect(lines.at(-1)).toBe(`perft ${depth}: ${nodes}`);
    const sum = lines.slice(0, -1).reduce((total, line) => total + Number(line.split(': ')[1]), 0);
    expect(sum).toBe(nodes);
  });
});

describe('wordcount', () => {
  it('agrees with a count in TypeScript on 5 MB, from stdin and from a file', async () => {
    const input = someText(5_300_000);
    writeFileSync(join(folder, 'text.txt'), input);
    const expected = countWords(input, 25);
    expect(await text('wordcount', ['-n', '25'], { stdin: input })).toBe(expected);
    const dirs = { '/data': folder };
    expect(await text('wordcount', ['-n', '25', '/data/text.txt'], { dirs })).toBe(expected);
  });

  it('names a file that is not there', async () => {
    const outcome = await run('wordcount', ['/data/none.txt'], { dirs: { '/data': folder } });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toBe(
      'wordcount: cannot open /data/none.txt: no such file or directory (ENOENT)\n',
    );
  });
});

function someText(bytes: number): string {
  let state = 12345;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  const syllables = ['ka', 'Lo', 'mi', 'ß', 'tür', 'en', "d'", 'X2', 'ría', 'zo'];
  const vocabulary = Array.from({ length: 9000 }, () =>
    Array.from({ length: 1 + random(5) }, () => syllables[random(10)]).join(''),
  );
  const pieces: string[] = [];
  for (let size = 0; size < bytes; ) {
    const word = vocabulary[Math.min(random(9000), random(9000), random(9000))]!;
    const piece = word + ['\n', ', ', '. ', ' ', ' ', ' '][random(6)]!;
    pieces.push(piece);
    size += Buffer.byteLength(piece);
  }
  return `${pieces.join('')}last`;
}

function countWords(input: string, top: number): string {
  const counts = new Map<string, number>();
  let words = 0;
  for (const [raw] of input.matchAll(/[A-Za-z0-9'\u0080-\u{10ffff}]+/gu)) {
    const word = raw.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    counts.set(word, (counts.get(word) ?? 0) + 1);
    words++;
  }
  const sorted = [...counts].sort(
    ([a, x], [b, y]) => y - x || Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  const head = [
    `${Buffer.byteLength(input)} bytes`,
    `${input.split('\n').length - 1} lines`,
    `${words} words`,
    `${counts.size} distinct`,
  ];
  return [...head, ...sorted.slice(0, top).map(([word, count]) => `${count} ${word}`), ''].join(
    '\n',
  );
}

describe('sat', () => {
  it('agrees with trying all assignments on small random instances', async () => {
    let satisfiable = 0;
    for (let seed = 1; seed <= 24; seed++) {
      const clauses = randomClauses(10, 44, seed);
      const expected = hasModel(10, clauses);
      const dimacs = [
        'c random',
        'p cnf 10 44',
        ...clauses.map((c) => `${c.join(' ')} 0`),
        '',
      ].join('\n');
      const outcome = await run('sat', [], { stdin: dimacs });
      expect(outcome.code).toBe(expected ? 10 : 20);
      const output = outcome.stdout.toString();
      expect(output).toContain(expected ? 's SATISFIABLE' : 's UNSATISFIABLE');
      if (!expected) continue;
      satisfiable++;
      const model = new Set(
        output
          .match(/^v (.*) 0$/m)![1]!
          .split(' ')
          .map(Number),
      );
      expect(clauses.every((clause) => clause.some((literal) => model.has(literal)))).toBe(true);
    }
    expect(satisfiable).toBeGreaterThan(3);
    expect(satisfiable).toBeLessThan(21);
  });

  it('proves that six pigeons do not fit into five holes, and reads a file', async () => {
    expect((await run('sat', ['--pigeons', '5'])).code).toBe(20);
    writeFileSync(join(folder, 'unit.cnf'), 'p cnf 3 3\n1\n0 -1 2 0\n-2 -3 0\n');
    const outcome = await run('sat', ['unit.cnf'], { dirs: { '.': folder } });
    expect(outcome.stdout.toString()).toContain('v 1 2 -3 0');
  });
});

function randomClauses(variables: number, count: number, seed: number): number[][] {
  let state = seed * 7919;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 10) % limit;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: 3 }, () => (random(2) ? 1 : -1) * (1 + random(variables))),
  );
}

function hasModel(variables: number, clauses: number[][]): boolean {
  for (let bits = 0; bits < 1 << variables; bits++) {
    const holds = (literal: number): boolean =>
      ((bits >> (Math.abs(literal) - 1)) & 1) === (literal > 0 ? 1 : 0);
    if (clauses.every((clause) => clause.some(holds))) return true;
  }
  return false;
}

describe('gc', () => {
  it(
    'holds the entries that a plain map holds, and the same trees whatever the collector',
    async () => {
      const output = await text('gc', ['30000', '3000']);
      expect(output).toContain(`entries ${entriesLeft(30000, 3000)}\n`);
      const stub = await compiledProgram('gc', { runtime: 'stub' });
      const uncollected = await runWasi(stub, { args: ['30000', '3000'] });
      expect(uncollected.stdout.toString()).toBe(output);
    },
    COMPILE_MS,
  );
});

function entriesLeft(rounds: number, keys: number): number {
  let state = 88172645463325252n;
  const random = (limit: number): number => {
    state ^= BigInt.asUintN(64, state << 13n);
    state ^= state >> 7n;
    state ^= BigInt.asUintN(64, state << 17n);
    return Number((state >> 11n) % BigInt(limit));
  };
  const map = new Set<number>();
  for (let round = 0; round < rounds; round++) {
    const key = random(keys);
    if (random(4) === 0) map.delete(key);
    else map.add(key);
    if (round % 5000 === 4999) random(64);
  }
  return map.size;
}

describe('simd', () => {
  it('agrees with scalar arithmetic in TypeScript', async () => {
    const size = 48;
    const expected = await scalarSimd(size, 150);
    const output = await text('simd', [String(size), '150']);
    // Both print enough digits to read the same number back, not always the same digits.
    const readBack = output.replace(/trace (\S+)/, (_, digits) => `trace ${Number(digits)}`);
    expect(readBack).toBe(expected);
  });
});

async function scalarSimd(size: number, most: number): Promise<string> {
  const times = new Int32Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) times[y * size + x] = escapeTime(x, y, size, most);
  }
  const [a, b] = [filled(size, 1), filled(size, 2)];
  const c = new Float32Array(size * size);
  let trace = 0;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let k = 0; k < size; k++)
        sum = Math.fround(sum + Math.fround(a[i * size + k]! * b[k * size + j]!));
      c[i * size + j] = sum;
    }
    trace += c[i * size + i]!;
  }
  const sum = times.reduce((total, time) => total + time, 0);
  const hashes = [
    await xxhash32(new Uint8Array(times.buffer)),
    await xxhash32(new Uint8Array(c.buffer)),
  ];
  return `mandelbrot sum ${sum} hash ${hashes[0]}\nproduct trace ${trace} hash ${hashes[1]}\n`;
}

function escapeTime(x: number, y: number, size: number, most: number): number {
  const [cr, ci] = [x * (3 / size) - 2.25, y * (3 / size) - 1.5];
  let [zr, zi] = [0, 0];
  for (let n = 0; n < most; n++) {
    if (zr * zr + zi * zi > 4) return n;
    [zr, zi] = [zr * zr - zi * zi + cr, zr * zi + zr * zi + ci];
  }
  return most;
}

function filled(size: number, seed: number): Float32Array {
  let state = seed;
  return new Float32Array(size * size).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 16) / 65536 - 0.5;
  });
}

describe('raytracer', () => {
  it('draws the same PNG to stdout and to a file', async () => {
    const outcome = await run('raytracer', ['64', '36', '2']);
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toContain('64x36, 2 samples a pixel');
    const written = await run('raytracer', ['-o', 'out/p.png', '64', '36', '2'], {
      dirs: { '/out': folder },
    });
    expect(written.stdout).toHaveLength(0);
    expect(readFileSync(join(folder, 'p.png')).equals(outcome.stdout)).toBe(true);

    const picture = await decodePng(outcome.stdout);
    expect([picture.width, picture.height]).toEqual([64, 36]);
    // The sky is light, the violet crystal is violet, and the picture as a whole is pinned.
    const sky = pixelAt(picture, 2, 2);
    expect(Math.min(...sky)).toBeGreaterThan(100);
    expect(new Set(picture.rgb).size).toBeGreaterThan(150);
    const [r, g, b] = pixelAt(picture, 31, 27);
    expect(b!).toBeGreaterThan(g! + 40);
    expect(b!).toBeGreaterThan(r!);
    expect(createHash('sha256').update(picture.rgb).digest('hex')).toBe(PICTURE_SHA256);
  });
});

// Change it when the scene or the light changes; nothing else may change it.
const PICTURE_SHA256 = '69a254ab1bc32ef7de3ac7026068dc9bed5d4269df13466956dcdce585f2aef0';

function pixelAt(picture: { rgb: Uint8Array; width: number }, x: number, y: number): number[] {
  return [...picture.rgb.subarray((y * picture.width + x) * 3, (y * picture.width + x) * 3 + 3)];
}
