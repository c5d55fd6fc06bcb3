/**
 * The file system as plain data, relative to the submitted trees: only what the guest changed.
 *
 * Does: take the changed inodes down and put them back. Does not: hold open descriptors (descriptors.ts).
 *
 *   state  = { next: next inode number, inodes: [inode, …] }                       ascending by number
 *   inode  = [ino, kind, tree, times, body]      kind 0 dir, 1 file, 2 symlink;    tree only for created ones
 *   times  = [modified] or [modified, accessed, changed]
 *   body   = dir: [next sequence, [removed name, …], [name, ino, sequence, …]]     relative to the submitted one
 *          | file: content.ts | symlink: target
 *
 * T1  Inodes that are gone are not listed: the names that led to them are.
 * T2  Restoring checks everything: names, numbers, one parent for each directory, no loop, no entry across trees.
 */
import type { Hash } from '../../types/platform.js';
import type { Plain } from '../../types/state.js';
import {
  DEPTH_MAX,
  type DirInode,
  type Entry,
  type Inode,
  type Inodes,
  WRITTEN_BYTES_MAX,
} from './inodes.js';
import { isName } from './names.js';
import { asCount, asFields, asList, asText, asU64, damaged } from './plain.js';

/** Of inodes and directory sequences: what is counted on from it stays exact. */
const NUMBER_MAX = 2 ** 48;
const KIND = { dir: 0, file: 1, symlink: 2 } as const;

/** Call `nameChunks` first. */
export function snapshotInodes(inodes: Inodes): Plain {
  const numbers = [...inodes.changed].sort((a, b) => a - b);
  return { next: inodes.nextIno, inodes: numbers.map((ino) => packInode(inodes.get(ino))) };
}

function packInode(inode: Inode): Plain {
  const { modifiedNs, accessedNs, changedNs } = inode;
  const same = modifiedNs === accessedNs && modifiedNs === changedNs;
  const times = same ? [modifiedNs] : [modifiedNs, accessedNs, changedNs];
  const tree = inode.origin === undefined ? inode.tree : null;
  return [inode.ino, KIND[inode.kind], tree, times, packBody(inode)];
}

function packBody(inode: Inode): Plain {
  if (inode.kind === 'symlink') return inode.target;
  if (inode.kind === 'file') return inode.content.snapshot();
  const set: Plain[] = [];
  if (inode.origin !== undefined && inode.before === undefined) return [inode.nextSeq, [], set];
  const before: ReadonlyMap<string, Entry> = inode.before ?? new Map();
  const removed = [...before.keys()].filter((name) => !inode.entries.has(name));
  for (const [name, entry] of inode.entries) {
    const old = before.get(name);
    if (old?.ino !== entry.ino || old.seq !== entry.seq) set.push(name, entry.ino, entry.seq);
  }
  return [inode.nextSeq, removed, set];
}

/**
 * Puts the state back into inodes fresh from the submitted trees.
 * @param open inodes that a descriptor holds, whether they have a name or not
 */
export function restoreInodes(inodes: Inodes, data: Plain, open: ReadonlySet<number>): void {
  const state = asFields(data, 'files');
  const next = asCount(state.next, 'next inode', NUMBER_MAX);
  if (next < inodes.nextIno) throw damaged('next inode');
  const rows = asList(state.inodes, 'inodes');
  const bodies: [Inode, Plain | undefined][] = [];
  for (const row of rows) bodies.push(restoreInode(inodes, row, next));
  inodes.nextIno = next;
  let grown = 0;
  for (const [inode, body] of bodies) {
    if (inode.kind === 'file') {
      inode.content.restore(body);
      // Each chunk of a file is an object here, and a run of equal ones is a few bytes in a capsule.
      grown += Math.max(0, inode.content.bytes - (inode.origin?.bytes ?? 0));
      if (grown > WRITTEN_BYTES_MAX) throw damaged('more written than a program can');
    }
    if (inode.kind === 'dir') restoreEntries(inodes, inode, body);
  }
  inodes.settle(reachable(inodes, open));
}

