/**
 * Instructions that move much at once, cut into pieces: against a model and against the engine's own instruction, with a
 * pause, a fresh instance and the rest in it between any two pieces.
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
import { exportedTable, type LoadedModule, readTable } from '../../host/runtime/loaded.js';
import type { RunResult } from '../../host/types/state.js';
import { assemble } from '../exact/modules.js';
import { detached, hostOf, load, raw } from '../runtime/support.js';

const PAGES = 9;
const BYTES = PAGES * 65_536;
const SEGMENT_BYTES = 200_000;
/** Safepoints of a piece. */
const PIECE_FUEL = 1 + PIECE_WEIGHT;

/** Bytes without a short period. */
function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

const text = (bytes: Uint8Array): string =>
  [...bytes].map((b) => `\\${b.toString(16).padStart(2, '0')}`).join('');
const SEGMENT = pattern(SEGMENT_BYTES);
const MEMORY = `(module (memory ${PAGES}) (data $p "${text(SEGMENT)}")
  (func (export "prepare") i32.const 100 i32.const 0 i32.const ${SEGMENT_BYTES} memory.init $p
    i32.const 300001 i32.const 7 i32.const 199000 memory.init $p)
  (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
  (func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
  (func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.init $p)
  (func (export "dropped") (param i32 i32 i32) data.drop $p local.get 0 local.get 1 local.get 2 memory.init $p))`;

interface Ending {
  readonly result: RunResult;
  readonly instance: Instance;
  readonly stops: number;
}

/** Calls `entry` on a state, stopped after every `step` safepoints and resumed in a fresh instance. */
function call(
  loaded: LoadedModule,
  entry: string,
  args: readonly number[],
  memory: Uint8Array | undefined,
  step: number,
): Ending {
  let instance = Instance.start(loaded, hostOf(), {
    entry,
    entryArgs: raw(...args),
    limitPages: 0,
  });
  if (memory !== undefined) {
    const state = detached(instance.capture());
    instance = Instance.resume(loaded, hostOf(), {
      ...state,
      memory: state.memory && { ...state.memory, bytes: memory },
    });
  }
  for (let stops = 0; ; stops++) {
    const result = instance.run(step);
    if (result.kind !== 'quantum') return { result, instance, stops };
    instance = Instance.resume(loaded, hostOf(), detached(instance.capture()));
  }
}

/** What the specification says: undefined = a trap, and nothing is written. */
function model(
  entry: string,
  memory: Uint8Array,
  target: number,
  source: number,
  n: number,
): Uint8Array | undefined {
  if (target + n > BYTES) return undefined;
  const after = memory.slice();
  if (entry === 'fill') return after.fill(source & 0xff, target, target + n);
  const limit = entry === 'copy' ? BYTES : entry === 'init' ? SEGMENT_BYTES : 0;
  if (source + n > limit) return undefined;
  if (entry === 'copy') return after.copyWithin(target, source, source + n);
  after.set(SEGMENT.subarray(source, source + n), target);
  return after;
}

const loadedMemory = load(assemble(MEMORY));
const start = pattern(BYTES);
/** Where something changes: around pieces, the ends of memory and of the segment, and where sums wrap around. */
const EDGES = [0, 1, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES, SEGMENT_BYTES, BYTES, 2 ** 32];
const near = fc
  .tuple(fc.constantFrom(...EDGES), fc.integer({ min: -3, max: 3 }))
  .map(([at, by]) => (at + by + 2 ** 32) % 2 ** 32);
const place = fc.oneof(near, fc.nat(BYTES));
const length = fc.oneof(near, fc.nat(5 * PIECE_BYTES));

/** Cases most of which are in bounds, and some anywhere. */
function cases(limit: number): fc.Arbitrary<readonly [target: number, source: number, n: number]> {
  const share = fc.nat(1_000_000).map((millionths) => millionths / 1e6);
  const inside = fc
    .tuple(fc.nat(Math.min(limit, 5 * PIECE_BYTES)), share, share)
    .map(([n, a, b]) => [Math.floor(a * (BYTES - n)), Math.floor(b * (limit - n)), n] as const);
  return fc.oneof(inside, fc.tuple(place, place, length));
}
const LIMITS = { copy: BYTES, fill: BYTES, init: SEGMENT_BYTES, dropped: SEGMENT_BYTES } as const;
const ENTRIES = ['copy', 'fill', 'init', 'dropped'] as const;

