/**
 * What a shard's executor says when something is missing or fails.
 *
 * Does: one line of any failure, and what would help; a coded error for a blob that is not there. Does not: hold state.
 */
import type { Remedy } from '../protocol/life-types.js';
import { SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';

/** Another try gives the same answer, until the store has what it should have. */
const MENDABLE = new Set<string>([
  'SHERD_BLOB_DAMAGED',
  'SHERD_CAPSULE_DAMAGED',
  'SHERD_CAPSULE_VERSION',
  'SHERD_CAPSULE_MISMATCH',
  'SHERD_CAPSULE_INCOMPLETE',
]);

/** The program itself is refused. */
const REFUSED = new Set<string>([
  'SHERD_NOT_WASM',
  'SHERD_WASM_MALFORMED',
  'SHERD_FEATURE_UNSUPPORTED',
  'SHERD_IMPORT_UNSUPPORTED',
  'SHERD_ENTRY_MISSING',
  'SHERD_LIMIT',
  'SHERD_MEMORY_LIMIT',
]);

function remedyOf(code: string | undefined): Remedy {
  if (code === undefined) return 'retry';
  if (REFUSED.has(code)) return 'none';
  return MENDABLE.has(code) ? 'mend' : 'retry';
}

/** What went wrong, and what would help. */
export function failureOf(cause: unknown): { readonly message: string; readonly remedy: Remedy } {
  return { message: lineOf(cause), remedy: remedyOf((cause as { code?: string }).code) };
}

/** A blob that the shard cannot do without; a failure says what it is of the shard. */
export async function needed(
  what: string,
  hash: Hash,
  fetched: Promise<Uint8Array | undefined>,
): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  try {
    bytes = await fetched;
  } catch (cause) {
    if (!(cause instanceof SherdError)) throw cause;
    const { code, at, next } = cause;
    const place = `${what} (${at === undefined || at === hash ? `blob ${hash}` : at})`;
    throw new SherdError(code, `${place}: ${cause.message}`, { at, next, cause });
  }
  if (bytes !== undefined) return bytes;
  throw new SherdError('SHERD_BLOB_MISSING', `${what} (blob ${hash}) is not in the store`);
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
