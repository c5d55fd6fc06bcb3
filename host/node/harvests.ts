/**
 * What captures and ends of one shard leave until it is committed: capsule, output, blobs, trees.
 *
 * Does: keep each harvest under the id it came with, store it in the fabric, give its capsule's buffer back for the next
 * capsule once it is stored.
 * Does not: decide when (protocol/node-life) or tell anybody (shard-executor).
 *
 * H1  All blobs of a harvest are durable when `store` resolves; it may be called again, and stores the same.
 * H2  A buffer is given back only when no put reads it any more: after its `store` has ended, and after it was let go.
 */
import { SherdError } from '../types/errors.js';
import type { Blobs } from '../types/fabric.js';
import { encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { OutputChunk } from '../types/records.js';
import type { Harvest } from './worker-messages.js';

export interface KeptCapsule {
  readonly hash: Hash;
  readonly bytes: Uint8Array;
}

interface Kept {
  readonly harvest: Harvest;
  readonly capsule: KeptCapsule | null;
  /** Stores that are going on. */
  storing: number;
  /** Where the buffer goes, once it was let go. */
  letGo: ((buffer: ArrayBuffer) => void) | undefined;
}

/** Where the chunk of output goes, and whether the directory trees are wanted. */
export interface StoreOrder {
  readonly of: string;
  readonly previous: Hash | null;
  readonly offset: number;
  readonly artifacts: boolean;
}

export interface StoredHarvest {
  readonly chunk: { readonly hash: Hash; readonly bytes: number } | null;
  readonly artifacts: Hash | null;
}

export class Harvests {
  readonly #kept = new Map<string, Kept>();
  readonly #blobs: Blobs;
  readonly #platform: Platform;

  constructor(blobs: Blobs, platform: Platform) {
    this.#blobs = blobs;
    this.#platform = platform;
  }

  keep(id: string, harvest: Harvest, capsule: KeptCapsule | null): void {
    this.#kept.set(id, { harvest, capsule, storing: 0, letGo: undefined });
  }

  async store(order: StoreOrder): Promise<StoredHarvest> {
    const kept = this.#kept.get(order.of);
    if (kept === undefined)
      throw new SherdError('SHERD_INTERNAL', `nothing is kept of ${order.of}`);
    kept.storing += 1;
    try {
      return await this.#store(kept, order);
    } finally {
      kept.storing -= 1;
      giveBack(kept);
    }
  }

  /** Forgets one harvest; its buffer goes to `letGo`. Returns the blobs that were stored with it. */
  forget(
    of: string,
    letGo: (buffer: ArrayBuffer) => void,
  ): { readonly hadCapsule: boolean; readonly blobs: readonly Hash[] } {
    const kept = this.#kept.get(of);
    if (kept === undefined) return { hadCapsule: false, blobs: [] };
    this.#kept.delete(of);
    kept.letGo = letGo;
    giveBack(kept);
    return { hadCapsule: kept.capsule !== null, blobs: [...kept.harvest.blobs.keys()] };
  }

  clear(letGo: (buffer: ArrayBuffer) => void): void {
    for (const of of [...this.#kept.keys()]) this.forget(of, letGo);
  }

  async #store(kept: Kept, order: StoreOrder): Promise<StoredHarvest> {
    const { harvest, capsule } = kept;
    const chunk = this.#chunkOf(harvest, order);
    const trees = order.artifacts ? harvest.trees : null;
    const artifacts = trees === null ? null : this.#platform.sha256(trees);
    const put = (hash: Hash, bytes: Uint8Array): Promise<void> =>
      this.#blobs.put(hash, bytes, { hashed: true });
    // All of them are durable before a record names any: their order among themselves does not matter.
    await Promise.all([
      ...[...harvest.blobs].map(([hash, bytes]) => put(hash, bytes)),
      chunk === null ? undefined : put(chunk.hash, chunk.bytes),
      trees === null || artifacts === null ? undefined : put(artifacts, trees),
      capsule === null ? undefined : put(capsule.hash, capsule.bytes),
    ]);
    return {
      chunk: chunk === null ? null : { hash: chunk.hash, bytes: outputBytes(harvest) },
      artifacts,
    };
  }

  #chunkOf(harvest: Harvest, order: StoreOrder): KeptCapsule | null {
    if (outputBytes(harvest) === 0) return null;
    const { previous, offset } = order;
    const chunk: OutputChunk = { v: 1, previous, offset, pieces: harvest.output };
    const bytes = encodePlain(chunk);
    return { hash: this.#platform.sha256(bytes), bytes };
  }
}

export function outputBytes(harvest: Harvest): number {
  return harvest.output.reduce((sum, piece) => sum + piece.bytes.length, 0);
}

function giveBack(kept: Kept): void {
  const buffer = kept.capsule?.bytes.buffer;
  if (kept.letGo === undefined || kept.storing > 0 || !(buffer instanceof ArrayBuffer)) return;
  kept.letGo(buffer);
  kept.letGo = undefined;
}
