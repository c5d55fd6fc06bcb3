/**
 * benchmarks/pause: how long a guest in a worker thread goes on after its thread was asked to stop it.
 *
 *   node benchmarks/run.mjs pause [--kernels all] [--rounds 15] [--pauses 14] [--seed 1] [--node PATH]
 *                                 [--part NAME] [--merge NAME,NAME] [--awake yes]
 *
 *   main thread    ask ──▶ message, control word
 *   worker thread          … rest of the slice ───▶ safepoint: the guest stands still
 *   main thread                                                    ◀── message
 *                  ├────────────────────── latency ──────────────────────────┤
 *
 * The thread is the one that nodes run guests in (host/node: pool, worker, rotation), with its own quantum; one core is the
 * guest's, the other asks. Every round runs each kernel's long call from its beginning and asks at random moments of it.
 * After every pause an idle ping, a question about the guest that stands still: what two messages between the threads cost
 * at that moment; and a busy ping, the same of a thread that was at work until then (witness.ts): what the machine itself
 * takes from a running thread. All 44 kernels (about nine minutes) are every kind of loop; `fib` has none, it only calls itself.
 *
 * `--awake yes`: processes of the scheduler's idle class keep the cores from halting (awake.ts). A virtual machine's core that has waited
 * for longer than its kernel polls (200 µs is usual, about what a pause takes) is taken away by the host, and woken in its time.
 *
 * Measured: latency of every pause by kernel (p50, p90, p99, longest), the bound that the compiler publishes beside it.
 * Not measured: capturing and encoding, other processes, requests and the doorbell (benchmarks/moves).
 *
 * P1  The bar is judged by kernel on the raw p99; the pings' tails, of as many pings, stand beside it. Where the busy pings'
 *     p99 is above VOID_US, the run is no evidence about sherd: the machine stalls its threads by itself.
 * P2  No pause is left out. A kernel that ends before its round is complete begins again.
 * P3  A kernel's first round is cold: nothing of it, nor of its continuations, has been compiled in its thread. It counts like
 *     the others, and its longest pause is a column of its own.
 * P4  --part and --merge as in benchmarks/overhead.
 * P5  The process is set up as a node's is (fabric/background.ts): its engine options, its helper threads behind those that carry
 *     requests.
 */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileProgram, readShardModule } from '../../host/compile/index.js';
import { pauseBound } from '../../host/compile/pause-bound.js';
import { calmEngine, NODE_ENGINE_OPTIONS } from '../../host/fabric/background.js';
import { MODULES } from '../../host/node/guests.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardModule } from '../../host/types/module.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { mergeParts, type Run } from '../lib/parts.js';
import { quantile, randomFrom } from '../lib/statistics.js';
import { renderTable } from '../lib/table.js';
import { KERNELS } from '../overhead/kernels.js';
import { chooseKernels, loadProgram } from '../overhead/programs.js';
import { keepAwake } from './awake.js';
import { BenchThread } from './guest.js';
import { Witness } from './witness.js';

const BAR_US = 1_000;
const VOID_US = 500;
/** The first request comes so long after the start at most, ms; the others follow after GAP_MS more than 1 ms at most. */
const START_MS = 900;
const GAP_MS = 6;
const TAILS = [0.5, 0.9, 0.99, 1] as const;

interface Result {
  readonly name: string;
  readonly parameter: number;
  /** null: no bound. */
  readonly boundInstructions: number | null;
  readonly boundPerReturn: number | null;
  /** In order; the first `plan.pauses` of them are of the first round. */
  readonly latencyUs: number[];
  readonly pingUs: number[];
  readonly busyUs: number[];
}

interface Subject {
  readonly module: ShardModule;
  readonly result: Result;
}

interface Plan {
  readonly rounds: number;
  readonly pauses: number;
  readonly seed: number;
  /** Parts of earlier versions have none, and cannot be merged with those that do. */
  readonly busyPings: true;
  readonly awake: boolean;
}

type PauseRun = Run<Plan, Result>;

