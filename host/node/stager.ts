/**
 * A copy of a running shard's memory in the store, for a move or for checkpoints: batches from the worker, round after round.
 *
 *     worker ──batches──▶ Stager ──▶ store      hint ──▶ target fetches them ahead
 *       ▲                  │ round ended → protocol/precopy
 *       ├── next-round ────┤
 *       └── the last round ┴──▶ ready: the capture names the batches │ given up: the capture takes all
 *           (it stands still)
 *
 *     without a target: round 0 (all of the memory) ─ last round ─ capture ═ committed ═▶ again: a last round ─ capture ═ …
 *                       each appends to the list of batches; when its names or LIST_SHARE are used up, a new copy begins.
 *                       A move takes such a copy over: its list goes to the target while nothing is copied, then rounds as above
 *
 * Does: gather, store, hint, keep the rounds' facts. Does not: find what changed (copying.ts), or decide (precopy).
 *
 * A1  `answer` is called once for each begin, `again` and `takeOver`: `ready` only when all batches of all rounds are durable, and
 *     none is made any more.
 * A2  BUFFERS batches are being made and stored at most: a buffer goes back to the worker when its batch is stored, and without
 *     one the worker stops copying.
 * A3  After `close` nothing is sent or hinted, nor answered but that the copy is given up.
 * A4  A round is over when the target has it, as far as it says so: a target that lags behind would stand still for the rest.
 * A5  In the last round the shard stands still. Its batches are small and waited for at the end only: finding, storing, sending and
 *     taking in go on side by side, and the capsule that follows has next to nothing of the memory.
 * A6  A copy goes on only from a state that a record names (`committed`): what nobody names may be collected.
 * A7  For the same reason batches that no record names yet are asked for when they are older than RENEW_MS (at each batch that is
 *     stored, while the target is waited for, before a last round), and all of them and the image before a capsule that names them is
 *     stored, at every try. When one is gone, so is the copy.
 */
import { encodeStagedImage } from '../capsule/staged-image.js';
import { BATCH_ROOM_BYTES } from '../capsule/staging.js';
import { newPreCopy, type PreCopyPolicy, type PreCopyState, preCopy } from '../protocol/precopy.js';
import { SherdError } from '../types/errors.js';
import type { Blobs } from '../types/fabric.js';
import type { NodeHint } from '../types/hints.js';
import type { Hash, Platform } from '../types/platform.js';
import type { NodeId, ShardId } from '../types/records.js';
import type { Copied, Run, StagedName, WorkerCommand } from './worker-messages.js';

const BUFFERS = 4;
/** Less than a third of what any collection spares (control/janitor). */
const RENEW_MS = 3_000;
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
/** Batches of a copy for checkpoints are at most so many times the memory: the older ones are written over in part. */
const LIST_SHARE = 2;
/** A move takes a copy over whose batches are at most so many times the memory: all of them have to go to the target. */
const TAKE_OVER_SHARE = 1.5;
/** And only if there are names for so many rounds of all of the memory: it may have changed much since the last checkpoint. */
const TAKE_OVER_ROUNDS = 3;
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
  /** Null: a copy for checkpoints. */
  readonly target: NodeId | null;
  readonly memoryBytes: number;
}

export interface StagerPort {
  readonly blobs: Pick<Blobs, 'put' | 'has'>;
  readonly platform: Platform;
  readonly policy: Partial<PreCopyPolicy>;
  nowMs(): number;
  /** Bytes of memory that the machine has free. */
  freeBytes(): number;
  send(command: Extract<WorkerCommand, { run: Run }>, transfer?: readonly ArrayBuffer[]): void;
  hint(target: NodeId, hint: NodeHint): void;
  /** `costMs`: what copying has taken from the guest's time since the last answer. */
  answer(opId: string, ready: boolean, costMs: number): void;
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
  /** Whom the next answer is for; the copy itself keeps the name that it began with. */
  #opId: string;
  #target: NodeId | null;
  #name: StagedName | null = null;
  /** Batches that the name of the copy has, once a record has that name; -1: it has not. */
  #committed = -1;
  /** When each batch was put, or asked for. */
  readonly #renewedMs: number[] = [];
  #last = false;
  #listBytes = 0;
  #costMs = 0;
  readonly #batchBytes: number;
  /** Batches that a round of all of the memory makes. */
  readonly #roundBatches: number;
  #closed = false;

