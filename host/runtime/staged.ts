/**
 * An instance that waits for its shard: its memory is filled slice by slice while the shard still runs elsewhere.
 *
 *     slices ──▶ Staged (linked, nothing of it runs) ──take──▶ Instance.resume(…, staged): no memory is copied any more
 *
 * Does: hold the instance, apply slices to its memory in place. Does not: receive them, or know when they are complete.
 *
 * S1  It is taken once. One that is not taken leaves nothing behind.
 * S2  Nothing of the module runs before it is taken; what a slice may say is checked by capsule/staging.
 */
import { StageTarget } from '../capsule/staging.js';
import { EXPORT } from '../compile/abi.js';
import { invariant } from '../types/errors.js';
import { exportedMemory, growTo, type Linked, type LoadedModule } from './loaded.js';

export class Staged {
  readonly #loaded: LoadedModule;
  readonly #memory: WebAssembly.Memory;
  readonly #target: StageTarget;
  #linked: Linked | null;

  /** `limitPages`: the most that the shard's memory may have. */
  constructor(loaded: LoadedModule, limitPages: number) {
    const { memory } = loaded.module;
    invariant(memory !== undefined, 'only a memory can be staged');
    this.#loaded = loaded;
    this.#linked = loaded.linkStaged();
    this.#memory = exportedMemory(this.#linked.exports, EXPORT.memory);
    this.#target = new StageTarget(memory.minPages, limitPages, loaded.platform);
  }

  /** Throws SHERD_CAPSULE_DAMAGED when it is not one that may come now; nothing has changed then. */
  apply(slice: Uint8Array): void {
    this.#target.apply(slice, (pages) => {
      growTo(this.#memory, pages);
      return new Uint8Array(this.#memory.buffer);
    });
  }

  /** The instance, for the shard that has come. */
  take(loaded: LoadedModule): Linked {
    const linked = this.#linked;
    invariant(
      linked !== null && loaded === this.#loaded,
      'a staged instance is taken once, for its own module',
    );
    this.#linked = null;
    return linked;
  }
}
