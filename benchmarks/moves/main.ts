/**
 * benchmarks/moves: how long a pause takes, and how long a shard stands still when it moves between two node processes.
 *
 *   node benchmarks/run.mjs moves [--rounds 15] [--moves 10] [--pauses 6] [--variants all|1 MiB,…]
 *
 * Measured, in one run, interleaved round by round, on a private cluster of two node processes that stays up: shards
 * of several sizes of live state, moved to and fro; 1 MiB also while all cores are at work on shards, and with one shard
 * more than cores. Of every move:
 *   freeze  the client's request → the guest stands still (HTTP, record, hint, quantum: everything)
 *   down    the guest stands still → it runs in the other process
 *   and its parts as source and target report them. Then pauses without a move: the client's request → the guest stands
 *   still, and the part of it from the node on. Also an idle ping: a request that control answers by itself.
 * The A/A pair is 1 MiB twice. Not measured: other machines, the network.
 *
 * G1  The A/A pair's ratio of medians must be within 1 ± AA_LIMIT for `down`, else the run is void: it says so and
 *     exits with 1.
 * G2  No move is left out; each variant's first move of each round is in the tails like any other.
 */
import { availableParallelism } from 'node:os';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { bootstrap, type Estimate, median, quantile, ratioOf } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import {
  BenchCluster,
  loadGuest,
  type ObservedMove,
  type ObservedPause,
  sleep,
} from './cluster.js';

const AA_LIMIT = 0.02;
const DOWN_BAR_MS = 20;
const PAUSE_BAR_MS = 5;
const PINGS = 20;
const SETTLE_MS = 250;
const REST_MS = 30;
/** A shard that is paused has run for so long: what its resume left to compile is done. */
const STEADY_MS = 400;

interface Variant {
  readonly name: string;
  readonly kib: number;
  /** Shards that run meanwhile. */
  readonly others: number;
}

const BASE = '1 MiB';
const AGAIN = '1 MiB A/A';
/** Every core is at work: the shard is one of as many as there are cores. */
const BUSY = '1 MiB busy';
/** One shard more than there are cores: it may have to wait for a core to be able to stop. */
const OVERCOMMITTED = '1 MiB overcommitted';
const CORES = availableParallelism();

const VARIANTS: readonly Variant[] = [
  { name: BASE, kib: 1024, others: 0 },
  { name: '64 KiB', kib: 64, others: 0 },
  { name: AGAIN, kib: 1024, others: 0 },
  { name: '4 MiB', kib: 4096, others: 0 },
  { name: BUSY, kib: 1024, others: CORES - 1 },
  { name: OVERCOMMITTED, kib: 1024, others: CORES },
];

interface Result {
  readonly variant: Variant;
  /** By round. */
  readonly rounds: ObservedMove[][];
  readonly pauses: ObservedPause[][];
}

type Figure = (move: ObservedMove) => number;
const freezeOf: Figure = (move) => move.pauseMs;
const downOf: Figure = (move) => move.downMs ?? Number.NaN;

async function runVariant(
  cluster: BenchCluster,
  program: Awaited<ReturnType<typeof loadGuest>>,
  variant: Variant,
  moves: number,
  pauses: number,
): Promise<{ moves: ObservedMove[]; pauses: ObservedPause[] }> {
  const others: string[] = [];
  for (let i = 0; i < variant.others; i++) others.push(await cluster.submit(program, ['64']));
  const id = await cluster.submit(program, [String(variant.kib)]);
  await sleep(SETTLE_MS);
  const observed: ObservedMove[] = [];
  for (let i = 0; i < moves; i++) {
    const { owner } = await cluster.client.shard(id);
    const target = cluster.nodes.find((node) => node !== owner) as string;
    observed.push(await cluster.move(id, target));
    await sleep(REST_MS);
  }
  const paused: ObservedPause[] = [];
  for (let i = 0; i < pauses; i++) {
    await sleep(STEADY_MS);
    paused.push(await cluster.pause(id));
  }
  for (const each of [id, ...others]) await cluster.kill(each);
  return { moves: observed, pauses: paused };
}

