/**
 * The data directory of an embedded fabric: what lies where, which version it has, and how an older one is upgraded.
 *
 * Does: create, check and upgrade the directory. Does not: open the records or read blobs.
 *
 *   DIR/format.json            {"format":2}            written last, so its presence means "complete"
 *      /records.mdb (+ -lock)  LMDB: records, change log, claims, counters, where small blobs lie
 *      /packs/17               small blobs, one after the other (embedded-packs.ts)
 *      /blobs/3f/3f9a…         one file a larger blob, named by its hash, in a directory of the first two digits
 *      /blobs/3f/3f9a….damaged mark: a read found it damaged; the next put writes it anew
 *      /tmp/…                  blobs being written; renamed into place when complete
 *      /bells/…                doorbells, one a node (doorbell.ts)
 *      /reserve                room that a collection gives up first (embedded-reserve.ts)
 *      /*.sock                 sockets of the hub and of the holder of the directory
 *
 * D1  A directory of a newer format is refused untouched; an older one is upgraded step by step, each step idempotent,
 *     and `format.json` is rewritten only after its step. A kill in between repeats the step.
 * D2  Nothing is created unless `create` is set.
 * D3  Blobs without records are refused: new records would know of none of them, and the next collection would remove them all.
 *     So are records without a folder of blobs or packs (a volume that is not there): their shards would all end as failed.
 * D4  A directory is not upgraded while an older `up` or hub serves it: what is written then its processes could not read.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { EXIT, SherdError } from '../types/errors.js';
import { refuseWhileClaimed } from './embedded-claim.js';
import { diskError, isErrno, syncDirectory } from './embedded-disk.js';
import { PACK_NAME } from './embedded-packs.js';
import { leaseStore } from './embedded-store.js';

/** Version of the layout drawn above. */
export const DIRECTORY_FORMAT = 2;

const HASH_NAME = /^[0-9a-f]{64}$/;

export interface DirectoryPaths {
  readonly root: string;
  readonly format: string;
  readonly records: string;
  readonly blobs: string;
  readonly packs: string;
  readonly tmp: string;
  readonly bells: string;
  readonly reserve: string;
}

/** Upgrades from the format that is its index to the next one. Each is idempotent (D1). */
const UPGRADES: readonly ((paths: DirectoryPaths) => void)[] = [spreadBlobs, addPacks];

export function directoryPaths(dir: string): DirectoryPaths {
  const root = resolve(dir);
  return {
    root,
    format: join(root, 'format.json'),
    records: join(root, 'records.mdb'),
    blobs: join(root, 'blobs'),
    packs: join(root, 'packs'),
    tmp: join(root, 'tmp'),
    bells: join(root, 'bells'),
    reserve: join(root, 'reserve'),
  };
}

/**
 * Makes sure that the directory is there and has this version's format. Returns its paths, symlinks resolved.
 * `beforeOpening`: may throw before the records are opened, which an upgrade does.
 */
export async function prepareDirectory(
  dir: string,
  create: boolean,
  beforeOpening: (records: string) => Promise<void> = async () => undefined,
): Promise<DirectoryPaths> {
  const paths = directoryPaths(dir);
  try {
    if (!existsSync(paths.format)) {
      if (!create) throw missing(paths);
      if (existsSync(paths.records)) throw unreadable(paths, 'format.json is missing');
      const there = statSync(paths.root, { throwIfNoEntry: false });
      if (there !== undefined && !there.isDirectory()) throw notDirectory(paths);
      makeDirectory(paths.root, 0o700);
      makeSubdirectories(paths);
      writeFormat(paths, DIRECTORY_FORMAT);
    }
    const format = readFormat(paths);
    if (format > DIRECTORY_FORMAT) throw tooNew(paths, format);
    if (format < DIRECTORY_FORMAT && !isEmpty(paths.records)) {
      await beforeOpening(paths.records);
      await refuseWhileInUse(paths);
    }
    for (let version = format; version < DIRECTORY_FORMAT; version++) {
      UPGRADES[version]?.(paths);
      writeFormat(paths, version + 1);
    }
    for (const folder of ['blobs', 'packs'] as const)
      if (!isEmpty(paths.records) && !existsSync(paths[folder]))
        throw unreadable(paths, `${folder} is missing`);
    makeSubdirectories(paths);
    if (isEmpty(paths.records) && hasBlobs(paths))
      throw unreadable(paths, 'records.mdb is missing');
    return directoryPaths(realpathSync(paths.root));
  } catch (error) {
    const under = isErrno(error) && error.code === 'ENOTDIR';
    throw under ? notDirectory(paths) : diskError(error, paths.root);
  }
}

