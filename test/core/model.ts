/**
 * What core.wasm does, said plainly: one unit at a time, no windows, no shortcuts. And random memories for it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { DeadRange } from '../../host/core/scan.js';
import type { BaseImage, CapsuleImage } from '../../host/types/state.js';
import { ROOT } from '../tidy/sources.js';

/** The module that `npm run build` made. */
export const coreWasm = readFileSync(join(ROOT, 'dist/core/core.wasm'));
export const UNIT = 64;
export const BLOCK = 65_536;
const PAGE = 4096;

export interface ModelDifference {
  readonly runs: readonly (readonly [kind: 'data' | 'zero', first: number, count: number])[];
  readonly payload: Uint8Array;
}

const isZero = (unit: Uint8Array): boolean => unit.every((byte) => byte === 0);
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export function withDead(memory: Uint8Array, dead: readonly DeadRange[]): Uint8Array {
  const copy = memory.slice();
  for (const { first, end } of dead) copy.fill(0, first, end);
  return copy;
}

/** `base` is as long as the memory: what it does not have is zero. */
export function modelDiff(memory: Uint8Array, base: Uint8Array): ModelDifference {
  const runs: ['data' | 'zero', number, number][] = [];
  const payload: number[] = [];
  for (let i = 0; i < memory.length / UNIT; i++) {
    const now = memory.subarray(i * UNIT, (i + 1) * UNIT);
    if (same(now, base.subarray(i * UNIT, (i + 1) * UNIT))) continue;
    const kind = isZero(now) ? 'zero' : 'data';
    const last = runs.at(-1);
    if (last !== undefined && last[0] === kind && last[1] + last[2] === i) last[2]++;
    else runs.push([kind, i, 1]);
    if (kind === 'data') payload.push(...now);
  }
  return { runs, payload: Uint8Array.from(payload) };
}

export function modelTable({ runs }: Pick<ModelDifference, 'runs'>): Uint8Array {
  const bytes: number[] = [];
  const number = (value: number): void => {
    if (value < 128) bytes.push(value);
    else {
      bytes.push((value % 128) + 128);
      number(Math.floor(value / 128));
    }
  };
  let end = 0;
  for (const [kind, first, count] of runs) {
    number(first - end);
    number(count * 4 + (kind === 'zero' ? 1 : 0));
    end = first + count;
  }
  return Uint8Array.from(bytes);
}

/** A write: bytes of one value, or of all values, somewhere; many begin or end at a boundary. */
interface Write {
  readonly at: number;
  readonly length: number;
  readonly fill: number;
}

const place = (limit: number): fc.Arbitrary<number> =>
  fc
    .tuple(
      fc.nat(limit),
      fc.constantFrom(1, UNIT, PAGE, BLOCK),
      fc.constantFrom(-UNIT, -1, 0, 0, 1, UNIT),
    )
    .map(([at, grain, shift]) => Math.min(limit, Math.max(0, at - (at % grain) + shift)));

const write = (limit: number): fc.Arbitrary<Write> =>
  fc.record({
    at: place(limit),
    length: fc.oneof(
      fc.constantFrom(1, 8, UNIT, 2 * UNIT, PAGE, BLOCK),
      fc.nat(400),
      fc.nat(limit),
    ),
    fill: fc.oneof(fc.constant(0), fc.constant(-1), fc.nat(255)),
  });

function apply(memory: Uint8Array, writes: readonly Write[]): Uint8Array {
  for (const { at, length, fill } of writes) {
    const end = Math.min(memory.length, at + length);
    if (fill >= 0) memory.fill(fill, at, end);
    else for (let i = at; i < end; i++) memory[i] = i * 7;
  }
  return memory;
}

/** Units here and there, so that a block has many stretches. */
const scattered = fc.record({ every: fc.integer({ min: 1, max: 90 }), from: fc.nat(3000) });

export interface MemoryCase {
  readonly memory: Uint8Array;
  /** As long as the memory. */
  readonly before: Uint8Array;
  readonly basePages: number;
  readonly dead: readonly DeadRange[];
}

export const memoryCase: fc.Arbitrary<MemoryCase> = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.nat(2))
  .filter(([pages, grown]) => pages + grown > 0)
  .chain(([basePages, grown]) => {
    const bytes = (basePages + grown) * BLOCK;
    return fc.record({
      basePages: fc.constant(basePages),
      bytes: fc.constant(bytes),
      base: fc.array(write(basePages * BLOCK), { maxLength: 6 }),
      now: fc.array(write(bytes), { maxLength: 8 }),
      holes: fc.option(scattered, { nil: undefined }),
      fresh: fc.boolean(),
      dead: fc.array(fc.tuple(place(bytes), fc.nat(3 * PAGE)), { maxLength: 3 }),
    });
  })
  .map(({ basePages, bytes, base, now, holes, fresh, dead }) => {
    const before = new Uint8Array(bytes);
    apply(before.subarray(0, basePages * BLOCK), base);
    // `fresh`: nothing is as it was, or all is zero.
    const memory = apply(fresh ? new Uint8Array(bytes) : before.slice(), now);
    if (holes !== undefined)
      for (let i = holes.from; i < bytes / UNIT; i += holes.every) memory[i * UNIT + 3]! ^= 0x55;
    return { memory, before, basePages, dead: apart(dead, bytes) };
  });

function apart(list: readonly (readonly [number, number])[], bytes: number): DeadRange[] {
  const ranges: DeadRange[] = [];
  let end = 0;
  for (const [at, length] of [...list].sort((a, b) => a[0] - b[0])) {
    const first = Math.max(at, end);
    end = Math.max(first, Math.min(bytes, at + length));
    ranges.push({ first, end });
  }
  return ranges;
}

export function sparse({ before, basePages }: MemoryCase): BaseImage {
  const nonZero = new Map<number, Uint8Array>();
  for (let page = 0; page < basePages * 16; page++) {
    const content = before.slice(page * PAGE, (page + 1) * PAGE);
    if (!isZero(content)) nonZero.set(page, content);
  }
  return { pages: basePages, nonZero };
}

export function dense({ before, basePages }: MemoryCase): CapsuleImage {
  return {
    capsule: 'd'.repeat(64),
    below: [],
    pages: basePages,
    bytes: before.slice(0, basePages * BLOCK),
  };
}
