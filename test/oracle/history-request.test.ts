/**
 * What a shard asks for, as groups and numbers, and the oracle's answers that rest on it.
 */
import { describe, expect, it } from 'vitest';
import { plainSpec } from '../../benchmarks/lib/guest.js';
import { PROGRAM_RUNGS, requestOf } from '../../host/oracle/history-request.js';
import { endedShard, Oracle } from '../../host/oracle/oracle.js';
import type { ShardSpec } from '../../host/types/host.js';

const SPEC = plainSpec(
  { moduleHash: 'm' },
  {
    programName: 'render',
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: ['render', '-o', 'a.png', '960', '540', '6'],
  },
);
const FILE = {
  kind: 'file',
  mtimeNs: 0n,
  bytes: 1_000,
  chunks: [{ hash: 'c', bytes: 1_000 }],
  executable: false,
} as const;
const DIRS = [
  {
    guestPath: '/data',
    readOnly: true,
    root: {
      kind: 'dir',
      mtimeNs: 0n,
      entries: [
        ['a', FILE],
        ['b', { kind: 'dir', mtimeNs: 0n, entries: [['c', FILE]] }],
        ['d', { kind: 'symlink', mtimeNs: 0n, target: 'a' }],
      ],
    },
  },
] as const;

describe('request of a shard', () => {
  const base = requestOf('m', SPEC);

  it('numbers: bytes of input, then those among the arguments', () => {
    expect(base.numbers).toEqual([0, 960, 540, 6]);
    const stdin = [
      { hash: 'x', bytes: 70 },
      { hash: 'y', bytes: 7 },
    ];
    expect(requestOf('m', { ...SPEC, stdin, dirs: DIRS }).numbers[0]).toBe(2_077);
    const args = ['p', '-5', '1e3', '.5', '5x', '', 'NaN', '1', '2', '3', '4'];
    expect(requestOf('m', { ...SPEC, args }).numbers).toEqual([0, 5, 1_000, 0.5, 1, 2]);
  });

  it('an argument of any length is looked at once, and what is no finite number is a word', () => {
    const digits = '1'.repeat(130_000);
    const args = ['p', `${digits}x`, digits, '1e999', '7'];
    expect(requestOf('m', { ...SPEC, args }).numbers).toEqual([0, 7]);
  });

  it.each<[string, Partial<ShardSpec>, readonly boolean[]]>([
    ['nothing', {}, [true, true, true, true]],
    ['the seed', { seed: '1'.repeat(32) }, [true, true, true, true]],
    ['a number', { args: ['render', '-o', 'a.png', '96', '54', '6'] }, [false, true, true, true]],
    ['a word', { args: ['render', '-o', 'b.png', '960', '540', '6'] }, [false, false, true, true]],
    ['the name', { args: ['other', '-o', 'a.png', '960', '540', '6'] }, [true, true, true, true]],
    ['input', { stdin: [{ hash: 'x', bytes: 9 }] }, [false, true, true, true]],
    ['a directory', { dirs: DIRS }, [false, true, true, true]],
    ['a variable', { env: ['A=1'] }, [false, true, true, true]],
    ['the entry', { entry: 'main' }, [false, false, false, true]],
    ['its arguments', { entryArgs: new Uint8Array(8) }, [false, true, true, true]],
  ])('another value of %s is another group, as far as it says', (_, change, same) => {
    const { groups } = requestOf('m', { ...SPEC, ...change });
    expect(groups).toHaveLength(PROGRAM_RUNGS);
    expect(groups.map((name, rung) => name === base.groups[rung])).toEqual(same);
  });

  it('arguments that are joined otherwise are others', () => {
    const joined = requestOf('m', { ...SPEC, args: ['render', '-oa.png', '960', '540', '6'] });
    expect(joined.groups[1]).not.toBe(base.groups[1]);
  });

  it('without a spec, or of another module: the module alone', () => {
    const unknown = requestOf('m', undefined);
    expect(unknown.numbers).toEqual([]);
    expect(unknown.groups[3]).toBe(base.groups[3]);
    expect(new Set([...unknown.groups, ...base.groups]).size).toBe(5);
    const other = requestOf('n', { ...SPEC, moduleHash: 'n' });
    expect(other.groups.some((name) => base.groups.includes(name))).toBe(false);
  });
});

