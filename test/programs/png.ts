/** Decodes an 8-bit RGB PNG strictly (signature, CRCs, sizes, filters), for tests. */

import { inflateSync } from 'node:zlib';
import { crc32 } from 'hash-wasm';

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export async function decodePng(file: Buffer): Promise<Picture> {
  if (file.subarray(0, 8).toString('hex') !== '89504e470d0a1a0a') throw new Error('not a PNG');
  let at = 8;
  let width = 0;
  let height = 0;
  const data: Buffer[] = [];
  const types: string[] = [];
  while (at < file.length) {
    const length = file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    const crc = await crc32(file.subarray(at + 4, at + 8 + length));
    if (Number.parseInt(crc, 16) !== file.readUInt32BE(at + 8 + length))
      throw new Error(`bad CRC in ${type}`);
    types.push(type);
    if (type === 'IHDR') {
      width = body.readUInt32BE(0);
      height = body.readUInt32BE(4);
      if (body.subarray(8).toString('hex') !== '0802000000') throw new Error('not 8-bit RGB');
    }
    if (type === 'IDAT') data.push(body);
    at += 12 + length;
  }
  if (types[0] !== 'IHDR' || types.at(-1) !== 'IEND') throw new Error('chunks out of order');
  return { width, height, rgb: unfilter(inflateSync(Buffer.concat(data)), width, height) };
}

function unfilter(rows: Uint8Array, width: number, height: number): Uint8Array {
  const stride = width * 3;
  if (rows.length !== (stride + 1) * height) throw new Error('wrong amount of picture data');
  const rgb = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)]!;
    if (filter > 4) throw new Error(`unknown filter ${filter}`);
    for (let i = 0; i < stride; i++) {
      const a = i >= 3 ? rgb[y * stride + i - 3]! : 0;
      const b = y > 0 ? rgb[(y - 1) * stride + i]! : 0;
      const c = y > 0 && i >= 3 ? rgb[(y - 1) * stride + i - 3]! : 0;
      const guess = [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter]!;
      rgb[y * stride + i] = rows[y * (stride + 1) + 1 + i]! + guess;
    }
  }
  return rgb;
}

function paeth(a: number, b: number, c: number): number {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}
