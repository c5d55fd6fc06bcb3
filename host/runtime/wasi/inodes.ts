/**
 * The in-memory file system below paths: inodes and directory entries, copy-on-write over the submitted trees.
 *
 * Does: hold inodes, link and unlink them, stamp changes, give the final trees.
 * Does not: resolve paths (paths.ts), know descriptors, or encode itself (tree-state.ts).
 *
 * I1  Inode numbers are deterministic: the submitted trees in pre-order from 1, then one more for each creation.
 * I2  A directory entry keeps its sequence number for life; new ones are larger. It is the readdir cookie, so
 *     iteration survives any change of the directory. Map order = sequence order.
 * I3  An inode exists while it has a name or an open descriptor.
 * I4  Trees do not share inodes: no entry leads from one preopen to another.
 * I5  `changed` holds exactly the inodes that differ, or have differed, from the submitted trees.
 */
import { invariant } from '../../types/errors.js';
import type {
  DirectoryNode,
  DirectoryTree,
  FileNode,
  SymlinkNode,
  TreeNode,
} from '../../types/host.js';
import type { GuestClock } from './clock.js';
import { type ChunkStore, FILE_BYTES_MAX, FileContent } from './content.js';
import { check, fail } from './errno.js';
import { compareUtf8 } from './order.js';

/** Deepest nesting of directories below a preopen. */
export const DEPTH_MAX = 900;
const LINKS_MAX = 32_000;
/** Bytes of all files that the guest has written to, together. */
export const WRITTEN_BYTES_MAX = 16 * 1024 ** 3;

interface InodeBase {
  readonly ino: number;
  /** Which preopened tree it belongs to. */
  readonly tree: number;
  /** Number of directory entries that name it (a root counts one). */
  links: number;
  /** Number of open descriptors. */
  opens: number;
  modifiedNs: bigint;
  accessedNs: bigint;
  changedNs: bigint;
}

export interface Entry {
  readonly ino: number;
  readonly seq: number;
}

export interface DirInode extends InodeBase {
  readonly kind: 'dir';
  readonly origin: DirectoryNode | undefined;
  readonly entries: Map<string, Entry>;
  /** The entries of a submitted directory before their first change; undefined = not changed. */
  before: ReadonlyMap<string, Entry> | undefined;
  nextSeq: number;
  parent: number;
}

export interface FileInode extends InodeBase {
  readonly kind: 'file';
  readonly origin: FileNode | undefined;
  readonly content: FileContent;
}

export interface SymlinkInode extends InodeBase {
  readonly kind: 'symlink';
  readonly origin: SymlinkNode | undefined;
  readonly target: string;
}

export type Inode = DirInode | FileInode | SymlinkInode;

export class Inodes {
  readonly all = new Map<number, Inode>();
  readonly roots: DirInode[] = [];
  readonly changed = new Set<number>();
  nextIno = 1;
  /** The directory that was listed last, so that reading on is cheap. */
  #listed: { dir: DirInode; entries: (readonly [string, Entry])[] } | undefined;
  /** Bytes of all files in `changed`. */
  #writtenBytes = 0;
  /** Number of inodes that the submitted trees have. */
  readonly submitted: number;

  constructor(
    readonly trees: readonly DirectoryTree[],
    readonly store: ChunkStore,
    readonly clock: GuestClock,
  ) {
    for (const [index, tree] of trees.entries()) {
      const root = this.#plant(tree.root, index, 0);
      invariant(root.kind === 'dir', 'a root is a directory');
      root.parent = root.ino;
      this.roots.push(root);
    }
    this.submitted = this.nextIno - 1;
  }

  get(ino: number): Inode {
    const inode = this.all.get(ino);
    invariant(inode !== undefined, `inode ${ino} exists`);
    return inode;
  }

  dir(ino: number): DirInode {
    const inode = this.get(ino);
    invariant(inode.kind === 'dir', `inode ${ino} is a directory`);
    return inode;
  }

  file(ino: number): FileInode {
    const inode = this.get(ino);
    invariant(inode.kind === 'file', `inode ${ino} is a file`);
    return inode;
  }

  /** EROFS when the inode's tree cannot be written. */
  demandWritable(inode: Inode): void {
    check(this.trees[inode.tree]?.readOnly === false, 'rofs');
  }

  /** Makes an inode without a name. */
  createDir(tree: number): DirInode {
    const inode: DirInode = {
      ...this.#fresh(tree),
      kind: 'dir',
      origin: undefined,
      entries: new Map(),
      before: undefined,
      nextSeq: 0,
      parent: 0,
    };
    return this.#add(inode);
  }

  createFile(tree: number): FileInode {
    const content = new FileContent(this.store, undefined);
    return this.#add({ ...this.#fresh(tree), kind: 'file', origin: undefined, content });
  }

  createSymlink(tree: number, target: string): SymlinkInode {
    return this.#add({ ...this.#fresh(tree), kind: 'symlink', origin: undefined, target });
  }

