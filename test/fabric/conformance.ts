/**
 * The conformance suite of the fabric: the one text by which `memory`, `embedded` and later `nats` are judged.
 *
 * Does: test F1–F6 through the `Fabric` interface alone. Does not: reach into an implementation, or assert durations.
 * Where a target is faulty, only what the contract still promises is asserted.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareAndSettle } from '../../host/fabric/settle.js';
import { SherdError } from '../../host/types/errors.js';
import {
  type Fabric,
  MAX_MESSAGE_BYTES,
  MAX_RECORD_BYTES,
  type Records,
} from '../../host/types/fabric.js';
import { randomHistory, type StepPlan, stepPlans } from './history.js';
import {
  bytesOf,
  contentOf,
  eventually,
  hashOf,
  insist,
  type Target,
  View,
  type World,
} from './world.js';

export function fabricConformance(target: Target): void {
  describe(`fabric conformance: ${target.name}`, () => {
    let world: World;
    beforeEach(async () => {
      world = await target.open(1);
    });
    afterEach(async () => {
      await world.end();
    });
    /** A test body in which time passes. */
    const inWorld = (body: () => Promise<void>) => () => world.run(body());

    records(target, () => world, inWorld);
    properties(target);
    blobs(() => world, inWorld);
    messages(target, () => world, inWorld);
  });
}

type InWorld = (body: () => Promise<void>) => () => Promise<void>;

async function code(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof SherdError ? error.code : `no SherdError: ${String(error)}`;
}

/** Writes whatever the faults, and returns the revision. */
async function write(
  world: World,
  store: Records,
  key: string,
  expected: number,
  value: Uint8Array,
): Promise<number> {
  const ours = hashOf(value);
  const outcome = await compareAndSettle(
    store,
    key,
    expected,
    value,
    (there) => hashOf(there) === ours,
    () => world.sleep(5),
  );
  if (outcome.kind !== 'ok') throw new Error(`write of ${key} at ${expected}: ${outcome.kind}`);
  return outcome.revision;
}

/** Reads until the newest revision is seen. */
function readAt(world: World, store: Records, key: string, revision: number) {
  return eventually(world, `${key} at revision ${revision}`, async () => {
    const entry = await store.get(key);
    return entry !== undefined && entry.revision >= revision ? entry : undefined;
  });
}

/** Removes whatever the faults. */
async function remove(world: World, store: Records, key: string, revision: number): Promise<void> {
  await eventually(world, `removal of ${key}`, async () => {
    const outcome = await store.remove(key, revision);
    return outcome.kind === 'unknown' ? undefined : true;
  });
}

