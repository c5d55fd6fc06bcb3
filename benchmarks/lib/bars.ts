/**
 * What a benchmark was to show, line by line: figure, bar, whether it is met, and how it compares.
 *
 *     what                     figure       bar      met   ÷ nearest peer          ÷ limit
 *     encode, small state      0.20 ms      < 0.3    met   0.75 (v8.serialize)     1.9 (memcpy)
 *
 * Does: make the table. Does not: measure, or say what peer is nearest (`nearest` picks it by value).
 *
 * B1  A ratio is figure ÷ the other's figure in the same run; what "less is better" means is the line's matter.
 */
import { ratioText, renderTable } from './table.js';

/** Something that the figure is compared with. */
export interface Compared {
  readonly name: string;
  /** The figure ÷ that of the other. */
  readonly ratio: number;
}

export interface BarLine {
  readonly what: string;
  /** As it is printed, with its unit. */
  readonly figure: string;
  readonly bar: string;
  readonly met: boolean;
  /** Undefined: nothing else does this. */
  readonly peer: Compared | undefined;
  readonly limit: Compared | undefined;
}

/** Of the others the one whose figure is closest to ours. */
export function nearest(value: number, others: ReadonlyMap<string, number>): Compared | undefined {
  let best: Compared | undefined;
  const distance = ({ ratio }: Compared): number => Math.abs(Math.log(ratio));
  for (const [name, other] of others) {
    const compared = { name, ratio: value / other };
    if (best === undefined || distance(compared) < distance(best)) best = compared;
  }
  return best;
}

function comparedText(compared: Compared | undefined): string {
  if (compared === undefined) return '—';
  return `${ratioText(compared.ratio)} (${compared.name})`;
}

export function barTable(lines: readonly BarLine[]): string {
  const header = ['what', 'figure', 'bar', '', '÷ nearest peer', '÷ limit'];
  const rows = lines.map(({ what, figure, bar, met, peer, limit }) => [
    what,
    figure,
    bar,
    met ? 'met' : 'MISSED',
    comparedText(peer),
    comparedText(limit),
  ]);
  return renderTable(header, rows);
}
