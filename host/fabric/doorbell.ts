/**
 * Doorbells: a file per node through which a shard is asked to stand still, seen by the threads that run guests.
 *
 * Does: ring (any process that may write to the data directory), and tell a thread between two quanta who was rung for.
 * Does not: decide anything: a ring is a hint like a message (F6). It may be lost, and a thread that stopped a guest for
 * it lets the guest go on when no order follows.
 *
 * Why: a message has to wake the node's main thread first, and on a machine whose cores are all busy that takes its time
 * and the very core that the guest is on. A thread that runs a guest is awake: it reads four bytes of a file that is in
 * the page cache between two quanta (about 2 µs).
 *
 *     DIR/bells/<node>   0   u32 little endian: how often it was rung
 *                        4   u32: how often a guest was stopped for it
 *                        64  SLOTS x 64 bytes: ring n has its shard's id in slot n % SLOTS, UTF-8, padded with zeros
 *
 * B1  The id is written before the count. A reader that sees half of an id finds no such shard.
 * B2  Nothing here throws once the file is there: without a bell everything works, only later.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Doorbells } from '../types/fabric.js';
import { directoryPaths } from './embedded-directory.js';

const SLOTS = 16;
const SLOT_BYTES = 64;
const SLOTS_AT = 64;
const FILE_BYTES = SLOTS_AT + SLOTS * SLOT_BYTES;
const NOBODY: readonly string[] = [];

export interface Rung {
  /** Whether some guest was stopped since. */
  answered(): boolean;
}

/** The doorbells of a data directory. */
export class DirectoryDoorbells implements Doorbells {
  constructor(private readonly directory: string) {}

  install(nodeId: string): string | undefined {
    try {
      mkdirSync(this.directory, { recursive: true });
      const path = join(this.directory, nodeId);
      const file = openSync(path, 'w', 0o600);
      writeSync(file, new Uint8Array(FILE_BYTES));
      closeSync(file);
      return path;
    } catch {
      return undefined; // B2: a full disk, for example
    }
  }

  /** How many rings were answered before this one; undefined when there is no such bell. */
  ring(nodeId: string, shardId: string): number | undefined {
    return this.#with(nodeId, 'r+', (file) => {
      const [rings = 0, answers = 0] = countsOf(file);
      const slot = new Uint8Array(SLOT_BYTES);
      new TextEncoder().encodeInto(shardId, slot);
      writeSync(file, slot, 0, SLOT_BYTES, SLOTS_AT + (rings % SLOTS) * SLOT_BYTES);
      writeSync(file, Uint32Array.of(rings + 1), 0, 4, 0);
      return answers;
    });
  }

  /** Rings for a shard whose node is not known: at every node's door. */
  ringEverywhere(shardId: string): Rung {
    const before = this.#nodes().map((node) => [node, this.ring(node, shardId)] as const);
    return {
      answered: () => before.some(([node, answers]) => this.#answers(node) !== answers),
    };
  }

  #nodes(): string[] {
    try {
      return readdirSync(this.directory);
    } catch {
      return [];
    }
  }

  #answers(nodeId: string): number | undefined {
    return this.#with(nodeId, 'r', (file) => countsOf(file)[1]);
  }

  /** B2: undefined when the node is gone, or has no bell. */
  #with<T>(nodeId: string, flags: 'r' | 'r+', use: (file: number) => T): T | undefined {
    let file: number | undefined;
    try {
      file = openSync(join(this.directory, nodeId), flags);
      return use(file);
    } catch {
      return undefined;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  remove(nodeId: string): void {
    try {
      rmSync(join(this.directory, nodeId), { force: true });
    } catch {
      // The place of the doorbells is no directory: nobody has one (B2).
    }
  }
}

/** The doorbells of this data directory (its layout: embedded-directory). */
export function doorbellsOf(directory: string): DirectoryDoorbells {
  return new DirectoryDoorbells(directoryPaths(directory).bells);
}

/** What one thread has heard of a doorbell. */
export class DoorbellListener {
  readonly #file: number | undefined;
  readonly #count = new Uint32Array(1);
  #heard = 0;

  /** What was rung before is not told. */
  constructor(path: string) {
    try {
      this.#file = openSync(path, 'r+');
      this.#read();
      this.#heard = this.#count[0] as number;
    } catch {
      this.#file = undefined;
    }
  }

  /** The shards that it was rung for since the last call, each as often as it was. */
  poll(): readonly string[] {
    if (!this.#read()) return NOBODY;
    const rings = this.#count[0] as number;
    if (rings === this.#heard) return NOBODY;
    const from = Math.max(this.#heard, rings - SLOTS);
    this.#heard = rings;
    const bytes = new Uint8Array(FILE_BYTES);
    readSync(this.#file as number, bytes, 0, FILE_BYTES, 0);
    const ids: string[] = [];
    for (let ring = Math.max(0, from); ring < rings; ring++) ids.push(idAt(bytes, ring % SLOTS));
    return ids;
  }

  /** A guest was stopped. */
  answer(): void {
    if (this.#file === undefined) return;
    const count = new Uint32Array(1);
    readSync(this.#file, count, 0, 4, 4);
    count[0] = (count[0] as number) + 1;
    writeSync(this.#file, count, 0, 4, 4);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #read(): boolean {
    return this.#file !== undefined && readSync(this.#file, this.#count, 0, 4, 0) === 4;
  }
}

/** Rings and answers. Throws where the file is not filled yet. */
function countsOf(file: number): Uint32Array {
  const counts = new Uint32Array(2);
  if (readSync(file, counts, 0, 8, 0) < 8) throw new Error('not a bell yet');
  return counts;
}

function idAt(bytes: Uint8Array, slot: number): string {
  const at = SLOTS_AT + slot * SLOT_BYTES;
  const id = bytes.subarray(at, at + SLOT_BYTES);
  const end = id.indexOf(0);
  return new TextDecoder().decode(end < 0 ? id : id.subarray(0, end));
}
