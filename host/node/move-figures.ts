/**
 * What a move or a pause cost, for display: measured where it happens, published as hints.
 *
 * Does: keep the figures of the newest capture and of the newest load. Does not: decide anything from them.
 *
 * F1  Nothing waits for figures: they are published after what follows from a hand-over.
 */
import type { MoveHint } from '../types/hints.js';
import type { NodeId, ShardId, ShardRecord } from '../types/records.js';
import type { Captured } from './worker-messages.js';

/** Figures of a capture that may become a move. */
interface Leaving {
  readonly captured: Omit<Captured, 'capsule' | 'harvest'>;
  readonly capsuleBytes: number;
  readonly pauseUs: number;
  storeUs: number;
}

export class MoveFigures {
  readonly #shardId: ShardId;
  readonly #nodeId: NodeId;
  readonly #publish: (hint: MoveHint) => void;
  #restoreUs = 0;
  #askedNs = 0n;
  #leaving: Leaving | null = null;

  constructor(shardId: ShardId, nodeId: NodeId, publish: (hint: MoveHint) => void) {
    this.#shardId = shardId;
    this.#nodeId = nodeId;
    this.#publish = publish;
  }

  /** The newest capture: whose figures a hand-over that is sent now is to show. */
  get leaving(): Leaving | null {
    return this.#leaving;
  }

  loaded(restoreUs: number): void {
    this.#restoreUs = restoreUs;
  }

  asked(): void {
    this.#askedNs = process.hrtime.bigint();
  }

  captured(captured: Captured): void {
    // Rung for, it may have stood still before the command was given.
    const pauseUs = Math.max(0, Number(captured.stoppedNs - this.#askedNs)) / 1_000;
    this.#leaving = { captured, capsuleBytes: captured.capsule.length, pauseUs, storeUs: 0 };
  }

  stored(captureId: string, storeUs: number): void {
    if (this.#leaving?.captured.id === captureId) this.#leaving.storeUs = storeUs;
  }

  forget(): void {
    this.#leaving = null;
  }

  /** The record says that the shard has left, or is paused; `leaving` as it was when that was written. */
  left(leaving: Leaving | null, record: ShardRecord, casBeganNs: bigint): void {
    const isPause = record.owner === null && record.status === 'paused';
    if (record.owner === this.#nodeId || (record.owner === null && !isPause)) return;
    if (leaving === null || record.capsule !== leaving.captured.capsuleHash) return;
    const { captured, capsuleBytes, pauseUs, storeUs } = leaving;
    const hint: MoveHint = {
      kind: 'left',
      shardId: this.#shardId,
      epoch: record.epoch,
      source: this.#nodeId,
      target: record.owner,
      fuelUsed: captured.state.fuelUsed,
      capsuleBytes,
      memoryBytes: captured.state.memoryBytes,
      pauseUs,
      encodeUs: captured.encodeUs,
      storeUs,
      handoverUs: Number(process.hrtime.bigint() - casBeganNs) / 1_000,
      stoppedNs: captured.stoppedNs,
    };
    setImmediate(() => this.#publish(hint));
  }

  /** The first quantum after a load begins. */
  runs(epoch: number, runningNs: bigint): void {
    this.#publish({
      kind: 'arrived',
      shardId: this.#shardId,
      epoch,
      target: this.#nodeId,
      restoreUs: this.#restoreUs,
      runningNs,
    });
  }
}
