/**
 * memory.init and table instructions that move much, cut into pieces: against a model and against the engine's own
 * instruction, with a pause, a fresh instance and the rest in it between any two pieces.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { parseModule } from '../../host/compile/module.js';
import { pauseBound } from '../../host/compile/pause-bound.js';
import { PIECE_BYTES, PIECE_SLOTS, PIECE_WEIGHT } from '../../host/compile/pieces.js';
import { skeletonOf } from '../../host/compile/skeleton.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import { exportedTable, readTable } from '../../host/runtime/loaded.js';
import { assemble } from '../exact/modules.js';
import { hostOf, load, raw } from '../runtime/support.js';
import { BYTES, call, cases, LIMITS, loadedMemory, model, start } from './long-moves.js';

/** Safepoints of a piece. */
const PIECE_FUEL = 1 + PIECE_WEIGHT;
const ENTRIES = ['init', 'dropped'] as const;

describe('memory.init in pieces', () => {
  test.each(ENTRIES)('%s does what the model does', (entry) => {
    let cut = 0;
    let traps = 0;
    fc.assert(
      fc.property(
        cases(LIMITS[entry]),
        fc.integer({ min: Math.floor(PIECE_FUEL / 3), max: 3 * PIECE_FUEL }),
        ([target, source, n], step) => {
          const expected = model(entry, start, target, source, n);
          const paused = call(loadedMemory, entry, [target, source, n], start, step);
          expect(paused.result.kind).toBe(expected === undefined ? 'trap' : 'done');
          if (paused.result.kind === 'trap')
            expect(paused.result.trap.trapKind).toBe('out of bounds memory access');
          const after = paused.instance.memorySnapshot();
          expect(nodePlatform.equal(after, 0, expected ?? start, 0, BYTES)).toBe(true);
          const pieces = expected === undefined ? 0 : Math.max(0, Math.ceil(n / PIECE_BYTES) - 1);
          expect(paused.instance.fuelUsed).toBe(BigInt(pieces * PIECE_FUEL));
          expect(paused.stops).toBe(Math.floor((pieces * PIECE_FUEL) / step));
          if (paused.stops > 0) cut++;
          if (expected === undefined) traps++;
        },
      ),
      { numRuns: 60, seed: 7 },
    );
    if (entry !== 'dropped') expect(cut).toBeGreaterThan(10);
    expect(traps).toBeGreaterThan(5);
  });

  test('a pause in the middle shows the pieces that are done, and no others', () => {
    const instance = Instance.start(loadedMemory, hostOf(), {
      entry: 'init',
      entryArgs: raw(10, 0, 3 * PIECE_BYTES),
      limitPages: 0,
    });
    for (let done = 0; done < 2; done++) {
      expect(instance.run(PIECE_FUEL).kind).toBe('quantum');
      const memory = instance.memorySnapshot();
      expect(memory.findLastIndex((byte) => byte !== 0)).toBe(
        done === 0 ? -1 : 9 + done * PIECE_BYTES,
      );
    }
    expect(instance.guestStack()).toEqual([
      expect.stringContaining('memory.init'),
      expect.any(String),
    ]);
  });

  test('a length of at most a piece passes no safepoint; the bound holds for longer ones', () => {
    for (const n of [0, 1, 4097, PIECE_BYTES]) {
      const { instance, result } = call(loadedMemory, 'init', [77, 5, n], start, 1);
      expect(result.kind).toBe('done');
      expect(instance.fuelUsed).toBe(0n);
      const expected = model('init', start, 77, 5, n) as Uint8Array;
      expect(nodePlatform.equal(instance.memorySnapshot(), 0, expected, 0, BYTES)).toBe(true);
    }
    const bound = pauseBound(loadedMemory.module);
    expect(bound.instructions).toBeGreaterThan(20);
    expect(bound.instructions).toBeLessThan(120);
  });

  test('places in the code are those of the program as it was given', () => {
    const filler =
      'local.get 0 i32.const 1 local.get 0 memory.fill ' +
      'local.get 0 i32.const 1 local.get 0 memory.init $p ';
    const bytes =
      assemble(`(module (import "env" "f" (func $i (param i32))) (memory 4) (data $p "abc")
      (table 1 funcref) (elem (i32.const 0) $i)
      (func $a (param i32) ${filler} loop local.get 0 call $i end)
      (func (export "f") (param i32) ${filler} loop local.get 0 call $a local.get 0 br_if 0 end))`);
    const program = parseModule(bytes);
    const code = program.sections.find((s) => s.id === 10)!.bodyStart;
    const module = compileProgram(bytes, nodePlatform);
    expect(skeletonOf(module).bodies.length).toBe(4); // and a wrapper, and a helper
    const opcodes: Record<string, number[]> = {
      loop: [0x03],
      call: [0x10, 0xfc],
      host: [0x10],
      bulk: [0xfc],
    };
    let seen = 0;
    for (const { safepoints, index } of module.functions.filter((f) => f.index <= 2)) {
      for (const { kind, offset } of safepoints) {
        if (kind === 'entry') continue;
        seen++;
        const { start: from, end } = program.bodies[index - 1]!;
        expect(code + offset).toBeGreaterThanOrEqual(from);
        expect(code + offset).toBeLessThan(end);
        expect(opcodes[kind]).toContain(bytes[code + offset]);
      }
    }
    expect(seen).toBe(2 + 2 + 2 + 2);
  });
});

