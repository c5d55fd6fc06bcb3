/**
 * An independent judge of record changes: says what is wrong between two consecutive records of one shard.
 *
 * Does: restate the rules of DESIGN §8 without using shard-record.ts, for the simulator and tests.
 * Does not: know which transition was meant, nor repair anything.
 *
 * Each rule is one entry of RULES: a name that reports cite, and a predicate that is true when the rule is broken.
 */
import type { ShardRecord, ShardStatus } from '../types/records.js';

interface Rule {
  readonly name: string;
  readonly broken: (before: ShardRecord, after: ShardRecord) => boolean;
}

const NEXT: Readonly<Record<ShardStatus, readonly ShardStatus[]>> = {
  queued: ['queued', 'assigned', 'paused', 'done'],
  assigned: ['assigned', 'running', 'queued', 'paused', 'done'],
  running: ['running', 'assigned', 'queued', 'paused', 'done'],
  paused: ['paused', 'queued', 'done'],
  done: [],
};

const newOwner = (b: ShardRecord, a: ShardRecord): boolean =>
  a.owner !== null && a.owner !== b.owner;
const takenAway = (b: ShardRecord, a: ShardRecord): boolean =>
  b.owner !== null && a.owner === null && a.epoch > b.epoch;
/** Given to another node by somebody else than the owner, before the owner took it up. */
const redirected = (b: ShardRecord, a: ShardRecord): boolean =>
  newOwner(b, a) && b.status === 'assigned' && a.status === 'assigned' && a.writer !== b.owner;
const headMoved = (b: ShardRecord, a: ShardRecord): boolean => a.output.head !== b.output.head;
const computed = (b: ShardRecord, a: ShardRecord): boolean =>
  headMoved(b, a) ||
  a.fuelUsed !== b.fuelUsed ||
  a.ranMs !== b.ranMs ||
  (a.capsule !== b.capsule && a.status !== 'done');

const RULES: readonly Rule[] = [
  { name: 'done is final', broken: (b) => b.status === 'done' },
  { name: 'status may follow', broken: (b, a) => !NEXT[b.status].includes(a.status) },
  {
    name: 'identity never changes',
    broken: (b, a) =>
      a.v !== b.v ||
      a.id !== b.id ||
      a.name !== b.name ||
      a.spec !== b.spec ||
      a.moduleHash !== b.moduleHash ||
      a.createdMs !== b.createdMs,
  },
  {
    name: 'epoch never goes back and never jumps',
    broken: (b, a) => a.epoch < b.epoch || a.epoch > b.epoch + 1,
  },
  {
    name: 'a new owner has a new epoch',
    broken: (b, a) => newOwner(b, a) && a.epoch !== b.epoch + 1,
  },
  {
    name: 'an epoch has one owner',
    broken: (b, a) => a.epoch === b.epoch && a.owner !== null && a.owner !== b.owner,
  },
  {
    name: 'a new epoch comes with a change of owner',
    broken: (b, a) => a.epoch !== b.epoch && a.owner === b.owner,
  },
  { name: 'fuel never goes back', broken: (b, a) => a.fuelUsed < b.fuelUsed },
  { name: 'time never goes back', broken: (b, a) => a.ranMs < b.ranMs },
  {
    name: 'output grows by one chunk at a time',
    broken: (b, a) =>
      headMoved(b, a)
        ? a.output.head === null ||
          a.output.chunks !== b.output.chunks + 1 ||
          a.output.bytes <= b.output.bytes
        : a.output.chunks !== b.output.chunks || a.output.bytes !== b.output.bytes,
  },
  {
    name: 'only a running shard computes',
    broken: (b, a) => computed(b, a) && b.status !== 'running',
  },
  {
    name: 'nothing is computed by taking away',
    broken: (b, a) => takenAway(b, a) && computed(b, a),
  },
  {
    name: 'moves count direct hand-overs',
    broken: (b, a) =>
      a.moves - b.moves !== (b.owner !== null && newOwner(b, a) && !redirected(b, a) ? 1 : 0),
  },
  {
    name: 'restarts count recoveries',
    broken: (b, a) => a.restarts - b.restarts !== (takenAway(b, a) && a.status !== 'done' ? 1 : 0),
  },
  {
    name: 'a fault comes from the owner, and takes nothing away',
    broken: (b, a) =>
      a.fault !== undefined && a.fault !== b.fault && (b.owner === null || a.capsule !== b.capsule),
  },
  { name: 'writes differ', broken: (b, a) => a.writer === b.writer && a.attempt === b.attempt },
];

/** What must hold of any record by itself. */
export function checkRecord(r: ShardRecord): string[] {
  const owned = r.status === 'assigned' || r.status === 'running';
  const faults: string[] = [];
  if (owned !== (r.owner !== null)) faults.push('owner exactly while assigned or running');
  if ((r.status === 'done') !== (r.exit !== null)) faults.push('exit exactly when done');
  if (r.status === 'done' && (r.capsule !== null || r.wanted !== null))
    faults.push('done holds no capsule and no request');
  if (r.status === 'paused' && r.wanted !== null) faults.push('nothing is asked of a paused shard');
  if (r.fault !== undefined && r.status !== 'paused') faults.push('a fault only while paused');
  if (owned && r.epoch === 0) faults.push('an owned shard has an epoch');
  if ((r.output.head === null) !== (r.output.chunks === 0))
    faults.push('head exactly when there are chunks');
  return faults.map((fault) => `${r.id}: ${fault}`);
}

/** Broken rules between two consecutive revisions; `before` null = the record was created. Empty = fine. */
export function checkTransition(before: ShardRecord | null, after: ShardRecord): string[] {
  const faults = checkRecord(after);
  if (before === null) {
    const fresh =
      after.epoch === 0 &&
      after.owner === null &&
      after.moves === 0 &&
      after.restarts === 0 &&
      after.output.chunks === 0;
    if (!fresh || after.status === 'done')
      faults.push(`${after.id}: a new record starts from nothing`);
    return faults;
  }
  for (const rule of RULES) {
    if (rule.broken(before, after))
      faults.push(`${after.id}: ${rule.name} (${line(before)} → ${line(after)})`);
  }
  return faults;
}

function line(r: ShardRecord): string {
  return `${r.status} e${r.epoch} ${r.owner ?? '-'} fuel ${r.fuelUsed} out ${r.output.bytes} by ${r.writer}#${r.attempt}`;
}
