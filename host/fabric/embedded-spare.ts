/**
 * A temporary file that has its room already, for the next blob: a new file and its blocks cost 0.8 ms (1 MB, ext4), writing over
 * one that is in the page cache 0.2. A shard that moves stands still meanwhile.
 *
 *     put ──open──▶ renamed to the put's own name, cut to its size, written over, renamed to its hash
 *      └──soon──▶ when MAKE_AFTER_MS have passed quietly: written full of zeros among the temporary files
 *
 * Does: keep one such file. Does not: write blobs, or count: no quota knows of it.
 *
 * S1  It is a temporary file like others: a collection may remove it. A put that finds it gone makes a file of its own.
 * S2  None is made on a disk that has less than ROOM_BYTES left, and none larger than MOST_BYTES; a put that finds the disk full
 *     has its room.
 * S3  Who makes one has what killed processes left removed first.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
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
  readonly #sweep: () => Promise<void>;
  #ready: Ready | undefined;
  #wantedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #making: Promise<void> | undefined;
  #closed = false;

  /** `folder`: that of the temporary files. `sweep`: removes those that killed processes left. */
  constructor(folder: string, sweep: () => Promise<void>) {
    this.#folder = folder;
    this.#sweep = sweep;
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
    return takeOver(spare.path, path, bytes) ?? openSync(path, 'w'); // S1
  }

  /** Gives its room back. False: it had none. */
  discard(): boolean {
    const spare = this.#ready;
    this.#ready = undefined;
    if (spare !== undefined) rmSync(spare.path, { force: true });
    return spare !== undefined;
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
    this.discard();
  }

  async #make(): Promise<void> {
    const before = this.#ready;
    if (before !== undefined && before.bytes >= this.#wantedBytes) return;
    const bytes = Math.ceil(this.#wantedBytes * GROWTH);
    const path = join(this.#folder, `${process.pid}-${randomBytes(8).toString('hex')}`);
    try {
      await this.#sweep();
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

/**
 * It gets its new time before its new name: nobody finds an old file under the name of a put that is going on, and takes it for one
 * that a killed process left.
 */
function takeOver(sparePath: string, path: string, bytes: number): number | undefined {
  let file: number | undefined;
  try {
    file = openSync(sparePath, 'r+');
    ftruncateSync(file, bytes);
    renameSync(sparePath, path);
    return file;
  } catch {
    if (file !== undefined) closeSync(file);
    return undefined;
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
