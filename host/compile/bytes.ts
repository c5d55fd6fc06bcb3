/**
 * Reading and writing the Wasm binary format's primitive values.
 *
 * Does: bounds-checked LEB128, bytes, names and vectors over one Uint8Array; a growing writer.
 * Does not: know any section or instruction.
 *
 * Y1  A reader never reads past `end`; every failure is SHERD_WASM_MALFORMED with the byte offset.
 * Y2  A LEB128 longer than its type allows is malformed.
 * Y3  The writer uses the shortest LEB128 form, except `u32Fixed`.
 */
import { EXIT, SherdError } from '../types/errors.js';

/** The error for a binary that is not well-formed at `offset`. */
export function malformed(offset: number, reason: string): SherdError {
  return new SherdError('SHERD_WASM_MALFORMED', `malformed Wasm at byte ${offset}: ${reason}`, {
    next: 'check that the file is complete and validates (for example with wasm-validate)',
    exitCode: EXIT.refused,
  });
}

/** Below so many bytes a loop is faster than a call into the engine. */
const COPY_BY_HAND = 48;

/** Bytes of the shortest unsigned LEB128 form. */
export function lebBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
const utf8Encoder = new TextEncoder();

export class ByteReader {
  readonly bytes: Uint8Array;
  pos: number;
  readonly end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
  }

  get done(): boolean {
    return this.pos >= this.end;
  }

  u8(): number {
    if (this.pos >= this.end) throw malformed(this.pos, 'unexpected end');
    return this.bytes[this.pos++]!;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    const first = this.u8();
    if (first < 0x80) return first;
    let result = first & 0x7f;
    for (let shift = 7; shift <= 28; shift += 7) {
      const byte = this.u8();
      if (shift === 28 && byte > 0x0f) throw malformed(this.pos - 1, 'integer too large for u32');
      result |= (byte & 0x7f) << shift;
      if (byte < 0x80) return result >>> 0;
    }
    throw malformed(this.pos - 1, 'integer representation too long');
  }

  /** Signed LEB128 of at most 32 bits. */
  s32(): number {
    let result = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.u8();
      result |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (shift === 28) this.checkTopBits(byte, 0x0f, 0x08);
        else if (byte & 0x40) result |= -1 << (shift + 7);
        return result;
      }
    }
    throw malformed(this.pos - 1, 'integer representation too long');
  }

  private checkTopBits(byte: number, mask: number, sign: number): void {
    const rest = byte & 0x7f & ~(mask >> 1);
    const expected = byte & sign ? 0x7f & ~(mask >> 1) : 0;
    if (rest !== expected) throw malformed(this.pos - 1, 'integer too large for i32');
  }

  /** Signed LEB128 of at most 33 bits (block types), as a JS number. */
  s33(): number {
    let result = 0;
    let factor = 1;
    for (let index = 0; index < 5; index++) {
      const byte = this.u8();
      result += (byte & 0x7f) * factor;
      factor *= 128;
      if (byte < 0x80) return byte & 0x40 ? result - factor : result;
    }
    throw malformed(this.pos - 1, 'integer representation too long');
  }

  /** Steps over a signed LEB128 of at most 64 bits. */
  skipS64(): void {
    for (let index = 0; index < 10; index++) {
      const byte = this.u8();
      if (byte >= 0x80) continue;
      if (index === 9 && byte !== 0 && byte !== 0x7f)
        throw malformed(this.pos - 1, 'integer too large for i64');
      return;
    }
    throw malformed(this.pos - 1, 'integer representation too long');
  }

  skip(count: number): void {
    if (count > this.end - this.pos) throw malformed(this.pos, 'unexpected end');
    this.pos += count;
  }

  take(count: number): Uint8Array {
    const start = this.pos;
    this.skip(count);
    return this.bytes.subarray(start, start + count);
  }

  name(): string {
    const length = this.u32();
    const at = this.pos;
    try {
      return utf8.decode(this.take(length));
    } catch (error) {
      if (error instanceof SherdError) throw error;
      throw malformed(at, 'name is not UTF-8');
    }
  }

  /** A vector's length, refused when even one byte an element would not fit. */
  count(what: string): number {
    const at = this.pos;
    const n = this.u32();
    if (n > this.end - this.pos)
      throw malformed(at, `${what} count ${n} is larger than the section`);
    return n;
  }
}

export class ByteWriter {
  private buffer: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity);
  }

  private reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }

  u8(value: number): this {
    if (this.length === this.buffer.length) this.reserve(1);
    this.buffer[this.length++] = value;
    return this;
  }

  u32(value: number): this {
    if (value >= 0 && value < 0x80) return this.u8(value);
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.u8(rest);
  }

  s32(value: number): this {
    let rest = value | 0;
    for (;;) {
      const byte = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && !(byte & 0x40)) || (rest === -1 && byte & 0x40)) return this.u8(byte);
      this.u8(byte | 0x80);
    }
  }

  put(bytes: Uint8Array): this {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** An opcode byte with one index. */
  op(code: number, index: number): this {
    return this.u8(code).u32(index);
  }

  /** Copies `[start, end)` of another array. */
  copy(bytes: Uint8Array, start: number, end: number): this {
    const count = end - start;
    this.reserve(count);
    if (count < COPY_BY_HAND) {
      const { buffer } = this;
      let at = this.length;
      for (let i = start; i < end; i++) buffer[at++] = bytes[i]!;
      this.length = at;
    } else {
      this.buffer.set(bytes.subarray(start, end), this.length);
      this.length += count;
    }
    return this;
  }

  /** Appends what another writer holds. */
  append(other: ByteWriter): this {
    return this.copy(other.buffer, 0, other.length);
  }

  /** Forgets the content and keeps the memory. */
  clear(): this {
    this.length = 0;
    return this;
  }

  name(text: string): this {
    const bytes = utf8Encoder.encode(text);
    return this.u32(bytes.length).put(bytes);
  }

  /** The content so far: a view, valid until the next write. */
  view(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  finish(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}
