/**
 * benchmarks/precopy: a shard with a large memory that it keeps writing moves over a link of limited speed.
 *
 *   node benchmarks/run.mjs precopy [--rounds 15] [--mib 256] [--rate 20] [--link 1000]      MiB, MB/s, Mbit/s
 *
 * Measured, of each move between two node processes (there and back in turn):
 *   down    the guest stands still → it runs in the other process
 *   bar     one full scan + (last round + capsule) ÷ link + 5 ms; the scan is timed in this process, on a memory of this size in
 *           which as many lines have changed as the last round sent. Beside it the same with a scan that finds nothing
 *   speed   fuel per second from the request until the guest stops, over that of the seconds before: there the median of short
 *           windows, so that a checkpoint (none is made during a copy) does not count
 *   copy    from the request until the guest stops, and the rounds
 * Compared with what a stop without a copy would have to send: the whole memory ÷ link. The link: what a node reads of blobs passes
 * at that speed, one after the other (node.ts). Not measured: a real network, its latency, other machines.
 *
 * G1  The shard's speed before is measured in two halves of each round: their ratio is the A/A pair; when its median is off by more
 *     than AA_LIMIT the figures of speed are void: it says so and exits with 1.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSpec, submitJob, Uploader } from '../../host/cli/job.js';
import { parseRunSettings } from '../../host/cli/run-options.js';
import { ControlClient } from '../../host/control/client.js';
import { ControlServer } from '../../host/control/server.js';
import { scan } from '../../host/core/scan.js';
import { openEmbeddedFabric, startEmbeddedHub } from '../../host/fabric/embedded.js';
import { nodePlatform } from '../../host/node/platform.js';
import { type BarLine, barTable } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { bootstrap, type Estimate, median, quantile } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { loadGuest, sleep } from '../moves/cluster.js';

const AA_LIMIT = 0.02;
const HANDOVER_MS = 5;
const LINE_BYTES = 64;
/** So long after a move a shard's code is not yet what it will be, and its first checkpoint is made. */
const SETTLE_MS = 6_000;
/** The shard's speed before a move is measured over so long, twice. */
const STEADY_MS = 2_500;
const TICK_MS = 50;
const PATIENCE_MS = 120_000;
const NODE = fileURLToPath(new URL('./node.js', import.meta.url));

interface Round {
  readonly downMs: number;
  readonly scanMs: number;
  /** A scan that finds nothing. */
  readonly idleScanMs: number;
  /** What was left for the stop: the last round and the capsule. */
  readonly lastBytes: number;
  readonly barMs: number;
  readonly copyMs: number;
  readonly rounds: number;
  /** Speed during the copy over the speed before. */
  readonly speed: number;
  readonly again: number;
}

interface Setting {
  readonly bytes: number;
  readonly idleScanMs: number;
  readonly bytesPerMs: number;
}

interface Node {
  readonly id: string;
  readonly process: ChildProcess;
}

class Cluster {
  readonly log: string[] = [];
  private constructor(
    readonly client: ControlClient,
    readonly nodes: readonly Node[],
    private readonly closing: () => Promise<void>,
  ) {}

  static async start(bytesPerMs: number): Promise<Cluster> {
    const directory = mkdtempSync(join(tmpdir(), 'sherd-precopy-'));
    const fabric = await openEmbeddedFabric(directory, { create: true, name: 'control' });
    const hub = await startEmbeddedHub(directory);
    const control = await ControlServer.start({ fabric, platform: nodePlatform, directory });
    const log: string[] = [];
    const nodes = await Promise.all(
      ['n1', 'n2'].map((n) => startNode(directory, n, bytesPerMs, log)),
    );
    const client = new ControlClient(async () => control.info);
    const cluster = new Cluster(client, nodes, async () => {
      for (const node of nodes) node.process.kill('SIGKILL');
      await control.close();
      await hub.close();
      await fabric.close();
      rmSync(directory, { recursive: true, force: true });
    });
    return Object.assign(cluster, { log });
  }

  close(): Promise<void> {
    return this.closing();
  }
}

function startNode(
  directory: string,
  name: string,
  bytesPerMs: number,
  log: string[],
): Promise<Node> {
  return new Promise((resolve, reject) => {
    const child = fork(NODE, [directory, name, String(bytesPerMs)]);
    child.once('exit', (code) => reject(new Error(`node ${name} ended with ${code}`)));
    child.on('message', (message: { kind: string; id: string; what: string; detail: string }) => {
      if (message.kind === 'ready') resolve({ id: message.id, process: child });
      else if (message.what === 'staging') log.push(message.detail);
      if (process.env['SHERD_LOG'] !== undefined && message.kind === 'log')
        console.error(name, message.what, message.detail);
    });
  });
}

