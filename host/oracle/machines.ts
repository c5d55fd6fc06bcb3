/**
 * What a machine's cores are asked for: by others, and by the nodes of this cluster that share them.
 *
 *     cores of the machine  ├──────── busy (every node of it measures this) ────────┤
 *                           ├ background ┤├ own, node a ┤├ own, node b ┤├ own, c ┤
 *     demand                ├ background ┤├ wanted by the shards of a ──┤├ of b … ──────────▶ may be more than there is
 *
 * Does: keep the newest measurement of each node, by machine; tell background from the nodes' own work; add demand up.
 * Does not: forecast (oracle.ts does, from the background's series).
 *
 * M1  What one node's guests do is no background of another node of the same machine: background = busy − what *all* nodes there
 *     did. Nodes measure at different instants, so a shard that began a moment ago is in one node's busy share and not yet in
 *     another's own work; therefore the least of what the nodes' newest measurements give is taken.
 * M2  What is wanted is known, not forecast: a fall counts at once, a rise once it has lasted some samples (SMOOTHING), so that a
 *     shard that sleeps and wakes does not ring the bell each time, and the cluster's own moves teach the forecast nothing.
 * M3  A node that was silent for STALE_MS says nothing any more. M4  A node that names no machine is alone on one of its own.
 * M5  Own work never counts for more than its machine; nothing is negative or NaN; a measurement that is no number is as before.
 * M6  Censored: where the machine is full, others may want more than they got: their background is "at least" what it is. Not so when
 *     they got less than one more thread of theirs would be given (schedulers are fair, so they got all they wanted), or when the kernel
 *     says that nobody waits for a core (its pressure figures).
 */
import { LEASE_MS } from '../core/leases.js';
import type { Sample } from '../types/brain.js';
import type { Machine, NodeId } from '../types/records.js';
import { MEASURABLE_MAX, Series } from './series.js';

const STALE_MS = LEASE_MS;
/** A measurement's weight is one in so many. */
const SMOOTHING = 4;
/** Busy share from which on a machine is full, and share of time in which somebody waits, below which nobody does (M6). */
const FULL_SHARE = 0.97;
const WAITING_SHARE = 0.05;

export interface NodeCapacity {
  /** Cores' worth of work that the node can do: its workers. */
  readonly cores: number;
  /** 0 = unknown. */
  readonly memoryBytes: number;
  readonly machine?: Machine | undefined;
}

interface Member {
  capacity: NodeCapacity;
  atMs: number;
  ownCores: number;
  /** Background as its newest measurement shows it. */
  background: number;
  readonly runnable: Believed;
  readonly managed: Believed;
  readonly memory: Series;
}

/** One machine and its nodes. */
export interface Shared {
  readonly machine: Machine;
  readonly background: Series;
  readonly members: Map<NodeId, Member>;
}

/** What a measurement says of its machine. */
export interface Observed {
  readonly shared: Shared;
  /** Cores that others take; undefined: it did not say. */
  readonly background: number | undefined;
  /** It may be more (M6). */
  readonly isLeast: boolean;
}

interface SavedMember {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly machine: Machine | null;
  readonly atMs: number;
  readonly ownCores: number;
  readonly background: number;
  readonly runnable: readonly [number, number | null];
  readonly managed: readonly [number, number | null];
  readonly memory: Uint8Array;
}

export interface SavedMachine {
  readonly machine: Machine;
  readonly background: Uint8Array;
  readonly members: readonly (readonly [NodeId, SavedMember])[];
}

export class Machines {
  readonly #shared = new Map<string, Shared>();
  readonly #nodes = new Map<NodeId, Shared>();

  observe({ nodeId, atMs, values }: Sample, given: NodeCapacity): Observed {
    const capacity = usable(given);
    const shared = this.#join(nodeId, capacity);
    const member = memberOf(shared, nodeId, capacity);
    const { cores } = shared.machine;
    const own = measured(values.ownCores ?? values.guestCpu, member.ownCores);
    member.capacity = capacity;
    member.atMs = Number.isFinite(atMs) ? atMs : member.atMs;
    member.ownCores = Math.min(cores, own);
    member.runnable.take(measured(values.runnable, member.runnable.newest));
    member.managed.take(Math.max(member.ownCores, member.runnable.newest));
    member.memory.add(atMs, values.memoryUsedBytes);
    const busy = Math.min(1, measured(values.cpu, Number.NaN)) * cores;
    if (Number.isNaN(busy)) return { shared, background: undefined, isLeast: false };
    const fresh = freshOf(shared, member.atMs);
    member.background = Math.max(0, busy - sum(fresh, (each) => each.ownCores));
    const background = Math.min(...fresh.map((each) => each.background));
    shared.background.add(atMs, background);
    const isFull = busy >= FULL_SHARE * cores && !(Number(values.cpuPressure) < WAITING_SHARE);
    return { shared, background, isLeast: isFull && background >= fairShare(shared) };
  }

  forget(nodeId: NodeId): void {
    const shared = this.#nodes.get(nodeId);
    if (shared === undefined) return;
    this.#nodes.delete(nodeId);
    shared.members.delete(nodeId);
    if (shared.members.size === 0) this.#shared.delete(shared.machine.id);
  }

  of(nodeId: NodeId): { readonly shared: Shared; readonly member: Member } | undefined {
    const shared = this.#nodes.get(nodeId);
    const member = shared?.members.get(nodeId);
    return shared === undefined || member === undefined ? undefined : { shared, member };
  }