function restoreInode(inodes: Inodes, row: Plain, next: number): [Inode, Plain | undefined] {
  const [number, kind, tree, times, body] = asList(row, 'inode', 5);
  const ino = asCount(number, 'inode number', next - 1);
  if (ino === 0 || inodes.changed.has(ino)) throw damaged('inode number');
  let inode = inodes.all.get(ino);
  if (inode === undefined) {
    if (ino <= inodes.submitted) throw damaged('inode number');
    inodes.nextIno = ino;
    inode = createInode(inodes, kind, asCount(tree, 'tree', inodes.trees.length - 1), body);
  }
  if (KIND[inode.kind] !== kind) throw damaged('inode kind');
  if (inode.origin !== undefined && tree !== null) throw damaged('inode tree');
  const list = asList(times, 'times');
  if (list.length !== 1 && list.length !== 3) throw damaged('times');
  inode.modifiedNs = asU64(list[0], 'time');
  inode.accessedNs = list.length === 1 ? inode.modifiedNs : asU64(list[1], 'time');
  inode.changedNs = list.length === 1 ? inode.modifiedNs : asU64(list[2], 'time');
  inodes.changed.add(ino);
  return [inode, body];
}

function createInode(inodes: Inodes, kind: Plain | undefined, tree: number, body?: Plain): Inode {
  if (kind === KIND.dir) return inodes.createDir(tree);
  if (kind === KIND.file) return inodes.createFile(tree);
  if (kind === KIND.symlink) return inodes.createSymlink(tree, asText(body, 'symlink'));
  throw damaged('inode kind');
}

function restoreEntries(inodes: Inodes, dir: DirInode, data: Plain | undefined): void {
  const [nextSeq, removed, set] = asList(data, 'directory', 3);
  dir.nextSeq = asCount(nextSeq, 'directory sequence', NUMBER_MAX);
  const entries = new Map(dir.entries);
  for (const name of asList(removed, 'removed names')) {
    if (!entries.delete(asText(name, 'removed name'))) throw damaged('removed name');
  }
  const flat = asList(set, 'entries');
  inodes.remember(dir);
  if (flat.length % 3 !== 0) throw damaged('entries');
  for (let at = 0; at < flat.length; at += 3) {
    const name = asText(flat[at], 'entry name');
    if (!isName(name)) throw damaged('entry name');
    const ino = asCount(flat[at + 1], 'entry inode');
    const seq = asCount(flat[at + 2], 'entry sequence', dir.nextSeq - 1);
    const inode = inodes.all.get(ino);
    if (inode === undefined || inode.tree !== dir.tree) throw damaged('entry inode');
    entries.set(name, { ino, seq });
  }
  const sorted = [...entries].sort((a, b) => a[1].seq - b[1].seq);
  dir.entries.clear();
  let last = -1;
  for (const [name, entry] of sorted) {
    if (entry.seq <= last) throw damaged('entry sequence');
    last = entry.seq;
    dir.entries.set(name, entry);
  }
}

/** What has a name or is open. Every directory has one name at most, and roots have none. */
function reachable(inodes: Inodes, open: ReadonlySet<number>): Set<number> {
  const seen = new Set<number>();
  const walk = (dir: DirInode, depth: number): void => {
    if (seen.has(dir.ino) || depth > DEPTH_MAX + 1) throw damaged('directories form a loop');
    seen.add(dir.ino);
    for (const { ino } of dir.entries.values()) {
      const inode = inodes.get(ino);
      if (inode.kind === 'dir') walk(inode, depth + 1);
      else seen.add(ino);
    }
  };
  for (const root of inodes.roots) walk(root, 0);
  for (const ino of open) {
    const inode = inodes.all.get(ino);
    if (inode === undefined) throw damaged('an open file is missing');
    const full = inode.kind === 'dir' && inode.entries.size > 0 && !seen.has(ino);
    if (full) throw damaged('a removed directory is not empty');
    seen.add(ino);
  }
  return seen;
}

/** Every hash that the files name now. Call `nameChunks` first. */
export function inodeHashes(inodes: Inodes, target: Set<Hash>): void {
  for (const inode of inodes.all.values()) {
    if (inode.kind !== 'file') continue;
    const refs = inodes.changed.has(inode.ino) ? inode.content.refs() : inode.origin?.chunks;
    for (const ref of refs ?? []) target.add(ref.hash);
  }
}
