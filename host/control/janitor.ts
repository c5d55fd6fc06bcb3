/**
 * Collects garbage without being asked: every checkpoint leaves the capsule before it behind, and a copy of a memory that has ended
 * (node/stager) all of its batches.
 *
 * Does: count what falls away, begin a collection when it is much, or when a node says that the disk is full.
 * Does not: find out what is garbage (reach.ts), or remove finished shards (retention).
 *
 * J1  One collection at a time, and a pause after each: PAUSE_MS (on a full disk URGENT_PAUSE_MS), and IDLE_SHARE times what it took.
 * J2  The count is an estimate that only starts collections: it is lost with the process, and blobs of equal content count twice;
 *     after a collection only what fell too late for it is left of the count.
 * J3  A collection that fails is begun again later; nothing depends on it.
 */
import type { GcReply } from '../types/api.js';
import type { ShardId, ShardRecord } from '../types/records.js';
import type { Cluster } from './cluster.js';

/** So much garbage begins a collection. */
const LEAST_BYTES = 128 * 1_048_576;
const PAUSE_MS = 30_000;
const URGENT_PAUSE_MS = 5_000;
const IDLE_SHARE = 19;
/** What was put before that and is not named yet never will be. */
const GRACE_MS = 30_000;
const URGENT_GRACE_MS = 10_000;
const LOOK_MS = 1_000;
const MANY_FALLEN = 4_096;

export interface JanitorOptions {
  readonly cluster: Cluster;
  readonly nowMs: () => number;
  readonly collect: (graceMs: number) => Promise<GcReply>;
  readonly leastBytes?: number;
}

export class Janitor {
  readonly #options: JanitorOptions;
  /** What the copies of shards' memories take. */
  readonly #stagedBytes = new Map<ShardId, number>();
  /** What fell, and when, as far as a collection may have spared it. */
  #fallen: { readonly atMs: number; readonly bytes: number }[] = [];
  #garbageBytes = 0;
  #isFull = false;
  #notBeforeMs = 0;
  #collecting = false;
  #timer: NodeJS.Timeout | undefined;
  #unlisten: (() => void) | undefined;

  constructor(options: JanitorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unlisten = this.#options.cluster.listen({
      shard: ({ record }, before) => this.#changed(record, before),
      shardGone: (id, last) => {
        this.#staged(id, 0);
        this.fell(last.capsuleBytes + last.output.bytes);
      },
      progress: ({ hint }) => {
        if (hint.trouble.includes('[SHERD_DISK]')) this.#isFull = true;
        this.#staged(hint.shardId, hint.stagedBytes ?? 0);
      },
    });
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#unlisten?.();
  }

  /** Estimated bytes that nobody needs any more. */
  get garbageBytes(): number {
    return this.#garbageBytes;
  }

  /** Begins a collection when one is due. */
  async look(): Promise<void> {
    const { nowMs, collect, leastBytes = LEAST_BYTES } = this.#options;
    const urgent = this.#isFull;
    const isDue = urgent || this.#garbageBytes >= leastBytes;
    if (!isDue || this.#collecting || nowMs() < this.#notBeforeMs) return;
    this.#collecting = true;
    this.#isFull = false;
    const beganMs = nowMs();
    try {
      const graceMs = urgent ? URGENT_GRACE_MS : GRACE_MS;
      const { bytes } = await collect(graceMs);
      this.#fallen = this.#fallen.filter(({ atMs }) => atMs >= beganMs - graceMs);
      const late = this.#fallen.reduce((sum, each) => sum + each.bytes, 0);
      this.#garbageBytes = Math.max(0, Math.min(late, this.#garbageBytes - bytes));
    } catch {
      // J3.
    } finally {
      this.#collecting = false;
      const pauseMs = urgent ? URGENT_PAUSE_MS : PAUSE_MS;
      this.#notBeforeMs = nowMs() + Math.max(pauseMs, IDLE_SHARE * (nowMs() - beganMs));
    }
  }

  #changed(now: ShardRecord, before: ShardRecord | undefined): void {
    if (before?.capsule != null && before.capsule !== now.capsule) this.fell(before.capsuleBytes);
    if (now.owner === null) this.#staged(now.id, 0);
  }

  /** A copy only grows: when there is less, it is another one, or none. */
  #staged(id: ShardId, bytes: number): void {
    const before = this.#stagedBytes.get(id) ?? 0;
    if (bytes < before) this.fell(before);
    if (bytes === 0) this.#stagedBytes.delete(id);
    else this.#stagedBytes.set(id, bytes);
  }

  /** So many bytes are needed by nobody any more. */
  fell(bytes: number): void {
    this.#garbageBytes += bytes;
    const atMs = this.#options.nowMs();
    this.#fallen.push({ atMs, bytes });
    if (this.#fallen.length % MANY_FALLEN === 0)
      this.#fallen = this.#fallen.filter((each) => each.atMs >= atMs - GRACE_MS);
  }
}
