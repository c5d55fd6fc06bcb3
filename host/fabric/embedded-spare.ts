/**
 * A temporary file that has its room already, for the next blob: a new file and its blocks cost 0.8 ms (1 MB, ext4), writing over
 * one that is in the page cache 0.2. A shard that moves stands still meanwhile.
 *
 *     put ──open──▶ renamed to the put's own name, cut to its size, written over, renamed to its hash
 *      └──soon──▶ when MAKE_AFTER_MS have passed quietly: written full of zeros among the temporary files
 *
 * Does: keep one such file. Does not: write blobs, or count: no quota knows of it.
 *
 * S1  It is a temporary file like others: a collection may remove it, and one that is left by a killed process is removed in time.
 *     A put that finds it gone makes a file of its own.
 * S2  There is none on a disk that has less than ROOM_BYTES left, and none larger than MOST_BYTES.
 */
import { randomBytes } from 'node:crypto';
import { ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';

const MAKE_AFTER_MS = 100;
const MOST_BYTES = 4 * 1024 * 1024;
const ROOM_BYTES = 256 * 1024 * 1024;
/** A blob of the same shard may be larger the next time. */
const GROWTH = 1.25;
const PIECE_BYTES = 256 * 1024;
const ZEROS = new Uint8Array(PIECE_BYTES);

interface Ready {
  readonly path: string;
  readonly bytes: number;
}

export class SpareFile {
  readonly #folder: string;
  #ready: Ready | undefined;
  #wantedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #making: Promise<void> | undefined;
  #closed = false;

  /** `folder`: that of the temporary files. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** It waits. */
  get isReady(): boolean {
    return this.#ready !== undefined;
  }

  /** A file at `path`, where there is none, open for writing so many bytes at its begin. */
  open(path: string, bytes: number): number {
    const spare = this.#ready;
    if (spare === undefined || spare.bytes < bytes) return openSync(path, 'wx');
    this.#ready = undefined;
    let file: number;
    try {
      renameSync(spare.path, path);
      file = openSync(path, 'r+');
    } catch {
      return openSync(path, 'w'); // S1
    }
    ftruncateSync(file, bytes);
    return file;
  }

  /** A blob of so many bytes was written: another one may follow. */
  soon(bytes: number): void {
    if (this.#closed || bytes > MOST_BYTES / GROWTH) return;
    this.#wantedBytes = bytes;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined;
      });
    }, MAKE_AFTER_MS).unref();
    this.#timer.refresh();
  }

  /** Resolves when nothing of it is left. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#making;
    if (this.#ready !== undefined) rmSync(this.#ready.path, { force: true });
  }

  async #make(): Promise<void> {
    const before = this.#ready;
    if (before !== undefined && before.bytes >= this.#wantedBytes) return;
    const bytes = Math.ceil(this.#wantedBytes * GROWTH);
    const path = join(this.#folder, `${process.pid}-${randomBytes(8).toString('hex')}`);
    try {
      const { bavail, bsize } = await statfs(this.#folder);
      if (bavail * bsize < ROOM_BYTES) return;
      await fill(path, bytes);
    } catch {
      await rm(path, { force: true }).catch(() => undefined);
      return;
    }
    const old = this.#ready;
    this.#ready = { path, bytes };
    if (old !== undefined) await rm(old.path, { force: true }).catch(() => undefined);
  }
}

async function fill(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'wx');
  try {
    for (let at = 0; at < bytes; ) {
      const { bytesWritten } = await file.write(ZEROS, 0, Math.min(PIECE_BYTES, bytes - at), at);
      at += bytesWritten;
    }
  } finally {
    await file.close();
  }
}
