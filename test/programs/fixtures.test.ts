/** The C fixtures give known-true results under plain WASI. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runWasi } from './run-wasi.js';

const folder = mkdtempSync(join(tmpdir(), 'sherd-fixtures-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/${name}.wasm`, import.meta.url)));
}

describe('forth', () => {
  it('passes its self-test: recursion, loops, arithmetic', async () => {
    const outcome = await runWasi(fixture('forth'), { args: ['--self-test'] });
    expect(outcome.code).toBe(0);
    expect(outcome.stdout.toString().split('\n')).toEqual([
      `fib 21 = ${fib(21)} `,
      `ack 2 9 = ${2 * 9 + 3} `,
      `primes below 8192 = ${primesBelow(8192)} `,
      `longest collatz below 3000 from ${longestCollatz(3000)} `,
      `coprime pairs below 120 = ${coprimePairs(120)} `,
      `mix = ${mixed(20000)} `,
      `7^4 = ${7 ** 4} `,
      '',
    ]);
  });

  it('runs a program from stdin and ends with 1 on an error', async () => {
    const stdin = ': f dup 1 > if dup 1 - recurse * then ; 10 f . cr 1 0 /';
    const outcome = await runWasi(fixture('forth'), { stdin });
    expect([outcome.stdout.toString(), outcome.stderr, outcome.code]).toEqual([
      '3628800 \n',
      'forth: division by zero \n',
      1,
    ]);
  });

  it('keeps the names of its C functions', () => {
    const module = new WebAssembly.Module(fixture('forth') as BufferSource);
    const names = Buffer.from(WebAssembly.Module.customSections(module, 'name')[0]!).toString(
      'latin1',
    );
    expect(names).toContain('op_call');
  });
});

describe('wc_sort', () => {
  it('writes the three orders into the directory', async () => {
    const text = "The cat. the dog's cat,\nA zebra; the end of THE\ndog's tale 42 42";
    const outcome = await runWasi(fixture('wc_sort'), {
      args: ['/w'],
      stdin: text,
      dirs: { '/w': folder },
    });
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
    const words = text.toLowerCase().match(/[a-z0-9']+/g)!;
    const counts = new Map<string, number>();
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    const first = [...counts];
    const byText = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    const byCount = [...byText].sort(([, x], [, y]) => y - x);
    const report = (entries: [string, number][]): string =>
      entries.map(([w, n]) => `${n} ${w}\n`).join('');
    const read = (name: string): string => readFileSync(join(folder, 'out', name), 'utf8');
    expect(read('text.txt')).toBe(report(byText));
    expect(read('count.txt')).toBe(report(byCount));
    expect(read('first.txt')).toBe(report(first));
    expect(read('log.txt')).toBe('wrote text\nwrote count\nwrote first\n');
    expect(readdirSync(join(folder, 'out')).sort()).toEqual([
      'count.txt',
      'first.txt',
      'log.txt',
      'text.txt',
    ]);
    expect(outcome.stdout.toString()).toContain(`${words.length} words, ${counts.size} distinct`);
  });

  it('reads files and says which one is missing', async () => {
    writeFileSync(join(folder, 'in.txt'), 'a b a');
    const args = ['/w', '/w/in.txt', '/w/none.txt'];
    const outcome = await runWasi(fixture('wc_sort'), { args, dirs: { '/w': folder } });
    expect(outcome.code).toBe(3);
    expect(outcome.stderr).toBe('wc_sort: cannot open /w/none.txt: No such file or directory\n');
  });
});

function fib(n: number): number {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

function primesBelow(limit: number): number {
  let count = 0;
  for (let n = 2; n < limit; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (prime) count++;
  }
  return count;
}

function longestCollatz(limit: number): number {
  let [best, start] = [0, 0];
  for (let i = 1; i < limit; i++) {
    let steps = 0;
    for (let n = i; n !== 1; steps++) n = n % 2 === 1 ? 3 * n + 1 : n / 2;
    if (steps > best) [best, start] = [steps, i];
  }
  return start;
}

function coprimePairs(limit: number): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  let count = 0;
  for (let i = 1; i < limit; i++) for (let j = 1; j < limit; j++) if (gcd(i, j) === 1) count++;
  return count;
}

function mixed(rounds: number): bigint {
  let [seed, value] = [0n, 0n];
  for (let i = 0; i < rounds; i++) {
    seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
    value = BigInt.asUintN(64, (value ^ (seed >> 33n)) << 1n);
  }
  return BigInt.asIntN(64, value);
}
