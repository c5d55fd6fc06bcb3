/**
 * Hostile capsules, a bounded number of them, and one test for each thing that the long run (mutate.ts) or reading found.
 */
import { describe, expect, it } from 'vitest';
import { BUNDLE, decodeBundle, encodeBundle } from '../../host/capsule/bundle.js';
import { CAPSULE, decodeCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import { ENTRY_BYTES, PROLOGUE_BYTES } from '../../host/capsule/envelope.js';
import { nodePlatform } from '../../host/node/platform.js';
import {
  checkLimit,
  createGuestHost,
  Instance,
  restoreGuestHost,
} from '../../host/runtime/index.js';
import type { ShardSpec } from '../../host/types/host.js';
import { decodePlain, encodePlain } from '../../host/types/pack.js';
import type { Plain, ShardState } from '../../host/types/state.js';
import { load, wat } from '../runtime/support.js';
import { facts, hashOf, smallCase } from './arbitrary.js';
import { allPrey } from './judge.js';
import { forge, partsOf } from './mutants.js';
import { Fault, trySeed } from './mutate.js';

const { state, base } = smallCase();
const good = encodeCapsule({ ...facts, state, base }, nodePlatform).bytes;

describe('mutants of real capsules and bundles', () => {
  it('are refused with their section, or are canonical and harmless', async () => {
    const prey = allPrey();
    const verdicts = new Set<string>();
    for (let seed = 1; seed <= 1200; seed++) {
      try {
        verdicts.add((await trySeed(prey, seed)).verdict);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        expect.fail(`seed ${seed}: ${error.message}`);
      }
    }
    expect([...verdicts].sort()).toEqual([
      'accepted',
      'bundle accepted',
      'bundle refused by the decoder',
      'chain ran',
      'chain refused by the decoder',
      'chain refused by the runtime',
      'packed accepted',
      'packed refused by the decoder',
      'ran',
      'refused by the decoder',
      'refused by the runtime',
    ]);
  }, 240_000);
});

describe('msgpack that no canonical data has', () => {
  it.each([
    ['an array longer than the data', [0xdd, 0x00, 0xff, 0xff, 0xff, 0xc0], 'beyond the data'],
    ['a map longer than the data', [0xdf, 0x00, 0x00, 0xff, 0xff, 0xc0], 'beyond the data'],
    ['bytes longer than the data', [0xc6, 0x7f, 0xff, 0xff, 0xff, 0], 'beyond the data'],
    ['text longer than the data', [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61], 'beyond the data'],
    ['a record of the library', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1], 'never written'],
    [
      'a typed array of the library',
      [0xc7, 9, 0x74, 0, ...new Array<number>(8).fill(1)],
      'never written',
    ],
    ['a float of 32 bits', [0xca, 0, 0, 0, 0], 'never written'],
    ['two values', [0xc0, 0xc0], 'left over'],
  ])('%s is refused before the library sees it', (_, bytes, reason) => {
    expect(() => decodePlain(Uint8Array.from(bytes))).toThrow(reason);
  });

  it('a nest of 100,000 levels is refused without recursion', () => {
    expect(() => decodePlain(new Uint8Array(100_000).fill(0x91))).toThrow('deeper than');
    expect(() => decodePlain(new Uint8Array(100_000).fill(0x81))).toThrow('deeper than');
  });
});

/** One field of the first table entry changed; the root hash is right. */
function tableWith(offset: number, value: number): Uint8Array {
  return forge(CAPSULE, partsOf(CAPSULE, good), (bytes) => {
    new DataView(bytes.buffer).setUint16(PROLOGUE_BYTES + offset, value, true);
  });
}

function headerWith(change: (header: Record<string, Plain>) => Record<string, Plain>): Uint8Array {
  const parts = partsOf(CAPSULE, good).map((part) => {
    if (part.id !== 1) return part;
    return {
      ...part,
      bytes: encodePlain(change(decodePlain(part.bytes) as Record<string, Plain>)),
    };
  });
  return forge(CAPSULE, parts);
}

