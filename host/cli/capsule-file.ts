/**
 * `.capsule` files: bundles of a capsule with everything it needs, packed; sealed when there is a key.
 *
 * Does: collect a paused shard's blobs into a bundle file; read a bundle file and put it back into a cluster.
 * Does not: define the format (capsule/bundle).
 *
 * F1  A written file was complete before it got its name.
 * F2  A file that is read is verified whole (hashes of every part, and its seal) before anything of it is used.
 */
import {
  decodeBundle,
  decodeCapsule,
  encodeBundle,
  isPacked,
  isSealed,
  type Keyring,
  neededBlobs,
  type Opened,
  openSealed,
  packing,
  rebindCapsule,
  sealBytes,
  sealedBy,
  unpacking,
} from '../capsule/index.js';
import type { ControlClient } from '../control/client.js';
import { nodeCipher } from '../node/cipher.js';
import { nodePlatform } from '../node/platform.js';
import { readSource } from '../node/source.js';
import { decodeSpec, encodeSpec } from '../runtime/spec.js';
import type { ShardView } from '../types/api.js';
import { EXIT, SherdError, usageError } from '../types/errors.js';
import type { ShardSpec } from '../types/host.js';
import type { Hash } from '../types/platform.js';
import { CompileCache, sha256 } from './cache.js';
import { parseInteger } from './format.js';
import type { Uploader } from './job.js';

import { partOf } from './part.js';
import { fileError, writeFileAtomically } from './status.js';

/** What a sealed capsule file holds. */
const SEALED_KIND = 'bundle';

/** Bundle of a paused shard, from what the cluster has. */
export async function exportCapsule(
  client: ControlClient,
  view: ShardView,
  options: { readonly thin: boolean },
): Promise<Uint8Array> {
  if (view.capsule === null) {
    throw new SherdError('SHERD_STATE', 'the shard has no capsule yet: it never ran', {
      at: view.id,
      next: 'let it run first',
    });
  }
  const part = (what: string, hash: Hash): Promise<Uint8Array> =>
    partOf(client, view.id, what, hash);
  const capsule = await part('its capsule', view.capsule);
  const decoded = decodeCapsule(capsule, nodePlatform, { moduleHash: view.moduleHash });
  const spec = await part('its spec', view.spec);
  const time = decodeSpec(spec).maxTimeMs > 0 ? { ranMs: view.ranMs } : {};
  if (options.thin) return encodeBundle({ capsule, spec, blobs: new Map(), ...time }, nodePlatform);
  const blobs = new Map<Hash, Uint8Array>();
  for (const hash of neededBlobs(decoded.header))
    blobs.set(hash, await part('one of its files', hash));
  const module = await part('its module', view.moduleHash);
  return encodeBundle({ capsule, module, spec, blobs, ...time }, nodePlatform);
}

/** Writes the bundle, sealed when there is a key; returns its size in bytes. */
export async function exportCapsuleFile(
  client: ControlClient,
  view: ShardView,
  path: string,
  options: { readonly thin: boolean; readonly keyring: Keyring | undefined },
): Promise<number> {
  const bundle = await exportCapsule(client, view, options);
  const packed = await inTurns(packing(bundle, nodePlatform));
  const bytes =
    options.keyring === undefined ? packed : await sealBundle(bundle, packed, options.keyring);
  await writeFileAtomically(path, bytes);
  return bytes.length;
}

/** Bound to the shard and epoch that the capsule itself names. */
async function sealBundle(
  bundle: Uint8Array,
  packed: Uint8Array,
  keyring: Keyring,
): Promise<Uint8Array> {
  const { capsule } = decodeBundle(bundle, nodePlatform);
  const { shardId, epoch } = decodeCapsule(capsule, nodePlatform).header;
  const context = { kind: SEALED_KIND, shardId, epoch };
  return sealBytes(packed, context, keyring, nodePlatform, nodeCipher);
}

export interface CapsuleFile {
  readonly path: string;
  readonly bytes: number;
  readonly capsule: Uint8Array;
  readonly decoded: ReturnType<typeof decodeCapsule>;
  readonly module: Uint8Array | undefined;
  readonly spec: ShardSpec;
  readonly specBytes: Uint8Array;
  readonly blobs: ReadonlyMap<Hash, Uint8Array>;
  /** Running time that its time quota has counted. */
  readonly ranMs: number;
  /** The id of the key that sealed the file. */
  readonly sealedWith: string | undefined;
}

export interface ReadOptions {
  /** Opens sealed files. */
  readonly keyring?: Keyring | undefined;
  /** Refuses a file that is not sealed when there are keys: somebody may have put it in the place of a sealed one. */
  readonly demandSealed?: boolean;
  /** `SHARD` or `SHARD@EPOCH`: refuses a file of another shard or of an older epoch. */
  readonly expect?: string | undefined;
}

