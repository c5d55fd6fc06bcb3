/**
 * The simplest file system that could be right: nested maps and whole-file buffers. No chunks, no copy-on-write,
 * no snapshots. What the real one is compared with.
 */
import { ERRNO } from '../../../host/runtime/wasi/errno.js';
import type { Shape } from './guest.js';

export interface ModelFile {
  readonly kind: 'file';
  data: Uint8Array;
}
export interface ModelDir {
  readonly kind: 'dir';
  readonly entries: Map<string, ModelNode>;
}
export type ModelNode = ModelFile | ModelDir;

interface Handle {
  readonly file: ModelFile;
  readonly append: boolean;
  offset: number;
}

interface Found {
  readonly dir: ModelDir;
  readonly name: string;
  readonly node: ModelNode | undefined;
}

export class Model {
  readonly root: ModelDir;
  readonly handles = new Map<number, Handle>();

  constructor(shape: Shape) {
    this.root = plant(shape);
  }

  /** The last part's directory, or an errno. */
  #find(path: string): Found | number {
    const parts = path.split('/');
    const name = parts.pop()!;
    let dir: ModelDir = this.root;
    for (const part of parts) {
      const next = dir.entries.get(part);
      if (next === undefined) return ERRNO.noent;
      if (next.kind !== 'dir') return ERRNO.notdir;
      dir = next;
    }
    return { dir, name, node: dir.entries.get(name) };
  }

  open(
    path: string,
    o: { creat: boolean; excl: boolean; trunc: boolean; append: boolean },
  ): number {
    const found = this.#find(path);
    if (typeof found === 'number') return -found;
    let { node } = found;
    if (node !== undefined && o.creat && o.excl) return -ERRNO.exist;
    if (node?.kind === 'dir') return -ERRNO.isdir;
    if (node === undefined) {
      if (!o.creat) return -ERRNO.noent;
      node = { kind: 'file', data: new Uint8Array(0) };
      found.dir.entries.set(found.name, node);
    }
    if (o.trunc) node.data = new Uint8Array(0);
    let fd = 4;
    while (this.handles.has(fd)) fd += 1;
    this.handles.set(fd, { file: node, append: o.append, offset: 0 });
    return fd;
  }

  close(fd: number): number {
    return this.handles.delete(fd) ? 0 : ERRNO.badf;
  }

  write(fd: number, bytes: Uint8Array, at?: number): number {
    const handle = this.handles.get(fd);
    if (handle === undefined) return -ERRNO.badf;
    const { file } = handle;
    const offset = at ?? (handle.append ? file.data.length : handle.offset);
    if (bytes.length > 0) {
      file.data = resized(file.data, Math.max(file.data.length, offset + bytes.length));
      file.data.set(bytes, offset);
      if (at === undefined) handle.offset = offset + bytes.length;
    }
    return bytes.length;
  }

  read(fd: number, length: number, at?: number): string | number {
    const handle = this.handles.get(fd);
    if (handle === undefined) return -ERRNO.badf;
    const start = at ?? handle.offset;
    const bytes = handle.file.data.subarray(start, start + length);
    if (at === undefined) handle.offset += bytes.length;
    return Buffer.from(bytes).toString('latin1');
  }

  seek(fd: number, offset: number, whence: number): number {
    const handle = this.handles.get(fd);
    if (handle === undefined) return -ERRNO.badf;
    const base = [0, handle.offset, handle.file.data.length][whence]!;
    if (base + offset < 0) return -ERRNO.inval;
    handle.offset = base + offset;
    return handle.offset;
  }

  resize(fd: number, bytes: number): number {
    const handle = this.handles.get(fd);
    if (handle === undefined) return ERRNO.badf;
    handle.file.data = resized(handle.file.data, bytes);
    return 0;
  }

  mkdir(path: string): number {
    const found = this.#find(path);
    if (typeof found === 'number') return found;
    if (found.node !== undefined) return ERRNO.exist;
    found.dir.entries.set(found.name, { kind: 'dir', entries: new Map() });
    return 0;
  }

  rmdir(path: string): number {
    const found = this.#find(path);
    if (typeof found === 'number') return found;
    if (found.node === undefined) return ERRNO.noent;
    if (found.node.kind !== 'dir') return ERRNO.notdir;
    if (found.node.entries.size > 0) return ERRNO.notempty;
    found.dir.entries.delete(found.name);
    return 0;
  }

  unlink(path: string): number {
    const found = this.#find(path);
    if (typeof found === 'number') return found;
    if (found.node === undefined) return ERRNO.noent;
    if (found.node.kind === 'dir') return ERRNO.isdir;
    found.dir.entries.delete(found.name);
    return 0;
  }

  link(source: string, target: string): number {
    const from = this.#find(source);
    if (typeof from === 'number') return from;
    if (from.node === undefined) return ERRNO.noent;
    const to = this.#find(target);
    if (typeof to === 'number') return to;
    if (from.node.kind === 'dir') return ERRNO.perm;
    if (to.node !== undefined) return ERRNO.exist;
    to.dir.entries.set(to.name, from.node);
    return 0;
  }

  rename(source: string, target: string): number {
    const from = this.#find(source);
    if (typeof from === 'number') return from;
    if (from.node === undefined) return ERRNO.noent;
    const to = this.#find(target);
    if (typeof to === 'number') return to;
    if (from.node.kind === 'dir' && contains(from.node, to.dir)) return ERRNO.inval;
    if (to.node === from.node) return 0;
    if (to.node !== undefined) {
      if (from.node.kind === 'dir') {
        if (to.node.kind !== 'dir') return ERRNO.notdir;
        if (to.node.entries.size > 0) return ERRNO.notempty;
      } else if (to.node.kind === 'dir') return ERRNO.isdir;
    }
    to.dir.entries.set(to.name, from.node);
    from.dir.entries.delete(from.name);
    return 0;
  }

  list(path: string): string[] | number {
    const found = this.#find(path);
    if (typeof found === 'number') return -found;
    if (found.node === undefined) return -ERRNO.noent;
    if (found.node.kind !== 'dir') return -ERRNO.notdir;
    return [...found.node.entries.keys()].sort();
  }

  tree(node: ModelNode = this.root): unknown {
    if (node.kind === 'file') return Buffer.from(node.data).toString('latin1');
    return Object.fromEntries([...node.entries].map(([name, child]) => [name, this.tree(child)]));
  }
}

function contains(dir: ModelDir, other: ModelDir): boolean {
  if (dir === other) return true;
  return [...dir.entries.values()].some((node) => node.kind === 'dir' && contains(node, other));
}

function resized(data: Uint8Array, bytes: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(data.subarray(0, bytes));
  return copy;
}

function plant(shape: Shape): ModelDir {
  const entries = Object.entries(shape).map(([name, value]): [string, ModelNode] => {
    if (typeof value === 'string') return [name, { kind: 'file', data: Buffer.from(value) }];
    if (value instanceof Uint8Array) return [name, { kind: 'file', data: value }];
    return [name, plant(value as Shape)];
  });
  return { kind: 'dir', entries: new Map(entries) };
}
