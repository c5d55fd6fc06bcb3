/**
 * Sealed files: both ciphers, rotation, what is bound, every changed byte.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Keyring,
  keyOf,
  openSealed,
  type SealContext,
  sealBytes,
  sealedBy,
} from '../../host/capsule/sealed.js';
import { nodeCipher } from '../../host/node/cipher.js';
import { nodePlatform } from '../../host/node/platform.js';
import { webCipher } from '../../host/runtime/cipher-web.js';
import { SherdError } from '../../host/types/errors.js';

const context: SealContext = { kind: 'bundle', shardId: 's-abc', epoch: 7 };
const MIB = 1 << 20;
const rawKey = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const [one, two, three] = await Promise.all(
  [1, 2, 3].map((fill) => keyOf(rawKey(fill), nodeCipher)),
);
const ring = [one] as Keyring;

const seal = (plain: Uint8Array, keyring: Keyring = ring, what = context, cipher = nodeCipher) =>
  sealBytes(plain, what, keyring, nodePlatform, cipher);
const unseal = (sealed: Uint8Array, keyring: Keyring = ring, expected = {}, cipher = nodeCipher) =>
  openSealed(sealed, keyring, { kind: 'bundle', ...expected }, nodePlatform, cipher, 'x.capsule');

async function refusal(run: () => Promise<unknown>): Promise<SherdError> {
  try {
    await run();
  } catch (error) {
    expect(error).toBeInstanceOf(SherdError);
    return error as SherdError;
  }
  throw new Error('it was accepted');
}

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 24) & 0xff);
}

describe('sealing', () => {
  it.each([0, 1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 5])(
    'of %i bytes opens again, with either cipher, to the same bytes',
    async (length) => {
      const plain = bytesOf(length);
      const sealed = await seal(plain);
      expect(Buffer.compare(await seal(plain, ring, context, webCipher), sealed)).toBe(0);
      for (const cipher of [nodeCipher, webCipher]) {
        const opened = await unseal(sealed, ring, {}, cipher);
        expect(Buffer.compare(opened.bytes, plain)).toBe(0);
        expect(opened.context).toEqual(context);
        expect(opened.keyId).toBe(one?.id);
      }
    },
  );

  it('is deterministic, and differs with key, context and content', async () => {
    const plain = bytesOf(100);
    const sealed = await seal(plain);
    expect(await seal(plain)).toStrictEqual(sealed);
    const salts = new Set<string>();
    const add = (each: Uint8Array): void =>
      void salts.add(Buffer.from(each.subarray(32, 64)).toString('hex'));
    add(sealed);
    add(await seal(plain, [two] as Keyring));
    add(await seal(plain, ring, { ...context, epoch: 8 }));
    add(await seal(plain, ring, { ...context, shardId: 's-abd' }));
    add(await seal(bytesOf(101)));
    expect(salts.size).toBe(5);
  });

  it('shows neither the plain bytes nor a hash of them', async () => {
    const plain = bytesOf(5000);
    const sealed = Buffer.from(await seal(plain));
    expect(sealed.includes(Buffer.from(plain.subarray(100, 116)))).toBe(false);
    const hash = nodePlatform.sha256(plain);
    expect(sealed.includes(Buffer.from(hash, 'hex')) || sealed.includes(hash)).toBe(false);
    expect(sealedBy(sealed)).toEqual({ ...context, keyId: one?.id });
  });

  it('keeps its format', async () => {
    // Written by the first version: later versions must open it.
    const sealed = await seal(bytesOf(10));
    expect(nodePlatform.sha256(sealed)).toBe(GOLDEN);
  });
});

const GOLDEN = '32e5c9e02717685e7356377e8b42cfe2440186bfdcf54d0d0a09185c9ddfb33a';

describe('a Buffer, as files are read into', () => {
  it('opens, and stays as it is', async () => {
    const plain = bytesOf(100);
    const sealed = Buffer.from(await seal(plain));
    const before = Buffer.from(sealed);
    expect(Buffer.compare((await unseal(sealed)).bytes, plain)).toBe(0);
    expect(Buffer.compare(sealed, before)).toBe(0);
  });
});

describe('keys', () => {
  it('the newest seals, all open, an unknown one is refused by its id', async () => {
    const plain = bytesOf(50);
    const old = await seal(plain, [one] as Keyring);
    const rotated = [two, one] as Keyring;
    expect((await unseal(old, rotated)).keyId).toBe(one?.id);
    const fresh = await seal(plain, rotated);
    expect((await unseal(fresh, rotated)).keyId).toBe(two?.id);
    const error = await refusal(() => unseal(fresh, [one, three] as Keyring));
    expect(error.code).toBe('SHERD_KEY');
    expect(error.message).toContain(`key ${two?.id}`);
    expect(error.exitCode).toBe(2);
  });

  it('a key that only claims the id of another is refused', async () => {
    const liar = { id: one?.id ?? '', bytes: rawKey(9) };
    const error = await refusal(async () => unseal(await seal(bytesOf(50)), [liar]));
    expect(error.message).toContain('section piece 0');
  });
});

describe('replays', () => {
  it('of another shard, an older epoch or another kind are refused by name', async () => {
    const sealed = await seal(bytesOf(10));
    expect((await unseal(sealed, ring, { shardId: 's-abc', epoch: 7 })).context.epoch).toBe(7);
    const shard = await refusal(() => unseal(sealed, ring, { shardId: 's-other' }));
    expect([shard.code, shard.message]).toEqual([
      'SHERD_CAPSULE_REPLAYED',
      'it is of shard s-abc, not of s-other',
    ]);
    const epoch = await refusal(() => unseal(sealed, ring, { shardId: 's-abc', epoch: 8 }));
    expect(epoch.message).toBe('it is of epoch 7 of its shard, older than 8');
    expect((await refusal(() => unseal(sealed, ring, { kind: 'blob' }))).code).toBe(
      'SHERD_CAPSULE_REPLAYED',
    );
  });
});

describe('every change', () => {
  it('of a bit is refused with its section', async () => {
    const sealed = await seal(bytesOf(60));
    const seen = new Set<string>();
    for (let i = 0; i < sealed.length; i++) {
      for (let bit = 0; bit < 8; bit++) {
        const copy = sealed.slice();
        copy[i]! ^= 1 << bit;
        const error = await refusal(() => unseal(copy));
        seen.add(/section (\w+)/.exec(error.message)?.[1] ?? error.code);
      }
    }
    expect([...seen].sort()).toEqual(['SHERD_CAPSULE_VERSION', 'SHERD_KEY', 'header', 'piece']);
  });

  it('of length is refused, whatever the header says', async () => {
    const sealed = await seal(bytesOf(60));
    for (let length = 0; length < sealed.length; length++)
      expect((await refusal(() => unseal(sealed.subarray(0, length)))).code).toBe(
        'SHERD_CAPSULE_DAMAGED',
      );
    const longer = Buffer.concat([sealed, Buffer.alloc(1)]);
    expect((await refusal(() => unseal(longer))).message).toContain('section header');
    const absurd = sealed.slice();
    new DataView(absurd.buffer).setBigUint64(16, 2n ** 63n, true);
    expect((await refusal(() => unseal(absurd))).message).toContain('section header');
  });

  it('of the order of pieces, or pieces of another file, are refused', async () => {
    const head = sealedHead(await seal(bytesOf(3 * MIB)));
    const sealed = await seal(bytesOf(3 * MIB));
    const piece = (i: number): Uint8Array =>
      sealed.subarray(head + i * (MIB + 16), head + (i + 1) * (MIB + 16));
    const made = (...pieces: Uint8Array[]): Uint8Array =>
      Uint8Array.from(Buffer.concat([sealed.subarray(0, head), ...pieces]));
    expect(Buffer.compare(made(piece(0), piece(1), piece(2)), sealed)).toBe(0);
    for (const order of [
      [1, 0, 2],
      [0, 2, 1],
      [0, 0, 2],
      [0, 1, 1],
    ])
      expect((await refusal(() => unseal(made(...order.map(piece))))).message).toContain(
        'section piece',
      );
    const other = await seal(bytesOf(3 * MIB).fill(1));
    const mixed = made(piece(0), piece(1), other.subarray(head + 2 * (MIB + 16)));
    expect((await refusal(() => unseal(mixed))).message).toContain('section piece 2');
  });

  it('of any bytes at any place is refused with a coded error', async () => {
    const sealed = await seal(bytesOf(300));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(sealed.length - 1),
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.nat(40),
        async (at, inserted, removed) => {
          const copy = Buffer.concat([
            sealed.subarray(0, at),
            inserted,
            sealed.subarray(at + removed),
          ]);
          if (Buffer.compare(copy, sealed) === 0) return;
          expect((await refusal(() => unseal(copy))).code).not.toBe('SHERD_INTERNAL');
        },
      ),
      { numRuns: 1000 },
    );
  });
});

function sealedHead(sealed: Uint8Array): number {
  return 64 + new DataView(sealed.buffer).getUint32(12, true);
}
