/**
 * benchmarks/overhead: what safepoints cost while nothing moves.
 *
 *   node benchmarks/run.mjs overhead [--rounds 15] [--kernels all] [--retries 2] [--cold 5] [--quantum 5]
 *
 * Measured: warm CPU time of each kernel in one process, all variants interleaved, medians over the rounds, ratios to
 * the uninstrumented module with a 90 % bootstrap bound; the first call of a never-seen module, apart; sizes of the code
 * section, raw and gzipped. Not measured: compile time, pauses, moves, other engines, other machines.
 *
 * O1  A run whose A/A geomean is outside 1.00 ± AA_LIMIT is void: it says so and exits with 1.
 * O2  A kernel whose own A/A ratio is outside AA_KERNEL_LIMIT is measured again, at most --retries times; the last
 *     measurement counts, and the number of tries is shown.
 * O3  The clock is read here and in lib/timing only.
 */
import { nodePlatform } from '../../host/node/platform.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { type Estimate, geomean, geomeanRatio, median, ratioOf } from '../lib/statistics.js';
import { estimateText, ratioText, renderTable } from '../lib/table.js';
import { interleave, type Rounds, type Times, timeOnce, warmUp } from '../lib/timing.js';
import { type CodeSize, codeSize } from '../lib/wasm.js';
import { chooseKernels, loadProgram, type Program } from './programs.js';
import {
  coldCalls,
  NAMES,
  type Prepared,
  prepare,
  QUANTUM_MS,
  quantumVariants,
} from './variants.js';

const AA_LIMIT = 0.02;
const AA_KERNEL_LIMIT = 0.02;
const BAR = 1.25;

type Way = 'again' | 'sherd' | 'asyncify';
const WAYS: readonly Way[] = ['again', 'sherd', 'asyncify'];

interface KernelResult {
  readonly name: string;
  readonly parameter: number;
  readonly fuel: string;
  readonly safepoints: number;
  readonly tries: number;
  readonly plainMs: number;
  readonly ratio: Readonly<Record<Way, Estimate>>;
  readonly coldMs: Readonly<Record<'plain' | 'sherd' | 'asyncify', number>>;
  readonly size: Readonly<Record<'plain' | 'sherd' | 'asyncify', CodeSize>>;
  /** One long run in quanta, relative to the same run plain; absent with --quantum 0. */
  readonly quantum:
    | { readonly plainMs: number; readonly straight: Estimate; readonly quantum: Estimate }
    | undefined;
  readonly cpu: Samples;
  readonly wall: Samples;
  readonly long: Samples;
}

type Samples = Readonly<Record<string, readonly number[]>>;

function ratios(times: Times): Record<Way, Estimate> {
  const base = times.get(NAMES.plain)!;
  return Object.fromEntries(
    WAYS.map((way) => [way, ratioOf(times.get(NAMES[way])!, base)]),
  ) as Record<Way, Estimate>;
}

async function measure(
  prepared: Prepared,
  rounds: number,
  retries: number,
): Promise<{ times: Rounds; tries: number }> {
  for (const variant of prepared.variants) await warmUp(variant);
  for (let tries = 1; ; tries++) {
    const times = await interleave(prepared.variants, rounds);
    const aa = ratios(times.cpu).again.value;
    if (Math.abs(aa - 1) <= AA_KERNEL_LIMIT || tries > retries) return { times, tries };
  }
}

function cold(prepared: Prepared, count: number): KernelResult['coldMs'] {
  const samples = Array.from({ length: count }, (_, round) =>
    coldCalls(prepared.program, prepared.modules, nodePlatform, round),
  );
  const middle = (way: 'plain' | 'sherd' | 'asyncify'): number =>
    count === 0 ? 0 : median(samples.map((sample) => sample[way]));
  return { plain: middle('plain'), sherd: middle('sherd'), asyncify: middle('asyncify') };
}

interface Plan {
  readonly rounds: number;
  readonly retries: number;
  readonly coldRounds: number;
  readonly quantumRounds: number;
}

async function measureQuantum(prepared: Prepared, rounds: number): Promise<Times> {
  if (rounds === 0) return new Map();
  const variants = quantumVariants(prepared);
  for (const variant of variants) timeOnce(variant);
  return (await interleave(variants, rounds)).cpu;
}

function quantumResult(times: Times): KernelResult['quantum'] {
  const base = times.get(NAMES.plain);
  if (base === undefined) return undefined;
  const ratio = (name: string): Estimate => ratioOf(times.get(name)!, base);
  return { plainMs: median(base), straight: ratio(NAMES.sherd), quantum: ratio(NAMES.quantum) };
}

