/**
 * Files and directories, through the directories that the host gave (WASI preopens).
 *
 * Does: find the directory that holds a path, open, read, write, list, rename, remove.
 * Does not: keep a current directory: "x", "./x" and "/x" are the same path.
 *
 * F1  The longest given directory that is a prefix of the path wins.
 * F2  `..` is resolved by text before anything is opened; it cannot leave the root.
 * F3  Functions whose name starts with `try` and those that give bool say why they failed through `lastError()`;
 *     the others end the program with a message and a trap.
 * F4  Directory listings are sorted, so that a program does not depend on the host's order.
 */
import { Input } from "./input";
import { fileOutput, Output } from "./output";
import {
  answer, EBADF, ENOENT, fd_close, fd_prestat_dir_name, fd_prestat_get, fd_readdir, filestat, lastError, ok,
  path_create_directory, path_filestat_get, path_open, path_remove_directory, path_rename, path_unlink_file,
} from "./wasi";

const RIGHTS_READ: i64 = (1 << 1) | (1 << 2) | (1 << 5) | (1 << 21);
const RIGHTS_WRITE: i64 = 1 | (1 << 2) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 21) | (1 << 22);
const RIGHTS_LIST: i64 = (1 << 14) | (1 << 21);
const FOLLOW: i32 = 1;

class Place {
  constructor(public dir: i32, public path: ArrayBuffer) {}
  get start(): usize { return changetype<usize>(this.path); }
  get bytes(): i32 { return this.path.byteLength; }
}

class Preopen {
  constructor(public fd: i32, public name: string) {}
}

let preopens: Preopen[] | null = null;

/** What is known of a file. */
export class FileInfo {
  constructor(
    public bytes: u64,
    public isDirectory: bool,
    /** Nanoseconds since 1970. */
    public modifiedNs: u64,
  ) {}
}

/** Opens a file for reading; null on error (see `lastError`). */
export function openInput(path: string): Input | null {
  const fd = open(path, 0, RIGHTS_READ, 0);
  return fd < 0 ? null : new Input(fd, path);
}

/** Creates or empties a file (or appends to it); null on error (see `lastError`). */
export function openOutput(path: string, append: bool = false): Output | null {
  const fd = open(path, append ? 1 : 1 | 8, RIGHTS_WRITE, append ? 1 : 0);
  return fd < 0 ? null : fileOutput(fd, path);
}

/** Whole content of a file; null on error (see `lastError`). */
export function tryReadFile(path: string): Uint8Array | null {
  const input = openInput(path);
  if (!input) return null;
  const all = input.readAll();
  input.close();
  return all;
}

/** Whole content of a file. Ends the program when that fails. */
export function readFile(path: string): Uint8Array {
  const all = tryReadFile(path);
  if (!all) throw new Error("cannot read " + path + ": " + lastError());
  return all;
}

/** Whole content of a file as text. Ends the program when that fails. */
export function readText(path: string): string {
  const all = readFile(path);
  return String.UTF8.decodeUnsafe(all.dataStart, all.length);
}

/** Writes a file, replacing what was there. Ends the program when that fails. */
export function writeFile(path: string, bytes: Uint8Array): void {
  const output = openOutput(path);
  if (!output) throw new Error("cannot write " + path + ": " + lastError());
  output.write(bytes);
  output.close();
}

/** Writes a text file, replacing what was there. Ends the program when that fails. */
export function writeText(path: string, text: string): void {
  writeFile(path, Uint8Array.wrap(String.UTF8.encode(text)));
}

/** What is at a path; null when there is nothing (see `lastError`). */
export function fileInfo(path: string): FileInfo | null {
  const place = find(path);
  if (!place || !ok(path_filestat_get(place.dir, FOLLOW, place.start, place.bytes, filestat))) return null;
  return new FileInfo(load<u64>(filestat, 32), load<u8>(filestat, 16) == 3, load<u64>(filestat, 48));
}

/** True when there is a file or directory at the path. */
export function exists(path: string): bool {
  return fileInfo(path) != null;
}

/** Makes a directory. */
export function makeDirectory(path: string): bool {
  const place = find(path);
  return place != null && ok(path_create_directory(place.dir, place.start, place.bytes));
}

