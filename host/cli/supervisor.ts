/**
 * Supervises one cluster on this machine: a control process and N node processes.
 *
 *     Supervisor ─┬─ control   dist/control/main.js   (hub, brain, HTTP API)
 *                 ├─ node n1   dist/node/main.js
 *                 └─ node n2 …
 *
 * Does: start them, start them again when they die (with growing pauses), tell the control which node died, end them.
 * Does not: talk to clients, touch records, or print (lines of its children go to `log`).
 *
 * P1  Children are in process groups of their own: the terminal's Ctrl-C reaches only this process.
 * P2  Children watch this process over IPC: when it ends, however it ends, they end.
 * P3  A child that dies is replaced after a pause that doubles from RESTART_MS to RESTART_MAX_MS; one that lived for
 *     STEADY_MS begins anew with the shortest pause.
 * P4  The data directory is locked as long as the supervisor lives: one cluster a directory.
 * P5  After `stop` or a client's shutdown nothing is started again, and no child is left.
 * P6  Its nodes share the cores of this machine: unless it is told how many, each gets its share of worker threads, rounded up, at
 *     least one. (A node that is started by itself takes a thread for each core.)
 * P7  A start is given up after START_MS in which this process ran: a machine that was suspended or stopped blames nobody.
 * P8  A child that was stopped and is not continued is ended, and replaced like one that died (vigil.ts).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ControlClient, readControlInfo } from '../control/client.js';
import { ENGINE_OPTIONS, NODE_ENGINE_OPTIONS } from '../fabric/background.js';
import { lockDirectory } from '../fabric/embedded.js';
import type { ControlInfo } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { NodeId } from '../types/records.js';
import { endChild, tell } from './child.js';
import { LAST_LINES, reasonOf } from './last-words.js';
import { Vigil } from './vigil.js';

const CONTROL = 'control';
const RESTART_MS = 50;
const RESTART_MAX_MS = 5_000;
const STEADY_MS = 10_000;
const START_MS = 60_000;
const READY_POLL_MS = 5;
const READY_POLL_MAX_MS = 250;
const STOP_MS = 20_000;
const CODE = new URL('../', import.meta.url);

export interface SupervisorOptions {
  readonly directory: string;
  /** Node processes. */
  readonly nodes: number;
  /** Worker threads a node; default: the cores of this machine, divided among the nodes (P6). */
  readonly workers?: number;
  /** Port of the API; default any free one. */
  readonly port?: number;
  /** Limit of all blobs of the directory together; 0 = none from now on; default what it has. */
  readonly quotaBytes?: number;
  /** The folder of compiled code, with node/main.js and control/main.js; default the one that this file is in. */
  readonly code?: URL;
  /** How long a stopped child may stay so (P8). */
  readonly stoppedMs?: number;
  /** Lines that children write to stderr, and what happens to them. */
  readonly log?: (line: string) => void;
}

type Say = { kind: 'ready'; id?: NodeId; url?: string } | { kind: 'shutdown' };

interface Program {
  readonly script: string;
  readonly engine: readonly string[];
}

const CONTROL_PROGRAM: Program = { script: 'control/main.js', engine: ENGINE_OPTIONS };
const NODE_PROGRAM: Program = { script: 'node/main.js', engine: NODE_ENGINE_OPTIONS };

interface Child {
  readonly name: string;
  readonly program: Program;
  readonly args: readonly string[];
  process: ChildProcess | undefined;
  nodeId: NodeId | undefined;
  startedMs: number;
  pauseMs: number;
  timer: NodeJS.Timeout | undefined;
  ready: boolean;
  /** Its last words, for the error when it never becomes ready. */
  readonly lastLines: string[];
  exits: number;
  /** Exit code of its last end, and how that ended. */
  lastCode: number | null;
  lastEnd: string;
}

export class Supervisor {
  readonly directory: string;
  readonly client: ControlClient;
  /** Resolves when the cluster has gone down: by `stop`, or because a client asked for it. */
  readonly ended: Promise<void>;
  readonly #options: SupervisorOptions;
  readonly #children: Child[] = [];
  readonly #deadNodes: NodeId[] = [];
  readonly #unlock: () => Promise<void>;
  readonly #vigil: Vigil;
  #resolveEnded: () => void = () => undefined;
  #unlocked: Promise<void> | undefined;
  #stopping = false;

