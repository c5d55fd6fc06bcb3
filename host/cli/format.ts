/**
 * Text for terminals: durations, sizes, counts, tables.
 *
 * Does: parse what users type (`500ms`, `64MiB`, `1_000_000`) and print what reports show.
 * Does not: write to any stream.
 *
 * X1  A parser accepts exactly the documented forms and refuses everything else with SHERD_USAGE, naming the option.
 * X2  Tables are aligned by display width; columns of figures are right-aligned; a totals row stands under a rule.
 */
import { FUEL_MAX } from '../node/start-options.js';
import { invariant, usageError } from '../types/errors.js';

export { usageError } from '../types/errors.js';

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const SIZE_BYTES: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  kb: 1000,
  kib: 1024,
  m: 1024 ** 2,
  mb: 1000 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1000 ** 3,
  gib: 1024 ** 3,
};

/** `500ms`, `2s`, `1.5m`, `1h`, `0` → milliseconds. A number alone is refused (seconds or milliseconds?). */
export function parseDurationMs(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match === null ? undefined : DURATION_MS[match[2]!.toLowerCase()];
  if (match !== null && Number(match[1]) === 0) return 0;
  if (match === null || unit === undefined) {
    throw usageError(`${option} ${text}: not a duration`, 'write it like 500ms, 2s, 1.5m or 1h');
  }
  const ms = Math.round(Number(match[1]) * unit);
  if (!Number.isSafeInteger(ms)) throw usageError(`${option} ${text}: too long`);
  return ms;
}

/** `64MiB`, `1G`, `65536`, `500kB` → bytes. */
export function parseSizeBytes(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit =
    match === null ? undefined : match[2] === '' ? 1 : SIZE_BYTES[match[2]!.toLowerCase()];
  if (match === null || unit === undefined) {
    throw usageError(`${option} ${text}: not a size`, 'write it like 64MiB, 1GiB or 65536');
  }
  const bytes = Math.round(Number(match[1]) * unit);
  if (!Number.isSafeInteger(bytes)) throw usageError(`${option} ${text}: too large`);
  return bytes;
}

/** `1000000`, `1_000_000`, `1e6`, `10M` → an exact whole number ≥ 0. */
export function parseCount(text: string, option: string): bigint {
  const match = /^(\d[\d_]*)(?:e(\d{1,2})|([kMGT]))?$/.exec(text.trim());
  if (match === null) {
    throw usageError(`${option} ${text}: not a whole number`, 'write it like 250000, 1e6 or 10M');
  }
  const power =
    match[2] !== undefined ? Number(match[2]) : ({ k: 3, M: 6, G: 9, T: 12 }[match[3] ?? ''] ?? 0);
  const count = BigInt(match[1]!.replaceAll('_', '')) * 10n ** BigInt(power);
  if (count > FUEL_MAX) throw usageError(`${option} ${text}: too large`, 'give at most 9e18');
  return count;
}

/** A small whole number within bounds. */
export function parseInteger(text: string, option: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw usageError(`${option} ${text}: not a whole number from ${min} to ${max}`);
  }
  return value;
}

/** `12.3 KiB`; exact bytes below 1 KiB. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** `850 ms`, `2.41 s`, `3 min 05 s`. */
export function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600)
    return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} min`;
}

/** `1,234,567`. */
export function formatCount(value: number | bigint): string {
  const text = typeof value === 'bigint' ? value.toString() : Math.round(value).toString();
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** `1.23 M`: three significant digits for progress lines. */
export function formatShort(value: number | bigint): string {
  let amount = Number(value);
  const units = ['', ' k', ' M', ' G', ' T', ' P'];
  let unit = 0;
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2;
  return `${amount.toFixed(digits)}${units[unit]}`;
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Aligned rows under their titles; `totals` is set off by a rule. Ends with a newline. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  totals?: readonly string[],
): string {
  const all = totals === undefined ? rows : [...rows, totals];
  for (const row of all)
    invariant(row.length === columns.length, 'a table row has one cell a column');
  const widths = columns.map((column, at) =>
    Math.max(displayWidth(column.title), ...all.map((row) => displayWidth(row[at]!))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => {
        const padding = ' '.repeat(widths[at]! - displayWidth(cell));
        return columns[at]!.align === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd();
  const lines = [line(columns.map((column) => column.title)), ...rows.map(line)];
  if (totals !== undefined) {
    lines.push('─'.repeat(widths.reduce((sum, width) => sum + width + 2, -2)), line(totals));
  }
  return `${lines.join('\n')}\n`;
}

/** `label   value` lines, values in one column. */
export function renderFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(0, ...fields.map(([label]) => displayWidth(label)));
  return fields
    .map(([label, value]) => `${label}${' '.repeat(width - displayWidth(label))}  ${value}\n`)
    .join('');
}

function displayWidth(text: string): number {
  return [...text].length;
}

/** JSON with bigint as a number where exact, else as a string; bytes as base64. One trailing newline. */
export function renderJson(value: unknown, indent = 2): string {
  return `${JSON.stringify(value, jsonValue, indent)}\n`;
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= -BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : value.toString();
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Map) return Object.fromEntries(value);
  return value;
}
