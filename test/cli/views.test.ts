/** What `ps` says of a shard that runs: also when nothing is heard of it for long. */
import { describe, expect, it } from 'vitest';
import { renderShards } from '../../host/cli/views.js';
import type { ProgressView, ShardView } from '../../host/types/api.js';

function running(progress: Partial<ProgressView> | null): ShardView {
  const seen: ProgressView = {
    nodeId: 'n1',
    fuelUsed: '5000000',
    fuelPerSecond: 7_000,
    memoryBytes: 65_536,
    capsuleBytes: 0,
    safepoint: 'turn',
    activity: 'running',
    trouble: '',
    ageMs: 100,
  };
  return {
    id: 's-1',
    name: 'x.wasm',
    status: 'running',
    owner: 'n1',
    wanted: null,
    fuelUsed: '5000000',
    memoryBytes: 65_536,
    capsuleBytes: 0,
    moves: 0,
    exit: null,
    reason: '',
    progress: progress === null ? null : { ...seen, ...progress },
  } as ShardView;
}

/** The line of the shard, from its fuel on. */
function line(progress: Partial<ProgressView> | null): string {
  return renderShards([running(progress)])
    .split('\n')[1]!
    .replace(/ {2,}/g, ' | ')
    .trim();
}

describe('ps', () => {
  it('says where a running shard is, and how fast', () => {
    expect(line({})).toContain('7.00 k | 64.0 KiB | - | 0 | running in turn');
    expect(line({ safepoint: null })).toMatch(/\| running$/);
  });

  it('says that a shard passes no safepoint any more, and which was the last', () => {
    expect(line({ ageMs: 12_000 })).toMatch(
      /\| 0 \|.*\| no safepoint for 12\.00 s, the last in turn$/,
    );
    expect(line({ ageMs: 12_000, fuelUsed: '0', activity: 'runnable' })).toMatch(
      /\| no safepoint for 12\.00 s, none so far$/,
    );
  });

  it('does not call stuck what waits', () => {
    expect(line({ ageMs: 12_000, activity: 'sleeping' })).toMatch(
      /sleeping in turn, 12\.00 s ago$/,
    );
    expect(line({ ageMs: 12_000, trouble: 'disk full' })).toMatch(/tries again: disk full$/);
    expect(line(null)).toMatch(/\| no word from its node yet$/);
  });
});
