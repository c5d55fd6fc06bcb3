/**
 * Path resolution that cannot leave the directory it starts from.
 *
 * Does: walk a path from a directory inode, following symlinks as asked. Does not: change anything.
 *
 * W1  `..` goes back along the way that was walked, and never above the start: EPERM.
 * W2  Absolute paths and absolute symlinks are refused: EPERM.
 * W3  At most 40 symlinks: ELOOP.
 */
import { check, fail } from './errno.js';
import type { DirInode, Inode, Inodes } from './inodes.js';
import { NAME_BYTES_MAX, PATH_BYTES_MAX, utf8Bytes } from './names.js';

const SYMLINKS_MAX = 40;

/** Where a path leads: an entry of a directory, which may not exist (yet). */
export interface Place {
  readonly dir: DirInode;
  /** `.` when the path names `dir` itself. */
  readonly name: string;
  readonly inode: Inode | undefined;
  /** The path ended in `/`: it can only name a directory. */
  readonly slash: boolean;
}

/** Resolves a path. A missing last part is not an error; anything else that is missing is ENOENT. */
export function resolvePath(inodes: Inodes, start: DirInode, path: string, follow: boolean): Place {
  checkPath(path);
  check(path !== '', 'noent');
  check(!path.startsWith('/'), 'perm');
  const stack = [start];
  const rest = parts(path).reverse();
  let slash = path.endsWith('/');
  let symlinks = 0;
  while (rest.length > 0) {
    const name = rest.pop()!;
    const dir = stack.at(-1)!;
    if (name === '.') continue;
    if (name === '..') {
      check(stack.length > 1, 'perm');
      stack.pop();
      continue;
    }
    check(utf8Bytes(name) <= NAME_BYTES_MAX, 'nametoolong');
    const last = rest.length === 0;
    const entry = dir.entries.get(name);
    if (entry === undefined) {
      check(last, 'noent');
      return { dir, name, inode: undefined, slash };
    }
    const inode = inodes.get(entry.ino);
    if (inode.kind === 'symlink' && (!last || follow || slash)) {
      symlinks += 1;
      check(symlinks <= SYMLINKS_MAX, 'loop');
      check(inode.target !== '', 'noent');
      check(!inode.target.startsWith('/'), 'perm');
      if (last && inode.target.endsWith('/')) slash = true;
      rest.push(...parts(inode.target).reverse());
    } else if (last) {
      if (slash) check(inode.kind === 'dir', 'notdir');
      return { dir, name, inode, slash };
    } else {
      if (inode.kind !== 'dir') fail('notdir');
      stack.push(inode);
    }
  }
  const dir = stack.at(-1)!;
  return { dir, name: '.', inode: dir, slash };
}

/** ENAMETOOLONG, or EINVAL for a NUL. */
export function checkPath(path: string): void {
  check(!path.includes('\0'), 'inval');
  check(utf8Bytes(path) <= PATH_BYTES_MAX, 'nametoolong');
}

/** The inode, or ENOENT. */
export function demandInode(place: Place): Inode {
  return place.inode ?? fail('noent');
}

function parts(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}
