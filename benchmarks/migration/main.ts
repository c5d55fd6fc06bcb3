/**
 * benchmarks/migration: what it costs to make a running shard a value, and to make it run again.
 *
 *   node benchmarks/run.mjs migration [--rounds 15] [--moves 12] [--calls 2000] [--programs all|none|raytracer,…]
 *     [--states yes|no] [--job yes|no]
 *
 * In two parts, for a machine that one has for minutes only: --programs none --job no, and --states no --job no.
 *
 * Measured: (1) encode and decode of synthetic states, beside a full dump, full dump + gzip, v8.serialize, structured clone and a plain
 * memcpy of the same memory; CPU time, interleaved in one process, medians, ratio to memcpy with a 90 % bootstrap bound, an A/A
 * pair. (2) The wall-clock time of capture + encode, and of decode + resume, of small programs in a warm worker thread, beside
 * the same peers: p50 and p99 of single calls. (3) Moves of real
 * programs within this process, each checked against a run that never stopped, with the same memory as a full dump. (4) The
 * main job's moves between three node processes.
 * Not measured: other machines, deltas against an earlier one. Tails of moves between processes:
 * benchmarks/moves.
 *
 * G1  Garbage is collected before each timed call, outside of it: what one way leaves behind is no cost of the next. (Not while
 *     warming up: it would take ten times as long as the calls.)
 * G2  The A/A pair's geometric mean must be within 1 ± AA_LIMIT, else the run is void: it says so and exits with 1.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type BarLine, barTable } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import {
  type Estimate,
  geomean,
  geomeanRatio,
  median,
  quantile,
  ratioOf,
} from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { interleave, type Variant, warmUp } from '../lib/timing.js';
import type { ObservedMove } from '../moves/cluster.js';
import { callLines, type Sizes, sizeLines, TOUCHED_STATE, touchedLine } from './bars.js';
import { frozenMsOf, moveMainJob } from './job.js';
import { type Move, type Moved, moveProgram, SUBJECTS } from './moves.js';
import { measureSmall, OURS, type SmallResult } from './small.js';
import { makeSample, type Sample, SHAPES } from './states.js';
import { verify, WAYS } from './ways.js';

const AA_LIMIT = 0.02;
const WARM_UP = { minMs: 60, minCalls: 5, settled: 0.1, maxMs: 1_500 };
/** Short calls are repeated until they take about this long, so that the clock's own cost does not count. */
const CALL_MS = 5;

const BASE = 'memcpy';
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Twice: the second waits until the buffers that the first found dead have been given back. */
function collectGarbage(): void {
  gc();
  gc();
}

const COLOURS: Readonly<Record<string, string>> = {
  capsule: '#2a7f62',
  'full dump': '#7d8fa8',
  'full dump+gzip': '#c2693f',
  'v8.serialize': '#b9a24a',
  'structured clone': '#8a6fa8',
};

interface WayResult {
  readonly name: string;
  readonly bytes: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  readonly encodeRatio: Estimate;
  readonly decodeRatio: Estimate;
  readonly times: Readonly<Record<'encode' | 'decode', readonly number[]>>;
}

interface SampleResult {
  readonly name: string;
  readonly memoryBytes: number;
  readonly dirtyBytes: number;
  readonly ways: readonly WayResult[];
}

/** One direction of every way on a sample; times are of one call. */
async function measure(
  sample: Sample,
  direction: 'encode' | 'decode',
  rounds: number,
): Promise<Map<string, number[]>> {
  const repeats = new Map<string, number>();
  let measuring = false;
  const variants: Variant[] = WAYS.map((way) => {
    const bytes = way.encode(sample.state, sample.base).slice();
    const call = (): number =>
      direction === 'encode'
        ? Math.sign(way.encode(sample.state, sample.base).length)
        : Math.sign(way.decode(bytes, sample.base).length);
    const prepare = (): (() => number) => {
      if (measuring) collectGarbage();
      return () => {
        let checksum = 0;
        for (let i = 0; i < (repeats.get(way.name) ?? 1); i++) checksum = call();
        return checksum;
      };
    };
    return { name: way.name, prepare };
  });
  for (const variant of variants) {
    // Before the warm-up, so that its calls are as long; and after it, when they have become shorter.
    repeats.set(variant.name, repeatsOf(variant, 1));
    await warmUp(variant, WARM_UP);
    repeats.set(variant.name, repeatsOf(variant, repeats.get(variant.name) ?? 1));
  }
  measuring = true;
  repeats.set('capsule A/A', repeats.get('capsule') ?? 1);
  const times = await interleave(variants, rounds);
  return new Map(
    [...times.cpu].map(([name, list]) => [name, list.map((ms) => ms / (repeats.get(name) ?? 1))]),
  );
}

