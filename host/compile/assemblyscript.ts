/**
 * The AssemblyScript front end: source → core Wasm with WASI preview 1 imports only.
 *
 * Does: run `asc` in memory, with `sherd/guest` (assembly/guest) importable and the standard library's JavaScript
 * bindings replaced by the SDK's. Does not: instrument (compileProgram does), touch files except through the
 * `readFile` it is given, or apply an `asconfig.json` that lies beside the program.
 *
 *   (start file, made here)          user's program            assembly/guest
 *   import { finish } ───────────────────────────────────────► program.ts   abort, seed, trace, flush at the end
 *   export * from "./prog" ─────────► top-level code = main
 *   finish()                          import "sherd/guest" ──► index.ts
 *                                     console, Date, … ──────► bindings/{dom,node}.ts in place of ~lib/bindings
 *
 * A1  The module exports `_start` (runs the top-level code once) and `memory`; whatever the program exports besides.
 * A2  Function names are in the name section, as `file/function`.
 * A3  The same sources and options give the same bytes.
 * A4  Compilations of one process run one after the other: asc keeps its library in a global table.
 */
import { EXIT, SherdError } from '../types/errors.js';

type Asc = typeof import('assemblyscript/asc');

/** Reads a source file; null = there is none. */
export type ReadSource = (path: string) => string | null;

export interface AssemblyScriptOptions {
  /** Garbage collection: `incremental` (default, automatic), `minimal` (only by `__collect()`), `stub` (never frees). */
  readonly runtime?: 'incremental' | 'minimal' | 'stub';
  /** 0..3, default 3. */
  readonly optimizeLevel?: number;
  /** 0..2, default 0. */
  readonly shrinkLevel?: number;
  /** Leave assertions out. Default false. */
  readonly noAssert?: boolean;
  /** Directory of the guest SDK; default: the one of this package. */
  readonly guestDirectory?: string;
  /** Also make a source map. The program gets a section that names it; its code is the same. */
  readonly sourceMap?: boolean;
}

export interface AssemblyScriptResult {
  readonly wasm: Uint8Array;
  /** Warnings, as asc words them; empty when there are none. */
  readonly diagnostics: string;
  /** JSON, when it was asked for. */
  readonly sourceMap?: string;
}

const START_FILE = '__sherd_start';
/** A folder that exists only for asc: what it is asked for there comes from the guest SDK. */
const LIBRARY = '~sherd';
const BINDINGS = ['bindings/dom', 'bindings/node'];
const HANDLERS = 'sherd/guest/program';

let queue: Promise<unknown> = Promise.resolve();

/**
 * Compiles an AssemblyScript program.
 *
 * @param entryPath the program's main file; relative imports are resolved beside it and read through `readFile`
 * @throws SherdError `SHERD_SOURCE_ERROR` (exit code 2), with the compiler's full diagnostics as `cause`
 */
export function compileAssemblyScript(
  entryPath: string,
  readFile: ReadSource,
  options: AssemblyScriptOptions = {},
): Promise<AssemblyScriptResult> {
  const result = queue.then(() => compileNow(entryPath, readFile, options));
  queue = result.catch(() => undefined);
  return result;
}

async function compileNow(
  entryPath: string,
  readFile: ReadSource,
  options: AssemblyScriptOptions,
): Promise<AssemblyScriptResult> {
  if (readFile(entryPath) === null) {
    throw new SherdError('SHERD_FILE', 'cannot read the program', {
      at: entryPath,
      next: 'check the path',
      exitCode: EXIT.refused,
    });
  }
  const asc = await loadCompiler();
  const { directory, stem } = splitPath(entryPath);
  const sources = new SourceReader(entryPath, directory, stem, readFile, options.guestDirectory);
  const output: { wasm?: Uint8Array; map?: string } = {};
  const text: string[] = [];
  const errors: string[] = [];
  const stream = { write: (chunk: unknown): void => void text.push(asText(chunk)) };
  const restoreLibrary = keepLibrary(asc);
  try {
    const { error } = await withoutExit(() =>
      asc.main(commandLine(directory, options), {
        stdout: stream as never,
        stderr: stream as never,
        readFile: (name, base) => sources.read(name, base),
        writeFile: (name, contents) => {
          if (typeof contents !== 'string') output.wasm = contents;
          else if (name.endsWith('.map')) output.map = contents;
        },
        listFiles: (name) => (name === LIBRARY ? BINDINGS.map((file) => `${file}.ts`) : []),
        reportDiagnostic: (diagnostic) => {
          const d = diagnostic as unknown as Diagnostic;
          if (d.category === CATEGORY_ERROR) errors.push(describe(d));
        },
      }),
    );
    const diagnostics = text.join('').trim();
    if (error !== null || output.wasm === undefined) {
      throw sourceError(entryPath, errors, diagnostics, error);
    }
    const { wasm, map: sourceMap } = output;
    return sourceMap === undefined ? { wasm, diagnostics } : { wasm, diagnostics, sourceMap };
  } finally {
    restoreLibrary();
  }
}

function commandLine(directory: string, options: AssemblyScriptOptions): string[] {
  const flags = [
    `${START_FILE}.ts`,
    '--baseDir',
    directory,
    '--outFile',
    'program.wasm',
    '--exportStart',
    '_start',
    '--runtime',
    options.runtime ?? 'incremental',
    '--optimizeLevel',
    String(options.optimizeLevel ?? 3),
    '--shrinkLevel',
    String(options.shrinkLevel ?? 0),
    '--enable',
    'simd',
    '--lib',
    LIBRARY,
    '--debug',
    '--noColors',
  ];
  for (const name of ['abort', 'seed', 'trace'])
    flags.push('--use', `${name}=~lib/${HANDLERS}/${name}`);
  if (options.noAssert === true) flags.push('--noAssert');
  if (options.sourceMap === true) flags.push('--sourceMap');
  return flags;
}

