/**
 * What the scheduler knows of nodes and shards, indexed so that every question takes O(log n).
 *
 * Does: keep the newest records, count what each node has (claims), order nodes by load, the queue by priority and age, and the
 * running shards by how dear they are to stop. Does not: decide (scheduler.ts).
 *
 *   queue     waiting shards, the most urgent first       victims   running shards, the cheapest to stop first
 *   places    nodes that may get shards, least loaded first; of those of one busy machine, the one with most workers free
 *   roomy     those of them that have a slot, most free memory first: when the first one is too small, all are
 *
 * K1  It is a cache of records: `setShard`/`setNode` with any newer record brings it up to date.
 * K2  A claim counts a shard on a node: its owner, the target of a move that is asked, the target of an action in flight.
 * K3  urgency = priority × ageingMs − waiting since: ageing without ever re-sorting.
 * K4  A claim weighs what the shard was last measured to want, in eighths of a core (so that sums are exact): a shard that sleeps
 *     most of the time leaves room for others. Not measured yet = a whole core.
 * K5  Nodes of one machine share its cores and its memory: a node's load is what is scarcer, its workers or its machine's cores, and
 *     what any of them claims is gone for all. So a change costs O(k log n), k = the nodes of that machine.
 */
import { IndexedHeap } from '../core/indexed-heap.js';
import { LEASE_MS } from '../core/leases.js';
import { BOTTLENECK, type BrainAction, type Seen } from '../types/brain.js';
import type { NodeId, NodeRecord, ShardId, ShardRecord } from '../types/records.js';

export interface SchedulerOptions {
  /** A node's lease, ms of the observer's clock. */
  readonly leaseMs: number;
  /** Cores' worth of shards a node takes, for each of its workers. */
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
  /** What a move costs the shard: so much, and so much for each MiB of it, ms. */
  readonly moveMs: number;
  readonly moveMsPerMiB: number;
  /** An action whose effect is not seen after this long is decided anew. */
  readonly retryMs: number;
}

export const DEFAULT_SCHEDULER: SchedulerOptions = {
  leaseMs: LEASE_MS,
  slotsPerWorker: 2,
  ageingMs: 30_000,
  shardMemoryBytes: 16 * 1_048_576,
  contentionAlarm: BOTTLENECK.predictedFrom,
  gainMin: 0.25,
  settleMs: 5_000,
  moveMs: 20,
  moveMsPerMiB: 2,
  retryMs: 2_000,
};

/** A whole core, in the unit of claims (K4). */
export const DEMAND_MAX = 8;
/** A measurement's weight is one in so many. */
const DEMAND_SMOOTHING = 4;

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
  /** A wish for which an action was issued, until a record shows that it was carried out. */
  granted: { readonly target: NodeId | null; readonly node: NodeId; readonly epoch: number } | null;
  /** What it wants, eighths of a core, 1..8 (K4). */
  demand: number;
  /** Smoothed measurement behind it, in cores. */
  demandMean: number;
  /** Most memory that it was measured to have. */
  memoryBytes: number;
  /** Forecast time until it ends; null = not known. */
  remainingMs: number | null;
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
  machine: MachineEntry;
  memoryClaimed: number;
  /** What its claims want, eighths of a core. */
  demand: number;
  /** Free memory when it has a slot for a shard, else null. */
  room: number | null;
  /** Probability that its shards have to wait, by forecast. */
  contention: number;
}

/** What nodes share (K5). */
export interface MachineEntry {
  readonly id: string;
  /** 0 = as many as its only node has workers. */
  cores: number;
  readonly nodes: Set<NodeEntry>;
  /** Sums over its nodes. */
  memoryClaimed: number;
  demand: number;
  /** Cores' worth of work that is not ours, by forecast. */
  background: number;
}

export class Book {
  readonly options: SchedulerOptions;
  readonly shards = new Map<ShardId, ShardEntry>();
  readonly nodes = new Map<NodeId, NodeEntry>();
  readonly #machines = new Map<string, MachineEntry>();
  readonly queue = new IndexedHeap<ShardEntry>(
    (a, b) => this.#urgency(b) - this.#urgency(a) || byAge(a, b),
  );
  readonly victims = new IndexedHeap<ShardEntry>(cheaper);
  readonly roomy = new IndexedHeap<NodeEntry>(
    (a, b) => this.freeBytes(b) - this.freeBytes(a) || compareIds(a.id, b.id),
  );
  readonly places = new IndexedHeap<NodeEntry>(
    (a, b) =>
      this.load(a) - this.load(b) ||
      this.workerLoad(a) - this.workerLoad(b) ||
      compareIds(a.id, b.id),
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
        granted: null,
        demand: DEMAND_MAX,
        demandMean: 1,
        memoryBytes: 0,
        remainingMs: null,
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

  /** Takes a measurement in. It counts once it is an eighth of a core away from what counts now, or more memory. */
  measure(entry: ShardEntry, demand: number | undefined, memoryBytes: number): void {
    if (demand !== undefined && demand >= 0 && demand <= 1)
      entry.demandMean += (demand - entry.demandMean) / DEMAND_SMOOTHING;
    const wanted = entry.demandMean * DEMAND_MAX;
    const bytes = Number.isFinite(memoryBytes) ? memoryBytes : 0;
    const demandMoved = Math.abs(wanted - entry.demand) >= 1;
    if (!demandMoved && bytes <= this.needBytes(entry)) return;
    this.unindex(entry);
    if (demandMoved) entry.demand = Math.min(DEMAND_MAX, Math.max(1, Math.round(wanted)));
    entry.memoryBytes = Math.max(entry.memoryBytes, bytes);
    this.index(entry);
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
      machine: this.#machine(`node:${id}`),
      memoryClaimed: 0,
      demand: 0,
      room: null,
      contention: 0,
    };
    this.nodes.set(id, fresh);
    fresh.machine.nodes.add(fresh);
    return fresh;
  }

