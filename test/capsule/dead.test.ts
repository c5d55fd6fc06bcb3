/** Where memory is dead: stacks of LLVM's layouts, red zones, declared regions, the heap's allocator on the stack; and what a capsule makes of it. */
import { describe, expect, it } from 'vitest';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { decodeCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import { deadRanges } from '../../host/capsule/dead.js';
import { inspectCapsule, rebindCapsule, renderReport } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/index.js';
import type { ShardState } from '../../host/types/state.js';
import { load, wat } from '../runtime/support.js';

const facts = { shardId: 's', epoch: 1, specHash: 'c'.repeat(64), references: [] };

/** The state of `run` after `fuel` safepoints. */
function stopped(text: string, fuel: number, globals = '') {
  const loaded = load(wat(`(module (memory (export "memory") 2) ${globals} ${text})`));
  const options = { entry: 'run', entryArgs: new Uint8Array(0), limitPages: 0 };
  const instance = Instance.start(loaded, bareHost(), options);
  expect(instance.run(fuel).kind).toBe('quantum');
  const state = instance.capture();
  return { loaded, instance, state, dead: deadRanges(state, loaded.module) };
}

const POINTER = '(global $sp (export "__stack_pointer") (mut i32) (i32.const 4096))';
const DATA_ABOVE = '(data (i32.const 4096) "data")';
/** Takes a frame of 64 bytes and calls a loop. */
const FRAMED = `
  (func $spin (local $n i32)
    (loop $again (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))))
  (func (export "run") (local $fp i32)
    (global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 64))))
    (call $spin)
    (global.set $sp (i32.add (local.get $fp) (i32.const 64))))`;
/** Loops with a value of the pointer that it did not write back. */
const LEAF = `
  (func $leaf (local $fp i32) (local $n i32)
    (local.set $fp (i32.sub (global.get $sp) (i32.const 32)))
    (loop $again
      (i32.store (local.get $fp) (local.get $n))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))))
  (func (export "run")
    (global.set $sp (i32.sub (global.get $sp) (i32.const 64)))
    (call $leaf)
    (global.set $sp (i32.add (global.get $sp) (i32.const 64))))`;

describe('the stack of LLVM', () => {
  it.each([
    ['all data above it', DATA_ABOVE, 0],
    ['__data_end above it', '(global (export "__data_end") i32 (i32.const 5000))', 0],
    ['__data_end below it', '(global (export "__data_end") i32 (i32.const 1500))', 1500],
    ['__stack_low', '(global (export "__stack_low") i32 (i32.const 1024))', 1024],
  ])('is dead below the pointer and its red zone, down to its floor: %s', (_, bound, floor) => {
    const { dead } = stopped(`${FRAMED} ${bound}`, 5, POINTER);
    expect(dead).toEqual([{ first: floor, end: 4096 - 64 - 128 }]);
  });

  it.each([
    ['nothing says where it ends', ''],
    ['some data lies below the top', `${DATA_ABOVE} (data (i32.const 4000) "data")`],
    ['data is put somewhere later', `${DATA_ABOVE} (data "passive")`],
    ['its floor is above it', '(global (export "__stack_low") i32 (i32.const 5000))'],
  ])('is kept when %s', (_, bound) => {
    expect(stopped(`${FRAMED} ${bound}`, 5, POINTER).dead).toEqual([]);
  });

  it('is kept while a function runs that may use its red zone', () => {
    expect(stopped(`${LEAF} ${DATA_ABOVE}`, 5, POINTER).dead).toEqual([]);
  });

  it.each([
    ['is below its floor', 'i32.const 512'],
    ['is above its top', 'i32.const 8192'],
    ['is not aligned', 'i32.const 4072'],
  ])('is kept when the pointer %s', (_, value) => {
    const moved = `(func $spin (loop $again (br $again)))
      (func (export "run") (global.set $sp (${value})) (call $spin))
      (global (export "__stack_low") i32 (i32.const 1024))`;
    expect(stopped(moved, 5, POINTER).dead).toEqual([]);
  });

  it('is kept under any other name of the pointer', () => {
    const other = POINTER.replace('__stack_pointer', 'stack_pointer');
    expect(stopped(`${FRAMED} ${DATA_ABOVE}`, 5, other).dead).toEqual([]);
  });
});

describe('declared regions', () => {
  const loop = '(func (export "run") (loop $again (br $again)))';
  const table = (at: number, ...words: number[]): string => {
    const bytes = Buffer.from(Uint32Array.from(words).buffer);
    return `(data (i32.const ${at}) "${[...bytes].map((b) => `\\${b.toString(16).padStart(2, '0')}`).join('')}")`;
  };
  const at1000 = '(global (export "sherd_dead") i32 (i32.const 1000))';

  it('are dead, as far as they are not the table', () => {
    const data = table(1000, 4, 3000, 500, 2000, 200, 2100, 400, 900, 300);
    expect(stopped(`${loop} ${data}`, 5, at1000).dead).toEqual([
      { first: 900, end: 1000 },
      { first: 1036, end: 1200 },
      { first: 2000, end: 2500 },
      { first: 3000, end: 3500 },
    ]);
  });

  it('are found through a global that the program sets, too', () => {
    const run = `(func (export "run") (global.set $t (i32.const 1000)) (loop $again (br $again)))`;
    const global = '(global $t (export "sherd_dead") (mut i32) (i32.const 0))';
    const { dead } = stopped(`${run} ${table(1000, 1, 64, 64)}`, 5, global);
    expect(dead).toEqual([{ first: 64, end: 128 }]);
  });

  it.each([
    ['reaches beyond the memory', table(1000, 2, 64, 64, 131_000, 100)],
    ['counts more than there can be', table(1000, 65_537, 64, 64)],
    ['wraps around', table(1000, 1, 2 ** 32 - 64, 128)],
  ])('are none when the table %s', (_, data) => {
    expect(stopped(`${loop} ${data}`, 5, at1000).dead).toEqual([]);
  });

  it.each([131_070, 131_072, 2 ** 32 - 2])(
    'are none when there is no room for a table at %d',
    (at) => {
      const global = `(global (export "sherd_dead") i32 (i32.const ${at}))`;
      expect(stopped(loop, 5, global).dead).toEqual([]);
    },
  );
});

describe('a capsule without dead memory', () => {
  const { loaded, state, dead } = stopped(`${FRAMED} ${DATA_ABOVE}`, 5, POINTER);
  const memory = state.memory!.bytes.slice().fill(7, 0, 4090);
  const full: ShardState = { ...state, memory: { ...state.memory!, bytes: memory } };
  const base = loaded.baseImage();
  const { bytes, sizes } = encodeCapsule({ ...facts, state: full, base, dead }, nodePlatform);
  const decoded = decodeCapsule(bytes, nodePlatform);

  it('stands for the memory with zeros there', () => {
    const expected = memory.slice();
    for (const { first, end } of dead) expected.fill(0, first, end);
    expect(Buffer.compare(decoded.state(base).memory!.bytes, expected)).toBe(0);
    expect(sizes.storedBytes).toBeLessThan(300);
  });

  it('says how many bytes it left out, also under another spec', () => {
    expect(decoded.header.deadBytes).toBe(4096 - 64 - 128);
    const again = rebindCapsule(bytes, { specHash: 'd'.repeat(64), limitPages: 3 }, nodePlatform);
    expect(decodeCapsule(again, nodePlatform).header.deadBytes).toBe(3904);
    const report = inspectCapsule(decoded, loaded.module, base);
    expect(report.memory?.deadBytes).toBe(3904);
    expect(renderReport(report)).toMatch(/dead +3\.8 KiB {2}zeros, whatever was there/);
  });

  it('is the capsule of before when nothing is dead', () => {
    const input = { ...facts, state: full, base };
    const without = encodeCapsule(input, nodePlatform).bytes;
    expect(encodeCapsule({ ...input, dead: [] }, nodePlatform).bytes).toEqual(without);
    expect(decodeCapsule(without, nodePlatform).header.deadBytes).toBe(0);
  });
});
