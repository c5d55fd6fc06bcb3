/**
 * Messages of the embedded fabric: one connection to the hub, made again whenever it breaks.
 *
 * Does: publish, subscribe, carry change hints. Does not: queue for a hub that is away: such messages are lost (F6).
 *
 * G1  Subscribers of the same process get messages without the hub.
 * G2  The hub is looked up in the store at every try, so it may come back elsewhere.
 * G3  A hub of another protocol version is an error that stays (`problem`); the fabric goes on by polling.
 * G4  A hub in this very process gets frames by a call (embedded-hub H4).
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { EXIT, SherdError } from '../types/errors.js';
import type { FabricMessage, Messages, Revision, Subscription } from '../types/fabric.js';
import { checkKey, checkMessageSize, fabricClosed, matchesPrefix } from './check.js';
import { encodeFrame, type Frame, FrameReader } from './embedded-frames.js';
import { hubShortcut } from './embedded-hub.js';

const BACKOFF_MIN_MS = 10;
const BACKOFF_MAX_MS = 250;
const GREETING_TIMEOUT_MS = 1_000;
/** Bytes that may wait for a hub that does not read; more messages are lost. */
const MAX_BACKLOG_BYTES = 8 * 1024 * 1024;

export interface EmbeddedMessagesOptions {
  readonly name: string;
  readonly protocol: number;
  /** Where the hub listens now, if one is known. */
  readonly findHub: () => string | undefined;
  /** Somebody else wrote a record. */
  readonly onChanged: (revision: Revision) => void;
}

interface LocalSubscription {
  readonly prefix: string;
  readonly handler: (message: FabricMessage) => void;
}

export class EmbeddedMessages implements Messages {
  problem: SherdError | undefined;
  #socket: Socket | undefined;
  #shortcut: ((frame: Frame) => void) | undefined;
  #connected = false;
  #closed = false;
  #backoffMs = BACKOFF_MIN_MS;
  #retry: NodeJS.Timeout | undefined;
  #changedRevision: Revision | undefined;
  readonly #subscriptions = new Set<LocalSubscription>();
  #firstTry: (() => void) | undefined;

  constructor(private readonly options: EmbeddedMessagesOptions) {}

  get connected(): boolean {
    return this.#connected;
  }

  /** Resolves once the first try has ended, connected or not. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#firstTry = resolve;
      this.#connect();
    });
  }

  publish(subject: string, payload: Uint8Array): void {
    checkKey(subject);
    checkMessageSize(subject, payload);
    if (this.#closed) return;
    this.#send(['message', subject, payload]);
    const local = [...this.#subscriptions].filter((s) => matchesPrefix(s.prefix, subject));
    if (local.length === 0) return;
    const message = { subject, payload: Uint8Array.from(payload) };
    setImmediate(() => this.#deliver(message, local));
  }

  subscribe(prefix: string, handler: (message: FabricMessage) => void): Subscription {
    checkKey(prefix);
    if (this.#closed) throw fabricClosed();
    const subscription: LocalSubscription = { prefix, handler };
    this.#subscriptions.add(subscription);
    this.#sendInterest();
    return {
      close: () => {
        this.#subscriptions.delete(subscription);
        this.#sendInterest();
      },
    };
  }

  /** Tells the other processes that there is something new; several calls in one turn become one hint. */
  hintChanged(revision: Revision): void {
    if (this.#changedRevision === undefined) queueMicrotask(() => this.#flushHint());
    this.#changedRevision = revision;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#subscriptions.clear();
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    // What was published before is still written.
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.end();
      setTimeout(() => socket.destroy(), 200).unref();
    });
  }

  #connect(): void {
    if (this.#closed) return;
    let path: string | undefined;
    try {
      path = this.options.findHub();
    } catch {
      path = undefined; // the store is being closed or replaced: the next try will tell
    }
    if (path === undefined) {
      this.#tryLater();
      return;
    }
    const socket = connect(path);
    const name = `${this.options.name}#${randomBytes(8).toString('hex')}`;
    const reader = new FrameReader();
    this.#socket = socket;
    const greeting = setTimeout(() => socket.destroy(), GREETING_TIMEOUT_MS);
    socket.once('connect', () => {
      socket.write(encodeFrame(['hello', this.options.protocol, name]));
    });
    socket.on('data', (chunk) => {
      const frames = reader.tryPush(chunk);
      if (frames === undefined) socket.destroy();
      for (const frame of frames ?? []) {
        if (frame[0] === 'welcome') {
          clearTimeout(greeting);
          this.#shortcut = hubShortcut(path, name);
        }
        this.#take(frame);
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(greeting);
      this.#connected = false;
      this.#shortcut = undefined;
      this.#socket = undefined;
      this.#tryLater();
    });
  }

  #tryLater(): void {
    this.#endFirstTry();
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.#connect(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS);
  }

  #endFirstTry(): void {
    this.#firstTry?.();
    this.#firstTry = undefined;
  }

  #take(frame: Frame): void {
    switch (frame[0]) {
      case 'welcome':
        this.#connected = true;
        this.problem = undefined;
        this.#backoffMs = BACKOFF_MIN_MS;
        this.#sendInterest();
        this.#endFirstTry();
        // Hints of the time without a hub are lost.
        this.options.onChanged(Number.MAX_SAFE_INTEGER);
        break;
      case 'refused':
        this.problem = otherProtocol(frame[1], this.options.protocol);
        this.#backoffMs = BACKOFF_MAX_MS;
        break;
      case 'message': {
        const message = { subject: frame[1], payload: frame[2] };
        this.#deliver(
          message,
          [...this.#subscriptions].filter((s) => matchesPrefix(s.prefix, message.subject)),
        );
        break;
      }
      case 'changed':
        this.options.onChanged(frame[1]);
        break;
      default:
        this.#socket?.destroy();
    }
  }

  #deliver(message: FabricMessage, targets: readonly LocalSubscription[]): void {
    for (const target of targets) {
      if (this.#subscriptions.has(target)) target.handler(message);
    }
  }

  #flushHint(): void {
    const revision = this.#changedRevision;
    this.#changedRevision = undefined;
    if (revision !== undefined && !this.#closed) this.#send(['changed', revision]);
  }

  #sendInterest(): void {
    if (!this.#connected) return;
    this.#send(['interest', [...new Set([...this.#subscriptions].map((s) => s.prefix))]]);
  }

  #send(frame: Frame): void {
    const socket = this.#socket;
    if (!this.#connected || socket === undefined) return;
    if (this.#shortcut !== undefined) {
      this.#shortcut(frame);
      return;
    }
    if (socket.writableLength > MAX_BACKLOG_BYTES && frame[0] === 'message') return;
    socket.write(encodeFrame(frame));
  }
}

function otherProtocol(theirs: number, ours: number): SherdError {
  return new SherdError(
    'SHERD_FABRIC_VERSION',
    `the hub speaks protocol ${theirs}, this process speaks ${ours}`,
    { next: 'run the same version of sherd in all processes of a cluster', exitCode: EXIT.refused },
  );
}
