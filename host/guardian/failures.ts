/**
 * How often nodes fail: counts deaths over the time that nodes were watched, and keeps the count in one record.
 *
 * Does: see which node dies by the events that the scheduler sees too; say what is to be written when. Does not: write, read a
 * clock, or act on a death (the scheduler does).
 *
 *   node, node-gone, node-dead, tick ──▶ deaths, node time ──next()──▶ compare-and-set of `failures` ──▶ nodes: checkpoint interval
 *                                             ▲                                    │
 *                                             └───────── answer(), see() ──────────┘
 *
 * F1  A death is a process that was seen to die, or a lease that ran out. A node that goes in good order (it drains, or takes its
 *     record away) did not fail.
 * F2  What is counted is base (the newest record that is known) + delta (what was seen since). A write adds the delta; a record of
 *     another writer replaces the base, and deaths that it names leave the delta: none is counted twice.
 * F3  What is old weighs less: half after HALF_LIFE_MS of watching. So the rate follows the machines of today, and stays bounded.
 * F4  A write whose outcome is unknown is sent again unchanged until it is settled.
 * F5  The observer's own standing still is no node time (as in core/leases G2).
 */
import { LEASE_MS, Leases } from '../core/leases.js';
import type { BrainEvent, Seen } from '../types/brain.js';
import type { FailureRecord, NodeId, NodeRecord } from '../types/records.js';
import { mtbfMs } from './interval.js';

const HALF_LIFE_MS = 86_400_000;
/** Node time is written down this often, when nobody dies. */
const SAVE_MS = 30_000;
/** Names of the dead that are kept in the record. */
const COUNTED_MAX = 64;

export interface FailureWrite {
  readonly expected: number;
  readonly record: FailureRecord;
}

export type FailureAnswer =
  | { readonly kind: 'ok'; readonly revision: number }
  | { readonly kind: 'conflict'; readonly current: Seen<FailureRecord> | null }
  | { readonly kind: 'unknown' };

interface Stamp {
  readonly writer: string;
  readonly attempt: number;
}

type Tally = Pick<FailureRecord, 'failures' | 'nodeTimeMs' | 'counted'>;

const NOTHING: Tally = { failures: 0, nodeTimeMs: 0, counted: [] };

export class FailureLog {
  readonly #leaseMs: number;
  readonly #leases: Leases;
  readonly #alive = new Map<NodeId, { readonly draining: boolean }>();
  #lastMs: number | null = null;

  #base: Tally = NOTHING;
  #revision = 0;
  /** Watching since the base was seen (F3). */
  #watchedMs = 0;
  #deaths: NodeId[] = [];
  #nodeTimeMs = 0;
  #savedMs = 0;
  #write: FailureWrite | null = null;
  #inFlight = false;

  constructor(leaseMs = LEASE_MS) {
    this.#leaseMs = leaseMs;
    this.#leases = new Leases(leaseMs);
  }

