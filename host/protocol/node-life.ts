/**
 * A shard's life on one node, as a machine: events in, actions out (life-types.ts names them all).
 *
 * Does: decide when to load, take up, run, checkpoint, pause, hand over, finish and let go; survive every interleaving of
 * answers, requests, conflicts, unknown outcomes and loss of ownership. Does not: do any of it, read a clock, or talk to
 * another shard's life. The executor is host/node; the simulator drives the same code.
 *
 *              record: owner = us, new epoch
 *        none ─────────────▶ loading ──loaded──▶ taking ──cas ok──▶ running ◀──────────────────────────┐
 *         ▲                     │                  │                │  │  │                             │ go-on, or it
 *         │     load-failed × n │                  │     checkpoint │  │  │ ended (or `end` on quota)   │ never stopped
 *         │                     ▼                  │ waiting output │  │  ▼                             │
 *         │                  ending ◀──────────────│────────────────│──│─ final store                   │
 *         │                     │                  │ pause, move,   ▼  ▼                                │
 *         │                     │                  │ preempt,     pausing ──captured──▶ storing ─stored─▶ committing
 *         │                     ▼                  ▼ stop (hold)     ▲                                  │  ▲   │
 *         └──── drop ◀─── cas: done ◀──────── cas: release without a snapshot             conflict, ours│  │   │ unknown: send
 *         ▲                                        (nothing ran)                           still: with  └──┘   ▼ the same again
 *         │                                                                                 new record       settle by reading
 *         ├──── drop ◀─── cas: done | paused | queued | assigned to the target (hint) ◀──────────────────┘
 *         └──── drop ◀─── from anywhere: the record is not ours any more (N2)
 *
 * How it works: an event only updates what is known; then `step` looks at everything known and does the next thing, until there
 * is nothing to do. So a request that comes in the middle of anything is simply there at the next step.
 *
 * N1  At most one compare-and-set is in flight; it is sent again unchanged until its outcome is known or a newer revision is
 *     seen. So no write of ours can land after we decided something else.
 * N2  As soon as a record with another owner, another epoch, or a course that we did not write is seen, everything is dropped and
 *     nothing more is written for that epoch.
 * N3  At most one capture is under way. Its output chunk is linked to the head that the record has, which only we move.
 * N4  A capture that is held, and the end of a guest, can serve any request that comes before the compare-and-set is sent.
 * N5  A kill waits for nothing but a compare-and-set in flight.
 * N6  After a commit that cost c ms, the next one starts no sooner than c / budgetShare ms after that one started.
 */
import type { Seen } from '../types/brain.js';
import { EXIT, invariant } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardExit, ShardId, ShardRecord } from '../types/records.js';
import {
  type CaptureFacts,
  type CasAnswer,
  DEFAULT_LIFE_POLICY,
  type LifeAction,
  type LifeEvent,
  type LifeOptions,
  type LifePhase,
  type LifePolicy,
  type ReadAnswer,
  type RunFacts,
  type SpecLimits,
} from './life-types.js';
import {
  answer,
  type ChunkLink,
  type Claim,
  commit,
  finish,
  handOver,
  killedExit,
  nextStamp,
  pause,
  recover,
  requeue,
  type Snapshot,
  type Stamp,
  sameCourse,
  settle,
  type Transition,
  takeUp,
} from './shard-record.js';

/** `standing`: stopped by a held capture or at a fuel value. */
type Guest = 'none' | 'loading' | 'loaded' | 'running' | 'standing' | 'ended';

/** What is wanted of the shard now. `settle` = answer a request that asks for nothing. */
type Goal =
  | { readonly kind: 'run' | 'kill' | 'pause' | 'requeue' | 'settle' }
  | { readonly kind: 'move'; readonly target: NodeId };

