/**
 * Runs a core Wasm module under Node's own WASI: the reference that sherd's runtime is compared with.
 *
 * Does: give arguments, environment, stdin and directories; collect stdout, stderr, exit code or trap.
 * Does not: instrument or move anything.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WASI } from 'node:wasi';

export interface WasiRun {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  /** Guest path → host path. */
  readonly dirs?: Readonly<Record<string, string>>;
}

export interface WasiOutcome {
  readonly code: number | undefined;
  readonly trap: string | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export async function runWasi(wasm: Uint8Array, run: WasiRun = {}): Promise<WasiOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-wasi-'));
  const path = (name: string): string => join(folder, name);
  writeFileSync(path('stdin'), run.stdin ?? '');
  const fds = [
    openSync(path('stdin'), 'r'),
    openSync(path('stdout'), 'w'),
    openSync(path('stderr'), 'w'),
  ];
  let code: number | undefined;
  let trap: string | undefined;
  try {
    const wasi = new WASI({
      version: 'preview1',
      args: ['program', ...(run.args ?? [])],
      env: run.env ?? {},
      preopens: run.dirs ?? {},
      stdin: fds[0]!,
      stdout: fds[1]!,
      stderr: fds[2]!,
      returnOnExit: true,
    });
    const imports = { wasi_snapshot_preview1: throughJavaScript(wasi.wasiImport as Functions) };
    const { instance } = await WebAssembly.instantiate(wasm as BufferSource, imports);
    try {
      code = Number(wasi.start(instance));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      trap = error.message;
    }
    return {
      code,
      trap,
      stdout: readFileSync(path('stdout')),
      stderr: readFileSync(path('stderr'), 'utf8'),
    };
  } finally {
    for (const fd of fds) closeSync(fd);
    rmSync(folder, { recursive: true });
  }
}

type Functions = Record<string, (...args: (number | bigint)[]) => number>;

/**
 * Node 20 can crash (SIGSEGV) when Wasm calls its WASI functions directly and the memory has grown in between; a call
 * by way of a JavaScript function does not.
 */
function throughJavaScript(functions: Functions): Functions {
  return Object.fromEntries(
    Object.entries(functions).map(([name, call]) => [name, (...args) => call(...args)]),
  );
}
