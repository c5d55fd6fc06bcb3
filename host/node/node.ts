/**
 * One node: a lease in the fabric, a pool of worker threads, and the lives of the shards that it owns.
 *
 * Does: keep the lease, watch the shard records, give each shard of its own an executor, answer hints, drain.
 * Does not: place shards (control), decide about a shard (protocol/node-life), run guest code (worker).
 *
 *     watch shard.* ─┐                      ┌─ ShardExecutor ─ NodeLife   (one a shard)
 *     node.<id> ─────┼──▶ NodeProcess ──────┼─ ShardExecutor ─ NodeLife
 *     timer (beat) ──┘        │             └─ …
 *                             └─ WorkerPool ─ worker, worker, …
 *
 * N1  The id is new with every start (life-types L5): `<name>-<4 random characters>`.
 * N2  A node whose lease was taken for dead goes on beating: it may be of use again. The fence is the shard's record.
 * N3  An executor lives as long as its life is not idle; a record that comes later begins a new one.
 */
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import { makeRoom } from '../core/kept.js';
import { mtbfOf } from '../guardian/failures.js';
import { DEFAULT_LIFE_POLICY } from '../protocol/life-types.js';
import type { PreCopyPolicy } from '../protocol/precopy.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import { invariant } from '../types/errors.js';
import type { CasOutcome, Fabric, RecordEntry, Subscription, WatchEvent } from '../types/fabric.js';
import { type AskedHint, type NodeHint, SUBJECT } from '../types/hints.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash } from '../types/platform.js';
import {
  type FailureRecord,
  KEY,
  type Machine,
  type NodeId,
  type NodeRecord,
  type NodeSampleValues,
  type ShardId,
  type ShardRecord,
} from '../types/records.js';
import { Arrivals } from './arrivals.js';
import { nodePlatform } from './platform.js';
import { type MakeThread, WorkerPool } from './pool.js';
import { type ExecutorContext, ShardExecutor } from './shard-executor.js';
import { BufferShelf, bufferOf } from './shelf.js';
import type { Run, WorkerReport } from './worker-messages.js';

const BEAT_MS = 500;
const DRAIN_MS = 15_000;
const SHARED_BLOBS = 64;
/** Modules compiled ahead of need: at most so many, none larger than this. */
const WARM_MODULES = 8;
const WARM_BYTES = 1_048_576;

export interface NodeOptions {
  readonly fabric: Fabric;
  /** The name that the user sees; default `node`. */
  readonly name?: string;
  /** Worker threads; default one a core. */
  readonly workers?: number;
  readonly quantumUs?: number;
  readonly beatMs?: number;
  /** Memory that the node may use; absent: all of the machine's. */
  readonly memoryBytes?: number;
  /** Takes the newest measurement of the machine; `guestCpu` and `runnable` are filled in here. */
  readonly sample?: () => Omit<NodeSampleValues, 'guestCpu' | 'runnable'>;
  /** What it shares with other nodes; default: nothing. */
  readonly machine?: Machine;
  readonly log?: (what: string, shardId: ShardId | null, detail: string) => void;
  /** When a copy made ahead of a move is good enough; default protocol/precopy's. */
  readonly preCopy?: Partial<PreCopyPolicy>;
  /** Memories of so many bytes are copied ahead; default protocol/life-types'. */
  readonly stageFromBytes?: number;
  /** Tests put something else in the worker threads' place. */
  readonly makeThread?: MakeThread;
  /** The compiled worker.js; default the one beside this file. */
  readonly workerEntry?: URL;
}

export class NodeProcess {
  readonly id: NodeId;
  readonly pool: WorkerPool;
  readonly #options: NodeOptions;
  readonly #fabric: Fabric;
  readonly #context: ExecutorContext;
  readonly #executors = new Map<ShardId, ShardExecutor>();
  readonly #routes = new Map<Run, ShardExecutor>();
  readonly #shared = new Map<Hash, Promise<Uint8Array | undefined>>();
  readonly #warming = new Set<Hash>();
  readonly #subscriptions: Subscription[] = [];
  #mtbfMs = mtbfOf(null);
  #beatTimer: NodeJS.Timeout | undefined;
  #beat = 0;
  #revision = 0;
  #attempt = 0;
  #draining = false;
  #closed = false;

