/**
 * Buffers that were used before, kept for the next capsule of one thread.
 *
 * Memory that is fresh from the system costs 12–20 µs for each 4 KiB page when it is first touched: for a capsule of
 * 1.5 MB 6 ms, where copying or hashing it takes 0.1 and 1 ms. So the buffers of capsules go round:
 *
 *     worker: encode ──transfer──▶ main: store ──recycle──▶ worker (or main's own shelf, when the run is gone)
 *     main: fetch ────transfer───▶ worker: restore, then onto the worker's shelf
 *
 * Does: hand out a buffer that is large enough, take buffers back, bound what is kept.
 * Does not: clear them: whoever takes one writes every byte that it uses.
 *
 * S1  A buffer is handed out to one user and is not on the shelf meanwhile.
 * S2  At most SHELF_BUFFERS are kept, none of them larger than LARGEST_BYTES.
 */
const SHELF_BUFFERS = 2;
const LARGEST_BYTES = 32 * 1024 * 1024;
const GRAIN_BYTES = 256 * 1024;
const PAGE_BYTES = 4096;

export class BufferShelf {
  readonly #buffers: ArrayBuffer[] = [];

  /** A view of exactly `bytes` bytes with any content; its buffer may be larger, and is nobody else's. */
  allocate(bytes: number): Uint8Array {
    return new Uint8Array(this.take(bytes) ?? fresh(bytes), 0, bytes);
  }

  /** The smallest kept buffer with so many bytes, if there is one. */
  take(bytes: number): ArrayBuffer | undefined {
    let best = -1;
    this.#buffers.forEach((buffer, i) => {
      if (buffer.byteLength < bytes) return;
      if (best < 0 || buffer.byteLength < this.#buffers[best]!.byteLength) best = i;
    });
    return best < 0 ? undefined : this.#buffers.splice(best, 1)[0];
  }

  /** Takes a buffer back. It must not be used any more by anybody. */
  put(buffer: ArrayBufferLike): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < GRAIN_BYTES) return;
    if (buffer.byteLength > LARGEST_BYTES) return;
    this.#buffers.push(buffer);
    if (this.#buffers.length <= SHELF_BUFFERS) return;
    const smallest = this.#buffers.reduce((a, b) => (b.byteLength < a.byteLength ? b : a));
    this.#buffers.splice(this.#buffers.indexOf(smallest), 1);
  }

  /** Has a touched buffer ready for a capsule of about this size. */
  ready(bytes: number): void {
    if (bytes > LARGEST_BYTES || this.#buffers.some((buffer) => buffer.byteLength >= bytes)) return;
    const buffer = fresh(bytes);
    const view = new Uint8Array(buffer);
    for (let at = 0; at < view.length; at += PAGE_BYTES) view[at] = 1;
    this.put(buffer);
  }
}

/** A capsule's buffer, for a transfer list; it must be nobody else's. */
export function bufferOf(capsule: Uint8Array): ArrayBuffer[] {
  return capsule.buffer instanceof ArrayBuffer ? [capsule.buffer] : [];
}

/** With room for a capsule that grows by a quarter until the next time. */
function fresh(bytes: number): ArrayBuffer {
  if (bytes > LARGEST_BYTES) return new ArrayBuffer(bytes);
  return new ArrayBuffer(Math.ceil((bytes * 1.25) / GRAIN_BYTES) * GRAIN_BYTES);
}
