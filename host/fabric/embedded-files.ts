/**
 * Files and streams of bytes, read and written in pieces that hold no thread up.
 *
 * Does: choose between one call and many by the size. Does not: know what a blob is.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

export const CHUNK_BYTES = 2 * 1024 * 1024;
/** Up to this size (3–8 ms) a blob is written or read without giving the thread away: trips to the pool cost more. */
export const AT_ONCE_BYTES = 8 * 1024 * 1024;
/**
 * Where in its buffer what is read begins. A large buffer begins 16 bytes behind the begin of a page, and to such an address the
 * kernel copies a page of a file six times slower than to others (AMD EPYC, `rep movsb`: 0.7 ms for 1.1 MB instead of 0.1).
 */
const BEGIN_BYTES = 48;

/** `into` when it is large enough, else memory of its own; nothing else is in it. */
export function roomFor(bytes: number, into: ArrayBuffer | undefined): Buffer {
  const spareBytes = (into?.byteLength ?? 0) - bytes;
  if (into === undefined || spareBytes < 0)
    return Buffer.allocUnsafeSlow(BEGIN_BYTES + bytes).subarray(BEGIN_BYTES);
  return Buffer.from(into, Math.min(BEGIN_BYTES, spareBytes & -8), bytes);
}

/** The file at once when it is small, else undefined. `into` is used when it is large enough. */
export function readSmall(path: string, into: ArrayBuffer | undefined): Buffer | undefined {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    if (size > AT_ONCE_BYTES) return undefined;
    const content = roomFor(size, into);
    let bytes = 0;
    while (bytes < size) {
      const more = readSync(file, content, bytes, size - bytes, bytes);
      if (more === 0) break;
      bytes += more;
    }
    return content.subarray(0, bytes);
  } finally {
    closeSync(file);
  }
}

/** The file in pieces, none of which holds the thread up. */
export async function readLarge(path: string, into: ArrayBuffer | undefined): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const content = roomFor(size, into);
    let bytes = 0;
    while (bytes < size) {
      const { bytesRead } = await file.read(content, bytes, Math.min(CHUNK_BYTES, size - bytes));
      if (bytesRead === 0) break;
      bytes += bytesRead;
    }
    return content.subarray(0, bytes);
  } finally {
    await file.close();
  }
}

/** A stream's content when it has at most so many bytes; else the same stream, from its begin. */
export async function startOf(
  content: AsyncIterable<Uint8Array>,
  mostBytes: number,
): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const stream = content[Symbol.asyncIterator]();
  const parts: Uint8Array[] = [];
  for (let bytes = 0; bytes <= mostBytes; ) {
    const { done, value } = await stream.next();
    if (done === true) return Buffer.concat(parts);
    parts.push(value.slice()); // its owner may use that memory again
    bytes += value.length;
  }
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const value = parts.shift();
    return value === undefined ? stream.next() : { done: false, value };
  };
  const end = async (): Promise<IteratorResult<Uint8Array>> => {
    await stream.return?.();
    return { done: true, value: undefined };
  };
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) };
}

export async function* slices(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += CHUNK_BYTES) {
    yield content.subarray(at, at + CHUNK_BYTES);
  }
}

export async function writeAll(file: FileHandle, part: Uint8Array): Promise<void> {
  for (let at = 0; at < part.length; ) at += (await file.write(part, at)).bytesWritten;
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
