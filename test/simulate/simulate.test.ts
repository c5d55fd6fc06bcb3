/**
 * The simulated cluster: hundreds of seeds, each with another mix of faults, all promises checked.
 *
 * SHERD_SEEDS=n runs n seeds of each profile; SHERD_SEED=s replays one seed of all of them with its log.
 */
import { describe, expect, it } from 'vitest';
import { EVERY_FAULT, NO_FAULTS } from '../../host/fabric/memory-faults.js';
import { type Report, type SimulateOptions, simulate } from '../../host/simulate/simulate.js';

const SEEDS = Number(process.env.SHERD_SEEDS ?? 50);
const ONE = process.env.SHERD_SEED;

/** Name → options; every profile meets its own kinds of trouble. */
const PROFILES: Record<string, SimulateOptions> = {
  'everything at once': {},
  'two nodes, so that shards come back to where they were lost': { nodes: 2, shards: 6 },
  'one node': { nodes: 1, shards: 4 },
  'a fabric at its worst': {
    nodes: 3,
    shards: 4,
    faultMs: 10_000,
    fabricFaults: { ...EVERY_FAULT, blobMissing: 0.05, blobDamaged: 0.05, blobFails: 0.05 },
  },
  'processes that die over a fabric that is sound': {
    nodes: 4,
    shards: 8,
    fabricFaults: { ...NO_FAULTS, latencyMs: [0.2, 4] },
  },
};

function complaint(report: Report): string {
  const log = ONE === undefined ? '' : `\n${report.log.join('\n')}`;
  return `seed ${report.seed}: ${report.faults.join('\n')}${log}`;
}

const sums = new Map<string, number>();

function addUp(report: Report): void {
  const { tally, injected, moves, restarts } = report;
  for (const [what, times] of Object.entries({ ...tally, ...injected, moves, restarts })) {
    sums.set(what, (sums.get(what) ?? 0) + times);
  }
}

describe('a simulated cluster', () => {
  it.each(Object.entries(PROFILES))(
    'keeps its promises: %s',
    async (_name, options) => {
      const seeds =
        ONE === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONE)];
      const failed: string[] = [];
      for (const seed of seeds) {
        const report = await simulate(seed, options);
        if (!report.ok) failed.push(complaint(report));
        addUp(report);
      }
      expect(failed).toEqual([]);
    },
    Math.max(600_000, SEEDS * 15_000),
  );

  it.skipIf(ONE !== undefined)('met everything that can go wrong', () => {
    const kinds = [
      ...[
        'node died',
        'death noticed',
        'move target lost',
        'control died',
        'two controls',
        'worker lost',
        'drained',
        'stopped',
      ],
      ...['node cut off', 'control cut off', 'move', 'pause', 'pause at fuel', 'resume', 'kill'],
      ...['action assign', 'action migrate', 'action recover', 'action preempt', 'action explain'],
      ...['action redirect', 'action cancel'],
      ...[
        'unknownApplied',
        'unknownLost',
        'unknownLate',
        'conflictBlind',
        'staleRead',
        'watchDelay',
      ],
      ...[
        'watchCoalesce',
        'watchResync',
        'blobMissing',
        'blobFails',
        'messageLost',
        'messageTwice',
        'partition',
      ],
      ...['moves', 'restarts'],
    ];
    expect(kinds.filter((kind) => (sums.get(kind) ?? 0) === 0)).toEqual([]);
  });

  it('replays: one seed gives one report', async () => {
    const first = await simulate(7);
    expect(await simulate(7)).toEqual(first);
    expect(first.changes).toBeGreaterThan(20);
  });

  it('without faults every shard runs through without a restart', async () => {
    const quiet = {
      processFaults: false,
      fabricFaults: { ...NO_FAULTS, latencyMs: [0.2, 4] as const },
    };
    const report = await simulate(3, { ...quiet, faultMs: 12_000 });
    expect([report.ok, report.restarts, report.done]).toEqual([true, 0, 5]);
  });
});
