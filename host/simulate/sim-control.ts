/**
 * A simulated control process: the real scheduler and oracle over the memory fabric.
 *
 * Does: watch records, feed the brain, carry out its actions with one compare-and-set each. Does not: decide.
 *
 * Two of them may run at once (a cut-off one and its successor): every act is a compare-and-set, so that harms nothing.
 */
import { FailureLog } from '../guardian/failures.js';
import { shardSample } from '../oracle/demand.js';
import { endedShard, Oracle } from '../oracle/oracle.js';
import { transitionOf } from '../protocol/brain-action.js';
import type { Stamp } from '../protocol/shard-record.js';
import { Scheduler } from '../scheduler/scheduler.js';
import type { BrainAction, BrainEvent, Seen } from '../types/brain.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import type { RecordEntry, WatchEvent } from '../types/fabric.js';
import { type ProgressHint, SUBJECT } from '../types/hints.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Platform } from '../types/platform.js';
import {
  type FailureRecord,
  KEY,
  type NodeId,
  type NodeRecord,
  type ShardId,
  type ShardRecord,
} from '../types/records.js';
import { seenOf } from './sim-executor.js';
import { SimProcess, type World } from './world.js';

const TICK_MS = 100;
const HORIZON_MS = 5_000;

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

export class SimControl extends SimProcess {
  readonly #scheduler = new Scheduler({ settleMs: 2_000 });
  readonly #oracle: Oracle;
  readonly #failures = new FailureLog();
  readonly #shards = new Map<ShardId, Seen<ShardRecord>>();
  readonly #nodes = new Map<NodeId, number>();
  #attempt = 0;
  /** Actions by kind. */
  readonly actions = new Map<BrainAction['kind'], number>();

  /** Without a platform the oracle fits no model: its simple forecasters answer. */
  constructor(world: World, name: string, platform?: Platform) {
    super(world, name);
    this.#oracle = new Oracle(platform);
  }

  start(): void {
    this.fabric.records.watch(KEY.shards, (event) =>
      this.#watched(event, (entry) => this.#seeShard(entry)),
    );
    this.fabric.records.watch(KEY.nodes, (event) => {
      this.#watched(event, (entry) => this.#seeNode(entry));
      if (event.kind === 'snapshot')
        this.#forgetNodes(new Set(event.entries.map((entry) => entry.key)));
      if (event.kind === 'delete' && this.alive)
        this.#nodeGone(event.key.slice(KEY.nodes.length + 1));
    });
    this.fabric.messages.subscribe(SUBJECT.progressAll, (message) => {
      if (this.alive) this.#onProgress(decodePlain(message.payload) as ProgressHint);
    });
    this.#readFailures();
    this.every(TICK_MS, () => {
      this.#feed({ kind: 'tick' });
      this.#saveFailures();
    });
  }

  nodeDied(nodeId: NodeId): void {
    if (this.alive) this.#feed({ kind: 'node-dead', nodeId });
  }

  requestMove(shardId: ShardId, target: NodeId | null): void {
    if (this.alive) this.#feed({ kind: 'request-move', shardId, target });
  }

  why(shardId: ShardId): string {
    return this.#scheduler.why(shardId);
  }

