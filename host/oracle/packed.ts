/**
 * State that is kept in typed arrays, as bytes and back: the same bits.
 *
 *     packNumbers   the arrays behind each other
 *     packParts     u32 length of the head (little-endian) │ head: canonical msgpack, with the lengths of the parts │ parts
 *
 * Does: put arrays and parts behind each other. Does not: name or check them beyond their lengths; whoever stores the bytes guards them
 * by a hash.
 */
import { joined, lengthOf } from '../core/joined.js';
import { SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';

export type Numbers = Float64Array | Float32Array;

/** The bytes of the arrays, as they are: views. */
export function bytesOf(arrays: readonly Numbers[]): readonly Uint8Array[] {
  return arrays.map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
}

export function packNumbers(arrays: readonly Numbers[]): Uint8Array {
  return joined(bytesOf(arrays));
}

/** Fills the arrays. Throws SHERD_BLOB_DAMAGED when the bytes are more or fewer. */
export function unpackNumbers(packed: Uint8Array, arrays: readonly Numbers[]): void {
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    const part = packed.subarray(at, at + byteLength);
    if (part.length < byteLength) throw oracleDamaged('a part is too short');
    new Uint8Array(buffer, byteOffset, byteLength).set(part);
    at += byteLength;
  }
  if (at !== packed.length) throw oracleDamaged('a part is too long');
}

/** Each part is given in pieces. */
export function packParts(head: object, parts: readonly (readonly Uint8Array[])[]): Uint8Array {
  const lengths = parts.map(lengthOf);
  const text = encodePlain({ head, lengths });
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, text.length, true);
  return joined([size, text, ...parts.flat()]);
}

/** What `packParts` put together; the parts are views. Throws SHERD_BLOB_DAMAGED when it cannot be. */
export function unpackParts(packed: Uint8Array): {
  readonly head: unknown;
  readonly parts: readonly Uint8Array[];
} {
  if (packed.length < 4) throw oracleDamaged('it is too short');
  let at = 4 + new DataView(packed.buffer, packed.byteOffset).getUint32(0, true);
  const { head, lengths } = decodePlain(packed.subarray(4, at)) as {
    readonly head: unknown;
    readonly lengths: readonly number[];
  };
  const parts = lengths.map((length) => {
    const part = packed.subarray(at, at + length);
    if (part.length !== length) throw oracleDamaged('a part is too short');
    at += length;
    return part;
  });
  if (at !== packed.length) throw oracleDamaged('there is something behind its end');
  return { head, parts };
}

export function oracleDamaged(why: string): SherdError {
  return new SherdError(
    'SHERD_BLOB_DAMAGED',
    `the saved state of the oracle cannot be used: ${why}`,
    {
      next: 'nothing to do: it learns again from what comes',
    },
  );
}
