/** The shelf hands out what fits, keeps little, and never one buffer twice. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BufferShelf } from '../../host/node/shelf.js';

const MIB = 1024 * 1024;

describe('BufferShelf', () => {
  it('gives a view of exactly the size, and the same memory again once it came back', () => {
    const shelf = new BufferShelf();
    const first = shelf.allocate(MIB);
    expect(first.length).toBe(MIB);
    expect(first.byteOffset).toBe(0);
    shelf.put(first.buffer);
    const second = shelf.allocate(MIB + 1000);
    expect(second.buffer).toBe(first.buffer);
    expect(second.length).toBe(MIB + 1000);
    expect(shelf.allocate(MIB).buffer).not.toBe(first.buffer);
  });

  it('has a buffer ready after `ready`, and not two', () => {
    const shelf = new BufferShelf();
    shelf.ready(2 * MIB);
    shelf.ready(MIB);
    expect(shelf.take(2 * MIB)?.byteLength).toBeGreaterThanOrEqual(2 * MIB);
    expect(shelf.take(1)).toBeUndefined();
  });

  it('keeps the largest two, and nothing that is huge, small or detached', () => {
    const shelf = new BufferShelf();
    for (const size of [3, 1, 2].map((n) => n * MIB)) shelf.put(new ArrayBuffer(size));
    shelf.put(new ArrayBuffer(100 * MIB));
    shelf.put(new ArrayBuffer(16));
    const gone = new ArrayBuffer(4 * MIB);
    structuredClone(gone, { transfer: [gone] });
    shelf.put(gone);
    expect(shelf.take(1)?.byteLength).toBe(2 * MIB);
    expect(shelf.take(1)?.byteLength).toBe(3 * MIB);
    expect(shelf.take(1)).toBeUndefined();
  });

  it('never hands a buffer to two users, whatever the order', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('take' as const),
        bytes: fc.integer({ min: 1, max: 2 * MIB }),
      }),
      fc.record({ kind: fc.constant('put' as const), which: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const shelf = new BufferShelf();
        const held: Uint8Array[] = [];
        for (const each of steps) {
          if (each.kind === 'take') {
            const view = shelf.allocate(each.bytes);
            expect(view.length).toBe(each.bytes);
            expect(held.some((other) => other.buffer === view.buffer)).toBe(false);
            held.push(view);
          } else if (held.length > 0) {
            const [view] = held.splice(each.which % held.length, 1);
            shelf.put(view!.buffer);
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});
