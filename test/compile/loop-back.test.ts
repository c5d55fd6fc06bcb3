/** Which branch goes back to a loop. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LoopBranches } from '../../host/compile/loop-back.js';
import { codeStart, parseModule } from '../../host/compile/module.js';
import { wat } from '../runtime/support.js';

/** Offsets of an opcode's bytes in the code of a module that has them nowhere else. */
function offsetsOf(program: Uint8Array, bytes: readonly number[]): number[] {
  const start = codeStart(parseModule(program));
  const code = Buffer.from(program).subarray(start);
  const found: number[] = [];
  for (let at = code.indexOf(Uint8Array.from(bytes)); at >= 0; ) {
    found.push(at);
    at = code.indexOf(Uint8Array.from(bytes), at + 1);
  }
  return found;
}

const LOOP = [0x03, 0x40];

describe('the branch back to a loop', () => {
  it('is the last one to it, of the loops in it and around it apart', () => {
    const program = wat(`(module (func (param i32)
      (loop $outer
        (br_if $outer (local.get 0))
        (loop $inner
          (block $b (br_if $b (local.get 0)) (br_if $outer (local.get 0)))
          (br_if $inner (local.get 0)))
        (block $c (br $outer)))))`);
    const back = new LoopBranches(program);
    const [outer = -1, inner = -1] = offsetsOf(program, LOOP);
    const [br = -1] = offsetsOf(program, [0x0c, 0x01]); // br $outer, from $c
    const [, , own = -1] = offsetsOf(program, [0x0d, 0x00]); // br_if $outer, $b, then $inner
    expect([back.of(outer), back.of(inner)]).toEqual([br, own]);
    for (const between of [outer + 1, inner - 1, inner + 1, br, 0]) {
      expect(back.of(between)).toBeUndefined();
    }
  });

  it('may be one of a table', () => {
    const program = wat(`(module (func (param i32)
      (block $out (loop $l (br_table $out $out $l (local.get 0))))))`);
    const [loop = -1] = offsetsOf(program, LOOP);
    expect(new LoopBranches(program).of(loop)).toBe(offsetsOf(program, [0x0e])[0]);
  });

  it('is none where a loop is left at its end, and outside of all code', () => {
    const program = wat('(module (func (param i32) (loop (br_if 1 (local.get 0)))))');
    const back = new LoopBranches(program);
    const [loop = -1] = offsetsOf(program, LOOP);
    expect(loop).toBeGreaterThan(0);
    for (const offset of [loop, -1, 2 ** 31, Number.NaN]) expect(back.of(offset)).toBeUndefined();
  });

  it('is none in what cannot be read', () => {
    const file = new URL('../fixtures/lines/lines5.wasm', import.meta.url);
    const program = new Uint8Array(readFileSync(file));
    const [loop = -1] = offsetsOf(program, LOOP);
    expect(new LoopBranches(program).of(loop)).toBeGreaterThan(loop);
    const cut = program.slice();
    cut[codeStart(parseModule(program)) + loop + 2] = 0xff; // no instruction
    expect(new LoopBranches(cut).of(loop)).toBeUndefined();
    expect(new LoopBranches(program.subarray(0, 40)).of(loop)).toBeUndefined();
  });
});
