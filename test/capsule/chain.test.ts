/**
 * Chains: what comes out of one is what was encoded directly; a lost or damaged link gives the last good state.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCapsule, type EncodedCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import {
  type Chain,
  compactChain,
  imageOfChain,
  readChain,
  recoverChain,
  stateOfChain,
} from '../../host/capsule/chain.js';
import { CHAIN_LINKS_MAX, neededBlobs } from '../../host/capsule/header.js';
import { nodePlatform } from '../../host/node/platform.js';
import { SherdError } from '../../host/types/errors.js';
import type { Hash } from '../../host/types/platform.js';
import type { BaseImage, CapsuleImage, MemoryBase, ShardState } from '../../host/types/state.js';
import { facts, hashOf, smallCase } from './arbitrary.js';

const WASM_PAGE = 65_536;
const { state: small, base: image } = smallCase();

interface Step {
  readonly grow: number;
  readonly writes: readonly {
    readonly at: number;
    readonly length: number;
    readonly fill: number;
  }[];
}

const step: fc.Arbitrary<Step> = fc.record({
  grow: fc.constantFrom(0, 0, 0, 1),
  writes: fc.array(
    fc.record({
      at: fc.nat(4 * WASM_PAGE),
      length: fc.oneof(fc.constantFrom(1, 64, 4096, WASM_PAGE), fc.nat(300)),
      fill: fc.constantFrom(0, 0, 1, 7, 255),
    }),
    { maxLength: 5 },
  ),
});
const steps = fc.array(step, { minLength: 1, maxLength: 7 });

/** The states of a run: the first, and one after each step. */
function statesOf(list: readonly Step[]): ShardState[] {
  const states = [small];
  for (const { grow, writes } of list) {
    const { memory, ...before } = states.at(-1) as ShardState;
    if (memory === null) throw new Error('it has a memory');
    const pages = memory.pages + grow;
    const bytes = new Uint8Array(pages * WASM_PAGE);
    bytes.set(memory.bytes);
    for (const { at, length, fill } of writes) bytes.fill(fill, at % bytes.length, at + length);
    const globals = Uint8Array.from(before.globals, (byte) => byte + 1);
    const fuelUsed = before.fuelUsed + 5n;
    states.push({ ...before, globals, fuelUsed, memory: { pages, limitPages: 99, bytes } });
  }
  return states;
}

class Store {
  readonly blobs = new Map<Hash, Uint8Array>();
  /** Names, oldest first. */
  readonly names: Hash[] = [];
  readonly load = async (hash: Hash): Promise<Uint8Array | undefined> => this.blobs.get(hash);

  put({ hash, bytes }: Pick<EncodedCapsule, 'hash' | 'bytes'>): Hash {
    this.blobs.set(hash, bytes);
    this.names.push(hash);
    return hash;
  }
}

const encode = (state: ShardState, base: MemoryBase, change = {}): EncodedCapsule =>
  encodeCapsule({ ...facts, ...change, state, base }, nodePlatform);

const imageOf = (hash: Hash, below: readonly Hash[], { memory }: ShardState): CapsuleImage => {
  if (memory === null) throw new Error('it has a memory');
  return { capsule: hash, below, pages: memory.pages, bytes: memory.bytes };
};

/** A full capsule, then a delta a state. */
function store(states: readonly ShardState[]): Store {
  const kept = new Store();
  let base: MemoryBase = image;
  for (const state of states) {
    const below = kept.names.toReversed();
    base = imageOf(kept.put(encode(state, base)), below, state);
  }
  return kept;
}

const newestOf = (kept: Store): Hash => kept.names.at(-1) as Hash;

function expectSame(actual: ShardState, expected: ShardState): void {
  const [{ memory: a, ...rest }, { memory: b, ...others }] = [actual, expected];
  expect(rest).toStrictEqual(others);
  expect([a?.pages, a?.limitPages]).toEqual([b?.pages, b?.limitPages]);
  expect(Buffer.compare(a?.bytes ?? new Uint8Array(), b?.bytes ?? new Uint8Array())).toBe(0);
}

