import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../host/compile/bytes.js';
import {
  compileProgram,
  isShardModule,
  plainFunction,
  readShardModule,
} from '../../host/compile/index.js';
import { OP } from '../../host/compile/opcodes.js';
import { nodePlatform } from '../../host/node/platform.js';
import { EXIT, SherdError } from '../../host/types/errors.js';
import type { ShardModule } from '../../host/types/module.js';
import { Random } from '../exact/random.js';
import { wat } from '../runtime/support.js';
import { judge, mutant, type Verdict } from './mutants.js';

const SAMPLE =
  wat(`(module (memory 1) (table 2 funcref) (global $g (mut i32) (i32.const 1)) (elem (i32.const 0) $a $b) (data (i32.const 8) "abc")
  (type $t (func (param i32) (result i32)))
  (func $a (param i32) (result i32) (loop $l (result i32) (br_if $l (i32.eqz (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)))
  (func $b (param i32) (result i32) (block $x (block $y (br_table $x $y (local.get 0)))) (call_indirect (type $t) (i32.load (local.get 0)) (i32.const 0)))
  (func $c (export "c") (param i32) (result i32) (local i64 f64 v128) (if (result i32) (local.get 0) (then (call $b (local.get 0))) (else (i32.const 3)))))`);

/** Compiles; true when accepted, false when refused as it should be. Anything else fails the test. */
function accepted(bytes: Uint8Array): boolean {
  try {
    const module = compileProgram(bytes, nodePlatform);
    expect(WebAssembly.validate(module.bytes as BufferSource)).toBe(true);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(SherdError);
    const refusal = error as SherdError;
    const traps = refusal.code === 'SHERD_TRAP';
    expect(refusal.exitCode).toBe(traps ? EXIT.trap : EXIT.refused);
    expect(refusal.code).not.toBe('SHERD_INTERNAL');
    expect(refusal.message.length).toBeGreaterThan(8);
    return false;
  }
}

