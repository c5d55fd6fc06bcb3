/**
 * What has to happen on the host so that a directory becomes the program's: the plan of a write-back.
 *
 * Does: compare the submitted tree with the final one. Does not: touch the disk.
 *
 * Order of operations: deletions (deepest first), directories (outermost first), files and symlinks.
 *
 * P1  Only what differs from the submitted tree is in the plan. Modification times alone are no difference.
 * P2  Each operation says what the host must still have (`expect`) for it to be done in place.
 * P3  Every path is made of names that lie within the directory.
 */
import { createHash } from 'node:crypto';
import { WRITE_BACK_NAME } from '../node/directories.js';
import { isName } from '../runtime/wasi/names.js';
import { invariant } from '../types/errors.js';
import type { ChunkRef, DirectoryNode, FileNode, SymlinkNode, TreeNode } from '../types/host.js';

/** What something is, comparable: `absent`, `dir`, `other`, `symlink TARGET` or `file HASH`. */
export type Identity = string;
export const ABSENT: Identity = 'absent';

export type Operation =
  | {
      readonly op: 'delete' | 'put';
      readonly path: readonly string[];
      readonly expect: Identity;
      readonly ours: Identity;
      readonly staged: number;
      readonly executable: boolean;
    }
  | { readonly op: 'rmdir' | 'mkdir'; readonly path: readonly string[] };

export interface Plan {
  readonly operations: readonly Operation[];
  /** What `put` operations write, by their `staged` number. */
  readonly contents: readonly (FileNode | SymlinkNode)[];
  /** Paths that cannot be written because the name is reserved. */
  readonly reserved: readonly string[];
}

/** Identity of a file's content. */
export function fileIdentity(chunks: readonly ChunkRef[]): Identity {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(`${chunk.hash} ${chunk.bytes}\n`);
  return `file ${hash.digest('hex')}`;
}

export function identityOf(node: TreeNode | undefined): Identity {
  if (node === undefined) return ABSENT;
  if (node.kind === 'dir') return 'dir';
  return node.kind === 'file' ? fileIdentity(node.chunks) : `symlink ${node.target}`;
}

/** Compares the trees. */
export function planWriteBack(submitted: DirectoryNode, final: DirectoryNode): Plan {
  const planner = new Planner();
  planner.directories(submitted, final, []);
  return {
    operations: [...planner.deletions, ...planner.directoriesMade, ...planner.puts],
    contents: planner.contents,
    reserved: planner.reserved,
  };
}

class Planner {
  readonly deletions: Operation[] = [];
  readonly directoriesMade: Operation[] = [];
  readonly puts: Operation[] = [];
  readonly contents: (FileNode | SymlinkNode)[] = [];
  readonly reserved: string[] = [];

  directories(
    before: DirectoryNode | undefined,
    after: DirectoryNode | undefined,
    path: readonly string[],
  ): void {
    const old = new Map(before?.entries ?? []);
    const now = new Map(after?.entries ?? []);
    for (const name of new Set([...old.keys(), ...now.keys()])) {
      invariant(isName(name), 'trees have valid names');
      const place = [...path, name];
      const reserved = path.length === 0 && name.startsWith(WRITE_BACK_NAME);
      if (reserved && now.has(name)) this.reserved.push(name);
      if (!reserved) this.entry(old.get(name), now.get(name), place);
    }
  }

  entry(before: TreeNode | undefined, after: TreeNode | undefined, path: readonly string[]): void {
    if (after?.kind === 'dir') {
      if (before !== undefined && before.kind !== 'dir') this.remove(before, path, 'dir');
      if (before?.kind !== 'dir') this.directoriesMade.push({ op: 'mkdir', path });
      this.directories(before?.kind === 'dir' ? before : undefined, after, path);
      return;
    }
    if (before?.kind === 'dir') {
      this.directories(before, undefined, path);
      this.deletions.push({ op: 'rmdir', path });
      if (after !== undefined) this.put(undefined, after, path);
    } else if (after === undefined) {
      if (before !== undefined) this.remove(before, path, ABSENT);
    } else if (identityOf(before) !== identityOf(after)) this.put(before, after, path);
  }

  put(before: TreeNode | undefined, after: FileNode | SymlinkNode, path: readonly string[]): void {
    const staged = this.contents.length;
    this.contents.push(after);
    const executable = after.kind === 'file' && after.executable;
    const states = { expect: identityOf(before), ours: identityOf(after) };
    this.puts.push({ op: 'put', path, ...states, staged, executable });
  }

  remove(before: TreeNode, path: readonly string[], ours: Identity): void {
    const states = { expect: identityOf(before), ours };
    this.deletions.push({ op: 'delete', path, ...states, staged: -1, executable: false });
  }
}