describe('a chain', () => {
  it('gives the newest state, and compacts into the capsule that it would have been', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const states = statesOf(list);
        const kept = store(states);
        const chain = await readChain(newestOf(kept), kept.load, nodePlatform, {
          moduleHash: small.moduleHash,
        });
        expect(chain.links.map((link) => link.hash)).toEqual(kept.names.toReversed());
        const newest = states.at(-1) as ShardState;
        expectSame(stateOfChain(chain, image), newest);
        const direct = encode(newest, image);
        expect(compactChain(chain, image, nodePlatform).hash).toBe(direct.hash);
        // The next delta on a chain that was read is the one on the memory that was at hand.
        const read = imageOfChain(chain, image);
        const below = kept.names.toReversed().slice(1);
        expect(read && { ...read, bytes: null }).toEqual({
          ...imageOf(newestOf(kept), below, newest),
          bytes: null,
        });
        expect(encode(newest, read as CapsuleImage).hash).toBe(
          encode(newest, imageOf(newestOf(kept), below, newest)).hash,
        );
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it('needs all links below it and what its newest state names, nothing else', () => {
    const kept = store(
      statesOf([
        { grow: 0, writes: [] },
        { grow: 1, writes: [] },
      ]),
    );
    const bytes = kept.blobs.get(newestOf(kept)) as Uint8Array;
    const needed = neededBlobs(decodeCapsule(bytes, nodePlatform).header);
    expect(needed).toEqual([...facts.references, ...kept.names.slice(0, -1)].sort());
  });

  it('a delta weighs what changed: a byte is 64 bytes and a few of the table', () => {
    const full = store([small]);
    const changed = statesOf([{ grow: 0, writes: [{ at: 7 * 4096 + 9, length: 1, fill: 3 }] }])[1];
    const base = imageOf(newestOf(full), [], small);
    const { sizes } = encode(changed as ShardState, base);
    expect(sizes).toMatchObject({ storedBytes: 64, zeroedBytes: 0, runs: 1 });
    expect(sizes.memoryBytes).toBe(12 + 3 + 64);
    expect(encode(small, base).sizes).toMatchObject({ storedBytes: 0, runs: 0, memoryBytes: 12 });
  });

  it('of 64 MiB with 1 % touched: at most 1.1 times the touched bytes, wherever they lie', () => {
    const pages = 1024;
    const bytes = new Uint8Array(pages * WASM_PAGE);
    for (let at = 0; at < bytes.length; at += 8) bytes[at] = at >> 8;
    const memory = { pages, limitPages: pages, bytes };
    const before = imageOf(hashOf('e'), [], {
      ...small,
      memory: { ...memory, bytes: bytes.slice() },
    });
    const touched = Math.round(bytes.length / 64 / 100);
    // Every 100th unit, all of it written: as many runs as there can be.
    for (let i = 0; i < touched; i++) bytes.fill(i | 1, i * 6400, i * 6400 + 64);
    const { sizes } = encode({ ...small, memory }, before);
    expect(sizes.runs).toBe(touched);
    expect(sizes.totalBytes / (touched * 64)).toBeLessThan(1.1);
  });
});

describe('a lost or damaged link', () => {
  const damage = fc.oneof(fc.constant('lost' as const), fc.constant('thrown' as const), fc.nat());

  it('is refused and named, and the newest good state is found', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), damage, async (list, which, how) => {
        const states = statesOf(list);
        const kept = store(states);
        // Equal states give deltas of equal content, but never of equal name: the chain below differs.
        const index = which % kept.names.length;
        const name = kept.names[index] as Hash;
        const bytes = (kept.blobs.get(name) as Uint8Array).slice();
        if (typeof how === 'number') {
          const at = how % (bytes.length * 8);
          bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
          kept.blobs.set(name, bytes);
        }
        const load = async (hash: Hash): Promise<Uint8Array | undefined> => {
          if (hash !== name || typeof how === 'number') return kept.load(hash);
          if (how === 'thrown') throw new Error('the disk is gone');
          return undefined;
        };
        const asked = newestOf(kept);
        const error = await readChain(asked, load, nodePlatform).catch((cause: unknown) => cause);
        expect(error).toBeInstanceOf(SherdError);
        const code = typeof how === 'number' ? 'SHERD_BLOB_DAMAGED' : 'SHERD_BLOB_MISSING';
        expect(error).toMatchObject({ code, at: name });

        const found = await recoverChain(
          asked,
          kept.names.toReversed().slice(1),
          load,
          nodePlatform,
        );
        expect(found.lost.map((link) => [link.hash, link.error.code])).toEqual([[name, code]]);
        if (index === 0) {
          expect(found.chain).toBeUndefined();
          return;
        }
        expect(found.chain?.hash).toBe(kept.names[index - 1]);
        expectSame(stateOfChain(found.chain as Chain, image), states[index - 1] as ShardState);
        // Below a lost middle link the names are known from the newest alone.
        if (index === kept.names.length - 1) return;
        const alone = await recoverChain(asked, [], load, nodePlatform);
        expect(alone.chain?.hash).toBe(kept.names[index - 1]);
      }),
      { numRuns: 80 },
    );
  }, 60_000);

  it('several lost links are all told', async () => {
    const states = statesOf(Array.from({ length: 5 }, () => ({ grow: 0, writes: [] })));
    const kept = store(states);
    kept.blobs.delete(kept.names[4] as Hash);
    kept.blobs.delete(kept.names[2] as Hash);
    const found = await recoverChain(newestOf(kept), [], kept.load, nodePlatform);
    expect(found.lost.map((link) => link.hash)).toEqual([kept.names[4], kept.names[2]]);
    expect(found.chain?.hash).toBe(kept.names[1]);
  });

  it('a whole chain loses nothing', async () => {
    const kept = store(statesOf([{ grow: 1, writes: [] }]));
    const found = await recoverChain(newestOf(kept), [], kept.load, nodePlatform);
    expect([found.chain?.hash, found.lost]).toEqual([newestOf(kept), []]);
  });
});

