/**
 * The host side of one shard: WASI, its files, its output, its clocks; as data when the shard moves.
 *
 * Does: make a GuestHost from a spec, take it down (`snapshot`) and put it back (`restoreGuestHost`).
 * Does not: run the guest (instance.ts), store blobs or commit output (node).
 *
 *   snapshot = { v: 1, clock: clock.ts, random: position, fds: descriptors.ts, files: tree-state.ts }
 *
 * G1  A snapshot is relative to the spec: inputs are in it by what changed only.
 * G2  All chunks that a snapshot names are inputs, durable, or in `newBlobs()` from then on.
 * G3  A chunk that the newest snapshot does not name counts as gone from the store (it may be collected).
 */
import { SherdError } from '../types/errors.js';
import type {
  BlobCache,
  DirectoryTree,
  GuestHost,
  HostControl,
  HostFunctions,
  OutputPiece,
  ShardSpec,
  TreeNode,
} from '../types/host.js';
import type { Hash, Platform } from '../types/platform.js';
import type { Plain } from '../types/state.js';
import { encodeUtf8 } from './wasi/abi.js';
import { GuestClock } from './wasi/clock.js';
import { ChunkStore, FileContent } from './wasi/content.js';
import { OutputBuffer, type WasiState } from './wasi/context.js';
import { Descriptors, unpackDescriptors } from './wasi/descriptors.js';
import { Inodes } from './wasi/inodes.js';
import { asFields, asU64, damaged } from './wasi/plain.js';
import { bindWasi, WASI_MODULE } from './wasi/preview1.js';
import { GuestRandom } from './wasi/random.js';
import { inodeHashes, restoreInodes, snapshotInodes } from './wasi/tree-state.js';

const SNAPSHOT_VERSION = 1;
/** A restored position must have room to move on. */
const RANDOM_MAX = 2n ** 63n;
/** Written data that the store has, too, is kept at hand up to this size. */
const RESIDENT_BYTES_MAX = 64 * 1024 * 1024;

class WasiGuestHost implements GuestHost {
  readonly #state: WasiState;
  readonly #spec: ShardSpec;
  /** Inputs that are still there: the spec keeps them in the store. */
  #inputs: ReadonlySet<Hash>;
  /** Written chunks that the store has, as far as the newest snapshot names them. */
  #durable = new Set<Hash>();
  /** What the newest snapshot names and the store does not have. */
  #pending = new Map<Hash, Uint8Array>();

