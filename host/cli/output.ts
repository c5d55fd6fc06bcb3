/**
 * Writes to this process's stdout and stderr, byte for byte.
 *
 * Does: write whole chunks in order through the thread pool, so that a full pipe never blocks the event loop (Ctrl-C
 * keeps working); turn EPIPE into `ClosedPipe`, which ends the command quietly.
 * Does not: know what a shard is.
 *
 * O1  Chunks of one writer appear in the order of the calls, whole, once.
 * O2  After a write has failed every later one fails the same way.
 * O3  What goes to a terminal that is gone (EIO) is dropped: the command ends by SIGHUP, or lives on without it.
 */
import { write as writeFd, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { printableLine } from '../types/text.js';
import { fileError } from './status.js';

/** The reader of our output has gone: not an error worth a message. */
export class ClosedPipe extends Error {
  constructor() {
    super('the reader of the output closed it');
    this.name = 'ClosedPipe';
  }
}

export class FdWriter {
  readonly fd: number;
  /** Asked at the start: a terminal that is gone is none any more. */
  readonly #isTerminal: boolean;
  #tail: Promise<void> = Promise.resolve();
  /** The last byte written was a newline, or nothing was written yet. */
  atLineStart = true;
  bytesWritten = 0;
  #waiting = 0;

  constructor(fd: number) {
    this.fd = fd;
    this.#isTerminal = isatty(fd);
  }

  /** Nothing is on its way to the kernel. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Resolves when the bytes are with the kernel. */
  write(content: Uint8Array | string): Promise<void> {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    if (bytes.length === 0) return this.#tail;
    this.atLineStart = bytes[bytes.length - 1] === 10;
    this.bytesWritten += bytes.length;
    return this.#append(bytes);
  }

  /** Writes cursor control and text that will be erased again: `atLineStart` stays what it was. */
  writeControl(text: string): Promise<void> {
    return this.#append(Buffer.from(text));
  }

  #append(bytes: Uint8Array): Promise<void> {
    this.#waiting++;
    const done = this.#tail
      .then(() => writeAll(this.fd, bytes, this.#isTerminal))
      .finally(() => {
        this.#waiting--;
      });
    this.#tail = done;
    done.catch(() => undefined); // the caller that awaits sees it; O2 through the chain
    return done;
  }

  /** Resolves when everything written so far is with the kernel. */
  flush(): Promise<void> {
    return this.#tail;
  }
}

async function writeAll(fd: number, bytes: Uint8Array, isTerminal: boolean): Promise<void> {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += await writeSome(fd, bytes, at);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'EPIPE') throw new ClosedPipe();
      if (code === 'EIO' && isTerminal) return;
      if (code !== 'EAGAIN') {
        throw fileError(
          cause,
          fd === 1 ? 'standard output' : 'standard error',
          'cannot be written',
        );
      }
      await sleep(5); // a terminal shared with a program that made it non-blocking
    }
  }
}

function writeSome(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    writeFd(fd, bytes, at, bytes.length - at, null, (cause, written) =>
      cause === null ? resolve(written) : reject(cause),
    );
  });
}

/** A line of our own on stderr from a process that ends right after it. */
export function sayNow(text: string): void {
  try {
    writeSync(2, `${printableLine(`sherd: ${text}`)}\n`);
  } catch {
    // Nobody reads it any more.
  }
}

/** Shared writers, so that reports, output and progress keep their order. */
export const stdout = new FdWriter(1);
export const stderr = new FdWriter(2);
