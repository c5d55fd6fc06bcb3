/** What changed between two capsules; the memory map and what made a capsule big. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DecodedCapsule, decodeCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import { diffCapsules } from '../../host/capsule/diff.js';
import { contributors, mapLines, mapSvg, memoryMap } from '../../host/capsule/memory-map.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { BaseImage, ShardState } from '../../host/types/state.js';
import { anyCase, facts, smallCase } from './arbitrary.js';

const PAGE = 4096;
/** What is stored at least. */
const UNIT = 64;
const decoded = (state: ShardState, base: BaseImage): DecodedCapsule =>
  decodeCapsule(encodeCapsule({ ...facts, state, base }, nodePlatform).bytes, nodePlatform);

/** The state with bytes of its memory written. */
function written(state: ShardState, at: number, bytes: readonly number[]): ShardState {
  if (state.memory === null) throw new Error('no memory');
  const copy = state.memory.bytes.slice();
  copy.set(bytes, at);
  return { ...state, memory: { ...state.memory, bytes: copy } };
}

const noHints = { stackTop: undefined, stackPointer: undefined };
const { state, base } = smallCase();

describe('a difference', () => {
  it('is none, and only then, between equal capsules', () => {
    fc.assert(
      fc.property(anyCase, anyCase, (one, other) => {
        const a = decoded(one.state, one.base);
        const same = diffCapsules(a, decoded(one.state, one.base), { base: one.base });
        expect(same.equal).toBe(true);
        expect([
          same.header,
          same.globals,
          same.host,
          same.stack.before,
          same.memory.ranges,
        ]).toEqual([[], [], [], [], []]);
        const b = decoded(other.state, other.base);
        expect(diffCapsules(a, b).equal).toBe(a.hash === b.hash);
      }),
      { numRuns: 60 },
    );
  });

  it('of memory is found where it is, whichever side stores the page', () => {
    fc.assert(
      fc.property(fc.nat(65_536 - 4), fc.boolean(), (at, swapped) => {
        const memory = state.memory;
        if (memory === null) return;
        const old = memory.bytes.subarray(at, at + 4);
        const changed = written(
          state,
          at,
          [...old].map((byte) => byte ^ 0x55),
        );
        const [a, b] = [decoded(state, base), decoded(changed, base)];
        const diff = swapped ? diffCapsules(b, a, { base }) : diffCapsules(a, b, { base });
        const units = Math.floor((at + 3) / 64) - Math.floor(at / 64) + 1;
        expect(diff.memory.changedBytes).toBe(64 * units);
        const [range] = diff.memory.ranges;
        expect(range?.at).toBe(at);
        const inPage = Math.min(4, PAGE - (at % PAGE), 64 * units);
        const hex = Buffer.from(
          swapped ? old : changed.memory!.bytes.subarray(at, at + 4),
        ).toString('hex');
        expect(range?.after.slice(0, 2 * inPage)).toBe(hex.slice(0, 2 * inPage));
      }),
      { numRuns: 60 },
    );
  });

  it('is taken of full capsules only', () => {
    const full = decoded(state, base);
    const { pages, bytes } = state.memory!;
    const on = { capsule: full.hash, below: [], pages, bytes };
    const delta = decodeCapsule(
      encodeCapsule({ ...facts, state, base: on }, nodePlatform).bytes,
      nodePlatform,
    );
    expect(() => diffCapsules(full, delta, { base })).toThrow('a full capsule');
  });

  it('names fuel, header, globals, frames and host state', () => {
    const globals = state.globals.slice();
    globals[0] = 99;
    const [outer, inner] = state.frames;
    if (outer === undefined || inner === undefined) throw new Error('two frames');
    const after: ShardState = {
      ...state,
      fuelUsed: state.fuelUsed + 5n,
      globals,
      frames: [outer, { ...inner, safepoint: 7 }, inner],
      growRefused: false,
      host: {
        files: [{ path: '/tmp/x', offset: 13n }],
        random: Uint8Array.of(1, 2, 3),
        more: true,
      },
    };
    const diff = diffCapsules(decoded(state, base), decoded(after, base), { base });
    expect(diff.fuel.more).toBe('5');
    expect(diff.header).toEqual([{ name: 'growRefused', before: true, after: false }]);
    expect(diff.globals.map(({ name }) => name)).toEqual(['global 0']);
    expect(diff.stack).toEqual({
      same: 1,
      before: ['function 300, safepoint 0'],
      after: ['function 300, safepoint 0', 'function 300, safepoint 7'],
    });
    expect(diff.host).toEqual([
      { name: 'files.0.offset', before: '12n', after: '13n' },
      { name: 'more', before: null, after: true },
    ]);
    expect(diff.memory.changedBytes).toBe(0);
  });
});

