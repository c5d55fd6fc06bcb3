/** From samples at arbitrary times to cells on one clock: every rule of resample.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CELL_MS, type Cell, Cells, ForwardClock, Rate } from '../../host/oracle/resample.js';

type Point = readonly [atMs: number, value: number, isLeast?: boolean];

/** Cells from 0 on, of samples in the order in which they come. */
function cellsOf(points: readonly Point[], count: number): Cell[] {
  const cells = new Cells();
  const closed: Cell[] = [];
  let newestMs = Number.NEGATIVE_INFINITY;
  const closeUpTo = (atMs: number): void => {
    while (closed.length < count && (closed.length + 1) * CELL_MS <= atMs)
      closed.push(cells.close((closed.length + 1) * CELL_MS));
  };
  for (const [atMs, value, isLeast = false] of points) {
    // As the ladder does: cells are closed when a later sample has come.
    closeUpTo(newestMs);
    newestMs = Math.max(newestMs, atMs);
    cells.add(atMs, value, isLeast, (closed.length + 1) * CELL_MS);
  }
  closeUpTo(count * CELL_MS);
  return closed;
}

const values = (points: readonly Point[], count: number): number[] =>
  cellsOf(points, count).map(({ value }) => value);

describe('cells', () => {
  it('are means over time of what samples say of the time before them, as far as it is covered (R1)', () => {
    expect(
      values(
        [
          [0, 1],
          [250, 3],
          [600, 5],
          [900, 2],
          [1_250, 8],
        ],
        3,
      ),
    ).toEqual([(3 * 250 + 5 * 250) / 500, (5 * 100 + 2 * 300 + 8 * 100) / 500, 8]);
    expect(values([[300, 4]], 2)).toEqual([4, 4]); // nothing is known of the first 300 ms
  });

  it('say the same at every rate of sampling, and when the rate changes', () => {
    const rates = fc.array(fc.constantFrom(50, 100, 125, 250, 500), {
      minLength: 24,
      maxLength: 24,
    });
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 64 }), { minLength: 24, maxLength: 24 }),
        rates,
        (signal, steps) => {
          const points = signal.flatMap((value, cell) =>
            Array.from(
              { length: CELL_MS / steps[cell]! },
              (_, i): Point => [cell * CELL_MS + (i + 1) * steps[cell]!, value],
            ),
          );
          // The first sample is the first of its kind: it speaks of nothing before it.
          expect(values(points, 24).slice(1)).toEqual(signal.slice(1));
        },
      ),
    );
  });

  it('a value holds three of the usual pauses, two seconds at least: then there is a gap (R2)', () => {
    const often = Array.from({ length: 10 }, (_, i): Point => [i * 500, 7]);
    const missing = (points: readonly Point[], count: number): number =>
      values(points, count).findIndex(Number.isNaN);
    expect(missing(often, 40)).toBe(13); // the newest at 4.5 s, held to 6.5 s
    const seldom = Array.from({ length: 40 }, (_, i): Point => [i * 10_000, 7]);
    expect(values(seldom.slice(0, -1), 780).slice(400).some(Number.isNaN)).toBe(false);
    expect(missing(seldom, 1_000)).toBeGreaterThan(0); // it was not known at first that it comes so seldom
    const held = values(seldom, 1_000).slice(780).findIndex(Number.isNaN);
    expect(held * CELL_MS).toBeGreaterThanOrEqual(28_000);
    expect(held * CELL_MS).toBeLessThanOrEqual(30_000);
    const rare = Array.from({ length: 40 }, (_, i): Point => [i * 600_000, 7]);
    expect(
      values(
        rare.slice(-1).map(([, v]) => [0, v]),
        200,
      ).filter((v) => v === 7).length,
    ).toBeLessThan(130);
  });

  it('what is no number, twice there, or late, is as if it had not come (R3, R4, R5)', () => {
    const sound: Point[] = [
      [0, 1],
      [600, 3],
    ];
    const expected = values(sound, 4);
    for (const odd of [
      [300, Number.NaN],
      [300, Number.POSITIVE_INFINITY],
      [300, 1e300],
      [300, -1e300],
      [0, 99],
    ] as const) {
      expect([odd, values([sound[0]!, odd, sound[1]!], 4)]).toEqual([odd, expected]);
    }
    expect(values([...sound, [599, 99], [600, 99]], 4)).toEqual(expected);
  });

  it('a sample for a cell that is closed counts from the open one (R5)', () => {
    const cells = new Cells();
    cells.add(0, 1, false, CELL_MS);
    expect(cells.close(CELL_MS).value).toBe(1);
    cells.add(CELL_MS - 100, 5, false, 2 * CELL_MS);
    expect(cells.close(2 * CELL_MS).value).toBe(5);
  });

  it('before a gap the last value holds, after it the next one says nothing of the gap', () => {
    const gap: Point[] = [
      [0, 1],
      [500, 1],
      [9_250, 5],
    ];
    const told = values(gap, 20);
    expect(told.slice(0, 5)).toEqual([1, 1, 1, 1, 1]); // two seconds from 0.5 s on
    expect(told.slice(5, 18).every(Number.isNaN)).toBe(true);
    expect(told.slice(18)).toEqual([5, 5]);
  });

  it('carry on that a value in them was "at least"', () => {
    const least = cellsOf(
      [
        [0, 1],
        [600, 2, true],
        [1_500, 1],
      ],
      5,
    ).map(({ isLeast }) => isLeast);
    expect(least).toEqual([true, true, false, false, false]);
  });

  it('are finite or missing, and within what came, whatever comes', () => {
    const any = fc.oneof(fc.double(), fc.double({ min: 0, max: 60_000, noNaN: true }));
    fc.assert(
      fc.property(fc.array(fc.tuple(any, any), { maxLength: 30 }), (points) => {
        const usable = points
          .map(([, value]) => value)
          .filter((v) => Math.abs(v) <= Number.MAX_SAFE_INTEGER);
        const low = Math.min(...usable);
        const high = Math.max(...usable);
        const slack = 1e-300 + 1e-9 * Math.max(Math.abs(low), Math.abs(high));
        for (const { value } of cellsOf(points, 30)) {
          if (Number.isNaN(value)) continue;
          expect(value >= low - slack && value <= high + slack).toBe(true);
        }
      }),
    );
  });
});

