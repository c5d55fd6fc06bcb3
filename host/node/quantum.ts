/**
 * One quantum of one guest: slices of fuel, until its time is over, the guest stops by itself, or somebody calls.
 *
 *   quantum  ├─ slice ─┼─ slice ─┼─ slice ─┼─ slice ─┤      time that one guest has before another has its turn
 *                      │         │         └ called: the order is obeyed now
 *                      └ a look: called? time over? at its stop? what it goes on with not made yet?
 *
 * A slice ends by fuel, and the guest goes on from its frames at once, without the bookkeeping of a turn. So an order waits for a slice
 * and not for a quantum, also when the slice runs into a part of the program that is slower by far.
 *
 * Does: the above, and tells the pace what each slice took. Does not: choose the guest, obey.
 *
 * Q1  The guest never runs past its stop: a slice's budget is cut to what is left.
 * Q2  Making what the guest begins with is a quantum of its own, and what comes after it is looked at in between.
 */
import { invariant } from '../types/errors.js';
import type { RunResult } from '../types/state.js';
import type { Pace } from './pace.js';

/** What is run here; an `Instance` (runtime) is one. */
export interface SlicedGuest {
  readonly fuelUsed: bigint;
  /** Time that making continuations has taken so far, ns. */
  readonly setupNs: number;
  /** Frames run so far. */
  readonly steps: number;
  /** There is nothing to make before it can go on. */
  readonly isWarm: boolean;
  /** Makes what `run` needs to begin. False: it was there. */
  warm(): boolean;
  /** `more` is asked when the budget is used up: further fuel, or 0. */
  run(budget: number, more: () => number): RunResult;
}

export interface QuantumClock {
  nowNs(): bigint;
  /** An order waits. */
  isCalled(): boolean;
}

/** A guest that has its turn. */
export interface Turn {
  readonly guest: SlicedGuest;
  readonly pace: Pace;
  readonly stopAtFuel: bigint | null;
  /** What it begins with took so long to make, in quanta before, ns. */
  readonly warmedNs: number;
}

export interface Ran {
  /** Undefined: it has only made what it begins with (Q2). */
  readonly result: RunResult | undefined;
  readonly tookNs: number;
  /** Part of it that went into making continuations. */
  readonly setupNs: number;
}

/** Runs it for about `quantumNs`. Throws what the guest throws. */
export function runQuantum(turn: Turn, clock: QuantumClock, quantumNs: number): Ran {
  const { guest } = turn;
  const beganNs = clock.nowNs();
  const { setupNs: setupBefore } = guest;
  const result = guest.warm() ? undefined : new Quantum(turn, clock, beganNs, quantumNs).run();
  const tookNs = Number(clock.nowNs() - beganNs);
  return { result, tookNs, setupNs: guest.setupNs - setupBefore };
}

class Quantum {
  readonly #turn: Turn;
  readonly #clock: QuantumClock;
  readonly #beganNs: bigint;
  readonly #quantumNs: number;
  /** The slice that is going. */
  #sliceNs: bigint;
  #warmedNs: number;
  #setupNs: number;
  #steps: number;
  #budget: number;

  constructor(turn: Turn, clock: QuantumClock, beganNs: bigint, quantumNs: number) {
    this.#turn = turn;
    this.#clock = clock;
    this.#beganNs = beganNs;
    this.#quantumNs = quantumNs;
    this.#sliceNs = beganNs;
    this.#warmedNs = turn.warmedNs;
    this.#setupNs = turn.guest.setupNs;
    this.#steps = turn.guest.steps;
    this.#budget = this.#allowed();
    invariant(this.#budget > 0, 'a guest at its stop is held');
  }

  run(): RunResult {
    const result = this.#turn.guest.run(this.#budget, () => this.#more());
    invariant(
      result.kind !== 'quantum' || this.#budget === 0,
      'a quantum ends when no more is given',
    );
    return result;
  }

  /** Fuel for another slice; 0: the quantum is over. The slice that brings it nearest to its length is the last one. */
  #more(): number {
    const nowNs = this.#clock.nowNs();
    const lastNs = Number(nowNs - this.#sliceNs);
    const isTimeOver = Number(nowNs - this.#beganNs) + lastNs / 2 >= this.#quantumNs;
    this.#took(nowNs, lastNs);
    const goesOn = !isTimeOver && this.#turn.guest.isWarm && !this.#clock.isCalled();
    this.#budget = goesOn ? this.#allowed() : 0;
    return this.#budget;
  }

  #took(nowNs: bigint, sliceNs: number): void {
    const { guest, pace } = this.#turn;
    const tookNs = this.#warmedNs + sliceNs;
    const setupNs = this.#warmedNs + guest.setupNs - this.#setupNs;
    pace.took(this.#budget, tookNs, setupNs, guest.steps - this.#steps);
    this.#sliceNs = nowNs;
    this.#warmedNs = 0;
    this.#setupNs = guest.setupNs;
    this.#steps = guest.steps;
  }

  /** Q1. */
  #allowed(): number {
    const { guest, pace, stopAtFuel } = this.#turn;
    if (stopAtFuel === null) return pace.budget;
    const left = stopAtFuel - guest.fuelUsed;
    return left < BigInt(pace.budget) ? Number(left) : pace.budget;
  }
}
