/** Specs and trees: one encoding each, exact, and nothing else gets in. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSpec, decodeTrees, encodeSpec, encodeTrees } from '../../host/runtime/spec.js';
import { compareUtf8 } from '../../host/runtime/wasi/order.js';
import {
  CHUNK_BYTES,
  type DirectoryTree,
  type ShardSpec,
  type TreeNode,
} from '../../host/types/host.js';
import { decodePlain, encodePlain } from '../../host/types/pack.js';

const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((b) => Buffer.from(b).toString('hex'));
const text = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((t) => !t.includes('\0'));
const name = text.filter((t) => t !== '' && t !== '.' && t !== '..' && !t.includes('/'));
const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const chunks = fc
  .tuple(fc.array(hash, { maxLength: 3 }), fc.integer({ min: 1, max: CHUNK_BYTES }))
  .map(([hashes, last]) =>
    hashes.map((value, index) => ({
      hash: value,
      bytes: index === hashes.length - 1 ? last : CHUNK_BYTES,
    })),
  );
const file = fc.record({ mtimeNs: time, chunks, executable: fc.boolean() }).map((f): TreeNode => {
  const bytes = f.chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  return { kind: 'file', mtimeNs: f.mtimeNs, bytes, chunks: f.chunks, executable: f.executable };
});
const symlink = fc
  .record({ mtimeNs: time, target: text.filter((t) => t !== '') })
  .map((l): TreeNode => ({ kind: 'symlink', ...l }));
const { node } = fc.letrec<{ node: TreeNode; dir: TreeNode }>((tie) => ({
  node: fc.oneof({ depthSize: 'small' }, file, symlink, tie('dir')),
  dir: fc
    .record({
      mtimeNs: time,
      entries: fc.dictionary(name, tie('node'), { maxKeys: 4, noNullPrototype: true }),
    })
    .map(({ mtimeNs, entries }) => ({ kind: 'dir' as const, mtimeNs, entries: sorted(entries) })),
}));
const tree = fc
  .record({ guestPath: name, readOnly: fc.boolean(), root: node })
  .filter((t): t is DirectoryTree => t.root.kind === 'dir');
const trees = fc.uniqueArray(tree, { selector: (t) => t.guestPath, maxLength: 3 });
const plainSpec = fc.record({
  v: fc.constant(1 as const),
  programName: text,
  moduleHash: hash,
  entry: text,
  entryArgs: fc.uint8Array(),
  args: fc.array(text),
  env: fc.array(text),
  stdin: chunks,
  dirs: trees,
  seed: fc.stringMatching(/^[0-9a-f]{32}$/),
  maxMemoryPages: fc.nat(65_536),
  maxFuel: time,
  maxTimeMs: fc.maxSafeNat(),
  priority: fc.maxSafeInteger(),
});
const spec: fc.Arbitrary<ShardSpec> = fc.oneof(
  plainSpec,
  plainSpec.map((each) => ({ ...each, dropDead: true as const })),
);

function sorted(entries: Record<string, TreeNode>): [string, TreeNode][] {
  return Object.entries(entries).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

const example: ShardSpec = fc.sample(spec, { numRuns: 1, seed: 7 })[0]!;

describe('encoding', () => {
  it('gives back what went in', () => {
    fc.assert(
      fc.property(spec, (value) => {
        const bytes = encodeSpec(value);
        expect(decodeSpec(bytes)).toEqual(value);
        expect(encodeSpec(decodeSpec(bytes))).toEqual(bytes);
        expect(decodeTrees(encodeTrees(value.dirs))).toEqual(value.dirs);
      }),
    );
  });

  it('keeps 64-bit integers exact', () => {
    const value = { ...example, maxFuel: 2n ** 63n + 1n };
    expect(decodeSpec(encodeSpec(value)).maxFuel).toBe(2n ** 63n + 1n);
  });

  it('does not depend on the order of keys', () => {
    const reversed = Object.fromEntries(Object.entries(example).reverse()) as unknown as ShardSpec;
    expect(encodeSpec(reversed)).toEqual(encodeSpec(example));
  });
});

describe('untrusted bytes', () => {
  const refused = expect.objectContaining({ name: 'SherdError' });

  it('are refused when anything is cut off, added or changed', () => {
    const bytes = encodeSpec({ ...example, dirs: [] });
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSpec(bytes.subarray(0, length))).toThrow(refused);
    }
    expect(() => decodeSpec(new Uint8Array([...bytes, 0]))).toThrow(refused);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = bytes.slice();
        changed[at] = changed[at]! ^ flip;
        // A changed value may be a valid one; then it is what it says, exactly.
        try {
          expect(encodeSpec(decodeSpec(changed))).toEqual(changed);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      }),
    );
  });

  it('never give another error than a SherdError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const decode of [decodeSpec, decodeTrees]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toEqual(refused);
          }
        }
      }),
    );
  });

  const dir = (...entries: unknown[]): unknown => [1, ['/d', false, [0, 5n, ...entries]]];
  const leaf = [1, 5n, false, [0, new Uint8Array(0)]];
  it.each([
    ['a name that leaves the directory', dir('..', leaf)],
    ['a name with a slash', dir('a/b', leaf)],
    ['an empty name', dir('', leaf)],
    ['a name with NUL', dir('a\0', leaf)],
    ['a name of 256 bytes', dir('x'.repeat(256), leaf)],
    ['names that are not sorted', dir('b', leaf, 'a', leaf)],
    ['a name twice', dir('a', leaf, 'a', leaf)],
    ['an entry without node', dir('a')],
    ['an unknown kind', dir('a', [3, 5n])],
    ['a size without chunks', dir('a', [1, 5n, false, [10, new Uint8Array(0)]])],
    ['chunks without a size', dir('a', [1, 5n, false, [0, new Uint8Array(32)]])],
    ['a time that is a number', dir('a', [2, 5, 'x'])],
    ['an empty symlink', dir('a', [2, 5n, ''])],
    ['a root that is a file', [1, ['/d', false, leaf]]],
    ['two directories of one guest path', [1, ['/d', false, [0, 5n]], ['/d', false, [0, 5n]]]],
    ['another version', [2]],
  ])('are refused for %s', (_what, value) => {
    const bytes = encodePlain(value as never);
    expect(decodePlain(bytes)).toEqual(value);
    expect(() => decodeTrees(bytes)).toThrow(refused);
  });

  it('are accepted when they are right', () => {
    expect(decodeTrees(encodePlain(dir('a', leaf, 'b', [2, 5n, 'x']) as never))).toHaveLength(1);
  });
});

describe('order of names', () => {
  it('is the order of UTF-8 bytes', () => {
    const any = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(any, any, (a, b) => {
        const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
        expect(Math.sign(compareUtf8(a, b))).toBe(expected);
      }),
    );
    expect(compareUtf8('\uffff', '\u{10000}')).toBeLessThan(0);
  });
});
