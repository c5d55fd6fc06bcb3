/**
 * A typed client of the control process's HTTP API.
 *
 * Does: find the control (DIR/control.json), send requests, turn error replies back into SherdErrors, and follow
 * streams across restarts of the control (a new process has a new port and a new token).
 * Does not: print, decide, or know the fabric.
 *
 * K1  Requests that only read, and those that may be repeated without harm (blobs by hash), are retried while the
 *     control is away, until `patienceMs`. A submit is not repeated once it may have arrived.
 * K2  A followed stream goes on where it stopped: output by byte offset (bytes that were yielded are never yielded
 *     again), events by sequence number.
 * K3  A stream that has been silent for SILENCE_MS (no line, no beat) counts as broken.
 * K4  No request waits for a process that answers nobody (watched-call).
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type DirectoryDoorbells, doorbellsOf } from '../fabric/doorbell.js';
import {
  CONTROL_FILE,
  type ControlInfo,
  type DuReply,
  type ErrorLine,
  type ErrorReply,
  type EventLine,
  type ForkReply,
  type ForkRequest,
  type GcReply,
  type GcRequest,
  type ImportRequest,
  type InspectReply,
  isId,
  type KillRequest,
  type MoveEntry,
  type MoveRequest,
  type NodeView,
  noShard,
  type OracleScoreReply,
  type OutputLine,
  type PauseEntry,
  type PauseRequest,
  type ShardView,
  type StatusReply,
  type SubmitReply,
  type SubmitRequest,
  type WatchLine,
} from '../types/api.js';
import type { TraceEvent } from '../types/brain.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { NodeId, ShardId, ShardStatus } from '../types/records.js';
import type { HttpAnswer, HttpCall } from './http-call.js';
import { QUIET, type Quiet, watchedCall } from './watched-call.js';

const SILENCE_MS = 20_000;
const RETRY_MS = 50;
const PATIENCE_MS = 15_000;
/** How often, about once a ms, a client looks whether the doorbell was heard before it goes on without knowing. */
const RING_TRIES = 8;

export interface ClientOptions {
  /** How long reads go on trying while no control answers. 0 = one attempt. */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal;
  /** The data directory, when the cluster runs on this machine: a pause is then rung for before it is asked for. */
  readonly directory?: string;
  /** After how long without an answer the control is asked whether it is there at all (watched-call). */
  readonly quiet?: Quiet;
  /** How the cluster is called in errors; default: the request. */
  readonly where?: string;
}

export interface FollowOptions {
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface OutputPieceAt {
  readonly stream: 'stdout' | 'stderr' | 'artifact';
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  readonly path: string;
  readonly json?: unknown;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
  /** May be sent again although an earlier attempt may have arrived. */
  readonly repeatable: boolean;
}

/** Reads `DIR/control.json`; SHERD_NO_CLUSTER when there is none. */
export async function readControlInfo(directory: string): Promise<ControlInfo> {
  const file = path.join(directory, CONTROL_FILE);
  try {
    const info = JSON.parse(await readFile(file, 'utf8')) as Partial<ControlInfo> | null;
    if (typeof info?.url === 'string' && typeof info.token === 'string') {
      return { url: info.url, token: info.token, pid: info.pid ?? 0 };
    }
    throw new Error('no url or token in it');
  } catch (cause) {
    if (isForbidden(cause)) {
      throw new SherdError('SHERD_UNAUTHORIZED', 'it is the cluster of another user', {
        at: file,
        next: 'ask as the user who started its sherd up',
        exitCode: EXIT.failedLater,
        cause,
      });
    }
    const gone = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const up = `sherd up --fabric embedded:${directory}`;
    const what = gone ? 'no running cluster' : `it does not name a cluster (${reasonOf(cause)})`;
    throw new SherdError('SHERD_NO_CLUSTER', what, {
      at: gone ? directory : file,
      next: gone ? `start one with: ${up}` : `end its sherd up, if there is one, then: ${up}`,
      exitCode: EXIT.failedLater,
      cause,
    });
  }
}

function isForbidden(cause: unknown): boolean {
  const { code } = cause as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM';
}

export class ControlClient {
  readonly #locate: () => Promise<ControlInfo>;
  readonly #patienceMs: number;
  readonly #quiet: Quiet;
  readonly #directory: string | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #where: string | undefined;
  readonly #bells: DirectoryDoorbells | undefined;
  /** Where it answered last; looked up again after every failure (a new process has a new port and token). */
  #known: ControlInfo | undefined;

