/**
 * Packed files: a bundle made smaller for a disk or a slow link. What is inside keeps its bytes and its names.
 *
 * Does: pack and unpack, piece by piece. Does not: know what is inside, or compress (the platform's DEFLATE does).
 *
 *        0        8        12       16       24       32                    64
 *       ┌────────┬────────┬────────┬────────┬────────┬─────────────────────┬───────────
 *       │ magic  │version │ piece  │ plain  │ zero   │ SHA-256 of bytes    │ pieces …
 *       │ SHRDP  │ u32    │bytes u32│bytes u64│ u64   │ 0..32 and 64..end   │
 *       └────────┴────────┴────────┴────────┴────────┴─────────────────────┴───────────
 *       piece = stored bytes << 1 | packed, u32 · a DEFLATE stream (RFC 1951) if packed, else the bytes as they are
 *               every piece but the last stands for `piece bytes` plain bytes: 1 MiB in version 1
 *
 * Capsules themselves are never packed: they are canonical, and a compressor's output is its version's own. So nothing is named
 * by packed bytes, and two machines may pack the same bundle differently.
 *
 * Why DEFLATE. Measured on capsules and modules (perft's 10.2 KB capsule, the ray tracer's 1.18 MB one; one core): LZ4 4,975 and
 * 585,624 bytes, 2.2 ms for the large one; DEFLATE level 6 3,009 and 414,269, 22 ms, level 1 460,247, 10 ms; Zstandard level 1
 * 2,990 and 464,851, 3 ms; Brotli level 1 3,447 and 463,678, 7 ms. A file is written once and its size is what counts; Node has
 * Zstandard from version 22 on only, browsers and all versions of Node have DEFLATE.
 *
 * P1  Every bit is under the hash, which is compared before anything is unpacked. The first 16 bytes, and what they mean, never
 *     change: any version's reader can tell a damaged file from a newer one.
 * P2  A file is never larger than what it stands for by more than its header and four bytes a piece.
 * P3  The plain size is checked against the caller's limit, and against what DEFLATE can reach with so many bytes, before
 *     memory is allocated; a piece that does not give exactly its size is refused. Beside the file no more than the plain
 *     bytes and one piece are ever held.
 * P4  What is too large to be unpacked is not packed: it stays as it is.
 */
import type { SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import { bytesToHex, hexToBytes } from './bytes.js';
import { damaged, hasMagic, magicOf, newer } from './envelope.js';

const MAGIC = magicOf('SHRDP');
const NOUN = 'packed file';
const VERSION = 1;
const HEADER_BYTES = 64;
const HASHED_BYTES = 32;
const PIECE_BYTES = 1 << 20;
const SIZE_BYTES = 4;
/** A file that is larger than this is packed in a hurry. */
const HURRY_BYTES = 4 << 20;
const LEVEL = 6;
const HURRIED_LEVEL = 1;
/** DEFLATE gives at most 258 bytes for two bits (RFC 1951, 3.2.5). */
const MOST_RATIO = 1_032;
/** What is unpacked at most: a memory of 4 GiB that differs in every unit, and 1 GiB beside it. */
const MOST_PLAIN_BYTES = 5 * 2 ** 30;

/** True when the bytes begin like a packed file. */
export function isPacked(bytes: Uint8Array): boolean {
  return hasMagic(bytes, MAGIC);
}

/** Packs any bytes; more than 5 GiB are given back as they are (P4). */
export function packBytes(plain: Uint8Array, platform: Platform): Uint8Array {
  return toEnd(packing(plain, platform));
}

/** The same, a step a piece (7 to 25 ms): the caller can do other things in between. */
export function* packing(plain: Uint8Array, platform: Platform): Generator<void, Uint8Array> {
  if (plain.length > MOST_PLAIN_BYTES) return plain;
  const level = plain.length > HURRY_BYTES ? HURRIED_LEVEL : LEVEL;
  const pieces: { readonly bytes: Uint8Array; readonly packed: boolean }[] = [];
  let totalBytes = HEADER_BYTES;
  for (let at = 0; at < plain.length; at += PIECE_BYTES) {
    const piece = plain.subarray(at, at + PIECE_BYTES);
    const deflated = platform.deflate(piece, level);
    const packed = deflated.length < piece.length;
    const stored = packed ? deflated : piece;
    pieces.push({ bytes: stored, packed });
    totalBytes += SIZE_BYTES + stored.length;
    yield;
  }
  const file = new Uint8Array(totalBytes);
  const view = new DataView(file.buffer);
  file.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, PIECE_BYTES, true);
  view.setBigUint64(16, BigInt(plain.length), true);
  let at = HEADER_BYTES;
  for (const { bytes, packed } of pieces) {
    view.setUint32(at, bytes.length * 2 + Number(packed), true);
    file.set(bytes, at + SIZE_BYTES);
    at += SIZE_BYTES + bytes.length;
  }
  file.set(hexToBytes(fileHash(file, platform)), HASHED_BYTES);
  return file;
}

