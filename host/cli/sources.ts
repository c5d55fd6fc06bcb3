/**
 * Source lines for code offsets of a program: from DWARF (clang, rustc, Zig), from a source map (AssemblyScript and others).
 *
 *   x.wasm   `.debug_line` in it, or a `sourceMappingURL` section that names a file beside it (or a data: URL)
 *   x.ts     compiled again, with a map
 *
 * Does: find the table, check that the program is the one that was run. Does not: read the sources.
 *
 * L1  A program of another hash is refused: its lines would be wrong.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, resolve } from 'node:path';
import type { Locate } from '../capsule/index.js';
import { compileAssemblyScript } from '../compile/assemblyscript.js';
import { customSections, LineTable } from '../compile/debug-line.js';
import { scanSections } from '../compile/module.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import { sha256 } from './cache.js';
import { fileError } from './status.js';

const CODE_SECTION = 10;
const MAP_SECTION = 'sourceMappingURL';
const DATA_URL = /^data:application\/json[^,]*;base64,(.*)$/s;

/** Reads the lines of the program at a path. */
export async function sourcesOf(path: string, programHash: Hash): Promise<Locate> {
  const { program, map } = await programOf(path);
  if (sha256(program) !== programHash && sha256(withoutMap(program)) !== programHash) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      '--program: another program than the capsule was made with',
      {
        at: path,
        next: `give the program with the hash ${programHash}`,
        exitCode: EXIT.refused,
      },
    );
  }
  const lines = LineTable.read(program);
  if (lines !== undefined && lines.size > 0) return (offset) => lines.placeOf(offset);
  const text = map ?? (await mapBeside(path, program));
  if (text !== undefined) return mapped(path, text, program);
  throw new SherdError('SHERD_USAGE', '--program: it has neither .debug_line nor a source map', {
    at: path,
    next: 'compile it with -g (clang, rustc: -C debuginfo=1), or with --sourceMap (asc)',
    exitCode: EXIT.refused,
  });
}

async function programOf(path: string): Promise<{ program: Uint8Array; map?: string }> {
  if (/\.(ts|as)$/.test(path)) {
    const compiled = await compileAssemblyScript(resolve(path), readSource, { sourceMap: true });
    const { wasm, sourceMap } = compiled;
    return sourceMap === undefined ? { program: wasm } : { program: wasm, map: sourceMap };
  }
  const program = await readFile(path).catch((cause: unknown) => {
    throw fileError(cause, path, '--program', EXIT.refused);
  });
  return { program: new Uint8Array(program) };
}

function readSource(name: string): string | null {
  try {
    return readFileSync(name, 'utf8');
  } catch {
    return null;
  }
}

/** The program as it was before asc named its map in it. */
function withoutMap(program: Uint8Array): Uint8Array {
  const section = scanSections(program).find(({ name }) => name === MAP_SECTION);
  if (section === undefined) return program;
  const { start, end } = section;
  return Uint8Array.from(Buffer.concat([program.subarray(0, start), program.subarray(end)]));
}

async function mapBeside(path: string, program: Uint8Array): Promise<string | undefined> {
  const section = customSections(program).get(MAP_SECTION);
  if (section === undefined) return undefined;
  // The section holds a string with its length before it.
  let at = 0;
  while ((section[at] ?? 0) >= 0x80) at++;
  const url = Buffer.from(section.subarray(at + 1)).toString('utf8');
  const inline = DATA_URL.exec(url)?.[1];
  if (inline !== undefined) return Buffer.from(inline, 'base64').toString('utf8');
  if (/^[a-z]+:/i.test(url)) return undefined; // nothing is fetched
  return readFile(resolve(dirname(path), url), 'utf8').catch((cause: unknown) => {
    throw fileError(cause, url, "the program's source map", EXIT.refused);
  });
}

/** A Wasm source map has one line; its columns are offsets in the file. */
function mapped(path: string, text: string, program: Uint8Array): Locate {
  let map: SourceMap;
  try {
    map = new SourceMap(JSON.parse(text) as SourceMapPayload);
  } catch (cause) {
    throw new SherdError('SHERD_FILE', 'its source map cannot be read', {
      at: path,
      next: 'compile it again',
      exitCode: EXIT.refused,
      cause,
    });
  }
  const start = scanSections(program).find(({ id }) => id === CODE_SECTION)?.bodyStart ?? 0;
  return (offset) => {
    const entry = map.findEntry(0, start + offset);
    if (!('originalSource' in entry) || entry.originalSource === undefined) return undefined;
    const { originalSource, originalLine, originalColumn } = entry;
    return { file: originalSource, line: originalLine + 1, column: originalColumn + 1 };
  };
}
