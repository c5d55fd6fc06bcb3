/**
 * The stack of suspended frames of one instance, kept in its frame store.
 *
 *   store memory:  registers | segment 0 (outermost activations) | segment 1 | … | segment n (innermost) | wp
 *   a segment is what one unwinding wrote, or a continuation that left its frame there: innermost frame first. The next frame to
 *   resume is the first one of the last segment; taking it moves the segment's start forward.
 *
 * Does: take frames, note new ones, turn them into FrameState and back.
 * Does not: run anything.
 *
 * V1  Space of taken frames is used again once their segment is empty; the store holds at most the deepest stack and a frame.
 * V2  Frames leave the store only by `take`, `dropToHandler` or `clear`.
 * V3  A funcref's slot holds its place in the table `refs` while the guest unwinds; after `note` its function's index + 1.
 */

import type { FrameLayout } from '../compile/plan.js';
import { FRAMES_START, ROOM_BYTES, STORE_MAX_PAGES } from '../compile/store-module.js';
import { invariant, SherdError } from '../types/errors.js';
import type { FrameState } from '../types/state.js';
import {
  exportedGlobal,
  exportedMemory,
  exportedTable,
  type LoadedModule,
  referenceNumber,
} from './loaded.js';

const HEAD_BYTES = 8;
/** Slots lie on 8-byte boundaries. */
const WORD_BYTES = 8;

interface Segment {
  start: number;
  readonly end: number;
}

export interface FrameHead {
  readonly func: number;
  readonly safepoint: number;
}

/** A frame whose slots lie in a buffer that all frames of one capture share: a view each would cost more than the frame. */
class PackedFrame implements FrameState {
  constructor(
    readonly func: number,
    readonly safepoint: number,
    private readonly packed: Uint8Array,
    private readonly from: number,
    private readonly to: number,
  ) {}

  get slots(): Uint8Array {
    return this.packed.subarray(this.from, this.to);
  }
}

export class FrameStack {
  private readonly segments: Segment[] = [];
  private readonly memory: WebAssembly.Memory;
  private readonly wp: WebAssembly.Global;
  private readonly rp: WebAssembly.Global;
  private view: DataView;
  /** Where spilled references are until `note` turns them into numbers. */
  private readonly refs: { table: WebAssembly.Table; next: WebAssembly.Global } | undefined;

  constructor(
    private readonly loaded: LoadedModule,
    store: WebAssembly.Exports,
  ) {
    this.memory = exportedMemory(store, 'memory');
    this.wp = exportedGlobal(store, 'wp');
    this.rp = exportedGlobal(store, 'rp');
    this.view = new DataView(this.memory.buffer);
    this.refs = loaded.references
      ? { table: exportedTable(store, 'refs'), next: exportedGlobal(store, 'rn') }
      : undefined;
  }

  get empty(): boolean {
    return this.segments.length === 0;
  }

  /** The store's memory, fetched anew (it grows). */
  bytes(): Uint8Array {
    return new Uint8Array(this.memory.buffer);
  }

  private data(): DataView {
    if (this.view.buffer !== this.memory.buffer) this.view = new DataView(this.memory.buffer);
    return this.view;
  }

  private end(): number {
    return this.segments[this.segments.length - 1]?.end ?? FRAMES_START;
  }

  /** Takes the innermost frame: `rp` points at its slots, `wp` behind all frames that are left. */
  take(): FrameHead {
    const segment = this.segments[this.segments.length - 1];
    invariant(segment !== undefined, 'no frame to take');
    const head = this.headAt(segment.start);
    this.rp.value = segment.start + HEAD_BYTES;
    segment.start += HEAD_BYTES + this.loaded.layout(head.func).bytes;
    invariant(segment.start <= segment.end, 'frame is longer than its segment');
    if (segment.start === segment.end) this.segments.pop();
    // A continuation reads all its slots before it can write a frame, so the taken frame may be overwritten.
    this.wp.value = this.end();
    return head;
  }

