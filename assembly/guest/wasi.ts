/**
 * The raw WASI preview 1 functions that the SDK uses, and the memory in which they answer.
 *
 * Does: declare imports, name error numbers, write a fatal message.
 * Does not: buffer, open files or keep state beyond the last error.
 *
 * W1  Every import of the SDK is declared here, all from `wasi_snapshot_preview1`: a host that has WASI runs it.
 * W2  `scratch` holds one answer at a time: it is read before the next call is made.
 *
 *   scratch  0        8        16       24       32            96
 *            +--------+--------+--------+--------+-------------+
 *            | iovec  | result A (16 bytes)      | filestat 64 |   poll_oneoff: subscription at 32..80,
 *            +--------+--------+--------+--------+-------------+   event at 96..128
 */

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "args_sizes_get")
export declare function args_sizes_get(count: usize, bytes: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "args_get")
export declare function args_get(pointers: usize, buffer: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "environ_sizes_get")
export declare function environ_sizes_get(count: usize, bytes: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "environ_get")
export declare function environ_get(pointers: usize, buffer: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "clock_time_get")
export declare function clock_time_get(clock: i32, precision: i64, time: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "poll_oneoff")
export declare function poll_oneoff(subscriptions: usize, events: usize, count: i32, happened: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "random_get")
export declare function random_get(buffer: usize, bytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "proc_exit")
export declare function proc_exit(code: i32): void;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
export declare function fd_read(fd: i32, iovecs: usize, count: i32, read: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
export declare function fd_write(fd: i32, iovecs: usize, count: i32, written: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_seek")
export declare function fd_seek(fd: i32, offset: i64, whence: i32, position: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close")
export declare function fd_close(fd: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_filestat_get")
export declare function fd_filestat_get(fd: i32, stat: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_get")
export declare function fd_prestat_get(fd: i32, prestat: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_dir_name")
export declare function fd_prestat_dir_name(fd: i32, path: usize, bytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_readdir")
export declare function fd_readdir(fd: i32, buffer: usize, bytes: i32, cookie: i64, used: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_open")
export declare function path_open(
  dir: i32,
  lookup: i32,
  path: usize,
  pathBytes: i32,
  oflags: i32,
  rights: i64,
  inheriting: i64,
  fdflags: i32,
  fd: usize,
): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_filestat_get")
export declare function path_filestat_get(dir: i32, lookup: i32, path: usize, pathBytes: i32, stat: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_create_directory")
export declare function path_create_directory(dir: i32, path: usize, pathBytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_remove_directory")
export declare function path_remove_directory(dir: i32, path: usize, pathBytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_unlink_file")
export declare function path_unlink_file(dir: i32, path: usize, pathBytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_rename")
export declare function path_rename(
  sourceDir: i32,
  source: usize,
  sourceBytes: i32,
  targetDir: i32,
  target: usize,
  targetBytes: i32,
): i32;

export const EAGAIN: i32 = 6;
export const EBADF: i32 = 8;
export const ENOENT: i32 = 44;
export const ENOTDIR: i32 = 54;

/** Where host functions answer (W2). */
export const scratch: usize = memory.data(128, 16);
/** The iovec that describes the one buffer of a read or write. */
export const iovec: usize = scratch;
/** Sizes, positions, times and descriptors. */
export const answer: usize = scratch + 8;
export const filestat: usize = scratch + 32;

let errno: i32 = 0;

/** Notes the outcome of a host call; true when it succeeded. */
export function ok(code: i32): bool {
  if (code == 0) return true;
  errno = code;
  return false;
}

/** WASI error number of the last call that failed; 0 = none yet. */
export function lastErrno(): i32 {
  return errno;
}

/** The last error in words, for messages. */
export function lastError(): string {
  switch (errno) {
    case 0: return "no error";
    case 2: return "permission denied (EACCES)";
    case EAGAIN: return "try again (EAGAIN)";
    case EBADF: return "bad descriptor (EBADF)";
    case 20: return "already exists (EEXIST)";
    case 21: return "bad address (EFAULT)";
    case 22: return "file too large (EFBIG)";
    case 28: return "invalid argument (EINVAL)";
    case 29: return "input/output error (EIO)";
    case 31: return "is a directory (EISDIR)";
    case 32: return "too many symbolic links (ELOOP)";
    case 33: return "too many open files (EMFILE)";
    case 37: return "name too long (ENAMETOOLONG)";
    case ENOENT: return "no such file or directory (ENOENT)";
    case 51: return "no space left (ENOSPC)";
    case 52: return "not implemented (ENOSYS)";
    case ENOTDIR: return "not a directory (ENOTDIR)";
    case 55: return "directory not empty (ENOTEMPTY)";
    case 63: return "operation not permitted (EPERM)";
    case 64: return "broken pipe (EPIPE)";
    case 69: return "read-only file system (EROFS)";
    case 75: return "crosses directories (EXDEV)";
    case 76: return "not allowed here (ENOTCAPABLE)";
    default: return "error " + errno.toString();
  }
}

/** Waits for `ns` nanoseconds of the guest's monotonic clock. */
export function waitNs(ns: u64): void {
  const subscription = scratch + 32;
  memory.fill(subscription, 0, 48);
  store<u32>(subscription, 1, 16); // CLOCK_MONOTONIC; tag at 8 is 0 = clock; flags at 40 are 0 = relative
  store<u64>(subscription, ns, 24);
  poll_oneoff(subscription, scratch + 96, 1, answer);
}

/** Writes all bytes to a descriptor. False on error (see `lastError`). */
export function writeAll(fd: i32, source: usize, bytes: i32): bool {
  while (bytes > 0) {
    store<u32>(iovec, source as u32);
    store<u32>(iovec, bytes, 4);
    const code = fd_write(fd, iovec, 1, answer);
    if (code == EAGAIN) {
      waitNs(1_000_000);
      continue;
    }
    if (!ok(code)) return false;
    const written = load<i32>(answer);
    source += written;
    bytes -= written;
  }
  return true;
}

/** Reads at most `bytes`; 0 = end, -1 = error (see `lastError`). */
export function readSome(fd: i32, target: usize, bytes: i32): i32 {
  while (true) {
    store<u32>(iovec, target as u32);
    store<u32>(iovec, bytes, 4);
    const code = fd_read(fd, iovec, 1, answer);
    if (code != EAGAIN) return ok(code) ? load<i32>(answer) : -1;
    waitNs(1_000_000);
  }
}

/** Writes text to stderr at once, without any buffer: for messages on the way out. */
export function writeError(text: string): void {
  const bytes = String.UTF8.encode(text);
  writeAll(2, changetype<usize>(bytes), bytes.byteLength);
}
