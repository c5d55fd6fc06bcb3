/**
 * The memory fabric: a store inside the process, with one `Fabric` for each simulated node.
 *
 * Does: obey F1–F6 to the letter and no further: under a seed it injects every fault that they permit.
 * Does not: persist, and does not know real time unless it is given no scheduler.
 *
 *   createMemoryFabric({seed, faults, scheduler})
 *        ├─ connect('node-1') ─ Fabric ─┐  latency, partition, faults
 *        ├─ connect('node-2') ─ Fabric ─┼────────────────────────────── table, blobs, subscriptions
 *        └─ connect('control') ─ Fabric ┘
 *
 * M4  Same seed, same calls in the same order, same virtual time: same outcomes.
 * M5  A closed handle hears nothing more; what it had under way may still take effect (as a killed process's would).
 */
import { createHash } from 'node:crypto';
import { SherdError } from '../types/errors.js';
import type {
  BlobStat,
  Blobs,
  Fabric,
  FabricMessage,
  Messages,
  RecordEntry,
  Subscription,
} from '../types/fabric.js';
import type { Hash } from '../types/platform.js';
import {
  blobDamaged,
  blobMismatch,
  blobMissing,
  checkHash,
  checkKey,
  checkMessageSize,
  fabricClosed,
  matchesPrefix,
} from './check.js';
import { type FaultCounts, type MemoryFaults, NO_FAULTS } from './memory-faults.js';
import { MemoryRecords, MemoryTable } from './memory-records.js';
import { MemoryWorld, type Peer } from './memory-world.js';
import { type FabricScheduler, realTime } from './virtual-time.js';

export * from './memory-faults.js';
export { type FabricScheduler, VirtualTime } from './virtual-time.js';

export interface MemoryFabricOptions {
  readonly seed?: number;
  readonly faults?: Partial<MemoryFaults>;
  /** Virtual time; default: real timers. */
  readonly scheduler?: FabricScheduler;
}

interface MemoryBlob {
  bytes: Uint8Array;
  putAtMs: number;
}

interface MessageSubscription {
  readonly prefix: string;
  readonly peer: Peer;
  readonly handler: (message: FabricMessage) => void;
}

const READ_CHUNK_BYTES = 65_536;

export function createMemoryFabric(options: MemoryFabricOptions = {}): MemoryFabric {
  return new MemoryFabric(options);
}

export class MemoryFabric {
  readonly #world: MemoryWorld;
  readonly #table: MemoryTable;
  readonly #blobs = new Map<Hash, MemoryBlob>();
  readonly #subscriptions = new Set<MessageSubscription>();

  constructor(options: MemoryFabricOptions) {
    const faults = { ...NO_FAULTS, ...options.faults };
    this.#world = new MemoryWorld(options.scheduler ?? realTime, options.seed ?? 1, faults);
    this.#table = new MemoryTable(this.#world);
  }

  /** How often each fault took effect so far. */
  get injected(): Readonly<FaultCounts> {
    return this.#world.counts;
  }

