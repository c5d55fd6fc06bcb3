/**
 * Keeps LMDB's note of the newest transaction right: who opens a database may set it back.
 *
 *     records.mdb        page 0 and page 1 (the two headers)   152  u64: the transaction that wrote it
 *     records.mdb-lock   shared by all processes                 8  u64: the newest transaction, where the next begins
 *
 * Does: compare the note with the headers, and put it right. Does not: decide when (embedded-store).
 *
 * Why: LMDB as it is in the package lmdb (3.5.6, mdb_env_open2) writes into the note what it has read from the headers
 * a moment before, without the writers' lock and also when others are at work. When somebody commits in between, the
 * note goes back: by one, and the next writer starts from the older header, so that the last commit is lost; by two,
 * and every write fails with MDB_BAD_TXN. Measured: 234 failed writes for 300 openings beside a writer.
 *
 * N1  The note is only written by a holder of the writers' lock: nobody can commit meanwhile.
 * N2  A header is written before the note. So without the lock a note that is behind may be right in a moment, and one
 *     that is not behind is right.
 * N3  The lock file stays open as long as the database: closing any descriptor of it would drop this process's locks.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** In each header: the size of a page, u32. */
export const PAGE_BYTES_AT = 48;
const HEADER_ID_AT = 152;
const NOTE_AT = 8;
const ID_BYTES = 8;

export class NewestTransaction {
  readonly #data: number;
  readonly #lock: number;
  readonly #pageBytes: number;
  readonly #id = Buffer.alloc(ID_BYTES);

  /** `path`: of the database, which is open. */
  constructor(path: string) {
    this.#data = openSync(path, 'r');
    this.#lock = openSync(`${path}-lock`, 'r+');
    this.#pageBytes = Number(this.#read(this.#data, PAGE_BYTES_AT) & 0xffff_ffffn);
  }

  /** Whether the note is older than the newest header; see N2. */
  isBehind(): boolean {
    const newest = this.#newest(); // first, so that a commit that ends now does not look like one
    return this.#read(this.#lock, NOTE_AT) < newest;
  }

  /** To be called with the writers' lock held (N1). True when the note was wrong: this transaction has to be undone. */
  repair(): boolean {
    const newest = this.#newest();
    if (this.#read(this.#lock, NOTE_AT) >= newest) return false;
    this.#id.writeBigUInt64LE(newest);
    writeSync(this.#lock, this.#id, 0, ID_BYTES, NOTE_AT);
    return true;
  }

  /** `keepLock`: the database is open again in this process (N3). */
  close(keepLock: boolean): void {
    closeSync(this.#data);
    if (!keepLock) closeSync(this.#lock);
  }

  #newest(): bigint {
    const first = this.#read(this.#data, HEADER_ID_AT);
    const second = this.#read(this.#data, this.#pageBytes + HEADER_ID_AT);
    if (first > second) return first;
    return second;
  }

  #read(file: number, at: number): bigint {
    readSync(file, this.#id, 0, ID_BYTES, at);
    return this.#id.readBigUInt64LE();
  }
}
