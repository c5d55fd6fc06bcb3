/**
 * The spec of a shard and directory trees as canonical bytes.
 *
 * Does: encode, decode, and check input that nobody vouches for. Does not: store anything.
 *
 *   spec  = { v: 1, programName, moduleHash: 32 bytes, entry, entryArgs, args, env, stdin: file, dirs: [tree, …],
 *             seed: 16 bytes, maxMemoryPages, maxFuel, maxTimeMs, priority, and dropDead: true or nothing }
 *           keys sorted (types/pack.ts)
 *   trees = [1, tree, …]          tree = [guestPath, readOnly, dir]
 *   node  = [0, mtimeNs, name, node, name, node, …]          directory
 *         | [1, mtimeNs, executable, file]                   file
 *         | [2, mtimeNs, target]                             symlink
 *   file  = [bytes, chunk hashes, 32 bytes each, in one piece]
 *
 * Z1  One value has one encoding: what decodes, encodes to the same bytes again, or it is refused.
 * Z2  bigint stays bigint (64-bit integers), number stays number, bytes are Uint8Array.
 * Z3  Names are checked here, so that nothing built on a tree can leave its directory.
 */
import { EXIT, SherdError } from '../types/errors.js';
import {
  CHUNK_BYTES,
  type ChunkRef,
  type DirectoryNode,
  type DirectoryTree,
  type ShardSpec,
  type TreeNode,
} from '../types/host.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Plain } from '../types/state.js';
import { DEPTH_MAX } from './wasi/inodes.js';
import { isName, isWellFormed, PATH_BYTES_MAX, utf8Bytes } from './wasi/names.js';
import { compareUtf8 } from './wasi/order.js';
import { bytesToHash, hashToBytes } from './wasi/plain.js';

const VERSION = 1;
const HASH_BYTES = 32;
const CHUNKS_MAX = 0xffff_ffff;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Canonical bytes of a spec. */
export function encodeSpec(spec: ShardSpec): Uint8Array {
  return encodePlain({
    v: VERSION,
    programName: spec.programName,
    moduleHash: hashToBytes(spec.moduleHash),
    entry: spec.entry,
    entryArgs: spec.entryArgs,
    args: spec.args,
    env: spec.env,
    stdin: packFile(spec.stdin),
    dirs: spec.dirs.map(packTree),
    seed: hashToBytes(spec.seed),
    maxMemoryPages: spec.maxMemoryPages,
    maxFuel: spec.maxFuel,
    maxTimeMs: spec.maxTimeMs,
    priority: spec.priority,
    ...(spec.dropDead === true ? { dropDead: true } : {}),
  });
}

/** The spec that the bytes hold. Refuses anything else (SHERD_BLOB_DAMAGED, SHERD_FABRIC_VERSION). */
export function decodeSpec(bytes: Uint8Array): ShardSpec {
  const read = new Reader('shard spec');
  const fields = read.fields(unpack(bytes, 'shard spec'), 'spec');
  if (fields.v !== VERSION) throw wrongVersion('shard spec', fields.v);
  const dirs = read
    .list(fields.dirs, 'dirs')
    .map((tree, at) => unpackTree(read, tree, `dirs[${at}]`));
  const spec: ShardSpec = {
    v: VERSION,
    programName: read.text(fields.programName, 'programName'),
    moduleHash: bytesToHash(read.bytes(fields.moduleHash, 'moduleHash', HASH_BYTES)),
    entry: read.text(fields.entry, 'entry'),
    entryArgs: read.bytes(fields.entryArgs, 'entryArgs'),
    args: read.list(fields.args, 'args').map((text) => read.cText(text, 'args')),
    env: read.list(fields.env, 'env').map((text) => read.cText(text, 'env')),
    stdin: unpackFile(read, fields.stdin, 'stdin').chunks,
    dirs,
    seed: bytesToHash(read.bytes(fields.seed, 'seed', 16)),
    maxMemoryPages: read.count(fields.maxMemoryPages, 'maxMemoryPages', 65_536),
    maxFuel: read.u64(fields.maxFuel, 'maxFuel'),
    maxTimeMs: read.count(fields.maxTimeMs, 'maxTimeMs'),
    priority: read.integer(fields.priority, 'priority'),
    ...(fields.dropDead === true ? ({ dropDead: true } as const) : {}),
  };
  checkGuestPaths(read, dirs);
  demandCanonical(read, bytes, encodeSpec(spec));
  return spec;
}

