/**
 * The embedded fabric: one machine, one data directory, any number of processes, nothing to install.
 *
 * Does: put together records (LMDB), blobs (files) and messages (a hub's socket) for one process.
 * Does not: run the hub (`startEmbeddedHub`, in whichever process) or supervise anything.
 *
 * X1  Works without a hub: then changes are seen by polling, and messages between processes are lost.
 * X2  Survives SIGKILL of any process at any instant; with `sync` also a power loss. Without `sync` a power loss may leave what was
 *     written shortly before it as zeros of the right size: the first reading finds that, the first writing may not.
 * X3  Directory format and hub protocol are checked before anything is used.
 */
import type { SherdError } from '../types/errors.js';
import type { Fabric } from '../types/fabric.js';
import { doorbellsOf } from './doorbell.js';
import { EmbeddedBlobs } from './embedded-blobs.js';
import { readClaim, takeClaim } from './embedded-claim.js';
import { prepareDirectory } from './embedded-directory.js';
import { HUB_PROTOCOL } from './embedded-frames.js';
import { EmbeddedMessages } from './embedded-messages.js';
import { probeRecords } from './embedded-probe.js';
import { EmbeddedRecords } from './embedded-records.js';
import { setRoomAside } from './embedded-reserve.js';
import { leaseStore } from './embedded-store.js';

export { DIRECTORY_FORMAT } from './embedded-directory.js';
export { HUB_PROTOCOL } from './embedded-frames.js';
export { type EmbeddedHub, startEmbeddedHub } from './embedded-hub.js';

/** How often the change log is looked at when no hint comes. */
const POLL_MS = 100;

export interface EmbeddedOptions {
  /** Name of this process, shown to the hub. */
  readonly name?: string;
  /** Make the directory when it is not there. Default: an error. */
  readonly create?: boolean;
  /** Flush every write to the disk before it counts: survives a power loss. Default: survives SIGKILL. */
  readonly sync?: boolean;
  /** Limit of all blobs together, bytes; kept in the directory, so it binds all processes. 0 = none from now on. */
  readonly quotaBytes?: number;
  readonly pollMs?: number;
  /** Initial size of the LMDB map, bytes; it grows by itself. */
  readonly mapBytes?: number;
  /** Protocol version of the hello; for tests. */
  readonly protocol?: number;
}

export interface EmbeddedUsage {
  readonly blobBytes: number;
  /** Undefined = no limit. */
  readonly quotaBytes: number | undefined;
  readonly recordBytes: number;
}

export interface EmbeddedFabric extends Fabric {
  readonly kind: 'embedded';
  /** Absolute path of the data directory. */
  readonly directory: string;
  /** Whether this process is connected to a hub now. */
  readonly hubConnected: boolean;
  /** A lasting trouble with the hub (another protocol version), else undefined. */
  readonly hubProblem: SherdError | undefined;
  usage(): EmbeddedUsage;
}

/** Opens the data directory for this process. Rejects with SHERD_FABRIC_VERSION when directory or hub do not fit. */
export async function openEmbeddedFabric(
  dir: string,
  options: EmbeddedOptions = {},
): Promise<EmbeddedFabric> {
  const paths = await prepareDirectory(dir, options.create ?? false);
  const sync = options.sync ?? false;
  setRoomAside(paths.reserve);
  const lease = leaseStore(paths.records, options.mapBytes);
  const { store } = lease;
  const { quotaBytes } = options;
  if (quotaBytes !== undefined) store.write(() => store.setQuota(quotaBytes));

  const messages = new EmbeddedMessages({
    name: options.name ?? `process-${process.pid}`,
    protocol: options.protocol ?? HUB_PROTOCOL,
    findHub: () => readClaim(store, 'hub')?.socket,
    onChanged: () => records.look(),
  });
  const records = new EmbeddedRecords(store, {
    sync,
    pollMs: options.pollMs ?? POLL_MS,
    onWrite: (revision) => messages.hintChanged(revision),
  });
  const blobs = new EmbeddedBlobs(paths, store, sync);

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    records.close();
    await blobs.close();
    await messages.close();
    await lease.release();
  };
  const fabric: EmbeddedFabric = {
    kind: 'embedded',
    records,
    blobs,
    messages,
    doorbells: doorbellsOf(paths.root),
    directory: paths.root,
    get hubConnected() {
      return messages.connected;
    },
    get hubProblem() {
      return messages.problem;
    },
    usage: () =>
      store.read(() => ({
        blobBytes: store.counter('blob-bytes') ?? 0,
        quotaBytes: store.counter('quota'),
        recordBytes: store.fileBytes(),
      })),
    close: () => (closing ??= close()),
  };
  await messages.start();
  if (messages.problem !== undefined) {
    await fabric.close();
    throw messages.problem;
  }
  return fabric;
}

export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * Makes this process the only `up` of the directory, until it releases the lock or ends, however it ends.
 * SHERD_FABRIC_BUSY while another one holds it. `probe`: the compiled embedded-probe.js; it looks at all records first.
 */
export async function lockDirectory(
  dir: string,
  options: { readonly create?: boolean; readonly probe?: URL } = {},
): Promise<DirectoryLock> {
  const { probe } = options;
  const look = async (records: string): Promise<void> => {
    if (probe !== undefined) await probeRecords(records, probe);
  };
  const paths = await prepareDirectory(dir, options.create ?? false, look);
  await look(paths.records);
  const lease = leaseStore(paths.records);
  try {
    const claim = await takeClaim(lease.store, paths.root, 'up', (socket) => socket.destroy());
    return {
      release: async () => {
        await claim.release();
        await lease.release();
      },
    };
  } catch (error) {
    await lease.release();
    throw error;
  }
}
