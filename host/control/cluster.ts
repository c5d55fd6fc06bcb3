/**
 * What the control knows of the cluster, and the one way in which it changes a shard's record.
 *
 * Does: keep the newest records of shards and nodes (from watches, reads and own writes), keep the newest progress,
 * wake those who wait for a change, and make compare-and-set changes that settle unknown outcomes.
 * Does not: decide (brain.ts), or speak HTTP (server.ts).
 *
 *     watch shard.*, node.* ──▶ records ──▶ listeners (brain, followers)
 *     progress.* ──────────────▶ progress ─▶
 *
 * C1  It is a cache: thrown away and rebuilt from the fabric at any time. A record is only ever replaced by a newer one.
 * C2  `change` returns only when its write is known to have landed, or throws the refusal that the newest record gives.
 */
import { compareAndSettle } from '../fabric/settle.js';
import type { FailureAnswer } from '../guardian/failures.js';
import type { SentWrite, Stamp, Transition } from '../protocol/shard-record.js';
import { nextStamp, refusalError, settle } from '../protocol/shard-record.js';
import { isId, noShard } from '../types/api.js';
import type { Seen } from '../types/brain.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import { SherdError } from '../types/errors.js';
import type { CasOutcome, Fabric, RecordEntry, Subscription, WatchEvent } from '../types/fabric.js';
import { type ProgressHint, SUBJECT } from '../types/hints.js';
import { decodePlain } from '../types/pack.js';
import {
  type FailureRecord,
  KEY,
  type NodeId,
  type NodeRecord,
  type ShardId,
  type ShardRecord,
} from '../types/records.js';

const RETRY_MS = 20;
/** An outcome that is still unknown after this long is reported as a failure of the store. */
const SETTLE_MS = 10_000;

export interface NodeSeen extends Seen<NodeRecord> {
  /** When its revision was last seen to change, on our clock. */
  readonly changedMs: number;
}

export interface ProgressSeen {
  readonly hint: ProgressHint;
  readonly atMs: number;
}

export interface ClusterListener {
  shard?(seen: Seen<ShardRecord>, before: ShardRecord | undefined): void;
  shardGone?(id: ShardId, last: ShardRecord): void;
  node?(seen: NodeSeen): void;
  nodeGone?(id: NodeId): void;
  progress?(seen: ProgressSeen): void;
}

export class Cluster {
  readonly fabric: Fabric;
  readonly writer: string;
  readonly #nowMs: () => number;
  readonly #wallMs: () => number;
  readonly #shards = new Map<ShardId, Seen<ShardRecord>>();
  readonly #nodes = new Map<NodeId, NodeSeen>();
  readonly #progress = new Map<ShardId, ProgressSeen>();
  readonly #listeners = new Set<ClusterListener>();
  readonly #waiting = new Map<ShardId, Set<() => void>>();
  readonly #subscriptions: Subscription[] = [];
  #attempt = 0;

  constructor(fabric: Fabric, writer: string, nowMs: () => number, wallMs: () => number) {
    this.fabric = fabric;
    this.writer = writer;
    this.#nowMs = nowMs;
    this.#wallMs = wallMs;
  }

