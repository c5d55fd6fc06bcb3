/**
 * Canonical msgpack of plain data: the encoding of records, specs, trees, output chunks and capsule envelopes.
 *
 * Does: turn `Plain` data into bytes and back, through `msgpackr`, with one byte sequence for each value.
 * Does not: know what the data means, and does not frame it. Big binary sections travel beside it, not in it.
 *
 *   null bool     c0 c2 c3
 *   number        shortest integer form when it is an integer of 32 bits, else float64 (cb)
 *   bigint        int64 (d3) when it fits, else uint64 (cf); always 9 bytes, so it never becomes a number
 *   string        UTF-8, shortest header       Uint8Array   bin, shortest header
 *   array         shortest header              object       map, keys sorted by UTF-16 code units
 *
 * P1  Same value, same bytes, whatever the order of the keys, on every engine, with or without Node's Buffer.
 * P2  `decodePlain(encodePlain(v))` equals v; -0 becomes 0 and every NaN the same NaN.
 * P3  `decodePlain` accepts canonical bytes only: it encodes what it read and compares. So anything that is
 *     cut short, has bytes left over, an extension type, a repeated key or a longer form than needed is refused.
 * P4  What it gives back owns its bytes: nothing is a view of the input or of a shared buffer.
 * P5  Before msgpackr sees bytes, their shape is checked: known tokens only, no length beyond the data, no depth beyond the
 *     limit. No extension of msgpackr's own (records, dates, typed arrays, references) is ever run.
 * P6  A value that cannot be carried exactly (undefined, class instance, bigint beyond 64 bits, lone surrogate) is
 *     refused by name; nothing is dropped silently.
 *
 * Limit: without Node's Buffer msgpackr reads long strings with a TextDecoder that drops a leading U+FEFF; P3 then
 * refuses the data instead of changing it.
 */
import { Packr, Unpackr } from 'msgpackr';
import { SherdError } from './errors.js';
import type { Plain } from './state.js';

/** Nesting depth allowed; deeper data is refused both ways, long before the stack would overflow. */
export const MAX_PLAIN_DEPTH = 1_000;

const BIGINT_MIN = -(2n ** 63n);
const BIGINT_LIMIT = 2n ** 64n;
const LONE_SURROGATE = /\p{Surrogate}/u;

