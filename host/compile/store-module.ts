/**
 * The frame store: a small Wasm module with a memory of its own that holds suspended frames and passing values.
 *
 *   memory   0 ┌───────────────┐ 64 registers of 16 bytes: parameters, results, remaining fuel
 *         1024 ├───────────────┤
 *              │ frames        │ each { safepoint u32, function u32, slots… }, appended at `wp`
 *           wp ├───────────────┤
 *
 *   frame(safepoint, function)   makes room (1 MiB ahead) and appends a head
 *   spill_T(v)                   appends a slot          spill4_i32(a, b, c, d)  appends four
 *   load_T(offset)               reads at `rp` + offset
 *   set_T(v, register)  get_T(register)
 *
 * A memory apart from the program's: frames never collide with the program's heap, and the program cannot see them.
 *
 * T1  32-bit values are stored as 8 bytes with zeros above: frames are canonical.
 * T2  Values never pass through JavaScript, which would alter NaN payloads and cannot hold v128.
 */
import { PLAIN_STORE_FUNCTIONS, REGISTER_BYTES, REGISTER_COUNT, STORE_FUNCTIONS } from './abi.js';
import { ByteWriter } from './bytes.js';
import { OP, VT } from './opcodes.js';
import { writeSection, writeType } from './sections.js';
import type { StoreFunction } from './store-calls.js';

const TYPES: Record<string, number> = {
  i32: VT.i32,
  i64: VT.i64,
  f32: VT.f32,
  f64: VT.f64,
  v128: VT.v128,
  funcref: VT.funcref,
  externref: VT.externref,
};
/** Room that `frame` makes sure of: no frame is larger (slots are bounded). */
export const ROOM_BYTES = 1 << 20;
/** 64 MiB of frames: more than 10⁶ activations; a recursion without end gets here within a second. */
export const STORE_MAX_PAGES = 1_024;
export const FRAMES_START = REGISTER_BYTES * REGISTER_COUNT;

const WP = 0;
const RP = 1;
/** Free place in the table of spilled references. */
const RN = 2;
/** Tables of the variant with references. */
const REFS = 0;
const REF_REGISTERS = 1;
/** Spilled references that are not yet turned into numbers: as many as frames can hold. */
export const REFS_MAX = (STORE_MAX_PAGES * 65_536) / 16;

/** Parameter and result types of a frame-store function. */
export function storeSignature(name: StoreFunction): { params: number[]; results: number[] } {
  if (name === 'frame') return { params: [VT.i32, VT.i32], results: [] };
  if (name === 'spill4_i32') return { params: [VT.i32, VT.i32, VT.i32, VT.i32], results: [] };
  const [kind, suffix] = name.split('_') as [string, string];
  const type = TYPES[suffix]!;
  if (kind === 'spill') return { params: [type], results: [] };
  if (kind === 'set') return { params: [type, VT.i32], results: [] };
  return { params: [VT.i32], results: [type] };
}

/** Stores local `local` of `type` at the address that is on the stack. */
function storeAt(w: ByteWriter, type: number, local: number, offset: number): void {
  w.u8(OP.localGet).u32(local);
  switch (type) {
    case VT.i32:
      w.u8(0xad).u8(0x37).u32(0).u32(offset); // i64.extend_i32_u, i64.store
      return;
    case VT.i64:
      w.u8(0x37).u32(0).u32(offset);
      return;
    case VT.f32:
      w.u8(0xbc).u8(0xad).u8(0x37).u32(0).u32(offset); // reinterpret, extend, store
      return;
    case VT.f64:
      w.u8(0x39).u32(0).u32(offset);
      return;
    default:
      w.u8(0xfd).u32(0x0b).u32(0).u32(offset);
  }
}

function loadFrom(w: ByteWriter, type: number): void {
  const op = { [VT.i32]: 0x28, [VT.i64]: 0x29, [VT.f32]: 0x2a, [VT.f64]: 0x2b }[type];
  if (op === undefined) w.u8(0xfd).u32(0x00).u32(0).u32(0);
  else w.u8(op).u32(0).u32(0);
}

function bump(w: ByteWriter, by: number): void {
  w.u8(OP.globalGet).u32(WP).u8(OP.i32Const).s32(by).u8(0x6a).u8(OP.globalSet).u32(WP);
}

function frameBody(w: ByteWriter): void {
  // if (wp + ROOM > size) grow by what is missing, at least 16 pages; unreachable when that fails
  w.u8(OP.globalGet).u32(WP).u8(OP.i32Const).s32(ROOM_BYTES).u8(0x6a);
  w.u8(OP.memorySize).u8(0).u8(OP.i32Const).s32(16).u8(0x74).u8(0x4b); // shl, gt_u
  w.u8(OP.if).u8(0x40);
  w.u8(OP.memorySize).u8(0).u8(OP.i32Const).s32(16).u8(0x72).u8(OP.memoryGrow).u8(0); // grow by size | 16
  w.u8(OP.i32Const).s32(-1).u8(0x46).u8(OP.if).u8(0x40);
  w.u8(OP.i32Const).s32(16).u8(OP.memoryGrow).u8(0).u8(OP.i32Const).s32(-1).u8(0x46);
  w.u8(OP.if).u8(0x40).u8(OP.unreachable).u8(OP.end).u8(OP.end).u8(OP.end);
  w.u8(OP.globalGet).u32(WP).u8(OP.localGet).u32(0).u8(0x36).u32(0).u32(0);
  w.u8(OP.globalGet).u32(WP).u8(OP.localGet).u32(1).u8(0x36).u32(0).u32(4);
  bump(w, 8);
}

