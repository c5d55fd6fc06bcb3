/**
 * The processes of one cluster as the operating system shows them, and what a hostile world does to them.
 *
 *   up ─┬─ control          found in /proc by the data directory in their arguments, so that also those are seen
 *       └─ node n1, n2 …    that nobody knows of any more
 *
 * Does: start `sherd up`, run verbs, find processes, send signals, wait until they are gone.
 * Does not: decide what is done when (faults.ts), or know shards.
 *
 * C1  Only processes that name this cluster's data directory are ever signalled.
 * C2  Whatever was stopped is continued, at the latest by `leave`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Patience, Stalled } from './patience.js';

export interface Verb {
  readonly args: readonly string[];
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Seen {
  readonly pid: number;
  readonly kind: 'up' | 'control' | 'node' | 'other';
  readonly text: string;
}

/** An end that is a finding, with the words for it. */
export class Finding extends Error {}

export class Processes {
  readonly data: string;
  readonly patience: Patience;
  #up: ChildProcess | undefined;
  #upSaid = '';
  readonly #stopped = new Set<number>();

  constructor(
    readonly root: string,
    /** Everything of this cluster lies in here. */
    readonly folder: string,
  ) {
    this.data = join(folder, 'data');
    this.patience = new Patience(folder);
  }

  /** `sherd ARGS…`, in processes as a user would start them. */
  start(args: readonly string[], stdin = ''): ChildProcess {
    const env = {
      ...process.env,
      SHERD_FABRIC: `embedded:${this.data}`,
      TMPDIR: this.folder,
    };
    const main = join(this.root, 'dist/cli/main.js');
    const child = spawn(process.execPath, [main, ...args], { cwd: this.folder, env });
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    return child;
  }

  verb(args: readonly string[], stillSMax?: number): Promise<Verb> {
    return this.#heard(this.start(args), args, stillSMax);
  }

  /** The same, but it is killed when it has not ended after so long. */
  async killedVerb(args: readonly string[], afterMs: number): Promise<Verb> {
    const child = this.start(args);
    const timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
    try {
      return await this.#heard(child, args);
    } finally {
      clearTimeout(timer);
    }
  }

  #heard(child: ChildProcess, args: readonly string[], stillSMax?: number): Promise<Verb> {
    const out: Buffer[] = [];
    let stderr = '';
    child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    const ended = new Promise<Verb>((resolve) => {
      child.once('close', (code, signal) =>
        resolve({ args, code, signal, stdout: Buffer.concat(out), stderr }),
      );
    });
    return this.patience
      .soon(`sherd ${args.join(' ')}`, ended, stillSMax)
      .catch((error: unknown) => {
        child.kill('SIGKILL');
        throw error;
      });
  }

  /** Starts `up`; resolves when it says that it runs. */
  async up(nodes: number, workers: number): Promise<void> {
    const child = this.launch(nodes, workers);
    await this.patience.untilDone('sherd up', () => {
      if (this.#upSaid.includes('stop ')) return undefined;
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Finding(
          `sherd up ended (${child.exitCode ?? child.signalCode}): ${this.#upSaid}`,
        );
      return this.#upSaid;
    });
  }

  /** Starts `up`, and does not wait for it. */
  launch(nodes: number, workers: number): ChildProcess {
    const size = ['--nodes', String(nodes), '--workers', String(workers)];
    const args = ['up', ...size, '--fabric', `embedded:${this.data}`];
    const child = this.start(args);
    this.#up = child;
    this.#upSaid = '';
    const hear = (bytes: Buffer): void => {
      if (this.#up === child) this.#upSaid += bytes.toString();
      appendFileSync(join(this.folder, 'up.log'), bytes);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    return child;
  }

  get isUp(): boolean {
    return this.#up !== undefined && this.#up.exitCode === null && this.#up.signalCode === null;
  }

  /** What `up` has said since its start. */
  get upSaid(): string {
    return this.#upSaid;
  }

  /** SIGTERM: it must end by itself, with code 0. */
  async term(): Promise<void> {
    this.#up?.kill('SIGTERM');
    const code = await this.#ended();
    if (code !== 0) throw new Finding(`after SIGTERM sherd up ended with ${code}: ${this.#upSaid}`);
  }

  async killUp(): Promise<void> {
    this.#up?.kill('SIGKILL');
    await this.#ended();
  }

  /** Waits for the end of `up`. */
  async #ended(): Promise<number | string> {
    const up = this.#up;
    if (up === undefined) return 0;
    await this.patience.untilDone('the end of sherd up', () =>
      up.exitCode === null && up.signalCode === null ? this.#upSaid : undefined,
    );
    return up.exitCode ?? up.signalCode ?? 'nothing';
  }

  async ended(): Promise<void> {
    await this.#ended();
  }

  /** Processes that name the data directory. */
  list(): Seen[] {
    const seen: Seen[] = [];
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const text = readOr(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim();
      if (!text.includes(`embedded:${this.data} `) && !text.endsWith(`embedded:${this.data}`))
        continue;
      if (/^State:\s*[ZX]/m.test(readOr(`/proc/${name}/status`))) continue;
      seen.push({ pid: Number(name), kind: kindOf(text), text });
    }
    return seen;
  }

  of(kind: Seen['kind']): number[] {
    return this.list()
      .filter((each) => each.kind === kind)
      .map(({ pid }) => pid);
  }

  signal(pid: number, signal: NodeJS.Signals): void {
    try {
      process.kill(pid, signal);
    } catch {
      return; // it was faster
    }
    if (signal === 'SIGSTOP') this.#stopped.add(pid);
    if (signal === 'SIGCONT') this.#stopped.delete(pid);
  }

  /** Waits until no process of the cluster is left. */
  async gone(): Promise<void> {
    await this.patience
      .untilDone('the end of all processes', () => {
        const left = this.list();
        return left.length === 0
          ? undefined
          : left.map((each) => `${each.pid} ${each.text}`).join('; ');
      })
      .catch((error: unknown) => {
        throw error instanceof Stalled
          ? new Finding(`processes are left: ${error.message}`)
          : error;
      });
  }

  /** Ends whatever is left (C2). */
  async leave(): Promise<void> {
    for (const pid of this.#stopped) this.signal(pid, 'SIGCONT');
    for (const { pid } of this.list()) this.signal(pid, 'SIGKILL');
    if (this.isUp) await this.killUp();
  }
}

function kindOf(text: string): Seen['kind'] {
  if (text.includes('control/main.js')) return 'control';
  if (text.includes('node/main.js')) return 'node';
  return text.includes('main.js up ') ? 'up' : 'other';
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