const packr = new Packr({ useRecords: false, mapsAsObjects: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

/** Canonical bytes of the value. Throws SHERD_INTERNAL when the value is not plain data. */
export function encodePlain(value: Plain | object): Uint8Array {
  const packed = packr.pack(canonical(value, 0));
  // `packed` is a view of msgpackr's shared buffer.
  return Uint8Array.from(packed);
}

/**
 * The value of canonical bytes: plain objects, arrays, Uint8Array, bigint. Throws `SHERD_CAPSULE_DAMAGED`, or the
 * code given, when the bytes are anything else. `at` names where the bytes came from.
 */
export function decodePlain(
  bytes: Uint8Array,
  where: { readonly at?: string; readonly code?: 'SHERD_CAPSULE_DAMAGED' | 'SHERD_FABRIC' } = {},
): unknown {
  const refuse = (reason: string, cause?: unknown): SherdError =>
    new SherdError(where.code ?? 'SHERD_CAPSULE_DAMAGED', `malformed msgpack data: ${reason}`, {
      at: where.at,
      cause,
    });
  // A plain view: msgpackr treats Buffer differently from Uint8Array, and hangs a property on its source.
  const source = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (source.length === 0) throw refuse('no data');
  const problem = shapeProblem(source);
  if (problem !== undefined) throw refuse(problem);
  let value: unknown;
  let again: Uint8Array;
  try {
    value = unpackr.unpack(source);
    again = packr.pack(canonical(value, 0));
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (!sameBytes(source, again)) throw refuse('not in canonical form');
  return value;
}

/** What is wrong with the tokens and lengths (P5). Goes over the bytes once, without recursion and without building anything. */
function shapeProblem(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Values still to come, at each level. */
  const left = [1];
  let at = 0;
  while (left.length > 0) {
    const level = left.length - 1;
    const values = left[level] as number;
    if (values === 0) {
      left.pop();
      continue;
    }
    left[level] = values - 1;
    if (at >= bytes.length) return 'cut short';
    const token = tokenAt(view, at);
    if (token === undefined)
      return `a token 0x${view.getUint8(at).toString(16)} that is never written, or cut short`;
    at += token.bytes;
    if (at > bytes.length || token.values > bytes.length - at) return 'a length beyond the data';
    if (token.values === 0) continue;
    if (level + 1 > MAX_PLAIN_DEPTH) return `deeper than ${MAX_PLAIN_DEPTH} levels`;
    left.push(token.values);
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes left over`;
}

interface Token {
  /** Of the token, its length and its payload. */
  readonly bytes: number;
  /** Values that follow it and belong to it. */
  readonly values: number;
}

const LEAVES: ReadonlyMap<number, number> = new Map([
  ...[0xc0, 0xc2, 0xc3].map((token) => [token, 1] as const),
  ...[0xcc, 0xd0].map((token) => [token, 2] as const),
  ...[0xcd, 0xd1].map((token) => [token, 3] as const),
  ...[0xce, 0xd2].map((token) => [token, 5] as const),
  ...[0xcb, 0xcf, 0xd3].map((token) => [token, 9] as const),
]);
/** Bytes of the length that follows, and how often it counts values; 0: it counts bytes. */
const SIZED: ReadonlyMap<number, readonly [lengthBytes: number, values: number]> = new Map([
  [0xc4, [1, 0]],
  [0xc5, [2, 0]],
  [0xc6, [4, 0]],
  [0xd9, [1, 0]],
  [0xda, [2, 0]],
  [0xdb, [4, 0]],
  [0xdc, [2, 1]],
  [0xdd, [4, 1]],
  [0xde, [2, 2]],
  [0xdf, [4, 2]],
]);

/** The token at a place; undefined for one that no canonical data has, or whose length is cut off. */
function tokenAt(view: DataView, at: number): Token | undefined {
  const token = view.getUint8(at);
  if (token < 0x80 || token >= 0xe0) return { bytes: 1, values: 0 };
  if (token < 0x90) return { bytes: 1, values: 2 * (token & 15) };
  if (token < 0xa0) return { bytes: 1, values: token & 15 };
  if (token < 0xc0) return { bytes: 1 + (token & 31), values: 0 };
  const leaf = LEAVES.get(token);
  if (leaf !== undefined) return { bytes: leaf, values: 0 };
  const sized = SIZED.get(token);
  if (sized === undefined) return undefined;
  const [lengthBytes, times] = sized;
  if (at + 1 + lengthBytes > view.byteLength) return undefined;
  const length =
    lengthBytes === 1
      ? view.getUint8(at + 1)
      : lengthBytes === 2
        ? view.getUint16(at + 1)
        : view.getUint32(at + 1);
  const bytes = 1 + lengthBytes + (times === 0 ? length : 0);
  return { bytes, values: times * length };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A copy that msgpackr encodes in one way only: maps with sorted keys instead of objects. */
function canonical(value: unknown, depth: number): unknown {
  if (depth > MAX_PLAIN_DEPTH) throw notPlain(`deeper than ${MAX_PLAIN_DEPTH} levels`);
  switch (typeof value) {
    case 'boolean':
      return value;
    case 'number':
      // Adding 0 turns -0 into 0; NaN payloads do not survive in the literal.
      return Number.isNaN(value) ? Number.NaN : value + 0;
    case 'bigint':
      if (value < BIGINT_MIN || value >= BIGINT_LIMIT) throw notPlain('a bigint beyond 64 bits');
      return value;
    case 'string':
      if (LONE_SURROGATE.test(value)) throw notPlain('a string with a lone surrogate');
      return value;
    case 'object':
      return value === null ? null : canonicalObject(value, depth);
    default:
      throw notPlain(typeof value);
  }
}

function canonicalObject(value: object, depth: number): unknown {
  if (value instanceof Uint8Array) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  if (Array.isArray(value)) return Array.from(value, (item) => canonical(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw notPlain(`an instance of ${value.constructor?.name ?? 'a class'}`);
  }
  const map = new Map<string, unknown>();
  for (const key of Object.keys(value).sort()) {
    if (key === '__proto__') throw notPlain('the key __proto__');
    if (LONE_SURROGATE.test(key)) throw notPlain('a key with a lone surrogate');
    map.set(key, canonical((value as Record<string, unknown>)[key], depth + 1));
  }
  return map;
}

function notPlain(what: string): SherdError {
  return new SherdError('SHERD_INTERNAL', `internal: ${what} cannot be packed exactly`);
}
