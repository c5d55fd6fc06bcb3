/**
 * Free blocks of AssemblyScript's heap: what TLSF (std/assembly/rt/tlsf.ts) keeps of them is their ends, the rest is dead.
 *
 *     root   0 flMap · 4 slMap[23] · 96 head[23][16] · 1568 tail · 1572
 *     heap   first block at root + 1580, blocks side by side up to the tail (an empty used block)
 *
 *     block  │ size | LEFTFREE 2 | FREE 1 │ prev │ next │ ··· dead ··· │ back │      size counts what follows it, 12 at least,
 *            └ 4 bytes                                                              and is 12 modulo 16
 *
 * The allocator reads headers, and of free blocks prev, next and back; never what is between them. What a free block held was the
 * program's, which gave it back: unless the program reads what it freed, nobody reads it before it is allocated and written.
 *
 * Does: walk the heap and its free lists, and believe them only when all of it agrees. Does not: find the root.
 *
 * F1  Nothing is dead unless every block, flag, back pointer, list and bitmap is as a heap between two calls of the allocator has
 *     them. In the middle of one (a block taken out of its list, a tail that is not linked yet) something never is.
 * F2  Any bytes give an answer: no address is used before it is known to lie within the memory, and the walk ends.
 */
import type { DeadRange } from '../core/scan.js';

const FL_COUNT = 23;
const SL_BITS = 4;
const SL_COUNT = 1 << SL_BITS;
const SMALL_BITS = 8;
const SL_MAPS_AT = 4;
const HEADS_AT = 96;
const TAIL_AT = 1568;
const ROOT_BYTES = 1572;
const FIRST_BLOCK_AT = 1580;
const ALIGN = 16;
const HEADER_BYTES = 4;
const SIZE_MIN = 12;
const CLASS_SIZE_MAX = 2 ** 30 - HEADER_BYTES;
const FREE = 1;
const LEFT_FREE = 2;
const TAGS = 3;
/** Header, prev and next. */
const KEPT_AT_START = 12;
/** The back pointer. */
const KEPT_AT_END = 4;

/** The dead parts of free blocks, ascending. None at the first doubt (F1). */
export function freeBlocks(memory: DataView, root: number): DeadRange[] {
  if (root === 0 || root % ALIGN !== 0 || root + ROOT_BYTES > memory.byteLength) return [];
  const tail = memory.getUint32(root + TAIL_AT, true);
  const first = root + FIRST_BLOCK_AT;
  if (tail < first || tail + HEADER_BYTES > memory.byteLength) return [];
  const free = new BlockSet(first, tail);
  const dead: DeadRange[] = [];
  return blocksAgree(memory, free, dead) && listsAgree(memory, root, free) ? dead : [];
}

/** Addresses of free blocks: a bit for each place where one can begin. */
class BlockSet {
  readonly #bits: Uint8Array;
  count = 0;

  constructor(
    readonly first: number,
    readonly tail: number,
  ) {
    this.#bits = new Uint8Array((tail - first) / (8 * ALIGN) + 1);
  }

  add(block: number): void {
    const place = (block - this.first) / ALIGN;
    this.#bits[place >>> 3]! |= 1 << (place & 7);
    this.count++;
  }

  /** False: it was not there (any more). Any number may be asked for. */
  take(block: number): boolean {
    const place = (block - this.first) / ALIGN;
    const bit = 1 << (place & 7);
    if (place < 0 || !Number.isInteger(place) || ((this.#bits[place >>> 3] ?? 0) & bit) === 0)
      return false;
    this.#bits[place >>> 3]! ^= bit;
    this.count--;
    return true;
  }
}

/** From the first block to the tail each is as it must be. Fills in the free ones and their dead parts. */
function blocksAgree(memory: DataView, free: BlockSet, dead: DeadRange[]): boolean {
  const { tail } = free;
  let leftFree = false;
  let block = free.first;
  while (block < tail) {
    const info = memory.getUint32(block, true);
    const size = info - (info & TAGS);
    const right = block + HEADER_BYTES + size;
    const isFree = (info & FREE) !== 0;
    if (size < SIZE_MIN || size % ALIGN !== SIZE_MIN || right > tail) return false;
    if (((info & LEFT_FREE) !== 0) !== leftFree || (isFree && leftFree)) return false;
    if (isFree) {
      if (memory.getUint32(right - KEPT_AT_END, true) !== block) return false;
      free.add(block);
      if (size > SIZE_MIN) dead.push({ first: block + KEPT_AT_START, end: right - KEPT_AT_END });
    }
    leftFree = isFree;
    block = right;
  }
  return block === tail && memory.getUint32(tail, true) === (leftFree ? LEFT_FREE : 0);
}

/** Every free block is in the list of its class, once, and nothing else is; the bitmaps say which lists have members. */
function listsAgree(memory: DataView, root: number, free: BlockSet): boolean {
  const flMap = memory.getUint32(root, true);
  if (flMap >>> FL_COUNT !== 0) return false;
  for (let fl = 0; fl < FL_COUNT; fl++) {
    const slMap = memory.getUint32(root + SL_MAPS_AT + 4 * fl, true);
    if (slMap >>> SL_COUNT !== 0 || ((flMap >>> fl) & 1) !== Number(slMap !== 0)) return false;
    for (let sl = 0; sl < SL_COUNT; sl++) {
      const list = (fl << SL_BITS) + sl;
      const head = memory.getUint32(root + HEADS_AT + 4 * list, true);
      if (((slMap >>> sl) & 1) !== Number(head !== 0)) return false;
      let before = 0;
      for (let block = head; block !== 0; block = memory.getUint32(block + 8, true)) {
        if (!free.take(block) || memory.getUint32(block + 4, true) !== before) return false;
        const info = memory.getUint32(block, true);
        if (classOf(info - (info & TAGS)) !== list) return false;
        before = block;
      }
    }
  }
  return free.count === 0;
}

/** The number of the list for blocks of this size. */
function classOf(size: number): number {
  if (size < 1 << SMALL_BITS) return size >>> SL_BITS;
  const bounded = Math.min(size, CLASS_SIZE_MAX);
  const top = 31 - Math.clz32(bounded);
  const sl = (bounded >>> (top - SL_BITS)) - SL_COUNT;
  return ((top - SMALL_BITS + 1) << SL_BITS) + sl;
}
