/**
 * benchmarks/moves: how long a pause takes, and how long a shard stands still when it moves between two node processes.
 *
 *   node benchmarks/run.mjs moves [--rounds 15] [--moves 10] [--pauses 6] [--variants all|1 MiB,…]
 *
 * A verdict needs many: the median of a move's down time is known to 2 % after some 2,000 moves (their own spread is 30 %):
 *   --rounds 65 --moves 30 --pauses 0 --variants '1 MiB,1 MiB A/A'            the move bar, 10 minutes
 *   --rounds 65 --moves 0 --pauses 7 --variants '1 MiB busy,1 MiB busy A/A'   the pause bar, 12 minutes
 *
 * Measured, in one run, interleaved round by round, on a private cluster of two node processes that stays up: shards
 * of several sizes of live state, moved to and fro; 1 MiB also while all cores are at work on shards, and with one shard
 * more than cores. Of every move:
 *   freeze  the client's request → the guest stands still (HTTP, record, hint, quantum: everything)
 *   down    the guest stands still → it runs in the other process
 *   and its parts as source and target report them. Then pauses without a move: the client's request → the guest stands
 *   still, and the part of it from the node on. Also an idle ping: a request that control answers by itself.
 * Beside them, in every round: the memory of BASE sent to another process otherwise, and a page fault (peers.ts).
 * The A/A pairs are 1 MiB twice (for moves) and 1 MiB busy twice (for pauses). Not measured: other machines, the network.
 *
 * G1  An A/A pair's ratio of medians must be within 1 ± AA_LIMIT, else the verdict is void: it says so and exits with 1.
 * G2  No move is left out; each variant's first move of each round is in the tails like any other.
 */
import { availableParallelism } from 'node:os';
import { type BarLine, barTable, nearest } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { bootstrap, type Estimate, median, quantile } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import {
  BenchCluster,
  loadGuest,
  type ObservedMove,
  type ObservedPause,
  sleep,
} from './cluster.js';
import { type PeerName, Peers } from './peers.js';

const AA_LIMIT = 0.02;
const DOWN_BAR_MS = 20;
/** From the request until it runs there, p50 and p99. */
const MOVE_BARS_MS = [5, 20] as const;
const PEERS = ['structured clone', 'full dump+gzip'] satisfies PeerName[];
const PEER_CALLS = 5;
const PAUSE_BAR_MS = 5;
const PINGS = 20;
/** Moves and pauses of each variant before it counts: the code of client, control and nodes is optimised then. */
const WARM = [20, 3] as const;
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
const BUSY_AGAIN = '1 MiB busy A/A';
/** One shard more than there are cores: it may have to wait for a core to be able to stop. */
const OVERCOMMITTED = '1 MiB overcommitted';
const CORES = availableParallelism();

