/**
 * The control process: holds the lease, runs the brain, answers clients.
 *
 *     client ──HTTP──▶ routes ──▶ Shards (what a client may do) ──▶ Cluster ──compare-and-set──▶ fabric
 *                                                                    ▲
 *     supervisor ──node died──▶ Brain ──actions────────────────────────┘
 *
 * Does: start and stop in order: fabric view, lease, brain, API, control file; retention.
 * Does not: know routes (routes.ts) or what the verbs mean (shards.ts).
 *
 * S1  The control file names a server that listens; it is written last and removed first. Lost or spoilt meanwhile, it is written
 *     again; never over that of another control.
 * S2  Losing the lease stops the brain before anything else, and the owner is told (`lost`).
 * S3  Nothing is kept here that a new control does not rebuild from the fabric, except the trace and the table of moves. What the oracle has learned lies there too.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { serve } from '@hono/node-server';
import { CONTROL_FILE, type ControlInfo, type GcReply, type StatusReply } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { Fabric, Subscription } from '../types/fabric.js';
import { type MoveHint, SUBJECT } from '../types/hints.js';
import { decodePlain } from '../types/pack.js';
import type { Platform } from '../types/platform.js';
import { Brain } from './brain.js';
import { readControlInfo } from './client.js';
import { Cluster } from './cluster.js';
import { Janitor } from './janitor.js';
import { ControlLease } from './lease.js';
import { Moves } from './moves.js';
import { DEFAULT_RETENTION, type Retention } from './reach.js';
import { makeRoutes } from './routes.js';
import { Shards } from './shards.js';
import { Trace } from './trace.js';

const RETENTION_MS = 60 * 60_000;
const CLOSE_MS = 200;
const FILE_LOOK_MS = 2_000;
/** The end waits so long for the oracle's state to be stored. */
const KEEP_MS = 2_000;
const VERSION = '0.1.0';

export interface ControlOptions {
  readonly fabric: Fabric;
  readonly platform: Platform;
  /** Where the control file is put; null = none (tests). */
  readonly directory: string | null;
  /** 0 = any free port. */
  readonly port?: number;
  readonly retention?: Partial<Retention>;
  readonly isGone?: (pid: number) => boolean;
  /** The lease was lost: another control has taken over. */
  readonly lost?: () => void;
  /** A client asked the cluster to go down; every shard is stored. */
  readonly shutDown?: () => void;
  readonly signal?: AbortSignal;
}

export class ControlServer {
  readonly info: ControlInfo;
  readonly cluster: Cluster;
  readonly brain: Brain;
  readonly shards: Shards;
  readonly trace = new Trace();
  readonly moves = new Moves();
  readonly #options: ControlOptions;
  readonly #holder: string;
  readonly #startedMs = Date.now();
  readonly #subscriptions: Subscription[] = [];
  readonly #janitor: Janitor;
  #server: Server | undefined;
  #lease: ControlLease | undefined;
  #retention: NodeJS.Timeout | undefined;
  #fileLook: NodeJS.Timeout | undefined;
  #keeping: Promise<void> | undefined;
  #closed = false;
  #opened = false;
  #leaseLost = false;
  #goingDown: Promise<number> | undefined;

