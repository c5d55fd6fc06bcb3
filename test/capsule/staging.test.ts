/**
 * Staging against its law: after a whole round with the memory at rest, shadow and target equal it, whatever was written and
 * grown between the steps; the target refuses what is out of turn and changes nothing then.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES, WASM_PAGE_BYTES } from '../../host/capsule/index.js';
import {
  BATCH_ROOM_BYTES,
  BatchWriter,
  readBatch,
  SLICE_ROOM_BYTES,
  StageSource,
  StageTarget,
  type Step,
} from '../../host/capsule/staging.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { BaseImage } from '../../host/types/state.js';

const LIMIT_PAGES = 20;
const BATCH_BYTES = 2 * BATCH_ROOM_BYTES;
/** Header and table of the slice that the damage tests use. */
const SLICE_HEAD_BYTES = 24 + 4;

/** The target's memory: it grows when a slice asks for it. */
class Memory {
  bytes: Uint8Array;
  constructor(base: BaseImage) {
    this.bytes = imageOf(base);
  }
  readonly at = (pages: number): Uint8Array => {
    if (this.bytes.length < pages * WASM_PAGE_BYTES) this.bytes = grown(this.bytes, pages);
    return this.bytes;
  };
}

function grown(bytes: Uint8Array, pages: number): Uint8Array {
  const larger = new Uint8Array(pages * WASM_PAGE_BYTES);
  larger.set(bytes);
  return larger;
}

function imageOf(base: BaseImage): Uint8Array {
  const bytes = new Uint8Array(base.pages * WASM_PAGE_BYTES);
  for (const [page, content] of base.nonZero) bytes.set(content, page * PAGE_BYTES);
  return bytes;
}

const baseImage: fc.Arbitrary<BaseImage> = fc
  .record({
    pages: fc.integer({ min: 1, max: 10 }),
    nonZero: fc.dictionary(
      fc.integer({ min: 0, max: 15 }).map(String),
      fc.uint8Array({ minLength: PAGE_BYTES, maxLength: PAGE_BYTES }),
      { maxKeys: 3 },
    ),
  })
  .map(({ pages, nonZero }) => ({
    pages,
    nonZero: new Map(Object.entries(nonZero).map(([page, bytes]) => [Number(page), bytes])),
  }));

type Event =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'clear';
      readonly at: number;
      readonly length: number;
      readonly with: number;
    }
  | { readonly kind: 'grow' }
  | { readonly kind: 'step' };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    at: fc.nat(LIMIT_PAGES * WASM_PAGE_BYTES - 1),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  }),
  fc.record({
    kind: fc.constant('clear' as const),
    at: fc.nat(LIMIT_PAGES * WASM_PAGE_BYTES - 1),
    length: fc.integer({ min: 1, max: 20_000 }),
    with: fc.constantFrom(0, 7),
  }),
  fc.constant<Event>({ kind: 'grow' }),
  fc.constant<Event>({ kind: 'step' }),
);

function write(memory: Uint8Array, each: Event): void {
  if (each.kind === 'write')
    memory.set(
      each.bytes.subarray(0, Math.max(0, memory.length - each.at)),
      Math.min(each.at, memory.length),
    );
  if (each.kind === 'clear') memory.fill(each.with, each.at, each.at + each.length);
}

