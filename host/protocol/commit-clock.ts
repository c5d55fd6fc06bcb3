/**
 * When a shard's next checkpoint is due: output that waits, the regular interval, and what commits may cost.
 *
 * Does: remember the last commit, its cost and the waiting output. Does not: read a clock, or start anything.
 *
 * K1  After a commit that cost c ms, the next one starts no sooner than c / budgetShare ms after that one started.
 * K2  Waiting output forces a commit `outputDelayMs` after its first byte, as far as K1 allows.
 */
import type { LifePolicy } from './life-types.js';

/** Part of the way that the mean cost goes towards a new one, so that one slow disk write is no trend. */
const COST_STEP = 1 / 4;

export class CommitClock {
  #outputBytes = 0;
  #outputSinceMs = 0;
  #committedMs = 0;
  #budgetMs = 0;
  #costMs: number | null = null;

  /** What commits cost of late, ms; null = there was none yet. */
  get costMs(): number | null {
    return this.#costMs;
  }

  get outputIsWaiting(): boolean {
    return this.#outputBytes > 0;
  }

  /** So much output waits now. */
  outputWaits(bytes: number, nowMs: number): void {
    if (bytes > 0 && this.#outputBytes === 0) this.#outputSinceMs = nowMs;
    this.#outputBytes = bytes;
  }

  /** A run begins: nothing waits, the interval counts from here. */
  begin(nowMs: number): void {
    this.#committedMs = nowMs;
    this.#outputBytes = 0;
  }

  committed(startedMs: number, costMs: number, nowMs: number, policy: LifePolicy): void {
    this.#committedMs = nowMs;
    const mean = this.#costMs;
    this.#costMs = mean === null ? costMs : mean + (costMs - mean) * COST_STEP;
    this.#budgetMs = startedMs + costMs / policy.budgetShare;
  }

  /** The epoch is over: its budget is, too. */
  forgetBudget(): void {
    this.#budgetMs = 0;
  }

  /** When the next checkpoint is due; null = there is nothing to save. `progressed`: it computed what is not committed. */
  dueMs(progressed: boolean, policy: LifePolicy): number | null {
    const waits = this.#outputBytes > 0;
    if (!waits && !progressed) return null;
    const regular = this.#committedMs + policy.checkpointMs;
    const forced = waits ? this.#outputSinceMs + policy.outputDelayMs : regular;
    return Math.max(Math.min(regular, forced), this.#budgetMs);
  }
}
