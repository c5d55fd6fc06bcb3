/**
 * The Platform port without any Node API: for browsers and every other host of Wasm and typed arrays.
 *
 * Does: give the same bytes as `host/node/platform.ts` (hash-wasm's SHA-256, fflate's DEFLATE, typed-array compare).
 * Does not: promise the same speed.
 *
 * W1  One hasher is made ahead, asynchronously; after that everything is synchronous.
 * W2  A browser's main thread may refuse synchronous compilation of large modules: use it in a worker.
 */
import { deflateSync, inflateSync } from 'fflate';
import { createSHA256 } from 'hash-wasm';
import { SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

/** Words up to which a compare goes byte by byte (making a view costs more). */
const SHORT_BYTES = 64;
const NS_PER_MS = 1_000_000;

export interface WebPlatformOptions {
  /** The bytes of core.wasm. Without them capsules can be read, but neither written nor applied in bulk. */
  readonly coreWasm?: BufferSource;
}

/** Makes the port. Resolves once the hash function is compiled. */
export async function webPlatform(options: WebPlatformOptions = {}): Promise<Platform> {
  const hasher = await createSHA256();
  let core: WebAssembly.Module | undefined;
  let lastNs = 0n;
  return {
    sha256: (bytes) => hasher.init().update(bytes).digest('hex'),
    equal: equalBytes,
    monotonicNs() {
      const nowNs = BigInt(Math.round(performance.now() * NS_PER_MS));
      if (nowNs > lastNs) lastNs = nowNs;
      return lastNs;
    },
    wallMs: () => Date.now(),
    compileWasm: (bytes) => new WebAssembly.Module(bytes as BufferSource),
    instantiateWasm: (module, imports) => new WebAssembly.Instance(module, imports),
    deflate: (bytes, level) => deflateSync(bytes, { level: level as 1 }),
    inflate(bytes, mostBytes) {
      try {
        // One byte more: a stream that stands for more than it may is told from one that fits.
        const plain = inflateSync(bytes, { out: new Uint8Array(mostBytes + 1) });
        return plain.length > mostBytes ? undefined : plain;
      } catch {
        return undefined;
      }
    },
    coreModule() {
      core ??= new WebAssembly.Module(options.coreWasm ?? missingCore());
      return core;
    },
    comparesFast: false,
  };
}

function missingCore(): never {
  throw new SherdError('SHERD_INTERNAL', 'internal: this platform was made without core.wasm', {
    next: 'give its bytes: webPlatform({ coreWasm })',
  });
}

/** Compares four bytes at a time where both ranges are aligned alike, else byte by byte. */
function equalBytes(
  a: Uint8Array,
  aOffset: number,
  b: Uint8Array,
  bOffset: number,
  length: number,
): boolean {
  const aStart = a.byteOffset + aOffset;
  const bStart = b.byteOffset + bOffset;
  if (length < SHORT_BYTES || ((aStart | bStart) & 3) !== 0) {
    return equalTail(a, aOffset, b, bOffset, length);
  }
  const words = length >>> 2;
  const aWords = new Int32Array(a.buffer, aStart, words);
  const bWords = new Int32Array(b.buffer, bStart, words);
  for (let i = 0; i < words; i++) {
    if (aWords[i] !== bWords[i]) return false;
  }
  const done = words << 2;
  return equalTail(a, aOffset + done, b, bOffset + done, length - done);
}

function equalTail(
  a: Uint8Array,
  aOffset: number,
  b: Uint8Array,
  bOffset: number,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) {
    if (a[aOffset + i] !== b[bOffset + i]) return false;
  }
  return true;
}