  /** Takes the node's newest record in; the caller indexes it. */
  setNode(node: NodeEntry, record: NodeRecord, revision: number): void {
    node.record = record;
    node.revision = revision;
    const { id, cores } = record.machine ?? { id: `node:${node.id}`, cores: 0 };
    if (node.machine.id !== id) {
      this.#leaveMachine(node);
      node.machine = this.#machine(id);
      node.machine.nodes.add(node);
      node.machine.demand += node.demand;
      node.machine.memoryClaimed += node.memoryClaimed;
    }
    node.machine.cores = cores;
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
      this.#count(node, -this.needBytes(entry), -entry.demand);
    }
    entry.claims = [];
  }

  /** Its sums or what is not ours there changed: so did the load and the room of all its nodes. */
  indexMachine(machine: MachineEntry): void {
    for (const node of machine.nodes) this.indexNode(node);
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
    node.record = null;
    if (node.shards.size > 0) return;
    this.#leaveMachine(node);
    this.nodes.delete(id);
  }

  /** May it be given shards? */
  usable(node: NodeEntry): boolean {
    return node.alive && node.proven && node.record !== null && !node.record.draining;
  }

  /** What is wanted there for each core that can be had, after this much more (eighths of a core) is wanted there (K5). */
  load(node: NodeEntry, more = 0): number {
    const { demand, background } = node.machine;
    const ofMachine = ((demand + more) / DEMAND_MAX + background) / this.#cores(node);
    return Math.max(this.workerLoad(node, more), ofMachine);
  }

  /** What its shards want, cores for each worker. */
  workerLoad(node: NodeEntry, more = 0): number {
    return (node.demand + more) / DEMAND_MAX / this.workers(node);
  }

  #cores(node: NodeEntry): number {
    return node.machine.cores > 0 ? node.machine.cores : this.workers(node);
  }

  workers(node: NodeEntry): number {
    return Math.max(1, node.record?.workers ?? 1);
  }

  /** Is there room for a whole core more? */
  hasSlot(node: NodeEntry): boolean {
    const limit = this.workers(node) * this.options.slotsPerWorker * DEMAND_MAX;
    return node.demand + DEMAND_MAX <= limit;
  }

  fits(node: NodeEntry, bytes: number): boolean {
    return this.freeBytes(node) >= bytes;
  }

  /** Memory of its machine that is not claimed; a node that does not say how much it has, has enough. */
  freeBytes(node: NodeEntry): number {
    const limit = node.record?.memoryBytes ?? 0;
    return limit <= 0 ? Number.MAX_SAFE_INTEGER : limit - node.machine.memoryClaimed;
  }

  needBytes(entry: ShardEntry): number {
    return Math.max(entry.record.memoryBytes, entry.memoryBytes, this.options.shardMemoryBytes);
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
    if (entry.inFlight?.kind === 'redirect') claims.add(entry.inFlight.node);
    if (entry.inFlight?.kind === 'migrate') claims.add(entry.inFlight.target);
    return claims;
  }

  #claim(entry: ShardEntry, node: NodeEntry): void {
    entry.claims.push(node.id);
    node.shards.add(entry.id);
    this.#count(node, this.needBytes(entry), entry.demand);
  }

  #count(node: NodeEntry, bytes: number, demand: number): void {
    for (const each of [node, node.machine]) {
      each.memoryClaimed += bytes;
      each.demand += demand;
    }
    this.indexMachine(node.machine);
  }

  #machine(id: string): MachineEntry {
    const known = this.#machines.get(id);
    if (known !== undefined) return known;
    const sums = { memoryClaimed: 0, demand: 0, background: 0 };
    const fresh: MachineEntry = { id, cores: 0, nodes: new Set(), ...sums };
    this.#machines.set(id, fresh);
    return fresh;
  }

  #leaveMachine(node: NodeEntry): void {
    const { machine } = node;
    machine.nodes.delete(node);
    machine.demand -= node.demand;
    machine.memoryClaimed -= node.memoryClaimed;
    if (machine.nodes.size === 0) this.#machines.delete(machine.id);
    else this.indexMachine(machine);
  }

  #urgency(entry: ShardEntry): number {
    return entry.record.priority * this.options.ageingMs - entry.sinceMs;
  }
}

function byAge(a: ShardEntry, b: ShardEntry): number {
  return a.record.createdMs - b.record.createdMs || compareIds(a.id, b.id);
}

/** Cheapest to stop first: low priority, much to gain, little to save, placed last. */
function cheaper(a: ShardEntry, b: ShardEntry): number {
  return (
    a.record.priority - b.record.priority ||
    b.demand - a.demand ||
    a.record.memoryBytes - b.record.memoryBytes ||
    b.placedMs - a.placedMs ||
    compareIds(a.id, b.id)
  );
}

function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
