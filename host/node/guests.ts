/**
 * Makes real guests for the rotation: loaded modules, instances, hosts, capsules of one worker thread.
 *
 * Does: keep compiled modules and the blob cache, start from a spec, restore from a capsule, encode.
 * Does not: schedule (rotation) or talk (worker).
 *
 * G1  A module is compiled once a worker, however many shards use it.
 * G2  A capsule is refused before anything of it runs when its module is not the one that the record names.
 * G3  A capsule's buffer is this thread's alone; once restored nothing refers to it, and it is used for the next one.
 * G4  What is made ahead of need never fails a guest or the thread, and gives its memory back when a guest needs it.
 */
import { deadRanges, decodeCapsule, encodeCapsule, prepareDead } from '../capsule/index.js';
import { MAX_WASM_PAGES, WASM_PAGE_BYTES } from '../capsule/memory.js';
import { readBatch } from '../capsule/staging.js';
import { readShardModule } from '../compile/index.js';
import { coreOf } from '../core/core.js';
import { Kept, makeRoom } from '../core/kept.js';
import { createGuestHost, restoreGuestHost } from '../runtime/guest-host.js';
import { checkLimit, Instance, LoadedModule, Staged } from '../runtime/index.js';
import { decodeSpec, encodeTrees } from '../runtime/spec.js';
import { SherdError } from '../types/errors.js';
import type { BlobCache, GuestHost, ShardSpec } from '../types/host.js';
import type { Hash, Platform } from '../types/platform.js';
import type { ShardId } from '../types/records.js';
import type { CapsuleImage } from '../types/state.js';
import type { CopyGuest } from './copying.js';
import type { Guest } from './rotation.js';
import { BufferShelf } from './shelf.js';
import type { Batch, StagedName, StagedRest, TakeUp } from './worker-messages.js';

const CACHE_BYTES = 64 * 1024 * 1024;
/** Compiled modules that a thread keeps. */
export const MODULES = 32;

/** Modules of which an instance waits for a guest that may come back. */
const SPARES = 4;

/** A guest whose memory can be copied while it does not run. */
export type LoadedGuest = Guest & CopyGuest & { readonly moduleHash: Hash };

/** The memory of a shard that is to come. */
interface Arrival {
  readonly staged: Staged;
  readonly batches: Hash[];
}

