/**
 * Who is alive, by leases: the one place where that is decided (scheduler and guardian share it).
 *
 * Does: watch the revisions of node records and say which stood still for leaseMs. Does not: read a clock or act on it.
 *
 * G1  Only the observer's own clock counts; the beat in the record is never compared with a time.
 * G2  Time in which the observer itself stood still (no call for longer than a quarter of the lease) does not count: a control
 *     process that was stopped for a minute must not declare every node dead.
 * G3  A node that the supervisor saw die stays dead, whatever beats still arrive: a NodeId is never used again.
 * G4  Each expiry is reported once. A node whose revision moves after its expiry is alive again.
 * G5  `observe` and each expiry take O(log n).
 */

import type { NodeId } from '../types/records.js';
import { IndexedHeap } from './indexed-heap.js';

/** How long a node's record may stand still, ms of the observer's clock. */
export const LEASE_MS = 3_000;

interface Lease {
  readonly nodeId: NodeId;
  revision: number;
  /** On the observer's own clock (G2). */
  untilMs: number;
  state: 'alive' | 'expired' | 'dead';
}

export class Leases {
  readonly leaseMs: number;
  readonly #leases = new Map<NodeId, Lease>();
  readonly #byTime = new IndexedHeap<NodeId>((a, b) => this.#until(a) - this.#until(b));
  #lastMs: number | null = null;
  #clockMs = 0;

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs;
  }

  /** A node's record was seen at this revision. True = it (again) counts as alive from now on. */
  observe(nodeId: NodeId, revision: number, nowMs: number): boolean {
    this.#advance(nowMs);
    const lease = this.#leases.get(nodeId);
    if (lease === undefined) {
      this.#add(nodeId, revision);
      return true;
    }
    if (lease.state === 'dead' || revision <= lease.revision) return false;
    const revived = lease.state === 'expired';
    lease.revision = revision;
    lease.untilMs = this.#clockMs + this.leaseMs;
    lease.state = 'alive';
    this.#byTime.set(nodeId);
    return revived;
  }

  /** A node that should exist (a shard names it) but whose record was not seen: it has one lease to show up. */
  expect(nodeId: NodeId, nowMs: number): void {
    this.#advance(nowMs);
    if (!this.#leases.has(nodeId)) this.#add(nodeId, 0);
  }

  /** The supervisor saw the process die. */
  died(nodeId: NodeId): void {
    const lease = this.#leases.get(nodeId) ?? this.#add(nodeId, 0);
    lease.state = 'dead';
    this.#byTime.delete(nodeId);
  }

  forget(nodeId: NodeId): void {
    this.#leases.delete(nodeId);
    this.#byTime.delete(nodeId);
  }

  isAlive(nodeId: NodeId): boolean {
    return this.#leases.get(nodeId)?.state === 'alive';
  }

  knows(nodeId: NodeId): boolean {
    return this.#leases.has(nodeId);
  }

  isDead(nodeId: NodeId): boolean {
    return this.#leases.get(nodeId)?.state === 'dead';
  }

  /** Nodes whose lease ran out since the last call. */
  expire(nowMs: number): NodeId[] {
    this.#advance(nowMs);
    const expired: NodeId[] = [];
    for (let id = this.#byTime.first(); id !== undefined; id = this.#byTime.first()) {
      const lease = this.#leases.get(id);
      if (lease === undefined || lease.untilMs > this.#clockMs) break;
      lease.state = 'expired';
      this.#byTime.delete(id);
      expired.push(id);
    }
    return expired;
  }

  #add(nodeId: NodeId, revision: number): Lease {
    const lease: Lease = {
      nodeId,
      revision,
      untilMs: this.#clockMs + this.leaseMs,
      state: 'alive',
    };
    this.#leases.set(nodeId, lease);
    this.#byTime.set(nodeId);
    return lease;
  }

  #advance(nowMs: number): void {
    const passedMs = this.#lastMs === null ? 0 : Math.max(0, nowMs - this.#lastMs);
    this.#lastMs = Math.max(nowMs, this.#lastMs ?? nowMs);
    this.#clockMs += Math.min(passedMs, this.leaseMs / 4);
  }

  #until(nodeId: NodeId): number {
    return this.#leases.get(nodeId)?.untilMs ?? 0;
  }
}
