/** The dependency graph: reach, cycles, cost, candidates. */
import { describe, expect, it } from 'vitest';
import { decompose } from '../../host/generator/decompose.js';
import type { FunctionInfo } from '../../host/types/module.js';

function fn(index: number, change: Partial<FunctionInfo> = {}): FunctionInfo {
  return {
    index,
    name: `f${index}`,
    localNames: new Map(),
    params: [],
    results: [],
    instrumented: true,
    slots: [],
    safepoints: [],
    calls: [],
    indirectCalls: false,
    loops: 0,
    loopDepth: 0,
    instructions: 10,
    readsMemory: false,
    writesMemory: false,
    ...change,
  };
}

function moduleOf(functions: FunctionInfo[], entry = 0) {
  return {
    functions,
    imports: [],
    exports: new Map([['main', entry]]),
    memory: { minPages: 2, maxPages: undefined },
  };
}
const cost = (functions: FunctionInfo[]): number =>
  decompose(moduleOf(functions), 'main').shards[0]?.estimate.instructions ?? 0;

describe('decompose', () => {
  it('gives the whole program as one shard, with its estimate', () => {
    const { shards } = decompose(moduleOf([fn(0, { calls: [1] }), fn(1), fn(2)]), 'main');
    expect(shards).toEqual([
      {
        entry: 'main',
        estimate: { instructions: 20, memoryBytes: 131_072, functions: 2, indirect: false },
      },
    ]);
  });

  it('loops multiply what is in them, and what they call', () => {
    expect(cost([fn(0, { loops: 1, loopDepth: 1 })])).toBe(160);
    expect(cost([fn(0, { loops: 2, loopDepth: 2 })])).toBe(2_560);
    expect(cost([fn(0, { loops: 1, loopDepth: 1, calls: [1] }), fn(1)])).toBe(320);
  });

  it('a cycle counts as one node, its members together', () => {
    expect(cost([fn(0, { calls: [0] })])).toBe(160);
    expect(
      cost([fn(0, { calls: [1] }), fn(1, { calls: [2] }), fn(2, { calls: [1, 3] }), fn(3)]),
    ).toBe(10 + 16 * 30);
  });

  it('what is shared counts for every caller, and calls of imports cost one', () => {
    expect(
      cost([
        fn(0, { calls: [1, 2] }),
        fn(1, { calls: [3] }),
        fn(2, { calls: [3] }),
        fn(3, { calls: [99] }),
      ]),
    ).toBe(52);
  });

  it('lists the functions with loops, dearest first, with their share', () => {
    const { candidates } = decompose(
      moduleOf([
        fn(0, { calls: [1, 2], instructions: 0 }),
        fn(1, { loops: 1, loopDepth: 1, name: undefined }),
        fn(2, { loops: 1, loopDepth: 3, writesMemory: true }),
        fn(3, { loops: 5, loopDepth: 5 }),
      ]),
      'main',
    );
    expect(candidates.map((c) => [c.func, c.name, c.writesMemory])).toEqual([
      [2, 'f2', true],
      [1, 'function 1', false],
    ]);
    expect(candidates.reduce((sum, c) => sum + c.share, 0)).toBeCloseTo(1);
  });

  it('follows indirect calls to everything that nobody calls directly, and says that it is not sure', () => {
    const graph = [fn(0, { indirectCalls: true }), fn(1), fn(2, { calls: [3] }), fn(3)];
    expect(decompose(moduleOf(graph), 'main').shards[0]?.estimate).toMatchObject({
      functions: 4,
      indirect: true,
    });
  });

  it('stays finite, and does not recurse, on long chains and deep loops', () => {
    const n = 50_000;
    const chain = Array.from({ length: n }, (_, i) =>
      fn(i, { calls: i + 1 < n ? [i + 1] : [0], loops: 1, loopDepth: 40 }),
    );
    expect(Number.isFinite(cost(chain))).toBe(true);
    const line = chain.map((info, i) => ({ ...info, calls: i + 1 < n ? [i + 1] : [] }));
    const result = decompose(moduleOf(line), 'main');
    expect(result.candidates.length).toBe(20);
    expect(result.candidates.every((c) => c.share >= 0 && c.share <= 1)).toBe(true);
  });

  it('an entry that is not there gives an empty shard, not an error', () => {
    expect(decompose(moduleOf([fn(0)]), 'other').shards[0]?.estimate.functions).toBe(0);
  });
});
