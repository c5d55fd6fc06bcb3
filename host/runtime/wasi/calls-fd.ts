/**
 * WASI calls on descriptors: reading, writing, seeking, status, directories.
 *
 * Does: fd_*. Does not: resolve paths (calls-path.ts).
 *
 * D1  Reads are never cut short by a missing blob: the call waits for it, so what the guest sees does not depend
 *     on caches.
 * D2  Access times are not kept up by reads (as with `noatime`).
 * D3  A write to standard output or error that finds too much of it waiting yields first, having done nothing; made again, it
 *     writes, whether that was taken away or not. So a quantum leaves little more output than one write.
 */
import {
  encodeUtf8,
  FDFLAGS,
  FILETYPE,
  FSTFLAGS,
  type GuestMemory,
  RIGHTS,
  type Span,
  spansBytes,
} from './abi.js';
import type { CallContext, CallTable, WasiCall } from './context.js';
import type { Descriptor } from './descriptors.js';
import { check, fail } from './errno.js';
import type { FileInode, Inode } from './inodes.js';

const OFFSET_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const DIRENT_BYTES = 24;
const FLAGS_ALL = FDFLAGS.append | FDFLAGS.dsync | FDFLAGS.nonblock | FDFLAGS.rsync | FDFLAGS.sync;

/** The descriptor, which must have the right: EBADF for data (as POSIX says), ENOTCAPABLE otherwise. */
function demand(context: CallContext, fd: number, right: bigint): Descriptor {
  const descriptor = context.descriptors.get(fd);
  const data = right === RIGHTS.fdRead || right === RIGHTS.fdWrite;
  if (descriptor.kind === 'dir' && data) fail('isdir');
  if ((descriptor.rights & right) !== right) fail(data ? 'badf' : 'notcapable');
  return descriptor;
}

/** A regular file's descriptor, or the errno that fits what it is instead. */
function demandFile(context: CallContext, fd: number, right: bigint): [Descriptor, FileInode] {
  const descriptor = context.descriptors.get(fd);
  if (descriptor.kind === 'dir') fail(right === RIGHTS.fdSeek ? 'badf' : 'isdir');
  if (descriptor.kind !== 'file') fail('spipe');
  demand(context, fd, right);
  return [descriptor, context.inodes.file(descriptor.ino)];
}

/** A file offset given by the guest. */
function offsetOf(value: bigint): number {
  check(value >= 0n, 'inval');
  check(value <= OFFSET_MAX, 'overflow');
  return Number(value);
}

function readSpans(
  memory: GuestMemory,
  spans: readonly Span[],
  read: (offset: number, target: Uint8Array) => number,
  offset: number,
): number {
  let total = 0;
  for (const { pointer, length } of spans) {
    const count = read(offset + total, memory.slice(pointer, length));
    total += count;
    if (count < length) break;
  }
  return total;
}

/** The bytes of a gather list: a view when there is one span, else a copy. */
function gather(memory: GuestMemory, spans: readonly Span[]): Uint8Array {
  const first = spans[0];
  if (first === undefined) return new Uint8Array(0);
  if (spans.length === 1) return memory.slice(first.pointer, first.length);
  const bytes = new Uint8Array(spansBytes(spans));
  let at = 0;
  for (const { pointer, length } of spans) {
    bytes.set(memory.slice(pointer, length), at);
    at += length;
  }
  return bytes;
}

const fdRead: WasiCall = (context, args) => {
  const { memory } = context;
  const descriptor = demand(context, args.u32(0), RIGHTS.fdRead);
  const spans = memory.spans(args.u32(1), args.u32(2));
  memory.demand(args.u32(3), 4);
  const content =
    descriptor.kind === 'stdin' ? context.stdin : context.inodes.file(descriptor.ino).content;
  content.prepareRead(descriptor.offset, spansBytes(spans));
  const count = readSpans(memory, spans, (at, to) => content.read(at, to), descriptor.offset);
  descriptor.offset += count;
  memory.setU32(args.u32(3), count);
};

const fdPread: WasiCall = (context, args) => {
  const { memory } = context;
  const [, inode] = demandFile(context, args.u32(0), RIGHTS.fdRead);
  const spans = memory.spans(args.u32(1), args.u32(2));
  const offset = offsetOf(args.s64(3));
  memory.demand(args.u32(4), 4);
  inode.content.prepareRead(offset, spansBytes(spans));
  const count = readSpans(memory, spans, (at, to) => inode.content.read(at, to), offset);
  memory.setU32(args.u32(4), count);
};

