/**
 * Reads the records of a data directory to the end, in a process of its own, before `up` relies on them.
 *
 *     probeRecords ──fork──▶ this file, with the path: open, read all, write and take it back
 *          ▲                        │
 *          ├── exit 0 ──────────────┤  sound (or a trouble that the next one to open says better: a full disk …)
 *          ├── a reason, a signal, no end within readS ──▶ SHERD_FABRIC, refused
          └── all was read, and no write within writeS ──▶ SHERD_FABRIC_BUSY: somebody who stands still holds the lock
 *
 * LMDB maps its file into memory and trusts it: where the file is cut short, or a page holds something else, whoever gets there is
 * ended by the system without a word (SIGBUS, SIGSEGV), or turns round for ever. That must not be `up`.
 *
 * Does: find such damage at the start. Does not: repair it, or see damage that comes later.
 *
 * Q1  Nothing is changed: what it writes is taken back.
 * Q2  Time counts in ticks of a timer of this process: one that was stopped itself, with its child, blames nobody.
 * Q3  It says that records are damaged only when LMDB, asked for all of them, has failed.
 */
import { fork } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, SherdError } from '../types/errors.js';
import { leaseStore, type Store, UNREADABLE, unreadable } from './embedded-store.js';
import { continueOrEnd, stoppedIn } from './stopped.js';

const TICK_MS = 1_000;
/** Writers hold the lock for milliseconds. */
const LIMITS = { readS: 60, writeS: 20 };
/** More than what one leaf of LMDB's list of free pages names. */
const TRIAL_WRITES = 64;
const TRIAL_BYTES = 3_000;

type Said = { readonly kind: 'read' } | { readonly kind: 'damaged'; readonly reason: string };

/** Resolves when the records can be read and written; `entry`: this file, compiled. */
export async function probeRecords(path: string, entry: URL, limits = LIMITS): Promise<void> {
  const { readS, writeS } = limits;
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
  const trouble = await new Promise<SherdError | null>((resolve) => {
    const child = fork(fileURLToPath(entry), [path], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      execArgv: [],
    });
    const giveUp = (why: SherdError): void => {
      resolve(why);
      child.kill('SIGKILL');
    };
    let ticks = 0;
    let hasRead = false;
    const endless = unreadable(path, `reading them has no end (${readS} s)`, undefined);
    const timer = setInterval(() => {
      if (++ticks < writeS) return;
      // Opening may take the lock, too.
      if (hasRead || stoppedIn(dirname(path)).length > 0) giveUp(held(path));
      else if (ticks >= readS) giveUp(endless);
    }, TICK_MS);
    child.on('message', (said: Said) => {
      if (said.kind === 'damaged') return resolve(unreadable(path, said.reason, undefined));
      ticks = 0;
      hasRead = true;
    });
    // No process to be had: whoever comes next says so.
    child.once('error', () => {
      clearInterval(timer);
      resolve(null);
    });
    child.once('exit', (code, signal) => {
      clearInterval(timer);
      const how = `reading them ends with ${signal ?? `code ${code}`}`;
      resolve(code === 0 ? null : unreadable(path, how, undefined));
    });
  });
  if (trouble !== null) throw trouble;
}

/** Whoever writes has not given the lock back. */
function held(path: string): SherdError {
  const [first] = stoppedIn(dirname(path));
  const who = first === undefined ? 'another process' : `${first.name} (pid ${first.pid}, stopped)`;
  return new SherdError('SHERD_FABRIC_BUSY', `the records are locked by ${who}`, {
    at: path,
    next: first === undefined ? `see who has it open with: fuser ${path}` : continueOrEnd(first),
    exitCode: EXIT.refused,
  });
}

/** Everything that others will read. */
function readAll(store: Store): void {
  store.read(() => {
    let bytes = 0;
    for (const { key, value } of store.records.getRange()) bytes += key.length + value.length;
    for (const { value } of store.log.getRange()) bytes += value.length;
    for (const { value } of store.meta.getRange()) bytes += value.length;
    for (const { value } of store.packed.getRange()) bytes += value.length;
    for (const { value } of store.packs.getRange()) bytes += value.length;
    return bytes;
  });
}

/** A write that takes pages from the list of free ones (Q1). */
function tryToWrite(store: Store): void {
  const takenBack = new Error('taken back');
  try {
    store.write(() => {
      for (let i = 0; i < TRIAL_WRITES; i++)
        store.meta.putSync(`probe.${i}`, Buffer.alloc(TRIAL_BYTES));
      // What went wrong in between is said by the next access only.
      store.meta.getBinary('probe.0');
      throw takenBack;
    });
  } catch (error) {
    if (error !== takenBack) throw error;
  }
}

/** LMDB's own failures have negative numbers; those of the system are said by whoever opens next. */
function reasonOf(error: unknown): string | undefined {
  if (error instanceof SherdError) {
    const isDamage = error.code === 'SHERD_FABRIC' && error.message.startsWith(UNREADABLE);
    return isDamage ? error.message.slice(UNREADABLE.length) : undefined;
  }
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'number' && code < 0 ? (error as Error).message : undefined;
}

function say(what: Said): Promise<unknown> {
  return new Promise((sent) => process.send?.(what, sent));
}

async function main(path: string): Promise<void> {
  try {
    const lease = leaseStore(path);
    readAll(lease.store);
    await say({ kind: 'read' });
    tryToWrite(lease.store);
    await lease.release();
  } catch (error) {
    const reason = reasonOf(error);
    if (reason !== undefined) {
      await say({ kind: 'damaged', reason });
      process.exit(1);
    }
  }
  process.exit(0);
}

const [, script, path] = process.argv;
if (process.send !== undefined && path !== undefined && script === fileURLToPath(import.meta.url))
  await main(path);
