/**
 * The source's part of a staged move: batches from the worker go into the store, round after round.
 *
 *     worker ──batches──▶ Stager ──▶ store      hint ──▶ target fetches them ahead
 *       ▲                  │ round ended → protocol/precopy
 *       ├── next-round ────┤
 *       └── the last round ┴──▶ ready: the capture names the batches │ given up: the capture takes all
 *           (it stands still)
 *
 * Does: gather, store, hint, keep the rounds' facts. Does not: find what changed (copying.ts), or decide (precopy).
 *
 * A1  `answer` is called once: `ready` only when all batches of all rounds are durable, and none is made any more.
 * A2  BUFFERS batches are being made and stored at most: a buffer goes back to the worker when its batch is stored, and without
 *     one the worker stops copying.
 * A3  After `close` nothing is answered, sent or hinted.
 * A4  A round is over when the target has it, as far as it says so: a target that lags behind would stand still for the rest.
 * A5  In the last round the shard stands still. Its batches are small and not waited for: finding, storing, sending and taking in
 *     go on side by side, and the capsule that follows has next to nothing of the memory.
 */
import { encodeStagedImage } from '../capsule/staged-image.js';
import { BATCH_ROOM_BYTES } from '../capsule/staging.js';
import { newPreCopy, type PreCopyPolicy, type PreCopyState, preCopy } from '../protocol/precopy.js';
import type { Blobs } from '../types/fabric.js';
import type { NodeHint } from '../types/hints.js';
import type { Hash, Platform } from '../types/platform.js';
import type { NodeId, ShardId } from '../types/records.js';
import type { Copied, Run, StagedName, WorkerCommand } from './worker-messages.js';

const BUFFERS = 4;
/** A capsule names at most 255 blobs below it: large memories go in larger batches. */
const BATCH_BYTES = 4 * 1024 * 1024;
const BATCHES = 64;
const MOST_BATCHES = 250;
/** Of the last round: they are stored, sent and taken in while the next one is made. */
const LAST_BATCH_BYTES = 2 * 1024 * 1024;
/** Tables and headers are a tenth of what they describe at most. */
const WITH_TABLES = 1.1;
/** The shadow's pages are touched so many bytes at a time. */
const TOUCH_BYTES = 512 * 1024;
const PAGE_BYTES = 4096;
/** A target that says nothing for so long is not waited for: what it lacks it fetches when the shard comes. */
const SILENCE_MS = 2_000;
/** Room for a memory that grows while it is copied. */
const HEADROOM_BYTES = 16 * 1024 * 1024;
/** Of the machine's free memory a shadow may take this part. */
const MEMORY_SHARE = 0.5;

export interface StageOrder {
  readonly opId: string;
  readonly run: Run;
  readonly shardId: ShardId;
  readonly moduleHash: Hash;
  readonly source: NodeId;
  readonly target: NodeId;
  readonly memoryBytes: number;
}

export interface StagerPort {
  readonly blobs: Pick<Blobs, 'put'>;
  readonly platform: Platform;
  readonly policy: Partial<PreCopyPolicy>;
  nowMs(): number;
  /** Bytes of memory that the machine has free. */
  freeBytes(): number;
  send(command: Extract<WorkerCommand, { run: Run }>, transfer?: readonly ArrayBuffer[]): void;
  hint(target: NodeId, hint: NodeHint): void;
  answer(opId: string, ready: boolean): void;
  log(detail: string): void;
}

export class Stager {
  readonly #order: StageOrder;
  readonly #port: StagerPort;
  #state: PreCopyState;
  readonly #batches: Hash[] = [];
  /** Puts, in order: one that has ended names its batch. */
  #tail: Promise<void> = Promise.resolve();
  #roundBytes = 0;
  #roundBeganMs: number;
  #pages = 0;
  /** The target has all batches before this one. */
  #arrived = 0;
  #arrivedMs = 0;
  /** When the target was told of each, and its bytes. */
  readonly #told: { readonly atMs: number; readonly bytes: number }[] = [];
  /** What the link carried in this round, and for how long something was on its way. */
  #linkBytes = 0;
  #linkMs = 0;
  #heard: () => void = () => undefined;
  #name: StagedName | null = null;
  #last = false;
  readonly #batchBytes: number;
  /** Batches that a round of all of the memory makes. */
  readonly #roundBatches: number;
  #closed = false;