describe('the oracle, of programs', () => {
  const asks = (steps: number) => requestOf('m', { ...SPEC, args: ['p', `${steps}`] });
  const end = (oracle: Oracle, at: number, steps: number): void => {
    oracle.beginShard(`s${at}`, asks(steps));
    oracle.observeEnd('m', at, BigInt(steps) * 9n, {
      shardId: `s${at}`,
      ranMs: steps / 10,
      memoryBytes: 65_536,
    });
  };

  it('needs of a shard by its numbers: fuel, time and memory', () => {
    const oracle = new Oracle();
    for (let at = 0; at < 30; at++) end(oracle, at, 100 + ((at * 37) % 31) * 100);
    const { fuel, ranMs, memoryBytes, model, samples } = oracle.needs('m', 0, asks(10_000));
    expect(model).toBe('history');
    expect(samples).toBeGreaterThan(10);
    expect(fuel!.p50 / 90_000).toBeCloseTo(1, 1);
    expect(ranMs!.p50 / 1_000).toBeCloseTo(1, 1);
    expect(memoryBytes.p50).toBe(65_536);
    expect(oracle.needs('m', 1_000_000, asks(10_000)).memoryBytes.p50).toBe(1_000_000);
  });

  it('outlook of a shard that has begun: by what it asked for, memory too', () => {
    const oracle = new Oracle();
    for (let at = 0; at < 30; at++) end(oracle, at, 100 + ((at * 37) % 31) * 100);
    oracle.beginShard('now', asks(2_000));
    oracle.beginShard('now', asks(9));
    const sample = {
      shardId: 'now',
      atMs: 99,
      fuelUsed: 9_000n,
      fuelPerSecond: 900,
      memoryBytes: 131_072,
      capsuleBytes: 0,
    };
    oracle.observeShard('m', sample);
    const { remainingFuel, remainingMs, memoryBytes } = oracle.outlook('m', sample);
    expect(remainingFuel!.p50 / 9_000).toBeCloseTo(1, 1);
    expect(remainingMs!.p50 / 10_000).toBeCloseTo(1, 1);
    expect(memoryBytes!.p50).toBeGreaterThanOrEqual(131_071);
  });

  it('what was restored answers the same', () => {
    const oracle = new Oracle();
    for (let at = 0; at < 10; at++) end(oracle, at, 100 * (at + 1));
    const saved = JSON.parse(JSON.stringify(oracle.saveHistory())) as unknown;
    const again = new Oracle(undefined, Oracle.restoredHistory(saved));
    expect(again.needs('m', 0, asks(550))).toEqual(oracle.needs('m', 0, asks(550)));
  });

  it.each([
    ['exit', true],
    ['trap', true],
    ['killed', false],
    ['fuel-quota', false],
    ['failed', false],
  ] as const)('a shard that ended by %s ended by itself: %s', (reason, ended) => {
    const record = { id: 's', ranMs: 5, memoryBytes: 6 };
    expect(endedShard(record, { reason })).toEqual({
      shardId: 's',
      ranMs: 5,
      memoryBytes: 6,
      ended,
    });
  });

  it('a shard that is gone is forgotten', () => {
    const oracle = new Oracle();
    oracle.beginShard('s', asks(1));
    oracle.forgetShard('s');
    expect(oracle.saveHistory().onTheWay).toEqual([]);
  });

  it('shards on the way are known by name, those of a restored state too, until they end', () => {
    const oracle = new Oracle();
    oracle.beginShard('s', asks(1));
    oracle.beginShard('t', asks(2));
    const saved = JSON.parse(JSON.stringify(oracle.saveHistory())) as unknown;
    const again = new Oracle(undefined, Oracle.restoredHistory(saved));
    expect(again.shardsOnTheWay).toEqual(['s', 't']);
    again.observeEnd('m', 1, 5n, { shardId: 's' });
    again.saveHistory();
    expect(again.shardsOnTheWay).toEqual(['t']);
  });
});
