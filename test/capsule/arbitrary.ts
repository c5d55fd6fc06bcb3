/**
 * Random shard states for the capsule tests, and a small fixed one.
 */
import fc from 'fast-check';
import type {
  BaseImage,
  FrameState,
  MemoryState,
  PendingCall,
  Plain,
  ShardState,
  TableState,
} from '../../host/types/state.js';

const WASM_PAGE_BYTES = 65_536;
const PAGE_BYTES = 4096;

export const hashOf = (digit: string): string => digit.repeat(64);

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, '0')).join(''));
const u32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff }));
const words = (max: number): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: max })
    .map((list) => Uint8Array.from(list.flatMap((each) => [...each])));
const u64 = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });

const frame: fc.Arbitrary<FrameState> = record({ func: u32, safepoint: u32, slots: words(6) });

const pending: fc.Arbitrary<PendingCall> = record({
  name: fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => text.toWellFormed()),
  args: fc.array(
    fc.oneof(
      fc.integer(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.double({ noNaN: true }),
      fc.constant(Number.NaN),
    ),
    { maxLength: 8 },
  ),
  wait: fc.oneof(
    record({ kind: fc.constant('until' as const), monotonicNs: u64 }),
    record({ kind: fc.constant('blob' as const), hash }),
    record({ kind: fc.constant('yield' as const) }),
  ),
});

/** Plain data as the host side makes it. */
export const plain: fc.Arbitrary<Plain> = fc.letrec<{ tree: Plain }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true }).map((value) => value + 0),
    u64,
    fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.toWellFormed()),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ maxLength: 8 }).filter((key) => key !== '__proto__'),
      tie('tree'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).tree;

/** Page writes: what is done to a 4 KiB page of memory after it held its base content. */
type Write = { readonly page: number; readonly fill: number; readonly at: number };

const writes = fc.array(
  record({ page: fc.nat(63), fill: fc.nat(255), at: fc.nat(PAGE_BYTES - 1) }),
  { maxLength: 12 },
);

function baseOf(pages: number, list: readonly Write[]): BaseImage {
  const nonZero = new Map<number, Uint8Array>();
  for (const { page, fill, at } of list) {
    if (page < pages * 16 && fill > 0) nonZero.set(page, new Uint8Array(PAGE_BYTES).fill(fill, at));
  }
  return { pages, nonZero };
}

function memoryOf(base: BaseImage, grown: number, list: readonly Write[]): MemoryState {
  const pages = base.pages + grown;
  const bytes = new Uint8Array(pages * WASM_PAGE_BYTES);
  for (const [page, content] of base.nonZero) bytes.set(content, page * PAGE_BYTES);
  for (const { page, fill, at } of list) {
    if (page >= pages * 16) continue;
    const start = page * PAGE_BYTES;
    if (at % 3 === 0) bytes.fill(0, start, start + PAGE_BYTES);
    else bytes[start + at] = fill;
  }
  return { pages, limitPages: pages + 7, bytes };
}

export interface Case {
  readonly state: ShardState;
  readonly base: BaseImage;
}

const indices = fc
  .uniqueArray(fc.nat(300), { maxLength: 3 })
  .map((list) => list.sort((a, b) => a - b));

const tableState = (index: number): fc.Arbitrary<TableState> =>
  fc
    .uniqueArray(fc.nat(999), { maxLength: 4 })
    .map((slots) => slots.sort((a, b) => a - b))
    .chain((slots) => fc.tuple(...slots.map((slot) => fc.nat(500).map((f) => [slot, f]))))
    .map((pairs) => ({ index, size: 1000, changes: pairs.flat() }));

/** Any state, with a base that its memory may share pages with. */
export const anyCase: fc.Arbitrary<Case> = record({
  basePages: fc.nat(3),
  baseWrites: writes,
  grown: fc.nat(1),
  stateWrites: writes,
  hasMemory: fc.boolean(),
  state: record({
    programHash: hash,
    moduleHash: hash,
    abi: fc.nat(1000),
    calls: fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { maxLength: 3 }),
    args: words(3),
    fuelUsed: u64,
    frames: fc.array(frame, { maxLength: 12 }),
    results: words(2),
    pending: fc.option(pending, { nil: null }),
    globals: words(10),
    droppedSegments: fc
      .uniqueArray(fc.nat(5000), { maxLength: 5 })
      .map((list) => list.sort((a, b) => a - b)),
    growRefused: fc.boolean(),
    host: plain,
  }),
  droppedElements: indices,
  tables: indices.chain((list) => fc.tuple(...list.map(tableState))),
}).map(({ basePages, baseWrites, grown, stateWrites, hasMemory, state, ...references }) => {
  const { droppedElements, tables } = references;
  const base = baseOf(hasMemory ? basePages : 0, baseWrites);
  const memory = hasMemory ? memoryOf(base, grown, stateWrites) : null;
  const present = {
    ...(droppedElements.length > 0 ? { droppedElements } : {}),
    ...(tables.length > 0 ? { tables } : {}),
  };
  return { state: { ...state, ...present, memory }, base };
});

/** A small state that has one of everything; the golden fixture is made of it. Never change it. */
export function smallCase(): Case {
  const base = baseOf(1, [
    { page: 0, fill: 7, at: 4000 },
    { page: 2, fill: 9, at: 0 },
  ]);
  const memory = memoryOf(base, 0, [{ page: 2, fill: 0, at: 0 }]);
  memory.bytes[5 * PAGE_BYTES + 17] = 0xaa;
  return {
    base,
    state: {
      programHash: hashOf('a'),
      moduleHash: hashOf('b'),
      abi: 1,
      calls: ['_start'],
      args: new Uint8Array(0),
      fuelUsed: 123_456_789_012n,
      frames: [
        { func: 9, safepoint: 2, slots: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) },
        {
          func: 300,
          safepoint: 0,
          slots: Uint8Array.from({ length: 24 }, (_, i) => 0xf8 + (i % 8)),
        },
      ],
      results: Uint8Array.of(0, 0, 0, 0, 0, 0, 0xf8, 0x7f),
      pending: {
        name: 'wasi_snapshot_preview1.poll_oneoff',
        args: [1024, -2048, 1, -0, 5n],
        wait: { kind: 'until', monotonicNs: 77_000_000n },
      },
      globals: Uint8Array.from({ length: 16 }, (_, i) => i * 3),
      memory,
      droppedSegments: [1, 4],
      growRefused: true,
      host: { files: [{ path: '/tmp/x', offset: 12n }], random: Uint8Array.of(1, 2, 3) },
    },
  };
}

export const facts = {
  shardId: 's-test01',
  epoch: 3,
  specHash: hashOf('c'),
  references: [hashOf('1'), hashOf('2')],
};