describe('memory instructions in pieces', () => {
  test.each(ENTRIES)('memory.%s does what the model does', (entry) => {
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

  test.each([
    ['upwards, overlapping by one byte short of all', 1, 0],
    ['downwards, likewise', 0, 1],
    ['upwards by a piece', PIECE_BYTES, 0],
    ['downwards by a piece', 0, PIECE_BYTES],
    ['upwards by a piece and one', PIECE_BYTES + 1, 0],
    ['downwards by a piece less one', 0, PIECE_BYTES - 1],
    ['onto itself', 5, 5],
  ])('memory.copy %s', (_, target, source) => {
    const n = 4 * PIECE_BYTES + 77;
    const { instance, stops } = call(loadedMemory, 'copy', [target, source, n], start, PIECE_FUEL);
    expect(stops).toBe(4);
    expect(instance.fuelUsed).toBe(BigInt(4 * PIECE_FUEL));
    const expected = start.slice().copyWithin(target, source, source + n);
    expect(nodePlatform.equal(instance.memorySnapshot(), 0, expected, 0, BYTES)).toBe(true);
  });

  test('a pause in the middle shows the pieces that are done, and no others', () => {
    const instance = Instance.start(loadedMemory, hostOf(), {
      entry: 'fill',
      entryArgs: raw(10, 255, 5 * PIECE_BYTES),
      limitPages: 0,
    });
    for (let done = 0; done < 4; done++) {
      expect(instance.run(PIECE_FUEL).kind).toBe('quantum');
      const memory = instance.memorySnapshot();
      expect(memory.lastIndexOf(255)).toBe(done === 0 ? -1 : 9 + done * PIECE_BYTES);
    }
    expect(instance.guestStack()).toEqual([
      expect.stringContaining('memory.fill'),
      expect.any(String),
    ]);
  });

  test('a constant length of at most a piece costs nothing', () => {
    const bytes = assemble(`(module (memory 4)
      (func (export "f") i32.const 0 i32.const 9 i32.const ${PIECE_BYTES} memory.copy
        i32.const 3 i32.const 4 i32.const 5 memory.fill))`);
    const { functions, skeleton } = compileProgram(bytes, nodePlatform);
    expect(functions.length).toBe(1);
    expect(functions[0]!.instrumented).toBe(false);
    expect(parseModule(skeleton).bodies.length).toBe(1);
  });

  test('a length of at most a piece passes no safepoint; the bound holds for longer ones', () => {
    for (const n of [0, 1, 4097, PIECE_BYTES]) {
      const { instance, result } = call(loadedMemory, 'copy', [77, 5, n], start, 1);
      expect(result.kind).toBe('done');
      expect(instance.fuelUsed).toBe(0n);
      const expected = start.slice().copyWithin(77, 5, 5 + n);
      expect(nodePlatform.equal(instance.memorySnapshot(), 0, expected, 0, BYTES)).toBe(true);
    }
    const bound = pauseBound(loadedMemory.module);
    expect(bound.instructions).toBeGreaterThan(20);
    expect(bound.instructions).toBeLessThan(120);
  });

  test('places in the code are those of the program as it was given', () => {
    const filler = 'local.get 0 i32.const 1 local.get 0 memory.fill '.repeat(3);
    const bytes = assemble(`(module (import "env" "f" (func $i (param i32))) (memory 4)
      (table 1 funcref) (elem (i32.const 0) $i)
      (func $a (param i32) ${filler} loop local.get 0 call $i end)
      (func (export "f") (param i32) ${filler} loop local.get 0 call $a local.get 0 br_if 0 end))`);
    const program = parseModule(bytes);
    const code = program.sections.find((s) => s.id === 10)!.bodyStart;
    const module = compileProgram(bytes, nodePlatform);
    expect(skeletonOf(module).bodies.length).toBe(4); // and a wrapper, and a helper
    const opcodes: Record<string, number[]> = { loop: [0x03], call: [0x10, 0xfc], host: [0x10] };
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
    expect(seen).toBe(3 + 2 + 3 + 2);
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
