/**
 * The Platform port: the few things that the portable folders (compile, capsule, runtime) need from outside.
 *
 * Does: name hashing, comparing, time, compression and module compilation.
 * Does not: contain an implementation. `host/node/platform.ts` is Node's; `host/runtime/platform-web.ts`
 * is the twin without any Node API. Both give the same bytes,
 * but for `deflate`.
 *
 * P1  `sha256` is synchronous and pure.
 * P2  `monotonicNs` never goes back within one process; values of two processes are never compared.
 */

import type { Hash } from './hash.js';

export type { Hash } from './hash.js';

export interface Platform {
  /** SHA-256 as lower-case hex. */
  sha256(bytes: Uint8Array): Hash;
  /** True when the two byte ranges are equal. Ranges are in bounds (the caller checks). */
  equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, length: number): boolean;
  /** Nanoseconds on a clock that only goes forward. */
  monotonicNs(): bigint;
  /** Milliseconds since 1970, UTC. */
  wallMs(): number;
  /** Compiles a module synchronously; which of the engine's compilers makes its code, and when, is the engine's choice. */
  compileWasm(bytes: Uint8Array): WebAssembly.Module;
  instantiateWasm(module: WebAssembly.Module, imports: WebAssembly.Imports): WebAssembly.Instance;
  /** A DEFLATE stream (RFC 1951) of the bytes; levels 1 (fast) to 9. Which stream is the implementation's own. */
  deflate(bytes: Uint8Array, level: number): Uint8Array;
  /**
   * What a DEFLATE stream stands for; undefined when it is none, or stands for more than `mostBytes`. Not a
   * check: an implementation may take a stream that another refuses.
   */
  inflate(bytes: Uint8Array, mostBytes: number): Uint8Array | undefined;
  /** core.wasm (assembly/core), compiled once. */
  coreModule(): WebAssembly.Module;
  /** `equal` runs at memory speed: comparing first is cheaper than copying into core.wasm. */
  readonly comparesFast: boolean;
}
