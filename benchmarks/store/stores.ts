/**
 * Where capsules are stored: sherd's embedded fabric, and one file each, as most stores of blobs have it.
 *
 *   sherd        openEmbeddedFabric(…).blobs: small ones packed, with a record store and an index
 *   one file     written beside, renamed to 3f/3f9a…; nothing else (no record, no index, no age, no quota)
 *   gzip file    the same of gzip's output, level 6
 *
 * S1  What a store gives back is compared with the hash it was put under.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { openEmbeddedFabric } from '../../host/fabric/embedded.js';

export interface CapsuleStore {
  readonly name: string;
  readonly directory: string;
  put(hash: string, bytes: Uint8Array): Promise<void>;
  get(hash: string): Promise<Uint8Array>;
  /** Removes all that is not kept. */
  keep(isKept: (hash: string) => boolean): Promise<void>;
  close(): Promise<void>;
}

const temporary = (): string => mkdtempSync(join(tmpdir(), 'sherd-store-'));

export async function sherdStore(name: string): Promise<CapsuleStore> {
  const directory = temporary();
  const fabric = await openEmbeddedFabric(directory, { create: true, name: 'store' });
  return {
    name,
    directory,
    put: (hash, bytes) => fabric.blobs.put(hash, bytes, { hashed: true }),
    get: async (hash) => {
      const bytes = await fabric.blobs.get(hash);
      if (bytes === undefined) throw new Error(`${hash} is gone`);
      return bytes;
    },
    keep: async (isKept) => {
      await fabric.blobs.collect(isKept, 0);
    },
    close: async () => {
      await fabric.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export function fileStore(
  name: string,
  pack: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
  unpack: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
): CapsuleStore {
  const directory = temporary();
  const path = (hash: string): string => join(directory, hash.slice(0, 2), hash);
  const made = new Set<string>();
  const names = new Set<string>();
  return {
    name,
    directory,
    put: async (hash, bytes) => {
      const beside = join(directory, 'new');
      const file = openSync(beside, 'wx');
      const packed = pack(bytes);
      for (let at = 0; at < packed.length; ) at += writeSync(file, packed, at);
      closeSync(file);
      const part = hash.slice(0, 2);
      if (!made.has(part)) mkdirSync(join(directory, part), { recursive: true });
      made.add(part);
      renameSync(beside, path(hash));
      names.add(hash);
    },
    get: async (hash) => {
      const bytes = unpack(readFileSync(path(hash)));
      const actual = createHash('sha256').update(bytes).digest('hex');
      if (actual !== hash) throw new Error(`${hash} has become ${actual}`);
      return bytes;
    },
    keep: async (isKept) => {
      for (const hash of names) if (!isKept(hash)) rmSync(path(hash), { force: true });
    },
    close: async () => rmSync(directory, { recursive: true }),
  };
}

export const gzipStore = (): CapsuleStore =>
  fileStore('gzip file', (bytes) => gzipSync(bytes), gunzipSync);