/** Answers asc's requests for files. Paths that asc gives are relative to the entry's directory. */
class SourceReader {
  constructor(
    private readonly entryPath: string,
    private readonly directory: string,
    private readonly stem: string,
    private readonly readFile: ReadSource,
    private readonly guestDirectory: string = packagedGuest(),
  ) {}

  read(name: string, base: string): string | null {
    const path = name.replaceAll('\\', '/');
    if (base === LIBRARY) return this.readLibrary(path);
    if (path.endsWith('asconfig.json')) return null;
    if (path === `${START_FILE}.ts`) return startSource(this.stem);
    if (path === `${this.stem}.ts`) return this.readFile(this.entryPath);
    return this.readFile(joinPath(this.directory, path));
  }

  private readLibrary(path: string): string | null {
    const inGuest = path.startsWith('sherd/guest/') ? path.slice('sherd/guest/'.length) : path;
    if (inGuest === path && !BINDINGS.includes(path.replace(/\.ts$/, ''))) return null;
    const found = this.readFile(joinPath(this.guestDirectory, inGuest));
    if (found === null && path.startsWith('bindings/')) {
      throw new SherdError('SHERD_FILE', 'the guest SDK is missing', {
        at: this.guestDirectory,
        next: 'reinstall sherd',
      });
    }
    return found;
  }
}

function startSource(stem: string): string {
  return [
    `import { finish } from "${HANDLERS}";`,
    `export * from ${JSON.stringify(`./${stem}`)};`,
    'finish();',
    '',
  ].join('\n');
}

async function loadCompiler(): Promise<Asc> {
  try {
    return await import('assemblyscript/asc');
  } catch (cause) {
    throw new SherdError('SHERD_FEATURE_UNSUPPORTED', 'the AssemblyScript compiler is not there', {
      next: 'npm install assemblyscript',
      exitCode: EXIT.refused,
      cause,
    });
  }
}

/** asc puts `--lib` files into its global library table; this puts the original ones back afterwards (A4). */
function keepLibrary(asc: Asc): () => void {
  const table = asc.libraryFiles as Record<string, string>;
  const originals = BINDINGS.map((file) => [file, table[file]] as const);
  return () => {
    for (const [file, source] of originals) if (source !== undefined) table[file] = source;
  };
}

/**
 * When asc crashes inside, it prints a report and calls `process.exit(1)`. That call, and no other, becomes an error.
 */
async function withoutExit<T>(action: () => Promise<T>): Promise<T> {
  const host = (globalThis as { process?: { exit?: (code?: number) => never } }).process;
  const exit = host?.exit;
  if (host === undefined || exit === undefined) return action();
  host.exit = (code?: number): never => {
    if (new Error().stack?.includes('assemblyscript/dist/asc.js') === true) {
      throw new Error('the AssemblyScript compiler crashed');
    }
    return exit.call(host, code);
  };
  try {
    return await action();
  } finally {
    host.exit = exit;
  }
}

const CATEGORY_ERROR = 3;

interface Diagnostic {
  readonly message: string;
  readonly code: number;
  readonly category: number;
  readonly range: {
    readonly start: number;
    readonly source: { readonly normalizedPath: string } | null;
  } | null;
}

function describe(diagnostic: Diagnostic): string {
  const prefix = diagnostic.code < 1000 ? 'AS' : 'TS';
  const file = diagnostic.range?.source?.normalizedPath;
  return `${prefix}${diagnostic.code}: ${diagnostic.message}${file === undefined ? '' : ` (${file})`}`;
}

function sourceError(
  entryPath: string,
  errors: readonly string[],
  diagnostics: string,
  error: Error | null,
): SherdError {
  const count = errors.length;
  const first = errors[0] ?? error?.message ?? 'no output';
  const more = count > 1 ? ` and ${count - 1} more error${count > 2 ? 's' : ''}` : '';
  return new SherdError('SHERD_SOURCE_ERROR', `does not compile: ${first}${more}`, {
    at: entryPath,
    next: 'correct the source',
    exitCode: EXIT.refused,
    cause: diagnostics === '' ? error : new Error(diagnostics),
  });
}

function asText(chunk: unknown): string {
  return typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk as Uint8Array);
}

function splitPath(path: string): { directory: string; stem: string } {
  const clean = path.replaceAll('\\', '/');
  const slash = clean.lastIndexOf('/');
  const directory = slash < 0 ? '.' : slash === 0 ? '/' : clean.slice(0, slash);
  return { directory, stem: clean.slice(slash + 1).replace(/\.ts$/, '') };
}

/** Joins and resolves `.` and `..` by text. */
function joinPath(directory: string, relative: string): string {
  if (relative.startsWith('/')) return relative;
  const rooted = directory.startsWith('/');
  const kept: string[] = [];
  for (const part of `${directory}/${relative}`.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && kept.length > 0 && kept.at(-1) !== '..') kept.pop();
    else if (part !== '..' || !rooted) kept.push(part);
  }
  return (rooted ? '/' : '') + kept.join('/');
}

/** assembly/guest of this package, as a path; this file is host/compile/… or dist/compile/… there. */
function packagedGuest(): string {
  const path = decodeURIComponent(new URL('../../assembly/guest', import.meta.url).pathname);
  return /^\/[A-Za-z]:\//.test(path) ? path.slice(1) : path;
}
