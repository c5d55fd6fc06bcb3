/**
 * A shard's life on one node, as a machine: events in, actions out (life-types.ts names them all).
 *
 * Does: decide when to load, take up, run, checkpoint, pause, hand over, finish and let go, in every interleaving of answers,
 * requests and losses. Does not: do any of it (host/node does), or read a clock.
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
 * An event only updates what is known; then `step` looks at it and does the next thing, until nothing is left.
 *
 * N1  At most one compare-and-set is in flight; it is sent again unchanged until its outcome is known or a newer revision is
 *     seen. So no write of ours can land after we decided something else.
 * N2  Once a record with another owner or epoch, or a course that we did not write, is seen, nothing more is written for ours.
 * N3  At most one capture is under way. Its output chunk is linked to the head that the record has, which only we move.
 * N4  A capture that is held, and the end of a guest, can serve any request that comes before the compare-and-set is sent.
 * N5  A kill waits for nothing but a compare-and-set in flight.
 * N6  Commits cost no more than their share of the time (commit-clock.ts K1).
 * N7  A shard that cannot go on is set aside (paused) with all that is committed. Only one of which nothing is committed, and which
 *     nothing helps, ends as failed.
 * N8  A large memory is copied before a move or a checkpoint: until the last round the guest runs and commits (life-staging.ts).
 */
import type { Seen } from '../types/brain.js';
import { invariant } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardExit, ShardId, ShardRecord } from '../types/records.js';
import { CommitClock } from './commit-clock.js';
import {
  failedExit,
  forward,
  type Goal,
  type Guest,
  goalOf,
  later,
  NOTHING_RUN,
  newPipe,
  type Pipe,
  phaseOf,
  quotaExit,
  recordFacts,
  releaseFor,
  snapshotOf,
  stopFuelOf,
} from './life-parts.js';
import { Staging, type StagingFacts } from './life-staging.js';
import {
  DEFAULT_LIFE_POLICY,
  type LifeAction,
  type LifeEvent,
  type LifeOptions,
  type LifePhase,
  type LifePolicy,
  type Remedy,
  type RunFacts,
  type SpecLimits,
} from './life-types.js';
import { RecordWrite, type WriteKind, type WriteNews } from './record-write.js';
import { type Backoff, type Hopeless, Setbacks } from './setbacks.js';
import {
  answer,
  type Claim,
  commit,
  finish,
  killedExit,
  nextStamp,
  recover,
  type Snapshot,
  type Stamp,
  sameCourse,
  setAside,
  settle,
  type Transition,
  takeUp,
} from './shard-record.js';

export class NodeLife {
  readonly shardId: ShardId;

  readonly #node: NodeId;
  readonly #writer: string;
  #policy: LifePolicy;
  readonly #out: LifeAction[] = [];
  #nowMs = 0;
  #wallMs: number | null = null;

  #known: Seen<ShardRecord> | null = null;
  #goneAtRevision = 0;
  #epoch = 0;
  #taken = false;
  #stopping = false;

  #guest: Guest = 'none';
  #runId: string | null = null;
  #loadOp: string | null = null;
  #limits: SpecLimits = { maxFuel: 0n, maxTimeMs: 0 };
  #run: RunFacts = NOTHING_RUN;
  /** What the record had when this run began. */
  #ranBeforeMs = 0;
  #stopAt: bigint | null = null;
  #endAsked = false;
  #ended: ShardExit | null = null;
  #uncapturable = false;

  #pipe: Pipe | null = null;
  readonly #staging = new Staging(() => this.#id('stage'), this.#out);
  #write: RecordWrite | null = null;
  readonly #commits = new CommitClock();

  #serial = 0;
  #attempt = 0;
  readonly #setbacks: Setbacks;
  readonly #retry: Backoff;

  constructor(options: LifeOptions) {
    this.shardId = options.shardId;
    this.#node = options.nodeId;
    this.#writer = options.writer;
    this.#policy = { ...DEFAULT_LIFE_POLICY, ...options.policy };
    this.#setbacks = new Setbacks(this.#policy);
    this.#retry = this.#setbacks.retry;
  }

  /** Takes one event in; gives what is to be done now, in order. */
  handle(event: LifeEvent): LifeAction[] {
    this.#nowMs = Math.max(this.#nowMs, event.nowMs);
    this.#wallMs = event.wallMs ?? this.#wallMs;
    this.#apply(event);
    for (let steps = 0; this.#step(); steps++) {
      invariant(steps < 32, `shard ${this.shardId}: its life does not come to rest`);
    }
    return this.#out.splice(0);
  }