/** The way of a capture, or of an end, to the record. */
interface Pipe {
  readonly of: string;
  readonly hold: boolean;
  readonly final: boolean;
  readonly startedMs: number;
  stage: 'capturing' | 'to-store' | 'storing' | 'stored';
  storeOp: string | null;
  facts: CaptureFacts | null;
  chunk: ChunkLink | null;
  artifacts: Hash | null;
  withArtifacts: boolean;
  costMs: number;
}

type CasKind = 'take' | 'commit' | 'leave' | 'answer';

interface PendingCas {
  readonly kind: CasKind;
  readonly expected: number;
  readonly record: ShardRecord;
  opId: string;
  /** What is waited for: the answer, or the time to try again. */
  stage: 'sent' | 'resend' | 'reading' | 'reread';
  emptyReads: number;
}

interface Ended {
  readonly exit: ShardExit;
  readonly run: RunFacts;
  readonly outputBytes: number;
}

const EMPTY_READS = 8;

export class NodeLife {
  readonly shardId: ShardId;
  /** What is going wrong at present, for display; empty = nothing. */
  trouble = '';

  readonly #node: NodeId;
  readonly #writer: string;
  #policy: LifePolicy;
  #out: LifeAction[] = [];
  #nowMs = 0;

  #known: Seen<ShardRecord> | null = null;
  #goneAtRevision = 0;
  #epoch = 0;
  #taken = false;
  #stopping = false;

  #guest: Guest = 'none';
  #runId: string | null = null;
  #loadOp: string | null = null;
  #limits: SpecLimits = { maxFuel: 0n, maxTimeMs: 0 };
  #run: RunFacts = { fuelUsed: 0n, memoryBytes: 0, ranMs: 0 };
  /** What the record had when this run began. */
  #ranBeforeMs = 0;
  #stopAt: bigint | null = null;
  #endAsked = false;
  #ended: Ended | null = null;
  #uncapturable = false;
  /** Why sherd cannot go on with it on this node; null = it can. */
  #hopeless: string | null = null;

  #pipe: Pipe | null = null;
  #cas: PendingCas | null = null;
  #outputBytes = 0;
  #outputSinceMs = 0;
  #committedMs = 0;
  #budgetMs = 0;
  #costMs: number | null = null;

  #serial = 0;
  #attempt = 0;
  #failures = 0;
  #crashes = 0;
  #retryAtMs = 0;

  constructor(options: LifeOptions) {
    this.shardId = options.shardId;
    this.#node = options.nodeId;
    this.#writer = options.writer;
    this.#policy = { ...DEFAULT_LIFE_POLICY, ...options.policy };
  }

  /** Takes one event in and gives what is to be done now, in order. */
  handle(event: LifeEvent): LifeAction[] {
    this.#nowMs = Math.max(this.#nowMs, event.nowMs);
    this.#apply(event);
    let steps = 0;
    while (this.#step()) {
      steps += 1;
      invariant(steps < 32, `shard ${this.shardId}: its life does not come to rest`);
    }
    const out = this.#out;
    this.#out = [];
    return out;
  }

  /** The guardian's newest interval, e.g. after a measured cost. */
  setPolicy(policy: Partial<LifePolicy>): void {
    this.#policy = { ...this.#policy, ...policy };
  }