  private constructor(options: NodeOptions) {
    this.#options = options;
    this.#fabric = options.fabric;
    this.id = `${options.name ?? 'node'}-${randomBytes(2).toString('hex')}`;
    this.pool = new WorkerPool({
      ...(options.workers === undefined ? {} : { workers: options.workers }),
      ...(options.quantumUs === undefined ? {} : { quantumUs: options.quantumUs }),
      ...(options.makeThread === undefined ? {} : { makeThread: options.makeThread }),
      ...(options.workerEntry === undefined ? {} : { workerEntry: options.workerEntry }),
      bell: this.#fabric.doorbells?.install(this.id),
      report: (report) => this.#report(report),
      lost: (run, error) => this.#routes.get(run)?.crashed(error),
    });
    this.#context = {
      nodeId: this.id,
      fabric: this.#fabric,
      platform: nodePlatform,
      pool: this.pool,
      shelf: new BufferShelf(),
      arrivals: new Arrivals({
        fetch: (hash) => this.#fabric.blobs.get(hash),
        place: async (moduleHash) => {
          const thread = this.pool.place();
          await this.pool.prepare(moduleHash, () => this.#fetchShared(moduleHash));
          return thread;
        },
        arrived: (source, shardId, index) => {
          const hint: NodeHint = { kind: 'arrived', shardId, index };
          this.#fabric.messages.publish(SUBJECT.node(source), encodePlain(hint));
        },
        arrive: (thread, { shardId, moduleHash, index, hash }, bytes) => {
          const batch = { index, hash, bytes };
          this.pool.post(thread, { kind: 'arrive', shardId, moduleHash, batch }, bufferOf(bytes));
        },
        forget: (thread, shardId) => this.pool.post(thread, { kind: 'forget-arrival', shardId }),
      }),
      preCopy: options.preCopy ?? {},
      stageFromBytes: options.stageFromBytes ?? DEFAULT_LIFE_POLICY.stageFromBytes,
      fetchShared: (hash) => this.#fetchShared(hash),
      nowMs: () => performance.now(),
      mtbfMs: () => this.#mtbfMs,
      route: (run, executor) => {
        if (executor === null) this.#routes.delete(run);
        else this.#routes.set(run, executor);
      },
      log: (what, shardId, detail) => options.log?.(what, shardId, detail),
    };
  }