/** Canonical bytes of directory trees. */
export function encodeTrees(trees: readonly DirectoryTree[]): Uint8Array {
  return encodePlain([VERSION, ...trees.map(packTree)]);
}

/** The trees that the bytes hold. Refuses anything else. */
export function decodeTrees(bytes: Uint8Array): DirectoryTree[] {
  const read = new Reader('directory trees');
  const [version, ...rest] = read.list(unpack(bytes, 'directory trees'), 'trees');
  if (version !== VERSION) throw wrongVersion('directory trees', version);
  const trees = rest.map((tree, at) => unpackTree(read, tree, `trees[${at}]`));
  checkGuestPaths(read, trees);
  demandCanonical(read, bytes, encodeTrees(trees));
  return trees;
}

function unpack(bytes: Uint8Array, what: string): Plain {
  try {
    return decodePlain(bytes) as Plain;
  } catch (cause) {
    throw refused(what, cause instanceof Error ? cause.message : 'not canonical msgpack', cause);
  }
}

function packTree(tree: DirectoryTree): Plain {
  return [tree.guestPath, tree.readOnly, packNode(tree.root)];
}

function packNode(node: TreeNode): Plain {
  if (node.kind === 'symlink') return [2, node.mtimeNs, node.target];
  if (node.kind === 'file') return [1, node.mtimeNs, node.executable, packFile(node.chunks)];
  return [0, node.mtimeNs, ...node.entries.flatMap(([name, child]) => [name, packNode(child)])];
}

function packFile(chunks: readonly ChunkRef[]): Plain {
  const hashes = new Uint8Array(chunks.length * HASH_BYTES);
  let bytes = 0;
  for (const [index, chunk] of chunks.entries()) {
    hashes.set(hashToBytes(chunk.hash), index * HASH_BYTES);
    bytes += chunk.bytes;
  }
  return [bytes, hashes];
}

function unpackTree(read: Reader, data: Plain, at: string): DirectoryTree {
  const [guestPath, readOnly, root] = read.list(data, at, 3);
  const node = unpackNode(read, root, at, 0);
  if (node.kind !== 'dir') throw read.wrong(`${at}: the root is not a directory`);
  const path = read.cText(guestPath, `${at}: guest path`);
  if (path === '' || utf8Bytes(path) > PATH_BYTES_MAX) throw read.wrong(`${at}: guest path`);
  return { guestPath: path, readOnly: read.flag(readOnly, at), root: node };
}

function unpackNode(read: Reader, data: Plain | undefined, at: string, depth: number): TreeNode {
  const [kind, time, ...rest] = read.list(data, at);
  const mtimeNs = read.u64(time, `${at}: mtime`);
  if (kind === 0) return unpackDirectory(read, rest, mtimeNs, at, depth);
  if (kind === 1 && rest.length === 2) {
    const executable = read.flag(rest[0], at);
    return { kind: 'file', mtimeNs, ...unpackFile(read, rest[1], at), executable };
  }
  if (kind === 2 && rest.length === 1) {
    const target = read.cText(rest[0], `${at}: symlink`);
    if (target === '' || utf8Bytes(target) > PATH_BYTES_MAX) throw read.wrong(`${at}: symlink`);
    return { kind: 'symlink', mtimeNs, target };
  }
  throw read.wrong(`${at}: neither directory, file nor symlink`);
}

function unpackDirectory(
  read: Reader,
  flat: readonly Plain[],
  mtimeNs: bigint,
  at: string,
  depth: number,
): DirectoryNode {
  if (flat.length % 2 !== 0) throw read.wrong(`${at}: an entry is cut short`);
  if (depth > DEPTH_MAX) throw read.wrong(`${at}: nested too deeply`);
  const entries: [string, TreeNode][] = [];
  let last: string | undefined;
  for (let index = 0; index < flat.length; index += 2) {
    const name = read.text(flat[index], at);
    if (!isName(name)) throw read.wrong(`${at}: a name that no file can have`);
    if (last !== undefined && compareUtf8(last, name) >= 0) throw read.wrong(`${at}: not sorted`);
    last = name;
    entries.push([name, unpackNode(read, flat[index + 1], `${at}/${name}`, depth + 1)]);
  }
  return { kind: 'dir', mtimeNs, entries };
}

