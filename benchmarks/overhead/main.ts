/**
 * benchmarks/overhead: what safepoints cost while nothing moves.
 *
 *   node benchmarks/run.mjs overhead [--rounds 15] [--kernels all] [--retries 2] [--cold 5]
 *
 * Measured: warm run time of each kernel in one process, all variants interleaved, medians over the rounds, ratios to
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
import { interleave, type Rounds, warmUp } from '../lib/timing.js';
import { type CodeSize, codeSize } from '../lib/wasm.js';
import { loadPrograms, type Program } from './programs.js';
import { coldCalls, NAMES, type Prepared, prepare, QUANTUM_MS } from './variants.js';

const AA_LIMIT = 0.02;
const AA_KERNEL_LIMIT = 0.02;
const BAR = 1.25;

type Way = 'again' | 'sherd' | 'quantum' | 'asyncify';
const WAYS: readonly Way[] = ['again', 'sherd', 'quantum', 'asyncify'];

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
  readonly times: Readonly<Record<string, readonly number[]>>;
}

function ratios(times: Rounds): Record<Way, Estimate> {
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
    const aa = ratios(times).again.value;
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

async function measureKernel(
  program: Program,
  rounds: number,
  retries: number,
  coldCount: number,
): Promise<KernelResult> {
  const prepared = prepare(program, nodePlatform);
  const coldMs = cold(prepared, coldCount);
  const { times, tries } = await measure(prepared, rounds, retries);
  return {
    name: program.name,
    parameter: program.parameter,
    fuel: prepared.fuel.toString(),
    safepoints: prepared.safepoints,
    tries,
    plainMs: median(times.get(NAMES.plain)!),
    ratio: ratios(times),
    coldMs,
    size: {
      plain: codeSize(prepared.modules.plain),
      sherd: codeSize(prepared.modules.sherd),
      asyncify: codeSize(prepared.modules.asyncify),
    },
    times: Object.fromEntries(times),
  };
}

interface Summary {
  readonly geomean: Readonly<Record<Way, Estimate>>;
  readonly worst: Readonly<Record<Way, { readonly name: string; readonly value: number }>>;
  readonly cold: Readonly<Record<'sherd' | 'asyncify', number>>;
  readonly code: Readonly<Record<'sherd' | 'asyncify', number>>;
  readonly gzip: Readonly<Record<'sherd' | 'asyncify', number>>;
  readonly valid: boolean;
}

function summarise(results: readonly KernelResult[], coldCount: number): Summary {
  const each = <T>(make: (way: Way) => T): Record<Way, T> =>
    Object.fromEntries(WAYS.map((way) => [way, make(way)])) as Record<Way, T>;
  const both = (
    make: (way: 'sherd' | 'asyncify') => number,
  ): Record<'sherd' | 'asyncify', number> => ({ sherd: make('sherd'), asyncify: make('asyncify') });
  const all = each((way) =>
    geomeanRatio(
      results.map(({ times }) => ({ values: times[NAMES[way]]!, base: times[NAMES.plain]! })),
    ),
  );
  return {
    geomean: all,
    worst: each((way) => {
      const worst = results.reduce((a, b) => (b.ratio[way].value > a.ratio[way].value ? b : a));
      return { name: worst.name, value: worst.ratio[way].value };
    }),
    cold: both((way) =>
      coldCount === 0 ? 0 : geomean(results.map(({ coldMs }) => coldMs[way] / coldMs.plain)),
    ),
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
  const header = [
    'kernel',
    'plain ms',
    'A/A',
    'sherd',
    `sherd ${QUANTUM_MS} ms quantum`,
    'asyncify',
    'tries',
  ];
  const rows = results.map((r) => [
    r.name,
    r.plainMs.toFixed(2),
    ...WAYS.map((way) => estimateText(r.ratio[way])),
    r.tries,
  ]);
  const worst = WAYS.map(
    (way) => `${ratioText(summary.worst[way].value)} ${summary.worst[way].name}`,
  );
  return renderTable(header, [
    ...rows,
    ['geomean', '', ...WAYS.map((way) => estimateText(summary.geomean[way])), ''],
    ['worst', '', ...worst, ''],
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
    r.coldMs.plain.toFixed(2),
    ...ways.map((way) => ratioText(r.coldMs[way] / r.coldMs.plain)),
  ]);
  const means = [summary.code, summary.gzip].flatMap((of) => ways.map((way) => ratioText(of[way])));
  return renderTable(header, [
    ...rows,
    ['geomean', '', '', ...means, '', ...ways.map((way) => ratioText(summary.cold[way]))],
  ]);
}

function chart(results: readonly KernelResult[], summary: Summary, subtitle: string): string {
  const shown: readonly Way[] = ['sherd', 'quantum', 'asyncify'];
  return renderChart({
    title: 'Run time with safepoints, relative to the uninstrumented module (lower is better)',
    subtitle,
    unit: 'uninstrumented',
    reference: 1,
    series: [
      { name: 'sherd', colour: '#2a7f62' },
      { name: `sherd, ${QUANTUM_MS} ms quantum`, colour: '#8cc9b3' },
      { name: 'Binaryen Asyncify + polls', colour: '#c2693f' },
    ],
    groups: [
      ...results.map((r) => ({ name: r.name, bars: shown.map((way) => r.ratio[way]) })),
      { name: 'geomean', bars: shown.map((way) => summary.geomean[way]) },
    ],
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', kernels: 'all', retries: '2', cold: '5' });
  const rounds = Number(options.rounds);
  const coldCount = Number(options.cold);
  const host = machine();
  console.log(
    `overhead of safepoints · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${rounds} rounds`,
  );
  console.log(
    'measured: warm run time, variants interleaved in one process, medians, ratio [90 % bound]; cold: first call of a new module',
  );
  console.log(
    'not measured: compile time, pauses and moves, other engines or machines; asyncify is never unwound\n',
  );
  const results: KernelResult[] = [];
  for (const program of await loadPrograms(root, options.kernels)) {
    const result = await measureKernel(program, rounds, Number(options.retries), coldCount);
    results.push(result);
    if (process.stderr.isTTY)
      process.stderr.write(`  ${result.name} sherd ${ratioText(result.ratio.sherd.value)}\n`);
  }
  const summary = summarise(results, coldCount);
  console.log(`${timeTable(results, summary)}\n\n${sizeTable(results, summary)}\n`);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${rounds} interleaved rounds, whiskers 90 % bounds`;
  const files = [
    writeResult(
      root,
      'overhead.json',
      `${JSON.stringify({ machine: host, rounds, summary, results }, null, 1)}\n`,
    ),
    writeResult(root, 'overhead.svg', chart(results, summary, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  if (!summary.valid) {
    console.log(
      `VOID: the A/A pair differs by ${((summary.geomean.again.value - 1) * 100).toFixed(1)} % (limit ${AA_LIMIT * 100} %): a noisy machine, run again`,
    );
    return 1;
  }
  const factor = summary.geomean.asyncify.value / summary.geomean.sherd.value;
  console.log(
    `sherd ${ratioText(summary.geomean.sherd.value)} (bar ${BAR}: ${summary.geomean.sherd.value <= BAR ? 'met' : 'MISSED'}), asyncify ${ratioText(factor)} × as long as sherd`,
  );
  return summary.geomean.sherd.value <= BAR ? 0 : 1;
}
