/**
 * Chains of capsules: a full one, then deltas, each based on the memory of the one before.
 *
 *     module's image ◀── full ◀── delta ◀── delta ◀── … ◀── newest        ◀── is based on (header.base, a hash)
 *
 * Does: read a chain, rebuild its newest state, make one full capsule of it, and find what is left when a link is lost.
 * Does not: store anything, decide when a chain is too long for its maker, or collect garbage (header.ts, neededBlobs).
 *
 * H1  Each link is compared with the hash that names it before anything of it is used.
 * H2  Links belong together: same module, program and ABI, memories that never shrink, fuel that never falls, and the chain
 *     that a link tells is the rest of the chain that the one above it tells. (The shard may differ: a fork, or a file that
 *     was resumed, goes on from another one's capsule.)
 * H3  At most CHAIN_LINKS_MAX links are followed, and memory is allocated once, for the newest link, after all were read:
 *     a forged chain can neither loop (a hash names its content) nor grow without bound.
 * H4  `compactChain` gives exactly the bytes that encoding the state against the module's image gives.
 * H5  What is lost is said: which links, why, and the newest state that can still be had. It is older than the lost link,
 *     for a delta says nothing without its base. Its name is known, because every link names all that are below it.
 */
import { type ErrorCode, invariant, SherdError } from '../types/errors.js';
import type { Hash, Platform } from '../types/platform.js';
import type { BaseImage, CapsuleImage, MemoryBase, ShardState } from '../types/state.js';
import {
  type DecodedCapsule,
  decodeCapsule,
  type EncodedCapsule,
  encodeCapsule,
} from './capsule.js';
import { type CapsuleHeader, CHAIN_LINKS_MAX } from './header.js';
import { copyBase, WASM_PAGE_BYTES } from './memory.js';

/** Gives a capsule's bytes by its name; undefined when nobody has them. What it throws counts as a lost link. */
export type LoadCapsule = (hash: Hash) => Promise<Uint8Array | undefined>;

export interface Chain {
  /** Newest first; the last one is full. */
  readonly links: readonly DecodedCapsule[];
  /** Name of the newest. */
  readonly hash: Hash;
}

export interface ChainOptions {
  /** Refuse a chain of any other shard module. */
  readonly moduleHash?: Hash;
  readonly maxMemoryPages?: number;
  /** Links that are followed at most. Default and limit: CHAIN_LINKS_MAX. */
  readonly maxLinks?: number;
}

/** Reads the chain from its newest link down. Throws SHERD_CAPSULE_… or SHERD_BLOB_… that says which link and why. */
export async function readChain(
  hash: Hash,
  load: LoadCapsule,
  platform: Platform,
  options: ChainOptions = {},
): Promise<Chain> {
  const links: DecodedCapsule[] = [];
  const walk = { links, load, platform, options };
  for (let next: Hash | null = hash; next !== null; ) next = await readNext(next, walk);
  return { links, hash };
}

interface Walk {
  readonly links: DecodedCapsule[];
  readonly load: LoadCapsule;
  readonly platform: Platform;
  readonly options: ChainOptions;
}

/** Adds a link and gives the name of the next one. An error's `at` is the link that is at fault. */
async function readNext(hash: Hash, walk: Walk): Promise<Hash | null> {
  const { links, load, platform, options } = walk;
  const { moduleHash, maxMemoryPages, maxLinks = CHAIN_LINKS_MAX } = options;
  const most = Math.min(maxLinks, CHAIN_LINKS_MAX);
  const newest = links[0];
  if (newest !== undefined && links.length >= most) {
    throw mismatch(newest.hash, `it is the end of a chain of more than ${most} links`);
  }
  const bytes = await loadFrom(load, hash);
  if (bytes === undefined) throw broken('SHERD_BLOB_MISSING', hash, 'it is not there');
  if (platform.sha256(bytes) !== hash) {
    throw broken('SHERD_BLOB_DAMAGED', hash, 'its bytes do not match its name');
  }
  const link = decodeCapsule(bytes, platform, {
    at: hash,
    verified: true,
    ...(moduleHash === undefined ? {} : { moduleHash }),
    ...(maxMemoryPages === undefined ? {} : { maxMemoryPages }),
  });
  const above = links.at(-1);
  if (above !== undefined) checkNeighbours(above, link.header);
  links.push(link);
  return link.header.base;
}

async function loadFrom(load: LoadCapsule, hash: Hash): Promise<Uint8Array | undefined> {
  try {
    return await load(hash);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw broken('SHERD_BLOB_MISSING', hash, reason);
  }
}

/** H2. At fault is the upper link: the lower one is good by itself. */
function checkNeighbours({ hash, header: newer }: DecodedCapsule, older: CapsuleHeader): void {
  for (const fact of ['moduleHash', 'programHash', 'abi'] as const) {
    if (newer[fact] !== older[fact]) throw mismatch(hash, `its base has another ${fact}`);
  }
  if (older.memory === null || older.memory.pages > (newer.memory?.pages ?? 0)) {
    throw mismatch(hash, 'its base has no memory to build on');
  }
  if (older.fuelUsed > newer.fuelUsed) throw mismatch(hash, 'its base is newer');
  if (String(newer.below) !== String(basesOf(older))) {
    throw mismatch(hash, 'its base is based on other capsules than it says');
  }
}

