/**
 * Plain text tables for terminals and for README files.
 *
 * Does: align cells (numbers right, words left). Does not: wrap or colour.
 */

export type Cell = string | number | undefined;

export function renderTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = rows.map((row) => row.map((cell) => (cell === undefined ? '' : String(cell))));
  const widths = header.map((title, column) =>
    Math.max(title.length, ...text.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [
    line(header),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...text.map(line),
  ].join('\n');
}

export function ratioText(value: number): string {
  return value.toFixed(value >= 10 ? 1 : 3);
}

/** `1.043 [1.031, 1.055]` */
export function estimateText(estimate: {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}): string {
  return `${ratioText(estimate.value)} [${ratioText(estimate.low)}, ${ratioText(estimate.high)}]`;
}
