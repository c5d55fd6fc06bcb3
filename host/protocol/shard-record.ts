/**
 * Every legal change of a shard's record, each as a pure function: record in, new record or coded refusal out.
 *
 * Does: check who may do what when (owner, epoch, status), compute the new record, settle unknown outcomes.
 * Does not: read, write or retry (the caller does the one compare-and-set), nor keep any state.
 *
 *            submit                       takeUp                 commit
 *              │        assign              │               ┌───────────┐
 *              ▼      (epoch + 1)           ▼               ▼           │
 *           queued ───────────────▶ assigned ──────▶ running ───────────┘
 *            ▲ ▲ ▲                   ▲    │            │ │ │
 *            │ │ │                   └────┴─ handOver ─┘ │ │
 *            │ │ └── recover (epoch + 1), requeue ───────┤ │
 *     resume │ └──────────────────────────────────────── │ │      redirect: assigned → assigned (epoch + 1)
 *            │                          pause, setAside  │ │ finish
 *          paused ◀──────────────────────────────────────┘ ▼
 *            └──────────────── killNow (from anywhere) ──▶ done
 *
 * T1  owner ≠ null exactly while status is assigned or running.
 * T2  epoch grows by one with every new owner and with every taking away (recover, redirect, killNow of an owned shard); a release by
 *     the owner itself (pause, requeue, finish) leaves it, because the next assign raises it.
 * T3  Only the owner, at its epoch, changes capsule, output, fuel and times; each of these only goes forward.
 * T4  A release without a snapshot is always right: the shard then goes on from its newest commit.
 * T5  done is final. exit ≠ null exactly when done.
 * T6  A `wanted` lives while there is an owner to answer it; only "pause at fuel N" may wait in the queue.
 * T7  Every new record carries its writer and an attempt number that differs from what it replaces.
 * T8  A `fault` lives as long as the pause that it caused: what takes the shard out of it takes the fault away.
 */
import type { Seen } from '../types/brain.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type {
  NodeId,
  ShardExit,
  ShardId,
  ShardRecord,
  ShardStatus,
  Wanted,
} from '../types/records.js';

/** Who writes, and the how-manieth write of that writer to this record it is. */
export interface Stamp {
  readonly writer: string;
  readonly attempt: number;
  /** The writer's wall clock: becomes `endedMs` when the shard ends. */
  readonly wallMs?: number;
}

/** What an owner proves to be one. */
export interface Claim {
  readonly node: NodeId;
  readonly epoch: number;
}

export type RefusalCode =
  | 'not-owner' // the record belongs to another node, or to none
  | 'old-epoch' // the same node, but a newer (or older) epoch
  | 'bad-status' // not possible in this status
  | 'busy' // another request is still to be answered
  | 'bad-value'; // the new values would go back

export interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
}

export type Transition =
  | { readonly ok: true; readonly record: ShardRecord }
  | { readonly ok: false; readonly refusal: Refusal };

/** A link to be added to the output chain. */
export interface ChunkLink {
  readonly hash: Hash;
  /** Bytes of all streams in this chunk, > 0. */
  readonly bytes: number;
}

/** A durable capture of a shard: what a commit names. */
export interface Snapshot {
  readonly capsule: Hash;
  readonly capsuleBytes: number;
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  readonly ranMs: number;
  readonly chunk: ChunkLink | null;
}

export interface Submission {
  readonly id: ShardId;
  readonly name: string;
  readonly spec: Hash;
  readonly moduleHash: Hash;
  readonly priority: number;
  readonly createdMs: number;
  /** Run to this fuel value, then pause. */
  readonly pauseAtFuel?: bigint;
  /** An imported shard: it starts from this capsule. */
  readonly from?: {
    readonly capsule: Hash;
    readonly capsuleBytes: number;
    readonly fuelUsed: bigint;
    readonly memoryBytes: number;
    readonly ranMs: number;
  };
  /** Do not queue it. */
  readonly paused?: boolean;
}

