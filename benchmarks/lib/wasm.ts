/**
 * Small things to do with a Wasm binary: find a section, measure it, make it unlike another one.
 *
 * Does: walk the section list. Does not: understand a section's content.
 */
import { gzipSync } from 'node:zlib';

const CODE_SECTION = 10;
const CUSTOM_SECTION = 0;

function readU32(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 28) throw new RangeError('bad LEB128');
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) return { value: value >>> 0, next: at };
  }
}

/** Content of the section with this id; empty when there is none. */
export function section(bytes: Uint8Array, id: number): Uint8Array {
  for (let at = 8; at < bytes.length; ) {
    const size = readU32(bytes, at + 1);
    if (bytes[at] === id) return bytes.subarray(size.next, size.next + size.value);
    at = size.next + size.value;
  }
  return new Uint8Array();
}

export interface CodeSize {
  readonly moduleBytes: number;
  readonly codeBytes: number;
  readonly codeGzipBytes: number;
}

export function codeSize(bytes: Uint8Array): CodeSize {
  const code = section(bytes, CODE_SECTION);
  return {
    moduleBytes: bytes.length,
    codeBytes: code.length,
    codeGzipBytes: gzipSync(code, { level: 9 }).length,
  };
}

/**
 * The same module with a custom section that names it. V8 shares compiled code between modules of equal bytes;
 * these have none in common, so that an A/A pair and a cold call are real.
 */
export function unlike(bytes: Uint8Array, mark: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(`bench.${mark}`);
  if (name.length > 100) throw new RangeError('mark too long');
  const extra = Uint8Array.of(CUSTOM_SECTION, name.length + 1, name.length, ...name);
  const out = new Uint8Array(bytes.length + extra.length);
  out.set(bytes);
  out.set(extra, bytes.length);
  return out;
}
