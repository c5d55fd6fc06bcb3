/**
 * Runs the brain: feeds the pure deciders with what happens, carries out what they decide.
 *
 *     Cluster ──records, progress──▶ Oracle ──forecasts──▶ Scheduler ──actions──▶ compare-and-set, hints
 *     clock ────ticks──────────────────────────────────────▶   ▲                      │
 *     supervisor, process table ──node-dead────────────────────┘ ◀── action-done ─────┘
 *
 * Does: own the monotonic clock that the deciders see, the ticks, and the trace of the workflow's steps.
 * Does not: decide. Holding the lease is the caller's business: without it `stop` has been called.
 *
 * B1  Each action is one compare-and-set at the revision for which it was decided; its outcome goes back as an event.
 * B2  Everything the deciders know comes from records: a new brain fed with the same records goes on.
 */
import { Oracle } from '../oracle/oracle.js';
import { assign, recover, setWanted, type Transition } from '../protocol/shard-record.js';
import { Scheduler } from '../scheduler/scheduler.js';
import type { BrainAction, BrainEvent, Seen, TraceEvent } from '../types/brain.js';
import { type NodeHint, SUBJECT } from '../types/hints.js';
import { encodePlain } from '../types/pack.js';
import type { NodeId, ShardId, ShardRecord } from '../types/records.js';
import type { Cluster, NodeSeen, ProgressSeen } from './cluster.js';
import type { Trace } from './trace.js';

const TICK_MS = 100;
const HORIZON_MS = 5_000;

export interface BrainOptions {
  readonly cluster: Cluster;
  readonly trace: Trace;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** True when no process of this machine has this id. */
  readonly isGone: (pid: number) => boolean;
  /** Name of this machine, as nodes write it. */
  readonly host: string;
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

export class Brain {
  readonly #options: BrainOptions;
  readonly #scheduler = new Scheduler();
  readonly #oracle = new Oracle();
  readonly #dead = new Set<NodeId>();
  readonly #alarmed = new Map<NodeId, boolean>();
  #unlisten: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #tracing = false;

  constructor(options: BrainOptions) {
    this.#options = options;
  }

