/**
 * Polls between calls that add up: where they are put, and that nothing runs further than the spacing allows. What runs is
 * counted by the program itself (counted.ts), in instructions and passages.
 */
import { describe, expect, it } from 'vitest';
import { ContinuationBuilder } from '../../host/compile/continuation.js';
import { explainFunction, findFunction } from '../../host/compile/explain.js';
import { compileProgram } from '../../host/compile/index.js';
import { type PauseBound, pauseBound } from '../../host/compile/pause-bound.js';
import { SPACING } from '../../host/compile/spacing.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardModule } from '../../host/types/module.js';
import { settingsOf } from '../exact/corpus.js';
import { straight } from '../exact/drive.js';
import { generateModule } from '../exact/generate.js';
import { argsOf, assemble, examine, load, mix, subjectOf } from '../exact/modules.js';
import { text } from '../runtime/support.js';
import { type Counts, counted, countsOf } from './counted.js';

const FAR = Number.POSITIVE_INFINITY;

interface Measured extends Counts {
  readonly shard: ShardModule;
  readonly bound: PauseBound;
  readonly ended: boolean;
}

function measure(
  bytes: Uint8Array<ArrayBuffer>,
  spacing: number,
  args: readonly unknown[],
): Measured {
  const shard = compileProgram(bytes, nodePlatform, { spacing });
  const twin = new WebAssembly.Module(counted(bytes, shard));
  const { exports } = new WebAssembly.Instance(twin, { fuzz: { log: mix } });
  let ended = true;
  try {
    (exports.run as (...args: readonly unknown[]) => unknown)(...args);
  } catch {
    ended = false;
  }
  return { ...countsOf(exports), shard, bound: pauseBound(shard), ended };
}

const measureText = (wat: string, spacing: number, ...args: readonly unknown[]): Measured =>
  measure(assemble(wat), spacing, args);

/** `levels` functions, each calls the next one twice: 2^levels calls of the last. */
function doubling(levels: number): string {
  const functions = Array.from(
    { length: levels },
    (_, k) => `(func $f${k} call $f${k + 1} call $f${k + 1})`,
  );
  return `(module ${functions.join('\n')} (func $f${levels} nop nop nop)
    (func (export "run") call $f0))`;
}

/** What the spacing allows at most (S1 there), with a little for what a poll stands between. */
const most = (spacing: number): number => spacing + spacing / 4 + 8;

describe('functions that only call each other', () => {
  it('each calls the next one twice: exponential without polls, bounded with them', () => {
    const without = measureText(doubling(16), FAR);
    expect(without.passages).toBe(0);
    expect(without.longest).toBe(without.bound.instructions);
    expect(without.longest).toBeGreaterThan(6 * 2 ** 16);
    const spaced = measureText(doubling(16), 4096);
    expect(spaced.bound.instructions).toBeLessThanOrEqual(most(4096));
    expect(spaced.longest).toBeLessThanOrEqual(spaced.bound.instructions);
    // Few polls: no more than eight times as many as the distance needs at least.
    expect(spaced.passages).toBeGreaterThanOrEqual(Math.floor(without.longest / most(4096)));
    expect(spaced.passages).toBeLessThan((8 * without.longest) / 4096);
  });

  it('sixty levels: more than 10¹⁸ instructions before, one spacing after, with polls in a few functions', () => {
    const bytes = assemble(doubling(60));
    const before = pauseBound(compileProgram(bytes, nodePlatform, { spacing: FAR }));
    expect(before.instructions).toBeGreaterThan(1e18);
    const shard = compileProgram(bytes, nodePlatform);
    expect(pauseBound(shard).instructions).toBeLessThanOrEqual(most(SPACING));
    const polls = shard.functions.flatMap((f) =>
      f.safepoints.filter(({ kind }) => kind === 'loop'),
    );
    expect(polls.length).toBeGreaterThan(0);
    expect(polls.length).toBeLessThan(2 * 60);
  });

  it('the short way passes no poll', () => {
    const wat = `(module ${doubling(12).slice(8, -1)}
      (func $maybe (param i32) local.get 0 if call $f0 end)
      (func (export "go") (param i32) local.get 0 call $maybe))`
      .replace('(export "run")', '')
      .replace('"go"', '"run"');
    expect(measureText(wat, 4096, 0).passages).toBe(0);
    expect(measureText(wat, 4096, 1).passages).toBeGreaterThan(0);
  });

  it('through a table: the longest function of the type counts', () => {
    const wat = `(module (table funcref (elem $short $long)) (type $t (func))
      (func $short) (func $long ${'call $twice '.repeat(20)}) (func $twice ${'nop '.repeat(60)})
      (func (export "run") (param i32) ${'local.get 0 call_indirect (type $t) '.repeat(30)}))`;
    for (const which of [0, 1]) {
      const { longest, bound } = measureText(wat, 2048, which);
      expect(bound.instructions).toBeLessThanOrEqual(most(2048));
      expect(longest).toBeLessThanOrEqual(bound.instructions);
    }
    expect(measureText(wat, 2048, 1).passages).toBeGreaterThan(10);
  });

  it('long code in one piece', () => {
    const { longest, bound, passages } = measureText(
      `(module (func (export "run") (result i32) i32.const 1 ${'i32.const 3 i32.add '.repeat(5000)}))`,
      1000,
    );
    expect(bound.instructions).toBeLessThanOrEqual(most(1000));
    expect(longest).toBeLessThanOrEqual(bound.instructions);
    expect(passages).toBe(11); // at 250, then every 1,000, and before the end
  });
});

