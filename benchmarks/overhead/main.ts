/**
 * benchmarks/overhead: what safepoints cost while nothing moves.
 *
 *   node benchmarks/run.mjs overhead [--kernels all] [--rounds 15] [--retries 2] [--cold 15] [--quantum 0]
 *                                    [--node PATH] [--quick] [--ablation] [--part NAME] [--merge NAME,NAME]
 *
 *   --kernels    names or groups (polybench, classic, c), joined by commas
 *   --quantum N  one long run as well, straight and in quanta of 2 ms, N rounds (a minute a kernel)
 *   --node       the same under another Node.js
 *   --part NAME  part of a run of all kernels, for a machine that one has for minutes only: results go under this name
 *   --merge A,B  measures nothing: one report of all kernels from these parts (O3)
 *   --quick      3 rounds, short warm-up: does everything work? Its figures mean nothing
 *   --ablation   also the baseline's parts (Binaryen's -O3 alone, polls alone, Asyncify without polls), and sherd with a
 *                poll in every passage of counted loops
 *
 * Measured: warm CPU time (of the thread) of each kernel in one process, all variants interleaved, medians over the rounds, ratios to
 * the uninstrumented module with a 90 % bootstrap bound; the first call of a never-seen module, apart (wall time, A/A); sizes
 * of the code section, raw and gzipped. Not measured: compile time, pauses, moves (benchmarks/resume does), other engines.
 *
 * O1  Exit code 0: all bars met. 1: a bar missed, or the run void (report.ts R1). --quick judges nothing: 0.
 * O2  The clock is read here and in lib/timing only.
 * O3  Parts are merged only if each is valid by itself, all are of one machine, Node.js and plan, and every kernel is
 *     in exactly one of them.
 */
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { mergeParts, type Run as RunOf } from '../lib/parts.js';
import { ratioText } from '../lib/table.js';
import { KERNELS } from './kernels.js';
import { type KernelResult, measureKernel, type Plan } from './measure.js';
import { chooseKernels, loadProgram } from './programs.js';
import {
  chart,
  coldTable,
  quantumTable,
  sizeTable,
  summarise,
  timeTable,
  verdict,
} from './report.js';
import { NAMES } from './variants.js';

type Run = RunOf<Plan, KernelResult>;

const DEFAULTS = {
  kernels: 'all',
  rounds: '15',
  retries: '2',
  cold: '15',
  quantum: '0',
  quick: 'no',
  ablation: 'no',
  part: '',
  merge: '',
};

function planOf(options: typeof DEFAULTS): Plan {
  const quick = options.quick === 'yes';
  return {
    rounds: quick ? 3 : Number(options.rounds),
    retries: quick ? 0 : Number(options.retries),
    coldRounds: quick ? 1 : Number(options.cold),
    quantumRounds: Number(options.quantum),
    quick,
    ablation: options.ablation === 'yes',
  };
}

function introduction({ machine: host, plan }: Omit<Run, 'results'>): string {
  const { node, v8, cpu, cores } = host;
  return [
    `overhead of safepoints · Node ${node}, V8 ${v8} · ${cpu}, ${cores} cores · ${plan.rounds} rounds`,
    'measured: warm CPU time, variants interleaved in one process, medians, ratio to plain [90 % bound]; cold: first call',
    'not measured: compile time, pauses and moves, other engines or machines; asyncify is never unwound\n',
  ].join('\n');
}

async function measureAll(root: string, chosen: string, plan: Plan): Promise<KernelResult[]> {
  const results: KernelResult[] = [];
  for (const kernel of chooseKernels(chosen)) {
    const result = await measureKernel(await loadProgram(root, kernel), kernel.group, plan);
    results.push(result);
    const shown = [NAMES.again, NAMES.sherd, NAMES.asyncify].map(
      (way) => `${way} ${ratioText(result.ratio[way]!.value)}`,
    );
    process.stderr.write(`  ${result.name}: ${shown.join(', ')}\n`);
  }
  return results;
}

/** Prints tables and verdict, writes JSON and chart as `name`. Gives the exit code. */
function report(root: string, name: string, run: Run): number {
  const { plan, results, machine: host } = run;
  const summary = summarise(results);
  console.log(`${timeTable(results, summary)}\n\n${sizeTable(results, summary)}\n`);
  const cold = coldTable(results, summary);
  if (cold !== undefined) console.log(`${cold}\n`);
  if (summary.quantumGeomean !== undefined) console.log(`${quantumTable(results, summary)}\n`);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${plan.rounds} interleaved rounds, whiskers 90 % bounds`;
  const content = JSON.stringify({ machine: host, plan, summary, results }, null, 1);
  const files = [
    writeResult(root, `${name}.json`, `${content}\n`),
    writeResult(root, `${name}.svg`, chart(results, summary, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  const { text, met } = verdict(summary);
  console.log(plan.quick ? `${text}\n--quick: too short to judge` : text);
  return met || plan.quick ? 0 : 1;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, DEFAULTS);
  if (options.merge !== '') {
    const names = KERNELS.map(({ name }) => name);
    const run = mergeParts<Plan, KernelResult>(root, 'overhead', options.merge, names);
    console.log(introduction(run));
    return report(root, `overhead-node${run.machine.node.split('.')[0]!.slice(1)}`, run);
  }
  const plan = planOf(options);
  const run = { machine: machine(), plan };
  const startedMs = performance.now();
  console.log(introduction(run));
  const results = await measureAll(root, options.kernels, plan);
  const seconds = ((performance.now() - startedMs) / 1e3).toFixed(0);
  console.log(`measured for ${seconds} s\n`);
  const part = options.part === '' ? '' : `-${options.part}`;
  const whole = options.kernels === 'all' || part !== '';
  return report(root, resultName(`overhead${part}`, whole, plan.quick), { ...run, results });
}
