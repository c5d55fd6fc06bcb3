/**
 * What the scheduler knows of nodes and shards, indexed so that every question takes O(log n).
 *
 * Does: keep the newest records, count what each node has (claims), order nodes by load, the queue by priority and age, and the
 * running shards by how dear they are to stop. Does not: decide (scheduler.ts).
 *
 *   queue     waiting shards, the most urgent first       victims   running shards, the cheapest to stop first
 *   places    nodes that may get shards, least loaded first
 *   roomy     those of them that have a slot, most free memory first: when the first one is too small, all are
 *
 * K1  It is a cache of records: `setShard`/`setNode` with any newer record brings it up to date.
 * K2  A claim counts a shard on a node: its owner, the target of a move that is asked, the target of an action in flight.
 * K3  urgency = priority × ageingMs − waiting since: ageing without ever re-sorting.
 */
import { IndexedHeap } from '../core/indexed-heap.js';
import type { BrainAction, Seen } from '../types/brain.js';
import type { NodeId, NodeRecord, ShardId, ShardRecord } from '../types/records.js';

export interface SchedulerOptions {
  /** A node's lease, ms of the observer's clock. */
  readonly leaseMs: number;
  /** Shards a node takes, for each of its workers. */
  readonly slotsPerWorker: number;
  /** Waiting this long counts as one step of priority. */
  readonly ageingMs: number;
  /** Memory assumed for a shard that was not measured yet. */
  readonly shardMemoryBytes: number;
  /** Forecast contention from which on a shard is moved away. */
  readonly contentionAlarm: number;
  /** Load difference per worker that a move must leave behind. */
  readonly gainMin: number;
  /** A shard that was placed or moved stays at least this long. */
  readonly settleMs: number;
  /** An action whose effect is not seen after this long is decided anew. */
  readonly retryMs: number;
}

export const DEFAULT_SCHEDULER: SchedulerOptions = {
  leaseMs: 3_000,
  slotsPerWorker: 2,
  ageingMs: 30_000,
  shardMemoryBytes: 16 * 1_048_576,
  contentionAlarm: 0.5,
  gainMin: 0.25,
  settleMs: 5_000,
  retryMs: 2_000,
};

export interface ShardEntry {
  readonly id: ShardId;
  record: ShardRecord;
  revision: number;
  sinceMs: number;
  /** When it last got its owner. */
  placedMs: number;
  /** Nodes that count it. */
  claims: NodeId[];
  inFlight: BrainAction | null;
  /** The victim that was asked to make room for it. */
  victim: ShardId | null;
  /** A client's wish that waits for its turn. */
  move: { readonly target: NodeId | null } | null;
  /** Said last. */
  why: string;
}

export interface NodeEntry {
  readonly id: NodeId;
  record: NodeRecord | null;
  revision: number;
  alive: boolean;
  /** How it was lost; empty = it was not. */
  lost: string;
  /** Its lease moved under our eyes (or it is new): it can be trusted with shards. */
  proven: boolean;
  readonly shards: Set<ShardId>;
  memoryClaimed: number;
  /** Free memory when it has a slot for a shard, else null. */
  room: number | null;
  /** Cores' worth of work that is not ours, by forecast. */
  background: number;
  contention: number;
}

export class Book {
  readonly options: SchedulerOptions;
  readonly shards = new Map<ShardId, ShardEntry>();
  readonly nodes = new Map<NodeId, NodeEntry>();
  readonly queue = new IndexedHeap<ShardEntry>(
    (a, b) => this.#urgency(b) - this.#urgency(a) || byAge(a, b),
  );
  readonly victims = new IndexedHeap<ShardEntry>(cheaper);
  readonly roomy = new IndexedHeap<NodeEntry>(
    (a, b) => this.freeBytes(b) - this.freeBytes(a) || compareIds(a.id, b.id),
  );
  readonly places = new IndexedHeap<NodeEntry>(
    (a, b) => this.load(a) - this.load(b) || compareIds(a.id, b.id),
  );

  /** Grows when a shard or a place changes: as long as it stands, what found no place finds none. */
  version = 0;

  constructor(options: SchedulerOptions) {
    this.options = options;
  }

  /** Takes in a record; false when it is not newer than what is known. */
  setShard(seen: Seen<ShardRecord>, nowMs: number): ShardEntry | null {
    const { record, revision } = seen;
    const entry = this.shards.get(record.id);
    if (entry === undefined) {
      const fresh: ShardEntry = {
        id: record.id,
        record,
        revision,
        sinceMs: nowMs,
        placedMs: nowMs,
        claims: [],
        inFlight: null,
        victim: null,
        move: null,
        why: '',
      };
      this.shards.set(record.id, fresh);
      return fresh;
    }
    if (revision <= entry.revision) return null;
    if (record.status === 'queued' && entry.record.status !== 'queued') entry.sinceMs = nowMs;
    if (record.owner !== entry.record.owner) entry.placedMs = nowMs;
    if (record.status !== 'queued') entry.victim = null;
    this.unindex(entry);
    entry.record = record;
    entry.revision = revision;
    return entry;
  }

