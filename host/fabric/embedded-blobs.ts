/**
 * Blobs of the embedded fabric: files named by their hash; small ones (up to PACKED_BYTES) lie together in packs.
 *
 * Does: write through a temporary file and a rename, verify on every read, collect with grace, keep the quota.
 * Does not: compress, cache, or know which record needs which blob; the packs are embedded-packs.
 *
 *   put:      tmp/<random> ── written, hashed, (fsync) ──► [transaction: count, rename] ──► blobs/3f/3f9a…
 *     small:              hashed ──► [transaction: append to a pack, (fsync), name it there, count]
 *   collect:                              [transaction: still older than the collection's begin? remove, count]
 *
 * B1  Under its name in `blobs/` a file is always complete: a kill or a full disk leaves only a temporary file.
 * B2  Renaming, packing, renewing the age and removing happen inside write transactions of the store, so they exclude one another
 *     over all processes: a put that has returned is never undone by a collection that looked before it.
 * B3  A put of what is there already renews its age, and so does asking for it. What a read has found damaged is marked, and not
 *     there for either: a put writes it anew. A file that has changed since, copied back by somebody, is read again, and a read
 *     that finds it sound takes the mark away.
 * B4  The counter of bytes can lag behind after a kill; every collection recounts it.
 * B5  A file in `blobs/` goes before what a pack has under the same name: small blobs of older directories are files, and
 *     whoever copies a blob back puts it there.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStat, Blobs, GetOptions, PutOptions } from '../types/fabric.js';
import type { Hash } from '../types/platform.js';
import { blobDamaged, blobMismatch, blobMissing, checkHash, fabricClosed } from './check.js';
import type { DirectoryPaths } from './embedded-directory.js';
import { diskError, isErrno, quotaExceeded, syncDirectory } from './embedded-disk.js';
import {
  AT_ONCE_BYTES,
  CHUNK_BYTES,
  nextTurn,
  readLarge,
  readSmall,
  roomFor,
  slices,
  startOf,
  writeAll,
} from './embedded-files.js';
import { PACKED_BYTES, type Packed, Packs } from './embedded-packs.js';
import { giveRoom, setRoomAside } from './embedded-reserve.js';
import { SpareFile } from './embedded-spare.js';
import type { Store } from './embedded-store.js';

const READ_CHUNK_BYTES = 256 * 1024;
/** A temporary file that nobody has written to for so long belongs to a killed process. */
const TEMPORARY_MAX_AGE_MS = 600_000;
const DAMAGED_MARK = '.damaged';
const FORCE = { force: true };
const HASH_NAME = /^[0-9a-f]{64}$/;
/** Packed blobs that are removed in one transaction. */
const REMOVED_AT_ONCE = 64;

interface Asked {
  readonly hash: Hash;
  readonly resolve: (isThere: boolean) => void;
  readonly reject: (error: unknown) => void;
}

export class EmbeddedBlobs implements Blobs {
  #closed = false;
  #asked: Asked[] = [];
  readonly #packs: Packs;
  readonly #spare: SpareFile;

  constructor(
    private readonly paths: DirectoryPaths,
    private readonly store: Store,
    private readonly sync: boolean,
  ) {
    this.#packs = new Packs(paths.packs, store, sync);
    this.#spare = new SpareFile(paths.tmp, () => this.#removeTemporaries(TEMPORARY_MAX_AGE_MS));
  }

  async put(
    hash: Hash,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: PutOptions = {},
  ): Promise<void> {
    checkHash(hash);
    this.#checkOpen();
    const hashed = options.hashed === true;
    const start = content instanceof Uint8Array ? content : await startOf(content, PACKED_BYTES);
    if (start instanceof Uint8Array && start.length <= PACKED_BYTES)
      return this.#putSmall(hash, start, hashed);
    const temporary = join(this.paths.tmp, `${process.pid}-${randomBytes(8).toString('hex')}`);
    try {
      const bytes = await this.#write(temporary, hash, start, hashed);
      if (bytes !== undefined) this.#publish(temporary, hash, bytes);
    } catch (error) {
      rmSync(temporary, FORCE);
      throw diskError(error, this.paths.root);
    }
  }

