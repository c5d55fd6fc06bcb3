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
import { type Fabric, MAX_RECORD_BYTES, type Records } from '../../host/types/fabric.js';
import { blobConformance, messageConformance } from './conformance-blobs.js';
import { randomHistory, type StepPlan, stepPlans } from './history.js';
import {
  bytesOf,
  code,
  contentOf,
  eventually,
  hashOf,
  type InWorld,
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
    blobConformance(() => world, inWorld);
    messageConformance(target, () => world, inWorld);
  });
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