describe('hostile input', () => {
  test('every truncation is refused', () => {
    for (let length = 0; length < SAMPLE.length; length++) {
      const cut = SAMPLE.subarray(0, length);
      // Cutting behind a whole section leaves a module that may be valid, as long as nothing that it needs is gone.
      if (accepted(cut)) expect(WebAssembly.validate(cut as BufferSource)).toBe(true);
    }
  });

  test('mutations are refused with a reason, or compiled to a valid module', () => {
    const mutation = fc.record({
      at: fc.nat(SAMPLE.length - 1),
      value: fc.integer({ min: 0, max: 255 }),
    });
    let refused = 0;
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
        const bytes = SAMPLE.slice();
        for (const { at, value } of mutations) bytes[at] = value;
        const ok = accepted(bytes);
        if (!ok) refused++;
        if (ok) expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
      }),
      { numRuns: 20_000 },
    );
    expect(refused).toBeGreaterThan(1000);
  });

  test('damaged programs of every kind are compiled to valid modules or refused with a place', () => {
    const fixture = new URL('../fixtures/levels/coremix.O3-features.wasm', import.meta.url);
    const bases = [new Uint8Array(SAMPLE), new Uint8Array(readFileSync(fixture))];
    const verdicts = new Set<Verdict>();
    for (let seed = 1; seed <= 1_500; seed++)
      verdicts.add(judge(mutant(bases[seed % bases.length]!, new Random(seed))));
    verdicts.delete('traps at once'); // there may be none
    expect([...verdicts].sort()).toEqual(['compiled', 'malformed', 'refused by feature']);
  });

  test('what is invalid is said so, also where analysis relies on what it breaks', () => {
    // The address of an import that nothing declares: (func (drop (ref.func 0))).
    const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
    const imported = [1, ...name('wasi_snapshot_preview1'), ...name('proc_exit'), 0, 0];
    const bytes = Uint8Array.of(
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 8, 2, 0x60, 1, 0x7f, 0, 0x60, 0, 0],
      ...[2, imported.length, ...imported, 3, 2, 1, 1, 10, 7, 1, 5, 0, 0xd2, 0, 0x1a, 0x0b],
    );
    expect(() => compileProgram(bytes, nodePlatform)).toThrow(
      expect.objectContaining({
        code: 'SHERD_WASM_MALFORMED',
        message: expect.stringContaining('undeclared reference to function #0'),
      }),
    );
  });

  test('50,000 functions, and one function of 1 MB', () => {
    const sized = (id: number, body: ByteWriter): ByteWriter =>
      new ByteWriter(body.length + 8).u8(id).u32(body.length).put(body.view());
    const made = (functions: number, code: ByteWriter): Uint8Array => {
      const types = new ByteWriter().u32(1).u8(0x60).u32(0).u32(0);
      const declared = new ByteWriter(functions + 8).u32(functions);
      const bodies = new ByteWriter(1 << 21).u32(functions);
      for (let i = 0; i < functions; i++) {
        declared.u32(0);
        bodies.u32(code.length).put(code.view());
      }
      const out = new ByteWriter(1 << 21).put(SAMPLE.subarray(0, 8));
      for (const part of [sized(1, types), sized(3, declared), sized(10, bodies)])
        out.put(part.view());
      return out.finish();
    };
    const loop = Uint8Array.of(OP.loop, 0x40, OP.i32Const, 0, OP.brIf, 0, OP.end);
    const small = new ByteWriter().u32(0).put(loop).u8(OP.end);
    expect(accepted(made(50_000, small))).toBe(true);
    const large = new ByteWriter(1 << 21).u32(0);
    while (large.length < 1_000_000) large.put(loop);
    expect(accepted(made(1, large.u8(OP.end)))).toBe(true);
  });

  test('mutated shard modules are refused or read', () => {
    const shard = compileProgram(SAMPLE, nodePlatform).bytes;
    fc.assert(
      fc.property(fc.nat(shard.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const bytes = shard.slice();
        bytes[at] = value;
        try {
          readShardModule(bytes, nodePlatform);
        } catch (error) {
          expect(error).toBeInstanceOf(SherdError);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test('deep nesting and many locals work or get a clear limit', () => {
    const deep = (n: number): Uint8Array => {
      const body = Uint8Array.from([
        0,
        ...Array<number[]>(n).fill([0x02, 0x40]).flat(),
        ...Array<number>(n).fill(0x0b),
        0x0b,
      ]);
      const leb = (v: number): number[] => (v < 128 ? [v] : [(v & 127) | 128, ...leb(v >> 7)]);
      const code = [1, ...leb(body.length), ...body];
      return Uint8Array.from([
        0,
        0x61,
        0x73,
        0x6d,
        1,
        0,
        0,
        0,
        1,
        4,
        1,
        0x60,
        0,
        0,
        3,
        2,
        1,
        0,
        10,
        ...leb(code.length),
        ...code,
      ]);
    };
    expect(accepted(deep(10_000))).toBe(true);
    expect(accepted(deep(60_000))).toBe(false);
  });
});

describe('what a file is', () => {
  test('text, a component and a shard module are told apart', () => {
    const reason = (bytes: Uint8Array): string => {
      try {
        compileProgram(bytes, nodePlatform);
        return 'compiled';
      } catch (error) {
        return (error as SherdError).code;
      }
    };
    expect(reason(new TextEncoder().encode('console.log(1)'))).toBe('SHERD_NOT_WASM');
    expect(reason(new Uint8Array(0))).toBe('SHERD_NOT_WASM');
    expect(reason(Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0))).toBe(
      'SHERD_FEATURE_UNSUPPORTED',
    );
    const shard = compileProgram(SAMPLE, nodePlatform);
    expect(reason(shard.bytes)).toBe('SHERD_FEATURE_UNSUPPORTED');
    expect(isShardModule(shard.bytes)).toBe(true);
    expect(isShardModule(SAMPLE)).toBe(false);
  });

  test('compiling is deterministic and reading gives the same facts', () => {
    const a = compileProgram(SAMPLE, nodePlatform);
    const b = compileProgram(SAMPLE, nodePlatform);
    expect(Buffer.compare(a.bytes, b.bytes)).toBe(0);
    const facts = (module: ShardModule) => ({
      ...module,
      functions: module.functions.map(plainFunction),
    });
    const read = facts(readShardModule(a.bytes, nodePlatform));
    expect(read).toEqual(facts(a));
    expect(read.functions.map(({ calls, loops }) => ({ calls, loops }))).toEqual([
      { calls: [], loops: 1 },
      { calls: [], loops: 0 },
      { calls: [1], loops: 0 },
    ]);
    expect(read.functions[2]!.safepoints.map(({ kind, live }) => ({ kind, live }))).toEqual([
      { kind: 'call', live: [] },
    ]);
  });
});