interface FuelAt {
  readonly fuel: number;
  readonly ms: number;
}

/** Fuel as the newest progress tells it, and when that was so. */
async function fuelOf(client: ControlClient, id: string): Promise<FuelAt> {
  const view = await client.shard(id);
  const ms = performance.now() - (view.progress?.ageMs ?? 0);
  return { fuel: Number(view.progress?.fuelUsed ?? view.fuelUsed), ms };
}

/** Fuel per ms: the median of the windows between two news of its progress, over about so long. */
async function speedOver(client: ControlClient, id: string, ms: number): Promise<number> {
  const rates: number[] = [];
  let last = await fuelOf(client, id);
  for (const until = performance.now() + ms; performance.now() < until; ) {
    await sleep(TICK_MS);
    const now = await fuelOf(client, id);
    if (now.fuel === last.fuel) continue;
    rates.push((now.fuel - last.fuel) / (now.ms - last.ms));
    last = now;
  }
  return median(rates);
}

async function oneMove(
  cluster: Cluster,
  id: string,
  { idleScanMs, bytes, bytesPerMs }: Setting,
): Promise<Round> {
  const { client, nodes } = cluster;
  await sleep(SETTLE_MS);
  const before = await speedOver(client, id, STEADY_MS);
  const again = await speedOver(client, id, STEADY_MS);
  const { owner } = await client.shard(id);
  const target = nodes.find((node) => node.id !== owner) as Node;
  const moves = (await client.moves(id)).length;
  const logged = cluster.log.length;
  const asked = await fuelOf(client, id);
  const askedNs = process.hrtime.bigint();
  await client.move(id, { target: target.id });
  let newest = asked;
  for (const until = performance.now() + PATIENCE_MS; ; ) {
    await sleep(TICK_MS);
    const view = await client.shard(id);
    const { progress } = view;
    if (view.owner === owner && progress !== null)
      newest = { fuel: Number(progress.fuelUsed), ms: performance.now() - progress.ageMs };
    const all = await client.moves(id);
    const move = all.length > moves ? all.at(-1) : undefined;
    if (move !== undefined && move.downMs !== null) {
      const staged = cluster.log.slice(logged).join('; ');
      const [, made, last] = /staged in (\d+) rounds, the last one (\d+) bytes/.exec(staged) ?? [];
      const rounds = Number(made ?? 0);
      const lastBytes = Number(last ?? 0) + move.capsuleBytes;
      if (rounds === 0) console.error(`not staged: ${staged}`);
      const scanMs = scanTime(bytes, lastBytes / LINE_BYTES, 3);
      return {
        downMs: move.downMs,
        scanMs,
        idleScanMs,
        lastBytes,
        barMs: scanMs + lastBytes / bytesPerMs + HANDOVER_MS,
        copyMs: Number(BigInt(move.stoppedNs) - askedNs) / 1e6,
        rounds,
        speed: (newest.fuel - asked.fuel) / (newest.ms - asked.ms) / ((before + again) / 2),
        again: again / before,
      };
    }
    if (performance.now() > until) throw new Error(`no move within ${PATIENCE_MS} ms`);
  }
}

/** One scan of a memory of this size against one of which so many lines differ, ms. */
function scanTime(bytes: number, lines: number, times: number): number {
  const memory = new Uint8Array(bytes).fill(1);
  const base = { capsule: '', below: [], pages: bytes / 65_536, bytes: memory.slice() };
  // A stride without a common divisor with the number of lines: spread evenly, no line twice.
  const all = bytes / LINE_BYTES;
  for (let i = 0; i < lines; i++) memory[((i * 1_000_003) % all) * LINE_BYTES] = 2;
  const took = Array.from({ length: times }, () => {
    const began = performance.now();
    scan({ memory, base }, nodePlatform);
    return performance.now() - began;
  });
  return median(took);
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', mib: '256', rate: '20', link: '1000' });
  const [rounds, mib, rate, link] = [options.rounds, options.mib, options.rate, options.link].map(
    Number,
  ) as [number, number, number, number];
  const bytesPerMs = (link * 1e6) / 8 / 1_000;
  const host = machine();
  console.log(
    `precopy · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${mib} MiB, ${rate} MB/s written, link ${link} Mbit/s, ${rounds} rounds\n`,
  );
  const program = await loadGuest(root, 'benchmarks/precopy/guests/dirty.ts');
  const bytes = mib * 2 ** 20;
  const setting = { bytes, bytesPerMs, idleScanMs: scanTime(bytes, 0, 7) };
  const cluster = await Cluster.start(bytesPerMs);
  const results: Round[] = [];
  try {
    const { client } = cluster;
    const settings = parseRunSettings({ stdin: '/dev/null', quiet: true });
    const uploader = new Uploader(client);
    const given = [String(mib), String(rate)];
    const spec = await buildSpec(program, program.name, given, settings, uploader, () => undefined);
    const id = await submitJob(client, uploader, program, spec, settings);
    while ((await client.shard(id)).progress === null) await sleep(TICK_MS);
    await sleep(5_000);
    for (let round = 0; round < rounds; round++) {
      results.push(await oneMove(cluster, id, setting));
      const { downMs, barMs, speed, copyMs, rounds: made } = results.at(-1) as Round;
      console.log(
        `  ${round + 1}: down ${downMs.toFixed(1)} ms (bar ${barMs.toFixed(1)}), speed ${speed.toFixed(3)}, copied in ${made} rounds, ${copyMs.toFixed(0)} ms`,
      );
    }
  } finally {
    await cluster.close();
  }
  return conclude(root, host, results, setting);
}

