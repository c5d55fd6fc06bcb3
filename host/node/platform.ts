/**
 * The Platform port on Node: hashing, comparing, clocks and compilation through node:crypto, Buffer and V8.
 *
 * Does: give `nodePlatform`, one object per thread, usable in worker threads.
 * Does not: choose between V8's compilers. A continuation is called once a slice, so that V8 sees a hot one soon, makes it
 * anew in the background, and the next slice runs that. (It was tiered up by hand before its first call until both were
 * measured in quanta of 0.5 ms, benchmarks/resume: the same time to the end, and 1–5 ms a continuation in which a pause
 * has to wait.)
 */
import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

const compareBytes = Buffer.prototype.compare;

let core: WebAssembly.Module | undefined;

/** Node's implementation of the port. */
export const nodePlatform: Platform = {
  sha256: (bytes) => hash('sha256', bytes, 'hex'),
  equal: (a, aOffset, b, bOffset, length) =>
    compareBytes.call(a, b, bOffset, bOffset + length, aOffset, aOffset + length) === 0,
  monotonicNs: () => process.hrtime.bigint(),
  wallMs: () => Date.now(),
  compileWasm: (bytes) => new WebAssembly.Module(bytes as BufferSource),
  instantiateWasm: (module, imports) => new WebAssembly.Instance(module, imports),
  deflate: (bytes, level) => deflateRawSync(bytes, { level }),
  inflate(bytes, mostBytes) {
    try {
      return inflateRawSync(bytes, { maxOutputLength: Math.max(1, mostBytes) });
    } catch {
      return undefined;
    }
  },
  coreModule() {
    core ??= new WebAssembly.Module(readFileSync(coreFile()));
    return core;
  },
  comparesFast: true,
};

/** Built by `npm run build`. This file runs from host/ (tests), from dist/, or from dist/.bench/. */
function coreFile(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (let folder = here; ; folder = dirname(folder)) {
    const file = join(folder, 'dist/core/core.wasm');
    if (existsSync(file)) return file;
    if (folder === dirname(folder)) break;
  }
  throw new SherdError('SHERD_INTERNAL', 'internal: core.wasm is missing', {
    at: here,
    next: 'install sherd again, or in its sources: npm run build',
  });
}
