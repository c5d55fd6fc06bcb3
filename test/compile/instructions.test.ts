/**
 * Every instruction of the table: what it produces is live across stops, each one through a capsule into a new instance.
 *
 *   plain       operands…  INSTRUCTION  call $wait          store the result at 0       below a call
 *               operands…  INSTRUCTION  loop end            store the result at 32      below a loop header
 *               operands…  INSTRUCTION  local.set x  loop end  local.get x  store at 64  in a local
 *               the whole memory and the results compared bit for bit with the engine's own run
 *   structured  a small program for each in structured-instructions.ts
 *
 * Does: generate the plain modules from the table. Does not: say what an instruction does: the engine is the reference.
 *
 * I1  An opcode of the table without a case fails the test; so does a case for none.
 */
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../host/compile/bytes.js';
import { allOpcodes, Imm, OP, opInfo, refusedFeature, VT } from '../../host/compile/opcodes.js';
import { nodePlatform } from '../../host/node/platform.js';
import { every, type Subject, straight, through } from '../exact/drive.js';
import { exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { load, raw } from '../runtime/support.js';
import { STRUCTURED } from './structured-instructions.js';

const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const RESULTS_APART = 32;
const STOPS = 3n;
/** First stop that goes through a capsule, distance to the next, how many that are. */
const CUTS = [
  [1n, 1n, 3],
  [2n, STOPS, 1],
] as const;

/** Operand values: small constants, distinct by position; floats with bits that arithmetic would lose first. */
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
  if (imm === Imm.memarg || imm === Imm.memargLane) w.u8(0).u32(128);
  if (imm === Imm.memargLane || imm === Imm.lane) w.u8(1);
  if (imm === Imm.memory) w.u8(0);
  if (imm === Imm.memoryMemory) w.u8(0).u8(0);
  if (imm === Imm.i32 || imm === Imm.i64) w.s32(-77);
  if (imm === Imm.f32) w.put(Uint8Array.of(1, 2, 160, 127)); // a signalling NaN
  if (imm === Imm.f64) w.put(Uint8Array.of(1, 2, 3, 4, 5, 6, 244, 127));
  if (imm === Imm.bytes16) w.put(Uint8Array.from({ length: 16 }, (_, i) => (i * 7) & 31));
  if (imm === Imm.dataMemory) w.u32(0).u8(0);
  if (imm === Imm.data || imm === Imm.elem || imm === Imm.table) w.u32(0);
  if (imm === Imm.elemTable || imm === Imm.tableTable) w.u32(0).u32(0);
}

const STORE: Record<number, readonly number[]> = {
  [VT.i32]: [0x36],
  [VT.i64]: [0x37],
  [VT.f32]: [0x38],
  [VT.f64]: [0x39],
  [VT.v128]: [0xfd, 0x0b],
};

/** Between producing and using the value there is a stop: in a called function, or at a loop's header. */
const PLACES: readonly ((w: ByteWriter, local: number) => void)[] = [
  (w) => w.u8(OP.call).u32(0),
  (w) => w.u8(OP.loop).u8(0x40).u8(OP.end),
  (w, local) => {
    if (local >= 0) w.op(OP.localSet, local);
    w.u8(OP.loop).u8(0x40).u8(OP.end);
    if (local >= 0) w.op(OP.localGet, local);
  },
];

function body(key: number): ByteWriter {
  const info = opInfo(key)!;
  const [result] = info.pushes;
  const code = new ByteWriter(128);
  if (result === undefined) code.u32(0);
  else code.u32(1).u32(1).u8(result);
  PLACES.forEach((stop, place) => {
    if (result !== undefined) code.u8(OP.i32Const).s32(place * RESULTS_APART);
    info.pops.forEach((type, i) => {
      constant(code, type, i);
    });
    opcode(code, key);
    immediate(code, info.imm);
    stop(code, result === undefined ? -1 : 0);
    if (result !== undefined) code.put(Uint8Array.from(STORE[result]!)).u8(0).u32(0);
  });
  return code.u8(OP.end);
}