/** A new record, to be written at revision 0. */
export function submit(input: Submission, stamp: Stamp): ShardRecord {
  const from = input.from;
  const paused = input.paused === true;
  const pauseAt = input.pauseAtFuel;
  return {
    v: 1,
    id: input.id,
    name: input.name,
    spec: input.spec,
    moduleHash: input.moduleHash,
    priority: input.priority,
    status: paused ? 'paused' : 'queued',
    epoch: 0,
    owner: null,
    wanted:
      pauseAt === undefined || paused
        ? null
        : { op: 'pause', actionId: `submit-${input.id}`, atFuel: pauseAt },
    capsule: from?.capsule ?? null,
    capsuleBytes: from?.capsuleBytes ?? 0,
    fuelUsed: from?.fuelUsed ?? 0n,
    memoryBytes: from?.memoryBytes ?? 0,
    output: { head: null, chunks: 0, bytes: 0 },
    exit: null,
    artifacts: null,
    moves: 0,
    restarts: 0,
    children: [],
    reason: paused ? 'paused at submit' : 'waiting to be placed',
    createdMs: input.createdMs,
    ranMs: from?.ranMs ?? 0,
    writer: stamp.writer,
    attempt: stamp.attempt,
  };
}

/** queued → assigned: the brain gives it to a node. */
export function assign(before: ShardRecord, node: NodeId, stamp: Stamp): Transition {
  if (before.status !== 'queued') return badStatus(before, 'assign');
  return done(before, stamp, {
    status: 'assigned',
    owner: node,
    epoch: before.epoch + 1,
    reason: `assigned to ${node}`,
  });
}

/** assigned → running: the owner has it in hand. */
export function takeUp(before: ShardRecord, claim: Claim, stamp: Stamp): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  if (before.status !== 'assigned') return badStatus(before, 'take up');
  return done(before, stamp, { status: 'running', reason: '', artifacts: null });
}

/** running → running: a durable point, with the output up to it. */
export function commit(
  before: ShardRecord,
  claim: Claim,
  snapshot: Snapshot,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  if (before.status !== 'running') return badStatus(before, 'commit');
  return withSnapshot(before, snapshot, stamp, {});
}

/** → assigned to the target. Null snapshot: nothing ran since the newest commit, or what ran is given up (T4). */
export function handOver(
  before: ShardRecord,
  claim: Claim,
  target: NodeId,
  snapshot: Snapshot | null,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  if (target === claim.node)
    return refuse('bad-value', `shard ${before.id} is on ${target} already`);
  return withSnapshot(before, snapshot, stamp, {
    status: 'assigned',
    owner: target,
    epoch: before.epoch + 1,
    wanted: null,
    moves: before.moves + 1,
    reason: `moving from ${claim.node} to ${target}`,
  });
}

/** → paused, by the owner. */
export function pause(
  before: ShardRecord,
  claim: Claim,
  snapshot: Snapshot | null,
  artifacts: Hash | null,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  return withSnapshot(before, snapshot, stamp, {
    status: 'paused',
    owner: null,
    wanted: null,
    artifacts,
    reason: 'paused on request',
  });
}

/** → paused, by the owner: it cannot go on before somebody has put something right. All that is committed is kept. */
export function setAside(
  before: ShardRecord,
  claim: Claim,
  fault: string,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  return done(before, stamp, {
    status: 'paused',
    owner: null,
    wanted: null,
    fault,
    reason: `cannot go on: ${fault} — put that right, then: sherd resume ${before.id}`,
  });
}

/** → queued, by the owner: preempted, or the node goes down in good order. */
export function requeue(
  before: ShardRecord,
  claim: Claim,
  snapshot: Snapshot | null,
  why: string,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  return withSnapshot(before, snapshot, stamp, {
    status: 'queued',
    owner: null,
    wanted: queueable(before.wanted),
    reason: why,
  });
}

export interface Ending {
  readonly exit: ShardExit;
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  readonly ranMs: number;
  readonly chunk: ChunkLink | null;
  readonly artifacts: Hash | null;
}

