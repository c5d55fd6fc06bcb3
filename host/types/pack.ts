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
 * P5  A value that cannot be carried exactly (undefined, class instance, bigint beyond 64 bits, lone surrogate) is
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
