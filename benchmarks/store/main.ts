/**
 * benchmarks/store: what many capsules of one program take of the disk, and what putting and getting one takes.
 *
 *   node benchmarks/run.mjs store [--count 10000] [--programs fannkuch,nbody,perft,raytracer] [--rounds 15]
 *
 * Measured, of each program: `count` capsules of one running instance, each at a fuel of its own, are put into stores of
 * stores.ts in temporary directories, read back and compared with their hashes. Then, over the bytes of the distinct capsules:
 *   disk     blocks of all files and directories (disk.ts), the record store and its index included
 *   chains   the same states as delta chains (a full capsule, then deltas of the one before, CHAIN_LINKS in all) in sherd's store
 *   half     every other capsule removed and collected: disk over the bytes of those that are left
 *   units    what a store without an index would hold that keeps equal units of 64 bytes once; chunks: the same of pieces that
 *            the content cuts (distinct.ts). The harder figure: equal parts of different capsules
 * and the wall-clock time of single puts and gets, interleaved round by round, beside plain files and a memcpy.
 * Not measured: --sync (the disk's own time), other file systems.
 *
 * G1  Bar: disk ≤ BAR × distinct bytes, for each program.
 * G2  The A/A pair of puts must be within 1 ± AA_LIMIT, else the times are void: it says so. The sizes are exact all the same.
 */
import { type BarLine, barTable } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, UsageError, writeResult } from '../lib/options.js';
import { type Estimate, geomeanRatio, median, quantile, randomFrom } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { CHAIN_LINKS, capsulesOf, PROGRAMS, type Program } from './capsules.js';
import { type DiskUse, diskUse } from './disk.js';
import { Distinct, type DistinctBytes } from './distinct.js';
import { type CapsuleStore, fileStore, gzipStore, sherdStore } from './stores.js';

const BAR = 1.2;
const AA_LIMIT = 0.02;
/** Capsules that each round puts and gets. */
const TIMED_AT_ONCE = 100;

type Named = { readonly hash: string; readonly bytes: Uint8Array };
type Times = Readonly<Record<'put' | 'get', readonly number[]>>;

interface Result {
  readonly name: string;
  readonly count: number;
  readonly memoryBytes: number;
  readonly medianBytes: number;
  readonly distinct: DistinctBytes;
  readonly chainBytes: number;
  readonly halfBytes: number;
  readonly disk: Readonly<Record<string, DiskUse>>;
  /** By store, µs, one a call. */
  readonly times: Readonly<Record<string, Times>>;
}

const CHAIN = 'sherd, chains';
const HALF = 'sherd, half removed';