describe('links that do not belong together', () => {
  const [first, second] = statesOf([{ grow: 0, writes: [] }]) as [ShardState, ShardState];

  /** A delta of `second` on a capsule of `below`, which is made of `state`. */
  async function chained(
    state: ShardState,
    base: BaseImage = image,
    below: readonly Hash[] = [],
    newer: ShardState = second,
  ) {
    const kept = new Store();
    const name = kept.put(encode(state, base));
    const memory = newer.memory?.bytes.subarray(0, WASM_PAGE) ?? new Uint8Array();
    kept.put(encode(newer, { capsule: name, below, pages: 1, bytes: memory }));
    const found = await recoverChain(newestOf(kept), [], kept.load, nodePlatform);
    await expect(readChain(newestOf(kept), kept.load, nodePlatform)).rejects.toMatchObject({
      code: 'SHERD_CAPSULE_MISMATCH',
      at: newestOf(kept),
    });
    // The lower one is good by itself.
    expect(found.chain?.hash).toBe(name);
    return found.lost[0]?.error.message;
  }

  it('are refused, and the lower one is still good', async () => {
    expect(await chained({ ...first, moduleHash: hashOf('9') })).toContain('another moduleHash');
    expect(await chained({ ...first, programHash: hashOf('9') })).toContain('another programHash');
    expect(await chained({ ...first, abi: 77 })).toContain('another abi');
    expect(await chained({ ...first, fuelUsed: 2n ** 50n })).toContain('newer');
    expect(await chained({ ...first, memory: null })).toContain('no memory');
    const grown = statesOf([{ grow: 1, writes: [] }])[1] as ShardState;
    expect(await chained({ ...grown, fuelUsed: 0n })).toContain('no memory to build on');
    expect(await chained(first, image, [hashOf('8')])).toContain('other capsules');
  });

  it('a chain is bounded', async () => {
    const kept = store(statesOf(Array.from({ length: 4 }, () => ({ grow: 0, writes: [] }))));
    const options = { maxLinks: 3 };
    await expect(readChain(newestOf(kept), kept.load, nodePlatform, options)).rejects.toMatchObject(
      { code: 'SHERD_CAPSULE_MISMATCH', at: newestOf(kept) },
    );
    const found = await recoverChain(newestOf(kept), [], kept.load, nodePlatform, options);
    expect(found.chain?.hash).toBe(kept.names[2]);
    const names = Array.from({ length: CHAIN_LINKS_MAX }, (_, i) =>
      i.toString(16).padStart(64, '0'),
    );
    const long = imageOf(names[0] as Hash, names.slice(1), small);
    expect(() => encode(small, long)).toThrow(/bounded/);
    const twice = imageOf(hashOf('a'), [hashOf('a')], small);
    expect(() => encode(small, twice)).toThrow(/once/);
  });

  it('a base that is forged into a loop cannot be named', async () => {
    // A name is a hash of what it names: a "loop" is a link whose bytes do not match its name.
    const kept = store([first, second]);
    kept.blobs.set(kept.names[0] as Hash, kept.blobs.get(newestOf(kept)) as Uint8Array);
    await expect(readChain(newestOf(kept), kept.load, nodePlatform)).rejects.toMatchObject({
      code: 'SHERD_BLOB_DAMAGED',
    });
  });
});