/** D4. */
async function refuseWhileInUse(paths: DirectoryPaths): Promise<void> {
  const root = realpathSync(paths.root);
  const { store, release } = leaseStore(directoryPaths(root).records);
  try {
    await refuseWhileClaimed(store, root);
  } finally {
    await release();
  }
}

/**
 * A directory and those above it. Not `mkdir` with `recursive`: where a file system takes no directories but says of
 * them that they do not exist (/proc), that one tries for ever.
 */
export function makeDirectory(path: string, mode = 0o777): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectory(parent, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    if (statSync(path).isDirectory()) return;
    // Older versions of Node.js say so when they look for something below it, newer ones do not.
    const message = `ENOTDIR: not a directory, mkdir '${path}'`;
    throw Object.assign(new Error(message, { cause: error }), { code: 'ENOTDIR', path });
  }
}

function isEmpty(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

function hasBlobs(paths: DirectoryPaths): boolean {
  if (readdirSync(paths.packs).some((name) => PACK_NAME.test(name))) return true;
  const parts = readdirSync(paths.blobs).filter((name) => name.length === 2);
  return parts.some((part) => readdirSync(join(paths.blobs, part)).length > 0);
}

function makeSubdirectories(paths: DirectoryPaths): void {
  mkdirSync(paths.blobs, { recursive: true });
  mkdirSync(paths.packs, { recursive: true });
  mkdirSync(paths.tmp, { recursive: true });
}

function writeFormat(paths: DirectoryPaths, format: number): void {
  const temporary = `${paths.format}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify({ format })}\n`, { flush: true });
  renameSync(temporary, paths.format);
  syncDirectory(paths.root);
}

function readFormat(paths: DirectoryPaths): number {
  let format: unknown;
  try {
    format = (JSON.parse(readFileSync(paths.format, 'utf8')) as { format?: unknown }).format;
  } catch (error) {
    if (isErrno(error)) throw error;
    throw unreadable(paths, 'format.json is not JSON');
  }
  if (typeof format !== 'number' || !Number.isInteger(format) || format < 0) {
    throw unreadable(paths, 'format.json names no format');
  }
  return format;
}

/** Format 0 kept all blobs in one directory: `blobs/<hash>`. */
function spreadBlobs(paths: DirectoryPaths): void {
  if (!existsSync(paths.blobs)) return;
  for (const name of readdirSync(paths.blobs)) {
    if (!HASH_NAME.test(name)) continue;
    mkdirSync(join(paths.blobs, name.slice(0, 2)), { recursive: true });
    try {
      renameSync(join(paths.blobs, name), join(paths.blobs, name.slice(0, 2), name));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // another process moved it
    }
  }
}

/** Format 1 had no packs: each blob was a file. Those stay what they are. */
function addPacks(paths: DirectoryPaths): void {
  mkdirSync(paths.packs, { recursive: true });
}

function missing(paths: DirectoryPaths): SherdError {
  const there = statSync(paths.root, { throwIfNoEntry: false });
  const what =
    there === undefined
      ? 'the data directory does not exist'
      : there.isDirectory()
        ? 'not a data directory of sherd (no format.json)'
        : 'the data directory is not a directory';
  return new SherdError('SHERD_FILE', what, {
    at: paths.root,
    next: `start a cluster there with: sherd up --fabric embedded:${paths.root}`,
    exitCode: EXIT.refused,
  });
}

function notDirectory(paths: DirectoryPaths): SherdError {
  return new SherdError('SHERD_FILE', 'the data directory is not a directory', {
    at: paths.root,
    next: 'name a directory, or a place where one can be made',
    exitCode: EXIT.refused,
  });
}

function unreadable(paths: DirectoryPaths, reason: string): SherdError {
  return new SherdError('SHERD_FABRIC', `the data directory is damaged: ${reason}`, {
    at: paths.root,
    next: 'restore it from a copy, or start with an empty directory',
    exitCode: EXIT.refused,
  });
}

function tooNew(paths: DirectoryPaths, format: number): SherdError {
  return new SherdError(
    'SHERD_FABRIC_VERSION',
    `the data directory has format ${format}; this sherd knows up to ${DIRECTORY_FORMAT}`,
    { at: paths.root, next: 'use the newer sherd that wrote it', exitCode: EXIT.refused },
  );
}
