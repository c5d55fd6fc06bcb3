/**
 * A process of its own on an embedded fabric, for the tests that kill it.
 *
 * Usage: node child.mjs JOB DIR NAME …; talks to its parent by IPC. Uses dist/, as built by host/build.mjs.
 */
import { createHash } from 'node:crypto';
import { lockDirectory, openEmbeddedFabric, startEmbeddedHub } from '../../dist/fabric/embedded.js';
import { compareAndSettle } from '../../dist/fabric/settle.js';

const [, , job, dir, name, ...rest] = process.argv;
const encode = (value) => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const TRIES = 500;

/** Between two tries of a write whose outcome is unknown; ends the process with what the store says when that stays so. */
async function pause(tries, cause) {
  if (tries >= TRIES) throw cause ?? new Error(`no outcome after ${tries} tries`);
  await sleep(10);
}

/** Adds to `counter` until this process's part reaches the target; goes on where a killed one of its name stopped. */
async function increments(fabric, target) {
  for (;;) {
    const entry = await fabric.records.get('counter');
    const count = entry === undefined ? { total: 0, done: {} } : decode(entry.value);
    const mine = count.done[name] ?? 0;
    if (mine >= target) return;
    count.total++;
    count.done[name] = mine + 1;
    const isOurs = (value) => (decode(value).done[name] ?? 0) > mine;
    const expected = entry?.revision ?? 0;
    await compareAndSettle(fabric.records, 'counter', expected, encode(count), isOurs, pause);
    if (mine % 20 === 0) await sleep(1);
  }
}

/** Puts blobs, whole and streamed, without end; tells of each that was stored. */
async function puts(fabric, seed) {
  for (let i = 0; ; i++) {
    const bytes = new Uint8Array(1 + ((seed * 7_919 + i * 104_729) % 2_500_000)).fill(i & 0xff);
    new DataView(bytes.buffer).setUint8(0, seed & 0xff);
    const hash = createHash('sha256').update(bytes).digest('hex');
    async function* stream() {
      for (let at = 0; at < bytes.length; at += 65_536) {
        yield bytes.subarray(at, at + 65_536);
        if ((at >> 16) % 4 === 0) await sleep(0);
      }
    }
    await fabric.blobs.put(hash, i % 2 === 0 ? bytes : stream());
    process.send({ hash });
  }
}

/** Puts small blobs without end; tells of each that was stored. */
async function smalls(fabric, seed) {
  for (let i = 0; ; i++) {
    const bytes = new Uint8Array(8 + ((seed * 7_919 + i * 10_007) % 32_000)).fill(i & 0xff);
    new DataView(bytes.buffer).setUint32(0, seed);
    new DataView(bytes.buffer).setUint32(4, i);
    const hash = createHash('sha256').update(bytes).digest('hex');
    await fabric.blobs.put(hash, bytes);
    process.send({ hash });
    if (i % 8 === 0) await sleep(0);
  }
}

const jobs = {
  increments: async () => {
    const fabric = await openEmbeddedFabric(dir, { name });
    await increments(fabric, Number(rest[0]));
    await fabric.close();
    process.send({ finished: true });
  },
  puts: async () => puts(await openEmbeddedFabric(dir, { name }), Number(rest[0])),
  smalls: async () => smalls(await openEmbeddedFabric(dir, { name }), Number(rest[0])),
  /** Collects without end what its parent does not keep. */
  collects: async () => {
    const fabric = await openEmbeddedFabric(dir, { name });
    for (let round = 0; ; round++) {
      await fabric.blobs.collect((hash) => hash < '8', 0);
      process.send({ round });
    }
  },
  hub: async () => {
    const hub = await startEmbeddedHub(dir);
    process.send({ socketPath: hub.socketPath });
  },
  lock: async () => {
    await lockDirectory(dir);
    process.send({ locked: true });
    await new Promise(() => setInterval(() => {}, 1_000));
  },
  /** Answers each change of `ping` by the same value in `pong`, and each message to `ask` by one to `answer`. */
  echo: async () => {
    const fabric = await openEmbeddedFabric(dir, { name, pollMs: 3_600_000 });
    fabric.records.watch('ping', async (event) => {
      if (event.kind !== 'put') return;
      const { value } = event.entry;
      const isOurs = (there) => Buffer.compare(there, value) === 0;
      for (;;) {
        const expected = (await fabric.records.get('pong'))?.revision ?? 0;
        const { records } = fabric;
        const outcome = await compareAndSettle(records, 'pong', expected, value, isOurs, pause);
        if (outcome.kind === 'ok') return;
      }
    });
    fabric.messages.subscribe('ask', (message) =>
      fabric.messages.publish('answer', message.payload),
    );
    process.send({ ready: true });
  },
};

try {
  await jobs[job]();
} catch (error) {
  process.send({ error: { code: error.code, message: error.message } });
  process.exitCode = 1;
}
if (process.exitCode === 1 || job === 'increments') process.disconnect();
