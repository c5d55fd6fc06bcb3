/**
 * Wasm components: recognised by their header, unpacked with `@bytecodealliance/jco` when that is installed.
 *
 *   core module   00 61 73 6d  01 00 00 00
 *   component     00 61 73 6d  0d 00 01 00      (version 0x0d, layer 1)
 *
 * Does: turn a component that holds exactly one core module with WASI preview 1 imports (or none) into that module.
 * Does not: link several core modules, or serve WASI preview 2 interfaces: such a component is refused by name.
 */
import { createRequire } from 'node:module';
import { EXIT, SherdError } from '../types/errors.js';

const JCO_PACKAGE = '@bytecodealliance/jco';
const JCO_VERSION = '1.34.0';

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
  const cores = await coreModules(jco, component, path);
  const only = cores.length === 1 ? cores[0] : undefined;
  if (only === undefined) {
    throw unsupported(
      path,
      `the component holds ${cores.length} core modules that are linked to each other`,
    );
  }
  const foreign = foreignImports(only);
  if (foreign.length > 0) {
    throw unsupported(
      path,
      `the component's core module imports ${foreign.slice(0, 3).join(', ')}`,
    );
  }
  return only;
}

async function coreModules(jco: Jco, component: Uint8Array, path: string): Promise<Uint8Array[]> {
  let transpiled: Transpiled;
  try {
    transpiled = await jco.transpile(component, { name: 'component', noTypescript: true });
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

function foreignImports(core: Uint8Array): string[] {
  const module = new WebAssembly.Module(core as Uint8Array<ArrayBuffer>);
  const served = new Set(['wasi_snapshot_preview1', 'sherd']);
  return WebAssembly.Module.imports(module)
    .filter((entry) => !served.has(entry.module))
    .map((entry) => `${entry.module}.${entry.name}`);
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
