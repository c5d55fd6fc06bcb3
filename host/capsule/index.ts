/**
 * The capsule folder's public face: State Capsules, bundles and their inspection. Portable: no Node API.
 */

export {
  type Bundle,
  type BundleParts,
  decodeBundle,
  encodeBundle,
  isBundle,
  type MissingParts,
  missingParts,
  requireComplete,
} from './bundle.js';
export {
  type CapsuleSizes,
  type DecodedCapsule,
  type DecodeOptions,
  decodeCapsule,
  type EncodedCapsule,
  type EncodeInput,
  encodeCapsule,
  headerOf,
  isCapsule,
  type MemoryTarget,
} from './capsule.js';
export {
  type Chain,
  type ChainOptions,
  compactChain,
  fillFromChain,
  imageOfChain,
  type LoadCapsule,
  type LostLink,
  type Recovered,
  readChain,
  recoverChain,
  stateOfChain,
} from './chain.js';
export { deadRanges, prepareDead } from './dead.js';
export { type CapsuleDiff, type Change, diffCapsules } from './diff.js';
export { type CapsuleHeader, CHAIN_LINKS_MAX, neededBlobs } from './header.js';
export {
  type CapsuleReport,
  type FrameReport,
  inspectCapsule,
  inspectModule,
  type Locate,
  type MemoryReport,
  type ModuleReport,
} from './inspect.js';
export { PAGE_BYTES, WASM_PAGE_BYTES } from './memory.js';
export {
  type Contributor,
  contributors,
  type MemoryMap,
  mapLines,
  mapSvg,
  memoryMap,
  type RegionHints,
} from './memory-map.js';
export { isPacked, packBytes, packing, unpackBytes, unpacking } from './packed.js';
export { type Rebinding, rebindCapsule } from './rebind.js';
export { renderReport } from './render.js';
export {
  type ClusterKey,
  type Expected,
  isSealed,
  type Keyring,
  keyOf,
  type Opened,
  openSealed,
  type SealContext,
  sealBytes,
  sealedBy,
} from './sealed.js';