function unpackFile(
  read: Reader,
  data: Plain | undefined,
  at: string,
): { bytes: number; chunks: ChunkRef[] } {
  const [size, hashes] = read.list(data, at, 2);
  const bytes = read.count(size, `${at}: size`);
  const count = Math.ceil(bytes / CHUNK_BYTES);
  if (count > CHUNKS_MAX) throw read.wrong(`${at}: size`);
  const all = read.bytes(hashes, `${at}: hashes`, count * HASH_BYTES);
  const chunks = Array.from({ length: count }, (_, index) => ({
    hash: bytesToHash(all.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)),
    bytes: Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES),
  }));
  return { bytes, chunks };
}

function checkGuestPaths(read: Reader, trees: readonly DirectoryTree[]): void {
  const paths = new Set(trees.map((tree) => tree.guestPath));
  if (paths.size !== trees.length) throw read.wrong('two directories have one guest path');
}

function demandCanonical(read: Reader, given: Uint8Array, again: Uint8Array): void {
  const same = given.length === again.length && given.every((byte, at) => byte === again[at]);
  if (!same) throw read.wrong('not in canonical form');
}

function refused(what: string, why: string, cause?: unknown): SherdError {
  return new SherdError('SHERD_BLOB_DAMAGED', `not a valid ${what}: ${why}`, {
    next: 'submit the program again',
    exitCode: EXIT.refused,
    cause,
  });
}

function wrongVersion(what: string, version: unknown): SherdError {
  const shown = typeof version === 'number' ? String(version) : 'unknown';
  return new SherdError(
    'SHERD_FABRIC_VERSION',
    `${what} of version ${shown}, known is ${VERSION}`,
    {
      next: 'use the version of sherd that wrote it',
      exitCode: EXIT.refused,
    },
  );
}

/** Checked access to decoded data. */
class Reader {
  constructor(readonly what: string) {}

  wrong(why: string): SherdError {
    return refused(this.what, why);
  }

  fields(data: Plain | undefined, at: string): { readonly [key: string]: Plain } {
    const map = typeof data === 'object' && data !== null && !Array.isArray(data);
    if (!map || data instanceof Uint8Array) throw this.wrong(at);
    return data as { readonly [key: string]: Plain };
  }

  list(data: Plain | undefined, at: string, length?: number): readonly Plain[] {
    if (!Array.isArray(data)) throw this.wrong(at);
    if (length !== undefined && data.length !== length) throw this.wrong(at);
    return data as readonly Plain[];
  }

  text(data: Plain | undefined, at: string): string {
    if (typeof data !== 'string' || !isWellFormed(data)) throw this.wrong(at);
    return data;
  }

  /** Text that can be a C string. */
  cText(data: Plain | undefined, at: string): string {
    const text = this.text(data, at);
    if (text.includes('\0')) throw this.wrong(`${at}: contains NUL`);
    return text;
  }

  bytes(data: Plain | undefined, at: string, length?: number): Uint8Array {
    if (!(data instanceof Uint8Array)) throw this.wrong(at);
    if (length !== undefined && data.length !== length) throw this.wrong(at);
    return new Uint8Array(data);
  }

  integer(data: Plain | undefined, at: string): number {
    if (typeof data !== 'number' || !Number.isSafeInteger(data)) throw this.wrong(at);
    return data;
  }

  count(data: Plain | undefined, at: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.integer(data, at);
    if (value < 0 || value > max) throw this.wrong(at);
    return value;
  }

  u64(data: Plain | undefined, at: string): bigint {
    if (typeof data !== 'bigint' || data < 0n || data > U64_MAX) throw this.wrong(at);
    return data;
  }

  flag(data: Plain | undefined, at: string): boolean {
    if (typeof data !== 'boolean') throw this.wrong(at);
    return data;
  }
}
