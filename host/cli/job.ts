/**
 * A job: everything a cluster needs to take up a shard, with its blobs on their way.
 *
 *   program + settings ──▶ spec ─┐
 *   x.capsule (bundle) ──────────┼──▶ blobs ──put──▶ control ──▶ submit | import ──▶ shard id
 *
 * Does: read inputs (directories, standard input), build the spec, upload what the cluster lacks.
 * Does not: start clusters or follow shards.
 *
 * J1  Every blob that the spec or the capsule names is put before the shard is submitted.
 * J2  The snapshot of a file or directory is taken once, here; later changes of the host's files are not seen.
 */
import { fstatSync, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { isatty } from 'node:tty';
import type { ControlClient } from '../control/client.js';
import { snapshotDirectory, snapshotFile, snapshotStream } from '../node/directories.js';
import { chooseEntry } from '../node/entry.js';
import { newSpec } from '../node/new-spec.js';
import { checkRoom } from '../node/start-options.js';
import { encodeSpec } from '../runtime/spec.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { ChunkRef, DirectoryTree, ShardSpec } from '../types/host.js';
import type { ShardModule } from '../types/module.js';
import type { Hash } from '../types/platform.js';
import { sha256 } from './cache.js';
import { formatBytes, usageError } from './format.js';
import type { LoadedProgram } from './program.js';
import type { DirectoryOption, RunSettings } from './run-options.js';
import { fileError } from './status.js';
import { finishInterrupted } from './write-back.js';

/** How many blobs are on their way at the same time. */
const UPLOADS = 8;

/** Puts blobs with bounded concurrency; each hash once. */
export class Uploader {
  readonly #client: ControlClient;
  readonly #known = new Set<Hash>();
  readonly #active = new Set<Promise<void>>();
  #failure: unknown;
  #failed = false;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  /** Resolves when the blob is accepted for sending; `flush` says whether all arrived. */
  readonly put = async (hash: Hash, bytes: Uint8Array): Promise<void> => {
    if (this.#failed) throw this.#failure;
    if (this.#known.has(hash)) return;
    this.#known.add(hash);
    while (this.#active.size >= UPLOADS) await Promise.race(this.#active);
    const sent = this.#client.ensureBlob(hash, bytes).then(
      () => void this.#active.delete(sent),
      (cause: unknown) => {
        this.#active.delete(sent);
        this.#failed = true;
        this.#failure ??= cause;
      },
    );
    this.#active.add(sent);
  };

  async flush(): Promise<void> {
    while (this.#active.size > 0) await Promise.race(this.#active);
    if (this.#failed) throw this.#failure;
  }
}

/** Reads all inputs, uploads them, and returns the spec. */
export async function buildSpec(
  program: LoadedProgram,
  path: string,
  args: readonly string[],
  settings: RunSettings,
  uploader: Uploader,
  remark: (text: string) => void,
): Promise<ShardSpec> {
  for (const text of args)
    if (text.includes('\0')) throw usageError('an argument holds a zero byte');
  const dirs: DirectoryTree[] = [];
  for (const { hostPath, guestPath, readOnly } of settings.dirs) {
    await finishInterrupted(hostPath, remark);
    dirs.push(await snapshotDirectory(hostPath, guestPath, readOnly, uploader.put, remark));
  }
  chooseEntry(program.module, settings.entry, path); // refused before input is waited for
  const stdin = await snapshotInput(program.module, settings.stdinFile, uploader, remark);
  return newSpec(
    program.module,
    { ...settings, programName: program.name, args, stdin, dirs },
    path,
  );
}

/**
 * Refuses a --dir whose host side is not a directory, before anything starts; finishes a write-back that a crash cut off.
 */
export async function checkDirectories(
  dirs: readonly DirectoryOption[],
  remark: (text: string) => void,
): Promise<void> {
  for (const dir of dirs) {
    const facts = await stat(dir.hostPath).catch((cause: unknown) => {
      throw fileError(cause, dir.hostPath, '--dir', EXIT.refused);
    });
    if (!facts.isDirectory()) {
      throw new SherdError('SHERD_FILE', '--dir: not a directory', {
        at: dir.hostPath,
        next: 'name a directory',
        exitCode: EXIT.refused,
      });
    }
    await finishInterrupted(dir.hostPath, remark);
  }
}

/** Refuses a limit below what the program begins with. */
export function checkMemoryLimit(program: LoadedProgram, path: string, limitPages: number): void {
  checkRoom(program.module, limitPages, { at: path, option: '--max-memory', show: formatBytes });
}

const READS_INPUT = new Set(['fd_read', 'fd_pread', 'poll_oneoff']);

/** Standard input as chunks: a file, or this process's stdin when it is no terminal and the program can read it. */
async function snapshotInput(
  module: ShardModule,
  file: string | undefined,
  uploader: Uploader,
  remark: (text: string) => void,
): Promise<ChunkRef[]> {
  if (file !== undefined && file !== '-') return snapshotFile(file, uploader.put);
  const canRead = module.imports.some((entry) => READS_INPUT.has(entry.field));
  const facts = inputFacts();
  if (facts === undefined || (file === undefined && (!canRead || isatty(0)))) return [];
  const timer = setTimeout(
    () => remark('waiting for standard input to end (--stdin /dev/null gives none)'),
    3_000,
  );
  try {
    // A directory cannot even be opened as a stream.
    const source = facts.isDirectory() ? NOTHING : process.stdin;
    return await snapshotStream(source, facts, 'standard input', uploader.put);
  } catch (cause) {
    // nohup puts an input that cannot be read in the place of a terminal.
    if ((cause as NodeJS.ErrnoException).code === 'EBADF') return [];
    throw cause instanceof SherdError
      ? cause
      : fileError(cause, 'standard input', 'cannot be read', EXIT.refused);
  } finally {
    clearTimeout(timer);
  }
}

const NOTHING: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** What stdin is; undefined when it is closed. */
function inputFacts(): Stats | undefined {
  try {
    return fstatSync(0);
  } catch {
    return undefined;
  }
}

/** Uploads spec and module and submits. */
export async function submitJob(
  client: ControlClient,
  uploader: Uploader,
  program: LoadedProgram,
  spec: ShardSpec,
  settings: RunSettings,
): Promise<string> {
  const specBytes = encodeSpec(spec);
  const specHash = sha256(specBytes);
  await uploader.put(program.module.moduleHash, program.module.bytes);
  await uploader.put(specHash, specBytes);
  await uploader.flush();
  return client.submit({
    name: settings.name ?? program.name,
    spec: specHash,
    moduleHash: program.module.moduleHash,
    priority: settings.priority,
    ...(settings.pauseAtFuel === undefined ? {} : { pauseAtFuel: settings.pauseAtFuel.toString() }),
  });
}
