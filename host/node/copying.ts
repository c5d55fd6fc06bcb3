/**
 * The worker's part of a staged move or checkpoint: copies the memory of guests into batches, a step between two quanta.
 *
 *     quantum │ steps │ quantum │ … │ quantum │ steps │ …   a step: one chunk is compared and copied, 0.1–0.4 ms
 *             └ a slice of the batch, when something had changed     batch full ──▶ main thread (its buffer comes back)
 *
 *     round ended ──▶ main thread; nothing is copied until it says `next-round`, or captures what is left
 *     last round: the guest stands still (rotation.ts), and every turn is a millisecond of steps
 *
 * Does: spend no more than SHARE of the time on it while the guest runs, keep within the buffers that it was given.
 * Does not: decide when it is enough (stager.ts), or touch a guest that runs: this thread is the one that runs it.
 *
 * C1  A guest whose batch is full and has no free buffer, or whose round is over, costs nothing.
 * C2  A copy that cannot go on (the memory outgrew its shadow) is reported once, and is over.
 * C3  `complete` gives what the target has by now, which a capture is to be encoded against; then the copy is over, unless it is to be
 *     kept. It is the memory itself when the last round is over and the guest has stood still since it began.
 */
import { WASM_PAGE_BYTES } from '../capsule/index.js';
import { BatchWriter, StageSource } from '../capsule/staging.js';
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';
import type { BaseImage } from '../types/state.js';
import type { Run, WorkerReport } from './worker-messages.js';

/** Share of a thread's time that copying may take while a guest is running. */
const SHARE = 0.08;
/** Time is saved up for several steps in a row: each group of them costs the guest its caches once. */
const GROUP_NS = 1_000_000;
/** Unused time is not saved up beyond this. */
const MOST_SAVED_NS = 1_500_000;

/** What is copied. */
export interface CopyGuest {
  /** The whole memory as it is now. */
  memory(): Uint8Array;
  baseImage(): BaseImage;
}

export interface Completed {
  readonly shadow: Uint8Array;
  /** The memory is as the shadow is. */
  readonly unchanged: boolean;
}

interface Copy {
  readonly id: string;
  readonly guest: CopyGuest;
  readonly shadow: Uint8Array;
  readonly source: StageSource;
  readonly buffers: ArrayBuffer[];
  /** The one that is being filled, and the memory that it holds. */
  batch: BatchWriter | null;
  payloadBytes: number;
  waits: boolean;
  /** Of the last round; null: it is another one. */
  lastBatchBytes: number | null;
  scanNs: number;
}

export class Copying {
  readonly #copies = new Map<Run, Copy>();
  readonly #platform: Platform;
  readonly #report: (report: WorkerReport, transfer?: readonly ArrayBuffer[]) => void;
  #savedNs = 0;
  #atNs = 0n;

  constructor(
    platform: Platform,
    report: (report: WorkerReport, transfer?: readonly ArrayBuffer[]) => void,
  ) {
    this.#platform = platform;
    this.#report = report;
  }

