/**
 * Modules from Binaryen's generator (`wasm-opt --translate-to-fuzz`): random bytes in, a valid module out.
 *
 * Does: run wasm-opt, export the memory, list the exports that can be called, run them in the plain engine.
 * Does not: offer what the generated imports mean: every one of them does nothing, in both engines.
 *
 * T1  `--denan` keeps the results free of NaN, whose bits the engine may choose.
 * T2  A module whose imports take or give vectors or references, which are no numbers for JavaScript, is refused by the compiler or left out.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { section } from '../../benchmarks/lib/wasm.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import type { HostFunction, HostFunctions } from '../../host/types/host.js';
import type { ImportInfo, ShardModule } from '../../host/types/module.js';
import type { ValType } from '../../host/types/state.js';
import type { Outcome, Subject } from './drive.js';
import { rawValue, trapKind } from './modules.js';
import { Random } from './random.js';

/** Found from wherever this file was compiled to. */
const WASM_OPT = join(dirname(createRequire(import.meta.url).resolve('binaryen')), 'bin/wasm-opt');
const BASE = [
  'mutable-globals',
  'sign-ext',
  'nontrapping-float-to-int',
  'bulk-memory',
  'bulk-memory-opt',
  'multivalue',
];

/** What Binaryen's generator may use, by name for wasm-opt. */
export const FEATURE_SETS: readonly (readonly string[])[] = [
  BASE,
  [...BASE, 'tail-call'],
  [...BASE, 'simd'],
  [...BASE, 'reference-types'],
];