/** (func (export "f") …) with a memory full of a pattern, a table of 64 functions, a passive segment of each kind. */
function moduleFor(key: number): Uint8Array {
  const out = new ByteWriter(512).put(HEADER);
  const section = (id: number, content: ByteWriter): void => {
    out.u8(id).u32(content.length).put(content.view());
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
  const wait = Uint8Array.of(0, OP.loop, 0x40, OP.end, OP.end);
  const code = body(key);
  section(
    10,
    new ByteWriter(256).u32(2).u32(wait.length).put(wait).u32(code.length).put(code.view()),
  );
  const pattern = Uint8Array.from({ length: 300 }, (_, i) => (i * 73 + 29) & 255);
  const data = new ByteWriter(900).u32(2).u8(1).u32(pattern.length).put(pattern);
  data.u8(0).u8(OP.i32Const).s32(128).u8(OP.end).u32(pattern.length).put(pattern);
  section(11, data);
  return out.finish();
}

const keyed = allOpcodes().map((key) => [opInfo(key)!.name, key] as const);
const plain = keyed.filter(([, key]) => opInfo(key)!.pushes.every((type) => type in STORE));
const structured = keyed.filter(
  ([, key]) => opInfo(key)!.special || !opInfo(key)!.pushes.every((type) => type in STORE),
);
const plainOnly = plain.filter(([, key]) => !opInfo(key)!.special);

describe('every instruction', () => {
  test('has a case', () => {
    expect(plainOnly.length + structured.length).toBe(allOpcodes().length);
    expect(plainOnly.length).toBeGreaterThan(390);
    expect([...STRUCTURED.keys()].sort()).toEqual([
      ...new Set(structured.map(([name, key]) => (key === OP.selectT ? 'select t' : name)).sort()),
    ]);
  });

  test.each(plainOnly)('%s', (name, key) => {
    const bytes = moduleFor(key);
    const engine = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource));
    (engine.exports.f as () => void)();
    const memory = new Uint8Array((engine.exports.memory as WebAssembly.Memory).buffer);
    const subject: Subject = {
      name,
      loaded: load(bytes),
      entry: 'f',
      entryArgs: raw(),
      spec: undefined,
      blobs: new Map(),
    };
    const expected = straight(subject);
    expect(expected.kind).toBe('done');
    expect(expected.memory).toBe(nodePlatform.sha256(memory));
    expect(expected.fuel).toBe(STOPS);
    for (const [first, step, hopsExpected] of CUTS) {
      const { outcome, hops } = through(subject, every(step, STOPS, first));
      expect(hops.size).toBe(hopsExpected);
      expect([first, step, outcome]).toEqual([first, step, expected]);
    }
  });

  test.each(plainOnly)('%s: what the dependency graph says of memory', (name, key) => {
    const { functions } = load(moduleFor(key)).module;
    const { readsMemory, writesMemory } = functions[1]!;
    const storesResult = opInfo(key)!.pushes.length > 0;
    expect(readsMemory).toBe(/load|memory\.copy/.test(name));
    expect(writesMemory).toBe(storesResult || /store|memory\.(init|copy|fill)/.test(name));
  });

  test.each([...STRUCTURED])('%s', (name, text) => {
    const pattern = name.replace(' t', String.raw` \(result`).replaceAll('.', String.raw`\.`);
    expect(text.slice(text.indexOf('(export "run")'))).toMatch(new RegExp(`\\b${pattern}\\b`));
    if (WebAssembly.validate(assemble(text))) exactEverywhere(name, text);
    else {
      // The engine is older than the instruction: it is refused, by the engine's own words.
      expect(name).toBe('try_table');
      expect(() => load(assemble(text))).toThrowError(/invalid opcode 0x1f/i);
    }
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
    const out = new ByteWriter().put(HEADER);
    const function0 = new ByteWriter().u32(0).put(Uint8Array.from(code)).u8(OP.end);
    const section = (id: number, w: ByteWriter): void => {
      out.u8(id).u32(w.length).put(w.view());
    };
    section(1, new ByteWriter().u32(1).u8(0x60).u32(0).u32(0));
    section(3, new ByteWriter().u32(1).u32(0));
    section(10, new ByteWriter().u32(1).u32(function0.length).put(function0.view()));
    expect(() => load(out.finish())).toThrowError(feature);
  });

  test('every unknown opcode has a name', () => {
    for (let key = 0; key < 0x100; key++)
      if (opInfo(key) === undefined) expect(refusedFeature(key)).not.toBe('');
  });
});
