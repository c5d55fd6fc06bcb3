/**
 * The dynamic scheduler: which shard runs where, as `(state, event) → actions`.
 *
 * Does: place by urgency on the least loaded node, preempt for a higher priority, move before a predicted bottleneck and away from
 * draining nodes, recover from lost ones, say of every shard that waits why. Does not: write records (control does one
 * compare-and-set per action), measure, or keep anything that records do not tell again.
 *
 *   event ──▶ book (indexes) ──▶ round: recover · place · preempt · evacuate · wishes · forecast moves ──▶ actions
 *
 *   find_best_node ─ a node with a slot and memory? ──yes──▶ assign
 *        │ no
 *        ├─ a running shard of lower priority? ──yes──▶ preempt it; the place goes to the head of the queue when it is free
 *        └─ stay queued, explain
 *
 * D1  An action is decided for one revision of one shard; its id is `kind:shard@revision`. While it is in flight nothing else is
 *     decided for that shard. A newer revision, or the end of retryMs, opens the shard again.
 * D2  After `conflict` the shard waits for the newer record; after `unknown` for the newer record or retryMs. A repeat has the same
 *     revision, so at most one of them can land.
 * D3  Memory is a hard limit; slots are a limit for placing and preempting, not for evacuating a draining node.
 * D4  A predicted bottleneck moves one shard at a time off a node, and only when the target is still gainMin less loaded after the
 *     move: the way back would gain less than nothing, so nothing bounces.
 *     What is moved is what gains most: slowdown avoided × work left − cost of moving; a shard that is about to end stays.
 *     One move at a time off a machine, too: its nodes see the same contention, and one move may end it for all.
 * D5  Work per event is O(log n) per action, with at most ROUND_MAX looks at shards that cannot be placed.
 * D6  A node is trusted with shards when its record is new or its revision moved while we watched: after a takeover, records of the
 *     long dead get nothing. Every node counts as alive for one lease.
 * D7  A move whose target is lost, or begins to drain, before the owner has answered is taken back (or goes elsewhere, when the owner
 *     must be emptied). One whose target is lost before it took the shard up goes straight to another node: nothing ran there, so
 *     there is nothing to recover.
 * D9  A client's wish lasts until a record shows that it was carried out, or overtaken (by another move, a recovery, the end): an
 *     action for it that came too late (the owner wrote a checkpoint meanwhile) is decided anew on the newer record.
 */
import { Leases } from '../core/leases.js';
import type { BrainAction, BrainEvent, Forecast, Seen } from '../types/brain.js';
import type { NodeId, NodeRecord, ShardId } from '../types/records.js';
import {
  Book,
  DEFAULT_SCHEDULER,
  DEMAND_MAX,
  type MachineEntry,
  type NodeEntry,
  type SchedulerOptions,
  type ShardEntry,
} from './book.js';

/** Shards and nodes that are looked at in vain, at most, in one round. */
const ROUND_MAX = 16;
/** A shard of which nobody knows how long it will run: as long as it ran already, and at least this. */
const UNKNOWN_LEFT_MS = 10_000;
/** The first beats of a node's life. */
const NEW_BEATS = 1;

