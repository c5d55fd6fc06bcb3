/**
 * The LMDB environment behind an embedded fabric, one for each directory and process.
 *
 * Does: open it once (hub, lock and fabrics of a process share it), run read and write transactions, keep the counters.
 * Does not: know what records mean.
 *
 *   records   key            -> revision (8 bytes, big-endian) ‖ value
 *   log       revision       -> key written or removed at that revision; the newest LOG_KEPT ones
 *   meta      'revision'     -> newest revision      (8 bytes)
 *             'blob-bytes'   -> bytes of all blobs   (8 bytes)
 *             'quota'        -> limit of those       (8 bytes), absent = none
 *             'pack'         -> newest pack's number (8 bytes)
 *             'claim.hub', 'claim.up' -> JSON, see embedded-claim
 *   packed    SHA-256       -> where a small blob lies, see embedded-packs
 *   packs     pack's number -> bytes in it that are blobs (8 bytes)
 *
 * L1  A write transaction is synchronous and exclusive over all processes; LMDB's lock survives a killed holder.
 * L2  A transaction that is not flushed survives SIGKILL (its pages are in the page cache), not power loss. With `sync`
 *     it is flushed before it returns.
 * L3  A read begins with a fresh snapshot, so it sees every transaction that ended before it.
 * L4  Every transaction begins at the newest one, also when somebody opens the directory meanwhile (embedded-newest). A
 *     read is looked at after it has begun: it could only be late when in the microseconds between the two one process
 *     opens the directory and another one commits. A write never is: it looks with the lock held.
 */
