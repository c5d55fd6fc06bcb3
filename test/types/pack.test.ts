import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SherdError } from '../../host/types/errors.js';
import { decodePlain, encodePlain, MAX_PLAIN_DEPTH } from '../../host/types/pack.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const refused = (bytes: Uint8Array | number[]): void => {
  expect(() => decodePlain(Uint8Array.from(bytes))).toThrow(SherdError);
};

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: 'binary', maxLength: 90 }).map((s) => `\uFEFF${s}`),
);
const key = text.filter((k) => k !== '__proto__');
const { plain } = fc.letrec((tie) => ({
  plain: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.integer(),
    fc.double().map((d) => d + 0),
    fc.maxSafeInteger().map((n) => n + 0),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    text,
    fc.uint8Array({ maxLength: 400 }),
    fc.array(tie('plain'), { maxLength: 20 }),
    fc.dictionary(key, tie('plain'), { maxKeys: 20, noNullPrototype: true }),
  ),
}));

describe('canonical msgpack', () => {
  it('gives back what it was given (P2)', () => {
    fc.assert(
      fc.property(plain, (value) => {
        expect(decodePlain(encodePlain({ value }))).toEqual({ value });
      }),
      { numRuns: 2_000 },
    );
  });

  it('does not depend on the order of keys (P1)', () => {
    fc.assert(
      fc.property(fc.dictionary(key, plain, { noNullPrototype: true }), (object) => {
        const reversed = Object.fromEntries(Object.entries(object).reverse());
        expect(hex(encodePlain(reversed))).toBe(hex(encodePlain(object)));
      }),
    );
  });

  it('accepts canonical bytes only: one changed byte gives another value or an error (P3)', () => {
    fc.assert(
      fc.property(plain, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, where, flip) => {
        const bytes = encodePlain([value]);
        const index = where % bytes.length;
        bytes[index] = (bytes[index] ?? 0) ^ flip;
        let other: unknown;
        try {
          other = decodePlain(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SherdError);
          return;
        }
        expect(hex(encodePlain(other as object))).toBe(hex(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses random bytes with a coded error, never with another one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          expect(hex(encodePlain(decodePlain(bytes) as object))).toBe(hex(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(SherdError);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it('refuses every prefix and every byte too many', () => {
    const bytes = encodePlain({ a: [1, 2n, 'three', new Uint8Array(5)], b: { c: -1.5 } });
    for (let length = 0; length < bytes.length; length++) refused(bytes.subarray(0, length));
    refused([...bytes, 0xc0]);
  });

  it('refuses extensions, repeated or unsorted keys, long forms and hostile headers', () => {
    refused([0xd4, 0x72, 0x40]); // msgpackr record definition
    refused([0xd6, 0xff, 0, 0, 0, 0]); // timestamp
    refused([0xc1]);
    refused([0xcc, 0x05]); // 5 in two bytes
    refused([0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0]); // -0
    refused([0x82, 0xa1, 0x61, 0x01, 0xa1, 0x61, 0x02]);
    refused([0x82, 0xa1, 0x62, 0x01, 0xa1, 0x61, 0x02]);
    refused([0x81, 0x01, 0x02]); // key that is not a string
    refused([0xdd, 0xff, 0xff, 0xff, 0xff]);
    refused([0xdf, 0x7f, 0xff, 0xff, 0xff, 0xa0]);
    refused([0xc6, 0xff, 0xff, 0xff, 0xff, 0]);
    refused([0xa2, 0xc3, 0x28]); // not UTF-8
    refused([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80]);
    refused([...new Array<number>(100_000).fill(0x91), 0xc0]);
  });

  it('keeps the type of integers: bigint stays bigint, number stays number', () => {
    const value = {
      small: 5n,
      number: 5,
      top: 2n ** 64n - 1n,
      low: -(2n ** 63n),
      big: 2 ** 53 - 1,
    };
    expect(decodePlain(encodePlain(value))).toStrictEqual(value);
  });

  it('normalises -0 and NaN', () => {
    expect(hex(encodePlain([-0, Number.NaN]))).toBe('9200cb7ff8000000000000');
  });

  it('refuses what it cannot carry (P5)', () => {
    const bad: object[] = [
      { a: undefined },
      [undefined],
      [() => 0],
      [Symbol('x')],
      [new Date()],
      [new Map()],
      [new Set()],
      [new Uint16Array(2)],
      [new (class Thing {})()],
      [2n ** 64n],
      [-(2n ** 63n) - 1n],
      ['\ud800'],
      { '\udc00': 1 },
      JSON.parse('{"__proto__":1}') as object,
      // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
      [1, , 2],
    ];
    for (const value of bad) expect(() => encodePlain(value)).toThrow(/cannot be packed exactly/);
  });

  it('bounds the depth both ways', () => {
    const nest = (levels: number): object => {
      let value: object = [];
      for (let i = 0; i < levels; i++) value = [value];
      return value;
    };
    const deep = nest(MAX_PLAIN_DEPTH);
    expect(decodePlain(encodePlain(deep))).toEqual(deep);
    expect(() => encodePlain(nest(MAX_PLAIN_DEPTH + 1))).toThrow(/levels/);
  });

  it('owns its bytes (P4)', () => {
    const inner = new Uint8Array([1, 2, 3]);
    const first = encodePlain({ inner });
    const kept = hex(first);
    encodePlain({ inner: new Uint8Array(2_000).fill(7) });
    expect(hex(first)).toBe(kept);
    expect(first.constructor).toBe(Uint8Array);
    const source = Buffer.from(first);
    const value = decodePlain(source) as { inner: Uint8Array };
    source.fill(0);
    expect(value.inner).toEqual(inner);
    expect(value.inner.constructor).toBe(Uint8Array);
  });

  it('gives the same bytes for Buffer and Uint8Array', () => {
    expect(hex(encodePlain([Buffer.from([1, 2])]))).toBe(
      hex(encodePlain([new Uint8Array([1, 2])])),
    );
  });

  it('msgpackr writes the same bytes where there is no Buffer (P1)', () => {
    const script = `
      const hex = (b) => [...b].map((x) => x.toString(16).padStart(2, '0')).join('');
      delete globalThis.Buffer;
      const { Packr } = await import('./node_modules/msgpackr/index.js');
      const p = new Packr({ useRecords: false, mapsAsObjects: true });
      console.log(hex(p.pack(new Map([['k', 'ü'.repeat(90)], ['n', [1, -5, 2n ** 63n, 0.5, new Uint8Array(300)]]]))));`;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    const here = encodePlain({
      k: 'ü'.repeat(90),
      n: [1, -5, 2n ** 63n, 0.5, new Uint8Array(300)],
    });
    expect(out.trim()).toBe(hex(here));
  });
});
