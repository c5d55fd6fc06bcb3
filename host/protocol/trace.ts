/**
 * The workflow made visible: turns what the brain sees and does into the lines of `sherd events`.
 *
 * Does: number the steps of the workflow, notice changes between two sights of a record. Does not: decide, store or print.
 *
 *   1 program received   2 cut into shards   3 needs predicted   4 assigned (or why not)
 *   5 runs, ends         6 load and failures watched, bottleneck predicted   7 preempted, captured, moved, resumed, recovered
 *
 * V1  One line a change: a record seen again, or an unchanged forecast, gives none.
 * V2  Its state is one small note a shard and a node that exist.
 *     A record that was assigned and has then ended, or is paused, with more fuel used, ran in between: that is said too.
 * V3  Two things are too little: the cores of a machine, said once for all its nodes, and the workers of a node.
 */
import {
  BOTTLENECK,
  type BrainAction,
  type BrainEvent,
  type Forecast,
  type Quantiles,
  type TraceEvent,
} from '../types/brain.js';
import type { NodeId, NodeRecord, ShardId, ShardRecord } from '../types/records.js';

type Step = TraceEvent['step'];

/** What the generator and the oracle said of a new shard; passed in by the caller, who asked them. */
export interface DecompositionNote {
  readonly shards: number;
  readonly candidates: number;
  readonly instructions: number;
}

export interface PredictionNote {
  readonly memoryBytes: number;
  readonly samples: number;
  readonly model: string;
  /** In all; absent or null: no shard of its program has ended yet. */
  readonly fuel?: Quantiles | null;
}

/** Work beyond the workers, in cores, from which on shards are said to take turns. */
const TURNS = 0.5;

export class Trace {
  readonly #shards = new Map<ShardId, ShardRecord>();
  /** Machines whose cores are, or will be, too few; nodes whose workers are. */
  readonly #short = new Set<string>();
  readonly #crowded = new Set<NodeId>();
  /** Nodes, and the machine that each one was last said to be on. */
  readonly #watched = new Set<NodeId>();
  readonly #machines = new Map<NodeId, string>();
  /** Nodes whose shards take turns. */
  readonly #sharing = new Set<NodeId>();
  #lastDead: NodeId | null = null;
  #seq = 0;
  #atMs = 0;
  #out: TraceEvent[] = [];

  /** The lines of one event and of what the brain decided upon it. */
  of(event: BrainEvent, actions: readonly BrainAction[]): TraceEvent[] {
    this.#atMs = event.nowMs;
    this.#event(event);
    for (const action of actions) this.#action(action);
    return this.#take();
  }

  /** The brain begins: what it found. */
  began(nowMs: number, records: readonly ShardRecord[]): TraceEvent[] {
    this.#atMs = nowMs;
    const count = (...statuses: ShardRecord['status'][]): number =>
      records.filter(({ status }) => statuses.includes(status)).length;
    const detail = `${count('running', 'assigned')} shard(s) run, ${count('queued')} wait, ${count('paused')} paused, ${count('done')} done`;
    this.#add(6, 'control began', null, null, detail);
    return this.#take();
  }

  /** The guardian wrote down how often nodes fail; said when another one has died. */
  rated(nowMs: number, lastDead: NodeId | null, mtbfMs: number): TraceEvent[] {
    this.#atMs = nowMs;
    if (lastDead !== this.#lastDead) {
      const hours = (mtbfMs / 3_600_000).toFixed(1);
      this.#add(6, 'failure rate', null, null, `a node fails every ${hours} h: checkpoints follow`);
    }
    this.#lastDead = lastDead;
    return this.#take();
  }

  /** What the oracle had learned could not be taken up. */
  forgot(nowMs: number, why: string): TraceEvent[] {
    this.#atMs = nowMs;
    this.#add(3, 'oracle begins anew', null, null, why);
    return this.#take();
  }

  /** Step 2. */
  decomposed(nowMs: number, shardId: ShardId, note: DecompositionNote): TraceEvent[] {
    this.#atMs = nowMs;
    const detail = `${note.shards} shard(s), ${note.candidates} place(s) to cut later, about ${note.instructions} instructions`;
    this.#add(2, 'decomposed', shardId, null, detail);
    return this.#take();
  }

  /** Step 3. */
  predicted(nowMs: number, shardId: ShardId, note: PredictionNote): TraceEvent[] {
    this.#atMs = nowMs;
    const memory = `${mib(note.memoryBytes)} of memory`;
    const { fuel } = note;
    const needs = fuel ? `${memory}, ${short(fuel.p50)} fuel (P99 ${short(fuel.p99)})` : memory;
    const detail = `${needs} (${note.model}, ${note.samples} samples)`;
    this.#add(3, 'predicted', shardId, null, detail);
    return this.#take();
  }

  #event(event: BrainEvent): void {
    switch (event.kind) {
      case 'shard':
        this.#shard(event.seen.record);
        break;
      case 'shard-gone':
        if (this.#shards.delete(event.shardId)) this.#add(5, 'removed', event.shardId, null, '');
        break;
      case 'forecast':
        this.#forecast(event.forecast);
        break;
      case 'node':
        if (!this.#watched.has(event.seen.record.id)) {
          this.#watched.add(event.seen.record.id);
          this.#add(
            6,
            'watching',
            null,
            event.seen.record.id,
            `${event.seen.record.workers} workers`,
          );
        }
        this.#turns(event.seen.record);
        break;
      case 'node-gone':
      case 'node-dead':
        this.#leave(event.nodeId);
        if (this.#watched.delete(event.nodeId))
          this.#add(6, 'lost', null, event.nodeId, event.kind);
        break;
      default:
    }
  }

