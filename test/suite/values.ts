/**
 * Values of the core test suite: as raw bytes, as JavaScript values, and compared with what is expected.
 *
 *   { type: 'i32', value: '4294967295' }      bits as an unsigned decimal number, also of floats
 *   { type: 'f32', value: 'nan:canonical' }   or nan:arithmetic: a class of NaNs
 *   { type: 'v128', lane_type: 'i8', value: […] }   { type: 'funcref', value: 'null' }
 *
 * Does: convert and compare. Does not: run anything.
 */
import type { Value } from './script.js';

const LANE_BITS: Readonly<Record<string, number>> = {
  i8: 8,
  i16: 16,
  i32: 32,
  i64: 64,
  f32: 32,
  f64: 64,
};

function put(bytes: Uint8Array, at: number, bits: number, value: string): void {
  let rest = BigInt.asUintN(bits, BigInt(value));
  for (let i = 0; i < bits / 8; i++, rest >>= 8n) bytes[at + i] = Number(rest & 255n);
}

/** Arguments as an instance takes them; undefined: one cannot be given. */
export function rawArguments(args: readonly Value[]): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  for (const { type, value, lane_type } of args) {
    const bytes = new Uint8Array(type === 'v128' ? 16 : 8);
    if (type === 'v128') {
      const bits = LANE_BITS[lane_type!]!;
      (value as readonly string[]).forEach((lane, i) => {
        put(bytes, (i * bits) / 8, bits, lane);
      });
    } else if (type.endsWith('ref')) {
      if (value !== 'null') return undefined;
    } else put(bytes, 0, type.endsWith('32') ? 32 : 64, value as string);
    parts.push(bytes);
  }
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Arguments as JavaScript has them; undefined: a vector, or a NaN whose bits JavaScript may change. */
export function plainArguments(args: readonly Value[]): unknown[] | undefined {
  const plain: unknown[] = [];
  for (const { type, value } of args) {
    const data = new DataView(new ArrayBuffer(8));
    if (type.endsWith('ref')) {
      if (value !== 'null') return undefined;
      plain.push(null);
      continue;
    }
    if (type === 'v128') return undefined;
    data.setBigUint64(0, BigInt.asUintN(64, BigInt(value as string)), true);
    if (type === 'i32') plain.push(data.getInt32(0, true));
    else if (type === 'i64') plain.push(data.getBigInt64(0, true));
    else plain.push(type === 'f32' ? data.getFloat32(0, true) : data.getFloat64(0, true));
    if (Number.isNaN(plain[plain.length - 1])) return undefined;
  }
  return plain;
}

const bitsAt = (raw: Uint8Array, at: number, bits: number): bigint => {
  let value = 0n;
  for (let i = bits / 8 - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[at + i]!);
  return value;
};

function sameBits(expected: string, got: bigint, bits: number): boolean {
  if (!expected.startsWith('nan')) return BigInt.asUintN(bits, BigInt(expected)) === got;
  const quiet = bits === 32 ? 0x7fc0_0000n : 0x7ff8_0000_0000_0000n;
  const magnitude = got & ((1n << BigInt(bits - 1)) - 1n);
  return expected === 'nan:canonical' ? magnitude === quiet : (magnitude & quiet) === quiet;
}

/** Undefined when raw results are as expected, else what differs. */
export function fits(expected: readonly Value[], raw: Uint8Array): string | undefined {
  let at = 0;
  for (const { type, value, lane_type } of expected) {
    if (type === 'v128') {
      const bits = LANE_BITS[lane_type!]!;
      const wrong = (value as readonly string[]).some(
        (lane, i) => !sameBits(lane, bitsAt(raw, at + (i * bits) / 8, bits), bits),
      );
      if (wrong) return `v128 ${JSON.stringify(value)} expected`;
      at += 16;
      continue;
    }
    const bits = type.endsWith('32') ? 32 : 64;
    const got = bitsAt(raw, at, bits);
    if (type.endsWith('ref')) {
      if (value !== undefined && (value === 'null') !== (got === 0n))
        return `${type} ${value} expected`;
    } else if (!sameBits(value as string, got, bits))
      return `${type} ${value} expected, got ${got}`;
    at += 8;
  }
  return at === raw.length ? undefined : 'another number of results';
}

/** The same for what JavaScript got from the engine. NaNs are only known to be NaNs. */
export function fitsValues(expected: readonly Value[], value: unknown): boolean {
  const values =
    expected.length === 1 ? [value] : expected.length === 0 ? [] : [...(value as unknown[])];
  return expected.every(({ type, value: wanted }, i) => {
    const got = values[i];
    if (type.endsWith('ref')) return wanted === undefined || (wanted === 'null') === (got === null);
    if (type === 'f32' || type === 'f64') {
      const data = new DataView(new ArrayBuffer(8));
      const text = wanted as string;
      if (text.startsWith('nan')) return Number.isNaN(got);
      data.setBigUint64(0, BigInt(text), true);
      const number = type === 'f32' ? data.getFloat32(0, true) : data.getFloat64(0, true);
      return Object.is(number, got);
    }
    const bits = type === 'i32' ? 32 : 64;
    return (
      BigInt.asUintN(bits, BigInt(wanted as string)) === BigInt.asUintN(bits, BigInt(got as number))
    );
  });
}