describe('staging', () => {
  it('G1, G4: shadow and target equal the memory after the last round', () => {
    fc.assert(
      fc.property(baseImage, fc.array(event, { maxLength: 40 }), (base, events) => {
        const shadow = new Uint8Array(LIMIT_PAGES * WASM_PAGE_BYTES);
        const source = new StageSource(base, shadow, nodePlatform);
        const target = new StageTarget(base.pages, LIMIT_PAGES, nodePlatform);
        const arrived = new Memory(base);
        let batch = new BatchWriter(new Uint8Array(BATCH_BYTES));
        const deliver = (): void => {
          for (const slice of readBatch(batch.bytes)) target.apply(slice, arrived.at);
          batch = new BatchWriter(new Uint8Array(BATCH_BYTES));
        };
        const step = (): Step => {
          if (!batch.hasRoom) deliver();
          const made = source.step(memory, batch.room());
          batch.add(made.sliceBytes);
          return made;
        };
        let memory = imageOf(base);
        for (const each of events) {
          if (each.kind === 'grow' && memory.length < LIMIT_PAGES * WASM_PAGE_BYTES)
            memory = grown(memory, memory.length / WASM_PAGE_BYTES + 1);
          if (each.kind !== 'step') {
            write(memory, each);
            continue;
          }
          expect(step().scannedBytes).toBeGreaterThan(0);
        }
        // The second one began at the memory's rest.
        for (let ended = 0; ended < 2; ) if (step().roundEnded) ended++;
        deliver();
        expect(Buffer.compare(shadow.subarray(0, memory.length), memory)).toBe(0);
        // Pages that grew and stayed zero are in no slice: the header of the last capsule says the size.
        expect(Buffer.compare(arrived.at(memory.length / WASM_PAGE_BYTES), memory)).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('sends 64 bytes for one that changed, and nothing for none', () => {
    const base: BaseImage = { pages: 1, nonZero: new Map() };
    const source = new StageSource(base, new Uint8Array(WASM_PAGE_BYTES), nodePlatform);
    const memory = new Uint8Array(WASM_PAGE_BYTES).fill(1);
    const slice = new Uint8Array(SLICE_ROOM_BYTES);
    const whole = {
      scannedBytes: WASM_PAGE_BYTES,
      payloadBytes: WASM_PAGE_BYTES,
      roundEnded: true,
    };
    // 24 of header, 3 of table: no gap, 1,024 units of data.
    expect(source.step(memory, slice)).toEqual({ ...whole, sliceBytes: 24 + 3 + WASM_PAGE_BYTES });
    memory[7_000] = 2;
    expect(source.step(memory, slice)).toMatchObject({ sliceBytes: 24 + 2 + 64, payloadBytes: 64 });
    expect(source.step(memory, slice)).toMatchObject({ sliceBytes: 0, roundEnded: true });
    expect(source.round).toBe(3);
  });

  it('sends whole pages in round 0, and after a chunk half of which has changed', () => {
    const base: BaseImage = { pages: 1, nonZero: new Map() };
    const source = new StageSource(base, new Uint8Array(WASM_PAGE_BYTES), nodePlatform);
    const memory = new Uint8Array(WASM_PAGE_BYTES);
    const slice = new Uint8Array(SLICE_ROOM_BYTES);
    const sends = (): number => source.step(memory, slice).payloadBytes;
    memory[5_000] = 1;
    expect(sends()).toBe(PAGE_BYTES);
    memory[5_000] = 2;
    expect(sends()).toBe(64);
    memory.fill(3, WASM_PAGE_BYTES / 2);
    expect(sends()).toBe(WASM_PAGE_BYTES / 2);
    for (let chunk = 0; chunk < 7; chunk++) {
      memory[5_000] = 4 + chunk;
      expect(sends()).toBe(PAGE_BYTES);
    }
    memory[5_000] = 20;
    expect(sends()).toBe(64);
  });

  it('G3: every change of a slice is refused and changes nothing, or is a slice that says something else', () => {
    const base: BaseImage = { pages: 1, nonZero: new Map() };
    const made = (): { target: StageTarget; memory: Memory; slice: Uint8Array } => {
      const source = new StageSource(base, new Uint8Array(2 * WASM_PAGE_BYTES), nodePlatform);
      const bytes = new Uint8Array(WASM_PAGE_BYTES);
      bytes.fill(3, 100, 9_000);
      const buffer = new Uint8Array(SLICE_ROOM_BYTES);
      const { sliceBytes } = source.step(bytes, buffer);
      return {
        target: new StageTarget(1, 2, nodePlatform),
        memory: new Memory(base),
        slice: buffer.slice(0, sliceBytes),
      };
    };
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (where, bits, cut) => {
        const { target, memory, slice } = made();
        const at = where % (cut ? slice.length : SLICE_HEAD_BYTES);
        const changed = cut ? slice.slice(0, at) : slice;
        if (!cut) changed[at] = (changed[at] as number) ^ bits;
        const before = memory.bytes.slice();
        try {
          target.apply(changed, memory.at);
        } catch (error) {
          expect(error).toMatchObject({ code: 'SHERD_CAPSULE_DAMAGED' });
          expect(Buffer.compare(memory.bytes, before)).toBe(0);
          expect(target.slices).toBe(0);
          target.apply(made().slice, memory.at);
          return;
        }
        // Only the round, the size within the limit and the runs can be read in another way: the batch's hash is for that.
        expect(cut).toBe(false);
        expect((at >= 4 && at < 12) || at >= 24).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a batch that is cut anywhere but between two slices is refused', () => {
    const batch = new BatchWriter(new Uint8Array(2 * BATCH_ROOM_BYTES));
    batch.add(30);
    batch.add(0);
    batch.add(70);
    expect(() => batch.add(2 * BATCH_ROOM_BYTES)).toThrow(/fits/);
    expect(readBatch(batch.bytes).map(({ length }) => length)).toEqual([30, 70]);
    for (let at = 0; at < batch.bytes.length; at++) {
      const cut = batch.bytes.slice(0, at);
      if (at === 0 || at === 34) expect(readBatch(cut).length).toBe(at === 0 ? 0 : 1);
      else expect(() => readBatch(cut)).toThrow(/cut short/);
    }
  });

  it('G3: refuses a slice twice, out of order, of a smaller memory and of one beyond the limit', () => {
    const base: BaseImage = { pages: 1, nonZero: new Map() };
    const source = new StageSource(base, new Uint8Array(4 * WASM_PAGE_BYTES), nodePlatform);
    const slices = [1, 2, 3].map((pages) => {
      const memory = new Uint8Array(pages * WASM_PAGE_BYTES).fill(pages);
      const buffer = new Uint8Array(SLICE_ROOM_BYTES);
      return buffer.slice(0, source.step(memory, buffer).sliceBytes);
    });
    const memory = new Memory(base);
    const target = new StageTarget(1, 2, nodePlatform);
    const refused = (slice: Uint8Array, reason: RegExp): void =>
      expect(() => target.apply(slice, memory.at)).toThrow(reason);
    refused(slices[1]!, /slice 1 where 0 is due/);
    target.apply(slices[0]!, memory.at);
    refused(slices[0]!, /slice 0 where 1 is due/);
    target.apply(slices[1]!, memory.at);
    refused(slices[2]!, /3 pages where 2 are allowed/);
    expect(target.pages).toBe(2);
    expect(target.slices).toBe(2);
  });
});