export class Guests {
  readonly #platform: Platform;
  readonly #modules = new Map<Hash, LoadedModule>();
  readonly #refused = new Map<Hash, unknown>();
  readonly #arrivals = new Map<ShardId, Arrival>();
  /** Modules of which an instance may wait, the oldest first. */
  readonly #spares = new Set<Hash>();
  #wish: { readonly moduleHash: Hash; readonly memoryBytes: number } | null = null;
  readonly blobs = new RecentBlobs(CACHE_BYTES);
  readonly shelf = new BufferShelf();

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Compiles the module, or finds it compiled already. Why it could not be is kept for `load` to say. */
  prepare(moduleHash: Hash, bytes: Uint8Array): void {
    if (this.#modules.has(moduleHash)) return;
    try {
      this.#compile(moduleHash, bytes);
      this.#refused.delete(moduleHash);
    } catch (cause) {
      if (this.#refused.size >= MODULES) this.#refused.clear();
      this.#refused.set(moduleHash, cause);
      throw cause;
    }
  }

  #compile(moduleHash: Hash, bytes: Uint8Array): void {
    const module = readShardModule(bytes, this.#platform);
    if (module.moduleHash !== moduleHash) {
      throw new SherdError('SHERD_BLOB_DAMAGED', `module is ${module.moduleHash}`, {
        at: moduleHash,
      });
    }
    makeRoom(this.#modules, MODULES);
    this.#modules.set(moduleHash, LoadedModule.load(module, this.#platform));
    coreOf(this.#platform); // ready before the first capsule is waited for
  }

  /** A batch of the memory of a shard that is to come. Out of order it is dropped: it comes again with the shard. */
  arrive(shardId: ShardId, moduleHash: Hash, batch: Batch): void {
    const loaded = this.#modules.get(moduleHash);
    try {
      if (batch.index === 0 && loaded !== undefined)
        this.#arrivals.set(shardId, { staged: new Staged(loaded, MAX_WASM_PAGES), batches: [] });
      const arrival = this.#arrivals.get(shardId);
      if (arrival?.batches.length === batch.index) takeIn(arrival, batch);
    } catch {
      // It comes again with the shard, whose load then says what is wrong.
      this.#arrivals.delete(shardId);
    }
  }

  forgetArrival(shardId: ShardId): void {
    this.#arrivals.delete(shardId);
  }

  #module(moduleHash: Hash): LoadedModule {
    const loaded = this.#modules.get(moduleHash);
    if (loaded !== undefined) return loaded;
    const cause = this.#refused.get(moduleHash);
    if (cause !== undefined) throw cause;
    throw new SherdError('SHERD_INTERNAL', 'the module has not been prepared', { at: moduleHash });
  }

  /** The instance with the capsule's staged image in its memory: what has arrived, and the rest. */
  #complete(takeUp: TakeUp, rest: StagedRest, loaded: LoadedModule): Staged {
    const arrived = this.#arrivals.get(takeUp.shardId);
    this.#arrivals.delete(takeUp.shardId);
    const first = rest.missing[0]?.index ?? rest.batches.length;
    const fits = arrived?.batches.every((hash, i) => hash === rest.batches[i]) === true;
    const usable = fits && arrived !== undefined && arrived.batches.length >= first;
    if (!usable && first > 0) {
      throw new SherdError('SHERD_BLOB_MISSING', 'what was copied of its memory ahead is lost');
    }
    const arrival = usable ? arrived : { staged: new Staged(loaded, MAX_WASM_PAGES), batches: [] };
    for (const batch of rest.missing)
      if (batch.index === arrival.batches.length) takeIn(arrival, batch);
    if (arrival.batches.length !== rest.batches.length)
      throw new SherdError('SHERD_BLOB_MISSING', 'a batch of its memory is missing');
    return arrival.staged;
  }

  /** An instance at its beginning, or where the capsule left it; nothing of it has run. G4. */
  load(takeUp: TakeUp): LoadedGuest {
    try {
      return this.#load(takeUp);
    } catch (error) {
      const lacksMemory = error instanceof SherdError && error.code === 'SHERD_ENGINE_MEMORY';
      // What had been copied ahead is gone with the attempt.
      if (!lacksMemory || this.#spares.size === 0 || takeUp.staged !== null) throw error;
      for (const moduleHash of this.#spares) this.#dropSpare(moduleHash);
      return this.#load(takeUp);
    }
  }

  #load(takeUp: TakeUp): LoadedGuest {
    const loaded = this.#module(takeUp.moduleHash);
    const spec = decodeSpec(takeUp.spec);
    if (takeUp.capsule === null) {
      const host = createGuestHost(spec, this.blobs, this.#platform);
      const { entry, entryArgs, maxMemoryPages: limitPages } = spec;
      const instance = Instance.start(loaded, host, { entry, entryArgs, limitPages });
      return this.#guest(takeUp, spec, loaded, host, instance);
    }
    const decoded = decodeCapsule(takeUp.capsule, this.#platform, {
      moduleHash: takeUp.moduleHash,
      verified: takeUp.capsuleVerified,
    });
    checkLimit(decoded.header.memory, spec, loaded.module);
    const state = decoded.stateApart();
    const host = restoreGuestHost(spec, state.host, this.blobs, this.#platform);
    const { staged } = takeUp;
    const image = staged === null ? undefined : this.#complete(takeUp, staged, loaded);
    const resume = (memory: Uint8Array): void => {
      // The memory holds the base already: it is not needed a second time.
      const base = staged === null ? loaded.baseImage() : stagedBase(staged, memory);
      decoded.fill(base, memory);
    };
    const instance = Instance.resume(loaded, host, state, resume, image);
    this.shelf.put(takeUp.capsule.buffer);
    instance.warm();
    return this.#guest(takeUp, spec, loaded, host, instance);
  }

  /** A shard of this module is about to come: have an instance ready for it. */
  spare(moduleHash: Hash, memoryBytes: number): void {
    this.#makeSpare(moduleHash, memoryBytes);
  }

  /** A guest has left, and may come back, or one like it: an instance is made for that when there is nothing else to do. */
  left({ moduleHash, memoryBytes }: LoadedGuest): void {
    this.#wish = { moduleHash, memoryBytes };
  }

  get wishes(): boolean {
    return this.#wish !== null;
  }

  /** Makes what is wished for, unless it is there. */
  grant(called: () => boolean): void {
    const wish = this.#wish;
    this.#wish = null;
    if (wish !== null) this.#makeSpare(wish.moduleHash, wish.memoryBytes, called);
  }

  /** G4. The newest SPARES are kept. */
  #makeSpare(moduleHash: Hash, memoryBytes: number, called?: () => boolean): void {
    const loaded = this.#modules.get(moduleHash);
    if (loaded === undefined) return;
    this.#spares.delete(moduleHash);
    for (const other of this.#spares)
      if (this.#modules.get(other)?.hasSpare !== true) this.#spares.delete(other); // it was used
    const [oldest] = this.#spares;
    if (this.#spares.size >= SPARES && oldest !== undefined) this.#dropSpare(oldest);
    try {
      loaded.makeSpare(memoryBytes, called);
      this.#spares.add(moduleHash);
    } catch {
      // The shard that comes is loaded without it, and its load says what is wrong.
    }
  }

  #dropSpare(moduleHash: Hash): void {
    this.#spares.delete(moduleHash);
    this.#modules.get(moduleHash)?.dropSpare();
  }

  #guest(
    takeUp: TakeUp,
    spec: ShardSpec,
    loaded: LoadedModule,
    host: GuestHost,
    instance: Instance,
  ): LoadedGuest {
    const platform = this.#platform;
    const allocate = (bytes: number): Uint8Array => this.shelf.allocate(bytes);
    const { specHash, shardId, moduleHash } = takeUp;
    if (spec.dropDead === true) prepareDead(loaded.module);
    return {
      host,
      moduleHash,
      maxFuel: spec.maxFuel,
      maxTimeMs: spec.maxTimeMs,
      get fuelUsed() {
        return instance.fuelUsed;
      },
      get setupNs() {
        return instance.setupNs;
      },
      get memoryBytes() {
        return instance.memoryBytes;
      },
      get steps() {
        return instance.steps;
      },
      get isWarm() {
        return instance.isWarm;
      },
      warm: () => instance.warm(),
      run: (budget, more) => instance.run(budget, more),
      guestStack: () => instance.guestStack(),
      memory: () => instance.memoryView(),
      baseImage: () => loaded.baseImage(),
      encode(epoch, staged) {
        const state = instance.capture();
        const base = staged ?? loaded.baseImage();
        const references = host.references();
        // A staged image has the dead parts already: to say that they are zero would only make the last stop longer.
        const drop = spec.dropDead === true && staged === undefined;
        const dead = drop ? deadRanges(state, loaded.module) : [];
        const input = { state, base, dead, specHash, epoch, shardId, references };
        return encodeCapsule(input, platform, allocate);
      },
      encodeTrees: () => encodeTrees(host.trees()),
    };
  }
}

/** A staged image as the base of a capsule. `memory` holds it, from its beginning on. */
export function stagedBase(
  { image, pages, batches }: Omit<StagedName, 'id'>,
  memory: Uint8Array,
): CapsuleImage {
  const bytes = memory.subarray(0, pages * WASM_PAGE_BYTES);
  return { capsule: image, below: [...batches].reverse(), pages, bytes };
}

/** A batch has slices: one of none would be a batch that could not be read. */
function takeIn(arrival: Arrival, batch: Batch): void {
  const slices = readBatch(batch.bytes);
  if (slices.length === 0)
    throw new SherdError('SHERD_CAPSULE_DAMAGED', 'a batch of its memory is empty');
  for (const slice of slices) arrival.staged.apply(slice);
  arrival.batches.push(batch.hash);
}

/** Blobs by hash, the least recently used ones forgotten beyond a number of bytes. */
export class RecentBlobs implements BlobCache {
  readonly #blobs: Kept<Uint8Array>;

  constructor(limitBytes: number) {
    this.#blobs = new Kept(limitBytes);
  }

  get(hash: Hash): Uint8Array | undefined {
    return this.#blobs.get(hash);
  }

  has(hash: Hash): boolean {
    return this.#blobs.has(hash);
  }

  set(hash: Hash, bytes: Uint8Array): void {
    if (!this.#blobs.has(hash)) this.#blobs.set(hash, bytes, bytes.length);
  }
}