/** Reads and verifies a capsule file. Damage, versions, keys and mismatches are refused with exit code 2. */
export async function readCapsuleFile(
  path: string,
  options: ReadOptions = {},
): Promise<CapsuleFile> {
  const bytes = await readSource(path).catch((cause: unknown) => {
    throw fileError(cause, path, 'cannot read the capsule', EXIT.refused);
  });
  return capsuleFileOf(path, bytes, options);
}

/** The same of a file whose content is at hand. */
export async function capsuleFileOf(
  path: string,
  bytes: Uint8Array,
  options: ReadOptions = {},
): Promise<CapsuleFile> {
  try {
    const { bundle: packed, sealed } = await opened(bytes, options);
    const bundle = isPacked(packed) ? await inTurns(unpacking(packed, nodePlatform)) : packed;
    return {
      ...parseBundle(path, bundle, sealed, expectedOf(options.expect)),
      bytes: bytes.length,
    };
  } catch (cause) {
    if (!(cause instanceof SherdError)) throw cause;
    throw new SherdError(cause.code, cause.message, {
      at: path,
      next: cause.next ?? 'use another copy of the file',
      exitCode: EXIT.refused,
      cause,
    });
  }
}

/** The bundle of a file, and by which key it was sealed. */
async function opened(
  bytes: Uint8Array,
  { keyring, demandSealed, expect }: ReadOptions,
): Promise<{ readonly bundle: Uint8Array; readonly sealed: Opened | undefined }> {
  if (!isSealed(bytes)) {
    if (keyring === undefined || demandSealed !== true) return { bundle: bytes, sealed: undefined };
    throw new SherdError('SHERD_KEY', 'a key is given, but the file is not sealed', {
      next: 'leave --key and SHERD_KEY_FILE out to trust it all the same',
    });
  }
  if (keyring === undefined) {
    throw new SherdError('SHERD_KEY', `it is sealed with key ${sealedBy(bytes).keyId}`, {
      next: 'give --key FILE, or set SHERD_KEY_FILE',
    });
  }
  const wanted = { kind: SEALED_KIND, ...expectedOf(expect) };
  const sealed = await openSealed(bytes, keyring, wanted, nodePlatform, nodeCipher);
  return { bundle: sealed.bytes, sealed };
}

/** `SHARD` or `SHARD@EPOCH`. */
export function expectedOf(text: string | undefined): { shardId?: string; epoch?: number } {
  if (text === undefined) return {};
  const [shardId = '', epoch, ...rest] = text.split('@');
  if (shardId === '' || rest.length > 0)
    throw usageError(`--expect ${text}: not SHARD or SHARD@EPOCH`);
  return epoch === undefined
    ? { shardId }
    : { shardId, epoch: parseInteger(epoch, '--expect', 0, Number.MAX_SAFE_INTEGER) };
}

/** The capsule is the one that the seal, and the caller, speak of. */
function checkOrigin(
  header: { readonly shardId: string; readonly epoch: number },
  sealed: Opened | undefined,
  expect: { readonly shardId?: string; readonly epoch?: number },
): void {
  const { shardId, epoch } = header;
  const bound = sealed?.context;
  const other =
    (bound !== undefined && (bound.shardId !== shardId || bound.epoch !== epoch)) ||
    (expect.shardId !== undefined && expect.shardId !== shardId) ||
    (expect.epoch !== undefined && epoch < expect.epoch);
  if (!other) return;
  throw new SherdError(
    'SHERD_CAPSULE_REPLAYED',
    `its capsule is of shard ${shardId}, epoch ${epoch}`,
    {
      next: 'use the newest file of the shard that is wanted',
    },
  );
}

/** Packing and unpacking take long for large states: signals and timers have their turn between two pieces. */
async function inTurns(steps: Generator<void, Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function parseBundle(
  path: string,
  bytes: Uint8Array,
  sealed: Opened | undefined,
  expect: { readonly shardId?: string; readonly epoch?: number },
): CapsuleFile {
  const bundle = decodeBundle(bytes, nodePlatform);
  const decoded = decodeCapsule(bundle.capsule, nodePlatform);
  checkOrigin(decoded.header, sealed, expect);
  if (bundle.spec === undefined) {
    throw new SherdError('SHERD_CAPSULE_INCOMPLETE', 'the file holds no description of the run');
  }
  if (sha256(bundle.spec) !== decoded.header.specHash) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      'the capsule belongs to another run than the file says',
    );
  }
  if (bundle.module !== undefined && sha256(bundle.module) !== decoded.header.moduleHash) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      'the capsule belongs to another module than the file holds',
    );
  }
  const spec = decodeSpec(bundle.spec);
  return {
    path,
    bytes: bytes.length,
    capsule: bundle.capsule,
    decoded,
    module: bundle.module,
    spec,
    specBytes: bundle.spec,
    blobs: bundle.blobs,
    ranMs: bundle.ranMs ?? 0,
    sealedWith: sealed?.keyId,
  };
}

