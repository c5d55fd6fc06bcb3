/**
 * Synthetic stopped shards of known size and dirtiness.
 *
 * Does: make states with the same content in every run (seeded). Does not: run programs (moves.ts does).
 *
 * S1  A dirty page holds small integers and floats mixed: neither zeros nor noise, so that gzip has real work.
 */
import type { BaseImage, ShardState } from '../../host/types/state.js';
import { randomFrom } from '../lib/statistics.js';

const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

export interface Sample {
  readonly name: string;
  readonly state: ShardState;
  readonly base: BaseImage;
  readonly memoryBytes: number;
  readonly dirtyPages: number;
}

interface Shape {
  readonly name: string;
  readonly memoryMib: number;
  /** Share of all pages that differ from the base. */
  readonly dirty: number;
  /** Pages of the initial image that are not zero. */
  readonly basePages: number;
  readonly frames: number;
}

export const SHAPES: readonly Shape[] = [
  { name: '1 MiB, 4 pages touched', memoryMib: 1, dirty: 4 / 256, basePages: 8, frames: 6 },
  { name: '1 MiB, all touched', memoryMib: 1, dirty: 1, basePages: 8, frames: 6 },
  { name: '64 MiB, 1 % touched', memoryMib: 64, dirty: 0.01, basePages: 64, frames: 12 },
  { name: '16 MiB, 25 % touched', memoryMib: 16, dirty: 0.25, basePages: 64, frames: 12 },
  { name: '1 MiB, 10,000 frames', memoryMib: 1, dirty: 4 / 256, basePages: 8, frames: 10_000 },
];

export function makeSample(shape: Shape): Sample {
  const random = randomFrom(7);
  const memoryBytes = shape.memoryMib * MIB;
  const pages = memoryBytes / PAGE_BYTES;
  const bytes = new Uint8Array(memoryBytes);
  const nonZero = new Map<number, Uint8Array>();
  for (let page = 0; page < shape.basePages; page++) {
    const content = new Uint8Array(PAGE_BYTES);
    fillPage(content, random);
    nonZero.set(page, content);
    bytes.set(content, page * PAGE_BYTES);
  }
  const dirtyPages = Math.round(pages * shape.dirty);
  for (const page of spread(pages, dirtyPages, random)) {
    fillPage(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), random);
  }
  const wasmPages = memoryBytes / 65_536;
  return {
    name: shape.name,
    memoryBytes,
    dirtyPages,
    base: { pages: wasmPages, nonZero },
    state: stateOf(bytes, wasmPages, shape.frames),
  };
}

/** `count` different pages in runs of up to 8, as heaps are written. */
function spread(pages: number, count: number, random: () => number): Set<number> {
  const chosen = new Set<number>();
  if (count >= pages) for (let page = 0; page < pages; page++) chosen.add(page);
  while (chosen.size < count) {
    const first = Math.floor(random() * pages);
    const length = 1 + Math.floor(random() * 8);
    for (let i = 0; i < length && chosen.size < count; i++) chosen.add((first + i) % pages);
  }
  return chosen;
}

function fillPage(page: Uint8Array, random: () => number): void {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  for (let at = 0; at < page.length; at += 8) {
    if (random() < 0.5) view.setUint32(at, Math.floor(random() * 5000), true);
    else view.setFloat64(at, random(), true);
  }
}

function stateOf(bytes: Uint8Array, wasmPages: number, frames: number): ShardState {
  return {
    programHash: 'a'.repeat(64),
    moduleHash: 'b'.repeat(64),
    abi: 1,
    calls: ['_start'],
    args: new Uint8Array(0),
    fuelUsed: 12_345_678n,
    frames: Array.from({ length: frames }, (_, i) => ({
      func: 40 + (i % 7),
      safepoint: i % 3,
      slots: new Uint8Array(8 * (2 + (i % 5))).fill(i),
    })),
    results: new Uint8Array(0),
    pending: null,
    globals: new Uint8Array(32).fill(3),
    memory: { pages: wasmPages, limitPages: 65_536, bytes },
    droppedSegments: [],
    growRefused: false,
    host: { v: 1, fds: [[], []], files: { next: 4, inodes: [] }, random: 0 },
  };
}