  /** E.g. the guardian's newest interval. */
  setPolicy(policy: Partial<LifePolicy>): void {
    this.#policy = { ...this.#policy, ...policy };
  }

  get phase(): LifePhase {
    if (this.#epoch === 0) return 'none';
    return phaseOf(this.#pipe, this.#write, this.#guest, this.#ended !== null);
  }

  /** The epoch that is being lived; 0 = none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** True when nothing is held for this shard: the object may be thrown away. */
  get idle(): boolean {
    return this.#epoch === 0 && this.#write === null;
  }

  /** The newest record that is known. */
  get known(): Seen<ShardRecord> | null {
    return this.#known;
  }

  /** What commits cost of late, ms; null = there was none yet. */
  get commitCostMs(): number | null {
    return this.#commits.costMs;
  }

  /** What is going wrong at present, for display; empty = nothing. */
  get trouble(): string {
    return this.#retry.trouble;
  }

  /** When a tick is due at the latest; null = only other events matter. */
  get wakeAtMs(): number | null {
    if (this.#epoch === 0) return null;
    const retryMs = this.#retry.waits(this.#nowMs) ? this.#retry.atMs : null;
    const dueMs = (this.#pipe ?? this.#write) ? null : this.#checkpointDueMs();
    const at = Math.min(...[retryMs, dueMs, this.#staging.untilMs].map((ms) => ms ?? Infinity));
    return at === Infinity ? null : Math.max(this.#nowMs + 1, at);
  }

  #apply(event: LifeEvent): void {
    switch (event.kind) {
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
        this.#retry.worked();
        return;
      case 'load-failed':
        if (event.opId !== this.#loadOp) return;
        this.#loadOp = null;
        this.#guest = 'none';
        this.#setbacks.loadFailed(this.#nowMs, event.message, event.remedy);
        return;
      case 'captured':
      case 'capture-failed':
        this.#applyCapture(event);
        return;
      case 'stored':
      case 'store-failed':
        this.#applyStore(event);
        return;
      case 'staged-anew':
      case 'staged':
        this.#staging.told(event, this.#nowMs);
        return;
      case 'cas':
        this.#news(this.#write?.onCas(event.opId, event.answer) ?? null);
        return;
      case 'read':
        this.#news(this.#write?.onRead(event.opId, event.answer) ?? null);
        return;
      default:
        if (event.kind !== 'tick' && event.runId === this.#runId) this.#applyRun(event);
    }
  }

  #applyRun(event: Extract<LifeEvent, { readonly runId: string }>): void {
    if (this.#guest === 'ended') return;
    if (event.kind === 'crashed') {
      this.#crashed(event.message, event.remedy);
      return;
    }
    this.#run = forward(this.#run, later(event.run, this.#ranBeforeMs));
    switch (event.kind) {
      case 'progress':
        this.#commits.outputWaits(event.outputBytes, this.#nowMs);
        return;
      case 'reached':
        if (this.#guest === 'running') this.#guest = 'standing';
        return;
      case 'ended':
        this.#guest = 'ended';
        this.#ended = event.exit;
        if (this.#pipe?.stage === 'capturing') this.#pipe = null;
        return;
    }
  }

  #applyCapture(event: Extract<LifeEvent, { kind: 'captured' | 'capture-failed' }>): void {
    const pipe = this.#pipe;
    if (pipe === null || pipe.stage !== 'capturing' || pipe.of !== event.opId) return;
    if (event.kind === 'captured') {
      pipe.facts = { ...event.facts, ...later(event.facts, this.#ranBeforeMs) };
      pipe.costMs += event.facts.costMs;
      pipe.stage = 'to-store';
      this.#run = forward(this.#run, pipe.facts);
      this.#commits.outputWaits(0, this.#nowMs);
      if (pipe.hold) this.#guest = 'standing';
      this.#retry.worked();
      return;
    }
    this.#pipe = null;
    if (event.permanent) this.#uncapturable = true;
    this.#retry.failed(this.#nowMs, event.message);
  }

  #applyStore(event: Extract<LifeEvent, { kind: 'stored' | 'store-failed' }>): void {
    const pipe = this.#pipe;
    if (pipe === null || pipe.stage !== 'storing' || pipe.storeOp !== event.opId) return;
    pipe.storeOp = null;
    if (event.kind === 'store-failed') {
      pipe.stage = 'to-store';
      this.#retry.failed(this.#nowMs, event.message);
      // From the last commit: this one cannot be made, and its output is not the guest's any more.
      if (event.lost === true) this.#release(event.message, true);
      return;
    }
    pipe.stage = 'stored';
    pipe.chunk = event.chunk;
    pipe.artifacts = event.artifacts;
    pipe.costMs += event.costMs;
    this.#retry.worked();
  }

  #crashed(message: string, remedy: Remedy): void {
    this.#guest = 'none';
    this.#runId = null;
    this.#commits.outputWaits(0, this.#nowMs);
    this.#endAsked = false;
    this.#staging.forget();
    if (this.#pipe?.stage === 'capturing') this.#pipe = null;
    this.#setbacks.crashed(this.#nowMs, message, remedy);
  }

  /** A newer sight of the record. Old and repeated ones are ignored. */
  #see(seen: Seen<ShardRecord>): void {
    const known = this.#known;
    if (known !== null && seen.revision <= known.revision) return;
    if (seen.revision <= this.#goneAtRevision) return;
    const write = this.#write;
    if (write !== null) {
      const settled = settle(seen, write);
      if (settled === 'landed') {
        this.#landed(write, seen);
        return;
      }
      if (settled === 'open' || settled === 'stale') return;
      this.#write = null;
      this.#retry.worked();
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
    this.#write = null;
    this.#letGo('the record was removed', true);
  }

  #news(news: WriteNews | null): void {
    const write = this.#write;
    if (news === null || write === null) return;
    if (news.kind === 'landed') this.#landed(write, news.seen);
    else if (news.kind === 'seen') this.#see(news.seen);
    else if (news.kind === 'gone') this.#seeGone(write.expected + 1);
    else if (news.kind === 'later') this.#retry.failed(this.#nowMs, news.why);
  }

  #send(kind: WriteKind, make: (stamp: Stamp, claim: Claim) => Transition): false {
    const known = this.#known;
    invariant(known !== null && this.#write === null, 'one write at a time, over a known record');
    const stamp = nextStamp(this.#writer, known.record, this.#attempt, this.#wallMs);
    const next = make(stamp, { node: this.#node, epoch: this.#epoch });
    invariant(next.ok, next.ok ? '' : `shard ${this.shardId}: ${next.refusal.message}`);
    this.#attempt = stamp.attempt;
    this.#write = new RecordWrite(kind, known.revision, next.record);
    return this.#stepWrite(this.#write);
  }

  /** Our write is in the record (perhaps under a later change of the request). */
  #landed(write: RecordWrite, seen: Seen<ShardRecord>): void {
    this.#write = null;
    this.#known = seen;
    this.#retry.worked();
    if (write.kind === 'take') this.#taken = true;
    if (write.kind === 'commit') this.#committed();
    if (write.kind !== 'leave') return;
    this.#letGo(`now ${write.record.status}`, write.record.exit?.reason === 'killed');
    const target = write.record.owner;
    if (target !== null) this.#out.push({ kind: 'hint', node: target, shardId: this.shardId });
  }

  #committed(): void {
    const pipe = this.#pipe;
    invariant(pipe !== null && !pipe.final, 'a commit comes from a capture');
    this.#out.push({ kind: 'forget', of: pipe.of });
    this.#pipe = null;
    this.#commits.committed(pipe.startedMs, pipe.costMs, this.#nowMs, this.#policy);
    this.#setbacks.committed();
  }

  /** Does the next thing; true = look again. */
  #step(): boolean {
    const record = this.#known?.record;
    if (record === undefined) return false;
    if (!this.#lives(record)) return this.#takeOver(record);
    if (this.#write !== null) return this.#stepWrite(this.#write);
    const goal = this.#goal(record);
    if (goal.kind === 'kill') {
      this.#release('killed', true);
      return this.#writeEnd(record, killedExit('killed on request'), this.#run, null);
    }
    if (this.#retry.waits(this.#nowMs)) return false;
    if (goal.kind === 'settle') return this.#send('answer', (s, c) => answer(record, c, s));
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
    const owner = record.owner ?? 'nobody';
    if (this.#epoch !== 0) this.#letGo(`epoch ${record.epoch} is of ${owner}`, true);
    if (record.owner !== this.#node) return false;
    this.#epoch = record.epoch;
    return true;
  }

  #stepWrite(write: RecordWrite): false {
    if (this.#retry.waits(this.#nowMs)) return false;
    const action = write.next(() => this.#id('write'));
    if (action !== null) this.#out.push(action);
    return false;
  }

  #goal(record: ShardRecord): Goal {
    return goalOf(record, {
      node: this.#node,
      guest: this.#guest,
      fuelUsed: this.#run.fuelUsed,
      stopping: this.#stopping,
      uncapturable: this.#uncapturable,
    });
  }

  #stepLoad(record: ShardRecord, goal: Goal): boolean {
    if (this.#guest === 'none' && record.status === 'running' && !this.#taken) {
      const why = `${this.#node} started anew`;
      return this.#send('leave', (s) => recover(record, this.#node, why, s));
    }
    if (goal.kind !== 'run') {
      if (this.#guest !== 'none') this.#release('asked to leave before it ran', false);
      return this.#leave(record, goal, null, null);
    }
    if (this.#setbacks.hopeless !== null) return this.#giveUp(record, this.#setbacks.hopeless);
    if (this.#guest === 'loading') return false;
    if (this.#guest === 'none') return this.#load(record);
    if (record.status === 'assigned') return this.#send('take', (s, c) => takeUp(record, c, s));
    this.#startGuest(record);
    return true;
  }

  /** N7. */
  #giveUp(record: ShardRecord, { why, remedy }: Hopeless): false {
    this.#release(why, true);
    if (remedy === 'mend' || record.capsule !== null) {
      return this.#send('leave', (s, c) => setAside(record, c, why, s));
    }
    const exit = failedExit(`${this.shardId} ${why}`);
    return this.#writeEnd(record, exit, recordFacts(record), null);
  }

  #load(record: ShardRecord): false {
    this.#guest = 'loading';
    this.#loadOp = this.#id('load');
    const { spec, moduleHash, capsule } = record;
    this.#out.push({ kind: 'load', opId: this.#loadOp, spec, moduleHash, capsule });
    return false;
  }

  #startGuest(record: ShardRecord): void {
    const runId = this.#id('run');
    this.#runId = runId;
    this.#guest = 'running';
    this.#run = recordFacts(record);
    this.#ranBeforeMs = record.ranMs;
    this.#stopAt = stopFuelOf(record, this.#limits, !this.#uncapturable);
    this.#endAsked = false;
    this.#commits.begin(this.#nowMs);
    const stopAtFuel = this.#stopAt;
    if (record.capsule === null) this.#out.push({ kind: 'start', runId, stopAtFuel });
    else this.#out.push({ kind: 'resume', runId, capsule: record.capsule, stopAtFuel });
  }

  /** A guest that was made, and no capture under way. */
  #stepGuest(record: ShardRecord, goal: Goal): boolean {
    if (this.#ended !== null) {
      this.#pipe = newPipe(this.#runId ?? '', this.#nowMs, 'final');
      return true;
    }
    if (this.#endAsked) return false;
    const delayed = this.#staging.delays(this.#stagingFacts(goal), this.#policy);
    if (!delayed && goal.kind !== 'run') {
      if (!this.#uncapturable) return this.#capture(true);
      this.#release('it cannot be captured', true);
      return this.#leave(record, goal, null, null);
    }
    const quota = quotaExit(this.#limits, this.#guest, this.#run);
    if (quota !== null) {
      this.#endAsked = true;
      return this.#tell((runId) => ({ kind: 'end', runId, exit: quota }));
    }
    const stopAtFuel = stopFuelOf(record, this.#limits, !this.#uncapturable);
    const standing = this.#guest === 'standing';
    if (standing || stopAtFuel !== this.#stopAt) {
      this.#stopAt = stopAtFuel;
      this.#guest = 'running';
      this.#tell((runId) => ({ kind: standing ? 'go-on' : 'set-stop', runId, stopAtFuel }));
    }
    const due = this.#checkpointDueMs();
    if (due === null || due > this.#nowMs) return false;
    const facts = this.#stagingFacts(goal);
    return this.#staging.delaysCheckpoint(facts, this.#policy) ? false : this.#capture(false);
  }

  #stagingFacts(goal: Goal): StagingFacts {
    const hurried = this.#stopping || this.#uncapturable;
    const urgent = this.#commits.outputIsWaiting;
    const at = { epoch: this.#epoch, nowMs: this.#nowMs, runId: this.#runId ?? '' };
    return { goal, guest: this.#guest, run: this.#run, hurried, urgent, ...at };
  }

  #capture(hold: boolean): false {
    const opId = this.#id('capture');
    this.#pipe = newPipe(opId, this.#nowMs, hold ? 'hold' : 'checkpoint');
    const staged = this.#staging.complete(hold);
    this.#pipe.costMs += this.#staging.takeCostMs();
    const epoch = this.#epoch;
    return this.#tell((runId) => ({ kind: 'capture', opId, runId, hold, epoch, staged }));
  }

  #stepPipe(pipe: Pipe, record: ShardRecord, goal: Goal): false {
    if (pipe.stage === 'capturing' || pipe.stage === 'storing') return false;
    if (pipe.stage === 'to-store') return this.#store(pipe, record, goal);
    if (this.#ended !== null && pipe.final)
      return this.#writeEnd(record, this.#ended, this.#run, pipe);
    const snapshot = snapshotOf(pipe);
    if (!pipe.hold || goal.kind === 'run') {
      return this.#send('commit', (s, c) => commit(record, c, snapshot, s));
    }
    if (goal.kind === 'pause' && !pipe.withArtifacts) return this.#store(pipe, record, goal);
    return this.#leave(record, goal, snapshot, pipe.artifacts);
  }

  #store(pipe: Pipe, record: ShardRecord, goal: Goal): false {
    pipe.stage = 'storing';
    pipe.storeOp = this.#id('store');
    pipe.withArtifacts = pipe.final || (pipe.hold && goal.kind === 'pause');
    const { head: previous, bytes: offset } = record.output;
    const { of, storeOp: opId, withArtifacts: artifacts } = pipe;
    this.#out.push({ kind: 'store', opId, of, previous, offset, artifacts });
    return false;
  }

  #writeEnd(record: ShardRecord, exit: ShardExit, ran: RunFacts, pipe: Pipe | null): false {
    const run = forward(recordFacts(record), ran);
    const chunk = pipe?.chunk ?? null;
    const artifacts = pipe?.artifacts ?? null;
    return this.#send('leave', (s, c) => finish(record, c, { exit, ...run, chunk, artifacts }, s));
  }

  #leave(record: ShardRecord, goal: Goal, snapshot: Snapshot | null, trees: Hash | null): false {
    return this.#send('leave', (s, c) => releaseFor(record, c, goal, snapshot, trees, s));
  }

  /** When the next checkpoint starts if nothing else happens; null = there is nothing to save. */
  #checkpointDueMs(): number | null {
    const record = this.#known?.record;
    const captures = this.#guest === 'running' && !this.#uncapturable && !this.#endAsked;
    if (record === undefined || !captures) return null;
    const progressed = this.#run.fuelUsed > record.fuelUsed && !this.#staging.goes;
    return this.#staging.dueMs(this.#commits.dueMs(progressed, this.#policy), this.#nowMs);
  }

  #tell(make: (runId: string) => LifeAction): false {
    invariant(this.#runId !== null, 'there is a run');
    this.#out.push(make(this.#runId));
    return false;
  }

  /** Gives up the instance and everything under way, but not the epoch. */
  #release(why: string, force: boolean): void {
    this.#out.push({ kind: 'drop', shardId: this.shardId, why, force });
    this.#staging.forget();
    this.#guest = 'none';
    this.#runId = null;
    this.#loadOp = null;
    this.#pipe = null;
    this.#ended = null;
    this.#endAsked = false;
    this.#commits.outputWaits(0, this.#nowMs);
  }

  /** Gives up the epoch too: this life is over. */
  #letGo(why: string, force: boolean): void {
    if (this.#epoch === 0) return;
    this.#release(why, force);
    this.#epoch = 0;
    this.#taken = false;
    this.#uncapturable = false;
    this.#commits.forgetBudget();
    this.#run = NOTHING_RUN;
    this.#setbacks.forgotten();
  }

  #id(what: string): string {
    this.#serial += 1;
    return `${this.shardId}/${this.#epoch}/${what}-${this.#serial}`;
  }
}
