/**
 * The copies of a large memory that a life has made while its guest runs: towards another node for a move, or into the store for
 * checkpoints.
 *
 *     move wanted ──begin──▶ going ──staged(ready)──▶ ready ──▶ capture(hold, staged) …
 *                              │ ──staged(not ready), too long──▶ spent ──▶ capture(hold), without
 *                              └── the move is not wanted any more, or to another target: end ──▶ none
 *
 *     checkpoint due ──begin──▶ going ──staged(ready)──▶ ready ──▶ capture(staged) ──▶ kept: the next one copies only what was
 *                              │                                                         written since; so does a move
 *                              └──staged(not ready), too long──▶ spent ──▶ capture of everything
 *
 * Does: remember one copy and what has become of it. Does not: copy, or decide when the copy is good enough (the executor
 * does, with protocol/precopy).
 *
 * G1  A copy is for one run and one target (none: for checkpoints). It delays a move by `stageMaxMs` at most, and never prevents it;
 *     neither does it prevent a checkpoint. Output waits for a copy only when there is a kept one, which is soon brought up to date; not
 *     for one that begins anew.
 * G2  It is nothing but a hint until the capture: to forget it, at any time, loses nothing.
 * G3  After a first copy that came to nothing, checkpoints do without for a while: RETRY_MS, and twice as long each time that follows.
 */
import type { NodeId } from '../types/records.js';
import type { Goal, Guest } from './life-parts.js';
import type { LifeAction, LifeEvent, LifePolicy, RunFacts } from './life-types.js';

const RETRY_MS = 30_000;
const RETRIES_DOUBLED = 6;

interface Copy {
  readonly opId: string;
  /** Null: for checkpoints. */
  readonly target: NodeId | null;
  readonly untilMs: number;
  state: 'going' | 'ready' | 'spent';
}

type Told = Extract<LifeEvent, { kind: 'staged' | 'staged-anew' }>;

/** What the life knows when it asks. */
export interface StagingFacts {
  readonly goal: Goal;
  readonly guest: Guest;
  /** The node goes down, or the guest cannot be captured: there is no time, or no use. */
  readonly hurried: boolean;
  readonly runId: string;
  readonly run: RunFacts;
  readonly epoch: number;
  /** Output waits for a checkpoint. */
  readonly urgent: boolean;
  readonly nowMs: number;
}

export class Staging {
  readonly #newId: () => string;
  readonly #out: LifeAction[];
  #copy: Copy | null = null;
  /** The copy that a checkpoint was made of, which is there still. */
  #kept: string | null = null;
  /** First copies for checkpoints that came to nothing, one after the other, and until when there is no other try. */
  #failed = 0;
  #notBeforeMs = 0;
  #costMs = 0;

  /** `out`: where what is to be done goes. */
  constructor(newId: () => string, out: LifeAction[]) {
    this.#newId = newId;
    this.#out = out;
  }

