/**
 * The programs of assembly/programs, compiled; shared by every test that runs them.
 *
 * Does: compile on first use and keep the result under node_modules/.cache, named by the hash of everything that
 * goes into it (all of assembly/, the front end, the compiler's version, the options). Does not: ever serve a result of
 * other sources.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  type AssemblyScriptOptions,
  compileAssemblyScript,
} from '../../host/compile/assemblyscript.js';

const root = new URL('../..', import.meta.url).pathname;
const cache = join(root, 'node_modules/.cache/sherd-programs');

export const PROGRAMS = ['raytracer', 'nbody', 'wordcount', 'perft', 'sat', 'gc', 'simd'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

export function programPath(name: ProgramName): string {
  return join(root, 'assembly/programs', `${name}.ts`);
}

export function readSource(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

/** The program as core Wasm with WASI imports. */
export async function compiledProgram(
  name: ProgramName,
  options: AssemblyScriptOptions = {},
): Promise<Uint8Array> {
  const key = createHash('sha256')
    .update(sourcesHash())
    .update(JSON.stringify([name, options]));
  const file = join(cache, `${name}-${key.digest('hex').slice(0, 32)}.wasm`);
  if (existsSync(file)) return new Uint8Array(readFileSync(file));
  const { wasm } = await compileAssemblyScript(programPath(name), readSource, options);
  mkdirSync(cache, { recursive: true });
  const temporary = `${file}.${process.pid}-${Math.random().toString(36).slice(2)}`;
  writeFileSync(temporary, wasm);
  renameSync(temporary, file);
  return wasm;
}

let hash: string | undefined;

function sourcesHash(): string {
  if (hash !== undefined) return hash;
  const sum = createHash('sha256');
  const folder = join(root, 'assembly');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  const files = names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name));
  files.push(join(root, 'host/compile/assemblyscript.ts'));
  files.push(join(root, 'node_modules/assemblyscript/package.json'));
  for (const file of files) sum.update(file.slice(root.length)).update(readFileSync(file));
  hash = sum.digest('hex');
  return hash;
}