/** So many calls take about CALL_MS. `now`: how many the variant makes. */
function repeatsOf(variant: Variant, now: number): number {
  const call = variant.prepare();
  const started = process.hrtime.bigint();
  call();
  const ms = Number(process.hrtime.bigint() - started) / 1e6;
  return Math.max(1, Math.min(200, Math.round((CALL_MS * now) / ms)));
}

async function measureSample(sample: Sample, rounds: number): Promise<SampleResult> {
  const sizes = WAYS.map((way) => verify(way, sample.state, sample.base).length);
  const encode = await measure(sample, 'encode', rounds);
  const decode = await measure(sample, 'decode', rounds);
  const ways = WAYS.map(({ name }, i) => {
    const times = { encode: encode.get(name) as number[], decode: decode.get(name) as number[] };
    return {
      name,
      bytes: sizes[i] as number,
      encodeMs: median(times.encode),
      decodeMs: median(times.decode),
      encodeRatio: ratioOf(times.encode, encode.get(BASE) as number[]),
      decodeRatio: ratioOf(times.decode, decode.get(BASE) as number[]),
      times,
    };
  });
  const { name, memoryBytes, dirtyPages } = sample;
  return { name, memoryBytes, dirtyBytes: dirtyPages * 4096, ways };
}

function wayOf(result: SampleResult, name: string): WayResult {
  return result.ways.find((way) => way.name === name) as WayResult;
}

/** Noise of the run: the same code twice, over all samples and programs and both directions. */
function noise(results: readonly SampleResult[], small: readonly SmallResult[]): Estimate {
  const directions = ['encode', 'decode'] as const;
  if (results.length === 0)
    return geomeanRatio(
      small.flatMap(({ ways }) =>
        directions.map((direction) => ({
          values: ways['sherd A/A']?.[direction] ?? [],
          base: ways[OURS]?.[direction] ?? [],
        })),
      ),
    );
  return geomeanRatio(
    results.flatMap((result) =>
      directions.map((direction) => ({
        values: wayOf(result, 'capsule A/A').times[direction],
        base: wayOf(result, 'capsule').times[direction],
      })),
    ),
  );
}

const ms = (value: number): string => (value < 1 ? value.toFixed(3) : value.toFixed(2));
const kib = (bytes: number): string => (bytes / 1024).toFixed(1);

function codecTable(results: readonly SampleResult[]): string {
  const header = [
    'state',
    'way',
    'KiB',
    '÷ touched',
    'encode CPU ms',
    '÷ memcpy [90 %]',
    'decode CPU ms',
    '÷ memcpy [90 %]',
  ];
  const rows = results.flatMap((result) =>
    result.ways.map((way, i) => [
      i === 0 ? result.name : '',
      way.name,
      kib(way.bytes),
      (way.bytes / result.dirtyBytes).toFixed(2),
      ms(way.encodeMs),
      estimateText(way.encodeRatio),
      ms(way.decodeMs),
      estimateText(way.decodeRatio),
    ]),
  );
  return renderTable(header, rows);
}

