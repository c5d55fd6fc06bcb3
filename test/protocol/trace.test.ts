/** The workflow's steps, as lines. */
import { describe, expect, it } from 'vitest';
import { Trace } from '../../host/protocol/trace.js';
import type { BrainAction, BrainEvent, TraceEvent } from '../../host/types/brain.js';
import type { ShardRecord } from '../../host/types/records.js';
import { forecastOf, HASH, node, owned, queued } from './records.js';

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;
const lines = (events: readonly TraceEvent[]): string[] => events.map((e) => `${e.step} ${e.what}`);

class Seen {
  readonly trace = new Trace();
  #revision = 0;
  of(event: Untimed<BrainEvent>, actions: BrainAction[] = []): string[] {
    return lines(this.trace.of({ ...event, nowMs: 5 } as BrainEvent, actions));
  }
  shard(record: ShardRecord): string[] {
    this.#revision += 1;
    return this.of({ kind: 'shard', seen: { record, revision: this.#revision } });
  }
}

describe('trace', () => {
  it('says that a shard ran when its record went from assigned to its end between two looks', () => {
    const ended = { message: '', guestStack: [], results: new Uint8Array(0) };
    const exit = { reason: 'exit', code: 0, ...ended } as const;
    const ends: [Partial<ShardRecord>, string[]][] = [
      [{ status: 'done', owner: null, fuelUsed: 7n, exit }, ['5 runs', '5 ended']],
      [
        { status: 'paused', owner: null, fuelUsed: 7n, capsule: HASH(1) },
        ['5 runs', '7 captured', '5 paused'],
      ],
      // Killed before it ran.
      [{ status: 'done', owner: null, fuelUsed: 0n, exit }, ['5 ended']],
    ];
    for (const [end, wanted] of ends) {
      const seen = new Seen();
      seen.shard(queued());
      const assigned = owned('a', 1);
      expect(seen.shard(assigned)).toEqual([]);
      expect(seen.shard({ ...assigned, ...end })).toEqual(wanted);
    }
  });

  it('shows a life from input to end, each change once', () => {
    const seen = new Seen();
    const base = queued();
    expect(seen.shard(base)).toEqual(['1 received']);
    expect(seen.shard(base)).toEqual([]);
    expect(
      lines(seen.trace.decomposed(5, 's-1', { shards: 1, candidates: 3, instructions: 9 })),
    ).toEqual(['2 decomposed']);
    expect(
      lines(seen.trace.predicted(5, 's-1', { memoryBytes: 1, samples: 0, model: 'guess' })),
    ).toEqual(['3 predicted']);
    const fuel = { p50: 2_345_678, p90: 3_000_000, p99: 4_000_000 };
    const past = { memoryBytes: 1_048_576, samples: 7, model: 'history', fuel };
    expect(seen.trace.predicted(5, 's-1', past)[0]?.detail).toBe(
      '1.0 MiB of memory, 2.35e+6 fuel (P99 4.00e+6) (history, 7 samples)',
    );
    const assign = {
      kind: 'assign',
      id: 'x',
      shardId: 's-1',
      revision: 1,
      node: 'a',
      why: 'w',
    } as const;
    expect(seen.of({ kind: 'tick' }, [assign])).toEqual(['4 assign']);
    expect(seen.shard(owned('a', 1))).toEqual([]);
    const running = owned('a', 1, { status: 'running' });
    expect(seen.shard(running)).toEqual(['5 runs']);
    const committed = { ...running, capsule: HASH(1), fuelUsed: 5n };
    expect(seen.shard(committed)).toEqual(['7 captured']);
    expect(
      seen.shard({ ...committed, wanted: { op: 'move', actionId: 'm', target: 'b' } }),
    ).toEqual([]);
    const moved = {
      ...committed,
      status: 'assigned',
      owner: 'b',
      epoch: 2,
      moves: 1,
      capsule: HASH(2),
    } as const;
    expect(seen.shard(moved)).toEqual(['7 captured', '7 moved']);
    expect(seen.shard({ ...moved, status: 'running' })).toEqual(['7 resumed', '5 runs']);
    const lost = { ...moved, status: 'queued', owner: null, epoch: 3, restarts: 1 } as const;
    expect(seen.shard(lost)).toEqual(['7 recovered']);
    expect(seen.shard({ ...lost, status: 'paused' })).toEqual(['5 paused']);
    expect(seen.shard({ ...lost, status: 'done', capsule: null })).toEqual(['5 ended']);
    expect(seen.of({ kind: 'shard-gone', shardId: 's-1' })).toEqual(['5 removed']);
    expect(seen.of({ kind: 'shard-gone', shardId: 's-1' })).toEqual([]);
  });

  it('a bottleneck is announced once, and over once it is clearly over', () => {
    const seen = new Seen();
    const at = (contention: number): string[] =>
      seen.of({ kind: 'forecast', forecast: forecastOf('a', contention) });
    const said = [0.2, 0.6, 0.9, 0.4, 0.6, 0.1, 0.2].flatMap(at);
    expect(said).toEqual(['6 bottleneck predicted', '6 bottleneck over']);
    expect(seen.of({ kind: 'node', seen: { record: node('a'), revision: 1 } })).toEqual([
      '6 watching',
    ]);
    expect(seen.of({ kind: 'node', seen: { record: node('a'), revision: 2 } })).toEqual([]);
    expect(seen.of({ kind: 'node-dead', nodeId: 'a' })).toEqual(['6 lost']);
    expect(seen.of({ kind: 'node-gone', nodeId: 'a' })).toEqual([]);
  });

  it('says once for all nodes that their machine has too few cores, and for each that it has too few workers', () => {
    const seen = new Seen();
    const machine = { id: 'm', cores: 2 };
    const at = (nodeId: string, contention: number, crowded = false): [string, string | null][] => {
      const forecast = forecastOf(nodeId, contention, 0, { machine, crowded });
      return seen.trace
        .of({ kind: 'forecast', nowMs: 1, forecast }, [])
        .map(({ what, nodeId: id }) => [what, id]);
    };
    expect(at('a', 0.9)).toEqual([['bottleneck predicted', 'a']]);
    expect(at('b', 0.9)).toEqual([]);
    expect(at('b', 0.9, true)).toEqual([['bottleneck predicted', 'b']]);
    expect(at('b', 0.2, true)).toEqual([['bottleneck over', 'b']]); // the machine's
    expect(at('a', 0.2)).toEqual([]);
    expect(at('b', 0.2)).toEqual([['bottleneck over', 'b']]);
    // With the last node that was on it, what is known of a machine is gone.
    expect(at('a', 0.9)).toHaveLength(1);
    seen.of({ kind: 'node-dead', nodeId: 'a' });
    expect(at('b', 0.9)).toEqual([]);
    seen.of({ kind: 'node-dead', nodeId: 'b' });
    expect(at('c', 0.9)).toEqual([['bottleneck predicted', 'c']]);
  });

  it('says when shards begin and cease to take turns', () => {
    const seen = new Seen();
    let revision = 0;
    const at = (runnable: number): string[] => {
      const record = node('a', { workers: 2, sample: { ...node('a').sample, runnable } });
      revision += 1;
      return seen.of({ kind: 'node', seen: { record, revision } });
    };
    expect([1, 2, 2.3, 2.5, 4, 2.2, 2, 3].map(at)).toEqual([
      ['6 watching'],
      [],
      [],
      ['7 preempt by quantum'],
      [],
      [],
      ['7 turns over'],
      ['7 preempt by quantum'],
    ]);
    seen.of({ kind: 'node-dead', nodeId: 'a' });
    expect(at(4)).toEqual(['6 watching', '7 preempt by quantum']);
  });

  it('says what a new control found, and the failure rate when it changes', () => {
    const { trace } = new Seen();
    const records = [queued('a'), owned('n', 1, { id: 'b' }), queued('c', { status: 'paused' })];
    const [began] = trace.began(3, records);
    expect(began).toMatchObject({ step: 6, detail: '1 shard(s) run, 1 wait, 1 paused, 0 done' });
    expect(trace.rated(4, null, 86_400_000)).toEqual([]);
    expect(trace.rated(5, 'n', 43_200_000)).toMatchObject([
      { what: 'failure rate', detail: 'a node fails every 12.0 h: checkpoints follow' },
    ]);
    expect(trace.rated(6, 'n', 43_300_000)).toEqual([]);
  });

  it('numbers its lines and names who is concerned', () => {
    const { trace } = new Seen();
    const base = { id: 'x', shardId: 's-1', revision: 1, why: 'because' } as const;
    const actions: BrainAction[] = [
      { kind: 'explain', ...base },
      { kind: 'preempt', ...base, by: 's-2' },
      { kind: 'migrate', ...base, target: 'b' },
      { kind: 'recover', ...base, lost: 'a' },
      { kind: 'redirect', ...base, lost: 'a', node: 'b' },
      { kind: 'cancel', ...base, request: 'm' },
    ];
    const events = trace.of({ kind: 'tick', nowMs: 7 }, actions);
    expect(events.map((e) => [e.seq, e.atMs, e.step, e.nodeId])).toEqual([
      [1, 7, 4, null],
      [2, 7, 7, null],
      [3, 7, 7, 'b'],
      [4, 7, 7, 'a'],
      [5, 7, 7, 'b'],
      [6, 7, 7, null],
    ]);
    expect(events[1]?.detail).toContain('s-2');
  });
});