/** What may be used from the beginning on: 0 = as the file says. And whether dead memory is left out: false = as the file says. */
export interface Limits extends Pick<ShardSpec, 'maxMemoryPages' | 'maxFuel' | 'maxTimeMs'> {
  readonly dropDead: boolean;
}

/** The same program at the same place, with other limits. One that is used up already is refused. */
export function withLimits(file: CapsuleFile, given: Limits): CapsuleFile {
  const { maxMemoryPages, maxFuel, maxTimeMs } = given;
  const dropDead = given.dropDead && file.spec.dropDead !== true;
  if (maxMemoryPages === 0 && maxFuel === 0n && maxTimeMs === 0 && !dropDead) return file;
  const { fuelUsed } = file.decoded.header;
  if (maxFuel > 0n && maxFuel <= fuelUsed)
    throw usedUp(file, '--max-fuel', `${fuelUsed} units of fuel`);
  if (maxTimeMs > 0 && maxTimeMs <= file.ranMs)
    throw usedUp(file, '--max-time', `${Math.round(file.ranMs)} ms`);
  const spec = {
    ...file.spec,
    maxMemoryPages: maxMemoryPages || file.spec.maxMemoryPages,
    maxFuel: maxFuel || file.spec.maxFuel,
    maxTimeMs: maxTimeMs || file.spec.maxTimeMs,
    ...(dropDead ? ({ dropDead } as const) : {}),
  };
  const specBytes = encodeSpec(spec);
  const to = {
    specHash: sha256(specBytes),
    limitPages: maxMemoryPages || undefined,
    at: file.path,
  };
  const capsule = rebindCapsule(file.capsule, to, nodePlatform);
  return { ...file, capsule, decoded: decodeCapsule(capsule, nodePlatform), spec, specBytes };
}

function usedUp({ path }: CapsuleFile, option: string, used: string): SherdError {
  return new SherdError('SHERD_USAGE', `${option}: the program has used ${used} already`, {
    at: path,
    next: 'a limit counts from its beginning: give more',
    exitCode: EXIT.refused,
  });
}

/** The module of a capsule: from the file, the cluster, a program named by the user, or the compile cache. */
export async function moduleOf(
  file: CapsuleFile,
  given: Uint8Array | undefined,
  client: ControlClient | undefined,
): Promise<Uint8Array | undefined> {
  const hash = file.decoded.header.moduleHash;
  if (given !== undefined && sha256(given) !== hash) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      'the capsule belongs to another module than the one given',
      {
        at: file.path,
        next: `give the shard module with the hash ${hash}`,
        exitCode: EXIT.refused,
      },
    );
  }
  const module = given ?? file.module ?? (await new CompileCache().module(hash));
  if (module !== undefined) return module;
  if (client !== undefined && (await client.hasBlob(hash))) return undefined;
  throw new SherdError(
    'SHERD_CAPSULE_INCOMPLETE',
    `it is thin and its module ${hash.slice(0, 12)}… is not here`,
    {
      at: file.path,
      next: 'compile the program again on this machine, or give --module x.sherd.wasm',
      exitCode: EXIT.refused,
    },
  );
}

/** Uploads the file's content and imports the shard; gives its id. */
export async function importCapsule(
  client: ControlClient,
  uploader: Uploader,
  file: CapsuleFile,
  options: {
    readonly module: Uint8Array | undefined;
    readonly name: string | undefined;
    readonly pauseAtFuel: bigint | undefined;
  },
): Promise<string> {
  const { header } = file.decoded;
  for (const [hash, bytes] of file.blobs) await uploader.put(hash, bytes);
  if (options.module !== undefined) await uploader.put(header.moduleHash, options.module);
  await uploader.put(header.specHash, file.specBytes);
  const capsuleHash = sha256(file.capsule);
  await uploader.put(capsuleHash, file.capsule);
  await uploader.flush();
  for (const hash of neededBlobs(header)) {
    if (file.blobs.has(hash) || (await client.hasBlob(hash))) continue;
    throw new SherdError(
      'SHERD_CAPSULE_INCOMPLETE',
      `it is thin and its input ${hash.slice(0, 12)}… is not here`,
      {
        at: file.path,
        next: 'resume it in the cluster that has its inputs (--fabric), or pause again without --thin',
        exitCode: EXIT.refused,
      },
    );
  }
  return client.importShard({
    name: options.name ?? file.spec.programName,
    spec: header.specHash,
    moduleHash: header.moduleHash,
    priority: file.spec.priority,
    capsule: capsuleHash,
    capsuleBytes: file.capsule.length,
    fuelUsed: header.fuelUsed.toString(),
    memoryBytes: (header.memory?.pages ?? 0) * 65_536,
    ranMs: file.ranMs,
    ...(options.pauseAtFuel === undefined ? {} : { pauseAtFuel: options.pauseAtFuel.toString() }),
  });
}
