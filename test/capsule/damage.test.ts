/**
 * Hostile input: every flipped bit, every truncation, random mutations, and well-hashed nonsense are refused with a
 * coded error, quickly and without large allocations.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBundle, encodeBundle } from '../../host/capsule/bundle.js';
import { CAPSULE, decodeCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import { layOut, readEnvelope, type SectionPlan, seal } from '../../host/capsule/envelope.js';
import { nodePlatform } from '../../host/node/platform.js';
import { SherdError } from '../../host/types/errors.js';
import { decodePlain, encodePlain } from '../../host/types/pack.js';
import type { Plain } from '../../host/types/state.js';
import { facts, hashOf, smallCase } from './arbitrary.js';

const { state, base } = smallCase();
const good = encodeCapsule({ ...facts, state, base }, nodePlatform).bytes;
/** Without memory: small enough to try every bit. */
const tiny = encodeCapsule(
  { ...facts, state: { ...state, memory: null }, base },
  nodePlatform,
).bytes;

function refusal(run: () => unknown): SherdError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(SherdError);
    return error as SherdError;
  }
  throw new Error('it was accepted');
}

const SECTIONS = ['envelope', 'header', 'frames', 'globals', 'host', 'memory'];

/** The section that a byte of the file belongs to. */
function ownerOf(bytes: Uint8Array, offset: number): string {
  for (const section of readEnvelope(CAPSULE, bytes, nodePlatform)) {
    const start = section.bytes.byteOffset - bytes.byteOffset;
    if (offset >= start && offset < start + section.bytes.length) return section.name;
  }
  return 'envelope';
}

