/**
 * Staging: the memory of a running shard is copied to its target in slices, so that its last stop moves only what is left.
 *
 *     source (the shard runs on between two slices)                 target (nothing runs)
 *
 *     memory ──compare──▶ shadow        slice                       memory of the instance that is to be
 *      512 KiB at a time  = what the   ┌──────────────────┐           = the shadow, once all slices are in
 *                           target has │ changed units    │ ──link──▶
 *                                      └──────────────────┘
 *     round 0: what differs from the module's image. Round n: what was written since it was last sent. What is left then is in
 *     the capsule, whose base is the staged image (staged-image.ts).
 *
 *     slice = format u32 · round u32 · pages u32 · sequence u32 · first page u32 · table bytes u32 · table · payload
 *             pages: size of the memory, in 64 KiB pages, when the slice was made; it only grows
 *             table, payload: a difference (core/difference.ts) of the CHUNK_PAGES pages from the first page on
 *     batch = { length u32 · slice } a slice: what is stored and fetched as one blob
 *
 *     units   core.wasm finds the changed units of 64 bytes: least to send
 *     pages   whole 4 KiB pages that differ, copied as they are: faster where nearly all has changed, for up to 64 × the bytes.
 *             Round 0 goes this way, and chunks that follow one half of which had changed
 *
 * Does: find, pack and apply what changed. Does not: send, decide how many rounds there are (protocol/precopy), or hold anything
 * but memory.
 *
 * Post-copy (run at the target first, fetch cold pages when they are touched) is left out on purpose: a Wasm engine has no
 * page fault that a host could answer, so every load and store would need a check; and a shard whose pages are on two
 * machines is lost when either fails. (Clark et al., "Live migration of virtual machines", NSDI 2005, is pre-copy; Hines et al.,
 * "Post-copy live migration of virtual machines", 2009, names both costs.)
 *
 * G1  After a whole round with the shard stopped the shadow equals the memory, and so does the target that got all slices.
 * G2  What is sent is what the shadow then holds: a write that comes between compare and copy cannot exist (one thread).
 * G3  The target takes slices in order of their sequence, without gaps; anything else, a run outside the declared memory, a
 *     memory that shrinks or exceeds the limit is refused with SHERD_CAPSULE_DAMAGED, and nothing of that slice is applied.
 * G4  The module's image and the same batches in the same order give the same memory: that list is the image's name.
 */