  /** Drops frames that let an exception pass. False: none is left. */
  dropToHandler(): boolean {
    const { functions, imports } = this.loaded.module;
    for (let head = this.peek(); head !== undefined; head = this.peek()) {
      const safepoint = functions[head.func - imports.length]!.safepoints[head.safepoint]!;
      if (safepoint.guarded === true) return true;
      this.take();
    }
    return false;
  }

  /** The innermost frame without taking it. */
  peek(): FrameHead | undefined {
    const segment = this.segments[this.segments.length - 1];
    return segment === undefined ? undefined : this.headAt(segment.start);
  }

  /** Prepares a call with no frame to take. */
  resetWrite(): void {
    this.wp.value = this.end();
  }

  /** Notes what an unwinding wrote since the last `take` or `resetWrite`. `from` is where it began. */
  note(from: number): void {
    const end = Number(this.wp.value) >>> 0;
    invariant(end >= from, 'frame store went backwards');
    if (end > from) this.segments.push({ start: from, end });
    if (this.refs === undefined || end === from) return;
    for (let at = from; at < end; ) {
      const head = this.headAt(at);
      const layout = this.loaded.layout(head.func);
      for (const offset of layout.refs?.[head.safepoint] ?? [])
        this.numberReference(at + HEAD_BYTES + offset);
      at += HEAD_BYTES + layout.bytes;
    }
    this.releaseReferences();
  }

  /** Turns the place of a spilled reference, at `at` in the store's memory, into its function's number (V3). */
  numberReference(at: number): void {
    invariant(this.refs !== undefined, 'the module has references');
    const place = this.data().getUint32(at, true);
    this.data().setUint32(at, referenceNumber(this.refs.table.get(place)), true);
  }

  /** All spilled references have been turned into numbers. */
  releaseReferences(): void {
    if (this.refs !== undefined) this.refs.next.value = 0;
  }

  /** Where the next unwinding will begin. */
  writeStart(): number {
    return Number(this.wp.value) >>> 0;
  }

  clear(): void {
    this.segments.length = 0;
    this.resetWrite();
  }

  private headAt(at: number): FrameHead {
    const data = this.data();
    return { safepoint: data.getUint32(at, true), func: data.getUint32(at + 4, true) };
  }

  /** Heads of all frames, innermost first, at most `limit`. */
  heads(limit = Number.POSITIVE_INFINITY): FrameHead[] {
    const result: FrameHead[] = [];
    for (let s = this.segments.length - 1; s >= 0; s--) {
      const { start, end } = this.segments[s]!;
      for (let at = start; at < end && result.length < limit; ) {
        const head = this.headAt(at);
        result.push(head);
        at += HEAD_BYTES + this.loaded.layout(head.func).bytes;
      }
    }
    return result;
  }

  /** All frames with their live slots, outermost first. The slots are views of one buffer. */
  capture(): FrameState[] {
    const words = new BigUint64Array(this.memory.buffer);
    const packed = new BigUint64Array(this.liveWords());
    const bytes = new Uint8Array(packed.buffer);
    const result: FrameState[] = [];
    let to = 0;
    for (const { start, end } of this.segments.toReversed()) {
      for (let at = start; at < end; ) {
        const head = this.headAt(at);
        const layout = this.loaded.layout(head.func);
        const from = to * WORD_BYTES;
        to = gather(words, at + HEAD_BYTES, layout, head.safepoint, packed, to);
        result.push(new PackedFrame(head.func, head.safepoint, bytes, from, to * WORD_BYTES));
        at += HEAD_BYTES + layout.bytes;
      }
    }
    return result.reverse();
  }

  /** No room is left for another frame. */
  get full(): boolean {
    const limit = STORE_MAX_PAGES * 65_536;
    return this.memory.buffer.byteLength === limit && this.writeStart() + ROOM_BYTES > limit;
  }

