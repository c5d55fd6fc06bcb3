/**
 * Every accepted instruction: the value that it produces is live on the operand stack across a stop.
 *
 *   operands…  INSTRUCTION  call $wait  store the result at 0      memory and result compared with the engine's own run
 */
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../host/compile/bytes.js';
import { allOpcodes, Imm, OP, opInfo, refusedFeature, VT } from '../../host/compile/opcodes.js';
import { Instance } from '../../host/runtime/instance.js';
import { detached, hostOf, load, raw, runInSteps } from '../runtime/support.js';

/** Operand values: small constants, distinct by position. */
function constant(w: ByteWriter, type: number, salt: number): void {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => (i * 37 + salt * 101 + 11) & 0x7f);
  if (type === VT.i32) w.u8(OP.i32Const).s32(8 + salt * 5);
  else if (type === VT.i64) w.u8(OP.i64Const).s32(1234567 + salt * 99);
  else if (type === VT.f32)
    w.u8(OP.f32Const).put(new Uint8Array(Float32Array.of(2.75 + salt).buffer));
  else if (type === VT.f64)
    w.u8(OP.f64Const).put(new Uint8Array(Float64Array.of(3.5 + salt * 8).buffer));
  else w.u8(0xfd).u32(0x0c).put(bytes);
}

function opcode(w: ByteWriter, key: number): void {
  if (key < 0x100) w.u8(key);
  else w.u8(key >> 8).u32(key & 0xff);
}

function immediate(w: ByteWriter, imm: Imm): void {
  if (imm === Imm.memarg || imm === Imm.memargLane) w.u8(0).u32(64);
  if (imm === Imm.memargLane || imm === Imm.lane) w.u8(1);
  if (imm === Imm.memory) w.u8(0);
  if (imm === Imm.memoryMemory) w.u8(0).u8(0);
  if (imm === Imm.i32 || imm === Imm.i64) w.s32(-77);
  if (imm === Imm.f32) w.put(Uint8Array.of(1, 2, 160, 127)); // a signalling NaN
  if (imm === Imm.f64) w.put(Uint8Array.of(1, 2, 3, 4, 5, 6, 244, 127));
  if (imm === Imm.bytes16) w.put(Uint8Array.from({ length: 16 }, (_, i) => (i * 7) & 31));
  if (imm === Imm.dataMemory) w.u32(0).u8(0);
  if (imm === Imm.data || imm === Imm.elem || imm === Imm.table || imm === Imm.func) w.u32(0);
  if (imm === Imm.elemTable || imm === Imm.tableTable) w.u32(0).u32(0);
}

const STORE: Record<number, number[]> = {
  [VT.i32]: [0x36],
  [VT.i64]: [0x37],
  [VT.f32]: [0x38],
  [VT.f64]: [0x39],
  [VT.v128]: [0xfd, 0x0b],
  [VT.funcref]: [OP.refIsNull, 0x36],
};

/** (func (export "f")  0  operands op  call $wait  store) with a memory full of a pattern. */
function moduleFor(key: number): Uint8Array {
  const info = opInfo(key)!;
  const out = new ByteWriter(512).put(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const section = (id: number, body: ByteWriter): void => {
    out.u8(id).u32(body.length).put(body.view());
  };
  section(1, new ByteWriter().u32(1).u8(0x60).u32(0).u32(0));
  section(3, new ByteWriter().u32(2).u32(0).u32(0));
  section(4, new ByteWriter().u32(1).u8(VT.funcref).u8(0).u32(64));
  section(5, new ByteWriter().u32(1).u8(1).u32(1).u32(9));
  section(7, new ByteWriter().u32(2).name('f').u8(0).u32(1).name('memory').u8(2).u32(0));
  const elements = new ByteWriter().u32(1).u8(1).u8(0).u32(64);
  for (let i = 0; i < 64; i++) elements.u32(i & 1);
  section(9, elements);
  section(12, new ByteWriter().u32(2));
  const code = new ByteWriter(128).u32(0);
  if (info.pushes.length > 0) code.u8(OP.i32Const).s32(0);
  info.pops.forEach((type, i) => {
    constant(code, type, i);
  });
  opcode(code, key);
  immediate(code, info.imm);
  code.u8(OP.call).u32(0);
  if (info.pushes.length > 0) code.put(Uint8Array.from(STORE[info.pushes[0]!]!)).u8(0).u32(0);
  code.u8(OP.end);
  const wait = Uint8Array.of(0, OP.loop, 0x40, OP.end, OP.end);
  section(
    10,
    new ByteWriter(256).u32(2).u32(wait.length).put(wait).u32(code.length).put(code.view()),
  );
  const pattern = Uint8Array.from({ length: 200 }, (_, i) => (i * 73 + 29) & 255);
  const data = new ByteWriter(600).u32(2).u8(1).u32(pattern.length).put(pattern);
  data.u8(0).u8(OP.i32Const).s32(64).u8(OP.end).u32(pattern.length).put(pattern);
  section(11, data);
  return out.finish();
}

const plainOps = allOpcodes().filter((key) => !opInfo(key)!.special);

describe('every plain instruction', () => {
  test('there are as many as the feature set has', () => {
    expect(plainOps.length).toBeGreaterThan(390);
  });

  test.each(plainOps.map((key) => [opInfo(key)!.name, key] as const))('%s', (_name, key) => {
    const bytes = moduleFor(key);
    const plain = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource))
      .exports as {
      f: () => void;
      memory: WebAssembly.Memory;
    };
    plain.f();
    const expected = new Uint8Array(plain.memory.buffer);
    const loaded = load(bytes);
    let instance = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    });
    expect(instance.run(1).kind).toBe('quantum');
    instance = Instance.resume(loaded, hostOf(), detached(instance.capture()));
    expect(instance.run(10).kind).toBe('done');
    expect(Buffer.compare(instance.memorySnapshot(), expected)).toBe(0);
    expect(runInSteps(loaded, hostOf, { entry: 'f', entryArgs: raw() }, 1).stops).toBe(1);
  });
});

describe('refused instructions', () => {
  test.each([
    ['exception references', [0x0a]],
    ['exception references', [0x1f, 0x40, 0x01, 0x03, 0x00, 0x0b]],
    ['typed function references', [0xd0, 0x00]],
    ['exception references', [0xd0, 0x69]],
    ['unknown opcode 0xfc 300', [0xfc, 0xac, 0x02]],
    ['unknown opcode 0xfb 300', [0xfb, 0xac, 0x02]],
    ['threads and atomics', [0xfe, 0x03, 0x00]],
    ['relaxed SIMD', [0xfd, 0x80, 0x02]],
  ])('%s is named', (feature, code) => {
    const out = new ByteWriter().put(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const body = new ByteWriter().u32(0).put(Uint8Array.from(code)).u8(OP.end);
    const section = (id: number, w: ByteWriter): void => {
      out.u8(id).u32(w.length).put(w.view());
    };
    section(1, new ByteWriter().u32(1).u8(0x60).u32(0).u32(0));
    section(3, new ByteWriter().u32(1).u32(0));
    section(10, new ByteWriter().u32(1).u32(body.length).put(body.view()));
    expect(() => load(out.finish())).toThrowError(feature);
  });

  test('every unknown opcode has a name', () => {
    for (let key = 0; key < 0x100; key++)
      if (opInfo(key) === undefined) expect(refusedFeature(key)).not.toBe('');
  });
});
