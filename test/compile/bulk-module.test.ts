/**
 * memory.copy and memory.fill by fuel: against a model, with a pause, a fresh instance and the rest in it wherever the fuel
 * runs out.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PLAIN_ABI } from '../../host/compile/abi.js';
import { UNIT_BYTES } from '../../host/compile/bulk-module.js';
import { compileProgram, readShardModule } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import { assemble } from '../exact/modules.js';
import { hostOf, load, raw } from '../runtime/support.js';
import { BYTES, call, cases, LIMITS, loadedMemory, model, start } from './long-moves.js';

const unitsOf = (n: number): number => Math.floor(n / UNIT_BYTES);
const same = (a: Uint8Array, b: Uint8Array): boolean =>
  nodePlatform.equal(a, 0, b, 0, Math.max(a.length, b.length));

describe('memory.copy and memory.fill by fuel', () => {
  test.each(['copy', 'fill'] as const)('memory.%s does what the model does', (entry) => {
    let cut = 0;
    let traps = 0;
    fc.assert(
      fc.property(
        cases(LIMITS[entry]),
        fc.integer({ min: 800, max: 6_000 }),
        ([target, source, n], step) => {
          const expected = model(entry, start, target, source, n);
          const { result, instance, stops } = call(
            loadedMemory,
            entry,
            [target, source, n],
            start,
            step,
          );
          expect(result.kind).toBe(expected === undefined ? 'trap' : 'done');
          if (result.kind === 'trap') {
            expect(result.trap.trapKind).toBe('out of bounds memory access');
            expect(result.trap.guestStack.length).toBe(1);
          }
          expect(same(instance.memorySnapshot(), expected ?? start)).toBe(true);
          const units = expected === undefined ? 0 : unitsOf(n);
          expect(instance.fuelUsed).toBe(BigInt(units));
          expect(stops).toBe(Math.floor(units / step));
          if (stops > 0) cut++;
          if (expected === undefined) traps++;
        },
      ),
      { numRuns: 60, seed: 7 },
    );
    expect(cut).toBeGreaterThan(10);
    expect(traps).toBeGreaterThan(5);
  });

  test.each([
    ['upwards, overlapping by one byte short of all', 1, 0],
    ['downwards, likewise', 0, 1],
    ['upwards by a unit', UNIT_BYTES, 0],
    ['downwards by a unit', 0, UNIT_BYTES],
    ['upwards by a unit and one', UNIT_BYTES + 1, 0],
    ['downwards by a unit less one', 0, UNIT_BYTES - 1],
    ['onto itself', 5, 5],
  ])('memory.copy %s, stopped after every unit', (_, target, source) => {
    const n = 9 * UNIT_BYTES + 77;
    const { instance, stops } = call(loadedMemory, 'copy', [target, source, n], start, 1);
    expect(stops).toBe(unitsOf(n));
    expect(instance.fuelUsed).toBe(BigInt(unitsOf(n)));
    const expected = start.slice().copyWithin(target, source, source + n);
    expect(same(instance.memorySnapshot(), expected)).toBe(true);
  });

  test('what is there at a stop depends on the fuel alone, not on the stops before it', () => {
    const at = (budgets: readonly number[]): Uint8Array => {
      const instance = Instance.start(loadedMemory, hostOf(), {
        entry: 'fill',
        entryArgs: raw(10, 255, 5_000),
        limitPages: 0,
      });
      for (const budget of budgets) expect(instance.run(budget).kind).toBe('quantum');
      return instance.memorySnapshot().slice();
    };
    const straight = at([70]);
    expect(same(at([1, 1, 68]), straight)).toBe(true);
    expect(same(at([35, 35]), straight)).toBe(true);
    // The odd end first, then whole units from the end downwards; it stands before the 70th.
    expect(straight.indexOf(255)).toBe(10 + (unitsOf(5_000) - 69) * UNIT_BYTES);
    expect(straight.lastIndexOf(255)).toBe(10 + 5_000 - 1);
  });

  test("the stack at a stop is the program's, and so is that of a trap", () => {
    const instance = Instance.start(loadedMemory, hostOf(), {
      entry: 'copy',
      entryArgs: raw(0, 1_000, 100_000),
      limitPages: 0,
    });
    expect(instance.run(10).kind).toBe('quantum');
    expect(instance.guestStack()).toEqual([expect.stringContaining('copy')]);
    const { result } = call(loadedMemory, 'fill', [BYTES - 10, 1, 4_000], start, 5);
    expect(result.kind === 'trap' && result.trap.guestStack).toEqual([
      expect.stringContaining('fill'),
    ]);
  });

  test('operands below, and those that the program keeps in locals, are what they were', () => {
    const loaded = load(
      assemble(`(module (memory 3) (func (export "f") (param i32 i32) (result i64) (local i32)
        i64.const 7 local.get 1
        local.get 0 i32.const 3 i32.add local.tee 2  local.get 0  local.get 1 i32.const 2 i32.mul
        memory.copy
        i64.extend_i32_u local.get 2 i64.extend_i32_u i64.add i64.add
        local.get 0 i32.const 9 local.get 1 memory.fill  local.get 0 i64.extend_i32_u i64.add))`),
    );
    const whole = call(loaded, 'f', [50, 9_000], undefined, 1 << 30);
    const parts = call(loaded, 'f', [50, 9_000], undefined, 7);
    expect(parts.stops).toBeGreaterThan(50);
    expect(parts.result).toEqual(whole.result);
    expect(same(parts.instance.memorySnapshot(), whole.instance.memorySnapshot())).toBe(true);
  });

  test('a constant length of at most 64 KiB is no safepoint, and such a module needs no newer runtime', () => {
    const short = assemble(`(module (memory 4)
      (func (export "f") i32.const 0 i32.const 9 i32.const 65536 memory.copy
        i32.const 3 i32.const 4 i32.const 5 memory.fill))`);
    const module = compileProgram(short, nodePlatform);
    expect(module.functions[0]!.instrumented).toBe(false);
    expect(module.abi).toBe(PLAIN_ABI);
    const long = assemble(`(module (memory 4)
      (func (export "f") i32.const 0 i32.const 9 i32.const 65537 memory.copy))`);
    const cut = compileProgram(long, nodePlatform);
    expect(cut.functions[0]!.safepoints.map(({ kind }) => kind)).toEqual(['bulk']);
    expect(cut.abi).toBe(PLAIN_ABI + 1);
    expect(readShardModule(cut.bytes, nodePlatform).functions[0]!.safepoints).toEqual(
      cut.functions[0]!.safepoints,
    );
  });

  test('ends at the last byte, and beyond it', () => {
    const loaded = load(
      assemble(`(module (memory 1) (func (export "f") (param i32 i32)
        local.get 0 i32.const 1 local.get 1 memory.fill))`),
    );
    for (const [target, n] of [
      [65_535, 1],
      [65_536, 0],
      [0, 65_536],
    ] as const)
      expect(call(loaded, 'f', [target, n], undefined, 3).result.kind).toBe('done');
    for (const [target, n] of [
      [65_536, 1],
      [65_537, 0],
      [1, 65_536],
      [65_536, -65_536],
      [-1, 1],
      [-64, 64],
      [0, -1],
      [-1, -1],
    ] as const)
      expect(call(loaded, 'f', [target, n], undefined, 3).result.kind).toBe('trap');
  });
});
