/**
 * Shards with a large memory move between real worker threads: copied while they run, exact after it, and every way in which
 * the copy comes to nothing leaves them as they are.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeCapsule } from '../../host/capsule/index.js';
import { decodeStagedImage } from '../../host/capsule/staged-image.js';
import { createMemoryFabric, type MemoryFabric } from '../../host/fabric/memory.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardView } from '../../host/types/api.js';
import { submit, TestCluster, until } from '../control/harness.js';
import { fillMemory, PRINT } from '../setup/print.js';

const KIB = 2 * 1024;
const WORDS = KIB * 256;
const TURNS = 20_000;
/** It writes within so many words at a time, and goes on by so many with each line: some 40 KB/s, so that time decides nothing. */
const HOT = 8_192;
const STRIDE = 1;

/** Fills a memory of KIB, changes words of a stretch that wanders through it, and prints their running sum, for ever. */
const SCATTER = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") ${2 + KIB / 64}) ${PRINT}
  (func (export "_start") (local $j i32) (local $sum i32) (local $x i32) (local $at i32) (local $base i32)
    ${fillMemory(KIB)}
    (loop $outer
      (local.set $j (i32.const ${TURNS}))
      (loop $inner
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
        (local.set $at (i32.add (i32.add (i32.const 65536) (i32.shl (local.get $base) (i32.const 2)))
          (i32.shl (i32.rem_u (i32.shr_u (local.get $x) (i32.const 4)) (i32.const ${HOT})) (i32.const 2))))
        (i32.store (local.get $at)
          (i32.add (i32.mul (i32.load (local.get $at)) (i32.const 31)) (local.get $x)))
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (local.set $j (i32.sub (local.get $j) (i32.const 1)))
        (br_if $inner (local.get $j)))
      (local.set $base (i32.rem_u (i32.add (local.get $base) (i32.const ${STRIDE})) (i32.const ${WORDS - HOT})))
      (call $print (local.get $sum))
      (br $outer))))`;

/** The program in JavaScript: its lines, one after the other. */
function* linesOfScatter(): Generator<string> {
  const memory = new Int32Array(WORDS);
  let sum = 0;
  for (let j = WORDS - 1; j >= 0; j--) {
    sum = (Math.imul(sum, 1664525) + 1013904223) | 0;
    memory[j] = sum;
  }
  for (let x = 0, base = 0; ; base = (base + STRIDE) % (WORDS - HOT)) {
    for (let j = 0; j < TURNS; j++) {
      x = (Math.imul(x, 1103515245) + 12345) | 0;
      const at = base + ((x >>> 4) % HOT);
      memory[at] = (Math.imul(memory[at]!, 31) + x) | 0;
      sum = (sum + memory[at]!) | 0;
    }
    yield `${sum >>> 0}`;
  }
}

let world: MemoryFabric;
let cluster: TestCluster;
const log: string[] = [];

beforeEach(async () => {
  log.length = 0;
  world = createMemoryFabric();
  cluster = new TestCluster((name) => world.connect(name));
  cluster.log = (name, what, shardId, detail) => log.push(`${name} ${what} ${shardId} ${detail}`);
  await cluster.startControl();
  // One round is enough here: how many there are is the machine's speed (protocol/precopy has its own test).
  const preCopy = { goalMs: 1e9, bearableMs: 1e9 };
  const options = { preCopy, stageFromBytes: KIB * 1024 };
  await cluster.startNode('n1', 1, options);
  await cluster.startNode('n2', 1, options);
});

afterEach(() => cluster.close());

const printing = (view: ShardView): boolean => view.output.bytes > 0;
const other = (owner: string | null): string => cluster.nodes.find(({ id }) => id !== owner)!.id;
/** How each staging of a move ended; its rounds are logged, too, and copies for checkpoints. */
const stagings = (): string[] =>
  log.filter((line) => / staging /.test(line) && !/ round \d+: | for a checkpoint/.test(line));

/** Submits, and waits until the memory is filled. */
async function begun(): Promise<{ id: string; owner: string }> {
  const { client } = cluster;
  const id = await submit(client, SCATTER);
  const { owner } = await until(client, id, printing);
  return { id, owner: owner! };
}

/** Pauses it, and compares all that it has printed with the program in JavaScript. Gives the number of lines. */
async function judge(id: string): Promise<number> {
  const { client } = cluster;
  await client.pause(id);
  await client.untilStatus(id, ['paused']);
  let text = '';
  for await (const { offset, bytes } of client.output(id)) {
    expect(offset).toBe(text.length);
    text += Buffer.from(bytes).toString('latin1');
  }
  const lines = text.trimEnd().split('\n');
  const straight = linesOfScatter();
  for (const [i, line] of lines.entries())
    expect(`${i} ${line}`).toBe(`${i} ${straight.next().value}`);
  return lines.length;
}

/** It has printed more since. */
async function goneOn(id: string, view: ShardView): Promise<void> {
  await until(cluster.client, id, ({ output }) => output.bytes > view.output.bytes);
}

describe('a shard with a large memory', { timeout: 180_000 }, () => {
  it('is copied while it runs; what is moved at last is small, and it goes on exactly', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    await client.move(id, { target: other(owner) });
    await goneOn(id, await until(client, id, (view) => view.moves === 1));
    expect(stagings()).toHaveLength(1);
    expect(stagings()[0]).toMatch(/staged in \d+ rounds/);
    const [move] = await client.moves(id);
    expect(move!.capsuleBytes).toBeLessThan(KIB * 256);
    expect(await judge(id)).toBeGreaterThan(1);
  });

  it('goes there and back and there again, and is paused and resumed in between', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    let at = owner;
    for (let moves = 1; moves <= 3; moves++) {
      const target = other(at);
      await client.move(id, { target });
      await goneOn(id, await until(client, id, (v) => v.moves === moves && v.owner === target));
      at = target;
    }
    expect(stagings()).toHaveLength(3);
    await judge(id);
  });

  it('whose target dies before it has taken it up goes on elsewhere, from the store alone', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    const target = other(owner);
    const dies = cluster.nodeOf(target);
    const handedOver = until(client, id, (view) => view.owner === target);
    await client.move(id, { target });
    const view = await handedOver;
    await dies.close();
    cluster.nodes.splice(cluster.nodes.indexOf(dies), 1);
    await goneOn(id, await until(client, id, (v) => v.epoch > view.epoch && v.owner === owner));
    await judge(id);
  });

  it('names all that its capsule needs, and a collection keeps it', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    const { blobs } = world.connect('reader');
    await client.move(id, { target: other(owner) });
    const { capsule } = await until(client, id, (view) => view.moves === 1);
    await client.gc();
    const { header } = decodeCapsule((await blobs.get(capsule!))!, nodePlatform);
    expect(header.base).not.toBeNull();
    const image = decodeStagedImage((await blobs.get(header.base!))!);
    expect([...header.below].reverse()).toEqual([...image.batches]);
    for (const hash of image.batches) expect(await blobs.has(hash)).toBe(true);
    await judge(id);
  });

  it('that is asked to pause during the copy pauses, and goes on later', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    await client.move(id, { target: other(owner) });
    await client.pause(id);
    const view = await until(client, id, ({ status }) => status === 'paused');
    expect(view.moves).toBe(0);
    await client.resume(id);
    await goneOn(id, view);
    await judge(id);
  });

  it('whose node dies during the copy is recovered', async () => {
    const { client } = cluster;
    const { id, owner } = await begun();
    await client.move(id, { target: other(owner) });
    const view = await client.shard(id);
    const dies = cluster.nodeOf(owner);
    await dies.close();
    cluster.nodes.splice(cluster.nodes.indexOf(dies), 1);
    await goneOn(id, await until(client, id, (v) => v.epoch > view.epoch && v.owner !== owner));
    await judge(id);
  });
});
