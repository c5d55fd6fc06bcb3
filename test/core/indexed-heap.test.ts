/** The indexed heap against a sorted list, and its cost. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IndexedHeap } from '../../host/core/indexed-heap.js';

describe('indexed heap', () => {
  it('always has the least item first, whatever is set and deleted', () => {
    const op = fc.record({ item: fc.nat(20), key: fc.nat(50), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (ops) => {
        const keys = new Map<number, number>();
        const heap = new IndexedHeap<number>(
          (a, b) => (keys.get(a) ?? 0) - (keys.get(b) ?? 0) || a - b,
        );
        for (const { item, key, remove } of ops) {
          if (remove) {
            expect(heap.delete(item)).toBe(keys.has(item));
            keys.delete(item);
          } else {
            keys.set(item, key);
            heap.set(item);
          }
          const sorted = [...keys].sort((a, b) => a[1] - b[1] || a[0] - b[0]).map(([i]) => i);
          expect([heap.first(), heap.size, heap.has(item)]).toEqual([
            sorted[0],
            sorted.length,
            !remove,
          ]);
          expect([...heap.ordered()]).toEqual(sorted);
        }
      }),
    );
  });

  it('takes a logarithm of comparisons an operation', () => {
    const heap = new IndexedHeap<number>((a, b) => a - b);
    const n = 10_000;
    for (let i = 0; i < n; i++) heap.set((i * 7_919) % n);
    for (let i = 0; i < n; i++) heap.delete((i * 104_729) % n);
    expect(heap.size).toBe(0);
    expect(heap.compares / (2 * n)).toBeLessThan(3 * Math.log2(n));
  });
});