  constructor(locate: () => Promise<ControlInfo>, options: ClientOptions = {}) {
    this.#locate = locate;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#quiet = options.quiet ?? QUIET;
    this.#directory = options.directory;
    this.#signal = options.signal;
    this.#where = options.where;
    this.#bells = options.directory === undefined ? undefined : doorbellsOf(options.directory);
  }

  /** The client of the cluster whose data directory this is. */
  static forDirectory(directory: string, options: ClientOptions = {}): ControlClient {
    return new ControlClient(() => readControlInfo(directory), {
      where: directory,
      directory,
      ...options,
    });
  }

  async putBlob(hash: Hash, bytes: Uint8Array): Promise<void> {
    await this.#call({ method: 'POST', path: `/v1/blobs/${hash}`, body: bytes, repeatable: true });
  }

  async getBlob(hash: Hash): Promise<Uint8Array> {
    return this.#bytes(`/v1/blobs/${hash}`);
  }

  async hasBlob(hash: Hash): Promise<boolean> {
    const request: Call = { method: 'HEAD', path: `/v1/blobs/${hash}`, repeatable: true };
    const response = await this.#send(request);
    if (response.status === 404) return false;
    await this.#check(response);
    return true;
  }

  /** Puts a blob unless it is there already. */
  async ensureBlob(hash: Hash, bytes: Uint8Array): Promise<void> {
    if (!(await this.hasBlob(hash))) await this.putBlob(hash, bytes);
  }