  /** `shadow`: zeros, at least as large as the memory. */
  begin(
    run: Run,
    id: string,
    guest: CopyGuest,
    shadow: Uint8Array,
    buffers: readonly ArrayBuffer[],
  ): void {
    if (guest.memory().length > shadow.length) {
      this.#report({ kind: 'copy-failed', run, id });
      return;
    }
    const source = new StageSource(guest.baseImage(), shadow, this.#platform);
    const state = { batch: null, payloadBytes: 0, waits: false, lastBatchBytes: null, scanNs: 0 };
    this.#copies.set(run, { id, guest, shadow, source, buffers: [...buffers], ...state });
    this.#atNs = this.#platform.monotonicNs();
  }

  end(run: Run): void {
    this.#copies.delete(run);
  }

  /** False: there is no such copy (any more). */
  nextRound(run: Run, id: string, lastBatchBytes: number | null): boolean {
    const copy = this.#copies.get(run);
    if (copy?.id !== id) return false;
    copy.waits = false;
    copy.lastBatchBytes = lastBatchBytes;
    return true;
  }

  /** A batch's buffer, stored. */
  giveBack(run: Run, id: string, buffer: ArrayBuffer): void {
    const copy = this.#copies.get(run);
    if (copy?.id === id) copy.buffers.push(buffer);
  }

  /** C3. `stood`: the guest has not run since the last round began. Undefined: there is no such copy (any more). */
  complete(run: Run, id: string, stood: boolean, keep: boolean): Completed | undefined {
    const copy = this.#copies.get(run);
    if (copy?.id !== id || copy.guest.memory().length > copy.shadow.length) return undefined;
    const unchanged = stood && copy.lastBatchBytes !== null && copy.waits;
    copy.lastBatchBytes = null;
    if (!keep) this.#copies.delete(run);
    return { shadow: copy.shadow, unchanged };
  }

  /**
   * After each turn of guests. `idle`: there was nothing to run, so that nobody is delayed. `called`: somebody waits for this
   * thread: not longer than one step. `stands`: the guest does, for its last round.
   */
  turn(
    idle: boolean,
    called: () => boolean = () => false,
    stands: (run: Run) => boolean = () => false,
  ): void {
    if (this.#copies.size === 0) return;
    const now = this.#platform.monotonicNs();
    this.#savedNs = Math.min(MOST_SAVED_NS, this.#savedNs + Number(now - this.#atNs) * SHARE);
    this.#atNs = now;
    for (const [run, copy] of this.#copies) {
      if (!canStep(copy)) continue;
      if (copy.lastBatchBytes !== null && stands(run)) this.#group(run, copy, called);
      else if (idle) this.#step(run, copy);
      else if (this.#savedNs >= GROUP_NS) {
        while (this.#savedNs > 0 && this.#copies.has(run) && canStep(copy) && !called())
          this.#savedNs -= this.#step(run, copy);
        // The next group is another copy's.
        if (this.#copies.delete(run)) this.#copies.set(run, copy);
        return;
      }
    }
  }

  /** True when a turn would copy something although nothing runs. */
  get hasWork(): boolean {
    for (const copy of this.#copies.values()) if (canStep(copy)) return true;
    return false;
  }

  /** The guest stands for it: as many steps as there are in GROUP_NS. */
  #group(run: Run, copy: Copy, called: () => boolean): void {
    const untilNs = this.#platform.monotonicNs() + BigInt(GROUP_NS);
    do this.#step(run, copy);
    while (canStep(copy) && !called() && this.#platform.monotonicNs() < untilNs);
  }

  /** Gives the time that it took, ns. */
  #step(run: Run, copy: Copy): number {
    const memory = copy.guest.memory();
    if (memory.length > copy.shadow.length) {
      this.#copies.delete(run);
      this.#report({ kind: 'copy-failed', run, id: copy.id });
      return 0;
    }
    const began = this.#platform.monotonicNs();
    copy.batch ??= emptyBatch(copy);
    const step = copy.source.step(memory, copy.batch.room());
    copy.batch.add(step.sliceBytes);
    copy.payloadBytes += step.payloadBytes;
    const tookNs = Number(this.#platform.monotonicNs() - began);
    copy.scanNs += tookNs;
    this.#atNs += BigInt(tookNs);
    const full =
      !copy.batch.hasRoom ||
      (copy.lastBatchBytes !== null && copy.batch.bytes.length >= copy.lastBatchBytes);
    if (step.roundEnded || full)
      this.#send(run, copy, memory.length / WASM_PAGE_BYTES, step.roundEnded);
    return tookNs;
  }

  #send(run: Run, copy: Copy, pages: number, roundEnded: boolean): void {
    const { id, payloadBytes, scanNs } = copy;
    const full = copy.batch?.empty === false ? copy.batch.bytes : null;
    if (full !== null) copy.batch = null;
    copy.payloadBytes = 0;
    if (roundEnded) {
      copy.waits = true;
      copy.scanNs = 0;
    }
    const report = { run, id, batch: full, roundEnded, payloadBytes, pages, scanNs };
    this.#report({ kind: 'copied', ...report }, full === null ? [] : [full.buffer as ArrayBuffer]);
  }
}

function emptyBatch(copy: Copy): BatchWriter {
  const buffer = copy.buffers.pop();
  invariant(buffer !== undefined, 'there is a buffer');
  return new BatchWriter(new Uint8Array(buffer));
}

function canStep(copy: Copy): boolean {
  return !copy.waits && (copy.batch !== null || copy.buffers.length > 0);
}
