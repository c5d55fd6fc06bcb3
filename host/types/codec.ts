/**
 * Records as bytes: canonical msgpack (types/pack).
 *
 * R1  A record of another version is refused by name, not half understood.
 */
import { SherdError } from './errors.js';
import { decodePlain, encodePlain } from './pack.js';

export function encodeRecord(record: object): Uint8Array {
  return encodePlain(record);
}

export function decodeRecord<T extends { readonly v: 1 }>(bytes: Uint8Array, key: string): T {
  const value = decodePlain(bytes, { at: key, code: 'SHERD_FABRIC' }) as Partial<T> | null;
  if (typeof value !== 'object' || value === null || value.v !== 1) {
    throw new SherdError('SHERD_FABRIC_VERSION', 'a record of another version', { at: key });
  }
  return value as T;
}
