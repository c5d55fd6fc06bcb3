/**
 * The two Platform ports give the same bytes.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { webPlatform } from '../../host/runtime/platform-web.js';
import type { Platform } from '../../host/types/platform.js';

let web: Platform;
beforeAll(async () => {
  web = await webPlatform();
});

/** (module (import "m" "f" (func $f)) (func (export "own") (result i32) (i32.const 7)) (export "again" (func $f))) */
const REEXPORT = Uint8Array.of(
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  1,
  8,
  2,
  0x60,
  0,
  0,
  0x60,
  0,
  1,
  0x7f,
  2,
  7,
  1,
  1,
  0x6d,
  1,
  0x66,
  0,
  0,
  3,
  2,
  1,
  1,
  7,
  15,
  2,
  3,
  0x6f,
  0x77,
  0x6e,
  0,
  1,
  5,
  0x61,
  0x67,
  0x61,
  0x69,
  0x6e,
  0,
  0,
  10,
  6,
  1,
  4,
  0,
  0x41,
  7,
  11,
);

describe('sha256', () => {
  it('gives the published values for the empty string and "abc"', () => {
    for (const platform of [nodePlatform, web]) {
      expect(platform.sha256(new Uint8Array(0))).toBe(
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      );
      expect(platform.sha256(new TextEncoder().encode('abc'))).toBe(
        'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
      );
    }
  });

  it('is the same on both ports, for views into larger buffers too', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5000 }),
        fc.nat(200),
        fc.nat(200),
        (bytes, from, cut) => {
          const view = bytes.subarray(
            Math.min(from, bytes.length),
            Math.max(0, bytes.length - cut),
          );
          expect(web.sha256(view)).toBe(nodePlatform.sha256(view));
        },
      ),
    );
  });
});

describe('equal', () => {
  it('agrees with a byte-by-byte compare on both ports', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 600 }),
        fc.nat(9),
        fc.nat(9),
        fc.option(fc.nat(599), { nil: undefined }),
        (content, aOffset, bOffset, flip) => {
          const a = new Uint8Array(content.length + aOffset + 3).fill(1);
          const b = new Uint8Array(content.length + bOffset + 5).fill(2);
          a.set(content, aOffset);
          b.set(content, bOffset);
          const flipped = flip !== undefined && flip < content.length;
          if (flipped) b[bOffset + flip] = (b[bOffset + flip] ?? 0) ^ 0x40;
          for (const platform of [nodePlatform, web]) {
            expect(platform.equal(a, aOffset, b, bOffset, content.length)).toBe(!flipped);
          }
        },
      ),
    );
  });

  it('finds empty ranges equal', () => {
    const some = Uint8Array.of(1, 2, 3);
    for (const platform of [nodePlatform, web])
      expect(platform.equal(some, 3, some, 0, 0)).toBe(true);
  });
});

describe('clocks', () => {
  it('never go back', () => {
    for (const platform of [nodePlatform, web]) {
      let before = platform.monotonicNs();
      for (let i = 0; i < 1000; i++) {
        const now = platform.monotonicNs();
        expect(now >= before).toBe(true);
        before = now;
      }
      expect(platform.wallMs()).toBeGreaterThan(1_700_000_000_000);
    }
  });
});

describe('compilation', () => {
  it('runs what it compiled', () => {
    for (const platform of [nodePlatform, web]) {
      const module = platform.compileWasm(REEXPORT);
      let calls = 0;
      const { exports } = platform.instantiateWasm(module, { m: { f: () => calls++ } });
      expect((exports.own as () => number)()).toBe(7);
      (exports.again as () => void)();
      expect(calls).toBe(1);
    }
  });

  it('refuses malformed bytes with a CompileError', () => {
    for (const platform of [nodePlatform, web]) {
      expect(() => platform.compileWasm(REEXPORT.subarray(0, 20))).toThrow(
        WebAssembly.CompileError,
      );
    }
  });
});