  constructor(order: StageOrder, port: StagerPort) {
    this.#order = order;
    this.#port = port;
    this.#roundBeganMs = port.nowMs();
    this.#state = preCopy(newPreCopy(port.policy), { kind: 'begin', nowMs: this.#roundBeganMs });
    this.#batchBytes = Math.max(BATCH_BYTES, Math.ceil(order.memoryBytes / BATCHES));
    this.#roundBatches = Math.ceil((order.memoryBytes * WITH_TABLES) / this.#batchBytes) + 1;
    this.#begin().catch((cause: unknown) =>
      this.#giveUp(`there is no memory for a copy: ${String(cause)}`),
    );
  }

  /** What a capture may leave out; null = nothing: it is not ready. */
  get name(): StagedName | null {
    return this.#name;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#heard();
    this.#port.send({ kind: 'end-copy', run: this.#order.run });
  }

  /** The worker's copy is over without a result. */
  failed(id: string): void {
    if (id === this.#order.opId) this.#giveUp('the memory has outgrown its copy');
  }

  /** A hint: it may be lost, late or repeated. */
  arrived(index: number): void {
    // One that is not stored yet is an earlier copy's.
    if (index < this.#arrived || index >= this.#batches.length) return;
    const nowMs = this.#port.nowMs();
    const told = this.#told[index];
    if (told !== undefined) {
      this.#linkMs += nowMs - Math.max(told.atMs, this.#arrivedMs);
      this.#linkBytes += told.bytes;
    }
    this.#arrived = index + 1;
    this.#arrivedMs = nowMs;
    this.#heard();
  }

  copied(report: Copied): void {
    if (this.#closed || report.id !== this.#order.opId) return;
    this.#roundBytes += report.payloadBytes;
    this.#pages = report.pages;
    if (report.batch !== null) this.#store(report.batch);
    if (!report.roundEnded) return;
    const { scanNs } = report;
    this.#tail = this.#tail.then(() => this.#roundEnded(scanNs / 1e6));
  }

  async #begin(): Promise<void> {
    const { run, opId, memoryBytes } = this.#order;
    const bytes = memoryBytes + HEADROOM_BYTES;
    const bufferBytes = this.#batchBytes + BATCH_ROOM_BYTES;
    if (bytes + BUFFERS * bufferBytes > this.#port.freeBytes() * MEMORY_SHARE) {
      this.#giveUp('there is no memory for a copy');
      return;
    }
    const shadow = new ArrayBuffer(bytes);
    const closed = (): boolean => this.#closed;
    const buffers = Array.from({ length: BUFFERS }, () => new ArrayBuffer(bufferBytes));
    await touch(new Uint8Array(shadow, 0, memoryBytes), closed);
    for (const buffer of buffers) await touch(new Uint8Array(buffer), closed);
    if (this.#closed) return;
    this.#roundBeganMs = this.#port.nowMs();
    this.#port.send({ kind: 'copy', run, id: opId, shadow, buffers }, [shadow, ...buffers]);
  }

  #store(bytes: Uint8Array): void {
    const hash = this.#port.platform.sha256(bytes);
    const put = this.#port.blobs.put(hash, bytes, { hashed: true });
    // Handled below, in order; without this an early failure would be nobody's.
    put.catch(() => undefined);
    this.#tail = this.#tail.then(async () => {
      try {
        await put;
      } catch (cause) {
        this.#giveUp(`a batch cannot be stored: ${String(cause)}`);
      }
      if (this.#closed) return;
      this.#stored(hash, bytes);
    });
  }

  #stored(hash: Hash, bytes: Uint8Array): void {
    const { run, opId: id, shardId, moduleHash, target, source } = this.#order;
    const index = this.#batches.push(hash) - 1;
    this.#told.push({ atMs: this.#port.nowMs(), bytes: bytes.length });
    this.#port.hint(target, { kind: 'arrive', shardId, moduleHash, index, hash, source });
    const buffer = bytes.buffer as ArrayBuffer;
    this.#port.send({ kind: 'sent', run, id, buffer }, [buffer]);
    if (this.#batches.length > MOST_BATCHES) this.#giveUp('it takes too many batches');
  }

  async #roundEnded(scanMs: number): Promise<void> {
    if (this.#last) {
      await this.#lastRoundEnded();
      return;
    }
    await this.#allArrived();
    if (this.#closed) return;
    const nowMs = this.#port.nowMs();
    const tookMs = nowMs - this.#roundBeganMs;
    const sentBytes = this.#roundBytes;
    const facts = {
      sentBytes,
      tookMs,
      scanMs,
      linkBytesPerMs:
        this.#linkMs > 0 ? this.#linkBytes / this.#linkMs : sentBytes / Math.max(1, tookMs),
      roundsLeft: Math.floor((MOST_BATCHES - this.#batches.length) / this.#roundBatches),
    };
    this.#linkBytes = 0;
    this.#linkMs = 0;
    const round = this.#state.rounds.length;
    this.#port.log(
      `round ${round}: ${sentBytes} bytes, ${Math.round(tookMs)} ms, of it copying ${Math.round(scanMs)} ms`,
    );
    this.#state = preCopy(this.#state, { kind: 'round', nowMs, facts });
    this.#roundBytes = 0;
    this.#roundBeganMs = nowMs;
    const { verdict } = this.#state;
    if (verdict.kind === 'abandon') {
      this.#giveUp(verdict.why);
      return;
    }
    this.#last = verdict.kind === 'stop';
    const { run, opId: id } = this.#order;
    const lastBatchBytes = this.#last ? this.#lastBatchBytes() : null;
    this.#port.send({ kind: 'next-round', run, id, lastBatchBytes });
  }

  /** As small as the names that are left allow, if all of the memory has changed. */
  #lastBatchBytes(): number {
    const names = Math.max(1, MOST_BATCHES - this.#batches.length - 1);
    return Math.max(LAST_BATCH_BYTES, Math.ceil((this.#order.memoryBytes * WITH_TABLES) / names));
  }

  async #lastRoundEnded(): Promise<void> {
    if (this.#closed) return;
    const { rounds, verdict } = this.#state;
    const why = verdict.kind === 'stop' ? verdict.why : '';
    const last = `the last one ${this.#roundBytes} bytes`;
    this.#port.log(`staged in ${rounds.length + 1} rounds, ${last}: ${why}`);
    await this.#finish();
  }

  /** Waits until the target has all that was sent, or is silent: how fast it gets it is the link's speed. */
  async #allArrived(): Promise<void> {
    while (this.#arrived < this.#batches.length && !this.#closed) {
      const before = this.#arrived;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, SILENCE_MS);
        this.#heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (this.#arrived === before) return;
    }
  }

  async #finish(): Promise<void> {
    const { moduleHash, opId } = this.#order;
    const pages = this.#pages;
    const bytes = encodeStagedImage({ moduleHash, pages, batches: this.#batches });
    const image = this.#port.platform.sha256(bytes);
    try {
      await this.#port.blobs.put(image, bytes, { hashed: true });
    } catch (cause) {
      this.#giveUp(`its image cannot be stored: ${String(cause)}`);
      return;
    }
    if (this.#closed) return;
    this.#name = { id: opId, image, pages, batches: this.#batches };
    this.#port.answer(opId, true);
  }

  #giveUp(why: string): void {
    if (this.#closed || this.#name !== null) return;
    this.close();
    this.#port.log(`not staged: ${why}`);
    this.#port.answer(this.#order.opId, false);
  }
}

/** Has the engine give each page a place now, a little at a time: a page fault in a worker would be the guest's. */
async function touch(bytes: Uint8Array, cancelled: () => boolean): Promise<void> {
  for (let from = 0; from < bytes.length && !cancelled(); from += TOUCH_BYTES) {
    const end = Math.min(bytes.length, from + TOUCH_BYTES);
    for (let at = from; at < end; at += PAGE_BYTES) bytes[at] = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
