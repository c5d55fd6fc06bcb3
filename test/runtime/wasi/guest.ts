/**
 * A guest made of TypeScript: calls the WASI functions as a program would, through a memory of its own.
 *
 * Does: hold fake memory, clock and blob store; re-invoke suspended calls when their wait is over; move itself into
 * a new host through a snapshot. Does not: assert anything.
 */
import { createHash } from 'node:crypto';
import { createGuestHost, restoreGuestHost } from '../../../host/runtime/guest-host.js';
import {
  type BlobCache,
  CHUNK_BYTES,
  type ChunkRef,
  type DirectoryNode,
  type DirectoryTree,
  type GuestHost,
  type HostControl,
  type HostFunction,
  type ShardSpec,
  type TreeNode,
} from '../../../host/types/host.js';
import { decodePlain, encodePlain } from '../../../host/types/pack.js';
import type { Hash, Platform } from '../../../host/types/platform.js';
import type { Plain, Wait } from '../../../host/types/state.js';

export const ALL = (1n << 30n) - 1n;
export const O = { creat: 1, directory: 2, excl: 4, trunc: 8 } as const;
const READ = 1n << 1n;
const WRITE = 1n << 6n;
export const RIGHTS = { read: READ, write: WRITE, readOnly: ALL & ~WRITE, all: ALL } as const;

export function sha256(bytes: Uint8Array): Hash {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes without a period that chunks could share. */
export function noise(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++)
    data[at] = (Math.imul(at + 1, 0x9e3779b1) >>> 24) ^ (at >>> 18);
  return data;
}

/** A platform whose clocks move when told. */
export class FakePlatform implements Platform {
  nowNs = 1_000_000n;
  wall = 1_700_000_000_000;
  readonly sha256 = sha256;
  equal(): boolean {
    throw new Error('not needed here');
  }
  monotonicNs(): bigint {
    return this.nowNs;
  }
  wallMs(): number {
    return this.wall;
  }
  compileWasm(bytes: Uint8Array): WebAssembly.Module {
    return new WebAssembly.Module(bytes as BufferSource);
  }
  instantiateWasm(module: WebAssembly.Module, imports: WebAssembly.Imports): WebAssembly.Instance {
    return new WebAssembly.Instance(module, imports);
  }
  deflate(): never {
    throw new Error('not needed here');
  }
  inflate(): never {
    throw new Error('not needed here');
  }
  coreModule(): never {
    throw new Error('not needed here');
  }
  readonly comparesFast = false;
}

/** Blobs, of which the cache has only those in `present`. */
export class FakeBlobs implements BlobCache {
  readonly store = new Map<Hash, Uint8Array>();
  readonly present = new Set<Hash>();
  /** Names of blobs that a call had to wait for. */
  readonly waits: Hash[] = [];
  lazy = false;

  get(hash: Hash): Uint8Array | undefined {
    return this.lazy && !this.present.has(hash) ? undefined : this.store.get(hash);
  }

  put(bytes: Uint8Array): Hash {
    const hash = sha256(bytes);
    this.store.set(hash, bytes.slice());
    return hash;
  }

  chunks(content: Uint8Array): ChunkRef[] {
    const refs: ChunkRef[] = [];
    for (let at = 0; at < content.length; at += CHUNK_BYTES) {
      const piece = content.subarray(at, at + CHUNK_BYTES);
      refs.push({ hash: this.put(piece), bytes: piece.length });
    }
    return refs;
  }
}

export type Shape = { readonly [name: string]: string | Uint8Array | { link: string } | Shape };

/** A tree from a plain object: strings and bytes are files, `{ link }` a symlink, anything else a directory. */
export function dirOf(blobs: FakeBlobs, shape: Shape): DirectoryNode {
  const entries = Object.entries(shape)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([name, value]) => [name, nodeOf(blobs, value)] as const);
  return { kind: 'dir', mtimeNs: 1000n, entries };
}

function nodeOf(blobs: FakeBlobs, value: Shape[string]): TreeNode {
  if (typeof value === 'string' || value instanceof Uint8Array) {
    const content = typeof value === 'string' ? Buffer.from(value) : value;
    const chunks = blobs.chunks(content);
    return { kind: 'file', mtimeNs: 1000n, bytes: content.length, chunks, executable: false };
  }
  if (typeof value.link === 'string')
    return { kind: 'symlink', mtimeNs: 1000n, target: value.link };
  return dirOf(blobs, value as Shape);
}

/** The other way: a tree as a plain object, file content as text. */
export function shapeOf(node: TreeNode, blobs: ReadonlyMap<Hash, Uint8Array>): unknown {
  if (node.kind === 'symlink') return { link: node.target };
  if (node.kind === 'file') return contentOf(node.chunks, blobs).toString('latin1');
  return Object.fromEntries(node.entries.map(([name, child]) => [name, shapeOf(child, blobs)]));
}

export function contentOf(
  chunks: readonly ChunkRef[],
  blobs: ReadonlyMap<Hash, Uint8Array>,
): Buffer {
  return Buffer.concat(
    chunks.map((chunk) => {
      const bytes = blobs.get(chunk.hash);
      if (bytes === undefined) throw new Error(`blob ${chunk.hash} is missing`);
      if (bytes.length !== chunk.bytes) throw new Error(`blob ${chunk.hash} has another length`);
      return bytes;
    }),
  );
}

