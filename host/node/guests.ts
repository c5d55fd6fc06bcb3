/**
 * Makes real guests for the rotation: loaded modules, instances, hosts, capsules of one worker thread.
 *
 * Does: keep compiled modules and the blob cache, start from a spec, restore from a capsule, encode.
 * Does not: schedule (rotation) or talk (worker).
 *
 * G1  A module is compiled once a worker, however many shards use it.
 * G2  A capsule is refused before anything of it runs when its module is not the one that the record names.
 * G3  A capsule's buffer is this thread's alone; once restored nothing refers to it, and it is used for the next one.
 */
import { decodeCapsule, encodeCapsule } from '../capsule/index.js';
import { readShardModule } from '../compile/index.js';
import { coreOf } from '../core/core.js';
import { createGuestHost, restoreGuestHost } from '../runtime/guest-host.js';
import { checkLimit, Instance, LoadedModule } from '../runtime/index.js';
import { decodeSpec, encodeTrees } from '../runtime/spec.js';
import { SherdError } from '../types/errors.js';
import type { BlobCache, GuestHost, ShardSpec } from '../types/host.js';
import type { Hash, Platform } from '../types/platform.js';
import type { Guest } from './rotation.js';
import { BufferShelf } from './shelf.js';
import type { TakeUp } from './worker-messages.js';

const CACHE_BYTES = 64 * 1024 * 1024;
const MODULES = 32;

export class Guests {
  readonly #platform: Platform;
  readonly #modules = new Map<Hash, LoadedModule>();
  readonly #refused = new Map<Hash, unknown>();
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
    const oldest = this.#modules.keys().next();
    if (this.#modules.size >= MODULES && oldest.done !== true) this.#modules.delete(oldest.value);
    this.#modules.set(moduleHash, LoadedModule.load(module, this.#platform));
    coreOf(this.#platform); // ready before the first capsule is waited for
  }

  /** An instance at its beginning, or where the capsule left it; nothing of it has run. */
  load(takeUp: TakeUp): Guest {
    const loaded = this.#modules.get(takeUp.moduleHash);
    if (loaded === undefined) {
      const cause = this.#refused.get(takeUp.moduleHash);
      if (cause !== undefined) throw cause;
      throw new SherdError('SHERD_INTERNAL', 'the module has not been prepared', {
        at: takeUp.moduleHash,
      });
    }
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
    const instance = Instance.resume(loaded, host, state, (memory) => {
      decoded.fill(loaded.baseImage(), memory);
    });
    this.shelf.put(takeUp.capsule.buffer);
    instance.warm();
    return this.#guest(takeUp, spec, loaded, host, instance);
  }

  /** A shard of this module is about to come: have an instance ready for it. */
  spare(moduleHash: Hash, memoryBytes: number): void {
    this.#modules.get(moduleHash)?.makeSpare(memoryBytes);
  }

  #guest(
    takeUp: TakeUp,
    spec: ShardSpec,
    loaded: LoadedModule,
    host: GuestHost,
    instance: Instance,
  ): Guest {
    const platform = this.#platform;
    const allocate = (bytes: number): Uint8Array => this.shelf.allocate(bytes);
    const { specHash, shardId } = takeUp;
    return {
      host,
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
      run: (budget) => instance.run(budget),
      guestStack: () => instance.guestStack(),
      encode(epoch) {
        const state = instance.capture();
        const base = loaded.baseImage();
        const references = host.references();
        const input = { state, base, specHash, epoch, shardId, references };
        return encodeCapsule(input, platform, allocate);
      },
      encodeTrees: () => encodeTrees(host.trees()),
    };
  }
}

/** Blobs by hash, the least recently used ones forgotten beyond a number of bytes. */
export class RecentBlobs implements BlobCache {
  readonly #limitBytes: number;
  readonly #blobs = new Map<Hash, Uint8Array>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(hash: Hash): Uint8Array | undefined {
    const bytes = this.#blobs.get(hash);
    if (bytes === undefined) return undefined;
    this.#blobs.delete(hash);
    this.#blobs.set(hash, bytes);
    return bytes;
  }

  has(hash: Hash): boolean {
    return this.#blobs.has(hash);
  }

  set(hash: Hash, bytes: Uint8Array): void {
    if (this.#blobs.has(hash)) return;
    this.#blobs.set(hash, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, old] of this.#blobs) {
      // The newest one stays even when it is larger than the limit: somebody is waiting for it.
      if (this.#bytes <= this.#limitBytes || oldest === hash) break;
      this.#blobs.delete(oldest);
      this.#bytes -= old.length;
    }
  }
}
