/**
 * The runtime: load a shard module, run an instance of it, stop it, take its state, go on elsewhere.
 *
 * Does: name what other folders may use. Does not: contain code.
 */
export { checkLimit } from './check-state.js';
export { createGuestHost, restoreGuestHost } from './guest-host.js';
export { Instance, MAX_BUDGET, type StartOptions } from './instance.js';
export { LoadedModule } from './loaded.js';
export { decodeSpec, decodeTrees, encodeSpec, encodeTrees } from './spec.js';
export { Staged } from './staged.js';