const SLOTS = 4 * PIECE_SLOTS + 100;
const TABLES = `(module
  (table $t ${SLOTS} funcref) (table $u ${SLOTS} funcref)
  (func $f0) (func $f1) (func $f2) (func $f3) (func $f4)
  (elem $e funcref ${Array.from({ length: 2 * PIECE_SLOTS + 50 }, (_, i) => `(ref.func $f${(i * i + (i >> 3)) % 5})`).join(' ')})
  (func $prepare i32.const 3 i32.const 0 i32.const 9000 table.init $t $e
    i32.const 9100 i32.const 20 i32.const 16000 table.init $t $e
    i32.const 0 i32.const 1 i32.const 15000 table.init $u $e)
  (func (export "copy") (param i32 i32 i32) call $prepare local.get 0 local.get 1 local.get 2 table.copy $t $t)
  (func (export "across") (param i32 i32 i32) call $prepare local.get 0 local.get 1 local.get 2 table.copy $u $t)
  (func (export "fill") (param i32 i32 i32) call $prepare
    local.get 0 local.get 1 table.get $u local.get 2 table.fill $t)
  (func (export "init") (param i32 i32 i32) call $prepare local.get 0 local.get 1 local.get 2 table.init $t $e)
  (export "t" (table $t)) (export "u" (table $u)))`;

describe('table instructions in pieces', () => {
  const bytes = assemble(TABLES);
  const loaded = load(bytes);
  const compiled = new WebAssembly.Module(bytes as BufferSource);

  /** The engine's own instructions. */
  function engine(
    entry: string,
    args: readonly number[],
  ): { trap: boolean; tables: Uint32Array[] } {
    const { exports } = new WebAssembly.Instance(compiled);
    let trap = false;
    try {
      (exports[entry] as (...values: number[]) => void)(...args);
    } catch {
      trap = true;
    }
    return { trap, tables: ['t', 'u'].map((name) => readTable(exportedTable(exports, name))) };
  }

  function tablesOf(instance: Instance): Uint32Array[] {
    const base = loaded.baseTables();
    const { tables = [] } = instance.remains();
    return [0, 1].map((index) => {
      const now = base.get(index)!.slice();
      const { changes = [] } = tables.find((t) => t.index === index) ?? {};
      for (let i = 0; i < changes.length; i += 2) now[changes[i]!] = changes[i + 1]!;
      return now;
    });
  }

  const slot = fc.oneof(
    fc.nat(SLOTS),
    fc
      .tuple(
        fc.constantFrom(0, PIECE_SLOTS, 2 * PIECE_SLOTS, SLOTS, 2 ** 32),
        fc.integer({ min: -2, max: 2 }),
      )
      .map(([at, by]) => (at + by + 2 ** 32) % 2 ** 32),
  );

  test.each(['copy', 'across', 'fill', 'init'])('table.%s does what the engine does', (entry) => {
    let traps = 0;
    fc.assert(
      fc.property(
        slot,
        slot,
        slot,
        fc.integer({ min: Math.floor(PIECE_FUEL / 3), max: 3 * PIECE_FUEL }),
        (target, source, n, step) => {
          const expected = engine(entry, [target, source, n]);
          const { result, instance } = call(loaded, entry, [target, source, n], undefined, step);
          expect(result.kind).toBe(expected.trap ? 'trap' : 'done');
          expect(tablesOf(instance)).toEqual(expected.tables);
          if (expected.trap) traps++;
        },
      ),
      { numRuns: 12, seed: 7 },
    );
    expect(traps).toBeGreaterThan(0);
    expect(traps).toBeLessThan(12);
  });
});
