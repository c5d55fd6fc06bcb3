/**
 * Horizontal grouped bars with bounds, as an SVG text that needs nothing else.
 *
 *   gemm   ███████▏─┤            each group: one bar a series, whisker = 90 % bound
 *          ██████████████▏─┤
 *   ─────────┴──────┴─────       vertical line at `reference`
 *
 * Does: draw. Does not: choose what to show.
 */

export interface Bar {
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

export interface Chart {
  readonly title: string;
  readonly subtitle: string;
  readonly unit: string;
  readonly reference: number;
  readonly series: readonly { readonly name: string; readonly colour: string }[];
  readonly groups: readonly {
    readonly name: string;
    readonly bars: readonly (Bar | undefined)[];
  }[];
}

const WIDTH = 860;
const LEFT = 110;
const RIGHT = 70;
const TOP = 84;
const BAR = 13;
const GAP = 12;

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export function renderChart(chart: Chart): string {
  const groupHeight = chart.series.length * BAR + GAP;
  const height = TOP + chart.groups.length * groupHeight + 30;
  const largest = Math.max(
    chart.reference,
    ...chart.groups.flatMap(({ bars }) => bars.map((bar) => bar?.high ?? bar?.value ?? 0)),
  );
  const scale = (value: number): number => LEFT + (value / largest) * (WIDTH - LEFT - RIGHT);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="16" y="24" font-size="16" font-weight="600">${escapeXml(chart.title)}</text>`,
    `<text x="16" y="42" fill="#555">${escapeXml(chart.subtitle)}</text>`,
    ...legend(chart),
    ...chart.groups.flatMap((group, index) =>
      drawGroup(chart, group, TOP + index * groupHeight, scale),
    ),
    `<line x1="${scale(chart.reference)}" x2="${scale(chart.reference)}" y1="${TOP - 6}" y2="${height - 26}" stroke="#222" stroke-dasharray="3 3"/>`,
    `<text x="${scale(chart.reference)}" y="${height - 10}" text-anchor="middle" fill="#222">${chart.reference.toFixed(2)} ${escapeXml(chart.unit)}</text>`,
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function legend(chart: Chart): string[] {
  let x = 16;
  return chart.series.flatMap(({ name, colour }) => {
    const at = x;
    x += 28 + name.length * 7;
    return [
      `<rect x="${at}" y="53" width="12" height="12" fill="${colour}"/>`,
      `<text x="${at + 17}" y="63">${escapeXml(name)}</text>`,
    ];
  });
}

function drawGroup(
  chart: Chart,
  group: Chart['groups'][number],
  top: number,
  scale: (value: number) => number,
): string[] {
  const parts = [
    `<text x="${LEFT - 8}" y="${top + (chart.series.length * BAR) / 2 + 4}" text-anchor="end">${escapeXml(group.name)}</text>`,
  ];
  group.bars.forEach((bar, index) => {
    if (bar === undefined) return;
    const y = top + index * BAR;
    const middle = y + BAR / 2 - 1;
    const end = scale(bar.value);
    parts.push(
      `<rect x="${LEFT}" y="${y}" width="${end - LEFT}" height="${BAR - 2}" fill="${chart.series[index]?.colour ?? '#888'}"/>`,
    );
    if (bar.low !== undefined && bar.high !== undefined) {
      parts.push(
        `<line x1="${scale(bar.low)}" x2="${scale(bar.high)}" y1="${middle}" y2="${middle}" stroke="#000"/>`,
      );
    }
    parts.push(
      `<text x="${scale(bar.high ?? bar.value) + 5}" y="${middle + 4}" font-size="10">${bar.value.toFixed(2)}</text>`,
    );
  });
  return parts;
}
