/**
 * Packed files: they give back what was packed, on both platforms, and refuse everything else before it costs memory.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { isPacked, packBytes, unpackBytes } from '../../host/capsule/packed.js';
import { nodePlatform } from '../../host/node/platform.js';
import { webPlatform } from '../../host/runtime/platform-web.js';
import { SherdError } from '../../host/types/errors.js';
import type { Platform } from '../../host/types/platform.js';
import { Random } from '../exact/random.js';
import { packedMutant, rehashed } from './packed-mutants.js';

let web: Platform;
beforeAll(async () => {
  web = await webPlatform();
});

const MIB = 1 << 20;

/** Bytes as memories have them: runs of zeros, repeated words, noise. */
function memoryLike(seed: number, length: number): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const end = Math.min(length, at + 1 + random.below(5_000));
    const kind = random.below(3);
    for (; at < end; at++) bytes[at] = kind === 0 ? 0 : kind === 1 ? at & 7 : random.below(256);
  }
  return bytes;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const good = packBytes(text('what a paused program needs '.repeat(60)), nodePlatform);

function refusal(file: Uint8Array, mostBytes?: number): SherdError {
  try {
    unpackBytes(file, nodePlatform, mostBytes);
  } catch (error) {
    if (error instanceof SherdError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

function changed(at: number, write: (view: DataView) => void): Uint8Array {
  const file = good.slice();
  write(new DataView(file.buffer, at));
  return rehashed(file);
}

describe('packed files', () => {
  it('give back any bytes, whichever platform packed them', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(300_000), (seed, length) => {
        const plain = memoryLike(seed, length);
        for (const packer of [nodePlatform, web]) {
          const file = packBytes(plain, packer);
          expect(isPacked(file)).toBe(true);
          expect(file.length).toBeLessThanOrEqual(plain.length + 64 + 4);
          for (const reader of [nodePlatform, web])
            expect(Buffer.compare(unpackBytes(file, reader), plain)).toBe(0);
        }
      }),
      { numRuns: 25 },
    );
  });

  it.each([0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 3])('give back %d bytes', (length) => {
    const plain = memoryLike(7, length);
    const file = packBytes(plain, nodePlatform);
    expect(Buffer.compare(unpackBytes(file, nodePlatform), plain)).toBe(0);
    expect(file.length).toBeLessThanOrEqual(length + 64 + 4 * Math.ceil(length / MIB));
  });

  it('are smaller where there is something to gain, and hold noise as it is', () => {
    expect(good.length).toBeLessThan(200);
    const noise = new Uint8Array(100_000);
    const random = new Random(3);
    for (let i = 0; i < noise.length; i++) noise[i] = random.below(256);
    expect(packBytes(noise, nodePlatform).length).toBe(noise.length + 68);
  });

  it('refuse every flipped bit and every cut', () => {
    for (let bit = 0; bit < 8 * good.length; bit++) {
      const file = good.slice();
      file[bit >> 3]! ^= 1 << (bit & 7);
      const isVersion = bit >> 3 >= 8 && bit >> 3 < 12;
      const code = isVersion ? 'SHERD_CAPSULE_VERSION' : 'SHERD_CAPSULE_DAMAGED';
      expect(refusal(file).code).toBe(code);
    }
    for (let length = 0; length < good.length; length++)
      expect(refusal(good.subarray(0, length)).code).toBe('SHERD_CAPSULE_DAMAGED');
  });

  it.each([
    ['a newer format', changed(8, (view) => view.setUint32(0, 2, true)), 'version 2'],
    ['pieces of no bytes', changed(12, (view) => view.setUint32(0, 0, true)), 'pieces of 0 bytes'],
    ['many small pieces', changed(12, (view) => view.setUint32(0, 1, true)), 'pieces of 1 bytes'],
    [
      'pieces that are too large',
      changed(12, (view) => view.setUint32(0, MIB + 1, true)),
      'pieces of',
    ],
    [
      'a size beyond any limit',
      changed(16, (view) => view.setBigUint64(0, 2n ** 63n, true)),
      'more than',
    ],
    [
      'a size that no stream can reach',
      changed(16, (view) => view.setBigUint64(0, 2n ** 31n, true)),
      'cannot stand for',
    ],
    [
      'fewer plain bytes than the stream has',
      changed(16, (view) => view.setBigUint64(0, 100n, true)),
      'cannot be unpacked',
    ],
    [
      'more plain bytes than the stream has',
      changed(16, (view) => view.setBigUint64(0, 1_700n, true)),
      'cannot be unpacked',
    ],
    ['reserved bits', changed(24, (view) => view.setUint8(3, 1)), 'reserved'],
    [
      'a piece longer than the file',
      changed(64, (view) => view.setUint32(0, 0xffffffff, true)),
      'longer than the file',
    ],
    [
      'a piece that is said to be as it is',
      changed(64, (view) => view.setUint32(0, view.getUint32(0, true) & ~1, true)),
      'another size',
    ],
    ['bytes after the end', rehashed(Uint8Array.from([...good, 0])), 'after the last piece'],
    ['another kind of file', text('SHERD, but not packed'), 'does not begin like one'],
  ])('refuse %s', (_, file, reason) => {
    const error = refusal(file);
    expect(error.message).toContain(reason);
    expect(error.exitCode).toBe(2);
  });

  it('refuse a bomb by the caller’s limit before unpacking it', () => {
    const bomb = packBytes(new Uint8Array(8 * MIB), nodePlatform);
    expect(bomb.length).toBeLessThan(40_000);
    expect(refusal(bomb, MIB).message).toContain('more than');
    expect(unpackBytes(bomb, nodePlatform, 8 * MIB).length).toBe(8 * MIB);
  });

  it('refuse or give back what mutants hold; where both platforms give something, it is the same', () => {
    const plain = memoryLike(11, 3_000);
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 3_000; seed++) {
      const file = packedMutant(plain, new Random(seed));
      const [here, there] = [nodePlatform, web].map((platform) => {
        try {
          return nodePlatform.sha256(unpackBytes(file, platform, MIB));
        } catch (error) {
          if (error instanceof SherdError) return 'refused';
          throw error;
        }
      });
      // fflate takes streams for complete that zlib refuses; what is inside has hashes of its own.
      if (here !== 'refused') expect([seed, there]).toEqual([seed, here]);
      outcomes.add(here === 'refused' ? here : 'given back');
    }
    expect([...outcomes].sort()).toEqual(['given back', 'refused']);
  });
});
