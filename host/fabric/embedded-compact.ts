/**
 * How a pack becomes shorter without a byte of new room: its last blobs go into the holes before them.
 *
 *     before   ┌────┬ ─ ─ ─ ─ ┬──────┬ ─ ─ ┬──────────┬────┐
 *              │ a  │ dead    │ b    │     │ c        │ d  │
 *              └────┴ ─ ─ ─ ─ ┴──────┴ ─ ─ ┴──────────┴────┘
 *     after    ┌────┬────┬ ─ ─┬──────┬ ─ ─ ┬──────────┐         d into the first hole that takes it; c fits nowhere: the
 *              │ a  │ d  │    │ b    │     │ c        │         end stays behind it
 *              └────┴────┴ ─ ─┴──────┴ ─ ─ ┴──────────┘
 *
 * Does: plan. Does not: read, write or rename anything (embedded-packs does, and says in which order).
 *
 * C1  What is written to is dead in the plan's beginning: neither a blob's old place nor any other one is overwritten.
 * C2  Each move goes down, and the end never goes up.
 */
import type { Hash } from '../types/platform.js';

export interface Lying {
  readonly hash: Hash;
  readonly at: number;
  readonly bytes: number;
}

export interface Compaction {
  /** In this order; `to` is where it is to lie. */
  readonly moves: readonly { readonly blob: Lying; readonly to: number }[];
  /** Where the last blob ends afterwards. */
  readonly endBytes: number;
}

interface Hole {
  at: number;
  bytes: number;
}

/**
 * `live`: all blobs of the pack, in any order; empty ones have no place. First fit, last blob first, at most so many moves.
 * Undefined: some overlap, for somebody has cut the pack short.
 */
export function planCompaction(
  live: readonly Lying[],
  mostMoves = Number.POSITIVE_INFINITY,
): Compaction | undefined {
  const order = live.filter(({ bytes }) => bytes > 0).sort((a, b) => a.at - b.at);
  const holes = holesBetween(order);
  if (holes === undefined) return undefined;
  const moves: { blob: Lying; to: number }[] = [];
  let endBytes = 0;
  for (let last = order.length - 1; last >= 0; last--) {
    const blob = order[last]!;
    const fits = ({ at, bytes }: Hole): boolean => at < blob.at && bytes >= blob.bytes;
    const hole = moves.length < mostMoves ? holes.find(fits) : undefined;
    if (hole === undefined) {
      endBytes = blob.at + blob.bytes;
      break;
    }
    moves.push({ blob, to: hole.at });
    hole.at += blob.bytes;
    hole.bytes -= blob.bytes;
  }
  const moved = moves.map(({ blob, to }) => to + blob.bytes);
  return { moves, endBytes: Math.max(endBytes, ...moved, 0) };
}

function holesBetween(order: readonly Lying[]): Hole[] | undefined {
  const holes: Hole[] = [];
  let end = 0;
  for (const { at, bytes } of order) {
    if (at < end) return undefined;
    if (at > end) holes.push({ at: end, bytes: at - end });
    end = at + bytes;
  }
  return holes;
}
