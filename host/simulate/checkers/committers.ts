/**
 * One epoch, one committer: whatever only an owner may write in an epoch is written by one process, and that is the owner.
 */
import type { ShardRecord } from '../../types/records.js';
import type { Checker } from './checker.js';

/** Did an owner act: take up, commit, or give away? (Taking away raises the epoch and leaves no owner.) */
function ownerActed(before: ShardRecord, after: ShardRecord): boolean {
  if (before.owner === null) return false;
  if (after.owner === null && after.epoch > before.epoch) return false;
  return (
    after.owner !== before.owner ||
    after.status !== before.status ||
    after.capsule !== before.capsule ||
    after.output.head !== before.output.head ||
    after.fuelUsed !== before.fuelUsed
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
