/**
 * Bytes that are said more than once: how many there would be if each were kept once.
 *
 *   whole     capsules that equal an earlier one, byte for byte, do not count again
 *   units     cut into units of 64 bytes from the begin of each capsule; equal units count once, wherever they are
 *   chunks    cut where the content says so (a gear hash, 64 to 1,024 bytes, 256 in the mean: Xia et al., FastCDC, USENIX
 *             ATC 2016, section 3); equal chunks count once. Finds what is the same at other offsets, too
 *
 * The last two are what a store with perfect deduplication and no index at all would hold.
 *
 * Does: count. Does not: store.
 */
import { createHash } from 'node:crypto';
import { randomFrom } from '../lib/statistics.js';

const UNIT_BYTES = 64;
const LEAST_BYTES = 64;
const MOST_BYTES = 1_024;
/** A cut once in so many bytes past the least. */
const CUT_MASK = 255 << 24;
const NAME_BYTES = 12;

const gear = new Int32Array(256);
const random = randomFrom(11);
for (let i = 0; i < gear.length; i++) gear[i] = Math.floor(random() * 4_294_967_296) | 0;

export interface DistinctBytes {
  readonly allBytes: number;
  readonly wholeBytes: number;
  readonly unitBytes: number;
  readonly chunkBytes: number;
}

export class Distinct {
  readonly #seen = { whole: new Set<string>(), unit: new Set<string>(), chunk: new Set<string>() };
  readonly #bytes = { all: 0, whole: 0, unit: 0, chunk: 0 };

  add(capsule: Uint8Array): void {
    this.#bytes.all += capsule.length;
    if (!this.#count('whole', capsule)) return;
    for (let at = 0; at < capsule.length; at += UNIT_BYTES)
      this.#count('unit', capsule.subarray(at, at + UNIT_BYTES));
    for (let at = 0; at < capsule.length; ) {
      const end = cutAfter(capsule, at);
      this.#count('chunk', capsule.subarray(at, end));
      at = end;
    }
  }

  /** True when it is new. */
  #count(kind: 'whole' | 'unit' | 'chunk', part: Uint8Array): boolean {
    const name = createHash('sha256').update(part).digest().toString('latin1', 0, NAME_BYTES);
    if (this.#seen[kind].has(name)) return false;
    this.#seen[kind].add(name);
    this.#bytes[kind] += part.length;
    return true;
  }

  get total(): DistinctBytes {
    const { all, whole, unit, chunk } = this.#bytes;
    return { allBytes: all, wholeBytes: whole, unitBytes: unit, chunkBytes: chunk };
  }
}

function cutAfter(bytes: Uint8Array, from: number): number {
  const most = Math.min(bytes.length, from + MOST_BYTES);
  let hash = 0;
  for (let at = from; at < most; at++) {
    hash = ((hash << 1) + gear[bytes[at]!]!) | 0;
    if (at - from >= LEAST_BYTES && (hash & CUT_MASK) === 0) return at + 1;
  }
  return most;
}