import {
  accessSync,
  closeSync,
  constants,
  fdatasyncSync,
  openSync,
  readSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { EXIT, invariant, SherdError } from '../types/errors.js';
import { diskError } from './embedded-disk.js';
import { NewestTransaction, PAGE_BYTES_AT } from './embedded-newest.js';

/** lmdb's flags: abortable, synchronous commit; without the flush. */
const COMMIT_FLUSHED = 1 | 2;
const COMMIT_UNFLUSHED = COMMIT_FLUSHED | 0x10000;

const COUNTER_BYTES = 8;
const HEADER_BYTES = 64;
const LMDB_MAGIC = 0xbeefc0de;
const LMDB_VERSION = 2;
const EIO = 5;
/** Less than the pages of one transaction: a write that failed here failed for want of room. */
const NEARLY_FULL_BYTES = 1024 * 1024;

/** Thrown to undo a transaction that began at an older one. */
const BEHIND = Symbol('behind');

export type Counter = 'revision' | 'blob-bytes' | 'quota' | 'pack';

export class Store {
  readonly records: Database<Buffer, string>;
  readonly log: Database<Buffer, number>;
  readonly meta: Database<Buffer, string>;
  readonly packed: Database<Buffer, Buffer>;
  readonly packs: Database<Buffer, number>;
  readonly #root: RootDatabase<Buffer, string>;
  readonly #newest: NewestTransaction;
  #writing = false;

  constructor(
    readonly path: string,
    mapBytes: number | undefined,
  ) {
    this.#root = open<Buffer, string>(path, {
      noSubdir: true,
      maxDbs: 8,
      maxReaders: 1_024,
      encoding: 'binary',
      cache: false,
      // Commits are flushed, or not, by each transaction's flags.
      overlappingSync: false,
      ...(mapBytes === undefined ? {} : { mapSize: mapBytes }),
    });
    this.records = this.#root.openDB<Buffer, string>('records', {
      encoding: 'binary',
      cache: false,
    });
    this.log = this.#root.openDB<Buffer, number>('log', { encoding: 'binary', cache: false });
    this.meta = this.#root.openDB<Buffer, string>('meta', { encoding: 'binary', cache: false });
    this.packed = this.#root.openDB<Buffer, Buffer>('packed', {
      encoding: 'binary',
      keyEncoding: 'binary',
      cache: false,
    });
    this.packs = this.#root.openDB<Buffer, number>('packs', { encoding: 'binary', cache: false });
    // Slots of killed readers would keep old pages from being used again.
    this.#root.readerCheck();
    this.#newest = new NewestTransaction(path);
  }

  read<T>(act: () => T): T {
    invariant(!this.#writing, 'no read inside a write transaction');
    this.#beginRead();
    while (this.#newest.isBehind()) {
      this.write(() => undefined);
      this.#beginRead();
    }
    return act();
  }

  /** The snapshot begins with the first access, and lasts as long as nothing is awaited. */
  #beginRead(): void {
    this.#root.resetReadTxn();
    this.meta.getBinary('revision');
  }

  /** Runs `act` alone. What it throws undoes all that it wrote. It must not await. */
  write<T>(act: () => T, sync = false): T {
    invariant(!this.#writing, 'write transactions do not nest');
    this.#writing = true;
    try {
      for (;;) {
        const done = this.#transaction(act, sync ? COMMIT_FLUSHED : COMMIT_UNFLUSHED);
        if (done !== BEHIND) return done;
      }
    } catch (error) {
      throw diskError(lmdbError(error, this.path), this.path);
    } finally {
      this.#writing = false;
    }
  }

  /** L4: BEHIND when it began at an older transaction and was undone. */
  #transaction<T>(act: () => T, flags: number): T | typeof BEHIND {
    try {
      return this.#root.transactionSync(() => {
        if (this.#newest.repair()) throw BEHIND;
        return act();
      }, flags);
    } catch (error) {
      if (error === BEHIND) return BEHIND;
      throw error;
    }
  }

  /** Reads within the write transaction that is going on, else in a fresh snapshot. */
  inTransaction<T>(act: () => T): T {
    return this.#writing ? act() : this.read(act);
  }

  counter(name: Counter): number | undefined {
    const bytes = this.meta.getBinary(name);
    if (bytes === undefined) return undefined;
    invariant(bytes.length === COUNTER_BYTES, `the counter ${name} has ${COUNTER_BYTES} bytes`);
    return Number(bytes.readBigUInt64BE());
  }

  setCounter(name: Counter, value: number): void {
    invariant(this.#writing, 'counters change in write transactions');
    invariant(Number.isSafeInteger(value) && value >= 0, `the counter ${name} cannot be ${value}`);
    this.meta.putSync(name, counterBytes(value));
  }

  /** 0 = no limit. */
  setQuota(bytes: number): void {
    if (bytes === 0) this.meta.removeSync('quota');
    else this.setCounter('quota', bytes);
  }

  /** Puts on the disk whatever has been committed up to now. May be called in a write transaction, and leaves that one out. */
  flush(): void {
    const file = openSync(this.path, 'r');
    try {
      fdatasyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  removeDeadReaders(): void {
    this.#root.readerCheck();
  }

  /** Pages of the records file that are in use or free, in bytes. */
  fileBytes(): number {
    const stats = this.#root.getStats() as {
      root?: { pageSize?: number };
      lastPageNumber?: number;
    };
    return (stats.root?.pageSize ?? 4_096) * ((stats.lastPageNumber ?? 0) + 1);
  }

  async close(): Promise<void> {
    await this.#root.close();
    this.#newest.close(stores.has(this.path));
  }
}

export function counterBytes(value: number): Buffer {
  const bytes = Buffer.alloc(COUNTER_BYTES);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

interface SharedStore {
  readonly store: Store;
  users: number;
}

/** LMDB must not be opened twice by one process, so users of one path share. */
const stores = new Map<string, SharedStore>();

export interface StoreLease {
  readonly store: Store;
  release(): Promise<void>;
}

export function leaseStore(path: string, mapBytes?: number): StoreLease {
  let shared = stores.get(path);
  if (shared === undefined) {
    shared = { store: openStore(path, mapBytes), users: 0 };
    stores.set(path, shared);
  }
  const mine = shared;
  mine.users++;
  let released = false;
  return {
    store: mine.store,
    release: async () => {
      if (released) return;
      released = true;
      mine.users--;
      if (mine.users > 0) return;
      stores.delete(path);
      await mine.store.close();
    },
  };
}

function openStore(path: string, mapBytes: number | undefined): Store {
  try {
    checkPlace(path);
    checkHeader(path);
    return new Store(path, mapBytes);
  } catch (error) {
    const known = diskError(error, path);
    if (known instanceof SherdError) throw known;
    throw unreadable(path, String(error), error);
  }
}

/** What the system will not let LMDB open is said before: LMDB may end the process instead (SIGSEGV). */
function checkPlace(path: string): void {
  for (const file of [path, `${path}-lock`]) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (found?.isDirectory() === true)
      throw Object.assign(new Error(`EISDIR: ${file} is a directory`), { code: 'EISDIR' });
    if (found === undefined) accessSync(dirname(file), constants.W_OK);
    else accessSync(file, constants.R_OK | constants.W_OK);
  }
}

/**
 * LMDB says `EIO` when a page could be written in part only, which is how most file systems begin to be full. Its
 * transaction is undone: the header that would make the new pages valid is written last.
 */
function lmdbError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== EIO) return error;
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize >= NEARLY_FULL_BYTES) return error;
  return Object.assign(new Error('no space left on device', { cause: error }), { code: 'ENOSPC' });
}

/**
 * Refuses a file that is no LMDB database: opening one ends the process without a word. Both copies of the
 * header (pages 0 and 1) begin, after 24 bytes, with LMDB's magic number and version; the page size is in there too.
 */
function checkHeader(path: string): void {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes === 0) return; // LMDB makes it
  const header = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, 'r');
  try {
    const pageSize = readHeader(file, header, 0) ? header.readUInt32LE(PAGE_BYTES_AT) : 0;
    const sound =
      pageSize >= 512 &&
      pageSize <= 65_536 &&
      bytes >= 2 * pageSize &&
      readHeader(file, header, pageSize);
    if (!sound) throw unreadable(path, 'its header is not that of a database', undefined);
  } finally {
    closeSync(file);
  }
}

function readHeader(file: number, header: Buffer, at: number): boolean {
  if (readSync(file, header, 0, HEADER_BYTES, at) < HEADER_BYTES) return false;
  return header.readUInt32LE(24) === LMDB_MAGIC && header.readUInt16LE(28) === LMDB_VERSION;
}

export const UNREADABLE = 'the records cannot be opened: ';

/** The records as a whole are of no use. */
export function unreadable(path: string, reason: string, cause: unknown): SherdError {
  return new SherdError('SHERD_FABRIC', UNREADABLE + reason, {
    at: path,
    next: 'restore the data directory from a copy, or start with an empty one',
    exitCode: EXIT.refused,
    cause,
  });
}