  #watched(event: WatchEvent, see: (entry: RecordEntry) => void): void {
    if (!this.alive) return;
    if (event.kind === 'put') see(event.entry);
    if (event.kind === 'snapshot') for (const entry of event.entries) see(entry);
  }

  #forgetNodes(there: ReadonlySet<string>): void {
    if (!this.alive) return;
    for (const id of [...this.#nodes.keys()]) if (!there.has(KEY.node(id))) this.#nodeGone(id);
  }

  #nodeGone(nodeId: NodeId): void {
    if (this.#nodes.delete(nodeId)) this.#feed({ kind: 'node-gone', nodeId });
  }

  #seeShard(entry: RecordEntry): void {
    const seen = seenOf(entry);
    const known = this.#shards.get(seen.record.id);
    if (known !== undefined && known.revision >= seen.revision) return;
    this.#shards.set(seen.record.id, seen);
    const { record } = seen;
    if (record.exit !== null) {
      const ended = endedShard(record, record.exit);
      this.#oracle.observeEnd(record.moduleHash, this.world.nowMs, record.fuelUsed, ended);
    }
    this.#feed({ kind: 'shard', seen });
  }

  #seeNode(entry: RecordEntry): void {
    const record = decodeRecord<NodeRecord>(entry.value, entry.key);
    if ((this.#nodes.get(record.id) ?? 0) >= entry.revision) return;
    this.#nodes.set(record.id, entry.revision);
    const atMs = this.world.nowMs;
    const capacity = { cores: record.workers, memoryBytes: record.memoryBytes };
    this.#oracle.observe({ nodeId: record.id, atMs, values: record.sample }, capacity);
    this.#feed({ kind: 'node', seen: { record, revision: entry.revision } });
    const forecast = this.#oracle.forecast(record.id, HORIZON_MS);
    if (forecast !== undefined) this.#feed({ kind: 'forecast', forecast });
  }

  #onProgress(hint: ProgressHint): void {
    const record = this.#shards.get(hint.shardId)?.record;
    if (record?.owner !== hint.nodeId || record.epoch !== hint.epoch) return;
    const sample = shardSample(hint, this.world.nowMs);
    this.#oracle.observeShard(record.moduleHash, sample);
    this.#feed({ kind: 'progress', sample });
    this.#feed({
      kind: 'shard-forecast',
      forecast: this.#oracle.outlook(record.moduleHash, sample),
    });
  }

  #feed(event: Untimed<BrainEvent>): void {
    this.world.guard(() => {
      const timed = { ...event, nowMs: this.world.nowMs } as BrainEvent;
      this.#failures.handle(timed);
      for (const action of this.#scheduler.handle(timed)) this.#execute(action);
    });
  }

  /** As control does. */
  #saveFailures(): void {
    const write = this.#failures.next(this.world.nowMs, () => this.#stamp());
    if (write === null) return;
    const { records } = this.fabric;
    this.when(
      records.compareAndSet(KEY.failures, write.expected, encodeRecord(write.record)),
      (outcome) => {
        const known =
          outcome.kind === 'conflict'
            ? this.#failures.answer({
                kind: 'conflict',
                current: outcome.current === undefined ? null : failuresIn(outcome.current),
              })
            : this.#failures.answer(outcome);
        if (!known) this.#readFailures();
      },
      () => this.#failures.answer({ kind: 'unknown' }),
    );
  }

  #readFailures(): void {
    this.when(
      this.fabric.records.get(KEY.failures),
      (entry) => {
        if (entry !== undefined) this.#failures.see(failuresIn(entry));
      },
      () => undefined,
    );
  }

  #execute(action: BrainAction): void {
    this.actions.set(action.kind, (this.actions.get(action.kind) ?? 0) + 1);
    if (action.kind === 'explain') return;
    this.world.note(`${this.name} ${action.id}: ${action.why}`);
    const seen = this.#shards.get(action.shardId);
    const next =
      seen?.revision === action.revision ? transitionOf(action, seen.record, this.#stamp()) : null;
    if (next === null || !next.ok) {
      // Never within the decision itself: the scheduler is not re-entrant.
      this.after(0, () =>
        this.#feed({ kind: 'action-done', actionId: action.id, outcome: 'conflict' }),
      );
      return;
    }
    const key = KEY.shard(action.shardId);
    this.when(
      this.fabric.records.compareAndSet(key, action.revision, encodeRecord(next.record)),
      (outcome) => {
        if (outcome.kind === 'ok') {
          this.#see({ record: next.record, revision: outcome.revision });
          this.#hint(action, next.record);
        } else if (outcome.kind === 'conflict' && outcome.current !== undefined)
          this.#seeShard(outcome.current);
        else this.#refresh(key);
        this.#feed({ kind: 'action-done', actionId: action.id, outcome: outcome.kind });
      },
      () => this.#feed({ kind: 'action-done', actionId: action.id, outcome: 'unknown' }),
    );
  }

  #see(seen: Seen<ShardRecord>): void {
    const known = this.#shards.get(seen.record.id);
    if (known !== undefined && known.revision >= seen.revision) return;
    this.#shards.set(seen.record.id, seen);
    this.#feed({ kind: 'shard', seen });
  }

  #refresh(key: string): void {
    this.when(
      this.fabric.records.get(key),
      (entry) => {
        if (entry !== undefined) this.#seeShard(entry);
      },
      () => undefined,
    );
  }

  #hint(action: BrainAction, record: ShardRecord): void {
    const { shardId } = action;
    if (record.owner === null) return;
    this.fabric.messages.publish(`node.${record.owner}`, encodePlain({ kind: 'look', shardId }));
  }

  #stamp(): Stamp {
    this.#attempt += 1;
    return { writer: this.name, attempt: this.#attempt };
  }
}

function failuresIn(entry: RecordEntry): Seen<FailureRecord> {
  return {
    record: decodeRecord<FailureRecord>(entry.value, entry.key),
    revision: entry.revision,
  };
}
