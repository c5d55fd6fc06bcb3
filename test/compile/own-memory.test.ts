/**
 * Programs that import their memory, as Emscripten and `wasm-ld --import-memory` make them: the shard module has it as its own.
 *
 * Reference: the engine with a fresh memory of the import's limits; every way to cut the run up gives the same.
 */
import { describe, expect, it } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import { exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';

const SPIN = `(func $spin (local i32) i32.const 2 local.set 0
  loop $l local.get 0 i32.const 1 i32.sub local.tee 0 br_if $l end)`;

const IMPORT = '(import "env" "memory" (memory 1 3))';
const LOG = '(import "fuzz" "log" (func $log (param i32) (result i32)))';

/** Data, a loop over the memory, a fill of unknown length, growth up to the limit and beyond, a host call. */
const BODY = `${SPIN}
  (data (i32.const 8) "\\05\\06\\07")
  (global $sum (mut i32) (i32.const 0))
  (func (export "run") (result i32 i32) (local $i i32) (local $n i32)
    i32.const 8 i32.load8_u i32.const 40 i32.mul local.set $n
    i32.const 64 i32.const 3 local.get $n memory.fill
    i32.const 1 memory.grow global.set $sum
    call $spin
    loop $l
      local.get $i i32.load8_u global.get $sum i32.add global.set $sum
      local.get $i i32.const 16 i32.add local.tee $i i32.const 300 i32.lt_u br_if $l
    end
    i32.const 131000 global.get $sum i32.store
    i32.const 2 memory.grow call $log
    memory.size i32.add
    i32.const 131000 i32.load)`;

const CASES: readonly (readonly [string, string])[] = [
  ['between imported functions', `(module ${IMPORT} ${LOG} ${BODY})`],
  ['as the last import', `(module ${LOG} ${IMPORT} ${BODY})`],
  ['exported again', `(module ${LOG} ${IMPORT} (export "memory" (memory 0)) ${BODY})`],
  [
    'with an imported function in a table',
    `(module ${LOG} ${IMPORT} (table 1 funcref) (elem (i32.const 0) $log) ${BODY})`,
  ],
];

describe('an imported memory', () => {
  it.each(CASES)('%s: exact however it is cut up', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(20n);
  });

  it('as the only import, without a maximum, is the shard module’s own', () => {
    const bytes = assemble(
      '(module (import "a" "b" (memory 2)) (func (export "run") (result i32) memory.size))',
    );
    const shard = compileProgram(bytes, nodePlatform);
    expect(shard.memory).toEqual({ minPages: 2, maxPages: undefined });
    expect(shard.imports).toEqual([]);
    const engine = new WebAssembly.Module(Uint8Array.from(shard.bytes));
    expect(WebAssembly.Module.imports(engine).filter(({ kind }) => kind === 'memory')).toEqual([]);
    expect(LoadedModule.load(shard, nodePlatform).module.memory?.minPages).toBe(2);
  });
});

/** A module whose only import is of the given kind and type. */
const importing = (...type: readonly number[]): Uint8Array<ArrayBuffer> => {
  const entry = [1, 3, 0x65, 0x6e, 0x76, 3, 0x6d, 0x65, 0x6d, ...type]; // "env" "mem"
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 2, entry.length, ...entry]);
};

describe('refused by name, with the import', () => {
  const REFUSED: readonly (readonly [string, Uint8Array<ArrayBuffer>, RegExp])[] = [
    ['shared', importing(2, 3, 1, 2), /shared memory \(threads\).*import env\.mem/],
    ['of 64 bits', importing(2, 4, 1), /memory64.*import env\.mem/],
    ['larger than there can be', importing(2, 0, 0x81, 0x80, 4), /at most 65536 pages/],
    ['a table', importing(1, 0x70, 0, 1), /imports a table \(env\.mem\)/],
  ];
  it.each(REFUSED)('%s', (_, bytes, message) => {
    expect(() => compileProgram(bytes, nodePlatform)).toThrow(message);
  });

  it('a second memory', () => {
    const [head, body] = [importing(2, 0, 1), [5, 3, 1, 0, 1]];
    const bytes = Uint8Array.from([...head, ...body]);
    expect(() => compileProgram(bytes, nodePlatform)).toThrow(/multiple memories/);
  });
});