/** Removes a file. */
export function removeFile(path: string): bool {
  const place = find(path);
  return place != null && ok(path_unlink_file(place.dir, place.start, place.bytes));
}

/** Removes an empty directory. */
export function removeDirectory(path: string): bool {
  const place = find(path);
  return place != null && ok(path_remove_directory(place.dir, place.start, place.bytes));
}

/** Renames a file or directory; a file at the target is replaced. */
export function rename(source: string, target: string): bool {
  const from = find(source);
  const to = find(target);
  if (!from || !to) return false;
  return ok(path_rename(from.dir, from.start, from.bytes, to.dir, to.start, to.bytes));
}

/** Names in a directory, sorted, without `.` and `..`; null on error (see `lastError`). */
export function listDirectory(path: string): string[] | null {
  const fd = open(path, 2, RIGHTS_LIST, 0);
  if (fd < 0) return null;
  const names: string[] = [];
  const good = readNames(fd, names);
  fd_close(fd);
  if (!good) return null;
  names.sort();
  return names;
}

/** Paths of the directories that the host gave. */
export function directories(): string[] {
  return given().map<string>((preopen) => "/" + preopen.name);
}

/** Directory entries: next cookie u64, inode u64, name length u32, type u8, 3 spare bytes, then the name. */
function readNames(fd: i32, names: string[]): bool {
  let buffer = new ArrayBuffer(4096);
  let cookie: i64 = 0;
  let more = true;
  while (more) {
    if (!ok(fd_readdir(fd, changetype<usize>(buffer), buffer.byteLength, cookie, answer))) return false;
    const used = load<i32>(answer);
    const start = changetype<usize>(buffer);
    let at = 0;
    while (at + 24 <= used) {
      const bytes = load<i32>(start + at, 16);
      if (at + 24 + bytes > used) break;
      const name = String.UTF8.decodeUnsafe(start + at + 24, bytes);
      if (name != "." && name != "..") names.push(name);
      cookie = load<i64>(start + at);
      at += 24 + bytes;
    }
    more = used == buffer.byteLength; // else it was the end of the list
    if (more && at == 0) buffer = new ArrayBuffer(buffer.byteLength * 2); // one name longer than the buffer
  }
  return true;
}

function open(path: string, oflags: i32, rights: i64, fdflags: i32): i32 {
  const place = find(path);
  if (!place) return -1;
  const code = path_open(place.dir, FOLLOW, place.start, place.bytes, oflags, rights, 0, fdflags, answer);
  return ok(code) ? load<i32>(answer) : -1;
}

/** The given directory that holds a path, and the path in it (F1). */
function find(path: string): Place | null {
  const wanted = normalise(path);
  const all = given();
  let best: Preopen | null = null;
  for (let i = 0; i < all.length; i++) {
    const candidate = all[i];
    if (holds(candidate.name, wanted) && (!best || candidate.name.length > best.name.length)) best = candidate;
  }
  if (!best) {
    ok(ENOENT);
    return null;
  }
  let rest = wanted.substring(best.name.length);
  if (rest.startsWith("/")) rest = rest.substring(1);
  return new Place(best.fd, String.UTF8.encode(rest.length == 0 ? "." : rest));
}

function holds(directory: string, path: string): bool {
  if (directory.length == 0 || directory == path) return true;
  return path.startsWith(directory + "/");
}

/** Without leading slash, `.`, `..` and empty parts (F2). */
function normalise(path: string): string {
  const parts = path.split("/");
  const kept: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    if (part == "..") {
      if (kept.length > 0) kept.pop();
    } else if (part.length > 0 && part != ".") kept.push(part);
  }
  return kept.join("/");
}

function given(): Preopen[] {
  const known = preopens;
  if (known) return known;
  const found: Preopen[] = [];
  for (let fd = 3; ; fd++) {
    const code = fd_prestat_get(fd, answer);
    if (code == EBADF) break;
    if (code != 0) continue;
    const name = new ArrayBuffer(load<i32>(answer, 4));
    if (fd_prestat_dir_name(fd, changetype<usize>(name), name.byteLength) != 0) continue;
    found.push(new Preopen(fd, normalise(String.UTF8.decode(name))));
  }
  preopens = found;
  return found;
}