describe('found: two files for one state', () => {
  it('reserved bytes and marks of the section table', () => {
    expect(() => decodeCapsule(tableWith(6, 1), nodePlatform)).toThrow(
      'section header: reserved bytes are not zero',
    );
    expect(() => decodeCapsule(tableWith(2, 0), nodePlatform)).toThrow(
      'section header: marked wrongly',
    );
    expect(() => decodeCapsule(tableWith(2, 3), nodePlatform)).toThrow('unknown flags');
    const bundle = encodeBundle({ capsule: good, blobs: new Map(), ranMs: 5 }, nodePlatform);
    const wrong = forge(BUNDLE, partsOf(BUNDLE, bundle), (bytes, tableBytes) => {
      const last = PROLOGUE_BYTES + tableBytes - ENTRY_BYTES;
      new DataView(bytes.buffer).setUint16(last + 2, 1, true);
    });
    expect(() => decodeBundle(wrong, nodePlatform)).toThrow('section run: marked wrongly');
  });

  it('fields that nobody knows, below the header', () => {
    const memory = headerWith((h) => ({ ...h, memory: { ...(h.memory as object), more: 1 } }));
    expect(() => decodeCapsule(memory, nodePlatform)).toThrow(
      'section header: unknown field more in memory',
    );
    const pending = headerWith((h) => ({ ...h, pending: { ...(h.pending as object), more: 1 } }));
    expect(() => decodeCapsule(pending, nodePlatform)).toThrow('unknown field more in pending');
    const wait = headerWith((h) => {
      const old = h.pending as Record<string, Plain>;
      return { ...h, pending: { ...old, wait: { ...(old.wait as object), more: 1 } } };
    });
    expect(() => decodeCapsule(wait, nodePlatform)).toThrow('unknown field more in wait');
  });

  it('a run section with other fields, or none, is refused by name', () => {
    for (const content of [
      encodePlain({ ranMs: 1, more: 2 }),
      Uint8Array.of(0xc0, 0xc0),
      encodePlain([1]),
    ]) {
      const parts = [
        { id: 1, bytes: good },
        { id: 5, bytes: content, required: false },
      ];
      expect(() => decodeBundle(forge(BUNDLE, parts), nodePlatform)).toThrow('section run:');
    }
  });
});

describe('found: counts that are much with few bytes', () => {
  const framesOf = (bytes: number[]): Uint8Array => {
    const parts = partsOf(CAPSULE, good).map((part) =>
      part.id === 2 ? { ...part, bytes: Uint8Array.from(bytes) } : part,
    );
    return forge(CAPSULE, parts);
  };

  it('more frames than bytes', () => {
    const capsule = framesOf([0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 0]);
    expect(() => decodeCapsule(capsule, nodePlatform)).toThrow('section frames: 4294967295 frames');
  });

  it('more frames than a frame store holds, by number and by slots', () => {
    const sectionOf = (length: number, head: readonly number[]): Uint8Array => {
      const bytes = new Uint8Array(length);
      bytes.set(head);
      const parts = partsOf(CAPSULE, good).map((part) =>
        part.id === 2 ? { ...part, bytes } : part,
      );
      return forge(CAPSULE, parts);
    };
    const many = sectionOf(6 + (2 ** 23 + 1) * 3, [0, 0, 0x81, 0x80, 0x80, 0x04]);
    const long = sectionOf(9 + 2 ** 26, [0, 0, 1, 1, 1, 0x80, 0x80, 0x80, 0x04]);
    for (const capsule of [many, long])
      expect(() => decodeCapsule(capsule, nodePlatform)).toThrow('no store can hold');
  });
});

const LOOP = wat(`(module
  (import "env" "wait" (func $wait (param i32 i64) (result i32)))
  (memory 1 4)
  (func (export "run") (param i64) (result i32)
    (loop $l (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
      (drop (call $wait (i32.const 1) (local.get 0)))
      (br_if $l (i64.ne (local.get 0) (i64.const 0))))
    i32.const 0))`);

