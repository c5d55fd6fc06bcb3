/**
 * Compiles kernels into modules that export `run(i32) → i32` and import nothing.
 *
 *   kernels/polybench/NAME.ts, kernels/NAME.ts     asc -O3 --converge --noAssert
 *   test/fixtures/NAME.wasm                        clang -O2, as checked in
 *
 * Does: compile, and keep what it compiled by the hash of its source. Does not: instrument or time.
 *
 * G1  A compiled kernel is taken from the cache only if sources, options and the compiler's version are the same.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../lib/options.js';
import { KERNELS, type Kernel } from './kernels.js';

const KERNEL_FOLDER = 'benchmarks/overhead/kernels';
const CACHE_FOLDER = 'dist/.bench-kernels';
const CACHE_VERSION = 1;

function entryOf(kernel: Kernel): string {
  return kernel.group === 'polybench' ? `polybench/${kernel.name}.ts` : `${kernel.name}.ts`;
}

function optionsOf(kernel: Kernel): string[] {
  return [
    ...['--outFile', 'kernel.wasm', '--optimizeLevel', '3', '--converge', '--noAssert'],
    ...['--runtime', kernel.runtime, '--use', 'abort=', '--enable', 'simd'],
  ];
}

function cacheKey(root: string, kernel: Kernel): string {
  const hash = createHash('sha256').update(
    JSON.stringify([CACHE_VERSION, entryOf(kernel), optionsOf(kernel)]),
  );
  hash.update(readFileSync(join(root, 'node_modules/assemblyscript/package.json')));
  const folder = join(root, KERNEL_FOLDER, dirname(entryOf(kernel)));
  const shared = readdirSync(folder).includes('common.ts') ? ['common.ts'] : [];
  hash.update(readFileSync(join(root, KERNEL_FOLDER, entryOf(kernel))));
  for (const name of shared) hash.update(readFileSync(join(folder, name)));
  return hash.digest('hex').slice(0, 24);
}

async function compileSource(root: string, kernel: Kernel): Promise<Uint8Array> {
  const { default: asc } = await import('assemblyscript/asc');
  let wasm: Uint8Array | undefined;
  let diagnostics = '';
  const { error } = await asc.main([entryOf(kernel), ...optionsOf(kernel)], {
    readFile: (name) => {
      const path = join(root, KERNEL_FOLDER, name);
      return existsSync(path) ? readFileSync(path, 'utf8') : null;
    },
    writeFile: (name, contents) => {
      if (name === 'kernel.wasm') wasm = contents as Uint8Array;
    },
    listFiles: () => [],
    stderr: {
      write: (text) => {
        diagnostics += String(text);
      },
    },
    stdout: { write: () => {} },
  });
  if (error !== null || wasm === undefined)
    throw new Error(`${kernel.name}: ${diagnostics || String(error)}`);
  return wasm;
}

function checkImports(kernel: Kernel, wasm: Uint8Array): void {
  const module = new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>);
  const imports = WebAssembly.Module.imports(module).map(
    (entry) => `${entry.module}.${entry.name}`,
  );
  if (imports.length > 0) throw new Error(`${kernel.name} imports ${imports.join(', ')}`);
}

/** One kernel's module. Throws with asc's diagnostics when it does not compile. */
export async function compileKernel(root: string, kernel: Kernel): Promise<Uint8Array> {
  if (kernel.group === 'c')
    return new Uint8Array(readFileSync(join(root, 'test/fixtures', `${kernel.name}.wasm`)));
  const cached = join(root, CACHE_FOLDER, `${kernel.name}-${cacheKey(root, kernel)}.wasm`);
  if (existsSync(cached)) return new Uint8Array(readFileSync(cached));
  const wasm = await compileSource(root, kernel);
  checkImports(kernel, wasm);
  mkdirSync(dirname(cached), { recursive: true });
  writeFileSync(cached, wasm);
  return wasm;
}

export interface Program {
  readonly name: string;
  readonly parameter: number;
  readonly longParameter: number;
  readonly bytes: Uint8Array;
}

/** The chosen kernels: `all`, or names and groups joined by commas. */
export function chooseKernels(chosen: string): readonly Kernel[] {
  if (chosen === 'all') return KERNELS;
  const names = chosen.split(',');
  const unknown = names.filter(
    (name) => !KERNELS.some((kernel) => kernel.name === name || kernel.group === name),
  );
  if (unknown.length > 0)
    throw new UsageError(
      `no kernel ${unknown.join(', ')}; there are ${KERNELS.map(({ name }) => name).join(', ')}, and the groups polybench, classic, c`,
    );
  return KERNELS.filter(({ name, group }) => names.includes(name) || names.includes(group));
}

export async function loadProgram(root: string, kernel: Kernel): Promise<Program> {
  return {
    name: kernel.name,
    parameter: kernel.parameter,
    longParameter: kernel.longParameter,
    bytes: await compileKernel(root, kernel),
  };
}