async function measureKernel(program: Program, plan: Plan): Promise<KernelResult> {
  const prepared = prepare(program, nodePlatform);
  const coldMs = cold(prepared, plan.coldRounds);
  const { times, tries } = await measure(prepared, plan.rounds, plan.retries);
  const long = await measureQuantum(prepared, plan.quantumRounds);
  const { plain, sherd, asyncify } = prepared.modules;
  return {
    name: program.name,
    parameter: program.parameter,
    fuel: prepared.fuel.toString(),
    safepoints: prepared.safepoints,
    tries,
    plainMs: median(times.cpu.get(NAMES.plain)!),
    ratio: ratios(times.cpu),
    coldMs,
    size: { plain: codeSize(plain), sherd: codeSize(sherd), asyncify: codeSize(asyncify) },
    quantum: quantumResult(long),
    cpu: Object.fromEntries(times.cpu),
    wall: Object.fromEntries(times.wall),
    long: Object.fromEntries(long),
  };
}

type Both = Readonly<Record<'sherd' | 'asyncify', number>>;

interface Summary {
  readonly geomean: Readonly<Record<Way, Estimate>>;
  /** The same from wall time: what the clock on the wall said. */
  readonly wallGeomean: Readonly<Record<Way, Estimate>>;
  readonly quantumGeomean: number | undefined;
  readonly worst: Readonly<Record<Way, { readonly name: string; readonly value: number }>>;
  readonly cold: Both;
  readonly code: Both;
  readonly gzip: Both;
  readonly valid: boolean;
}

const eachWay = <T>(make: (way: Way) => T): Record<Way, T> =>
  Object.fromEntries(WAYS.map((way) => [way, make(way)])) as Record<Way, T>;

const both = (make: (way: 'sherd' | 'asyncify') => number): Both => ({
  sherd: make('sherd'),
  asyncify: make('asyncify'),
});

function geomeans(samples: readonly Samples[]): Record<Way, Estimate> {
  return eachWay((way) =>
    geomeanRatio(
      samples.map((times) => ({ values: times[NAMES[way]]!, base: times[NAMES.plain]! })),
    ),
  );
}

function summarise(results: readonly KernelResult[]): Summary {
  const all = geomeans(results.map(({ cpu }) => cpu));
  const quanta = results.flatMap(({ quantum }) => quantum?.quantum.value ?? []);
  return {
    geomean: all,
    wallGeomean: geomeans(results.map(({ wall }) => wall)),
    quantumGeomean: quanta.length === 0 ? undefined : geomean(quanta),
    worst: eachWay((way) => {
      const worst = results.reduce((a, b) => (b.ratio[way].value > a.ratio[way].value ? b : a));
      return { name: worst.name, value: worst.ratio[way].value };
    }),
    cold: both((way) => geomean(results.map(({ coldMs }) => coldMs[way] / coldMs.plain))),
    code: both((way) =>
      geomean(results.map(({ size }) => size[way].codeBytes / size.plain.codeBytes)),
    ),
    gzip: both((way) =>
      geomean(results.map(({ size }) => size[way].codeGzipBytes / size.plain.codeGzipBytes)),
    ),
    valid: Math.abs(all.again.value - 1) <= AA_LIMIT,
  };
}

function timeTable(results: readonly KernelResult[], summary: Summary): string {
  const header = ['kernel', 'plain ms', 'A/A', 'sherd', 'asyncify', 'tries'];
  const rows = results.map((r) => [
    r.name,
    r.plainMs.toFixed(1),
    ...WAYS.map((way) => estimateText(r.ratio[way])),
    r.tries,
  ]);
  const means = WAYS.map((way) => estimateText(summary.geomean[way]));
  const walls = WAYS.map((way) => estimateText(summary.wallGeomean[way]));
  const worst = WAYS.map(
    (way) => `${ratioText(summary.worst[way].value)} ${summary.worst[way].name}`,
  );
  return renderTable(header, [
    ...rows,
    ['geomean', '', ...means],
    ['worst', '', ...worst],
    ['geomean, wall', '', ...walls],
  ]);
}

function quantumTable(results: readonly KernelResult[], summary: Summary): string {
  const header = ['one long run', 'plain ms', 'sherd', `sherd, ${QUANTUM_MS} ms quantum`];
  const rows = results.flatMap(({ name, quantum }) =>
    quantum === undefined
      ? []
      : [
          [
            name,
            quantum.plainMs.toFixed(0),
            estimateText(quantum.straight),
            estimateText(quantum.quantum),
          ],
        ],
  );
  return renderTable(header, [
    ...rows,
    ['geomean', '', '', ratioText(summary.quantumGeomean ?? Number.NaN)],
  ]);
}

