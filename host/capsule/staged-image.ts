/**
 * A staged image: a shard's memory at no particular time, as the base of the capsule that was taken right after it.
 *
 *     'SHERDIMG' · msgpack { v, moduleHash, pages, batches }        batches: blobs of slices, in order (staging.ts)
 *
 * The module's image with all slices written over it is the base; the capsule (capsule.ts, `base`) holds what differs.
 *
 * Does: name it. Does not: load the batches or apply them.
 *
 * I1  Canonical: one list has one name, the hash of these bytes.
 */
import { invariant, SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash } from '../types/platform.js';
import { bytesToHex, hexToBytes, isHash } from './bytes.js';
import { MAX_WASM_PAGES } from './memory.js';

const MAGIC = new TextEncoder().encode('SHERDIMG');
const HASH_BYTES = 32;

export interface StagedImage {
  readonly moduleHash: Hash;
  /** Size of the memory, in 64 KiB pages. */
  readonly pages: number;
  readonly batches: readonly Hash[];
}

export function isStagedImage(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && MAGIC.every((byte, i) => bytes[i] === byte);
}

export function encodeStagedImage(image: StagedImage): Uint8Array {
  const { moduleHash, pages, batches } = image;
  invariant([moduleHash, ...batches].every(isHash), 'hashes');
  const map = { v: 1, moduleHash: hexToBytes(moduleHash), pages, batches: batches.map(hexToBytes) };
  const packed = encodePlain(map);
  const bytes = new Uint8Array(MAGIC.length + packed.length);
  bytes.set(MAGIC);
  bytes.set(packed, MAGIC.length);
  return bytes;
}

/** Throws SHERD_CAPSULE_DAMAGED, or SHERD_CAPSULE_VERSION for one of a later version. */
export function decodeStagedImage(bytes: Uint8Array, at?: string): StagedImage {
  const fail = (reason: string): SherdError =>
    new SherdError('SHERD_CAPSULE_DAMAGED', `a staged image is damaged: ${reason}`, { at });
  if (!isStagedImage(bytes)) throw fail('it does not begin like one');
  let value: unknown;
  try {
    value = decodePlain(bytes.subarray(MAGIC.length));
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message : String(cause));
  }
  const { v, moduleHash, pages, batches } = (value ?? {}) as Record<string, unknown>;
  if (v !== 1)
    throw new SherdError('SHERD_CAPSULE_VERSION', `a staged image of version ${String(v)}`, {
      at,
      next: 'use the version of sherd that made it, or a newer one',
    });
  if (!isHashBytes(moduleHash)) throw fail('no module');
  if (typeof pages !== 'number' || !Number.isInteger(pages) || pages < 0 || pages > MAX_WASM_PAGES)
    throw fail('no size');
  if (!Array.isArray(batches) || !batches.every(isHashBytes)) throw fail('no batches');
  return { moduleHash: bytesToHex(moduleHash), pages, batches: batches.map(bytesToHex) };
}

function isHashBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === HASH_BYTES;
}
