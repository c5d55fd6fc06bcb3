/**
 * The simulated world: virtual time, one memory fabric, one source of chance, and the processes that live in it.
 *
 * Does: give each process a fabric handle, timers that die with it, and dice; keep a log of what happened.
 * Does not: know what a process does, or decide faults (fault-plan.ts).
 *
 * W1  Everything that happens follows from the seed: no clock, no Math.random, no real I/O.
 * W2  A killed process does nothing any more; what it had under way in the fabric may still take effect.
 */
import { createHash } from 'node:crypto';
import {
  createMemoryFabric,
  FaultDice,
  type MemoryFabric,
  type MemoryFaults,
  VirtualTime,
} from '../fabric/memory.js';
import type { Fabric } from '../types/fabric.js';
import type { Hash } from '../types/platform.js';

const LOG_LINES = 4_000;

export class World {
  readonly time = new VirtualTime();
  readonly fabric: MemoryFabric;
  readonly dice: FaultDice;
  /** Blobs whose `put` was answered: what a record may name. */
  readonly durable = new Map<Hash, Uint8Array>();
  readonly log: string[] = [];
  /** Exceptions inside of processes: each is a defect of the code under test. */
  readonly defects: string[] = [];

  constructor(seed: number, faults: Partial<MemoryFaults>) {
    this.dice = new FaultDice(seed ^ 0x5bd1e995);
    this.fabric = createMemoryFabric({ seed, faults, scheduler: this.time });
  }

  get nowMs(): number {
    return this.time.nowMs();
  }

  note(line: string): void {
    this.log.push(`${this.nowMs.toFixed(1).padStart(9)} ${line}`);
    if (this.log.length > LOG_LINES) this.log.splice(0, LOG_LINES / 2);
  }

  /** Runs a process's code; an exception is noted, not thrown. */
  guard(run: () => void): void {
    try {
      run();
    } catch (cause) {
      this.defects.push(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
    }
  }

  /** An integer in [0, below). */
  pick(below: number): number {
    return Math.min(below - 1, Math.floor(this.dice.next() * below));
  }

  choose<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.pick(items.length)];
  }

  hash(bytes: Uint8Array): Hash {
    return sha256(bytes);
  }

  async putDurable(fabric: Fabric, bytes: Uint8Array): Promise<Hash> {
    const hash = sha256(bytes);
    await fabric.blobs.put(hash, bytes);
    this.durable.set(hash, bytes);
    return hash;
  }
}

export function sha256(bytes: Uint8Array): Hash {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Something that runs, can be killed, and holds one fabric handle. */
export abstract class SimProcess {
  readonly name: string;
  readonly world: World;
  readonly fabric: Fabric;
  #alive = true;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.fabric = world.fabric.connect(name);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** SIGKILL. */
  kill(why: string): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.world.note(`${this.name} killed: ${why}`);
    void this.fabric.close();
  }

  after(delayMs: number, run: () => void): void {
    this.world.time.schedule(delayMs, () => {
      if (this.#alive) this.world.guard(run);
    });
  }

  every(periodMs: number, run: () => void): void {
    this.after(periodMs, () => {
      run();
      this.every(periodMs, run);
    });
  }

  /** Carries the answer of an asynchronous call on, unless the process has died meanwhile. */
  when<T>(work: Promise<T>, done: (value: T) => void, failed: (cause: unknown) => void): void {
    work.then(
      (value) => {
        if (this.#alive) this.world.guard(() => done(value));
      },
      (cause: unknown) => {
        if (this.#alive) this.world.guard(() => failed(cause));
      },
    );
  }
}