  async submit(request: SubmitRequest): Promise<ShardId> {
    return (await this.#json<SubmitReply>('POST', '/v1/shards', request, false)).id;
  }

  async importShard(request: ImportRequest): Promise<ShardId> {
    return (await this.#json<SubmitReply>('POST', '/v1/shards/import', request, false)).id;
  }

  async shards(): Promise<readonly ShardView[]> {
    return (await this.#json<{ shards: ShardView[] }>('GET', '/v1/shards')).shards;
  }

  async shard(id: ShardId): Promise<ShardView> {
    return this.#json<ShardView>('GET', shardPath(id));
  }

  /** Asks for a pause; the answer shows the request, `untilStatus(id, ['paused', 'done'])` waits for it. */
  async pause(id: ShardId, request: PauseRequest = {}): Promise<ShardView> {
    const path = `${shardPath(id)}/pause`;
    await this.#ring(id, request);
    return this.#json<ShardView>('POST', path, request, true);
  }

  async resume(id: ShardId): Promise<ShardView> {
    return this.#json<ShardView>('POST', `${shardPath(id)}/resume`, {}, true);
  }

  async kill(id: ShardId, request: KillRequest = {}): Promise<ShardView> {
    return this.#json<ShardView>('POST', `${shardPath(id)}/kill`, request, true);
  }

  async move(id: ShardId, request: MoveRequest = {}): Promise<ShardView> {
    return this.#json<ShardView>('POST', `${shardPath(id)}/move`, request, false);
  }

  /** Answers when the copies are there; `error` tells of a failure in between. */
  async fork(id: ShardId, request: ForkRequest): Promise<ForkReply> {
    return this.#json<ForkReply>('POST', `${shardPath(id)}/fork`, request, false);
  }

  async moves(id: ShardId): Promise<readonly MoveEntry[]> {
    return (await this.#json<{ moves: MoveEntry[] }>('GET', `${shardPath(id)}/moves`)).moves;
  }

  /** What its last pause took; null when it was not paused, or the control process is a new one. */
  async lastPause(id: ShardId): Promise<PauseEntry | null> {
    return (await this.#json<{ pause: PauseEntry | null }>('GET', `${shardPath(id)}/moves`)).pause;
  }

  /** The newest capsule blob (thin: it names its module, spec and files by hash). */
  async capsule(id: ShardId): Promise<Uint8Array> {
    return this.#bytes(`${shardPath(id)}/capsule`);
  }

  async inspect(id: ShardId, timeoutMs = 2_000): Promise<InspectReply> {
    return this.#json<InspectReply>('GET', `${shardPath(id)}/inspect?timeoutMs=${timeoutMs}`);
  }

  async remove(id: ShardId, options: { force?: boolean } = {}): Promise<void> {
    await this.#json('DELETE', `${shardPath(id)}${options.force === true ? '?force=1' : ''}`);
  }

  async nodes(): Promise<readonly NodeView[]> {
    return (await this.#json<{ nodes: NodeView[] }>('GET', '/v1/nodes')).nodes;
  }

  drain(id: NodeId): Promise<NodeView> {
    return this.#json<NodeView>('POST', `/v1/nodes/${encodeURIComponent(id)}/drain`, {}, true);
  }

  status(): Promise<StatusReply> {
    return this.#json<StatusReply>('GET', '/v1/status');
  }

  oracleScore(): Promise<OracleScoreReply> {
    return this.#json<OracleScoreReply>('GET', '/v1/oracle/score');
  }

  gc(request: GcRequest = {}): Promise<GcReply> {
    return this.#json<GcReply>('POST', '/v1/gc', request, true);
  }

  du(): Promise<DuReply> {
    return this.#json<DuReply>('GET', '/v1/du');
  }

  async shutdown(): Promise<{ paused: number }> {
    return this.#json<{ paused: number }>('POST', '/v1/shutdown', {}, false);
  }

  /** Output from byte `from` on, every byte once; ends when the shard is done (follow) or nothing more is there. */
  async *output(
    id: ShardId,
    from = 0,
    options: FollowOptions = {},
  ): AsyncGenerator<OutputPieceAt, { offset: number; status: ShardStatus }> {
    let offset = from;
    const follow = options.follow === true ? '&follow=1' : '';
    for (;;) {
      const lines = this.#lines<OutputLine>(
        () => `${shardPath(id)}/output?from=${offset}${follow}`,
        options.signal,
      );
      for await (const line of lines) {
        if (line.kind === 'end') return { offset: line.offset, status: line.status };
        if (line.kind !== 'piece') continue;
        const bytes = decodeBase64(line.base64);
        const known = offset - line.offset;
        if (known >= bytes.length) continue;
        const fresh = known > 0 ? bytes.subarray(known) : bytes;
        const at = offset;
        offset = line.offset + bytes.length;
        yield { stream: line.stream, offset: known > 0 ? at : line.offset, bytes: fresh };
      }
      await pause(RETRY_MS, options.signal);
    }
  }

  /** The shard's view now and whenever it changes; ends when it is done or removed. */
  async *watch(id: ShardId, options: { signal?: AbortSignal } = {}): AsyncGenerator<ShardView> {
    for (;;) {
      for await (const line of this.#lines<WatchLine>(
        () => `${shardPath(id)}/watch`,
        options.signal,
      )) {
        if (line.kind === 'gone') return;
        if (line.kind !== 'shard') continue;
        yield line.shard;
        if (line.shard.status === 'done') return;
      }
      await pause(RETRY_MS, options.signal);
    }
  }

  /** Waits until the shard's status is one of these. */
  async untilStatus(
    id: ShardId,
    statuses: readonly ShardStatus[],
    options: { signal?: AbortSignal } = {},
  ): Promise<ShardView> {
    for await (const view of this.watch(id, options)) {
      if (statuses.includes(view.status)) return view;
    }
    const last = await this.shard(id);
    if (statuses.includes(last.status)) return last;
    throw new SherdError(
      'SHERD_STATE',
      `shard ended as ${last.status}, not ${statuses.join(' or ')}`,
      {
        at: id,
      },
    );
  }

  async *events(options: FollowOptions & { from?: number } = {}): AsyncGenerator<TraceEvent> {
    let from = options.from ?? 0;
    let trace = '';
    for (;;) {
      const follow = options.follow === true ? '&follow=1' : '';
      for await (const line of this.#lines<EventLine>(
        () => `/v1/events?from=${from}${trace}${follow}`,
        options.signal,
      )) {
        if (line.kind === 'end') return;
        if (line.kind === 'trace') trace = `&trace=${encodeURIComponent(line.id)}`;
        if (line.kind === 'lost') from = line.from;
        if (line.kind !== 'event') continue;
        from = line.event.seq + 1;
        yield line.event;
      }
      await pause(RETRY_MS, options.signal);
    }
  }

  /**
   * The shard stands still before anybody was asked: its thread hears the doorbell, wherever it is. Then this thread
   * gives its core away for a moment, for it may be the one that the shard needs to get there.
   */
  async #ring(id: ShardId, request: PauseRequest): Promise<void> {
    if (this.#bells === undefined || request.atFuel !== undefined) return;
    const rung = this.#bells.ringEverywhere(id);
    for (let asked = 0; asked < RING_TRIES; asked++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (rung.answered()) return;
    }
  }

  async #json<T>(
    method: 'GET' | 'POST' | 'DELETE',
    where: string,
    json?: unknown,
    repeatable = method !== 'POST',
  ): Promise<T> {
    const response = await this.#call({ method, path: where, json, repeatable });
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw cause instanceof SyntaxError ? this.#foreign(cause) : cause;
    }
  }

  async #bytes(where: string): Promise<Uint8Array> {
    const response = await this.#call({ method: 'GET', path: where, repeatable: true });
    return response.bytes();
  }

