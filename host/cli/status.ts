/**
 * `--status FILE`: how a run ended, as JSON, told apart from a program that uses the same exit codes.
 *
 * Does: build the report and put it in place atomically (temporary in the same directory, fsync, rename).
 * Does not: decide the exit code.
 *
 * T1  The file is either the old one or a whole new one (a device or pipe is written into).
 * T2  `reason` is enough to tell sherd's own codes from the program's: only `exit` carries the program's code.
 */
import { realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { access, constants, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { ShardView } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { ExitReason } from '../types/records.js';
import { renderJson } from './format.js';

export type StatusReason = ExitReason | 'paused' | 'interrupted' | 'refused' | 'closed-pipe';

export interface RunFigures {
  readonly shard: string | null;
  readonly fuelUsed: bigint;
  readonly ranMs: number;
  readonly wallMs: number;
  readonly moves: number;
  readonly restarts: number;
  readonly capsuleBytes: number;
  readonly memoryBytes: number;
  readonly outputBytes: number;
}

export interface StatusReport {
  readonly v: 1;
  readonly reason: StatusReason;
  readonly code: number;
  readonly message: string;
  /** Stable error code when sherd refused or failed. */
  readonly error: string | null;
  readonly guestStack: readonly string[];
  /** The capsule file, when paused into one. */
  readonly capsuleFile: string | null;
  readonly figures: RunFigures | null;
}

/** Figures of a run from the last view of its record. */
export function figuresOf(record: ShardView, wallMs: number): RunFigures {
  return {
    shard: record.id,
    fuelUsed: BigInt(record.fuelUsed),
    ranMs: record.ranMs,
    wallMs: Math.round(wallMs),
    moves: record.moves,
    restarts: record.restarts,
    capsuleBytes: record.capsuleBytes,
    memoryBytes: record.memoryBytes,
    outputBytes: record.output.bytes,
  };
}

/** The report of an error. */
export function errorStatus(error: SherdError, figures: RunFigures | null = null): StatusReport {
  return {
    v: 1,
    reason: error.exitCode === EXIT.refused ? 'refused' : 'failed',
    code: error.exitCode,
    message: error.message,
    error: error.code,
    guestStack: [],
    capsuleFile: null,
    figures,
  };
}

/** Replaces `path` atomically. */
export async function writeStatus(path: string, report: StatusReport): Promise<void> {
  await writeFileAtomically(path, Buffer.from(renderJson(report)));
}

/** The same from a process that ends right after it. What cannot be written then is not. */
export function writeStatusNow(path: string, report: StatusReport): void {
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    const target = there === undefined ? resolve(path) : realpathSync(path);
    // A pipe without a reader would hold the process up.
    if (there?.isFile() === false) return;
    const temporary = temporaryOf(target);
    writeFileSync(temporary, renderJson(report));
    renameSync(temporary, target);
  } catch {
    // The exit code says it, too.
  }
}

function temporaryOf(target: string): string {
  return join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
}

/** Checks before the start that the file can be written later. */
export async function checkStatusPath(path: string): Promise<void> {
  await requireDirectoryOf(path, '--status');
}

/** A file that a command will write must have its directory, open to it, or the command is refused before it starts. */
export async function requireDirectoryOf(path: string, option: string): Promise<void> {
  const directory = dirname(resolve(path));
  const facts = await stat(directory).catch(() => undefined);
  if (facts?.isDirectory() !== true) {
    throw new SherdError('SHERD_FILE', `${option}: ${directory} is not a directory`, {
      at: path,
      next: `create it with mkdir -p '${directory}'`,
      exitCode: EXIT.refused,
    });
  }
  const target = await stat(path).catch(() => undefined);
  if (target?.isDirectory() === true) {
    throw new SherdError('SHERD_FILE', `${option}: it is a directory`, {
      at: path,
      next: 'name a file',
      exitCode: EXIT.refused,
    });
  }
  // What is written: a device or pipe itself, else a file beside the target.
  const file = target === undefined ? resolve(path) : await realpath(path);
  const place = target?.isFile() === false ? file : dirname(file);
  if (!(await isWritable(place))) {
    throw new SherdError('SHERD_FILE', `${option}: nothing can be written in ${place}`, {
      at: path,
      next: 'name a file in a directory that you may write in',
      exitCode: EXIT.refused,
    });
  }
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Temporary beside the target, written, synced, renamed. What a symlink names is replaced, not the symlink; a device or
 * a pipe (/dev/null, /dev/fd/3) is written into, for a rename would take its place.
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array): Promise<void> {
  const facts = await stat(path).catch(() => undefined);
  if (facts !== undefined && !facts.isFile() && !facts.isDirectory()) {
    await writeFile(path, bytes).catch((cause: unknown) => {
      throw fileError(cause, path, 'cannot be written');
    });
    return;
  }
  const target = facts === undefined ? resolve(path) : await realpath(path);
  const temporary = temporaryOf(target);
  try {
    const file = await open(temporary, 'w', 0o644);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(cause, path, 'cannot be written');
  }
}

/** An operating-system error as a coded one-liner; a SherdError stays what it is. */
export function fileError(
  cause: unknown,
  path: string,
  what: string,
  exitCode: number = EXIT.failedLater,
): SherdError {
  if (cause instanceof SherdError) return cause;
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new SherdError('SHERD_DISK', `${what}: the disk is full`, {
      at: path,
      next: 'free some space and try again',
      exitCode,
      cause,
    });
  }
  const reasons: Readonly<Record<string, readonly [string, string]>> = {
    ENOENT: ['no such file or directory', 'check the path'],
    EACCES: ['permission denied', 'check its permissions'],
    EPERM: ['permission denied', 'check its permissions'],
    EISDIR: ['it is a directory', 'name a file'],
    ENOTDIR: ['a part of the path is not a directory', 'check the path'],
    EROFS: ['the file system is read-only', 'name another place'],
    EFBIG: ['it would be larger than this process may write', 'raise the limit (ulimit -f)'],
    EMFILE: ['too many open files', 'raise the limit (ulimit -n 256)'],
    ENFILE: ['too many open files', 'end some programs'],
    ENOMEM: ['no memory left', 'free some, or raise the limit (ulimit -v)'],
    ENAMETOOLONG: ['the name is too long', 'name a shorter path'],
  };
  const [reason, next] = reasons[code] ?? [code === '' ? String(cause) : code, 'check the path'];
  return new SherdError('SHERD_FILE', `${what}: ${reason}`, { at: path, next, exitCode, cause });
}