async function pings(cluster: BenchCluster): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const started = process.hrtime.bigint();
    await cluster.client.status();
    times.push(Number(process.hrtime.bigint() - started) / 1e6);
    await sleep(5);
  }
  return times;
}

const all = (result: Result, figure: Figure): number[] => result.rounds.flat().map(figure);

/** Median over all moves with a 90 % bound over whole rounds. */
function medianOf(result: Result, figure: Figure): Estimate {
  const { rounds } = result;
  return bootstrap(rounds.length, (picked) =>
    median(picked.flatMap((round) => (rounds[round] as ObservedMove[]).map(figure))),
  );
}

/** Ratio of the rounds' medians. */
function ratio(result: Result, base: Result, figure: Figure): Estimate {
  const byRound = (each: Result): number[] => each.rounds.map((moves) => median(moves.map(figure)));
  return ratioOf(byRound(result), byRound(base));
}

const ms = (value: number): string => value.toFixed(value < 10 ? 2 : 1);
const us =
  (pick: (move: ObservedMove) => number | null): Figure =>
  (move) =>
    (pick(move) ?? Number.NaN) / 1000;

function table(results: readonly Result[]): string {
  const header = [
    'state',
    'moves',
    'capsule KiB',
    'freeze p50 [90 %]',
    'p99',
    'down p50 [90 %]',
    'p99',
  ];
  header.push('encode', 'store', 'hand over', 'restore', 'rest');
  const rows = results.map((result) => {
    const part = (figure: Figure): string => ms(median(all(result, figure)));
    const encode = us((move) => move.encodeUs);
    const store = us((move) => move.storeUs);
    const handover = us((move) => move.handoverUs);
    const restore = us((move) => move.restoreUs);
    const rest: Figure = (move) =>
      downOf(move) - [encode, store, handover, restore].reduce((sum, each) => sum + each(move), 0);
    return [
      result.variant.name,
      result.rounds.flat().length,
      (median(all(result, (move) => move.capsuleBytes)) / 1024).toFixed(1),
      estimateText(medianOf(result, freezeOf)),
      ms(quantile(all(result, freezeOf), 0.99)),
      estimateText(medianOf(result, downOf)),
      ms(quantile(all(result, downOf), 0.99)),
      ...[encode, store, handover, restore, rest].map(part),
    ];
  });
  return renderTable(header, rows);
}

function pauseTable(results: readonly Result[]): string {
  const header = ['state', 'pauses', 'request → stopped p50', 'p90', 'p99', 'max'];
  header.push('node → stopped p50', 'p90', 'p99', 'max');
  const rows = results.map(({ variant, pauses }) => {
    const all = pauses.flat();
    const tails = (values: readonly number[]): string[] =>
      [0.5, 0.9, 0.99, 1].map((q) => ms(quantile(values, q)));
    return [
      variant.name,
      all.length,
      ...tails(all.map(({ pauseMs }) => pauseMs)),
      ...tails(all.map(({ pauseUs }) => (pauseUs ?? Number.NaN) / 1000)),
    ];
  });
  return renderTable(header, rows);
}

