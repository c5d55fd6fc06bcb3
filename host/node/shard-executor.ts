/**
 * Executes the life of one shard on this node: carries out what the machine (protocol/node-life) decides.
 *
 *     NodeLife ──actions──▶ ShardExecutor ──commands──▶ WorkerPool
 *        ▲                     │   │ records, blobs, messages
 *        └────── events ───────┘   ▼
 *                                Fabric
 *
 * Does: load blobs, place the run on a worker, keep what captures and ends leave until it is committed, store it,
 * compare-and-set, and turn every answer into an event.
 * Does not: decide anything: no status, owner or time is looked at here, except to show it.
 *
 * X1  Actions are carried out in order (hints first), none is waited for; each answer carries the id of the action (life-types L1).
 * X2  After `drop` nothing that was under way is answered: every task belongs to a generation, a drop ends it (L2).
 * X3  A harvest (output, blobs, trees, capsule) is kept under the id it came with until `forget`, `drop` or a later capture
 *     (harvests.ts).
 */

import { pace } from '../guardian/interval.js';
import type { LifeAction, LifeEvent, ReadAnswer, RunFacts } from '../protocol/life-types.js';
import { NodeLife } from '../protocol/node-life.js';
import type { PreCopyPolicy } from '../protocol/precopy.js';
import type { Seen } from '../types/brain.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import { SherdError } from '../types/errors.js';
import type { CasOutcome, Fabric } from '../types/fabric.js';
import type { MoveHint, ProgressHint } from '../types/hints.js';
import { SUBJECT } from '../types/hints.js';
import { encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import { KEY, type NodeId, type ShardId, type ShardRecord } from '../types/records.js';
import type { Arrivals } from './arrivals.js';
import { failureOf, lineOf, placedLineOf } from './executor-errors.js';
import { Harvests, outputBytes } from './harvests.js';
import { gather } from './loading.js';
import { MoveFigures } from './move-figures.js';
import type { WorkerPool } from './pool.js';
import { type BufferShelf, bufferOf } from './shelf.js';
import { Stager } from './stager.js';
import type {
  Captured,
  Run,
  RunProgress,
  RunState,
  WorkerError,
  WorkerReport,
} from './worker-messages.js';

/** What the executor shares with its node. */
export interface ExecutorContext {
  readonly nodeId: NodeId;
  readonly fabric: Fabric;
  readonly platform: Platform;
  readonly pool: WorkerPool;
  /** Buffers for capsules that are fetched. */
  readonly shelf: BufferShelf;
  /** Memories of shards that are to come. */
  readonly arrivals: Arrivals;
  /** When a copy made ahead of a move is good enough. */
  readonly preCopy: Partial<PreCopyPolicy>;
  readonly stageFromBytes: number;
  /** Blobs that many shards ask for (specs, modules), fetched once. */
  readonly fetchShared: (hash: Hash) => Promise<Uint8Array | undefined>;
  nowMs(): number;
  /** Mean time between failures of a node. */
  mtbfMs(): number;
  /** This run's reports go to this executor from now on; null = to nobody. */
  route(run: Run, executor: ShardExecutor | null): void;
  log(what: string, shardId: ShardId, detail: string): void;
}

type Action<K extends LifeAction['kind']> = Extract<LifeAction, { kind: K }>;
/** An event without its time. */
type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

type LoadAnswer =
  | Omit<Extract<Untimed<LifeEvent>, { kind: 'loaded' }>, 'opId'>
  | Omit<Extract<Untimed<LifeEvent>, { kind: 'load-failed' }>, 'opId'>;

export class ShardExecutor {
  readonly shardId: ShardId;
  readonly life: NodeLife;
  readonly #context: ExecutorContext;
  readonly #rested: (executor: ShardExecutor) => void;
  #generation = 0;
  #run: Run | null = null;
  /** The machine's name of the run, once it was started. */
  #runId: string | null = null;
  #loadOp: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  readonly #harvests: Harvests;
  #stager: Stager | null = null;
  /** The capture that names what a copy is, and the copy, which may have ended since. */
  #naming: { readonly of: string; readonly stager: Stager } | null = null;
  readonly #figures: MoveFigures;
  #progress: RunProgress | null = null;
  /** What the record had when this run was loaded. */
  #ranBeforeMs = 0;
  /** What was last published as going wrong. */
  #shownTrouble = '';
  #asks = new Map<string, (stack: readonly string[]) => void>();
  #closed = false;

  /** `rested` is called after each event: the life may have become idle. */
  constructor(
    shardId: ShardId,
    writer: string,
    context: ExecutorContext,
    rested: (executor: ShardExecutor) => void,
  ) {
    this.shardId = shardId;
    this.#context = context;
    this.#rested = rested;
    this.#harvests = new Harvests(context.fabric.blobs, context.platform);
    const publish = (hint: MoveHint): void => this.#publish(SUBJECT.moved(shardId), hint);
    this.#figures = new MoveFigures(shardId, context.nodeId, publish);
    const policy = { stageFromBytes: context.stageFromBytes };
    this.life = new NodeLife({ nodeId: context.nodeId, shardId, writer, policy });
  }

  /** The newest record that is known here. */
  get record(): ShardRecord | null {
    return this.life.known?.record ?? null;
  }

  /** Takes an event in and does what follows from it. */
  handle(event: Untimed<LifeEvent>): void {
    if (this.#closed) return;
    const timed = { ...event, nowMs: this.#context.nowMs(), wallMs: Date.now() } as LifeEvent;
    const actions = this.life.handle(timed);
    // A hint makes another process begin: nothing here is worth its waiting.
    for (const action of actions) if (action.kind === 'hint') this.#execute(action);
    for (const action of actions) if (action.kind !== 'hint') this.#execute(action);
    if (this.life.trouble !== this.#shownTrouble || event.kind === 'store-failed')
      this.#publishProgress(this.#progress);
    this.life.setPolicy(pace(this.life.commitCostMs, this.#context.mtbfMs()));
    this.#schedule();
    this.#rested(this);
  }

  /** Ends everything without writing: as if the process had died. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop(false);
  }

  /** Reports of the worker that concern this shard's run. */
  report(report: WorkerReport): void {
    switch (report.kind) {
      case 'loaded':
        this.#figures.loaded(report.restoreUs);
        this.#answerLoad({
          kind: 'loaded',
          limits: { maxFuel: report.maxFuel, maxTimeMs: report.maxTimeMs },
        });
        break;
      case 'load-failed':
        this.#answerLoad({ kind: 'load-failed', ...failureOf(report.error) });
        break;
      case 'running':
        this.#figures.runs(this.life.epoch, report.runningNs);
        break;
      case 'reached':
        this.#handleRun((runId) => ({ kind: 'reached', runId, run: facts(report.state) }));
        break;
      case 'captured':
        this.#captured(report.captured);
        break;
      case 'capture-failed': {
        const permanent = report.error.code === 'SHERD_CANNOT_PAUSE';
        const message = lineOf(report.error);
        this.handle({ kind: 'capture-failed', opId: report.id, message, permanent });
        break;
      }
      case 'ended':
        this.#ended(report);
        break;
      case 'crashed':
        this.crashed(report.error);
        break;
      case 'copied':
        this.#stager?.copied(report);
        break;
      case 'copy-failed':
        this.#stager?.failed(report.id);
        break;
      case 'progress':
      case 'prepared':
      case 'ready':
      case 'dropped':
        break;
      case 'need-blob':
        void this.#fetchBlob(report.run, report.hash);
        break;
      case 'inspected':
        this.#progress = report.progress;
        this.#asks.get(report.askId)?.(report.guestStack);
        this.#asks.delete(report.askId);
    }
  }

  /** The run is lost with its worker, or broke. */
  crashed(error: WorkerError): void {
    const message = lineOf(error);
    this.#endStaging();
    this.#context.log('crashed', this.shardId, message);
    if (this.#loadOp !== null) this.#answerLoad({ kind: 'load-failed', message, remedy: 'retry' });
    const remedy = error.code === 'SHERD_BLOB_MISSING' ? 'mend' : 'retry';
    this.#handleRun((runId) => ({ kind: 'crashed', runId, message, remedy }));
  }

  /** The target of a staged move has all batches up to this one. */
  arrived(index: number): void {
    this.#stager?.arrived(index);
  }

  progress(progress: RunProgress): void {
    this.#progress = progress;
    const { state, outputBytes } = progress;
    this.#handleRun((runId) => ({ kind: 'progress', runId, run: facts(state), outputBytes }));
    this.#publishProgress(progress);
  }

  /** Asks the worker what the guest is doing right now. */
  inspect(askId: string, answer: (stack: readonly string[]) => void): boolean {
    if (this.#run === null) return false;
    this.#asks.set(askId, answer);
    return this.#context.pool.send(this.#run, { kind: 'inspect', run: this.#run, askId });
  }

  #execute(action: LifeAction): void {
    switch (action.kind) {
      case 'load':
        this.#task((live) => this.#load(action, live));
        break;
      case 'start':
      case 'resume':
        this.#start(action.runId, action.stopAtFuel);
        break;
      case 'set-stop':
      case 'go-on':
        this.#command((run) => ({
          kind: action.kind === 'go-on' ? 'run' : 'set-stop',
          run,
          stopAtFuel: action.stopAtFuel,
        }));
        break;
      case 'stage':
        this.#stage(action);
        break;
      case 'unstage':
        this.#endStaging();
        break;
      case 'capture':
        this.#harvests.clear((buffer) => this.#recycle(buffer));
        this.#figures.asked();
        this.#naming =
          action.staged === null || this.#stager === null
            ? null
            : { of: action.opId, stager: this.#stager };
        this.#command((run) => ({
          kind: 'capture',
          run,
          id: action.opId,
          hold: action.hold,
          epoch: action.epoch,
          staged: action.staged === null ? null : (this.#stager?.name ?? null),
        }));
        break;
      case 'end':
        this.#command((run) => ({ kind: 'end', run, exit: action.exit }));
        break;
      case 'store':
        this.#task((live) => this.#store(action, live));
        break;
      case 'cas':
        this.#task((live) => this.#compareAndSet(action, live));
        break;
      case 'read':
        this.#task((live) => this.#read(action, live));
        break;
      case 'forget':
        this.#forget(action.of);
        break;
      case 'hint':
        this.#publish(SUBJECT.node(action.node), { kind: 'look', shardId: action.shardId });
        break;
      case 'drop':
        this.#context.log('dropped', this.shardId, action.why);
        this.#drop(action.force);
    }
  }

  /** `live()` is false once a drop has come in between. */
  #task(run: (live: () => boolean) => Promise<void>): void {
    const generation = this.#generation;
    const live = (): boolean => !this.#closed && generation === this.#generation;
    run(live).catch((cause: unknown) => {
      this.#context.log('defect', this.shardId, String((cause as Error).stack ?? cause));
    });
  }

  async #load(action: Action<'load'>, live: () => boolean): Promise<void> {
    const { opId, moduleHash } = action;
    const { shardId } = this;
    const capsuleBytes = this.record?.capsuleBytes ?? 0;
    try {
      const gathered = await gather({ ...action, shardId, capsuleBytes }, this.#context);
      if (!live()) return;
      const { worker, spec, module, capsule, staged } = gathered;
      const run = this.#context.pool.nextRun();
      this.#run = run;
      this.#loadOp = opId;
      this.#ranBeforeMs = this.record?.ranMs ?? 0;
      this.#progress = null; // what is known may be of a run that broke
      this.#context.route(run, this);
      const specHash = action.spec;
      const priority = this.record?.priority ?? 0;
      const shard = { run, shardId, moduleHash, specHash, spec, priority };
      const takeUp = { ...shard, capsule, capsuleVerified: true, staged };
      const batches = staged?.missing.flatMap(({ bytes }) => bufferOf(bytes)) ?? [];
      const transfer = [...(capsule === null ? [] : bufferOf(capsule)), ...batches];
      this.#context.pool.load(worker, takeUp, module, transfer);
    } catch (cause) {
      if (live()) this.handle({ kind: 'load-failed', opId, ...failureOf(cause) });
    }
  }

  #answerLoad(event: LoadAnswer): void {
    const opId = this.#loadOp;
    if (opId === null) return;
    this.#loadOp = null;
    if (event.kind === 'load-failed') this.#unroute();
    this.handle({ ...event, opId });
  }

  #start(runId: string, stopAtFuel: bigint | null): void {
    this.#runId = runId;
    const run = this.#run;
    const sent = run !== null && this.#context.pool.send(run, { kind: 'run', run, stopAtFuel });
    if (sent) return;
    // Its worker died between `loaded` and now.
    queueMicrotask(() =>
      this.#handleRun((id) => {
        return { kind: 'crashed', runId: id, message: 'its worker died', remedy: 'retry' };
      }),
    );
  }

  #command(make: (run: Run) => Parameters<WorkerPool['send']>[1]): void {
    const run = this.#run;
    if (run !== null) this.#context.pool.send(run, make(run));
  }

  /** Copies the guest's memory ahead, to be fetched by the target; or goes on with the copy for checkpoints. */
  #stage(action: Action<'stage'>): void {
    const { opId, target } = action;
    const kept = this.#stager;
    if (target === null ? kept?.again(opId) : kept?.takeOver(opId, target)) return;
    queueMicrotask(() => this.handle({ kind: 'staged-anew', opId }));
    this.#endStaging();
    const run = this.#run;
    const record = this.record;
    if (run === null || record === null) return;
    const { fabric, platform, nowMs, log, nodeId: source } = this.#context;
    const { shardId } = this;
    const { moduleHash } = record;
    const memoryBytes = this.#progress?.state.memoryBytes ?? record.memoryBytes;
    const order = { ...action, run, shardId, moduleHash, source, memoryBytes };
    this.#stager = new Stager(order, {
      blobs: fabric.blobs,
      platform,
      nowMs,
      freeBytes: () => process.availableMemory(),
      send: (command, transfer) => this.#context.pool.send(run, command, transfer),
      hint: (node, hint) => this.#publish(SUBJECT.node(node), hint),
      policy: this.#context.preCopy,
      answer: (opId, ready, costMs) => this.handle({ kind: 'staged', opId, ready, costMs }),
      log: (detail) => log('staging', shardId, detail),
    });
  }

  #captured(captured: Captured): void {
    const { id, capsule, capsuleHash, harvest, state } = captured;
    this.#harvests.keep(id, harvest, { hash: capsuleHash, bytes: capsule });
    this.#figures.captured(captured);
    this.handle({
      kind: 'captured',
      opId: id,
      facts: {
        ...facts(state),
        capsule: capsuleHash,
        capsuleBytes: capsule.length,
        outputBytes: outputBytes(harvest),
        costMs: captured.encodeUs / 1_000,
      },
    });
  }

  #ended(report: Extract<WorkerReport, { kind: 'ended' }>): void {
    const runId = this.#runId;
    this.#endStaging();
    this.#context.route(report.run, null);
    this.#run = null;
    if (runId === null) return;
    this.#harvests.keep(runId, report.harvest, null);
    const { exit, state, harvest } = report;
    this.handle({
      kind: 'ended',
      runId,
      exit,
      run: facts(state),
      outputBytes: outputBytes(harvest),
    });
  }

  async #store(action: Action<'store'>, live: () => boolean): Promise<void> {
    const { opId } = action;
    const before = process.hrtime.bigint();
    try {
      if (action.of === this.#naming?.of) await this.#naming.stager.keepNamed();
      const stored = await this.#harvests.store(action);
      const tookUs = Number(process.hrtime.bigint() - before) / 1_000;
      if (!live()) return;
      this.#figures.stored(action.of, tookUs);
      this.handle({ kind: 'stored', opId, ...stored, costMs: tookUs / 1_000 });
    } catch (cause) {
      const message = placedLineOf(cause);
      const lost = cause instanceof SherdError && cause.code === 'SHERD_BLOB_MISSING';
      if (live()) this.handle({ kind: 'store-failed', opId, message, lost });
    }
  }

  async #compareAndSet(action: Action<'cas'>, live: () => boolean): Promise<void> {
    const { opId, expected, record } = action;
    const left = this.#figures.leaving;
    const before = process.hrtime.bigint();
    const outcome = await this.#context.fabric.records
      .compareAndSet(KEY.shard(this.shardId), expected, encodeRecord(record))
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
    // The watch may have told it first: then the life is over here already, and only the figures are left to show.
    if (outcome.kind === 'ok') this.#figures.left(left, record, before);
    if (!live()) return;
    if (outcome.kind === 'ok') {
      this.handle({ kind: 'cas', opId, answer: outcome });
    } else if (outcome.kind === 'conflict') {
      const current = outcome.current === undefined ? null : this.#seen(outcome.current);
      this.handle({ kind: 'cas', opId, answer: { kind: 'conflict', current } });
    } else this.handle({ kind: 'cas', opId, answer: { kind: 'unknown' } });
  }

  async #read(action: Action<'read'>, live: () => boolean): Promise<void> {
    let answer: ReadAnswer;
    try {
      const entry = await this.#context.fabric.records.get(KEY.shard(this.shardId));
      answer =
        entry === undefined ? { kind: 'absent' } : { kind: 'found', seen: this.#seen(entry) };
    } catch {
      answer = { kind: 'failed' };
    }
    if (live()) this.handle({ kind: 'read', opId: action.opId, answer });
  }

  #seen(entry: { readonly value: Uint8Array; readonly revision: number }): Seen<ShardRecord> {
    return {
      record: decodeRecord<ShardRecord>(entry.value, KEY.shard(this.shardId)),
      revision: entry.revision,
    };
  }

  #forget(of: string): void {
    const { hadCapsule, blobs } = this.#harvests.forget(of, (buffer) => this.#recycle(buffer));
    if (hadCapsule) {
      if (of === this.#naming?.of) this.#naming.stager.committed();
      this.#naming = null;
      this.#relocate();
    }
    if (blobs.length > 0) this.#command((run) => ({ kind: 'durable', run, hashes: blobs }));
  }

  /** A capsule's buffer serves its worker again, or this thread when the run is gone. */
  #recycle(buffer: ArrayBuffer): void {
    const run = this.#run;
    const command = { kind: 'recycle', buffer } as const;
    const sent = run !== null && this.#context.pool.send(run, { ...command, run }, [buffer]);
    if (!sent) this.#context.shelf.put(buffer);
  }

  /**
   * Right after a commit the shard may change its thread: it is dropped, and the machine starts it again from the
   * capsule that was just committed, where there is more room. What it did since then is done again.
   */
  #relocate(): void {
    const run = this.#run;
    const runId = this.#runId;
    if (run === null || runId === null || !this.#context.pool.betterElsewhere(run)) return;
    queueMicrotask(() => {
      if (this.#run !== run || this.#closed) return;
      this.#context.pool.drop(run, false);
      this.#unroute();
      const message = 'changes to another worker thread';
      this.#context.log('relocated', this.shardId, message);
      this.handle({ kind: 'crashed', runId, message, remedy: 'retry' });
    });
  }

  #drop(force: boolean): void {
    this.#generation += 1;
    if (this.#run !== null) this.#context.pool.drop(this.#run, force);
    this.#unroute();
    this.#runId = null;
    this.#loadOp = null;
    this.#harvests.clear((buffer) => this.#context.shelf.put(buffer));
    this.#figures.forget();
    this.#progress = null;
    for (const answer of this.#asks.values()) answer([]);
    this.#asks.clear();
  }

  #unroute(): void {
    this.#endStaging();
    if (this.#run !== null) this.#context.route(this.#run, null);
    this.#run = null;
  }

  #endStaging(): void {
    this.#stager?.close();
    this.#stager = null;
  }

  async #fetchBlob(run: Run, hash: Hash): Promise<void> {
    const generation = this.#generation;
    let bytes: Uint8Array | undefined;
    for (let tries = 0; tries < 5 && bytes === undefined; tries++) {
      if (tries > 0) await new Promise((resolve) => setTimeout(resolve, 20 * 2 ** tries));
      if (generation !== this.#generation) return;
      bytes = await this.#context.fabric.blobs.get(hash).catch(() => undefined);
    }
    if (generation !== this.#generation) return;
    this.#context.pool.send(run, { kind: 'blob', hash, bytes: bytes ?? null });
  }

  #handleRun(make: (runId: string) => Untimed<LifeEvent>): void {
    if (this.#runId !== null) this.handle(make(this.#runId));
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const at = this.life.wakeAtMs;
    if (at === null || this.#closed) return;
    const delayMs = Math.max(0, at - this.#context.nowMs());
    this.#timer = setTimeout(() => this.handle({ kind: 'tick' }), delayMs);
  }

  #publishProgress(progress: RunProgress | null): void {
    const record = this.record;
    const state = progress?.state ?? record;
    this.#shownTrouble = this.life.trouble;
    const hint: ProgressHint = {
      shardId: this.shardId,
      nodeId: this.#context.nodeId,
      epoch: this.life.epoch,
      fuelUsed: state?.fuelUsed ?? 0n,
      fuelPerSecond: progress?.fuelPerSecond ?? 0,
      memoryBytes: state?.memoryBytes ?? 0,
      capsuleBytes: record?.capsuleBytes ?? 0,
      safepoint: progress?.safepoint ?? null,
      activity: progress?.activity ?? 'loading',
      trouble: this.#shownTrouble,
      share: progress?.share ?? 0,
      stagedBytes: this.#stager?.listBytes ?? 0,
    };
    this.#publish(SUBJECT.progress(this.shardId), hint);
  }

  #publish(subject: string, hint: object): void {
    try {
      this.#context.fabric.messages.publish(subject, encodePlain(hint));
    } catch {
      // A hint: losing it only makes things slower.
    }
  }

  /** The worker's newest report of the guest. */
  get lastProgress(): RunProgress | null {
    return this.#progress;
  }

  /** How long the shard has run in all by that report, ms. */
  get ranMs(): number {
    return this.#ranBeforeMs + (this.#progress?.state.ranMs ?? 0);
  }
}

function facts(state: RunState): RunFacts {
  const { fuelUsed, memoryBytes, ranMs } = state;
  return { fuelUsed, memoryBytes, ranMs };
}
