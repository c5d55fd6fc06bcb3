/**
 * Why a child process ended, from the last lines that it (or the engine that ran it) wrote to stderr.
 *
 * Does: find sherd's own error line among them, else recognise what the engine says when the machine refuses it memory,
 * threads, files or room; else give the line that names the error. Does not: read or keep the lines (supervisor.ts).
 *
 * L1  The answer is one line, never a frame of a stack trace while there is any other line.
 */
import type { ErrorCode } from '../types/errors.js';

export interface Reason {
  readonly code: ErrorCode;
  readonly why: string;
  readonly next: string | undefined;
}

/** So many lines of a child are worth keeping: an engine's last report with its stacks. */
export const LAST_LINES = 100;

/** Also behind text without a line end, as libraries in C write it. */
const OWN_LINE = /sherd: (.*?)(?: — ((?:(?! — ).)*))? \[(SHERD_[A-Z_]+)\]$/;

const REFUSED: readonly (readonly [RegExp, Reason])[] = [
  [
    /EMFILE|ENFILE|too many open files/i,
    { code: 'SHERD_LIMIT', why: 'too many open files', next: 'raise the limit (ulimit -n 256)' },
  ],
  [
    /out of memory|\bOOM\b|ENOMEM|Cannot allocate memory|ERR_WORKER_OUT_OF_MEMORY/i,
    {
      code: 'SHERD_ENGINE_MEMORY',
      why: 'the system gives the engine no more memory',
      next: 'free some memory, or lift the limit (ulimit -v unlimited: each memory of a program takes 10 GB of addresses)',
    },
  ],
  [
    /EAGAIN|uv_thread_create|pthread_create|ERR_WORKER_INIT_FAILED/,
    {
      code: 'SHERD_LIMIT',
      why: 'no process or thread can be started',
      next: 'raise the limit of processes (ulimit -u)',
    },
  ],
  [
    /ENOSPC|EDQUOT|No space left on device/,
    { code: 'SHERD_DISK', why: 'the disk is full', next: 'free some space' },
  ],
];

/** `how` says how it ended, for a child that said nothing. */
export function reasonOf(lines: readonly string[], how: string): Reason {
  const own = lines.map((line) => OWN_LINE.exec(line)).findLast((match) => match !== null);
  if (own !== undefined && own !== null) {
    return { code: own[3] as ErrorCode, why: own[1] ?? '', next: own[2] };
  }
  const known = REFUSED.find(([pattern]) => lines.some((line) => pattern.test(line)));
  if (known !== undefined) return known[1];
  const telling =
    lines.findLast((line) => /^(\w*Error\b|FATAL ERROR)/.test(line)) ??
    lines.findLast((line) => /\w{3}/.test(line) && !/^\s*(at |\d+: 0x)|^Node\.js v/.test(line));
  if (telling !== undefined) {
    return { code: 'SHERD_INTERNAL', why: telling.trim(), next: undefined };
  }
  return {
    code: 'SHERD_INTERNAL',
    why: `it gave no reason, ${how}`,
    next: 'mostly the machine refuses it memory or threads: see ulimit -a',
  };
}
