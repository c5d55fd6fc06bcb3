/**
 * Opens the session of a run: a private cluster that ends with this process, or a running one (`--fabric`).
 *
 *   <tmp>/sherd-<uid>-…/fabric ◀── Supervisor ─┬─ control
 *                                              └─ N nodes        all end when this process does, also by SIGKILL
 */
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT, SherdError } from '../types/errors.js';
import { connect, fabricDirectory } from './fabric-url.js';
import type { RunSettings } from './run-options.js';
import type { SessionContext } from './runner.js';
import type { Session } from './session.js';
import { Supervisor } from './supervisor.js';
import { isAlive, makeTemporary, sweepTemporaries } from './temporary.js';

/** How long ended children may take to be gone; they were killed. */
const GONE_MS = 5_000;

export type SessionSettings = Pick<RunSettings, 'nodes' | 'workers' | 'fabric'>;

export async function openSession(
  settings: SessionSettings,
  context: SessionContext,
): Promise<Session> {
  return settings.fabric === undefined
    ? openPrivate(settings, context)
    : openRunning(settings.fabric, context);
}

/** A full disk under a directory that nobody asked for: which one, and how to have another. */
function placed(cause: unknown, directory: string): unknown {
  if (!(cause instanceof SherdError) || cause.code !== 'SHERD_DISK') return cause;
  return new SherdError(cause.code, 'the disk is full', {
    at: dirname(directory),
    next: 'free some space, or name another place (TMPDIR=DIR)',
    exitCode: EXIT.refused,
    cause,
  });
}

async function openRunning(url: string, context: SessionContext): Promise<Session> {
  const client = connect(url, { signal: context.signal });
  await client.status(); // refuses at once when nobody is there
  // What is done after a signal (kill the shard) must not be aborted by it.
  return {
    client: connect(url),
    directory: fabricDirectory(url),
    isPrivate: false,
    end: async () => undefined,
    keep: async () => fabricDirectory(url),
    endNow: () => undefined,
  };
}

async function openPrivate(settings: SessionSettings, context: SessionContext): Promise<Session> {
  context.progress.note(`starting ${settings.nodes} node${settings.nodes === 1 ? '' : 's'}`);
  const temporary = await makeTemporary();
  void sweepTemporaries();
  let supervisor: Supervisor;
  try {
    supervisor = await Supervisor.start({
      directory: join(temporary.directory, 'fabric'),
      nodes: settings.nodes,
      ...(settings.workers === undefined ? {} : { workers: settings.workers }),
      log: (line) => {
        if (process.env.SHERD_DEBUG === '1') context.remark(line);
      },
    });
  } catch (cause) {
    await temporary.remove();
    throw placed(cause, temporary.directory);
  }
  let ended = false;
  const endChildren = async (): Promise<void> => {
    ended = true;
    const pids = supervisor.pids.map(({ pid }) => pid);
    supervisor.killNow();
    const until = performance.now() + GONE_MS;
    while (pids.some(isAlive) && performance.now() < until) await sleep(2);
  };
  return {
    client: supervisor.client,
    directory: supervisor.directory,
    isPrivate: true,
    // Nothing in a private cluster is worth storing: its children are killed.
    end: async () => {
      if (ended) return;
      await endChildren();
      await temporary.remove();
    },
    keep: async () => {
      await endChildren();
      return temporary.keep(supervisor.directory);
    },
    endNow: () => {
      ended = true;
      supervisor.killNow();
      temporary.removeNow();
    },
  };
}
