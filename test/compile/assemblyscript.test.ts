/** The AssemblyScript front end and the guest SDK: what compiles, what is refused, and how a program meets its host. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AssemblyScriptOptions,
  compileAssemblyScript,
} from '../../host/compile/assemblyscript.js';
import { SherdError } from '../../host/types/errors.js';
import { runWasi, type WasiOutcome, type WasiRun } from '../programs/run-wasi.js';

const COMPILE_MS = 120_000;
const folder = mkdtempSync(join(tmpdir(), 'sherd-guest-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Sources in memory, with the SDK from disk. */
function reader(files: Readonly<Record<string, string>>): (path: string) => string | null {
  return (path) => {
    const own = files[path];
    if (own !== undefined) return own;
    return path.includes('assembly/guest/') && existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
}

async function compile(source: string, options: AssemblyScriptOptions = {}): Promise<Uint8Array> {
  const { wasm } = await compileAssemblyScript(
    '/src/prog.ts',
    reader({ '/src/prog.ts': source }),
    options,
  );
  return wasm;
}

async function runSource(source: string, run: WasiRun = {}): Promise<WasiOutcome> {
  return runWasi(await compile(source, { optimizeLevel: 1 }), run);
}

async function refusal(
  files: Readonly<Record<string, string>>,
  entry: string,
): Promise<SherdError> {
  try {
    await compileAssemblyScript(entry, reader(files));
  } catch (error) {
    if (error instanceof SherdError) return error;
    throw error;
  }
  throw new Error('it compiled');
}

describe('compileAssemblyScript', () => {
  it(
    'gives the same bytes for the same source, also when compilations overlap',
    async () => {
      const source =
        'import { println } from "sherd/guest"; println("x"); export function add(a: i32): i32 { return a; }';
      const [a, other, b] = await Promise.all([
        compile(source),
        compile('let x = 1; export { x };'),
        compile(source),
      ]);
      expect(Buffer.from(a!).equals(Buffer.from(b!))).toBe(true);
      expect(other).not.toEqual(a);
      const module = new WebAssembly.Module(a as BufferSource);
      const exports = WebAssembly.Module.exports(module).map(
        (entry) => `${entry.kind} ${entry.name}`,
      );
      expect(exports.sort()).toEqual(['function _start', 'function add', 'memory memory']);
      expect(
        WebAssembly.Module.imports(module).map((entry) => `${entry.module}.${entry.name}`),
      ).toContain('wasi_snapshot_preview1.fd_write');
    },
    COMPILE_MS,
  );

  it(
    'resolves relative imports beside the entry, below and above it',
    async () => {
      const files = {
        '/a/b/prog.ts':
          'import { one } from "./lib/one"; import { two } from "../two"; import { println } from "sherd/guest"; println((one() + two).toString());',
        '/a/b/lib/one.ts':
          'import { two } from "../../two"; export function one(): i32 { return two * 10; }',
        '/a/two.ts': 'export const two: i32 = 2;',
      };
      const { wasm, diagnostics } = await compileAssemblyScript('/a/b/prog.ts', reader(files));
      expect(diagnostics).toBe('');
      expect((await runWasi(wasm)).stdout.toString()).toBe('22\n');
    },
    COMPILE_MS,
  );

  it(
    "shows all of the compiler's errors, names the first in one line, and exits with 2",
    async () => {
      const error = await refusal(
        { '/src/bad.ts': 'let a: i32 = "text";\nlet b = unknown();\n' },
        '/src/bad.ts',
      );
      expect(error.code).toBe('SHERD_SOURCE_ERROR');
      expect(error.exitCode).toBe(2);
      expect(error.toLine()).toMatch(
        /^sherd: \/src\/bad\.ts: does not compile: TS2322: .* \(bad\.ts\) and 1 more error —/,
      );
      const cause = (error.cause as Error).message;
      expect(cause).toContain("Cannot find name 'unknown'");
      expect(cause).toMatch(/in bad\.ts\(2,9\)/);
    },
    COMPILE_MS,
  );

  it(
    'refuses what does not parse, imports that are not there, and a missing entry',
    async () => {
      const broken = await refusal({ '/src/a.ts': 'function (' }, '/src/a.ts');
      expect([broken.code, broken.exitCode]).toEqual(['SHERD_SOURCE_ERROR', 2]);
      const lost = await refusal({ '/src/a.ts': 'import { x } from "./gone"; x();' }, '/src/a.ts');
      expect(lost.message).toContain("File 'gone.ts' not found");
      const absent = await refusal({}, '/src/none.ts');
      expect([absent.code, absent.at, absent.exitCode]).toEqual(['SHERD_FILE', '/src/none.ts', 2]);
    },
    COMPILE_MS,
  );

  it(
    'compiles after a failure, and with each runtime',
    async () => {
      const source = 'import { println } from "sherd/guest"; println([1, 2, 3].join("+"));';
      for (const runtime of ['incremental', 'minimal', 'stub'] as const) {
        const outcome = await runWasi(await compile(source, { runtime }));
        expect([outcome.stdout.toString(), outcome.code]).toEqual(['1+2+3\n', 0]);
      }
    },
    COMPILE_MS,
  );
});

describe('the guest SDK', () => {
  it(
    'gives arguments, environment and lines of stdin',
    async () => {
      const outcome = await runSource(
        `import { args, env, environment, println, programName, stdin } from "sherd/guest";
       println(programName() + "|" + args().join("|"));
       const none = env("NONE");
       println(env("GREETING")! + "|" + (none === null ? "null" : none!) + "|" + environment().length.toString());
       function next(): void {
         for (let line = stdin.readLine(); line !== null; line = stdin.readLine()) println("<" + line + ">");
       }
       next();
       println(stdin.readByte().toString());`,
        { args: ['ä b', ''], env: { GREETING: 'hä=llo' }, stdin: 'one\r\n\nthrée\nlast' },
      );
      expect(outcome.stderr).toBe('');
      expect(outcome.stdout.toString()).toBe(
        'program|ä b|\nhä=llo|null|1\n<one>\n<>\n<thrée>\n<last>\n-1\n',
      );
    },
    COMPILE_MS,
  );

  it(
    'keeps characters whole across the buffers of input and output',
    async () => {
      const lines = [0, 1, 2, 3].map((n) => `${'x'.repeat(n)}${'€😀ä'.repeat(7000 + n)}`);
      const outcome = await runSource(
        `import { println, stdin } from "sherd/guest";
       function next(): void {
         for (let line = stdin.readLine(); line !== null; line = stdin.readLine()) println(line);
       }
       next();`,
        { stdin: `${lines.join('\n')}\n` },
      );
      expect(outcome.stdout.toString() === `${lines.join('\n')}\n`).toBe(true);
    },
    COMPILE_MS,
  );

  it(
    'copies bytes of any value unchanged',
    async () => {
      const bytes = Uint8Array.from({ length: 100_003 }, (_, i) => (i * 167 + (i >> 8)) & 255);
      const outcome = await runSource(
        `import { stdin, stdout, writeBytes } from "sherd/guest";
       stdout.writeByte(stdin.readByte() as u8);
       const piece = new Uint8Array(1000);
       stdin.read(piece, 0, 999);
       stdout.write(piece.subarray(0, 999));
       writeBytes(stdin.readAll());`,
        { stdin: bytes },
      );
      expect(outcome.stdout.equals(Buffer.from(bytes))).toBe(true);
    },
    COMPILE_MS,
  );

  it(
    'works with files and directories of a preopen',
    async () => {
      const outcome = await runSource(FILES_PROGRAM, { dirs: { '/data': folder } });
      expect(outcome.stderr).toBe('');
      expect(outcome.stdout.toString().trim().split('\n')).toEqual([
        'dirs /data',
        'made true false already exists (EEXIST)',
        'text grüße',
        'appended grüße+more',
        'size 13 false',
        'tail more',
        'list a.txt,b.txt,open.txt',
        'missing no such file or directory (ENOENT)',
        'outside no such file or directory (ENOENT)',
        'renamed true false true',
        'removed true true true false',
      ]);
      expect(readFileSync(join(folder, 'kept.txt'), 'utf8')).toBe('not closed');
    },
    COMPILE_MS,
  );

  it(
    'has random numbers in range, clocks that advance, and a sleep',
    async () => {
      const outcome = await runSource(
        `import { monotonicNs, println, random, randomBytes, sleep, wallMs } from "sherd/guest";
       let low = 1.0, high = 0.0;
       for (let i = 0; i < 1000; i++) { const x = random(); low = min(low, x); high = max(high, x); }
       println((low >= 0 && low < 0.05 && high > 0.95 && high < 1).toString());
       println(randomBytes(40).length.toString() + " " + (Math.random() != Math.random()).toString());
       const before = monotonicNs();
       sleep(30);
       println((monotonicNs() - before >= 29000000).toString());
       println((abs(wallMs() - Date.now()) < 10000).toString() + " " + (performance.now() > 0).toString());
       println(wallMs().toString());`,
      );
      const lines = outcome.stdout.toString().trim().split('\n');
      expect(lines.slice(0, 4)).toEqual(['true', '40 true', 'true', 'true true']);
      expect(Number(lines[4])).toBeGreaterThan(1.6e12);
    },
    COMPILE_MS,
  );

  it(
    'flushes before every clean end and gives its exit code',
    async () => {
      const exiting = await runSource(
        'import { exit, print } from "sherd/guest"; print("bye"); exit(7); print("never");',
      );
      expect([exiting.stdout.toString(), exiting.code, exiting.trap]).toEqual([
        'bye',
        7,
        undefined,
      ]);
      const failing = await runSource(
        'import { fail, print } from "sherd/guest"; print("so far"); fail("no good");',
      );
      expect([failing.stdout.toString(), failing.stderr, failing.code]).toEqual([
        'so far',
        'no good\n',
        1,
      ]);
    },
    COMPILE_MS,
  );

  it(
    'reports a throw with its place, after the output so far, and traps',
    async () => {
      const outcome = await runSource(
        'import { print } from "sherd/guest";\nprint("so far");\nif (true) {\n  throw new Error("bäd luck");\n}\n',
      );
      expect(outcome.stdout.toString()).toBe('so far');
      expect(outcome.stderr).toBe('abort: bäd luck in prog.ts:4:3\n');
      expect(outcome.trap).toBe('unreachable');
    },
    COMPILE_MS,
  );

  it(
    'serves console, trace and process of the language, with no import but WASI',
    async () => {
      const source = `console.log("out"); console.error("err"); trace("t", 2, 1.5, -2);
      console.log(process.argv.join(",")); assert(process.argv.length == 2);
      const bytes = new Uint8Array(8); crypto.getRandomValues(bytes); process.exit(4);`;
      const outcome = await runSource(source, { args: ['a'] });
      expect(outcome.stdout.toString()).toBe('out\nprogram,a\n');
      expect(outcome.stderr).toBe('err\ntrace: t 1.5, -2.0\n');
      expect(outcome.code).toBe(4);
    },
    COMPILE_MS,
  );
});

const FILES_PROGRAM = `
import {
  directories, exists, fileInfo, lastError, listDirectory, makeDirectory, openInput, openOutput, println, readText,
  removeDirectory, removeFile, rename, tryReadFile, writeText,
} from "sherd/guest";
println("dirs " + directories().join(","));
println("made " + makeDirectory("/data/sub").toString() + " " + makeDirectory("/data/sub").toString() + " " + lastError());
writeText("/data/sub/a.txt", "grüße");
println("text " + readText("data/./x/../sub/a.txt"));
const more = openOutput("/data/sub/a.txt", true)!;
more.print("+more");
more.close();
println("appended " + readText("/data/sub/a.txt"));
writeText("/data/sub/b.txt", "b");
writeText("/data/sub/open.txt", "");
const info = fileInfo("/data/sub/a.txt")!;
println("size " + (info.bytes + 1).toString() + " " + info.isDirectory.toString());
const input = openInput("/data/sub/a.txt")!;
input.readByte();
input.seek(-4, 2);
println("tail " + input.readText());
input.close();
println("list " + listDirectory("/data/sub")!.join(","));
println("missing " + (tryReadFile("/data/none") === null ? lastError() : "?"));
println("outside " + (tryReadFile("/etc/passwd") === null ? lastError() : "?"));
println("renamed " + rename("/data/sub/a.txt", "/data/c.txt").toString() + " " + exists("/data/sub/a.txt").toString()
  + " " + exists("/data/c.txt").toString());
removeFile("/data/sub/open.txt");
println("removed " + removeFile("/data/c.txt").toString() + " " + removeFile("/data/sub/b.txt").toString() + " "
  + removeDirectory("/data/sub").toString() + " " + exists("/data/sub").toString());
const kept = openOutput("/data/kept.txt")!;
kept.print("not closed");
`;