  /** True: the move waits for its copy, and the guest lives on meanwhile. */
  delays(facts: StagingFacts, policy: LifePolicy): boolean {
    const { goal, nowMs } = facts;
    // What cannot be captured any more needs no copy.
    if (facts.hurried && this.#kept !== null) this.end();
    if (goal.kind !== 'move') {
      if (typeof this.#copy?.target === 'string') this.end();
      return false;
    }
    if (!pays(facts, policy)) return false;
    const copy = this.#copy;
    if (copy?.target === goal.target) return this.#goesOn(copy, nowMs);
    // A kept copy that is just being brought up to date is taken over when its checkpoint is made.
    if (copy?.target === null && this.#kept !== null && copy.state !== 'spent')
      return copy.state === 'ready' || this.#goesOn(copy, nowMs);
    if (copy !== null) this.end();
    this.#begin(facts, goal.target, policy);
    return true;
  }

  /** The same for a checkpoint that is due. */
  delaysCheckpoint(facts: StagingFacts, policy: LifePolicy): boolean {
    const copy = this.#copy;
    if (!pays(facts, policy) || typeof copy?.target === 'string') return false;
    const waits = !facts.urgent || this.#kept !== null;
    if (copy !== null) return this.#goesOn(copy, facts.nowMs) && waits;
    if (facts.nowMs < this.#notBeforeMs) return false;
    this.#begin(facts, null, policy);
    return waits;
  }

  #begin(facts: StagingFacts, target: NodeId | null, { stageMaxMs }: LifePolicy): void {
    const { runId, epoch, nowMs } = facts;
    const opId = this.#newId();
    this.#copy = { opId, target, untilMs: nowMs + stageMaxMs, state: 'going' };
    if (target !== null) this.#kept = null;
    this.#out.push({ kind: 'stage', opId, runId, target, epoch });
  }

  /** What the executor says of the copy. */
  told(event: Told, nowMs: number): void {
    const copy = this.#copy;
    if (copy?.opId !== event.opId || copy.state !== 'going') return;
    if (event.kind === 'staged-anew') {
      this.#kept = null;
      return;
    }
    this.#costMs += event.costMs;
    if (event.ready) copy.state = 'ready';
    else this.#spent(copy, nowMs);
  }

  #goesOn(copy: Copy, nowMs: number): boolean {
    if (copy.state === 'going' && nowMs >= copy.untilMs) this.#spent(copy, nowMs);
    return copy.state === 'going';
  }

  #spent(copy: Copy, nowMs: number): void {
    copy.state = 'spent';
    if (copy.target !== null) return;
    if (this.#kept === null) {
      this.#notBeforeMs = nowMs + RETRY_MS * 2 ** Math.min(this.#failed, RETRIES_DOUBLED);
      this.#failed += 1;
    }
    this.#kept = null;
  }

  /** What copies have cost since this was last asked, ms. */
  takeCostMs(): number {
    const costMs = this.#costMs;
    this.#costMs = 0;
    return costMs;
  }

  /** For a capture: the copy that it completes, or null. Of a capture that `hold`s nothing is left for another one. */
  complete(hold: boolean): string | null {
    const copy = this.#copy;
    const fits = copy?.state === 'ready' && (copy.target === null) === !hold;
    if (fits && !hold) {
      this.#kept = copy.opId;
      this.#copy = null;
      this.#failed = 0;
    }
    if (fits) return copy.opId;
    if (hold || copy?.state === 'spent') this.end();
    return null;
  }

  /** A copy is being made: only output that waits is worth a checkpoint, which would stop the shard as long as all of the copy. */
  get goes(): boolean {
    return this.#copy?.state === 'going';
  }

  /** When a checkpoint is due that would be due at `plannedMs`: it waits for its copy, and the guest stands still until then. */
  dueMs(plannedMs: number | null, nowMs: number): number | null {
    const copy = this.#copy;
    if (copy === null || copy.target !== null) return plannedMs;
    if (copy.state === 'ready') return nowMs;
    if (copy.state === 'spent') return plannedMs;
    const waits = this.#kept !== null || plannedMs === null;
    return waits ? copy.untilMs : Math.min(plannedMs, copy.untilMs);
  }

  /** When it has taken too long; null = nothing is waited for. */
  get untilMs(): number | null {
    return this.#copy?.state === 'going' ? this.#copy.untilMs : null;
  }

  /** Nothing of it is wanted any more. */
  end(): void {
    const opId = this.#copy?.opId ?? this.#kept;
    if (opId !== null) this.#out.push({ kind: 'unstage', opId });
    this.#copy = null;
    this.#kept = null;
  }

  /** The run is over, and all that was under way for it. */
  forget(): void {
    this.#copy = null;
    this.#kept = null;
    this.#failed = 0;
    this.#notBeforeMs = 0;
    this.#costMs = 0;
  }
}

function pays({ guest, hurried, run }: StagingFacts, policy: LifePolicy): boolean {
  return !hurried && guest === 'running' && run.memoryBytes >= policy.stageFromBytes;
}