function callTable(results: readonly SmallResult[]): string {
  const header = [
    'program',
    'way',
    'calls',
    'capture + encode p50',
    'p99',
    'decode + resume p50',
    'p99',
  ];
  const rows = results.flatMap(({ name, ways }) =>
    Object.entries(ways).map(([way, calls], i) => [
      i === 0 ? name : '',
      way,
      calls.encode.length,
      ...[calls.encode, calls.decode].flatMap((times) =>
        [0.5, 0.99].map((q) => quantile(times, q).toFixed(3)),
      ),
    ]),
  );
  return renderTable(header, rows);
}

function moveTable(moved: readonly Moved[]): string {
  const header = [
    'program',
    'moves',
    'memory KiB',
    'capsule KiB',
    'packed KiB',
    'without dead',
    'packed',
    'gzip dump KiB',
    'frames',
    'capture',
    'encode',
    'decode',
    'resume',
    'first 1,000',
    'frozen',
    'dump',
    'dump+gzip',
    'packing',
    'find dead',
  ];
  const of = (moves: readonly Move[], pick: (move: Move) => number): number =>
    median(moves.map(pick));
  const rows = moved.map(({ name, moves }) => [
    name,
    moves.length,
    kib(of(moves, (move) => move.memoryBytes)),
    kib(of(moves, (move) => move.capsuleBytes)),
    kib(of(moves, (move) => move.packedBytes)),
    kib(of(moves, (move) => move.leanBytes)),
    kib(of(moves, (move) => move.leanPackedBytes)),
    kib(of(moves, (move) => move.gzipBytes)),
    of(moves, (move) => move.frames),
    ms(of(moves, (move) => move.captureMs)),
    ms(of(moves, (move) => move.encodeMs)),
    ms(of(moves, (move) => move.decodeMs)),
    ms(of(moves, (move) => move.resumeMs)),
    ms(of(moves, (move) => move.firstMs)),
    ms(of(moves, frozenMs)),
    ms(of(moves, (move) => move.dumpMs)),
    ms(of(moves, (move) => move.dumpMs + move.gzipMs)),
    ms(of(moves, (move) => move.packMs)),
    ms(of(moves, (move) => move.deadMs)),
  ]);
  return renderTable(header, rows);
}

function jobTable(moves: readonly ObservedMove[]): string {
  const header = ['move', 'memory KiB', 'capsule KiB', 'freezing', 'frozen', 'restore', 'down'];
  const row = (name: string | number, of: (pick: (move: ObservedMove) => number) => number) => [
    name,
    kib(of((move) => move.memoryBytes)),
    kib(of((move) => move.capsuleBytes)),
    ms(of((move) => move.pauseMs)),
    ms(of(frozenMsOf)),
    ms(of((move) => (move.restoreUs ?? Number.NaN) / 1000)),
    ms(of((move) => move.downMs ?? Number.NaN)),
  ];
  const rows = moves.map((move, i) => row(i + 1, (pick) => pick(move)));
  return renderTable(header, [...rows, row('median', (pick) => median(moves.map(pick)))]);
}

function frozenMs(move: Move): number {
  return move.captureMs + move.encodeMs + move.decodeMs + move.resumeMs;
}

function chart(results: readonly SampleResult[], subtitle: string): string {
  const names = Object.keys(COLOURS);
  return renderChart({
    title:
      'Encode a stopped shard, relative to one copy of its memory (lower is better, cut at 20)',
    subtitle,
    unit: '× memcpy',
    reference: 1,
    series: names.map((name) => ({ name, colour: COLOURS[name] ?? '#888' })),
    groups: results.map((result) => ({
      name: result.name.replace(' touched', ''),
      bars: names.map((name) => {
        const { value, low, high } = wayOf(result, name).encodeRatio;
        return { value: Math.min(20, value), low: Math.min(20, low), high: Math.min(20, high) };
      }),
    })),
  });
}

async function movePrograms(root: string, wanted: string, count: number): Promise<Moved[]> {
  const chosen = wanted === 'all' ? SUBJECTS.map(({ name }) => name) : wanted.split(',');
  const moved: Moved[] = [];
  for (const subject of SUBJECTS.filter(({ name }) => chosen.includes(name))) {
    moved.push(await moveProgram(root, subject, count));
  }
  return moved;
}

