/**
 * Errors about a part of a shard that the store cannot give: they say whose part it is, what it is, and which blob.
 *
 * Does not: decide what is to be done about it (the node sets a shard aside that cannot go on).
 */
import { SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { ShardId } from '../types/records.js';

export function blobGone(hash: Hash): SherdError {
  return new SherdError('SHERD_BLOB_MISSING', 'it is not in the store', { at: hash });
}

/** `its capsule`, `a piece of its output` … */
export function aboutPart(cause: SherdError, id: ShardId, what: string): SherdError {
  const blob = cause.at === undefined ? '' : ` (blob ${cause.at})`;
  return new SherdError(cause.code, `${what}${blob} cannot be read: ${cause.message}`, {
    at: id,
    next: 'put that blob back into the data directory from a copy, then ask again',
    exitCode: cause.exitCode,
    cause,
  });
}