function records(target: Target, getWorld: () => World, inWorld: InWorld): void {
  let store: Records;
  let other: Records;
  beforeEach(async () => {
    store = (await getWorld().connect('a')).records;
    other = (await getWorld().connect('b')).records;
  });

  it(
    'creates, reads, changes and removes a record; everybody sees it',
    inWorld(async () => {
      const world = getWorld();
      expect(await store.get('shard.x')).toBeUndefined();
      const first = await write(world, store, 'shard.x', 0, bytesOf('one'));
      expect(first).toBeGreaterThan(0);
      const entry = await readAt(world, other, 'shard.x', first);
      expect(entry).toEqual({ key: 'shard.x', value: bytesOf('one'), revision: first });
      const second = await write(world, other, 'shard.x', first, bytesOf('two'));
      expect(second).toBeGreaterThan(first);
      expect((await readAt(world, store, 'shard.x', second)).value).toEqual(bytesOf('two'));
      await remove(world, store, 'shard.x', second);
      await eventually(world, 'the record is gone', async () =>
        (await other.get('shard.x')) === undefined ? true : undefined,
      );
    }),
  );

  it(
    'never applies a write whose revision has passed (F1)',
    inWorld(async () => {
      const world = getWorld();
      const first = await write(world, store, 'k', 0, bytesOf(1));
      const second = await write(world, store, 'k', first, bytesOf(2));
      for (const stale of [0, first, second + 1]) {
        const outcome = await eventually(world, 'an answer', async () => {
          const answer = await other.compareAndSet('k', stale, bytesOf('stale'));
          return answer.kind === 'unknown' ? undefined : answer;
        });
        expect(outcome.kind).toBe('conflict');
        if (outcome.kind === 'conflict' && (!target.faulty || outcome.current !== undefined)) {
          expect(outcome.current).toEqual({ key: 'k', value: bytesOf(2), revision: second });
        }
      }
      await world.sleep(600); // late writes, if there are any, have been tried by now
      const outcome = await eventually(world, 'an answer', async () => {
        const answer = await other.remove('k', first);
        return answer.kind === 'unknown' ? undefined : answer;
      });
      expect(outcome.kind).toBe('conflict');
      expect(await readAt(world, store, 'k', second)).toEqual({
        key: 'k',
        value: bytesOf(2),
        revision: second,
      });
    }),
  );

  it(
    'a revision grows across delete and create',
    inWorld(async () => {
      const world = getWorld();
      let last = 0;
      for (let round = 0; round < 5; round++) {
        const created = await write(world, store, 'again', 0, bytesOf(round));
        expect(created).toBeGreaterThan(last);
        await remove(world, store, 'again', created);
        last = created;
        const old = await eventually(world, 'an answer', async () => {
          const answer = await other.compareAndSet('again', created, bytesOf('old'));
          return answer.kind === 'unknown' ? undefined : answer.kind;
        });
        expect(old).toBe('conflict');
      }
    }),
  );

  it(
    'lists the prefix itself and what continues it after a dot, sorted',
    inWorld(async () => {
      const world = getWorld();
      const keys = [
        'shard',
        'shard.b',
        'shard.a',
        'shard.a.x',
        'shard-1',
        'shards',
        'shar',
        'node.a',
        'shard.Z',
      ];
      for (const key of keys) await write(world, store, key, 0, bytesOf(key));
      const wanted = ['shard', 'shard.Z', 'shard.a', 'shard.a.x', 'shard.b'];
      const seen = await eventually(world, 'the whole list', async () => {
        const entries = await other.list('shard');
        return entries.length === wanted.length ? entries : undefined;
      });
      expect(seen.map((entry) => entry.key)).toEqual(wanted);
      expect(seen.map((entry) => contentOf(entry.value))).toEqual(wanted);
      expect(await other.list('nothing')).toEqual([]);
    }),
  );

  it(
    'keeps to its limits: keys, sizes',
    inWorld(async () => {
      const world = getWorld();
      const value = bytesOf(0);
      for (const bad of [
        '',
        '.',
        'a.',
        '.a',
        'a..b',
        'a b',
        'ä',
        'a/b',
        '../x',
        'a'.repeat(256),
        'a*',
      ]) {
        expect(await code(store.get(bad)), bad).toBe('SHERD_LIMIT');
        expect(await code(store.compareAndSet(bad, 0, value)), bad).toBe('SHERD_LIMIT');
        expect(await code(store.list(bad)), bad).toBe('SHERD_LIMIT');
        expect(() => store.watch(bad, () => {})).toThrow(SherdError);
      }
      await write(world, store, 'a'.repeat(255), 0, value);
      const biggest = new Uint8Array(MAX_RECORD_BYTES).fill(7);
      const revision = await write(world, store, 'big', 0, biggest);
      expect((await readAt(world, other, 'big', revision)).value).toEqual(biggest);
      const tooBig = new Uint8Array(MAX_RECORD_BYTES + 1);
      expect(await code(store.compareAndSet('bigger', 0, tooBig))).toBe('SHERD_LIMIT');
      const empty = await write(world, store, 'empty', 0, new Uint8Array(0));
      expect((await readAt(world, other, 'empty', empty)).value.length).toBe(0);
    }),
  );

  it(
    'owns its values: later changes of a buffer change nothing',
    inWorld(async () => {
      const world = getWorld();
      const mine = bytesOf('mine');
      const written = write(world, store, 'own', 0, mine.slice());
      const buffer = bytesOf('mine');
      const second = store.compareAndSet('own2', 0, buffer);
      buffer.fill(0);
      const revision = await written;
      const entry = await readAt(world, other, 'own', revision);
      entry.value.fill(0);
      expect((await readAt(world, store, 'own', revision)).value).toEqual(mine);
      const outcome = await second;
      if (outcome.kind === 'ok') {
        expect((await readAt(world, other, 'own2', outcome.revision)).value).toEqual(mine);
      }
    }),
  );

  it(
    'lets exactly one of many writers win each revision',
    inWorld(async () => {
      const world = getWorld();
      const clients = await Promise.all(
        Array.from({ length: 8 }, (_, i) => world.connect(`racer-${i}`)),
      );
      for (let round = 0; round < 10; round++) {
        const outcomes = await Promise.all(
          clients.map((client, i) => client.records.compareAndSet(`race.${round}`, 0, bytesOf(i))),
        );
        const wins = outcomes.filter((outcome) => outcome.kind === 'ok').length;
        expect(wins).toBeLessThanOrEqual(1);
        if (!target.faulty) expect(wins).toBe(1);
      }
    }),
  );

  it(
    'N clients that settle by reading lose and repeat no increment (F2)',
    inWorld(async () => {
      const world = getWorld();
      const clients = 4;
      const increments = 25;
      await Promise.all(
        Array.from({ length: clients }, async (_, i) => {
          const client = await world.connect(`counter-${i}`);
          for (let n = 1; n <= increments; n++) await increment(world, client, `c${i}`, n);
        }),
      );
      const done = Object.fromEntries(
        Array.from({ length: clients }, (_, i) => [`c${i}`, increments]),
      );
      const final = await eventually(world, 'the final count', async () => {
        const entry = await store.get('counter');
        const value = entry && contentOf<Count>(entry.value);
        return value?.total === clients * increments ? value : undefined;
      });
      await world.sleep(1_000); // whatever comes late has come
      expect(final).toEqual({ total: clients * increments, done });
      const again = (await readAt(world, other, 'counter', 1)).value;
      if (!target.faulty) expect(contentOf(again)).toEqual(final);
    }),
  );

  watches(
    getWorld,
    inWorld,
    () => store,
    () => other,
  );
}

