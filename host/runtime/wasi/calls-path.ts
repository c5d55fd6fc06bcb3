/**
 * WASI calls on paths.
 *
 * Does: path_*. Does not: leave a preopened directory (paths.ts), or write to a read-only one (EROFS).
 *
 * H1  Rename and link stay within one preopened tree: EXDEV otherwise.
 * H2  Absolute symlink targets cannot be made (EPERM): they would lead out of the directory once written back.
 */
import {
  DIR_RIGHTS,
  encodeUtf8,
  FDFLAGS,
  FILE_RIGHTS,
  LOOKUP_FOLLOW,
  OFLAGS,
  RIGHTS,
} from './abi.js';
import { setTimes, writeFilestat } from './calls-fd.js';
import type { CallArgs, CallContext, CallTable, WasiCall } from './context.js';
import { check, fail } from './errno.js';
import type { Inode } from './inodes.js';
import { checkPath, demandInode, type Place, resolvePath } from './paths.js';

interface PathArgs {
  readonly fd: number;
  readonly right: bigint;
  /** Index of the path's pointer argument; its length follows. */
  readonly path: number;
  readonly follow: boolean;
}

/** Resolves the path of a call from its directory descriptor. */
function resolve(context: CallContext, args: CallArgs, how: PathArgs): Place {
  const { memory, inodes } = context;
  const descriptor = context.descriptors.get(args.u32(how.fd));
  if (descriptor.kind !== 'dir') fail('notdir');
  check((descriptor.rights & how.right) === how.right, 'notcapable');
  const path = memory.text(args.u32(how.path), args.u32(how.path + 1));
  return resolvePath(inodes, inodes.dir(descriptor.ino), path, how.follow);
}

/** A place where something new can be made. */
function demandFree(context: CallContext, place: Place, height: number): void {
  check(place.inode === undefined, 'exist');
  context.inodes.demandRoom(place.dir, height);
}

const pathCreateDirectory: WasiCall = (context, args) => {
  const right = RIGHTS.pathCreateDirectory;
  const place = resolve(context, args, { fd: 0, right, path: 1, follow: false });
  demandFree(context, place, 1);
  context.inodes.link(place.dir, place.name, context.inodes.createDir(place.dir.tree));
};

const pathFilestatGet: WasiCall = (context, args) => {
  const follow = (args.u32(1) & LOOKUP_FOLLOW) !== 0;
  const right = RIGHTS.pathFilestatGet;
  const place = resolve(context, args, { fd: 0, right, path: 2, follow });
  writeFilestat(context.memory, args.u32(4), demandInode(place));
};

const pathFilestatSetTimes: WasiCall = (context, args) => {
  const follow = (args.u32(1) & LOOKUP_FOLLOW) !== 0;
  const right = RIGHTS.pathFilestatSetTimes;
  const place = resolve(context, args, { fd: 0, right, path: 2, follow });
  setTimes(context, demandInode(place), args.u64(4), args.u64(5), args.u32(6));
};

const pathLink: WasiCall = (context, args) => {
  const follow = (args.u32(1) & LOOKUP_FOLLOW) !== 0;
  const from = { fd: 0, right: RIGHTS.pathLinkSource, path: 2, follow };
  const source = resolve(context, args, from);
  const inode = demandInode(source);
  const to = { fd: 4, right: RIGHTS.pathLinkTarget, path: 5, follow: false };
  const target = resolve(context, args, to);
  context.inodes.demandLinkable(inode);
  check(target.inode === undefined, 'exist');
  check(!target.slash, 'noent');
  check(source.dir.tree === target.dir.tree, 'xdev');
  context.inodes.demandRoom(target.dir, 0);
  context.inodes.link(target.dir, target.name, inode);
};

interface OpenArgs {
  readonly oflags: number;
  readonly rights: bigint;
  readonly fdflags: number;
  readonly follow: boolean;
}

/** Checks an open of what exists; returns true when it is to be emptied. */
function checkOpen(context: CallContext, inode: Inode, open: OpenArgs): boolean {
  const has = (flag: number): boolean => (open.oflags & flag) !== 0;
  const writes = (open.rights & RIGHTS.fdWrite) !== 0n;
  check(!(has(OFLAGS.creat) && has(OFLAGS.excl)), 'exist');
  if (inode.kind === 'symlink') fail(has(OFLAGS.directory) ? 'notdir' : 'loop');
  if (inode.kind === 'file') {
    check(!has(OFLAGS.directory), 'notdir');
    if (writes || has(OFLAGS.trunc)) context.inodes.demandWritable(inode);
    return has(OFLAGS.trunc) && inode.content.bytes > 0;
  }
  const asFile = has(OFLAGS.creat) || has(OFLAGS.trunc) || (writes && !has(OFLAGS.directory));
  check(!asFile, 'isdir');
  return false;
}

