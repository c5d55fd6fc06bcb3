/**
 * What the parts of the memory fabric share: time, dice, faults, and who is cut off.
 *
 * Does: carry one call of a simulated node to the store and its answer back, through latency and partitions.
 * Does not: know what the call is.
 *
 * W1  A call acts on the store at one instant, on arrival; never before the caller has returned.
 * W2  A node that is cut off when the call arrives has not acted; one cut off when the answer leaves does not hear it.
 */
import { SherdError } from '../types/errors.js';
import { fabricClosed } from './check.js';
import { type FaultCounts, FaultDice, type MemoryFaults, noFaultsYet } from './memory-faults.js';
import type { FabricScheduler } from './virtual-time.js';

/** One connected handle, as the store sees it. */
export interface Peer {
  readonly name: string;
  closed: boolean;
}

export class MemoryWorld {
  readonly counts: FaultCounts = noFaultsYet();
  readonly dice: FaultDice;
  readonly #cutOff = new Set<string>();

  constructor(
    readonly scheduler: FabricScheduler,
    seed: number,
    public faults: MemoryFaults,
  ) {
    this.dice = new FaultDice(seed);
  }

  nowMs(): number {
    return this.scheduler.nowMs();
  }

  isCutOff(peer: Peer): boolean {
    return this.#cutOff.has(peer.name);
  }

  cutOff(name: string): void {
    this.#cutOff.add(name);
  }

  reconnect(name: string): boolean {
    return this.#cutOff.delete(name);
  }

  latency(): number {
    return this.dice.between(this.faults.latencyMs);
  }

  after(delayMs: number, run: () => void): void {
    this.scheduler.schedule(delayMs, run);
  }

  /** A call whose failure to get through is an error: reads, blobs. */
  call<T>(peer: Peer, extraMs: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const unreachable = (): void => {
        this.counts.partition++;
        this.after(this.faults.timeoutMs, () => reject(notReached(peer)));
      };
      this.after(this.latency() + extraMs, () => {
        if (peer.closed) return reject(fabricClosed());
        if (this.isCutOff(peer)) return unreachable();
        let answer: T;
        try {
          answer = act();
        } catch (error) {
          return this.after(this.latency(), () => reject(error));
        }
        this.after(this.latency(), () => (this.isCutOff(peer) ? unreachable() : resolve(answer)));
      });
    });
  }
}

export function notReached(peer: Peer): SherdError {
  return new SherdError('SHERD_FABRIC', 'the store does not answer', { at: peer.name });
}