interface Count {
  total: number;
  /** By client: its last increment that is in the total. */
  done: Record<string, number>;
}

/** One increment, whatever happens to the answers: the value itself says whether it is in. */
async function increment(world: World, client: Fabric, me: string, n: number): Promise<void> {
  for (;;) {
    const entry = await client.records.get('counter');
    const count = entry === undefined ? { total: 0, done: {} } : contentOf<Count>(entry.value);
    if ((count.done[me] ?? 0) >= n) return;
    count.total++;
    count.done[me] = n;
    const outcome = await client.records.compareAndSet(
      'counter',
      entry?.revision ?? 0,
      bytesOf(count),
    );
    if (outcome.kind === 'ok') return;
    if (outcome.kind === 'unknown') await world.sleep(5);
  }
}

function watches(
  getWorld: () => World,
  inWorld: InWorld,
  getStore: () => Records,
  getOther: () => Records,
): void {
  it(
    'watch: a snapshot first, then puts and deletes under the prefix only (F4)',
    inWorld(async () => {
      const [world, store, other] = [getWorld(), getStore(), getOther()];
      const before = await write(world, store, 'w.before', 0, bytesOf('before'));
      await write(world, store, 'wx', 0, bytesOf('not under the prefix'));
      const view = new View();
      const watching = other.watch('w', view.handle);
      expect(view.kinds).toEqual([]); // never within the call
      await eventually(world, 'the snapshot', () => view.entries.get('w.before'));
      const after = await write(world, store, 'w.after', 0, bytesOf('after'));
      await write(world, store, 'wy', 0, bytesOf('not under the prefix'));
      await eventually(world, 'the put', () =>
        view.entries.get('w.after')?.revision === after ? true : undefined,
      );
      await remove(world, store, 'w.before', before);
      await eventually(world, 'the delete', () =>
        view.entries.has('w.before') ? undefined : true,
      );
      expect([...view.entries.keys()]).toEqual(['w.after']);
      expect(view.wrong).toEqual([]);
      expect(view.kinds[0]).toBe('snapshot');
      watching.close();
      const seen = view.kinds.length;
      await write(world, store, 'w.late', 0, bytesOf('late'));
      await world.sleep(400);
      expect(view.kinds.length).toBe(seen);
    }),
  );

  it(
    'watch: own writes too, an empty snapshot, two watchers, one closed inside its handler',
    inWorld(async () => {
      const [world, store] = [getWorld(), getStore()];
      const first = new View();
      const second = new View();
      store.watch('z', first.handle);
      const closing = store.watch('z', (event) => {
        second.handle(event);
        if (event.kind === 'put') closing.close();
      });
      await eventually(world, 'both snapshots', () =>
        first.kinds.length > 0 && second.kinds.length > 0 ? true : undefined,
      );
      expect(first.entries.size).toBe(0);
      await write(world, store, 'z', 0, bytesOf(1));
      await eventually(world, 'the put', () => first.entries.get('z'));
      await eventually(world, 'the put', () => second.entries.get('z'));
      const seen = second.kinds.length;
      await write(world, store, 'z.1', 0, bytesOf(1));
      await eventually(world, 'the put', () => first.entries.get('z.1'));
      expect(second.kinds.length).toBe(seen);
      expect([...first.wrong, ...second.wrong]).toEqual([]);
    }),
  );

  it('a closed handle refuses and hears nothing', () => {
    const world = getWorld();
    return world.run(
      (async () => {
        const gone = await world.connect('gone');
        const view = new View();
        gone.records.watch('q', view.handle);
        await eventually(world, 'the snapshot', () => (view.kinds.length > 0 ? true : undefined));
        await gone.close();
        await gone.close();
        await write(world, getStore(), 'q', 0, bytesOf(1));
        await world.sleep(400);
        expect(view.entries.size).toBe(0);
        expect(await code(gone.records.get('q'))).toBe('SHERD_FABRIC');
        expect(await code(gone.records.compareAndSet('q', 0, bytesOf(1)))).toBe('SHERD_FABRIC');
        expect(await code(gone.blobs.get('0'.repeat(64)))).toBe('SHERD_FABRIC');
        expect(() => gone.records.watch('q', () => {})).toThrow(SherdError);
        expect(() => gone.messages.subscribe('q', () => {})).toThrow(SherdError);
      })(),
    );
  });
}

function properties(target: Target): void {
  it('any history of concurrent clients obeys F1–F4', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(stepPlans, { minLength: 2, maxLength: 4 }),
        async (seed: number, plans: StepPlan[][]) => {
          const world = await target.open(seed);
          try {
            expect(await world.run(randomHistory(world, plans, target.faulty))).toEqual([]);
          } finally {
            await world.end();
          }
        },
      ),
      { numRuns: target.runs },
    );
  });
}

function blobs(getWorld: () => World, inWorld: InWorld): void {
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

function messages(target: Target, getWorld: () => World, inWorld: InWorld): void {
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
