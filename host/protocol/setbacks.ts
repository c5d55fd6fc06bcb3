/**
 * What goes wrong with a shard on a node: how long to wait before the next try, and when to give it up here.
 *
 * Does: space tries, count failed loads and crashes, keep the reason. Does not: decide what becomes of the shard (node-life).
 *
 * B1  A load that only somebody else can put right, and one that failed `loadTries` times in a row, is not tried again.
 * B2  Crashes count until a commit: then the shard got somewhere.
 */
import type { LifePolicy, Remedy } from './life-types.js';

/** Why a shard cannot go on here, and what would help. */
export interface Hopeless {
  readonly why: string;
  readonly remedy: Exclude<Remedy, 'retry'>;
}

/** Tries, further and further apart while they fail. */
export class Backoff {
  failures = 0;
  /** No try before this time. */
  atMs = 0;
  /** What failed last; empty = nothing, or it works again. */
  trouble = '';

  constructor(private readonly policy: Pick<LifePolicy, 'retryMs' | 'retryMaxMs'>) {}

  waits(nowMs: number): boolean {
    return nowMs < this.atMs;
  }

  worked(): void {
    this.failures = 0;
    this.atMs = 0;
    this.trouble = '';
  }

  failed(nowMs: number, message: string): void {
    const { retryMs, retryMaxMs } = this.policy;
    this.atMs = nowMs + Math.min(retryMaxMs, retryMs * 2 ** Math.min(this.failures, 20));
    this.failures += 1;
    this.trouble = message;
  }
}

export class Setbacks {
  readonly retry: Backoff;
  /** Null = it can go on, as far as is known. */
  hopeless: Hopeless | null = null;
  #crashes = 0;

  constructor(private readonly policy: LifePolicy) {
    this.retry = new Backoff(policy);
  }

  /** B1. */
  loadFailed(nowMs: number, message: string, remedy: Remedy): void {
    this.retry.failed(nowMs, message);
    if (remedy === 'retry' && this.retry.failures < this.policy.loadTries) return;
    this.hopeless = {
      why: `could not be loaded: ${message}`,
      remedy: remedy === 'retry' ? 'mend' : remedy,
    };
  }

  /** B2. */
  crashed(nowMs: number, message: string, remedy: Remedy): void {
    this.retry.failed(nowMs, message);
    this.#crashes += 1;
    if (this.#crashes < this.policy.crashTries) return;
    this.hopeless = { why: `crashed: ${message}`, remedy: remedy === 'mend' ? 'mend' : 'none' };
  }

  committed(): void {
    if (this.hopeless === null) this.#crashes = 0;
  }

  /** For another epoch. */
  forgotten(): void {
    this.hopeless = null;
    this.#crashes = 0;
    this.retry.worked();
  }
}
