/**
 * Small blobs of the embedded fabric, packed together: a file of its own costs each of them whole blocks of the file
 * system, 4 KiB for a capsule of 1 KiB.
 *
 * Does: append to pack files, know where each blob lies, take out of packs what has died. Does not: hash or verify, keep
 * the quota, or know of blobs that are files (embedded-blobs).
 *
 *     packs/17       ┌────────┬──────────────┬─ ─ ─ ─┬────────┐
 *                    │ 3f9a…  │ 08c1…        │ dead  │ e77b…  │   the blobs' bytes, one after the other, nothing else
 *                    └────────┴──────────────┴─ ─ ─ ─┴────────┘
 *
 *     store.packed   0       4       8       12           20           28
 *      3f9a… ->     ┌───────┬───────┬───────┬────────────┬────────────┐   big-endian; damaged: when a read found it so,
 *      (32 bytes)   │ pack  │ at    │ bytes │ renewed ms │ damaged ms │   0 = it is not known to be
 *                   │ u32   │ u32   │ u32   │ f64        │ f64        │
 *                   └───────┴───────┴───────┴────────────┴────────────┘
 *     store.packs    17 -> bytes of it that the names above cover
 *
 * P1  Each handle appends to a pack of its own, and names what it appended in the same write transaction. A kill leaves
 *     bytes that nobody names, never a name without its bytes; what an undone transaction appended is cut off again.
 * P2  A pack loses its file in a write transaction that finds nothing named in it, and whoever appends looks in its
 *     transaction whether its pack still has its file. So nothing is appended to what is gone.
 * P3  Moving a blob to another pack changes its place, not its age or its mark. A reader that comes to a pack that is gone
 *     looks again where the blob is.
 * P4  After `tidy` at most 1/DEAD_SHARE of each pack is dead, unless a blob in it cannot be moved: it is cut short or
 *     damaged, or there is no room for the copies. Then it is compacted in place (embedded-compact.ts), which needs none; `tidy`
 *     says how many packs did not become shorter even so.
 * P5  A pack is removed only when what was moved out of it is on the disk where it is now: first the copies' bytes, then the
 *     entry of their pack in the folder, then their names, then the old pack goes. So also without `sync`: what is old has long
 *     been on the disk. In place: first the names of what has died or was copied elsewhere change, on the disk, the new pack's
 *     entry before them; then the bytes are written over; then the names of what was moved there change, on the disk; then it is cut.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant, SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import { fabricClosed } from './check.js';
import { type Lying, planCompaction } from './embedded-compact.js';
import { isDiskFull, isErrno, syncDirectory } from './embedded-disk.js';
import { nextTurn } from './embedded-files.js';
import { counterBytes, type Store } from './embedded-store.js';

/** Up to this size a blob is packed. The last block of a larger file is less than 1/8 of it. */
export const PACKED_BYTES = 32 * 1024;
/** A pack that has so many bytes is not appended to any more. Small, so that tidying one needs little room. */
const PACK_BYTES = 4 * 1024 * 1024;
const DEAD_SHARE = 8;
/** Packs of handles that are gone: smaller than this, and not written to for so long, they are put together. */
const SMALL_PACK_BYTES = PACK_BYTES / 4;
const IDLE_MS = 600_000;
const PAGE_NAMES = 1_000;
/** Blobs that are moved in one transaction: less than 5 ms. */
const MOVED_AT_ONCE = 64;
/** Blobs whose places change in one transaction where there is no room: far fewer pages than are set aside (embedded-reserve). */
const COMPACTED_AT_ONCE = 16;
/** Packs that are removed in one transaction. */
const REMOVED_AT_ONCE = 16;
const PLACE_BYTES = 28;
export const PACK_NAME = /^[1-9][0-9]*$/;
/** Where the empty blob lies. */
const NOWHERE = { pack: 0, at: 0 };

export interface Packed {
  readonly pack: number;
  readonly at: number;
  readonly bytes: number;
  /** When it was put or asked for last. */
  readonly renewedMs: number;
  /** When a read found it damaged; 0 = it is not known to be. */
  readonly damagedMs: number;
}

export interface PackedContent {
  readonly content: Buffer;
  readonly found: Packed;
}

interface OwnPack {
  readonly id: number;
  readonly file: number;
}

