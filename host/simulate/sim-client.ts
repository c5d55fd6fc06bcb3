/**
 * A simulated user: submits shards, then pauses, resumes, moves and kills some of them.
 *
 * Does: write requests into records as the control API does for a client, retrying conflicts. Does not: run anything.
 */
import {
  killNow,
  pauseQueued,
  resume,
  type Stamp,
  setWanted,
  submit,
  type Transition,
} from '../protocol/shard-record.js';
import { encodeRecord } from '../types/codec.js';
import { encodePlain } from '../types/pack.js';
import { KEY, type ShardId, type ShardRecord, type Wanted } from '../types/records.js';
import { seenOf } from './sim-executor.js';
import type { SimSpec } from './sim-guest.js';
import { SimProcess } from './world.js';

const TRIES = 40;
const MODULE = '0'.repeat(64);

export class SimClient extends SimProcess {
  /** Shards for which a kill was written or may have been. */
  readonly killed = new Set<ShardId>();
  readonly submitted: ShardId[] = [];
  readonly specs = new Map<ShardId, SimSpec>();
  /** Output heads that a reader saw, fresh or stale. */
  readonly seenHeads = new Map<ShardId, Set<string>>();
  #attempt = 0;

  /** Stores the spec and creates the record, however often it takes. */
  async submit(
    id: ShardId,
    spec: SimSpec,
    priority: number,
    pauseAtFuel: bigint | null,
  ): Promise<void> {
    this.specs.set(id, spec);
    const bytes = encodePlain(spec);
    const hash = await this.#insist(() => this.world.putDurable(this.fabric, bytes));
    const input = {
      id,
      name: id,
      spec: hash,
      moduleHash: MODULE,
      priority,
      createdMs: Math.floor(this.world.nowMs),
    };
    const record = submit(pauseAtFuel === null ? input : { ...input, pauseAtFuel }, this.#stamp());
    const value = encodeRecord(record);
    await this.#insist(async () => {
      const outcome = await this.fabric.records.compareAndSet(KEY.shard(id), 0, value);
      if (outcome.kind === 'unknown') throw new Error('unknown');
    });
    this.submitted.push(id);
  }

  /** Looks at a record as a reader of the output does. */
  async read(id: ShardId): Promise<ShardRecord | undefined> {
    const entry = await this.fabric.records.get(KEY.shard(id)).catch(() => undefined);
    if (entry === undefined) return undefined;
    const { record } = seenOf(entry);
    const heads = this.seenHeads.get(id) ?? new Set<string>();
    this.seenHeads.set(id, heads);
    if (record.output.head !== null) heads.add(record.output.head);
    return record;
  }

  /** One request, tried a few times; a refusal ends it. */
  async change(
    id: ShardId,
    make: (record: ShardRecord, stamp: Stamp) => Transition,
  ): Promise<void> {
    for (let tries = 0; tries < 4; tries++) {
      const entry = await this.fabric.records.get(KEY.shard(id)).catch(() => undefined);
      if (entry === undefined) continue;
      const next = make(seenOf(entry).record, this.#stamp());
      if (!next.ok) return;
      if (next.record.wanted?.op === 'kill' || next.record.exit !== null) this.killed.add(id);
      const outcome = await this.fabric.records
        .compareAndSet(KEY.shard(id), entry.revision, encodeRecord(next.record))
        .catch(() => null);
      if (outcome === null || outcome.kind !== 'conflict') return;
    }
  }

  pause(id: ShardId, atFuel: bigint | null): Promise<void> {
    const wanted: Wanted = { op: 'pause', actionId: `pause-${this.#attempt}`, atFuel };
    return this.change(id, (record, stamp) =>
      record.status === 'queued' && atFuel === null
        ? pauseQueued(record, stamp)
        : setWanted(record, wanted, stamp),
    );
  }

  resume(id: ShardId): Promise<void> {
    return this.change(id, resume);
  }

  move(id: ShardId, target: string): Promise<void> {
    const wanted: Wanted = { op: 'move', actionId: `move-${this.#attempt}`, target };
    return this.change(id, (record, stamp) => setWanted(record, wanted, stamp));
  }

  killShard(id: ShardId, force: boolean): Promise<void> {
    const wanted: Wanted = { op: 'kill', actionId: `kill-${this.#attempt}` };
    return this.change(id, (record, stamp) =>
      force || record.owner === null
        ? killNow(record, 'killed', stamp)
        : setWanted(record, wanted, stamp),
    );
  }

  async #insist<T>(act: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await act();
      } catch (cause) {
        if (tries >= TRIES) throw cause;
        await new Promise<void>((resolve) => this.after(50, resolve));
      }
    }
  }

  #stamp(): Stamp {
    this.#attempt += 1;
    return { writer: this.name, attempt: this.#attempt };
  }
}
