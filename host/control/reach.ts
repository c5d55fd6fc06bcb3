/**
 * What the records reach: which blobs must stay, how much each shard holds, what retention may remove.
 *
 *     record ─┬─ spec ──────── stdin chunks, files of the input directories
 *             ├─ module
 *             ├─ capsule ───── references (files written, input)
 *             ├─ output head ─ chunk ─ chunk ─ …
 *             └─ artifacts ─── files of the final directories
 *
 * G1  A blob that any record reaches is kept. A blob that cannot be read is kept, and what it would name is not known:
 *     then nothing is collected at all (`complete` is false).
 * G2  Blobs younger than the grace time are spared: they may be about to be named.
 */
import { decodeCapsule } from '../capsule/index.js';
import { decodeSpec, decodeTrees } from '../runtime/spec.js';
import type { DuReply, GcReply } from '../types/api.js';
import type { Fabric } from '../types/fabric.js';
import type { DirectoryTree, TreeNode } from '../types/host.js';
import { decodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { OutputChunk, ShardId, ShardRecord } from '../types/records.js';

export const GRACE_MS = 10 * 60_000;

export interface Retention {
  /** Finished shards that are kept, those that ended last. */
  readonly finishedMax: number;
  /** Finished shards are removed this long after their end. */
  readonly finishedMs: number;
}

export const DEFAULT_RETENTION: Retention = { finishedMax: 1_000, finishedMs: 7 * 86_400_000 };

export interface Reached {
  readonly blobs: ReadonlySet<Hash>;
  /** Something could not be read: what it names is not in `blobs`. */
  readonly complete: boolean;
}

/** Everything that these records reach. */
export async function reach(
  records: Iterable<ShardRecord>,
  fabric: Fabric,
  platform: Platform,
): Promise<Reached> {
  const walk = new Walk(fabric, platform);
  for (const record of records) await walk.record(record);
  return { blobs: walk.blobs, complete: walk.complete };
}

/** Removes what no record reaches. */
export async function collectGarbage(
  records: Iterable<ShardRecord>,
  fabric: Fabric,
  platform: Platform,
  graceMs: number,
): Promise<Omit<GcReply, 'shards'>> {
  const { blobs, complete } = await reach(records, fabric, platform);
  if (!complete) return { blobs: 0, bytes: 0, keptBlobs: blobs.size };
  const freed = await fabric.blobs.collect((hash) => blobs.has(hash), graceMs);
  return { ...freed, keptBlobs: blobs.size };
}

/** What is stored, and what each shard reaches (shared blobs count for every shard that reaches them). */
export async function diskUse(
  records: readonly ShardRecord[],
  fabric: Fabric,
  platform: Platform,
): Promise<DuReply> {
  const sizes = new Map<Hash, number>();
  for await (const { hash, bytes } of fabric.blobs.list()) sizes.set(hash, bytes);
  const all = new Set<Hash>();
  const shards = [];
  for (const record of records) {
    const { blobs } = await reach([record], fabric, platform);
    for (const hash of blobs) all.add(hash);
    shards.push({ id: record.id, name: record.name, bytes: sum(blobs, sizes) });
  }
  return {
    blobs: sizes.size,
    bytes: sum(sizes.keys(), sizes),
    reachableBlobs: all.size,
    reachableBytes: sum(all, sizes),
    shards,
  };
}

/** Finished shards that are too many or too old, oldest first. */
export function outdated(
  records: readonly ShardRecord[],
  retention: Retention,
  wallMs: number,
): ShardId[] {
  const finished = records.filter((record) => record.status === 'done');
  finished.sort((a, b) => endedMs(b) - endedMs(a));
  return finished
    .filter(
      (record, at) =>
        at >= retention.finishedMax || wallMs - endedMs(record) > retention.finishedMs,
    )
    .map((record) => record.id)
    .reverse();
}

/** When it ended. A node's clock that is behind the submitter's must not shorten what is kept. */
function endedMs(record: ShardRecord): number {
  return Math.max(record.endedMs ?? 0, record.createdMs);
}

class Walk {
  readonly blobs = new Set<Hash>();
  complete = true;

  constructor(
    private readonly fabric: Fabric,
    private readonly platform: Platform,
  ) {}

  async record(record: ShardRecord): Promise<void> {
    this.blobs.add(record.moduleHash);
    await this.#open(record.spec, (bytes) => {
      const spec = decodeSpec(bytes);
      for (const { hash } of spec.stdin) this.blobs.add(hash);
      this.#trees(spec.dirs);
    });
    await this.#open(record.capsule, (bytes) => {
      for (const hash of decodeCapsule(bytes, this.platform).header.references)
        this.blobs.add(hash);
    });
    await this.#open(record.artifacts, (bytes) => this.#trees(decodeTrees(bytes)));
    for (let hash = record.output.head; hash !== null; ) {
      if (this.blobs.has(hash)) break;
      let previous: Hash | null = null;
      await this.#open(hash, (bytes) => {
        previous = (decodePlain(bytes) as OutputChunk).previous;
      });
      hash = previous;
    }
  }

  /** Reads a blob once; what cannot be read makes the walk incomplete. */
  async #open(hash: Hash | null, look: (bytes: Uint8Array) => void): Promise<void> {
    if (hash === null || this.blobs.has(hash)) return;
    this.blobs.add(hash);
    try {
      const bytes = await this.fabric.blobs.get(hash);
      if (bytes === undefined) this.complete = false;
      else look(bytes);
    } catch {
      this.complete = false;
    }
  }

  #trees(trees: readonly DirectoryTree[]): void {
    const waiting: TreeNode[] = trees.map((tree) => tree.root);
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (node.kind === 'dir') for (const [, entry] of node.entries) waiting.push(entry);
      if (node.kind === 'file') for (const { hash } of node.chunks) this.blobs.add(hash);
    }
  }
}

function sum(hashes: Iterable<Hash>, sizes: ReadonlyMap<Hash, number>): number {
  let bytes = 0;
  for (const hash of hashes) bytes += sizes.get(hash) ?? 0;
  return bytes;
}
