/**
 * benchmarks/resume: how long the rest of a run takes after a resume in another process.
 *
 *   node benchmarks/run.mjs resume [--kernels all] [--rounds 3] [--paused 0.3] [--node PATH] [--quick]
 *
 *   never paused  ├───────── prefix ─────────┤├────────── rest ──────────┤     warm code, one process
 *   resumed                       capsule →   ├ load ┤├────── rest ──────┤    a fresh process: compiling and decoding count
 *                                             clock ───────────────────→
 *
 * `rest` of the never-paused run is the whole run minus the run up to the pause, both measured in warm code; a fresh
 * process would be slower there (V8 does not replace Wasm code on the stack), and is given as a column of its own.
 *
 * Measured: wall time from shard module and capsule as bytes in memory to the program's end, in a fresh process a round;
 * medians, geomean over the kernels, 90 % bootstrap bound. Not measured: starting Node.js, sending the capsule, pausing.
 *
 * U1  The bar is judged against the never-paused shard in warm code, the hardest of the comparisons.
 * U2  A wrong checksum ends the benchmark.
 * U3  --quick uses the short runs and judges nothing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { type Estimate, geomeanRatio, median, ratioOf } from '../lib/statistics.js';
import { type Cell, estimateText, ratioText, renderTable } from '../lib/table.js';
import type { Timed } from '../lib/timing.js';
import type { Kernel } from '../overhead/kernels.js';
import { chooseKernels, loadProgram } from '../overhead/programs.js';
import type { BaseAnswer, EndAnswer, Job } from './child.js';

const BAR = 1.15;

interface KernelResult {
  readonly name: string;
  readonly restMs: number;
  readonly readyMs: number;
  readonly capsuleBytes: number;
  readonly guestStack: readonly string[];
  /** Rest of the run in ms, one a round. */
  readonly resumed: readonly number[];
  readonly shard: readonly number[];
  readonly plain: readonly number[];
  readonly cold: readonly number[];
  readonly ratio: Readonly<Record<Comparison, Estimate>>;
}

const COMPARISONS = ['shard', 'plain', 'cold'] as const;
type Comparison = (typeof COMPARISONS)[number];
const TITLES: Readonly<Record<Comparison, string>> = {
  shard: 'over never paused',
  plain: 'over plain, warm',
  cold: 'over plain, fresh process',
};

