/**
 * The content of one file: chunks that are references to blobs until they are written.
 *
 * Does: read, write, grow and cut files chunk by chunk; name (hash) what was written.
 * Does not: know names, descriptors or rights.
 *
 *   chunk = null                    a hole: zeros, of any length
 *         | { hash, data: null }    a blob, not here; exactly as long as its place in the file
 *         | { hash, data }          the same, and here
 *         | { hash: null, data }    written: data may be longer than its place, the rest is zero
 *
 * F1  `prepare…` throws NeedBlob or nothing and changes nothing; the matching act then cannot throw.
 * F2  Bytes of a written chunk beyond its place are zero, so growing shows zeros.
 * F3  Data with a hash is never changed: it may be on its way to the store.
 * F4  All chunks but the last are CHUNK_BYTES long.
 */
import { invariant } from '../../types/errors.js';
import { type BlobCache, CHUNK_BYTES, type ChunkRef, type FileNode } from '../../types/host.js';
import type { Hash, Platform } from '../../types/platform.js';
import type { Plain } from '../../types/state.js';
import { fail, NeedBlob } from './errno.js';
import { asCount, asHash, asList, damaged, hashToBytes } from './plain.js';

/** Longest file that a guest can make. */
export const FILE_BYTES_MAX = 16 * 1024 ** 3;
const CHUNK_CAPACITY_MIN = 4096;

interface Chunk {
  hash: Hash | null;
  data: Uint8Array | null;
}

/** Where chunk data comes from, and what is known of hashes. One for each shard. */
export class ChunkStore {
  /** Blobs that a call got before it had to wait for another one: kept until it is through. */
  readonly #held = new Map<Hash, Uint8Array>();
  readonly #zeroHashes = new Map<number, Hash>();

  constructor(
    readonly blobs: BlobCache,
    readonly platform: Platform,
  ) {}

  /** The blob's bytes. Throws NeedBlob when it is not at hand. */
  fetch(hash: Hash, bytes: number): Uint8Array {
    const data = this.#held.get(hash) ?? this.blobs.get(hash);
    if (data === undefined) throw new NeedBlob(hash);
    if (data.length !== bytes) fail('io');
    this.#held.set(hash, data);
    return data;
  }