  connect(name: string): Fabric {
    const peer: Peer = { name, closed: false };
    return {
      kind: 'memory',
      records: new MemoryRecords(this.#table, peer),
      blobs: new MemoryBlobs(this.#world, this.#blobs, peer),
      messages: new MemoryMessages(this.#world, this.#subscriptions, peer),
      close: async () => {
        peer.closed = true;
      },
    };
  }

  /** Changes what is injected from now on. */
  setFaults(faults: Partial<MemoryFaults>): void {
    this.#world.faults = { ...this.#world.faults, ...faults };
  }

  /** Cuts every handle of this name off, until `heal`. */
  partition(name: string): void {
    this.#world.cutOff(name);
  }

  /** Ends the partition; the node's watches resync. */
  heal(name: string): void {
    if (!this.#world.reconnect(name)) return;
    for (const watcher of this.#table.watchers) {
      if (watcher.belongsTo({ name, closed: false })) this.#world.after(0, () => watcher.resync());
    }
  }

  /** The true newest state of a record, for checkers. */
  peek(key: string): RecordEntry | undefined {
    return this.#table.peek(key);
  }

  /** Removes a blob, as a lost disk would. */
  loseBlob(hash: Hash): boolean {
    return this.#blobs.delete(hash);
  }

  /** Flips one bit of a blob. */
  damageBlob(hash: Hash): boolean {
    const blob = this.#blobs.get(hash);
    if (blob === undefined) return false;
    blob.bytes = blob.bytes.length === 0 ? new Uint8Array(1) : Uint8Array.from(blob.bytes);
    blob.bytes[0] = (blob.bytes[0] ?? 0) ^ 1;
    return true;
  }
}

class MemoryBlobs implements Blobs {
  constructor(
    private readonly world: MemoryWorld,
    private readonly blobs: Map<Hash, MemoryBlob>,
    private readonly peer: Peer,
  ) {}

  async put(hash: Hash, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    checkHash(hash);
    if (this.peer.closed) throw fabricClosed();
    const bytes = content instanceof Uint8Array ? Uint8Array.from(content) : await gather(content);
    const actual = sha256(bytes);
    if (actual !== hash) throw blobMismatch(hash, actual);
    const fails = this.#fails();
    const stored = fails && this.world.dice.hits(0.5);
    await this.world.call(this.peer, this.#slowMs(), () => {
      if (!fails || stored) this.blobs.set(hash, { bytes, putAtMs: this.world.nowMs() });
      if (fails) throw this.#failure();
    });
  }

  async get(hash: Hash): Promise<Uint8Array | undefined> {
    checkHash(hash);
    const { dice, faults, counts } = this.world;
    const fails = this.#fails();
    return this.world.call(this.peer, this.#slowMs(), () => {
      if (fails) throw this.#failure();
      const blob = this.blobs.get(hash);
      if (blob === undefined) return undefined;
      if (dice.hits(faults.blobMissing)) {
        counts.blobMissing++;
        return undefined;
      }
      if (dice.hits(faults.blobDamaged)) {
        counts.blobDamaged++;
        throw blobDamaged(hash, 'injected');
      }
      const actual = sha256(blob.bytes);
      if (actual !== hash) throw blobDamaged(hash, `its content has the hash ${actual}`);
      return Uint8Array.from(blob.bytes);
    });
  }

  async *read(hash: Hash): AsyncIterable<Uint8Array> {
    const bytes = await this.get(hash);
    if (bytes === undefined) throw blobMissing(hash);
    for (let at = 0; at < bytes.length; at += READ_CHUNK_BYTES) {
      yield bytes.slice(at, at + READ_CHUNK_BYTES);
    }
  }

  async has(hash: Hash): Promise<boolean> {
    checkHash(hash);
    return this.world.call(this.peer, 0, () => {
      const blob = this.blobs.get(hash);
      if (blob !== undefined) blob.putAtMs = this.world.nowMs();
      return blob !== undefined;
    });
  }

  async *list(): AsyncIterable<BlobStat> {
    const stats = await this.world.call(this.peer, 0, () =>
      [...this.blobs].map(([hash, blob]) => ({
        hash,
        bytes: blob.bytes.length,
        ageMs: this.world.nowMs() - blob.putAtMs,
      })),
    );
    yield* stats;
  }

  async collect(
    keep: (hash: Hash) => boolean,
    graceMs: number,
  ): Promise<{ blobs: number; bytes: number }> {
    return this.world.call(this.peer, 0, () => {
      const freed = { blobs: 0, bytes: 0 };
      for (const [hash, blob] of this.blobs) {
        if (keep(hash) || this.world.nowMs() - blob.putAtMs < graceMs) continue;
        this.blobs.delete(hash);
        freed.blobs++;
        freed.bytes += blob.bytes.length;
      }
      return freed;
    });
  }

  #slowMs(): number {
    const { dice, faults, counts } = this.world;
    if (!dice.hits(faults.blobSlow)) return 0;
    counts.blobSlow++;
    return dice.between(faults.blobSlowMs);
  }

  #fails(): boolean {
    return this.world.dice.hits(this.world.faults.blobFails);
  }

  #failure(): SherdError {
    this.world.counts.blobFails++;
    return new SherdError('SHERD_FABRIC', 'the store failed', { at: this.peer.name });
  }
}

class MemoryMessages implements Messages {
  constructor(
    private readonly world: MemoryWorld,
    private readonly subscriptions: Set<MessageSubscription>,
    private readonly peer: Peer,
  ) {}

  publish(subject: string, payload: Uint8Array): void {
    checkKey(subject);
    checkMessageSize(subject, payload);
    if (this.peer.closed) return;
    if (this.world.isCutOff(this.peer)) {
      this.world.counts.partition++;
      return;
    }
    for (const subscription of this.subscriptions) {
      if (!matchesPrefix(subscription.prefix, subject)) continue;
      this.#send(subscription, { subject, payload: Uint8Array.from(payload) });
    }
  }

  subscribe(prefix: string, handler: (message: FabricMessage) => void): Subscription {
    checkKey(prefix);
    if (this.peer.closed) throw fabricClosed();
    const subscription: MessageSubscription = { prefix, peer: this.peer, handler };
    this.subscriptions.add(subscription);
    return { close: () => void this.subscriptions.delete(subscription) };
  }

  #send(target: MessageSubscription, message: FabricMessage): void {
    const { world } = this;
    const { dice, faults, counts } = world;
    if (dice.hits(faults.messageLost)) {
      counts.messageLost++;
      return;
    }
    const copies = dice.hits(faults.messageTwice) ? 2 : 1;
    counts.messageTwice += copies - 1;
    for (let copy = 0; copy < copies; copy++) {
      let delayMs = world.latency();
      if (dice.hits(faults.messageDelay)) {
        counts.messageDelay++;
        delayMs += dice.between(faults.messageDelayMs);
      }
      world.after(delayMs, () => {
        if (target.peer.closed || !this.subscriptions.has(target)) return;
        if (world.isCutOff(target.peer)) counts.partition++;
        else
          target.handler({ subject: message.subject, payload: Uint8Array.from(message.payload) });
      });
    }
  }
}

async function gather(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(Uint8Array.from(part));
  return Uint8Array.from(Buffer.concat(parts));
}

function sha256(bytes: Uint8Array): Hash {
  return createHash('sha256').update(bytes).digest('hex');
}
