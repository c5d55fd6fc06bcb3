/**
 * Processes of a data directory that stand still (SIGSTOP, a debugger), as /proc shows them.
 *
 * Who is stopped in the middle of a write holds the store's lock, which only its end or its going on gives back.
 *
 * Does: find them by their arguments. Does not: send signals. Where there is no /proc, none is found.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface StoppedProcess {
  readonly pid: number;
  /** `the node n2`, `the control`, …: for messages. */
  readonly name: string;
}

/** Those of this directory (absolute). */
export function stoppedIn(directory: string): StoppedProcess[] {
  const found: StoppedProcess[] = [];
  for (const entry of list('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const args = read(`/proc/${pid}/cmdline`).split('\0');
    if (args.includes(`embedded:${directory}`) && isStopped(pid))
      found.push({ pid, name: nameOf(args) });
  }
  return found;
}

export function isStopped(pid: number): boolean {
  const state = stateOf(pid);
  return state === 'T' || state === 't';
}

/** Third field of /proc/PID/stat, after the name in brackets; empty when it cannot be read. */
export function stateOf(pid: number): string {
  return /^\d+ \(.*\) (\S)/s.exec(read(`/proc/${pid}/stat`))?.[1] ?? '';
}

/** What to do about one that holds everybody up. */
export function continueOrEnd({ pid }: StoppedProcess): string {
  return `let it go on with: kill -CONT ${pid}, or end it with: kill -9 ${pid}`;
}

function nameOf(args: readonly string[]): string {
  if (args.some((arg) => arg.endsWith('control/main.js'))) return 'the control';
  const at = args.indexOf('--name');
  return at < 0 ? 'a process' : `the node ${args[at + 1]}`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