  async get(hash: Hash, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    checkHash(hash);
    this.#checkOpen();
    const whole = await this.#readWhole(hash, options.into);
    if (whole === undefined) return undefined;
    const { content, isMarked, packed } = whole;
    const digest = createHash('sha256');
    for (let at = 0; at < content.length; at += CHUNK_BYTES) {
      digest.update(content.subarray(at, at + CHUNK_BYTES));
      if (at >= AT_ONCE_BYTES) await nextTurn(); // big blobs do not hold the process up
    }
    const actual = digest.digest('hex');
    // Its pack may have gone, and its number been given again, or it may have been collected, and others lie there now.
    if (actual !== hash && packed !== undefined && this.#packs.hasMoved(hash, packed))
      return this.get(hash, options);
    this.#verify(hash, actual, isMarked, packed);
    return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  }

  async *read(hash: Hash): AsyncGenerator<Uint8Array> {
    checkHash(hash);
    this.#checkOpen();
    const file = await this.#openBlob(hash);
    if (file === undefined) {
      const content = await this.get(hash);
      if (content === undefined) throw blobMissing(hash);
      if (content.length > 0) yield content;
      return;
    }
    try {
      const digest = createHash('sha256');
      let held: Uint8Array | undefined;
      for (;;) {
        const chunk = new Uint8Array(READ_CHUNK_BYTES);
        const { bytesRead } = await file.read(chunk).catch((error: unknown) => {
          throw this.#unreadable(hash, error);
        });
        if (bytesRead === 0) break;
        const part = chunk.subarray(0, bytesRead);
        digest.update(part);
        if (held !== undefined) yield held;
        held = part;
      }
      this.#verify(hash, digest.digest('hex'), this.#isMarked(hash));
      if (held !== undefined) yield held;
    } finally {
      await file.close();
    }
  }

  async has(hash: Hash): Promise<boolean> {
    checkHash(hash);
    this.#checkOpen();
    // Whether its pack has it is looked at with the lock held (#makeYoung): now it may be on its way to another pack.
    const packed = existsSync(this.#path(hash)) ? undefined : this.#packs.find(hash);
    if (packed === undefined && !existsSync(this.#path(hash))) return false;
    if (this.#isMarked(hash, packed) && !(await this.#isSoundAgain(hash))) return false;
    return new Promise((resolve, reject) => {
      this.#asked.push({ hash, resolve, reject });
      if (this.#asked.length === 1) queueMicrotask(() => this.#answer());
    });
  }

  /** Of all that were asked for at once, in one transaction: a submit may name 10,000 files. */
  #answer(): void {
    const asked = this.#asked;
    this.#asked = [];
    try {
      const answers = this.store.write(() => asked.map(({ hash }) => this.#makeYoung(hash)));
      for (const [at, { resolve }] of asked.entries()) resolve(answers[at] === true);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  async *list(): AsyncGenerator<BlobStat> {
    const small = new Set<Hash>();
    for await (const file of this.#files()) {
      if (file.bytes <= PACKED_BYTES) small.add(file.hash);
      yield file;
    }
    for await (const page of this.#packedPages())
      for (const blob of page) if (!small.has(blob.hash)) yield blob;
  }

  async *#files(): AsyncGenerator<BlobStat> {
    this.#checkOpen();
    const nowMs = Date.now();
    for (const directory of (await readdir(this.paths.blobs)).sort()) {
      for (const name of (await readdir(join(this.paths.blobs, directory))).sort()) {
        if (!HASH_NAME.test(name)) continue;
        const found = await stat(this.#path(name)).catch(() => undefined);
        if (found === undefined) continue; // collected meanwhile
        yield { hash: name, bytes: found.size, ageMs: Math.max(0, nowMs - found.mtimeMs) };
      }
    }
  }

  async *#packedPages(): AsyncGenerator<BlobStat[]> {
    let last: Hash | undefined;
    do {
      this.#checkOpen();
      const page = this.#packs.page(last);
      const nowMs = Date.now();
      const stats = page.map(([hash, { bytes, renewedMs }]) => {
        return { hash, bytes, ageMs: Math.max(0, nowMs - renewedMs) };
      });
      yield stats;
      last = page.at(-1)?.[0];
      await nextTurn();
    } while (last !== undefined);
  }

  async collect(
    keep: (hash: Hash) => boolean,
    graceMs: number,
  ): Promise<{ blobs: number; bytes: number; untidiedPacks?: number }> {
    giveRoom(this.paths.reserve);
    try {
      return await this.#collect(keep, graceMs);
    } finally {
      setRoomAside(this.paths.reserve);
    }
  }

  async #collect(
    keep: (hash: Hash) => boolean,
    graceMs: number,
  ): Promise<{ blobs: number; bytes: number; untidiedPacks?: number }> {
    const freed = { blobs: 0, bytes: 0 };
    const untilMs = Date.now() - graceMs;
    for await (const blob of this.#files()) {
      if (keep(blob.hash)) continue;
      const bytes = this.#removeIfOld(blob.hash, untilMs);
      if (bytes === undefined) continue;
      freed.blobs++;
      freed.bytes += bytes;
    }
    for await (const page of this.#packedPages()) {
      for (let from = 0; from < page.length; from += REMOVED_AT_ONCE) {
        const some = page.slice(from, from + REMOVED_AT_ONCE).filter(({ hash }) => !keep(hash));
        const removed = this.#removePacked(some, untilMs);
        freed.blobs += removed.length;
        freed.bytes += removed.reduce((sum, bytes) => sum + bytes, 0);
        await nextTurn();
      }
    }
    let failure: unknown;
    const untidiedPacks = await this.#packs.tidy().catch((error: unknown) => {
      failure = error;
      return 0;
    });
    await this.#removeTemporaries(Math.max(graceMs, TEMPORARY_MAX_AGE_MS));
    await this.recount();
    this.store.removeDeadReaders();
    if (failure !== undefined) throw diskError(failure, this.paths.packs);
    return untidiedPacks === 0 ? freed : { ...freed, untidiedPacks };
  }

  /**
   * Sets the counter of bytes to what is there. Counting takes long, so nobody is kept out meanwhile: when somebody has
   * stored or removed something, the counter is left for the next time.
   */
  async recount(): Promise<void> {
    const before = this.store.read(() => this.store.counter('blob-bytes'));
    let bytes = 0;
    for await (const blob of this.list()) bytes += blob.bytes;
    if (bytes === before) return;
    this.store.write(() => {
      if (this.store.counter('blob-bytes') === before) this.store.setCounter('blob-bytes', bytes);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#packs.close();
    await this.#spare.close();
  }

  #putSmall(hash: Hash, content: Uint8Array, hashed: boolean): void {
    if (!hashed) {
      const actual = createHash('sha256').update(content).digest('hex');
      if (actual !== hash) throw blobMismatch(hash, actual);
    }
    this.#checkOpen();
    const isPacked = this.#packs.write(() => {
      if (!this.#isMarked(hash) && this.#makeYoung(hash, content.length)) return false;
      this.#checkQuota(content.length, hash);
      const replaced = this.#packs.find(hash)?.bytes ?? 0;
      this.#packs.put(hash, content, Date.now());
      this.#countBytes(content.length - replaced);
      return true;
    });
    if (isPacked && existsSync(this.#path(hash))) this.#removeReplaced(hash);
  }

  /** Removes the file that stands before what has been packed (B5); only now, for it may have been the last copy. */
  #removeReplaced(hash: Hash): void {
    const path = this.#path(hash);
    this.store.write(() => {
      const file = statSync(path, { throwIfNoEntry: false });
      if (file === undefined || this.#packs.find(hash) === undefined) return;
      for (const each of [path, path + DAMAGED_MARK]) rmSync(each, FORCE);
      this.#countBytes(-file.size);
    });
  }

  /** In a write transaction. */
  #countBytes(moreBytes: number): void {
    const total = (this.store.counter('blob-bytes') ?? 0) + moreBytes;
    this.store.setCounter('blob-bytes', Math.max(0, total));
  }

  /** Undefined: it is not there. */
  async #readWhole(
    hash: Hash,
    into: ArrayBuffer | undefined,
  ): Promise<
    { readonly content: Buffer; readonly isMarked: boolean; readonly packed?: Packed } | undefined
  > {
    const path = this.#path(hash);
    try {
      if (existsSync(path)) {
        const content = readSmall(path, into) ?? (await readLarge(path, into));
        return { content, isMarked: this.#isMarked(hash) };
      }
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw this.#unreadable(hash, error);
    }
    const read = this.#packs.read(
      hash,
      (bytes) => roomFor(bytes, into),
      (error, place) => this.#unreadable(hash, error, place),
    );
    if (read === undefined) return undefined;
    return { content: read.content, isMarked: read.found.damagedMs > 0, packed: read.found };
  }

  #packedThere(hash: Hash): Packed | undefined {
    const packed = this.#packs.find(hash);
    return packed !== undefined && this.#packs.isThere(packed) ? packed : undefined;
  }

  /** Writes the temporary file. Returns its size; undefined when the blob is there already, renewed. */
  async #write(
    temporary: string,
    hash: Hash,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    hashed: boolean,
  ): Promise<number | undefined> {
    if (!(content instanceof Uint8Array)) return this.#writeStream(temporary, hash, content, false);
    if (content.length > AT_ONCE_BYTES)
      return this.#writeStream(temporary, hash, slices(content), hashed);
    if (!hashed) {
      const actual = createHash('sha256').update(content).digest('hex');
      if (actual !== hash) throw blobMismatch(hash, actual);
    }
    if (this.#renew(hash, content.length)) return undefined;
    this.#checkQuota(content.length, hash);
    try {
      this.#writeAtOnce(temporary, content);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC' || !this.#spare.discard()) throw error;
      rmSync(temporary, FORCE);
      this.#writeAtOnce(temporary, content);
    }
    // A node that has hashed it writes one capsule after the other.
    if (hashed) this.#spare.soon(content.length);
    return content.length;
  }

  #writeAtOnce(temporary: string, content: Uint8Array): void {
    const file = this.#spare.open(temporary, content.length);
    try {
      for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
      if (this.sync) fdatasyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  async #writeStream(
    temporary: string,
    hash: Hash,
    content: AsyncIterable<Uint8Array>,
    hashed: boolean,
  ): Promise<number> {
    const digest = createHash('sha256');
    const file = await open(temporary, 'wx').catch(async (error: unknown) => {
      await content[Symbol.asyncIterator]().return?.();
      throw error;
    });
    let bytes = 0;
    try {
      for await (const part of content) {
        if (!hashed) digest.update(part);
        bytes += part.length;
        this.#checkQuota(bytes, hash);
        await writeAll(file, part);
      }
      if (this.sync) await file.datasync();
    } finally {
      await file.close();
    }
    const actual = hashed ? hash : digest.digest('hex');
    if (actual !== hash) throw blobMismatch(hash, actual);
    return bytes;
  }

  /** Makes the temporary file visible under its hash (B2). */
  #publish(temporary: string, hash: Hash, bytes: number): void {
    this.#checkOpen();
    const path = this.#path(hash);
    const directory = join(this.paths.blobs, hash.slice(0, 2));
    this.store.write(() => {
      const replaced = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      this.#checkQuota(bytes, hash);
      const now = new Date();
      utimesSync(temporary, now, now);
      const total = (this.store.counter('blob-bytes') ?? 0) - replaced + bytes;
      this.store.setCounter('blob-bytes', Math.max(0, total));
      try {
        renameSync(temporary, path);
      } catch (error) {
        if (!isErrno(error, 'ENOENT') || existsSync(directory)) throw error;
        mkdirSync(directory, { recursive: true });
        renameSync(temporary, path);
      }
      // A look costs 10 µs, removing nothing 150.
      if (existsSync(path + DAMAGED_MARK)) rmSync(path + DAMAGED_MARK, FORCE);
    }, this.sync);
    if (this.sync) for (const changed of [directory, this.paths.blobs]) syncDirectory(changed);
  }

  /** Renews the age of a file that is there and sound, with so many bytes (B3). */
  #renew(hash: Hash, bytes: number): boolean {
    if (!existsSync(this.#path(hash)) || this.#isMarked(hash)) return false;
    return this.store.write(() => this.#makeYoung(hash, bytes));
  }

  /** To be called in a write transaction. */
  #makeYoung(hash: Hash, bytes?: number): boolean {
    const path = this.#path(hash);
    const found = statSync(path, { throwIfNoEntry: false });
    const now = new Date();
    if (found === undefined) {
      const packed = this.#packedThere(hash);
      if (packed === undefined || (bytes ?? packed.bytes) !== packed.bytes) return false;
      this.#packs.renew(hash, packed, now.getTime());
      return true;
    }
    if (bytes !== undefined && found.size !== bytes) return false;
    utimesSync(path, now, now);
    return true;
  }

  /** Removes it unless it is younger than that by now. */
  #removeIfOld(hash: Hash, untilMs: number): number | undefined {
    const path = this.#path(hash);
    return this.store.write(() => {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found === undefined || found.mtimeMs > untilMs) return undefined;
      rmSync(path);
      rmSync(path + DAMAGED_MARK, FORCE);
      const total = (this.store.counter('blob-bytes') ?? 0) - found.size;
      this.store.setCounter('blob-bytes', Math.max(0, total));
      return found.size;
    });
  }

  /** Of these, all in one transaction, those that are still that old; gives the bytes of each. */
  #removePacked(blobs: readonly BlobStat[], untilMs: number): number[] {
    if (blobs.length === 0) return [];
    return this.store.write(() => {
      const removed: number[] = [];
      for (const { hash } of blobs) {
        const found = this.#packs.find(hash);
        if (found !== undefined && found.renewedMs <= untilMs)
          removed.push(this.#packs.remove(hash));
      }
      const total = removed.reduce(
        (sum, bytes) => sum - bytes,
        this.store.counter('blob-bytes') ?? 0,
      );
      if (removed.length > 0) this.store.setCounter('blob-bytes', Math.max(0, total));
      return removed;
    });
  }

  async #removeTemporaries(maxAgeMs: number): Promise<void> {
    for (const name of await readdir(this.paths.tmp)) {
      const path = join(this.paths.tmp, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && Date.now() - found.mtimeMs >= maxAgeMs) {
        await rm(path, FORCE);
      }
    }
  }

  /** What replaces an older copy of itself needs no more room, but that is not counted on beforehand. */
  #checkQuota(moreBytes: number, hash: Hash): void {
    const [quota, used] = this.store.inTransaction(() => [
      this.store.counter('quota'),
      this.store.counter('blob-bytes') ?? 0,
    ]);
    if (quota === undefined || used + moreBytes <= quota) return;
    if (existsSync(this.#path(hash)) || this.#packs.find(hash) !== undefined) return; // a repair
    throw quotaExceeded(this.paths.root, used, moreBytes, quota);
  }

  /** Undefined: it is no file. */
  async #openBlob(hash: Hash): Promise<FileHandle | undefined> {
    try {
      return await open(this.#path(hash), 'r');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw this.#unreadable(hash, error);
    }
  }

  /** `packed`: where it lies, if that is known already. */
  #isMarked(hash: Hash, packed?: Packed): boolean {
    const path = this.#path(hash);
    if (packed === undefined && existsSync(path)) return existsSync(path + DAMAGED_MARK);
    return ((packed ?? this.#packs.find(hash))?.damagedMs ?? 0) > 0;
  }

  /** Of what is marked: it is not what the mark was made for any more, and sound (B3). What is packed is small: it is just read. */
  async #isSoundAgain(hash: Hash): Promise<boolean> {
    const path = this.#path(hash);
    const file = statSync(path, { throwIfNoEntry: false });
    const mark = statSync(path + DAMAGED_MARK, { throwIfNoEntry: false });
    if (file !== undefined && mark !== undefined && file.ctimeMs < mark.mtimeMs) return false;
    try {
      for await (const _ of this.read(hash));
      return true;
    } catch {
      return false;
    }
  }

  /** `packed`: where it was read; undefined when it is a file. */
  #verify(hash: Hash, actual: Hash, isMarked: boolean, packed?: Packed): void {
    if (actual === hash) {
      if (isMarked) this.#unmark(hash, packed);
      return;
    }
    this.#markDamaged(hash, packed);
    throw blobDamaged(hash, `its content has the hash ${actual}`);
  }

  /** EIO and the like: the disk has lost it. */
  #unreadable(hash: Hash, error: unknown, packed?: Packed): unknown {
    if (!isErrno(error, 'EIO')) return diskError(error, this.#path(hash));
    this.#markDamaged(hash, packed);
    return blobDamaged(hash, error.message);
  }

  #markDamaged(hash: Hash, packed: Packed | undefined): void {
    try {
      if (packed !== undefined) this.store.write(() => this.#packs.mark(hash, packed, Date.now()));
      else if (existsSync(this.#path(hash))) writeFileSync(this.#path(hash) + DAMAGED_MARK, '');
    } catch {
      // No room for the mark: then the next read finds the damage again.
    }
  }

  #unmark(hash: Hash, packed: Packed | undefined): void {
    try {
      if (packed === undefined) rmSync(this.#path(hash) + DAMAGED_MARK, FORCE);
      else this.store.write(() => this.#packs.mark(hash, packed, 0));
    } catch {
      // It may not be written here; what was read is sound all the same.
    }
  }

  #path(hash: Hash): string {
    return join(this.paths.blobs, hash.slice(0, 2), hash);
  }

  #checkOpen(): void {
    if (this.#closed) throw fabricClosed();
  }
}