function sizeTable(results: readonly KernelResult[], summary: Summary): string {
  const ways = ['sherd', 'asyncify'] as const;
  const header = [
    'kernel',
    'safepoints',
    'code bytes',
    'sherd',
    'asyncify',
    'gzip: sherd',
    'asyncify',
    'cold ms',
    'sherd',
    'asyncify',
  ];
  const rows = results.map((r) => [
    r.name,
    r.safepoints,
    r.size.plain.codeBytes,
    ...ways.map((way) => ratioText(r.size[way].codeBytes / r.size.plain.codeBytes)),
    ...ways.map((way) => ratioText(r.size[way].codeGzipBytes / r.size.plain.codeGzipBytes)),
    r.coldMs.plain.toFixed(1),
    ...ways.map((way) => ratioText(r.coldMs[way] / r.coldMs.plain)),
  ]);
  const means = [summary.code, summary.gzip].flatMap((of) => ways.map((way) => ratioText(of[way])));
  return renderTable(header, [
    ...rows,
    ['geomean', '', '', ...means, '', ...ways.map((way) => ratioText(summary.cold[way]))],
  ]);
}

function chart(results: readonly KernelResult[], summary: Summary, subtitle: string): string {
  const shown: readonly Way[] = ['sherd', 'asyncify'];
  return renderChart({
    title: 'Run time with safepoints, relative to the uninstrumented module (lower is better)',
    subtitle,
    unit: 'uninstrumented',
    reference: 1,
    series: [
      { name: 'sherd', colour: '#2a7f62' },
      { name: 'Binaryen Asyncify + polls', colour: '#c2693f' },
    ],
    groups: [
      ...results.map((r) => ({ name: r.name, bars: shown.map((way) => r.ratio[way]) })),
      { name: 'geomean', bars: shown.map((way) => summary.geomean[way]) },
    ],
  });
}

function verdict(summary: Summary): { readonly text: string; readonly code: number } {
  const { again, sherd, asyncify } = summary.geomean;
  if (!summary.valid) {
    const percent = ((again.value - 1) * 100).toFixed(1);
    return {
      text: `VOID: the A/A pair differs by ${percent} % (limit ${AA_LIMIT * 100} %): a noisy machine, run again`,
      code: 1,
    };
  }
  const met = sherd.value <= BAR;
  const factor = ratioText(asyncify.value / sherd.value);
  return {
    text: `sherd ${ratioText(sherd.value)} (bar ${BAR}: ${met ? 'met' : 'MISSED'}), asyncify takes ${factor} × as long as sherd`,
    code: met ? 0 : 1,
  };
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, {
    rounds: '15',
    kernels: 'all',
    retries: '2',
    cold: '5',
    quantum: '5',
  });
  const plan: Plan = {
    rounds: Number(options.rounds),
    retries: Number(options.retries),
    coldRounds: Number(options.cold),
    quantumRounds: Number(options.quantum),
  };
  const host = machine();
  console.log(
    `overhead of safepoints · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${plan.rounds} rounds`,
  );
  console.log(
    'measured: warm CPU time, variants interleaved in one process, medians, ratio to plain [90 % bound]; cold: first call',
  );
  console.log(
    'not measured: compile time, pauses and moves, other engines or machines; asyncify is never unwound\n',
  );
  const results: KernelResult[] = [];
  for (const kernel of chooseKernels(options.kernels)) {
    const result = await measureKernel(await loadProgram(root, kernel), plan);
    results.push(result);
    process.stderr.write(
      `  ${result.name}: A/A ${ratioText(result.ratio.again.value)}, sherd ${ratioText(result.ratio.sherd.value)}\n`,
    );
  }
  const summary = summarise(results);
  console.log(`${timeTable(results, summary)}\n\n${sizeTable(results, summary)}\n`);
  if (summary.quantumGeomean !== undefined) console.log(`${quantumTable(results, summary)}\n`);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${plan.rounds} interleaved rounds, whiskers 90 % bounds`;
  const files = [
    writeResult(
      root,
      'overhead.json',
      `${JSON.stringify({ machine: host, plan, summary, results }, null, 1)}\n`,
    ),
    writeResult(root, 'overhead.svg', chart(results, summary, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  const { text, code } = verdict(summary);
  console.log(text);
  return code;
}
