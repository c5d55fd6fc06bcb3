/**
 * A picture of forecasts: bands, the values, the maximum that came, capacity, alarms.
 *
 * Does: draw, as SVG text that needs nothing else. Does not: forecast.
 *
 * V1  The picture depends on its input alone. V2  A long series is thinned to COLUMNS columns by each one's extremes.
 */
import { escaped } from '../capsule/memory-map.js';

export interface PlotStep {
  /** NaN = missing. */
  readonly value: number;
  /** Maximum of the horizon that follows; NaN = not known. */
  readonly peak: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly contention: number;
  readonly alarm: boolean;
}

export interface ForecastPlot {
  readonly title: string;
  readonly steps: readonly PlotStep[];
  readonly intervalS: number;
  readonly horizon: number;
  readonly capacity: number | undefined;
}

const WIDTH = 1100;
const LEFT = 64;
const RIGHT = 20;
const TOP = 84;
const HEIGHT = 340;
const STRIP = 60;
const COLUMNS = 1_000;
const COLOUR = {
  value: '#1f3b57',
  peak: '#c2410c',
  p99: '#dbe7f3',
  p90: '#9fc0de',
  p50: '#3b7dbf',
  capacity: '#111',
  alarm: '#d62828',
};

interface Column extends PlotStep {
  readonly low: number;
}

export function forecastSvg(plot: ForecastPlot): string {
  const columns = thinned(plot.steps);
  const { y, ticks } = scaleOf(columns, plot.capacity);
  const x = (index: number): number =>
    LEFT + ((index + 0.5) * (WIDTH - LEFT - RIGHT)) / Math.max(1, columns.length);
  const height = TOP + HEIGHT + (plot.capacity === undefined ? 0 : STRIP) + 40;
  const parts = [
    ...grid(ticks, y),
    band(
      columns,
      x,
      (one) => y(one.p99),
      (one) => y(one.p90),
      COLOUR.p99,
    ),
    band(
      columns,
      x,
      (one) => y(one.p90),
      (one) => y(one.p50),
      COLOUR.p90,
    ),
    line(columns, x, (one) => y(one.p50), COLOUR.p50, 1),
    line(columns, x, (one) => y(one.peak), COLOUR.peak, 1.2),
    ...values(columns, x, y),
    ...(plot.capacity === undefined ? [] : alarms(columns, x, y, plot.capacity)),
    ...timeAxis(plot, height),
  ];
  const note = `maximum of the next ${plot.horizon} steps of ${plot.intervalS} s, forecast at each step`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, DejaVu Sans, sans-serif" font-size="11" fill="#333">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="16" y="24" font-size="15" font-weight="600">${escaped(plot.title)}</text>
<text x="16" y="42" fill="#555">${note}</text>
${legend(plot.capacity !== undefined).join('\n')}
${parts.join('\n')}
</svg>
`;
}

/** V2: of the steps of a column the highest forecasts and values, and the lowest value. */
function thinned(steps: readonly PlotStep[]): Column[] {
  const each = Math.max(1, Math.ceil(steps.length / COLUMNS));
  const columns: Column[] = [];
  for (let from = 0; from < steps.length; from += each) {
    const part = steps.slice(from, from + each);
    const most = (of: (step: PlotStep) => number): number =>
      part.reduce(
        (high, step) => (of(step) > high || Number.isNaN(high) ? of(step) : high),
        Number.NaN,
      );
    columns.push({
      value: most((step) => step.value),
      low: -most((step) => -step.value),
      peak: most((step) => step.peak),
      p50: most((step) => step.p50),
      p90: most((step) => step.p90),
      p99: most((step) => step.p99),
      contention: most((step) => step.contention),
      alarm: part.some(({ alarm }) => alarm),
    });
  }
  return columns;
}

interface Scale {
  readonly y: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Up to the highest value; P99 may be cut where it is far beyond all that came. */
function scaleOf(columns: readonly Column[], capacity: number | undefined): Scale {
  const finite = (list: readonly number[]): number[] =>
    list.filter((value) => Number.isFinite(value));
  const seen = finite(
    columns.flatMap(({ value, low, peak, p50, p90 }) => [value, low, peak, p50, p90]),
  );
  if (capacity !== undefined) seen.push(capacity);
  let low = seen.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  let high = seen.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (!(low <= high)) [low, high] = [0, 1];
  if (low > 0 && low < 0.5 * high) low = 0;
  if (high === low)
    [low, high] = [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  const top = high + 0.08 * (high - low);
  const y = (value: number): number =>
    TOP + HEIGHT * (1 - (Math.min(top, Math.max(low, value)) - low) / (top - low));
  const size = 10 ** Math.floor(Math.log10((high - low) / 4));
  const step = size * ([1, 2, 5, 10].find((m) => (high - low) / (m * size) <= 6) ?? 10);
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step && ticks.length < 12; k++)
    ticks.push(k * step);
  return { y, ticks };
}

const at = (value: number): string => value.toFixed(1);

function grid(ticks: readonly number[], y: (value: number) => number): string[] {
  return ticks.flatMap((tick) => [
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y(tick))}" y2="${at(y(tick))}" stroke="#e5e5e5"/>`,
    `<text x="${LEFT - 6}" y="${at(y(tick) + 4)}" text-anchor="end">${Number(tick.toPrecision(4))}</text>`,
  ]);
}

