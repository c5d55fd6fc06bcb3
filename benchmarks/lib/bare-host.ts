/**
 * A guest host without files, streams or clock: for kernels and generated modules.
 *
 * Does: offer the functions that it is given. Does not: keep any state, so that its snapshot is null.
 */
import type { GuestHost, HostControl, HostFunctions } from '../../host/types/host.js';

export function bareHost(
  functions: (control: HostControl) => HostFunctions = () => new Map(),
): GuestHost {
  return {
    functions,
    snapshot: () => null,
    drainOutput: () => [],
    newBlobs: () => new Map(),
    markDurable: () => {},
    references: () => [],
    suspendClock: () => {},
    resumeClock: () => {},
    guestMonotonicNs: () => 0n,
    trees: () => [],
  };
}
