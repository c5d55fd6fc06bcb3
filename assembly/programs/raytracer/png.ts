/**
 * RGB picture → PNG file, with a small deflate of its own.
 *
 * Does: adaptive row filters, LZ77 with one hash slot per 4-byte prefix, fixed Huffman codes, CRC-32, Adler-32.
 * Does not: dynamic Huffman codes, palettes, alpha.
 *
 *   signature | IHDR | IDAT = zlib( filter byte, row )* | IEND      chunk = length, type, data, CRC (big-endian)
 */

const WINDOW: i32 = 32768;
const HASH_BITS: i32 = 15;
const MATCH_MAX: i32 = 258;

class ByteSink {
  bytes: Uint8Array = new Uint8Array(1 << 16);
  length: i32 = 0;
  private bitBuffer: u32 = 0;
  private bitCount: i32 = 0;

  byte(value: u32): void {
    if (this.length == this.bytes.length) {
      const larger = new Uint8Array(this.length * 2);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    unchecked((this.bytes[this.length++] = value as u8));
  }

  u32be(value: u32): void {
    this.byte(value >> 24);
    this.byte(value >> 16);
    this.byte(value >> 8);
    this.byte(value);
  }

  /** Deflate's order: first bit of a value goes into the lowest free bit. */
  bits(value: u32, count: i32): void {
    this.bitBuffer |= value << this.bitCount;
    this.bitCount += count;
    while (this.bitCount >= 8) {
      this.byte(this.bitBuffer);
      this.bitBuffer >>= 8;
      this.bitCount -= 8;
    }
  }

  /** Huffman codes go most significant bit first. */
  code(value: u32, count: i32): void {
    let reversed: u32 = 0;
    for (let i = 0; i < count; i++) reversed |= ((value >> i) & 1) << (count - 1 - i);
    this.bits(reversed, count);
  }

  alignByte(): void {
    if (this.bitCount > 0) this.bits(0, 8 - this.bitCount);
  }
}

/** Literal, length or end symbol in the fixed code. */
function symbol(sink: ByteSink, value: i32): void {
  if (value < 144) sink.code(0x30 + value, 8);
  else if (value < 256) sink.code(0x190 + value - 144, 9);
  else if (value < 280) sink.code(value - 256, 7);
  else sink.code(0xc0 + value - 280, 8);
}

function lengthSymbol(sink: ByteSink, length: i32): void {
  if (length == MATCH_MAX) {
    symbol(sink, 285);
    return;
  }
  const n = length - 3;
  if (n < 8) {
    symbol(sink, 257 + n);
    return;
  }
  const extra = 29 - clz<i32>(n); // 4 codes for each number of extra bits
  symbol(sink, 257 + 4 * extra + (n >> extra));
  sink.bits(n & ((1 << extra) - 1), extra);
}

function distanceSymbol(sink: ByteSink, distance: i32): void {
  const n = distance - 1;
  if (n < 4) {
    sink.code(n, 5);
    return;
  }
  const extra = 30 - clz<i32>(n); // 2 codes for each number of extra bits
  sink.code(2 * extra + (n >> extra), 5);
  sink.bits(n & ((1 << extra) - 1), extra);
}

function matchLength(data: Uint8Array, a: i32, b: i32, limit: i32): i32 {
  let n = 0;
  while (n < limit && unchecked(data[a + n]) == unchecked(data[b + n])) n++;
  return n;
}

function deflate(sink: ByteSink, data: Uint8Array): void {
  const heads = new StaticArray<i32>(1 << HASH_BITS);
  for (let i = 0; i < heads.length; i++) heads[i] = -WINDOW;
  sink.bits(1, 1); // last block
  sink.bits(1, 2); // fixed codes
  const end = data.length;
  let at = 0;
  while (at < end) {
    let best = 0;
    let source = 0;
    if (at + 4 <= end) {
      const slot = (load<u32>(data.dataStart + at) * 0x9e3779b1) >> (32 - HASH_BITS);
      source = heads[slot];
      heads[slot] = at;
      if (at - source <= WINDOW && source >= 0) best = matchLength(data, source, at, min(MATCH_MAX, end - at));
    }
    if (best >= 4) {
      lengthSymbol(sink, best);
      distanceSymbol(sink, at - source);
      at += best;
    } else symbol(sink, unchecked(data[at++]));
  }
  symbol(sink, 256);
  sink.alignByte();
}

function adler32(data: Uint8Array): u32 {
  let a: u32 = 1;
  let b: u32 = 0;
  for (let i = 0; i < data.length; i++) {
    a = (a + unchecked(data[i])) % 65521;
    b = (b + a) % 65521;
  }
  return (b << 16) | a;
}

function crc32(data: Uint8Array, from: i32, to: i32): u32 {
  const table = new StaticArray<u32>(256);
  for (let n = 0; n < 256; n++) {
    let c: u32 = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  let crc: u32 = 0xffffffff;
  for (let i = from; i < to; i++) crc = unchecked(table[(crc ^ data[i]) & 255]) ^ (crc >> 8);
  return ~crc;
}

function chunk(sink: ByteSink, type: string, data: Uint8Array, length: i32): void {
  sink.u32be(length);
  const start = sink.length;
  for (let i = 0; i < 4; i++) sink.byte(type.charCodeAt(i));
  for (let i = 0; i < length; i++) sink.byte(unchecked(data[i]));
  sink.u32be(crc32(sink.bytes, start, sink.length));
}

function paeth(a: i32, b: i32, c: i32): i32 {
  const p = a + b - c;
  const pa = abs(p - a);
  const pb = abs(p - b);
  const pc = abs(p - c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/** One filtered row into `target`; gives the sum of absolute differences, the usual measure of a filter's worth. */
function filterRow(rgb: Uint8Array, row: i32, stride: i32, filter: i32, target: Uint8Array, at: i32): i32 {
  const start = row * stride;
  let sum = 0;
  unchecked((target[at] = filter as u8));
  for (let i = 0; i < stride; i++) {
    const left: i32 = i >= 3 ? unchecked(rgb[start + i - 3]) : 0;
    const up: i32 = row > 0 ? unchecked(rgb[start + i - stride]) : 0;
    const upLeft: i32 = row > 0 && i >= 3 ? unchecked(rgb[start + i - stride - 3]) : 0;
    let guess = 0;
    if (filter == 1) guess = left;
    else if (filter == 2) guess = up;
    else if (filter == 3) guess = (left + up) >> 1;
    else if (filter == 4) guess = paeth(left, up, upLeft);
    const difference = (unchecked(rgb[start + i]) - guess) as u8;
    unchecked((target[at + 1 + i] = difference));
    sum += abs((difference as i8) as i32);
  }
  return sum;
}

function filterRows(rgb: Uint8Array, width: i32, height: i32): Uint8Array {
  const stride = width * 3;
  const filtered = new Uint8Array((stride + 1) * height);
  for (let row = 0; row < height; row++) {
    const at = row * (stride + 1);
    let best = i32.MAX_VALUE;
    let filter = 0;
    for (let f = 0; f < 5; f++) {
      const sum = filterRow(rgb, row, stride, f, filtered, at);
      if (sum < best) {
        best = sum;
        filter = f;
      }
    }
    filterRow(rgb, row, stride, filter, filtered, at);
  }
  return filtered;
}

/** Encodes `width * height * 3` bytes of RGB, top row first. */
export function encodePng(rgb: Uint8Array, width: i32, height: i32): Uint8Array {
  const header = new ByteSink();
  header.u32be(width);
  header.u32be(height);
  header.byte(8); // bits a sample
  header.byte(2); // RGB
  for (let i = 0; i < 3; i++) header.byte(0); // deflate, adaptive filters, not interlaced

  const filtered = filterRows(rgb, width, height);
  const zlib = new ByteSink();
  zlib.byte(0x78);
  zlib.byte(0x01);
  deflate(zlib, filtered);
  zlib.u32be(adler32(filtered));

  const file = new ByteSink();
  file.u32be(0x89504e47);
  file.u32be(0x0d0a1a0a);
  chunk(file, "IHDR", header.bytes, header.length);
  chunk(file, "IDAT", zlib.bytes, zlib.length);
  chunk(file, "IEND", header.bytes, 0);
  return file.bytes.slice(0, file.length);
}
