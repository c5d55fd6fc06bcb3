/**
 * The guest's descriptor table.
 *
 * Does: hand out the lowest free number, close, renumber, take itself down and put itself back.
 * Does not: read or write (calls-fd.ts).
 *
 *   state = [[closed initial number, …], [row, …]]     rows: only those that differ from the initial table
 *   row   = [fd, kind, ino, offset, flags, rights, inheriting, preopen]
 *
 * D1  The initial table is 0 stdin, 1 stdout, 2 stderr, then one preopened directory for each tree, from 3.
 * D2  An inode's `opens` is the number of descriptors that hold it.
 */
import type { Plain } from '../../types/state.js';
import { ALL_RIGHTS, DIR_RIGHTS, STDIN_RIGHTS, STDOUT_RIGHTS } from './abi.js';
import { check, fail } from './errno.js';
import type { Inodes } from './inodes.js';
import { asCount, asList, asU64, damaged } from './plain.js';

export const DESCRIPTORS_MAX = 65_536;
const FIRST_PREOPEN = 3;
const KINDS = ['stdin', 'stdout', 'stderr', 'dir', 'file'] as const;
export type DescriptorKind = (typeof KINDS)[number];

export interface Descriptor {
  readonly kind: DescriptorKind;
  /** 0 for streams. */
  readonly ino: number;
  offset: number;
  flags: number;
  rights: bigint;
  inheriting: bigint;
  /** Number of the tree when it is a preopen, else -1. */
  readonly preopen: number;
}

type Row = readonly [number, number, number, number, number, bigint, bigint, number];

export class Descriptors {
  readonly #table = new Map<number, Descriptor>();
  /** No number below this one is free. */
  #free = 0;

  constructor(readonly inodes: Inodes) {
    for (const [fd, descriptor] of initialTable(inodes)) this.#put(fd, descriptor);
    this.#free = this.#table.size;
  }

  /** The descriptor, or EBADF. */
  get(fd: number): Descriptor {
    return this.#table.get(fd) ?? fail('badf');
  }

  has(fd: number): boolean {
    return this.#table.has(fd);
  }

  demandRoom(): void {
    check(this.#table.size < DESCRIPTORS_MAX, 'mfile');
  }

  open(descriptor: Descriptor): number {
    let fd = this.#free;
    while (this.#table.has(fd)) fd += 1;
    this.#free = fd + 1;
    this.#put(fd, descriptor);
    return fd;
  }

  close(fd: number): void {
    const descriptor = this.get(fd);
    this.#table.delete(fd);
    this.#free = Math.min(this.#free, fd);
    if (descriptor.ino !== 0) this.inodes.closed(this.inodes.get(descriptor.ino));
  }

  /** Moves `source` to the number `target`, closing what was there. */
  renumber(source: number, target: number): void {
    const descriptor = this.get(source);
    this.get(target);
    if (source === target) return;
    this.close(target);
    this.#table.delete(source);
    this.#table.set(target, descriptor);
    this.#free = Math.min(this.#free, source);
  }

  /** How far standard input has been read; undefined when it is closed. */
  stdinOffset(): number | undefined {
    for (const { kind, offset } of this.#table.values()) if (kind === 'stdin') return offset;
    return undefined;
  }

  snapshot(): Plain {
    const initial = new Map(initialTable(this.inodes).map(([fd, d]) => [fd, pack(fd, d)]));
    const closed = [...initial.keys()].filter((fd) => !this.#table.has(fd));
    const rows: Row[] = [];
    for (const fd of [...this.#table.keys()].sort((a, b) => a - b)) {
      const row = pack(fd, this.get(fd));
      const old = initial.get(fd);
      if (old === undefined || row.some((value, at) => value !== old[at])) rows.push(row);
    }
    return [closed, rows];
  }

  /** Replaces the initial table by a checked one (`unpackDescriptors`). */
  restore(table: ReadonlyMap<number, Descriptor>): void {
    this.#table.clear();
    for (const inode of this.inodes.all.values()) inode.opens = 0;
    for (const [fd, descriptor] of table) this.#put(fd, descriptor);
    this.#free = 0;
  }

  /** Checks that restored descriptors fit the inodes. */
  checkKinds(): void {
    for (const { kind, ino } of this.#table.values()) {
      const inode = ino === 0 ? undefined : this.inodes.all.get(ino);
      const actual = inode?.kind ?? 'stream';
      const expected = kind === 'dir' || kind === 'file' ? kind : 'stream';
      if (actual !== expected) throw damaged('descriptor kind');
    }
  }

  #put(fd: number, descriptor: Descriptor): void {
    this.#table.set(fd, descriptor);
    if (descriptor.ino !== 0) this.inodes.opened(this.inodes.get(descriptor.ino));
  }
}

function initialTable(inodes: Inodes): [number, Descriptor][] {
  const stream = (kind: DescriptorKind, rights: bigint): Descriptor => {
    return { kind, ino: 0, offset: 0, flags: 0, rights, inheriting: 0n, preopen: -1 };
  };
  const table: [number, Descriptor][] = [
    [0, stream('stdin', STDIN_RIGHTS)],
    [1, stream('stdout', STDOUT_RIGHTS)],
    [2, stream('stderr', STDOUT_RIGHTS)],
  ];
  for (const [preopen, root] of inodes.roots.entries()) {
    const rights = { rights: DIR_RIGHTS, inheriting: ALL_RIGHTS };
    const base = { kind: 'dir', ino: root.ino, offset: 0, flags: 0, preopen } as const;
    table.push([FIRST_PREOPEN + preopen, { ...base, ...rights }]);
  }
  return table;
}

function pack(fd: number, d: Descriptor): Row {
  const kind = KINDS.indexOf(d.kind);
  return [fd, kind, d.ino, d.offset, d.flags, d.rights, d.inheriting, d.preopen + 1];
}

/** The table that a snapshot describes; inodes are not looked at yet. */
export function unpackDescriptors(inodes: Inodes, data: Plain): Map<number, Descriptor> {
  const [closed, rows] = asList(data, 'descriptors', 2);
  const table = new Map(initialTable(inodes));
  for (const fd of asList(closed, 'closed descriptors')) {
    if (!table.delete(asCount(fd, 'closed descriptor'))) throw damaged('closed descriptor');
  }
  for (const row of asList(rows, 'descriptors')) {
    const parts = asList(row, 'descriptor', 8);
    const fd = asCount(parts[0], 'descriptor number', DESCRIPTORS_MAX * 2);
    const kind = KINDS[asCount(parts[1], 'descriptor kind', KINDS.length - 1)]!;
    table.set(fd, {
      kind,
      ino: asCount(parts[2], 'descriptor inode'),
      offset: asCount(parts[3], 'descriptor offset'),
      flags: asCount(parts[4], 'descriptor flags', 31),
      rights: asU64(parts[5], 'descriptor rights'),
      inheriting: asU64(parts[6], 'descriptor rights'),
      preopen: asCount(parts[7], 'descriptor preopen', inodes.roots.length) - 1,
    });
  }
  return table;
}
