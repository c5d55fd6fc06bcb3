/**
 * Errors of the file system, put into sherd's words.
 *
 * Does: tell a full disk, a used-up quota and a forbidden directory apart. Does not: retry.
 */
import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import { SherdError } from '../types/errors.js';

export function isErrno(error: unknown, code?: string): error is NodeJS.ErrnoException {
  if (!(error instanceof Error) || typeof (error as NodeJS.ErrnoException).code !== 'string') {
    return false;
  }
  return code === undefined || (error as NodeJS.ErrnoException).code === code;
}

/** LMDB reports errno as a number, or in words only. */
export function isDiskFull(error: unknown): boolean {
  if (isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT')) return true;
  if (!(error instanceof Error)) return false;
  return /no space left on device|disk quota exceeded/i.test(error.message);
}

/** A SherdError stays itself; what the file system says becomes one. */
export function diskError(error: unknown, at: string): unknown {
  if (error instanceof SherdError) return error;
  if (isDiskFull(error)) {
    return new SherdError('SHERD_DISK', 'the disk is full; nothing was stored', {
      at,
      next: 'free some space (sherd du shows what is used, sherd gc removes what is not needed)',
      cause: error,
    });
  }
  if (isErrno(error)) {
    return new SherdError('SHERD_DISK', `the disk refuses: ${error.message}`, {
      at,
      next: 'check the permissions and the state of the file system',
      cause: error,
    });
  }
  return error;
}

/** What was made, renamed or removed in this directory is so after a power cut, too. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fdatasyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function quotaExceeded(
  at: string,
  usedBytes: number,
  moreBytes: number,
  quotaBytes: number,
): SherdError {
  return new SherdError(
    'SHERD_DISK',
    `the quota of ${quotaBytes} bytes for blobs is used up (${usedBytes} used, ${moreBytes} more wanted)`,
    { at, next: 'remove finished shards (sherd rm), then sherd gc; or raise the quota' },
  );
}
