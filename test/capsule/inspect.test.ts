/**
 * Reports show what is stored, exactly, and never fail where module and capsule disagree.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeCapsule,
  encodeCapsule,
  inspectCapsule,
  inspectModule,
  renderReport,
} from '../../host/capsule/index.js';
import { readValue } from '../../host/capsule/values.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { FunctionInfo, SafepointInfo, ShardModule } from '../../host/types/module.js';
import type { ShardState, ValType } from '../../host/types/state.js';
import { anyCase, facts, hashOf, smallCase } from './arbitrary.js';

const loop = (live: number[]): SafepointInfo => ({
  kind: 'loop',
  offset: 0x1234,
  live,
  results: [],
});

function func(index: number, name: string | undefined, part: Partial<FunctionInfo>): FunctionInfo {
  return {
    index,
    name,
    localNames: new Map(),
    params: [],
    results: [],
    instrumented: true,
    slots: [],
    safepoints: [],
    calls: [],
    indirectCalls: false,
    loops: 1,
    loopDepth: 1,
    instructions: 1234,
    readsMemory: true,
    writesMemory: false,
    ...part,
  };
}

const module: ShardModule = {
  bytes: new Uint8Array(8),
  skeleton: new Uint8Array(),
  moduleHash: hashOf('b'),
  programHash: hashOf('a'),
  abi: 1,
  imports: [{ module: 'env', field: 'f', params: ['i32'], results: [] }],
  exports: new Map([['_start', 1]]),
  hasStart: false,
  functions: [
    func(1, 'render', {
      params: ['i32'],
      slots: [
        { type: 'i32', local: 0 },
        { type: 'f64', local: 2 },
        { type: 'v128', local: 3 },
        { type: 'i64', local: -1 },
      ],
      safepoints: [loop([]), loop([0, 1, 2, 3])],
      localNames: new Map([[2, 'angle']]),
      calls: [2],
      indirectCalls: true,
    }),
    func(2, undefined, { safepoints: [{ kind: 'entry', offset: 0, live: [], results: [] }] }),
  ],
  memory: { minPages: 1, maxPages: undefined },
  mutableGlobals: [
    { index: 0, type: 'i32', name: 'stack' },
    { index: 3, type: 'f32', name: undefined },
  ],
  sizes: {
    programBytes: 1000,
    moduleBytes: 1500,
    programCodeBytes: 800,
    moduleCodeBytes: 1200,
    functionsInstrumented: 2,
    functionsTotal: 2,
    safepoints: 3,
  },
};

function sample(): ShardState {
  const slots = new Uint8Array(40);
  const view = new DataView(slots.buffer);
  view.setInt32(0, -5, true);
  view.setBigUint64(8, 0xfff8_0000_0000_0123n, true);
  slots.fill(0xab, 16, 32);
  view.setBigInt64(32, -(2n ** 63n), true);
  const globals = new Uint8Array(16);
  new DataView(globals.buffer).setInt32(0, 66_560, true);
  new DataView(globals.buffer).setFloat32(8, 0.1, true);
  return {
    ...smallCase().state,
    frames: [
      { func: 2, safepoint: 0, slots: new Uint8Array(0) },
      { func: 1, safepoint: 1, slots },
    ],
    globals,
  };
}

function decodedOf(state: ShardState) {
  const { bytes } = encodeCapsule({ ...facts, state, base: smallCase().base }, nodePlatform);
  return decodeCapsule(bytes, nodePlatform);
}

describe('inspectCapsule', () => {
  it('names frames, locals and globals, and survives JSON', () => {
    const report = inspectCapsule(decodedOf(sample()), module, smallCase().base);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(report).toMatchObject({
      named: true,
      status: 'stopped',
      fuelUsed: '123456789012',
      framesTotal: 2,
    });
    expect(report.frames).toEqual([
      {
        depth: 0,
        func: 1,
        name: 'render',
        safepoint: 1,
        kind: 'loop',
        offset: 0x1234,
        locals: [
          { name: 'param 0', type: 'i32', value: '-5' },
          { name: 'angle', type: 'f64', value: '-nan:0x8000000000123' },
          { name: 'local 3', type: 'v128', value: `0x${'ab'.repeat(16)}` },
          { name: 'operand 3', type: 'i64', value: '-9223372036854775808' },
        ],
        raw: null,
      },
      {
        depth: 1,
        func: 2,
        name: null,
        safepoint: 0,
        kind: 'entry',
        offset: 0,
        locals: [],
        raw: null,
      },
    ]);
    expect(report.globals).toEqual([
      { index: 0, name: 'stack', type: 'i32', value: '66560' },
      { index: 3, name: null, type: 'f32', value: '0.1' },
    ]);
    expect(report.pending).toEqual({
      name: 'wasi_snapshot_preview1.poll_oneoff',
      args: ['1024', '-2048', '1', '-0', '5'],
      wait: 'until guest clock 77000000 ns',
    });
    expect(report.memory).toMatchObject({
      totalBytes: 65_536,
      storedBytes: 64,
      zeroedBytes: 4096,
      likeBaseBytes: 65_536 - 64 - 4096,
      // The base's page 0 from byte 4000 on.
      likeNonZeroBaseBytes: 128,
      ranges: [
        { kind: 'zero', address: 8192, bytes: 4096 },
        { kind: 'data', address: 20_480, bytes: 64 },
      ],
    });
  });

  it('shows raw bytes without the module, with another one, and where slots do not fit', () => {
    const decoded = decodedOf(sample());
    for (const given of [undefined, { ...module, moduleHash: hashOf('9') }]) {
      const report = inspectCapsule(decoded, given);
      expect(report.named).toBe(false);
      expect(report.frames[0]).toMatchObject({
        name: null,
        locals: [],
        raw: expect.stringMatching(/^fbffffff/),
      });
      expect(report.globals[0]).toMatchObject({ type: null, value: '0x0004010000000000' });
    }
    const short = { ...sample(), frames: [{ func: 1, safepoint: 1, slots: new Uint8Array(8) }] };
    expect(inspectCapsule(decodedOf(short), module).frames[0]).toMatchObject({
      name: 'render',
      raw: '0'.repeat(16),
    });
  });

  it('shows both ends of a very deep stack', () => {
    const frames = Array.from({ length: 5000 }, () => ({
      func: 2,
      safepoint: 0,
      slots: new Uint8Array(0),
    }));
    const report = inspectCapsule(decodedOf({ ...sample(), frames }), module);
    expect(report.framesTotal).toBe(5000);
    expect(report.frames.length).toBe(400);
    expect([
      report.frames[199]?.depth,
      report.frames[200]?.depth,
      report.frames[399]?.depth,
    ]).toEqual([199, 4800, 4999]);
    expect(renderReport(report)).toContain('… 4,600 frames …');
  });

  it('reports and renders any capsule', () => {
    fc.assert(
      fc.property(anyCase, ({ state, base }) => {
        const { bytes } = encodeCapsule({ ...facts, state, base }, nodePlatform);
        const text = renderReport(inspectCapsule(decodeCapsule(bytes, nodePlatform), module, base));
        expect(text.endsWith('\n')).toBe(true);
        expect(
          text
            .slice(0, -1)
            .split('\n')
            .every((line) => !/\p{Control}/u.test(line)),
        ).toBe(true);
      }),
    );
  });
});

describe('renderReport', () => {
  it('is readable', () => {
    const text = renderReport(inspectCapsule(decodedOf(sample()), module, smallCase().base));
    expect(text).toMatchSnapshot();
  });

  it('shows a module', () => {
    const report = inspectModule(module);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(renderReport(report)).toMatchSnapshot();
  });
});

describe('readValue', () => {
  const bytesOf = (write: (view: DataView) => void): Uint8Array => {
    const bytes = new Uint8Array(16);
    write(new DataView(bytes.buffer));
    return bytes;
  };
  it.each<[ValType, Uint8Array, string]>([
    ['f32', bytesOf((v) => v.setUint32(0, 0x7fc0_0000, true)), 'nan:0x400000'],
    ['f32', bytesOf((v) => v.setUint32(0, 0xff80_0001, true)), '-nan:0x1'],
    ['f32', bytesOf((v) => v.setFloat32(0, -0, true)), '-0'],
    ['f32', bytesOf((v) => v.setFloat32(0, 16_777_216, true)), '16777216'],
    ['f64', bytesOf((v) => v.setFloat64(0, -Infinity, true)), '-Infinity'],
    ['f64', bytesOf((v) => v.setFloat64(0, 5e-324, true)), '5e-324'],
    ['i32', bytesOf((v) => v.setUint32(0, 0x8000_0000, true)), '-2147483648'],
  ])('%s', (type, bytes, value) => {
    expect(readValue(type, bytes)).toEqual({ type, value });
  });

  it('prints floats that read back as the same bits', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), fc.double({ noNaN: true }), (single, double) => {
        const f32 = readValue(
          'f32',
          bytesOf((v) => v.setFloat32(0, single, true)),
        );
        expect(Object.is(Math.fround(Number(f32.value)), single)).toBe(true);
        const f64 = readValue(
          'f64',
          bytesOf((v) => v.setFloat64(0, double, true)),
        );
        expect(Object.is(Number(f64.value), double)).toBe(true);
      }),
    );
  });
});