  async #call(request: Call): Promise<HttpAnswer> {
    return this.#check(await this.#send(request));
  }

  async #check(response: HttpAnswer): Promise<HttpAnswer> {
    if (response.ok) return response;
    const text = await response.text().catch(() => '');
    throw errorOf(text) ?? this.#foreign(`it answered ${response.status}`);
  }

  /** The control file led to some other server. */
  #foreign(cause: unknown): SherdError {
    return new SherdError('SHERD_NO_CLUSTER', 'what answers there is no control process of sherd', {
      at: this.#known?.url,
      next: 'is the cluster up? start it with: sherd up',
      cause,
    });
  }

  /** One attempt after the other while nobody listens; a request that may have arrived is repeated only if it may. */
  async #send(request: Call): Promise<HttpAnswer> {
    const deadline = performance.now() + this.#patienceMs;
    for (;;) {
      const signal = request.signal ?? this.#signal;
      let cause: unknown;
      try {
        this.#known ??= await this.#locate();
        const info = this.#known;
        const call = callOf(request, info, signal);
        const response = await watchedCall(info, request.path, call, this.#quiet, this.#directory);
        // 401: the file is older or newer than the process that answered.
        if (response.status !== 401) return response;
        this.#known = undefined;
        response.discard();
        cause = new SherdError('SHERD_UNAUTHORIZED', 'the control refused the token', {
          at: info.url,
          next: 'check control.json of the data directory',
        });
      } catch (error) {
        cause = error;
        this.#known = undefined;
        if (signal?.aborted === true) throw aborted(error);
        if (error instanceof SherdError && error.code === 'SHERD_TIMEOUT') throw error;
        if (!request.repeatable && !neverArrived(error))
          throw unreachable(error, this.#where ?? request.path);
      }
      if (performance.now() >= deadline) throw unreachable(cause, this.#where ?? request.path);
      await pause(RETRY_MS, signal);
    }
  }

  /** Lines of one NDJSON response; ends quietly when the connection breaks. */
  async *#lines<T>(where: () => string, signal: AbortSignal | undefined): AsyncGenerator<T> {
    const own = new AbortController();
    const outer = signal ?? this.#signal;
    const forward = (): void => own.abort();
    outer?.addEventListener('abort', forward, { once: true });
    let timer = setTimeout(() => own.abort(), SILENCE_MS);
    try {
      if (outer?.aborted === true) throw aborted(outer.reason);
      const response = await this.#call({
        method: 'GET',
        path: where(),
        signal: own.signal,
        repeatable: true,
      });
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of response.body) {
        clearTimeout(timer);
        timer = setTimeout(() => own.abort(), SILENCE_MS);
        rest += decoder.decode(chunk, { stream: true });
        for (let at = rest.indexOf('\n'); at >= 0; at = rest.indexOf('\n')) {
          const line = rest.slice(0, at);
          rest = rest.slice(at + 1);
          if (line === '') continue;
          const value = JSON.parse(line) as T | ErrorLine;
          if (isErrorLine(value)) throw errorIn(value);
          yield value;
        }
      }
    } catch (error) {
      if (outer?.aborted === true) throw aborted(error);
      if (error instanceof SherdError && error.code !== 'SHERD_ABORTED') throw error;
    } finally {
      clearTimeout(timer);
      outer?.removeEventListener('abort', forward);
      own.abort();
    }
  }
}

