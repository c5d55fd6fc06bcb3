/**
 * One program in one warm worker thread: every way to make its state bytes and to have it back, one call at a time.
 *
 *   sherd             Guests (host/node/guests.ts), what a node's thread uses: capture + encode, buffers going round; decode +
 *                     resume into an instance, with one made ahead as for a move that has been announced
 *   full dump         the memory copied and hashed; back: hashed, copied into a memory    (+gzip: zlib level 6)
 *   v8.serialize      of the whole memory; back: v8.deserialize, copied into a memory
 *   structured clone  the whole memory posted to a port; back: received, copied into a memory. What a message to another
 *                     worker costs, without the other one's wake-up
 *   memcpy            the memory copied into memory that was touched before: the limit
 * Peers carry the memory alone: neither globals nor the stack, and they make no instance.
 *
 * W1  Before anything is timed the resumed guest runs on, and ends up with the same capsule as the one that never stopped.
 * W2  All ways take turns, in an order that is drawn for each turn; no call is left out after WARM turns. First all turns of
 *     encoding, then those of decoding: the instances that decoding makes are garbage that would be collected in the middle of
 *     an encode. It is collected between turns every GC_EVERY, as instances hold address space that the engine frees only then.
 */
import { createHash } from 'node:crypto';
import { deserialize, serialize, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageChannel, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Guests, type LoadedGuest } from '../../host/node/guests.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { TakeUp } from '../../host/node/worker-messages.js';
import { randomFrom } from '../lib/statistics.js';
import { LIMIT, OURS, type SmallJob, type SmallResult } from './small.js';

const WARM = 200;
const GC_EVERY = 25;
/** Slow ways take part in one turn of so many. */
const SLOW_EVERY = 20;
const CHECK_FUEL = 10_000;

const job = workerData as SmallJob;
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const guests = new Guests(nodePlatform);
guests.prepare(job.moduleHash, job.module);

function takeUp(capsule: Uint8Array | null): TakeUp {
  return {
    run: 1,
    shardId: 's-bench',
    moduleHash: job.moduleHash,
    specHash: nodePlatform.sha256(job.spec),
    spec: job.spec,
    capsule,
    capsuleVerified: false,
    staged: null,
    priority: 0,
  } as TakeUp;
}

function runOn(guest: LoadedGuest, fuel: number): void {
  const target = guest.fuelUsed + BigInt(fuel);
  while (guest.fuelUsed < target) {
    const result = guest.run(Number(target - guest.fuelUsed), () => 0);
    if (result.kind !== 'quantum') throw new Error(`${job.name} ended too early: ${result.kind}`);
  }
}

interface Way {
  readonly name: string;
  readonly slow?: boolean;
  /** Before decoding. */
  ready?(): void;
  encode(): Uint8Array | undefined;
  /** What was encoded is not decoded. */
  forget?(bytes: Uint8Array): void;
  decode(bytes: Uint8Array): void;
}

const guest = guests.load(takeUp(null));
runOn(guest, job.fuel);
const memory = guest.memory() ?? new Uint8Array(0);
const target = new Uint8Array(memory.length).fill(1);
const spareBytes = new Uint8Array(memory.length).fill(1);
const { port1, port2 } = new MessageChannel();
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

const sherd: Way = {
  name: OURS,
  ready: () => guests.spare(job.moduleHash, memory.length),
  encode: () => guest.encode(1).bytes,
  forget: (bytes) => guests.shelf.put(bytes.buffer),
  decode: (bytes) => void guests.load(takeUp(bytes)),
};

function dump(): Uint8Array {
  spareBytes.set(memory);
  sha256(spareBytes);
  return spareBytes;
}

function undump(bytes: Uint8Array): void {
  sha256(bytes);
  target.set(bytes);
}

const WAYS: readonly Way[] = [
  sherd,
  { ...sherd, name: 'sherd A/A' },
  { name: 'full dump', encode: dump, decode: undump },
  {
    name: 'full dump+gzip',
    slow: true,
    encode: () => gzipSync(dump()),
    decode: (bytes) => undump(gunzipSync(bytes)),
  },
  {
    name: 'v8.serialize',
    encode: () => serialize(memory),
    decode: (bytes) => target.set(deserialize(bytes) as Uint8Array),
  },
  {
    name: 'structured clone',
    encode: () => void port1.postMessage(memory),
    forget: () => void receiveMessageOnPort(port2),
    decode: () =>
      target.set((receiveMessageOnPort(port2) as { message: Uint8Array } | undefined)!.message),
  },
  {
    name: LIMIT,
    encode: () => {
      spareBytes.set(memory);
      return spareBytes;
    },
    decode: (bytes) => target.set(bytes),
  },
];

function timed<T>(act: () => T): [T, number] {
  const started = process.hrtime.bigint();
  const value = act();
  return [value, Number(process.hrtime.bigint() - started) / 1e6];
}

/** W1. Gives the capsule's size. */
function check(): number {
  const bytes = guest.encode(1).bytes.slice();
  const again = guests.load(takeUp(bytes.slice()));
  const straight = guests.load(takeUp(bytes.slice()));
  runOn(again, CHECK_FUEL);
  const moved = guests.load(takeUp(again.encode(1).bytes.slice()));
  runOn(moved, CHECK_FUEL);
  runOn(straight, 2 * CHECK_FUEL);
  if (moved.encode(1).hash !== straight.encode(1).hash)
    throw new Error(`${job.name}: what was resumed differs from what was not`);
  return bytes.length;
}

const capsuleBytes = check();
const times: Record<string, { encode: number[]; decode: number[] }> = {};
for (const { name } of WAYS) times[name] = { encode: [], decode: [] };
const random = randomFrom(3);

/** W2. */
function turns(once: (way: Way, times: { encode: number[]; decode: number[] }) => void): void {
  for (let turn = 0; turn < WARM + job.calls; turn++) {
    if (turn % GC_EVERY === 0) gc();
    const order = WAYS.map((way) => ({ way, at: random() })).sort((a, b) => a.at - b.at);
    for (const { way } of order) {
      if (way.slow === true && turn % SLOW_EVERY !== 0) continue;
      const own = times[way.name];
      if (own === undefined || turn < WARM) once(way, { encode: [], decode: [] });
      else once(way, own);
    }
  }
}

turns((way, { encode }) => {
  const [bytes, ms] = timed(() => way.encode());
  encode.push(ms);
  way.forget?.(bytes as Uint8Array);
});
turns((way, { decode }) => {
  way.ready?.();
  const bytes = way.encode();
  const [, ms] = timed(() => way.decode(bytes as Uint8Array));
  decode.push(ms);
});
port1.close();
const result: SmallResult = {
  name: job.name,
  memoryBytes: memory.length,
  capsuleBytes,
  ways: times,
};
parentPort?.postMessage(result);
