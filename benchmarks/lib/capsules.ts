/**
 * A kernel's way through a capsule: to bytes, and from bytes into a new instance.
 *
 * Does: encode and decode for guests without files. Does not: store or send.
 */
import { decodeCapsule, encodeCapsule } from '../../host/capsule/index.js';
import { Instance, type LoadedModule } from '../../host/runtime/index.js';
import { bareHost } from './bare-host.js';

const NO_SPEC = '0'.repeat(64);

/** The capsule of a stopped instance. */
export function packInstance(instance: Instance, loaded: LoadedModule): Uint8Array {
  const input = {
    state: instance.capture(),
    base: loaded.baseImage(),
    specHash: NO_SPEC,
    epoch: 1,
    shardId: 'kernel',
    references: [],
  };
  return encodeCapsule(input, loaded.platform).bytes;
}

/** A new instance that goes on where the capsule was taken. */
export function unpackInstance(capsule: Uint8Array, loaded: LoadedModule): Instance {
  const decoded = decodeCapsule(capsule, loaded.platform, {
    moduleHash: loaded.module.moduleHash,
  });
  const fill = (memory: Uint8Array): void => decoded.fill(loaded.baseImage(), memory);
  return Instance.resume(loaded, bareHost(), decoded.stateApart(), fill);
}
