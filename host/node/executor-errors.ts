/**
 * What a shard's executor says when something is missing or fails.
 *
 * Does: one line of any failure; a coded error for a blob that is not there. Does not: hold state.
 */
import { SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';

/** Codes after which another try gives the same answer. */
export const PERMANENT = new Set<string>([
  'SHERD_CAPSULE_DAMAGED',
  'SHERD_CAPSULE_VERSION',
  'SHERD_CAPSULE_MISMATCH',
  'SHERD_CAPSULE_INCOMPLETE',
  'SHERD_NOT_WASM',
  'SHERD_WASM_MALFORMED',
  'SHERD_FEATURE_UNSUPPORTED',
  'SHERD_IMPORT_UNSUPPORTED',
  'SHERD_ENTRY_MISSING',
  'SHERD_LIMIT',
  'SHERD_MEMORY_LIMIT',
]);

export function needed(hash: Hash | null, bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) {
    throw new SherdError('SHERD_BLOB_MISSING', `blob ${hash ?? ''} is not in the store`);
  }
  return bytes;
}

/** One line of what went wrong. */
export function lineOf(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'message' in cause) {
    const { message, code } = cause as { message: string; code?: string };
    const line = message.split('\n', 1)[0] ?? message;
    return code === undefined ? line : `${line} [${code}]`;
  }
  return String(cause);
}

/** The same, with the file or directory where it went wrong. */
export function placedLineOf(cause: unknown): string {
  const at = cause instanceof SherdError ? cause.at : undefined;
  return at === undefined ? lineOf(cause) : `${at}: ${lineOf(cause)}`;
}
