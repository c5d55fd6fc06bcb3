/**
 * What a run says: tables, chart, and which bars it meets.
 *
 * Does: arithmetic on results, text. Does not: measure or write files.
 *
 * R1  A run whose A/A geomean is outside 1.00 ± AA_LIMIT is void: nothing else in it counts.
 * R2  A bar is met or missed by the value; the 90 % bound is printed beside it.
 */
import { type Chart, renderChart } from '../lib/chart.js';
import { type Estimate, geomean, geomeanRatio, median, ratioOf } from '../lib/statistics.js';
import { type Cell, estimateText, ratioText, renderTable } from '../lib/table.js';
import type { KernelResult, Samples } from './measure.js';
import { NAMES } from './variants.js';

export const AA_LIMIT = 0.02;

type Both = Readonly<Record<'sherd' | 'asyncify', number>>;
const COLD_WAYS = ['again', 'sherd', 'quanta', 'asyncify'] as const;
type Cold = Readonly<Record<(typeof COLD_WAYS)[number], Estimate>>;
type Worst = { readonly name: string; readonly value: number };

export interface Summary {
  readonly ways: readonly string[];
  /** By way. */
  readonly geomean: Readonly<Record<string, Estimate>>;
  /** The same from wall time: what the clock on the wall said. */
  readonly wallGeomean: Readonly<Record<string, Estimate>>;
  /** The same from the CPU time of the process: what the engine's helpers (its collector) did meanwhile counts. */
  readonly processGeomean: Readonly<Record<string, Estimate>>;
  readonly groups: Readonly<Record<string, Readonly<Record<string, Estimate>>>>;
  readonly worst: Readonly<Record<string, Worst>>;
  /** First calls over plain's; undefined: none were made. */
  readonly cold: Cold | undefined;
  readonly code: Both;
  readonly gzip: Both;
  readonly quantumGeomean: number | undefined;
  readonly valid: boolean;
}

function byWay<T>(ways: readonly string[], make: (way: string) => T): Record<string, T> {
  return Object.fromEntries(ways.map((way) => [way, make(way)]));
}

const both = (make: (way: 'sherd' | 'asyncify') => number): Both => ({
  sherd: make('sherd'),
  asyncify: make('asyncify'),
});

function ofCold(make: (way: (typeof COLD_WAYS)[number]) => Estimate): Cold {
  return Object.fromEntries(COLD_WAYS.map((way) => [way, make(way)])) as Cold;
}

function geomeans(ways: readonly string[], samples: readonly Samples[]): Record<string, Estimate> {
  return byWay(ways, (way) =>
    geomeanRatio(samples.map((times) => ({ values: times[way]!, base: times[NAMES.plain]! }))),
  );
}

export function summarise(results: readonly KernelResult[]): Summary {
  const ways = Object.keys(results[0]!.ratio);
  const all = geomeans(
    ways,
    results.map(({ cpu }) => cpu),
  );
  const groups = [...new Set(results.map(({ group }) => group))];
  const quanta = results.flatMap(({ quantum }) => quantum?.quantum.value ?? []);
  const sized = (of: 'codeBytes' | 'codeGzipBytes'): Both =>
    both((way) => geomean(results.map(({ size }) => size[way][of] / size.plain[of])));
  return {
    ways,
    geomean: all,
    wallGeomean: geomeans(
      ways,
      results.map(({ wall }) => wall),
    ),
    processGeomean: geomeans(
      ways,
      results.map(({ process }) => process),
    ),
    groups: Object.fromEntries(
      groups.map((group) => [
        group,
        geomeans(
          ways,
          results.filter((r) => r.group === group).map(({ cpu }) => cpu),
        ),
      ]),
    ),
    worst: byWay(ways, (way) => {
      const worst = results.reduce((a, b) => (b.ratio[way]!.value > a.ratio[way]!.value ? b : a));
      return { name: worst.name, value: worst.ratio[way]!.value };
    }),
    cold: results.every(({ coldMs }) => coldMs.plain.length > 0)
      ? ofCold((way) =>
          geomeanRatio(
            results.map(({ coldMs: { plain, [way]: values } }) => ({ values, base: plain })),
          ),
        )
      : undefined,
    code: sized('codeBytes'),
    gzip: sized('codeGzipBytes'),
    quantumGeomean: quanta.length === 0 ? undefined : geomean(quanta),
    valid: Math.abs(all[NAMES.again]!.value - 1) <= AA_LIMIT,
  };
}

export function timeTable(results: readonly KernelResult[], summary: Summary): string {
  const { ways } = summary;
  const titles = ways.map((way) => (way === NAMES.again ? 'A/A' : way));
  const means = (of: Readonly<Record<string, Estimate>>): Cell[] =>
    ways.map((way) => estimateText(of[way]!));
  const groups = Object.entries(summary.groups);
  return renderTable(
    ['kernel', 'plain ms', ...titles, 'tries'],
    [
      ...results.map((r): Cell[] => [r.name, r.plainMs.toFixed(1), ...means(r.ratio), r.tries]),
      ...(groups.length < 2 ? [] : groups).map(([group, of]): Cell[] => [
        `geomean ${group}`,
        '',
        ...means(of),
      ]),
      ['geomean', '', ...means(summary.geomean)],
      ['geomean, wall', '', ...means(summary.wallGeomean)],
      ['geomean, CPU of the process', '', ...means(summary.processGeomean)],
      [
        'worst',
        '',
        ...ways.map((way) => `${ratioText(summary.worst[way]!.value)} ${summary.worst[way]!.name}`),
      ],
    ],
  );
}

