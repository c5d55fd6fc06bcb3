/**
 * What a blob that cannot be read may name, told by what it was and by what the others are.
 *
 *     a piece of output            names   the piece before it, which is a piece of output
 *     spec, capsule, final files   name    what files consist of, which may be any bytes
 *     a capsule                    names   the capsules that it is based on, too: of the same shard module
 *
 * Does: find, among the blobs that no record is known to reach, those that have to stay. Does not: remove anything.
 *
 * M1  What cannot be read itself stays, and so does what is young: it is not looked at.
 * M2  Capsules, specs and pieces of output are what sherd makes for itself: a record, a capsule or another piece names them,
 *     and no file consists of one. (A `.capsule` file is a bundle, which is something else.) They are known by their form, which is strict.
 */
import { decodeCapsule } from '../capsule/index.js';
import { decodeSpec } from '../runtime/spec.js';
import { decodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { OutputChunk } from '../types/records.js';
import type { Collection, Reached } from './reach.js';

/** Unreached blobs that one of the unread ones may name, or that cannot be looked into. */
export async function mayBeNamed(
  { blobs, unread, chained }: Reached,
  { fabric, platform, graceMs }: Collection,
): Promise<Set<Hash>> {
  const pieces = unread.some(({ what }) => what === 'output');
  const contents = unread.some(({ what }) => what !== 'output');
  const stays = (bytes: Uint8Array): boolean => {
    if (isPiece(bytes)) return pieces;
    const module = moduleOfCapsule(bytes, platform);
    if (module !== undefined) return chained.has(module);
    return contents && !isSpec(bytes);
  };
  const maybe = new Set<Hash>();
  for await (const { hash, ageMs } of fabric.blobs.list()) {
    if (blobs.has(hash) || ageMs < graceMs) continue;
    const bytes = await fabric.blobs.get(hash).catch(() => undefined);
    if (bytes === undefined || stays(bytes)) maybe.add(hash);
  }
  return maybe;
}

function isPiece(bytes: Uint8Array): boolean {
  return decodes(() => {
    const { v, previous, offset, pieces } = decodePlain(bytes) as OutputChunk;
    const linked = previous === null || typeof previous === 'string';
    if (v !== 1 || !linked || typeof offset !== 'number' || !Array.isArray(pieces))
      throw new Error();
  });
}

/** The shard module of a capsule; undefined: it is none. */
function moduleOfCapsule(bytes: Uint8Array, platform: Platform): Hash | undefined {
  let module: Hash | undefined;
  decodes(() => {
    module = decodeCapsule(bytes, platform).header.moduleHash;
  });
  return module;
}

function isSpec(bytes: Uint8Array): boolean {
  return decodes(() => decodeSpec(bytes));
}

function decodes(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch {
    return false;
  }
}
