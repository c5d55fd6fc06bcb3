/**
 * What benchmarks/migration was to show, as lines: figure, bar, the nearest peer of this run, and the limit, a memcpy.
 *
 * Does: judge. Does not: measure.
 *
 * B1  Peers of a time are the other ways to do the same, by their medians; the limit is one copy of the whole memory. Of a size the
 *     peer is gzip of the full dump, the limit the bytes that were touched, or for whole programs the memory itself.
 */
import { type BarLine, nearest } from '../lib/bars.js';
import { quantile } from '../lib/statistics.js';
import { type Moved, SUBJECTS } from './moves.js';
import { LIMIT, OURS, type SmallResult } from './small.js';

const TOUCHED_BAR = 1.1;
export const TOUCHED_STATE = '64 MiB, 1 % touched';
const BARS = {
  encode: { what: 'capture + encode', p50Ms: 0.3, p99Ms: 1 },
  decode: { what: 'decode + resume, warm worker', p50Ms: 0.5, p99Ms: Number.POSITIVE_INFINITY },
} as const;

/** Sizes of one state by way. */
export interface Sizes {
  readonly name: string;
  readonly touchedBytes: number;
  readonly bytes: ReadonlyMap<string, number>;
}

/** The small programs' capsules, packed: the largest of each. */
export function sizeLines(moved: readonly Moved[]): BarLine[] {
  return moved.flatMap(({ name, moves }) => {
    const most = SUBJECTS.find((subject) => subject.name === name)?.mostBytes;
    if (most === undefined) return [];
    const largest = Math.max(...moves.map(({ packedBytes }) => packedBytes));
    const gzip = Math.min(...moves.map(({ gzipBytes }) => gzipBytes));
    const memory = Math.min(...moves.map(({ memoryBytes }) => memoryBytes));
    return {
      what: `capsule of ${name}, packed`,
      figure: `${largest} B`,
      bar: `≤ ${most} B`,
      met: largest <= most,
      peer: { name: 'full dump+gzip', ratio: largest / gzip },
      limit: { name: 'its memory', ratio: largest / memory },
    };
  });
}

export function touchedLine({ name, touchedBytes, bytes }: Sizes): BarLine {
  const ours = bytes.get('capsule') ?? Number.NaN;
  const ratio = ours / touchedBytes;
  return {
    what: `capsule of ${name}, ÷ touched bytes`,
    figure: ratio.toFixed(3),
    bar: `≤ ${TOUCHED_BAR}`,
    met: ratio <= TOUCHED_BAR,
    peer: { name: 'full dump+gzip', ratio: ours / (bytes.get('full dump+gzip') ?? Number.NaN) },
    limit: { name: 'bytes touched', ratio },
  };
}

export function callLines(results: readonly SmallResult[]): BarLine[] {
  return (['encode', 'decode'] as const).flatMap((direction) =>
    results.map(({ name, ways }) => {
      const { what, p50Ms, p99Ms } = BARS[direction];
      const of = (way: string, q: number): number => quantile(ways[way]?.[direction] ?? [], q);
      const [p50, p99] = [of(OURS, 0.5), of(OURS, 0.99)];
      const peers = Object.keys(ways).filter((way) => !way.startsWith(OURS) && way !== LIMIT);
      const bar = `p50 < ${p50Ms}${Number.isFinite(p99Ms) ? `, p99 < ${p99Ms}` : ''} ms`;
      return {
        what: `${what}, ${name}`,
        figure: `p50 ${p50.toFixed(3)}, p99 ${p99.toFixed(3)} ms`,
        bar,
        met: p50 < p50Ms && p99 < p99Ms,
        peer: nearest(p50, new Map(peers.map((way) => [way, of(way, 0.5)]))),
        limit: { name: LIMIT, ratio: p50 / of(LIMIT, 0.5) },
      };
    }),
  );
}