export function quantumTable(results: readonly KernelResult[], summary: Summary): string {
  const rows = results.flatMap(({ name, quantum }): Cell[][] =>
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
  return renderTable(
    ['one long run', 'plain ms', 'sherd', 'sherd, in quanta'],
    [...rows, ['geomean', '', '', ratioText(summary.quantumGeomean ?? Number.NaN)]],
  );
}

export function sizeTable(results: readonly KernelResult[], summary: Summary): string {
  const ways = ['sherd', 'asyncify'] as const;
  const rows = results.map((r): Cell[] => [
    r.name,
    r.safepoints,
    r.size.plain.codeBytes,
    ...ways.map((way) => ratioText(r.size[way].codeBytes / r.size.plain.codeBytes)),
    r.size.plain.codeGzipBytes,
    ...ways.map((way) => ratioText(r.size[way].codeGzipBytes / r.size.plain.codeGzipBytes)),
  ]);
  const { code, gzip } = summary;
  const means = [code, gzip].flatMap((of) => ['', ...ways.map((way) => ratioText(of[way]))]);
  return renderTable(
    [
      ...['kernel', 'safepoints', 'code bytes', 'sherd', 'asyncify'],
      ...['gzip bytes', 'sherd', 'asyncify'],
    ],
    [...rows, ['geomean', '', ...means]],
  );
}

/** First calls, with an A/A pair of their own; undefined: none were made. */
export function coldTable(results: readonly KernelResult[], summary: Summary): string | undefined {
  const { cold } = summary;
  if (cold === undefined) return undefined;
  const rows = results.map(({ name, coldMs: { plain, ...ways } }): Cell[] => [
    name,
    median(plain).toFixed(1),
    ...COLD_WAYS.map((way) => estimateText(ratioOf(ways[way], plain))),
  ]);
  const rounds = results[0]!.coldMs.plain.length;
  return renderTable(
    [`first call, ${rounds} rounds`, 'plain ms', 'A/A', 'sherd, one go', 'in quanta', 'asyncify'],
    [...rows, ['geomean', '', ...COLD_WAYS.map((way) => estimateText(cold[way]))]],
  );
}

export function chart(
  results: readonly KernelResult[],
  summary: Summary,
  subtitle: string,
): string {
  const shown = [NAMES.sherd, NAMES.asyncify];
  const drawn: Chart = {
    title: 'Run time with safepoints, relative to the uninstrumented module (lower is better)',
    subtitle,
    unit: 'uninstrumented',
    reference: 1,
    series: [
      { name: 'sherd', colour: '#2a7f62' },
      { name: 'Binaryen Asyncify + polls', colour: '#c2693f' },
    ],
    groups: [
      { name: 'geomean', bars: shown.map((way) => summary.geomean[way]) },
      ...results.map((r) => ({ name: r.name, bars: shown.map((way) => r.ratio[way]) })),
    ],
  };
  return renderChart(drawn);
}

interface Bar {
  readonly what: string;
  readonly value: number;
  readonly limit: number;
  /** `atMost`: the value must not be above the limit. */
  readonly sense: 'atMost' | 'atLeast';
}

function bars(summary: Summary): Bar[] {
  const { geomean: means, worst, code, gzip, cold } = summary;
  const sherd = means[NAMES.sherd]!.value;
  const atMost = (what: string, value: number, limit: number): Bar => ({
    ...{ what, value, limit },
    sense: 'atMost',
  });
  return [
    atMost('run time, geomean', sherd, 1.08),
    atMost(`run time, worst (${worst[NAMES.sherd]!.name})`, worst[NAMES.sherd]!.value, 1.35),
    atMost('code section, geomean', code.sherd, 1.8),
    atMost('code section gzipped, geomean', gzip.sherd, 1.6),
    atMost('code section over asyncify’s', code.sherd / code.asyncify, 1),
    atMost('code section gzipped over asyncify’s', gzip.sherd / gzip.asyncify, 1),
    {
      what: 'asyncify’s run time over sherd’s',
      value: means[NAMES.asyncify]!.value / sherd,
      limit: 1.7,
      sense: 'atLeast',
    },
    ...(cold === undefined
      ? []
      : [
          atMost('cold first call in one go, geomean', cold.sherd.value, 1),
          atMost('the same in quanta, as threads run guests', cold.quanta.value, 1),
        ]),
  ];
}

export interface Verdict {
  readonly text: string;
  readonly met: boolean;
}

export function verdict(summary: Summary): Verdict {
  const { value } = summary.geomean[NAMES.again]!;
  if (!summary.valid) {
    const percent = ((value - 1) * 100).toFixed(1);
    const text = `VOID: the A/A pair differs by ${percent} % (limit ${AA_LIMIT * 100} %): a noisy machine, run again`;
    return { text, met: false };
  }
  const judged = bars(summary).map((bar) => ({
    ...bar,
    met: bar.sense === 'atMost' ? bar.value <= bar.limit : bar.value >= bar.limit,
  }));
  const rows = judged.map(({ what, value: is, limit, sense, met }): Cell[] => [
    what,
    ratioText(is),
    `${sense === 'atMost' ? '≤' : '≥'} ${limit.toFixed(2)}`,
    met ? 'met' : 'MISSED',
  ]);
  return {
    text: renderTable(['bar', 'measured', 'limit', ''], rows),
    met: judged.every(({ met }) => met),
  };
}
