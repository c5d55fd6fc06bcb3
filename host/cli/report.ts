/**
 * Turns whatever a command threw into one line on stderr and an exit code.
 *
 * R1  The user sees one line: what, where, why, next step, code. Never a stack trace of ours (SHERD_DEBUG=1 adds it).
 * R2  A closed pipe says nothing.
 * R3  With --json an error in place of a report is on stdout too: {"error":{"code","message","at","next","exitCode"}}.
 */
import { CommanderError } from 'commander';
import { EXIT, SherdError } from '../types/errors.js';
import { ClosedPipe } from './output.js';
import { fileError } from './status.js';

/** Thrown by a command that has said everything and only wants to end with a code. */
export class Ended extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Exit code for a run whose reader went away: 128 + SIGPIPE, as a shell would report it. */
export const EXIT_CLOSED_PIPE = 141;

export interface Failure {
  readonly code: number;
  readonly line: string | undefined;
  /** Text that may have several lines and precedes the line (a compiler's own diagnostics, a guest's call stack). */
  readonly detail: string | undefined;
  /** The same for programs, of a command that prints JSON (R3). Absent: nothing is wrong, or it has been said. */
  readonly error?: ErrorReport;
}

export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  /** The file, option or shard that it is about. */
  readonly at: string | null;
  /** What to do. */
  readonly next: string | null;
  readonly exitCode: number;
}

/** Any thrown value as what is to be printed and the exit code. `verb`: whose help tells more about wrong usage. */
export function failureOf(thrown: unknown, verb?: string): Failure {
  if (thrown instanceof Ended) return { code: thrown.code, line: undefined, detail: undefined };
  if (thrown instanceof ClosedPipe) return { code: EXIT.ok, line: undefined, detail: undefined };
  if (thrown instanceof CommanderError) return commanderFailure(thrown, verb);
  const error = asSherdError(thrown);
  const debug = process.env.SHERD_DEBUG === '1' ? stackOf(thrown) : undefined;
  return {
    code: error.exitCode,
    line: error.toLine(),
    detail: debug ?? diagnosticsOf(error),
    error: reportOf(error),
  };
}

function reportOf({ code, message, at, next, exitCode }: SherdError): ErrorReport {
  return { code, message, at: at ?? null, next: next ?? null, exitCode };
}

/** Wraps foreign errors: an operating-system error keeps its path, anything else is a defect of ours. */
export function asSherdError(thrown: unknown): SherdError {
  if (thrown instanceof SherdError) return thrown;
  const errno = thrown as NodeJS.ErrnoException;
  if (typeof errno?.code === 'string' && typeof errno.syscall === 'string') {
    if (errno.code === 'ECONNREFUSED' || errno.code === 'ECONNRESET') {
      return new SherdError('SHERD_NO_CLUSTER', 'the control process does not answer', {
        next: 'start it with: sherd up',
        cause: thrown,
      });
    }
    return fileError(thrown, errno.path ?? errno.syscall, 'failed');
  }
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new SherdError('SHERD_INTERNAL', `internal: ${message}`, {
    next: 'run again with SHERD_DEBUG=1 and report what it prints',
    cause: thrown,
  });
}

function commanderFailure(thrown: CommanderError, verb: string | undefined): Failure {
  // Help or the version, which was asked for.
  if (thrown.exitCode === EXIT.ok) return { code: EXIT.ok, line: undefined, detail: undefined };
  const message = thrown.message.replace(/^error: /, '').trim();
  const next = `see: sherd ${verb === undefined ? '' : `${verb} `}--help`;
  const error = new SherdError('SHERD_USAGE', message, { next, exitCode: EXIT.refused });
  return { code: EXIT.refused, line: error.toLine(), detail: undefined, error: reportOf(error) };
}

/** A front end's diagnostics are shown as they are, before our line. */
function diagnosticsOf(error: SherdError): string | undefined {
  if (error.code !== 'SHERD_SOURCE_ERROR') return undefined;
  const cause = error.cause;
  const text =
    typeof cause === 'string' ? cause : cause instanceof Error ? cause.message : undefined;
  return text === undefined || text.trim() === '' ? undefined : `${text.trimEnd()}\n`;
}

function stackOf(thrown: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = thrown, depth = 0; at !== undefined && depth < 8; depth++) {
    parts.push(at instanceof Error ? (at.stack ?? at.message) : String(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return `${parts.join('\ncaused by: ')}\n`;
}