async function measureSmalls(root: string, wanted: string, calls: number): Promise<SmallResult[]> {
  const chosen = SUBJECTS.filter(({ mostBytes }) => mostBytes !== undefined);
  const results: SmallResult[] = [];
  for (const subject of chosen)
    if (wanted === 'all' || wanted.split(',').includes(subject.name))
      results.push(await measureSmall(root, subject, calls));
  return results;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, {
    rounds: '15',
    moves: '12',
    calls: '2000',
    programs: 'all',
    states: 'yes',
    job: 'yes',
  });
  const rounds = Number(options.rounds);
  const host = machine();
  console.log(
    `migration · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${rounds} rounds\n`,
  );
  const results: SampleResult[] = [];
  for (const shape of options.states === 'no' ? [] : SHAPES)
    results.push(await measureSample(makeSample(shape), rounds));
  if (results.length > 0) console.log(`${codecTable(results)}\n`);
  const small = await measureSmalls(root, options.programs, Number(options.calls));
  if (small.length > 0)
    console.log(`small programs in a warm worker thread, ms a call\n${callTable(small)}\n`);
  const moved = await movePrograms(root, options.programs, Number(options.moves));
  if (moved.length > 0) {
    console.log(
      `moves within one process, medians in ms; each run ends bit-identical to one that never moved\n${moveTable(moved)}\n`,
    );
  }
  const job = options.job === 'no' ? [] : await moveMainJob(root, Number(options.moves));
  if (job.length > 0)
    console.log(`the main job between three node processes, ms\n${jobTable(job)}\n`);
  const aa = noise(results, small);
  const bars = [...sizeLines(moved), ...sizesOf(results).map(touchedLine), ...callLines(small)];
  const fileName = `migration${results.length === 0 ? '-programs' : ''}`;
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${rounds} interleaved rounds, whiskers 90 % bounds`;
  const json = { machine: host, rounds, noise: aa, bars, results, small, moved, job };
  const files = [
    writeResult(root, `${fileName}.json`, `${JSON.stringify(json, null, 1)}\n`),
    ...(results.length > 0 ? [writeResult(root, `${fileName}.svg`, chart(results, subtitle))] : []),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return verdict(results, small, bars, aa);
}

function sizesOf(results: readonly SampleResult[]): Sizes[] {
  const found = results.filter(({ name }) => name === TOUCHED_STATE);
  return found.map(({ name, dirtyBytes, ways }) => {
    const bytes = new Map(ways.map((way) => [way.name, way.bytes]));
    return { name, touchedBytes: dirtyBytes, bytes };
  });
}

function verdict(
  results: readonly SampleResult[],
  small: readonly SmallResult[],
  bars: readonly BarLine[],
  aa: Estimate,
): number {
  console.log(`A/A ${estimateText(aa)}`);
  if (Math.abs(aa.value - 1) > AA_LIMIT) {
    console.log(
      `VOID: the A/A pair differs by more than ${AA_LIMIT * 100} %: a noisy machine, run again`,
    );
    return 1;
  }
  for (const { name, ways } of small) {
    const pair = (['encode', 'decode'] as const).map(
      (direction) =>
        median(ways['sherd A/A']?.[direction] ?? []) / median(ways[OURS]?.[direction] ?? []),
    );
    console.log(`A/A of ${name}'s calls: ${pair.map((each) => each.toFixed(3)).join(', ')}`);
  }
  const overPeer = (name: string): string =>
    geomean(
      results.map((each) => wayOf(each, name).encodeMs / wayOf(each, 'capsule').encodeMs),
    ).toFixed(1);
  if (results.length > 0)
    console.log(
      `encoding takes ${overPeer('full dump')} × as long by full dump, ${overPeer('full dump+gzip')} × with gzip, ${overPeer('v8.serialize')} × by v8.serialize, ${overPeer('structured clone')} × by structured clone`,
    );
  if (bars.length > 0) console.log(`\n${barTable(bars)}`);
  return bars.every(({ met }) => met) ? 0 : 1;
}
