/**
 * Compressors that this Node.js has, or finds.
 *
 *   deflate 1, 3, 6   node:zlib, raw; every version of Node.js, and browsers
 *   zstd 1, 3         node:zlib from Node.js 22.15 on
 *   lz4               the package lz4-napi, if it is installed: no dependency of this project
 *                     (npm install --no-save lz4-napi@2.10.0)
 *
 * Does: give what there is. Does not: measure.
 */
import * as zlib from 'node:zlib';

export interface Codec {
  readonly name: string;
  pack(bytes: Uint8Array): Uint8Array;
  /** `plainBytes`: what it stands for. */
  unpack(bytes: Uint8Array, plainBytes: number): Uint8Array;
}

const deflate = (level: number): Codec => ({
  name: `deflate ${level}`,
  pack: (bytes) => zlib.deflateRawSync(bytes, { level }),
  unpack: (bytes, maxOutputLength) => zlib.inflateRawSync(bytes, { maxOutputLength }),
});

/** What newer versions of node:zlib have besides. */
interface Zstd {
  readonly zstdCompressSync?: (bytes: Uint8Array, options: object) => Uint8Array;
  readonly zstdDecompressSync?: (bytes: Uint8Array) => Uint8Array;
  readonly constants: Readonly<Record<string, number>>;
}

function zstds(): Codec[] {
  const { zstdCompressSync, zstdDecompressSync, constants } = zlib as unknown as Zstd;
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) return [];
  const parameter = constants['ZSTD_c_compressionLevel'] as number;
  return [1, 3].map((level) => ({
    name: `zstd ${level}`,
    pack: (bytes) => zstdCompressSync(bytes, { params: { [parameter]: level } }),
    unpack: (bytes) => zstdDecompressSync(bytes),
  }));
}

interface Lz4 {
  compressSync(bytes: Buffer): Buffer;
  uncompressSync(bytes: Buffer): Buffer;
}

async function lz4s(): Promise<Codec[]> {
  try {
    const name = 'lz4-napi';
    const found = (await import(name)) as { default?: Lz4 } & Lz4;
    const lz4 = found.default ?? found;
    const view = (bytes: Uint8Array): Buffer =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return [
      {
        name: 'lz4',
        pack: (bytes) => lz4.compressSync(view(bytes)),
        unpack: (bytes) => lz4.uncompressSync(view(bytes)),
      },
    ];
  } catch {
    return [];
  }
}

export async function codecs(): Promise<Codec[]> {
  return [deflate(1), deflate(3), deflate(6), ...zstds(), ...(await lz4s())];
}
