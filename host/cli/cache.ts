/**
 * The compile cache: shard modules by the content they were made from.
 *
 *   $XDG_CACHE_HOME/sherd (else ~/.cache/sherd)
 *     modules/<module hash>.wasm       the shard module itself
 *     programs/<key>.json              { module, inputs: [[path, hash]…] }   key = hash(compiler build, kind, program)
 *
 * Does: save work. Does not: matter for correctness: an entry that is missing, damaged or unreadable is made anew,
 * a directory that cannot be written is ignored.
 *
 * C1  A module is used only if its bytes hash to its name.
 * C2  The key covers the compiler build, so that another sherd never reuses it.
 * C3  A source entry is valid only while every file that its compilation read has the content it had then.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDirectory } from '../fabric/embedded-directory.js';
import type { Hash } from '../types/platform.js';

interface Entry {
  readonly module: Hash;
  readonly inputs: readonly (readonly [path: string, hash: Hash | null])[];
}

export function sha256(bytes: Uint8Array | string): Hash {
  return createHash('sha256').update(bytes).digest('hex');
}

export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const given = env.XDG_CACHE_HOME;
  return join(given?.startsWith('/') === true ? given : join(homedir(), '.cache'), 'sherd');
}

export class CompileCache {
  readonly #directory: string;

  constructor(directory: string = cacheDirectory()) {
    this.#directory = directory;
  }

  /** The module that was made from this program, if it is there and its inputs are unchanged. */
  async find(kind: string, program: Uint8Array | string): Promise<Uint8Array | undefined> {
    try {
      const entry = JSON.parse(await readFile(this.#entryPath(kind, program), 'utf8')) as Entry;
      for (const [path, hash] of entry.inputs) {
        const now = await readFile(path).then(sha256, () => null);
        if (now !== hash) return undefined;
      }
      return await this.module(entry.module);
    } catch {
      return undefined;
    }
  }

  /** A shard module by its own hash (a thin capsule names it). */
  async module(hash: Hash): Promise<Uint8Array | undefined> {
    if (!/^[0-9a-f]{64}$/.test(hash)) return undefined;
    try {
      const bytes = await readFile(this.#modulePath(hash));
      return sha256(bytes) === hash ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  async store(
    kind: string,
    program: Uint8Array | string,
    module: { readonly hash: Hash; readonly bytes: Uint8Array },
    inputs: Entry['inputs'] = [],
  ): Promise<void> {
    const entry: Entry = { module: module.hash, inputs };
    try {
      await put(this.#modulePath(module.hash), module.bytes);
      await put(this.#entryPath(kind, program), Buffer.from(JSON.stringify(entry)));
    } catch {
      // A cache that cannot be written costs time, nothing else.
    }
  }

  #modulePath(hash: Hash): string {
    return join(this.#directory, 'modules', `${hash}.wasm`);
  }

  #entryPath(kind: string, program: Uint8Array | string): string {
    const key = sha256(`${buildId()}\0${kind}\0${sha256(program)}`);
    return join(this.#directory, 'programs', `${key}.json`);
  }
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  makeDirectory(dirname(path));
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(temporary, bytes);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
}

let knownBuild: string | undefined;

/** Identifies the compiler by the content of its own files: compile/, and the guest SDK for AssemblyScript. */
function buildId(): string {
  if (knownBuild !== undefined) return knownBuild;
  const here = dirname(fileURLToPath(import.meta.url));
  const hash = createHash('sha256');
  const sdk = join(here, '..', '..', 'assembly', 'guest');
  for (const folder of [join(here, '..', 'compile'), sdk]) {
    let names: string[];
    try {
      names = readdirSync(folder).sort();
    } catch {
      continue;
    }
    for (const name of names) {
      const path = join(folder, name);
      if (!/\.(js|ts)$/.test(name) || name.endsWith('.d.ts') || !statSync(path).isFile()) continue;
      hash.update(name).update('\0').update(readFileSync(path));
    }
  }
  knownBuild = hash.digest('hex');
  return knownBuild;
}
