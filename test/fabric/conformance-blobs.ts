/**
 * The blob and message halves of the conformance suite (F5, F6); see `conformance.ts`.
 */
import { beforeEach, expect, it } from 'vitest';
import { SherdError } from '../../host/types/errors.js';
import { type Fabric, MAX_MESSAGE_BYTES } from '../../host/types/fabric.js';
import type { Hash } from '../../host/types/platform.js';
import {
  bytesOf,
  code,
  contentOf,
  eventually,
  hashOf,
  type InWorld,
  insist,
  type Target,
  type World,
} from './world.js';

export function blobConformance(getWorld: () => World, inWorld: InWorld): void {
  let store: Fabric['blobs'];
  let other: Fabric['blobs'];
  beforeEach(async () => {
    store = (await getWorld().connect('a')).blobs;
    other = (await getWorld().connect('b')).blobs;
  });

  const put = (content: Uint8Array): Promise<void> =>
    insist(getWorld(), () => store.put(hashOf(content), content));
  const get = (hash: string): Promise<Uint8Array> =>
    eventually(getWorld(), `blob ${hash}`, () => insist(getWorld(), () => other.get(hash)));
  /** All chunks, or undefined when the store says (wrongly, if faulty) that it is not there. */
  const readAll = async (hash: string): Promise<Uint8Array> =>
    insist(getWorld(), async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of other.read(hash)) chunks.push(chunk.slice());
      return Uint8Array.from(Buffer.concat(chunks));
    });

  it(
    'stores and gives back bytes of every size, whole and streamed (F5)',
    inWorld(async () => {
      for (const size of [0, 1, 65_536, 262_144, 262_145, 1_048_577, 3_000_000]) {
        const content = pattern(size);
        const hash = hashOf(content);
        expect(await insist(getWorld(), () => other.has(hash))).toBe(false);
        await put(content);
        expect(await insist(getWorld(), () => other.has(hash))).toBe(true);
        expect(Buffer.compare(await get(hash), content)).toBe(0);
        expect(Buffer.compare(await readAll(hash), content)).toBe(0);
      }
    }),
  );

  it(
    'gives the whole blob alone in its buffer, in memory that was offered or not, whatever was in it (F5)',
    inWorld(async () => {
      for (const size of [0, 5, 70_000, 5_000_000]) {
        const content = pattern(size);
        const hash = hashOf(content);
        await insist(getWorld(), () => store.put(hash, content, { hashed: true }));
        for (const room of [size - 1, size, size + 20, size + 4_096]) {
          const read = () => {
            const into = new Uint8Array(Math.max(0, room)).fill(0xaa).buffer;
            return insist(getWorld(), () => other.get(hash, { into }));
          };
          const bytes = await eventually(getWorld(), `blob ${hash}`, read);
          expect(Buffer.compare(bytes, content)).toBe(0);
          expect(bytes.byteOffset % 8).toBe(0);
          expect(bytes.buffer.byteLength - size).toBeLessThanOrEqual(4_096); // not a piece of a pool
        }
      }
    }),
  );

  it(
    'takes a stream of any chunks',
    inWorld(async () => {
      const content = pattern(700_001);
      const hash = hashOf(content);
      async function* stream(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < content.length; at += 99_991) yield content.subarray(at, at + 99_991);
        yield new Uint8Array(0);
      }
      await insist(getWorld(), () => store.put(hash, stream()));
      expect(Buffer.compare(await get(hash), content)).toBe(0);
    }),
  );

  it(
    'refuses content that has another hash, and a stream that fails, and shows neither',
    inWorld(async () => {
      const hash = hashOf(pattern(10));
      const wrong = pattern(11);
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield pattern(10);
        throw new Error('the source broke');
      }
      async function* wrongStream(): AsyncGenerator<Uint8Array> {
        yield wrong;
      }
      expect(await code(store.put(hash, wrong))).toBe('SHERD_BLOB_DAMAGED');
      expect(await code(store.put(hash, wrongStream()))).toBe('SHERD_BLOB_DAMAGED');
      await expect(store.put(hash, failing())).rejects.toThrow('the source broke');
      expect(await insist(getWorld(), () => other.has(hash))).toBe(false);
      expect(await insist(getWorld(), () => other.get(hash))).toBeUndefined();
    }),
  );

  it(
    'says clearly what is not there and what is no hash',
    inWorld(async () => {
      const nowhere = hashOf(pattern(12));
      expect(await insist(getWorld(), () => store.get(nowhere))).toBeUndefined();
      const missing = await eventually(getWorld(), 'an answer', async () => {
        const answer = await code(readFully(store.read(nowhere)));
        return answer === 'SHERD_FABRIC' ? undefined : answer;
      });
      expect(missing).toBe('SHERD_BLOB_MISSING');
      for (const bad of [
        '',
        'abc',
        '../../etc/passwd',
        'A'.repeat(64),
        'g'.repeat(64),
        '0'.repeat(65),
      ]) {
        expect(await code(store.get(bad)), bad).toBe('SHERD_LIMIT');
        expect(await code(store.has(bad)), bad).toBe('SHERD_LIMIT');
        expect(await code(store.put(bad, pattern(1))), bad).toBe('SHERD_LIMIT');
        expect(await code(readFully(store.read(bad))), bad).toBe('SHERD_LIMIT');
      }
    }),
  );

  it(
    'lists what is there, and collects what nobody keeps once it is old enough',
    inWorld(async () => {
      const contents = [pattern(100), pattern(2_000), pattern(30_000)];
      const hashes = contents.map(hashOf);
      for (const content of contents) await put(content);
      const listed = await listAll(other);
      expect(listed.map((blob) => blob.hash).sort()).toEqual([...hashes].sort());
      expect(listed.reduce((sum, blob) => sum + blob.bytes, 0)).toBe(32_100);
      for (const blob of listed) expect(blob.ageMs).toBeGreaterThanOrEqual(0);

      expect(await other.collect(() => false, 3_600_000)).toEqual({ blobs: 0, bytes: 0 });
      expect(await other.collect(() => true, 0)).toEqual({ blobs: 0, bytes: 0 });
      expect(await other.collect((hash) => hash === hashes[1], 0)).toEqual({
        blobs: 2,
        bytes: 30_100,
      });
      expect((await listAll(store)).map((blob) => blob.hash)).toEqual([hashes[1]]);
      expect(await insist(getWorld(), () => store.get(hashes[0]!))).toBeUndefined();
      await put(contents[0]!);
      expect(Buffer.compare(await get(hashes[0]!), contents[0]!)).toBe(0);
    }),
  );

  it(
    'a put renews the age of what is there already',
    inWorld(async () => {
      const world = getWorld();
      const content = pattern(500);
      await put(content);
      const hash = hashOf(content);
      const age = async (): Promise<number> =>
        (await listAll(store)).find((blob) => blob.hash === hash)?.ageMs ?? Number.NaN;
      await eventually(world, 'some age', async () => ((await age()) >= 200 ? true : undefined));
      await put(content);
      const renewed = await age();
      // Older than 200 ms before, younger than it would be without the second put.
      await eventually(world, 'a second age', async () =>
        (await age()) > renewed ? true : undefined,
      );
      expect(await store.collect(() => false, 3_600_000)).toEqual({ blobs: 0, bytes: 0 });
      expect(await store.collect(() => false, 0)).toEqual({ blobs: 1, bytes: 500 });
    }),
  );

  it(
    'asking for a blob renews its age, too',
    inWorld(async () => {
      const world = getWorld();
      const content = pattern(500);
      await put(content);
      const hash = hashOf(content);
      const age = async (): Promise<number> => (await listAll(store))[0]?.ageMs ?? Number.NaN;
      await eventually(world, 'some age', async () => ((await age()) >= 200 ? true : undefined));
      const before = await age();
      expect(await insist(world, () => other.has(hash))).toBe(true);
      expect(await store.collect(() => false, before)).toEqual({ blobs: 0, bytes: 0 });
    }),
  );

  it(
    'what is put or asked for while a collection goes on stays',
    inWorld(async () => {
      const contents = Array.from({ length: 40 }, (_, i) => pattern(100 + i));
      for (const content of contents) await put(content);
      await getWorld().sleep(20);
      const asked: Hash[] = [];
      let turn: Promise<unknown> = Promise.resolve();
      // Somebody begins to name blobs while they are looked at, without the collector's knowing.
      const collected = store.collect((hash) => {
        turn = turn.then(async () => {
          if (asked.length < 10 && (await insist(getWorld(), () => other.has(hash))))
            asked.push(hash);
        });
        return false;
      }, 10);
      await collected;
      await turn;
      const left = (await listAll(store)).map((blob) => blob.hash);
      for (const hash of asked) expect(left).toContain(hash);
    }),
  );

  it(
    'gives out copies',
    inWorld(async () => {
      const content = pattern(64);
      await put(content);
      const mine = await get(hashOf(content));
      mine.fill(0);
      expect(await get(hashOf(content))).toEqual(content);
    }),
  );
}

