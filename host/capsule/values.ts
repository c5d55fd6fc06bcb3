/**
 * Wasm values and plain data as readable, JSON-able text, exactly.
 *
 * X1  No digit is lost: floats print in the shortest form that reads back as the same number, a NaN with its payload.
 * X2  Byte strings are shown by length and beginning, lists and maps up to a limit; what is left out is counted.
 */
import type { Plain, ValType } from '../types/state.js';
import { bytesToHex } from './bytes.js';

const MAX_ITEMS = 64;
const MAX_DEPTH = 8;
const MAX_SHOWN_BYTES = 32;

export interface ValueReport {
  readonly type: ValType;
  /** Decimal integer, exact float, or `nan:0x…` with its sign; v128: its 16 bytes in memory order; `function N` or null. */
  readonly value: string;
}

/** Bytes that a value takes in a frame or among the globals. */
export function valueBytes(type: ValType): number {
  return type === 'v128' ? 16 : 8;
}

/** The value at the start of these little-endian bytes. */
export function readValue(type: ValType, bytes: Uint8Array): ValueReport {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case 'i32':
      return { type, value: view.getInt32(0, true).toString() };
    case 'i64':
      return { type, value: view.getBigInt64(0, true).toString() };
    case 'f32':
      return { type, value: float32Text(view) };
    case 'f64':
      return { type, value: float64Text(view) };
    case 'v128':
      return { type, value: `0x${bytesToHex(bytes.subarray(0, 16))}` };
    case 'funcref': {
      const place = view.getUint32(0, true);
      return { type, value: place === 0 ? 'null' : `function ${place - 1}` };
    }
    case 'externref':
      return { type, value: 'null' };
  }
}

function float32Text(view: DataView): string {
  const bits = view.getUint32(0, true);
  const payload = bits & 0x7f_ffff;
  if ((bits & 0x7f80_0000) === 0x7f80_0000 && payload !== 0)
    return nanText(bits >>> 31 === 1, BigInt(payload));
  return numberText(shortestFloat32(view.getFloat32(0, true)));
}

/** The shortest decimal that rounds to the same f32. */
function shortestFloat32(value: number): number {
  for (let digits = 6; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Object.is(Math.fround(short), value)) return short;
  }
  return value;
}

function float64Text(view: DataView): string {
  const bits = view.getBigUint64(0, true);
  const payload = bits & 0xf_ffff_ffff_ffffn;
  const exponent = (bits >> 52n) & 0x7ffn;
  if (exponent === 0x7ffn && payload !== 0n) return nanText(bits >> 63n === 1n, payload);
  return numberText(view.getFloat64(0, true));
}

function nanText(negative: boolean, payload: bigint): string {
  return `${negative ? '-' : ''}nan:0x${payload.toString(16)}`;
}

/** A JS number, -0 and infinities included. */
export function numberText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** Anything that JSON can carry. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Plain data of unknown meaning, cut to what a person reads. bigint: decimal text with `n`. */
export function outline(value: Plain, depth = 0): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : numberText(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return bytesText(value);
  if (isList(value)) return outlineList(value, depth);
  const keys = Object.keys(value).sort();
  if (depth >= MAX_DEPTH) return `{${keys.length} fields}`;
  const shown = keys
    .slice(0, MAX_ITEMS)
    .map((key): [string, Json] => [
      key,
      outline((value as Record<string, Plain>)[key] ?? null, depth + 1),
    ]);
  if (keys.length > MAX_ITEMS) shown.push(['…', `${keys.length - MAX_ITEMS} more`]);
  return Object.fromEntries(shown);
}

function isList(value: Plain): value is readonly Plain[] {
  return Array.isArray(value);
}

function outlineList(list: readonly Plain[], depth: number): Json {
  if (depth >= MAX_DEPTH) return `[${list.length} items]`;
  const shown = list.slice(0, MAX_ITEMS).map((each) => outline(each, depth + 1));
  return list.length > MAX_ITEMS ? [...shown, `… ${list.length - MAX_ITEMS} more`] : shown;
}

function bytesText(bytes: Uint8Array): string {
  const head = bytesToHex(bytes.subarray(0, MAX_SHOWN_BYTES));
  return `0x${head}${bytes.length > MAX_SHOWN_BYTES ? `… (${bytes.length} bytes)` : ''}`;
}