type Place = (column: Column) => number;

function band(
  columns: readonly Column[],
  x: (index: number) => number,
  upper: Place,
  lower: Place,
  colour: string,
): string {
  if (columns.length === 0) return '';
  const there = columns.map((one, i) => `${at(x(i))},${at(upper(one))}`);
  const back = columns.map((one, i) => `${at(x(i))},${at(lower(one))}`).reverse();
  return `<polygon points="${[...there, ...back].join(' ')}" fill="${colour}"/>`;
}

/** Broken where there is no value. */
function line(
  columns: readonly Column[],
  x: (index: number) => number,
  y: Place,
  colour: string,
  width: number,
): string {
  let path = '';
  let isOpen = false;
  columns.forEach((one, i) => {
    const place = y(one);
    if (Number.isFinite(place)) path += `${isOpen ? 'L' : 'M'}${at(x(i))} ${at(place)}`;
    isOpen = Number.isFinite(place);
  });
  return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}"/>`;
}

function values(
  columns: readonly Column[],
  x: (index: number) => number,
  y: (value: number) => number,
): string[] {
  const spans = columns.flatMap((one, i) =>
    one.value > one.low ? [`M${at(x(i))} ${at(y(one.low))}V${at(y(one.value))}`] : [],
  );
  return [
    line(columns, x, (one) => y(one.value), COLOUR.value, 1.2),
    `<path d="${spans.join('')}" stroke="${COLOUR.value}" stroke-width="1" fill="none"/>`,
  ];
}

/** The capacity, a strip with the probability, and a mark where the alarm rang. */
function alarms(
  columns: readonly Column[],
  x: (index: number) => number,
  y: (value: number) => number,
  capacity: number,
): string[] {
  const base = TOP + HEIGHT + STRIP;
  const probability = (p: number): number => base - (STRIP - 18) * p;
  const area = columns.map((one, i) => `${at(x(i))},${at(probability(one.contention))}`);
  const marks = columns.flatMap((one, i) =>
    one.alarm
      ? [
          `<line x1="${at(x(i))}" x2="${at(x(i))}" y1="${base}" y2="${base - STRIP + 18}" stroke="${COLOUR.alarm}" stroke-width="1.5"/>`,
        ]
      : [],
  );
  return [
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y(capacity))}" y2="${at(y(capacity))}" stroke="${COLOUR.capacity}" stroke-dasharray="5 4"/>`,
    ...marks,
    `<polyline points="${area.join(' ')}" fill="none" stroke="#555"/>`,
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${base}" y2="${base}" stroke="#999"/>`,
    `<text x="${LEFT - 6}" y="${base}" text-anchor="end">0</text>`,
    `<text x="${LEFT - 6}" y="${base - STRIP + 22}" text-anchor="end">P = 1</text>`,
  ];
}

function timeAxis({ steps, intervalS }: ForecastPlot, height: number): string[] {
  const total = steps.length * intervalS;
  const units: readonly (readonly [number, string])[] = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const [size, unit] = units.find(([one]) => total >= 3 * one) ?? [1, 's'];
  const count = total / size;
  const every =
    [1, 2, 3, 6, 12, 24, 48, 96, 240, 1000, 10_000].find((m) => count / m <= 14) ?? count;
  const parts: string[] = [];
  for (let k = 0; k <= count; k += every) {
    const x = LEFT + ((WIDTH - LEFT - RIGHT) * k) / Math.max(count, 1e-9);
    parts.push(
      `<text x="${at(x)}" y="${height - 14}" text-anchor="middle">${Number(k.toPrecision(4))} ${unit}</text>`,
    );
  }
  return parts;
}

function legend(hasCapacity: boolean): string[] {
  const entries: readonly (readonly [string, string])[] = [
    [COLOUR.value, 'value'],
    [COLOUR.peak, 'maximum that came'],
    [COLOUR.p50, 'P50'],
    [COLOUR.p90, 'P50 to P90'],
    [COLOUR.p99, 'P90 to P99'],
    ...(hasCapacity
      ? ([
          [COLOUR.capacity, 'capacity'],
          ['#555', 'probability'],
          [COLOUR.alarm, 'alarm'],
        ] as const)
      : []),
  ];
  let x = 16;
  return entries.flatMap(([colour, name]) => {
    const here = x;
    x += 32 + name.length * 7;
    return [
      `<rect x="${here}" y="54" width="12" height="12" fill="${colour}"/>`,
      `<text x="${here + 17}" y="64">${name}</text>`,
    ];
  });
}