/** What the write transaction that is going on has appended to a pack: its size before, and what is named there now. */
interface Appended {
  readonly own: OwnPack;
  readonly sizeBefore: number;
  readonly named: { readonly hash: Hash; readonly at: number }[];
}

export class Packs {
  #own: OwnPack | undefined;
  #appended: Appended | undefined;
  #closed = false;

  /** `sync`: what is appended is on the disk before it is named. */
  constructor(
    private readonly folder: string,
    private readonly store: Store,
    private readonly sync: boolean,
  ) {}

  /** A write transaction of the store. When it is undone, what it has appended is cut off again. */
  write<T>(act: () => T): T {
    this.#appended = undefined;
    try {
      return this.store.write(act, this.sync);
    } catch (error) {
      this.#cutOff();
      throw error;
    } finally {
      this.#appended = undefined;
    }
  }

  /** A commit that failed may have happened all the same: what is named is left. */
  #cutOff(): void {
    const appended = this.#appended;
    if (appended === undefined || appended.own !== this.#own) return;
    const { own, sizeBefore, named } = appended;
    try {
      this.store.write(() => {
        for (const { hash, at } of named) {
          const found = this.find(hash);
          if (found?.pack === own.id && found.at === at) return;
        }
        ftruncateSync(own.file, sizeBefore);
      });
    } catch {
      // Then these bytes are dead until the pack is tidied.
    }
  }

  find(hash: Hash): Packed | undefined {
    const place = this.store.inTransaction(() => this.store.packed.getBinary(keyOf(hash)));
    return place === undefined ? undefined : decodePlace(place);
  }