export function specOf(parts: Partial<ShardSpec> = {}): ShardSpec {
  return {
    v: 1,
    programName: 'test',
    moduleHash: '00'.repeat(32),
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: ['test'],
    env: [],
    stdin: [],
    dirs: [],
    seed: '000102030405060708090a0b0c0d0e0f',
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
    ...parts,
  };
}

export class Guest implements HostControl {
  readonly bytes = new Uint8Array(1 << 20);
  readonly view = new DataView(this.bytes.buffer);
  readonly spec: ShardSpec;
  host: GuestHost;
  resumed: Wait | undefined;
  suspended: Wait | undefined;
  exitCode: number | undefined;
  trapped: string | undefined;
  /** Called when a call waits; must make its wait end. */
  onWait: (wait: Wait) => void;
  #functions: ReadonlyMap<string, HostFunction>;

  constructor(
    shape: Shape | readonly DirectoryTree[] = {},
    parts: Partial<ShardSpec> = {},
    readonly blobs = new FakeBlobs(),
    readonly platform = new FakePlatform(),
  ) {
    const dirs = Array.isArray(shape)
      ? (shape as readonly DirectoryTree[])
      : [{ guestPath: '/', readOnly: false, root: dirOf(blobs, shape as Shape) }];
    this.spec = specOf({ dirs, ...parts });
    this.host = createGuestHost(this.spec, blobs, platform);
    this.#functions = this.host.functions(this).get('wasi_snapshot_preview1')!;
    this.onWait = (wait) => this.endWait(wait);
  }

  endWait(wait: Wait): void {
    if (wait.kind === 'until') {
      this.platform.nowNs += wait.monotonicNs - this.host.guestMonotonicNs();
    } else if (wait.kind === 'blob') {
      this.blobs.waits.push(wait.hash);
      this.blobs.present.add(wait.hash);
    }
  }

  /** Leaves this host and goes on in a new one, as a capsule would carry it. */
  move(): Plain {
    const snapshot = this.host.snapshot();
    for (const [hash, bytes] of this.host.newBlobs()) this.blobs.store.set(hash, bytes.slice());
    for (const hash of this.host.references()) {
      if (!this.blobs.store.has(hash)) throw new Error(`blob ${hash} would be missing`);
    }
    const carried = decodePlain(encodePlain(snapshot)) as Plain;
    this.host = restoreGuestHost(this.spec, carried, this.blobs, this.platform);
    this.#functions = this.host.functions(this).get('wasi_snapshot_preview1')!;
    return snapshot;
  }

  memory(): Uint8Array {
    return this.bytes;
  }
  suspend(wait: Wait): void {
    this.suspended = wait;
  }
  exit(code: number): void {
    this.exitCode = code;
  }
  trap(_kind: string, message: string): void {
    this.trapped = message;
  }

  /** Calls once; the wait stays in `suspended`. */
  callOnce(name: string, ...args: (number | bigint)[]): number {
    this.suspended = undefined;
    const result = this.#functions.get(name)!(...args);
    return typeof result === 'number' ? result : 0;
  }

  /** Calls until it is through; returns the errno. */
  call(name: string, ...args: (number | bigint)[]): number {
    this.resumed = undefined;
    for (let attempt = 0; attempt < 10_000; attempt++) {
      const result = this.callOnce(name, ...args);
      if (this.suspended === undefined) {
        this.resumed = undefined;
        return result;
      }
      this.onWait(this.suspended);
      this.resumed = this.suspended;
    }
    throw new Error('the call never ends');
  }

  // Layout: 0.. results, 1024.. first path, 8192.. second path, 65536.. data
  text(at: number, value: string | Uint8Array): [number, number] {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    this.bytes.set(bytes, at);
    return [at, bytes.length];
  }

  path(value: string): [number, number] {
    return this.text(1024, value);
  }

  path2(value: string): [number, number] {
    return this.text(8192, value);
  }

  /** A descriptor, or a negative errno. */
  open(
    path: string,
    o: { oflags?: number; rights?: bigint; flags?: number; follow?: boolean; dir?: number } = {},
  ): number {
    const follow = o.follow === false ? 0 : 1;
    const rights = o.rights ?? ALL;
    const dir = o.dir ?? 3;
    const where = this.path(path);
    const errno = this.call(
      'path_open',
      dir,
      follow,
      ...where,
      o.oflags ?? 0,
      rights,
      ALL,
      o.flags ?? 0,
      0,
    );
    return errno === 0 ? this.view.getUint32(0, true) : -errno;
  }