  private constructor(options: ControlOptions, url: string, server: Server, token: string) {
    const { fabric, platform } = options;
    this.#options = options;
    this.#server = server;
    this.#holder = `control-${randomBytes(4).toString('hex')}`;
    this.info = { url, token, pid: process.pid };
    const nowMs = (): number => performance.now();
    const wallMs = (): number => Date.now();
    const isGone = options.isGone ?? processIsGone;
    this.cluster = new Cluster(fabric, this.#holder, nowMs, wallMs);
    const { cluster, trace, moves } = this;
    const host = os.hostname();
    const fell = (bytes: number): void => this.#janitor.fell(bytes);
    this.brain = new Brain({ cluster, trace, platform, nowMs, wallMs, isGone, host, fell });
    this.shards = new Shards({
      cluster,
      brain: this.brain,
      moves,
      platform,
      nowMs,
      wallMs,
      retention: { ...DEFAULT_RETENTION, ...options.retention },
    });
    const collect = (graceMs: number): Promise<GcReply> => this.shards.collectGarbage(graceMs);
    this.#janitor = new Janitor({ cluster, nowMs, collect });
  }

  /** Listens, waits for the lease, then serves. */
  static async start(options: ControlOptions): Promise<ControlServer> {
    const token = randomBytes(24).toString('hex');
    let control: ControlServer | undefined;
    const answer = (request: Request): Response | Promise<Response> => {
      if (!isAuthorized(request, token)) return new Response('', { status: 401 });
      return control?.answer(request) ?? new Response('', { status: 503 });
    };
    const { server, url } = await listen(options.port ?? 0, answer);
    const starting = new ControlServer(options, url, server, token);
    try {
      await starting.#open();
    } catch (cause) {
      await starting.close();
      throw cause;
    }
    control = starting;
    await starting.#writeControlFile();
    starting.#fileLook = setInterval(() => {
      starting.#keeping = starting.#keepControlFile();
    }, FILE_LOOK_MS);
    starting.#fileLook.unref();
    return starting;
  }

  #routes: ((request: Request) => Response | Promise<Response>) | undefined;

  answer(request: Request): Response | Promise<Response> {
    this.#routes ??= makeRoutes(this);
    return this.#routes(request);
  }

  get platform(): Platform {
    return this.#options.platform;
  }

  get fabric(): Fabric {
    return this.#options.fabric;
  }

  status(): StatusReply {
    const shards = { queued: 0, assigned: 0, running: 0, paused: 0, done: 0 };
    for (const { record } of this.cluster.shards.values()) shards[record.status] += 1;
    return {
      version: VERSION,
      pid: process.pid,
      holder: this.#holder,
      directory: this.#options.directory ?? '',
      startedMs: this.#startedMs,
      nodes: this.cluster.nodes.size,
      shards,
    };
  }

  /** The cluster goes down in good order: no more placing, every node stores what it has. */
  async drain(timeoutMs?: number): Promise<number> {
    this.brain.stop();
    return this.shards.drain(timeoutMs);
  }

  /** Drains, then tells the owner that the cluster is down. */
  shutDown(): Promise<number> {
    this.#goingDown ??= this.drain().then((paused) => {
      this.#options.shutDown?.();
      return paused;
    });
    return this.#goingDown;
  }

  /** Ends in good order: the lease is given up. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#fileLook);
    await this.#keeping;
    await this.#removeControlFile();
    if (this.#opened && !this.#leaseLost) await within(KEEP_MS, this.brain.keep());
    this.#end();
    await this.#lease?.release();
    await this.#closeServer();
  }

  /** Ends as a crash would: lease and control file stay. */
  async crash(): Promise<void> {
    this.#end();
    this.#lease?.abandon();
    await this.#closeServer();
  }

  #end(): void {
    this.#closed = true;
    clearInterval(this.#retention);
    clearInterval(this.#fileLook);
    this.#janitor.stop();
    this.brain.stop();
    for (const subscription of this.#subscriptions) subscription.close();
    this.cluster.close();
  }

  async #open(): Promise<void> {
    const { fabric, lost, signal } = this.#options;
    this.#lease = await ControlLease.take({
      fabric,
      holder: this.#holder,
      apiUrl: this.info.url,
      nowMs: () => performance.now(),
      isGone: this.#options.isGone ?? processIsGone,
      lost: () => {
        this.#leaseLost = true;
        this.brain.stop();
        if (this.#opened) lost?.();
      },
      ...(signal === undefined ? {} : { signal }),
    });
    this.#subscriptions.push(
      fabric.messages.subscribe(SUBJECT.movedAll, (message) => {
        try {
          this.moves.add(decodePlain(message.payload) as MoveHint, Date.now());
        } catch {
          // A hint that cannot be read is a hint that got lost.
        }
      }),
    );
    await this.cluster.open();
    if (this.#leaseLost) {
      throw new SherdError('SHERD_FABRIC', 'another control took over while this one started');
    }
    await this.brain.recall();
    this.#opened = true;
    this.brain.start();
    this.#janitor.start();
    this.#retention = setInterval(() => {
      this.shards.retain().catch(() => undefined);
    }, RETENTION_MS);
    this.#retention.unref();
  }

  async #writeControlFile(): Promise<void> {
    const { directory } = this.#options;
    if (directory === null) return;
    const file = path.join(directory, CONTROL_FILE);
    const temporary = `${file}.${process.pid}`;
    await writeFile(temporary, `${JSON.stringify(this.info)}\n`, { mode: 0o600 });
    await rename(temporary, file);
  }

  /** Without it no client finds the cluster, and no other one may begin in its directory. */
  async #keepControlFile(): Promise<void> {
    const { directory } = this.#options;
    if (directory === null || this.#closed || this.#leaseLost) return;
    let isSpoilt: boolean;
    try {
      const { url, token } = await readControlInfo(directory);
      isSpoilt = url === this.info.url && token !== this.info.token;
    } catch (cause) {
      isSpoilt = cause instanceof SherdError && cause.code === 'SHERD_NO_CLUSTER';
    }
    if (isSpoilt && !this.#closed) await this.#writeControlFile().catch(() => undefined);
  }

  /** Ours only: another control may have written its own by now. */
  async #removeControlFile(): Promise<void> {
    const { directory } = this.#options;
    if (directory === null) return;
    const file = path.join(directory, CONTROL_FILE);
    const there = await readFile(file, 'utf8').catch(() => '');
    if (there.includes(this.info.token)) await rm(file, { force: true });
  }

  async #closeServer(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    // Answers on their way get through; streams that stay open are cut.
    const cut = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
    clearTimeout(cut);
  }
}

/** Waits for the work, but not longer than that. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

async function listen(
  port: number,
  answer: (request: Request) => Response | Promise<Response>,
): Promise<{ server: Server; url: string }> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: answer, hostname: '127.0.0.1', port }, (address) => {
      resolve({ server, url: `http://127.0.0.1:${address.port}` });
    }) as Server;
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new SherdError('SHERD_PORT', `cannot listen (${cause.code ?? cause.message})`, {
          at: `127.0.0.1:${port}`,
          next: 'choose another port, or leave the choice to sherd',
          exitCode: EXIT.refused,
          cause,
        }),
      );
    });
  });
}

function isAuthorized(request: Request, token: string): boolean {
  const given = Buffer.from(request.headers.get('authorization') ?? '');
  const needed = Buffer.from(`Bearer ${token}`);
  return given.length === needed.length && timingSafeEqual(given, needed);
}

/** True when this machine has no process with this id. */
export function processIsGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (cause) {
    return (cause as { code?: string }).code === 'ESRCH';
  }
}
