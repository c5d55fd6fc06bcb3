/**
 * The codec's laws: exact round trip, canonical bytes, no platform differences, only what differs is stored.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeCapsule, encodeCapsule, isCapsule } from '../../host/capsule/capsule.js';
import { nodePlatform } from '../../host/node/platform.js';
import { webPlatform } from '../../host/runtime/platform-web.js';
import type { Platform } from '../../host/types/platform.js';
import type { Plain, ShardState } from '../../host/types/state.js';
import { coreWasm } from '../core/model.js';
import { anyCase, type Case, facts, hashOf, smallCase } from './arbitrary.js';

let web: Platform;
beforeAll(async () => {
  web = await webPlatform({ coreWasm });
});

const encode = (each: Case, platform = nodePlatform) =>
  encodeCapsule({ ...facts, state: each.state, base: each.base }, platform);

/** Memory apart from the rest: element-wise compares of large arrays are slow. */
function expectSame(actual: ShardState, expected: ShardState): void {
  const [{ memory: a, ...rest }, { memory: b, ...others }] = [actual, expected];
  expect(rest).toStrictEqual(others);
  expectBytes(a?.bytes ?? new Uint8Array(0), b?.bytes ?? new Uint8Array(0));
  expect(a && { ...a, bytes: null }).toStrictEqual(b && { ...b, bytes: null });
}

function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(actual, expected)).toBe(0);
}

/** The same value with every object's keys in reverse order and every byte array in another buffer. */
function shuffled<T>(value: T): T {
  if (value instanceof Uint8Array) {
    const room = new Uint8Array(value.length + 9);
    room.set(value, 5);
    return room.subarray(5, 5 + value.length) as T;
  }
  if (Array.isArray(value)) return value.map(shuffled) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, each]) => [key, shuffled(each)]),
  ) as T;
}

