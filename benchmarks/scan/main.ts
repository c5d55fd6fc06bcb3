/**
 * benchmarks/scan: how fast what differs from a base is found, at a granularity of 64 bytes.
 *
 *   node benchmarks/run.mjs scan [--rounds 15] [--mib 256] [--share 0.01] [--apply yes|no]
 *
 * Measured: (1) all ways of ways.ts over one memory, changes clustered and scattered; CPU time, interleaved in one process,
 * medians, speed relative to a memcpy of the same bytes with a 90 % bootstrap bound, an A/A pair. (2) Writing a difference
 * back, run by run and through core.wasm, by how many runs there are a block.
 * Not measured: other machines; encoding (benchmarks/migration), which adds the hashes of what is left.
 *
 * N1  The bar: clustered and scattered, at least BAR of memcpy's speed, and level with Buffer.compare per 4 KiB: the ratio's
 *     90 % bound reaches 1.
 * N2  The A/A pair must be within 1 ± AA_LIMIT, else the run is void: it says so and exits with 1.
 */

import { coreOf } from '../../host/core/core.js';
import { checkTable, type Difference, eachRun } from '../../host/core/difference.js';
import { applyDifference, copyPayload, scan } from '../../host/core/scan.js';
import { nodePlatform } from '../../host/node/platform.js';
import { type BarLine, barTable } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { type Estimate, geomeanRatio, median, quantile, ratioOf } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { interleave, type Times, type Variant, warmUp } from '../lib/timing.js';
import { makeSample, type Sample, type Spread, UNIT_BYTES } from './shapes.js';
import { LIMIT, OURS, PEER, WAYS } from './ways.js';

const BAR = 0.6;
const AA_LIMIT = 0.02;
const WARM_UP = { minMs: 150, minCalls: 4, settled: 0.1, maxMs: 3_000 };
const SPREADS: readonly Spread[] = ['clustered', 'scattered'];
/** Changed units of a memory, for writing back. */
const APPLY_SHARES = [0.01, 0.1, 0.3];

interface SampleResult {
  readonly spread: Spread;
  readonly changedUnits: number;
  readonly times: Readonly<Record<string, readonly number[]>>;
  /** Speed relative to memcpy. */
  readonly speed: Readonly<Record<string, Estimate>>;
  /** Ours relative to Buffer.compare per 4 KiB. */
  readonly toPeer: Estimate;
}

async function timeAll(variants: readonly Variant[], rounds: number): Promise<Times> {
  for (const variant of variants) await warmUp(variant, WARM_UP);
  return (await interleave(variants, rounds)).cpu;
}

async function measure(sample: Sample, spread: Spread, rounds: number): Promise<SampleResult> {
  const variants = WAYS.map(({ name, exact, run }) => ({
    name,
    prepare: () => () => {
      const found = run(sample);
      if (exact && found !== sample.changedUnits)
        throw new Error(`${name} found ${found} units of ${sample.changedUnits}`);
      return 1;
    },
  }));
  const times = await timeAll(variants, rounds);
  const of = (name: string): readonly number[] => times.get(name) ?? [];
  const entries = WAYS.map(({ name }) => [name, ratioOf(of(LIMIT), of(name))] as const);
  return {
    spread,
    changedUnits: sample.changedUnits,
    times: Object.fromEntries(times),
    speed: Object.fromEntries(entries),
    toPeer: ratioOf(of(PEER), of(OURS)),
  };
}

function tableOf(result: SampleResult, bytes: number): string {
  const rows = WAYS.map(({ name, exact }) => {
    const ms = median(result.times[name] ?? []);
    const speed = result.speed[name] as Estimate;
    return [
      name,
      exact ? '64 B' : '',
      ms.toFixed(2),
      (bytes / ms / 1e6).toFixed(1),
      estimateText(speed),
    ];
  });
  return renderTable(['way', 'finds', 'CPU ms', 'GB/s', 'speed ÷ memcpy [90 %]'], rows);
}

interface ApplyResult {
  readonly share: number;
  readonly runsPerBlock: number;
  readonly ms: Readonly<Record<string, number>>;
  readonly times: Readonly<Record<string, readonly number[]>>;
}

function differenceOf({ memory, base }: Sample): Difference {
  const scanned = scan({ memory, base }, nodePlatform);
  const payload = new Uint8Array(scanned.dataUnits * UNIT_BYTES);
  copyPayload(payload, { memory, base }, scanned);
  const facts = checkTable(
    scanned.table,
    memory.length / UNIT_BYTES,
    (reason) => new Error(reason),
  );
  return { ...facts, table: scanned.table, payload };
}

/** Run by run: what `applyDifference` does where runs are few. */
function applyRuns({ table, payload }: Difference, target: Uint8Array): void {
  let from = 0;
  eachRun(table, (_, first, count) => {
    const bytes = count * UNIT_BYTES;
    target.set(payload.subarray(from, from + bytes), first * UNIT_BYTES);
    from += bytes;
  });
}