function ask<T>(root: string, job: Job): T {
  const script = join(root, 'dist/.bench/benchmarks/resume/child.js');
  const child = spawnSync(process.execPath, [script, JSON.stringify(job)], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (child.status !== 0) throw new Error(`${job.name}, ${job.kind}: ${child.stderr}`);
  return JSON.parse(child.stdout) as T;
}

function checkSums(name: string, timed: readonly Timed[]): void {
  const sums = new Set(timed.map(({ checksum }) => checksum));
  if (sums.size !== 1) throw new Error(`${name}: checksums differ: ${[...sums].join(', ')}`);
}

interface Settings {
  readonly rounds: number;
  readonly pausedAt: number;
  readonly quick: boolean;
}

async function measureKernel(
  root: string,
  kernel: Kernel,
  folder: string,
  settings: Settings,
): Promise<KernelResult> {
  const program = await loadProgram(root, kernel);
  const path = (extension: string): string => join(folder, `${kernel.name}.${extension}`);
  writeFileSync(path('wasm'), program.bytes);
  writeFileSync(path('shard'), compileProgram(program.bytes, nodePlatform).bytes);
  const job = (kind: Job['kind']): Job => ({
    kind,
    name: kernel.name,
    programPath: path('wasm'),
    shardPath: path('shard'),
    capsulePath: path('capsule'),
    parameter: kernel.parameter,
    longParameter: settings.quick ? kernel.parameter : kernel.longParameter,
    pausedAt: settings.pausedAt,
    rounds: settings.rounds,
  });
  const base = ask<BaseAnswer>(root, job('base'));
  const rounds = Array.from({ length: settings.rounds }, () => ({
    resumed: ask<EndAnswer>(root, job('resumed')),
    cold: ask<EndAnswer>(root, job('cold')),
  }));
  const ends = rounds.flatMap(({ resumed, cold }) => [resumed.timed, cold.timed]);
  checkSums(kernel.name, [...base.plain, ...base.sherd, ...ends]);
  return evaluate(kernel.name, base, rounds);
}

function evaluate(
  name: string,
  base: BaseAnswer,
  rounds: readonly { readonly resumed: EndAnswer; readonly cold: EndAnswer }[],
): KernelResult {
  const shard = base.sherd.map(({ wallMs }, i) => wallMs - base.prefix[i]!.wallMs);
  const part = median(shard) / median(base.sherd.map(({ wallMs }) => wallMs));
  const resumed = rounds.map((round) => round.resumed.timed.wallMs);
  const plain = base.plain.map(({ wallMs }) => wallMs * part);
  const cold = rounds.map((round) => round.cold.timed.wallMs * part);
  return {
    name,
    restMs: median(shard),
    readyMs: median(rounds.map((round) => round.resumed.readyMs)),
    capsuleBytes: base.capsuleBytes,
    guestStack: base.guestStack,
    ...{ resumed, shard, plain, cold },
    ratio: {
      shard: ratioOf(resumed, shard),
      plain: ratioOf(resumed, plain),
      cold: ratioOf(resumed, cold),
    },
  };
}

/** The innermost functions of the paused run. */
function whereText(guestStack: readonly string[]): string {
  const names = guestStack.slice(0, 2).map((label) => label.replace(/ \(.*$/, ''));
  return `${names.join(' < ')}${guestStack.length > 2 ? ' < …' : ''}`;
}

function table(
  results: readonly KernelResult[],
  means: Readonly<Record<Comparison, Estimate>>,
): string {
  const rows = results.map((r): Cell[] => [
    r.name,
    r.restMs.toFixed(0),
    ...COMPARISONS.map((to) => estimateText(r.ratio[to])),
    r.readyMs.toFixed(1),
    r.capsuleBytes,
    whereText(r.guestStack),
  ]);
  return renderTable(
    [
      ...['kernel', 'rest ms', ...COMPARISONS.map((to) => TITLES[to])],
      ...['ready ms', 'capsule bytes', 'paused in'],
    ],
    [...rows, ['geomean', '', ...COMPARISONS.map((to) => estimateText(means[to]))]],
  );
}

function chart(results: readonly KernelResult[], mean: Estimate, subtitle: string): string {
  return renderChart({
    title: 'Rest of the run after a resume in a fresh process, relative to never paused',
    subtitle,
    unit: 'never paused, warm',
    reference: 1,
    series: [{ name: 'resumed, compiling and decoding included', colour: '#2a7f62' }],
    groups: [
      { name: 'geomean', bars: [mean] },
      ...results.map((r) => ({ name: r.name, bars: [r.ratio.shard] })),
    ],
  });
}

async function measureAll(
  root: string,
  chosen: string,
  settings: Settings,
): Promise<KernelResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-resume-'));
  const results: KernelResult[] = [];
  try {
    for (const kernel of chooseKernels(chosen)) {
      const result = await measureKernel(root, kernel, folder, settings);
      results.push(result);
      process.stderr.write(`  ${result.name}: ${ratioText(result.ratio.shard.value)}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return results;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { kernels: 'all', rounds: '3', paused: '0.3', quick: 'no' });
  const quick = options.quick === 'yes';
  const settings = {
    rounds: quick ? 1 : Number(options.rounds),
    pausedAt: Number(options.paused),
    quick,
  };
  const host = machine();
  const startedMs = performance.now();
  console.log(
    `rest of a run after a resume in a fresh process · Node ${host.node}, V8 ${host.v8} · ${host.cpu} · ${settings.rounds} rounds, paused at ${settings.pausedAt} of the fuel`,
  );
  console.log(
    'measured: wall time, module and capsule as bytes → end of the program; not measured: process start, transport\n',
  );
  const results = await measureAll(root, options.kernels, settings);
  const means = Object.fromEntries(
    COMPARISONS.map((to) => [
      to,
      geomeanRatio(results.map((r) => ({ values: r.resumed, base: r[to] }))),
    ]),
  ) as Record<Comparison, Estimate>;
  console.log(`${table(results, means)}\n`);
  const name = resultName('resume', options.kernels === 'all', quick);
  const content = JSON.stringify({ machine: host, settings, means, results }, null, 1);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${settings.rounds} fresh processes, whiskers 90 % bounds`;
  const files = [
    writeResult(root, `${name}.json`, `${content}\n`),
    writeResult(root, `${name}.svg`, chart(results, means.shard, subtitle)),
  ];
  const seconds = ((performance.now() - startedMs) / 1e3).toFixed(0);
  console.log(`wrote ${files.join(', ')} after ${seconds} s`);
  const met = means.shard.value <= BAR;
  const text = `resumed takes ${estimateText(means.shard)} × never paused (bar ${BAR}: ${met ? 'met' : 'MISSED'})`;
  console.log(quick ? `${text}\n--quick: too short to judge` : text);
  return met || quick ? 0 : 1;
}
