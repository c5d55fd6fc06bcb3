/**
 * Checked readers for the plain data of a snapshot.
 *
 * Does: turn `Plain` into what it must be, or refuse the capsule. Does not: trust anything.
 *
 * P1  A snapshot that was changed by hand gives SHERD_CAPSULE_DAMAGED, never another exception.
 */
import { SherdError } from '../../types/errors.js';
import type { Hash } from '../../types/platform.js';
import type { Plain } from '../../types/state.js';

const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** The error for a snapshot that cannot be right. */
export function damaged(what: string): SherdError {
  return new SherdError('SHERD_CAPSULE_DAMAGED', `capsule damaged in section host: ${what}`, {
    at: 'capsule',
    next: 'take an earlier capsule',
  });
}

export function asList(data: Plain | undefined, what: string, length?: number): readonly Plain[] {
  if (!Array.isArray(data)) throw damaged(what);
  if (length !== undefined && data.length !== length) throw damaged(what);
  return data as readonly Plain[];
}

/** An integer 0 … max. */
export function asCount(
  data: Plain | undefined,
  what: string,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof data !== 'number' || !Number.isSafeInteger(data)) throw damaged(what);
  if (data < 0 || data > max) throw damaged(what);
  return data;
}

/** An unsigned 64-bit integer, at most `max`. */
export function asU64(data: Plain | undefined, what: string, max = U64_MAX): bigint {
  if (typeof data !== 'bigint' || data < 0n || data > max) throw damaged(what);
  return data;
}

export function asText(data: Plain | undefined, what: string): string {
  if (typeof data !== 'string') throw damaged(what);
  return data;
}

/** 32 bytes, as a hash. */
export function asHash(data: Plain | undefined, what: string): Hash {
  if (!(data instanceof Uint8Array) || data.length !== 32) throw damaged(what);
  return bytesToHash(data);
}

export function asFields(data: Plain | undefined, what: string): { readonly [key: string]: Plain } {
  if (typeof data !== 'object' || data === null) throw damaged(what);
  if (Array.isArray(data) || data instanceof Uint8Array) throw damaged(what);
  return data as { readonly [key: string]: Plain };
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Lower-case hex of some bytes. */
export function bytesToHash(bytes: Uint8Array): Hash {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** The bytes of a hash. */
export function hashToBytes(hash: Hash): Uint8Array {
  const bytes = new Uint8Array(hash.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = Number.parseInt(hash.slice(at * 2, at * 2 + 2), 16);
  }
  return bytes;
}