/** → done, by the owner. */
export function finish(
  before: ShardRecord,
  claim: Claim,
  ending: Ending,
  stamp: Stamp,
): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  const snapshot = { ...ending, capsule: null, capsuleBytes: 0 };
  return withSnapshot(before, snapshot, stamp, {
    status: 'done',
    owner: null,
    wanted: null,
    exit: ending.exit,
    artifacts: ending.artifacts,
    reason: '',
  });
}

/** The owner answers a request by doing nothing else (e.g. a move to where the shard is). */
export function answer(before: ShardRecord, claim: Claim, stamp: Stamp): Transition {
  const refusal = notOwner(before, claim);
  if (refusal !== null) return refusal;
  if (before.wanted === null) return refuse('bad-value', `shard ${before.id}: nothing is asked`);
  return done(before, stamp, { wanted: null });
}

/** Takes a shard from a lost owner. What was asked of the owner is done at once where that needs no owner. */
export function recover(before: ShardRecord, lost: NodeId, why: string, stamp: Stamp): Transition {
  if (before.owner !== lost) return refuse('not-owner', `shard ${before.id} is not on ${lost}`);
  const asked = before.wanted;
  if (asked?.op === 'kill') return killNow(before, `killed (${why})`, stamp);
  const pausing = asked?.op === 'pause' && asked.atFuel === null;
  return done(before, stamp, {
    status: pausing ? 'paused' : 'queued',
    owner: null,
    epoch: before.epoch + 1,
    wanted: pausing ? null : queueable(asked),
    restarts: before.restarts + 1,
    reason: pausing ? `paused (${why})` : why,
  });
}

/**
 * assigned → assigned to another node: the owner was lost before it took the shard up. Nothing ran there, so this is no restart, and
 * the move that brought it there, if any, stays one move. A request that needs no owner is answered by `recover`.
 */
export function redirect(
  before: ShardRecord,
  lost: NodeId,
  node: NodeId,
  stamp: Stamp,
): Transition {
  if (before.owner !== lost) return refuse('not-owner', `shard ${before.id} is not on ${lost}`);
  if (before.status !== 'assigned') return badStatus(before, 'redirect');
  if (node === lost) return refuse('bad-value', `shard ${before.id} is on ${node} already`);
  if (!isRedirectable(before.wanted)) {
    return refuse('busy', `shard ${before.id}: ${before.wanted?.op} is asked for already`);
  }
  return done(before, stamp, {
    owner: node,
    epoch: before.epoch + 1,
    wanted: queueable(before.wanted),
    reason: `redirected from ${lost} to ${node}`,
  });
}

/** May the shard change its owner with this request open? A kill or a pause at once is to be answered instead. */
export function isRedirectable(wanted: Wanted | null): boolean {
  return wanted === null || rank(wanted) === 0 || queueable(wanted) !== null;
}

/** paused → queued. */
export function resume(before: ShardRecord, stamp: Stamp): Transition {
  if (before.status !== 'paused') return badStatus(before, 'resume');
  return done(before, stamp, { status: 'queued', artifacts: null, reason: 'waiting to be placed' });
}

/** queued → paused, by control: there is no owner to ask. */
export function pauseQueued(before: ShardRecord, stamp: Stamp): Transition {
  if (before.status !== 'queued') return badStatus(before, 'pause');
  return done(before, stamp, { status: 'paused', wanted: null, reason: 'paused on request' });
}

/** Anything but done → done, without the owner's consent: it finds out when it next writes or watches. */
export function killNow(before: ShardRecord, message: string, stamp: Stamp): Transition {
  if (before.status === 'done') return badStatus(before, 'kill');
  return done(before, stamp, {
    status: 'done',
    owner: null,
    epoch: before.owner === null ? before.epoch : before.epoch + 1,
    wanted: null,
    capsule: null,
    capsuleBytes: 0,
    exit: killedExit(message),
    reason: '',
  });
}