  /** Begins to watch; resolves when both snapshots are there. */
  async open(): Promise<void> {
    const { records, messages } = this.fabric;
    await Promise.all([
      new Promise<void>((resolve) => {
        this.#subscriptions.push(
          records.watch(KEY.shards, (event) => this.#watchShards(event, resolve)),
        );
      }),
      new Promise<void>((resolve) => {
        this.#subscriptions.push(
          records.watch(KEY.nodes, (event) => this.#watchNodes(event, resolve)),
        );
      }),
    ]);
    this.#subscriptions.push(
      messages.subscribe(SUBJECT.progressAll, (message) => this.#onProgress(message.payload)),
    );
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
    this.#listeners.clear();
    for (const waiting of [...this.#waiting.values()]) for (const wake of [...waiting]) wake();
  }

  get shards(): ReadonlyMap<ShardId, Seen<ShardRecord>> {
    return this.#shards;
  }

  get nodes(): ReadonlyMap<NodeId, NodeSeen> {
    return this.#nodes;
  }

  /** The newest progress of the shard's present owner. */
  progressOf(id: ShardId): ProgressSeen | undefined {
    const seen = this.#progress.get(id);
    const record = this.#shards.get(id)?.record;
    const current =
      seen !== undefined && record?.owner === seen.hint.nodeId && record.epoch === seen.hint.epoch;
    return current ? seen : undefined;
  }

  shard(id: ShardId): Seen<ShardRecord> {
    const seen = this.#shards.get(id);
    if (seen !== undefined) return seen;
    throw noShard(id);
  }

  /** The record now, from the store when it is not known yet (a submit of another process). */
  async find(id: ShardId): Promise<Seen<ShardRecord>> {
    if (!this.#shards.has(id)) {
      if (!isId(id)) throw noShard(id);
      const entry = await this.fabric.records.get(KEY.shard(id));
      if (entry !== undefined) this.#seeShard(entry);
    }
    return this.shard(id);
  }

  listen(listener: ClusterListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls back at every change of this shard's record or progress, and at its removal. */
  onChange(id: ShardId, wake: () => void): () => void {
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting);
    waiting.add(wake);
    return () => {
      waiting.delete(wake);
      if (waiting.size === 0) this.#waiting.delete(id);
    };
  }

  stamp(before: ShardRecord | null): Stamp {
    const stamp = nextStamp(this.writer, before, this.#attempt, this.#wallMs());
    this.#attempt = stamp.attempt;
    return stamp;
  }

  /** Changes a shard's record by a transition (C2). A transition that returns the record itself changes nothing. */
  async change(
    id: ShardId,
    make: (record: ShardRecord, stamp: Stamp) => Transition,
  ): Promise<Seen<ShardRecord>> {
    let seen = await this.find(id);
    for (;;) {
      const next = make(seen.record, this.stamp(seen.record));
      if (!next.ok || next.record === seen.record) {
        // Nothing is written, so no compare-and-set would tell that what we know is old: look again.
        const newer = await this.#newer(id, seen.revision);
        if (newer !== undefined) {
          seen = newer;
          continue;
        }
        if (!next.ok) throw refusalError(next.refusal, seen.record);
        return seen;
      }
      const landed = await this.#write(id, { expected: seen.revision, record: next.record });
      if (landed !== null) return landed;
      seen = this.shard(id);
    }
  }

  /** Writes a new record. */
  async create(record: ShardRecord): Promise<Seen<ShardRecord>> {
    const landed = await this.#write(record.id, { expected: 0, record });
    if (landed !== null) return landed;
    throw new SherdError('SHERD_STATE', `shard ${record.id} exists already`, { at: record.id });
  }

  /** One compare-and-set at a given revision, for a decision that holds for that revision only. */
  async attempt(
    id: ShardId,
    revision: number,
    record: ShardRecord,
  ): Promise<'ok' | 'conflict' | 'unknown'> {
    const outcome = await this.#compareAndSet(id, { expected: revision, record });
    if (outcome.kind === 'ok') this.#put(id, { record, revision: outcome.revision });
    else await this.#refresh(id, outcome);
    return outcome.kind;
  }

  /** Removes a record at its newest revision. */
  async remove(id: ShardId, mayRemove: (record: ShardRecord) => void): Promise<void> {
    for (;;) {
      const { record, revision } = await this.find(id);
      mayRemove(record);
      const outcome = await this.fabric.records.remove(KEY.shard(id), revision);
      if (outcome.kind === 'ok') {
        this.#shardGone(id, outcome.revision);
        return;
      }
      const entry = await this.fabric.records.get(KEY.shard(id));
      if (entry === undefined) {
        this.#shardGone(id, Number.POSITIVE_INFINITY);
        return;
      }
      this.#seeShard(entry);
    }
  }

  /** Every record, from the store itself. */
  async readAll(): Promise<ShardRecord[]> {
    const entries = await this.fabric.records.list(KEY.shards);
    return entries.map((entry) => decodeRecord<ShardRecord>(entry.value, entry.key));
  }

  async removeNode(id: NodeId): Promise<void> {
    const seen = this.#nodes.get(id);
    this.fabric.doorbells?.remove(id);
    if (seen !== undefined) await this.fabric.records.remove(KEY.node(id), seen.revision);
  }

  /** How often nodes failed, as the store has it; undefined = nobody wrote it yet, or it cannot be read now. */
  async readFailures(): Promise<Seen<FailureRecord> | undefined> {
    const entry = await this.fabric.records.get(KEY.failures).catch(() => undefined);
    return entry === undefined ? undefined : failuresIn(entry);
  }

  async writeFailures(expected: number, record: FailureRecord): Promise<FailureAnswer> {
    const outcome = await this.fabric.records
      .compareAndSet(KEY.failures, expected, encodeRecord(record))
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
    if (outcome.kind !== 'conflict') return outcome;
    const { current } = outcome;
    return { kind: 'conflict', current: current === undefined ? null : failuresIn(current) };
  }

  /** Null: another write took the revision; the newest record that the store shows is in the cache. */
  async #write(id: ShardId, write: SentWrite): Promise<Seen<ShardRecord> | null> {
    const key = KEY.shard(id);
    const until = this.#nowMs() + SETTLE_MS;
    const outcome = await compareAndSettle(
      this.fabric.records,
      key,
      write.expected,
      encodeRecord(write.record),
      (value) => isUnder(write, decodeRecord<ShardRecord>(value, key)),
      () => this.#pause(id, until),
    );
    if (outcome.kind === 'ok') {
      const { later, revision } = outcome;
      const record =
        later === undefined ? write.record : decodeRecord<ShardRecord>(later.value, key);
      this.#put(id, { record, revision });
      return { record, revision };
    }
    await this.#refresh(id, outcome);
    if (write.expected > 0 && this.shard(id).revision <= write.expected) {
      // The store shows an old record: what took the revision is not to be seen yet.
      await this.#pause(id, until);
    }
    return null;
  }

  async #pause(id: ShardId, untilMs: number): Promise<void> {
    if (this.#nowMs() >= untilMs) {
      throw new SherdError('SHERD_FABRIC', 'the store does not say whether the change was made', {
        at: id,
        next: 'look at the shard and ask again',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }

  /** What the store has, when that is newer than this revision. */
  async #newer(id: ShardId, revision: number): Promise<Seen<ShardRecord> | undefined> {
    const entry = await this.fabric.records.get(KEY.shard(id)).catch(() => undefined);
    if (entry !== undefined) this.#seeShard(entry);
    const now = this.shard(id);
    return now.revision > revision ? now : undefined;
  }

  #compareAndSet(id: ShardId, write: SentWrite): Promise<CasOutcome> {
    return this.fabric.records
      .compareAndSet(KEY.shard(id), write.expected, encodeRecord(write.record))
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
  }

  async #refresh(id: ShardId, outcome: CasOutcome): Promise<void> {
    if (outcome.kind === 'conflict' && outcome.current !== undefined) {
      this.#seeShard(outcome.current);
      return;
    }
    const entry = await this.fabric.records.get(KEY.shard(id)).catch(() => null);
    if (entry === undefined) this.#shards.delete(id);
    else if (entry !== null) this.#seeShard(entry);
  }

  #watchShards(event: WatchEvent, opened: () => void): void {
    if (event.kind === 'put') this.#seeShard(event.entry);
    else if (event.kind === 'delete') this.#shardGone(idOf(KEY.shards, event.key), event.revision);
    else if (event.kind === 'snapshot') {
      const there = new Set(event.entries.map((entry) => idOf(KEY.shards, entry.key)));
      for (const entry of event.entries) this.#seeShard(entry);
      for (const id of [...this.#shards.keys()]) if (!there.has(id)) void this.#recheck(id);
      opened();
    }
  }

  /** Not in a snapshot: gone, or the snapshot is older than what we know. */
  async #recheck(id: ShardId): Promise<void> {
    const entry = await this.fabric.records.get(KEY.shard(id)).catch(() => null);
    if (entry === undefined) this.#shardGone(id, Number.POSITIVE_INFINITY);
  }

  #seeShard(entry: RecordEntry): void {
    try {
      const record = decodeRecord<ShardRecord>(entry.value, entry.key);
      this.#put(record.id, { record, revision: entry.revision });
    } catch {
      // A record of a newer version: left alone.
    }
  }

