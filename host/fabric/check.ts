/**
 * The limits that every fabric enforces in the same words: keys, sizes, prefixes.
 *
 * Does: refuse what the contract does not allow. Does not: store anything.
 *
 * C1  A key, subject or prefix is dot-joined tokens of `[A-Za-z0-9_-]`, at most 255 characters.
 * C2  A prefix matches itself and what continues it after a dot: `a.b` matches `a.b` and `a.b.c`, not `a.bc`.
 */
import { SherdError } from '../types/errors.js';
import { MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, RECORD_KEY } from '../types/fabric.js';

const MAX_KEY_LENGTH = 255;
const HASH = /^[0-9a-f]{64}$/;

export function checkKey(key: string): void {
  if (key.length > MAX_KEY_LENGTH || !RECORD_KEY.test(key)) {
    throw new SherdError('SHERD_LIMIT', `not a key of the fabric: ${JSON.stringify(key)}`, {
      next: 'use dot-joined tokens of letters, digits, _ and -, at most 255 characters',
    });
  }
}

export function checkRecordSize(key: string, value: Uint8Array): void {
  if (value.byteLength > MAX_RECORD_BYTES) {
    throw new SherdError(
      'SHERD_LIMIT',
      `a record of ${value.byteLength} bytes is larger than ${MAX_RECORD_BYTES}`,
      { at: key, next: 'put the content into a blob and name it in the record' },
    );
  }
}

export function checkMessageSize(subject: string, payload: Uint8Array): void {
  if (payload.byteLength > MAX_MESSAGE_BYTES) {
    throw new SherdError(
      'SHERD_LIMIT',
      `a message of ${payload.byteLength} bytes is larger than ${MAX_MESSAGE_BYTES}`,
      { at: subject, next: 'put the content into a blob and name it in the message' },
    );
  }
}

/** Guards the file names of the embedded store too: nothing but a hash ever becomes one. */
export function checkHash(hash: string): void {
  if (!HASH.test(hash)) {
    throw new SherdError('SHERD_LIMIT', `not a blob hash: ${JSON.stringify(hash).slice(0, 100)}`);
  }
}

export function matchesPrefix(prefix: string, key: string): boolean {
  return (
    key.startsWith(prefix) &&
    (key.length === prefix.length || key.charCodeAt(prefix.length) === 0x2e)
  );
}

export function blobMissing(hash: string): SherdError {
  return new SherdError('SHERD_BLOB_MISSING', 'the blob is not in the store', {
    at: hash,
    next: 'it was collected or never stored: submit its source again',
  });
}

export function blobDamaged(hash: string, reason: string): SherdError {
  return new SherdError('SHERD_BLOB_DAMAGED', `the blob is damaged: ${reason}`, {
    at: hash,
    next: 'storing the same content again repairs it',
  });
}

export function blobMismatch(hash: string, actual: string): SherdError {
  return new SherdError('SHERD_BLOB_DAMAGED', `content does not have this hash but ${actual}`, {
    at: hash,
  });
}

export function fabricClosed(): SherdError {
  return new SherdError('SHERD_FABRIC', 'the fabric is closed');
}
