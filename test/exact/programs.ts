/**
 * The real programs of the exactness tests, with inputs small enough for a thousand pauses.
 *
 * Does: compile (cached), make specs with arguments, stdin and directories. Does not: run.
 */
import { readFileSync } from 'node:fs';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import {
  CHUNK_BYTES,
  type ChunkRef,
  type DirectoryTree,
  type ShardSpec,
} from '../../host/types/host.js';
import type { ShardModule } from '../../host/types/module.js';
import type { Hash } from '../../host/types/platform.js';
import { compiledProgram, type ProgramName } from '../programs/compiled.js';
import type { Subject } from './drive.js';
import { Random } from './random.js';

export interface ProgramCase {
  readonly name: string;
  readonly source: { readonly program: ProgramName } | { readonly fixture: string };
  readonly args: readonly string[];
  readonly stdin?: string;
  readonly dirs?: (put: (text: string) => FileContent) => DirectoryTree[];
}

interface FileContent {
  readonly bytes: number;
  readonly chunks: ChunkRef[];
}

/** Words drawn from a skewed distribution, in lines. */
export function sampleText(words: number, seed = 7): string {
  const random = new Random(seed);
  const parts: string[] = [];
  for (let i = 0; i < words; i++) {
    const length = 1 + random.below(1 + random.below(9));
    const word = Array.from({ length }, () =>
      String.fromCharCode(97 + random.below(1 + random.below(26))),
    ).join('');
    parts.push(random.chance(0.1) ? `${word}.\n` : `${word} `);
  }
  return parts.join('');
}

const FORTH = ': fib dup 2 < if else dup 1 - recurse swap 2 - recurse + then ; 12 fib . cr';

export const CASES: readonly ProgramCase[] = [
  { name: 'raytracer', source: { program: 'raytracer' }, args: ['16', '9', '1'] },
  { name: 'nbody', source: { program: 'nbody' }, args: ['2000', '500'] },
  {
    name: 'wordcount',
    source: { program: 'wordcount' },
    args: ['-n', '5'],
    stdin: sampleText(6_000),
  },
  { name: 'perft', source: { program: 'perft' }, args: ['2', 'kiwipete'] },
  { name: 'sat', source: { program: 'sat' }, args: ['--random', '40', '168', '3'] },
  { name: 'gc', source: { program: 'gc' }, args: ['400', '120'] },
  { name: 'simd', source: { program: 'simd' }, args: ['24', '40'] },
  {
    name: 'wc_sort',
    source: { fixture: 'wc_sort' },
    args: ['/data'],
    stdin: sampleText(1_500),
    dirs: () => [
      { guestPath: '/data', readOnly: false, root: { kind: 'dir', mtimeNs: 0n, entries: [] } },
    ],
  },
  { name: 'forth', source: { fixture: 'forth' }, args: [], stdin: `${FORTH}\n` },
];

async function wasmOf({ source }: ProgramCase): Promise<Uint8Array> {
  if ('program' in source) return compiledProgram(source.program);
  return new Uint8Array(
    readFileSync(new URL(`../fixtures/${source.fixture}.wasm`, import.meta.url)),
  );
}

/** The spec of a WASI program: no limits, a seed of the tests'. */
export function programSpec(
  shard: ShardModule,
  own: Pick<ShardSpec, 'programName' | 'args' | 'env' | 'stdin' | 'dirs'>,
): ShardSpec {
  return {
    v: 1,
    moduleHash: shard.moduleHash,
    entry: '_start',
    entryArgs: new Uint8Array(),
    seed: '00112233445566778899aabbccddeeff',
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
    ...own,
  };
}

/** Loads a program as a subject. */
export async function loadCase(each: ProgramCase): Promise<Subject> {
  const shard = compileProgram(await wasmOf(each), nodePlatform);
  const blobs = new Map<Hash, Uint8Array>();
  const put = (text: string): FileContent => {
    const bytes = new TextEncoder().encode(text);
    const chunks: ChunkRef[] = [];
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const chunk = bytes.slice(at, at + CHUNK_BYTES);
      const hash = nodePlatform.sha256(chunk);
      blobs.set(hash, chunk);
      chunks.push({ hash, bytes: chunk.length });
    }
    return { bytes: bytes.length, chunks };
  };
  const spec = programSpec(shard, {
    programName: each.name,
    args: [each.name, ...each.args],
    env: ['LANG=C'],
    stdin: each.stdin === undefined ? [] : put(each.stdin).chunks,
    dirs: each.dirs?.(put) ?? [],
  });
  const loaded = LoadedModule.load(shard, nodePlatform);
  return { name: each.name, loaded, entry: spec.entry, entryArgs: spec.entryArgs, spec, blobs };
}
