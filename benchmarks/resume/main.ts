/**
 * benchmarks/resume: how long the rest of a run takes after a resume in another process.
 *
 *   node benchmarks/run.mjs resume [--kernels all] [--rounds 3] [--paused 0.3] [--node PATH] [--quick]
 *                                  [--part NAME] [--merge NAME,NAME]
 *
 *   never paused  ├───────── prefix ─────────┤├────────── rest ──────────┤     warm code, one process
 *   resumed                       capsule →   ├ load ┤├────── rest ──────┤    a fresh process: compiling and decoding count
 *                                             clock ───────────────────→
 *
 * --part, --merge: as in benchmarks/overhead, for a machine that one has for minutes only (a kernel takes about ten seconds a
 * round and ten more; the whole list in one go about half an hour).
 *
 * `rest` of the never-paused run is the whole run minus the run up to the pause, both measured in warm code; a fresh
 * process would be slower there (V8 does not replace Wasm code on the stack), and is given as a column of its own.
 *
 * The resumed run goes in quanta of 0.5 ms, as worker threads run every guest; the never-paused one in one go, which is
 * harder to reach. One fresh process a kernel runs the rest in one go too (column `in one go`): what is called once and
 * loops for long stays in the engine's baseline code there, resumed or not.
 *
 * Every round: the warm process makes its runs, then fresh ones theirs, so that a drift of the machine hits both alike. The
 * shard's run is made twice there: the A/A pair.
 *
 * Measured: wall time from shard module and capsule as bytes in memory to the program's end, in a fresh process a round;
 * medians, geomean over the kernels, 90 % bootstrap bound; CPU time (all threads) as a column of its own. Not measured: starting Node.js, sending the capsule, pausing.
 *
 * U1  The bar is judged against the never-paused shard in warm code, the hardest of the comparisons.
 * U2  A wrong checksum ends the benchmark.
 * U3  --quick uses the short runs and judges nothing.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { mergeParts, type Run } from '../lib/parts.js';
import { type Estimate, geomeanRatio, median, ratioOf } from '../lib/statistics.js';
import { type Cell, estimateText, ratioText, renderTable } from '../lib/table.js';
import type { Timed } from '../lib/timing.js';
import { KERNELS, type Kernel } from '../overhead/kernels.js';
import { chooseKernels, loadProgram } from '../overhead/programs.js';
import type { BaseAnswer, BaseRound, EndAnswer, Job } from './child.js';

const BAR = 1.15;
/** The bar is meant for at least so much work after the resume. */
const SHORTEST_REST_MS = 1_000;

interface KernelResult {
  readonly name: string;
  readonly restMs: number;
  readonly readyMs: number;
  /** The rest in one go, of one fresh process, by the never-paused one. */
  readonly straight: number;
  readonly capsuleBytes: number;
  readonly guestStack: readonly string[];
  /** What is compared: rest of the run in ms, one a round, and what it is compared with. */
  readonly pairs: Readonly<Record<Comparison, Pair>>;
  readonly ratio: Readonly<Record<Comparison, Estimate>>;
}

interface Pair {
  readonly values: readonly number[];
  readonly base: readonly number[];
}

const COMPARISONS = ['shard', 'cpu', 'plain', 'cold', 'again'] as const;
type Comparison = (typeof COMPARISONS)[number];
const TITLES: Readonly<Record<Comparison, string>> = {
  shard: 'over never paused',
  cpu: 'the same, CPU time',
  plain: 'over plain, warm',
  cold: 'over plain, fresh process',
  again: 'never paused, A/A',
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

/** The process whose code stays warm. */
class WarmProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(
    root: string,
    private readonly job: Job,
  ) {
    const script = join(root, 'dist/.bench/benchmarks/resume/child.js');
    const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit'];
    this.#child = spawn(process.execPath, [script, JSON.stringify(job)], { stdio });
    this.#reader = createInterface({ input: this.#child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async answer<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.job.name}: the warm process ended`);
    return JSON.parse(value as string) as T;
  }

  async round(): Promise<BaseRound> {
    this.#child.stdin!.write('round\n');
    return await this.answer<BaseRound>();
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.stdin!.end();
    await ended;
  }
}

function checkSums(name: string, timed: readonly Timed[]): void {
  const sums = new Set(timed.map(({ checksum }) => checksum));
  if (sums.size !== 1) throw new Error(`${name}: checksums differ: ${[...sums].join(', ')}`);
}

interface Round {
  readonly base: BaseRound;
  readonly resumed: EndAnswer;
  readonly cold: EndAnswer;
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
  });
  const warm = new WarmProcess(root, job('base'));
  const rounds: Round[] = [];
  try {
    const base = await warm.answer<BaseAnswer>();
    for (let round = 0; round < settings.rounds; round++)
      rounds.push({
        base: await warm.round(),
        resumed: ask<EndAnswer>(root, job('resumed')),
        cold: ask<EndAnswer>(root, job('cold')),
      });
    const straight = ask<EndAnswer>(root, job('straight'));
    const timed = rounds.flatMap(({ base: { plain, sherd, again }, resumed, cold }) => [
      ...[plain, sherd, again, resumed.timed, cold.timed],
    ]);
    checkSums(kernel.name, [...timed, straight.timed]);
    return evaluate(kernel.name, base, rounds, straight.timed.wallMs);
  } finally {
    await warm.end();
  }
}