/** Asks the owner for something. A client's pause or kill is never overridden by the brain's move or preemption. */
export function setWanted(before: ShardRecord, wanted: Wanted, stamp: Stamp): Transition {
  if (before.owner === null) {
    const waits = before.status === 'queued' && queueable(wanted) !== null;
    if (!waits) return badStatus(before, wanted.op);
  }
  const asked = before.wanted;
  if (asked !== null && rank(asked) > rank(wanted)) {
    return refuse('busy', `shard ${before.id}: ${asked.op} is asked for already`);
  }
  if (wanted.op === 'move' && wanted.target === before.owner) {
    return refuse('bad-value', `shard ${before.id} is on ${wanted.target} already`);
  }
  return done(before, stamp, { wanted });
}

/** Asks for a move. To where the shard is: a move elsewhere that has not begun is taken back. What is so already stays as it is. */
export function askMove(
  before: ShardRecord,
  target: NodeId,
  actionId: string,
  stamp: Stamp,
): Transition {
  const asked = before.wanted?.op === 'move' ? before.wanted : null;
  if (before.owner === target && asked !== null) return clearWanted(before, asked.actionId, stamp);
  if (before.owner === target || asked?.target === target) return { ok: true, record: before };
  return setWanted(before, { op: 'move', actionId, target }, stamp);
}

/** Takes back a request that was not answered yet. */
export function clearWanted(before: ShardRecord, actionId: string, stamp: Stamp): Transition {
  if (before.wanted?.actionId !== actionId)
    return refuse('bad-value', `shard ${before.id}: ${actionId} is not asked`);
  return done(before, stamp, { wanted: null });
}

/** Says why it does not run. Not for owned shards: the owner's writes must not be disturbed for words. */
export function explain(before: ShardRecord, reason: string, stamp: Stamp): Transition {
  if (before.status !== 'queued' && before.status !== 'paused') return badStatus(before, 'explain');
  return done(before, stamp, { reason });
}

/** Our write, as it was sent. */
export interface SentWrite {
  readonly expected: number;
  readonly record: ShardRecord;
}

/**
 * - `landed`: the write is in the record, or under a later write that keeps it;
 * - `open`: the record is what we expected: the write may still land. Send it again, unchanged: that decides;
 * - `lost`: another write took the revision; ours can never land;
 * - `stale`: an older revision than the one we started from was read: read again.
 */
export type Settled = 'landed' | 'open' | 'lost' | 'stale';

/** Decides, after an unknown outcome or a conflict, from what was read, whether our write is the one that is there. */
export function settle(seen: Seen<ShardRecord>, write: SentWrite): Settled {
  if (seen.revision < write.expected) return 'stale';
  if (seen.revision === write.expected) return 'open';
  if (isWrittenBy(seen.record, write.record)) return 'landed';
  return liesUnder(write.record, seen.record) ? 'landed' : 'lost';
}

/** True when this record is exactly the write with that writer and attempt. */
export function isWrittenBy(record: ShardRecord, stamp: Stamp): boolean {
  return record.writer === stamp.writer && record.attempt === stamp.attempt;
}

/** True when all that an owner decides is the same: a later write changed the request or the words at most. */
export function liesUnder(ours: ShardRecord, now: ShardRecord): boolean {
  return ours.epoch === now.epoch && ours.owner === now.owner && sameCourse(ours, now);
}

/** The part of a record that nobody but the owner changes within an epoch. */
export function sameCourse(a: ShardRecord, b: ShardRecord): boolean {
  return (
    a.status === b.status &&
    a.capsule === b.capsule &&
    a.fuelUsed === b.fuelUsed &&
    a.output.head === b.output.head &&
    a.output.chunks === b.output.chunks
  );
}

/** A stamp that differs from what is in the record, for this writer. */
export function nextStamp(
  writer: string,
  before: ShardRecord | null,
  lastAttempt: number,
  wallMs: number | null = null,
): Stamp {
  const there = before !== null && before.writer === writer ? before.attempt : 0;
  const stamp = { writer, attempt: Math.max(there, lastAttempt) + 1 };
  return wallMs === null ? stamp : { ...stamp, wallMs };
}

