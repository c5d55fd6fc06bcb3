/**
 * The same module as another toolchain setting would give it: Binaryen's optimiser in this process.
 *
 * Does: bytes → bytes at -O3. Does not: compare anything.
 */
import binaryen from 'binaryen';

const FEATURES = [
  binaryen.Features.MVP,
  binaryen.Features.MutableGlobals,
  binaryen.Features.SignExt,
  binaryen.Features.NontrappingFPToInt,
  binaryen.Features.BulkMemory,
  binaryen.Features.BulkMemoryOpt,
  binaryen.Features.SIMD128,
  binaryen.Features.Multivalue,
  binaryen.Features.ReferenceTypes,
  binaryen.Features.TailCall,
  binaryen.Features.ExceptionHandling,
].reduce((all, one) => all | one);

/** The module after `-O3`, names kept. */
export function optimised(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const module = binaryen.readBinary(bytes);
  try {
    module.setFeatures(FEATURES);
    binaryen.setOptimizeLevel(3);
    binaryen.setShrinkLevel(0);
    binaryen.setDebugInfo(true);
    module.optimize();
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}
