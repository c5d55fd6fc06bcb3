/**
 * The kernels: what is compiled, and with which parameter it is run.
 *
 * Does: compile each AssemblyScript kernel with asc -O3 into a module without imports that exports `run(i32) → i32`. Does not: instrument or time.
 *
 * K1  A parameter is chosen so that a warm call takes about 20–60 ms uninstrumented on a 2020s core.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';

export interface Kernel {
  readonly name: string;
  readonly parameter: number;
  /** For one long run: about a second. */
  readonly longParameter: number;
  readonly runtime: 'stub' | 'minimal';
}

export const KERNELS: readonly Kernel[] = [
  { name: 'gemm', parameter: 300, longParameter: 800, runtime: 'stub' },
  { name: 'fib', parameter: 32, longParameter: 39, runtime: 'stub' },
  { name: 'nbody', parameter: 400_000, longParameter: 8_000_000, runtime: 'stub' },
  { name: 'sha256', parameter: 90_000, longParameter: 1_800_000, runtime: 'stub' },
  { name: 'sieve', parameter: 5_000_000, longParameter: 60_000_000, runtime: 'stub' },
  { name: 'mandelbrot', parameter: 420, longParameter: 1900, runtime: 'stub' },
  { name: 'vm', parameter: 12_000, longParameter: 250_000, runtime: 'stub' },
  { name: 'quicksort', parameter: 150_000, longParameter: 2_500_000, runtime: 'stub' },
  { name: 'trees', parameter: 15, longParameter: 19, runtime: 'minimal' },
  { name: 'fannkuch', parameter: 9, longParameter: 10, runtime: 'stub' },
  { name: 'spectral', parameter: 900, longParameter: 4500, runtime: 'stub' },
  { name: 'simd', parameter: 600, longParameter: 8000, runtime: 'stub' },
];

const ENTRY = 'kernel.ts';

/** Compiles one kernel; throws with asc's diagnostics when it does not compile. */
export async function compileKernel(root: string, kernel: Kernel): Promise<Uint8Array> {
  const source = readFileSync(
    join(root, 'benchmarks/overhead/kernels', `${kernel.name}.ts`),
    'utf8',
  );
  let wasm: Uint8Array | undefined;
  let diagnostics = '';
  const options = [
    '--outFile',
    'kernel.wasm',
    '--optimizeLevel',
    '3',
    '--converge',
    '--noAssert',
    '--runtime',
    kernel.runtime,
  ];
  const { error } = await asc.main([ENTRY, ...options, '--use', 'abort=', '--enable', 'simd'], {
    readFile: (name) => (name === ENTRY ? source : null),
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
  const imports = WebAssembly.Module.imports(
    new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>),
  );
  if (imports.length > 0)
    throw new Error(
      `${kernel.name} imports ${imports.map(({ module, name }) => `${module}.${name}`).join(', ')}`,
    );
  return wasm;
}

export interface Program {
  readonly name: string;
  readonly parameter: number;
  readonly longParameter: number;
  readonly bytes: Uint8Array;
}

/** The chosen kernels (`all`, or names joined by commas), compiled. */
export async function loadPrograms(root: string, chosen: string): Promise<Program[]> {
  const names = chosen === 'all' ? undefined : chosen.split(',');
  const unknown = names?.filter((name) => !KERNELS.some((kernel) => kernel.name === name)) ?? [];
  if (unknown.length > 0)
    throw new Error(
      `no kernel ${unknown.join(', ')}; there are ${KERNELS.map(({ name }) => name).join(', ')}`,
    );
  const programs: Program[] = [];
  for (const kernel of KERNELS) {
    if (names !== undefined && !names.includes(kernel.name)) continue;
    programs.push({
      name: kernel.name,
      parameter: kernel.parameter,
      longParameter: kernel.longParameter,
      bytes: await compileKernel(root, kernel),
    });
  }
  return programs;
}
