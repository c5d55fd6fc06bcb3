import { describe, expect, test } from 'vitest';
import { compileLine, compileProgress } from '../../host/cli/compile-progress.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { wat } from '../runtime/support.js';

describe('the progress line of `sherd compile`', () => {
  test('is drawn at most every 100 ms and taken away at the end', () => {
    const written: string[] = [];
    let nowMs = 0;
    const progress = compileProgress({
      quiet: false,
      label: 'big.wasm',
      terminal: true,
      write: (text) => written.push(text),
      now: () => nowMs,
    });
    for (let done = 0; done <= 34_000; done += 1_000) {
      nowMs += 40;
      progress.told!(done, 34_000);
    }
    progress.end();
    progress.end();
    expect(written.length).toBe(12);
    expect(written[0]).toBe('\r\x1b[2Kcompiling big.wasm · 2,000 of 34,000 functions · 5 %');
    expect(written.at(-1)).toBe('\r\x1b[2K');
  });

  test('is not there without a terminal, or when nothing shall be printed', () => {
    const write = (): never => {
      throw new Error('written');
    };
    expect(
      compileProgress({ quiet: false, label: '', terminal: false, write }).told,
    ).toBeUndefined();
    expect(compileProgress({ quiet: true, label: '', terminal: true, write }).told).toBeUndefined();
  });

  test('ends with all functions of the program', () => {
    const module = wat('(module (func) (func (loop)) (func (export "f") (call 1)))');
    const told: [number, number][] = [];
    compileProgram(module, nodePlatform, { progress: (...now) => told.push(now) });
    expect(told).toEqual([
      [0, 3],
      [3, 3],
    ]);
    expect(compileLine('a', 3, 3)).toBe('compiling a · 3 of 3 functions · 100 %');
  });
});