  get phase(): LifePhase {
    if (this.#epoch === 0) return 'none';
    if (this.#pipe?.final === true || this.#ended !== null) return 'ending';
    if (this.#cas !== null) return this.#cas.kind === 'take' ? 'taking' : 'committing';
    if (this.#pipe !== null) return this.#pipe.stage === 'capturing' ? 'pausing' : 'storing';
    if (this.#guest === 'running' || this.#guest === 'standing') return 'running';
    return this.#guest === 'loaded' ? 'taking' : 'loading';
  }

  /** The epoch that is being lived; 0 = none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** True when nothing is held for this shard: the object may be thrown away. */
  get idle(): boolean {
    return this.#epoch === 0 && this.#cas === null;
  }

  /** The newest record that is known. */
  get known(): Seen<ShardRecord> | null {
    return this.#known;
  }

  /** What the newest commit cost, ms: the guardian's input. Null = none yet. */
  get commitCostMs(): number | null {
    return this.#costMs;
  }

  /** When a tick is due at the latest; null = only other events matter. */
  get wakeAtMs(): number | null {
    if (this.#epoch === 0) return null;
    const times: number[] = [];
    if (this.#retryAtMs > this.#nowMs) times.push(this.#retryAtMs);
    const due = this.#checkpointDueMs();
    if (due !== null && this.#pipe === null && this.#cas === null) times.push(due);
    return times.length === 0 ? null : Math.max(this.#nowMs + 1, Math.min(...times));
  }

  // ── events: they only update what is known ──────────────────────────────────────────────────────────────────────────

  #apply(event: LifeEvent): void {
    switch (event.kind) {
      case 'tick':
        return;
      case 'record':
        this.#see(event.seen);
        return;
      case 'gone':
        this.#seeGone(event.revision);
        return;
      case 'stop':
        this.#stopping = true;
        return;
      case 'loaded':
        if (event.opId !== this.#loadOp) return;
        this.#loadOp = null;
        this.#limits = event.limits;
        this.#guest = 'loaded';
        this.#worked();
        return;
      case 'load-failed':
        if (event.opId !== this.#loadOp) return;
        this.#loadOp = null;
        this.#guest = 'none';
        this.#loadFailed(event.message, event.permanent);
        return;
      case 'captured':
      case 'capture-failed':
        this.#applyCapture(event);
        return;
      case 'stored':
      case 'store-failed':
        this.#applyStore(event);
        return;
      case 'cas':
        if (this.#cas?.opId === event.opId && this.#cas.stage === 'sent')
          this.#casAnswer(event.answer);
        return;
      case 'read':
        if (this.#cas?.opId === event.opId && this.#cas.stage === 'reading')
          this.#readAnswer(event.answer);
        return;
      default:
        if (event.runId === this.#runId) this.#applyRun(event);
    }
  }

  #applyRun(event: Extract<LifeEvent, { readonly runId: string }>): void {
    if (this.#guest === 'ended') return;
    if (event.kind === 'crashed') {
      this.#crashed(event.message);
      return;
    }
    this.#run = forward(this.#run, this.#total(event.run));
    switch (event.kind) {
      case 'progress':
        this.#noteOutput(event.outputBytes);
        return;
      case 'reached':
        if (this.#guest === 'running') this.#guest = 'standing';
        return;
      case 'ended':
        this.#guest = 'ended';
        this.#ended = { exit: event.exit, run: this.#run, outputBytes: event.outputBytes };
        if (this.#pipe?.stage === 'capturing') this.#pipe = null;
        return;
    }
  }

  #applyCapture(event: Extract<LifeEvent, { kind: 'captured' | 'capture-failed' }>): void {
    const pipe = this.#pipe;
    if (pipe === null || pipe.stage !== 'capturing' || pipe.of !== event.opId) return;
    if (event.kind === 'captured') {
      pipe.facts = { ...event.facts, ...this.#total(event.facts) };
      pipe.costMs += event.facts.costMs;
      pipe.stage = 'to-store';
      this.#run = forward(this.#run, pipe.facts);
      this.#noteOutput(0);
      if (pipe.hold) this.#guest = 'standing';
      this.#worked();
      return;
    }
    this.#pipe = null;
    if (event.permanent) this.#uncapturable = true;
    this.#backOff(event.message);
  }

  #applyStore(event: Extract<LifeEvent, { kind: 'stored' | 'store-failed' }>): void {
    const pipe = this.#pipe;
    if (pipe === null || pipe.stage !== 'storing' || pipe.storeOp !== event.opId) return;
    pipe.storeOp = null;
    if (event.kind === 'store-failed') {
      pipe.stage = 'to-store';
      this.#backOff(event.message);
      return;
    }
    pipe.stage = 'stored';
    pipe.chunk = event.chunk;
    pipe.artifacts = event.artifacts;
    pipe.costMs += event.costMs;
    this.#worked();
  }

  #total(run: RunFacts): RunFacts {
    const { fuelUsed, memoryBytes, ranMs } = run;
    return { fuelUsed, memoryBytes, ranMs: this.#ranBeforeMs + ranMs };
  }

  #noteOutput(bytes: number): void {
    if (bytes > 0 && this.#outputBytes === 0) this.#outputSinceMs = this.#nowMs;
    this.#outputBytes = bytes;
  }

  #crashed(message: string): void {
    this.#guest = 'none';
    this.#runId = null;
    this.#outputBytes = 0;
    this.#endAsked = false;
    this.#crashes += 1;
    if (this.#crashes >= this.#policy.crashTries) this.#hopeless = `crashed: ${message}`;
    if (this.#pipe?.stage === 'capturing') this.#pipe = null;
    this.#backOff(message);
  }

  #loadFailed(message: string, permanent: boolean): void {
    this.#backOff(message);
    const tries = this.#policy.loadTries;
    if (permanent || this.#failures >= tries) this.#hopeless = `could not be loaded: ${message}`;
  }

  /** A newer sight of the record. Old and repeated ones are ignored. */
  #see(seen: Seen<ShardRecord>): void {
    const known = this.#known;
    if (known !== null && seen.revision <= known.revision) return;
    if (seen.revision <= this.#goneAtRevision) return;
    const cas = this.#cas;
    if (cas !== null) {
      const settled = settle(seen, cas);
      if (settled === 'landed') {
        this.#landed(cas, seen);
        return;
      }
      if (settled === 'open' || settled === 'stale') return;
      this.#cas = null;
      this.#worked();
    }
    const foreign =
      this.#lives(seen.record) && known !== null && !sameCourse(known.record, seen.record);
    this.#known = seen;
    if (foreign) this.#letGo('another process writes under our name', true);
  }

  #seeGone(revision: number): void {
    if (this.#known !== null && revision <= this.#known.revision) return;
    this.#goneAtRevision = Math.max(this.#goneAtRevision, revision);
    this.#known = null;
    this.#cas = null;
    this.#letGo('the record was removed', true);
  }

  // ── the compare-and-set ─────────────────────────────────────────────────────────────────────────────────────────────

  #casAnswer(reply: CasAnswer): void {
    const cas = this.#cas;
    if (cas === null) return;
    if (reply.kind === 'ok') {
      this.#landed(cas, { record: cas.record, revision: reply.revision });
    } else if (reply.kind === 'unknown') {
      cas.stage = 'resend';
      this.#backOff('the store did not answer');
    } else if (reply.current !== null && reply.current.revision > cas.expected) {
      this.#see(reply.current);
    } else {
      this.#readAgain(cas);
    }
  }

  #readAnswer(reply: ReadAnswer): void {
    const cas = this.#cas;
    if (cas === null) return;
    if (reply.kind === 'found' && reply.seen.revision > cas.expected) {
      this.#see(reply.seen);
      return;
    }
    if (reply.kind === 'absent') cas.emptyReads += 1;
    if (cas.emptyReads >= EMPTY_READS) {
      this.#seeGone(cas.expected + 1);
      return;
    }
    cas.stage = 'reread';
    this.#backOff('the store shows an old record');
  }

  #readAgain(cas: PendingCas): void {
    cas.stage = 'reading';
    cas.opId = this.#id('read');
    this.#out.push({ kind: 'read', opId: cas.opId });
  }

  #send(kind: CasKind, make: (stamp: Stamp, claim: Claim) => Transition): void {
    const known = this.#known;
    invariant(known !== null && this.#cas === null, 'one write at a time, over a known record');
    const stamp = nextStamp(this.#writer, known.record, this.#attempt);
    const next = make(stamp, { node: this.#node, epoch: this.#epoch });
    invariant(next.ok, next.ok ? '' : `shard ${this.shardId}: ${next.refusal.message}`);
    this.#attempt = stamp.attempt;
    this.#cas = {
      kind,
      expected: known.revision,
      record: next.record,
      opId: '',
      stage: 'resend',
      emptyReads: 0,
    };
    this.#sendAgain(this.#cas);
  }

  #sendAgain(cas: PendingCas): void {
    cas.stage = 'sent';
    cas.opId = this.#id('cas');
    this.#out.push({ kind: 'cas', opId: cas.opId, expected: cas.expected, record: cas.record });
  }

  /** Our write is in the record (perhaps under a later change of the request). */
  #landed(cas: PendingCas, seen: Seen<ShardRecord>): void {
    this.#cas = null;
    this.#known = seen;
    this.#worked();
    if (cas.kind === 'take') this.#taken = true;
    if (cas.kind === 'commit') this.#committed();
    if (cas.kind !== 'leave') return;
    this.#letGo(`now ${cas.record.status}`, cas.record.exit?.reason === 'killed');
    const target = cas.record.owner;
    if (target !== null) this.#out.push({ kind: 'hint', node: target, shardId: this.shardId });
  }

  #committed(): void {
    const pipe = this.#pipe;
    invariant(pipe !== null && !pipe.final, 'a commit comes from a capture');
    this.#out.push({ kind: 'forget', of: pipe.of });
    this.#pipe = null;
    this.#committedMs = this.#nowMs;
    this.#costMs = pipe.costMs;
    this.#budgetMs = pipe.startedMs + pipe.costMs / this.#policy.budgetShare;
    if (this.#hopeless === null) this.#crashes = 0;
  }

  // ── decisions: one thing at a time, until nothing is left to do ─────────────────────────────────────────────────────

  /** Does the next thing; true = look again. */
  #step(): boolean {
    const record = this.#known?.record;
    if (record === undefined) return false;
    if (!this.#lives(record)) return this.#takeOver(record);
    if (this.#cas !== null) return this.#stepCas(this.#cas);
    const goal = this.#goal(record);
    if (goal.kind === 'kill') return this.#kill();
    if (this.#nowMs < this.#retryAtMs) return false;
    if (goal.kind === 'settle')
      return this.#then(() => this.#send('answer', (s, c) => answer(record, c, s)));
    if (this.#pipe !== null) return this.#stepPipe(this.#pipe, record, goal);
    return this.#guest === 'running' || this.#guest === 'standing' || this.#guest === 'ended'
      ? this.#stepGuest(record, goal)
      : this.#stepLoad(record, goal);
  }

  #lives(record: ShardRecord): boolean {
    return this.#epoch !== 0 && record.owner === this.#node && record.epoch === this.#epoch;
  }

  /** The record is not of the epoch that we live: let go, and begin anew when it is ours. */
  #takeOver(record: ShardRecord): boolean {
    if (this.#epoch !== 0)
      this.#letGo(`epoch ${record.epoch} is ${record.owner ?? 'nobody'}'s`, true);
    if (record.owner !== this.#node) return false;
    this.#epoch = record.epoch;
    return true;
  }

  #stepCas(cas: PendingCas): boolean {
    if (this.#nowMs < this.#retryAtMs) return false;
    if (cas.stage === 'resend') this.#sendAgain(cas);
    if (cas.stage === 'reread') this.#readAgain(cas);
    return false;
  }

  #goal(record: ShardRecord): Goal {
    const wanted = record.wanted;
    const stop: Goal = this.#stopping ? { kind: 'requeue' } : { kind: 'run' };
    if (wanted === null) return stop;
    if (wanted.op === 'kill') return { kind: 'kill' };
    if (this.#uncapturable && this.#guest !== 'none') {
      const waits = wanted.op === 'pause' && wanted.atFuel !== null;
      return this.#stopping ? stop : { kind: waits ? 'run' : 'settle' };
    }
    if (wanted.op === 'preempt') return { kind: 'requeue' };
    if (wanted.op === 'move') {
      return wanted.target === this.#node
        ? { kind: 'settle' }
        : { kind: 'move', target: wanted.target };
    }
    if (wanted.atFuel === null) return { kind: 'pause' };
    const there = this.#guest === 'standing' ? this.#run.fuelUsed : record.fuelUsed;
    return there >= wanted.atFuel ? { kind: 'pause' } : stop;
  }

  #kill(): boolean {
    const known = this.#known;
    invariant(known !== null, 'a kill is read from a record');
    this.#release('killed', true);
    const exit = killedExit('killed on request');
    const run = forward(recordFacts(known.record), this.#run);
    this.#send('leave', (s, c) =>
      finish(known.record, c, { exit, ...run, chunk: null, artifacts: null }, s),
    );
    return false;
  }

  #stepLoad(record: ShardRecord, goal: Goal): boolean {
    if (this.#guest === 'none' && record.status === 'running' && !this.#taken) {
      this.#send('leave', (s) => recover(record, this.#node, `${this.#node} started anew`, s));
      return false;
    }
    if (goal.kind !== 'run') {
      if (this.#guest !== 'none') this.#release('asked to leave before it ran', false);
      this.#leave(record, goal, null, null);
      return false;
    }
    if (this.#hopeless !== null) return this.#fail(this.#hopeless);
    if (this.#guest === 'loading') return false;
    if (this.#guest === 'none') return this.#then(() => this.#load(record));
    if (record.status === 'assigned') {
      this.#send('take', (s, c) => takeUp(record, c, s));
      return false;
    }
    this.#startGuest(record);
    return true;
  }

  #load(record: ShardRecord): void {
    this.#guest = 'loading';
    this.#loadOp = this.#id('load');
    const { spec, moduleHash, capsule } = record;
    this.#out.push({ kind: 'load', opId: this.#loadOp, spec, moduleHash, capsule });
  }

  #startGuest(record: ShardRecord): void {
    const runId = this.#id('run');
    this.#runId = runId;
    this.#guest = 'running';
    this.#run = recordFacts(record);
    this.#ranBeforeMs = record.ranMs;
    this.#stopAt = this.#wantedStop(record);
    this.#endAsked = false;
    this.#committedMs = this.#nowMs;
    this.#noteOutput(0);
    const stopAtFuel = this.#stopAt;
    if (record.capsule === null) this.#out.push({ kind: 'start', runId, stopAtFuel });
    else this.#out.push({ kind: 'resume', runId, capsule: record.capsule, stopAtFuel });
  }

  /** A guest that was made, and no capture under way. */
  #stepGuest(record: ShardRecord, goal: Goal): boolean {
    if (this.#ended !== null) return this.#storeEnd(this.#ended);
    if (this.#endAsked) return false;
    if (goal.kind !== 'run') {
      if (!this.#uncapturable) return this.#then(() => this.#capture(true));
      this.#release('it cannot be captured', true);
      this.#leave(record, goal, null, null);
      return false;
    }
    const quota = this.#quotaExit();
    if (quota !== null) {
      this.#endAsked = true;
      this.#emitRun((runId) => ({ kind: 'end', runId, exit: quota }));
      return false;
    }
    const stopAtFuel = this.#wantedStop(record);
    const standing = this.#guest === 'standing';
    if (standing || stopAtFuel !== this.#stopAt) {
      this.#stopAt = stopAtFuel;
      this.#guest = 'running';
      this.#emitRun((runId) => ({ kind: standing ? 'go-on' : 'set-stop', runId, stopAtFuel }));
    }
    const due = this.#checkpointDueMs();
    if (due === null || due > this.#nowMs) return false;
    this.#capture(false);
    return false;
  }

  #quotaExit(): ShardExit | null {
    const { maxFuel, maxTimeMs } = this.#limits;
    const base = { code: EXIT.quota, guestStack: [], results: new Uint8Array(0) };
    if (maxFuel > 0n && this.#guest === 'standing' && this.#run.fuelUsed >= maxFuel) {
      return { ...base, reason: 'fuel-quota', message: `used its fuel quota of ${maxFuel}` };
    }
    if (maxTimeMs > 0 && this.#run.ranMs >= maxTimeMs) {
      return { ...base, reason: 'time-quota', message: `used its time quota of ${maxTimeMs} ms` };
    }
    return null;
  }

  #wantedStop(record: ShardRecord): bigint | null {
    const { maxFuel } = this.#limits;
    const quota = maxFuel > 0n ? maxFuel : null;
    const at = record.wanted?.op === 'pause' && !this.#uncapturable ? record.wanted.atFuel : null;
    if (at === null) return quota;
    return quota === null || at < quota ? at : quota;
  }

  #capture(hold: boolean): void {
    const opId = this.#id('capture');
    this.#pipe = newPipe(opId, hold, false, this.#nowMs);
    this.#emitRun((runId) => ({ kind: 'capture', opId, runId, hold, epoch: this.#epoch }));
  }

  #storeEnd(_ended: Ended): boolean {
    invariant(this.#runId !== null, 'an ended guest has a run');
    this.#pipe = newPipe(this.#runId, true, true, this.#nowMs);
    this.#pipe.stage = 'to-store';
    this.#pipe.withArtifacts = true;
    return true;
  }

  #stepPipe(pipe: Pipe, record: ShardRecord, goal: Goal): boolean {
    if (pipe.stage === 'capturing' || pipe.stage === 'storing') return false;
    if (pipe.stage === 'to-store') return this.#store(pipe, record, goal);
    if (pipe.final) return this.#finish(pipe, record);
    const snapshot = snapshotOf(pipe);
    if (!pipe.hold || goal.kind === 'run') {
      this.#send('commit', (s, c) => commit(record, c, snapshot, s));
      return false;
    }
    if (goal.kind === 'pause' && !pipe.withArtifacts) return this.#store(pipe, record, goal);
    this.#leave(record, goal, snapshot, pipe.artifacts);
    return false;
  }

  #store(pipe: Pipe, record: ShardRecord, goal: Goal): boolean {
    pipe.stage = 'storing';
    pipe.storeOp = this.#id('store');
    pipe.withArtifacts = pipe.final || (pipe.hold && goal.kind === 'pause');
    const { head, bytes } = record.output;
    const artifacts = pipe.withArtifacts;
    this.#out.push({
      kind: 'store',
      opId: pipe.storeOp,
      of: pipe.of,
      previous: head,
      offset: bytes,
      artifacts,
    });
    return false;
  }

  #finish(pipe: Pipe, record: ShardRecord): boolean {
    const ended = this.#ended;
    invariant(ended !== null, 'only an ended guest finishes');
    const run = forward(recordFacts(record), ended.run);
    const ending = { exit: ended.exit, ...run, chunk: pipe.chunk, artifacts: pipe.artifacts };
    this.#send('leave', (s, c) => finish(record, c, ending, s));
    return false;
  }

  /** The release that answers the goal. */
  #leave(record: ShardRecord, goal: Goal, snapshot: Snapshot | null, artifacts: Hash | null): void {
    this.#send('leave', (stamp, claim) => {
      if (goal.kind === 'pause') return pause(record, claim, snapshot, artifacts, stamp);
      if (goal.kind === 'move') return handOver(record, claim, goal.target, snapshot, stamp);
      const why =
        record.wanted?.op === 'preempt'
          ? 'preempted: waiting for its turn'
          : `${this.#node} went down: waiting to be placed`;
      return requeue(record, claim, snapshot, why, stamp);
    });
  }

  /** sherd cannot go on with this shard. */
  #fail(message: string): false {
    const known = this.#known;
    invariant(known !== null, 'a shard that fails has a record');
    this.#release(message, true);
    const exit: ShardExit = {
      reason: 'failed',
      code: EXIT.failedLater,
      message: `${this.shardId} ${message}`,
      guestStack: [],
      results: new Uint8Array(0),
    };
    const run = recordFacts(known.record);
    this.#send('leave', (s, c) =>
      finish(known.record, c, { exit, ...run, chunk: null, artifacts: null }, s),
    );
    return false;
  }

  // ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** When the next checkpoint starts if nothing else happens; null = there is nothing to save. */
  #checkpointDueMs(): number | null {
    const record = this.#known?.record;
    if (record === undefined || this.#guest !== 'running' || this.#uncapturable || this.#endAsked)
      return null;
    const output = this.#outputBytes > 0;
    if (!output && this.#run.fuelUsed <= record.fuelUsed) return null;
    const regular = this.#committedMs + this.#policy.checkpointMs;
    const due = output
      ? Math.min(regular, this.#outputSinceMs + this.#policy.outputDelayMs)
      : regular;
    return Math.max(due, this.#budgetMs);
  }

  #emitRun(make: (runId: string) => LifeAction): void {
    invariant(this.#runId !== null, 'there is a run');
    this.#out.push(make(this.#runId));
  }

  #then(act: () => void): true {
    act();
    return true;
  }

  /** Gives up the instance and everything under way, but not the epoch. */
  #release(why: string, force: boolean): void {
    this.#out.push({ kind: 'drop', shardId: this.shardId, why, force });
    this.#guest = 'none';
    this.#runId = null;
    this.#loadOp = null;
    this.#pipe = null;
    this.#ended = null;
    this.#endAsked = false;
    this.#outputBytes = 0;
  }

  /** Gives up the epoch too: this life is over. */
  #letGo(why: string, force: boolean): void {
    if (this.#epoch === 0) return;
    this.#release(why, force);
    this.#epoch = 0;
    this.#taken = false;
    this.#uncapturable = false;
    this.#hopeless = null;
    this.#crashes = 0;
    this.#budgetMs = 0;
    this.#run = { fuelUsed: 0n, memoryBytes: 0, ranMs: 0 };
    this.#worked();
  }

  #worked(): void {
    this.#failures = 0;
    this.#retryAtMs = 0;
    this.trouble = '';
  }

  #backOff(message: string): void {
    const { retryMs, retryMaxMs } = this.#policy;
    this.#retryAtMs =
      this.#nowMs + Math.min(retryMaxMs, retryMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    this.trouble = message;
  }

  #id(what: string): string {
    this.#serial += 1;
    return `${this.shardId}/${this.#epoch}/${what}-${this.#serial}`;
  }
}

function newPipe(of: string, hold: boolean, final: boolean, startedMs: number): Pipe {
  return {
    of,
    hold,
    final,
    startedMs,
    stage: 'capturing',
    storeOp: null,
    facts: null,
    chunk: null,
    artifacts: null,
    withArtifacts: false,
    costMs: 0,
  };
}

function snapshotOf(pipe: Pipe): Snapshot {
  const facts = pipe.facts;
  invariant(facts !== null && pipe.stage === 'stored', 'only what is stored is committed');
  const { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs } = facts;
  return { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs, chunk: pipe.chunk };
}

function recordFacts(record: ShardRecord): RunFacts {
  return { fuelUsed: record.fuelUsed, memoryBytes: record.memoryBytes, ranMs: record.ranMs };
}

/** Newer facts; counters never go back. */
function forward(before: RunFacts, now: RunFacts): RunFacts {
  const ahead = now.fuelUsed > before.fuelUsed;
  return {
    fuelUsed: (ahead ? now : before).fuelUsed,
    memoryBytes: now.memoryBytes,
    ranMs: Math.max(before.ranMs, now.ranMs),
  };
}