export function messageConformance(target: Target, getWorld: () => World, inWorld: InWorld): void {
  /** Publishes until the condition holds: a hint may be lost. */
  const sendUntil = (publish: () => void, condition: () => boolean): Promise<true> =>
    eventually(getWorld(), 'a message', async () => {
      if (condition()) return true;
      publish();
      for (let i = 0; i < 20 && !condition(); i++) await getWorld().sleep(5);
      return condition() ? true : undefined;
    });

  it(
    'reach subscribers of a fitting prefix in the same handle, intact (F6)',
    inWorld(async () => {
      const a = await getWorld().connect('a');
      const got: string[] = [];
      const subscription = a.messages.subscribe('node.1', (message) => {
        got.push(`${message.subject} ${contentOf(message.payload)}`);
      });
      a.messages.subscribe('node.2', () => got.push('wrong'));
      await sendUntil(
        () => {
          a.messages.publish('node.10', bytesOf('x'));
          a.messages.publish('node', bytesOf('x'));
          a.messages.publish('node.1', bytesOf('hello'));
        },
        () => got.length > 0,
      );
      expect(new Set(got)).toEqual(new Set(['node.1 hello']));
      await sendUntil(
        () => a.messages.publish('node.1.look', bytesOf('deeper')),
        () => got.includes('node.1.look deeper'),
      );
      subscription.close();
      await getWorld().sleep(300);
      const count = got.length;
      a.messages.publish('node.1', bytesOf('late'));
      await getWorld().sleep(300);
      expect(got.length).toBe(count);
    }),
  );

  it(
    'keep to their limits',
    inWorld(async () => {
      const a = await getWorld().connect('a');
      expect(() => a.messages.publish('a b', bytesOf(1))).toThrow(SherdError);
      expect(() => a.messages.subscribe('', () => {})).toThrow(SherdError);
      const tooBig = new Uint8Array(MAX_MESSAGE_BYTES + 1);
      expect(() => a.messages.publish('big', tooBig)).toThrow(SherdError);
    }),
  );

  if (!target.messages) return;

  it(
    'reach other handles by prefix, up to the biggest size, and not those that closed',
    inWorld(async () => {
      const world = getWorld();
      const [a, b, c] = [
        await world.connect('a'),
        await world.connect('b'),
        await world.connect('c'),
      ];
      const atB: string[] = [];
      const atC: string[] = [];
      let biggest = 0;
      b.messages.subscribe('node.b', (message) => atB.push(message.subject));
      b.messages.subscribe('big', (message) => {
        biggest = message.payload.every((byte) => byte === 5) ? message.payload.length : -1;
      });
      c.messages.subscribe('node.c', (message) => atC.push(message.subject));
      await sendUntil(
        () => {
          a.messages.publish('node.b', bytesOf(1));
          a.messages.publish('node.c.x', bytesOf(1));
          b.messages.publish('node.d', bytesOf(1));
        },
        () => atB.length > 0 && atC.length > 0,
      );
      expect(new Set(atB)).toEqual(new Set(['node.b']));
      expect(new Set(atC)).toEqual(new Set(['node.c.x']));
      const payload = new Uint8Array(MAX_MESSAGE_BYTES).fill(5);
      await sendUntil(
        () => a.messages.publish('big', payload),
        () => biggest !== 0,
      );
      expect(biggest).toBe(MAX_MESSAGE_BYTES);
      await c.close();
      const count = atC.length;
      a.messages.publish('node.c.x', bytesOf(1));
      await world.sleep(300);
      expect(atC.length).toBe(count);
    }),
  );
}

async function readFully(stream: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _chunk of stream);
}

async function listAll(
  store: Fabric['blobs'],
): Promise<{ hash: string; bytes: number; ageMs: number }[]> {
  const all: { hash: string; bytes: number; ageMs: number }[] = [];
  for await (const blob of store.list()) all.push(blob);
  return all;
}

function pattern(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + size) & 0xff;
  return bytes;
}
