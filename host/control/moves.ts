/**
 * The table of moves, put together from the hints of the two nodes that a move concerns.
 *
 * V1  The two halves come in any order, or not at all; an entry appears with the source's half and is completed by
 *     the target's.
 * V2  At most MOVES_KEPT entries a shard, the oldest go first.
 * V3  Of pauses the last one of a shard is known.
 */
import type { MoveEntry, PauseEntry } from '../types/api.js';
import type { MoveHint } from '../types/hints.js';
import type { NodeId, ShardId } from '../types/records.js';

const MOVES_KEPT = 1_000;
const ARRIVALS_KEPT = 1_000;

type Left = Extract<MoveHint, { kind: 'left' }>;
type Moved = Left & { readonly target: NodeId };
type Arrived = Extract<MoveHint, { kind: 'arrived' }>;

export class Moves {
  readonly #left = new Map<ShardId, Map<number, { hint: Moved; atMs: number }>>();
  readonly #pauses = new Map<ShardId, PauseEntry>();
  readonly #arrived = new Map<string, Arrived>();

  add(hint: MoveHint, atMs: number): void {
    if (hint.kind === 'arrived') {
      this.#arrived.set(`${hint.shardId}/${hint.epoch}`, hint);
      // A shard's first start arrives too, without ever having left: forget the oldest.
      const oldest = this.#arrived.keys().next();
      const crowded = this.#arrived.size > ARRIVALS_KEPT + MOVES_KEPT * this.#left.size;
      if (crowded && oldest.done !== true) this.#arrived.delete(oldest.value);
      return;
    }
    const { target } = hint;
    if (target === null) {
      this.#pauses.set(hint.shardId, pauseOf(hint, atMs));
      return;
    }
    const moves = this.#left.get(hint.shardId) ?? new Map<number, { hint: Moved; atMs: number }>();
    this.#left.set(hint.shardId, moves);
    moves.set(hint.epoch, { hint: { ...hint, target }, atMs });
    const oldest = moves.keys().next();
    if (moves.size > MOVES_KEPT && oldest.done !== true) moves.delete(oldest.value);
  }

  of(shardId: ShardId): MoveEntry[] {
    const moves = [...(this.#left.get(shardId)?.values() ?? [])];
    moves.sort((a, b) => a.hint.epoch - b.hint.epoch);
    return moves.map(({ hint, atMs }) =>
      entryOf(hint, atMs, this.#arrived.get(`${shardId}/${hint.epoch}`)),
    );
  }

  pauseOf(shardId: ShardId): PauseEntry | null {
    return this.#pauses.get(shardId) ?? null;
  }

  forget(shardId: ShardId): void {
    this.#pauses.delete(shardId);
    for (const epoch of this.#left.get(shardId)?.keys() ?? [])
      this.#arrived.delete(`${shardId}/${epoch}`);
    this.#left.delete(shardId);
  }
}

function entryOf(left: Moved, atMs: number, arrived: Arrived | undefined): MoveEntry {
  return {
    ...pauseOf(left, atMs),
    target: left.target,
    restoreUs: arrived?.restoreUs ?? null,
    downMs: arrived === undefined ? null : Number(arrived.runningNs - left.stoppedNs) / 1e6,
  };
}

function pauseOf(left: Left, atMs: number): PauseEntry {
  return {
    shardId: left.shardId,
    epoch: left.epoch,
    source: left.source,
    atMs,
    fuelUsed: left.fuelUsed.toString(),
    capsuleBytes: left.capsuleBytes,
    memoryBytes: left.memoryBytes,
    pauseUs: left.pauseUs,
    encodeUs: left.encodeUs,
    storeUs: left.storeUs,
    handoverUs: left.handoverUs,
    stoppedNs: left.stoppedNs.toString(),
  };
}