const fdWrite: WasiCall = (context, args) => {
  const { memory, output, control } = context;
  const descriptor = demand(context, args.u32(0), RIGHTS.fdWrite);
  const spans = memory.spans(args.u32(1), args.u32(2));
  memory.demand(args.u32(3), 4);
  const isOutput = descriptor.kind === 'stdout' || descriptor.kind === 'stderr';
  if (isOutput && control.resumed === undefined && !output.hasRoom(spansBytes(spans))) {
    control.suspend({ kind: 'yield' }); // D3
    return;
  }
  const bytes = gather(memory, spans);
  if (descriptor.kind === 'stdout' || descriptor.kind === 'stderr') {
    output.push(descriptor.kind, bytes);
  } else if (bytes.length > 0) {
    const inode = context.inodes.file(descriptor.ino);
    const append = (descriptor.flags & FDFLAGS.append) !== 0;
    const offset = append ? inode.content.bytes : descriptor.offset;
    context.inodes.write(inode, offset, bytes);
    descriptor.offset = offset + bytes.length;
  }
  memory.setU32(args.u32(3), bytes.length);
};

const fdPwrite: WasiCall = (context, args) => {
  const { memory } = context;
  const [, inode] = demandFile(context, args.u32(0), RIGHTS.fdWrite);
  const spans = memory.spans(args.u32(1), args.u32(2));
  const offset = offsetOf(args.s64(3));
  memory.demand(args.u32(4), 4);
  const bytes = gather(memory, spans);
  if (bytes.length > 0) context.inodes.write(inode, offset, bytes);
  memory.setU32(args.u32(4), bytes.length);
};

const fdSeek: WasiCall = (context, args) => {
  const [descriptor, inode] = demandFile(context, args.u32(0), RIGHTS.fdSeek);
  const whence = args.u32(2);
  check(whence <= 2, 'inval');
  context.memory.demand(args.u32(3), 8);
  const base = [0, descriptor.offset, inode.content.bytes][whence] ?? 0;
  const offset = offsetOf(BigInt(base) + args.s64(1));
  descriptor.offset = offset;
  context.memory.setU64(args.u32(3), BigInt(offset));
};

const fdTell: WasiCall = (context, args) => {
  const [descriptor] = demandFile(context, args.u32(0), RIGHTS.fdTell);
  context.memory.setU64(args.u32(1), BigInt(descriptor.offset));
};

const fdFdstatGet: WasiCall = ({ memory, descriptors }, args) => {
  const descriptor = descriptors.get(args.u32(0));
  const pointer = args.u32(1);
  memory.slice(pointer, 24).fill(0);
  memory.setU8(pointer, filetypeOf(descriptor.kind));
  memory.setU16(pointer + 2, descriptor.flags);
  memory.setU64(pointer + 8, descriptor.rights);
  memory.setU64(pointer + 16, descriptor.inheriting);
};

const fdFdstatSetFlags: WasiCall = (context, args) => {
  const descriptor = demand(context, args.u32(0), RIGHTS.fdFdstatSetFlags);
  const flags = args.u32(1);
  check((flags & ~FLAGS_ALL) === 0, 'inval');
  descriptor.flags = flags;
};

const fdFdstatSetRights: WasiCall = ({ descriptors }, args) => {
  const descriptor = descriptors.get(args.u32(0));
  const rights = args.u64(1);
  const inheriting = args.u64(2);
  check((rights & ~descriptor.rights) === 0n, 'notcapable');
  check((inheriting & ~descriptor.inheriting) === 0n, 'notcapable');
  descriptor.rights = rights;
  descriptor.inheriting = inheriting;
};