async function subjectOf(
  root: string,
  kernel: Parameters<typeof loadProgram>[1],
): Promise<Subject> {
  const { name, bytes, longParameter } = await loadProgram(root, kernel);
  const module = readShardModule(compileProgram(bytes, nodePlatform).bytes, nodePlatform);
  const { instructions, perReturn } = pauseBound(module);
  const finite = (length: number): number | null => (Number.isFinite(length) ? length : null);
  const bounds = { boundInstructions: finite(instructions), boundPerReturn: finite(perReturn) };
  return {
    module,
    result: { name, parameter: longParameter, ...bounds, latencyUs: [], pingUs: [], busyUs: [] },
  };
}

/** One round of one kernel. */
async function pauses(
  thread: BenchThread,
  witness: Witness,
  { module, result }: Subject,
  count: number,
  random: () => number,
): Promise<void> {
  const { name, parameter, latencyUs, pingUs, busyUs } = result;
  for (let left = count; left > 0; ) {
    await thread.start(module, name, parameter);
    await sleep(random() * START_MS);
    for (; left > 0; left--) {
      const stoppedUs = await thread.stop();
      if (stoppedUs === undefined) break;
      latencyUs.push(stoppedUs);
      pingUs.push(await thread.ping());
      busyUs.push(await witness.ask(1 + random() * GAP_MS));
      thread.goOn();
      await sleep(1 + random() * GAP_MS);
    }
    await thread.drop();
  }
}

const us = (value: number): string => value.toFixed(0);
const tails = (values: readonly number[]): number[] => TAILS.map((q) => quantile(values, q));

function table(results: readonly Result[], { pauses: perRound }: Plan): string {
  const rows = results.map((result) => {
    const { name, latencyUs, boundInstructions, boundPerReturn } = result;
    return [
      name,
      latencyUs.length,
      ...tails(latencyUs).map(us),
      us(Math.max(...latencyUs.slice(0, perRound))),
      ...[result.pingUs, result.busyUs].flatMap((pings) =>
        [0.5, 0.99, 1].map((q) => us(quantile(pings, q))),
      ),
      boundInstructions ?? '—',
      boundPerReturn === 0 ? '' : (boundPerReturn ?? '—'),
    ];
  });
  return renderTable(
    [
      ...['kernel', 'pauses', 'p50 µs', 'p90 µs', 'p99 µs', 'longest µs', 'cold, longest'],
      ...['idle ping p50', 'p99', 'longest', 'busy ping p50', 'p99', 'longest'],
      ...['bound, instructions', 'a returning frame'],
    ],
    rows,
  );
}

function chart(results: readonly Result[], subtitle: string): string {
  return renderChart({
    title: 'A pause of a running guest: median (whisker: to the 99th percentile)',
    subtitle,
    unit: 'µs',
    reference: BAR_US,
    series: [
      { name: 'request → stands still', colour: '#2a7f62' },
      { name: 'idle ping', colour: '#9aa0a6' },
      { name: 'busy ping', colour: '#c9b458' },
    ],
    groups: results.map(({ name, latencyUs, pingUs, busyUs }) => ({
      name,
      bars: [latencyUs, pingUs, busyUs].map((values) => {
        const value = quantile(values, 0.5);
        return { value, low: value, high: quantile(values, 0.99) };
      }),
    })),
  });
}

async function measure(root: string, chosen: string, plan: Plan): Promise<Result[]> {
  const subjects: Subject[] = [];
  for (const kernel of chooseKernels(chosen)) subjects.push(await subjectOf(root, kernel));
  const random = randomFrom(plan.seed);
  // A thread keeps as many compiled modules: only a kernel's first round is cold.
  const threads = subjects.filter((_, i) => i % MODULES === 0).map(() => new BenchThread());
  const placed = subjects.map((subject, i) => ({
    subject,
    thread: threads[Math.floor(i / MODULES)]!,
  }));
  const witness = new Witness();
  const sleepless = plan.awake ? keepAwake() : [];
  try {
    for (let round = 0; round < plan.rounds; round++) {
      const order = round % 2 === 0 ? placed : placed.toReversed();
      for (const { subject, thread } of order)
        await pauses(thread, witness, subject, plan.pauses, random);
    }
  } finally {
    for (const each of sleepless) each.kill('SIGKILL');
    for (const thread of [witness, ...threads]) await thread.close();
  }
  return subjects.map(({ result }) => result);
}

