/**
 * Files of time series: `name,v0,v1,…`, one series a line, plain or packed with gzip.
 *
 *     web-1,12.5,13,,14.25        an empty field (or NaN, nan, NA, null) is a missing sample
 *     web-2,7                     series may end earlier than others: they begin together at step 0
 *     # a comment                 and empty lines are skipped
 *
 * Does: read the whole file, give the series in the order of their names. Does not: know what the values mean.
 *
 * F1  The order of the lines means nothing: the series come out sorted by name (UTF-16 code units).
 * F2  A value is a decimal number; one too large to be finite counts as missing. Anything else is refused by line and field.
 * F3  A name is not empty and occurs once.
 * F4  What is packed is known by its first two bytes, not by the file's name.
 */
import { gunzipSync } from 'node:zlib';
import { readSource } from '../node/source.js';
import { EXIT, SherdError } from '../types/errors.js';
import { fileError } from './status.js';

export interface NamedSeries {
  readonly name: string;
  /** In time order; NaN is a missing sample. */
  readonly values: Float64Array;
}

const COMMA = 44;
const MISSING = /^(nan|na|null|none|-)$/i;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const UNPACKED_BYTES_MAX = 2 ** 31 - 1;

/** Rejects with SHERD_FILE when the file cannot be read or is not of this form. */
export async function readSeriesFile(path: string): Promise<NamedSeries[]> {
  const bytes = await readSource(path).catch((cause: unknown) => {
    throw fileError(cause, path, 'cannot read it', EXIT.refused);
  });
  return parseSeries(unpacked(bytes, path), path);
}

function unpacked(bytes: Uint8Array, path: string): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX });
  } catch (cause) {
    throw new SherdError('SHERD_FILE', 'it begins like a gzip file but cannot be unpacked', {
      at: path,
      next: 'fetch it again, or give the plain .csv',
      exitCode: EXIT.refused,
      cause,
    });
  }
}

/** The series of a file's content, sorted by name. */
export function parseSeries(bytes: Uint8Array, path: string): NamedSeries[] {
  const series: NamedSeries[] = [];
  const lineOfName = new Map<string, number>();
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  lines.forEach((raw, index) => {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line.trim() === '' || line.startsWith('#')) return;
    const one = parseLine(line, index + 1, path);
    const before = lineOfName.get(one.name);
    if (before !== undefined) {
      throw refused(path, `line ${index + 1}: series ${one.name} is on line ${before} already`);
    }
    lineOfName.set(one.name, index + 1);
    series.push(one);
  });
  if (series.length === 0) throw refused(path, 'it holds no series');
  return series.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseLine(line: string, number: number, path: string): NamedSeries {
  const end = line.indexOf(',');
  const name = (end < 0 ? line : line.slice(0, end)).trim();
  if (name === '') throw refused(path, `line ${number}: it has no name`);
  if (end < 0) return { name, values: new Float64Array(0) };
  let fields = 1;
  for (let at = end + 1; at < line.length; at++) if (line.charCodeAt(at) === COMMA) fields++;
  const values = new Float64Array(fields);
  let from = end + 1;
  for (let field = 0; field < fields; field++) {
    const comma = line.indexOf(',', from);
    const to = comma < 0 ? line.length : comma;
    values[field] = numberOf(line.slice(from, to), number, field, path);
    from = to + 1;
  }
  return { name, values };
}

function numberOf(field: string, line: number, step: number, path: string): number {
  const text = field.trim();
  if (text === '' || MISSING.test(text)) return Number.NaN;
  if (!NUMBER.test(text)) {
    const shown = text.length > 24 ? `${text.slice(0, 24)}…` : text;
    throw refused(path, `line ${line}, value ${step}: ${shown} is not a number`);
  }
  const value = Number(text);
  return Number.isFinite(value) ? value : Number.NaN;
}

function refused(path: string, message: string): SherdError {
  return new SherdError('SHERD_FILE', message, {
    at: path,
    next: 'write one series a line: name,v0,v1,… (an empty field is a missing sample)',
    exitCode: EXIT.refused,
  });
}
