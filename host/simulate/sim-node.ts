/**
 * A simulated node process: beats, watches, one life a shard, and guests that share its workers.
 *
 * Does: what host/node does, over the memory fabric. Does not: decide about shards (the machines do) or about its own death.
 *
 * It can be told to die at the n-th action of a kind, just before or just after it: SIGKILL at any step.
 */

import { mtbfOf } from '../guardian/failures.js';
import type { LifeAction } from '../protocol/life-types.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import type { RecordEntry, WatchEvent } from '../types/fabric.js';
import { decodePlain } from '../types/pack.js';
import {
  type FailureRecord,
  KEY,
  type NodeRecord,
  type ShardId,
  type ShardRecord,
} from '../types/records.js';
import { SimExecutor } from './sim-executor.js';
import { SimProcess, type World } from './world.js';

const BEAT_MS = 500;
const TURN_MS = 20;
export const FUEL_PER_MS = 10;

/** Where a node dies: at the nth action of this kind. */
export interface DeathWish {
  readonly kind: LifeAction['kind'];
  readonly nth: number;
  readonly after: boolean;
}

export class SimNode extends SimProcess {
  readonly executors = new Map<ShardId, SimExecutor>();
  /** Mean time between failures of a node, from the guardian's record. */
  mtbfMs = mtbfOf(null);
  readonly #workers: number;
  #wish: DeathWish | null;
  #draining = false;
  #stopping = false;
  #beat = 0;
  #revision = 0;
  #beating = false;

  constructor(world: World, name: string, workers: number, wish: DeathWish | null) {
    super(world, name);
    this.#workers = workers;
    this.#wish = wish;
  }

  start(): void {
    this.fabric.records.watch(KEY.shards, (event) => this.world.guard(() => this.#watched(event)));
    this.fabric.messages.subscribe(`node.${this.name}`, (message) => {
      if (this.alive) this.#look((decodePlain(message.payload) as { shardId: ShardId }).shardId);
    });
    this.fabric.records.watch(KEY.failures, (event) =>
      this.world.guard(() => this.#watchedFailures(event)),
    );
    this.#writeBeat();
    this.every(BEAT_MS, () => this.#writeBeat());
    this.every(TURN_MS, () => this.#turn());
  }

  /** Spot notice: it should be emptied. */
  drain(): void {
    this.#draining = true;
    this.world.note(`${this.name} draining`);
    this.#writeBeat();
  }

  /** SIGTERM: gives its shards back and goes when it has none. */
  stop(): void {
    this.world.note(`${this.name} stopping`);
    this.drain();
    for (const executor of this.executors.values()) executor.handle({ kind: 'stop' });
    this.#stopping = true;
  }

  /** It will not die by itself any more. */
  forgetWish(): void {
    this.#wish = null;
  }

  /** A worker dies: its guests are lost, the process lives. */
  crashWorker(): void {
    this.world.note(`${this.name} loses a worker`);
    for (const executor of [...this.executors.values()]) executor.crash();
  }

  #watched(event: WatchEvent): void {
    if (!this.alive) return;
    if (event.kind === 'put') this.#see(event.entry);
    if (event.kind === 'snapshot') for (const entry of event.entries) this.#see(entry);
  }

  #watchedFailures(event: WatchEvent): void {
    if (!this.alive) return;
    const entry = event.kind === 'put' ? event.entry : undefined;
    const newest = event.kind === 'snapshot' ? event.entries[0] : entry;
    if (newest !== undefined)
      this.mtbfMs = mtbfOf(decodeRecord<FailureRecord>(newest.value, newest.key));
  }

  #look(shardId: ShardId): void {
    this.when(
      this.fabric.records.get(KEY.shard(shardId)),
      (entry) => {
        if (entry !== undefined) this.#see(entry);
      },
      () => undefined,
    );
  }

  #see(entry: RecordEntry): void {
    const record = decodeRecord<ShardRecord>(entry.value, entry.key);
    let executor = this.executors.get(record.id);
    if (executor === undefined) {
      if (record.owner !== this.name) return;
      executor = new SimExecutor(
        this,
        record.id,
        (action) => this.#mayAct(action),
        () => this.mtbfMs,
      );
      this.executors.set(record.id, executor);
      if (this.#stopping) executor.handle({ kind: 'stop' });
    }
    executor.see(entry);
  }

  #mayAct(action: LifeAction): boolean {
    const wish = this.#wish;
    if (wish?.kind !== action.kind) return true;
    if (wish.nth > 1) {
      this.#wish = { ...wish, nth: wish.nth - 1 };
      return true;
    }
    this.#wish = null;
    const why = `${wish.after ? 'right after' : 'just before'} ${action.kind}`;
    if (wish.after) this.world.time.schedule(0, () => this.kill(why));
    else this.kill(why);
    return wish.after;
  }

  #turn(): void {
    const running = [...this.executors.values()].filter(
      (e) => e.guest !== null && !e.guest.standing,
    );
    const share = Math.min(1, this.#workers / Math.max(1, running.length));
    for (const executor of running) executor.advance(TURN_MS, FUEL_PER_MS * share);
    if (!this.#stopping || !this.alive) return;
    if ([...this.executors.values()].every((executor) => executor.life.idle))
      this.kill('stopped in good order');
  }

  #writeBeat(): void {
    if (this.#beating) return;
    this.#beating = true;
    this.#beat += 1;
    const key = KEY.node(this.name);
    const done = (): void => {
      this.#beating = false;
    };
    const read = (): void =>
      this.when(
        this.fabric.records.get(key),
        (entry) => {
          this.#revision = Math.max(this.#revision, entry?.revision ?? 0);
          done();
        },
        done,
      );
    this.when(
      this.fabric.records.compareAndSet(key, this.#revision, encodeRecord(this.#record())),
      (outcome) => {
        if (outcome.kind === 'ok') this.#revision = outcome.revision;
        if (outcome.kind === 'ok') done();
        else read();
      },
      done,
    );
  }

  #record(): NodeRecord {
    const busy = [...this.executors.values()].filter(
      (e) => e.guest !== null && !e.guest.standing,
    ).length;
    const guestCpu = Math.min(this.#workers, busy);
    return {
      v: 1,
      id: this.name,
      pid: 1,
      host: 'sim',
      workers: this.#workers,
      beat: this.#beat,
      draining: this.#draining,
      engine: 'sim',
      memoryBytes: 1_073_741_824,
      sample: {
        cpu: guestCpu / this.#workers,
        guestCpu,
        memoryUsedBytes: 0,
        eventLoopDelayMs: 0,
        runnable: busy,
      },
      writer: this.name,
      attempt: this.#beat,
    };
  }
}