/** The links below a capsule, newest first. */
function basesOf({ base, below }: CapsuleHeader): Hash[] {
  return base === null ? [] : [base, ...below];
}

function broken(code: ErrorCode, hash: Hash, reason: string): SherdError {
  return new SherdError(code, `a link of the capsule's chain cannot be used: ${reason}`, {
    at: hash,
    next: 'go on from an earlier capsule, or bring the link back',
    exitCode: 2,
  });
}

function mismatch(hash: Hash, reason: string): SherdError {
  return broken('SHERD_CAPSULE_MISMATCH', hash, reason);
}

/** Rebuilds the memory of the newest link in `target`, which holds the module's image and has the newest size. */
export function fillFromChain({ links }: Chain, image: BaseImage, target: Uint8Array): void {
  let base: MemoryBase = image;
  for (const { hash, header, fill } of links.toReversed()) {
    const pages = header.memory?.pages ?? 0;
    invariant(pages * WASM_PAGE_BYTES <= target.length, 'the newest memory is the largest');
    const memory = target.subarray(0, pages * WASM_PAGE_BYTES);
    fill(base, memory);
    base = { capsule: hash, below: basesOf(header), pages, bytes: memory };
  }
}

/** The newest link's state. */
export function stateOfChain(chain: Chain, image: BaseImage): ShardState {
  const newest = newestOf(chain);
  if (newest.header.base === null) return newest.state(image);
  const state = newest.stateApart();
  invariant(state.memory !== null, 'a delta has a memory');
  const bytes = new Uint8Array(state.memory.pages * WASM_PAGE_BYTES);
  copyBase(bytes, image);
  fillFromChain(chain, image, bytes);
  return { ...state, memory: { ...state.memory, bytes } };
}

/** The newest link's memory as the base of a next one. Undefined for a shard without memory. */
export function imageOfChain(chain: Chain, image: BaseImage): CapsuleImage | undefined {
  const { memory } = stateOfChain(chain, image);
  if (memory === null) return undefined;
  const below = basesOf(newestOf(chain).header);
  return { capsule: chain.hash, below, pages: memory.pages, bytes: memory.bytes };
}

/** One full capsule of the newest state, in the present format (H4). */
export function compactChain(chain: Chain, image: BaseImage, platform: Platform): EncodedCapsule {
  const { shardId, epoch, specHash, references, deadBytes, unknown } = newestOf(chain).header;
  const state = stateOfChain(chain, image);
  const facts = { shardId, epoch, specHash, references, deadBytes, unknown };
  return encodeCapsule({ ...facts, state, base: image }, platform);
}

/** Why a link cannot be used. */
export interface LostLink {
  readonly hash: Hash;
  readonly error: SherdError;
}

export interface Recovered {
  /** The newest state that can be had; undefined when there is none. */
  readonly chain: Chain | undefined;
  /** The links that could not be used, as they were found. Empty: `chain` is the one that was asked for. */
  readonly lost: readonly LostLink[];
}

/**
 * The chain of this capsule, or of the newest one below it that is whole (H5). `older`: earlier capsules of the shard that
 * the caller knows of, newest first. They are tried last; only with them is there a way on when the newest itself is lost.
 */
export async function recoverChain(
  hash: Hash,
  older: readonly Hash[],
  load: LoadCapsule,
  platform: Platform,
  options: ChainOptions = {},
): Promise<Recovered> {
  const lost: LostLink[] = [];
  /** Lost links, and those that are built on them. */
  const useless = new Set<Hash>();
  const candidates = [hash, ...older];
  for (let name = candidates.shift(); name !== undefined; name = candidates.shift()) {
    if (useless.has(name)) continue;
    const links: DecodedCapsule[] = [];
    const walk = { links, load, platform, options };
    let next: Hash | null = name;
    let fault: Hash | undefined;
    try {
      while (next !== null && !useless.has(next)) next = await readNext(next, walk);
      if (next === null) return { chain: { links, hash: name }, lost };
    } catch (cause) {
      if (!(cause instanceof SherdError) || next === null) throw cause;
      fault = cause.at ?? next;
      lost.push({ hash: fault, error: cause });
      useless.add(fault);
    }
    // What is built on the link at fault; all of them when that one could not even be read.
    for (const link of links) {
      useless.add(link.hash);
      if (link.hash === fault) break;
    }
    const newest = links[0];
    if (newest !== undefined) candidates.unshift(...basesOf(newest.header));
  }
  return { chain: undefined, lost };
}

function newestOf({ links }: Chain): DecodedCapsule {
  const newest = links[0];
  invariant(newest !== undefined, 'a chain has a link');
  return newest;
}