function introduce({ machine: host, plan }: Omit<PauseRun, 'results'>): void {
  console.log(
    `pause · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${plan.rounds} rounds of ${plan.pauses} pauses${plan.awake ? ', cores kept awake' : ''}\n`,
  );
}

/** Prints the table and the verdict, writes JSON and chart as `name`. Gives the exit code. */
function report(root: string, name: string, run: PauseRun): number {
  const { machine: host, results } = run;
  console.log(`${table(results, run.plan)}\n`);
  const subtitle = `Node ${host.node}, ${host.cpu}, ${host.cores} cores; line: ${BAR_US} µs`;
  const files = [
    writeResult(root, `${name}.json`, `${JSON.stringify(run, null, 1)}\n`),
    writeResult(root, `${name}.svg`, chart(results, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return judge(results);
}

/** P5. Undefined: this process is; else how the one that is has ended. */
function likeNode(): number | undefined {
  const again = process.env['SHERD_BENCH_LIKE_NODE'] === '1';
  if (again || NODE_ENGINE_OPTIONS.every((option) => process.execArgv.includes(option))) {
    calmEngine();
    return undefined;
  }
  const env = { ...process.env, SHERD_BENCH_BUILT: '1', SHERD_BENCH_LIKE_NODE: '1' };
  const all = [...process.execArgv, ...NODE_ENGINE_OPTIONS, ...process.argv.slice(1)];
  return spawnSync(process.execPath, all, { stdio: 'inherit', env }).status ?? 1;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const code = likeNode();
  if (code !== undefined) return code;
  const options = parseOptions(args, {
    ...{ kernels: 'all', rounds: '15', pauses: '14', seed: '1', part: '', merge: '', awake: 'no' },
  });
  if (options.merge !== '') {
    const names = KERNELS.map(({ name }) => name);
    const run = mergeParts<Plan, Result>(root, 'pause', options.merge, names);
    introduce(run);
    return report(root, `pause-node${run.machine.node.split('.')[0]!.slice(1)}`, run);
  }
  const plan: Plan = {
    rounds: Number(options.rounds),
    pauses: Number(options.pauses),
    seed: Number(options.seed),
    busyPings: true,
    awake: options.awake === 'yes',
  };
  const run = { machine: machine(), plan };
  introduce(run);
  const results = await measure(root, options.kernels, plan);
  const part = options.part === '' ? '' : `-${options.part}`;
  const whole = options.kernels === 'all' || part !== '';
  const awake = plan.awake ? '-awake' : '';
  return report(root, resultName(`pause${awake}${part}`, whole, false), { ...run, results });
}

function judge(results: readonly Result[]): number {
  const p99 = (values: readonly number[]): number => quantile(values, 0.99);
  const over = results.filter(({ latencyUs }) => p99(latencyUs) > BAR_US);
  const all = (of: (result: Result) => number[]): number[] => results.flatMap(of);
  const told = (values: readonly number[]): string =>
    `p50 ${us(quantile(values, 0.5))}, p99 ${us(p99(values))}`;
  const busy = all(({ busyUs }) => busyUs);
  console.log(
    `all pauses: ${told(all(({ latencyUs }) => latencyUs))} µs; idle pings: ${told(all(({ pingUs }) => pingUs))} µs; busy pings: ${told(busy)} µs`,
  );
  const names = over
    .map(({ name, latencyUs, busyUs }) => `${name} ${us(p99(latencyUs))} (ping ${us(p99(busyUs))})`)
    .join(', ');
  console.log(
    `p99 of a pause at most ${BAR_US} µs in every kernel: ${over.length === 0 ? 'met' : `MISSED in ${over.length} of ${results.length}: ${names}`}`,
  );
  const beyond = results.filter((r) => p99(r.latencyUs) - p99(r.pingUs) > BAR_US);
  console.log(
    `the same minus the p99 of as many idle pings: ${beyond.length === 0 ? 'met' : `MISSED in ${beyond.length} of ${results.length}`}`,
  );
  const isVoid = p99(busy) > VOID_US;
  if (isVoid) {
    console.log(
      `VOID: busy pings have a p99 above ${VOID_US} µs, so the machine itself stalls running threads`,
    );
  }
  return over.length === 0 && !isVoid ? 0 : 1;
}
