/**
 * Records of the embedded fabric: compare-and-set in LMDB, watches that read the change log.
 *
 * Does: the `Records` interface for one process. Does not: talk to other processes; `onWrite` and `look` are the two
 * ends by which the messages part carries the hint "there is something new in the log".
 *
 *   write:  [ record of the key ‖ log[revision] = key ‖ meta.revision ]     one transaction
 *   watch:  seen ──────────────► newest        log rows in between name the keys to read again
 *
 * N1  The revision is one counter of the whole store, so a key's revision grows across delete and create.
 * N2  A watcher that is more than LOG_KEPT writes behind gets a resync and a snapshot; otherwise it misses no key.
 * N3  Hints may be lost: the log is looked at every `pollMs` anyway.
 * N4  Handlers are never called inside the call of `watch` or `compareAndSet`.
 */
import { invariant, SherdError } from '../types/errors.js';
import type {
  CasOutcome,
  RecordEntry,
  Records,
  Revision,
  Subscription,
  WatchEvent,
} from '../types/fabric.js';
import { checkKey, checkRecordSize, fabricClosed, matchesPrefix } from './check.js';
import type { Store } from './embedded-store.js';

/** Writes that the change log remembers. */
export const LOG_KEPT = 65_536;

const REVISION_BYTES = 8;

interface Watcher {
  readonly prefix: string;
  readonly handler: (event: WatchEvent) => void;
  /** Revision up to which it knows everything; undefined before its first snapshot. */
  seen: Revision | undefined;
}

export interface EmbeddedRecordsOptions {
  readonly sync: boolean;
  readonly pollMs: number;
  /** Called after each write of this process. */
  readonly onWrite: (revision: Revision) => void;
}

export class EmbeddedRecords implements Records {
  readonly #watchers = new Set<Watcher>();
  #timer: NodeJS.Timeout | undefined;
  #lookScheduled = false;
  #closed = false;

  constructor(
    private readonly store: Store,
    private readonly options: EmbeddedRecordsOptions,
  ) {}