describe('recursion and exceptions', () => {
  it('what a frame runs on its return is short, or polls', () => {
    const wat = `(module (func $f (export "run") (param i32)
      local.get 0 if local.get 0 i32.const 1 i32.sub call $f ${'nop '.repeat(200)} end))`;
    const without = measureText(wat, FAR, 300);
    expect(without.bound.perReturn).toBeGreaterThan(200);
    const spaced = measureText(wat, 1024, 300);
    expect(spaced.bound.perReturn).toBeLessThanOrEqual(1024 / 32);
    expect(spaced.longest).toBeLessThanOrEqual(
      spaced.bound.instructions + spaced.bound.perReturn * 300,
    );
    expect(spaced.longest).toBeLessThan(1024);
    expect(without.longest).toBeGreaterThan(200 * 300);
  });

  it('handlers that throw on', () => {
    const levels = Array.from(
      { length: 14 },
      (_, k) => `(func $f${k} try call $f${k + 1} catch $e ${'nop '.repeat(100)} throw $e end)`,
    );
    const wat = `(module (tag $e) ${levels.join('\n')} (func $f14 throw $e)
      (func (export "run") try call $f0 catch_all end))`;
    const { longest, bound } = measureText(wat, 256);
    expect(bound.instructions).toBeLessThanOrEqual(most(256));
    expect(longest).toBeLessThanOrEqual(bound.instructions);
    expect(measureText(wat, FAR).longest).toBeGreaterThan(1400);
  });
});

describe('what is near stays as it is', () => {
  it('the same module, byte for byte', () => {
    const bytes = assemble(doubling(8));
    const near = compileProgram(bytes, nodePlatform);
    expect(near.bytes).toEqual(compileProgram(bytes, nodePlatform, { spacing: FAR }).bytes);
    expect(near.sizes.safepoints).toBe(0);
  });
});

const SMALL = `(module (memory 1)
  (func $work (param i32) (result i32) local.get 0 ${'i32.const 3 i32.mul '.repeat(12)})
  (func $run (export "run") (param i32) (result i32)
    local.get 0 i32.load i32.const 5 local.get 0 call $work i32.add i32.add))`;

describe('how it looks', () => {
  const shard = compileProgram(assemble(SMALL), nodePlatform, { spacing: 64 });

  it('the fast copy polls without a loop; operands below are kept', async () => {
    await expect(text(shard.bytes)).toMatchFileSnapshot('golden/spaced.wat');
    expect(await text(shard.bytes)).not.toMatch(/\bloop\b/);
  });

  it('a continuation goes on behind it', async () => {
    const run = findFunction(shard, 'run');
    const { safepoints } = shard.functions[run]!;
    expect(safepoints[0]!.kind).toBe('loop');
    const built = new ContinuationBuilder(shard).build(run, 0);
    await expect(text(built.bytes)).toMatchFileSnapshot('golden/spaced.1.0.wat');
  });

  it('explained as a poll, with places in the program', () => {
    const explained = explainFunction(shard, findFunction(shard, 'run'));
    expect(explained.whyStop).toContain('too long');
    expect(explained.safepoints[0]).toMatchObject({
      kind: 'loop',
      fuel: 1,
      loopDepth: 0,
      what: 'poll before the next instruction',
    });
    expect(explained.safepoints[0]!.why).toContain('without it');
    // The places of all else are those in the program without polls.
    const plain = compileProgram(assemble(SMALL), nodePlatform, { spacing: FAR });
    const places = explainFunction(plain, findFunction(plain, 'run'));
    const call = places.without.find(({ what }) => what.startsWith('call'))!;
    expect(explained.safepoints.map(({ offset }) => offset)).toContain(call.offset);
    expect(shard.functions.every(({ loops }) => loops === 0)).toBe(true);
  });
});

const SEEDS = Number(process.env.SHERD_SPACING_SEEDS ?? 24);

describe('random modules', () => {
  it(`${SEEDS} seeds with polls close together: never beyond the bound, fuel is the passages, pauses are exact`, {
    timeout: 3_600_000,
  }, () => {
    let added = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const bytes = assemble(generateModule(seed, settingsOf(seed)));
      const args = argsOf(seed);
      const spacing = [32, 100, 300][seed % 3]!;
      const { longest, passages, bound, ended } = measure(bytes, spacing, args);
      const frames = args[0] + 1;
      expect([seed, bound.instructions <= most(spacing) + spacing]).toEqual([seed, true]);
      expect([seed, bound.perReturn <= spacing / 4 + 2]).toEqual([seed, true]);
      const farthest = bound.instructions + bound.perReturn * frames;
      expect([seed, longest <= farthest, longest, farthest]).toEqual([
        seed,
        true,
        longest,
        farthest,
      ]);
      const loaded = load(bytes, spacing);
      added += loaded.module.sizes.safepoints - load(bytes, FAR).module.sizes.safepoints;
      const effort = { spread: 20, dense: 20, singles: 1 };
      expect(examine(`seed ${seed}`, bytes, args, effort, loaded).differences).toEqual([]);
      if (!ended) continue;
      const { fuel } = straight(subjectOf(`seed ${seed}`, loaded, args));
      expect([seed, fuel]).toEqual([seed, BigInt(passages)]);
    }
    expect(added).toBeGreaterThan(SEEDS);
  });
});