const pathOpen: WasiCall = (context, args) => {
  const { inodes, descriptors, memory } = context;
  const oflags = args.u32(4);
  const fdflags = args.u32(7);
  const has = (flag: number): boolean => (oflags & flag) !== 0;
  check((oflags & ~15) === 0 && (fdflags & ~31) === 0, 'inval');
  check(!(has(OFLAGS.directory) && has(OFLAGS.creat)), 'inval');
  const parent = descriptors.get(args.u32(0));
  if (has(OFLAGS.creat)) check((parent.rights & RIGHTS.pathCreateFile) !== 0n, 'notcapable');
  if (has(OFLAGS.trunc)) check((parent.rights & RIGHTS.pathFilestatSetSize) !== 0n, 'notcapable');
  const exclusive = has(OFLAGS.creat) && has(OFLAGS.excl);
  const follow = (args.u32(1) & LOOKUP_FOLLOW) !== 0 && !exclusive;
  const place = resolve(context, args, { fd: 0, right: RIGHTS.pathOpen, path: 2, follow });
  memory.demand(args.u32(8), 4);
  descriptors.demandRoom();
  const rights = args.u64(5) & parent.inheriting;
  const inheriting = args.u64(6) & parent.inheriting;
  let inode = place.inode;
  if (inode === undefined) {
    check(has(OFLAGS.creat), 'noent');
    check(!place.slash, 'isdir');
    inodes.demandRoom(place.dir, 0);
    inode = inodes.createFile(place.dir.tree);
    inodes.link(place.dir, place.name, inode);
  } else if (checkOpen(context, inode, { oflags, rights, fdflags, follow })) {
    if (inode.kind === 'file') inodes.resize(inode, 0);
  }
  const kind = inode.kind === 'dir' ? 'dir' : 'file';
  const fd = descriptors.open({
    kind,
    ino: inode.ino,
    offset: 0,
    flags: kind === 'dir' ? fdflags & ~FDFLAGS.append : fdflags,
    rights: rights & (kind === 'dir' ? DIR_RIGHTS : FILE_RIGHTS),
    inheriting,
    preopen: -1,
  });
  memory.setU32(args.u32(8), fd);
};

const pathReadlink: WasiCall = (context, args) => {
  const { memory } = context;
  const right = RIGHTS.pathReadlink;
  const inode = demandInode(resolve(context, args, { fd: 0, right, path: 1, follow: false }));
  if (inode.kind !== 'symlink') fail('inval');
  const target = encodeUtf8(inode.target);
  const length = Math.min(target.length, args.u32(4));
  memory.demand(args.u32(5), 4);
  memory.slice(args.u32(3), args.u32(4)).set(target.subarray(0, length));
  memory.setU32(args.u32(5), length);
};

const pathRemoveDirectory: WasiCall = (context, args) => {
  const right = RIGHTS.pathRemoveDirectory;
  const place = resolve(context, args, { fd: 0, right, path: 1, follow: false });
  const inode = demandInode(place);
  if (inode.kind !== 'dir') fail('notdir');
  check(place.name !== '.', 'inval');
  context.inodes.demandWritable(inode);
  check(inode.entries.size === 0, 'notempty');
  context.inodes.unlink(place.dir, place.name);
};

const pathUnlinkFile: WasiCall = (context, args) => {
  const right = RIGHTS.pathUnlinkFile;
  const place = resolve(context, args, { fd: 0, right, path: 1, follow: false });
  const inode = demandInode(place);
  check(inode.kind !== 'dir', 'isdir');
  context.inodes.demandWritable(inode);
  context.inodes.unlink(place.dir, place.name);
};

const pathRename: WasiCall = (context, args) => {
  const { inodes } = context;
  const from = { fd: 0, right: RIGHTS.pathRenameSource, path: 1, follow: false };
  const source = resolve(context, args, from);
  const inode = demandInode(source);
  const to = { fd: 3, right: RIGHTS.pathRenameTarget, path: 4, follow: false };
  const target = resolve(context, args, to);
  check(source.name !== '.' && target.name !== '.', 'busy');
  check(source.dir.tree === target.dir.tree, 'xdev');
  inodes.demandWritable(inode);
  if (target.slash) check(inode.kind === 'dir', 'notdir');
  const moved = source.dir !== target.dir;
  inodes.demandRoom(target.dir, moved ? inodes.height(inode) : 0);
  check(inode.kind !== 'dir' || !inodes.isWithin(target.dir, inode), 'inval');
  if (target.inode === inode) return;
  if (target.inode !== undefined) checkReplace(inode, target.inode);
  inodes.rename(source.dir, source.name, target.dir, target.name);
};

/** What a rename may replace: a file by a file, an empty directory by a directory. */
function checkReplace(inode: Inode, replaced: Inode): void {
  if (inode.kind === 'dir') {
    if (replaced.kind !== 'dir') fail('notdir');
    check(replaced.entries.size === 0, 'notempty');
  } else check(replaced.kind !== 'dir', 'isdir');
}

const pathSymlink: WasiCall = (context, args) => {
  const target = context.memory.text(args.u32(0), args.u32(1));
  const right = RIGHTS.pathSymlink;
  const place = resolve(context, args, { fd: 2, right, path: 3, follow: false });
  check(target !== '', 'noent');
  checkPath(target);
  check(!target.startsWith('/'), 'perm');
  check(place.inode === undefined, 'exist');
  check(!place.slash, 'noent');
  demandFree(context, place, 0);
  const inode = context.inodes.createSymlink(place.dir.tree, target);
  context.inodes.link(place.dir, place.name, inode);
};

export const PATH_CALLS: CallTable = {
  path_create_directory: ['iii:i', pathCreateDirectory],
  path_filestat_get: ['iiiii:i', pathFilestatGet],
  path_filestat_set_times: ['iiiiIIi:i', pathFilestatSetTimes],
  path_link: ['iiiiiii:i', pathLink],
  path_open: ['iiiiiIIii:i', pathOpen],
  path_readlink: ['iiiiii:i', pathReadlink],
  path_remove_directory: ['iii:i', pathRemoveDirectory],
  path_rename: ['iiiiii:i', pathRename],
  path_symlink: ['iiiii:i', pathSymlink],
  path_unlink_file: ['iii:i', pathUnlinkFile],
};
