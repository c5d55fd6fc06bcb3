/**
 * A bench for the scheduler: a record store of shards and nodes that carries its actions out, or not.
 *
 * Does: keep records with revisions, apply actions as control does, remember them, and judge on the way that nothing is issued twice
 * for one revision. Does not: run shards; tests say when a node takes up or answers.
 */
import { expect } from 'vitest';
import { transitionOf } from '../../host/protocol/brain-action.js';
import type { SchedulerOptions } from '../../host/scheduler/book.js';
import { Scheduler } from '../../host/scheduler/scheduler.js';
import type { BrainAction, BrainEvent } from '../../host/types/brain.js';
import type { NodeRecord, ShardRecord } from '../../host/types/records.js';
import { node, queued } from '../protocol/records.js';

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

export const MIB = 1_048_576;

export class Bench {
  readonly scheduler: Scheduler;
  readonly shards = new Map<string, { record: ShardRecord; revision: number }>();
  readonly nodes = new Map<string, { record: NodeRecord; revision: number }>();
  readonly all: BrainAction[] = [];
  nowMs = 0;
  #revision = 0;
  readonly #open = new Set<string>();

  constructor(options: Partial<SchedulerOptions> = {}) {
    this.scheduler = new Scheduler(options);
  }

  feed(event: Untimed<BrainEvent>): BrainAction[] {
    const actions = this.scheduler.handle({ ...event, nowMs: this.nowMs } as BrainEvent);
    for (const action of actions) {
      if (action.kind === 'explain') continue;
      expect(this.#open.has(action.id), `${action.id} twice`).toBe(false);
      this.#open.add(action.id);
    }
    this.all.push(...actions);
    return actions;
  }

  /** From now on the action may be issued again (its time has run out). */
  forget(id: string): void {
    this.#open.delete(id);
  }

  shard(id: string, change: Partial<ShardRecord> = {}): BrainAction[] {
    const before = this.shards.get(id)?.record ?? queued(id);
    return this.put({ ...before, ...change });
  }

  put(record: ShardRecord): BrainAction[] {
    this.#revision += 1;
    this.shards.set(record.id, { record, revision: this.#revision });
    return this.feed({ kind: 'shard', seen: { record, revision: this.#revision } });
  }

  node(id: string, change: Partial<NodeRecord> = {}): BrainAction[] {
    const before = this.nodes.get(id)?.record ?? node(id);
    this.#revision += 1;
    const seen = { record: { ...before, ...change }, revision: this.#revision };
    this.nodes.set(id, seen);
    return this.feed({ kind: 'node', seen });
  }

  /** Carries an action out, as control does. */
  apply(action: BrainAction): BrainAction[] {
    if (action.kind === 'explain') return [];
    const seen = this.shards.get(action.shardId);
    if (seen === undefined || seen.revision !== action.revision) return [];
    const stamp = { writer: 'control', attempt: this.#revision };
    const next = transitionOf(action, seen.record, stamp);
    if (!next.ok) throw new Error(next.refusal.message);
    return this.put(next.record);
  }

  /** Carries everything out, and what follows from it. */
  applyAll(actions: readonly BrainAction[]): void {
    let waiting = [...actions];
    for (let i = 0; waiting.length > 0; i++) {
      expect(i).toBeLessThan(1_000);
      waiting = waiting.flatMap((action) => this.apply(action));
    }
  }

  /** Every owner takes up what it was given, moves what it was asked to, requeues what is preempted. */
  nodesAct(): void {
    for (const { record } of [...this.shards.values()]) {
      const { wanted, owner, epoch } = record;
      if (wanted?.op === 'move') {
        const moved = {
          owner: wanted.target,
          epoch: epoch + 1,
          wanted: null,
          moves: record.moves + 1,
        };
        this.applyAll(this.put({ ...record, ...moved, status: 'assigned' }));
      } else if (wanted?.op === 'preempt') {
        this.applyAll(this.put({ ...record, owner: null, wanted: null, status: 'queued' }));
      } else if (owner !== null && record.status === 'assigned') {
        this.applyAll(this.put({ ...record, status: 'running' }));
      }
    }
  }

  /** Time passes in ticks; the nodes named beat meanwhile. */
  pass(ms: number, beating: readonly string[] = [...this.nodes.keys()]): BrainAction[] {
    const from = this.all.length;
    for (let end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs = Math.min(end, this.nowMs + 100);
      for (const id of beating) this.node(id);
      this.feed({ kind: 'tick' });
    }
    return this.all.slice(from);
  }

  on(nodeId: string): string[] {
    return [...this.shards.values()]
      .filter(({ record }) => record.owner === nodeId)
      .map(({ record }) => record.id);
  }

  of(kind: BrainAction['kind']): BrainAction[] {
    return this.all.filter((action) => action.kind === kind);
  }
}

/** A node with this many settled shards, the first the smallest, and an empty one beside it. */
export function crowded(shards: number): Bench {
  const bench = new Bench({ slotsPerWorker: 4, settleMs: 1_000 });
  bench.node('a', { workers: 1 });
  for (let i = 0; i < shards; i++)
    bench.applyAll(bench.shard(`s${i}`, { memoryBytes: (20 + i) * MIB }));
  bench.nodesAct();
  bench.node('b', { workers: 1 });
  bench.pass(1_500);
  return bench;
}
