/**
 * Gathers what a worker needs to take a shard up: spec, module, capsule, and what the capsule is based on.
 *
 * Does: fetch all of it at once, choose the thread. Does not: load it there, or say what a failure means (executor-errors).
 *
 * L1  A capsule whose memory was staged ahead goes to the thread that holds it (arrivals.ts); the rest of its image comes along.
 */
import { headerOf } from '../capsule/index.js';
import { decodeStagedImage } from '../capsule/staged-image.js';
import type { Fabric } from '../types/fabric.js';
import type { Hash, Platform } from '../types/platform.js';
import type { ShardId } from '../types/records.js';
import type { Arrivals } from './arrivals.js';
import { needed } from './executor-errors.js';
import type { WorkerPool } from './pool.js';
import type { BufferShelf } from './shelf.js';
import type { StagedRest } from './worker-messages.js';

export interface GatherContext {
  readonly fabric: Fabric;
  readonly pool: WorkerPool;
  readonly shelf: BufferShelf;
  readonly arrivals: Arrivals;
  readonly platform: Platform;
  readonly fetchShared: (hash: Hash) => Promise<Uint8Array | undefined>;
}

export interface GatherOrder {
  readonly shardId: ShardId;
  readonly spec: Hash;
  readonly moduleHash: Hash;
  readonly capsule: Hash | null;
  /** About the size of the capsule. */
  readonly capsuleBytes: number;
}

export interface Gathered {
  readonly worker: number;
  readonly spec: Uint8Array;
  /** Undefined: the thread has it. */
  readonly module: Uint8Array | undefined;
  readonly capsule: Uint8Array | null;
  readonly staged: StagedRest | null;
}

export async function gather(order: GatherOrder, context: GatherContext): Promise<Gathered> {
  const { pool, fetchShared } = context;
  const { moduleHash } = order;
  const fetchModule = async (worker: number): Promise<Uint8Array | undefined> =>
    pool.isPrepared(worker, moduleHash)
      ? undefined
      : needed('its module', moduleHash, fetchShared(moduleHash));
  const early = pool.place();
  const [spec, first, capsule] = await Promise.all([
    needed('its spec', order.spec, fetchShared(order.spec)),
    fetchModule(early),
    order.capsule === null ? null : fetchCapsule(order.capsule, order.capsuleBytes, context),
  ]);
  const { thread, staged } = await baseFor(order.shardId, capsule, context);
  const worker = thread ?? early;
  // The worker may be another one, or have been replaced meanwhile.
  const module = (worker === early ? first : undefined) ?? (await fetchModule(worker));
  return { worker, spec, module, capsule, staged };
}

async function fetchCapsule(
  hash: Hash,
  capsuleBytes: number,
  { fabric, shelf }: GatherContext,
): Promise<Uint8Array> {
  const into = shelf.take(capsuleBytes);
  const bytes = await needed('its capsule', hash, fabric.blobs.get(hash, { into }));
  if (into !== undefined && bytes.buffer !== into) shelf.put(into);
  return bytes;
}

async function baseFor(
  shardId: ShardId,
  capsule: Uint8Array | null,
  { fabric, arrivals, platform }: GatherContext,
): Promise<{ readonly thread: number | null; readonly staged: StagedRest | null }> {
  const base = capsule === null ? null : headerOf(capsule, platform).base;
  if (base === null) return { thread: null, staged: null };
  const bytes = await needed("its capsule's base", base, fabric.blobs.get(base));
  const { pages, batches } = decodeStagedImage(bytes, base);
  const { thread, missing } = await arrivals.claim(shardId, batches);
  return { thread, staged: { image: base, pages, batches, missing } };
}