describe('found: states that fit no run', () => {
  const loaded = load(LOOP);
  const host = () => {
    const functions = new Map([['env', new Map([['wait', () => 0]])]]);
    return { ...bare, functions: () => functions };
  };
  const bare = {
    snapshot: () => null,
    drainOutput: () => [],
    newBlobs: () => new Map(),
    markDurable: () => undefined,
    references: () => [],
    suspendClock: () => undefined,
    resumeClock: () => undefined,
    guestMonotonicNs: () => 0n,
    trees: () => [],
  };
  const first = Instance.start(loaded, host(), {
    entry: 'run',
    entryArgs: new Uint8Array(8).fill(1),
    limitPages: 2,
  });
  const fresh = first.capture();
  const freshState = {
    ...fresh,
    memory: fresh.memory && { ...fresh.memory, bytes: fresh.memory.bytes.slice() },
  };
  first.run(5);
  const running = structuredClone({
    ...first.capture(),
    frames: first
      .capture()
      .frames.map(({ func, safepoint, slots }) => ({ func, safepoint, slots })),
  });
  const resume = (changed: ShardState) => () => Instance.resume(loaded, host(), changed);

  it('the states themselves are taken', () => {
    expect(resume(freshState)).not.toThrow();
    expect(resume(running)).not.toThrow();
  });

  it('calls and arguments', () => {
    expect(resume({ ...freshState, calls: ['run', 'run'] })).toThrow(
      'more than the start function',
    );
    expect(resume({ ...freshState, args: new Uint8Array(0) })).toThrow(
      '0 bytes of arguments, not 8',
    );
    expect(resume({ ...running, args: new Uint8Array(8) })).toThrow('8 bytes of arguments, not 0');
  });

  it('fuel that has no room to grow', () => {
    expect(resume({ ...running, fuelUsed: 2n ** 63n })).toThrow('units of fuel');
  });

  it('a pending call with arguments of other types', () => {
    const site =
      loaded.module.functions[0]?.safepoints.findIndex(({ kind }) => kind === 'host') ?? 0;
    const frame = running.frames[0];
    if (frame === undefined) throw new Error('no frame');
    const waiting = (name: string, args: (number | bigint)[]): ShardState => ({
      ...running,
      frames: [{ ...frame, safepoint: site }],
      pending: { name, args, wait: { kind: 'yield' } },
    });
    expect(resume(waiting('env.wait', [1, 1.5]))).toThrow('arguments that this function');
    expect(resume(waiting('env.wait', [1]))).toThrow('arguments that this function');
    expect(resume(waiting('env.other', []))).toThrow('does not import');
  });

  it('a memory limit beyond what the spec allows', () => {
    const check = (pages: number, limitPages: number, maxMemoryPages: number) => () =>
      checkLimit({ pages, limitPages }, { maxMemoryPages }, loaded.module);
    expect(check(1, 2, 2)).not.toThrow();
    expect(check(1, 4, 0)).not.toThrow();
    expect(check(1, 3, 2)).toThrow('its run allows 2');
    expect(check(1, 2 ** 40, 0)).toThrow('its run allows 4');
    expect(check(3, 2, 0)).toThrow('its run allows 4');
  });
});

describe('found: host state that has no room to go on', () => {
  const spec: ShardSpec = {
    v: 1,
    programName: 'p',
    moduleHash: hashOf('a'),
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: [],
    env: [],
    stdin: [],
    dirs: [
      { guestPath: '/d', readOnly: false, root: { kind: 'dir', mtimeNs: 2n ** 63n, entries: [] } },
    ],
    seed: '00112233445566778899aabbccddeeff',
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
  };
  const snapshot = createGuestHost(spec, new Map(), nodePlatform).snapshot() as Record<
    string,
    Plain
  >;
  const restore = (change: Record<string, Plain>) => () =>
    restoreGuestHost(spec, { ...snapshot, ...change }, new Map(), nodePlatform);

  it('the snapshot itself is taken', () => {
    expect(restore({})).not.toThrow();
  });

  it.each<[string, Record<string, Plain>]>([
    ['clock', { clock: [2n ** 64n - 1n, 0n, 0n] }],
    ['clock', { clock: [null, 2n ** 64n - 1n, 0n] }],
    ['clock', { clock: [null, 0n, 2n ** 63n + 1n] }],
    ['random position', { random: 2n ** 64n - 1n }],
    ['next inode', { files: { next: 2 ** 53 - 1, inodes: [] } }],
  ])('%s', (what, change) => {
    expect(restore(change)).toThrow(`section host: ${what === 'clock' ? '' : what}`);
  });

  it('files larger than a program can write, in a few bytes each', () => {
    const file = (ino: number): Plain => [
      ino,
      1,
      0,
      [1n],
      [16 * 1024 ** 3, 0, 65_536, new Uint8Array(32)],
    ];
    const files = { next: 5, inodes: [2, 3, 4].map(file) };
    expect(restore({ files })).toThrow('section host: more written than a program can');
  });
});
