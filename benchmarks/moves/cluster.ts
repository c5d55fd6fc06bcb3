/**
 * Shards and moves in a cluster of real processes, as a client sees them.
 *
 * Does: start the cluster, submit programs, move them there and back, say what each move took.
 * Does not: judge.
 *
 *     client            control           source                          target
 *       │ move ──HTTP──▶ │ record, hint ─▶ │ worker stops the guest
 *       ├──────────── pauseMs ───────────▶ ●
 *                                          │ capture, encode, store, hand over ──▶ │ fetch, restore
 *                                          ●──────────────── downMs ──────────────▶● runs
 */
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { buildSpec, submitJob, Uploader } from '../../host/cli/job.js';
import { openSession } from '../../host/cli/open-session.js';
import type { LoadedProgram } from '../../host/cli/program.js';
import { Progress } from '../../host/cli/progress.js';
import { parseRunSettings } from '../../host/cli/run-options.js';
import type { Session } from '../../host/cli/session.js';
import type { ControlClient } from '../../host/control/client.js';
import type { MoveEntry, PauseEntry } from '../../host/types/api.js';
import { compileGuest } from '../lib/guest.js';

const PATIENCE_MS = 60_000;
const TICK_MS = 20;
/** Nothing is asked so long after a request for a move: asking would compete with it. */
const UNDISTURBED_MS = 50;

export interface ObservedMove extends MoveEntry {
  /** The client's request → the guest stands still. */
  readonly pauseMs: number;
}

export interface ObservedPause extends PauseEntry {
  /** The client's request → the guest stands still. */
  readonly pauseMs: number;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
    await sleep(TICK_MS);
  }
}

export class BenchCluster {
  private constructor(
    private readonly session: Session,
    readonly nodes: readonly string[],
  ) {}

  static async start(nodes: number): Promise<BenchCluster> {
    // A worker for each core in every node, as in a cluster of machines: the shard that moves shares none that has a free one beside it.
    const workers = String(availableParallelism());
    const settings = parseRunSettings({ nodes: String(nodes), workers, quiet: true });
    const session = await openSession(settings, {
      progress: new Progress({ quiet: true }),
      signal: new AbortController().signal,
      remark: (text) => console.error(text),
    });
    const ids = await until('nodes', async () => {
      const views = await session.client.nodes();
      return views.length >= nodes ? views.map(({ node }) => node.id).sort() : undefined;
    });
    return new BenchCluster(session, ids);
  }

  get client(): ControlClient {
    return this.session.client;
  }

  async end(): Promise<void> {
    await this.session.end();
  }

  /** Submits, and waits until it runs and has been seen running. */
  async submit(program: LoadedProgram, args: readonly string[]): Promise<string> {
    const { client } = this;
    const settings = parseRunSettings({ stdin: '/dev/null', quiet: true });
    const uploader = new Uploader(client);
    const spec = await buildSpec(program, program.name, args, settings, uploader, () => undefined);
    const id = await submitJob(client, uploader, program, spec, settings);
    await this.running(id);
    return id;
  }

  async running(id: string, owner?: string): Promise<void> {
    await until(`shard ${id} runs`, async () => {
      const view = await this.client.shard(id);
      const here = owner === undefined || view.owner === owner;
      return view.status === 'running' && here && view.progress !== null ? true : undefined;
    });
  }

  /** Moves the shard to another node and waits until both halves of the move are known. */
  async move(id: string, target: string): Promise<ObservedMove> {
    const { client } = this;
    const before = (await client.moves(id)).length;
    const askedNs = process.hrtime.bigint();
    await client.move(id, { target });
    await sleep(UNDISTURBED_MS);
    const entry = await until(`move of ${id}`, async () => {
      const moves = await client.moves(id);
      const last = moves.length > before ? moves[moves.length - 1] : undefined;
      return last !== undefined && last.downMs !== null ? last : undefined;
    });
    return { ...entry, pauseMs: Number(BigInt(entry.stoppedNs) - askedNs) / 1e6 };
  }

  /** Pauses the shard, waits until it is stored, and lets it go on. */
  async pause(id: string): Promise<ObservedPause> {
    const { client } = this;
    const askedNs = process.hrtime.bigint();
    await client.pause(id);
    await sleep(UNDISTURBED_MS);
    const entry = await until(`pause of ${id}`, async () => {
      const last = await client.lastPause(id);
      return last !== null && BigInt(last.stoppedNs) > askedNs ? last : undefined;
    });
    await client.resume(id);
    await this.running(id);
    return { ...entry, pauseMs: Number(BigInt(entry.stoppedNs) - askedNs) / 1e6 };
  }

  async kill(id: string): Promise<void> {
    await this.client.kill(id);
    await until(`end of ${id}`, async () =>
      (await this.client.shard(id)).status === 'done' ? true : undefined,
    );
    await this.client.remove(id);
  }
}

/** An AssemblyScript program of the project, as the command line would have loaded it. */
export async function loadGuest(root: string, path: string): Promise<LoadedProgram> {
  const module = await compileGuest(root, path);
  return { name: basename(path, '.ts'), module, diagnostics: '', cached: false };
}

export { sleep };
