/**
 * Hostile packed files: sizes that lie, pieces that are none, cut or damaged streams; mostly with a hash that is right again.
 */
import { packBytes } from '../../host/capsule/packed.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { Random } from '../exact/random.js';
import { damagedBytes } from './mutants.js';

const HEADER_BYTES = 64;

/** The file with the hash that its bytes should have. */
export function rehashed(file: Uint8Array): Uint8Array {
  const out = file.slice();
  const rest = nodePlatform.sha256(out.subarray(HEADER_BYTES));
  const hashed = Buffer.concat([out.subarray(0, 32), Buffer.from(rest, 'hex')]);
  out.set(Buffer.from(nodePlatform.sha256(hashed), 'hex'), 32);
  return out;
}

/** What a seed makes of some plain bytes. */
export function packedMutant(plain: Uint8Array, random: Random): Uint8Array {
  const good = packBytes(plain, nodePlatform);
  // What is inside may be hostile by itself.
  if (random.chance(0.25)) return good;
  if (random.chance(0.2)) return damagedBytes(good, random);
  const file = random.chance(0.5) ? withOtherNumber(good, random) : withOtherPieces(good, random);
  return file.length < HEADER_BYTES || random.chance(0.1) ? file : rehashed(file);
}

function withOtherNumber(good: Uint8Array, random: Random): Uint8Array {
  const file = good.slice();
  const view = new DataView(file.buffer);
  const small = random.pick([0, 1, 2, 63, 1 << 20, 0x7fffffff, 0xffffffff, random.bits()]);
  const field = random.below(5);
  if (field === 0) view.setUint32(8, small, true);
  else if (field === 1) view.setUint32(12, small, true);
  else if (field === 2) view.setBigUint64(16, BigInt(small) << BigInt(random.below(32)), true);
  else if (field === 3) view.setBigUint64(24, BigInt(small), true);
  else if (file.length >= HEADER_BYTES + 4) view.setUint32(HEADER_BYTES, small, true);
  return file;
}

function withOtherPieces(good: Uint8Array, random: Random): Uint8Array {
  const pieces = damagedBytes(good.subarray(HEADER_BYTES), random);
  return Uint8Array.from(Buffer.concat([good.subarray(0, HEADER_BYTES), pieces]));
}