  #put(id: ShardId, seen: Seen<ShardRecord>): void {
    const before = this.#shards.get(id);
    if (before !== undefined && before.revision >= seen.revision) return;
    this.#shards.set(id, seen);
    for (const listener of [...this.#listeners]) listener.shard?.(seen, before?.record);
    this.#wake(id);
  }

  #shardGone(id: ShardId, revision: number): void {
    const last = this.#shards.get(id);
    if (last === undefined || last.revision > revision) return;
    this.#shards.delete(id);
    this.#progress.delete(id);
    for (const listener of [...this.#listeners]) listener.shardGone?.(id, last.record);
    this.#wake(id);
  }

  #watchNodes(event: WatchEvent, opened: () => void): void {
    if (event.kind === 'put') this.#seeNode(event.entry);
    else if (event.kind === 'delete') this.#nodeGone(idOf(KEY.nodes, event.key));
    else if (event.kind === 'snapshot') {
      const there = new Set(event.entries.map((entry) => idOf(KEY.nodes, entry.key)));
      for (const entry of event.entries) this.#seeNode(entry);
      for (const id of [...this.#nodes.keys()]) if (!there.has(id)) this.#nodeGone(id);
      opened();
    }
  }

  #seeNode(entry: RecordEntry): void {
    try {
      const record = decodeRecord<NodeRecord>(entry.value, entry.key);
      const before = this.#nodes.get(record.id);
      if (before !== undefined && before.revision >= entry.revision) return;
      const seen = { record, revision: entry.revision, changedMs: this.#nowMs() };
      this.#nodes.set(record.id, seen);
      for (const listener of [...this.#listeners]) listener.node?.(seen);
    } catch {
      // A record of a newer version: left alone.
    }
  }

  #nodeGone(id: NodeId): void {
    if (!this.#nodes.delete(id)) return;
    for (const listener of [...this.#listeners]) listener.nodeGone?.(id);
  }

  #onProgress(payload: Uint8Array): void {
    let hint: ProgressHint;
    try {
      hint = decodePlain(payload) as ProgressHint;
    } catch {
      return;
    }
    if (!this.#shards.has(hint.shardId)) return;
    const seen = { hint, atMs: this.#nowMs() };
    this.#progress.set(hint.shardId, seen);
    for (const listener of [...this.#listeners]) listener.progress?.(seen);
    this.#wake(hint.shardId);
  }

  #wake(id: ShardId): void {
    for (const wake of [...(this.#waiting.get(id) ?? [])]) wake();
  }
}

/** Is our write in this record, or under a later change of the request? */
function isUnder(write: SentWrite, there: ShardRecord): boolean {
  return settle({ record: there, revision: write.expected + 1 }, write) === 'landed';
}

function failuresIn(entry: RecordEntry): Seen<FailureRecord> {
  return {
    record: decodeRecord<FailureRecord>(entry.value, entry.key),
    revision: entry.revision,
  };
}

function idOf(prefix: string, key: string): string {
  return key.slice(prefix.length + 1);
}