/** Writes a `filestat`. Without an inode: a stream. */
export function writeFilestat(memory: GuestMemory, pointer: number, inode?: Inode): void {
  memory.slice(pointer, 64).fill(0);
  if (inode === undefined) {
    memory.setU64(pointer + 24, 1n);
    return;
  }
  memory.setU64(pointer, BigInt(inode.tree + 1));
  memory.setU64(pointer + 8, BigInt(inode.ino));
  memory.setU8(pointer + 16, filetypeOf(inode.kind));
  memory.setU64(pointer + 24, BigInt(inode.links));
  memory.setU64(pointer + 32, BigInt(sizeOf(inode)));
  memory.setU64(pointer + 40, inode.accessedNs);
  memory.setU64(pointer + 48, inode.modifiedNs);
  memory.setU64(pointer + 56, inode.changedNs);
}

/** Streams are of unknown type: a guest that asks finds no terminal, wherever it runs. */
export function filetypeOf(kind: Inode['kind'] | Descriptor['kind']): number {
  if (kind === 'dir') return FILETYPE.directory;
  if (kind === 'file') return FILETYPE.regular;
  return kind === 'symlink' ? FILETYPE.symlink : FILETYPE.unknown;
}

function sizeOf(inode: Inode): number {
  if (inode.kind === 'file') return inode.content.bytes;
  return inode.kind === 'symlink' ? encodeUtf8(inode.target).length : 0;
}

const fdFilestatGet: WasiCall = (context, args) => {
  const descriptor = demand(context, args.u32(0), RIGHTS.fdFilestatGet);
  const inode = descriptor.ino === 0 ? undefined : context.inodes.get(descriptor.ino);
  writeFilestat(context.memory, args.u32(1), inode);
};

const fdFilestatSetSize: WasiCall = (context, args) => {
  const descriptor = context.descriptors.get(args.u32(0));
  if (descriptor.kind !== 'file') fail(descriptor.kind === 'dir' ? 'isdir' : 'inval');
  demand(context, args.u32(0), RIGHTS.fdFilestatSetSize);
  const size = args.u64(1);
  check(size <= OFFSET_MAX, 'fbig');
  const inode = context.inodes.file(descriptor.ino);
  context.inodes.demandWritable(inode);
  context.inodes.resize(inode, Number(size));
};

/** Sets times as the flags say: given, now or left alone. */
export function setTimes(
  context: CallContext,
  inode: Inode,
  accessedNs: bigint,
  modifiedNs: bigint,
  flags: number,
): void {
  check((flags & ~15) === 0, 'inval');
  const both = (a: number, b: number): boolean => (flags & a) !== 0 && (flags & b) !== 0;
  check(!both(FSTFLAGS.atim, FSTFLAGS.atimNow), 'inval');
  check(!both(FSTFLAGS.mtim, FSTFLAGS.mtimNow), 'inval');
  context.inodes.demandWritable(inode);
  const now = context.clock.stamp();
  const pick = (given: number, current: number, value: bigint): bigint | undefined => {
    if ((flags & current) !== 0) return now;
    return (flags & given) === 0 ? undefined : value;
  };
  const accessed = pick(FSTFLAGS.atim, FSTFLAGS.atimNow, accessedNs);
  const modified = pick(FSTFLAGS.mtim, FSTFLAGS.mtimNow, modifiedNs);
  context.inodes.setTimes(inode, accessed, modified);
}

const fdFilestatSetTimes: WasiCall = (context, args) => {
  const descriptor = demand(context, args.u32(0), RIGHTS.fdFilestatSetTimes);
  check(descriptor.ino !== 0, 'badf');
  const inode = context.inodes.get(descriptor.ino);
  setTimes(context, inode, args.u64(1), args.u64(2), args.u32(3));
};

const fdAllocate: WasiCall = (context, args) => {
  const [, inode] = demandFile(context, args.u32(0), RIGHTS.fdAllocate);
  const length = args.s64(2);
  check(length > 0n && args.s64(1) >= 0n, 'inval');
  const end = args.s64(1) + length;
  check(end <= OFFSET_MAX, 'fbig');
  context.inodes.demandWritable(inode);
  if (Number(end) > inode.content.bytes) context.inodes.resize(inode, Number(end));
};

const fdAdvise: WasiCall = (context, args) => {
  demandFile(context, args.u32(0), RIGHTS.fdAdvise);
  check(args.s64(1) >= 0n && args.s64(2) >= 0n, 'inval');
  check(args.u32(3) <= 5, 'inval');
};

/** What is written is durable with the next commit; there is nothing to wait for. */
const fdSync: WasiCall = ({ descriptors }, args) => {
  const { kind } = descriptors.get(args.u32(0));
  check(kind === 'file' || kind === 'dir', 'inval');
};

