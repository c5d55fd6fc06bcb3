/** Source lines from DWARF: what clang writes in versions 4 and 5, and sections that somebody damaged. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { customSections, LineTable } from '../../host/compile/debug-line.js';
import { compileProgram } from '../../host/compile/index.js';
import { initialI32 } from '../../host/compile/initial-global.js';
import { scanSections } from '../../host/compile/module.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Random } from '../exact/random.js';

const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../fixtures/lines/${name}`, import.meta.url)));
const SOURCE = new TextDecoder().decode(fixture('heap.c')).split('\n');
const WHERE = {
  start: { call: /deep\(12/, loop: /for \(/ },
  mix: { loop: /for \(/ },
  deep: { call: /mix\(|deep\(level/, loop: /for \(/ },
} as const;

describe.each([4, 5])('DWARF %i of clang', (version) => {
  const program = fixture(`lines${version}.wasm`);
  const table = LineTable.read(program);

  it('names file and line of every safepoint', () => {
    const module = compileProgram(program, nodePlatform);
    const seen: string[] = [];
    for (const { name, safepoints } of module.functions) {
      const wanted: Readonly<Record<string, RegExp>> = WHERE[name as keyof typeof WHERE] ?? {};
      for (const { kind, offset } of safepoints) {
        const line = wanted[kind];
        if (line === undefined) continue;
        const place = table?.placeOf(offset);
        expect(place?.file.endsWith('heap.c'), `${name} ${kind} ${place?.file}`).toBe(true);
        expect(SOURCE[(place?.line ?? 0) - 1], `${name} ${kind}`).toMatch(line);
        expect(place?.column).toBeGreaterThan(0);
        seen.push(`${name} ${kind}`);
      }
    }
    expect([...new Set(seen)].sort()).toEqual([
      'deep call',
      'deep loop',
      'mix loop',
      'start call',
      'start loop',
    ]);
  });

  it('knows nothing of offsets before and behind the code', () => {
    expect(table?.find(0)).toBeUndefined();
    expect(table?.find(2 ** 31)).toBeUndefined();
  });

  it('survives any damage', () => {
    const names = ['.debug_line', '.debug_line_str', '.debug_str'];
    const sections = scanSections(program).filter(({ name }) => names.includes(name));
    const random = new Random(version);
    for (let i = 0; i < 3000; i++) {
      const copy = program.slice();
      for (let n = random.between(1, 6); n > 0; n--) {
        const { bodyStart, end } = random.pick(sections);
        const from = bodyStart + 16; // behind the name
        copy[from + random.below(end - from)] = random.pick([
          0,
          1,
          0x7f,
          0x80,
          0xff,
          random.below(256),
        ]);
      }
      expect(() => LineTable.read(copy)?.find(100)).not.toThrow();
    }
  });
});

describe('programs without', () => {
  it('have no table', () => {
    expect(LineTable.read(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))).toBeUndefined();
    expect([...customSections(fixture('lines5.wasm')).keys()]).toContain('.debug_line_str');
  });
});

describe('initial values of globals', () => {
  it('are read where they are plain', () => {
    const stackTop = initialI32(fixture('lines4.wasm'), 0);
    expect(stackTop).toBeGreaterThan(65_536);
    expect(initialI32(fixture('lines4.wasm'), 5)).toBeUndefined();
  });
});
