/**
 * Memories that differ from their base in a known share of their 64-byte units.
 *
 *   clustered   stretches of 1 to 256 units: arrays that a program works on
 *   scattered   single units anywhere: a hash table, a heap of small objects
 *
 * Does: make them, the same in every run (seeded). Does not: measure.
 */
import type { CapsuleImage } from '../../host/types/state.js';
import { randomFrom } from '../lib/statistics.js';

export const UNIT_BYTES = 64;
const WASM_PAGE_BYTES = 65_536;
const LONGEST_STRETCH = 256;

export interface Sample {
  readonly name: string;
  /** A Wasm memory, as a guest's is. */
  readonly memory: Uint8Array;
  readonly base: CapsuleImage;
  readonly changedUnits: number;
}

export type Spread = 'clustered' | 'scattered';

export function makeSample(mib: number, share: number, spread: Spread): Sample {
  const random = randomFrom(11);
  const bytes = mib * 2 ** 20;
  const memory = new Uint8Array(
    new WebAssembly.Memory({ initial: bytes / WASM_PAGE_BYTES }).buffer,
  );
  const words = new Uint32Array(memory.buffer);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
  const before = memory.slice();
  const units = bytes / UNIT_BYTES;
  const changed = new Set<number>();
  while (changed.size < Math.round(units * share)) {
    const first = Math.floor(random() * units);
    const length = spread === 'scattered' ? 1 : 1 + Math.floor(random() * LONGEST_STRETCH);
    for (let unit = first; unit < Math.min(units, first + length); unit++) changed.add(unit);
  }
  for (const unit of changed) words[unit * (UNIT_BYTES / 4) + 3]! ^= 0x5555;
  return {
    name: `${mib} MiB, ${share * 100} % ${spread}`,
    memory,
    base: { capsule: '0'.repeat(64), below: [], pages: bytes / WASM_PAGE_BYTES, bytes: before },
    changedUnits: changed.size,
  };
}