  async get(key: string): Promise<RecordEntry | undefined> {
    checkKey(key);
    this.#checkOpen();
    return this.store.read(() => this.#entry(key));
  }

  async list(prefix: string): Promise<RecordEntry[]> {
    checkKey(prefix);
    this.#checkOpen();
    return this.store.read(() => this.#entries(prefix));
  }

  async compareAndSet(key: string, expected: Revision, value: Uint8Array): Promise<CasOutcome> {
    checkKey(key);
    checkRecordSize(key, value);
    return this.#write(key, expected, value);
  }

  async remove(key: string, expected: Revision): Promise<CasOutcome> {
    checkKey(key);
    invariant(expected > 0, 'remove names the revision that it removes');
    return this.#write(key, expected, undefined);
  }

  watch(prefix: string, handler: (event: WatchEvent) => void): Subscription {
    checkKey(prefix);
    this.#checkOpen();
    const watcher: Watcher = { prefix, handler, seen: undefined };
    this.#watchers.add(watcher);
    this.#timer ??= setInterval(() => this.look(), this.options.pollMs);
    this.#lookSoon();
    return {
      close: () => {
        this.#watchers.delete(watcher);
        if (this.#watchers.size === 0) this.#stopTimer();
      },
    };
  }

  /** Reads the log and tells the watchers what is new. */
  look(): void {
    if (this.#closed || this.#watchers.size === 0) return;
    for (const [watcher, events] of this.store.read(() => this.#news())) {
      for (const event of events) {
        if (!this.#watchers.has(watcher) || this.#closed) break;
        watcher.handler(event);
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#watchers.clear();
    this.#stopTimer();
  }

  #write(key: string, expected: Revision, value: Uint8Array | undefined): CasOutcome {
    this.#checkOpen();
    let outcome: CasOutcome;
    try {
      outcome = this.store.write(() => this.#apply(key, expected, value), this.options.sync);
    } catch (cause) {
      // A refused write has changed nothing. About any other failure the transaction's fate is not known for sure.
      if (cause instanceof SherdError) throw cause;
      return { kind: 'unknown', cause };
    }
    if (outcome.kind === 'ok') {
      this.#lookSoon();
      this.options.onWrite(outcome.revision);
    }
    return outcome;
  }

  #apply(key: string, expected: Revision, value: Uint8Array | undefined): CasOutcome {
    const { records, log } = this.store;
    const current = this.#entry(key);
    if ((current?.revision ?? 0) !== expected) return { kind: 'conflict', current };
    const revision = (this.store.counter('revision') ?? 0) + 1;
    if (value === undefined) {
      records.removeSync(key);
    } else {
      const bytes = Buffer.allocUnsafe(REVISION_BYTES + value.byteLength);
      bytes.writeBigUInt64BE(BigInt(revision));
      bytes.set(value, REVISION_BYTES);
      records.putSync(key, bytes);
    }
    log.putSync(revision, Buffer.from(key));
    if (revision > LOG_KEPT) log.removeSync(revision - LOG_KEPT);
    this.store.setCounter('revision', revision);
    return { kind: 'ok', revision };
  }

  /** What each watcher has not been told yet. Marks it as told. */
  #news(): [Watcher, WatchEvent[]][] {
    const newest = this.store.counter('revision') ?? 0;
    const news: [Watcher, WatchEvent[]][] = [];
    let oldestSeen = newest;
    for (const watcher of this.#watchers) {
      if (watcher.seen !== undefined) oldestSeen = Math.min(oldestSeen, watcher.seen);
    }
    const changes = oldestSeen < newest ? this.#changes(oldestSeen, newest) : new Map();
    for (const watcher of this.#watchers) {
      if (watcher.seen === newest) continue;
      const events =
        watcher.seen === undefined || changes === undefined
          ? this.#snapshot(watcher)
          : this.#eventsSince(watcher.prefix, watcher.seen, changes);
      watcher.seen = newest;
      if (events.length > 0) news.push([watcher, events]);
    }
    return news;
  }

  /** Keys by the revision of their last change in (seen, newest], oldest first; undefined when the log is too short. */
  #changes(seen: Revision, newest: Revision): Map<string, Revision> | undefined {
    const last = new Map<string, Revision>();
    let next = seen + 1;
    for (const row of this.store.log.getRange({ start: next, end: newest + 1 })) {
      if (row.key !== next) return undefined;
      next++;
      const key = row.value.toString();
      last.delete(key);
      last.set(key, row.key);
    }
    return next === newest + 1 ? last : undefined;
  }

  #eventsSince(prefix: string, seen: Revision, changes: Map<string, Revision>): WatchEvent[] {
    const events: WatchEvent[] = [];
    for (const [key, revision] of changes) {
      if (revision <= seen || !matchesPrefix(prefix, key)) continue;
      const entry = this.#entry(key);
      if (entry === undefined) events.push({ kind: 'delete', key, revision });
      // A newer one than the log said is told when its own row is read.
      else if (entry.revision === revision) events.push({ kind: 'put', entry });
    }
    return events;
  }

  #snapshot(watcher: Watcher): WatchEvent[] {
    const snapshot: WatchEvent = { kind: 'snapshot', entries: this.#entries(watcher.prefix) };
    return watcher.seen === undefined ? [snapshot] : [{ kind: 'resync' }, snapshot];
  }

  #entry(key: string): RecordEntry | undefined {
    const bytes = this.store.records.getBinary(key);
    return bytes === undefined ? undefined : toEntry(key, bytes);
  }

  #entries(prefix: string): RecordEntry[] {
    const entries: RecordEntry[] = [];
    const own = this.#entry(prefix);
    if (own !== undefined) entries.push(own);
    // '/' follows '.', so this range holds exactly the keys that begin with `prefix.`.
    for (const row of this.store.records.getRange({ start: `${prefix}.`, end: `${prefix}/` })) {
      entries.push(toEntry(row.key, row.value));
    }
    return entries;
  }

  #lookSoon(): void {
    if (this.#lookScheduled || this.#watchers.size === 0) return;
    this.#lookScheduled = true;
    setImmediate(() => {
      this.#lookScheduled = false;
      this.look();
    });
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #checkOpen(): void {
    if (this.#closed) throw fabricClosed();
  }
}

function toEntry(key: string, bytes: Buffer): RecordEntry {
  invariant(bytes.length >= REVISION_BYTES, 'a stored record begins with its revision');
  const value = new Uint8Array(bytes.length - REVISION_BYTES);
  value.set(bytes.subarray(REVISION_BYTES));
  return { key, value, revision: Number(bytes.readBigUInt64BE()) };
}
