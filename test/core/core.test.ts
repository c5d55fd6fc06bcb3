/**
 * core.wasm and its host side against a plain model: find, pack, write back, merge, refuse.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Core, coreOf, PACKED_BYTES } from '../../host/core/core.js';
import {
  checkTable,
  type Difference,
  eachRun,
  TableWriter,
  UNIT_BYTES,
} from '../../host/core/difference.js';
import { applyDifference, copyPayload, type ScanInput, scan } from '../../host/core/scan.js';
import { nodePlatform } from '../../host/node/platform.js';
import { webPlatform } from '../../host/runtime/platform-web.js';
import type { Platform } from '../../host/types/platform.js';
import {
  BLOCK,
  coreWasm,
  dense,
  type MemoryCase,
  memoryCase,
  modelDiff,
  modelTable,
  sparse,
  UNIT,
  withDead,
} from './model.js';

let platforms: Platform[];
beforeAll(async () => {
  platforms = [nodePlatform, await webPlatform({ coreWasm })];
});

const fail = (reason: string): Error => new Error(reason);

function differenceOf(input: ScanInput, platform: Platform = nodePlatform): Difference {
  const scanned = scan(input, platform);
  const payload = new Uint8Array(scanned.dataUnits * UNIT_BYTES);
  copyPayload(payload, input, scanned);
  const facts = checkTable(scanned.table, input.memory.length / UNIT, fail);
  const { runs, dataUnits, zeroUnits } = scanned;
  expect(facts).toMatchObject({ runs, dataUnits, zeroUnits });
  return { ...facts, table: scanned.table, payload };
}

function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
}

const inputsOf = (each: MemoryCase, withoutDead = false): ScanInput[] =>
  [sparse(each), dense(each)].map((base) => ({
    memory: each.memory,
    base,
    ...(withoutDead ? {} : { dead: each.dead }),
  }));

describe('scan', () => {
  it('is the model, on every platform, for sparse and dense bases, with and without dead ranges', () => {
    fc.assert(
      fc.property(memoryCase, fc.boolean(), (each, withoutDead) => {
        const dead = withoutDead ? [] : each.dead;
        const expected = modelDiff(withDead(each.memory, dead), each.before);
        const kept = each.memory.slice();
        for (const platform of platforms) {
          for (const input of inputsOf(each, withoutDead)) {
            const { table, payload } = differenceOf(input, platform);
            expectBytes(table, modelTable(expected));
            expectBytes(payload, expected.payload);
          }
        }
        expectBytes(each.memory, kept);
      }),
      { numRuns: 150 },
    );
  }, 120_000);

  it.each([
    ['of nothing written', () => {}, 0, 0],
    ['of all zero where the base was not', (m: Uint8Array) => m.fill(0), 0, 1],
    ['of everything changed', (m: Uint8Array) => m.fill(9), 1, 0],
  ])('%s has at most one run', (_, change, data, zero) => {
    const before = new Uint8Array(2 * BLOCK).fill(7);
    const memory = before.slice();
    change(memory);
    const base = { capsule: '', below: [], pages: 2, bytes: before };
    const found = differenceOf({ memory, base });
    const units = (2 * BLOCK) / UNIT;
    expect([found.dataUnits, found.zeroUnits]).toEqual([data * units, zero * units]);
    expect(found.runs).toBe(data + zero);
  });

  it('goes on where the packed payload and the window of the table end', () => {
    const pages = 200;
    const memory = new Uint8Array(pages * BLOCK);
    // Every third unit: more runs than the table's window holds, more payload than is packed in passing.
    for (let unit = 0; unit < memory.length / UNIT; unit++) {
      if (unit % 3 !== 0 || unit % 1000 > 990)
        memory.fill((unit % 250) + 1, unit * UNIT + 5, (unit + 1) * UNIT);
    }
    const dead = [
      { first: 10, end: 100 },
      { first: 170 * BLOCK + 77, end: 171 * BLOCK + 8_000 },
    ];
    const base = { pages: 0, nonZero: new Map() };
    const found = differenceOf({ memory, base, dead });
    expect(found.payload.length).toBeGreaterThan(PACKED_BYTES * 1.5);
    expect(found.table.length).toBeGreaterThan(BLOCK);
    const target = new Uint8Array(memory.length);
    applyDifference(found, target, nodePlatform);
    expectBytes(target, withDead(memory, dead));
  });
});

describe('apply', () => {
  it('is the inverse of scan, in either way', () => {
    fc.assert(
      fc.property(memoryCase, (each) => {
        const found = differenceOf(inputsOf(each)[1]!);
        const expected = withDead(each.memory, each.dead);
        const one = each.before.slice();
        applyDifference(found, one, nodePlatform);
        expectBytes(one, expected);
        const two = each.before.slice();
        coreOf(nodePlatform).apply(found, two);
        expectBytes(two, expected);
      }),
      { numRuns: 100 },
    );
  }, 60_000);
});

describe('merge', () => {
  /** Each unit's writer: nobody, the first, the second, or both. */
  const owners = fc.array(
    fc.tuple(fc.constantFrom('', 'a', 'b', '', 'a', 'b', 'ab'), fc.integer({ min: 1, max: 40 })),
    { maxLength: 30 },
  );

  it('of disjoint differences is the difference of both writes; an overlap is told by its first unit', () => {
    fc.assert(
      fc.property(memoryCase, owners, fc.boolean(), (each, list, allowOverlap) => {
        const a = each.before.slice();
        const b = each.before.slice();
        const both = each.before.slice();
        let overlap = -1;
        let unit = 0;
        for (const [who, count] of list) {
          for (let i = 0; i < count && unit < both.length / UNIT; i++, unit++) {
            const owner = who === 'ab' && !allowOverlap ? 'a' : who;
            const value =
              each.memory[unit * UNIT] === 0 ? 0 : (each.memory[unit * UNIT] ?? 0) ^ 0x81;
            const range = [unit * UNIT, (unit + 1) * UNIT] as const;
            if (owner.includes('a')) a.fill(value, ...range);
            if (owner.includes('b')) b.fill(value, ...range);
            if (owner !== '') both.fill(value, ...range);
            const changed = (m: Uint8Array): boolean =>
              Buffer.compare(m.subarray(...range), each.before.subarray(...range)) !== 0;
            if (overlap < 0 && changed(a) && changed(b)) overlap = unit;
          }
        }
        const base = dense({ ...each, basePages: both.length / BLOCK });
        const [da, db] = [a, b].map((memory) => differenceOf({ memory, base })) as [
          Difference,
          Difference,
        ];
        for (const [x, y] of [
          [da, db],
          [db, da],
        ] as const) {
          const merged = coreOf(nodePlatform).merge(x, y);
          if (overlap >= 0) {
            expect(merged).toEqual({ kind: 'overlap', unit: overlap });
            continue;
          }
          if (merged.kind !== 'merged') return expect.fail(`overlap at ${merged.unit}`);
          const expected = modelDiff(both, each.before);
          expectBytes(merged.table, modelTable(expected));
          expectBytes(merged.payload, expected.payload);
        }
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  it('gives back the memory that a large one needed', () => {
    const units = 300_000;
    const table = (first: number): Uint8Array => {
      const writer = new TableWriter(1);
      writer.add(0, first, units);
      return writer.finish();
    };
    const make = (first: number, fill: number): Difference => ({
      ...checkTable(table(first), 2 ** 26, fail),
      table: table(first),
      payload: new Uint8Array(units * UNIT).fill(fill),
    });
    const core = new Core(nodePlatform.coreModule());
    const before = core.memoryBytes;
    const merged = core.merge(make(units, 2), make(0, 1));
    if (merged.kind !== 'merged') return expect.fail('they do not overlap');
    expect(merged.table).toEqual(modelTable({ runs: [['data', 0, 2 * units]] }));
    expect([merged.payload[0], merged.payload.at(-1)]).toEqual([1, 2]);
    expect(core.memoryBytes).toBe(before);
  });
});

describe('tables', () => {
  const runs = fc
    .array(fc.tuple(fc.nat(5000), fc.integer({ min: 1, max: 70_000 }), fc.constantFrom(0, 1)))
    .map((list) => {
      let end = 0;
      return list.map(([gap, count, kind]) => {
        const first = end + gap;
        end = first + count;
        return { kind: kind as 0 | 1, first, count };
      });
    });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(runs, (list) => {
        const writer = new TableWriter(list.length);
        for (const { kind, first, count } of list) writer.add(kind, first, count);
        const table = writer.finish();
        const units = new Map<number, number>();
        let total = 0;
        eachRun(table, (kind, first, count) => {
          units.set(first, kind);
          total += count;
        });
        expect(total).toBe(list.reduce((sum, { count }) => sum + count, 0));
        for (const { kind, first } of list) {
          const before = list.find((each) => each.first + each.count === first);
          if (before?.kind !== kind) expect(units.get(first)).toBe(kind);
        }
        expect(checkTable(table, 2 ** 26, fail).runs).toBe(units.size);
      }),
    );
  });

  it('hold a run of all units that a memory can have', () => {
    const writer = new TableWriter(1);
    writer.add(1, 0, 2 ** 26);
    expect(checkTable(writer.finish(), 2 ** 26, fail)).toMatchObject({ zeroUnits: 2 ** 26 });
  });

  it.each([
    ['cut short in a number', [0x80], 'cut short'],
    ['cut short between two', [3], 'cut short'],
    ['a long form', [0x80, 0x00, 4], 'malformed number'],
    ['a number beyond 32 bits', [0xff, 0xff, 0xff, 0xff, 0x1f, 4], 'malformed number'],
    ['an empty run', [3, 0], 'empty'],
    ['kind 2', [3, 4 + 2], 'unknown kind'],
    ['kind 3', [3, 4 + 3], 'unknown kind'],
    ['two runs that should be one', [3, 4, 0, 4], 'goes on'],
    ['a run beyond the end', [0xff, 0x07, 8], 'ends at unit 1025 of 1024'],
  ])('%s is refused', (_, bytes, reason) => {
    expect(() => checkTable(Uint8Array.from(bytes), 1024, fail)).toThrow(reason);
  });
});

describe('the module', () => {
  it('has no imports, no data, no elements, and exports its memory', () => {
    const module = new WebAssembly.Module(coreWasm);
    expect(WebAssembly.Module.imports(module)).toEqual([]);
    const kinds = WebAssembly.Module.exports(module).map(({ name, kind }) => [name, kind]);
    expect(kinds).toContainEqual(['memory', 'memory']);
    const sections: number[] = [];
    for (let at = 8; at < coreWasm.length; ) {
      sections.push(coreWasm[at++]!);
      let size = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = coreWasm[at++]!;
        size |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      at += size;
    }
    // 8 start, 9 elements, 11 data: nothing of the module's own is in its memory.
    expect(sections.filter((id) => [8, 9, 11].includes(id))).toEqual([]);
  });
});