  #spans(lengths: readonly number[]): [number, number] {
    let data = 65_536;
    for (const [index, length] of lengths.entries()) {
      this.view.setUint32(512 + index * 8, data, true);
      this.view.setUint32(516 + index * 8, length, true);
      data += length;
    }
    return [512, lengths.length];
  }

  #split(total: number, pieces: number): number[] {
    const size = Math.ceil(total / pieces);
    return Array.from({ length: pieces }, (_, index) =>
      Math.max(0, Math.min(size, total - index * size)),
    );
  }

  /** Bytes written, or a negative errno. `at` makes it a pwrite. */
  write(fd: number, data: string | Uint8Array, o: { pieces?: number; at?: bigint } = {}): number {
    const [, length] = this.text(65_536, data);
    const spans = this.#spans(this.#split(length, o.pieces ?? 1));
    const errno =
      o.at === undefined
        ? this.call('fd_write', fd, ...spans, 0)
        : this.call('fd_pwrite', fd, ...spans, o.at, 0);
    return errno === 0 ? this.view.getUint32(0, true) : -errno;
  }

  /** What was read, or a negative errno. `at` makes it a pread. */
  read(fd: number, length: number, o: { pieces?: number; at?: bigint } = {}): string | number {
    const spans = this.#spans(this.#split(length, o.pieces ?? 1));
    const errno =
      o.at === undefined
        ? this.call('fd_read', fd, ...spans, 0)
        : this.call('fd_pread', fd, ...spans, o.at, 0);
    if (errno !== 0) return -errno;
    const count = this.view.getUint32(0, true);
    return Buffer.from(this.bytes.subarray(65_536, 65_536 + count)).toString('latin1');
  }

  /** The new offset, or a negative errno. */
  seek(fd: number, offset: bigint, whence: number): number {
    const errno = this.call('fd_seek', fd, offset, whence, 0);
    return errno === 0 ? Number(this.view.getBigUint64(0, true)) : -errno;
  }

  close(fd: number): number {
    return this.call('fd_close', fd);
  }

  mkdir(path: string): number {
    return this.call('path_create_directory', 3, ...this.path(path));
  }

  rmdir(path: string): number {
    return this.call('path_remove_directory', 3, ...this.path(path));
  }

  unlink(path: string): number {
    return this.call('path_unlink_file', 3, ...this.path(path));
  }

  rename(source: string, target: string): number {
    return this.call('path_rename', 3, ...this.path(source), 3, ...this.path2(target));
  }

  link(source: string, target: string): number {
    return this.call('path_link', 3, 0, ...this.path(source), 3, ...this.path2(target));
  }

  symlink(target: string, path: string): number {
    return this.call('path_symlink', ...this.path2(target), 3, ...this.path(path));
  }

  readlink(path: string): string | number {
    const errno = this.call('path_readlink', 3, ...this.path(path), 65_536, 4096, 0);
    if (errno !== 0) return -errno;
    return Buffer.from(
      this.bytes.subarray(65_536, 65_536 + this.view.getUint32(0, true)),
    ).toString();
  }

  #stat(at: number): Stat {
    const u64 = (offset: number): bigint => this.view.getBigUint64(at + offset, true);
    return {
      dev: u64(0),
      ino: u64(8),
      type: this.view.getUint8(at + 16),
      links: u64(24),
      size: u64(32),
      accessed: u64(40),
      modified: u64(48),
      changed: u64(56),
    };
  }

  stat(path: string, follow = true): Stat | number {
    const errno = this.call('path_filestat_get', 3, follow ? 1 : 0, ...this.path(path), 256);
    return errno === 0 ? this.#stat(256) : -errno;
  }

  fstat(fd: number): Stat | number {
    const errno = this.call('fd_filestat_get', fd, 256);
    return errno === 0 ? this.#stat(256) : -errno;
  }

  /** All names of an open directory, by as many calls as the buffer size asks for. */
  readdir(fd: number, bufferBytes = 4096, cookie = 0n): string[] | number {
    const names: string[] = [];
    for (;;) {
      const errno = this.call('fd_readdir', fd, 65_536, bufferBytes, cookie, 0);
      if (errno !== 0) return -errno;
      const used = this.view.getUint32(0, true);
      let at = 0;
      while (at + 24 <= used) {
        const next = this.view.getBigUint64(65_536 + at, true);
        const length = this.view.getUint32(65_536 + at + 16, true);
        if (at + 24 + length > used) break;
        const start = 65_536 + at + 24;
        names.push(Buffer.from(this.bytes.subarray(start, start + length)).toString());
        cookie = next;
        at += 24 + length;
      }
      if (used < bufferBytes) return names;
    }
  }

  list(path = '.'): string[] | number {
    const fd = this.open(path, { oflags: O.directory });
    if (fd < 0) return fd;
    const names = this.readdir(fd);
    this.close(fd);
    return names;
  }

  /** The final tree as a plain object. */
  tree(index = 0): unknown {
    const trees = this.host.trees();
    const blobs = new Map([...this.blobs.store, ...this.host.newBlobs()]);
    return shapeOf(trees[index]!.root, blobs);
  }

  output(): string {
    return this.host
      .drainOutput()
      .map((piece) => `${piece.stream}:${Buffer.from(piece.bytes).toString('latin1')}`)
      .join('|');
  }
}

export interface Stat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly type: number;
  readonly links: bigint;
  readonly size: bigint;
  readonly accessed: bigint;
  readonly modified: bigint;
  readonly changed: bigint;
}