function fileHash(file: Uint8Array, platform: Platform): string {
  const rest = hexToBytes(platform.sha256(file.subarray(HEADER_BYTES)));
  const hashed = new Uint8Array(HASHED_BYTES + rest.length);
  hashed.set(file.subarray(0, HASHED_BYTES));
  hashed.set(rest, HASHED_BYTES);
  return platform.sha256(hashed);
}

/**
 * The plain bytes. Throws SHERD_CAPSULE_DAMAGED, or SHERD_CAPSULE_VERSION for a format that this version does not know.
 *
 * @param mostBytes Plain bytes that are accepted at most. Default: 5 GiB.
 */
export function unpackBytes(
  file: Uint8Array,
  platform: Platform,
  mostBytes = MOST_PLAIN_BYTES,
): Uint8Array {
  return toEnd(unpacking(file, platform, mostBytes));
}

/** The same, a step a piece. */
export function* unpacking(
  file: Uint8Array,
  platform: Platform,
  mostBytes = MOST_PLAIN_BYTES,
): Generator<void, Uint8Array> {
  const fail = (reason: string): SherdError => damaged(NOUN, 'envelope', reason);
  const plainBytes = checkHeader(file, platform, fail);
  if (plainBytes > mostBytes)
    throw fail(`it stands for ${plainBytes} bytes, more than ${mostBytes}`);
  if (plainBytes > (file.length - HEADER_BYTES) * MOST_RATIO)
    throw fail(`${file.length} bytes cannot stand for ${plainBytes}`);
  const plain = allocate(plainBytes, fail);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = HEADER_BYTES;
  for (let to = 0; to < plainBytes; to += PIECE_BYTES) {
    if (file.length - at < SIZE_BYTES) throw fail('cut short');
    const size = view.getUint32(at, true);
    const storedBytes = size >>> 1;
    at += SIZE_BYTES;
    if (storedBytes > file.length - at) throw fail('a piece is longer than the file');
    const target = plain.subarray(to, Math.min(plainBytes, to + PIECE_BYTES));
    fill(target, file.subarray(at, at + storedBytes), (size & 1) === 1, platform, fail);
    at += storedBytes;
    yield;
  }
  if (at !== file.length) throw fail('bytes after the last piece');
  return plain;
}

function toEnd(steps: Generator<void, Uint8Array>): Uint8Array {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

type Fail = (reason: string) => SherdError;

/** Gives the plain size. */
function checkHeader(file: Uint8Array, platform: Platform, fail: Fail): number {
  if (!isPacked(file)) throw fail('it does not begin like one');
  if (file.length < HEADER_BYTES) throw fail(`only ${file.length} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const version = view.getUint32(8, true);
  if (version !== VERSION)
    throw newer(NOUN, `has format version ${version}; this sherd reads ${VERSION}`);
  if (fileHash(file, platform) !== bytesToHex(file.subarray(HASHED_BYTES, HEADER_BYTES)))
    throw fail('its bytes do not match their hash (changed, or cut short)');
  if (view.getBigUint64(24, true) !== 0n) throw fail('reserved bytes are not zero');
  const pieceBytes = view.getUint32(12, true);
  if (pieceBytes !== PIECE_BYTES) throw fail(`pieces of ${pieceBytes} bytes`);
  return Number(view.getBigUint64(16, true));
}

function allocate(bytes: number, fail: Fail): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw fail(`no memory for the ${bytes} bytes that it stands for`);
  }
}

function fill(
  target: Uint8Array,
  stored: Uint8Array,
  packed: boolean,
  platform: Platform,
  fail: Fail,
): void {
  if (!packed) {
    if (stored.length !== target.length) throw fail('a piece has another size than it should');
    target.set(stored);
    return;
  }
  const plain = platform.inflate(stored, target.length);
  if (plain?.length !== target.length) throw fail('a piece cannot be unpacked');
  target.set(plain);
}
