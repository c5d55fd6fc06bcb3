/**
 * benchmarks/pause: how long a guest in a worker thread goes on after its thread was asked to stop it.
 *
 *   node benchmarks/run.mjs pause [--kernels all] [--rounds 5] [--pauses 40] [--seed 1] [--node PATH]
 *
 *   main thread    ask ──▶ message, control word
 *   worker thread          … rest of the quantum ──▶ safepoint: the guest stands still
 *   main thread                                                    ◀── message
 *                  ├────────────────────── latency ──────────────────────────┤
 *
 * The thread is the one that nodes run guests in (host/node: pool, worker, rotation), with its own quantum; one core is the
 * guest's, the other asks. Every round runs each kernel's long call from its beginning and asks at random moments of it.
 * Also an idle ping, a question about a guest that stands still: what two messages between the threads cost.
 *
 * Measured: latency of every pause by kernel (p50, p90, p99, longest), the bound that the compiler publishes beside it.
 * Not measured: capturing and encoding, other processes, requests (benchmarks/moves).
 *
 * P1  The bar is judged by kernel on the raw p99; the ping's tail stands beside it.
 * P2  No pause is left out. A kernel that ends before its round is complete begins again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { compileProgram, readShardModule } from '../../host/compile/index.js';
import { pauseBound } from '../../host/compile/pause-bound.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardModule } from '../../host/types/module.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { quantile, randomFrom } from '../lib/statistics.js';
import { renderTable } from '../lib/table.js';
import { chooseKernels, loadProgram } from '../overhead/programs.js';
import { BenchThread } from './guest.js';

const BAR_US = 1_000;
/** The first request comes so long after the start at most, ms; the others follow after GAP_MS more than 1 ms at most. */
const START_MS = 900;
const GAP_MS = 6;
const PINGS = 20;
const TAILS = [0.5, 0.9, 0.99, 1] as const;

interface Subject {
  readonly name: string;
  readonly parameter: number;
  readonly module: ShardModule;
  readonly boundInstructions: number;
  readonly latencyUs: number[];
}

interface Settings {
  readonly rounds: number;
  readonly pauses: number;
  readonly random: () => number;
}

async function subjectOf(
  root: string,
  kernel: Parameters<typeof loadProgram>[1],
): Promise<Subject> {
  const { name, bytes, longParameter } = await loadProgram(root, kernel);
  const module = readShardModule(compileProgram(bytes, nodePlatform).bytes, nodePlatform);
  const boundInstructions = pauseBound(module).instructions;
  return { name, parameter: longParameter, module, boundInstructions, latencyUs: [] };
}

/** One round of one kernel. */
async function pauses(thread: BenchThread, subject: Subject, settings: Settings): Promise<void> {
  const { module, name, parameter, latencyUs } = subject;
  for (let left = settings.pauses; left > 0; ) {
    await thread.start(module, name, parameter);
    await sleep(settings.random() * START_MS);
    for (; left > 0; left--) {
      const stoppedUs = await thread.stop();
      if (stoppedUs === undefined) break;
      latencyUs.push(stoppedUs);
      thread.goOn();
      await sleep(1 + settings.random() * GAP_MS);
    }
    await thread.drop();
  }
}

/** A question about a guest that stands still. */
async function pings(thread: BenchThread, subject: Subject, into: number[]): Promise<void> {
  await thread.start(subject.module, subject.name, subject.parameter);
  await thread.stop();
  for (let i = 0; i < PINGS; i++) {
    await sleep(2);
    into.push(await thread.ping());
  }
  await thread.drop();
}

const us = (value: number): string => value.toFixed(0);
const tails = (values: readonly number[]): number[] => TAILS.map((q) => quantile(values, q));

function table(subjects: readonly Subject[], idle: readonly number[]): string {
  const rows = subjects.map(({ name, latencyUs, boundInstructions }) => [
    name,
    latencyUs.length,
    ...tails(latencyUs).map(us),
    Number.isFinite(boundInstructions) ? boundInstructions : '—',
  ]);
  return renderTable(
    ['kernel', 'pauses', 'p50 µs', 'p90 µs', 'p99 µs', 'longest µs', 'bound, instructions'],
    [...rows, ['idle ping', idle.length, ...tails(idle).map(us), '']],
  );
}

function chart(subjects: readonly Subject[], subtitle: string): string {
  return renderChart({
    title: 'A pause of a running guest: median (whisker: to the 99th percentile)',
    subtitle,
    unit: 'µs',
    reference: BAR_US,
    series: [{ name: 'request → stands still', colour: '#2a7f62' }],
    groups: subjects.map(({ name, latencyUs }) => {
      const value = quantile(latencyUs, 0.5);
      return { name, bars: [{ value, low: value, high: quantile(latencyUs, 0.99) }] };
    }),
  });
}

async function measure(subjects: readonly Subject[], settings: Settings): Promise<number[]> {
  const idle: number[] = [];
  const thread = new BenchThread();
  try {
    for (let round = 0; round < settings.rounds; round++) {
      const order = round % 2 === 0 ? subjects : [...subjects].reverse();
      await pings(thread, order[0]!, idle);
      for (const subject of order) await pauses(thread, subject, settings);
    }
  } finally {
    await thread.close();
  }
  return idle;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { kernels: 'all', rounds: '5', pauses: '40', seed: '1' });
  const host = machine();
  const settings = {
    rounds: Number(options.rounds),
    pauses: Number(options.pauses),
    random: randomFrom(Number(options.seed)),
  };
  console.log(
    `pause · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${settings.rounds} rounds of ${settings.pauses} pauses\n`,
  );
  const subjects: Subject[] = [];
  for (const kernel of chooseKernels(options.kernels)) subjects.push(await subjectOf(root, kernel));
  const idle = await measure(subjects, settings);
  console.log(`${table(subjects, idle)}\n`);
  const name = resultName('pause', options.kernels === 'all', false);
  const json = { machine: host, settings: options, idle, results: subjects.map(plain) };
  const subtitle = `Node ${host.node}, ${host.cpu}, ${host.cores} cores; line: ${BAR_US} µs`;
  const files = [
    writeResult(root, `${name}.json`, `${JSON.stringify(json, null, 1)}\n`),
    writeResult(root, `${name}.svg`, chart(subjects, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return judge(subjects, idle);
}

function plain({ name, parameter, boundInstructions, latencyUs }: Subject) {
  const bound = Number.isFinite(boundInstructions) ? boundInstructions : null;
  return { name, parameter, boundInstructions: bound, latencyUs };
}

function judge(subjects: readonly Subject[], idle: readonly number[]): number {
  const p99 = (values: readonly number[]): number => quantile(values, 0.99);
  const over = subjects.filter(({ latencyUs }) => p99(latencyUs) > BAR_US);
  const everything = subjects.flatMap(({ latencyUs }) => latencyUs);
  console.log(
    `all pauses: p50 ${us(quantile(everything, 0.5))}, p99 ${us(p99(everything))} µs; idle ping: p99 ${us(p99(idle))} µs`,
  );
  const names = over.map(({ name, latencyUs }) => `${name} ${us(p99(latencyUs))}`).join(', ');
  console.log(
    `p99 of a pause at most ${BAR_US} µs in every kernel: ${over.length === 0 ? 'met' : `MISSED in ${over.length} of ${subjects.length}: ${names}`}`,
  );
  return over.length === 0 ? 0 : 1;
}
