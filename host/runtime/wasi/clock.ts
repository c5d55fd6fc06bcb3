/**
 * The guest's clocks.
 *
 * Does: monotonic time without the time spent paused, wall time that never runs back, and the stamps of files.
 * Does not: sleep, or read a clock other than through the Platform.
 *
 *   guest monotonic = baseNs + (platform.monotonicNs() − startedNs)     while running
 *                   = baseNs                                            while stopped
 *
 * K1  Monotonic time never goes back, not even across a move to another process.
 * K2  Wall time is max(what was shown before, platform.wallMs()).
 * K3  A clock that the guest has never looked at is not in the snapshot: a shard that reads no clock has the
 *     same capsule on every machine.
 * K4  File stamps come from a logical clock: the newest of all input files, moved up by each wall time that the
 *     guest has seen, plus 1 ns for each change. They order changes rightly, never precede the time that the guest
 *     has read, and do not depend on the host unless the guest itself asked for the time.
 */
import type { Platform } from '../../types/platform.js';
import type { Plain } from '../../types/state.js';
import { asList, asU64 } from './plain.js';

const U64_MAX = 0xffff_ffff_ffff_ffffn;
/** Restored clocks must have room to go on: half of 64 bits, the year 2262. */
const CLOCK_MAX = 2n ** 63n;

export class GuestClock {
  #baseNs = 0n;
  #startedNs: bigint | undefined;
  #sawMonotonic = false;
  #lastWallNs = 0n;
  #stampNs: bigint;

  /** @param inputStampNs the newest modification time among the inputs */
  constructor(
    readonly platform: Platform,
    readonly inputStampNs: bigint,
  ) {
    this.#stampNs = inputStampNs;
    this.#startedNs = platform.monotonicNs();
  }

  /** Stops guest time. Harmless when it is stopped. */
  suspend(): void {
    if (this.#startedNs === undefined) return;
    this.#baseNs += this.platform.monotonicNs() - this.#startedNs;
    this.#startedNs = undefined;
  }

  /** Lets guest time go on. Harmless when it runs. */
  resume(): void {
    this.#startedNs ??= this.platform.monotonicNs();
  }

  /** Guest monotonic time; does not count as looked at by the guest. */
  monotonicNs(): bigint {
    if (this.#startedNs === undefined) return this.#baseNs;
    return this.#baseNs + (this.platform.monotonicNs() - this.#startedNs);
  }

  /** Guest monotonic time, shown to the guest. */
  showMonotonic(): bigint {
    this.#sawMonotonic = true;
    return this.monotonicNs();
  }

  /** Wall time in ns since 1970, shown to the guest. */
  showWall(): bigint {
    const now = BigInt(Math.max(0, Math.floor(this.platform.wallMs()))) * 1_000_000n;
    if (now > this.#lastWallNs) this.#lastWallNs = now;
    if (this.#lastWallNs > this.#stampNs) this.#stampNs = this.#lastWallNs;
    return this.#lastWallNs;
  }

  /** A stamp for a change of a file, newer than all before (until the end of 64-bit time). */
  stamp(): bigint {
    if (this.#stampNs < U64_MAX) this.#stampNs += 1n;
    return this.#stampNs;
  }

  /** `[monotonic | null, wall, stamp − input stamp]` */
  snapshot(): Plain {
    const monotonic = this.#sawMonotonic ? this.monotonicNs() : null;
    return [monotonic, this.#lastWallNs, this.#stampNs - this.inputStampNs];
  }

  restore(data: Plain): void {
    const [monotonic, wall, stamp] = asList(data, 'clock', 3);
    this.#sawMonotonic = monotonic !== null;
    this.#baseNs = monotonic === null ? 0n : asU64(monotonic, 'monotonic clock', CLOCK_MAX);
    this.#startedNs = this.platform.monotonicNs();
    this.#lastWallNs = asU64(wall, 'wall clock', CLOCK_MAX);
    this.#stampNs = this.inputStampNs + asU64(stamp, 'file clock', U64_MAX - this.inputStampNs);
  }
}
