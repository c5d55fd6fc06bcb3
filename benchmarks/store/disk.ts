/**
 * What a directory takes of the disk: blocks of its files and of the directories themselves.
 *
 * Does: have written what is still in memory, then add up `st_blocks` × 512. Does not: count inodes, which are laid out
 * when the file system is made.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK_BYTES = 512;

export interface DiskUse {
  readonly files: number;
  /** Of blocks. */
  readonly diskBytes: number;
}

export function diskUse(directory: string): DiskUse {
  spawnSync('sync', ['-f', directory]);
  let files = 0;
  const of = (path: string): number => {
    const stat = lstatSync(path);
    const own = stat.blocks * BLOCK_BYTES;
    if (!stat.isDirectory()) files++;
    if (!stat.isDirectory()) return own;
    return readdirSync(path).reduce((sum, name) => sum + of(join(path, name)), own);
  };
  const diskBytes = of(directory);
  return { files, diskBytes };
}
