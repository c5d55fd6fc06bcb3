/**
 * What a module says of its memory before it runs: its initial image, where its stack begins.
 *
 * Does: link the module once, with nothing behind its imports; none of its code is called.
 */
import type { DecodedCapsule, RegionHints } from '../capsule/index.js';
import { initialI32 } from '../compile/initial-global.js';
import { nodePlatform } from '../node/platform.js';
import { LoadedModule } from '../runtime/index.js';
import type { ShardModule } from '../types/module.js';
import type { BaseImage } from '../types/state.js';

export function initialImage(module: ShardModule): BaseImage {
  return LoadedModule.load(module, nodePlatform).baseImage();
}

/** Where the stack of a program of LLVM begins, and is now; nothing for others. Of two capsules: the deeper one. */
export function stackOf(module: ShardModule, ...capsules: readonly DecodedCapsule[]): RegionHints {
  const pointer = module.mutableGlobals.findIndex(({ name }) => name === '__stack_pointer');
  const found = module.mutableGlobals[pointer];
  if (found?.type !== 'i32') return { stackTop: undefined, stackPointer: undefined };
  const at = module.mutableGlobals
    .slice(0, pointer)
    .reduce((sum, { type }) => sum + (type === 'v128' ? 16 : 8), 0);
  const values = capsules
    .filter(({ globals }) => globals.length >= at + 8)
    .map(({ globals }) => new DataView(globals.buffer, globals.byteOffset).getUint32(at, true));
  return {
    stackTop: initialI32(module.skeleton, found.index),
    stackPointer: values.length === 0 ? undefined : Math.min(...values),
  };
}