export function killedExit(message: string): ShardExit {
  return {
    reason: 'killed',
    code: EXIT.memoryOrKill,
    message,
    guestStack: [],
    results: new Uint8Array(0),
  };
}

/** A refusal as the error that a client sees, with what can be done with a shard of that status. */
export function refusalError(refusal: Refusal, { id, status }: ShardRecord): SherdError {
  const next: Partial<Record<ShardStatus, string>> = {
    queued: 'it waits for a node; why: sherd ps',
    paused: `let it go on first: sherd resume ${id}`,
    done: `see how it ended: sherd result ${id}`,
  };
  return new SherdError('SHERD_STATE', refusal.message, {
    at: id,
    next: next[status],
    exitCode: EXIT.failedLater,
  });
}

function rank(wanted: Wanted): number {
  if (wanted.op === 'kill') return 2;
  return wanted.op === 'pause' ? 1 : 0;
}

function queueable(wanted: Wanted | null): Wanted | null {
  return wanted?.op === 'pause' && wanted.atFuel !== null ? wanted : null;
}

function notOwner(before: ShardRecord, claim: Claim): Transition | null {
  if (before.owner !== claim.node) {
    return refuse(
      'not-owner',
      `shard ${before.id} belongs to ${before.owner ?? 'no node'}, not to ${claim.node}`,
    );
  }
  if (before.epoch !== claim.epoch) {
    return refuse(
      'old-epoch',
      `shard ${before.id} is at epoch ${before.epoch}, the claim is for ${claim.epoch}`,
    );
  }
  return null;
}

type EndState = Omit<Snapshot, 'capsule'> & { readonly capsule: Hash | null };

function withSnapshot(
  before: ShardRecord,
  snapshot: EndState | null,
  stamp: Stamp,
  change: Partial<ShardRecord>,
): Transition {
  if (snapshot === null) return done(before, stamp, change);
  if (before.status !== 'running' && computed(before, snapshot)) return badStatus(before, 'commit');
  if (snapshot.fuelUsed < before.fuelUsed || snapshot.ranMs < before.ranMs) {
    return refuse('bad-value', `shard ${before.id}: fuel or time would go back`);
  }
  const chunk = snapshot.chunk;
  if (chunk !== null && chunk.bytes <= 0)
    return refuse('bad-value', `shard ${before.id}: empty output chunk`);
  const head = before.output;
  return done(before, stamp, {
    ...change,
    capsule: snapshot.capsule,
    capsuleBytes: snapshot.capsuleBytes,
    fuelUsed: snapshot.fuelUsed,
    memoryBytes: snapshot.memoryBytes,
    ranMs: snapshot.ranMs,
    output:
      chunk === null
        ? head
        : { head: chunk.hash, chunks: head.chunks + 1, bytes: head.bytes + chunk.bytes },
  });
}

/** Does it hold anything that only running gives? */
function computed(before: ShardRecord, now: EndState): boolean {
  const same = now.fuelUsed === before.fuelUsed && now.ranMs === before.ranMs;
  return !same || now.capsule !== null || now.chunk !== null;
}

function done(before: ShardRecord, stamp: Stamp, change: Partial<ShardRecord>): Transition {
  const { writer, attempt, wallMs } = stamp;
  const ended = change.status === 'done' && wallMs !== undefined ? { endedMs: wallMs } : {};
  const { fault, ...rest } = before;
  const stays = fault !== undefined && (change.status ?? before.status) === 'paused';
  const kept = stays ? { fault } : {}; // T8
  return { ok: true, record: { ...rest, ...kept, ...change, ...ended, writer, attempt } };
}

function refuse(code: RefusalCode, message: string): Transition {
  return { ok: false, refusal: { code, message } };
}

function badStatus(before: ShardRecord, what: string): Transition {
  return refuse('bad-status', `cannot ${what} shard ${before.id}: it is ${before.status}`);
}
