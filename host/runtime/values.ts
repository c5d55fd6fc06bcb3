/**
 * Small parts of an instance: raw values of host calls, and the words for what went wrong.
 *
 * Does: encode results, size value lists, name mismatches and the cause behind an `unreachable`.
 * Does not: hold state.
 */
import { EXIT, SherdError } from '../types/errors.js';
import type { TrapInfo, ValType } from '../types/state.js';

/** What is behind an `unreachable`: no room for frames (the frame store's own), or memory that the limit refused. */
export function blame(trap: TrapInfo, full: boolean, refused: boolean): TrapInfo {
  if (trap.trapKind !== 'unreachable') return trap;
  if (full) return { ...trap, trapKind: 'call stack exhausted', message: 'call stack exhausted' };
  if (!refused) return trap;
  return {
    ...trap,
    trapKind: 'memory limit',
    message: 'the program gave up after the memory limit refused it more',
  };
}

export function mismatch(why: string): SherdError {
  return new SherdError('SHERD_CAPSULE_MISMATCH', `the capsule does not fit the module: ${why}`, {
    next: 'give the shard module with which the capsule was made',
    exitCode: EXIT.refused,
  });
}

/** Bytes of a list of raw values. */
export function valueBytes(types: readonly ValType[]): number {
  return types.reduce((sum, type) => sum + (type === 'v128' ? 16 : 8), 0);
}

/** Among raw values: an externref that is not null. */
export function holdsExternref(types: readonly ValType[], raw: Uint8Array): boolean {
  const data = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  let from = 0;
  return types.some((type) => {
    const at = from;
    from += valueBytes([type]);
    return type === 'externref' && data.getBigUint64(at, true) !== 0n;
  });
}

export function zeroResult(types: readonly ValType[]): number | bigint | undefined {
  const [type] = types;
  return type === undefined ? undefined : type === 'i64' ? 0n : 0;
}

/** A host function's result as raw bytes. */
export function encodeValue(types: readonly ValType[], value: number | bigint | void): Uint8Array {
  const out = new Uint8Array(valueBytes(types));
  const data = new DataView(out.buffer);
  const [type] = types;
  if (type === undefined) return out;
  if (type === 'i64') data.setBigInt64(0, BigInt(value ?? 0), true);
  else if (type === 'i32') data.setInt32(0, Number(value ?? 0), true);
  else if (type === 'f32') data.setFloat32(0, Number(value ?? 0), true);
  else if (type === 'f64') data.setFloat64(0, Number(value ?? 0), true);
  else throw new SherdError('SHERD_IMPORT_UNSUPPORTED', 'a host function cannot return v128');
  return out;
}

/** The number of a reference at `at`: function index + 1, or 0. */
export function numberAt(raw: Uint8Array, at: number): number {
  const value = new DataView(raw.buffer, raw.byteOffset + at, 8).getBigUint64(0, true);
  if (value > 0xffff_ffffn) throw mismatch('a reference that names no function');
  return Number(value);
}

export function putNumber(raw: Uint8Array, at: number, value: number): void {
  new DataView(raw.buffer, raw.byteOffset + at, 8).setBigUint64(0, BigInt(value), true);
}