type Decision = Exclude<BrainAction['kind'], 'explain'>;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #book: Book;
  readonly #leases: Leases;
  /** In the order in which they were issued. */
  readonly #inFlight = new Map<string, { readonly entry: ShardEntry; readonly sinceMs: number }>();
  readonly #toRecover = new Set<ShardEntry>();
  readonly #toEvacuate = new Set<ShardEntry>();
  readonly #toCancel = new Set<ShardEntry>();
  readonly #wishes = new Set<ShardEntry>();
  readonly #toExplain = new Set<ShardEntry>();
  readonly #alarmed = new Set<NodeEntry>();
  #nowMs = 0;
  /** The book's version after which nothing more could be placed. */
  #placedVersion = -1;
  #out: BrainAction[] = [];

  constructor(options: Partial<SchedulerOptions> = {}) {
    this.#options = { ...DEFAULT_SCHEDULER, ...options };
    this.#book = new Book(this.#options);
    this.#leases = new Leases(this.#options.leaseMs);
  }

  /** Takes one event in; gives what is to be done now. */
  handle(event: BrainEvent): BrainAction[] {
    this.#nowMs = Math.max(this.#nowMs, event.nowMs);
    this.#apply(event);
    for (const id of this.#leases.expire(this.#nowMs)) this.#lose(id, 'did not renew its lease');
    this.#reopen();
    this.#round();
    const out = this.#out;
    this.#out = [];
    return out;
  }

  /** Why a shard does not run, now; empty when it runs or is not known. */
  why(shardId: ShardId): string {
    const entry = this.#book.shards.get(shardId);
    if (entry === undefined) return '';
    const { status, reason } = entry.record;
    if (status === 'queued')
      return entry.inFlight?.kind === 'assign' ? 'being placed' : this.#reason(entry);
    return status === 'running' || status === 'done' ? '' : reason;
  }

  /** True while the node's lease holds. */
  isAlive(nodeId: NodeId): boolean {
    return this.#leases.isAlive(nodeId);
  }

  /** Sizes and work done, for tests and display. */
  get stats(): {
    readonly queued: number;
    readonly inFlight: number;
    readonly nodes: number;
    readonly compares: number;
  } {
    const { queue, places, compares } = this.#book;
    return { queued: queue.size, inFlight: this.#inFlight.size, nodes: places.size, compares };
  }

  // ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #apply(event: BrainEvent): void {
    switch (event.kind) {
      case 'shard': {
        const entry = this.#book.setShard(event.seen, this.#nowMs);
        if (entry !== null) this.#open(entry);
        break;
      }
      case 'shard-gone': {
        const entry = this.#book.removeShard(event.shardId);
        if (entry !== undefined) this.#forget(entry);
        break;
      }
      case 'node':
        this.#node(event.seen);
        break;
      case 'node-gone':
        this.#lose(event.nodeId, 'is gone');
        this.#leases.forget(event.nodeId);
        this.#book.removeNode(event.nodeId);
        break;
      case 'node-dead':
        this.#leases.died(event.nodeId);
        this.#lose(event.nodeId, 'died');
        break;
      case 'forecast':
        this.#forecast(event.forecast);
        break;
      case 'progress': {
        const { shardId, demand, memoryBytes } = event.sample;
        const entry = this.#book.shards.get(shardId);
        if (entry?.record.status === 'running') this.#book.measure(entry, demand, memoryBytes);
        break;
      }
      case 'shard-forecast': {
        const entry = this.#book.shards.get(event.forecast.shardId);
        if (entry !== undefined) entry.remainingMs = event.forecast.remainingMs?.p50 ?? null;
        break;
      }
      case 'request-move': {
        const entry = this.#book.shards.get(event.shardId);
        if (entry === undefined) break;
        entry.move = { target: event.target };
        entry.granted = null;
        entry.why = ''; // who asks again is told again
        this.#wishes.add(entry);
        break;
      }
      default: // tick: time has passed; action-done: D2, the record tells
    }
  }

  /** Nothing is in flight for the shard: sees what its record asks for. */
  #open(entry: ShardEntry): void {
    if (entry.inFlight !== null) this.#inFlight.delete(entry.inFlight.id);
    entry.inFlight = null;
    this.#toRecover.delete(entry);
    this.#toEvacuate.delete(entry);
    this.#toCancel.delete(entry);
    this.#book.index(entry);
    this.#lookAtWish(entry);
    const { owner, status, wanted } = entry.record;
    if (status === 'queued') this.#toExplain.add(entry);
    if (owner === null) return;
    if (!this.#leases.knows(owner)) this.#leases.expect(owner, this.#nowMs);
    if (!this.#leases.isAlive(owner)) this.#toRecover.add(entry);
    else if (wanted?.op === 'move' && this.#isLost(wanted.target)) this.#toCancel.add(entry);
    else if (wanted === null && this.#book.node(owner).record?.draining === true)
      this.#toEvacuate.add(entry);
  }

  /** Nothing came of the action for a wish: the wish is open again (D9). */
  #lookAtWish(entry: ShardEntry): void {
    const { granted, record } = entry;
    if (granted === null) return;
    entry.granted = null;
    const { status, wanted, epoch, owner } = record;
    if (status === 'done' || status === 'paused') return;
    if (wanted?.op === 'move' || epoch !== granted.epoch || owner === granted.node) return;
    entry.move = { target: granted.target };
    this.#wishes.add(entry);
  }

  #forget(entry: ShardEntry): void {
    if (entry.inFlight !== null) this.#inFlight.delete(entry.inFlight.id);
    for (const set of [
      this.#toRecover,
      this.#toEvacuate,
      this.#toCancel,
      this.#wishes,
      this.#toExplain,
    ])
      set.delete(entry);
  }

  #node(seen: Seen<NodeRecord>): void {
    const { record, revision } = seen;
    if (this.#leases.isDead(record.id)) return;
    const node = this.#book.node(record.id);
    if (revision <= node.revision) return;
    const before = { alive: node.alive, draining: node.record?.draining === true };
    const fresh = node.record === null && record.beat <= NEW_BEATS;
    node.proven = node.proven || fresh || node.record !== null;
    this.#leases.observe(record.id, revision, this.#nowMs);
    this.#book.setNode(node, record, revision);
    node.alive = true;
    node.lost = '';
    this.#book.indexNode(node);
    if (before.alive !== node.alive || before.draining !== record.draining)
      this.#reopenShardsOf(node);
  }

  /** The node counts as lost: its shards are to be recovered. */
  #lose(nodeId: NodeId, how: string): void {
    const node = this.#book.nodes.get(nodeId);
    if (node === undefined) return;
    node.alive = false;
    node.proven = false;
    node.lost = how;
    this.#alarmed.delete(node);
    this.#book.indexNode(node);
    for (const id of [...node.shards]) {
      const entry = this.#book.shards.get(id);
      if (entry === undefined) continue;
      const { owner, wanted } = entry.record;
      if (owner === nodeId) {
        this.#book.index(entry);
        this.#toEvacuate.delete(entry);
        this.#toRecover.add(entry);
      } else if (owner !== null && wanted?.op === 'move' && wanted.target === nodeId)
        this.#toCancel.add(entry);
    }
  }

  /** Gone, silent, or about to go: nothing should be moved there. One that was never seen has one lease to show up. */
  #isLost(target: NodeId): boolean {
    if (!this.#leases.knows(target)) this.#leases.expect(target, this.#nowMs);
    return !this.#leases.isAlive(target) || this.#book.nodes.get(target)?.record?.draining === true;
  }

  #reopenShardsOf(node: NodeEntry): void {
    for (const id of [...node.shards]) {
      const entry = this.#book.shards.get(id);
      if (entry !== undefined && entry.inFlight === null) this.#open(entry);
    }
  }

  #forecast(forecast: Forecast): void {
    const node = this.#book.nodes.get(forecast.nodeId);
    if (node === undefined || node.record === null) return;
    node.contention = forecast.crowded ? 1 : forecast.contention;
    node.machine.background = Math.max(0, forecast.background.p50);
    this.#book.indexMachine(node.machine);
    if (node.alive && node.contention >= this.#options.contentionAlarm) this.#alarmed.add(node);
  }

  /** Opens shards whose action had no visible effect for too long. */
  #reopen(): void {
    for (const { entry, sinceMs } of this.#inFlight.values()) {
      if (sinceMs + this.#options.retryMs > this.#nowMs) break;
      this.#open(entry);
    }
  }

  // ── decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #round(): void {
    for (const entry of this.#toRecover) this.#recover(entry);
    this.#toRecover.clear();
    for (const entry of this.#toCancel) this.#takeBack(entry);
    this.#toCancel.clear();
    for (const entry of this.#wishes) this.#grant(entry);
    this.#place();
    this.#evacuate();
    for (const node of this.#alarmed) this.#relieve(node);
    this.#alarmed.clear();
    for (const entry of this.#toExplain) this.#explainWaiting(entry);
    this.#toExplain.clear();
  }

  #recover(entry: ShardEntry): void {
    const lost = entry.record.owner;
    const deciding = entry.inFlight?.kind;
    if (lost === null || deciding === 'recover' || deciding === 'redirect') return;
    const how = this.#book.node(lost).lost;
    if (entry.record.status === 'assigned' && this.#redirect(entry, lost, how)) return;
    const why = `${lost} ${how === '' ? 'is not there' : how}: goes on from its newest capsule`;
    this.#decide(entry, { kind: 'recover', ...this.#name('recover', entry), lost, why });
  }

  /** Sends on what its lost owner had not taken up; false = it has to wait for a place, or has a request that needs none. */
  #redirect(entry: ShardEntry, lost: NodeId, how: string): boolean {
    const { wanted } = entry.record;
    if (wanted?.op === 'kill' || (wanted?.op === 'pause' && wanted.atFuel === null)) return false;
    const node = this.#bestPlace(entry, lost);
    if (node === null) return false;
    const why = `${lost} ${how === '' ? 'is not there' : how} before it took it up: goes to ${node.id}`;
    const name = this.#name('redirect', entry);
    this.#decide(entry, { kind: 'redirect', ...name, lost, node: node.id, why });
    return true;
  }

  /** The target of an asked move is lost (D7). */
  #takeBack(entry: ShardEntry): void {
    const { wanted, owner } = entry.record;
    if (entry.inFlight !== null || owner === null || wanted?.op !== 'move') return;
    const target = this.#book.nodes.get(wanted.target);
    const how = target?.record?.draining === true ? 'drains' : target?.lost || 'is not there';
    const leaves = this.#book.node(owner).record?.draining === true;
    const other = leaves ? (this.#bestPlace(entry, owner) ?? this.#anyPlace(entry)) : null;
    if (other !== null) {
      this.#migrate(entry, other, `${owner} is draining, and ${wanted.target} ${how}`);
      return;
    }
    const why = `${wanted.target} ${how} before the move began: stays on ${owner}`;
    const name = this.#name('cancel', entry);
    this.#decide(entry, { kind: 'cancel', ...name, request: wanted.actionId, why });
  }

  /** Gives places to the most urgent; asks cheaper shards to make room for those that find none. */
  #place(): void {
    if (this.#book.version === this.#placedVersion) return;
    const skipped: ShardEntry[] = [];
    for (let head = this.#book.queue.first(); head !== undefined; head = this.#book.queue.first()) {
      const node = this.#bestPlace(head, null);
      if (node !== null) {
        this.#assign(head, node, `least loaded: ${this.#book.load(node).toFixed(2)} a core`);
        continue;
      }
      this.#preemptFor(head);
      this.#toExplain.add(head);
      this.#book.queue.delete(head);
      skipped.push(head);
      if (skipped.length >= ROUND_MAX) break;
    }
    for (const entry of skipped) this.#book.queue.set(entry);
    this.#placedVersion = this.#book.version;
  }

  /** The least loaded node with a slot and enough memory. */
  #bestPlace(entry: ShardEntry, except: NodeId | null): NodeEntry | null {
    const book = this.#book;
    const bytes = book.needBytes(entry);
    const roomiest = book.roomy.first();
    if (roomiest === undefined || !book.fits(roomiest, bytes)) return null;
    let looks = 0;
    for (const node of book.places.ordered()) {
      if (node.id !== except && book.hasSlot(node) && book.fits(node, bytes)) return node;
      looks += 1;
      if (looks >= ROUND_MAX) break;
    }
    return roomiest.id === except ? null : roomiest;
  }

  #preemptFor(waiting: ShardEntry): void {
    if (this.#makesRoom(waiting.victim)) return;
    const book = this.#book;
    let looks = 0;
    for (const victim of book.victims.ordered()) {
      if (victim.record.priority >= waiting.record.priority || looks >= ROUND_MAX) return;
      looks += 1;
      const node = book.nodes.get(victim.record.owner ?? '');
      if (node === undefined || !book.fits(node, book.needBytes(waiting) - book.needBytes(victim)))
        continue;
      waiting.victim = victim.id;
      const why = `priority ${victim.record.priority} gives way to ${waiting.record.priority}`;
      this.#decide(victim, {
        kind: 'preempt',
        ...this.#name('preempt', victim),
        by: waiting.id,
        why,
      });
      return;
    }
  }

  /** Was asked to make room and has not done so yet. */
  #makesRoom(victim: ShardId | null): boolean {
    const entry = victim === null ? undefined : this.#book.shards.get(victim);
    if (entry === undefined || entry.record.owner === null) return false;
    return entry.inFlight?.kind === 'preempt' || entry.record.wanted?.op === 'preempt';
  }

  #evacuate(): void {
    let looks = 0;
    for (const entry of this.#toEvacuate) {
      const from = entry.record.owner;
      if (looks >= ROUND_MAX || from === null) return;
      this.#toEvacuate.delete(entry);
      if (entry.inFlight !== null) continue; // when that is over it is looked at again
      const target = this.#bestPlace(entry, from) ?? this.#anyPlace(entry);
      if (target !== null) {
        this.#migrate(entry, target, `${from} is draining`);
        continue;
      }
      looks += 1;
      this.#toEvacuate.add(entry); // at the end: the others get their look first
      this.#explain(entry, `${from} is draining and no other node has memory for it`);
    }
  }

  /** For shards that must leave: a full node is better than none. */
  #anyPlace(entry: ShardEntry): NodeEntry | null {
    let looks = 0;
    for (const node of this.#book.places.ordered()) {
      if (this.#book.fits(node, this.#book.needBytes(entry))) return node;
      looks += 1;
      if (looks >= ROUND_MAX) return null;
    }
    return null;
  }

  /** A client's wish to have the shard elsewhere. */
  #grant(entry: ShardEntry): void {
    if (entry.inFlight !== null || entry.record.wanted !== null) return;
    this.#wishes.delete(entry);
    const wish = entry.move?.target ?? null;
    entry.move = null;
    const owner = entry.record.owner;
    if (wish === null && owner === null && entry.record.status === 'queued') return;
    const target = wish === null ? this.#bestPlace(entry, owner) : this.#wishedPlace(wish);
    const refusal = this.#wishRefusal(entry, wish, target);
    if (refusal !== null || target === null)
      this.#explain(entry, refusal ?? 'no other node has room');
    else {
      if (owner === null) this.#assign(entry, target, 'asked for');
      else this.#migrate(entry, target, 'asked for');
      entry.granted = { target: wish, node: target.id, epoch: entry.record.epoch };
    }
  }

  #wishRefusal(entry: ShardEntry, wish: NodeId | null, target: NodeEntry | null): string | null {
    const { status, owner } = entry.record;
    if (status === 'done' || status === 'paused') return `cannot be moved: it is ${status}`;
    if (wish === null) return null;
    if (wish === owner) return `is on ${wish} already`;
    if (target === null) return `${wish} takes no shards`;
    return this.#book.fits(target, this.#book.needBytes(entry))
      ? null
      : `${wish} has not enough memory for it`;
  }

  #wishedPlace(id: NodeId): NodeEntry | null {
    const node = this.#book.nodes.get(id);
    return node !== undefined && this.#book.usable(node) ? node : null;
  }

  /** Moves one shard off a node for which a bottleneck is predicted, when that gains enough (D4). */
  #relieve(node: NodeEntry): void {
    const book = this.#book;
    if (!book.usable(node) || this.#isLeaving(node.machine)) return;
    let best: { readonly entry: ShardEntry; readonly target: NodeEntry } | null = null;
    let bestGainMs = 0;
    for (const entry of this.#shardsOf(node)) {
      if (entry.record.owner !== node.id || !this.#isMovable(entry)) continue;
      const target = this.#bestPlace(entry, node.id);
      const gainMs = target === null ? 0 : this.#gainMs(entry, node, target);
      if (target === null || gainMs <= bestGainMs) continue;
      best = { entry, target };
      bestGainMs = gainMs;
    }
    if (best === null) return;
    const { entry, target } = best;
    const gain = this.#gain(entry, node, target).toFixed(2);
    const why = `bottleneck predicted on ${node.id} (${node.contention.toFixed(2)}), gain ${gain}`;
    this.#migrate(entry, target, why);
  }

  /** A shard is on its way from one of its nodes. */
  #isLeaving(machine: MachineEntry): boolean {
    for (const node of machine.nodes) {
      for (const { record, inFlight } of this.#shardsOf(node)) {
        const moves = inFlight?.kind === 'migrate' || record.wanted?.op === 'move';
        if (moves && record.owner === node.id) return true;
      }
    }
    return false;
  }

  /** Those that may be looked at in one round. */
  *#shardsOf(node: NodeEntry): Generator<ShardEntry> {
    let looks = 0;
    for (const id of node.shards) {
      const entry = this.#book.shards.get(id);
      looks += 1;
      if (entry === undefined || looks > ROUND_MAX * 4) return;
      yield entry;
    }
  }

  /** It runs, nothing is under way for it, and it has settled. */
  #isMovable(entry: ShardEntry): boolean {
    const { status, wanted } = entry.record;
    if (entry.inFlight !== null || wanted !== null || status !== 'running') return false;
    return entry.placedMs + this.#options.settleMs <= this.#nowMs;
  }

  /**
   * Load that the shard leaves behind for less, after the move. Between nodes of one machine its cores stay as scarce as they are:
   * what is gained is that shards wait less for a worker, if they do (D4).
   */
  #gain(entry: ShardEntry, source: NodeEntry, target: NodeEntry): number {
    const book = this.#book;
    if (source.machine !== target.machine)
      return book.load(source) - book.load(target, entry.demand);
    const here = Math.max(1, book.workerLoad(source));
    return here - Math.max(1, book.workerLoad(target, entry.demand));
  }

  /** Slowdown avoided × work left − cost of moving; 0 = too little to move for (D4). */
  #gainMs(entry: ShardEntry, source: NodeEntry, target: NodeEntry): number {
    const gain = this.#gain(entry, source, target);
    if (gain < this.#options.gainMin) return 0;
    const { moveMs, moveMsPerMiB } = this.#options;
    const leftMs = entry.remainingMs ?? Math.max(UNKNOWN_LEFT_MS, entry.record.ranMs);
    const costMs = moveMs + moveMsPerMiB * (this.#book.needBytes(entry) / 1_048_576);
    return gain * leftMs * (entry.demand / DEMAND_MAX) - costMs;
  }

  // ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #assign(entry: ShardEntry, node: NodeEntry, why: string): void {
    this.#decide(entry, { kind: 'assign', ...this.#name('assign', entry), node: node.id, why });
  }

  #migrate(entry: ShardEntry, target: NodeEntry, why: string): void {
    this.#decide(entry, {
      kind: 'migrate',
      ...this.#name('migrate', entry),
      target: target.id,
      why,
    });
  }

  #decide(entry: ShardEntry, action: BrainAction): void {
    if (entry.inFlight !== null) this.#inFlight.delete(entry.inFlight.id);
    entry.inFlight = action;
    entry.why = '';
    this.#inFlight.set(action.id, { entry, sinceMs: this.#nowMs });
    this.#book.index(entry);
    this.#out.push(action);
  }

  #name(
    kind: Decision,
    entry: ShardEntry,
  ): { readonly id: string; readonly shardId: ShardId; readonly revision: number } {
    return {
      id: `${kind}:${entry.id}@${entry.revision}`,
      shardId: entry.id,
      revision: entry.revision,
    };
  }

  #explainWaiting(entry: ShardEntry): void {
    if (this.#book.queue.has(entry)) this.#explain(entry, this.#reason(entry));
  }

  /** Says something about a shard once. */
  #explain(entry: ShardEntry, why: string): void {
    if (entry.why === why) return;
    entry.why = why;
    const id = `explain:${entry.id}@${entry.revision}:${why}`;
    this.#out.push({ kind: 'explain', id, shardId: entry.id, why });
  }

  #reason(entry: ShardEntry): string {
    const book = this.#book;
    if (book.places.size === 0) return 'no node is up that takes shards';
    if (this.#makesRoom(entry.victim)) return `waiting for ${entry.victim} to make room`;
    const bytes = book.needBytes(entry);
    const roomiest = book.roomy.first();
    if (roomiest === undefined) return `every node is full (${book.places.size} up)`;
    if (!book.fits(roomiest, bytes))
      return `needs ${Math.ceil(bytes / 1_048_576)} MiB: no node has that much free`;
    return 'next in turn';
  }
}