  /** Lets go of what was held for a call. */
  settle(): void {
    if (this.#held.size > 0) this.#held.clear();
  }

  /** Hash of so many zeros. */
  zeroHash(bytes: number): Hash {
    let hash = this.#zeroHashes.get(bytes);
    if (hash === undefined) {
      if (this.#zeroHashes.size > 1024) this.#zeroHashes.clear();
      hash = this.platform.sha256(new Uint8Array(bytes));
      this.#zeroHashes.set(bytes, hash);
    }
    return hash;
  }
}

export class FileContent {
  #chunks: (Chunk | null)[] = [];
  #bytes = 0;

  /** @param base what the file was at the start, if it was there */
  constructor(
    readonly store: ChunkStore,
    readonly base: FileNode | undefined,
  ) {
    if (base === undefined) return;
    this.#bytes = base.bytes;
    this.#chunks = base.chunks.map((ref) => this.#fromHash(ref.hash, ref.bytes));
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Makes sure that a read of this range can be served. */
  prepareRead(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#bytes);
    if (end <= offset) return;
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    for (let index = Math.floor(offset / CHUNK_BYTES); index <= last; index++) this.#load(index);
  }

  /** Copies from the file into `target`; returns the number of bytes (fewer only at the end of the file). */
  read(offset: number, target: Uint8Array): number {
    const total = Math.max(0, Math.min(target.length, this.#bytes - offset));
    for (let done = 0; done < total; ) {
      const index = Math.floor((offset + done) / CHUNK_BYTES);
      const within = (offset + done) % CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - within, total - done);
      const data = this.#load(index);
      if (data === null) target.fill(0, done, done + length);
      else target.set(data.subarray(within, within + length), done);
      done += length;
    }
    return total;
  }

  /** Makes sure that a write of this range can be done. */
  prepareWrite(offset: number, length: number): void {
    if (length === 0) return;
    const end = offset + length;
    if (end > FILE_BYTES_MAX) fail('fbig');
    if (end > this.#bytes) this.#prepareTail(offset, end);
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    for (const index of new Set([Math.floor(offset / CHUNK_BYTES), last])) {
      if (index < this.#chunks.length && !this.#covers(index, offset, end)) this.#load(index);
    }
  }

  /** Writes `source` at `offset`, growing the file when needed. */
  write(offset: number, source: Uint8Array): void {
    if (source.length === 0) return;
    const end = offset + source.length;
    if (end > this.#bytes) this.#grow(end, offset);
    for (let done = 0; done < source.length; ) {
      const index = Math.floor((offset + done) / CHUNK_BYTES);
      const within = (offset + done) % CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - within, source.length - done);
      const data = this.#writable(index, this.#covers(index, offset, end));
      data.set(source.subarray(done, done + length), within);
      done += length;
    }
  }

  /** Makes sure that the file can be cut or grown to this size. */
  prepareResize(bytes: number): void {
    if (bytes > FILE_BYTES_MAX) fail('fbig');
    if (bytes > this.#bytes) this.#prepareTail(bytes, bytes);
    else if (bytes < this.#bytes && bytes % CHUNK_BYTES !== 0) {
      this.#load(Math.floor(bytes / CHUNK_BYTES));
    }
  }

  resize(bytes: number): void {
    if (bytes > this.#bytes) this.#grow(bytes, bytes);
    if (bytes < this.#bytes) this.#cut(bytes);
  }

  /** Gives every written chunk its hash. */
  nameChunks(): void {
    for (let index = 0; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index];
      if (chunk === null || chunk === undefined || chunk.hash !== null) continue;
      const length = this.#chunkBytes(index);
      invariant(chunk.data !== null && chunk.data.length >= length, 'a written chunk has its data');
      const data = chunk.data.length === length ? chunk.data : chunk.data.slice(0, length);
      const hash = this.store.platform.sha256(data);
      this.#chunks[index] = hash === this.store.zeroHash(length) ? null : { hash, data };
    }
  }

  /** The file as chunk references. Every chunk has its hash (`nameChunks`). */
  refs(): ChunkRef[] {
    return this.#chunks.map((chunk, index) => {
      const bytes = this.#chunkBytes(index);
      return { hash: this.#hashAt(chunk, bytes), bytes };
    });
  }

  /** Adds every chunk, with a way to its data (for chunks that are here). Every chunk has its hash. */
  collect(target: Map<Hash, () => Uint8Array>): void {
    for (let index = 0; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] ?? null;
      const bytes = this.#chunkBytes(index);
      const hash = this.#hashAt(chunk, bytes);
      if (chunk?.data === null && target.has(hash)) continue;
      target.set(hash, () => {
        if (chunk === null) return new Uint8Array(bytes);
        invariant(chunk.data !== null, 'a chunk that the store does not have is here');
        return chunk.data;
      });
    }
  }

  /** Bytes of data that is here. */
  residentBytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + (chunk?.data?.length ?? 0), 0);
  }

  /** Drops data that the store has, until `spare` bytes are freed; returns how much was. */
  demote(durable: ReadonlySet<Hash>, spare: number): number {
    let freed = 0;
    for (const chunk of this.#chunks) {
      if (freed >= spare) break;
      if (chunk === null || chunk.hash === null || chunk.data === null) continue;
      if (!durable.has(chunk.hash)) continue;
      freed += chunk.data.length;
      chunk.data = null;
    }
    return freed;
  }

  /** `[bytes, index, count, hash, …]`: runs of equal chunks that differ from the base. */
  snapshot(): Plain {
    const runs: Plain[] = [this.#bytes];
    let last: { end: number; hash: Hash; bytes: number; at: number } | undefined;
    for (const [index, ref] of this.refs().entries()) {
      const old = this.base?.chunks[index];
      if (old !== undefined && old.hash === ref.hash && old.bytes === ref.bytes) continue;
      if (last !== undefined && last.end === index && last.hash === ref.hash) {
        last.end += 1;
        runs[last.at + 1] = (runs[last.at + 1] as number) + 1;
      } else {
        last = { end: index + 1, hash: ref.hash, bytes: ref.bytes, at: runs.length };
        runs.push(index, 1, hashToBytes(ref.hash));
      }
    }
    return runs;
  }

  restore(data: Plain | undefined): void {
    const runs = asList(data, 'file content');
    this.#bytes = asCount(runs[0], 'file size', FILE_BYTES_MAX);
    const count = Math.ceil(this.#bytes / CHUNK_BYTES);
    const chunks: (Chunk | null | undefined)[] = new Array(count).fill(undefined);
    for (const [index, ref] of (this.base?.chunks ?? []).entries()) {
      const fits = index < count && ref.bytes === this.#chunkBytes(index);
      if (fits) chunks[index] = this.#fromHash(ref.hash, ref.bytes);
    }
    for (let at = 1; at < runs.length; at += 3) {
      const first = asCount(runs[at], 'chunk index', count);
      const length = asCount(runs[at + 1], 'chunk run', count - first);
      const hash = asHash(runs[at + 2], 'chunk hash');
      for (let index = first; index < first + length; index++) {
        chunks[index] = this.#fromHash(hash, this.#chunkBytes(index));
      }
    }
    this.#chunks = chunks.map((chunk) => {
      if (chunk === undefined) throw damaged('a chunk is missing');
      return chunk;
    });
  }

  #fromHash(hash: Hash, bytes: number): Chunk | null {
    const hole = bytes === CHUNK_BYTES && hash === this.store.zeroHash(bytes);
    return hole ? null : { hash, data: null };
  }

  #hashAt(chunk: Chunk | null, bytes: number): Hash {
    if (chunk === null) return this.store.zeroHash(bytes);
    invariant(chunk.hash !== null, 'chunks are named before they are listed');
    return chunk.hash;
  }

  /** Length of a chunk's place in the file. */
  #chunkBytes(index: number): number {
    return Math.min(CHUNK_BYTES, this.#bytes - index * CHUNK_BYTES);
  }

  /** The chunk's data, null for a hole. Throws NeedBlob. */
  #load(index: number): Uint8Array | null {
    const chunk = this.#chunks[index];
    invariant(chunk !== undefined, 'chunk exists');
    if (chunk === null) return null;
    if (chunk.data !== null) return chunk.data;
    invariant(chunk.hash !== null, 'a chunk without data has a hash');
    return this.store.fetch(chunk.hash, this.#chunkBytes(index));
  }

  /** True when [offset, end) covers all of the chunk's place that the file will have. */
  #covers(index: number, offset: number, end: number): boolean {
    const start = index * CHUNK_BYTES;
    return offset <= start && end >= Math.min(start + CHUNK_BYTES, Math.max(this.#bytes, end));
  }

  /** Growing changes the last chunk's length: its data must be at hand, unless it is overwritten whole. */
  #prepareTail(offset: number, end: number): void {
    const tail = this.#chunks.length - 1;
    if (this.#bytes % CHUNK_BYTES !== 0 && !this.#covers(tail, offset, end)) this.#load(tail);
  }

  #grow(bytes: number, writeOffset: number): void {
    const tail = this.#chunks.length - 1;
    const partial = this.#bytes % CHUNK_BYTES !== 0;
    const covered = partial && this.#covers(tail, writeOffset, bytes);
    const old = partial && !covered ? this.#load(tail) : null;
    const oldBytes = partial ? this.#chunkBytes(tail) : 0;
    this.#bytes = bytes;
    if (partial && covered) this.#chunks[tail] = null;
    if (old !== null) this.#replace(tail, old.subarray(0, oldBytes));
    const count = Math.ceil(bytes / CHUNK_BYTES);
    while (this.#chunks.length < count) this.#chunks.push(null);
  }

  #cut(bytes: number): void {
    const count = Math.ceil(bytes / CHUNK_BYTES);
    const kept = bytes % CHUNK_BYTES;
    const old = kept === 0 ? null : this.#load(count - 1);
    this.#bytes = bytes;
    this.#chunks.length = count;
    if (old !== null) {
      this.#chunks[count - 1] = { hash: null, data: old.slice(0, kept) };
    }
  }

  /** Makes the chunk a written one with this content, in place when it has room. */
  #replace(index: number, content: Uint8Array): Uint8Array {
    const chunk = this.#chunks[index];
    const needed = this.#chunkBytes(index);
    if (chunk !== null && chunk !== undefined && chunk.hash === null && chunk.data !== null) {
      if (chunk.data.length >= needed) return chunk.data;
    }
    const data = new Uint8Array(capacityFor(needed));
    data.set(content);
    this.#chunks[index] = { hash: null, data };
    return data;
  }

  /** Data of a chunk that may be changed. `fresh`: its old content does not matter. */
  #writable(index: number, fresh: boolean): Uint8Array {
    const chunk = this.#chunks[index];
    if (chunk !== null && chunk !== undefined && chunk.hash === null && chunk.data !== null) {
      if (chunk.data.length >= this.#chunkBytes(index)) return chunk.data;
    }
    const old = fresh ? null : this.#load(index);
    return this.#replace(index, old ?? new Uint8Array(0));
  }
}

/** Room for a chunk that will probably grow. */
function capacityFor(bytes: number): number {
  let capacity = CHUNK_CAPACITY_MIN;
  while (capacity < bytes) capacity *= 2;
  return Math.min(capacity, CHUNK_BYTES);
}