  private constructor(options: SupervisorOptions, unlock: () => Promise<void>) {
    this.#options = options;
    this.#unlock = unlock;
    this.directory = path.resolve(options.directory);
    this.client = ControlClient.forDirectory(this.directory);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#vigil = new Vigil({
      children: () => this.#children,
      log: (line) => this.#options.log?.(line),
      stoppedMs: options.stoppedMs,
    });
    const fabric = ['--fabric', `embedded:${this.directory}`, '--parent-watch'];
    const port = options.port === undefined ? [] : ['--port', String(options.port)];
    const { quotaBytes } = options;
    const quota = quotaBytes === undefined ? [] : ['--quota-bytes', String(quotaBytes)];
    this.#children.push(newChild('control', CONTROL_PROGRAM, [...fabric, ...port, ...quota]));
    const workers = ['--workers', String(options.workers ?? workersEach(options.nodes))];
    for (let i = 1; i <= options.nodes; i++) {
      const args = [...fabric, ...workers, '--name', `n${i}`];
      this.#children.push(newChild(`n${i}`, NODE_PROGRAM, args));
    }
  }

  /** Starts everything; resolves when the control and all nodes are ready, else ends what was started. */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const probe = new URL('fabric/embedded-probe.js', options.code ?? CODE);
    const lock = await lockDirectory(options.directory, { create: true, probe }).catch(refuse);
    const supervisor = new Supervisor(options, () => lock.release());
    supervisor.#vigil.start();
    try {
      const [control, ...nodes] = supervisor.#children;
      // The control makes the hub; nodes would only wait for it.
      supervisor.#spawn(control!);
      for (const node of nodes) supervisor.#spawn(node);
      await supervisor.#untilReady();
      return supervisor;
    } catch (cause) {
      await supervisor.stop();
      throw cause;
    }
  }

  /** Address of the running control. */
  info(): Promise<ControlInfo> {
    return readControlInfo(this.directory);
  }

  /** Process ids of the children that run now, control first. */
  get pids(): readonly {
    readonly name: string;
    readonly pid: number;
    readonly nodeId: NodeId | undefined;
  }[] {
    return this.#children.flatMap(({ name, process, nodeId }) =>
      process?.pid === undefined ? [] : [{ name, pid: process.pid, nodeId }],
    );
  }

  /** Stops in good order: shards are stored, then all children end. */
  async stop(): Promise<void> {
    await this.#stop(true);
  }

  /** Ends the children at once, synchronously: what is not stored is lost. */
  killNow(): void {
    this.#stopping = true;
    this.#vigil.end();
    this.#release().catch(() => undefined);
    for (const { process, timer } of this.#children) {
      clearTimeout(timer);
      process?.kill('SIGKILL');
    }
    this.#resolveEnded();
  }

  async #stop(ask: boolean): Promise<void> {
    if (this.#stopping) {
      await this.ended;
      return this.#release();
    }
    this.#stopping = true;
    for (const child of this.#children) clearTimeout(child.timer);
    const [control, ...nodes] = this.#children;
    if (ask && control?.ready === true) await this.#shutDown();
    await Promise.all(nodes.map((node) => endChild(node.process, STOP_MS)));
    await endChild(control?.process, STOP_MS);
    this.#vigil.end();
    await this.#release();
    this.#resolveEnded();
  }

  #release(): Promise<void> {
    this.#unlocked ??= this.#unlock();
    return this.#unlocked;
  }

  async #shutDown(): Promise<void> {
    const client = ControlClient.forDirectory(this.directory, {
      patienceMs: 0,
      signal: AbortSignal.timeout(STOP_MS),
    });
    await client.shutdown().catch(() => undefined);
  }

  #spawn(child: Child): void {
    if (this.#stopping) return;
    child.startedMs = performance.now();
    child.ready = false;
    const script = fileURLToPath(new URL(child.program.script, this.#options.code ?? CODE));
    const started = fork(script, [...child.args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      detached: true,
      execArgv: [...child.program.engine],
    });
    child.process = started;
    let rest = '';
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(child, line);
    });
    started.on('message', (say: Say) => this.#onSay(child, say));
    started.on('error', (error) => {
      this.#heard(child, spawnTrouble(error));
      // No room for another process, or too many open files: there will be no end.
      if (started.pid === undefined) this.#onExit(child, started, null, null);
    });
    // Its last words are read by then.
    started.once('close', (code, signal) => this.#onExit(child, started, code, signal));
  }

  #heard(child: Child, line: string): void {
    if (line === '') return;
    child.lastLines.push(line);
    if (child.lastLines.length > LAST_LINES) child.lastLines.shift();
    this.#options.log?.(`${child.name}: ${line}`);
  }

  #onSay(child: Child, say: Say): void {
    if (say.kind === 'shutdown') {
      // A client asked: every shard is stored, the control ends by itself.
      void this.#stop(false);
      return;
    }
    child.ready = true;
    if (say.id !== undefined) child.nodeId = say.id;
    // What died while no control listened.
    else for (const id of this.#deadNodes) sayDead(child, id);
  }

  #onExit(
    child: Child,
    process: ChildProcess,
    code: number | null,
    signal: NodeJS.Signals | null,
  ): void {
    if (child.process !== process) return;
    child.process = undefined;
    child.ready = false;
    child.exits += 1;
    child.lastCode = code;
    child.lastEnd = howItEnded(code, signal);
    const { nodeId } = child;
    child.nodeId = undefined;
    if (this.#stopping) return;
    if (nodeId !== undefined) this.#tellDead(nodeId);
    const lived = performance.now() - child.startedMs;
    child.pauseMs = lived >= STEADY_MS ? RESTART_MS : Math.min(RESTART_MAX_MS, child.pauseMs * 2);
    this.#options.log?.(`${child.name}: ${child.lastEnd}, starting it again`);
    child.timer = setTimeout(() => this.#spawn(child), child.pauseMs);
  }

  #tellDead(id: NodeId): void {
    this.#deadNodes.push(id);
    if (this.#deadNodes.length > 100) this.#deadNodes.shift();
    const control = this.#children[0];
    if (control?.ready === true) sayDead(control, id);
  }

  async #untilReady(): Promise<void> {
    let waitedMs = 0;
    let nowMs = performance.now();
    while (!this.#children.every((child) => child.ready)) {
      const failing = this.#children.find((child) => !child.ready && hasFailed(child));
      if (failing !== undefined) throw startFailed(failing);
      if (waitedMs > START_MS) {
        throw notReady(this.#children.find((child) => !child.ready) ?? this.#children[0]!);
      }
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
      const beforeMs = nowMs;
      nowMs = performance.now();
      // P7: while this process stood still its children may have, too.
      waitedMs += Math.min(nowMs - beforeMs, READY_POLL_MAX_MS);
    }
  }
}

/** P6. */
export function workersEach(nodes: number, cores = availableParallelism()): number {
  return Math.max(1, Math.ceil(cores / nodes));
}

/** Whatever keeps a directory from being taken is said before anything has started. */
function refuse(cause: unknown): never {
  if (!(cause instanceof SherdError)) throw cause;
  const { code, message, at, next } = cause;
  throw new SherdError(code, message, { at, next, exitCode: EXIT.refused, cause });
}

function newChild(name: string, program: Program, args: readonly string[]): Child {
  return {
    name,
    program,
    args,
    process: undefined,
    nodeId: undefined,
    startedMs: 0,
    pauseMs: RESTART_MS / 2,
    timer: undefined,
    ready: false,
    lastLines: [],
    exits: 0,
    lastCode: null,
    lastEnd: '',
  };
}

/** A control that ends meanwhile hears of it when it has been started again. */
function sayDead(control: Child, id: NodeId): void {
  if (control.process !== undefined) void tell(control.process, { kind: 'node-dead', id });
}

function spawnTrouble(error: NodeJS.ErrnoException): string {
  const why = `no process can be started: ${error.code ?? error.message}`;
  const next = 'raise the limits of processes and open files (ulimit -u, ulimit -n)';
  return new SherdError('SHERD_LIMIT', why, { next }).toLine();
}

function howItEnded(code: number | null, signal: NodeJS.Signals | null): string {
  if (code === null && signal === null) return 'could not be started';
  return `ended (${signal ?? `exit ${code}`})`;
}

/** A second try follows the first end, except where the control itself has refused to start (a port in use …). */
function hasFailed(child: Child): boolean {
  return child.exits >= 2 || (child.name === CONTROL && child.lastCode === EXIT.refused);
}

function notReady(child: Child): SherdError {
  const last = child.lastLines.at(-1);
  const said = last === undefined ? '' : `; it says: ${last}`;
  const message = `${child.name} is not ready after ${START_MS / 1_000} s${said}`;
  return new SherdError('SHERD_TIMEOUT', message, {
    next: 'try again when the machine is less busy',
    exitCode: EXIT.failedLater,
  });
}

function startFailed(child: Child): SherdError {
  const { code, why, next } = reasonOf(child.lastLines, child.lastEnd);
  const exitCode = child.lastCode === EXIT.refused ? EXIT.refused : EXIT.failedLater;
  return new SherdError(code, `${child.name} does not start: ${why}`, { next, exitCode });
}