  #shard(now: ShardRecord): void {
    const before = this.#shards.get(now.id);
    this.#shards.set(now.id, now);
    if (ranUnseen(before, now)) this.#add(5, 'runs', now.id, before?.owner ?? null, '');
    if (before === undefined) {
      if (now.epoch === 0) this.#add(1, 'received', now.id, null, now.name);
    } else if (now.capsule !== before.capsule && now.capsule !== null) {
      const detail = `${now.capsuleBytes} bytes at fuel ${now.fuelUsed}`;
      this.#add(7, 'captured', now.id, before.owner, detail);
    }
    if (before !== undefined && now.moves > before.moves) {
      this.#add(7, 'moved', now.id, now.owner, `${before.owner ?? '?'} → ${now.owner ?? '?'}`);
    }
    if (before !== undefined && now.restarts > before.restarts) {
      this.#add(7, 'recovered', now.id, before.owner, now.reason);
    }
    if (now.status !== before?.status) this.#status(now);
  }

  #status(now: ShardRecord): void {
    if (now.status === 'running') {
      if (now.fuelUsed > 0n) this.#add(7, 'resumed', now.id, now.owner, `at fuel ${now.fuelUsed}`);
      this.#add(5, 'runs', now.id, now.owner, '');
    }
    if (now.status === 'paused') this.#add(5, 'paused', now.id, null, now.reason);
    if (now.status === 'done') {
      this.#add(
        5,
        'ended',
        now.id,
        null,
        `${now.exit?.reason ?? ''} ${now.exit?.code ?? ''}`.trim(),
      );
    }
  }

  /** More shards want to run on a node than it has workers: they are preempted by quantum. */
  #turns({ id, workers, sample }: NodeRecord): void {
    const wanted = sample.runnable;
    const sharing = this.#sharing.has(id);
    const detail = `${wanted.toFixed(1)} shards' worth of work for ${workers} worker(s)`;
    if (!sharing && wanted >= workers + TURNS) {
      this.#sharing.add(id);
      this.#add(7, 'preempt by quantum', null, id, `${detail}: they take turns`);
    } else if (sharing && wanted <= workers) {
      this.#sharing.delete(id);
      this.#add(7, 'turns over', null, id, detail);
    }
  }

  #forecast(forecast: Forecast): void {
    const { nodeId, machine, contention, crowded } = forecast;
    this.#machines.set(nodeId, machine.id);
    const short = this.#short.has(machine.id);
    if (!short && contention >= BOTTLENECK.predictedFrom) {
      this.#short.add(machine.id);
      this.#add(6, 'bottleneck predicted', null, nodeId, coresText(forecast));
    } else if (short && contention < BOTTLENECK.overBelow) {
      this.#short.delete(machine.id);
      this.#add(6, 'bottleneck over', null, nodeId, coresText(forecast));
    }
    if (crowded === this.#crowded.has(nodeId)) return;
    if (crowded) this.#crowded.add(nodeId);
    else this.#crowded.delete(nodeId);
    const what = crowded ? 'bottleneck predicted' : 'bottleneck over';
    const detail = crowded ? 'its shards wait for its workers' : 'enough workers for its shards';
    this.#add(6, what, null, nodeId, `${detail} (${forecast.model})`);
  }

  #leave(nodeId: NodeId): void {
    this.#sharing.delete(nodeId);
    this.#crowded.delete(nodeId);
    const machine = this.#machines.get(nodeId);
    this.#machines.delete(nodeId);
    if (machine === undefined || [...this.#machines.values()].includes(machine)) return;
    this.#short.delete(machine);
  }

  #action(action: BrainAction): void {
    switch (action.kind) {
      case 'assign':
        this.#add(4, 'assign', action.shardId, action.node, action.why);
        break;
      case 'explain':
        this.#add(4, 'waits', action.shardId, null, action.why);
        break;
      case 'preempt':
        this.#add(7, 'preempt', action.shardId, null, `${action.why} (for ${action.by})`);
        break;
      case 'migrate':
        this.#add(7, 'migrate', action.shardId, action.target, action.why);
        break;
      case 'redirect':
        this.#add(7, 'redirect', action.shardId, action.node, action.why);
        break;
      case 'cancel':
        this.#add(7, 'move cancelled', action.shardId, null, action.why);
        break;
      case 'recover':
        this.#add(7, 'recover', action.shardId, action.lost, action.why);
        break;
    }
  }

  #add(
    step: Step,
    what: string,
    shardId: ShardId | null,
    nodeId: NodeId | null,
    detail: string,
  ): void {
    this.#seq += 1;
    this.#out.push({ seq: this.#seq, atMs: this.#atMs, step, what, shardId, nodeId, detail });
  }

  #take(): TraceEvent[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }
}

/** It ran, and stopped again, between two sights of its record. */
function ranUnseen(before: ShardRecord | undefined, now: ShardRecord): boolean {
  const stopped = now.status !== 'running' && now.status !== 'assigned';
  return before?.status === 'assigned' && stopped && now.fuelUsed > before.fuelUsed;
}

function coresText({ cpu, background, machine, horizonMs, contention, model }: Forecast): string {
  const wanted = `${cpu.p50.toFixed(1)} cores wanted of ${machine.cores}`;
  const others = `${background.p50.toFixed(1)} of them by other programs`;
  return `${wanted}, ${others}: probability ${contention.toFixed(2)} within ${horizonMs} ms (${model})`;
}

/** Three digits: `2.35e+6`. */
function short(value: number): string {
  return value < 1_000 ? String(Math.round(value)) : value.toExponential(2);
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