function evaluate(
  name: string,
  base: BaseAnswer,
  rounds: readonly Round[],
  straightMs: number,
): KernelResult {
  const values = (of: (round: Round) => number): readonly number[] => rounds.map(of);
  const rest = ({ base: { sherd, prefix } }: Round): number => sherd.wallMs - prefix.wallMs;
  const shard = values(rest);
  const part = median(shard) / median(values((round) => round.base.sherd.wallMs));
  const resumed = values((round) => round.resumed.timed.wallMs);
  const pairs: Record<Comparison, Pair> = {
    shard: { values: resumed, base: shard },
    cpu: {
      values: values((round) => round.resumed.timed.processMs),
      base: values((round) => round.base.sherd.processMs - round.base.prefix.processMs),
    },
    plain: { values: resumed, base: values((round) => round.base.plain.wallMs * part) },
    cold: { values: resumed, base: values((round) => round.cold.timed.wallMs * part) },
    again: {
      values: values(({ base: { again, prefix } }) => again.wallMs - prefix.wallMs),
      base: shard,
    },
  };
  return {
    name,
    restMs: median(shard),
    readyMs: median(values((round) => round.resumed.readyMs)),
    straight: straightMs / median(shard),
    capsuleBytes: base.capsuleBytes,
    guestStack: base.guestStack,
    pairs,
    ratio: ofEach((to) => ratioOf(pairs[to].values, pairs[to].base)),
  };
}

function ofEach<T>(make: (to: Comparison) => T): Record<Comparison, T> {
  return Object.fromEntries(COMPARISONS.map((to) => [to, make(to)])) as Record<Comparison, T>;
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
    ratioText(r.straight),
    r.readyMs.toFixed(1),
    r.capsuleBytes,
    whereText(r.guestStack),
  ]);
  return renderTable(
    [
      ...['kernel', 'rest ms', ...COMPARISONS.map((to) => TITLES[to])],
      ...['in one go', 'ready ms', 'capsule bytes', 'paused in'],
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

type ResumeRun = Run<Settings, KernelResult>;

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

/** Prints the table and the verdict, writes JSON and chart as `name`. Gives the exit code. */
function report(root: string, name: string, { machine: host, plan, results }: ResumeRun): number {
  const means = ofEach((to) => geomeanRatio(results.map((r) => r.pairs[to])));
  console.log(`${table(results, means)}\n`);
  const content = JSON.stringify({ machine: host, plan, means, results }, null, 1);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${plan.rounds} fresh processes, whiskers 90 % bounds`;
  const files = [
    writeResult(root, `${name}.json`, `${content}\n`),
    writeResult(root, `${name}.svg`, chart(results, means.shard, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  const met = means.shard.value <= BAR;
  const text = `resumed takes ${estimateText(means.shard)} × never paused (bar ${BAR}: ${met ? 'met' : 'MISSED'})`;
  const short = results.filter(({ restMs }) => restMs < SHORTEST_REST_MS);
  if (short.length > 0 && !plan.quick)
    console.log(
      `less than ${SHORTEST_REST_MS} ms of work were left: ${short.map((r) => r.name).join(', ')}`,
    );
  console.log(plan.quick ? `${text}\n--quick: too short to judge` : text);
  return met || plan.quick ? 0 : 1;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, {
    ...{ kernels: 'all', rounds: '3', paused: '0.3', quick: 'no', part: '', merge: '' },
  });
  if (options.merge !== '') {
    const names = KERNELS.map(({ name }) => name);
    const run = mergeParts<Settings, KernelResult>(root, 'resume', options.merge, names);
    introduce(run);
    return report(root, `resume-node${run.machine.node.split('.')[0]!.slice(1)}`, run);
  }
  const quick = options.quick === 'yes';
  const plan: Settings = {
    rounds: quick ? 1 : Number(options.rounds),
    pausedAt: Number(options.paused),
    quick,
  };
  const run = { machine: machine(), plan };
  const startedMs = performance.now();
  introduce(run);
  const results = await measureAll(root, options.kernels, plan);
  console.log(`measured for ${((performance.now() - startedMs) / 1e3).toFixed(0)} s\n`);
  const part = options.part === '' ? '' : `-${options.part}`;
  const whole = options.kernels === 'all' || part !== '';
  return report(root, resultName(`resume${part}`, whole, quick), { ...run, results });
}

function introduce({ machine: host, plan }: Omit<ResumeRun, 'results'>): void {
  console.log(
    `rest of a run after a resume in a fresh process · Node ${host.node}, V8 ${host.v8} · ${host.cpu} · ${plan.rounds} rounds, paused at ${plan.pausedAt} of the fuel`,
  );
  console.log(
    'measured: wall time, module and capsule as bytes → end of the program; not measured: process start, transport\n',
  );
}