/**
 * References. A spilled funcref goes into the table `refs`, its place there into the frame; the runtime turns places into
 * function indices before anyone looks (runtime/frames.ts). An externref is null, which is asserted.
 */
function referenceBody(w: ByteWriter, kind: string, type: number): void {
  const place = (): ByteWriter => w.u8(OP.globalGet).u32(RN);
  if (type === VT.externref) {
    if (kind === 'get') w.u8(OP.refNull).u8(VT.externref);
    else {
      w.u8(OP.localGet).u32(0).u8(OP.refIsNull).u8(0x45).u8(OP.if).u8(0x40); // i32.eqz
      w.u8(OP.unreachable).u8(OP.end);
    }
    if (kind === 'spill') {
      w.u8(OP.globalGet).u32(WP).u8(OP.i64Const).s32(0).u8(0x37).u32(0).u32(0);
      bump(w, 8);
    }
  } else if (kind === 'get') {
    w.u8(OP.localGet).u32(0).u8(OP.tableGet).u32(REF_REGISTERS);
  } else if (kind === 'set') {
    w.u8(OP.localGet).u32(1).u8(OP.localGet).u32(0).u8(OP.tableSet).u32(REF_REGISTERS);
  } else {
    // full: grow by size | 64; unreachable when that fails
    place().u8(0xfc).u32(0x10).u32(REFS).u8(0x46).u8(OP.if).u8(0x40); // table.size, i32.eq
    w.u8(OP.refNull).u8(VT.funcref).u8(0xfc).u32(0x10).u32(REFS).u8(OP.i32Const).s32(64).u8(0x72);
    w.u8(0xfc).u32(0x0f).u32(REFS).u8(OP.i32Const).s32(-1).u8(0x46).u8(OP.if).u8(0x40);
    w.u8(OP.unreachable).u8(OP.end).u8(OP.end);
    place().u8(OP.localGet).u32(0).u8(OP.tableSet).u32(REFS);
    w.u8(OP.globalGet).u32(WP);
    place().u8(0xad).u8(0x37).u32(0).u32(0); // i64.extend_i32_u, i64.store
    place().u8(OP.i32Const).s32(1).u8(0x6a).u8(OP.globalSet).u32(RN);
    bump(w, 8);
  }
}

function functionBody(name: StoreFunction): Uint8Array {
  const w = new ByteWriter(64).u32(0);
  const { params, results } = storeSignature(name);
  const kind = name.split('_')[0]!;
  const register = (local: number): void => {
    w.u8(OP.localGet).u32(local).u8(OP.i32Const).s32(4).u8(0x74); // * REGISTER_BYTES
  };
  if (name === 'frame') frameBody(w);
  else if (name.endsWith('ref')) referenceBody(w, kind, TYPES[name.split('_')[1]!]!);
  else if (kind.startsWith('spill')) {
    params.forEach((type, i) => {
      w.u8(OP.globalGet).u32(WP);
      storeAt(w, type, i, i * 8);
    });
    bump(w, params[0] === VT.v128 ? 16 : params.length * 8);
  } else if (kind === 'load') {
    w.u8(OP.globalGet).u32(RP).u8(OP.localGet).u32(0).u8(0x6a);
    loadFrom(w, results[0]!);
  } else if (kind === 'get') {
    register(0);
    loadFrom(w, results[0]!);
  } else {
    register(1);
    storeAt(w, params[0]!, 0, 0);
  }
  return w.u8(OP.end).finish();
}

/**
 * The frame store's module: exports its functions by name, `memory`, and the globals `wp` and `rp`. With references also
 * the tables `refs` and `regs` and the global `rn`.
 */
export function buildStoreModule(references = false): Uint8Array {
  const names = references ? STORE_FUNCTIONS : STORE_FUNCTIONS.slice(0, PLAIN_STORE_FUNCTIONS);
  const out = new ByteWriter(2048).put(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const types = new ByteWriter().u32(names.length);
  const functions = new ByteWriter().u32(names.length);
  const exports = new ByteWriter().u32(names.length + (references ? 6 : 3));
  const code = new ByteWriter().u32(names.length);
  names.forEach((name, i) => {
    writeType(types, storeSignature(name));
    functions.u32(i);
    exports.name(name).u8(0).u32(i);
    const body = functionBody(name);
    code.u32(body.length).put(body);
  });
  exports.name('memory').u8(2).u32(0).name('wp').u8(3).u32(WP).name('rp').u8(3).u32(RP);
  if (references) {
    exports.name('rn').u8(3).u32(RN).name('refs').u8(1).u32(REFS);
    exports.name('regs').u8(1).u32(REF_REGISTERS);
  }
  writeSection(out, 1, types);
  writeSection(out, 3, functions);
  if (references) {
    const tables = new ByteWriter().u32(2).u8(VT.funcref).u8(1).u32(0).u32(REFS_MAX);
    writeSection(out, 4, tables.u8(VT.funcref).u8(0).u32(REGISTER_COUNT));
  }
  writeSection(out, 5, new ByteWriter().u32(1).u8(1).u32(17).u32(STORE_MAX_PAGES));
  const globals = new ByteWriter().u32(references ? 3 : 2);
  for (const start of references ? [FRAMES_START, 0, 0] : [FRAMES_START, 0])
    globals.u8(VT.i32).u8(1).u8(OP.i32Const).s32(start).u8(OP.end);
  writeSection(out, 6, globals);
  writeSection(out, 7, exports);
  writeSection(out, 10, code);
  return out.finish();
}