describe('round trip', () => {
  it('gives the exact state back, into fresh memory and into given memory', () => {
    fc.assert(
      fc.property(anyCase, fc.boolean(), (each, holdsBase) => {
        const { bytes, hash } = encode(each);
        const decoded = decodeCapsule(bytes, nodePlatform, { moduleHash: each.state.moduleHash });
        expect(decoded.hash).toBe(hash);
        const { unknown, ...header } = decoded.header;
        expect(header).toMatchObject({ ...facts, base: null });
        expect(unknown).toEqual({});
        expectSame(decoded.state(each.base), each.state);
        if (each.state.memory === null) return;
        const target = new Uint8Array(each.state.memory.bytes.length);
        if (holdsBase)
          for (const [page, content] of each.base.nonZero) target.set(content, page * 4096);
        const holds = holdsBase ? 'base' : 'zeros';
        const state = decoded.state(each.base, { bytes: target, holds });
        expect(state.memory?.bytes).toBe(target);
        expectSame(state, each.state);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps NaN payloads, -0 and 64-bit arguments', () => {
    const { state, base } = smallCase();
    const decoded = decodeCapsule(encode({ state, base }).bytes, nodePlatform).state(base);
    expect(decoded.results).toStrictEqual(state.results);
    expect(Object.is(decoded.pending?.args[3], -0)).toBe(true);
    expect(decoded.pending?.args[4]).toBe(5n);
  });

  it('carries a hundred thousand frames', () => {
    const { state, base } = smallCase();
    const frames = Array.from({ length: 100_000 }, (_, i) => ({
      func: i % 70_000,
      safepoint: i % 5,
      slots: new Uint8Array(8 * (i % 3)).fill(i),
    }));
    const deep: ShardState = { ...state, frames };
    const decoded = decodeCapsule(encode({ state: deep, base }).bytes, nodePlatform);
    expect(decoded.state(base).frames).toStrictEqual(frames);
  });
});

describe('canonical bytes', () => {
  it('do not depend on key order, buffers, repetition or the platform', () => {
    fc.assert(
      fc.property(anyCase, (each) => {
        const first = encode(each);
        const other: Case = { state: shuffled(each.state), base: { ...each.base } };
        expectBytes(encode(other).bytes, first.bytes);
        expect(encode(each, web).hash).toBe(first.hash);
      }),
      { numRuns: 150 },
    );
  });

  it('come out again when a decoded state is encoded', () => {
    fc.assert(
      fc.property(anyCase, (each) => {
        const { bytes } = encode(each);
        const state = decodeCapsule(bytes, web).state(each.base);
        expectBytes(encode({ state, base: each.base }).bytes, bytes);
      }),
    );
  });

  it('change with every part of the state', () => {
    const { state, base } = smallCase();
    const memory = state.memory as NonNullable<ShardState['memory']>;
    const changed = memory.bytes.slice();
    changed[60_000] = 1;
    const variants: Partial<ShardState>[] = [
      { programHash: hashOf('d') },
      { moduleHash: hashOf('d') },
      { abi: 2 },
      { calls: [] },
      { args: new Uint8Array(8) },
      { fuelUsed: state.fuelUsed + 1n },
      { frames: state.frames.slice(1) },
      { results: new Uint8Array(8) },
      { pending: null },
      { globals: new Uint8Array(16) },
      { memory: { ...memory, bytes: changed } },
      { memory: { ...memory, limitPages: memory.limitPages + 1 } },
      { droppedSegments: [1] },
      { droppedElements: [0] },
      { tables: [{ index: 0, size: 3, changes: [] }] },
      { tables: [{ index: 0, size: 3, changes: [1, 7] }] },
      { growRefused: false },
      { host: { ...(state.host as Record<string, Plain>), more: true } },
    ];
    const hashes = variants.map(
      (variant) => encode({ state: { ...state, ...variant }, base }).hash,
    );
    expect(new Set([...hashes, encode({ state, base }).hash]).size).toBe(variants.length + 1);
  });

  it('keep header fields of later versions', () => {
    const { state, base } = smallCase();
    const unknown = { zeta: 1, alpha: [Uint8Array.of(9), 5n] };
    const first = encodeCapsule({ ...facts, state, base, unknown }, nodePlatform);
    const decoded = decodeCapsule(first.bytes, nodePlatform);
    expect(decoded.header.unknown).toStrictEqual(unknown);
    const again = encodeCapsule(
      { ...facts, state: decoded.state(base), base, unknown: decoded.header.unknown },
      nodePlatform,
    );
    expect(again.bytes).toStrictEqual(first.bytes);
  });
});

describe('size', () => {
  it('counts only units that differ from the base', () => {
    const { state, base } = smallCase();
    const { bytes, sizes } = encode({ state, base });
    // Page 0 and page 2 are in the base: one kept, one zeroed by the program; a byte of page 5 was written.
    expect(sizes).toMatchObject({
      spaceBytes: 65_536,
      storedBytes: 64,
      zeroedBytes: 4096,
      runs: 2,
    });
    expect(sizes.memoryBytes).toBe(12 + 7 + 64);
    expect(sizes.totalBytes).toBe(bytes.length);
    const parts = ['envelope', 'header', 'frames', 'globals', 'host', 'memory'] as const;
    expect(parts.reduce((sum, part) => sum + sizes[`${part}Bytes`], 0)).toBe(bytes.length);
    expect(decodeCapsule(bytes, nodePlatform).sizes).toStrictEqual(sizes);
  });

  it('of an untouched 16 MiB memory is under 1 KB', () => {
    const nonZero = new Map([[3, new Uint8Array(4096).fill(1)]]);
    const base = { pages: 256, nonZero };
    const memory = new Uint8Array(256 * 65_536);
    memory.set(new Uint8Array(4096).fill(1), 3 * 4096);
    const state = { ...smallCase().state, memory: { pages: 256, limitPages: 256, bytes: memory } };
    expect(encode({ state, base }).sizes).toMatchObject({
      storedBytes: 0,
      zeroedBytes: 0,
      memoryBytes: 12,
    });
    expect(encode({ state, base }).bytes.length).toBeLessThan(1024);
  });

  it('are the same in memory that was used before', () => {
    fc.assert(
      fc.property(anyCase, (each) => {
        const dirty = (bytes: number) =>
          new Uint8Array(bytes + 99).fill(0xaa).subarray(7, 7 + bytes);
        const { bytes } = encodeCapsule(
          { ...facts, state: each.state, base: each.base },
          nodePlatform,
          dirty,
        );
        expectBytes(bytes, encode(each).bytes);
        expect(bytes.byteOffset).toBe(7);
      }),
      { numRuns: 50 },
    );
  });

  it('that were verified as a whole are not hashed again, but prologue and table are', () => {
    const { bytes } = encode(smallCase());
    const hashed: number[] = [];
    const counting = {
      ...nodePlatform,
      sha256: (each: Uint8Array) => {
        hashed.push(each.length);
        return nodePlatform.sha256(each);
      },
    };
    decodeCapsule(bytes, counting, { verified: true });
    expect(hashed).toHaveLength(1);
    const broken = bytes.slice();
    broken[70]! ^= 1;
    expect(() => decodeCapsule(broken, nodePlatform, { verified: true })).toThrow(/envelope/);
  });

  it('gives a buffer of its own, which can be transferred', () => {
    const { bytes } = encode(smallCase());
    expect(bytes.byteOffset).toBe(0);
    expect(bytes.buffer.byteLength).toBe(bytes.length);
    expect(isCapsule(bytes)).toBe(true);
    expect(isCapsule(bytes.subarray(0, 5))).toBe(false);
  });
});
