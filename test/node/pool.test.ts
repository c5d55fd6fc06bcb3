/** The pool with threads that only the test moves: placing, losing, preparing, forcing. */
import { describe, expect, it, vi } from 'vitest';
import { type MakeThread, WorkerPool } from '../../host/node/pool.js';
import type {
  Run,
  TakeUp,
  WorkerCommand,
  WorkerError,
  WorkerReport,
} from '../../host/node/worker-messages.js';

class FakeThread {
  readonly commands: WorkerCommand[] = [];
  terminated = false;
  constructor(
    readonly report: (report: WorkerReport) => void,
    readonly died: (error: WorkerError) => void,
  ) {}
  of<K extends WorkerCommand['kind']>(kind: K): Extract<WorkerCommand, { kind: K }>[] {
    return this.commands.filter((command) => command.kind === kind) as never;
  }
}

function poolOf(workers: number) {
  const threads: FakeThread[] = [];
  const lost: Run[] = [];
  const makeThread: MakeThread = (_setup, events) => {
    const thread = new FakeThread(events.report, events.died);
    threads.push(thread);
    return {
      post: (command) => void thread.commands.push(command),
      terminate: async () => {
        thread.terminated = true;
      },
    };
  };
  const pool = new WorkerPool({
    workers,
    makeThread,
    report: () => undefined,
    lost: (run) => lost.push(run),
  });
  return { pool, threads, lost };
}

function takeUp(run: Run, moduleHash = 'm'): TakeUp {
  const nothing = new Uint8Array(0);
  return {
    run,
    shardId: `s-${run}`,
    moduleHash,
    specHash: 'spec',
    spec: nothing,
    capsule: null,
    staged: null,
    capsuleVerified: false,
    priority: 0,
  };
}

const MODULE = Uint8Array.of(1);
const ERROR: WorkerError = { code: 'SHERD_INTERNAL', message: 'x', at: null, next: null };

describe('WorkerPool', () => {
  it('places each run where least is to do, whatever share the others get', () => {
    const { pool, threads } = poolOf(2);
    for (const run of [1, 2, 3]) pool.load(pool.place(), takeUp(run), MODULE);
    expect(pool.runsByThread).toEqual([2, 1]);
    const state = { fuelUsed: 1n, memoryBytes: 0, ranMs: 0 };
    const running = {
      state,
      fuelPerSecond: 1,
      outputBytes: 0,
      safepoint: null,
      activity: 'running',
    } as const;
    threads[0]!.report({
      kind: 'progress',
      runs: [
        { run: 1, share: 0.5, ...running },
        { run: 3, share: 0.5, ...running },
      ],
    });
    threads[1]!.report({ kind: 'progress', runs: [{ run: 2, share: 1, ...running }] });
    expect(pool.place()).toBe(1);
    expect(pool.betterElsewhere(1)).toBe(false);
    threads[1]!.report({ kind: 'dropped', run: 2 });
    expect(pool.betterElsewhere(1)).toBe(true);
    // One at a time.
    expect(pool.betterElsewhere(3)).toBe(false);
  });

  it('says what its runs want: a core each, but for those that wait', () => {
    const { pool, threads } = poolOf(2);
    for (const run of [1, 2, 3]) pool.load(pool.place(), takeUp(run), MODULE);
    expect(pool.demand).toBe(3);
    const state = { fuelUsed: 1n, memoryBytes: 0, ranMs: 0 };
    const common = { state, fuelPerSecond: 1, outputBytes: 0, safepoint: null };
    threads[0]!.report({
      kind: 'progress',
      runs: [
        { run: 1, share: 0.5, activity: 'runnable', ...common },
        { run: 3, share: 0.25, activity: 'sleeping', ...common },
      ],
    });
    expect([pool.demand, pool.busy]).toEqual([2.25, 0.75]);
    threads[0]!.report({ kind: 'dropped', run: 1 });
    expect(pool.demand).toBe(1.25);
  });

  it('sends a module to a thread once, and again after a load that failed', () => {
    const { pool, threads } = poolOf(1);
    pool.load(0, takeUp(1), MODULE);
    pool.load(0, takeUp(2), undefined);
    expect(threads[0]!.of('prepare')).toHaveLength(1);
    threads[0]!.report({ kind: 'load-failed', run: 2, error: ERROR });
    expect(pool.isPrepared(0, 'm')).toBe(false);
    expect(() => pool.load(0, takeUp(3), undefined)).toThrow(/bytes/);
    pool.load(0, takeUp(3), MODULE);
    expect(threads[0]!.of('prepare')).toHaveLength(2);
  });

  it('loses only the runs of the thread that died, and puts another one in its place', () => {
    vi.useFakeTimers();
    try {
      const { pool, threads, lost } = poolOf(2);
      pool.load(0, takeUp(1), MODULE);
      pool.load(1, takeUp(2), MODULE);
      threads[0]!.died(ERROR);
      expect(lost).toEqual([1]);
      expect(pool.send(2, { kind: 'drop', run: 2 })).toBe(true);
      expect(pool.send(1, { kind: 'drop', run: 1 })).toBe(false);
      vi.advanceTimersByTime(1_000);
      expect(threads).toHaveLength(3);
      expect(pool.isPrepared(0, 'm')).toBe(false);
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not count a module as prepared in a thread that is not there', async () => {
    vi.useFakeTimers();
    try {
      const { pool, threads } = poolOf(1);
      threads[0]!.died(ERROR);
      await pool.prepare('m', async () => MODULE);
      expect(pool.isPrepared(0, 'm')).toBe(false);
      pool.load(0, takeUp(1), MODULE);
      expect(threads[1]!.commands.map((command) => command.kind)).toEqual(['prepare', 'load']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('ends a thread that does not answer a forced drop; one that answers stays', () => {
    vi.useFakeTimers();
    try {
      const { pool, threads, lost } = poolOf(2);
      pool.load(0, takeUp(1), MODULE);
      pool.load(0, takeUp(2), MODULE);
      pool.load(1, takeUp(3), MODULE);
      pool.drop(3, true);
      threads[1]!.report({ kind: 'dropped', run: 3 });
      pool.drop(1, true);
      vi.advanceTimersByTime(10_000);
      expect(threads.map((thread) => thread.terminated)).toEqual([true, false, false]);
      expect(lost.sort()).toEqual([1, 2]);
    } finally {
      vi.useRealTimers();
    }
  });
});
