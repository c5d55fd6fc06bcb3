/**
 * Sealed files: a bundle (or any bytes) under a cluster key. Nobody without the key can read or change it.
 *
 * Does: seal, open, name the key that is needed. Does not: read key files (cli/key-file.ts) or know what is inside.
 *
 *        0        8        12       16       24       32                    64          64 + context
 *       ┌────────┬────────┬────────┬────────┬────────┬─────────────────────┬───────────┬────────────────────┐
 *       │ magic  │version │context │ plain  │ key id │ salt                │ context   │ pieces …           │
 *       │ SHRDS  │ u32    │bytes u32│bytes u64│ 8 bytes│ 32 bytes            │ msgpack   │                    │
 *       └────────┴────────┴────────┴────────┴────────┴─────────────────────┴───────────┴────────────────────┘
 *       context = { epoch, kind, shardId }          piece = ciphertext of up to 1 MiB · tag (16 bytes)
 *
 *     salt     = HMAC(HMAC(key, "sherd salt 1"), SHA-256(header with a salt of zeros, context) · SHA-256(plain bytes))
 *     file key = HMAC(HMAC(key, "sherd file 1"), salt)          key id = HMAC(key, "sherd key id 1"), first 8 bytes
 *     piece i  = AES-256-GCM(file key, nonce = i as u64 · 1 in the last one, else 0, as u32; bound to header and context)
 *
 * Why so. A capsule is canonical and named by its content, so sealing is deterministic too: equal bytes of the same shard
 * and epoch under one key give equal files, and nothing random is needed where there may be no good source of it. A nonce
 * of 96 bits made from content would repeat by chance after some 2^48 files, and a repeated nonce breaks GCM. So each
 * file has an AES key of its own, derived from a salt of 256 bits that is a keyed function of all that it says; within a file the
 * nonces count. Two files share key and nonces only if salts collide (2^128), that is, if they are the same file.
 *
 * Bundles are packed before they are sealed, by DEFLATE: the same state sealed under another version of it gives another file.
 *
 * What it shows to those without the key: that two files are equal, the size (packed, it tells how well the content can be
 * packed), the shard's id, its epoch, the key's id.
 * No hash of the plain bytes is visible: the salt is one under a key. Hashes inside cover the plain bytes as ever.
 *
 * K1  The newest key seals, all keys open; a file of a key that is not there is refused with that key's id.
 * K2  Every bit is bound: header and context to every piece, pieces by number and end. Nothing can be left out, repeated,
 *     put elsewhere or taken from another file, shard or epoch.
 * K3  After decryption the salt is computed again and compared: no other key, and no other bytes, fit one file.
 * K4  `expect` refuses another shard and an older epoch by name: a file that was put back is not taken for the newest.
 * K5  Nothing is allocated for a length in the file before it was checked against the file's own length.
 */
import type { Cipher } from '../types/cipher.js';
import { EXIT, SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Platform } from '../types/platform.js';
import { bytesToHex, hexToBytes } from './bytes.js';
import { damaged, hasMagic, magicOf } from './envelope.js';

export const KEY_BYTES = 32;
const KEY_ID_BYTES = 8;
const MAGIC = magicOf('SHRDS');
const VERSION = 1;
const HEADER_BYTES = 64;
const SALT = { start: 32, end: 64 } as const;
const PIECE_BYTES = 1 << 20;
const TAG_BYTES = 16;
const NOUN = 'sealed file';

export interface ClusterKey {
  /** 16 lower-case hex digits, derived from the key. */
  readonly id: string;
  readonly bytes: Uint8Array;
}

/** Newest first; never empty. */
export type Keyring = readonly ClusterKey[];

export interface SealContext {
  /** What is inside; `bundle` for capsule files. */
  readonly kind: string;
  readonly shardId: string;
  readonly epoch: number;
}

export interface Expected {
  readonly kind: string;
  readonly shardId?: string | undefined;
  /** An older one is refused. */
  readonly epoch?: number | undefined;
}

export interface Opened {
  readonly bytes: Uint8Array;
  readonly context: SealContext;
  readonly keyId: string;
}

/** True when the bytes begin like a sealed file. */
export function isSealed(bytes: Uint8Array): boolean {
  return hasMagic(bytes, MAGIC);
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (each) => each.charCodeAt(0));