function conclude(
  root: string,
  host: ReturnType<typeof machine>,
  results: readonly Round[],
  { bytes, bytesPerMs }: Setting,
): number {
  const wholeMs = bytes / bytesPerMs;
  const of = (pick: (round: Round) => number): Estimate =>
    bootstrap(results.length, (picked) => median(picked.map((i) => pick(results[i] as Round))));
  const down = of(({ downMs }) => downMs);
  const ratio = of(({ downMs, barMs }) => downMs / barMs);
  const idle = of(
    ({ downMs, barMs, scanMs, idleScanMs }) => downMs / (barMs - scanMs + idleScanMs),
  );
  const speed = of((round) => round.speed);
  const again = of((round) => round.again);
  const rows = [
    ['down time, ms', estimateText(down)],
    ['÷ (scan + last round ÷ link + 5 ms)', estimateText(ratio)],
    ['the same with a scan that finds nothing', estimateText(idle)],
    ['÷ whole memory ÷ link', estimateText(of(({ downMs }) => downMs / wholeMs))],
    ['one scan, ms', estimateText(of((round) => round.scanMs))],
    ['one that finds nothing, ms', estimateText(of((round) => round.idleScanMs))],
    ['last round and capsule, KiB', estimateText(of(({ lastBytes }) => lastBytes / 1024))],
    ['copy, ms', estimateText(of(({ copyMs }) => copyMs))],
    ['rounds', estimateText(of((round) => round.rounds))],
    ['speed meanwhile', estimateText(speed)],
    ['A/A of speed', estimateText(again)],
  ];
  console.log(`\n${renderTable(['figure', 'median [90 %]'], rows)}\n`);
  const valid = Math.abs(again.value - 1) <= AA_LIMIT;
  if (!valid) console.log(`A/A of speed: VOID, more than ${AA_LIMIT * 100} % apart`);
  const met = { down: ratio.value <= 1, speed: speed.value >= 0.9 };
  const p99 = quantile(
    results.map(({ downMs }) => downMs),
    0.99,
  );
  const barMs = median(results.map((round) => round.barMs));
  const bars: BarLine[] = [
    {
      what: 'down time of a pre-copied shard',
      figure: `p50 ${down.value.toFixed(0)}, p99 ${p99.toFixed(0)} ms; ${estimateText(ratio)} of the bar`,
      bar: `≤ scan + last round ÷ link + ${HANDOVER_MS} ms: ${barMs.toFixed(0)} ms`,
      met: met.down,
      peer: { name: 'the whole memory ÷ link', ratio: down.value / wholeMs },
      limit: {
        name: 'last round ÷ link',
        ratio: of(({ downMs, lastBytes }) => downMs / (lastBytes / bytesPerMs)).value,
      },
    },
    {
      what: 'its speed meanwhile',
      figure: estimateText(speed),
      bar: '≥ 0.9',
      met: met.speed,
      peer: undefined,
      limit: { name: 'alone', ratio: speed.value },
    },
  ];
  console.log(barTable(bars));
  const series = [
    { name: 'down time', colour: '#2a7f62' },
    { name: 'bar', colour: '#7d8fa8' },
  ];
  const svg = renderChart({
    title: 'Pre-copy: down time of each move, and scan + last round ÷ link + 5 ms',
    subtitle: `Node ${host.node}, ${host.cpu}, ${host.cores} cores`,
    unit: 'ms',
    reference: median(results.map(({ barMs }) => barMs)),
    series,
    groups: results.map(({ downMs, barMs }, i) => ({
      name: String(i + 1),
      bars: [downMs, barMs].map((value) => ({ value, low: value, high: value })),
    })),
  });
  const json = `${JSON.stringify({ machine: host, wholeMs, bars, results }, null, 1)}\n`;
  console.log(
    `wrote ${[writeResult(root, 'precopy.json', json), writeResult(root, 'precopy.svg', svg)].join(', ')}`,
  );
  return valid && met.down && met.speed ? 0 : 1;
}
