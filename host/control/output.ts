/**
 * A shard's output as one stream, read from the hash-linked chain of chunks that its record's head names.
 *
 *     record.output.head ─▶ chunk n ─previous─▶ chunk n-1 ─▶ … ─▶ chunk 1      offsets ascending the other way
 *
 * Does: walk back from the head to the offset that is asked for, then give pieces forward; follow new heads.
 * Does not: show anything that no record names yet.
 *
 * O1  Every byte from `from` on is given once, in order, without a gap: a chunk that does not end where the next one
 *     begins is damage, and said.
 * O2  What a walk holds are hashes only; chunks are read one at a time.
 */
import type { OutputLine } from '../types/api.js';
import { SherdError } from '../types/errors.js';
import type { Fabric } from '../types/fabric.js';
import { decodePlain } from '../types/pack.js';
import type { Hash } from '../types/platform.js';
import type { OutputChunk, OutputHead, ShardId } from '../types/records.js';
import { aboutPart, blobGone } from './parts.js';

const LINE_BYTES = 192 * 1024;
const PIECE = 'a piece of its output';

export class OutputReader {
  readonly #fabric: Fabric;
  readonly #id: ShardId;
  #offset: number;
  /** The newest chunk that was given whole. */
  #last: Hash | null = null;

  constructor(fabric: Fabric, id: ShardId, from: number) {
    this.#fabric = fabric;
    this.#id = id;
    this.#offset = from;
  }

  /** Offset of the next byte to come. */
  get offset(): number {
    return this.#offset;
  }

  /** All pieces up to the head that have not been given yet. */
  async *until(head: OutputHead): AsyncGenerator<Extract<OutputLine, { kind: 'piece' }>> {
    if (head.bytes <= this.#offset || head.head === this.#last) return;
    const hashes = await this.#walk(head);
    for (let hash = hashes.pop(); hash !== undefined; hash = hashes.pop()) {
      const chunk = await this.#chunk(hash);
      yield* this.#pieces(chunk);
      this.#last = hash;
    }
  }

  /** Hashes of the chunks that are still to be given, newest first. */
  async #walk(head: OutputHead): Promise<Hash[]> {
    const hashes: Hash[] = [];
    let end = head.bytes;
    for (let hash = head.head; hash !== null && hash !== this.#last; ) {
      const chunk = await this.#chunk(hash);
      const bytes = chunk.pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
      if (chunk.offset + bytes !== end) {
        const gap = new SherdError('SHERD_BLOB_DAMAGED', 'the output chain has a gap', {
          at: hash,
        });
        throw aboutPart(gap, this.#id, PIECE);
      }
      hashes.push(hash);
      if (chunk.offset <= this.#offset) break;
      end = chunk.offset;
      hash = chunk.previous;
    }
    return hashes;
  }

  async #chunk(hash: Hash): Promise<OutputChunk> {
    try {
      const bytes = await this.#fabric.blobs.get(hash);
      if (bytes === undefined) throw blobGone(hash);
      return decodePlain(bytes, { at: hash }) as OutputChunk;
    } catch (cause) {
      throw cause instanceof SherdError ? aboutPart(cause, this.#id, PIECE) : cause;
    }
  }

  *#pieces(chunk: OutputChunk): Generator<Extract<OutputLine, { kind: 'piece' }>> {
    let offset = chunk.offset;
    for (const { stream, bytes } of chunk.pieces) {
      const end = offset + bytes.length;
      while (this.#offset < end) {
        const from = this.#offset - offset;
        const part = bytes.subarray(from, Math.min(bytes.length, from + LINE_BYTES));
        const base64 = Buffer.from(part.buffer, part.byteOffset, part.length).toString('base64');
        yield { kind: 'piece', stream, offset: this.#offset, base64 };
        this.#offset += part.length;
      }
      offset = end;
    }
  }
}