describe('the memory map', () => {
  const capsule = decoded(state, base);

  it('tells stored, zeroed and untouched pages apart', () => {
    const map = memoryMap(capsule, base, noHints);
    expect([...(map?.cells ?? [])].join('')).toBe('1020050000000000');
    expect(map?.storedBytes).toEqual({ data: 0, stack: 0, heap: UNIT });
    expect(map?.runs).toEqual([{ address: 5 * PAGE, bytes: UNIT, region: 'heap' }]);
    expect(mapLines(map!)[0]).toBe('0x00000000  -.z..H..........');
  });

  it('finds the stack below data, above data, or none', () => {
    const region = (
      at: number,
      hints: { stackTop: number | undefined; stackPointer: number | undefined },
    ) =>
      memoryMap(decoded(written(state, at, [1, 2, 3]), base), base, hints)?.runs.find(
        ({ address, bytes }) => at >= address && at < address + bytes,
      )?.region;
    const above = { stackTop: 8 * PAGE, stackPointer: 6 * PAGE + 100 };
    expect([1, 4, 6, 7, 8].map((page) => region(page * PAGE + 9, above))).toEqual([
      ...['data', 'data', 'stack', 'stack', 'heap'],
    ]);
    expect(region(PAGE + 9, noHints)).toBe('data');
    expect(region(9 * PAGE, noHints)).toBe('heap');
  });

  it('is drawn in bounds, with text of others made harmless', () => {
    const svg = mapSvg(memoryMap(capsule, base, noHints)!, '<script>&\u001b[31m', 'x');
    expect(svg).toContain('&lt;script&gt;&amp;?[31m');
    expect(svg).not.toContain('<script>');
    const width = Number(/width="(\d+)"/.exec(svg)?.[1]);
    for (const [, x, w] of svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g))
      expect(Number(x) + Number(w)).toBeLessThanOrEqual(width);
  });

  it('and the list of what is big account for the capsule', () => {
    const list = contributors(capsule, memoryMap(capsule, base, noHints), undefined);
    expect(list[0]).toEqual({ what: 'header', bytes: capsule.sizes.headerBytes });
    expect(list).toContainEqual({ what: 'memory: heap', bytes: UNIT });
    const listed = list.filter(({ what }) => what.startsWith('memory: '));
    expect(listed.reduce((total, { bytes }) => total + bytes, 0)).toBe(capsule.sizes.memoryBytes);
    const full = decoded(written(state, 6 * PAGE, new Array<number>(PAGE).fill(3)), base);
    expect(contributors(full, memoryMap(full, base, noHints), undefined)[0]).toEqual({
      what: 'memory: heap',
      bytes: PAGE + UNIT,
    });
    const sum = list.reduce((total, { bytes }) => total + bytes, 0);
    expect(sum).toBeLessThanOrEqual(capsule.bytes.length);
    expect(sum).toBeGreaterThan(capsule.bytes.length * 0.95);
    expect(list.map(({ what }) => what)).toContain('frames: 1 of function 300');
    expect([...list].sort((a, b) => b.bytes - a.bytes).map(({ bytes }) => bytes)).toEqual(
      list.map(({ bytes }) => bytes),
    );
  });
});
