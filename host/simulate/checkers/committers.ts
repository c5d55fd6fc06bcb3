/**
 * One epoch, one committer: whatever only an owner may write in an epoch is written by one process, and that is the owner.
 */
import type { ShardRecord } from '../../types/records.js';
import type { Checker } from './checker.js';

/**
 * Did an owner act: take up, commit, or give away? (Taking away raises the epoch and leaves no owner; so does sending on what the
 * owner never took up, which leaves all else but the words as it was.)
 */
function ownerActed(before: ShardRecord, after: ShardRecord): boolean {
  if (before.owner === null) return false;
  if (after.owner === null && after.epoch > before.epoch) return false;
  if (sentOn(before, after)) return false;
  return (
    after.owner !== before.owner ||
    after.status !== before.status ||
    after.capsule !== before.capsule ||
    after.output.head !== before.output.head ||
    after.fuelUsed !== before.fuelUsed
  );
}

/** From one node that has not taken it up straight to another one, by the brain: not a move, nothing was computed. */
function sentOn(before: ShardRecord, after: ShardRecord): boolean {
  return (
    before.status === 'assigned' &&
    after.status === 'assigned' &&
    after.writer !== before.owner &&
    after.epoch === before.epoch + 1 &&
    after.moves === before.moves &&
    after.capsule === before.capsule &&
    after.fuelUsed === before.fuelUsed &&
    after.output.head === before.output.head
  );
}

export const committers = (): Checker => {
  const writers = new Map<string, string>();
  return {
    name: 'committers',
    onChange(before, after) {
      if (before === null || !ownerActed(before, after)) return [];
      const faults: string[] = [];
      const epoch = `${after.id} epoch ${before.epoch}`;
      const first = writers.get(epoch) ?? after.writer;
      writers.set(epoch, first);
      if (first !== after.writer)
        faults.push(`${epoch}: committed by ${first} and by ${after.writer}`);
      if (after.writer !== before.owner)
        faults.push(`${epoch}: owned by ${before.owner}, committed by ${after.writer}`);
      return faults;
    },
    atEnd: () => [],
  };
};