async function storeAll(
  root: string,
  program: Program,
  count: number,
  rounds: number,
): Promise<Result> {
  const stores = [await sherdStore('sherd'), fileStore('one file'), gzipStore()];
  const chains = await sherdStore(CHAIN);
  const distinct = new Distinct();
  const [sherd] = stores as [CapsuleStore];
  const sizes = new Map<string, number>();
  const links = new Map<string, number>();
  const timed: Named[] = [];
  let memoryBytes = 0;
  try {
    for await (const taken of capsulesOf(root, program, count)) {
      const { hash, bytes, link } = taken;
      for (const store of stores) await store.put(hash, bytes);
      await chains.put(link.hash, link.bytes);
      distinct.add(bytes);
      sizes.set(hash, bytes.length);
      links.set(link.hash, link.bytes.length);
      if (timed.length < rounds * TIMED_AT_ONCE) timed.push({ hash, bytes });
      memoryBytes = taken.memoryBytes;
    }
    const disk: Record<string, DiskUse> = {};
    for (const store of [...stores, chains]) {
      for (const hash of store === chains ? links.keys() : sizes.keys()) await store.get(hash);
      disk[store.name] = diskUse(store.directory);
    }
    const left = new Set([...sizes.keys()].filter((_, i) => i % 2 === 0));
    await sherd.keep((hash) => left.has(hash));
    for (const hash of left) await sherd.get(hash);
    disk[HALF] = diskUse(sherd.directory);
    const times = await timeAll(timed, rounds);
    return {
      name: program.name,
      count: sizes.size,
      memoryBytes,
      medianBytes: median([...sizes.values()]),
      distinct: distinct.total,
      chainBytes: sum(links.values()),
      halfBytes: sum([...left].map((hash) => sizes.get(hash) ?? 0)),
      disk,
      times,
    };
  } finally {
    for (const store of [...stores, chains]) await store.close();
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Every round each store puts and gets the same capsules, which it has not had before, in an order that is drawn. */
async function timeAll(timed: readonly Named[], rounds: number): Promise<Record<string, Times>> {
  const stores = [await sherdStore('sherd'), await sherdStore('sherd A/A'), fileStore('one file')];
  const times: Record<string, { put: number[]; get: number[] }> = { memcpy: { put: [], get: [] } };
  for (const { name } of stores) times[name] = { put: [], get: [] };
  const room = new Uint8Array(Math.max(...timed.map(({ bytes }) => bytes.length))).fill(1);
  const random = randomFrom(5);
  for (let round = 0; round < rounds; round++) {
    const some = timed.slice(round * TIMED_AT_ONCE, (round + 1) * TIMED_AT_ONCE);
    const order = stores.map((store) => ({ store, at: random() })).sort((a, b) => a.at - b.at);
    for (const { store } of order) {
      const own = times[store.name] as { put: number[]; get: number[] };
      for (const { hash, bytes } of some) own.put.push(await timeOf(() => store.put(hash, bytes)));
      for (const { hash } of some) own.get.push(await timeOf(() => store.get(hash)));
    }
    for (const { bytes } of some) {
      const us = await timeOf(async () => room.set(bytes));
      times['memcpy']?.put.push(us);
      times['memcpy']?.get.push(us);
    }
  }
  for (const store of stores) await store.close();
  return times;
}

async function timeOf(act: () => Promise<unknown>): Promise<number> {
  const started = process.hrtime.bigint();
  await act();
  return Number(process.hrtime.bigint() - started) / 1e3;
}

const mib = (bytes: number): string => (bytes / 1_048_576).toFixed(1);
const diskOf = (result: Result, name: string): number => result.disk[name]?.diskBytes ?? Number.NaN;

function sizeTable(results: readonly Result[]): string {
  const header = ['program', 'capsules', 'median B', 'distinct MiB', 'of 64 B units', 'of chunks'];
  header.push('sherd', 'one file', 'gzip file', 'chains: bytes', 'disk', 'half left', 'full dumps');
  const rows = results.map((result) => {
    const { distinct, count } = result;
    const over = (bytes: number, base = distinct.wholeBytes): string => (bytes / base).toFixed(3);
    return [
      result.name,
      count,
      result.medianBytes,
      mib(distinct.wholeBytes),
      over(distinct.unitBytes),
      over(distinct.chunkBytes),
      over(diskOf(result, 'sherd')),
      over(diskOf(result, 'one file')),
      over(diskOf(result, 'gzip file')),
      over(result.chainBytes),
      over(diskOf(result, CHAIN)),
      over(diskOf(result, HALF), result.halfBytes),
      over(count * result.memoryBytes),
    ];
  });
  return renderTable(header, rows);
}

/** Each round's total, for a bound over whole rounds. */
function byRound(times: readonly number[]): number[] {
  const rounds: number[] = [];
  for (let at = 0; at < times.length; at += TIMED_AT_ONCE)
    rounds.push(median(times.slice(at, at + TIMED_AT_ONCE)));
  return rounds;
}

function timeTable(results: readonly Result[]): string {
  const header = ['program', 'store', 'put µs p50', 'p99', '÷ one file [90 %]'];
  header.push('get µs p50', 'p99', '÷ one file [90 %]');
  const rows = results.flatMap(({ name, times }) =>
    Object.entries(times).map(([store, own], i) => [
      i === 0 ? name : '',
      store,
      ...(['put', 'get'] as const).flatMap((what) => [
        quantile(own[what], 0.5).toFixed(1),
        quantile(own[what], 0.99).toFixed(1),
        estimateText(ratio(own[what], times['one file']?.[what] ?? [])),
      ]),
    ]),
  );
  return renderTable(header, rows);
}

function ratio(values: readonly number[], base: readonly number[]): Estimate {
  return geomeanRatio([{ values: byRound(values), base: byRound(base) }]);
}

function barLines(results: readonly Result[]): BarLine[] {
  return results.map((result) => {
    const { wholeBytes, unitBytes, chunkBytes } = result.distinct;
    const value = diskOf(result, 'sherd') / wholeBytes;
    const ideal = Math.min(unitBytes, chunkBytes);
    return {
      what: `${result.count} capsules of ${result.name}: disk ÷ distinct bytes`,
      figure: value.toFixed(3),
      bar: `≤ ${BAR}`,
      met: value <= BAR,
      peer: { name: 'one file each', ratio: diskOf(result, 'sherd') / diskOf(result, 'one file') },
      limit: { name: 'equal parts kept once', ratio: diskOf(result, 'sherd') / ideal },
    };
  });
}

function chart(results: readonly Result[], subtitle: string): string {
  const series = [
    { name: 'sherd', colour: '#2a7f62' },
    { name: 'one file', colour: '#7d8fa8' },
    { name: 'gzip file', colour: '#c2693f' },
    { name: CHAIN, colour: '#b9a24a' },
  ];
  return renderChart({
    title:
      'Disk that the capsules of one program take, over their distinct bytes (lower is better)',
    subtitle,
    unit: '× bytes',
    reference: BAR,
    series,
    groups: results.map((result) => ({
      name: result.name,
      bars: series.map(({ name }) => ({
        value: diskOf(result, name) / result.distinct.wholeBytes,
      })),
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const names = PROGRAMS.map(({ name }) => name);
  const options = parseOptions(args, { count: '10000', programs: names.join(','), rounds: '15' });
  const [count, rounds] = [Number(options.count), Number(options.rounds)];
  if (count < rounds * TIMED_AT_ONCE)
    throw new UsageError(`--count is at least ${TIMED_AT_ONCE} × --rounds`);
  const host = machine();
  console.log(
    `store · Node ${host.node} · ${host.cpu}, ${host.cores} cores · ${count} capsules, ${rounds} rounds\n`,
  );
  const results: Result[] = [];
  for (const program of PROGRAMS.filter(({ name }) => options.programs.split(',').includes(name)))
    results.push(await storeAll(root, program, count, rounds));
  console.log(
    `sizes ÷ distinct bytes; chains of ${CHAIN_LINKS}; half left: ÷ the bytes that are left\n${sizeTable(results)}\n`,
  );
  console.log(`${timeTable(results)}\n`);
  const aa = geomeanRatio(
    results.map(({ times }) => ({
      values: byRound(times['sherd A/A']?.put ?? []),
      base: byRound(times['sherd']?.put ?? []),
    })),
  );
  const valid = Math.abs(aa.value - 1) <= AA_LIMIT;
  console.log(`A/A of puts ${estimateText(aa)}${valid ? '' : ': times VOID, run again'}\n`);
  const bars = barLines(results);
  console.log(`${barTable(bars)}\n`);
  const subtitle = `Node ${host.node}, ${host.cpu}; ${count} capsules at different fuel; line: the bar`;
  const json = { machine: host, count, rounds, chainLinks: CHAIN_LINKS, noise: aa, bars, results };
  const files = [
    writeResult(root, 'store.json', `${JSON.stringify(json, null, 1)}\n`),
    writeResult(root, 'store.svg', chart(results, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return valid && bars.every(({ met }) => met) ? 0 : 1;
}