function chart(results: readonly Result[], subtitle: string): string {
  const series = [
    { name: 'freeze', colour: '#7d8fa8', figure: freezeOf },
    { name: 'down time', colour: '#2a7f62', figure: downOf },
  ];
  return renderChart({
    title: 'A move between two node processes: medians (whisker: to the 99th percentile)',
    subtitle,
    unit: 'ms',
    reference: DOWN_BAR_MS,
    series,
    groups: results.map((result) => ({
      name: result.variant.name,
      bars: series.map(({ figure }) => {
        const values = all(result, figure);
        const value = median(values);
        return { value, low: value, high: quantile(values, 0.99) };
      }),
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', moves: '10', pauses: '6', variants: 'all' });
  const rounds = Number(options.rounds);
  const names = options.variants === 'all' ? undefined : options.variants.split(',');
  const host = machine();
  console.log(
    `moves · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${rounds} rounds\n`,
  );
  const program = await loadGuest(root, 'benchmarks/moves/guests/churn.ts');
  const results: Result[] = VARIANTS.filter(({ name }) => names?.includes(name) ?? true).map(
    (variant) => ({ variant, rounds: [], pauses: [] }),
  );
  const idle: number[] = [];
  const cluster = await BenchCluster.start(2);
  try {
    for (const { variant } of results) await runVariant(cluster, program, variant, 2, 1); // warm
    for (let round = 0; round < rounds; round++) {
      idle.push(...(await pings(cluster)));
      // Every other round backwards, so that drift hits all variants alike.
      const order = round % 2 === 0 ? results : [...results].reverse();
      for (const result of order) {
        const counts = [Number(options.moves), Number(options.pauses)] as const;
        const observed = await runVariant(cluster, program, result.variant, ...counts);
        result.rounds.push(observed.moves);
        result.pauses.push(observed.pauses);
      }
    }
  } finally {
    await cluster.end();
  }
  return conclude(root, host, results, idle, rounds);
}

function conclude(
  root: string,
  host: ReturnType<typeof machine>,
  results: readonly Result[],
  idle: readonly number[],
  rounds: number,
): number {
  console.log(`${table(results)}\n(parts are medians in ms)\n`);
  console.log(`${pauseTable(results)}\n`);
  const ping = { p50Ms: median(idle), p99Ms: quantile(idle, 0.99) };
  console.log(`idle ping of control: p50 ${ms(ping.p50Ms)} ms, p99 ${ms(ping.p99Ms)} ms`);
  const subtitle = `Node ${host.node}, ${host.cpu}, ${host.cores} cores; ${rounds} interleaved rounds; line: ${DOWN_BAR_MS} ms`;
  const found = (name: string): Result | undefined =>
    results.find(({ variant }) => variant.name === name);
  const [base, again, busy] = [found(BASE), found(AGAIN), found(BUSY)];
  const noise =
    base === undefined || again === undefined
      ? undefined
      : { down: ratio(again, base, downOf), freeze: ratio(again, base, freezeOf) };
  const json = { machine: host, rounds, noise, ping, results };
  const files = [
    writeResult(root, 'moves.json', `${JSON.stringify(json, null, 1)}\n`),
    writeResult(root, 'moves.svg', chart(results, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  if (base === undefined || busy === undefined || noise === undefined) return 0;
  console.log(
    `A/A of down time ${estimateText(noise.down)}, of freezing ${estimateText(noise.freeze)}`,
  );
  const isVoid = Math.abs(noise.down.value - 1) > AA_LIMIT;
  if (isVoid) console.log(`VOID: the A/A pair differs by more than ${AA_LIMIT * 100} %`);
  const down = medianOf(base, downOf);
  const pause = quantile(
    busy.pauses.flat().map(({ pauseMs }) => pauseMs),
    0.99,
  );
  const metDown = down.value < DOWN_BAR_MS;
  const metPause = pause < PAUSE_BAR_MS;
  console.log(
    `down time of 1 MiB: median ${estimateText(down)} ms (bar ${DOWN_BAR_MS} ms: ${metDown ? 'met' : 'MISSED'})`,
  );
  console.log(
    `pause on a busy machine: p99 ${ms(pause)} ms, minus the idle ping's p99 ${ms(pause - ping.p99Ms)} ms (bar ${PAUSE_BAR_MS} ms: ${metPause ? 'met' : 'MISSED'})`,
  );
  return isVoid || !metDown || !metPause ? 1 : 0;
}
