/** Plans of compaction: nothing that lives is written over, everything stays, the end goes down. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Lying, planCompaction } from '../../host/fabric/embedded-compact.js';

/** Blobs and holes of these sizes, in turn. */
function layout(sizes: readonly [hole: number, blob: number][]): Lying[] {
  let at = 0;
  return sizes.map(([hole, bytes], n) => {
    at += hole;
    const blob = { hash: String(n), at, bytes };
    at += bytes;
    return blob;
  });
}

const layouts = fc.array(fc.tuple(fc.nat(50), fc.nat(30)), { maxLength: 60 }).map(layout);

describe('a compaction', () => {
  it('puts the last blobs into the first holes that take them', () => {
    const plan = planCompaction(
      layout([
        [0, 4],
        [8, 6],
        [3, 10],
        [0, 5],
      ]),
    );
    expect(plan?.moves.map(({ blob, to }) => [blob.hash, to])).toEqual([['3', 4]]);
    expect(plan?.endBytes).toBe(31);
  });

  it('of nothing leaves nothing, and cuts what is dead behind the end', () => {
    expect(planCompaction([])).toEqual({ moves: [], endBytes: 0 });
    expect(planCompaction(layout([[0, 7]]))).toEqual({ moves: [], endBytes: 7 });
    expect(planCompaction(layout([[9, 0]]))).toEqual({ moves: [], endBytes: 0 });
  });

  it('is not made where blobs overlap', () => {
    const [a, b] = layout([
      [5, 10],
      [0, 10],
    ]);
    expect(planCompaction([a!, { ...b!, at: 14 }])).toBeUndefined();
  });

  it('writes over no place of a blob, loses none, and never grows', () => {
    fc.assert(
      fc.property(layouts, fc.nat(40), (live, most) => {
        const { moves, endBytes } = planCompaction(live, most)!;
        expect(moves.length).toBeLessThanOrEqual(most);
        const used = new Set<number>();
        const claim = (at: number, bytes: number): void => {
          for (let byte = at; byte < at + bytes; byte++) {
            expect(used.has(byte)).toBe(false);
            used.add(byte);
          }
        };
        for (const { at, bytes } of live) claim(at, bytes);
        for (const { blob, to } of moves) {
          claim(to, blob.bytes);
          expect(to).toBeLessThan(blob.at);
        }
        const places = new Map(live.map((blob) => [blob.hash, blob.at]));
        for (const { blob, to } of moves) places.set(blob.hash, to);
        const ends = live.map(({ hash, bytes }) => (bytes === 0 ? 0 : places.get(hash)! + bytes));
        expect(Math.max(0, ...ends)).toBe(endBytes);
        const before = live.map(({ at, bytes }) => (bytes === 0 ? 0 : at + bytes));
        expect(endBytes).toBeLessThanOrEqual(Math.max(0, ...before));
      }),
    );
  });
});