import { checkTable, DATA, type Difference, TableWriter, UNIT_BYTES } from '../core/difference.js';
import { applyDifference, copyPayload, scan } from '../core/scan.js';
import { invariant, SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import type { BaseImage } from '../types/state.js';
import { MAX_WASM_PAGES, PAGE_BYTES, UNITS_PER_PAGE, WASM_PAGE_BYTES } from './memory.js';

const FORMAT = 1;
const HEADER_BYTES = 24;
const FIELDS = HEADER_BYTES / 4;
/** Wasm pages that one step looks at. */
const CHUNK_PAGES = 8;
export const CHUNK_BYTES = CHUNK_PAGES * WASM_PAGE_BYTES;
const CHUNK_UNITS = CHUNK_BYTES / UNIT_BYTES;
/** A run in every second unit, each with two numbers of at most three bytes. */
const TABLE_ROOM_BYTES = (CHUNK_UNITS / 2 + 1) * 6;
/** Any slice fits into this. */
export const SLICE_ROOM_BYTES = HEADER_BYTES + TABLE_ROOM_BYTES + CHUNK_BYTES;

const CHUNK_PAGES_4K = CHUNK_BYTES / PAGE_BYTES;
/** So many runs in a 64 KiB page, and the next chunk is not compared as a whole first. */
const SCATTERED_RUNS = 4;
/** After a chunk of which this part has changed, changed pages are sent whole. */
const DENSE = 0.5;
/** So many chunks are sent as pages until one is looked into again. */
const DENSE_CHUNKS = 7;

/** What one step did. */
export interface Step {
  /** Bytes of the slice in the buffer that was given; 0 = nothing to send. */
  readonly sliceBytes: number;
  /** Memory that was looked at. */
  readonly scannedBytes: number;
  /** Memory in the slice. */
  readonly payloadBytes: number;
  /** The round is complete: all of the memory was looked at once since it began. */
  readonly roundEnded: boolean;
}

interface Packed {
  readonly tableBytes: number;
  readonly payloadBytes: number;
}

/** Neighbouring pages of 4 KiB. */
interface Stretch {
  readonly first: number;
  count: number;
}

/** The source's end: knows what the target has. */
export class StageSource {
  readonly #platform: Platform;
  readonly #shadow: Uint8Array;
  #pages: number;
  #round = 0;
  #sequence = 0;
  /** In Wasm pages. */
  #cursor = 0;
  /** Chunks that are to be sent as pages. */
  #dense = 0;
  #scattered = false;

  /**
   * `shadow`: all zero, as large as the memory can become while it is staged (beyond it the caller gives up staging);
   * its pages should have been touched before, on another thread.
   */
  constructor(base: BaseImage, shadow: Uint8Array, platform: Platform) {
    invariant(shadow.length % WASM_PAGE_BYTES === 0, 'the shadow is whole pages');
    invariant(shadow.length >= base.pages * WASM_PAGE_BYTES, 'the shadow holds the base');
    this.#platform = platform;
    this.#shadow = shadow;
    this.#pages = base.pages;
    for (const [page, bytes] of base.nonZero) shadow.set(bytes, page * PAGE_BYTES);
  }

  get round(): number {
    return this.#round;
  }

  /** Looks at the next chunk of `memory` and packs what changed. The shard must not run meanwhile. */
  step(memory: Uint8Array, slice: Uint8Array): Step {
    invariant(slice.length >= SLICE_ROOM_BYTES, 'the slice has room for a chunk');
    invariant(memory.length % WASM_PAGE_BYTES === 0, 'the memory is whole pages');
    invariant(memory.length >= this.#pages * WASM_PAGE_BYTES, 'a memory never shrinks');
    invariant(memory.length <= this.#shadow.length, 'the shadow has room for the memory');
    this.#pages = memory.length / WASM_PAGE_BYTES;
    const firstPage = this.#cursor;
    const end = Math.min(this.#pages, firstPage + CHUNK_PAGES);
    const [from, to] = [firstPage * WASM_PAGE_BYTES, end * WASM_PAGE_BYTES];
    const shadow = this.#shadow.subarray(from, to);
    const packed = this.#pack(memory.subarray(from, to), shadow, slice);
    if (packed !== null) this.#writeHeader(slice, firstPage, packed.tableBytes);
    const roundEnded = end === this.#pages;
    this.#cursor = roundEnded ? 0 : end;
    if (roundEnded) this.#round++;
    return {
      sliceBytes: packed === null ? 0 : HEADER_BYTES + packed.tableBytes + packed.payloadBytes,
      scannedBytes: to - from,
      payloadBytes: packed?.payloadBytes ?? 0,
      roundEnded,
    };
  }

  /** Null when nothing differs; the shadow is brought up to date. */
  #pack(memory: Uint8Array, shadow: Uint8Array, slice: Uint8Array): Packed | null {
    // Where changes are scattered, comparing ahead is work for nothing.
    const alike = !this.#scattered && this.#platform.equal(memory, 0, shadow, 0, memory.length);
    if (alike) return null;
    if (this.#round > 0 && this.#dense === 0) return this.#packUnits(memory, shadow, slice);
    this.#dense = Math.max(0, this.#dense - 1);
    const stretches = this.#stretches(memory, shadow);
    return stretches.length === 0 ? null : packPages(stretches, memory, shadow, slice);
  }

  /** Neighbouring pages that differ. */
  #stretches(memory: Uint8Array, shadow: Uint8Array): Stretch[] {
    const stretches: Stretch[] = [];
    let last: Stretch | undefined;
    for (let page = 0; page * PAGE_BYTES < memory.length; page++) {
      const at = page * PAGE_BYTES;
      if (this.#platform.equal(memory, at, shadow, at, PAGE_BYTES)) last = undefined;
      else if (last !== undefined) last.count++;
      else {
        last = { first: page, count: 1 };
        stretches.push(last);
      }
    }
    return stretches;
  }

  #packUnits(memory: Uint8Array, shadow: Uint8Array, slice: Uint8Array): Packed | null {
    const blocks = shadow.length / WASM_PAGE_BYTES;
    const base = { capsule: '', below: [], pages: blocks, bytes: shadow };
    const input = { memory, base, scattered: this.#scattered };
    const scanned = scan(input, this.#platform);
    const { table, runs } = scanned;
    this.#scattered = runs >= SCATTERED_RUNS * blocks;
    if (runs === 0) return null;
    const payloadAt = HEADER_BYTES + table.length;
    const payload = slice.subarray(payloadAt, payloadAt + scanned.dataUnits * UNIT_BYTES);
    copyPayload(payload, input, scanned);
    slice.set(table, HEADER_BYTES);
    applyDifference({ runs, blocks, table, payload }, shadow, this.#platform);
    if (payload.length >= DENSE * memory.length) this.#dense = DENSE_CHUNKS;
    return { tableBytes: table.length, payloadBytes: payload.length };
  }

  #writeHeader(slice: Uint8Array, firstPage: number, tableBytes: number): void {
    const view = new DataView(slice.buffer, slice.byteOffset, HEADER_BYTES);
    const fields = [FORMAT, this.#round, this.#pages, this.#sequence, firstPage, tableBytes];
    fields.forEach((value, i) => {
      view.setUint32(4 * i, value, true);
    });
    this.#sequence++;
  }
}

/** Brings the shadow up to date there; gives the pages. */
function copyStretch(
  { first, count }: Stretch,
  memory: Uint8Array,
  shadow: Uint8Array,
): Uint8Array {
  const pages = memory.subarray(first * PAGE_BYTES, (first + count) * PAGE_BYTES);
  shadow.set(pages, first * PAGE_BYTES);
  return pages;
}

/** Sends pages as they are, and puts them into the shadow. */
function packPages(
  stretches: readonly Stretch[],
  memory: Uint8Array,
  shadow: Uint8Array,
  slice: Uint8Array,
): Packed {
  const writer = new TableWriter(CHUNK_PAGES_4K);
  for (const { first, count } of stretches)
    writer.add(DATA, first * UNITS_PER_PAGE, count * UNITS_PER_PAGE);
  const table = writer.finish();
  slice.set(table, HEADER_BYTES);
  const payloadAt = HEADER_BYTES + table.length;
  let to = payloadAt;
  for (const each of stretches) {
    const pages = copyStretch(each, memory, shadow);
    slice.set(pages, to);
    to += pages.length;
  }
  return { tableBytes: table.length, payloadBytes: to - payloadAt };
}

/** The target's end: applies slices to the memory of an instance that does not run yet. */
export class StageTarget {
  readonly #platform: Platform;
  readonly #limitPages: number;
  #pages: number;
  #round = 0;
  #sequence = 0;

  /** The memory holds the module's image of `basePages` pages and may grow to `limitPages`. */
  constructor(basePages: number, limitPages: number, platform: Platform) {
    invariant(
      basePages <= limitPages && limitPages <= MAX_WASM_PAGES,
      'a limit that the base fits',
    );
    this.#pages = basePages;
    this.#limitPages = limitPages;
    this.#platform = platform;
  }

  /** Size that the memory must have for all slices so far, in 64 KiB pages. */
  get pages(): number {
    return this.#pages;
  }

  /** Slices that were applied. */
  get slices(): number {
    return this.#sequence;
  }

  /**
   * Applies one slice. `memoryOf(pages)` gives the whole memory, grown to at least that many pages.
   * Throws SHERD_CAPSULE_DAMAGED and changes nothing when the slice is not one that may come now (G3).
   */
  apply(slice: Uint8Array, memoryOf: (pages: number) => Uint8Array): void {
    const { difference, round, pages, from, to } = this.#read(slice);
    const memory = memoryOf(pages);
    invariant(memory.length >= pages * WASM_PAGE_BYTES, 'the memory was grown');
    applyDifference(difference, memory.subarray(from, to), this.#platform);
    this.#pages = pages;
    this.#round = round;
    this.#sequence++;
  }

  #read(slice: Uint8Array): Read {
    if (slice.length < HEADER_BYTES) throw refused('cut short');
    const view = new DataView(slice.buffer, slice.byteOffset, slice.byteLength);
    const field = (i: number): number => (i < FIELDS ? view.getUint32(4 * i, true) : 0);
    const [format, round, pages, sequence] = [field(0), field(1), field(2), field(3)];
    const [firstPage, tableBytes] = [field(4), field(5)];
    if (format !== FORMAT) throw refused(`format ${format}`);
    if (sequence !== this.#sequence)
      throw refused(`slice ${sequence} where ${this.#sequence} is due`);
    if (round < this.#round) throw refused(`round ${round} after round ${this.#round}`);
    if (pages < this.#pages) throw refused(`the memory shrinks to ${pages} pages`);
    if (pages > this.#limitPages)
      throw refused(`memory of ${pages} pages where ${this.#limitPages} are allowed`);
    if (firstPage >= pages || firstPage % CHUNK_PAGES !== 0) throw refused(`page ${firstPage}`);
    if (tableBytes > slice.length - HEADER_BYTES) throw refused('cut short');
    const from = firstPage * WASM_PAGE_BYTES;
    const to = Math.min(pages, firstPage + CHUNK_PAGES) * WASM_PAGE_BYTES;
    const table = slice.subarray(HEADER_BYTES, HEADER_BYTES + tableBytes);
    const difference = differenceOf(table, slice.subarray(HEADER_BYTES + tableBytes), to - from);
    return { difference, round, pages, from, to };
  }
}

interface Read {
  readonly difference: Difference;
  readonly round: number;
  readonly pages: number;
  readonly from: number;
  readonly to: number;
}

/** A difference whose table fits a memory of so many bytes, and its payload its table. */
function differenceOf(table: Uint8Array, payload: Uint8Array, bytes: number): Difference {
  const facts = checkTable(table, bytes / UNIT_BYTES, refused);
  if (facts.runs === 0) throw refused('empty');
  if (payload.length !== facts.dataUnits * UNIT_BYTES)
    throw refused(`${payload.length} bytes for ${facts.dataUnits} units`);
  return { ...facts, table, payload };
}

function refused(reason: string): SherdError {
  return new SherdError('SHERD_CAPSULE_DAMAGED', `a staged slice of memory is refused: ${reason}`, {
    next: 'the move is tried again from the source, where the shard still runs',
  });
}

const BATCH_ENTRY_BYTES = 4;

/** Any slice fits into a batch that has so much room left. */
export const BATCH_ROOM_BYTES = BATCH_ENTRY_BYTES + SLICE_ROOM_BYTES;

/** Gathers slices into one batch: they are made in their place, `add(step(memory, room()).sliceBytes)`. */
export class BatchWriter {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    invariant(bytes.length >= BATCH_ROOM_BYTES, 'a batch holds a slice');
    this.#bytes = bytes;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  get empty(): boolean {
    return this.#at === 0;
  }

  /** Room for any slice. */
  get hasRoom(): boolean {
    return this.#bytes.length - this.#at >= BATCH_ROOM_BYTES;
  }

  /** Where the next slice goes. */
  room(): Uint8Array {
    invariant(this.hasRoom, 'the batch has room');
    return this.#bytes.subarray(this.#at + BATCH_ENTRY_BYTES);
  }

  /** The room's first bytes are a slice; 0 = there is none. */
  add(sliceBytes: number): void {
    if (sliceBytes === 0) return;
    invariant(this.#at + BATCH_ENTRY_BYTES + sliceBytes <= this.#bytes.length, 'the slice fits');
    const { buffer, byteOffset } = this.#bytes;
    new DataView(buffer, byteOffset).setUint32(this.#at, sliceBytes, true);
    this.#at += BATCH_ENTRY_BYTES + sliceBytes;
  }
}

/** The slices of a batch, as views. */
export function readBatch(batch: Uint8Array): Uint8Array[] {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const slices: Uint8Array[] = [];
  for (let at = 0; at < batch.length; ) {
    if (batch.length - at < BATCH_ENTRY_BYTES) throw refused('a batch is cut short');
    const length = view.getUint32(at, true);
    at += BATCH_ENTRY_BYTES;
    if (batch.length - at < length) throw refused('a batch is cut short');
    slices.push(batch.subarray(at, at + length));
    at += length;
  }
  return slices;
}
