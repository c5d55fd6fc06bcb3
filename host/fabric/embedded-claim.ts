/**
 * Claims: one process at a time holds a name (`hub`, `up`) of a data directory, and loses it when it dies.
 *
 * Does: give out a claim together with a listening unix socket. Does not: serve it.
 *
 * A process id in a file can lie (the process is dead, the id is somebody else's, the container is another one). A
 * socket cannot: the kernel closes it when its process ends, however that ends. So:
 *
 *   1  listen on a fresh socket path
 *   2  read meta['claim.<name>'] = {socket, pid}; if somebody answers at that socket -> SHERD_FABRIC_BUSY
 *   3  one transaction: if the claim is still the one that was read, write ours; else back to 2
 *
 * K1  A claim in the store names a socket that was listening before it was written; nobody answering = its holder is dead.
 * K2  A socket path is at most 100 bytes. Where the directory's own path is too long, the socket lies in a fresh
 *     directory under the system's temporary one, and the claim carries its path.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { EXIT, SherdError } from '../types/errors.js';
import { diskError, isErrno } from './embedded-disk.js';
import type { Store } from './embedded-store.js';

export type ClaimName = 'hub' | 'up';

export const MAX_SOCKET_PATH_BYTES = 100;

const PROBE_TIMEOUT_MS = 2_000;
const TEMPORARY_PREFIX = 'sherd-';

export interface ClaimRecord {
  readonly socket: string;
  readonly pid: number;
}

export interface Claim {
  readonly socketPath: string;
  release(): Promise<void>;
}

/** Takes the claim, or throws SHERD_FABRIC_BUSY while its holder lives. */
export async function takeClaim(
  store: Store,
  root: string,
  name: ClaimName,
  onConnection: (socket: Socket) => void,
): Promise<Claim> {
  const socketPath = freshSocketPath(root, name);
  const server = createServer(onConnection);
  await listen(server, socketPath);
  if (name === 'up') server.unref(); // a lock keeps nobody running
  try {
    await writeClaim(store, root, name, { socket: socketPath, pid: process.pid });
  } catch (error) {
    await endServer(server, socketPath);
    throw error;
  }
  return {
    socketPath,
    release: async () => {
      dropClaim(store, name, socketPath);
      await endServer(server, socketPath);
    },
  };
}

export function readClaim(store: Store, name: ClaimName): ClaimRecord | undefined {
  return store.read(() => claimIn(store, name));
}

/** Throws SHERD_FABRIC_BUSY while a living process holds any claim of the directory. */
export async function refuseWhileClaimed(store: Store, root: string): Promise<void> {
  for (const name of ['up', 'hub'] as const) {
    const held = readClaim(store, name);
    if (held !== undefined && (await answers(held.socket))) throw busy(root, name, held);
  }
}

/** Whether somebody answers at the socket. When in doubt, yes. */
export function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const end = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(true));
    socket.once('connect', () => end(true));
    socket.once('error', (error) => {
      end(!(isErrno(error, 'ECONNREFUSED') || isErrno(error, 'ENOENT')));
    });
  });
}

async function writeClaim(
  store: Store,
  root: string,
  name: ClaimName,
  mine: ClaimRecord,
): Promise<void> {
  for (;;) {
    const held = readClaim(store, name);
    if (held !== undefined && (await answers(held.socket))) throw busy(root, name, held);
    const taken = store.write(() => {
      if (claimIn(store, name)?.socket !== held?.socket) return false;
      store.meta.putSync(`claim.${name}`, Buffer.from(JSON.stringify(mine)));
      return true;
    });
    if (!taken) continue;
    if (held !== undefined) removeSocket(held.socket);
    return;
  }
}

function claimIn(store: Store, name: ClaimName): ClaimRecord | undefined {
  const bytes = store.meta.getBinary(`claim.${name}`);
  if (bytes === undefined) return undefined;
  try {
    const { socket, pid } = JSON.parse(bytes.toString()) as Partial<ClaimRecord>;
    return typeof socket === 'string' && typeof pid === 'number' ? { socket, pid } : undefined;
  } catch {
    return undefined;
  }
}

function dropClaim(store: Store, name: ClaimName, socketPath: string): void {
  store.write(() => {
    if (claimIn(store, name)?.socket === socketPath) store.meta.removeSync(`claim.${name}`);
  });
}

function freshSocketPath(root: string, name: ClaimName): string {
  const file = `${name}-${randomBytes(4).toString('hex')}.sock`;
  const near = join(root, file);
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH_BYTES) return near;
  for (const parent of [tmpdir(), '/tmp']) {
    const reserve = join(parent, `${TEMPORARY_PREFIX}XXXXXX`, file);
    if (!existsSync(parent) || Buffer.byteLength(reserve) > MAX_SOCKET_PATH_BYTES) continue;
    return join(mkdtempSync(join(parent, TEMPORARY_PREFIX)), file);
  }
  throw new SherdError('SHERD_FABRIC', 'no directory with a path short enough for a socket', {
    at: root,
    next: 'use a data directory with a shorter path, or set TMPDIR to a short one',
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(diskError(error, path));
    server.once('error', failed);
    server.listen({ path, backlog: 511 }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

function endServer(server: Server, path: string): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      removeSocket(path);
      resolve();
    });
  });
}

function removeSocket(path: string): void {
  rmSync(path, { force: true });
  const parent = dirname(path);
  if (!basename(parent).startsWith(TEMPORARY_PREFIX)) return;
  try {
    rmdirSync(parent); // only when it is empty
  } catch {
    // It holds something else: not ours to remove.
  }
}

function busy(root: string, name: ClaimName, held: ClaimRecord): SherdError {
  const what =
    name === 'up'
      ? 'another sherd up runs on this data directory'
      : 'another hub serves this data directory';
  return new SherdError('SHERD_FABRIC_BUSY', `${what} (process ${held.pid})`, {
    at: root,
    next: 'stop it with sherd down, or use another directory',
    exitCode: EXIT.refused,
  });
}
