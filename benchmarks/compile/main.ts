/**
 * benchmarks/compile: how fast a program becomes a shard module.
 *
 *   node benchmarks/run.mjs compile [--rounds 10] [--files a.wasm,b.wasm] [--big-mb 30]
 *
 * Measured: wall time of compileProgram, from bytes to shard module, hashes and the engine's validation included, in a
 * process a module: the first time (cold), and the median of the last --rounds (warm, after as many to warm up); MB of
 * the program's code section a second; peak memory of the process. The large module is a C fixture many times over.
 * Not measured: reading the file, front ends (asc), the engine's compilation of the result, the cache.
 *
 * P1  The machine's load is printed beside the figures: on a busy machine they are lower bounds.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { median } from '../lib/statistics.js';
import { renderTable } from '../lib/table.js';
import type { ChildResult } from './child.js';
import { replicate } from './replicate.js';

const BAR_MB_PER_S = 5;
const BIG_SECONDS = 15;
const BIG_BYTES = 2e9;
const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));

interface Row extends ChildResult {
  readonly name: string;
  readonly coldMs: number;
  readonly warmMs: number;
  readonly coldMbPerS: number;
  readonly warmMbPerS: number;
}

function measure(name: string, file: string, rounds: number): Row {
  const child = spawnSync(process.execPath, [CHILD, file, String(rounds * 2)], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (child.status !== 0) throw new Error(`${name}: ${child.stderr}`);
  const result = JSON.parse(child.stdout) as ChildResult;
  const coldMs = result.ms[0]!;
  const warmMs = median(result.ms.slice(-rounds));
  const rate = (ms: number): number => result.codeBytes / 1e3 / ms;
  return { ...result, name, coldMs, warmMs, coldMbPerS: rate(coldMs), warmMbPerS: rate(warmMs) };
}

function bigModule(root: string, megabytes: number): Uint8Array {
  const small = new Uint8Array(readFileSync(join(root, 'test/fixtures/forth.wasm')));
  const once = replicate(small, 1);
  const each = replicate(small, 2).length - once.length;
  return replicate(small, Math.max(1, Math.ceil((megabytes * 1e6) / each)));
}

function print(rows: readonly Row[], load: number): void {
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(2);
  const header = ['module', 'code MB', 'functions', 'cold ms', 'warm ms', 'cold MB/s', 'warm MB/s'];
  const table = renderTable(
    [...header, 'code ×', 'peak MB'],
    rows.map((row) => [
      row.name,
      mb(row.codeBytes),
      row.functions,
      row.coldMs.toFixed(1),
      row.warmMs.toFixed(1),
      row.coldMbPerS.toFixed(2),
      row.warmMbPerS.toFixed(2),
      (row.moduleCodeBytes / row.codeBytes).toFixed(2),
      (row.firstPeakBytes / 1e6).toFixed(0),
    ]),
  );
  console.log(`${table}\nload before the run: ${load.toFixed(2)} (1 min)`);
}

function chartOf(rows: readonly Row[]): string {
  return renderChart({
    title: 'Compiling to a shard module',
    subtitle: `MB of code section a second, Node ${process.version}`,
    unit: 'MB/s (bar)',
    reference: BAR_MB_PER_S,
    series: [
      { name: 'cold', colour: '#9ab' },
      { name: 'warm', colour: '#2a6' },
    ],
    groups: rows.map((row) => ({
      name: row.name,
      bars: [{ value: row.coldMbPerS }, { value: row.warmMbPerS }],
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '10', files: '', 'big-mb': '30' });
  const load = loadavg()[0]!;
  const folder = mkdtempSync(join(tmpdir(), 'sherd-bench-'));
  try {
    const rounds = Math.max(1, Number(options.rounds));
    const files = ['forth', 'wc_sort'].map((name) => join(root, `test/fixtures/${name}.wasm`));
    if (options.files !== '') files.push(...options.files.split(','));
    const rows = files.map((file) => measure(basename(file, '.wasm'), file, rounds));
    const big = join(folder, 'big.wasm');
    writeFileSync(big, bigModule(root, Number(options['big-mb'])));
    const bigRow = measure('forth × n', big, Math.min(rounds, 3));
    rows.push(bigRow);
    print(rows, load);
    const ok = bigRow.coldMs < BIG_SECONDS * 1e3 && bigRow.firstPeakBytes < BIG_BYTES;
    const fast = bigRow.warmMbPerS >= BAR_MB_PER_S;
    console.log(
      `large module, first time: ${(bigRow.coldMs / 1e3).toFixed(1)} s (bar ${BIG_SECONDS}), ${(bigRow.firstPeakBytes / 1e6).toFixed(0)} MB (bar ${BIG_BYTES / 1e6}): ${ok ? 'met' : 'NOT met'}; ≥ ${BAR_MB_PER_S} MB/s warm: ${fast ? 'met' : 'NOT met'}`,
    );
    const json = JSON.stringify({ machine: machine(), load, rows }, null, 2);
    console.log(`wrote ${writeResult(root, 'compile.json', `${json}\n`)}`);
    console.log(`wrote ${writeResult(root, 'compile.svg', chartOf(rows))}`);
    return ok && fast ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
