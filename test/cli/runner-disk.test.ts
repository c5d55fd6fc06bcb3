/** A run that is to pause after a time: by its node's count, and in a cluster whose disk is full for a while. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepMoving } from '../../host/cli/follow.js';
import { parseRunSettings } from '../../host/cli/run-options.js';
import { type Job, runJob } from '../../host/cli/runner.js';
import type { Session } from '../../host/cli/session.js';
import type { ControlClient, OutputPieceAt } from '../../host/control/client.js';
import type { InspectReply, NodeView, ShardView } from '../../host/types/api.js';
import { SherdError } from '../../host/types/errors.js';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'sherd-runner-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function full(): SherdError {
  return new SherdError('SHERD_DISK', 'the disk is full; nothing was stored', {
    at: '/full',
    next: 'sherd du',
  });
}

function view(status: ShardView['status']): ShardView {
  const exit =
    status === 'done'
      ? { reason: 'exit', code: 7, message: '', guestStack: [], results: [] }
      : null;
  return {
    id: 's-1',
    status,
    exit,
    owner: 'n1',
    wanted: null,
    capsule: null,
    fuelUsed: '1',
    capsuleBytes: 0,
    moves: 0,
    restarts: 0,
    output: { head: null, chunks: 0, bytes: 0 },
  } as unknown as ShardView;
}

/** How long its node says that it has run, or what keeps it from being told. */
type Answer = number | 'no place' | 'no answer';

/** A cluster with one shard, which runs until a pause has been asked for with success. */
class Cluster {
  pauses = 0;
  refusals = 0;
  /** What is answered each time that somebody asks how long it has run; then the node is silent. */
  ranMs: Answer[] = [];
  questions = 0;
  #paused!: () => void;
  readonly #asked = new Promise<void>((resolve) => {
    this.#paused = resolve;
  });

  async pause(): Promise<ShardView> {
    this.pauses++;
    if (this.refusals-- > 0) throw full();
    this.#paused();
    return view('running');
  }
  async inspect(): Promise<InspectReply> {
    const ranMs = this.ranMs[this.questions++];
    if (ranMs === undefined) return { source: 'silent', nodeId: 'n1', waitedMs: 1 };
    if (ranMs === 'no place') return { source: 'none', why: 'nothing of it is stored yet' };
    if (ranMs === 'no answer') throw new Error('the control starts again');
    const figures = { fuelUsed: '1', fuelPerSecond: 1, memoryBytes: 0, guestStack: [] };
    return { source: 'live', nodeId: 'n1', activity: 'running', ...figures, ranMs };
  }
  async *watch(): AsyncGenerator<ShardView> {
    yield view('running');
    await this.#asked;
    // It comes to its end before it could be stopped: what this is about is that it was waited for.
    yield view('done');
  }
  /** Nothing, to the end. */
  output(): AsyncIterable<OutputPieceAt> {
    const next = async (): Promise<IteratorResult<OutputPieceAt>> => {
      await this.#asked;
      return { done: true, value: undefined };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }
}

function sessionOf(cluster: Cluster, isPrivate: boolean): Session {
  return {
    client: cluster as unknown as ControlClient,
    directory: root,
    isPrivate,
    end: async () => undefined,
    keep: async () => root,
    endNow: () => undefined,
  };
}

function jobOf(submit: () => Promise<string>): Job {
  const prepare: Job['prepare'] = async (context) => () => context.submit(submit);
  return { at: 'prog.wasm', prepare, finish: async () => undefined };
}

const settings = () =>
  parseRunSettings({ pauseAfter: '1ms', output: join(root, 'x.capsule'), quiet: true });

describe('a pause after a time', () => {
  const run = async (ranMs: Answer[]): Promise<Cluster> => {
    const cluster = new Cluster();
    cluster.ranMs = ranMs;
    const session = async (): Promise<Session> => sessionOf(cluster, true);
    await runJob(
      jobOf(async () => 's-1'),
      settings(),
      session,
    );
    return cluster;
  };

  it('is asked for when its node says that it has run so long, not when the clock does', async () => {
    const { questions, pauses } = await run([0, 0.5, 0.999, 1]);
    expect([questions, pauses]).toEqual([4, 1]);
  });

  it('waits while the shard has no place, in which it does not run', async () => {
    const { questions, pauses } = await run([0, 'no place', 0.5, 1]);
    expect([questions, pauses]).toEqual([4, 1]);
  });

  it('goes by the clock when nobody answers, but not at the first time', async () => {
    const answered = await run([0, 'no answer', 'no answer', 0.5, 1]);
    expect([answered.questions, answered.pauses]).toEqual([5, 1]);
    const { questions, pauses } = await run(['no answer', 'no answer', 'no answer', 0]);
    expect([questions, pauses]).toEqual([3, 1]);
  });

  it('goes by the clock when its node is silent', async () => {
    const { questions, pauses } = await run([0]);
    expect([questions, pauses]).toEqual([2, 1]);
  });
});

describe('a full disk', () => {
  it('puts off a pause and ends no run', async () => {
    const cluster = new Cluster();
    cluster.refusals = 2;
    const code = await runJob(
      jobOf(async () => 's-1'),
      settings(),
      async () => sessionOf(cluster, true),
    );
    expect(code).toBe(7);
    expect(cluster.pauses).toBe(3);
  });

  it('before the program has been taken refuses it, and says what else can be done', async () => {
    const refused = (isPrivate: boolean): Promise<number> =>
      runJob(
        jobOf(async () => {
          throw full();
        }),
        settings(),
        async () => sessionOf(new Cluster(), isPrivate),
      );
    await expect(refused(true)).rejects.toMatchObject({
      code: 'SHERD_DISK',
      exitCode: 2,
      next: expect.stringContaining('TMPDIR=DIR'),
    });
    await expect(refused(false)).rejects.toMatchObject({ exitCode: 2, next: 'sherd du' });
  });

  it('puts off a move', async () => {
    const abort = new AbortController();
    let moves = 0;
    const client = {
      nodes: async () => ['n1', 'n2'].map((id) => ({ node: { id }, alive: true }) as NodeView),
      move: async () => {
        if (++moves === 3) abort.abort();
        throw full();
      },
    } as unknown as ControlClient;
    await keepMoving(client, 's-1', 1, () => view('running'), abort.signal);
    expect(moves).toBe(3);
  });
});
