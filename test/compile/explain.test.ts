/**
 * `--explain`: every safepoint of the resume map is named with what is stored there; what has none has a reason.
 */
import { describe, expect, it } from 'vitest';
import {
  explainFunction,
  type FunctionExplanation,
  findFunction,
} from '../../host/compile/explain.js';
import { renderExplanation } from '../../host/compile/explain-text.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardModule } from '../../host/types/module.js';
import { settingsOf } from '../exact/corpus.js';
import { generateModule } from '../exact/generate.js';
import { assemble } from '../exact/modules.js';

const compile = (text: string): ShardModule => compileProgram(assemble(text), nodePlatform);

const PROGRAM = `(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory 1 2) (table funcref (elem $leaf)) (type $t (func (param i32) (result i32)))
  (func $leaf (param i32) (result i32) local.get 0 i32.const 1 i32.add)
  (func $fib (param $n i32) (result i32)
    local.get $n i32.const 2 i32.lt_s if (result i32) local.get $n else
      local.get $n i32.const 1 i32.sub call $fib
      local.get $n i32.const 2 i32.sub call $fib i32.add end)
  (func (export "run") (param $count i32) (result i32) (local $sum i32)
    i32.const 100
    local.get $count i32.const 4 i32.mul
    loop $l
      local.get $sum local.get $count call $fib i32.add local.set $sum
      local.get $sum call $leaf local.set $sum
      local.get $sum i32.const 0 call_indirect (type $t) local.set $sum
      local.get $count i32.const 1 i32.sub local.tee $count br_if $l
    end
    call $ask i32.add
    i32.const 1 memory.grow drop
    local.get $sum return_call $leaf))`;

function explain(shard: ShardModule, name: string): FunctionExplanation {
  return explainFunction(shard, findFunction(shard, name));
}

describe('one function explained', () => {
  const shard = compile(PROGRAM);

  it('safepoints by kind and place, with what is live', () => {
    const run = explain(shard, 'run');
    expect(
      run.safepoints.map(({ kind, what, fuel, loopDepth }) => [kind, what, fuel, loopDepth]),
    ).toEqual([
      ['loop', 'loop', 1, 1],
      ['call', 'call fib (function 2)', 0, 1],
      ['host', 'call host function env.ask', 0, 0],
    ]);
    const [loop, call, host] = run.safepoints;
    expect(loop!.live.map(({ name }) => name)).toEqual([
      'local 0 (count)',
      'local 1 (sum)',
      'temporary 0',
    ]);
    expect(loop!.rebuilt).toEqual([
      `the constant at 0x${(loop!.offset! - 8).toString(16)}`,
      'from temporary 0',
    ]);
    expect(call!.rebuilt).toHaveLength(3);
    expect(call!.results).toEqual(['i32']);
    expect(host!.live.map(({ name }) => name)).toEqual(['local 1 (sum)']);
    expect(run.outlined.join()).toMatch(/cold block.*memory\.grow/);
  });

  it('reasons for what has none', () => {
    const run = explain(shard, 'run');
    expect(run.without.map(({ what, why }) => `${what}: ${why}`)).toEqual([
      expect.stringMatching(/^call leaf .*: it cannot stop/),
      expect.stringMatching(/^call through a table.*no function of this type in a table can stop/),
      expect.stringMatching(/^tail call leaf .*leaves no frame/),
    ]);
    const leaf = explain(shard, 'leaf');
    expect(leaf).toMatchObject({
      canStop: false,
      carriesFuel: false,
      safepoints: [],
      frameBytes: 8,
    });
    expect(leaf.moduleBytes).toBe(leaf.programBytes);
  });

  it('a recursion polls at its entry, and says which', () => {
    const fib = explain(shard, 'fib');
    expect(fib.safepoints[0]).toMatchObject({ kind: 'entry', offset: null, fuel: 1 });
    expect(fib.safepoints[0]!.why).toMatch(/it calls itself/);
    expect(fib.whyStop).toMatch(/cycle of calls/);
    expect(fib.saves).toHaveLength(1); // the first call's result waits below the second call
  });

  it('a function that only passes fuel on', () => {
    const shared = compile(`(module (table funcref (elem $a $b)) (type $t (func))
      (func $a nop) (func $b loop end)
      (func (export "run") i32.const 0 call_indirect (type $t)))`);
    const a = explain(shared, 'a');
    expect(a).toMatchObject({ canStop: false, carriesFuel: true });
    expect(a.whyFuel).toMatch(/signatures must agree/);
    expect(explain(shared, 'run').whyStop).toMatch(/through a table/);
  });

  it('is readable', () => {
    const text = renderExplanation(explain(shard, 'run'));
    expect(text).toMatch(/^function 3 {2}run {2}\(i32\) → \(i32\)\n/);
    expect(text).toContain('safepoints: 3\n');
    expect(text).toContain('loops and calls without a safepoint: 3\n');
    expect(text).not.toMatch(/undefined|NaN|\[object/);
  });
});

describe('finding the function', () => {
  const shard = compile(PROGRAM);

  it('by index, name, export, part of a name', () => {
    expect(['2', 'fib', 'run', 'lea'].map((wanted) => findFunction(shard, wanted))).toEqual([
      2, 2, 3, 1,
    ]);
  });

  it.each([
    ['0', /is the import env\.ask/],
    ['77', /there is no function 77/],
    ['nothing', /no function is called 'nothing'/],
    ['f', /2 functions are called 'f'/],
  ])('%s is refused with what there is', (wanted, message) => {
    expect(() => findFunction(shard, wanted)).toThrow(message);
  });
});

describe('random modules', () => {
  it('every function: as many safepoints and live bytes as the resume map says, no empty reason', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const module = compile(generateModule(seed, settingsOf(seed)));
      for (const info of module.functions) {
        const e = explainFunction(module, info.index);
        expect(e.safepoints.map(({ live }) => live.length)).toEqual(
          info.safepoints.map(({ live }) => live.length),
        );
        expect(e.slots).toHaveLength(info.slots.length);
        const reasons = [
          e.whyStop,
          e.whyFuel,
          ...[...e.safepoints, ...e.without].map(({ why }) => why),
        ];
        expect(
          reasons.filter((why) => why === '' || why.includes('the rewriter put none')),
        ).toEqual([]);
        expect(renderExplanation(e)).not.toMatch(/undefined|NaN/);
      }
    }
  });
});
