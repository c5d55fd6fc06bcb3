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
  const free = walkBlocks(memory, root);
  if (free === undefined || !listsAgree(memory, root, free)) return [];
  const dead: DeadRange[] = [];
  for (const [block, size] of free) {
    const first = block + KEPT_AT_START;
    const end = block + HEADER_BYTES + size - KEPT_AT_END;
    if (first < end) dead.push({ first, end });
  }
  return dead;
}

/** Size of each free block by its address, ascending; undefined when a block or the tail is not as it must be. */
function walkBlocks(memory: DataView, root: number): Map<number, number> | undefined {
  const tail = memory.getUint32(root + TAIL_AT, true);
  if (tail + HEADER_BYTES > memory.byteLength) return undefined;
  const free = new Map<number, number>();
  let leftFree = false;
  let block = root + FIRST_BLOCK_AT;
  while (block < tail) {
    const info = memory.getUint32(block, true);
    const size = info - (info & TAGS);
    const right = block + HEADER_BYTES + size;
    const isFree = (info & FREE) !== 0;
    if (size < SIZE_MIN || size % ALIGN !== SIZE_MIN || right > tail) return undefined;
    if (((info & LEFT_FREE) !== 0) !== leftFree || (isFree && leftFree)) return undefined;
    if (isFree) {
      if (memory.getUint32(right - KEPT_AT_END, true) !== block) return undefined;
      free.set(block, size);
    }
    leftFree = isFree;
    block = right;
  }
  const tailInfo = leftFree ? LEFT_FREE : 0;
  return block === tail && memory.getUint32(tail, true) === tailInfo ? free : undefined;
}

/** Every free block is in the list of its class, once, and nothing else is; the bitmaps say which lists have members. */
function listsAgree(memory: DataView, root: number, free: ReadonlyMap<number, number>): boolean {
  const flMap = memory.getUint32(root, true);
  let seen = 0;
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
        const size = free.get(block);
        if (size === undefined || classOf(size) !== list || ++seen > free.size) return false;
        if (memory.getUint32(block + 4, true) !== before) return false;
        before = block;
      }
    }
  }
  return seen === free.size;
}

/** The number of the list for blocks of this size. */
function classOf(size: number): number {
  if (size < 1 << SMALL_BITS) return size >>> SL_BITS;
  const bounded = Math.min(size, CLASS_SIZE_MAX);
  const top = 31 - Math.clz32(bounded);
  const sl = (bounded >>> (top - SL_BITS)) - SL_COUNT;
  return ((top - SMALL_BITS + 1) << SL_BITS) + sl;
}