/** A valid module from a seed; `bytes` of randomness decide its size. */
export function translate(
  seed: number,
  bytes: number,
  features: readonly string[] = BASE,
): Uint8Array<ArrayBuffer> {
  const random = new Random(seed);
  const folder = mkdtempSync(join(tmpdir(), 'sherd-ttf-'));
  try {
    const input = join(folder, 'input');
    const output = join(folder, 'output.wasm');
    writeFileSync(
      input,
      Uint8Array.from({ length: bytes }, () => random.below(256)),
    );
    const flags = ['--mvp-features', ...features.map((name) => `--enable-${name}`)];
    execFileSync(
      process.execPath,
      [WASM_OPT, '-ttf', input, '--denan', level(seed), '-o', output, ...flags],
      { stdio: 'pipe' },
    );
    return withMemoryExport(readFileSync(output));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const level = (seed: number): string => ['-O0', '-O1', '-O3'][seed % 3]!;

const MEMORY_SECTION = 5;
const EXPORT_SECTION = 7;

/** Adds an export `memory` of memory 0, where there is one and it has none. */
function withMemoryExport(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  const exported = WebAssembly.Module.exports(new WebAssembly.Module(copy)).map(({ name }) => name);
  if (section(copy, MEMORY_SECTION).length === 0 || exported.includes('memory')) return copy;
  const old = section(copy, EXPORT_SECTION);
  const count = exported.length + 1;
  const entries = old.subarray(exported.length < 128 ? 1 : 2);
  const entry = [6, ...Buffer.from('memory'), 2, 0];
  const content = Buffer.concat([leb(count), Uint8Array.from(entry), entries]);
  const header = old.byteOffset - leb(old.length).length - 1;
  const parts = [
    copy.subarray(0, header),
    Uint8Array.of(EXPORT_SECTION),
    leb(content.length),
    content,
    copy.subarray(old.byteOffset + old.length),
  ];
  return new Uint8Array(Buffer.concat(parts));
}

function leb(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Uint8Array.from([...bytes, value]);
}

/** Imports that do nothing, but are listed in order. */
function silentFunctions(
  imports: readonly ImportInfo[],
  log: (entry: string) => void,
): HostFunctions {
  const all = new Map<string, Map<string, HostFunction>>();
  for (const { module, field, results } of imports) {
    if (!all.has(module)) all.set(module, new Map());
    all.get(module)!.set(field, (...args) => {
      log(`${field}(${args.join()})`);
      return results[0] === undefined ? undefined : results[0] === 'i64' ? 0n : 0;
    });
  }
  return all;
}

export interface Callable {
  readonly entry: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  readonly args: readonly (number | bigint)[];
}

/** What JavaScript can give and take as the number that it is. */
const PASSABLE: ReadonlySet<ValType> = new Set<ValType>(['i32', 'i64', 'f32', 'f64']);

/** Exported functions whose values JavaScript can give and take, with arguments from the seed. */
export function callables(shard: ShardModule, seed: number): Callable[] {
  const random = new Random(seed);
  const passable = (types: readonly ValType[]): boolean =>
    types.every((type) => PASSABLE.has(type));
  if (!shard.imports.every(({ params, results }) => passable([...params, ...results]))) return [];
  return [...shard.exports].flatMap(([entry, index]) => {
    const { params, results } = shard.functions[index - shard.imports.length]!;
    if (!passable([...params, ...results])) return [];
    const args = params.map((type) =>
      type === 'i64'
        ? random.i64()
        : type === 'i32'
          ? random.bits() | 0
          : random.below(2000) / 8 - 99,
    );
    return [{ entry, params, results, args }];
  });
}

export function translatedSubject(
  name: string,
  loaded: LoadedModule,
  { entry, params, args }: Callable,
): Subject {
  const { imports } = loaded.module;
  const raw = params.map((type, i) => rawValue(type, args[i]!)).join('');
  return {
    name,
    loaded,
    entry,
    entryArgs: new Uint8Array(Buffer.from(raw, 'hex')),
    spec: undefined,
    blobs: new Map(),
    functions: (_control, log) => silentFunctions(imports, log),
  };
}

export const loadTranslated = (bytes: Uint8Array, spacing?: number): LoadedModule =>
  LoadedModule.load(
    compileProgram(bytes, nodePlatform, spacing === undefined ? {} : { spacing }),
    nodePlatform,
  );

/** `memory`: null when the module's start function trapped: then nobody has an instance to look into. */
interface View extends Pick<Outcome, 'kind' | 'trap' | 'results' | 'output'> {
  readonly memory: string | null;
}

/** What of an outcome `reference` shows. */
export function viewOf(reference: View): (outcome: Outcome) => View {
  return ({ kind, trap, results, memory, output }) => {
    const shown = reference.memory === null ? null : memory;
    return { kind, trap, results, memory: shown, output };
  };
}

/** What the plain engine makes of one call. */
export function plainCall(
  bytes: Uint8Array<ArrayBuffer>,
  shard: ShardModule,
  { entry, results, args }: Callable,
): View {
  const logged: string[] = [];
  const functions = silentFunctions(shard.imports, (text) => void logged.push(text));
  const imports = Object.fromEntries(
    [...functions].map(([module, fields]) => [module, Object.fromEntries(fields)]),
  );
  const compiled = new WebAssembly.Module(bytes);
  let exports: WebAssembly.Exports | undefined;
  let raw = '';
  let trap: string | null = null;
  try {
    exports = new WebAssembly.Instance(compiled, imports as WebAssembly.Imports).exports;
    const value = (exports[entry] as (...args: unknown[]) => unknown)(...args);
    const values = (results.length === 1 ? [value] : (value ?? [])) as (number | bigint)[];
    raw = results.map((type, i) => rawValue(type, values[i]!)).join('');
  } catch (error) {
    trap = trapKind(error);
  }
  const memory = exports?.memory;
  const bytesOf =
    memory instanceof WebAssembly.Memory ? new Uint8Array(memory.buffer) : new Uint8Array();
  const output = logged.length > 0 ? `log ${logged.join(' ')}` : '';
  return {
    kind: trap === null ? 'done' : 'trap',
    trap,
    results: raw,
    memory: exports === undefined ? null : nodePlatform.sha256(bytesOf),
    output,
  };
}