  /** Takes the lease, then begins to watch. */
  static async start(options: NodeOptions): Promise<NodeProcess> {
    const node = new NodeProcess(options);
    await node.#sendBeat();
    node.#scheduleBeat();
    const { records, messages } = node.#fabric;
    node.#subscriptions.push(
      messages.subscribe(SUBJECT.node(node.id), (message) => node.#hint(message.payload)),
      records.watch(KEY.shards, (event) => node.#watch(event)),
      records.watch(KEY.failures, (event) => node.#watchFailures(event)),
    );
    return node;
  }

  /** Shards that this node has to do with at present. */
  get shards(): readonly ShardId[] {
    return [...this.#executors.keys()];
  }

  /** Stores every shard and gives it back; takes no more. True when all of them are stored. */
  async drain(timeoutMs = DRAIN_MS): Promise<boolean> {
    this.#draining = true;
    void this.#sendBeat();
    for (const executor of [...this.#executors.values()]) {
      executor.handle({ kind: 'stop' });
      this.#tidy(executor);
    }
    const until = performance.now() + timeoutMs;
    while (this.#executors.size > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.#executors.size === 0;
  }

  /** Ends in good order: drains, gives the lease up, closes. The fabric stays open. */
  async stop(timeoutMs = DRAIN_MS): Promise<boolean> {
    const drained = await this.drain(timeoutMs);
    clearTimeout(this.#beatTimer);
    await this.#fabric.records.remove(KEY.node(this.id), this.#revision).catch(() => undefined);
    this.#fabric.doorbells?.remove(this.id);
    await this.close();
    return drained;
  }

  /** Ends at once, as a crash would: nothing is written. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#beatTimer);
    for (const subscription of this.#subscriptions) subscription.close();
    for (const executor of this.#executors.values()) executor.close();
    this.#executors.clear();
    this.#context.arrivals.close();
    await this.pool.close();
  }

  #watch(event: WatchEvent): void {
    if (this.#closed) return;
    if (event.kind === 'put') this.#see(event.entry);
    else if (event.kind === 'delete') this.#gone(shardIdOf(event.key), event.revision);
    else if (event.kind === 'snapshot') {
      const there = new Set(event.entries.map((entry) => shardIdOf(entry.key)));
      for (const entry of event.entries) this.#see(entry);
      for (const id of this.#executors.keys()) if (!there.has(id)) void this.#look(id);
    }
  }

  /** How often nodes fail decides how often shards are checkpointed here. */
  #watchFailures(event: WatchEvent): void {
    const entry = event.kind === 'snapshot' ? event.entries[0] : undefined;
    const newest = event.kind === 'put' ? event.entry : entry;
    if (newest === undefined) return;
    try {
      this.#mtbfMs = mtbfOf(decodeRecord<FailureRecord>(newest.value, newest.key));
    } catch (cause) {
      this.#options.log?.('unreadable record', null, String(cause));
    }
  }

  #see(entry: RecordEntry): void {
    const shardId = shardIdOf(entry.key);
    let record: ShardRecord;
    try {
      record = decodeRecord<ShardRecord>(entry.value, entry.key);
    } catch (cause) {
      this.#options.log?.('unreadable record', shardId, String(cause));
      return;
    }
    let executor = this.#executors.get(shardId);
    if (executor === undefined) {
      if (record.owner !== this.id) {
        this.#warmUp(record);
        return;
      }
      executor = new ShardExecutor(shardId, this.id, this.#context, (done) => this.#tidy(done));
      this.#executors.set(shardId, executor);
    }
    executor.handle({ kind: 'record', seen: { record, revision: entry.revision } });
    if (this.#draining) executor.handle({ kind: 'stop' });
  }

  /** Somebody else's shard may come here one day: a small module is compiled ahead, while few are. */
  #warmUp(record: ShardRecord): void {
    const { moduleHash, status } = record;
    if (status === 'done' || status === 'paused') return;
    if (this.#warming.has(moduleHash) || this.pool.isWarm(moduleHash, WARM_MODULES)) return;
    this.#warming.add(moduleHash);
    const fetch = async (): Promise<Uint8Array | undefined> => {
      const bytes = await this.#fetchShared(moduleHash);
      return bytes !== undefined && bytes.length <= WARM_BYTES ? bytes : undefined;
    };
    this.pool
      .prepare(moduleHash, fetch)
      .catch(() => undefined)
      .finally(() => this.#warming.delete(moduleHash));
  }

  #gone(shardId: ShardId, revision: number): void {
    this.#executors.get(shardId)?.handle({ kind: 'gone', revision });
  }

  #tidy(executor: ShardExecutor): void {
    if (!executor.life.idle || this.#executors.get(executor.shardId) !== executor) return;
    this.#executors.delete(executor.shardId);
    executor.close();
  }

  /** Reads a shard's record, because somebody hinted at it. */
  async #look(shardId: ShardId): Promise<void> {
    try {
      const entry = await this.#fabric.records.get(KEY.shard(shardId));
      if (this.#closed) return;
      if (entry !== undefined) this.#see(entry);
      else {
        const known = this.#executors.get(shardId)?.life.known;
        if (known != null) this.#gone(shardId, known.revision + 1);
      }
    } catch {
      // The watch will tell.
    }
  }

  #hint(payload: Uint8Array): void {
    let hint: NodeHint;
    try {
      hint = decodePlain(payload, { at: SUBJECT.node(this.id) }) as NodeHint;
    } catch {
      return;
    }
    switch (hint.kind) {
      case 'look':
        void this.#look(hint.shardId);
        break;
      case 'prepare':
        this.pool
          .prepare(hint.moduleHash, () => this.#fetchShared(hint.moduleHash))
          .then(() => this.pool.spare(hint.moduleHash, hint.memoryBytes))
          .then(() => this.#context.shelf.ready(Math.min(hint.capsuleBytes, hint.memoryBytes)))
          .catch(() => undefined);
        break;
      case 'arrive':
        if (!this.#draining) this.#context.arrivals.hint(hint);
        break;
      case 'arrived':
        this.#executors.get(hint.shardId)?.arrived(hint.index);
        break;
      case 'ask':
        this.#ask(hint.shardId, hint.askId);
        break;
      case 'drain':
        void this.drain();
    }
  }

  #ask(shardId: ShardId, askId: string): void {
    const executor = this.#executors.get(shardId);
    const answer = (guestStack: readonly string[], here: boolean): void => {
      const progress = executor?.lastProgress ?? null;
      const hint: AskedHint = {
        shardId,
        nodeId: this.id,
        here,
        fuelUsed: progress?.state.fuelUsed ?? 0n,
        fuelPerSecond: progress?.fuelPerSecond ?? 0,
        memoryBytes: progress?.state.memoryBytes ?? 0,
        activity: progress?.activity ?? 'loading',
        guestStack,
        ...(executor === undefined ? {} : { ranMs: executor.ranMs }),
      };
      this.#fabric.messages.publish(SUBJECT.asked(askId), encodePlain(hint));
    };
    const asked = executor?.inspect(askId, (stack) => answer(stack, true)) === true;
    if (!asked) answer([], executor !== undefined);
  }

  #report(report: WorkerReport): void {
    if (this.#closed) return;
    switch (report.kind) {
      case 'ready':
      case 'prepared':
        return;
      case 'progress':
        for (const progress of report.runs) this.#routes.get(progress.run)?.progress(progress);
        return;
      case 'captured':
        this.#routes.get(report.captured.run)?.report(report);
        return;
      default:
        this.#routes.get(report.run)?.report(report);
    }
  }

  #fetchShared(hash: Hash): Promise<Uint8Array | undefined> {
    const known = this.#shared.get(hash);
    if (known !== undefined) return known;
    const fetched = this.#fabric.blobs.get(hash);
    makeRoom(this.#shared, SHARED_BLOBS);
    this.#shared.set(hash, fetched);
    const forget = (): void => void this.#shared.delete(hash);
    fetched.then((bytes) => (bytes === undefined ? forget() : undefined), forget);
    return fetched;
  }

  #scheduleBeat(): void {
    if (this.#closed) return;
    this.#beatTimer = setTimeout(() => {
      void this.#sendBeat().finally(() => this.#scheduleBeat());
    }, this.#options.beatMs ?? BEAT_MS);
  }

  async #sendBeat(): Promise<void> {
    if (this.#closed) return;
    const key = KEY.node(this.id);
    this.#beat += 1;
    this.#attempt += 1;
    const outcome = await this.#fabric.records
      .compareAndSet(key, this.#revision, encodeRecord(this.#record()))
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
    if (outcome.kind === 'ok') {
      this.#revision = outcome.revision;
      return;
    }
    // Only this process writes the key, but control may have removed it: the next beat starts from what is there.
    const there = await this.#fabric.records.get(key).catch(() => null);
    if (there === null) return;
    this.#revision = there?.revision ?? 0;
  }

  #record(): NodeRecord {
    const { pool } = this;
    const measured = this.#options.sample?.() ?? NOTHING_MEASURED;
    return {
      v: 1,
      id: this.id,
      pid: process.pid,
      host: os.hostname(),
      workers: pool.workers,
      beat: this.#beat,
      draining: this.#draining,
      engine: `node ${process.versions.node}, v8 ${process.versions.v8}`,
      memoryBytes: Math.min(os.totalmem(), this.#options.memoryBytes ?? os.totalmem()),
      ...(this.#options.machine === undefined ? {} : { machine: this.#options.machine }),
      sample: { ...measured, guestCpu: pool.busy, runnable: pool.demand },
      writer: this.id,
      attempt: this.#attempt,
    };
  }
}

const NOTHING_MEASURED = { cpu: 0, memoryUsedBytes: 0, eventLoopDelayMs: 0 };

function shardIdOf(key: string): ShardId {
  const prefix = `${KEY.shards}.`;
  invariant(key.startsWith(prefix), `${key} is a shard's key`);
  return key.slice(prefix.length);
}
