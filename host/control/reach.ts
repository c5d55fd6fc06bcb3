/**
 * What the records reach: which blobs must stay, how much each shard holds, what retention may remove.
 *
 *     record ─┬─ spec ──────── stdin chunks, files of the input directories
 *             ├─ module
 *             ├─ capsule ───── its chain of bases, references (files written, input)
 *             ├─ output head ─ chunk ─ chunk ─ …
 *             └─ artifacts ─── files of the final directories
 *
 * G1  A blob that any record reaches is kept. A blob that cannot be read is kept, and what it would name is not known (`unread`
 *     tells which): then everything is kept that it may name (may-name.ts), and only the rest goes.
 * G2  Blobs younger than the grace time are spared: they may be about to be named. Time counts up to the begin of the collection:
 *     what is put or asked for while it goes on is spared whatever the grace.
 * G3  The records are read twice, the second time when everything is known that goes by the first, and not before a blob that was
 *     there at the begin has had NAMING_MS to be named: only what neither reading reaches goes.
 */
import { decodeCapsule, neededBlobs } from '../capsule/index.js';
import { decodeSpec, decodeTrees } from '../runtime/spec.js';
import type { DuReply, GcReply, UnreadBlob } from '../types/api.js';
import type { Fabric } from '../types/fabric.js';
import type { DirectoryTree, TreeNode } from '../types/host.js';
import { decodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { OutputChunk, ShardId, ShardRecord } from '../types/records.js';
import { mayBeNamed } from './may-name.js';

export const GRACE_MS = 10 * 60_000;

/** So long, ms, blobs are read without giving the thread away: there may be 100,000 pieces of output. */
const SLICE_MS = 5;

/** More than a node needs from a blob's put to the record that names it. */
const NAMING_MS = 1_000;

export interface Retention {
  /** Finished shards that are kept, those that ended last. */
  readonly finishedMax: number;
  /** Finished shards are removed this long after their end. */
  readonly finishedMs: number;
}

export const DEFAULT_RETENTION: Retention = { finishedMax: 1_000, finishedMs: 7 * 86_400_000 };

export interface Reached {
  readonly blobs: ReadonlySet<Hash>;
  /** Blobs that could not be read: what they name is not in `blobs`. */
  readonly unread: readonly UnreadBlob[];
  /** Shard modules of the shards whose capsule could not be read: what it was based on has the same one. */
  readonly chained: ReadonlySet<Hash>;
}

/** Everything that these records reach. */
export async function reach(
  records: Iterable<ShardRecord>,
  fabric: Fabric,
  platform: Platform,
): Promise<Reached> {
  const walk = new Walk(fabric, platform);
  for (const record of records) await walk.record(record);
  return walk;
}

export interface Collection {
  readonly fabric: Fabric;
  readonly platform: Platform;
  readonly graceMs: number;
  readonly nowMs: () => number;
  /** All records, from the store itself. */
  readonly readRecords: () => Promise<readonly ShardRecord[]>;
  /** Blobs that records other than those of shards name, from the store itself. */
  readonly readOthers?: () => Promise<readonly Hash[]>;
}

/** Removes what no record reaches, nor may reach (G1). */
export async function collectGarbage(collection: Collection): Promise<Omit<GcReply, 'shards'>> {
  const { fabric, platform, graceMs, nowMs, readRecords, readOthers = nothing } = collection;
  const beganMs = nowMs();
  const walk = new Walk(fabric, platform);
  for (const record of await readRecords()) await walk.record(record);
  const others = new Set(await readOthers());
  const earlyMs = NAMING_MS - graceMs - (nowMs() - beganMs);
  if (earlyMs > 0) await new Promise((resolve) => setTimeout(resolve, earlyMs));
  // What a record named before and names no more may have gone; what it names now has not.
  walk.forgetUnread();
  for (const record of await readRecords()) await walk.record(record);
  for (const hash of await readOthers()) others.add(hash);
  const { unread, blobs } = walk;
  const maybe = unread.length === 0 ? new Set<Hash>() : await mayBeNamed(walk, collection);
  const tookMs = Math.ceil(nowMs() - beganMs);
  const keep = (hash: Hash): boolean => blobs.has(hash) || maybe.has(hash) || others.has(hash);
  const freed = await fabric.blobs.collect(keep, graceMs + tookMs);
  return { ...freed, keptBlobs: blobs.size + maybe.size + others.size, unread };
}

async function nothing(): Promise<readonly Hash[]> {
  return [];
}

/**
 * What is stored, and what each shard reaches (shared blobs count for every shard that reaches them). `others`: what records other
 * than those of shards name.
 */
export async function diskUse(
  records: readonly ShardRecord[],
  fabric: Fabric,
  platform: Platform,
  others: readonly Hash[] = [],
): Promise<DuReply> {
  const sizes = new Map<Hash, number>();
  for await (const { hash, bytes } of fabric.blobs.list()) sizes.set(hash, bytes);
  const all = new Set<Hash>(others.filter((hash) => sizes.has(hash)));
  const shards = [];
  for (const record of records) {
    const { blobs } = await reach([record], fabric, platform);
    for (const hash of blobs) if (sizes.has(hash)) all.add(hash);
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

class Walk implements Reached {
  readonly blobs = new Set<Hash>();
  unread: UnreadBlob[] = [];
  readonly chained = new Set<Hash>();
  #gaveWayMs = performance.now();
  /** Blobs that were looked into, by what they were taken for: the same bytes may be a file here and a capsule there. */
  readonly #opened = new Set<string>();

  constructor(
    private readonly fabric: Fabric,
    private readonly platform: Platform,
  ) {}

  async record(record: ShardRecord): Promise<void> {
    this.blobs.add(record.moduleHash);
    await this.#open(record.id, 'spec', record.spec, (bytes) => {
      const spec = decodeSpec(bytes);
      for (const { hash } of spec.stdin) this.blobs.add(hash);
      addFiles(spec.dirs, this.blobs);
    });
    await this.#open(record.id, 'capsule', record.capsule, (bytes) => {
      for (const hash of neededBlobs(decodeCapsule(bytes, this.platform).header))
        this.blobs.add(hash);
    });
    const { capsule, moduleHash } = record;
    if (this.unread.some(({ what, hash }) => what === 'capsule' && hash === capsule))
      this.chained.add(moduleHash);
    await this.#open(record.id, 'files', record.artifacts, (bytes) =>
      addFiles(decodeTrees(bytes), this.blobs),
    );
    for (let hash = record.output.head; hash !== null; ) {
      let previous: Hash | null = null;
      await this.#open(record.id, 'output', hash, (bytes) => {
        previous = (decodePlain(bytes) as OutputChunk).previous;
      });
      hash = previous;
    }
  }

  /** What could not be read is looked at again. */
  forgetUnread(): void {
    this.unread = [];
    this.chained.clear();
  }

  /** Reads a blob once; what cannot be read makes the walk incomplete. */
  async #open(
    id: ShardId,
    what: UnreadBlob['what'],
    hash: Hash | null,
    look: (bytes: Uint8Array) => void,
  ): Promise<void> {
    if (hash === null || this.#opened.has(what + hash)) return;
    this.blobs.add(hash);
    await this.#giveWay();
    try {
      const bytes = await this.fabric.blobs.get(hash);
      if (bytes === undefined) this.unread.push({ id, what, hash });
      else {
        look(bytes);
        this.#opened.add(what + hash);
      }
    } catch {
      this.unread.push({ id, what, hash });
    }
  }

  async #giveWay(): Promise<void> {
    if (performance.now() - this.#gaveWayMs < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#gaveWayMs = performance.now();
  }
}

/** Adds what the files of these directories consist of. */
export function addFiles(trees: readonly DirectoryTree[], hashes: Set<Hash>): void {
  const waiting: TreeNode[] = trees.map((tree) => tree.root);
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (node.kind === 'dir') for (const [, entry] of node.entries) waiting.push(entry);
    if (node.kind === 'file') for (const { hash } of node.chunks) hashes.add(hash);
  }
}

function sum(hashes: Iterable<Hash>, sizes: ReadonlyMap<Hash, number>): number {
  let bytes = 0;
  for (const hash of hashes) bytes += sizes.get(hash) ?? 0;
  return bytes;
}
