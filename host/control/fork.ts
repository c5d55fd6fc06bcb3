/**
 * Copies of a shard as it is now, in the same cluster.
 *
 *     shard    ── runs ──┤ pause · capsule · first copy ├── runs ──▶   it stands still that long, however many copies there are
 *     copies                                 └─▶ └─▶ └─▶ …             all begin from that one capsule
 *
 * Does: stop the shard where it is, make records, let it go on. Does not: read or store a blob: the copies' records name the same
 * capsule, module, spec and files, and each has capsules of its own only when it is kept, paused or moved.
 *
 * F1  A shard that ran goes on, whatever becomes of the copies; it waits for its turn when others wait for a place and all are
 *     taken, as after any pause. One that is paused or waits for a place stays so: its record says
 *     all there is. (If the control process ends between pause and resume the shard stays paused.)
 * F2  A pause or kill that somebody else asked for is not touched: then nothing is forked.
 * F3  The first copy's record is there before the shard goes on: until it is, the shard's own record keeps the capsule. It is
 *     let go after the shard, which so never waits for a place that a copy of it has taken.
 * F4  The copies that were made are told even if one of them fails.
 */
import {
  clearWanted,
  resume,
  type Submission,
  setWanted,
  type Transition,
} from '../protocol/shard-record.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { ShardId, ShardRecord } from '../types/records.js';
import type { Cluster } from './cluster.js';

/** A change that was missed is found so late at most. */
const LOOK_MS = 500;

/** What a new shard's record is made of. */
export type NewShard = Omit<Submission, 'id' | 'createdMs'>;

export interface ForkOrder {
  readonly copies: number;
  /** Of the copies in reports; the shard's own when it is left out. */
  readonly name: string | undefined;
  readonly paused: boolean;
  /** How long the shard may take to stop. */
  readonly timeoutMs: number;
}

export interface Forked {
  readonly record: ShardRecord;
  readonly copies: readonly ShardId[];
  /** Why there are no more; undefined: there are as many as were asked for, and the shard is as it was. */
  readonly failure: unknown;
}

export interface ForkContext {
  readonly cluster: Cluster;
  readonly nowMs: () => number;
  readonly actionId: string;
  /** Tells a shard's owner to look at its record. */
  readonly look: (record: ShardRecord) => void;
  /** Writes the record of a new shard, under an id of its own. */
  readonly create: (copy: NewShard) => Promise<ShardId>;
}

/** Makes the copies. Throws when there is nothing to copy or the shard does not stop in time; later failures are told (F4). */
export async function forkShard(
  context: ForkContext,
  id: ShardId,
  order: ForkOrder,
): Promise<Forked> {
  const { record, ours } = await stand(context, id, order.timeoutMs);
  const copies: ShardId[] = [];
  let failure: unknown;
  try {
    copies.push(await copyOf(context, record, { ...order, paused: order.paused || ours }));
  } catch (cause) {
    failure = cause;
  }
  if (ours) {
    await goOn(context, id).catch((cause: unknown) => {
      failure = stillPaused(id, cause);
    });
  }
  try {
    const [first] = copies;
    if (ours && !order.paused && first !== undefined) await goOn(context, first);
    while (failure === undefined && copies.length < order.copies)
      copies.push(await copyOf(context, record, order));
  } catch (cause) {
    failure ??= cause;
  }
  return { record, copies, failure };
}

/** Nobody runs it, and its record says all of it. */
function stands({ status, owner }: ShardRecord): boolean {
  return owner === null && (status === 'paused' || status === 'queued');
}

interface Stood {
  readonly record: ShardRecord;
  /** It was stopped for this. */
  readonly ours: boolean;
}

async function stand(context: ForkContext, id: ShardId, timeoutMs: number): Promise<Stood> {
  const { cluster, actionId, look } = context;
  const asked = await cluster.change(id, (record, stamp): Transition => {
    if (stands(record)) return { ok: true, record };
    if (record.status === 'done') throw ended(id);
    const other = record.wanted?.op;
    if (other === 'pause' || other === 'kill') throw busy(id, other);
    return setWanted(record, { op: 'pause', actionId, atFuel: null }, stamp);
  });
  if (stands(asked.record)) return { record: asked.record, ours: false };
  look(asked.record);
  try {
    return { record: await untilStood(context, id, timeoutMs), ours: true };
  } catch (cause) {
    await withdraw(context, id);
    throw cause;
  }
}

async function untilStood(
  { cluster, nowMs, actionId }: ForkContext,
  id: ShardId,
  timeoutMs: number,
): Promise<ShardRecord> {
  const until = nowMs() + timeoutMs;
  for (;;) {
    const { record } = cluster.shard(id);
    if (stands(record)) return record;
    if (record.status === 'done') throw ended(id);
    if (record.wanted?.actionId !== actionId) throw busy(id, record.wanted?.op ?? 'resume');
    const leftMs = until - nowMs();
    if (leftMs <= 0) {
      throw new SherdError('SHERD_TIMEOUT', `it did not stop within ${timeoutMs / 1000} s`, {
        at: id,
        next: `it goes on; look with: sherd inspect ${id}`,
        exitCode: EXIT.failedLater,
      });
    }
    await changed(cluster, id, Math.min(leftMs, LOOK_MS));
  }
}

/** Until its record may have changed. */
function changed(cluster: Cluster, id: ShardId, atMostMs: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    const timer = setTimeout(done, atMostMs);
    const stop = cluster.onChange(id, done);
  });
}

/** After a pause that was not answered in time: takes ours back, and nobody else's. */
async function withdraw(context: ForkContext, id: ShardId): Promise<void> {
  const { wanted } = context.cluster.shard(id).record;
  if (wanted?.actionId === context.actionId) await goOn(context, id);
}

/** Takes our pause back, or lets the shard go on from it. */
async function goOn({ cluster, actionId, look }: ForkContext, id: ShardId): Promise<void> {
  const seen = await cluster.change(id, (record, stamp): Transition => {
    if (record.wanted?.actionId === actionId) return clearWanted(record, actionId, stamp);
    return record.status === 'paused' ? resume(record, stamp) : { ok: true, record };
  });
  look(seen.record);
}

/** One that never ran has no capsule: its copy begins as it did. */
function copyOf(
  { create }: ForkContext,
  record: ShardRecord,
  { name = record.name, paused }: ForkOrder,
): Promise<ShardId> {
  const { spec, moduleHash, priority, capsule } = record;
  const { capsuleBytes, fuelUsed, memoryBytes, ranMs } = record;
  const copy = { name, spec, moduleHash, priority, paused };
  if (capsule === null) return create(copy);
  return create({ ...copy, from: { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs } });
}

function ended(id: ShardId): SherdError {
  return new SherdError('SHERD_STATE', 'it has ended: there is nothing to fork', {
    at: id,
    next: 'submit its program again',
    exitCode: EXIT.failedLater,
  });
}

function busy(id: ShardId, op: string): SherdError {
  return new SherdError('SHERD_STATE', `it is not forked: a ${op} of it is asked for`, {
    at: id,
    next:
      op === 'pause'
        ? `fork it when it is paused, or take that back with: sherd resume ${id}`
        : 'look with: sherd ps',
    exitCode: EXIT.failedLater,
  });
}

function stillPaused(id: ShardId, cause: unknown): SherdError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SherdError('SHERD_STATE', `it stays paused: ${why}`, {
    at: id,
    next: `go on with: sherd resume ${id}`,
    exitCode: EXIT.failedLater,
    cause,
  });
}
