/**
 * A request to a process that may have been stopped, or hangs: it may take its time as long as the process answers others.
 *
 *     request ──▶ … nothing for 10 s … ──▶ GET /v1/status ──▶ answered: go on waiting
 *                                                             └─▶ nothing for 10 s either: SHERD_TIMEOUT
 *
 * Does: send, notice that nobody is at home. Does not: retry, or judge the answer.
 *
 * C1  A process that answers anything at all is never given up: a collection or a shutdown takes as long as it takes.
 * C2  Time in which this process itself stood still is not held against the other: a probe is given its time anew.
 * C3  It may be silent because another process was stopped in the middle of a write: then that one is named, not the control.
 */
import { continueOrEnd, isStopped, stoppedIn } from '../fabric/stopped.js';
import type { ControlInfo } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import { type HttpAnswer, type HttpCall, httpCall } from './http-call.js';

/** How long a request is quiet before somebody is asked, and how long that answer may take. */
export interface Quiet {
  readonly afterMs: number;
  readonly probeMs: number;
}

export const QUIET: Quiet = { afterMs: 10_000, probeMs: 10_000 };

export async function watchedCall(
  info: ControlInfo,
  path: string,
  call: HttpCall,
  quiet = QUIET,
  directory?: string,
): Promise<HttpAnswer> {
  const given = new AbortController();
  const over = new AbortController();
  const signals = call.signal === undefined ? [given.signal] : [given.signal, call.signal];
  const answer = httpCall(info.url + path, { ...call, signal: AbortSignal.any(signals) });
  const watching = watch(info, quiet, over.signal, given);
  try {
    return await answer;
  } catch (cause) {
    throw given.signal.aborted ? silent(info, call.method, directory, cause) : cause;
  } finally {
    over.abort();
    await watching;
  }
}

async function watch(
  info: ControlInfo,
  quiet: Quiet,
  over: AbortSignal,
  given: AbortController,
): Promise<void> {
  for (;;) {
    await untilQuiet(quiet.afterMs, over);
    if (over.aborted) return;
    if (!(await answersAnything(info, quiet.probeMs, over)) && !over.aborted) return given.abort();
  }
}

function untilQuiet(ms: number, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      over.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    over.addEventListener('abort', end);
  });
}

async function answersAnything(
  info: ControlInfo,
  probeMs: number,
  over: AbortSignal,
): Promise<boolean> {
  const signal = AbortSignal.any([over, AbortSignal.timeout(probeMs)]);
  const headers = { authorization: `Bearer ${info.token}` };
  try {
    (await httpCall(`${info.url}/v1/status`, { method: 'GET', headers, signal })).discard();
    return true;
  } catch {
    // Refused or cut off: then the request itself hears of it. Only silence is silence.
    return !signal.aborted;
  }
}

/** Names the process that stands still, if /proc shows one: it may be another one, which holds the store's lock (C3). */
function silent(
  { pid, url }: ControlInfo,
  method: string,
  directory: string | undefined,
  cause: unknown,
): SherdError {
  const stopped = directory === undefined ? [] : stoppedIn(directory);
  const other = isStopped(pid) ? undefined : stopped[0];
  const why =
    other === undefined ? '' : ` while ${other.name} (pid ${other.pid}) is stopped in this cluster`;
  const later = method === 'GET' ? '' : '; what was asked may be done when it goes on';
  return new SherdError(
    'SHERD_TIMEOUT',
    `the control process ${pid} does not answer${why}${later}`,
    {
      at: url,
      next:
        other === undefined
          ? `is it stopped (kill -CONT ${pid})? After kill -9 ${pid} sherd up starts another one`
          : continueOrEnd(other),
      exitCode: EXIT.failedLater,
      cause,
    },
  );
}