describe('flipped bits', () => {
  it.each([
    ['a capsule without memory', tiny],
    ['the envelope and metadata of a capsule with memory', good],
  ])(
    'of %s are all refused, each naming its section',
    (_, bytes) => {
      const copy = bytes.slice();
      const seen = new Set<string>();
      const end = Math.min(bytes.length, 2500);
      for (let offset = 0; offset < end; offset++) {
        const owner = ownerOf(bytes, offset);
        for (let bit = 0; bit < 8; bit++) {
          copy[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
          const error = refusal(() => decodeCapsule(copy, nodePlatform));
          if (
            error.code !== 'SHERD_CAPSULE_DAMAGED' ||
            !error.message.includes(`section ${owner}:`)
          ) {
            expect.fail(`bit ${bit} of byte ${offset}: ${error.code} ${error.message}`);
          }
          seen.add(owner);
        }
        copy[offset] = bytes[offset] ?? 0;
      }
      expect([...seen].sort()).toEqual(
        SECTIONS.filter((name) => bytes === good || name !== 'memory').sort(),
      );
    },
    120_000,
  );

  it('of a large payload are refused too', () => {
    const memory = { pages: 1, limitPages: 1, bytes: new Uint8Array(65_536).fill(3, 100) };
    const large = encodeCapsule(
      { ...facts, state: { ...state, memory }, base },
      nodePlatform,
    ).bytes;
    const copy = large.slice();
    expect(large.length).toBeGreaterThan(65_000);
    for (let offset = 2500; offset < large.length; offset += 97) {
      copy[offset] = (large[offset] ?? 0) ^ (1 << (offset % 8));
      expect(refusal(() => decodeCapsule(copy, nodePlatform)).message).toContain('section memory:');
      copy[offset] = large[offset] ?? 0;
    }
  });
});

describe('truncation and additions', () => {
  it('are refused at every length', () => {
    for (let length = 0; length < good.length; length++) {
      const error = refusal(() => decodeCapsule(good.subarray(0, length), nodePlatform));
      expect(error.code).toBe('SHERD_CAPSULE_DAMAGED');
    }
    const longer = new Uint8Array(good.length + 1);
    longer.set(good);
    expect(refusal(() => decodeCapsule(longer, nodePlatform)).code).toBe('SHERD_CAPSULE_DAMAGED');
  });

  it('says how much is there', () => {
    const error = refusal(() =>
      decodeCapsule(good.subarray(0, 1000), nodePlatform, { at: 'x.capsule' }),
    );
    expect(error.message).toContain(`1000 bytes of ${good.length} (cut short)`);
    expect(error.at).toBe('x.capsule');
    expect(error.exitCode).toBe(2);
  });
});

interface Raw {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly required?: boolean;
}

/** A correctly hashed file of any sections: what an attacker, or a later version, could write. */
function forge(
  sections: readonly Raw[],
  patch?: (bytes: Uint8Array) => void,
  version?: number,
): Uint8Array {
  const plans: SectionPlan[] = sections.map(({ id, bytes, required = true }) => ({
    id,
    required,
    bytes: bytes.length,
  }));
  const layout = layOut(CAPSULE, plans, undefined, version);
  sections.forEach(({ bytes }, i) => {
    layout.sections[i]?.set(bytes);
  });
  patch?.(layout.bytes);
  seal(layout, plans, nodePlatform);
  return layout.bytes;
}

const rawOf = (bytes: Uint8Array): Raw[] =>
  readEnvelope(CAPSULE, bytes, nodePlatform).map(({ id, bytes: content }) => ({
    id,
    bytes: content,
  }));

const withSection = (id: number, bytes: Uint8Array): Uint8Array =>
  forge(rawOf(good).map((each) => (each.id === id ? { id, bytes } : each)));

function withHeader(change: Record<string, Plain>): Uint8Array {
  return withSection(1, headerWith(good, change));
}

function headerWith(bytes: Uint8Array, change: Record<string, Plain>): Uint8Array {
  const header = decodePlain(rawOf(bytes)[0]?.bytes as Uint8Array) as Record<string, Plain>;
  return encodePlain({ ...header, ...change });
}

const u32s = (...words: number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);

describe('well-hashed nonsense', () => {
  it('the forger itself makes good capsules', () => {
    expect(forge(rawOf(good))).toStrictEqual(good);
  });

  it('of another version is refused as such, and so are needed sections and codings it does not know', () => {
    const versioned = forge(rawOf(good), (bytes) =>
      new DataView(bytes.buffer).setUint32(8, 3, true),
    );
    const needed = forge([...rawOf(good), { id: 77, bytes: new Uint8Array(3) }]);
    const compressed = forge(rawOf(good), (bytes) => bytes.set([1], 64 + 4 * 64 + 4));
    const encrypted = forge(rawOf(good), (bytes) => bytes.set([1], 64 + 4 * 64 + 5));
    for (const bytes of [versioned, needed, compressed, encrypted]) {
      expect(refusal(() => decodeCapsule(bytes, nodePlatform)).code).toBe('SHERD_CAPSULE_VERSION');
    }
  });

  it('an unknown optional section is skipped, but still verified', () => {
    const bytes = forge([...rawOf(good), { id: 77, bytes: Uint8Array.of(1, 2), required: false }]);
    expect(decodeCapsule(bytes, nodePlatform).state(base).fuelUsed).toBe(state.fuelUsed);
    bytes[bytes.length - 1] = 9;
    expect(refusal(() => decodeCapsule(bytes, nodePlatform)).message).toContain('number 77');
  });

  it('of another module is a mismatch', () => {
    const error = refusal(() => decodeCapsule(good, nodePlatform, { moduleHash: hashOf('e') }));
    expect(error.code).toBe('SHERD_CAPSULE_MISMATCH');
    const wrongBase = { pages: 2, nonZero: new Map() };
    const decoded = decodeCapsule(good, nodePlatform);
    expect(refusal(() => decoded.state(wrongBase)).code).toBe('SHERD_CAPSULE_MISMATCH');
  });

  it.each([
    ['no sections', forge([])],
    ['a missing section', forge(rawOf(good).slice(1))],
    ['sections out of order', forge(rawOf(good).reverse())],
    ['a section twice', forge([...rawOf(good), { id: 5, bytes: Uint8Array.of(1) }])],
    ['memory without memory', forge([...rawOf(tiny), { id: 5, bytes: u32s(0, 4096) }])],
    ['a declared memory without its section', forge(rawOf(good).slice(0, 4))],
    ['an offset elsewhere', forge(rawOf(good), (b) => b.set([0], 64 + 8))],
    ['two sizes', forge(rawOf(good), (b) => b.set([7], 64 + 24))],
    ['a table beyond the file', forge(rawOf(good), (b) => b.set([0, 0, 0xff, 0xff], 12))],
    ['a reserved word', forge(rawOf(good), (b) => b.set([1], 24))],
    ['a header that is not a map', withSection(1, encodePlain([1]))],
    ['a header of another type', withHeader({ epoch: 'x' })],
    ['a negative epoch', withHeader({ epoch: -1 })],
    ['a short hash', withHeader({ specHash: new Uint8Array(31) })],
    [
      'unsorted references',
      withHeader({ references: [2, 1].map((n) => new Uint8Array(32).fill(n)) }),
    ],
    ['a memory beyond 4 GiB', withHeader({ memory: { pages: 65_537, limitPages: 65_537 } })],
    ['dead bytes that are none', withHeader({ deadBytes: 0 })],
    ['more dead bytes than memory', withHeader({ deadBytes: 2 ** 40 })],
    ['an unknown wait', withHeader({ pending: { name: 'x', args: [], wait: { kind: 'never' } } })],
    [
      'an argument that is text',
      withHeader({ pending: { name: 'x', args: ['1'], wait: { kind: 'yield' } } }),
    ],
    ['four billion frames', withSection(2, Uint8Array.of(0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f))],
    [
      'a frame of 32 GiB',
      withSection(2, Uint8Array.of(0, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f)),
    ],
    ['a number in long form', withSection(2, Uint8Array.of(0x80, 0, 0, 0))],
    ['a number beyond 32 bits', withSection(2, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x1f))],
    ['bytes after the frames', withSection(2, Uint8Array.of(0, 0, 0, 0))],
    [
      'a host list of four billion items',
      withSection(4, Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)),
    ],
    ['a host string of 4 GiB', withSection(4, Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff))],
    ['a host state nested without end', withSection(4, new Uint8Array(100_000).fill(0x91))],
    ['a base that is text', withHeader({ base: 'x' })],
    ['a base of another length', withHeader({ base: new Uint8Array(20) })],
    [
      'a base without a memory',
      forge([
        { id: 1, bytes: headerWith(tiny, { base: new Uint8Array(32) }) },
        ...rawOf(tiny).slice(1),
      ]),
    ],
  ])('%s', (_, bytes) => {
    expect(refusal(() => decodeCapsule(bytes, nodePlatform)).code).toBe('SHERD_CAPSULE_DAMAGED');
  });

  /** A memory section of version 2: what it says of itself, its table, its payload. */
  const memorySection = (runs: number, table: readonly number[], payloadBytes = 0): Uint8Array =>
    Uint8Array.from([
      ...u32s(runs, 64, table.length),
      ...table,
      ...new Uint8Array(payloadBytes).fill(1),
    ]);
  const units = (65_536 / 64).toString();

  it.each([
    ['runs without a table', memorySection(0xffff_ffff, []), '0 runs where 4294967295'],
    ['another number of runs', memorySection(1, [3, 5, 1, 5]), '2 runs where 1'],
    ['a table longer than the section', u32s(0, 64, 0xffff_ffff), 'bytes wanted'],
    ['a run beyond the memory', memorySection(1, [0xff, 0x07, 9]), `1025 of ${units}`],
    ['a run of a billion units', memorySection(1, [0, 0xfd, 0xff, 0xff, 0xff, 0x0f]), 'ends at'],
    ['an empty run', memorySection(1, [3, 1]), 'empty'],
    ['runs that should be one', memorySection(2, [3, 5, 0, 5]), 'goes on'],
    ['an unknown kind of run', memorySection(1, [3, 6]), 'unknown kind'],
    ['the last kind of run', memorySection(1, [3, 7]), 'unknown kind'],
    ['a table cut short', memorySection(1, [3]), 'cut short'],
    ['a number in long form', memorySection(1, [0x83, 0, 5]), 'malformed number'],
    ['another unit', u32s(0, 128, 0), 'unknown page size'],
    ['the pages of version 1', u32s(0, 4096), 'unknown page size'],
    ['a unit without bytes', memorySection(1, [3, 4]), '0 payload bytes for 1 units'],
    ['half a unit', memorySection(1, [3, 4], 32), '32 payload bytes'],
    ['payload that no run has', memorySection(1, [3, 5], 64), '64 payload bytes for 0'],
    ['no head', new Uint8Array(7), 'bytes wanted'],
  ])('in the memory: %s', (_, section, reason) => {
    const error = refusal(() => decodeCapsule(withSection(5, section), nodePlatform));
    expect([error.code, error.message]).toEqual([
      'SHERD_CAPSULE_DAMAGED',
      expect.stringMatching(new RegExp(`section memory: .*${reason}`)),
    ]);
  });

  const first = new Uint8Array(
    readFileSync(new URL('../fixtures/capsules/v1-capsule.capsule', import.meta.url)),
  );
  const inFirst = (section: Uint8Array): Uint8Array =>
    forge(
      rawOf(first).map((each) => (each.id === 5 ? { id: 5, bytes: section } : each)),
      undefined,
      1,
    );

  it.each([
    ['runs without bytes', u32s(0xffff_ffff, 4096), 'runs in'],
    ['a run beyond the memory', u32s(1, 4096, 15, 2 ** 30 + 2), 'ends at'],
    ['a run of a billion pages', u32s(1, 4096, 0, 2 ** 31 - 1), 'ends at'],
    ['an empty run', u32s(1, 4096, 3, 2 ** 30), 'out of order'],
    ['overlapping runs', u32s(2, 4096, 3, 2 ** 30 + 4, 5, 2 ** 30 + 1), 'out of order'],
    ['runs that should be one', u32s(2, 4096, 3, 2 ** 30 + 1, 4, 2 ** 30 + 1), 'out of order'],
    ['an unknown kind of run', u32s(1, 4096, 3, 2 ** 31 + 1), 'unknown kind'],
    ['another page size', u32s(0, 8192), 'unknown page size'],
    ['the units of version 2', u32s(0, 64, 0), 'unknown page size'],
    ['a page without bytes', u32s(1, 4096, 3, 1), '0 payload bytes'],
  ])('in the memory of version 1: %s', (_, section, reason) => {
    const error = refusal(() => decodeCapsule(inFirst(section), nodePlatform));
    expect([error.code, error.message]).toEqual([
      'SHERD_CAPSULE_DAMAGED',
      expect.stringMatching(new RegExp(`section memory: .*${reason}`)),
    ]);
  });

  it('a base in version 1 is refused: it had none', () => {
    const header = headerWith(first, { base: new Uint8Array(32) });
    const bytes = forge([{ id: 1, bytes: header }, ...rawOf(first).slice(1)], undefined, 1);
    expect(refusal(() => decodeCapsule(bytes, nodePlatform)).message).toContain('section header:');
    expect(forge(rawOf(first), undefined, 1)).toStrictEqual(first);
  });

  it('a huge declared memory costs nothing to decode, and is refused by a limit', () => {
    const huge = withHeader({ memory: { pages: 65_536, limitPages: 65_536 } });
    const before = process.memoryUsage();
    const decoded = decodeCapsule(huge, nodePlatform);
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(1e6);
    expect(decoded.header.memory?.pages).toBe(65_536);
    const error = refusal(() => decodeCapsule(huge, nodePlatform, { maxMemoryPages: 16 }));
    expect(error.code).toBe('SHERD_CAPSULE_DAMAGED');
    expect(error.message).toContain('16 are allowed');
  });
});

