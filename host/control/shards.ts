/**
 * What a client may do with shards: each verb as checked input and transitions of records.
 *
 * Does: submit, import, pause, resume, kill, move, fork, remove, inspect, collect garbage, drain.
 * Does not: speak HTTP (routes.ts), place shards (brain.ts) or run them (node).
 *
 * V1  A verb returns when its request is in the record; the owner answers it by a later change of the record.
 * V2  A verb that is repeated gives the same end: pausing what is paused, killing what is done, is no error.
 * V3  Blobs that a submit names are there, and young, before its record is.
 * V4  A record that starts from a capsule says of it what is in it: an owner could not commit on top of anything else.
 */
import { randomInt } from 'node:crypto';
import { decodeCapsule, inspectCapsule, neededBlobs } from '../capsule/index.js';
import { readShardModule } from '../compile/index.js';
import {
  askMove,
  clearWanted,
  killNow,
  pauseQueued,
  refusalError,
  resume,
  type Stamp,
  setWanted,
  submit,
  type Transition,
} from '../protocol/shard-record.js';
import { decodeSpec } from '../runtime/spec.js';
import type { GcReply, InspectReply, NodeView, ShardView } from '../types/api.js';
import type { Seen } from '../types/brain.js';
import { EXIT, SherdError, usageError } from '../types/errors.js';
import { type AskedHint, SUBJECT } from '../types/hints.js';
import type { ShardSpec } from '../types/host.js';
import type { ShardModule } from '../types/module.js';
import { decodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { NodeId, ShardId, ShardRecord, Wanted } from '../types/records.js';
import type { Brain } from './brain.js';
import type { Cluster } from './cluster.js';
import { type Forked, type ForkOrder, forkShard, type NewShard } from './fork.js';
import type { Moves } from './moves.js';
import { oracleBlobs } from './oracle-keeper.js';
import { aboutPart, blobGone } from './parts.js';
import { addFiles, collectGarbage, GRACE_MS, outdated, type Retention } from './reach.js';
import { shardView } from './views.js';

const DRAIN_MS = 15_000;
const DRAIN_HINT_MS = 500;
/** Blobs that are asked for without giving the thread away. */
const ASKED_AT_ONCE = 64;
const ID_LETTERS = 'abcdefghjkmnpqrstuvwxyz0123456789';

export interface ShardsContext {
  readonly cluster: Cluster;
  readonly brain: Brain;
  readonly moves: Moves;
  readonly platform: Platform;
  readonly retention: Retention;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
}

export class Shards {
  readonly #context: ShardsContext;
  #serial = 0;

  constructor(context: ShardsContext) {
    this.#context = context;
  }

  view(seen: Seen<ShardRecord>): ShardView {
    const { cluster, brain, nowMs } = this.#context;
    const { id, status, reason } = seen.record;
    const why = status === 'queued' || status === 'assigned' ? brain.why(id) || reason : reason;
    return shardView(seen, cluster.progressOf(id), why, nowMs());
  }

  async get(id: ShardId): Promise<ShardView> {
    return this.view(await this.#context.cluster.find(id));
  }

  list(): ShardView[] {
    const all = [...this.#context.cluster.shards.values()].map((seen) => this.view(seen));
    return all.sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
  }

  /** Makes the record of a new shard (V3). */
  async submit(input: NewShard): Promise<ShardId> {
    const { cluster } = this.#context;
    await this.#mustHave([input.spec, input.moduleHash]);
    const spec = decodeSpec((await cluster.fabric.blobs.get(input.spec)) ?? new Uint8Array(0));
    await this.#mustHave(inputsOf(spec));
    if (input.from !== undefined) await this.#checkCapsule(input, input.from);
    await this.#context.brain.study(input.moduleHash, input.spec, spec);
    return this.#create(input);
  }

  /** Under an id that no shard has. */
  async #create(input: NewShard): Promise<ShardId> {
    const { cluster, wallMs } = this.#context;
    for (;;) {
      const id = newShardId();
      if (cluster.shards.has(id)) continue;
      await cluster.create(submit({ ...input, id, createdMs: wallMs() }, cluster.stamp(null)));
      return id;
    }
  }

  async pause(id: ShardId, atFuel: bigint | undefined): Promise<ShardView> {
    const wanted: Wanted = {
      op: 'pause',
      actionId: this.#actionId('pause'),
      atFuel: atFuel ?? null,
    };
    return this.#ask(id, (record, stamp) => {
      if (record.status === 'paused') return unchanged(record);
      if (record.status === 'queued' && atFuel === undefined) return pauseQueued(record, stamp);
      return setWanted(record, wanted, stamp);
    });
  }

  /** Queues a paused shard again; takes back a pause that was not answered yet. */
  async resume(id: ShardId): Promise<ShardView> {
    return this.#ask(id, (record, stamp) => {
      if (record.status === 'paused') return resume(record, stamp);
      if (record.wanted?.op === 'pause') return clearWanted(record, record.wanted.actionId, stamp);
      return record.status === 'done' ? resume(record, stamp) : unchanged(record);
    });
  }

  async kill(id: ShardId, force: boolean): Promise<ShardView> {
    const actionId = this.#actionId('kill');
    return this.#ask(id, (record, stamp) => {
      if (record.status === 'done') return unchanged(record);
      if (record.owner === null) return killNow(record, 'killed on request', stamp);
      if (force) return killNow(record, 'killed by force', stamp);
      return record.wanted?.op === 'kill'
        ? unchanged(record)
        : setWanted(record, { op: 'kill', actionId }, stamp);
    });
  }

  async move(id: ShardId, target: string | undefined): Promise<ShardView> {
    const { brain, cluster } = this.#context;
    const { record } = await cluster.find(id);
    if (target === undefined) return this.#moveAnywhere(id, record);
    const node = this.#resolveNode(target);
    const actionId = this.#actionId('move');
    const view = await this.#ask(id, (before, stamp) => askMove(before, node, actionId, stamp));
    if (view.wanted?.op !== 'move') return view; // it is there already
    brain.prepare(node, record);
    return view;
  }

  /** Copies of it as it is now (fork.ts). */
  async fork(id: ShardId, order: ForkOrder): Promise<Forked> {
    const { cluster, nowMs } = this.#context;
    const actionId = this.#actionId('fork');
    const look = (record: ShardRecord): void => this.#look(record.id, [record.owner]);
    const create = (copy: NewShard): Promise<ShardId> => this.#create(copy);
    return forkShard({ cluster, nowMs, actionId, look, create }, id, order);
  }

  async remove(id: ShardId, force: boolean): Promise<void> {
    const { cluster, moves } = this.#context;
    if (force) await this.kill(id, true);
    await cluster.remove(id, (record) => {
      if (record.status === 'done') return;
      throw new SherdError('SHERD_STATE', `shard ${id} is ${record.status}, not done`, {
        at: id,
        next: `kill it first, or remove it with: sherd rm --force ${id}`,
      });
    });
    moves.forget(id);
  }

  async inspect(id: ShardId, timeoutMs: number): Promise<InspectReply> {
    const { record } = await this.#context.cluster.find(id);
    if (record.status === 'running' && record.owner !== null) {
      const asked = await this.#askNode(record.owner, id, timeoutMs);
      if (asked === null) return { source: 'silent', nodeId: record.owner, waitedMs: timeoutMs };
      if (asked.here) {
        const { nodeId, fuelPerSecond, memoryBytes, activity, guestStack, ranMs } = asked;
        const figures = { fuelUsed: asked.fuelUsed.toString(), fuelPerSecond, memoryBytes };
        const now = { ...figures, activity, guestStack };
        return { source: 'live', nodeId, ...now, ...(ranMs === undefined ? {} : { ranMs }) };
      }
    }
    const { capsule, fault, reason: why } = record;
    if (capsule === null) {
      const nothing = record.status === 'done' ? 'it is done' : 'nothing of it is stored yet';
      return { source: 'none', why: fault === undefined ? nothing : why };
    }
    try {
      const module = await this.#moduleOf(record);
      const report = await this.#report(capsule, module.is);
      return {
        source: 'capsule',
        capsule,
        report,
        why: [why, module.why].filter(Boolean).join('; '),
      };
    } catch (cause) {
      if (!(cause instanceof SherdError)) throw cause;
      // What cannot be read now may be what it was set aside for.
      if (fault !== undefined) return { source: 'none', why };
      throw aboutPart(cause, record.id, 'its capsule');
    }
  }

  nodes(): NodeView[] {
    const { cluster, brain, nowMs } = this.#context;
    const now = nowMs();
    return [...cluster.nodes.values()]
      .map(({ record, changedMs }) => ({
        node: record,
        shards: [...cluster.shards.values()]
          .filter((seen) => seen.record.owner === record.id)
          .map((seen) => seen.record.id),
        silentMs: Math.round(now - changedMs),
        alive: brain.isAlive(record.id),
      }))
      .sort((a, b) => (a.node.id < b.node.id ? -1 : 1));
  }

  drainNode(name: string): NodeView {
    const id = this.#resolveNode(name);
    this.#context.brain.hint(id, { kind: 'drain' });
    return this.nodes().find((view) => view.node.id === id)!;
  }

  /** Asks every node to store what it has and waits. Returns how many shards are stored and not done. */
  async drain(timeoutMs = DRAIN_MS): Promise<number> {
    const { cluster, brain, nowMs } = this.#context;
    const until = nowMs() + timeoutMs;
    const records = (): ShardRecord[] => [...cluster.shards.values()].map((seen) => seen.record);
    const busy = (): boolean =>
      records().some((record) => record.owner !== null && this.#lives(record.owner));
    for (let hintMs = 0; nowMs() < until; ) {
      // A hint can be lost: said again until it shows. Nodes without shards must hear it too, once.
      if (nowMs() >= hintMs) {
        for (const id of cluster.nodes.keys()) brain.hint(id, { kind: 'drain' });
        hintMs = nowMs() + DRAIN_HINT_MS;
      }
      if (!busy()) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return records().filter((record) => record.status !== 'done').length;
  }

  /** Removes finished shards beyond what is kept; returns how many. */
  async retain(): Promise<number> {
    const { cluster, retention, wallMs } = this.#context;
    const records = [...cluster.shards.values()].map((seen) => seen.record);
    const ids = outdated(records, retention, wallMs());
    for (const id of ids) await this.remove(id, false);
    return ids.length;
  }

  async collectGarbage(graceMs = GRACE_MS): Promise<GcReply> {
    const { cluster, platform, nowMs } = this.#context;
    const shards = await this.retain();
    const { fabric } = cluster;
    const readRecords = (): Promise<readonly ShardRecord[]> => cluster.readAll();
    const readOthers = (): Promise<readonly Hash[]> => oracleBlobs(fabric);
    const from = { fabric, platform, graceMs, nowMs, readRecords, readOthers };
    const freed = await collectGarbage(from);
    return { ...freed, shards };
  }

  #lives(id: NodeId): boolean {
    return this.#context.cluster.nodes.has(id) && this.#context.brain.isAlive(id);
  }

  #moveAnywhere(id: ShardId, record: ShardRecord): ShardView {
    const { brain, cluster } = this.#context;
    if (record.owner === null) {
      const message = `cannot move shard ${id}: it is ${record.status}`;
      throw refusalError({ code: 'bad-status', message }, record);
    }
    const others = this.nodes().filter(
      (view) => view.alive && !view.node.draining && view.node.id !== record.owner,
    );
    if (others.length === 0) {
      throw new SherdError('SHERD_STATE', 'there is no other node to move it to', {
        at: id,
        next: 'start one with: sherd node',
      });
    }
    const refusal = brain.requestMove(id);
    if (refusal !== null) {
      throw new SherdError('SHERD_STATE', `it is not moved: ${refusal}`, {
        at: id,
        next: `see what runs where with: sherd ps --nodes; or name one: sherd move ${id} NODE`,
      });
    }
    return this.view(cluster.shard(id));
  }

  /** A node by its id, or by the name that it was started with. */
  #resolveNode(name: string): NodeId {
    const views = this.nodes();
    const exact = views.find((view) => view.node.id === name);
    const named = views.filter(
      (view) => view.alive && view.node.id.replace(/-[0-9a-f]{4}$/, '') === name,
    );
    const found = exact ?? (named.length === 1 ? named[0] : undefined);
    if (found?.alive === true && !found.node.draining) return found.node.id;
    const why =
      found !== undefined
        ? found.alive
          ? 'is draining'
          : 'does not answer'
        : named.length > 1
          ? 'is the name of several nodes'
          : 'is no node of this cluster';
    throw new SherdError('SHERD_STATE', `${name} ${why}`, {
      at: name,
      next: 'list them with: sherd ps --nodes',
    });
  }

  async #ask(
    id: ShardId,
    make: (record: ShardRecord, stamp: Stamp) => Transition,
  ): Promise<ShardView> {
    const { cluster } = this.#context;
    const before = (await cluster.find(id)).record.owner;
    const seen = await cluster.change(id, make);
    this.#look(id, [before, seen.record.owner]);
    return this.view(seen);
  }

  #look(id: ShardId, nodes: readonly (NodeId | null)[]): void {
    for (const node of new Set(nodes))
      if (node !== null) this.#context.brain.hint(node, { kind: 'look', shardId: id });
  }

  /** Asking renews their age (V3): no collection takes them before the record is there. */
  async #mustHave(hashes: Iterable<Hash>): Promise<void> {
    const { blobs } = this.#context.cluster.fabric;
    const all = [...new Set(hashes)];
    for (let from = 0; from < all.length; from += ASKED_AT_ONCE) {
      const some = all.slice(from, from + ASKED_AT_ONCE);
      const there = await Promise.all(some.map((hash) => blobs.has(hash)));
      const missing = some.find((_, at) => !there[at]);
      if (missing !== undefined) {
        throw new SherdError('SHERD_BLOB_MISSING', 'a blob that the submit names is not there', {
          at: missing,
          next: 'put it first',
        });
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** V4: what the record says of the capsule is what the capsule says. */
  async #checkCapsule(shard: NewShard, from: NonNullable<NewShard['from']>): Promise<void> {
    const { cluster, platform } = this.#context;
    await this.#mustHave([from.capsule]);
    const bytes = (await cluster.fabric.blobs.get(from.capsule)) ?? new Uint8Array(0);
    const { header } = decodeCapsule(bytes, platform, { moduleHash: shard.moduleHash });
    await this.#mustHave(neededBlobs(header));
    const claims = [
      ['spec', header.specHash, shard.spec],
      ['fuelUsed', header.fuelUsed, from.fuelUsed],
      ['capsuleBytes', bytes.length, from.capsuleBytes],
    ] as const;
    for (const [name, is, said] of claims) {
      if (is === said) continue;
      throw new SherdError('SHERD_USAGE', `${name} of the capsule is ${is}, not ${said}`, {
        at: from.capsule,
        exitCode: EXIT.refused,
      });
    }
    if (!(from.ranMs >= 0)) throw usageError('ranMs is below 0');
  }

  async #askNode(nodeId: NodeId, shardId: ShardId, timeoutMs: number): Promise<AskedHint | null> {
    const { brain, cluster } = this.#context;
    const askId = this.#actionId('ask');
    return new Promise((resolve) => {
      const done = (answer: AskedHint | null): void => {
        clearTimeout(timer);
        subscription.close();
        resolve(answer);
      };
      const timer = setTimeout(() => done(null), timeoutMs);
      const subscription = cluster.fabric.messages.subscribe(SUBJECT.asked(askId), (message) => {
        done(decodePlain(message.payload) as AskedHint);
      });
      brain.hint(nodeId, { kind: 'ask', shardId, askId });
    });
  }

  async #report(hash: Hash, module: ShardModule | undefined): Promise<unknown> {
    const { cluster, platform } = this.#context;
    const capsule = await cluster.fabric.blobs.get(hash);
    if (capsule === undefined) throw blobGone(hash);
    return inspectCapsule(decodeCapsule(capsule, platform), module);
  }

  /** Names only come from it: a capsule can be looked into without. */
  async #moduleOf({ moduleHash }: ShardRecord): Promise<{ is?: ShardModule; why: string }> {
    const { cluster, platform } = this.#context;
    try {
      const bytes = await cluster.fabric.blobs.get(moduleHash);
      if (bytes === undefined) return { why: `its module ${moduleHash} is not in the store` };
      return { is: readShardModule(bytes, platform), why: '' };
    } catch (cause) {
      if (!(cause instanceof SherdError)) throw cause;
      return { why: `its module ${moduleHash} cannot be read: ${cause.message}` };
    }
  }

  #actionId(what: string): string {
    this.#serial += 1;
    return `${what}-${this.#context.cluster.writer}-${this.#serial}`;
  }
}

/** What a spec names: standard input, and the files of its directories. */
function inputsOf(spec: ShardSpec): Set<Hash> {
  const hashes = new Set(spec.stdin.map(({ hash }) => hash));
  addFiles(spec.dirs, hashes);
  return hashes;
}

function unchanged(record: ShardRecord): Transition {
  return { ok: true, record };
}

function newShardId(): ShardId {
  let id = 's-';
  for (let i = 0; i < 6; i++) id += ID_LETTERS[randomInt(ID_LETTERS.length)];
  return id;
}
