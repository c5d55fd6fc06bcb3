/**
 * Wasm components: recognised by their header, unpacked with `@bytecodealliance/jco` when that is installed.
 *
 *   core module   00 61 73 6d  01 00 00 00
 *   component     00 61 73 6d  0d 00 01 00      (version 0x0d, layer 1)
 *
 *     component ── jco ──▶ core modules ─┬─ program      imports WASI preview 1 or nothing        ── is run
 *                                        ├─ adapter      offers preview 1 on top of preview 2     ── not needed here
 *                                        └─ shim, fixup  wire the two together (`$imports`)       ── not needed here
 *
 * Does: turn a component made from one core program (wasm32-wasip1 and the usual adapter, `jco new`, `wasm-tools
 * component new`; or one that imports nothing) into that program: sherd serves preview 1 itself, in place of the adapter.
 * Does not: link several programs, or serve WASI preview 2 interfaces: such a component is refused by name.
 *
 * Q1  What is run is a core module of the component, unchanged; what is left out is only what has the adapter's shape
 *     and gives the program nothing but WASI preview 1.
 */
import { createRequire } from 'node:module';
import { WASI_MODULE, wasiSignatures } from '../runtime/wasi/preview1.js';
import { EXIT, SherdError } from '../types/errors.js';

const JCO_PACKAGE = '@bytecodealliance/jco';
const JCO_VERSION = '1.34.0';
/** The table that wit-component puts between program and adapter. */
const WIRING_TABLE = '$imports';

export function isWasm(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 8 &&
    bytes[0] === 0 &&
    bytes[1] === 0x61 &&
    bytes[2] === 0x73 &&
    bytes[3] === 0x6d
  );
}

/** True when the header's layer field says component. */
export function isComponent(bytes: Uint8Array): boolean {
  return isWasm(bytes) && bytes[6] === 1 && bytes[7] === 0;
}

interface Transpiled {
  readonly files:
    | readonly (readonly [name: string, bytes: Uint8Array])[]
    | Record<string, Uint8Array>;
}
export interface Jco {
  transpile(bytes: Uint8Array, options: object): Promise<Transpiled>;
}

/** The core module inside. `load` is replaced by tests. */
export async function coreModuleOf(
  component: Uint8Array,
  path: string,
  load: () => Promise<Jco | undefined> = loadJco,
): Promise<Uint8Array> {
  const jco = await load();
  if (jco === undefined) {
    throw new SherdError(
      'SHERD_FEATURE_UNSUPPORTED',
      `it is a Wasm component, which needs ${JCO_PACKAGE}`,
      {
        at: path,
        next: `install it beside sherd: npm install ${JCO_PACKAGE}@${JCO_VERSION}`,
        exitCode: EXIT.refused,
      },
    );
  }
  return programOf((await coreModules(jco, component, path)).map(describe), path);
}

interface Core {
  readonly bytes: Uint8Array;
  readonly imports: readonly WebAssembly.ModuleImportDescriptor[];
  readonly exports: ReadonlySet<string>;
}

function describe(bytes: Uint8Array): Core {
  const module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  const exports = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  return { bytes, imports: WebAssembly.Module.imports(module), exports };
}

/** The only module that is not part of the adapter (Q1). */
function programOf(cores: readonly Core[], path: string): Uint8Array {
  const adapters = cores.filter(isAdapter);
  const programs = cores.filter((core) => !isWiring(core) && !adapters.includes(core));
  const only = programs.length === 1 ? programs[0] : undefined;
  if (only === undefined) {
    throw unsupported(path, `the component links ${programs.length} core programs with each other`);
  }
  const offered = new Set(adapters.flatMap((core) => [...core.exports]));
  const foreign = only.imports.filter(
    ({ module, name }) => module !== WASI_MODULE || (adapters.length > 0 && !offered.has(name)),
  );
  if (foreign.length > 0) {
    const names = foreign.slice(0, 3).map((entry) => `${entry.module}.${entry.name}`);
    const more = foreign.length > names.length ? ` and ${foreign.length - names.length} more` : '';
    throw unsupported(path, `the program in the component imports ${names.join(', ')}${more}`);
  }
  return only.bytes;
}

/** Shim (a table of calls that are bound later) and fixup (fills that table). */
function isWiring({ imports, exports }: Core): boolean {
  return exports.has(WIRING_TABLE) || imports.some(({ name }) => name === WIRING_TABLE);
}

/** Works on the program's memory and offers WASI preview 1 functions. */
function isAdapter({ imports, exports }: Core): boolean {
  return (
    exports.has('cabi_import_realloc') &&
    imports.some(({ module, name }) => module === 'env' && name === 'memory') &&
    [...wasiSignatures().keys()].some((name) => exports.has(name))
  );
}

async function coreModules(jco: Jco, component: Uint8Array, path: string): Promise<Uint8Array[]> {
  let transpiled: Transpiled;
  try {
    transpiled = await jco.transpile(component, {
      name: 'component',
      noTypescript: true,
      base64Cutoff: 0, // small core modules as files too, not inside the JavaScript
    });
  } catch (cause) {
    throw new SherdError(
      'SHERD_WASM_MALFORMED',
      `${JCO_PACKAGE} cannot read it: ${firstLine(cause)}`,
      {
        at: path,
        next: 'check the component with: npx jco wit FILE',
        exitCode: EXIT.refused,
        cause,
      },
    );
  }
  const files = Array.isArray(transpiled.files)
    ? transpiled.files
    : Object.entries(transpiled.files);
  return files
    .filter(([name]: readonly [string, Uint8Array]) => name.endsWith('.wasm'))
    .map(([, bytes]: readonly [string, Uint8Array]) => bytes);
}

function unsupported(path: string, what: string): SherdError {
  return new SherdError('SHERD_FEATURE_UNSUPPORTED', what, {
    at: path,
    next: 'build the program as a core module for WASI preview 1 (target wasm32-wasip1)',
    exitCode: EXIT.refused,
  });
}

/** jco where the user has it: beside sherd, or in the directory that the command was started in. */
async function loadJco(): Promise<Jco | undefined> {
  for (const from of [import.meta.url, `${process.cwd()}/package.json`]) {
    try {
      const entry = createRequire(from).resolve(JCO_PACKAGE);
      return (await import(entry)) as Jco;
    } catch {
      // not there
    }
  }
  return undefined;
}

function firstLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split('\n', 1)[0] ?? '';
}
