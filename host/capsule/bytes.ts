/**
 * Small byte tools of the capsule formats: hex, LEB128 and a checked reader.
 *
 * Does: read and write without trusting a length. Does not: know any format.
 *
 * Y1  `ByteReader` never reads past its end; every refusal goes through the `fail` that it was given.
 * Y2  LEB128 is written in its shortest form and read in no other, at most 32 bits.
 */

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function bytesToHex(bytes: Uint8Array): string {
  let text = '';
  for (const each of bytes) text += HEX[each];
  return text;
}

/** Bytes of lower-case hex of even length (checked by the callers' types: a `Hash`). */
export function hexToBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length >>> 1);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

/** Bytes that `writeLeb` takes for the value. */
export function lebBytes(value: number): number {
  let bytes = 1;
  for (let rest = value >>> 7; rest !== 0; rest >>>= 7) bytes++;
  return bytes;
}

/** Writes an unsigned 32-bit LEB128 and gives the position after it. */
export function writeLeb(target: Uint8Array, position: number, value: number): number {
  let rest = value >>> 0;
  let at = position;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

export class ByteReader {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #fail: (reason: string) => Error;

  constructor(bytes: Uint8Array, fail: (reason: string) => Error) {
    this.#bytes = bytes;
    this.#fail = fail;
  }

  get left(): number {
    return this.#bytes.length - this.position;
  }

  leb(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) throw this.#fail('cut short');
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value > 0xffff_ffff || (byte === 0 && shift > 0)) throw this.#fail('malformed number');
        return value;
      }
    }
    throw this.#fail('malformed number');
  }

  u32(): number {
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  }

  /** A view of the next bytes. */
  take(length: number): Uint8Array {
    if (length > this.left) throw this.#fail(`${length} bytes wanted where ${this.left} are left`);
    const bytes = this.#bytes.subarray(this.position, this.position + length);
    this.position += length;
    return bytes;
  }

  end(): void {
    if (this.left !== 0) throw this.#fail(`${this.left} bytes left over`);
  }
}
