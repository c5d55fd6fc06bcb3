/**
 * The target's part of a staged move: batches are fetched when they are hinted at, and put into a worker's instance.
 *
 *     hint (index, hash) ──▶ fetch ──▶ worker (in order) ──▶ the source hears of it …     load: the rest of the capsule's list, from its first gap on
 *
 * Does: keep one row of batches a shard, in one thread. Does not: trust it: the capsule's list says what the image is, and a
 * row that is not its beginning is thrown away.
 *
 * V1  Batches reach the thread in order, without gaps; hints that are lost, late or repeated only make it shorter.
 * V2  A row that nobody asks for is dropped after KEEP_MS, with its memory.
 * V3  A claim has every batch of the list, or there is none: what a batch says is nowhere else, and nothing would miss it.
 */
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardId } from '../types/records.js';
import { needed } from './executor-errors.js';
import type { Batch } from './worker-messages.js';

const KEEP_MS = 60_000;

export interface ArrivalHint {
  readonly shardId: ShardId;
  readonly moduleHash: Hash;
  readonly index: number;
  readonly hash: Hash;
  readonly source: NodeId;
}

export interface ArrivalsPort {
  /** Undefined: it is not there. Damaged, or unreadable now: an error. */
  fetch(hash: Hash): Promise<Uint8Array | undefined>;
  /** The thread for a new row, its module prepared. */
  place(moduleHash: Hash): Promise<number>;
  arrive(thread: number, hint: ArrivalHint, bytes: Uint8Array): void;
  forget(thread: number, shardId: ShardId): void;
  /** All batches up to this one are in the thread. */
  arrived(source: NodeId, shardId: ShardId, index: number): void;
}

interface Row {
  readonly moduleHash: Hash;
  readonly thread: Promise<number>;
  /** Batches that were given to the thread. */
  readonly given: Hash[];
  readonly waiting: Map<number, Hash>;
  tail: Promise<void>;
  source: NodeId;
  timer: NodeJS.Timeout;
}

/** Where a shard is loaded, and what of its image is still to be brought. */
export interface Claim {
  readonly thread: number | null;
  readonly missing: readonly Batch[];
}

export class Arrivals {
  readonly #port: ArrivalsPort;
  readonly #rows = new Map<ShardId, Row>();

  constructor(port: ArrivalsPort) {
    this.#port = port;
  }

  hint(hint: ArrivalHint): void {
    const { shardId, moduleHash, index, hash, source } = hint;
    let row = this.#rows.get(shardId);
    // A list that begins anew is another move's.
    const other = row !== undefined && (row.moduleHash !== moduleHash || isOther(row, index, hash));
    if (row === undefined || other) {
      this.#drop(shardId);
      if (index !== 0) return;
      row = this.#newRow(hint);
    }
    row.source = source;
    row.waiting.set(index, hash);
    row.timer.refresh();
    this.#advance(shardId, row);
  }

  /** Gives the row away: what is still to come of it comes with the shard. A batch that cannot be read is an error (V3). */
  async claim(shardId: ShardId, batches: readonly Hash[]): Promise<Claim> {
    const row = this.#rows.get(shardId);
    let thread: number | null = null;
    let have = 0;
    if (row !== undefined) {
      // Nothing more is fetched for the row; what is under way arrives.
      row.waiting.clear();
      await row.tail;
      const fits = row.given.every((hash, i) => hash === batches[i]);
      if (this.#rows.get(shardId) === row) {
        this.#rows.delete(shardId);
        clearTimeout(row.timer);
      }
      const place = await row.thread.catch(() => null);
      if (fits) {
        thread = place;
        have = row.given.length;
      } else if (place !== null) this.#port.forget(place, shardId);
    }
    const missing = await Promise.all(
      batches.slice(have).map(async (hash, i): Promise<Batch> => {
        const bytes = await needed('a batch of its memory', hash, this.#port.fetch(hash));
        return { index: have + i, hash, bytes };
      }),
    );
    return { thread, missing };
  }

  close(): void {
    for (const shardId of [...this.#rows.keys()]) this.#drop(shardId);
  }

  #newRow({ shardId, moduleHash, source }: ArrivalHint): Row {
    const row: Row = {
      moduleHash,
      thread: this.#port.place(moduleHash),
      given: [],
      waiting: new Map(),
      tail: Promise.resolve(),
      source,
      timer: setTimeout(() => this.#drop(shardId), KEEP_MS),
    };
    row.timer.unref();
    this.#rows.set(shardId, row);
    return row;
  }

  /** V1. */
  #advance(shardId: ShardId, row: Row): void {
    const { moduleHash } = row;
    row.tail = row.tail.then(async () => {
      const index = row.given.length;
      const hash = row.waiting.get(index);
      if (hash === undefined) return;
      const fetched = this.#port.fetch(hash).catch(() => undefined);
      const [thread, bytes] = await Promise.all([row.thread, fetched]);
      if (bytes === undefined || this.#rows.get(shardId) !== row) return;
      row.waiting.delete(index);
      row.given.push(hash);
      const { source } = row;
      this.#port.arrive(thread, { shardId, moduleHash, index, hash, source }, bytes);
      this.#port.arrived(source, shardId, index);
      if (row.waiting.has(index + 1)) this.#advance(shardId, row);
    });
    row.tail = row.tail.catch(() => this.#drop(shardId));
  }

  #drop(shardId: ShardId): void {
    const row = this.#rows.get(shardId);
    if (row === undefined) return;
    this.#rows.delete(shardId);
    clearTimeout(row.timer);
    row.thread.then(
      (thread) => this.#port.forget(thread, shardId),
      () => undefined,
    );
  }
}

function isOther(row: Row, index: number, hash: Hash): boolean {
  const known = row.given[index] ?? row.waiting.get(index);
  return known !== undefined && known !== hash;
}