  removeShard(id: ShardId): ShardEntry | undefined {
    const entry = this.shards.get(id);
    if (entry === undefined) return undefined;
    this.unindex(entry);
    this.shards.delete(id);
    return entry;
  }

  /** The node's entry, made on first mention. */
  node(id: NodeId): NodeEntry {
    const known = this.nodes.get(id);
    if (known !== undefined) return known;
    const fresh: NodeEntry = {
      id,
      record: null,
      revision: 0,
      alive: false,
      lost: '',
      proven: false,
      shards: new Set(),
      memoryClaimed: 0,
      room: null,
      background: 0,
      contention: 0,
    };
    this.nodes.set(id, fresh);
    return fresh;
  }

  /** Puts the shard into every index it belongs to now, or takes it out. Call after any change of the entry. */
  index(entry: ShardEntry): void {
    this.version += 1;
    this.unindex(entry);
    for (const id of this.#claimsOf(entry)) this.#claim(entry, this.node(id));
    if (entry.inFlight !== null) return;
    if (entry.record.status === 'queued') this.queue.set(entry);
    const owner = entry.record.owner === null ? undefined : this.nodes.get(entry.record.owner);
    if (owner !== undefined && entry.record.wanted === null && this.usable(owner))
      this.victims.set(entry);
  }

  unindex(entry: ShardEntry): void {
    this.queue.delete(entry);
    this.victims.delete(entry);
    for (const id of entry.claims) {
      const node = this.nodes.get(id);
      if (node === undefined || !node.shards.delete(entry.id)) continue;
      node.memoryClaimed -= this.needBytes(entry);
      this.indexNode(node);
    }
    entry.claims = [];
  }

  indexNode(node: NodeEntry): void {
    const usable = this.usable(node);
    const room = usable && this.hasSlot(node) ? this.freeBytes(node) : null;
    if (room !== node.room) this.version += 1;
    node.room = room;
    if (usable) this.places.set(node);
    else this.places.delete(node);
    if (room !== null) this.roomy.set(node);
    else this.roomy.delete(node);
  }

  removeNode(id: NodeId): void {
    const node = this.nodes.get(id);
    if (node === undefined) return;
    this.places.delete(node);
    this.roomy.delete(node);
    if (node.shards.size === 0) this.nodes.delete(id);
    else node.record = null;
  }

  /** May it be given shards? */
  usable(node: NodeEntry): boolean {
    return node.alive && node.proven && node.record !== null && !node.record.draining;
  }

  /** Shards and foreign work, for each worker. */
  load(node: NodeEntry): number {
    return (node.shards.size + node.background) / this.workers(node);
  }

  workers(node: NodeEntry): number {
    return Math.max(1, node.record?.workers ?? 1);
  }

  hasSlot(node: NodeEntry): boolean {
    return node.shards.size < this.workers(node) * this.options.slotsPerWorker;
  }

  fits(node: NodeEntry, bytes: number): boolean {
    return this.freeBytes(node) >= bytes;
  }

  /** Memory that is not claimed; a node that does not say how much it has, has enough. */
  freeBytes(node: NodeEntry): number {
    const limit = node.record?.memoryBytes ?? 0;
    return limit <= 0 ? Number.MAX_SAFE_INTEGER : limit - node.memoryClaimed;
  }

  needBytes(entry: ShardEntry): number {
    return Math.max(entry.record.memoryBytes, this.options.shardMemoryBytes);
  }

  /** Comparisons made in all indexes. */
  get compares(): number {
    return this.queue.compares + this.victims.compares + this.places.compares + this.roomy.compares;
  }

  #claimsOf(entry: ShardEntry): Set<NodeId> {
    const claims = new Set<NodeId>();
    const { owner, wanted } = entry.record;
    if (owner !== null) claims.add(owner);
    if (wanted?.op === 'move') claims.add(wanted.target);
    if (entry.inFlight?.kind === 'assign') claims.add(entry.inFlight.node);
    if (entry.inFlight?.kind === 'migrate') claims.add(entry.inFlight.target);
    return claims;
  }

  #claim(entry: ShardEntry, node: NodeEntry): void {
    entry.claims.push(node.id);
    node.shards.add(entry.id);
    node.memoryClaimed += this.needBytes(entry);
    this.indexNode(node);
  }

  #urgency(entry: ShardEntry): number {
    return entry.record.priority * this.options.ageingMs - entry.sinceMs;
  }
}

function byAge(a: ShardEntry, b: ShardEntry): number {
  return a.record.createdMs - b.record.createdMs || compareIds(a.id, b.id);
}

/** Cheapest to stop first: low priority, little to save, placed last. */
function cheaper(a: ShardEntry, b: ShardEntry): number {
  return (
    a.record.priority - b.record.priority ||
    a.record.memoryBytes - b.record.memoryBytes ||
    b.placedMs - a.placedMs ||
    compareIds(a.id, b.id)
  );
}

function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