  constructor(spec: ShardSpec, blobs: BlobCache, platform: Platform) {
    this.#spec = spec;
    this.#inputs = specHashes(spec);
    const store = new ChunkStore(blobs, platform);
    const clock = new GuestClock(platform, newestStamp(spec.dirs));
    const inodes = new Inodes(spec.dirs, store, clock);
    this.#state = {
      args: spec.args.map(encodeUtf8),
      env: spec.env.map(encodeUtf8),
      inodes,
      descriptors: new Descriptors(inodes),
      clock,
      random: new GuestRandom(spec.seed),
      stdin: stdinContent(spec, store),
      output: new OutputBuffer(),
    };
  }

  restore(snapshot: Plain): void {
    const { inodes, descriptors, random, clock } = this.#state;
    const fields = asFields(snapshot, 'host state');
    if (fields.v !== SNAPSHOT_VERSION) {
      throw new SherdError('SHERD_CAPSULE_VERSION', 'the host state has an unknown version', {
        at: 'capsule',
        next: 'resume it with the version of sherd that made it',
      });
    }
    const table = unpackDescriptors(inodes, fields.fds ?? null);
    const open = new Set([...table.values()].map(({ ino }) => ino).filter((ino) => ino !== 0));
    restoreInodes(inodes, fields.files ?? null, open);
    descriptors.restore(table);
    descriptors.checkKinds();
    random.position = asU64(fields.random, 'random position', RANDOM_MAX);
    clock.restore(fields.clock ?? null);
    const named = this.#named();
    const inputs = this.#inputs;
    this.#inputs = new Set([...named].filter((hash) => inputs.has(hash)));
    this.#durable = new Set([...named].filter((hash) => !inputs.has(hash)));
  }

  functions(control: HostControl): HostFunctions {
    return new Map([[WASI_MODULE, bindWasi(this.#state, control)]]);
  }

  snapshot(): Plain {
    const { inodes, descriptors, random, clock } = this.#state;
    this.#pending = this.#nameBlobs();
    return {
      v: SNAPSHOT_VERSION,
      clock: clock.snapshot(),
      random: random.position,
      fds: descriptors.snapshot(),
      files: snapshotInodes(inodes),
    };
  }

  drainOutput(): OutputPiece[] {
    return this.#state.output.drain();
  }

  /** Also what the files name now, should the guest have run since: `trees` names that. */
  newBlobs(): ReadonlyMap<Hash, Uint8Array> {
    return new Map([...this.#pending, ...this.#nameBlobs()]);
  }

  markDurable(hashes: Iterable<Hash>): void {
    for (const hash of hashes) {
      this.#durable.add(hash);
      this.#pending.delete(hash);
    }
    this.#trim();
  }

  references(): Hash[] {
    this.#nameBlobs();
    return [...this.#named()].sort();
  }

  /** Every hash that files and the rest of standard input name. */
  #named(): Set<Hash> {
    const { inodes, descriptors } = this.#state;
    const named = new Set<Hash>();
    inodeHashes(inodes, named);
    const offset = descriptors.stdinOffset() ?? Number.POSITIVE_INFINITY;
    let at = 0;
    for (const chunk of this.#spec.stdin) {
      at += chunk.bytes;
      if (at > offset) named.add(chunk.hash);
    }
    return named;
  }

  suspendClock(): void {
    this.#state.clock.suspend();
  }

  resumeClock(): void {
    this.#state.clock.resume();
  }

  guestMonotonicNs(): bigint {
    return this.#state.clock.monotonicNs();
  }

  trees(): readonly DirectoryTree[] {
    this.#nameBlobs();
    return this.#state.inodes.finalTrees();
  }

  /** Hashes what was written; returns what the store does not have yet. */
  #nameBlobs(): Map<Hash, Uint8Array> {
    const { inodes } = this.#state;
    inodes.nameChunks();
    const written = new Map<Hash, () => Uint8Array>();
    for (const file of inodes.changedFiles()) file.content.collect(written);
    const durable = new Set<Hash>();
    const fresh = new Map<Hash, Uint8Array>();
    for (const [hash, data] of written) {
      if (this.#inputs.has(hash)) continue;
      if (this.#durable.has(hash)) durable.add(hash);
      else fresh.set(hash, data());
    }
    this.#durable = durable;
    return fresh;
  }

  /** Lets go of written data that can be fetched again, beyond what is kept at hand. */
  #trim(): void {
    let bytes = 0;
    for (const file of this.#state.inodes.changedFiles()) bytes += file.content.residentBytes();
    for (const file of this.#state.inodes.changedFiles()) {
      if (bytes <= RESIDENT_BYTES_MAX) return;
      bytes -= file.content.demote(this.#durable, bytes - RESIDENT_BYTES_MAX);
    }
  }
}

/** The host of a shard that has not run yet. */
export function createGuestHost(spec: ShardSpec, blobs: BlobCache, platform: Platform): GuestHost {
  return new WasiGuestHost(spec, blobs, platform);
}

/** The host of a shard as `snapshot` left it. The spec is the one it was created from. */
export function restoreGuestHost(
  spec: ShardSpec,
  snapshot: Plain,
  blobs: BlobCache,
  platform: Platform,
): GuestHost {
  const host = new WasiGuestHost(spec, blobs, platform);
  try {
    host.restore(snapshot);
  } catch (error) {
    if (error instanceof SherdError && error.code !== 'SHERD_INTERNAL') throw error;
    throw damaged(error instanceof Error ? error.message : 'host state');
  }
  return host;
}

/** Every blob that a spec names: what must be there to start it. */
export function specHashes(spec: ShardSpec): Set<Hash> {
  const hashes = new Set<Hash>(spec.stdin.map((chunk) => chunk.hash));
  for (const tree of spec.dirs) addTreeHashes(tree.root, hashes);
  return hashes;
}

/** Adds every chunk hash below a node. */
export function addTreeHashes(node: TreeNode, target: Set<Hash>): void {
  if (node.kind === 'file') for (const chunk of node.chunks) target.add(chunk.hash);
  if (node.kind === 'dir') for (const [, child] of node.entries) addTreeHashes(child, target);
}

function stdinContent(spec: ShardSpec, store: ChunkStore): FileContent {
  const bytes = spec.stdin.reduce((sum, chunk) => sum + chunk.bytes, 0);
  const chunks = spec.stdin;
  return new FileContent(store, { kind: 'file', mtimeNs: 0n, bytes, chunks, executable: false });
}

function newestStamp(trees: readonly DirectoryTree[]): bigint {
  let newest = 0n;
  const visit = (node: TreeNode): void => {
    if (node.mtimeNs > newest) newest = node.mtimeNs;
    if (node.kind === 'dir') for (const [, child] of node.entries) visit(child);
  };
  for (const tree of trees) visit(tree.root);
  return newest;
}
