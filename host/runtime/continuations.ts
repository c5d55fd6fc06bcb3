/**
 * The continuations of one instance, linked to it.
 *
 * Does: make one when it is first needed, forget those that others have been used more than, say what making them took.
 * Does not: build or compile (loaded.ts), run.
 *
 * C1  The one that was used last is found without a lookup: a guest that stops in the same loop again and again is the rule.
 */
import { Kept } from '../core/kept.js';
import type { Linked, LoadedModule } from './loaded.js';

/** Runs the rest of the innermost frame; gives the fuel that is left. */
export type Continuation = (fuel: number) => number;

export class Continuations {
  readonly #loaded: LoadedModule;
  readonly #linked: Linked;
  readonly #kept: Kept<Continuation>;
  #lastFunc = -1;
  #lastSafepoint = -1;
  #last: Continuation | undefined;
  #made = 0;
  #setupNs = 0;

  constructor(loaded: LoadedModule, linked: Linked) {
    this.#loaded = loaded;
    this.#linked = linked;
    this.#kept = new Kept(loaded.keepBytes);
  }

  /** How many were made. */
  get made(): number {
    return this.#made;
  }

  /** Time that went into making them, ns. */
  get setupNs(): number {
    return this.#setupNs;
  }

  has(func: number, safepoint: number): boolean {
    return this.#isLast(func, safepoint) || this.#kept.has(keyOf(func, safepoint));
  }

  of(func: number, safepoint: number): Continuation {
    if (!this.#isLast(func, safepoint)) {
      const key = keyOf(func, safepoint);
      this.#last = this.#kept.get(key) ?? this.#make(func, safepoint, key);
      this.#lastFunc = func;
      this.#lastSafepoint = safepoint;
    }
    return this.#last as Continuation;
  }

  #isLast(func: number, safepoint: number): boolean {
    return func === this.#lastFunc && safepoint === this.#lastSafepoint;
  }

  #make(func: number, safepoint: number, key: string): Continuation {
    const { platform } = this.#loaded;
    const began = platform.monotonicNs();
    const compiled = this.#loaded.continuation(func, safepoint);
    const linked = this.#loaded.linkContinuation(this.#linked, compiled);
    this.#kept.set(key, linked, compiled.weightBytes);
    this.#made++;
    this.#setupNs += Number(platform.monotonicNs() - began);
    return linked;
  }
}

const keyOf = (func: number, safepoint: number): string => `${func}.${safepoint}`;