  /** Takes in what there is and begins to decide. */
  start(): void {
    const { cluster } = this.#options;
    this.#running = true;
    this.#unlisten = cluster.listen({
      shard: (seen, before) => this.#onShard(seen, before),
      shardGone: (shardId) => this.#feed({ kind: 'shard-gone', shardId }),
      node: (seen) => this.#onNode(seen),
      nodeGone: (nodeId) => this.#onNodeGone(nodeId),
      progress: (seen) => this.#onProgress(seen),
    });
    for (const seen of cluster.nodes.values()) this.#onNode(seen);
    for (const seen of cluster.shards.values()) this.#feed({ kind: 'shard', seen });
    this.#tracing = true;
    this.#tick();
  }

  stop(): void {
    this.#running = false;
    this.#unlisten?.();
    clearTimeout(this.#timer);
  }

  /** A supervisor saw this node's process end. */
  nodeDied(nodeId: NodeId): void {
    if (this.#dead.has(nodeId)) return;
    this.#dead.add(nodeId);
    this.#trace(5, 'node died', null, nodeId, 'its process has ended');
    this.#feed({ kind: 'node-dead', nodeId });
  }

  /** Asks the scheduler to move a shard (null = wherever it thinks best). */
  requestMove(shardId: ShardId, target: NodeId | null): void {
    this.#feed({ kind: 'request-move', shardId, target });
  }

  /** Why a shard does not run, now; empty while it runs. */
  why(shardId: ShardId): string {
    return this.#scheduler.why(shardId);
  }

  isAlive(nodeId: NodeId): boolean {
    return !this.#dead.has(nodeId) && this.#scheduler.isAlive(nodeId);
  }

  #feed(event: Untimed<BrainEvent>): void {
    if (!this.#running) return;
    const actions = this.#scheduler.handle({
      ...event,
      nowMs: this.#options.nowMs(),
    } as BrainEvent);
    for (const action of actions) void this.#execute(action);
  }

  #tick(): void {
    if (!this.#running) return;
    this.#buryTheDead();
    this.#feed({ kind: 'tick' });
    this.#timer = setTimeout(() => this.#tick(), TICK_MS);
  }

  async #execute(action: BrainAction): Promise<void> {
    if (action.kind === 'explain') return;
    const { cluster } = this.#options;
    const seen = cluster.shards.get(action.shardId);
    let outcome: 'ok' | 'conflict' | 'unknown' = 'conflict';
    if (seen !== undefined && seen.revision === action.revision) {
      const next = this.#transition(action, seen.record);
      if (next.ok) {
        this.#prepare(action, seen.record);
        outcome = await cluster.attempt(action.shardId, action.revision, next.record);
        if (outcome === 'ok') this.#carriedOut(action, seen.record);
      }
    }
    this.#feed({ kind: 'action-done', actionId: action.id, outcome });
  }

  #transition(action: Exclude<BrainAction, { kind: 'explain' }>, record: ShardRecord): Transition {
    const stamp = this.#options.cluster.stamp(record);
    const actionId = action.id;
    switch (action.kind) {
      case 'assign':
        return assign(record, action.node, stamp);
      case 'migrate':
        return setWanted(record, { op: 'move', actionId, target: action.target }, stamp);
      case 'preempt':
        return setWanted(record, { op: 'preempt', actionId }, stamp);
      case 'recover':
        return recover(record, action.lost, action.why, stamp);
    }
  }

  /** The target compiles the module while the source still runs the shard. */
  #prepare(action: BrainAction, record: ShardRecord): void {
    if (action.kind !== 'migrate') return;
    this.hint(action.target, { kind: 'prepare', moduleHash: record.moduleHash });
  }

  #carriedOut(action: BrainAction, before: ShardRecord): void {
    const { shardId } = action;
    switch (action.kind) {
      case 'assign':
        this.#traceNeeds(before);
        this.#trace(4, 'assigned', shardId, action.node, action.why);
        this.hint(action.node, { kind: 'look', shardId });
        break;
      case 'migrate':
        this.#trace(7, 'move asked', shardId, action.target, action.why);
        if (before.owner !== null) this.hint(before.owner, { kind: 'look', shardId });
        break;
      case 'preempt':
        this.#trace(7, 'preempted', shardId, before.owner, `${action.why} (for ${action.by})`);
        if (before.owner !== null) this.hint(before.owner, { kind: 'look', shardId });
        break;
      case 'recover':
        this.#trace(5, 'recovered', shardId, action.lost, action.why);
        break;
      case 'explain':
        break;
    }
  }

  hint(nodeId: NodeId, hint: NodeHint): void {
    this.#options.cluster.fabric.messages.publish(SUBJECT.node(nodeId), encodePlain(hint));
  }

  #traceNeeds(record: ShardRecord): void {
    const needs = this.#oracle.needs(record.moduleHash, record.memoryBytes);
    const mebibytes = (needs.memoryBytes.p90 / 1_048_576).toFixed(1);
    const detail = `cpu ${needs.cpu.p90.toFixed(2)} cores, memory ${mebibytes} MiB at P90 (${needs.model})`;
    this.#trace(3, 'needs predicted', record.id, null, detail);
  }

  #onShard(seen: Seen<ShardRecord>, before: ShardRecord | undefined): void {
    if (this.#tracing) this.#traceChange(seen.record, before);
    this.#feed({ kind: 'shard', seen });
  }

  #onNode(seen: NodeSeen): void {
    const { record } = seen;
    if (this.#dead.has(record.id)) return;
    const atMs = this.#options.nowMs();
    const capacity = { cores: record.workers, memoryBytes: record.memoryBytes };
    this.#oracle.observe({ nodeId: record.id, atMs, values: record.sample }, capacity);
    this.#feed({ kind: 'node', seen });
    const forecast = this.#oracle.forecast(record.id, HORIZON_MS);
    if (forecast === undefined) return;
    const alarmed = forecast.contention >= 0.5;
    if (alarmed !== (this.#alarmed.get(record.id) ?? false)) {
      this.#alarmed.set(record.id, alarmed);
      const percent = Math.round(forecast.contention * 100);
      const detail = `contention ${percent} % within ${HORIZON_MS} ms (${forecast.model})`;
      this.#trace(6, alarmed ? 'bottleneck predicted' : 'bottleneck over', null, record.id, detail);
    }
    this.#feed({ kind: 'forecast', forecast });
  }

  #onNodeGone(nodeId: NodeId): void {
    this.#oracle.forget(nodeId);
    this.#alarmed.delete(nodeId);
    this.#trace(5, 'node left', null, nodeId, 'its lease was given up');
    this.#feed({ kind: 'node-gone', nodeId });
    this.#dead.delete(nodeId);
  }

  #onProgress(seen: ProgressSeen): void {
    const { hint, atMs } = seen;
    const { shardId, fuelUsed, fuelPerSecond, memoryBytes, capsuleBytes } = hint;
    const sample = { shardId, atMs, fuelUsed, fuelPerSecond, memoryBytes, capsuleBytes };
    const record = this.#options.cluster.shards.get(shardId)?.record;
    if (record !== undefined) this.#oracle.observeShard(record.moduleHash, sample);
    this.#feed({ kind: 'progress', sample });
  }

  /** Nodes of this machine whose process is gone; records of dead nodes that own nothing any more. */
  #buryTheDead(): void {
    const { cluster, isGone, host } = this.#options;
    for (const { record } of cluster.nodes.values()) {
      if (record.host === host && !this.#dead.has(record.id) && isGone(record.pid))
        this.nodeDied(record.id);
    }
    if (this.#dead.size === 0) return;
    const owners = new Set([...cluster.shards.values()].map((seen) => seen.record.owner));
    for (const id of this.#dead) {
      if (cluster.nodes.has(id) && !owners.has(id))
        void cluster.removeNode(id).catch(() => undefined);
    }
  }

  #trace(
    step: TraceEvent['step'],
    what: string,
    shardId: ShardId | null,
    nodeId: NodeId | null,
    detail: string,
  ): void {
    this.#options.trace.add({ atMs: this.#options.wallMs(), step, what, shardId, nodeId, detail });
  }

  #traceChange(after: ShardRecord, before: ShardRecord | undefined): void {
    const { id } = after;
    const fuel = `fuel ${after.fuelUsed}`;
    if (before === undefined) {
      this.#trace(
        1,
        'input received',
        id,
        null,
        `${after.name}, module ${after.moduleHash.slice(0, 12)}`,
      );
      this.#trace(2, 'decomposed', id, null, 'one shard: the whole program');
      return;
    }
    if (after.moves > before.moves) {
      const detail = `${before.owner ?? '?'} → ${after.owner ?? '?'}, capsule ${after.capsuleBytes} bytes, ${fuel}`;
      this.#trace(7, 'migrated', id, after.owner, detail);
      return;
    }
    if (after.status === before.status) {
      if (after.capsule !== before.capsule) {
        this.#trace(
          5,
          'committed',
          id,
          after.owner,
          `capsule ${after.capsuleBytes} bytes, ${fuel}`,
        );
      }
      return;
    }
    if (after.status === 'running') {
      this.#trace(
        before.moves > 0 || before.capsule !== null ? 7 : 5,
        after.capsule === null ? 'started' : 'resumed',
        id,
        after.owner,
        fuel,
      );
    } else if (after.status === 'paused') this.#trace(5, 'paused', id, before.owner, fuel);
    else if (after.status === 'queued') this.#trace(4, 'queued', id, before.owner, after.reason);
    else if (after.status === 'done') {
      const exit = after.exit;
      this.#trace(
        5,
        'done',
        id,
        before.owner,
        `${exit?.reason ?? ''} ${exit?.code ?? ''}, ${fuel}`,
      );
    }
  }
}
