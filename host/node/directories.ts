/**
 * Host directories and files as content-addressed trees.
 *
 * Does: read a directory (or one file, or a stream) once, chunk by chunk, and hand each chunk to `putBlob`.
 * Does not: follow symlinks, write anything, or keep content in memory beyond one chunk.
 *
 * D1  Symlinks stay symlinks; nothing outside the directory is read, even when the directory changes meanwhile
 *     (files are opened with O_NOFOLLOW and checked to be regular files).
 * D2  Entries are sorted by UTF-8 bytes; the same content gives the same tree, modification times apart.
 * D3  What cannot be carried (sockets, pipes, devices, names that are not UTF-8) is left out with a warning; what
 *     cannot be read is an error.
 * D4  What has no end known beforehand (a pipe, a device) is read up to STREAM_BYTES_MAX and refused beyond.
 * D5  The bytes given to `putBlob` are not changed afterwards.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DEPTH_MAX } from '../runtime/wasi/inodes.js';
import { isName, isWellFormed, PATH_BYTES_MAX, utf8Bytes } from '../runtime/wasi/names.js';
import { compareUtf8 } from '../runtime/wasi/order.js';
import { EXIT, SherdError } from '../types/errors.js';
import {
  CHUNK_BYTES,
  type ChunkRef,
  type DirectoryNode,
  type DirectoryTree,
  type FileNode,
  type SymlinkNode,
  type TreeNode,
} from '../types/host.js';
import type { Hash } from '../types/platform.js';
import { bounded, openSource } from './source.js';

/** Where write-back keeps what is staged (host/cli/write-back.ts); never part of a tree. */
export const WRITE_BACK_NAME = '.sherd-write-back';

/** Stores a blob under its hash. */
export type PutBlob = (hash: Hash, bytes: Uint8Array) => Promise<void>;

/** One line about something that was left out. */
export type Warn = (message: string) => void;

const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The directory as a tree; its content goes to `putBlob`. */
export async function snapshotDirectory(
  hostPath: string,
  guestPath: string,
  readOnly: boolean,
  putBlob: PutBlob,
  warn: Warn = () => {},
): Promise<DirectoryTree> {
  try {
    const path = await realpath(hostPath);
    const stats = await stat(path, { bigint: true });
    if (!stats.isDirectory()) throw notThat(hostPath, 'not a directory');
    const root = await new Walk(putBlob, warn).directory(path, stats, 0);
    return { guestPath, readOnly, root };
  } catch (cause) {
    throw asFileError(cause, hostPath);
  }
}

/** So much is read of what may have no end; a file may be larger. */
export const STREAM_BYTES_MAX = 4 * 2 ** 30;

/** One file as chunks. A stream such as /dev/stdin or a named pipe is read to its end (D4). */
export async function snapshotFile(
  hostPath: string,
  putBlob: PutBlob,
  limitBytes = STREAM_BYTES_MAX,
): Promise<ChunkRef[]> {
  try {
    const source = await openSource(hostPath);
    return await snapshotStream(source.pieces(), source.facts, hostPath, putBlob, limitBytes);
  } catch (cause) {
    throw asFileError(cause, hostPath);
  }
}

/** An open file, pipe or device as chunks (D4). `at` names it. */
export async function snapshotStream(
  source: AsyncIterable<Uint8Array>,
  facts: Stats,
  at: string,
  putBlob: PutBlob,
  limitBytes = STREAM_BYTES_MAX,
): Promise<ChunkRef[]> {
  if (facts.isDirectory()) throw notThat(at, 'a directory, not a file');
  const next = 'write what is wanted of it into a file, and give that with --stdin FILE';
  return chunksOf(facts.isFile() ? source : bounded(source, at, limitBytes, next), putBlob);
}

/** A stream of bytes as chunks: all but the last are CHUNK_BYTES long. */
export async function chunksOf(
  source: AsyncIterable<Uint8Array>,
  putBlob: PutBlob,
): Promise<ChunkRef[]> {
  const refs: ChunkRef[] = [];
  let chunk = new Uint8Array(CHUNK_BYTES);
  let filled = 0;
  const flush = async (): Promise<void> => {
    const bytes = filled === CHUNK_BYTES ? chunk : chunk.slice(0, filled);
    const hash = createHash('sha256').update(bytes).digest('hex');
    await putBlob(hash, bytes);
    refs.push({ hash, bytes: bytes.length });
    chunk = new Uint8Array(CHUNK_BYTES);
    filled = 0;
  };
  for await (const piece of source) {
    for (let at = 0; at < piece.length; ) {
      const length = Math.min(piece.length - at, CHUNK_BYTES - filled);
      chunk.set(piece.subarray(at, at + length), filled);
      filled += length;
      at += length;
      if (filled === CHUNK_BYTES) await flush();
    }
  }
  if (filled > 0) await flush();
  return refs;
}

