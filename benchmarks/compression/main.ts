/**
 * benchmarks/compression: does it pay to compress what travels between nodes, and at what link speed?
 *
 *   node benchmarks/run.mjs compression [--rounds 15] [--programs raytracer,gc,sat,perft,nbody]
 *
 * Measured, on capsules and staged batches of real programs (material.ts), with every compressor there is (codecs.ts): bytes, and
 * wall-clock time of packing and unpacking on one thread, interleaved, medians of rounds; and what a loopback socket carries.
 * From these, for each link: the time that the packed bytes take over that of the plain ones,
 *   one by one   pack, then send, then unpack: a capsule, for which the shard stands still
 *   side by side the slowest of the three: batches of a shard that runs on. Packing and unpacking then have a core each, which on a
 *                busy machine is the guests'
 * Below 1 it pays. Not measured: real networks (their latency does not depend on the bytes).
 *
 * G1  What is unpacked is compared with what was packed.
 * G2  The A/A pair (the first compressor again) must be within 1 ± AA_LIMIT, else the run is void.
 */
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, writeResult } from '../lib/options.js';
import { type Estimate, geomeanRatio, median, randomFrom } from '../lib/statistics.js';
import { estimateText, ratioText, renderTable } from '../lib/table.js';
import { SUBJECTS } from '../migration/moves.js';
import { type Codec, codecs } from './codecs.js';
import { type Item, itemsOf } from './material.js';

const AA_LIMIT = 0.02;
const LOOPBACK_BYTES = 64 * 1024 * 1024;
/** Small items are repeated until they have so many bytes. */
const LEAST_BYTES = 1024 * 1024;
const MBIT_BYTES_PER_MS = 125;

interface Link {
  readonly name: string;
  readonly bytesPerMs: number;
}

interface Measured {
  readonly codec: string;
  readonly bytes: number;
  readonly packMs: readonly number[];
  readonly unpackMs: readonly number[];
}

interface Result {
  readonly item: string;
  readonly plainBytes: number;
  readonly measured: readonly Measured[];
}