async function measureApply(share: number, rounds: number): Promise<ApplyResult> {
  const sample = makeSample(8, share, 'scattered');
  const difference = differenceOf(sample);
  const target = sample.base.bytes;
  const ways: readonly (readonly [string, () => void])[] = [
    ['sherd', () => applyDifference(difference, target, nodePlatform)],
    ['run by run', () => applyRuns(difference, target)],
    ['core.wasm', () => coreOf(nodePlatform).apply(difference, target)],
    ['memcpy', () => target.set(sample.memory)],
  ];
  const variants = ways.map(([name, run]) => ({
    name,
    prepare: () => () => {
      for (let i = 0; i < 8; i++) run();
      return 1;
    },
  }));
  const times = await timeAll(variants, rounds);
  if (Buffer.compare(target, sample.memory) !== 0) throw new Error('a way does not restore it');
  return {
    share,
    runsPerBlock: difference.runs / difference.blocks,
    ms: Object.fromEntries([...times].map(([name, list]) => [name, median(list) / 8])),
    times: Object.fromEntries(times),
  };
}

function applyTable(results: readonly ApplyResult[]): string {
  const names = ['sherd', 'run by run', 'core.wasm', 'memcpy'];
  const rows = results.map(({ share, runsPerBlock, ms }) => [
    `${share * 100} %`,
    runsPerBlock.toFixed(1),
    ...names.map((name) => (ms[name] ?? Number.NaN).toFixed(2)),
  ]);
  return renderTable(['changed', 'runs a block', ...names.map((name) => `${name} ms`)], rows);
}

function chart(results: readonly SampleResult[], subtitle: string): string {
  const series = [
    { name: 'clustered', colour: '#2a7f62' },
    { name: 'scattered', colour: '#7d8fa8' },
  ];
  return renderChart({
    title: 'Finding what changed, speed relative to one copy of the memory (higher is better)',
    subtitle,
    unit: '× memcpy',
    reference: BAR,
    series,
    groups: WAYS.map(({ name }) => ({
      name: name.replace('Buffer.compare 4 KiB', 'Buffer.compare'),
      bars: series.map(({ name: spread }) => {
        const speed = results.find((result) => result.spread === spread)?.speed[name];
        return speed === undefined ? undefined : { ...speed };
      }),
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', mib: '256', share: '0.01', apply: 'yes' });
  const [rounds, mib, share] = [options.rounds, options.mib, options.share].map(Number) as [
    number,
    number,
    number,
  ];
  const host = machine();
  console.log(`scan · Node ${host.node} · ${host.cpu}, ${host.cores} cores · ${rounds} rounds\n`);
  const results: SampleResult[] = [];
  for (const spread of SPREADS) {
    const sample = makeSample(mib, share, spread);
    const result = await measure(sample, spread, rounds);
    results.push(result);
    console.log(`${sample.name}\n${tableOf(result, sample.memory.length)}\n`);
  }
  const applied: ApplyResult[] = [];
  if (options.apply === 'yes')
    for (const each of APPLY_SHARES) applied.push(await measureApply(each, rounds));
  if (applied.length > 0) console.log(`writing back, 8 MiB, scattered\n${applyTable(applied)}\n`);
  const aa = geomeanRatio(
    results.map(({ times }) => ({ values: times['sherd A/A'] ?? [], base: times[OURS] ?? [] })),
  );
  const subtitle = `${mib} MiB, ${share * 100} % changed; Node ${host.node}, ${host.cpu}; medians of ${rounds} interleaved rounds, whiskers 90 % bounds`;
  const bars = results.map((result) => barLine(result, mib, share));
  const json = { machine: host, rounds, mib, share, noise: aa, bars, results, applied };
  const files = [
    writeResult(root, 'scan.json', `${JSON.stringify(json, null, 1)}\n`),
    writeResult(root, 'scan.svg', chart(results, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return verdict(bars, aa);
}

/** N1. */
function barLine(
  { spread, speed, toPeer, times }: SampleResult,
  mib: number,
  share: number,
): BarLine {
  const ours = speed[OURS] as Estimate;
  const [p50, p99] = [0.5, 0.99].map((q) => quantile(times[OURS] ?? [], q).toFixed(2));
  return {
    what: `scan ${mib} MiB, ${share * 100} % changed, ${spread}`,
    figure: `p50 ${p50}, p99 ${p99} ms; ${estimateText(ours)} of memcpy's speed, ${estimateText(toPeer)} of the peer's`,
    bar: `≥ ${BAR} and level`,
    met: ours.value >= BAR && toPeer.high >= 1,
    peer: { name: PEER, ratio: 1 / toPeer.value },
    limit: { name: LIMIT, ratio: 1 / ours.value },
  };
}

function verdict(bars: readonly BarLine[], aa: Estimate): number {
  console.log(`A/A ${estimateText(aa)}`);
  if (Math.abs(aa.value - 1) > AA_LIMIT) {
    console.log(
      `VOID: the A/A pair differs by more than ${AA_LIMIT * 100} %: a noisy machine, run again`,
    );
    return 1;
  }
  console.log(`ratios of time\n${barTable(bars)}`);
  return bars.every(({ met }) => met) ? 0 : 1;
}
