/**
 * Things that can be made again, by key: those that were used last stay, up to a weight; or those that came last, up to a number.
 *
 * Does: remember, forget the least recently used. Does not: make anything.
 *
 * K1  The newest thing stays even when it alone is heavier than the limit: somebody is about to use it.
 */
import { invariant } from '../types/errors.js';

interface Entry<V> {
  readonly value: V;
  readonly bytes: number;
}

export class Kept<V> {
  readonly #limitBytes: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry<V>>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Weight of all of it. */
  get bytes(): number {
    return this.#bytes;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Counts as a use. */
  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** What has this key already is replaced. */
  set(key: string, value: V, bytes: number): void {
    invariant(bytes >= 0, 'a weight is not negative');
    this.#forget(key);
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limitBytes || oldest === key) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

/** Makes room for one more in what holds so many at most: the oldest goes. */
export function makeRoom<K>(held: Map<K, unknown> | Set<K>, most: number): void {
  const oldest = held.keys().next();
  if (held.size >= most && oldest.done !== true) held.delete(oldest.value);
}
