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
import { readShardModule } from '../compile/index.js';
import { makeRoom } from '../core/kept.js';
import { type Decomposition, decompose } from '../generator/decompose.js';
import { FailureLog } from '../guardian/failures.js';
import { shardSample } from '../oracle/demand.js';
import type { RunRequest } from '../oracle/history-model.js';
import { requestOf } from '../oracle/history-request.js';
import type { NodeCapacity } from '../oracle/machines.js';
import { endedShard, Oracle } from '../oracle/oracle.js';
import type { RungView } from '../oracle/rung.js';
import { transitionOf } from '../protocol/brain-action.js';
import { Trace as Workflow } from '../protocol/trace.js';
import { decodeSpec } from '../runtime/spec.js';
import { Scheduler } from '../scheduler/scheduler.js';
import type {
  BrainAction,
  BrainEvent,
  Forecast,
  Sample,
  Seen,
  TraceEvent,
} from '../types/brain.js';
import { type NodeHint, SUBJECT } from '../types/hints.js';
import type { ShardSpec } from '../types/host.js';
import { encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { NodeId, ShardExit, ShardId, ShardRecord } from '../types/records.js';
import type { Cluster, NodeSeen, ProgressSeen } from './cluster.js';
import { OracleKeeper } from './oracle-keeper.js';
import type { Trace } from './trace.js';

const TICK_MS = 100;
const HORIZON_MS = 5_000;
const STUDY_BYTES = 4 * 1_048_576;
const STUDIED_MAX = 100;
const REQUESTS_MAX = 2_000;

export interface BrainOptions {
  readonly cluster: Cluster;
  readonly trace: Trace;
  readonly platform: Platform;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** True when no process of this machine has this id. */
  readonly isGone: (pid: number) => boolean;
  /** Name of this machine, as nodes write it. */
  readonly host: string;
  /** So many bytes of blobs are named by nobody any more. */
  readonly fell?: (bytes: number) => void;
}

/** `made`: a shard that was just made, whose plan is shown. `silent`: only what is decided upon it is shown. */
interface Feeding {
  readonly made?: ShardRecord;
  readonly silent?: boolean;
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

export class Brain {
  readonly #options: BrainOptions;
  readonly #scheduler = new Scheduler();
  readonly #oracle: Oracle;
  readonly #keeper: OracleKeeper;
  readonly #workflow = new Workflow();
  readonly #failures = new FailureLog();
  readonly #studied = new Map<Hash, Decomposition | null>();
  /** What shards ask for, by the hash of their specs; null = is being read. */
  readonly #requests = new Map<Hash, RunRequest | null>();
  readonly #dead = new Set<NodeId>();
  /** The oracle has failed, which was said. */
  #isBlind = false;
  #unlisten: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running = false;

  constructor(options: BrainOptions) {
    this.#options = options;
    const { platform, cluster, nowMs, wallMs, fell = () => undefined } = options;
    const oracle = new Oracle(platform);
    this.#oracle = oracle;
    const { fabric, writer } = cluster;
    this.#keeper = new OracleKeeper({ fabric, platform, oracle, writer, nowMs, wallMs, fell });
  }

  /** Takes up what the oracle of another control has learned. Before `start`. */
  async recall(): Promise<void> {
    const { cluster, nowMs } = this.#options;
    const why = await this.#keeper.recall();
    this.#oracle.keepOnly(new Set(cluster.nodes.keys()));
    if (why !== null) this.#show(this.#workflow.forgot(nowMs(), why));
  }

  /** Keeps what the oracle has learned for the next control. */
  keep(): Promise<void> {
    return this.#keeper.save();
  }

  /** How good the oracle's forecasters of node demand have been. */
  get scores(): readonly RungView[] {
    return this.#oracle.scores;
  }

  /** Takes in what there is and begins to decide. */
  start(): void {
    const { cluster } = this.#options;
    this.#running = true;
    this.#unlisten = cluster.listen({
      shard: (seen, before) => this.#onShard(seen, before),
      shardGone: (shardId) => this.#onShardGone(shardId),
      node: (seen) => this.#onNode(seen),
      nodeGone: (nodeId) => this.#onNodeGone(nodeId),
      progress: (seen) => this.#onProgress(seen),
    });
    for (const seen of cluster.nodes.values()) this.#onNode(seen);
    this.#settleRuns();
    // What was there when this process began is no news; what is decided about it is.
    this.#show(
      this.#workflow.began(
        this.#options.nowMs(),
        [...cluster.shards.values()].map((seen) => seen.record),
      ),
    );
    for (const seen of cluster.shards.values()) {
      this.#began(seen.record).catch(() => undefined);
      this.#feed({ kind: 'shard', seen }, { silent: true });
    }
    this.#readFailures().catch(() => undefined);
    this.#tick();
  }

  /** What ended, or was removed, while no control looked: each is on the way still in what was recalled, so it counts once. */
  #settleRuns(): void {
    for (const id of this.#oracle.shardsOnTheWay) {
      const record = this.#options.cluster.shards.get(id)?.record;
      if (record === undefined) this.#oracle.forgetShard(id);
      else if (record.exit !== null) this.#ended(record, record.exit);
    }
  }

  #ended(record: ShardRecord, exit: ShardExit): void {
    const nowMs = this.#options.nowMs();
    const more = endedShard(record, exit);
    this.#oracle.observeEnd(record.moduleHash, nowMs, record.fuelUsed, more);
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
    this.#feed({ kind: 'node-dead', nodeId });
  }

  /** Asks the scheduler to move a shard to wherever it thinks best. Gives why it will not, when it says so at once. */
  requestMove(shardId: ShardId): string | null {
    const actions = this.#feed({ kind: 'request-move', shardId, target: null });
    for (const action of actions)
      if (action.kind === 'explain' && action.shardId === shardId) return action.why;
    return null;
  }

  /** Why a shard does not run, now; empty while it runs. */
  why(shardId: ShardId): string {
    return this.#scheduler.why(shardId);
  }

  isAlive(nodeId: NodeId): boolean {
    return !this.#dead.has(nodeId) && this.#scheduler.isAlive(nodeId);
  }

  /**
   * Looks at a program before its first shard is made: the generator's decomposition. Throws when the blob is no shard
   * module. Large modules are not looked at: they would hold up everything else here.
   */
  async study(moduleHash: Hash, specHash: Hash, spec: ShardSpec): Promise<void> {
    this.#keepRequest(specHash, requestOf(moduleHash, spec));
    if (this.#studied.has(moduleHash)) return;
    const bytes = await this.#options.cluster.fabric.blobs.get(moduleHash);
    const small = bytes !== undefined && bytes.length <= STUDY_BYTES;
    const module = small ? readShardModule(bytes, this.#options.platform) : null;
    makeRoom(this.#studied, STUDIED_MAX);
    this.#studied.set(moduleHash, module === null ? null : decompose(module, spec.entry));
  }

  #keepRequest(specHash: Hash, request: RunRequest | null): void {
    makeRoom(this.#requests, REQUESTS_MAX);
    this.#requests.set(specHash, request);
  }

  /** Tells the oracle what a shard asks for: its spec is read where no submit of this process has. */
  async #began({ id, spec, moduleHash, status }: ShardRecord): Promise<void> {
    if (status === 'done') return;
    const known = this.#requests.get(spec);
    if (known === null) return;
    if (known !== undefined) return this.#oracle.beginShard(id, known);
    this.#keepRequest(spec, null);
    let request: RunRequest | undefined;
    try {
      const bytes = await this.#options.cluster.fabric.blobs.get(spec);
      if (bytes !== undefined) request = requestOf(moduleHash, decodeSpec(bytes));
    } finally {
      // What could not be read is read again when the shard is seen next.
      if (request === undefined) this.#requests.delete(spec);
    }
    if (request === undefined) return;
    this.#keepRequest(spec, request);
    if (this.#options.cluster.shards.get(id)?.record.status !== 'done')
      this.#oracle.beginShard(id, request);
  }

  #feed(event: Untimed<BrainEvent>, how: Feeding = {}): readonly BrainAction[] {
    if (!this.#running) return [];
    const timed = { ...event, nowMs: this.#options.nowMs() } as BrainEvent;
    this.#failures.handle(timed);
    const actions = this.#scheduler.handle(timed);
    const lines = this.#workflow.of(timed, []);
    if (how.silent !== true) this.#show(lines);
    if (how.made !== undefined) this.#showPlan(how.made);
    this.#show(this.#workflow.of({ kind: 'tick', nowMs: timed.nowMs }, actions));
    for (const action of actions) void this.#execute(action);
    return actions;
  }

  #tick(): void {
    if (!this.#running) return;
    this.#buryTheDead();
    this.#feed({ kind: 'tick' });
    this.#saveFailures().catch(() => undefined);
    this.#keeper.look();
    this.#timer = setTimeout(() => this.#tick(), TICK_MS);
  }

  /** Nodes take their checkpoint interval from this record. */
  async #saveFailures(): Promise<void> {
    const { cluster, nowMs } = this.#options;
    const write = this.#failures.next(nowMs(), () => cluster.stamp(null));
    if (write === null) return;
    const answer = await cluster.writeFailures(write.expected, write.record);
    if (!this.#failures.answer(answer)) await this.#readFailures();
    if (answer.kind !== 'ok' || !this.#running) return;
    this.#show(
      this.#workflow.rated(nowMs(), write.record.counted.at(-1) ?? null, this.#failures.mtbfMs),
    );
  }

  async #readFailures(): Promise<void> {
    const seen = await this.#options.cluster.readFailures();
    if (seen !== undefined) this.#failures.see(seen);
  }

  async #execute(action: BrainAction): Promise<void> {
    if (action.kind === 'explain') return;
    const { cluster } = this.#options;
    const seen = cluster.shards.get(action.shardId);
    let outcome: 'ok' | 'conflict' | 'unknown' = 'conflict';
    if (seen !== undefined && seen.revision === action.revision) {
      const next = transitionOf(action, seen.record, cluster.stamp(seen.record));
      if (next.ok) {
        outcome = await cluster.attempt(action.shardId, action.revision, next.record);
        if (outcome === 'ok') this.#carriedOut(action, seen.record);
      }
    }
    this.#feed({ kind: 'action-done', actionId: action.id, outcome });
  }

  /**
   * The target compiles the module while the source still runs the shard. To be called after the source was asked: while
   * the target gets ready the source must not have to wait for a core.
   */
  prepare(target: NodeId, { moduleHash, memoryBytes, capsuleBytes }: ShardRecord): void {
    this.hint(target, { kind: 'prepare', moduleHash, memoryBytes, capsuleBytes });
  }

  #carriedOut(action: BrainAction, before: ShardRecord): void {
    const placed = action.kind === 'assign' || action.kind === 'redirect';
    const node = placed ? action.node : before.owner;
    if (node !== null) this.hint(node, { kind: 'look', shardId: action.shardId });
    if (action.kind === 'migrate') this.prepare(action.target, before);
  }

  hint(nodeId: NodeId, hint: NodeHint): void {
    this.#options.cluster.fabric.messages.publish(SUBJECT.node(nodeId), encodePlain(hint));
  }

  /** Steps 2 and 3 for a new shard. */
  #showPlan(record: ShardRecord): void {
    const nowMs = this.#options.nowMs();
    const plan = this.#studied.get(record.moduleHash);
    const instructions = plan?.shards[0]?.estimate.instructions ?? 0;
    const memory = Math.max(record.memoryBytes, plan?.shards[0]?.estimate.memoryBytes ?? 0);
    const note = { shards: plan?.shards.length ?? 1, candidates: plan?.candidates.length ?? 0 };
    this.#show(this.#workflow.decomposed(nowMs, record.id, { ...note, instructions }));
    const request = this.#requests.get(record.spec) ?? undefined;
    const { memoryBytes, fuel, samples, model } = this.#oracle.needs(
      record.moduleHash,
      memory,
      request,
    );
    const needs = { memoryBytes: memoryBytes.p90, fuel, samples, model };
    this.#show(this.#workflow.predicted(nowMs, record.id, needs));
  }

  #onShard(seen: Seen<ShardRecord>, before: ShardRecord | undefined): void {
    const { record } = seen;
    const made = before === undefined && isNew(record) ? { made: record } : {};
    if (before !== undefined && before.status !== 'done' && record.exit !== null)
      this.#ended(record, record.exit);
    else this.#began(record).catch(() => undefined);
    this.#feed({ kind: 'shard', seen }, made);
  }

  #onShardGone(shardId: ShardId): void {
    this.#oracle.forgetShard(shardId);
    this.#feed({ kind: 'shard-gone', shardId });
  }

  #onNode(seen: NodeSeen): void {
    const { record } = seen;
    if (this.#dead.has(record.id)) return;
    const atMs = this.#options.nowMs();
    const { workers, memoryBytes, machine } = record;
    const capacity = { cores: workers, memoryBytes, machine };
    this.#feed({ kind: 'node', seen });
    const sample = { nodeId: record.id, atMs, values: record.sample };
    const forecast = this.#forecast(sample, capacity);
    if (forecast !== undefined) this.#feed({ kind: 'forecast', forecast });
  }

  /** A defect in what only foresees is shown, and stops nothing: without forecasts shards are placed by what is. */
  #forecast(sample: Sample, capacity: NodeCapacity): Forecast | undefined {
    try {
      this.#oracle.observe(sample, capacity);
      return this.#oracle.forecast(sample.nodeId, HORIZON_MS);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      if (!this.#isBlind) this.#show(this.#workflow.forgot(this.#options.nowMs(), why));
      this.#isBlind = true;
      return undefined;
    }
  }

  #onNodeGone(nodeId: NodeId): void {
    this.#oracle.forget(nodeId);
    this.#feed({ kind: 'node-gone', nodeId });
    this.#dead.delete(nodeId);
  }

  #onProgress(seen: ProgressSeen): void {
    const { hint, atMs } = seen;
    const record = this.#options.cluster.shards.get(hint.shardId)?.record;
    if (record?.owner !== hint.nodeId || record.epoch !== hint.epoch) return;
    const sample = shardSample(hint, atMs);
    this.#oracle.observeShard(record.moduleHash, sample);
    this.#feed({ kind: 'progress', sample });
    this.#feed({
      kind: 'shard-forecast',
      forecast: this.#oracle.outlook(record.moduleHash, sample),
    });
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

  /** On the wall clock, and numbered by the trace. */
  #show(events: readonly TraceEvent[]): void {
    const { trace, wallMs } = this.#options;
    for (const event of events) trace.add({ ...event, atMs: wallMs() });
  }
}

/** Just made by a submit or an import. */
function isNew(record: ShardRecord): boolean {
  return record.epoch === 0 && record.status === 'queued' && record.ranMs === 0;
}
