/**
 * What the user named to be read: a file, a pipe, a terminal or a device, as bytes.
 *
 *   open (never waits) ─┬─ file, device ────▶ read by the thread pool
 *                       └─ pipe, terminal ──▶ read by the event loop, which waits for a writer or for a key
 *
 * Does: open it, hand its bytes over to the end, refuse a directory. Does not: look at the bytes, or know paths that must not be
 * left (directories.ts reads those).
 *
 * S1  Nothing here makes a thread of the pool wait for somebody else: a process exits only when those threads are through, and one
 *     that waits for the writer of a pipe would keep it from ending when it is told to.
 * S2  What has no end known beforehand is read up to a limit and refused beyond.
 */
import { close, constants, fstat, open, read, readFile, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { isatty, ReadStream } from 'node:tty';
import { promisify } from 'node:util';
import { EXIT, SherdError } from '../types/errors.js';

const openFd = promisify(open);
const statFd = promisify<number, Stats>(fstat);
const readWholeFd = promisify<number, Buffer>(readFile);

const PIECE_BYTES = 64 * 1024;
/** So much of a pipe or device is taken for a program or a capsule. */
const WHOLE_BYTES_MAX = 2 ** 30;

export interface Source {
  readonly facts: Stats;
  /** Its bytes, once, in pieces that are valid until the next one. Closes it at the end. */
  pieces(): AsyncIterable<Uint8Array>;
}

/** Opens it. Rejects with what the system says; a directory is EISDIR. */
export async function openSource(path: string): Promise<Source> {
  return sourceOf(...(await openWithoutWaiting(path)));
}

/** The whole of it in memory. `next`: what to do with a pipe or device that does not end. */
export async function readSource(path: string, limitBytes = WHOLE_BYTES_MAX): Promise<Uint8Array> {
  const [fd, facts] = await openWithoutWaiting(path);
  if (facts.isFile()) {
    try {
      return await readWholeFd(fd);
    } finally {
      closeQuietly(fd);
    }
  }
  const next = 'write what is wanted of it into a file, and name that';
  const parts: Uint8Array[] = [];
  for await (const piece of bounded(sourceOf(fd, facts).pieces(), path, limitBytes, next)) {
    parts.push(piece.slice());
  }
  return Buffer.concat(parts);
}

/** S2. */
export async function* bounded(
  source: AsyncIterable<Uint8Array>,
  at: string,
  limitBytes: number,
  next: string,
): AsyncIterable<Uint8Array> {
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.length;
    if (bytes > limitBytes) {
      const gib = Math.floor(limitBytes / 2 ** 30);
      throw new SherdError('SHERD_LIMIT', `it does not end within ${gib} GiB`, {
        at,
        next,
        exitCode: EXIT.refused,
      });
    }
    yield piece;
  }
}

async function openWithoutWaiting(path: string): Promise<[fd: number, facts: Stats]> {
  const fd = await openFd(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const facts = await statFd(fd);
    if (!facts.isDirectory()) return [fd, facts];
  } catch (cause) {
    closeQuietly(fd);
    throw cause;
  }
  closeQuietly(fd);
  throw Object.assign(new Error('a directory'), { code: 'EISDIR' });
}

function sourceOf(fd: number, facts: Stats): Source {
  const waits = facts.isFIFO() || facts.isSocket() || isatty(fd);
  return { facts, pieces: () => (waits ? streamOf(fd) : readPieces(fd)) };
}

/** S1: the event loop waits. A pipe that nobody has opened for writing yet has not ended. */
function streamOf(fd: number): AsyncIterable<Uint8Array> {
  return isatty(fd) ? new ReadStream(fd) : new Socket({ fd, readable: true, writable: false });
}

async function* readPieces(fd: number): AsyncIterable<Uint8Array> {
  const buffer = new Uint8Array(PIECE_BYTES);
  try {
    for (;;) {
      const length = await readSome(fd, buffer);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeQuietly(fd);
  }
}

function readSome(fd: number, buffer: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.length, null, (cause, length) =>
      cause === null ? resolve(length) : reject(cause),
    );
  });
}

function closeQuietly(fd: number): void {
  close(fd, () => undefined);
}
