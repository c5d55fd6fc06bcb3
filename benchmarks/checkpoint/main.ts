/**
 * benchmarks/checkpoint: how long a running shard with a large memory stands still for a checkpoint.
 *
 *   node benchmarks/run.mjs checkpoint [--rounds 15] [--mib 256] [--rate 20] [--every 2000]      MiB, MB/s written, ms
 *
 * Measured, in one worker thread with an embedded store (not synced, as by default): from standing still until the main thread
 * knows that the guest goes on, its bytes stored, and the time until all of it is stored.
 *   everything   one capsule of all of the memory: what there is when there is no copy
 *   kept copy    what was written in the `--every` ms since the last checkpoint, found in a copy of the memory; the rest in a capsule
 *   again        the same once more: the A/A pair
 * Checkpoints for which the copy was worn and made anew are not counted; how many there were is shown.
 * In each round the three come in another order; before one of a kept copy another one, not counted, makes all of them even.
 * Not measured: what copying takes from the guest between checkpoints (the first copy only: benchmarks/precopy has its share),
 * the record's compare-and-set.
 *
 * K1  The A/A pair's ratio of medians must be 1 within AA_LIMIT, else the run is void: it says so and exits with 1.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openEmbeddedFabric, startEmbeddedHub } from '../../host/fabric/embedded.js';
import { renderChart } from '../lib/chart.js';
import { compileGuest } from '../lib/guest.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { bootstrap, type Estimate, median, quantile } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { type Checkpoint, CheckpointGuest } from './guest.js';

const AA_LIMIT = 0.02;
/** For the guest to fill its memory, and for its code to become what it will be. */
const SETTLE_MS = 6_000;
const KINDS = ['everything', 'kept copy', 'again'] as const;

type Kind = (typeof KINDS)[number];
type Results = Readonly<Record<Kind, Checkpoint[]>>;

async function measure(guest: CheckpointGuest, rounds: number, everyMs: number): Promise<Results> {
  const results: Results = { everything: [], 'kept copy': [], again: [] };
  await guest.ofCopy();
  for (let round = 0; round < rounds; round++) {
    const turn = round % KINDS.length;
    for (const kind of [...KINDS.slice(turn), ...KINDS.slice(0, turn)]) {
      await guest.ofCopy();
      await sleep(everyMs);
      results[kind].push(await (kind === 'everything' ? guest.everything() : guest.ofCopy()));
    }
    const line = KINDS.map((kind) => `${kind} ${results[kind].at(-1)!.stoodMs.toFixed(1)}`);
    console.log(`  ${round + 1}: stood still ${line.join(', ')} ms`);
  }
  return results;
}

/** Those that went on with a kept copy (a worn one is made anew: its bytes and time are another thing). */
const evenOf = (all: readonly Checkpoint[]): readonly Checkpoint[] =>
  all.filter(({ anew }) => !anew);

function estimate(results: Results, kind: Kind, pick: (one: Checkpoint) => number): Estimate {
  const all = evenOf(results[kind]);
  return bootstrap(all.length, (picked) => median(picked.map((i) => pick(all[i]!))));
}

function ratio(results: Results, kind: Kind, to: Kind): Estimate {
  const [left, right] = [evenOf(results[kind]), evenOf(results[to])];
  const of = (which: readonly Checkpoint[], picked: readonly number[]): number =>
    median(picked.map((i) => which[i]!.stoodMs));
  return bootstrap(Math.min(left.length, right.length), (picked) => {
    return of(left, picked) / of(right, picked);
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', mib: '256', rate: '20', every: '2000' });
  const { rounds, mib, rate, every } = options;
  const host = machine();
  console.log(
    `checkpoint · Node ${host.node}, V8 ${host.v8} · ${host.cpu}, ${host.cores} cores · ${mib} MiB, ${rate} MB/s written, a checkpoint every ${every} ms, ${rounds} rounds\n`,
  );
  const module = await compileGuest(root, 'benchmarks/precopy/guests/dirty.ts');
  const directory = mkdtempSync(join(tmpdir(), 'sherd-checkpoint-'));
  const fabric = await openEmbeddedFabric(directory, { create: true, name: 'bench' });
  const hub = await startEmbeddedHub(directory);
  const guest = new CheckpointGuest(module, fabric.blobs);
  let results: Results;
  try {
    await guest.start(['dirty', mib, rate]);
    await sleep(SETTLE_MS);
    results = await measure(guest, Number(rounds), Number(every));
  } finally {
    await guest.close();
    await hub.close();
    await fabric.close();
    rmSync(directory, { recursive: true, force: true });
  }
  const rows = KINDS.map((kind) => {
    const even = evenOf(results[kind]);
    const stood = even.map(({ stoodMs }) => stoodMs);
    return [
      kind,
      `${even.length} of ${results[kind].length}`,
      estimateText(estimate(results, kind, ({ stoodMs }) => stoodMs)),
      quantile(stood, 0.9).toFixed(1),
      Math.max(...stood).toFixed(1),
      estimateText(estimate(results, kind, ({ storedBytes }) => storedBytes / 2 ** 20)),
      estimateText(estimate(results, kind, ({ tookMs }) => tookMs)),
    ];
  });
  const header = [
    'checkpoint of',
    'counted',
    'stood still, ms [90 %]',
    'p90',
    'longest',
    'stored, MiB',
  ];
  console.log(`\n${renderTable([...header, 'all of it, ms'], rows)}\n`);
  const shorter = ratio(results, 'kept copy', 'everything');
  const again = ratio(results, 'again', 'kept copy');
  const valid = Math.abs(again.value - 1) <= AA_LIMIT;
  console.log(`kept copy ÷ everything: ${estimateText(shorter)}`);
  console.log(`A/A: ${estimateText(again)}${valid ? '' : `: VOID, more than ${AA_LIMIT} off`}`);
  const svg = renderChart({
    title: 'A checkpoint: how long the shard stands still (median, 90 % bound)',
    subtitle: `${mib} MiB, ${rate} MB/s written; Node ${host.node}, ${host.cpu}, ${host.cores} cores`,
    unit: 'ms',
    reference: 0,
    series: [{ name: 'stands still', colour: '#2a7f62' }],
    groups: KINDS.map((name) => ({
      name,
      bars: [estimate(results, name, ({ stoodMs }) => stoodMs)],
    })),
  });
  const json = `${JSON.stringify({ machine: host, options, results }, null, 1)}\n`;
  const files = [
    writeResult(root, 'checkpoint.json', json),
    writeResult(root, 'checkpoint.svg', svg),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return valid ? 0 : 1;
}