  /** Takes in what happens; all but nodes and time is ignored. */
  handle(event: BrainEvent): void {
    this.#pass(event.nowMs);
    for (const id of this.#leases.expire(event.nowMs)) this.#died(id);
    if (event.kind === 'node') this.#node(event.seen, event.nowMs);
    else if (event.kind === 'node-gone') this.#gone(event.nodeId);
    else if (event.kind === 'node-dead') {
      this.#leases.died(event.nodeId);
      this.#died(event.nodeId);
    }
  }

  /** The record as it is in the store: a newer one than is known replaces the base (F2). */
  see(seen: Seen<FailureRecord>): void {
    if (seen.revision <= this.#revision) return;
    const write = this.#write;
    if (write !== null && isOurs(seen.record, write.record)) {
      this.#landed(write, seen.revision);
      return;
    }
    this.#write = null;
    this.#rebase(seen.record, seen.revision);
  }

  /** The write that is due now; null = none. Its outcome must be given to `answer` before there is another one. */
  next(nowMs: number, stamp: () => Stamp): FailureWrite | null {
    if (this.#inFlight) return null;
    this.#pass(nowMs);
    const due = this.#deaths.length > 0 || this.#watchedMs - this.#savedMs >= SAVE_MS;
    if (this.#write === null && !due) return null;
    this.#inFlight = true;
    this.#savedMs = this.#watchedMs;
    if (this.#write === null) {
      const { writer, attempt } = stamp();
      const record: FailureRecord = { v: 1, ...this.tally, writer, attempt };
      this.#write = { expected: this.#revision, record };
    }
    return this.#write;
  }

  /** False: what is there is not known; the caller reads the record and calls `see`. */
  answer(answer: FailureAnswer): boolean {
    this.#inFlight = false;
    const write = this.#write;
    if (answer.kind === 'unknown' || write === null) return true;
    if (answer.kind === 'ok') {
      this.#landed(write, answer.revision);
      return true;
    }
    const { current } = answer;
    if (current === null || current.revision <= this.#revision) return false;
    this.see(current);
    return true;
  }

  /** All that is known now. */
  get tally(): Tally {
    const weight = 2 ** (-this.#watchedMs / HALF_LIFE_MS);
    const { failures, nodeTimeMs, counted } = this.#base;
    return {
      failures: failures * weight + this.#deaths.length,
      nodeTimeMs: nodeTimeMs * weight + this.#nodeTimeMs,
      counted: [...counted, ...this.#deaths].slice(-COUNTED_MAX),
    };
  }

  /** Mean time between failures of one node. */
  get mtbfMs(): number {
    const { failures, nodeTimeMs } = this.tally;
    return mtbfMs(failures, nodeTimeMs);
  }

  #pass(nowMs: number): void {
    const passedMs = Math.min(Math.max(0, nowMs - (this.#lastMs ?? nowMs)), this.#leaseMs / 4);
    this.#lastMs = Math.max(nowMs, this.#lastMs ?? nowMs);
    this.#watchedMs += passedMs;
    this.#nodeTimeMs += passedMs * this.#alive.size;
  }

  #node({ record, revision }: Seen<NodeRecord>, nowMs: number): void {
    this.#leases.observe(record.id, revision, nowMs);
    if (this.#leases.isAlive(record.id)) this.#alive.set(record.id, { draining: record.draining });
  }

  #gone(id: NodeId): void {
    this.#alive.delete(id);
    this.#leases.forget(id);
  }

  #died(id: NodeId): void {
    const node = this.#alive.get(id);
    if (node === undefined) return;
    this.#alive.delete(id);
    if (!node.draining && !this.#isCounted(id)) this.#deaths.push(id);
  }

  #isCounted(id: NodeId): boolean {
    return this.#base.counted.includes(id) || this.#deaths.includes(id);
  }

  /** Everything in the write is in the base now; what was seen since stays in the delta. */
  #landed(write: FailureWrite, revision: number): void {
    const { failures, nodeTimeMs, counted } = write.record;
    const before = this.tally;
    const known = new Set(counted);
    this.#write = null;
    this.#base = { failures, nodeTimeMs, counted };
    this.#revision = revision;
    this.#watchedMs = 0;
    this.#savedMs = 0;
    this.#nodeTimeMs = Math.max(0, before.nodeTimeMs - nodeTimeMs);
    this.#deaths = this.#deaths.filter((id) => !known.has(id));
  }

  #rebase(record: FailureRecord, revision: number): void {
    const { failures, nodeTimeMs, counted } = record;
    this.#base = { failures, nodeTimeMs, counted };
    this.#revision = revision;
    this.#watchedMs = 0;
    this.#savedMs = 0;
    const known = new Set(counted);
    this.#deaths = this.#deaths.filter((id) => !known.has(id));
  }
}

/** What a record says of the mean time between failures of one node; null = there is no record yet. */
export function mtbfOf(record: FailureRecord | null): number {
  return record === null ? mtbfMs(0, 0) : mtbfMs(record.failures, record.nodeTimeMs);
}

function isOurs(there: FailureRecord, sent: FailureRecord): boolean {
  return there.writer === sent.writer && there.attempt === sent.attempt;
}