function callOf(request: Call, info: ControlInfo, signal: AbortSignal | undefined): HttpCall {
  const headers: Record<string, string> = { authorization: `Bearer ${info.token}` };
  const call = { method: request.method, headers, signal };
  if (request.body !== undefined) {
    headers['content-type'] = 'application/octet-stream';
    return { ...call, body: request.body };
  }
  if (request.json === undefined) return call;
  headers['content-type'] = 'application/json';
  return { ...call, body: JSON.stringify(request.json) };
}

function isErrorLine(value: unknown): value is ErrorLine {
  return (value as { kind?: unknown } | null)?.kind === 'error';
}

function errorOf(text: string): SherdError | undefined {
  try {
    return errorIn(JSON.parse(text) as ErrorReply);
  } catch {
    return undefined;
  }
}

/** The error that an answer tells of. */
export function errorIn({ error }: ErrorReply): SherdError {
  return new SherdError(error.code, error.message, {
    at: error.at ?? undefined,
    next: error.next ?? undefined,
    exitCode: error.exitCode,
  });
}

/** A6: an id that is none would name another request. */
function shardPath(id: ShardId): string {
  if (!isId(id)) throw noShard(id);
  return `/v1/shards/${id}`;
}

/** True when the request cannot have reached a server: nothing listened, or there was no file to find it by. */
function neverArrived(error: unknown): boolean {
  if (error instanceof SherdError) return error.code === 'SHERD_NO_CLUSTER';
  return (error as { code?: string }).code === 'ECONNREFUSED';
}

function unreachable(cause: unknown, where: string): SherdError {
  if (cause instanceof SherdError) return cause;
  return new SherdError(
    'SHERD_NO_CLUSTER',
    `the control process does not answer (${reasonOf(cause)})`,
    {
      at: where,
      next: 'is the cluster up? start it with: sherd up',
      cause,
    },
  );
}

function aborted(cause: unknown): SherdError {
  return new SherdError('SHERD_ABORTED', 'aborted', { cause });
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = (error as { cause?: { code?: string; message?: string } }).cause;
  return inner?.code ?? inner?.message ?? (error as { code?: string }).code ?? error.message;
}

function decodeBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal);
  await new Promise<void>((resolve) => setTimeout(resolve, ms));
  throwIfAborted(signal);
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(signal.reason);
}