export async function keyOf(bytes: Uint8Array, cipher: Cipher): Promise<ClusterKey> {
  const id = await cipher.hmacSha256(bytes, ascii('sherd key id 1'));
  return { id: bytesToHex(id.subarray(0, KEY_ID_BYTES)), bytes };
}

function headOf(context: SealContext, plainBytes: number, keyId: string): Uint8Array {
  const packed = encodePlain({ ...context });
  const head = new Uint8Array(HEADER_BYTES + packed.length);
  const view = new DataView(head.buffer);
  head.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, packed.length, true);
  view.setBigUint64(16, BigInt(plainBytes), true);
  head.set(hexToBytes(keyId), 24);
  head.set(packed, HEADER_BYTES);
  return head;
}

/** The salt of a head, in which its place may hold anything. */
async function saltOf(
  head: Uint8Array,
  plain: Uint8Array,
  key: ClusterKey,
  platform: Pick<Platform, 'sha256'>,
  cipher: Cipher,
): Promise<Uint8Array> {
  // `slice` of a Buffer would be a view of it.
  const unsalted = Uint8Array.from(head).fill(0, SALT.start, SALT.end);
  const said = hexToBytes(platform.sha256(unsalted) + platform.sha256(plain));
  return cipher.hmacSha256(await cipher.hmacSha256(key.bytes, ascii('sherd salt 1')), said);
}

async function fileKeyOf(salt: Uint8Array, key: ClusterKey, cipher: Cipher): Promise<Uint8Array> {
  return cipher.hmacSha256(await cipher.hmacSha256(key.bytes, ascii('sherd file 1')), salt);
}

function nonceOf(piece: number, last: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setBigUint64(0, BigInt(piece), true);
  view.setUint32(8, last ? 1 : 0, true);
  return nonce;
}

/** Even an empty file has a piece: its end is bound, too. */
const piecesOf = (plainBytes: number): number => Math.max(1, Math.ceil(plainBytes / PIECE_BYTES));

/** Seals with the newest key. */
export async function sealBytes(
  plain: Uint8Array,
  context: SealContext,
  keyring: Keyring,
  platform: Pick<Platform, 'sha256'>,
  cipher: Cipher,
): Promise<Uint8Array> {
  const key = newestOf(keyring);
  const head = headOf(context, plain.length, key.id);
  const salt = await saltOf(head, plain, key, platform, cipher);
  head.set(salt, SALT.start);
  const fileKey = await fileKeyOf(salt, key, cipher);
  const pieces = piecesOf(plain.length);
  const sealed = new Uint8Array(head.length + plain.length + pieces * TAG_BYTES);
  sealed.set(head);
  let at = head.length;
  for (let i = 0; i < pieces; i++) {
    const part = plain.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES);
    const piece = await cipher.encrypt(fileKey, nonceOf(i, i === pieces - 1), head, part);
    sealed.set(piece, at);
    at += piece.length;
  }
  return sealed;
}

function newestOf(keyring: Keyring): ClusterKey {
  const [key] = keyring;
  if (key === undefined) throw new SherdError('SHERD_INTERNAL', 'internal: a keyring without keys');
  return key;
}

interface Head {
  readonly bytes: Uint8Array;
  readonly context: SealContext;
  readonly keyId: string;
  readonly plainBytes: number;
}

function readHead(sealed: Uint8Array, at: string | undefined): Head {
  const fail = (reason: string): SherdError => damaged(NOUN, 'header', reason, at);
  if (!isSealed(sealed)) throw fail('not a sealed file (wrong magic number)');
  if (sealed.length < HEADER_BYTES) throw fail(`only ${sealed.length} bytes`);
  const view = new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new SherdError(
      'SHERD_CAPSULE_VERSION',
      `sealed file has format version ${version}; this sherd reads ${VERSION}`,
      { at, next: 'use the version of sherd that wrote it', exitCode: EXIT.refused },
    );
  }
  const contextBytes = view.getUint32(12, true);
  if (contextBytes > sealed.length - HEADER_BYTES) throw fail('longer than the file');
  const headBytes = HEADER_BYTES + contextBytes;
  const plainBytes = Number(view.getBigUint64(16, true));
  const wanted = headBytes + plainBytes + piecesOf(plainBytes) * TAG_BYTES;
  if (wanted !== sealed.length) {
    throw fail(
      `${sealed.length} bytes of ${wanted}${wanted > sealed.length ? ' (cut short)' : ''}`,
    );
  }
  const bytes = sealed.subarray(0, headBytes);
  const context = readContext(bytes.subarray(HEADER_BYTES), fail);
  return { bytes, context, keyId: bytesToHex(sealed.subarray(24, 32)), plainBytes };
}

