/**
 * What fuzzing has found, as small modules: each once gave another result after some pauses.
 */
import { describe, expect, it } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import { every, type Subject, straight, through } from './drive.js';
import { assemble } from './modules.js';

function subject(name: string, text: string): Subject {
  const loaded = LoadedModule.load(compileProgram(assemble(text), nodePlatform), nodePlatform);
  return {
    name,
    loaded,
    entry: 'run',
    entryArgs: new Uint8Array(),
    spec: undefined,
    blobs: new Map(),
  };
}

function resultOf(text: string): bigint {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble(text)));
  return (exports.run as () => bigint)();
}

const CASES: readonly (readonly [string, string])[] = [
  [
    // A continuation rebuilt the operand from the local and did not save it for the second call.
    'an operand from a local that is overwritten between two calls',
    `(module
      (func $spin (param i64) (result i64) (local i32)
        i32.const 3 local.set 1
        loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end
        local.get 0)
      (func (export "run") (result i64) (local i64)
        i64.const 1000 local.set 0
        local.get 0
        i64.const 7 call $spin local.set 0
        local.get 0 call $spin
        i64.sub))`,
  ],
  [
    'an operand from local.tee that is overwritten in a loop',
    `(module
      (func $spin (param i64) (result i64) (local i32)
        i32.const 2 local.set 1
        loop $l local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l end
        local.get 0)
      (func (export "run") (result i64) (local i64 i32)
        i32.const 4 local.set 1
        i64.const 500 local.tee 0
        i64.const 3 call $spin drop
        loop $l
          local.get 0 i64.const 1 i64.add call $spin local.set 0
          local.get 1 i32.const 1 i32.sub local.tee 1 br_if $l
        end
        local.get 0
        i64.mul))`,
  ],
];

describe('once found by fuzzing', () => {
  it.each(CASES)('%s', (name, text) => {
    const each = subject(name, text);
    const expected = straight(each);
    expect(expected.results).toBe(
      Buffer.from(BigInt64Array.of(resultOf(text)).buffer).toString('hex'),
    );
    const fuel = expected.fuel!;
    for (let first = 1n; first <= fuel; first++) {
      for (let step = 1n; step <= fuel; step++) {
        const { outcome, hops } = through(each, every(step, fuel, first));
        expect([first, step, outcome]).toEqual([first, step, expected]);
        for (const [at, hash] of hops)
          expect([at, through(each, [at]).hops.get(at)]).toEqual([at, hash]);
      }
    }
  });
});