const VARIANTS: readonly Variant[] = [
  { name: BASE, kib: 1024, others: 0 },
  { name: '64 KiB', kib: 64, others: 0 },
  { name: AGAIN, kib: 1024, others: 0 },
  { name: '4 MiB', kib: 4096, others: 0 },
  { name: BUSY, kib: 1024, others: CORES - 1 },
  { name: BUSY_AGAIN, kib: 1024, others: CORES - 1 },
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
/** The client's request → it runs in the other process. */
const moveOf: Figure = (move) => freezeOf(move) + downOf(move);

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
const allPauses = (result: Result): number[] => result.pauses.flat().map(({ pauseMs }) => pauseMs);

/** A statistic of all values with a 90 % bound over whole rounds. */
function boundOf(
  rounds: readonly (readonly number[])[],
  statistic: (all: readonly number[]) => number,
): Estimate {
  return bootstrap(rounds.length, (picked) =>
    statistic(picked.flatMap((round) => rounds[round] as readonly number[])),
  );
}

/** Median over all moves. */
function medianOf(result: Result, figure: Figure): Estimate {
  return boundOf(
    result.rounds.map((round) => round.map(figure)),
    median,
  );
}

/** Ratio of the medians over all values, bound over whole rounds. */
function ratio(
  result: readonly (readonly number[])[],
  base: readonly (readonly number[])[],
): Estimate {
  const of = (rounds: readonly (readonly number[])[], picked: readonly number[]): number =>
    median(picked.flatMap((round) => rounds[round] as readonly number[]));
  return bootstrap(base.length, (picked) => of(result, picked) / of(base, picked));
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
  const peers = Peers.start((VARIANTS[0] as Variant).kib * 1024);
  const cluster = await BenchCluster.start(2);
  try {
    for (const { variant } of results) await runVariant(cluster, program, variant, ...WARM);
    for (let round = 0; round < rounds; round++) {
      idle.push(...(await pings(cluster)));
      await peers.round(PEER_CALLS);
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
    peers.close();
  }
  return conclude(root, host, results, { idle, peers }, rounds);
}

function conclude(
  root: string,
  host: ReturnType<typeof machine>,
  results: readonly Result[],
  { idle, peers }: { readonly idle: readonly number[]; readonly peers: Peers },
  rounds: number,
): number {
  const moved = results.filter(({ rounds }) => rounds.flat().length > 0);
  const paused = results.filter((result) => allPauses(result).length > 0);
  if (moved.length > 0) console.log(`${table(moved)}\n(parts are medians in ms)\n`);
  if (paused.length > 0) console.log(`${pauseTable(paused)}\n`);
  const ping = { p50Ms: median(idle), p99Ms: quantile(idle, 0.99) };
  console.log(`idle ping of control: p50 ${ms(ping.p50Ms)} ms, p99 ${ms(ping.p99Ms)} ms`);
  const subtitle = `Node ${host.node}, ${host.cpu}, ${host.cores} cores; ${rounds} interleaved rounds; line: ${DOWN_BAR_MS} ms`;
  const found = (name: string): Result | undefined =>
    results.find(({ variant }) => variant.name === name);
  const faultUs = peers.faultUs(median);
  const [cold, warm] = (['cold memcpy', 'memcpy'] as const).map((name) =>
    median(peers.times[name]),
  );
  console.log(
    `copying ${peers.bytes / 1024} KiB: ${cold?.toFixed(2)} ms into fresh memory, ${warm?.toFixed(2)} into memory that was used before: a page fault costs ${faultUs.toFixed(1)} µs`,
  );
  const bars = moveLines(found(BASE), found(AGAIN), peers);
  const json = { machine: host, rounds, ping, faultUs, peers: peers.times, bars, results };
  const files = [
    writeResult(root, 'moves.json', `${JSON.stringify(json, null, 1)}\n`),
    ...(moved.length > 0 ? [writeResult(root, 'moves.svg', chart(moved, subtitle))] : []),
  ];
  console.log(`wrote ${files.join(', ')}`);
  const verdicts = [
    judgeMoves(found(BASE), found(AGAIN)),
    judgePauses(found(BUSY), found(BUSY_AGAIN), ping.p99Ms),
    ...bars.map(({ met }) => met),
  ];
  if (bars.length > 0) console.log(barTable(bars));
  return verdicts.every((met) => met) ? 0 : 1;
}

/** A/A void: judgeMoves says so. Both of the pair count: they are the same. */
function moveLines(base: Result | undefined, again: Result | undefined, peers: Peers): BarLine[] {
  if (base === undefined || base.rounds.flat().length === 0) return [];
  const both = [base, again].flatMap((result) => result ?? []);
  const [p50, p99] = [0.5, 0.99].map((q) =>
    quantile(
      both.flatMap((result) => all(result, moveOf)),
      q,
    ),
  ) as [number, number];
  const others = PEERS.map(
    (name) => [`${name} to another process`, median(peers.times[name])] as const,
  );
  return [
    {
      what: `move of ${BASE}, request → running there`,
      figure: `p50 ${ms(p50)}, p99 ${ms(p99)} ms`,
      bar: `p50 < ${MOVE_BARS_MS[0]}, p99 < ${MOVE_BARS_MS[1]} ms`,
      met: p50 < MOVE_BARS_MS[0] && p99 < MOVE_BARS_MS[1],
      peer: nearest(p50, new Map(others)),
      limit: { name: 'memcpy', ratio: p50 / median(peers.times.memcpy) },
    },
  ];
}

/** True: met, or not asked for. */
function judgeMoves(base: Result | undefined, again: Result | undefined): boolean {
  if (base === undefined || again === undefined || base.rounds.flat().length === 0) return true;
  const down = (result: Result): number[][] => result.rounds.map((round) => round.map(downOf));
  const valid = isValid('down time', ratio(down(again), down(base)));
  const value = medianOf(base, downOf);
  const met = value.value < DOWN_BAR_MS;
  console.log(
    `down time of 1 MiB: median ${estimateText(value)} ms (bar ${DOWN_BAR_MS} ms: ${met ? 'met' : 'MISSED'})`,
  );
  return valid && met;
}

function judgePauses(busy: Result | undefined, again: Result | undefined, pingMs: number): boolean {
  if (busy === undefined || allPauses(busy).length === 0) return true;
  const paused = (result: Result): number[][] =>
    result.pauses.map((round) => round.map(({ pauseMs }) => pauseMs));
  const valid = again === undefined || isValid('pauses', ratio(paused(again), paused(busy)));
  const p99 = boundOf(paused(busy), (values) => quantile(values, 0.99));
  const met = p99.value < PAUSE_BAR_MS;
  console.log(
    `pause on a busy machine: p99 ${estimateText(p99)} ms, minus the idle ping's p99 ${ms(p99.value - pingMs)} ms (bar ${PAUSE_BAR_MS} ms: ${met ? 'met' : 'MISSED'})`,
  );
  return valid && met;
}

/** G1. */
function isValid(what: string, pair: Estimate): boolean {
  const valid = Math.abs(pair.value - 1) <= AA_LIMIT;
  const verdict = valid ? '' : `: VOID, more than ${AA_LIMIT * 100} % apart`;
  console.log(`A/A of ${what} ${estimateText(pair)}${verdict}`);
  return valid;
}