  /** 8-byte words of all live slots. */
  private liveWords(): number {
    let total = 0;
    for (const { start, end } of this.segments) {
      for (let at = start; at < end; ) {
        const head = this.headAt(at);
        const layout = this.loaded.layout(head.func);
        total += layout.liveBytes[head.safepoint] ?? 0;
        at += HEAD_BYTES + layout.bytes;
      }
    }
    return total / WORD_BYTES;
  }

  /** Puts frames (outermost first) into an empty stack. Slots that are not live become zero. */
  restore(frames: readonly FrameState[]): void {
    invariant(this.empty, 'restoring into a stack that is not empty');
    let total = 0;
    for (const frame of frames) total += HEAD_BYTES + this.checkedLayout(frame).bytes;
    this.reserve(FRAMES_START + total);
    const memory = this.bytes();
    const data = this.data();
    let at = FRAMES_START;
    for (let i = frames.length - 1; i >= 0; i--) {
      const frame = frames[i]!;
      const layout = this.loaded.layout(frame.func);
      data.setUint32(at, frame.safepoint, true);
      data.setUint32(at + 4, frame.func, true);
      scatter(memory, at + HEAD_BYTES, layout, frame);
      for (const offset of layout.refs?.[frame.safepoint] ?? [])
        this.loaded.checkReference(data.getBigUint64(at + HEAD_BYTES + offset, true));
      at += HEAD_BYTES + layout.bytes;
    }
    this.wp.value = at;
    if (at > FRAMES_START) this.segments.push({ start: FRAMES_START, end: at });
  }

  private reserve(bytes: number): void {
    const missing = Math.ceil((bytes - this.memory.buffer.byteLength) / 65_536);
    if (missing <= 0) return;
    try {
      this.memory.grow(missing);
    } catch (cause) {
      throw new SherdError(
        'SHERD_STACK_EXHAUSTED',
        'the frames of the capsule do not fit the frame store',
        { cause },
      );
    }
  }

  /** A capsule is untrusted: function, safepoint and slot bytes must fit the module. */
  private checkedLayout(frame: FrameState): FrameLayout {
    const info = this.loaded.module.functions[frame.func - this.loaded.module.imports.length];
    const safepoint = info?.safepoints[frame.safepoint];
    if (info === undefined || safepoint === undefined) {
      throw new SherdError(
        'SHERD_CAPSULE_MISMATCH',
        `no safepoint ${frame.safepoint} in function ${frame.func} of this module`,
      );
    }
    const layout = this.loaded.layout(frame.func);
    const expected = layout.liveBytes[frame.safepoint]!;
    if (frame.slots.length !== expected) {
      throw new SherdError(
        'SHERD_CAPSULE_MISMATCH',
        `a frame of function ${frame.func} has ${frame.slots.length} bytes, not ${expected}`,
      );
    }
    return layout;
  }
}

/** Appends the live slots of the frame at `at` to `target` from word `to` on; returns where the next ones go. */
function gather(
  words: BigUint64Array,
  at: number,
  layout: FrameLayout,
  safepoint: number,
  target: BigUint64Array,
  to: number,
): number {
  const live = layout.live[safepoint];
  invariant(live !== undefined, 'frame names an unknown safepoint');
  let next = to;
  for (const { offset, size } of live) {
    const from = (at + offset) / WORD_BYTES;
    target[next++] = words[from]!;
    if (size > WORD_BYTES) target[next++] = words[from + 1]!;
  }
  return next;
}

function scatter(memory: Uint8Array, at: number, layout: FrameLayout, frame: FrameState): void {
  memory.fill(0, at, at + layout.bytes);
  let from = 0;
  for (const { offset, size } of layout.live[frame.safepoint]!) {
    memory.set(frame.slots.subarray(from, from + size), at + offset);
    from += size;
  }
}