/** The content of an open file, in pieces that are valid until the next one. */
async function* pieces(handle: FileHandle): AsyncIterable<Uint8Array> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

class Walk {
  constructor(
    readonly putBlob: PutBlob,
    readonly warn: Warn,
  ) {}

  async directory(path: string, stats: BigIntStats, depth: number): Promise<DirectoryNode> {
    if (depth > DEPTH_MAX) throw notThat(path, `nested deeper than ${DEPTH_MAX} directories`);
    const entries: [string, TreeNode][] = [];
    for (const raw of await readdir(path, { encoding: 'buffer' })) {
      const name = decode(raw);
      if (name === undefined || !isName(name)) {
        this.warn(`${join(path, String(raw))}: left out, its name is not UTF-8`);
        continue;
      }
      if (depth === 0 && name.startsWith(WRITE_BACK_NAME)) continue;
      const node = await this.node(join(path, name), depth + 1);
      if (node !== undefined) entries.push([name, node]);
    }
    entries.sort((a, b) => compareUtf8(a[0], b[0]));
    return { kind: 'dir', mtimeNs: mtimeOf(stats), entries };
  }

  async node(path: string, depth: number): Promise<TreeNode | undefined> {
    let stats: BigIntStats;
    try {
      stats = await lstat(path, { bigint: true });
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT') throw asFileError(cause, path);
      this.warn(`${path}: left out, it was removed meanwhile`);
      return undefined;
    }
    if (stats.isDirectory()) return this.directory(path, stats, depth);
    if (stats.isSymbolicLink()) return this.symlink(path, stats);
    if (stats.isFile()) return this.file(path);
    this.warn(`${path}: left out, it is not a regular file, directory or symlink`);
    return undefined;
  }

  async symlink(path: string, stats: BigIntStats): Promise<SymlinkNode | undefined> {
    const target = decode(await readlink(path, { encoding: 'buffer' }));
    if (target === undefined || target === '' || utf8Bytes(target) > PATH_BYTES_MAX) {
      this.warn(`${path}: left out, its target is not UTF-8`);
      return undefined;
    }
    return { kind: 'symlink', mtimeNs: mtimeOf(stats), target };
  }

  async file(path: string): Promise<FileNode | undefined> {
    const handle = await openRegular(path);
    if (handle === undefined) {
      this.warn(`${path}: left out, it was replaced meanwhile`);
      return undefined;
    }
    try {
      const stats = await handle.stat({ bigint: true });
      const chunks = await chunksOf(pieces(handle), this.putBlob);
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
      const executable = (stats.mode & 0o100n) !== 0n;
      return { kind: 'file', mtimeNs: mtimeOf(stats), bytes, chunks, executable };
    } catch (cause) {
      throw asFileError(cause, path);
    } finally {
      await handle.close();
    }
  }
}

/** Opens a regular file; undefined when there is something else in its place. Never waits on a pipe. */
export async function openRegular(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    handle = await open(path, flags);
  } catch (cause) {
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(codeOf(cause))) return undefined;
    throw asFileError(cause, path);
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

/** The chunks of a regular file's content, without storing them; undefined when it is not one. */
export async function hashFile(path: string): Promise<ChunkRef[] | undefined> {
  const handle = await openRegular(path);
  if (handle === undefined) return undefined;
  try {
    return await chunksOf(pieces(handle), async () => {});
  } finally {
    await handle.close();
  }
}

function decode(raw: Uint8Array): string | undefined {
  try {
    const text = utf8Strict.decode(raw);
    return isWellFormed(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

function mtimeOf(stats: BigIntStats): bigint {
  return stats.mtimeNs > 0n ? stats.mtimeNs : 0n;
}

/** The code of a system error, or ''. */
export function codeOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' ? code : '';
}

function notThat(path: string, why: string): SherdError {
  const next = 'name another path';
  return new SherdError('SHERD_FILE', why, { at: path, next, exitCode: EXIT.refused });
}

/** A system error as SHERD_FILE about a path; a SherdError stays what it is. */
export function asFileError(cause: unknown, path: string): SherdError {
  if (cause instanceof SherdError) return cause;
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'no such file or directory',
    EACCES: 'permission denied',
    ENOTDIR: 'not a directory',
    EISDIR: 'a directory, not a file',
    ELOOP: 'too many symbolic links',
  };
  const message =
    reasons[codeOf(cause)] ?? (cause instanceof Error ? cause.message : String(cause));
  const next = 'check the path and its permissions';
  return new SherdError('SHERD_FILE', message, { at: path, next, exitCode: EXIT.refused, cause });
}
