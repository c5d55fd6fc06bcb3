/**
 * Records of the memory fabric: one shared table, and a view of it for each simulated node.
 *
 * Does: compare-and-set with all three outcomes, stale reads, and watches that lag, coalesce and resync.
 * Does not: keep anything beyond the process.
 *
 *   table: key -> history, newest last:   [ {at 0, r3 "a"} {at 17, r8 "b"} {at 40, deleted} ]
 *                                            a read that is 25 ms stale at 41 sees r3 or r8, never something else
 *
 * M1  Revisions come from one counter, so a key's revision grows across delete and create.
 * M2  Events of one key reach one watcher in order; events of different keys may overtake each other (F1).
 * M3  Whatever is delayed, dropped or coalesced, the newest state of every key is delivered in the end, unless the
 *     watcher stays cut off.
 */
import { invariant } from '../types/errors.js';
import type {
  CasOutcome,
  RecordEntry,
  Records,
  Revision,
  Subscription,
  WatchEvent,
} from '../types/fabric.js';
import { checkKey, checkRecordSize, fabricClosed, matchesPrefix } from './check.js';
import { type MemoryWorld, notReached, type Peer } from './memory-world.js';

interface Moment {
  readonly atMs: number;
  readonly revision: Revision;
  /** Undefined = deleted. */
  readonly entry: RecordEntry | undefined;
}

export class MemoryTable {
  revision: Revision = 0;
  readonly #histories = new Map<string, Moment[]>();
  readonly watchers = new Set<MemoryWatcher>();

  constructor(readonly world: MemoryWorld) {}

  /** The truth. */
  peek(key: string): RecordEntry | undefined {
    return this.#histories.get(key)?.at(-1)?.entry;
  }

  keys(prefix: string): string[] {
    return [...this.#histories.keys()].filter((key) => matchesPrefix(prefix, key)).sort();
  }

  /** What a read sees: the truth, or what it was a while ago. */
  read(key: string): RecordEntry | undefined {
    const { dice, faults, counts } = this.world;
    const newest = this.peek(key);
    if (!dice.hits(faults.staleRead)) return newest;
    const asOfMs = this.world.nowMs() - dice.next() * faults.staleMs;
    const seen = this.#histories.get(key)?.findLast((moment) => moment.atMs <= asOfMs)?.entry;
    if (seen?.revision !== newest?.revision) counts.staleRead++;
    return seen;
  }

  write(key: string, expected: Revision, value: Uint8Array | undefined): CasOutcome {
    const current = this.peek(key);
    if ((current?.revision ?? 0) !== expected) return { kind: 'conflict', current };
    const revision = ++this.revision;
    const entry = value === undefined ? undefined : { key, value, revision };
    const atMs = this.world.nowMs();
    const history = this.#histories.get(key) ?? [];
    this.#histories.set(key, history);
    history.push({ atMs, revision, entry });
    // The last moment before the stale window is what the stalest read sees; older ones are out of reach.
    const oldest = atMs - this.world.faults.staleMs;
    while (history.length > 1 && history[1]!.atMs <= oldest) history.shift();
    for (const watcher of this.watchers) watcher.changed(key, revision, entry);
    return { kind: 'ok', revision };
  }
}

/** The records as one simulated node has them. */
export class MemoryRecords implements Records {
  constructor(
    private readonly table: MemoryTable,
    private readonly peer: Peer,
  ) {}

  async get(key: string): Promise<RecordEntry | undefined> {
    checkKey(key);
    return this.table.world.call(this.peer, 0, () => copyEntry(this.table.read(key)));
  }

  async list(prefix: string): Promise<RecordEntry[]> {
    checkKey(prefix);
    return this.table.world.call(this.peer, 0, () =>
      this.table.keys(prefix).flatMap((key) => copyEntry(this.table.read(key)) ?? []),
    );
  }

  async compareAndSet(key: string, expected: Revision, value: Uint8Array): Promise<CasOutcome> {
    checkKey(key);
    checkRecordSize(key, value);
    return this.#write(key, expected, Uint8Array.from(value));
  }

  async remove(key: string, expected: Revision): Promise<CasOutcome> {
    checkKey(key);
    invariant(expected > 0, 'remove names the revision that it removes');
    return this.#write(key, expected, undefined);
  }

  watch(prefix: string, handler: (event: WatchEvent) => void): Subscription {
    checkKey(prefix);
    if (this.peer.closed) throw fabricClosed();
    const watcher = new MemoryWatcher(this.table, this.peer, prefix, handler);
    this.table.watchers.add(watcher);
    return watcher;
  }

  #write(key: string, expected: Revision, value: Uint8Array | undefined): Promise<CasOutcome> {
    const { world } = this.table;
    const { dice, faults, counts } = world;
    if (this.peer.closed) return Promise.reject(fabricClosed());
    const fate = this.#fate();
    return new Promise((resolve) => {
      const unknown = (count: keyof typeof counts): void => {
        counts[count]++;
        world.after(faults.timeoutMs, () =>
          resolve({ kind: 'unknown', cause: notReached(this.peer) }),
        );
      };
      world.after(world.latency(), () => {
        if (world.isCutOff(this.peer)) return unknown('partition');
        if (fate === 'unknownLost') return unknown(fate);
        if (fate === 'unknownLate') {
          const lateMs = faults.timeoutMs + dice.between(faults.lateMs);
          world.after(lateMs, () => this.table.write(key, expected, value));
          return unknown(fate);
        }
        const outcome = this.table.write(key, expected, value);
        if (fate === 'unknownApplied' && outcome.kind === 'ok') return unknown(fate);
        world.after(world.latency(), () =>
          world.isCutOff(this.peer) ? unknown('partition') : resolve(this.#answer(outcome)),
        );
      });
    });
  }