describe('clock', () => {
  const through = (times: readonly number[]): number[] => {
    const clock = new ForwardClock();
    return times.map((atMs) => clock.take(atMs));
  };

  it('follows time forward, any distance; near lateness is told as it is', () => {
    expect(through([5, 7, 1e9, 1e9 - 9_000])).toEqual([5, 7, 1e9, 1e9 - 9_000]);
  });

  it('set back: believed by three samples in a row, then time goes on from where it stood (R6)', () => {
    expect(through([1e6, 10, 510, 1_010, 1_510])).toEqual([
      1e6,
      Number.NaN,
      Number.NaN,
      1e6,
      1e6 + 500,
    ]);
  });

  it('a sample that is late, now and then, sets nothing back', () => {
    const times = through([1e6, 10, 1e6 + 500, 20, 1e6 + 1_000, 30, 1e6 + 1_500]);
    expect(times).toEqual([
      1e6,
      Number.NaN,
      1e6 + 500,
      Number.NaN,
      1e6 + 1_000,
      Number.NaN,
      1e6 + 1_500,
    ]);
    // Late ones that do not go forward among themselves are none that say the same.
    expect(through([1e6, 30, 20, 10, 5]).slice(1)).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ]);
  });

  it('one that comes from far ahead holds up the others only until they agree', () => {
    expect(through([0, 1e12, 500, 1_000, 1_500, 2_000]).slice(2)).toEqual([
      Number.NaN,
      Number.NaN,
      1e12,
      1e12 + 500,
    ]);
  });

  it('what is no time is none', () => {
    expect(through([Number.NaN, Number.POSITIVE_INFINITY, 1e300])).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ]);
  });
});

describe('rate of a counter', () => {
  it('is what was counted over the time; nothing at a reset, which is the new base (R7)', () => {
    const rate = new Rate();
    const told = (
      [
        [0, 100],
        [1_000, 300],
        [1_500, 300],
        [2_000, 5],
        [3_000, 15],
        [3_000, 25],
        [2_500, 30],
        [4_500, Number.NaN],
        [5_500, 40],
        [6_500, 50],
      ] as const
    ).map(([atMs, counter]) => rate.take(atMs, counter));
    expect(told).toEqual([
      undefined,
      200,
      0,
      undefined,
      10,
      undefined,
      undefined,
      undefined,
      undefined,
      10,
    ]);
  });
});
