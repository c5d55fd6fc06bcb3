/**
 * benchmarks/overhead: what safepoints cost while nothing moves.
 *
 *   node benchmarks/run.mjs overhead [--kernels all] [--rounds 15] [--retries 2] [--cold 5] [--quantum 0]
 *                                    [--node PATH] [--quick] [--ablation]
 *
 *   --kernels    names or groups (polybench, classic, c), joined by commas
 *   --quantum N  one long run as well, straight and in quanta of 2 ms, N rounds (a minute a kernel)
 *   --node       the same under another Node.js
 *   --quick      3 rounds, short warm-up: does everything work? Its figures mean nothing
 *   --ablation   also the baseline's parts (Binaryen's -O3 alone, polls alone, Asyncify without polls), and sherd with a
 *                poll in every passage of counted loops
 *
 * Measured: warm CPU time of each kernel in one process, all variants interleaved, medians over the rounds, ratios to
 * the uninstrumented module with a 90 % bootstrap bound; the first call of a never-seen module, apart (wall time); sizes
 * of the code section, raw and gzipped. Not measured: compile time, pauses, moves (benchmarks/resume does), other engines.
 *
 * O1  Exit code 0: all bars met. 1: a bar missed, or the run void (report.ts R1). --quick judges nothing: 0.
 * O2  The clock is read here and in lib/timing only.
 */
import { machine, parseOptions, resultName, writeResult } from '../lib/options.js';
import { ratioText } from '../lib/table.js';
import { type KernelResult, measureKernel, type Plan } from './measure.js';
import { chooseKernels, loadProgram } from './programs.js';
import { chart, quantumTable, sizeTable, summarise, timeTable, verdict } from './report.js';
import { NAMES } from './variants.js';

const DEFAULTS = {
  kernels: 'all',
  rounds: '15',
  retries: '2',
  cold: '5',
  quantum: '0',
  quick: 'no',
  ablation: 'no',
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

function introduction(plan: Plan): string {
  const { node, v8, cpu, cores } = machine();
  return [
    `overhead of safepoints · Node ${node}, V8 ${v8} · ${cpu}, ${cores} cores · ${plan.rounds} rounds`,
    'measured: warm CPU time, variants interleaved in one process, medians, ratio to plain [90 % bound]; cold: first call',
    'not measured: compile time, pauses and moves, other engines or machines; asyncify is never unwound\n',
  ].join('\n');
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, DEFAULTS);
  const plan = planOf(options);
  const startedMs = performance.now();
  console.log(introduction(plan));
  const results: KernelResult[] = [];
  for (const kernel of chooseKernels(options.kernels)) {
    const result = await measureKernel(await loadProgram(root, kernel), kernel.group, plan);
    results.push(result);
    const shown = [NAMES.again, NAMES.sherd, NAMES.asyncify].map(
      (way) => `${way} ${ratioText(result.ratio[way]!.value)}`,
    );
    process.stderr.write(`  ${result.name}: ${shown.join(', ')}\n`);
  }
  const summary = summarise(results);
  console.log(`${timeTable(results, summary)}\n\n${sizeTable(results, summary)}\n`);
  if (summary.quantumGeomean !== undefined) console.log(`${quantumTable(results, summary)}\n`);
  const host = machine();
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${plan.rounds} interleaved rounds, whiskers 90 % bounds`;
  const name = resultName('overhead', options.kernels === 'all', plan.quick);
  const content = JSON.stringify({ machine: host, plan, summary, results }, null, 1);
  const files = [
    writeResult(root, `${name}.json`, `${content}\n`),
    writeResult(root, `${name}.svg`, chart(results, summary, subtitle)),
  ];
  const seconds = ((performance.now() - startedMs) / 1e3).toFixed(0);
  console.log(`wrote ${files.join(', ')} after ${seconds} s`);
  const { text, met } = verdict(summary);
  console.log(plan.quick ? `${text}\n--quick: too short to judge` : text);
  return met || plan.quick ? 0 : 1;
}