async function loopback(): Promise<number> {
  const rates: number[] = [];
  const server = createServer((socket) => {
    let left = LOOPBACK_BYTES;
    socket.on('data', (part) => {
      left -= part.length;
      if (left === 0) socket.end('x');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const content = Buffer.alloc(LOOPBACK_BYTES, 1);
  for (let i = 0; i < 5; i++) {
    const socket = createConnection((server.address() as AddressInfo).port, '127.0.0.1');
    await once(socket, 'connect');
    const began = performance.now();
    socket.write(content);
    await once(socket, 'data');
    rates.push(LOOPBACK_BYTES / (performance.now() - began));
    socket.destroy();
  }
  server.close();
  return median(rates);
}

function timeOf(act: () => void): number {
  const started = process.hrtime.bigint();
  act();
  return Number(process.hrtime.bigint() - started) / 1e6;
}

function measure(item: Item, all: readonly Codec[], rounds: number): Result {
  const plainBytes = item.pieces.reduce((sum, piece) => sum + piece.length, 0);
  const repeats = Math.max(1, Math.round(LEAST_BYTES / plainBytes));
  const first = all[0] as Codec;
  const rows = [...all, { ...first, name: `${first.name} A/A` }].map((codec) => {
    const packed = item.pieces.map((piece) => codec.pack(piece));
    for (const [i, piece] of item.pieces.entries())
      if (Buffer.compare(codec.unpack(packed[i] as Uint8Array, piece.length), piece) !== 0)
        throw new Error(`${codec.name} loses something of ${item.name}`);
    const bytes = packed.reduce((sum, each) => sum + each.length, 0);
    return { codec, packed, bytes, packMs: [] as number[], unpackMs: [] as number[] };
  });
  const random = randomFrom(2);
  for (let round = 0; round < rounds; round++) {
    const order = rows.map((row) => ({ row, at: random() })).sort((a, b) => a.at - b.at);
    for (const { row } of order) {
      const { codec, packed } = row;
      const packMs = timeOf(() => {
        for (let i = 0; i < repeats; i++) for (const piece of item.pieces) codec.pack(piece);
      });
      const unpackMs = timeOf(() => {
        for (let i = 0; i < repeats; i++)
          for (const [at, piece] of item.pieces.entries())
            codec.unpack(packed[at] as Uint8Array, piece.length);
      });
      row.packMs.push(packMs / repeats);
      row.unpackMs.push(unpackMs / repeats);
    }
  }
  const measured = rows.map(({ codec, bytes, packMs, unpackMs }) => {
    return { codec: codec.name, bytes, packMs, unpackMs };
  });
  return { item: item.name, plainBytes, measured };
}

/** Time over that of the plain bytes. */
function payOff({ plainBytes }: Result, measured: Measured, { bytesPerMs }: Link) {
  const [packMs, unpackMs] = [median(measured.packMs), median(measured.unpackMs)];
  const plainMs = plainBytes / bytesPerMs;
  const sentMs = measured.bytes / bytesPerMs;
  return {
    oneByOne: (packMs + sentMs + unpackMs) / plainMs,
    sideBySide: Math.max(packMs, sentMs, unpackMs) / plainMs,
  };
}

const mbPerS = (bytes: number, times: readonly number[]): string =>
  (bytes / median(times) / 1_000).toFixed(0);

function table(results: readonly Result[], links: readonly Link[]): string {
  const header = ['what travels', 'KiB', 'by', 'packed ÷ plain', 'pack MB/s', 'unpack MB/s'];
  header.push(...links.map(({ name }) => name));
  const rows = results.flatMap((result) =>
    result.measured
      .filter(({ codec }) => !codec.endsWith('A/A'))
      .map((row, i) => [
        i === 0 ? result.item : '',
        i === 0 ? (result.plainBytes / 1024).toFixed(1) : '',
        row.codec,
        ratioText(row.bytes / result.plainBytes),
        mbPerS(result.plainBytes, row.packMs),
        mbPerS(result.plainBytes, row.unpackMs),
        ...links.map((link) => {
          const { oneByOne, sideBySide } = payOff(result, row, link);
          return `${oneByOne.toFixed(2)} / ${sideBySide.toFixed(2)}`;
        }),
      ]),
  );
  return renderTable(header, rows);
}

const COLOURS = ['#7d8fa8', '#5b6f8c', '#3d4f6b', '#2a7f62', '#1d5c46', '#c2693f'];

function chart(
  results: readonly Result[],
  all: readonly Codec[],
  link: Link,
  subtitle: string,
): string {
  return renderChart({
    title: `Packed, sent over ${link.name} and unpacked, one after the other, over sending it plain (cut at 5)`,
    subtitle,
    unit: '× plain',
    reference: 1,
    series: all.map(({ name }, i) => ({ name, colour: COLOURS[i] ?? '#888' })),
    groups: results.map((result) => ({
      name: result.item,
      bars: all.map(({ name }) => {
        const row = result.measured.find(({ codec }) => codec === name) as Measured;
        return { value: Math.min(5, payOff(result, row, link).oneByOne) };
      }),
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, { rounds: '15', programs: 'raytracer,gc,sat,perft,nbody' });
  const rounds = Number(options.rounds);
  const host = machine();
  const all = await codecs();
  const loopbackBytesPerMs = await loopback();
  const links: Link[] = [
    { name: '100 Mbit/s', bytesPerMs: 100 * MBIT_BYTES_PER_MS },
    { name: '1 Gbit/s', bytesPerMs: 1_000 * MBIT_BYTES_PER_MS },
    { name: 'loopback', bytesPerMs: loopbackBytesPerMs },
  ];
  console.log(
    `compression · Node ${host.node} · ${host.cpu}, ${host.cores} cores · ${rounds} rounds · loopback ${(loopbackBytesPerMs / 1_000).toFixed(0)} MB/s\n`,
  );
  const results: Result[] = [];
  for (const subject of SUBJECTS.filter(({ name }) => options.programs.split(',').includes(name)))
    for (const item of await itemsOf(root, subject)) results.push(measure(item, all, rounds));
  console.log(
    `time ÷ that of the plain bytes: one by one / side by side; below 1 it pays\n${table(results, links)}\n`,
  );
  const aa: Estimate = geomeanRatio(
    results.map(({ measured }) => ({
      values: measured.at(-1)?.packMs ?? [],
      base: measured[0]?.packMs ?? [],
    })),
  );
  const valid = Math.abs(aa.value - 1) <= AA_LIMIT;
  console.log(`A/A ${estimateText(aa)}${valid ? '' : ': VOID, run again'}`);
  const subtitle = `Node ${host.node}, ${host.cpu}; medians of ${rounds} interleaved rounds`;
  const json = { machine: host, rounds, links, noise: aa, results };
  const name = `compression-node${host.node.split('.')[0]?.slice(1)}`;
  const files = [
    writeResult(root, `${name}.json`, `${JSON.stringify(json, null, 1)}\n`),
    writeResult(root, `${name}.svg`, chart(results, all, links[1] as Link, subtitle)),
  ];
  console.log(`wrote ${files.join(', ')}`);
  return valid ? 0 : 1;
}