  constructor(order: StageOrder, port: StagerPort) {
    this.#order = order;
    this.#opId = order.opId;
    this.#target = order.target;
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

  /** The capsule that names it is in the record. */
  committed(): void {
    this.#committed = this.#name?.batches.length ?? -1;
  }

  /** Brings a copy for checkpoints up to date, for the next one. False: there is none that could go on (A6). */
  again(opId: string): boolean {
    if (!this.#canGoOn(LIST_SHARE, 1)) return false;
    this.#opId = opId;
    this.#name = null;
    this.#tail = this.#tail.then(() => this.#nextRound(true));
    return true;
  }

  /** A7: before a capsule with its name is stored. Fails with SHERD_BLOB_MISSING. */
  async keepNamed(): Promise<void> {
    const name = this.#name;
    if (name === null) return;
    const fresh = name.batches.slice(Math.max(0, this.#committed));
    const there = await Promise.all(
      [...fresh, name.image].map((hash) => this.#port.blobs.has(hash)),
    );
    if (there.every((each) => each)) return;
    this.close();
    throw new SherdError('SHERD_BLOB_MISSING', 'a batch of its copy is not in the store any more');
  }

  /** Makes a copy for checkpoints one for a move. False as above. */
  takeOver(opId: string, target: NodeId): boolean {
    if (!this.#canGoOn(TAKE_OVER_SHARE, TAKE_OVER_ROUNDS)) return false;
    this.#opId = opId;
    this.#name = null;
    this.#target = target;
    this.#last = false;
    // Checkpoints that are made meanwhile are of everything: the record may name the list no more.
    this.#committed = -1;
    this.#renewedMs.fill(Number.NEGATIVE_INFINITY);
    const nowMs = this.#port.nowMs();
    this.#arrivedMs = nowMs;
    this.#state = preCopy(newPreCopy(this.#port.policy), { kind: 'begin', nowMs });
    for (const [index, hash] of this.#batches.entries()) {
      this.#told[index] = { atMs: nowMs, bytes: this.#told[index]!.bytes };
      this.#hint(target, index, hash);
    }
    this.#tail = this.#tail.then(async () => {
      await this.#renew(RENEW_MS);
      await this.#allArrived();
      await this.#nextRound(false);
    });
    return true;
  }

  /** `share`: of the memory, for the list as it is. `rounds`: for which there are names. */
  #canGoOn(share: number, rounds: number): boolean {
    const names = MOST_BATCHES - this.#batches.length - 1;
    const large = this.#listBytes > this.#order.memoryBytes * share;
    const worn = large || names < rounds * this.#roundBatches;
    return !this.#closed && this.#target === null && this.#committed >= 0 && !worn;
  }

  /** Bytes of all batches so far. */
  get listBytes(): number {
    return this.#listBytes;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#heard();
    this.#port.send({ kind: 'end-copy', run: this.#order.run });
  }

  /** The worker's copy is over. */
  failed(id: string): void {
    if (id !== this.#order.opId) return;
    if (this.#name === null) this.#giveUp('the memory has outgrown its copy');
    else this.close();
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
    if (!this.#last) this.#costMs += scanNs / 1e6;
    this.#tail = this.#tail.then(() => this.#roundEnded(scanNs / 1e6));
  }

  async #begin(): Promise<void> {
    // Not within the caller's turn: nobody may be answered before it knows this copy, and the memory of one before is to be free.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#closed) return;
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
      await this.#renew(RENEW_MS);
    });
  }

  /** A7. Of those that were last asked for so long ago. */
  async #renew(olderThanMs: number): Promise<void> {
    for (let i = Math.max(0, this.#committed); i < this.#batches.length; i++) {
      const nowMs = this.#port.nowMs();
      if (this.#closed || nowMs - this.#renewedMs[i]! < olderThanMs) continue;
      const there = await this.#port.blobs.has(this.#batches[i]!).catch(() => false);
      if (!there) this.#giveUp('a batch is not in the store any more');
      this.#renewedMs[i] = nowMs;
    }
  }

  #stored(hash: Hash, bytes: Uint8Array): void {
    const { run, opId: id } = this.#order;
    const index = this.#batches.push(hash) - 1;
    this.#renewedMs.push(this.#port.nowMs());
    this.#told.push({ atMs: this.#port.nowMs(), bytes: bytes.length });
    this.#listBytes += bytes.length;
    if (this.#target !== null) this.#hint(this.#target, index, hash);
    const buffer = bytes.buffer as ArrayBuffer;
    this.#port.send({ kind: 'sent', run, id, buffer }, [buffer]);
    if (this.#batches.length > MOST_BATCHES) this.#giveUp('it takes too many batches');
  }

  #hint(target: NodeId, index: number, hash: Hash): void {
    const { shardId, moduleHash, source } = this.#order;
    this.#port.hint(target, { kind: 'arrive', shardId, moduleHash, index, hash, source });
  }

  async #roundEnded(scanMs: number): Promise<void> {
    if (this.#last) {
      await this.#lastRoundEnded();
      return;
    }
    if (this.#target === null) {
      await this.#nextRound(true);
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
    const { verdict } = this.#state;
    if (verdict.kind === 'abandon') {
      this.#giveUp(verdict.why);
      return;
    }
    await this.#nextRound(verdict.kind === 'stop');
  }

  async #nextRound(last: boolean): Promise<void> {
    const { run, opId: id } = this.#order;
    // The shard stands still in the last round: nothing is to become old in it.
    if (last) await this.#renew(RENEW_MS / 2);
    if (this.#closed) return;
    this.#last = last;
    this.#roundBytes = 0;
    this.#roundBeganMs = this.#port.nowMs();
    const lastBatchBytes = last ? this.#lastBatchBytes() : null;
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
    const last = `the last one ${this.#roundBytes} bytes`;
    this.#port.log(
      verdict.kind === 'stop'
        ? `staged in ${rounds.length + 1} rounds, ${last}: ${verdict.why}`
        : `staged for a checkpoint, ${this.#batches.length} batches, ${last}`,
    );
    await this.#finish();
    this.#costMs += this.#port.nowMs() - this.#roundBeganMs;
    if (this.#name !== null) this.#answer(true);
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
      await this.#renew(RENEW_MS);
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
    this.#name = { id: opId, image, pages, batches: [...this.#batches] };
  }

  #giveUp(why: string): void {
    if (this.#closed || this.#name !== null) return;
    this.close();
    this.#port.log(`not staged: ${why}`);
    this.#answer(false);
  }

  #answer(ready: boolean): void {
    const costMs = this.#costMs;
    this.#costMs = 0;
    this.#port.answer(this.#opId, ready, costMs);
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