function readContext(bytes: Uint8Array, fail: (reason: string) => SherdError): SealContext {
  let fields: Record<string, unknown>;
  try {
    fields = decodePlain(bytes) as Record<string, unknown>;
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message : String(cause));
  }
  const { kind, shardId, epoch, ...others } = fields ?? {};
  if (typeof kind !== 'string' || typeof shardId !== 'string' || !Number.isSafeInteger(epoch))
    throw fail('no shard and epoch in it');
  if (Object.keys(others).length > 0) throw fail('unknown fields in it');
  return { kind, shardId, epoch: epoch as number };
}

/** What a sealed file says of itself without a key. Nothing of it is proven. */
export function sealedBy(
  sealed: Uint8Array,
  at?: string,
): SealContext & { readonly keyId: string } {
  const { context, keyId } = readHead(sealed, at);
  return { ...context, keyId };
}

/** Opens with whichever key it was sealed with. */
export async function openSealed(
  sealed: Uint8Array,
  keyring: Keyring,
  expect: Expected,
  platform: Pick<Platform, 'sha256'>,
  cipher: Cipher,
  at?: string,
): Promise<Opened> {
  const head = readHead(sealed, at);
  const key = keyring.find(({ id }) => id === head.keyId);
  if (key === undefined) throw unknownKey(head.keyId, keyring, at);
  const fileKey = await fileKeyOf(head.bytes.subarray(SALT.start, SALT.end), key, cipher);
  const plain = new Uint8Array(head.plainBytes);
  const pieces = piecesOf(plain.length);
  let from = head.bytes.length;
  for (let i = 0; i < pieces; i++) {
    const bytes = Math.min(PIECE_BYTES, plain.length - i * PIECE_BYTES) + TAG_BYTES;
    const nonce = nonceOf(i, i === pieces - 1);
    const part = await cipher.decrypt(
      fileKey,
      nonce,
      head.bytes,
      sealed.subarray(from, from + bytes),
    );
    if (part === undefined) throw broken(`piece ${i}`, key, at);
    plain.set(part, i * PIECE_BYTES);
    from += bytes;
  }
  const salt = await saltOf(head.bytes, plain, key, platform, cipher);
  if (salt.some((byte, i) => byte !== head.bytes[SALT.start + i])) throw broken('salt', key, at);
  checkExpected(head.context, expect, at);
  return { bytes: plain, context: head.context, keyId: key.id };
}

function broken(section: string, key: ClusterKey, at: string | undefined): SherdError {
  return damaged(NOUN, section, `it is not what key ${key.id} sealed`, at);
}

function unknownKey(keyId: string, keyring: Keyring, at: string | undefined): SherdError {
  return new SherdError(
    'SHERD_KEY',
    `it is sealed with key ${keyId}, which is not among yours (${keyring.map(({ id }) => id).join(', ')})`,
    { at, next: 'give the key file that has this key', exitCode: EXIT.refused },
  );
}

function checkExpected(context: SealContext, expect: Expected, at: string | undefined): void {
  const refuse = (why: string): SherdError =>
    new SherdError('SHERD_CAPSULE_REPLAYED', why, {
      at,
      next: 'use the newest file of that shard',
      exitCode: EXIT.refused,
    });
  const { kind, shardId, epoch } = context;
  if (kind !== expect.kind) throw refuse(`a sealed ${kind} where a ${expect.kind} is wanted`);
  if (expect.shardId !== undefined && shardId !== expect.shardId)
    throw refuse(`it is of shard ${shardId}, not of ${expect.shardId}`);
  if (expect.epoch !== undefined && epoch < expect.epoch)
    throw refuse(`it is of epoch ${epoch} of its shard, older than ${expect.epoch}`);
}
