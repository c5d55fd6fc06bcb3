/**
 * Blobs of a data directory as files, which tests take away, damage and copy back.
 *
 * Does: give the path of a blob's file; makes one of what is in a pack. Does not: touch what is a file already.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { directoryPaths } from '../../host/fabric/embedded-directory.js';
import { Packs } from '../../host/fabric/embedded-packs.js';
import { leaseStore } from '../../host/fabric/embedded-store.js';

/** Where its file is, or would be if the blob were there. Others may use the directory meanwhile. */
export async function asFile(directory: string, hash: string): Promise<string> {
  const paths = directoryPaths(directory);
  const path = join(paths.blobs, hash.slice(0, 2), hash);
  if (existsSync(path)) return path;
  const { store, release } = leaseStore(paths.records);
  const packs = new Packs(paths.packs, store, false);
  const packed = packs.read(hash, Buffer.alloc);
  if (packed !== undefined) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, packed.content);
    store.write(() => packs.remove(hash));
  }
  await release();
  return path;
}