const bundle = encodeBundle(
  { capsule: tiny, module: good.subarray(0, 300), spec: Uint8Array.of(1, 2), blobs: new Map() },
  nodePlatform,
);

/** Decodes and uses all of it; gives the error's code. */
function outcome(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): string {
  try {
    decode(bytes);
    return 'accepted';
  } catch (error) {
    return error instanceof SherdError ? error.code : `threw ${String(error)}`;
  }
}

const useCapsule = (bytes: Uint8Array): unknown =>
  decodeCapsule(bytes, nodePlatform, { maxMemoryPages: 64 }).state(base);

describe('random mutations', () => {
  const REFUSED = ['SHERD_CAPSULE_DAMAGED', 'SHERD_CAPSULE_VERSION'];
  const edit = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom('set', 'cut', 'insert', 'copy'),
    value: fc.nat(255),
  });

  function mutate(
    bytes: Uint8Array,
    edits: readonly { at: number; kind: string; value: number }[],
  ): Uint8Array {
    let list = Uint8Array.from(bytes);
    for (const { at, kind, value } of edits) {
      const offset = list.length === 0 ? 0 : at % list.length;
      if (kind === 'set') list[offset] = value;
      if (kind === 'copy') list.copyWithin(offset, (at * 31) % (list.length + 1), list.length);
      if (kind === 'cut')
        list = Uint8Array.from([
          ...list.subarray(0, offset),
          ...list.subarray(offset + 1 + (value % 9)),
        ]);
      if (kind === 'insert')
        list = Uint8Array.from([...list.subarray(0, offset), value, ...list.subarray(offset)]);
    }
    return list;
  }

  it('of a file (24,000) are refused or leave it as it was', () => {
    for (const [file, decode] of [
      [tiny, useCapsule],
      [bundle, (bytes: Uint8Array) => decodeBundle(bytes, nodePlatform)],
    ] as const) {
      fc.assert(
        fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
          const mutated = mutate(file, edits);
          const same = Buffer.compare(mutated, file) === 0;
          const got = outcome(mutated, decode);
          if (same ? got !== 'accepted' : !REFUSED.includes(got))
            expect.fail(`${got} (same: ${same})`);
        }),
        { numRuns: 12_000 },
      );
    }
  });

  it('of well-hashed sections (24,000) never end in anything but a state or a coded error', () => {
    const raw = rawOf(good);
    const before = process.memoryUsage().arrayBuffers;
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.nat(4), fc.array(edit, { minLength: 1, maxLength: 4 }), (which, edits) => {
        // The payload of the memory section may hold anything; its head is what matters.
        const target = raw[which] as Raw;
        const head = which === 4 ? target.bytes.subarray(0, 40) : target.bytes;
        const mutated = mutate(head, edits);
        const rest = which === 4 ? target.bytes.subarray(40) : new Uint8Array(0);
        const bytes = new Uint8Array(mutated.length + rest.length);
        bytes.set(mutated);
        bytes.set(rest, mutated.length);
        const got = outcome(
          forge(raw.map((each, i) => (i === which ? { id: each.id, bytes } : each))),
          useCapsule,
        );
        seen.add(got);
        if (!['accepted', 'SHERD_CAPSULE_MISMATCH', ...REFUSED].includes(got)) expect.fail(got);
      }),
      { numRuns: 24_000 },
    );
    expect(seen.has('accepted') && seen.has('SHERD_CAPSULE_DAMAGED')).toBe(true);
    // 64 pages of 64 KiB are allowed, and only one state is alive at a time (the rest is garbage not yet collected).
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1e9);
  }, 180_000);
});