  #fate(): 'answered' | 'unknownApplied' | 'unknownLost' | 'unknownLate' {
    const { dice, faults } = this.table.world;
    if (dice.hits(faults.unknownApplied)) return 'unknownApplied';
    if (dice.hits(faults.unknownLost)) return 'unknownLost';
    return dice.hits(faults.unknownLate) ? 'unknownLate' : 'answered';
  }

  #answer(outcome: CasOutcome): CasOutcome {
    if (outcome.kind !== 'conflict' || outcome.current === undefined) return outcome;
    const { dice, faults, counts } = this.table.world;
    if (!dice.hits(faults.conflictBlind)) {
      return { kind: 'conflict', current: copyEntry(outcome.current) };
    }
    counts.conflictBlind++;
    return { kind: 'conflict', current: undefined };
  }
}

/** One watch of one node. */
export class MemoryWatcher implements Subscription {
  /** Revision up to which the handler knows the key; deletes included. */
  #told = new Map<string, Revision>();
  /** Earliest time at which the next event of a key may arrive, so that a key's events stay in order. */
  readonly #notBeforeMs = new Map<string, number>();
  /** Before the first snapshot, and between a resync and its snapshot. */
  #waiting = true;
  #closed = false;

  constructor(
    private readonly table: MemoryTable,
    private readonly peer: Peer,
    private readonly prefix: string,
    private readonly handler: (event: WatchEvent) => void,
  ) {
    this.#sendSnapshot();
  }

  close(): void {
    this.#closed = true;
    this.table.watchers.delete(this);
  }

  belongsTo(peer: Peer): boolean {
    return this.peer.name === peer.name && !this.#closed;
  }

  /** The connection was lost, or the store says that it was. */
  resync(): void {
    if (this.#dead() || this.#waiting || this.table.world.isCutOff(this.peer)) return;
    this.#waiting = true;
    this.handler({ kind: 'resync' });
    this.#sendSnapshot();
  }

  changed(key: string, revision: Revision, entry: RecordEntry | undefined): void {
    if (this.#closed || !matchesPrefix(this.prefix, key)) return;
    const { world } = this.table;
    const { dice, faults, counts } = world;
    let delayMs = world.latency();
    if (dice.hits(faults.watchDelay)) {
      counts.watchDelay++;
      delayMs += dice.between(faults.watchDelayMs);
    }
    const nowMs = world.nowMs();
    const atMs = Math.max(nowMs + delayMs, this.#notBeforeMs.get(key) ?? 0);
    this.#notBeforeMs.set(key, atMs);
    world.after(atMs - nowMs, () => this.#deliver(key, revision, entry));
  }

  #deliver(key: string, revision: Revision, entry: RecordEntry | undefined): void {
    const { dice, faults, counts } = this.table.world;
    if (this.#dead()) return;
    if (this.table.world.isCutOff(this.peer)) {
      counts.partition++; // lost; `resync` makes up for it when the partition ends
      return;
    }
    if (this.#waiting || revision <= (this.#told.get(key) ?? 0)) return;
    if (dice.hits(faults.watchResync)) {
      counts.watchResync++;
      this.resync();
      return;
    }
    let event: { revision: Revision; entry: RecordEntry | undefined } = { revision, entry };
    if (dice.hits(faults.watchCoalesce)) {
      const newest = this.table.peek(key);
      if (newest !== undefined && newest.revision > revision) {
        counts.watchCoalesce++;
        event = { revision: newest.revision, entry: newest };
      }
    }
    this.#told.set(key, event.revision);
    const copy = copyEntry(event.entry);
    this.handler(
      copy === undefined
        ? { kind: 'delete', key, revision: event.revision }
        : { kind: 'put', entry: copy },
    );
  }

  #sendSnapshot(): void {
    const { world } = this.table;
    world.after(world.latency(), () => {
      if (this.#dead()) return;
      if (world.isCutOff(this.peer))
        return world.after(world.faults.timeoutMs, () => this.#sendSnapshot());
      const entries = this.table
        .keys(this.prefix)
        .flatMap((key) => copyEntry(this.table.peek(key)) ?? []);
      // What is on its way from before now is known already.
      this.#told = new Map(this.table.keys(this.prefix).map((key) => [key, this.table.revision]));
      this.#waiting = false;
      this.handler({ kind: 'snapshot', entries });
    });
  }

  #dead(): boolean {
    return this.#closed || this.peer.closed;
  }
}

function copyEntry(entry: RecordEntry | undefined): RecordEntry | undefined {
  return entry && { ...entry, value: Uint8Array.from(entry.value) };
}
