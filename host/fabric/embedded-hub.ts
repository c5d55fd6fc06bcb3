/**
 * The hub: passes messages and change hints between the processes of an embedded fabric.
 *
 * Does: forward. Does not: store, order, repeat or promise anything: whatever it loses, polling and reading make up for.
 *
 *   node-1 ──┐                 ┌── control     a message goes to every other client with a fitting prefix,
 *   node-2 ──┼── unix socket ──┤               a hint to every other client
 *   client ──┘                 └── …
 *
 * H1  One hub a data directory; it may die and come back at any time, in any process.
 * H2  A client that does not read fast enough loses what does not fit into its buffer; nobody waits for it.
 * H3  A client of another protocol version is told so and dropped.
 * H4  A greeted client of the hub's own process may hand its frames over by a call (`shortcut`): they are forwarded at once
 *     instead of a turn of the event loop later, which matters when the loop is busy. It still receives by its socket.
 */
import type { Socket } from 'node:net';
import { matchesPrefix } from './check.js';
import { takeClaim } from './embedded-claim.js';
import { prepareDirectory } from './embedded-directory.js';
import { encodeFrame, type Frame, FrameReader, HUB_PROTOCOL } from './embedded-frames.js';
import { leaseStore } from './embedded-store.js';

/** Bytes that may wait for a slow client. */
const MAX_BACKLOG_BYTES = 8 * 1024 * 1024;

export interface EmbeddedHub {
  readonly socketPath: string;
  /** Clients that are connected and greeted. */
  readonly clients: number;
  /** Frames that were dropped because their receiver was too slow. */
  readonly dropped: number;
  close(): Promise<void>;
}

interface Client {
  readonly socket: Socket;
  name: string;
  greeted: boolean;
  interest: readonly string[];
}

/** Hubs of this process by the path of their socket. */
const ownHubs = new Map<string, Hub>();

/** The way around the socket for a greeted client with this (unique) name, when the hub is in this process. */
export function hubShortcut(
  socketPath: string,
  name: string,
): ((frame: Frame) => void) | undefined {
  return ownHubs.get(socketPath)?.shortcut(name);
}

/** Starts the hub of this data directory. SHERD_FABRIC_BUSY while another one lives. */
export async function startEmbeddedHub(
  dir: string,
  options: { readonly create?: boolean /** for tests */; readonly protocol?: number } = {},
): Promise<EmbeddedHub> {
  const paths = await prepareDirectory(dir, options.create ?? false);
  const lease = leaseStore(paths.records);
  const hub = new Hub(options.protocol ?? HUB_PROTOCOL);
  try {
    const claim = await takeClaim(lease.store, paths.root, 'hub', (socket) => hub.accept(socket));
    ownHubs.set(claim.socketPath, hub);
    return {
      socketPath: claim.socketPath,
      get clients() {
        return hub.clients;
      },
      get dropped() {
        return hub.dropped;
      },
      close: async () => {
        ownHubs.delete(claim.socketPath);
        hub.close();
        await claim.release();
        await lease.release();
      },
    };
  } catch (error) {
    await lease.release();
    throw error;
  }
}

class Hub {
  dropped = 0;
  readonly #clients = new Set<Client>();

  constructor(private readonly protocol: number) {}

  get clients(): number {
    return [...this.#clients].filter((client) => client.greeted).length;
  }

  accept(socket: Socket): void {
    const client: Client = { socket, name: '', greeted: false, interest: [] };
    const reader = new FrameReader();
    this.#clients.add(client);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#clients.delete(client));
    socket.on('data', (chunk) => {
      const frames = reader.tryPush(chunk);
      if (frames === undefined) socket.destroy();
      for (const frame of frames ?? []) this.#take(client, frame);
    });
  }

  shortcut(name: string): ((frame: Frame) => void) | undefined {
    const client = [...this.#clients].find((each) => each.greeted && each.name === name);
    if (client === undefined) return undefined;
    return (frame) => {
      if (this.#clients.has(client)) this.#take(client, frame);
    };
  }

  close(): void {
    for (const client of this.#clients) client.socket.destroy();
    this.#clients.clear();
  }

  #take(client: Client, frame: Frame): void {
    if (!client.greeted) {
      this.#greet(client, frame);
      return;
    }
    switch (frame[0]) {
      case 'interest':
        client.interest = frame[1];
        break;
      case 'message': {
        const subject = frame[1];
        const wants = (other: Client): boolean =>
          other.interest.some((prefix) => matchesPrefix(prefix, subject));
        this.#forward(client, frame, wants);
        break;
      }
      case 'changed':
        this.#forward(client, frame, () => true);
        break;
      default:
        client.socket.destroy();
    }
  }

  #greet(client: Client, frame: Frame): void {
    if (frame[0] !== 'hello') {
      client.socket.destroy();
    } else if (frame[1] !== this.protocol) {
      client.socket.end(encodeFrame(['refused', this.protocol]));
    } else {
      client.greeted = true;
      client.name = frame[2];
      client.socket.write(encodeFrame(['welcome', this.protocol]));
    }
  }

  #forward(source: Client, frame: Frame, wants: (target: Client) => boolean): void {
    let bytes: Buffer | undefined;
    for (const target of this.#clients) {
      if (target === source || !target.greeted || !wants(target)) continue;
      if (target.socket.writableLength > MAX_BACKLOG_BYTES) {
        this.dropped++;
        continue;
      }
      bytes ??= encodeFrame(frame);
      target.socket.write(bytes);
    }
  }
}