  /** Checks that a new entry can be made in this directory, at this depth below it. */
  demandRoom(dir: DirInode, height: number): void {
    this.demandWritable(dir);
    check(dir.links > 0, 'noent');
    if (height > 0) check(this.#depth(dir) + height <= DEPTH_MAX, 'nametoolong');
  }

  /** Names an inode. An entry of that name is replaced in its place. */
  link(dir: DirInode, name: string, inode: Inode): void {
    this.remember(dir);
    const old = dir.entries.get(name);
    const seq = old?.seq ?? dir.nextSeq++;
    inode.links += 1;
    dir.entries.set(name, { ino: inode.ino, seq });
    if (inode.kind === 'dir') inode.parent = dir.ino;
    if (old !== undefined) this.#unname(this.get(old.ino));
    this.#touchDir(dir);
    this.touch(inode, false);
  }

  /** Keeps the entries that a submitted directory had, before their first change. */
  remember(dir: DirInode): void {
    if (dir.origin !== undefined) dir.before ??= new Map(dir.entries);
  }

  demandLinkable(inode: Inode): void {
    check(inode.kind !== 'dir', 'perm');
    check(inode.links < LINKS_MAX, 'mlink');
  }

  unlink(dir: DirInode, name: string): void {
    const entry = dir.entries.get(name);
    invariant(entry !== undefined, 'the entry exists');
    this.remember(dir);
    dir.entries.delete(name);
    this.#touchDir(dir);
    this.#unname(this.get(entry.ino));
  }

  /** Moves an entry; what the new name held goes. Both directories are in one tree. */
  rename(source: DirInode, oldName: string, target: DirInode, newName: string): void {
    const inode = this.get(source.entries.get(oldName)?.ino ?? 0);
    this.link(target, newName, inode);
    const entry = source.entries.get(oldName);
    invariant(entry?.ino === inode.ino, 'the old name is still there');
    this.remember(source);
    source.entries.delete(oldName);
    inode.links -= 1;
    this.#touchDir(source);
  }

  /** Entries whose sequence number is `seq` or more, in order. */
  entriesFrom(dir: DirInode, seq: number): readonly (readonly [string, Entry])[] {
    if (this.#listed?.dir !== dir) this.#listed = { dir, entries: [...dir.entries] };
    const { entries } = this.#listed;
    let low = 0;
    for (let high = entries.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (entries[middle]![1].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? entries : entries.slice(low);
  }

  opened(inode: Inode): void {
    inode.opens += 1;
  }

  closed(inode: Inode): void {
    invariant(inode.opens > 0, 'only what is open is closed');
    inode.opens -= 1;
    this.#dropIfUnused(inode);
  }

  /** Marks a change: of the content (`modified`), or of the inode alone. */
  touch(inode: Inode, modified: boolean): void {
    const stamp = this.clock.stamp();
    if (modified) inode.modifiedNs = stamp;
    inode.changedNs = stamp;
    this.#mark(inode);
  }

  setTimes(inode: Inode, accessedNs: bigint | undefined, modifiedNs: bigint | undefined): void {
    if (accessedNs !== undefined) inode.accessedNs = accessedNs;
    if (modifiedNs !== undefined) inode.modifiedNs = modifiedNs;
    this.touch(inode, false);
  }

  /** Writes to a file. Fails or waits before it changes anything. */
  write(file: FileInode, offset: number, bytes: Uint8Array): void {
    this.#demandSpace(file, offset + bytes.length);
    file.content.prepareWrite(offset, bytes.length);
    this.touch(file, true);
    const before = file.content.bytes;
    file.content.write(offset, bytes);
    this.#writtenBytes += file.content.bytes - before;
  }

  /** Cuts or grows a file. Fails or waits before it changes anything. */
  resize(file: FileInode, bytes: number): void {
    this.#demandSpace(file, bytes);
    file.content.prepareResize(bytes);
    this.touch(file, true);
    const before = file.content.bytes;
    file.content.resize(bytes);
    this.#writtenBytes += file.content.bytes - before;
  }

  /** EFBIG for too long a file, ENOSPC when the files that the guest has changed would grow beyond the limit. */
  #demandSpace(file: FileInode, bytes: number): void {
    check(bytes <= FILE_BYTES_MAX, 'fbig');
    const before = this.changed.has(file.ino) ? file.content.bytes : 0;
    const grown = Math.max(bytes, file.content.bytes) - before;
    check(this.#writtenBytes + grown <= WRITTEN_BYTES_MAX, 'nospc');
  }

  /** True when `dir` is `ancestor` or lies below it. */
  isWithin(dir: DirInode, ancestor: Inode): boolean {
    let at = dir;
    for (let depth = 0; depth <= DEPTH_MAX; depth++) {
      if (at.ino === ancestor.ino) return true;
      if (at.parent === at.ino || at.parent === 0) return false;
      at = this.dir(at.parent);
    }
    return false;
  }

  /** Levels of directories from this one down, itself included; 0 for anything else. */
  height(inode: Inode): number {
    if (inode.kind !== 'dir') return 0;
    let below = 0;
    for (const entry of inode.entries.values()) {
      below = Math.max(below, this.height(this.get(entry.ino)));
    }
    return below + 1;
  }

  /** Gives the chunks of all written files their hashes. */
  nameChunks(): void {
    for (const file of this.changedFiles()) file.content.nameChunks();
  }

  *changedFiles(): Iterable<FileInode> {
    for (const ino of this.changed) {
      const inode = this.all.get(ino);
      if (inode?.kind === 'file') yield inode;
    }
  }

  /** The trees as they are now. Call `nameChunks` first. */
  finalTrees(): DirectoryTree[] {
    return this.trees.map((tree, index) => ({
      guestPath: tree.guestPath,
      readOnly: tree.readOnly,
      root: tree.readOnly ? tree.root : (this.#node(this.roots[index]!) as DirectoryNode),
    }));
  }

  /** After a restore: keeps only these inodes; counts names and bytes, sets parents. */
  settle(kept: ReadonlySet<number>): void {
    for (const inode of [...this.all.values()]) {
      inode.links = 0;
      if (kept.has(inode.ino)) continue;
      this.all.delete(inode.ino);
      this.changed.delete(inode.ino);
    }
    for (const root of this.roots) root.links = 1;
    for (const dir of this.all.values()) {
      if (dir.kind !== 'dir') continue;
      for (const entry of dir.entries.values()) {
        const inode = this.get(entry.ino);
        inode.links += 1;
        if (inode.kind === 'dir') inode.parent = dir.ino;
      }
    }
    this.#writtenBytes = 0;
    for (const file of this.changedFiles()) this.#writtenBytes += file.content.bytes;
  }

  #node(inode: Inode): TreeNode {
    const mtimeNs = inode.modifiedNs;
    switch (inode.kind) {
      case 'symlink':
        return { kind: 'symlink', mtimeNs, target: inode.target };
      case 'file': {
        if (!this.changed.has(inode.ino) && inode.origin !== undefined) return inode.origin;
        const executable = inode.origin?.executable ?? false;
        const { bytes } = inode.content;
        return { kind: 'file', mtimeNs, bytes, chunks: inode.content.refs(), executable };
      }
      case 'dir': {
        const names = [...inode.entries.keys()].sort(compareUtf8);
        const entries = names.map((name) => {
          return [name, this.#node(this.get(inode.entries.get(name)!.ino))] as const;
        });
        return { kind: 'dir', mtimeNs, entries };
      }
    }
  }

  #plant(node: TreeNode, tree: number, parent: number): Inode {
    const base = {
      ino: this.nextIno++,
      tree,
      links: 1,
      opens: 0,
      modifiedNs: node.mtimeNs,
      accessedNs: node.mtimeNs,
      changedNs: node.mtimeNs,
    };
    let inode: Inode;
    if (node.kind === 'file') {
      inode = { ...base, kind: 'file', origin: node, content: new FileContent(this.store, node) };
    } else if (node.kind === 'symlink') {
      inode = { ...base, kind: 'symlink', origin: node, target: node.target };
    } else {
      const entries = new Map<string, Entry>();
      const nextSeq = node.entries.length;
      inode = { ...base, kind: 'dir', origin: node, entries, before: undefined, nextSeq, parent };
      for (const [seq, [name, child]] of node.entries.entries()) {
        entries.set(name, { ino: this.#plant(child, tree, inode.ino).ino, seq });
      }
    }
    this.all.set(inode.ino, inode);
    return inode;
  }

  #fresh(tree: number): InodeBase {
    const stamp = this.clock.stamp();
    return {
      ino: this.nextIno++,
      tree,
      links: 0,
      opens: 0,
      modifiedNs: stamp,
      accessedNs: stamp,
      changedNs: stamp,
    };
  }

  #add<T extends Inode>(inode: T): T {
    this.all.set(inode.ino, inode);
    this.#mark(inode);
    return inode;
  }

  #mark(inode: Inode): void {
    if (this.changed.has(inode.ino)) return;
    this.changed.add(inode.ino);
    if (inode.kind === 'file') this.#writtenBytes += inode.content.bytes;
  }

  #touchDir(dir: DirInode): void {
    this.#listed = undefined;
    this.touch(dir, true);
  }

  #unname(inode: Inode): void {
    invariant(inode.links > 0, 'a named inode has names');
    inode.links -= 1;
    if (inode.links > 0) this.touch(inode, false);
    this.#dropIfUnused(inode);
  }

  #dropIfUnused(inode: Inode): void {
    if (inode.links > 0 || inode.opens > 0) return;
    this.all.delete(inode.ino);
    if (!this.changed.delete(inode.ino)) return;
    if (inode.kind === 'file') this.#writtenBytes -= inode.content.bytes;
  }

  #depth(dir: DirInode): number {
    let depth = 0;
    for (let at = dir; at.parent !== at.ino; at = this.dir(at.parent)) {
      depth += 1;
      if (depth > DEPTH_MAX) fail('nametoolong');
    }
    return depth;
  }
}
