/**
 * Who started this process, and whether it is meant to outlive them.
 *
 *   a terminal's shell            its end, or the terminal's, comes as SIGHUP; `disown` and `setsid` keep that away
 *   nohup                         SIGHUP means nothing
 *   another program (a test       when it is gone, however it ended, nobody waits for the result: as if SIGHUP had come
 *   harness, make, npx, timeout)
 *
 * Does: recognise nohup, watch the parent. Does not: decide what a hang-up means to a command (interrupt.ts).
 *
 * B1  A parent is watched only while this process is in its process group and it is no shell: a shell that ends leaves
 *     what it put into the background running, and a process group of its own (setsid, a job of an interactive
 *     shell, `detached` in Node.js) says that the child is to live on.
 * B2  Node.js undoes the ignored SIGHUP that nohup left for it, so nohup is recognised by its other traces: the shell's
 *     `_`, an unreadable standard input in the place of a terminal, an output called nohup.out.
 * B3  Where there is no /proc no parent is watched.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

const LOOK_MS = 500;
const SHELLS = new Set([
  'sh',
  'bash',
  'dash',
  'zsh',
  'ksh',
  'mksh',
  'ash',
  'busybox',
  'fish',
  'tcsh',
  'csh',
]);
const O_ACCMODE = 3;
const O_WRONLY = 1;

/** True when nohup started this process: SIGHUP is to be ignored. */
export function startedWithNohup(
  env: NodeJS.ProcessEnv = process.env,
  proc = '/proc/self',
): boolean {
  if (basename(env._ ?? '') === 'nohup') return true;
  const flags = /^flags:\s*0?([0-7]+)/m.exec(read(`${proc}/fdinfo/0`) ?? '')?.[1];
  if (flags !== undefined && (Number.parseInt(flags, 8) & O_ACCMODE) === O_WRONLY) {
    if (linkOf(`${proc}/fd/0`) === '/dev/null') return true;
  }
  return [1, 2].some((fd) => basename(linkOf(`${proc}/fd/${fd}`) ?? '') === 'nohup.out');
}

/** Calls `gone` once when the process that started this one has ended (B1). Returns how to stop watching. */
export function watchStarter(gone: () => void): () => void {
  const starter = process.ppid;
  if (!waitsForUs(starter)) return () => undefined;
  const timer = setInterval(() => {
    if (process.ppid === starter) return;
    clearInterval(timer);
    gone();
  }, LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function waitsForUs(starter: number): boolean {
  const mine = factsOf('self');
  const its = factsOf(String(starter));
  if (starter <= 1 || mine === undefined || its === undefined) return false;
  return mine.group === its.group && !SHELLS.has(its.name);
}

/** Name and process group out of /proc/PID/stat: `pid (name) state ppid pgrp …`. */
function factsOf(pid: string): { readonly name: string; readonly group: string } | undefined {
  const text = read(`/proc/${pid}/stat`);
  const match = text === undefined ? null : /^\d+ \((.*)\) \S+ \d+ (\d+)/s.exec(text);
  return match === null ? undefined : { name: match[1]!, group: match[2]! };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
