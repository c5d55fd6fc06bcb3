/**
 * The temporary directory of a private cluster.
 *
 *   <tmp>/sherd-<uid>-<random>/         mode 0700
 *     owner                             { pid, started }   written first
 *     fabric/                           the cluster's data directory
 *
 *   <tmp>/sherd-kept-<random>/        a data directory whose result could not be brought home; the user's from then on
 *   <tmp>/sherd-<uid>-<random>/kept   `owner` under another name: where it could not be given that place, it stays in its own
 *
 * Does: make one, remove it, and sweep those whose owner was killed before it could.
 * Does not: touch a directory of another user or one whose owner lives.
 *
 * D1  A directory is swept only when its owner process is gone: the pid is unused, or used by a process that started
 *     at another time (Linux; elsewhere a reused pid delays the sweep).
 * D2  Keeping needs no room on the disk, for a full disk is a reason to keep.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, SherdError } from '../types/errors.js';
import { fileError } from './status.js';

const OWNER = 'owner';
const KEPT = 'kept';
/** A directory without a readable owner file is someone's that is just being made, until it is this old. */
const UNOWNED_MS = 60_000;

export interface Temporary {
  readonly directory: string;
  remove(): Promise<void>;
  /** Takes a directory out of it, removes the rest, and gives the new path. */
  keep(inside: string): Promise<string>;
  /** For the last moment of the process. */
  removeNow(): void;
}

function prefix(): string {
  return `sherd-${process.getuid?.() ?? 'u'}-`;
}

export async function makeTemporary(base: string = tmpdir()): Promise<Temporary> {
  const directory = await mkdtemp(join(base, prefix())).catch((cause: unknown) => {
    throw cannotMake(cause, base);
  });
  const options = { recursive: true, force: true, maxRetries: 5, retryDelay: 20 } as const;
  try {
    const owner = { pid: process.pid, started: startOf(process.pid) };
    await writeFile(join(directory, OWNER), JSON.stringify(owner), { mode: 0o600 });
  } catch (cause) {
    await rm(directory, options).catch(() => undefined);
    throw cannotMake(cause, base);
  }
  return {
    directory,
    remove: () => rm(directory, options),
    keep: async (inside) => {
      const place = join(base, `sherd-kept-${randomUUID().slice(0, 8)}`);
      try {
        await rename(inside, place);
      } catch {
        await rename(join(directory, OWNER), join(directory, KEPT)).catch((cause: unknown) => {
          throw fileError(cause, inside, 'it cannot be kept');
        });
        return inside;
      }
      await rm(directory, options).catch(() => undefined);
      return place;
    },
    removeNow: () => {
      try {
        rmSync(directory, options);
      } catch {
        // The next start sweeps it.
      }
    },
  };
}

function cannotMake(cause: unknown, base: string): SherdError {
  const { code, message } = fileError(cause, base, 'cannot make a temporary directory');
  const free = code === 'SHERD_DISK' ? 'free some space, or ' : '';
  return new SherdError(code, message, {
    at: base,
    next: `${free}name another place (TMPDIR=DIR)`,
    exitCode: EXIT.refused,
    cause,
  });
}

/** Removes directories of dead runs. Never fails; returns how many it removed. */
export async function sweepTemporaries(base: string = tmpdir()): Promise<number> {
  let removed = 0;
  const names = await readdir(base).catch(() => [] as string[]);
  for (const name of names) {
    if (!name.startsWith(prefix())) continue;
    const directory = join(base, name);
    try {
      if (!(await isDead(directory))) continue;
      await rm(directory, { recursive: true, force: true });
      removed += 1;
    } catch {
      // Someone else sweeps it, or it is not ours.
    }
  }
  return removed;
}

async function isDead(directory: string): Promise<boolean> {
  const facts = await stat(directory);
  if (process.getuid !== undefined && facts.uid !== process.getuid()) return false;
  try {
    const owner = JSON.parse(await readFile(join(directory, OWNER), 'utf8')) as {
      pid: number;
      started: string;
    };
    return !isAlive(owner.pid) || (owner.started !== '' && startOf(owner.pid) !== owner.started);
  } catch {
    if ((await readdir(directory)).includes(KEPT)) return false;
    return Date.now() - facts.mtimeMs > UNOWNED_MS;
  }
}

/** A process that has ended and is not yet reaped (its parent is stopped) is not alive. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return statOf(pid)[0] !== 'Z';
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The process's start time in clock ticks since boot, as text; empty where there is no /proc. */
function startOf(pid: number): string {
  return statOf(pid)[19] ?? '';
}

/** What /proc says of the process, from its state on; empty where there is no /proc. */
function statOf(pid: number): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}
