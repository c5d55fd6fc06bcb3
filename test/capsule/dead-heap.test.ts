/** Free blocks of a real AssemblyScript heap: found exactly, worthless to the allocator, and nothing when anything is odd. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { freeBlocks } from '../../host/capsule/dead-heap.js';
import { Heap, heapModule, type Step } from './heap-program.js';

const COMPILE_MS = 120_000;
const TAIL_AT = 1568;

const bytes = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 3, arbitrary: fc.integer({ min: 300, max: 9_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 9_000, max: 300_000 }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('take' as const), bytes }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('again' as const), pick: fc.nat(), bytes }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('give' as const), pick: fc.nat() }) },
);
const steps = fc.array(step, { minLength: 1, maxLength: 120 });

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await heapModule('minimal');
}, COMPILE_MS);

function used(list: readonly Step[]): Heap {
  const heap = new Heap(module);
  for (const each of list) heap.step(each);
  return heap;
}

describe('the walk', () => {
  it('finds what lies between the blocks in use, without the links', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const heap = new Heap(module);
        heap.step({ kind: 'take', bytes: 0 });
        for (const each of list) {
          heap.step(each);
          expect(freeBlocks(heap.view, heap.root)).toEqual(heap.expectedDead());
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives bytes that the allocator does not miss: it answers as before', () => {
    fc.assert(
      fc.property(steps, steps, fc.nat(255), (before, after, junk) => {
        const [heap, spoilt] = [used(before), used(before)];
        for (const each of after) {
          for (const { first, end } of freeBlocks(spoilt.view, spoilt.root))
            spoilt.memory.fill(junk, first, end);
          expect(spoilt.step(each)).toBe(heap.step(each));
        }
        expect(freeBlocks(spoilt.view, spoilt.root)).toEqual(freeBlocks(heap.view, heap.root));
      }),
      { numRuns: 60 },
    );
  });

  it('gives nothing before the heap is set up, and nothing where the program grew the memory itself', () => {
    const heap = new Heap(module);
    expect(freeBlocks(heap.view, 0)).toEqual([]);
    expect(freeBlocks(heap.view, heap.root)).toEqual([]);
    heap.step({ kind: 'take', bytes: 100 });
    expect(freeBlocks(heap.view, heap.root)).not.toEqual([]);
    heap.grow(1);
    heap.step({ kind: 'take', bytes: 500_000 });
    expect(freeBlocks(heap.view, heap.root)).toEqual([]);
  });
});

describe('a heap that is not as it must be', () => {
  it('gives nothing, or what it gave: whichever bit of its bookkeeping is flipped', () => {
    fc.assert(
      fc.property(steps, fc.nat(), fc.nat(31), (list, place, bit) => {
        const heap = used([{ kind: 'take', bytes: 40 }, ...list]);
        const { view, root } = heap;
        const good = freeBlocks(view, root);
        const links = good.flatMap(({ first, end }) => [first - 12, first - 8, first - 4, end]);
        const headers = heap.live.map((at) => at - 4);
        const places = [...links, ...headers, root, root + 4, root + 96, root + TAIL_AT];
        const at = places[place % places.length]!;
        view.setUint32(at, view.getUint32(at, true) ^ (1 << bit), true);
        const found = freeBlocks(view, root);
        if (found.length > 0) expect(found).toEqual(good);
        if (links.includes(at)) expect(found).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  it('gives ranges within the memory, or nothing, whatever is in it', () => {
    fc.assert(
      fc.property(
        steps,
        fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(), fc.nat(64), fc.nat(200_000))), {
          maxLength: 12,
        }),
        fc.nat(200_000),
        (list, spoils, otherRoot) => {
          const heap = used(list);
          const { view, root } = heap;
          for (const [place, value] of spoils)
            view.setUint32(4 * (place % (view.byteLength / 4)), value, true);
          for (const at of [root, otherRoot, view.byteLength - 16, 2 ** 32 - 16]) {
            let last = 0;
            for (const { first, end } of freeBlocks(view, at)) {
              expect(first >= last && end > first && end <= view.byteLength).toBe(true);
              last = end;
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
