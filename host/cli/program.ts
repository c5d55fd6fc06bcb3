/**
 * From what the user names to a shard module.
 *
 *   x.sherd.wasm   (has a `sherd` section)  ── read ─────────────────────────────▶ ShardModule
 *   x.wasm         core module              ── compile ──────────────────────────▶ ShardModule
 *   x.wasm         component                ── jco: its core module ── compile ──▶ ShardModule
 *   x.ts           AssemblyScript           ── asc ── compile ───────────────────▶ ShardModule
 *
 * Does: tell them apart by content (source by its extension), refuse what is none of them, use the compile cache.
 * Does not: run anything.
 *
 * G1  Every refusal names the file, the reason and the next step, with exit code 2.
 */
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { compileAssemblyScript } from '../compile/assemblyscript.js';
import { compileProgram, isShardModule, readShardModule } from '../compile/index.js';
import { nodePlatform } from '../node/platform.js';
import { readSource } from '../node/source.js';
import { WASI_MODULE, wasiSignatures } from '../runtime/wasi/preview1.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';
import { CompileCache, sha256 } from './cache.js';
import { coreModuleOf, isComponent, isWasm } from './component.js';
import { fileError } from './status.js';

export interface LoadedProgram {
  /** The file's name, for reports and argv[0]. */
  readonly name: string;
  readonly module: ShardModule;
  /** Warnings of a front end, to be shown; empty when it had none. */
  readonly diagnostics: string;
  /** True when the shard module came out of the cache. */
  readonly cached: boolean;
}

/** Reads a program file and compiles it unless it is a shard module already. */
export async function loadProgram(
  path: string,
  cache: CompileCache = new CompileCache(),
  progress?: Rewriting,
): Promise<LoadedProgram> {
  return loadProgramBytes(path, await readProgramFile(path), cache, progress);
}

/** The same for a program whose bytes are at hand; `path` names it. */
export async function loadProgramBytes(
  path: string,
  bytes: Uint8Array,
  cache: CompileCache = new CompileCache(),
  progress?: Rewriting,
): Promise<LoadedProgram> {
  try {
    const compiled = await compileAny(path, bytes, cache, progress);
    requireOfferedImports(compiled.module);
    return { name: basename(path), ...compiled };
  } catch (cause) {
    throw refusedFor(path, cause);
  }
}

/** Every import must be one that the runtime offers, with its type. */
function requireOfferedImports(module: ShardModule): void {
  const offered = wasiSignatures();
  for (const { module: from, field, params, results } of module.imports) {
    const signature = from === WASI_MODULE ? offered.get(field) : undefined;
    const problem =
      signature === undefined
        ? 'which sherd does not offer'
        : `${signature.params} → ${signature.results}` === `${params} → ${results}`
          ? undefined
          : 'with another type than WASI preview 1 gives it';
    if (problem === undefined) continue;
    throw new SherdError(
      'SHERD_IMPORT_UNSUPPORTED',
      `the program imports ${from}.${field}, ${problem}`,
    );
  }
}

/** Told how many functions of a core module are rewritten. */
export type Rewriting = (functionsDone: number, functionsTotal: number) => void;

type Compiled = Omit<LoadedProgram, 'name'>;

async function compileAny(
  path: string,
  bytes: Uint8Array,
  cache: CompileCache,
  progress: Rewriting | undefined,
): Promise<Compiled> {
  if (isWasm(bytes)) {
    if (isComponent(bytes)) return compileWasm(await coreModuleOf(bytes, path), cache, progress);
    if (isShardModule(bytes)) {
      return { module: readShardModule(bytes, nodePlatform), diagnostics: '', cached: false };
    }
    return compileWasm(bytes, cache, progress);
  }
  if (/\.(ts|as)$/.test(path)) return compileSource(path, bytes, cache);
  throw new SherdError('SHERD_NOT_WASM', 'not a WebAssembly file and not AssemblyScript source', {
    at: path,
    next: 'give a .wasm file (core module, no imports or WASI preview 1) or a .ts file',
    exitCode: EXIT.refused,
  });
}

async function compileWasm(
  bytes: Uint8Array,
  cache: CompileCache,
  progress: Rewriting | undefined,
): Promise<Compiled> {
  const found = await cache.find('wasm', bytes);
  if (found !== undefined) {
    return { module: readShardModule(found, nodePlatform), diagnostics: '', cached: true };
  }
  const module = compileProgram(bytes, nodePlatform, progress === undefined ? {} : { progress });
  await cache.store('wasm', bytes, { hash: module.moduleHash, bytes: module.bytes });
  return { module, diagnostics: '', cached: false };
}

async function compileSource(
  path: string,
  bytes: Uint8Array,
  cache: CompileCache,
): Promise<Compiled> {
  const key = `${resolve(path)}\0${sha256(bytes)}`;
  const found = await cache.find('source', key);
  if (found !== undefined) {
    return { module: readShardModule(found, nodePlatform), diagnostics: '', cached: true };
  }
  const inputs = new Map<string, string | null>();
  const compiled = await compileAssemblyScript(resolve(path), (name) => {
    try {
      const content = readFileSync(name);
      inputs.set(resolve(name), sha256(content));
      return content.toString('utf8');
    } catch {
      inputs.set(resolve(name), null);
      return null;
    }
  });
  const module = compileProgram(compiled.wasm, nodePlatform);
  await cache.store('source', key, { hash: module.moduleHash, bytes: module.bytes }, [...inputs]);
  return { module, diagnostics: compiled.diagnostics, cached: false };
}

async function readProgramFile(path: string): Promise<Uint8Array> {
  return readSource(path).catch((cause: unknown) => {
    throw fileError(cause, path, 'cannot read the program', EXIT.refused);
  });
}

/** Errors of the front ends get the file's name and the code for "refused before start". */
export function refusedFor(path: string, cause: unknown): unknown {
  if (!(cause instanceof SherdError) || cause.code === 'SHERD_INTERNAL') return cause;
  const same = cause.at === undefined || resolve(cause.at) === resolve(path);
  const at = same ? path : `${path}: ${cause.at}`;
  return new SherdError(cause.code, cause.message, {
    at,
    next: cause.next ?? nextStepFor(cause),
    exitCode: EXIT.refused,
    cause: cause.cause ?? cause,
  });
}

function nextStepFor(error: SherdError): string | undefined {
  switch (error.code) {
    case 'SHERD_SOURCE_ERROR':
      return 'correct the source and try again';
    case 'SHERD_WASM_MALFORMED':
    case 'SHERD_NOT_WASM':
      return 'check that the file is whole: wasm-validate or wasm-objdump says where it breaks';
    case 'SHERD_IMPORT_UNSUPPORTED':
      return 'a program may import WASI preview 1 and the guest SDK (sherd/guest) only';
    case 'SHERD_FEATURE_UNSUPPORTED':
      return 'build the program without this feature';
    default:
      return undefined;
  }
}
