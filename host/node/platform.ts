/**
 * The Platform port on Node: hashing, comparing, clocks and compilation through node:crypto, Buffer and V8.
 *
 * Does: give `nodePlatform`, one object per thread, usable in worker threads.
 * Does not: hold state about modules beyond which of them are still to be optimised.
 *
 * How `optimise` works. V8 compiles Wasm functions on their first call with Liftoff (its baseline compiler) and has
 * no on-stack replacement for them: a continuation that is called once and loops for long would stay slow until
 * it returns. So, right after instantiation, every exported function of such a module is compiled with TurboFan
 * through V8's `%WasmTierUpFunction`. (A hot loop's first call, ms: Node 20: 5.2 → 2.2, warm 1.9; Node 26: 5.6 → 2.2,
 * warm 1.9; 0.4 ms a function to compile.)
 *
 * What was tried and is not used: `v8.setFlagsFromString('--no-liftoff')` around the compilation. It has no effect
 * without `--no-wasm-lazy-compilation` as well, and then on Node 26 (V8 14.6) it aborts the process ("Check failed:
 * function_feedback != feedback.feedback_for_function.end()") whenever another module is tiering up in the
 * background at that moment, because the compiler threads read the same flag.
 *
 * N1  `--allow-natives-syntax` is on only while a function is tiered up: it changes what the parser accepts in this
 *     process and nothing else. V8 may have flushed the helper's bytecode, so it is needed again at each call; and
 *     another thread may switch it off at that moment, so a SyntaxError is tried again.
 * N2  Where V8 does not know the intrinsic, code is correct and merely starts slowly: `canOptimise()` says so.
 * N3  Code belongs to the module, not the instance: only its first instance pays.
 * N4  Only functions that the module defines itself are tiered up: V8 aborts on a re-exported import.
 */
import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

type TierUp = (wasmFunction: unknown) => void;

const NATIVES_ON = '--allow-natives-syntax';
const NATIVES_OFF = '--no-allow-natives-syntax';
/** Enough to lose the race of N1 that often is out of the question; an unknown intrinsic fails all of them. */
const ATTEMPTS = 50;

/** Modules whose functions are still to be tiered up, with the number of functions that they import. */
const untiered = new WeakMap<WebAssembly.Module, number>();
const compareBytes = Buffer.prototype.compare;

let tierUp: TierUp | null | undefined;
let core: WebAssembly.Module | undefined;

/** True when `optimise` has an effect on this engine (checked once per thread by tiering up a tiny function). */
export function canOptimise(): boolean {
  return findTierUp() !== null;
}

/** Node's implementation of the port. */
export const nodePlatform: Platform = {
  sha256: (bytes) => hash('sha256', bytes, 'hex'),
  equal: (a, aOffset, b, bOffset, length) =>
    compareBytes.call(a, b, bOffset, bOffset + length, aOffset, aOffset + length) === 0,
  monotonicNs: () => process.hrtime.bigint(),
  wallMs: () => Date.now(),
  compileWasm(bytes, options) {
    const module = new WebAssembly.Module(bytes as BufferSource);
    if (options?.optimise === true) untiered.set(module, countImportedFunctions(module));
    return module;
  },
  instantiateWasm(module, imports) {
    const instance = new WebAssembly.Instance(module, imports);
    const importedFunctions = untiered.get(module);
    if (importedFunctions !== undefined) {
      tierUpExports(instance, importedFunctions);
      untiered.delete(module);
    }
    return instance;
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

function countImportedFunctions(module: WebAssembly.Module): number {
  return WebAssembly.Module.imports(module).filter((each) => each.kind === 'function').length;
}

function tierUpExports(instance: WebAssembly.Instance, importedFunctions: number): void {
  const tierUpFunction = findTierUp();
  if (tierUpFunction === null) return;
  for (const value of Object.values(instance.exports)) {
    // The name of an exported function is its index in the module that defines it (Wasm JS API).
    if (typeof value !== 'function' || Number(value.name) < importedFunctions) continue;
    withNatives(() => tierUpFunction(value));
  }
}

/** Runs `action` with the natives syntax on. Gives undefined when it is refused time after time (N1). */
function withNatives<T>(action: () => T): T | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    setFlagsFromString(NATIVES_ON);
    try {
      return action();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    } finally {
      setFlagsFromString(NATIVES_OFF);
    }
  }
  return undefined;
}

function findTierUp(): TierUp | null {
  if (tierUp === undefined) tierUp = compileTierUp();
  return tierUp;
}

/** (module (func (export "f"))) */
const EMPTY_FUNCTION = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0],
  ...[7, 5, 1, 1, 0x66, 0, 0, 10, 4, 1, 2, 0, 11],
);

function compileTierUp(): TierUp | null {
  const probe = new WebAssembly.Instance(new WebAssembly.Module(EMPTY_FUNCTION)).exports;
  const helper = withNatives((): TierUp => {
    const compiled: TierUp = runInThisContext('(function (f) { %WasmTierUpFunction(f); })');
    compiled(probe.f);
    return compiled;
  });
  return helper ?? null;
}
