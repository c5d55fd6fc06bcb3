/**
 * What the conformance suite needs from a fabric under test, and the patience that a faulty fabric asks of its users.
 *
 * Does: hide whether time is virtual or real, retry what the contract lets fail. Does not: know any implementation.
 */
import { createHash } from 'node:crypto';
import { SherdError } from '../../host/types/errors.js';
import type { Fabric, RecordEntry, WatchEvent } from '../../host/types/fabric.js';

/** A fresh, empty store under test. */
export interface World {
  connect(name: string): Promise<Fabric>;
  /** Drives time until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T>;
  sleep(ms: number): Promise<void>;
  end(): Promise<void>;
}

export interface Target {
  readonly name: string;
  /** Reads may be stale, messages lost, reads of blobs fail: the suite retries, and asserts only what still holds. */
  readonly faulty: boolean;
  /** Whether messages reach other handles at all (they do not, embedded and without a hub). */
  readonly messages: boolean;
  /** Runs of each property test. */
  readonly runs: number;
  open(seed: number): Promise<World>;
}

export const bytesOf = (value: unknown): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(value));
export const contentOf = <T>(bytes: Uint8Array): T =>
  JSON.parse(new TextDecoder().decode(bytes)) as T;
export const hashOf = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Tries again and again until `attempt` gives something. */
export async function eventually<T>(
  world: World,
  what: string,
  attempt: () => Promise<T | undefined> | T | undefined,
  tries = 2_000,
): Promise<T> {
  for (let i = 0; i < tries; i++) {
    const result = await attempt();
    if (result !== undefined) return result;
    await world.sleep(5);
  }
  throw new Error(`did not happen: ${what}`);
}

/** A read that got through; a faulty store may refuse some. */
export async function insist<T>(world: World, act: () => Promise<T>): Promise<T> {
  let last: unknown;
  for (let i = 0; i < 200; i++) {
    try {
      return await act();
    } catch (error) {
      last = error;
      await world.sleep(5);
    }
  }
  throw last;
}

/** What a watcher knows, kept by the contract's rules; breaks of the rules are collected. */
export class View {
  readonly entries = new Map<string, RecordEntry>();
  readonly wrong: string[] = [];
  readonly kinds: string[] = [];
  readonly #newest = new Map<string, number>();
  #expectSnapshot = true;

  readonly handle = (event: WatchEvent): void => {
    this.kinds.push(event.kind);
    if (this.#expectSnapshot && event.kind !== 'snapshot') {
      this.wrong.push(`${event.kind} where a snapshot is due`);
    }
    switch (event.kind) {
      case 'resync':
        this.#expectSnapshot = true;
        break;
      case 'snapshot':
        if (!this.#expectSnapshot) this.wrong.push('a snapshot without a resync');
        this.#expectSnapshot = false;
        this.entries.clear();
        this.#newest.clear();
        for (const entry of event.entries) this.#put(entry);
        break;
      case 'put':
        this.#put(event.entry);
        break;
      case 'delete':
        this.#advance(event.key, event.revision);
        this.entries.delete(event.key);
        break;
    }
  };

  #put(entry: RecordEntry): void {
    this.#advance(entry.key, entry.revision);
    this.entries.set(entry.key, entry);
  }

  #advance(key: string, revision: number): void {
    if (revision <= (this.#newest.get(key) ?? 0)) {
      this.wrong.push(`revision of ${key} went from ${this.#newest.get(key)} to ${revision}`);
    }
    this.#newest.set(key, revision);
  }
}

/** Wraps a test body in which time passes. */
export type InWorld = (body: () => Promise<void>) => () => Promise<void>;

/** The code with which a promise is rejected. */
export async function code(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof SherdError ? error.code : `no SherdError: ${String(error)}`;
}
