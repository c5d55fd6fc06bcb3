/**
 * The guest's random generator: ChaCha20, as a stream that is addressed by its byte position.
 *
 * Does: give the bytes at any position of the stream that a 128-bit seed names.
 * Does not: gather entropy. The seed comes from the spec (chosen at submit).
 *
 * The key is the 16-byte seed twice with the constant `expand 16-byte k`, which is how ChaCha defines 128-bit
 * keys; nonce 0, 64-bit block counter. So the generator's whole state is one number: the position. It is as
 * unpredictable to the guest as ChaCha20 is, and a capsule pays nine bytes for it.
 *
 * R1  The bytes depend on (seed, position) alone, not on how they were asked for.
 */

const WORDS = 16;
const BLOCK_BYTES = 64;

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function quarter(s: Int32Array, a: number, b: number, c: number, d: number): void {
  s[a] = s[a]! + s[b]!;
  s[d] = rotate(s[d]! ^ s[a]!, 16);
  s[c] = s[c]! + s[d]!;
  s[b] = rotate(s[b]! ^ s[c]!, 12);
  s[a] = s[a]! + s[b]!;
  s[d] = rotate(s[d]! ^ s[a]!, 8);
  s[c] = s[c]! + s[d]!;
  s[b] = rotate(s[b]! ^ s[c]!, 7);
}

const scratch = new Int32Array(WORDS);

/** One ChaCha20 block (20 rounds) of the 16-word input state, into `block` (64 bytes). */
export function chachaBlock(input: Int32Array, block: Uint8Array): void {
  const s = scratch;
  s.set(input);
  for (let round = 0; round < 10; round++) {
    quarter(s, 0, 4, 8, 12);
    quarter(s, 1, 5, 9, 13);
    quarter(s, 2, 6, 10, 14);
    quarter(s, 3, 7, 11, 15);
    quarter(s, 0, 5, 10, 15);
    quarter(s, 1, 6, 11, 12);
    quarter(s, 2, 7, 8, 13);
    quarter(s, 3, 4, 9, 14);
  }
  const view = new DataView(block.buffer, block.byteOffset, BLOCK_BYTES);
  for (let word = 0; word < WORDS; word++) {
    view.setInt32(word * 4, s[word]! + input[word]!, true);
  }
}

/** The stream of one seed, with the guest's position in it. */
export class GuestRandom {
  readonly #input = new Int32Array(WORDS);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #blockIndex = -1n;
  position: bigint;

  /** @param seed 32 lower-case hex digits */
  constructor(seed: string, position = 0n) {
    const constants = new TextEncoder().encode('expand 16-byte k');
    const view = new DataView(constants.buffer);
    for (let word = 0; word < 4; word++) {
      this.#input[word] = view.getInt32(word * 4, true);
      const digits = seed.slice(word * 8, word * 8 + 8);
      const bytes = [0, 2, 4, 6].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
      const key = bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24);
      this.#input[4 + word] = key;
      this.#input[8 + word] = key;
    }
    this.position = position;
  }

  /** Fills `target` with the next bytes and moves on. */
  fill(target: Uint8Array): void {
    let index = this.position / BigInt(BLOCK_BYTES);
    let within = Number(this.position % BigInt(BLOCK_BYTES));
    for (let filled = 0; filled < target.length; ) {
      if (index !== this.#blockIndex) this.#makeBlock(index);
      const length = Math.min(BLOCK_BYTES - within, target.length - filled);
      for (let at = 0; at < length; at++) target[filled + at] = this.#block[within + at]!;
      filled += length;
      within = 0;
      index += 1n;
    }
    this.position += BigInt(target.length);
  }

  #makeBlock(index: bigint): void {
    this.#input[12] = Number(BigInt.asIntN(32, index));
    this.#input[13] = Number(BigInt.asIntN(32, index >> 32n));
    chachaBlock(this.#input, this.#block);
    this.#blockIndex = index;
  }
}