  /** Whether its pack has its bytes. */
  isThere({ pack, at, bytes }: Packed): boolean {
    return bytes === 0 || (this.#stat(pack)?.size ?? 0) >= at + bytes;
  }

  /** Whether it is not named any more, or at another place than this one. */
  hasMoved(hash: Hash, { pack, at }: Packed): boolean {
    const now = this.find(hash);
    return now?.pack !== pack || now.at !== at;
  }

  /**
   * Its bytes, in the room that `allocate` gives; undefined when it is not here. Too few when its pack was cut short. What the
   * disk says of a place that cannot be read is thrown as what `failed` makes of it.
   */
  read(
    hash: Hash,
    allocate: (bytes: number) => Buffer,
    failed: (error: unknown, place: Packed) => unknown = (error) => error,
  ): PackedContent | undefined {
    let before: Packed | undefined;
    for (;;) {
      const found = this.find(hash);
      if (found === undefined) return undefined;
      if (found.bytes === 0) return { content: allocate(0), found };
      try {
        const content = readPlace(this.#path(found.pack), found, allocate);
        if (content !== undefined) return { content, found };
      } catch (error) {
        throw failed(error, found);
      }
      if (found.pack === before?.pack) return undefined; // not moved: its pack is missing
      before = found;
    }
  }

  /** To be called in a write transaction, as all that follows but `page` and `tidy`. */
  put(hash: Hash, content: Uint8Array, renewedMs: number): void {
    this.remove(hash);
    const place = content.length === 0 ? NOWHERE : this.#append(content, this.sync);
    if (this.sync) this.#flush();
    this.#name(hash, { ...place, bytes: content.length, renewedMs, damagedMs: 0 });
  }

  renew(hash: Hash, found: Packed, renewedMs: number): void {
    this.store.packed.putSync(keyOf(hash), encodePlace({ ...found, renewedMs }));
  }

  /** Marks what a read found at this place as damaged (0: takes the mark away), unless it has another place by now. */
  mark(hash: Hash, read: Packed, damagedMs: number): void {
    const found = this.find(hash);
    if (found === undefined || found.pack !== read.pack || found.at !== read.at) return;
    this.store.packed.putSync(keyOf(hash), encodePlace({ ...found, damagedMs }));
  }

  /** Gives how many bytes it had. */
  remove(hash: Hash): number {
    const found = this.find(hash);
    if (found === undefined) return 0;
    this.#count(found.pack, -found.bytes);
    this.store.packed.removeSync(keyOf(hash));
    return found.bytes;
  }

  /** Names in the order of their hashes, some of them at a time; `after`: the last one of the page before. */
  page(after?: Hash): [Hash, Packed][] {
    const start = after === undefined ? undefined : Buffer.concat([keyOf(after), Buffer.alloc(1)]);
    const range = { limit: PAGE_NAMES, ...(start === undefined ? {} : { start }) };
    return this.store.read(() =>
      [...this.store.packed.getRange(range)].map(({ key, value }) => [
        key.toString('hex'),
        decodePlace(value),
      ]),
    );
  }

  /**
   * Removes packs in which nothing is named, and moves what is left in those that are sparse or small (P4). Gives how many had
   * to stay for lack of room. What cannot be read or removed does not keep others from being tidied; it is thrown at the end.
   */
  async tidy(): Promise<number> {
    const { empty, sparse } = await this.#look(Date.now() - IDLE_MS);
    if (this.#own !== undefined && sparse.has(this.#own.id)) this.#leave();
    if (sparse.size > 0)
      for await (const [hash, { pack }] of this.#names()) sparse.get(pack)?.push(hash);
    let fullPacks = 0;
    const failures: unknown[] = [];
    /** False: there is no room for it. */
    const fits = async (act: () => Promise<void>): Promise<boolean> => {
      try {
        await act();
      } catch (error) {
        if (isFull(error)) return false;
        failures.push(error);
      }
      return true;
    };
    let room = await fits(() => this.#removeEmpty(empty));
    for (const [id, hashes] of sparse) {
      if (this.#closed) break;
      if (room) room = await fits(() => this.#empty(id, hashes));
      if (room) continue;
      let shorter = false;
      await fits(async () => {
        shorter = await this.#shorten(id, hashes);
      });
      if (!shorter) fullPacks++;
    }
    if (failures.length > 0) throw failures[0];
    return fullPacks;
  }

  /** A tidying that is going on ends where it is. */
  close(): void {
    this.#closed = true;
    this.#leave();
  }

  #leave(): void {
    if (this.#own === undefined) return;
    closeSync(this.#own.file);
    this.#own = undefined;
  }

  /** All names, as long as this is open. */
  async *#names(): AsyncGenerator<[Hash, Packed]> {
    for (let page = this.page(); page.length > 0; page = this.page(page.at(-1)?.[0])) {
      yield* page;
      await nextTurn();
      if (this.#closed) return;
    }
  }

  /** Packs by what is to be done with them; the sparse ones in the order of how little is left in them. */
  async #look(idleMs: number): Promise<{ empty: number[]; sparse: Map<number, Hash[]> }> {
    const all = readdirSync(this.folder)
      .filter((name) => PACK_NAME.test(name))
      .map((name) => ({ id: Number(name), stat: this.#stat(Number(name)) }));
    const named = this.store.read(() => new Map(all.map(({ id }) => [id, this.#live(id)])));
    // Of packs that are cut short only what is there counts: there is nothing to move behind their end.
    const live = new Map(all.map(({ id, stat }) => [id, { size: stat?.size ?? 0, bytes: 0 }]));
    for await (const [, { pack, at, bytes }] of this.#names()) {
      const there = live.get(pack);
      if (there !== undefined && at + bytes <= there.size) there.bytes += bytes;
    }
    const empty: number[] = [];
    const sparse: { readonly id: number; readonly bytes: number }[] = [];
    const small: typeof sparse = [];
    for (const { id, stat } of all) {
      if (stat === undefined) continue;
      const bytes = live.get(id)?.bytes ?? 0;
      if (named.get(id) === 0) empty.push(id);
      else if (bytes === 0) continue;
      else if (stat.size - bytes > stat.size / DEAD_SHARE) sparse.push({ id, bytes });
      else if (stat.size < SMALL_PACK_BYTES && stat.mtimeMs < idleMs) small.push({ id, bytes });
    }
    const together = small.length > 1 ? small : [];
    const order = [...sparse, ...together].sort((a, b) => a.bytes - b.bytes);
    return { empty, sparse: new Map(order.map(({ id }) => [id, []])) };
  }

  /** In its own room, as far as it goes. False: not at all. */
  async #shorten(id: number, hashes: readonly Hash[]): Promise<boolean> {
    let shorter = false;
    while (!this.#closed && this.#compact(id, hashes)) {
      shorter = true;
      await nextTurn();
    }
    return shorter;
  }

  /**
   * Makes a pack shorter in its own room (P5), by a few moves: more would change more pages of the record store than there may be
   * room for. False: it gets no shorter.
   */
  #compact(id: number, hashes: readonly Hash[]): boolean {
    let file: number;
    try {
      file = openSync(this.#path(id), 'r+');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false; // somebody has emptied it
      throw error;
    }
    try {
      const endBytes = this.store.write(() => {
        const live = this.#allOf(id, hashes);
        const plan = live === undefined ? undefined : planCompaction(live, COMPACTED_AT_ONCE);
        if (plan === undefined || plan.endBytes >= fstatSync(file).size) return undefined;
        syncDirectory(this.folder);
        this.store.flush();
        for (const { blob, to } of plan.moves) {
          if (!this.#copyDown(file, blob, to)) return undefined;
        }
        fdatasyncSync(file);
        for (const { blob, to } of plan.moves) {
          const found = this.find(blob.hash)!;
          this.store.packed.putSync(keyOf(blob.hash), encodePlace({ ...found, at: to }));
        }
        return plan.endBytes;
      });
      return endBytes !== undefined && this.#cutTo(id, file, hashes, endBytes);
    } finally {
      closeSync(file);
    }
  }

  /** In a write transaction: what these are in the pack, if that is all that is named there and none of it is cut short. */
  #allOf(id: number, hashes: readonly Hash[]): Lying[] | undefined {
    const sizeBytes = this.#stat(id)?.size ?? 0;
    const live = hashes.flatMap((hash) => {
      const found = this.find(hash);
      return found?.pack === id ? [{ hash, at: found.at, bytes: found.bytes }] : [];
    });
    const bytes = live.reduce((sum, blob) => sum + blob.bytes, 0);
    const isWhole = live.every((blob) => blob.at + blob.bytes <= sizeBytes);
    return isWhole && bytes === this.#live(id) ? live : undefined;
  }

  /** False: its bytes are not what they should be, and stay where they are. */
  #copyDown(file: number, { hash, at, bytes }: Lying, to: number): boolean {
    const content = Buffer.alloc(bytes);
    if (readSync(file, content, 0, bytes, at) < bytes) return false;
    if (createHash('sha256').update(content).digest('hex') !== hash) return false;
    for (let done = 0; done < bytes; )
      done += writeSync(file, content, done, bytes - done, to + done);
    return true;
  }

  /** Cuts the pack behind its last blob, if that is where it is thought to be: somebody may have appended. */
  #cutTo(id: number, file: number, hashes: readonly Hash[], endBytes: number): boolean {
    return this.store.write(() => {
      const live = this.#allOf(id, hashes);
      const last = live?.reduce((most, { at, bytes }) => Math.max(most, at + bytes), 0);
      if (last === undefined || last > endBytes) return false;
      this.store.flush();
      ftruncateSync(file, last);
      return true;
    });
  }

  /** Moves these blobs out of a pack, and removes it when nothing is left in it. */
  async #empty(id: number, hashes: readonly Hash[]): Promise<void> {
    let content: Buffer;
    try {
      content = await readFile(this.#path(id));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return;
      throw error;
    }
    for (let from = 0; from < hashes.length; from += MOVED_AT_ONCE) {
      this.write(() => {
        for (const hash of hashes.slice(from, from + MOVED_AT_ONCE)) this.#move(hash, id, content);
        this.#flush(); // P5
      });
      await nextTurn();
      if (this.#closed) return;
    }
    await this.#removeEmpty([id]);
  }

  /** In a write transaction. Leaves alone what has been put anew, is cut short, or has other bytes. */
  #move(hash: Hash, from: number, content: Buffer): void {
    const found = this.find(hash);
    if (found?.pack !== from || found.at + found.bytes > content.length) return;
    const bytes = content.subarray(found.at, found.at + found.bytes);
    if (createHash('sha256').update(bytes).digest('hex') !== hash) return;
    this.remove(hash);
    const place = this.#append(bytes, true);
    this.#name(hash, { ...found, ...place });
  }

  /** Of these, those in which nothing is named any more (P2, P5). */
  async #removeEmpty(ids: readonly number[]): Promise<void> {
    for (let from = 0; from < ids.length; from += REMOVED_AT_ONCE) {
      this.store.write(() => {
        const empty = ids.slice(from, from + REMOVED_AT_ONCE).filter((id) => this.#live(id) === 0);
        if (empty.length === 0) return;
        syncDirectory(this.folder);
        this.store.flush();
        for (const id of empty) rmSync(this.#path(id), { force: true });
      });
      await nextTurn();
      if (this.#closed) return;
    }
  }

  /** `flushed`: a pack that is left because it is full is flushed before. */
  #append(content: Uint8Array, flushed: boolean): { pack: number; at: number } {
    const { id, file } = this.#writable(flushed);
    const at = fstatSync(file).size;
    if (this.#appended?.own !== this.#own)
      this.#appended = { own: this.#own!, sizeBefore: at, named: [] };
    try {
      for (let done = 0; done < content.length; ) done += writeSync(file, content, done);
    } catch (error) {
      ftruncateSync(file, at);
      throw error;
    }
    return { pack: id, at };
  }

  /** This handle's pack; a new one when there is none, it is full, or it has been removed (P2). */
  #writable(flushed: boolean): OwnPack {
    if (this.#closed) throw fabricClosed();
    if (this.#own !== undefined) {
      const { dev, ino, size } = fstatSync(this.#own.file);
      const there = this.#stat(this.#own.id);
      if (there?.ino === ino && there.dev === dev && size < PACK_BYTES) {
        // An undone transaction took the number back while the pack stayed: nobody is to use it again.
        if ((this.store.counter('pack') ?? 0) < this.#own.id)
          this.store.setCounter('pack', this.#own.id);
        return this.#own;
      }
      if (flushed) this.#flush();
      this.#leave();
    }
    for (;;) {
      const id = (this.store.counter('pack') ?? 0) + 1;
      this.store.setCounter('pack', id);
      try {
        this.#own = { id, file: openSync(this.#path(id), 'ax') };
      } catch (error) {
        // Of a transaction that was undone, or that a power cut has taken.
        if (isErrno(error, 'EEXIST')) continue;
        throw error;
      }
      if (this.sync) syncDirectory(this.folder);
      return this.#own;
    }
  }

  #flush(): void {
    if (this.#own !== undefined) fdatasyncSync(this.#own.file);
  }

  #name(hash: Hash, place: Packed): void {
    if (place.bytes > 0) this.#appended?.named.push({ hash, at: place.at });
    this.store.packed.putSync(keyOf(hash), encodePlace(place));
    this.#count(place.pack, place.bytes);
  }

  #live(id: number): number {
    return Number(this.store.packs.getBinary(id)?.readBigUInt64BE() ?? 0n);
  }

  #count(id: number, moreBytes: number): void {
    const bytes = this.#live(id) + moreBytes;
    invariant(bytes >= 0, `pack ${id} cannot have ${bytes} bytes`);
    if (bytes === 0) this.store.packs.removeSync(id);
    else this.store.packs.putSync(id, counterBytes(bytes));
  }

  #stat(id: number): Stats | undefined {
    return statSync(this.#path(id), { throwIfNoEntry: false });
  }

  #path(id: number): string {
    return join(this.folder, String(id));
  }
}

function readPlace(
  path: string,
  { at, bytes }: Packed,
  allocate: (bytes: number) => Buffer,
): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const content = allocate(bytes);
    let read = 0;
    while (read < bytes) {
      const more = readSync(file, content, read, bytes - read, at + read);
      if (more === 0) break;
      read += more;
    }
    return content.subarray(0, read);
  } finally {
    closeSync(file);
  }
}

function isFull(error: unknown): boolean {
  return isDiskFull(error instanceof SherdError ? error.cause : error);
}

function keyOf(hash: Hash): Buffer {
  return Buffer.from(hash, 'hex');
}

function encodePlace({ pack, at, bytes, renewedMs, damagedMs }: Packed): Buffer {
  const place = Buffer.alloc(PLACE_BYTES);
  place.writeUInt32BE(pack, 0);
  place.writeUInt32BE(at, 4);
  place.writeUInt32BE(bytes, 8);
  place.writeDoubleBE(renewedMs, 12);
  place.writeDoubleBE(damagedMs, 20);
  return place;
}

function decodePlace(place: Buffer): Packed {
  invariant(place.length === PLACE_BYTES, `a place has ${PLACE_BYTES} bytes`);
  return {
    pack: place.readUInt32BE(0),
    at: place.readUInt32BE(4),
    bytes: place.readUInt32BE(8),
    renewedMs: place.readDoubleBE(12),
    damagedMs: place.readDoubleBE(20),
  };
}
