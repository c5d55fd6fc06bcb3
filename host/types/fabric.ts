/**
 * The fabric: what nodes share. Records (compare-and-set), blobs (content-addressed), messages (lossy hints).
 *
 * Three implementations (memory, embedded, nats) pass one conformance suite. Nothing above knows which one it has.
 *
 * F1  The only atomic act is the compare-and-set of one record. No multi-key transaction, no per-key expiry, no
 *     order across keys.
 * F2  A write's outcome is `ok`, `conflict` or `unknown`. After `unknown` the write may or may not have happened
 *     (now or later); it is settled by reading: every record names its last writer and attempt.
 * F3  Reads may be stale (an older revision than the newest), never invented; a compare-and-set never lies.
 * F4  `watch` gives a snapshot first, then changes, possibly coalesced; after `resync` a new snapshot follows.
 * F5  Blobs are put before a record names them, are immutable, are verified against their hash on read, and are
 *     spared by garbage collection while younger than the grace time.
 * F6  Messages may be lost, repeated and reordered: they are hints only.
 */
import type { Hash } from './hash.js';

/** Dot-joined tokens of `[A-Za-z0-9_-]`, at most 255 characters. */
export type RecordKey = string;
export const MAX_RECORD_BYTES = 65_536;
export const MAX_MESSAGE_BYTES = 262_144;
export const RECORD_KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

/** Grows with every write of the key (also across delete and create); 0 = the key does not exist. */
export type Revision = number;

export interface RecordEntry {
  readonly key: RecordKey;
  readonly value: Uint8Array;
  readonly revision: Revision;
}

export type CasOutcome =
  | { readonly kind: 'ok'; readonly revision: Revision }
  | {
      readonly kind: 'conflict' /** what is there now, if known */;
      readonly current: RecordEntry | undefined;
    }
  | { readonly kind: 'unknown'; readonly cause: unknown };

export type WatchEvent =
  /** The whole content under the prefix. Sent first, and again after a loss (then it replaces all that was known). */
  | { readonly kind: 'snapshot'; readonly entries: readonly RecordEntry[] }
  | { readonly kind: 'put'; readonly entry: RecordEntry }
  | { readonly kind: 'delete'; readonly key: RecordKey; readonly revision: Revision }
  /** Changes may have been missed; a snapshot follows. */
  | { readonly kind: 'resync' };

export interface Subscription {
  close(): void;
}

export interface Records {
  get(key: RecordKey): Promise<RecordEntry | undefined>;
  /** Writes when the key's revision equals `expected` (0 = must not exist). */
  compareAndSet(key: RecordKey, expected: Revision, value: Uint8Array): Promise<CasOutcome>;
  remove(key: RecordKey, expected: Revision): Promise<CasOutcome>;
  /** Keys that equal the prefix or start with `prefix.`; sorted by key. */
  list(prefix: RecordKey): Promise<RecordEntry[]>;
  /** The handler is called in order; it must not throw. */
  watch(prefix: RecordKey, handler: (event: WatchEvent) => void): Subscription;
}

export interface BlobStat {
  readonly hash: Hash;
  readonly bytes: number;
  /** Age in ms by the store's own clock. */
  readonly ageMs: number;
}

export interface PutOptions {
  /** This process has computed the hash from these very bytes: it need not be computed again. Readers verify it. */
  readonly hashed?: boolean;
}

export interface GetOptions {
  /** Memory in which the result may be placed; the caller gives it away. `bytes.buffer` tells whether it was used. */
  readonly into?: ArrayBuffer | undefined;
}

export interface Blobs {
  /** Stores bytes (whole or streamed) under their SHA-256. Resolves when durable. A hash mismatch is refused. */
  put(
    hash: Hash,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<void>;
  /** The whole blob, verified. Undefined when it is not there. Damaged: SHERD_BLOB_DAMAGED. */
  get(hash: Hash, options?: GetOptions): Promise<Uint8Array | undefined>;
  /** Streamed, verified at the end (the last chunk is withheld until the hash is right). */
  read(hash: Hash): AsyncIterable<Uint8Array>;
  /** Whether it is there, and not known to be damaged. Who asks is about to name it: it becomes young again, as by a put. */
  has(hash: Hash): Promise<boolean>;
  list(): AsyncIterable<BlobStat>;
  /**
   * Removes blobs that `keep` does not name and that were older than graceMs when the collection began: what is put, or asked
   * for, while it goes on stays. Returns what was freed; `untidiedPacks`: so many packs
   * could not be made smaller for lack of room, so less may be free on the disk than was removed.
   */
  collect(
    keep: (hash: Hash) => boolean,
    graceMs: number,
  ): Promise<{ blobs: number; bytes: number; untidiedPacks?: number }>;
}

export interface FabricMessage {
  readonly subject: string;
  readonly payload: Uint8Array;
}

export interface Messages {
  /** Sends a hint; no outcome. Subjects are dot-joined tokens like keys. */
  publish(subject: string, payload: Uint8Array): void;
  /** All messages whose subject equals the prefix or starts with `prefix.`. */
  subscribe(prefix: string, handler: (message: FabricMessage) => void): Subscription;
}

/**
 * Where nodes share a machine with those who ask: a way to ask for a shard to stand still that does not have to wake
 * anybody (fabric/doorbell.ts). Hints like messages (F6); nothing here throws.
 */
export interface Doorbells {
  /** Makes this node's bell. The file that its threads listen to; undefined when it cannot be made. */
  install(nodeId: string): string | undefined;
  remove(nodeId: string): void;
}

export interface Fabric {
  readonly kind: 'memory' | 'embedded' | 'nats';
  readonly records: Records;
  readonly blobs: Blobs;
  readonly messages: Messages;
  readonly doorbells?: Doorbells;
  close(): Promise<void>;
}
