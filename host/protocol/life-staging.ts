/**
 * The staged part of a move: what of the memory is copied to the target before the shard stops.
 *
 *     move wanted ──begin──▶ going ──staged(ready)──▶ ready ──▶ capture(hold, staged) …
 *                              │ ──staged(not ready), too long──▶ spent ──▶ capture(hold), without
 *                              └── the move is not wanted any more, or to another target: end ──▶ none
 *
 * Does: remember one staging and what has become of it. Does not: copy, or decide when the copy is good enough (the executor
 * does, with protocol/precopy).
 *
 * G1  A staging is for one run and one target. It delays a move by `stageMaxMs` at most, and never prevents it.
 * G2  It is nothing but a hint until the capture: to forget it, at any time, loses nothing.
 */
import type { NodeId } from '../types/records.js';
import type { Goal, Guest } from './life-parts.js';
import type { LifeAction, LifePolicy, RunFacts } from './life-types.js';

interface Copy {
  readonly opId: string;
  readonly target: NodeId;
  readonly untilMs: number;
  state: 'going' | 'ready' | 'spent';
}

/** What the life knows when it asks. */
export interface StagingFacts {
  readonly goal: Goal;
  readonly guest: Guest;
  /** The node goes down, or the guest cannot be captured: there is no time, or no use. */
  readonly hurried: boolean;
  readonly runId: string;
  readonly run: RunFacts;
  readonly epoch: number;
  readonly nowMs: number;
}

export class Staging {
  #copy: Copy | null = null;

  /** True: the move waits for its staging, and the guest lives on meanwhile. */
  delays(facts: StagingFacts, policy: LifePolicy, newId: () => string, out: LifeAction[]): boolean {
    const { goal, guest, run, runId, epoch, nowMs } = facts;
    if (goal.kind !== 'move') {
      this.end(out);
      return false;
    }
    if (facts.hurried || guest !== 'running' || run.memoryBytes < policy.stageFromBytes)
      return false;
    const { target } = goal;
    const copy = this.#copy;
    if (copy?.target === target) {
      if (copy.state === 'going' && nowMs >= copy.untilMs) copy.state = 'spent';
      return copy.state === 'going';
    }
    this.end(out);
    const opId = newId();
    this.#copy = { opId, target, untilMs: nowMs + policy.stageMaxMs, state: 'going' };
    out.push({ kind: 'stage', opId, runId, target, epoch });
    return true;
  }

  /** The executor's answer. */
  answered(opId: string, ready: boolean): void {
    const copy = this.#copy;
    if (copy?.opId === opId && copy.state === 'going') copy.state = ready ? 'ready' : 'spent';
  }

  /** For a capture that is to be the last one here: the staging that it completes, or null, and then there is none any more. */
  complete(out: LifeAction[]): string | null {
    if (this.#copy?.state === 'ready') return this.#copy.opId;
    this.end(out);
    return null;
  }

  /** A copy is being made: only output that waits is worth a checkpoint, which would stop the shard as long as all of the copy. */
  get goes(): boolean {
    return this.#copy?.state === 'going';
  }

  /** When it has taken too long; null = nothing is waited for. */
  get untilMs(): number | null {
    return this.#copy?.state === 'going' ? this.#copy.untilMs : null;
  }

  end(out: LifeAction[]): void {
    if (this.#copy !== null) out.push({ kind: 'unstage', opId: this.#copy.opId });
    this.forget();
  }

  /** The run is over, and all that was under way for it. */
  forget(): void {
    this.#copy = null;
  }
}