const fdClose: WasiCall = ({ descriptors }, args) => descriptors.close(args.u32(0));

const fdRenumber: WasiCall = ({ descriptors }, args) => {
  descriptors.renumber(args.u32(0), args.u32(1));
};

/**
 * Directory entries from a cookie on. Cookies: 0 `.`, 1 `..`, then the entry's sequence number + 2. The last
 * entry is cut where the buffer ends, which tells the guest that there is more.
 */
const fdReaddir: WasiCall = (context, args) => {
  const { memory, inodes } = context;
  const descriptor = context.descriptors.get(args.u32(0));
  if (descriptor.kind !== 'dir') fail('notdir');
  demand(context, args.u32(0), RIGHTS.fdReaddir);
  const length = args.u32(2);
  const buffer = memory.slice(args.u32(1), length);
  memory.demand(args.u32(4), 4);
  const dir = inodes.dir(descriptor.ino);
  const cookie = args.u64(3);
  let used = 0;
  const put = (name: string, inode: Inode, next: number): boolean => {
    const bytes = encodeUtf8(name);
    const record = new Uint8Array(DIRENT_BYTES + bytes.length);
    const view = new DataView(record.buffer);
    view.setBigUint64(0, BigInt(next), true);
    view.setBigUint64(8, BigInt(inode.ino), true);
    view.setUint32(16, bytes.length, true);
    view.setUint8(20, filetypeOf(inode.kind));
    record.set(bytes, DIRENT_BYTES);
    const room = Math.min(record.length, length - used);
    buffer.set(record.subarray(0, room), used);
    used += room;
    return used < length;
  };
  let more = length > 0;
  if (more && cookie === 0n) more = put('.', dir, 1);
  if (more && cookie <= 1n) more = put('..', inodes.all.get(dir.parent) ?? dir, 2);
  if (more) {
    for (const [name, entry] of inodes.entriesFrom(dir, Number(cookie) - 2)) {
      if (!put(name, inodes.get(entry.ino), entry.seq + 3)) break;
    }
  }
  memory.setU32(args.u32(4), used);
};

const fdPrestatGet: WasiCall = (context, args) => {
  const name = preopenName(context, args.u32(0));
  context.memory.slice(args.u32(1), 8).fill(0);
  context.memory.setU32(args.u32(1) + 4, name.length);
};

const fdPrestatDirName: WasiCall = (context, args) => {
  const name = preopenName(context, args.u32(0));
  check(args.u32(2) >= name.length, 'nametoolong');
  context.memory.slice(args.u32(1), name.length).set(name);
};

function preopenName({ descriptors, inodes }: CallContext, fd: number): Uint8Array {
  const tree = inodes.trees[descriptors.get(fd).preopen];
  return encodeUtf8((tree ?? fail('badf')).guestPath);
}

export const FD_CALLS: CallTable = {
  fd_advise: ['iIIi:i', fdAdvise],
  fd_allocate: ['iII:i', fdAllocate],
  fd_close: ['i:i', fdClose],
  fd_datasync: ['i:i', fdSync],
  fd_fdstat_get: ['ii:i', fdFdstatGet],
  fd_fdstat_set_flags: ['ii:i', fdFdstatSetFlags],
  fd_fdstat_set_rights: ['iII:i', fdFdstatSetRights],
  fd_filestat_get: ['ii:i', fdFilestatGet],
  fd_filestat_set_size: ['iI:i', fdFilestatSetSize],
  fd_filestat_set_times: ['iIIi:i', fdFilestatSetTimes],
  fd_pread: ['iiiIi:i', fdPread],
  fd_prestat_dir_name: ['iii:i', fdPrestatDirName],
  fd_prestat_get: ['ii:i', fdPrestatGet],
  fd_pwrite: ['iiiIi:i', fdPwrite],
  fd_read: ['iiii:i', fdRead],
  fd_readdir: ['iiiIi:i', fdReaddir],
  fd_renumber: ['ii:i', fdRenumber],
  fd_seek: ['iIii:i', fdSeek],
  fd_sync: ['i:i', fdSync],
  fd_tell: ['ii:i', fdTell],
  fd_write: ['iiii:i', fdWrite],
};