  /** Nodes that are known. */
  get nodeIds(): readonly NodeId[] {
    return [...this.#nodes.keys()];
  }

  save(): readonly SavedMachine[] {
    return [...this.#shared.values()].map(({ machine, background, members }) => ({
      machine,
      background: background.save(),
      members: [...members].map(([id, member]) => [id, savedMember(member)] as const),
    }));
  }

  /** What `save` gave, with times on a clock that shows so much more now. */
  load(saved: readonly SavedMachine[], laterMs: number): void {
    for (const { machine, background, members } of saved) {
      const shared = { machine, background: Series.of(background, laterMs), members: new Map() };
      this.#shared.set(machine.id, shared);
      for (const [id, member] of members) {
        shared.members.set(id, memberFrom(member, laterMs));
        this.#nodes.set(id, shared);
      }
    }
  }

  #join(nodeId: NodeId, { cores, machine }: NodeCapacity): Shared {
    const wanted = machine ?? { id: `node:${nodeId}`, cores };
    const before = this.#nodes.get(nodeId);
    if (before?.machine.id === wanted.id && before.machine.cores === wanted.cores) return before;
    this.forget(nodeId);
    const there = this.#shared.get(wanted.id);
    const sameSize = there?.machine.cores === wanted.cores;
    const members = there?.members ?? new Map<NodeId, Member>();
    const shared =
      sameSize && there !== undefined
        ? there
        : { machine: wanted, background: there?.background ?? new Series(), members };
    this.#shared.set(wanted.id, shared);
    for (const id of members.keys()) this.#nodes.set(id, shared);
    this.#nodes.set(nodeId, shared);
    return shared;
  }
}

/** Cores' worth that the nodes of the machine want, by the measurements up to now. */
export function managedCores(shared: Shared): number {
  const newestMs = Math.max(...[...shared.members.values()].map(({ atMs }) => atMs));
  return sum(freshOf(shared, newestMs), ({ managed }) => managed.value);
}

/**
 * Shards of the node wait for its workers. Where the node is alone on a machine and has a worker for each core, that is the
 * machine's contention and nothing besides.
 */
export function isCrowded(
  { members, machine }: Shared,
  { runnable, capacity }: Member,
  limit: (capacityCores: number) => number,
): boolean {
  if (members.size === 1 && capacity.cores >= machine.cores) return false;
  return runnable.value > limit(capacity.cores);
}

/** M2. */
class Believed {
  newest = 0;
  #mean: number | undefined;

  take(value: number): void {
    this.newest = value;
    this.#mean = this.#mean === undefined ? value : this.#mean + (value - this.#mean) / SMOOTHING;
  }

  save(): readonly [number, number | null] {
    return [this.newest, this.#mean ?? null];
  }

  static of([newest, mean]: readonly [number, number | null]): Believed {
    const believed = new Believed();
    believed.newest = newest;
    believed.#mean = mean ?? undefined;
    return believed;
  }

  get value(): number {
    return Math.min(this.newest, this.#mean ?? 0);
  }
}

function memberOf({ members }: Shared, nodeId: NodeId, capacity: NodeCapacity): Member {
  const known = members.get(nodeId);
  if (known !== undefined) return known;
  const fresh: Member = {
    capacity,
    atMs: 0,
    ownCores: 0,
    background: Number.POSITIVE_INFINITY,
    runnable: new Believed(),
    managed: new Believed(),
    memory: new Series(),
  };
  members.set(nodeId, fresh);
  return fresh;
}

function savedMember(member: Member): SavedMember {
  const { capacity, atMs, ownCores, background, runnable, managed, memory } = member;
  const { cores, memoryBytes, machine } = capacity;
  return {
    ...{ cores, memoryBytes, machine: machine ?? null, atMs, ownCores, background },
    ...{ runnable: runnable.save(), managed: managed.save(), memory: memory.save() },
  };
}

function memberFrom(saved: SavedMember, laterMs: number): Member {
  const { cores, memoryBytes, machine, atMs, ownCores, background } = saved;
  return {
    capacity: { cores, memoryBytes, machine: machine ?? undefined },
    atMs: atMs + laterMs,
    ...{ ownCores, background },
    runnable: Believed.of(saved.runnable),
    managed: Believed.of(saved.managed),
    memory: Series.of(saved.memory, laterMs),
  };
}

/** What one more thread of others would be given beside what the nodes' shards want, cores (M6). */
function fairShare(shared: Shared): number {
  return Math.min(1, shared.machine.cores / (1 + managedCores(shared)));
}

function freshOf({ members }: Shared, nowMs: number): Member[] {
  return [...members.values()].filter(({ atMs }) => atMs + STALE_MS > nowMs);
}

function sum(members: readonly Member[], of: (member: Member) => number): number {
  return members.reduce((total, member) => total + of(member), 0);
}

/** What was measured, or what was known before when that is no number (M5). */
function measured(value: number, before: number): number {
  return value <= MEASURABLE_MAX ? Math.max(0, value) : before;
}

function usable({ cores, memoryBytes, machine }: NodeCapacity): NodeCapacity {
  const some = (value: number, otherwise: number): number =>
    value > 0 && value <= MEASURABLE_MAX ? value : otherwise;
  return {
    cores: some(cores, 1),
    memoryBytes: some(memoryBytes, 0),
    machine: machine === undefined ? undefined : { id: machine.id, cores: some(machine.cores, 1) },
  };
}
