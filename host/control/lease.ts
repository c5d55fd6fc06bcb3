/**
 * The control lease: which process runs the brain.
 *
 * Does: take the lease when nobody has it or its holder's beat stood still, renew it, notice its loss.
 * Does not: anything with it.
 *
 *     record `control`: {holder, beat, pid, apiUrl}     taken over when its revision stood still for EXPIRY_MS
 *                                                       on the observer's own clock
 *
 * L1  At most one process believes that it holds the lease while its renewals succeed; one that cannot renew for
 *     LOSS_MS stops believing it, before another one may take over (LOSS_MS < EXPIRY_MS).
 * L2  Two brains at once harm nothing but speed: every act of theirs is a compare-and-set of a shard's record.
 * L3  On one machine a holder whose process is gone needs no waiting.
 */
import { decodeRecord, encodeRecord } from '../types/codec.js';
import type { CasOutcome, Fabric, RecordEntry } from '../types/fabric.js';
import { type ControlRecord, KEY } from '../types/records.js';

const BEAT_MS = 500;
export const LOSS_MS = 2_000;
export const EXPIRY_MS = 3_000;
const LOOK_MS = 100;

export interface LeaseOptions {
  readonly fabric: Fabric;
  readonly holder: string;
  readonly apiUrl: string;
  readonly nowMs: () => number;
  /** True when no process of this machine has this id. */
  readonly isGone: (pid: number) => boolean;
  readonly lost: () => void;
  readonly signal?: AbortSignal;
}

export class ControlLease {
  readonly #options: LeaseOptions;
  #revision = 0;
  #beat = 0;
  #renewedMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #released = false;

  private constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Waits until the lease is ours. */
  static async take(options: LeaseOptions): Promise<ControlLease> {
    const lease = new ControlLease(options);
    let watched: { revision: number; sinceMs: number } | undefined;
    for (;;) {
      options.signal?.throwIfAborted();
      const entry = await options.fabric.records.get(KEY.control).catch(() => null);
      if (entry !== null) {
        const revision = entry?.revision ?? 0;
        if (watched?.revision !== revision) watched = { revision, sinceMs: options.nowMs() };
        const expired = options.nowMs() - watched.sinceMs >= EXPIRY_MS;
        if (entry === undefined || expired || lease.#isFree(entry)) {
          if (await lease.#write(revision)) break;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    lease.#schedule();
    return lease;
  }

  /** Gives it up, so that another process need not wait. */
  async release(): Promise<void> {
    this.#released = true;
    clearTimeout(this.#timer);
    await this.#options.fabric.records.remove(KEY.control, this.#revision).catch(() => undefined);
  }

  /** Stops renewing without giving it up, as a crash would. */
  abandon(): void {
    this.#released = true;
    clearTimeout(this.#timer);
  }

  #isFree(entry: RecordEntry): boolean {
    try {
      const record = decodeRecord<ControlRecord>(entry.value, entry.key);
      return this.#options.fabric.kind === 'embedded' && this.#options.isGone(record.pid);
    } catch {
      return false;
    }
  }

  async #write(expected: number): Promise<boolean> {
    const { fabric, holder, apiUrl, nowMs } = this.#options;
    this.#beat += 1;
    const record: ControlRecord = {
      v: 1,
      holder,
      beat: this.#beat,
      pid: process.pid,
      apiUrl,
      writer: holder,
      attempt: this.#beat,
    };
    const sentMs = nowMs();
    const outcome = await fabric.records
      .compareAndSet(KEY.control, expected, encodeRecord(record))
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
    if (outcome.kind === 'ok') {
      this.#revision = outcome.revision;
      this.#renewedMs = sentMs;
      return true;
    }
    return this.#isOurs(sentMs);
  }

  /** After a conflict or an unknown outcome: an earlier write of ours may have landed. */
  async #isOurs(sentMs: number): Promise<boolean> {
    const entry = await this.#options.fabric.records.get(KEY.control).catch(() => undefined);
    if (entry === undefined || entry.revision <= this.#revision) return false;
    const record = decodeRecord<ControlRecord>(entry.value, entry.key);
    if (record.holder !== this.#options.holder) return false;
    this.#revision = entry.revision;
    if (record.attempt === this.#beat) this.#renewedMs = sentMs;
    return true;
  }

  #schedule(): void {
    if (this.#released) return;
    this.#timer = setTimeout(() => {
      void this.#renew().finally(() => this.#schedule());
    }, BEAT_MS);
  }

  async #renew(): Promise<void> {
    const renewed = await this.#write(this.#revision).catch(() => false);
    if (this.#released || renewed) return;
    const entry = await this.#options.fabric.records.get(KEY.control).catch(() => null);
    const foreign =
      entry === undefined || (entry !== null && this.#holderOf(entry) !== this.#options.holder);
    if (!foreign && this.#options.nowMs() - this.#renewedMs < LOSS_MS) return;
    this.abandon();
    this.#options.lost();
  }

  #holderOf(entry: RecordEntry): string | undefined {
    try {
      return decodeRecord<ControlRecord>(entry.value, entry.key).holder;
    } catch {
      return undefined;
    }
  }
}
