/**
 * The instruction table: opcode → name, immediates, operand and result types.
 *
 * Does: describe every instruction that sherd accepts. To add one, add one line here; an instruction that needs
 * more than its types (control, locals, calls) also gets a case in `body.ts` and `emit.ts`.
 * Does not: decide support by context (multiple memories and the like are refused in `module.ts`).
 *
 *   key = opcode byte, or prefix << 8 | sub-opcode for 0xFC and 0xFD
 *   signature: operands ':' results, one letter a value: i=i32 I=i64 f=f32 F=f64 v=v128 r=funcref; '*' = in body.ts
 *
 * O1  An opcode that is not in the table is refused with its number; one in REFUSED with its feature's name.
 */

/** Kinds of immediates, as they follow the opcode. */
export enum Imm {
  none,
  block,
  label,
  brTable,
  func,
  callIndirect,
  local,
  global,
  memarg,
  memory,
  memoryMemory,
  i32,
  i64,
  f32,
  f64,
  bytes16,
  lane,
  memargLane,
  selectTypes,
  dataMemory,
  data,
  refType,
  table,
  tableTable,
  elem,
  elemTable,
  tag,
  tryTable,
}

export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  try: 0x06,
  catch: 0x07,
  throw: 0x08,
  rethrow: 0x09,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  delegate: 0x18,
  catchAll: 0x19,
  drop: 0x1a,
  select: 0x1b,
  selectT: 0x1c,
  tryTable: 0x1f,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  tableGet: 0x25,
  tableSet: 0x26,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32LtS: 0x48,
  i32Sub: 0x6b,
  refNull: 0xd0,
  refIsNull: 0xd1,
  refFunc: 0xd2,
  memoryInit: 0xfc08,
  dataDrop: 0xfc09,
  memoryCopy: 0xfc0a,
  memoryFill: 0xfc0b,
  tableInit: 0xfc0c,
  elemDrop: 0xfc0d,
  tableCopy: 0xfc0e,
  tableGrow: 0xfc0f,
  tableSize: 0xfc10,
  tableFill: 0xfc11,
  v128Const: 0xfd0c,
} as const;

export interface OpInfo {
  readonly name: string;
  readonly imm: Imm;
  /** Operand types, last one on top. Value-type bytes. */
  readonly pops: readonly number[];
  readonly pushes: readonly number[];
  /** Types depend on context: body.ts has a case. */
  readonly special: boolean;
}

export const VT = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
} as const;

/** Bits of a word of FACTS. */
export const FACT = {
  imm: 0x1f,
  special: 1 << 16,
  accepted: 1 << 17,
  reads: 1 << 18,
  writes: 1 << 19,
  constant: 1 << 20,
} as const;

const LETTER: Record<string, number> = {
  i: VT.i32,
  I: VT.i64,
  f: VT.f32,
  F: VT.f64,
  v: VT.v128,
  r: VT.funcref,
};

const KEYS = 0x10000;
const table: (OpInfo | undefined)[] = Array.from<OpInfo | undefined>({ length: KEYS });

function add(key: number, name: string, imm: Imm, signature: string): void {
  if (signature === '*') {
    table[key] = { name, imm, pops: [], pushes: [], special: true };
    return;
  }
  const [pops, pushes] = signature.split(':');
  const types = (text: string | undefined): number[] => [...(text ?? '')].map((c) => LETTER[c]!);
  table[key] = { name, imm, pops: types(pops), pushes: types(pushes), special: false };
}

/** Adds consecutive opcodes that share immediates and signature. */
function addRun(start: number, imm: Imm, signature: string, names: string): void {
  names.split(' ').forEach((name, index) => {
    if (name !== '-') add(start + index, name, imm, signature);
  });
}

// Control, parametric, variables
addRun(0x00, Imm.none, '*', 'unreachable nop');
addRun(0x02, Imm.block, '*', 'block loop if');
add(0x05, 'else', Imm.none, '*');
add(0x0b, 'end', Imm.none, '*');
addRun(0x0c, Imm.label, '*', 'br br_if');
add(0x0e, 'br_table', Imm.brTable, '*');
add(0x0f, 'return', Imm.none, '*');
add(0x10, 'call', Imm.func, '*');
add(0x11, 'call_indirect', Imm.callIndirect, '*');
add(0x12, 'return_call', Imm.func, '*');
add(0x13, 'return_call_indirect', Imm.callIndirect, '*');
// Exceptions: the older form, and the newer one without exception references
add(0x06, 'try', Imm.block, '*');
addRun(0x07, Imm.tag, '*', 'catch throw');
add(0x09, 'rethrow', Imm.label, '*');
add(0x18, 'delegate', Imm.label, '*');
add(0x19, 'catch_all', Imm.none, '*');
add(0x1f, 'try_table', Imm.tryTable, '*');
addRun(0x1a, Imm.none, '*', 'drop select');
add(0x1c, 'select', Imm.selectTypes, '*');
addRun(0x20, Imm.local, '*', 'local.get local.set local.tee');
addRun(0x23, Imm.global, '*', 'global.get global.set');

// References and tables
addRun(0x25, Imm.table, '*', 'table.get table.set');
add(0xd0, 'ref.null', Imm.refType, '*');
add(0xd1, 'ref.is_null', Imm.none, '*');
add(0xd2, 'ref.func', Imm.func, ':r');
add(0xfc0c, 'table.init', Imm.elemTable, 'iii:');
add(0xfc0d, 'elem.drop', Imm.elem, ':');
add(0xfc0e, 'table.copy', Imm.tableTable, 'iii:');
add(0xfc0f, 'table.grow', Imm.table, '*');
add(0xfc10, 'table.size', Imm.table, ':i');
add(0xfc11, 'table.fill', Imm.table, '*');

// Memory
add(0x28, 'i32.load', Imm.memarg, 'i:i');
add(0x29, 'i64.load', Imm.memarg, 'i:I');
add(0x2a, 'f32.load', Imm.memarg, 'i:f');
add(0x2b, 'f64.load', Imm.memarg, 'i:F');
addRun(0x2c, Imm.memarg, 'i:i', 'i32.load8_s i32.load8_u i32.load16_s i32.load16_u');
addRun(
  0x30,
  Imm.memarg,
  'i:I',
  'i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u',
);
add(0x36, 'i32.store', Imm.memarg, 'ii:');
add(0x37, 'i64.store', Imm.memarg, 'iI:');
add(0x38, 'f32.store', Imm.memarg, 'if:');
add(0x39, 'f64.store', Imm.memarg, 'iF:');
addRun(0x3a, Imm.memarg, 'ii:', 'i32.store8 i32.store16');
addRun(0x3c, Imm.memarg, 'iI:', 'i64.store8 i64.store16 i64.store32');
add(0x3f, 'memory.size', Imm.memory, ':i');
add(0x40, 'memory.grow', Imm.memory, 'i:i');

// Constants
add(0x41, 'i32.const', Imm.i32, ':i');
add(0x42, 'i64.const', Imm.i64, ':I');
add(0x43, 'f32.const', Imm.f32, ':f');
add(0x44, 'f64.const', Imm.f64, ':F');

// Comparison
add(0x45, 'i32.eqz', Imm.none, 'i:i');
addRun(
  0x46,
  Imm.none,
  'ii:i',
  'i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u',
);
add(0x50, 'i64.eqz', Imm.none, 'I:i');
addRun(
  0x51,
  Imm.none,
  'II:i',
  'i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u',
);
addRun(0x5b, Imm.none, 'ff:i', 'f32.eq f32.ne f32.lt f32.gt f32.le f32.ge');
addRun(0x61, Imm.none, 'FF:i', 'f64.eq f64.ne f64.lt f64.gt f64.le f64.ge');

// Arithmetic
addRun(0x67, Imm.none, 'i:i', 'i32.clz i32.ctz i32.popcnt');
addRun(
  0x6a,
  Imm.none,
  'ii:i',
  'i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr',
);
addRun(0x79, Imm.none, 'I:I', 'i64.clz i64.ctz i64.popcnt');
addRun(
  0x7c,
  Imm.none,
  'II:I',
  'i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr',
);
addRun(0x8b, Imm.none, 'f:f', 'f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt');
addRun(0x92, Imm.none, 'ff:f', 'f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign');
addRun(0x99, Imm.none, 'F:F', 'f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt');
addRun(0xa0, Imm.none, 'FF:F', 'f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign');

// Conversion
add(0xa7, 'i32.wrap_i64', Imm.none, 'I:i');
addRun(0xa8, Imm.none, 'f:i', 'i32.trunc_f32_s i32.trunc_f32_u');
addRun(0xaa, Imm.none, 'F:i', 'i32.trunc_f64_s i32.trunc_f64_u');
addRun(0xac, Imm.none, 'i:I', 'i64.extend_i32_s i64.extend_i32_u');
addRun(0xae, Imm.none, 'f:I', 'i64.trunc_f32_s i64.trunc_f32_u');
addRun(0xb0, Imm.none, 'F:I', 'i64.trunc_f64_s i64.trunc_f64_u');
addRun(0xb2, Imm.none, 'i:f', 'f32.convert_i32_s f32.convert_i32_u');
addRun(0xb4, Imm.none, 'I:f', 'f32.convert_i64_s f32.convert_i64_u');
add(0xb6, 'f32.demote_f64', Imm.none, 'F:f');
addRun(0xb7, Imm.none, 'i:F', 'f64.convert_i32_s f64.convert_i32_u');
addRun(0xb9, Imm.none, 'I:F', 'f64.convert_i64_s f64.convert_i64_u');
add(0xbb, 'f64.promote_f32', Imm.none, 'f:F');
add(0xbc, 'i32.reinterpret_f32', Imm.none, 'f:i');
add(0xbd, 'i64.reinterpret_f64', Imm.none, 'F:I');
add(0xbe, 'f32.reinterpret_i32', Imm.none, 'i:f');
add(0xbf, 'f64.reinterpret_i64', Imm.none, 'I:F');
addRun(0xc0, Imm.none, 'i:i', 'i32.extend8_s i32.extend16_s');
addRun(0xc2, Imm.none, 'I:I', 'i64.extend8_s i64.extend16_s i64.extend32_s');

// 0xFC: saturating conversions, bulk memory
addRun(0xfc00, Imm.none, 'f:i', 'i32.trunc_sat_f32_s i32.trunc_sat_f32_u');
addRun(0xfc02, Imm.none, 'F:i', 'i32.trunc_sat_f64_s i32.trunc_sat_f64_u');
addRun(0xfc04, Imm.none, 'f:I', 'i64.trunc_sat_f32_s i64.trunc_sat_f32_u');
addRun(0xfc06, Imm.none, 'F:I', 'i64.trunc_sat_f64_s i64.trunc_sat_f64_u');
add(0xfc08, 'memory.init', Imm.dataMemory, 'iii:');
add(0xfc09, 'data.drop', Imm.data, ':');
add(0xfc0a, 'memory.copy', Imm.memoryMemory, 'iii:');
add(0xfc0b, 'memory.fill', Imm.memory, 'iii:');

// 0xFD: fixed-width SIMD
addRun(
  0xfd00,
  Imm.memarg,
  'i:v',
  'v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat',
);
add(0xfd0b, 'v128.store', Imm.memarg, 'iv:');
add(0xfd0c, 'v128.const', Imm.bytes16, ':v');
add(0xfd0d, 'i8x16.shuffle', Imm.bytes16, 'vv:v');
add(0xfd0e, 'i8x16.swizzle', Imm.none, 'vv:v');
addRun(0xfd0f, Imm.none, 'i:v', 'i8x16.splat i16x8.splat i32x4.splat');
add(0xfd12, 'i64x2.splat', Imm.none, 'I:v');
add(0xfd13, 'f32x4.splat', Imm.none, 'f:v');
add(0xfd14, 'f64x2.splat', Imm.none, 'F:v');
addRun(0xfd15, Imm.lane, 'v:i', 'i8x16.extract_lane_s i8x16.extract_lane_u');
add(0xfd17, 'i8x16.replace_lane', Imm.lane, 'vi:v');
addRun(0xfd18, Imm.lane, 'v:i', 'i16x8.extract_lane_s i16x8.extract_lane_u');
add(0xfd1a, 'i16x8.replace_lane', Imm.lane, 'vi:v');
add(0xfd1b, 'i32x4.extract_lane', Imm.lane, 'v:i');
add(0xfd1c, 'i32x4.replace_lane', Imm.lane, 'vi:v');
add(0xfd1d, 'i64x2.extract_lane', Imm.lane, 'v:I');
add(0xfd1e, 'i64x2.replace_lane', Imm.lane, 'vI:v');
add(0xfd1f, 'f32x4.extract_lane', Imm.lane, 'v:f');
add(0xfd20, 'f32x4.replace_lane', Imm.lane, 'vf:v');
add(0xfd21, 'f64x2.extract_lane', Imm.lane, 'v:F');
add(0xfd22, 'f64x2.replace_lane', Imm.lane, 'vF:v');
const cmp10 = (shape: string): string =>
  'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'
    .split(' ')
    .map((n) => `${shape}.${n}`)
    .join(' ');
addRun(0xfd23, Imm.none, 'vv:v', cmp10('i8x16'));
addRun(0xfd2d, Imm.none, 'vv:v', cmp10('i16x8'));
addRun(0xfd37, Imm.none, 'vv:v', cmp10('i32x4'));
addRun(
  0xfd41,
  Imm.none,
  'vv:v',
  'f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge',
);
add(0xfd4d, 'v128.not', Imm.none, 'v:v');
addRun(0xfd4e, Imm.none, 'vv:v', 'v128.and v128.andnot v128.or v128.xor');
add(0xfd52, 'v128.bitselect', Imm.none, 'vvv:v');
add(0xfd53, 'v128.any_true', Imm.none, 'v:i');
addRun(
  0xfd54,
  Imm.memargLane,
  'iv:v',
  'v128.load8_lane v128.load16_lane v128.load32_lane v128.load64_lane',
);
addRun(
  0xfd58,
  Imm.memargLane,
  'iv:',
  'v128.store8_lane v128.store16_lane v128.store32_lane v128.store64_lane',
);
addRun(0xfd5c, Imm.memarg, 'i:v', 'v128.load32_zero v128.load64_zero');
addRun(
  0xfd5e,
  Imm.none,
  'v:v',
  'f32x4.demote_f64x2_zero f64x2.promote_low_f32x4 i8x16.abs i8x16.neg i8x16.popcnt',
);
addRun(0xfd63, Imm.none, 'v:i', 'i8x16.all_true i8x16.bitmask');
addRun(0xfd65, Imm.none, 'vv:v', 'i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u');
addRun(0xfd67, Imm.none, 'v:v', 'f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest');
addRun(0xfd6b, Imm.none, 'vi:v', 'i8x16.shl i8x16.shr_s i8x16.shr_u');
addRun(
  0xfd6e,
  Imm.none,
  'vv:v',
  'i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u',
);
addRun(0xfd74, Imm.none, 'v:v', 'f64x2.ceil f64x2.floor');
addRun(0xfd76, Imm.none, 'vv:v', 'i8x16.min_s i8x16.min_u i8x16.max_s i8x16.max_u');
add(0xfd7a, 'f64x2.trunc', Imm.none, 'v:v');
add(0xfd7b, 'i8x16.avgr_u', Imm.none, 'vv:v');
addRun(
  0xfd7c,
  Imm.none,
  'v:v',
  'i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u i16x8.abs i16x8.neg',
);
add(0xfd82, 'i16x8.q15mulr_sat_s', Imm.none, 'vv:v');
addRun(0xfd83, Imm.none, 'v:i', 'i16x8.all_true i16x8.bitmask');
addRun(0xfd85, Imm.none, 'vv:v', 'i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u');
addRun(
  0xfd87,
  Imm.none,
  'v:v',
  'i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u',
);
addRun(0xfd8b, Imm.none, 'vi:v', 'i16x8.shl i16x8.shr_s i16x8.shr_u');
addRun(
  0xfd8e,
  Imm.none,
  'vv:v',
  'i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u',
);
add(0xfd94, 'f64x2.nearest', Imm.none, 'v:v');
addRun(
  0xfd95,
  Imm.none,
  'vv:v',
  'i16x8.mul i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u - i16x8.avgr_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u i16x8.extmul_high_i8x16_u',
);
addRun(0xfda0, Imm.none, 'v:v', 'i32x4.abs i32x4.neg');
addRun(0xfda3, Imm.none, 'v:i', 'i32x4.all_true i32x4.bitmask');
addRun(
  0xfda7,
  Imm.none,
  'v:v',
  'i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u',
);
addRun(0xfdab, Imm.none, 'vi:v', 'i32x4.shl i32x4.shr_s i32x4.shr_u');
add(0xfdae, 'i32x4.add', Imm.none, 'vv:v');
add(0xfdb1, 'i32x4.sub', Imm.none, 'vv:v');
addRun(
  0xfdb5,
  Imm.none,
  'vv:v',
  'i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s - i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_u',
);
addRun(0xfdc0, Imm.none, 'v:v', 'i64x2.abs i64x2.neg');
addRun(0xfdc3, Imm.none, 'v:i', 'i64x2.all_true i64x2.bitmask');
addRun(
  0xfdc7,
  Imm.none,
  'v:v',
  'i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u',
);
addRun(0xfdcb, Imm.none, 'vi:v', 'i64x2.shl i64x2.shr_s i64x2.shr_u');
add(0xfdce, 'i64x2.add', Imm.none, 'vv:v');
add(0xfdd1, 'i64x2.sub', Imm.none, 'vv:v');
addRun(
  0xfdd5,
  Imm.none,
  'vv:v',
  'i64x2.mul i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_u',
);
addRun(0xfde0, Imm.none, 'v:v', 'f32x4.abs f32x4.neg - f32x4.sqrt');
addRun(
  0xfde4,
  Imm.none,
  'vv:v',
  'f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax',
);
addRun(0xfdec, Imm.none, 'v:v', 'f64x2.abs f64x2.neg - f64x2.sqrt');
addRun(
  0xfdf0,
  Imm.none,
  'vv:v',
  'f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmin f64x2.pmax',
);
addRun(
  0xfdf8,
  Imm.none,
  'v:v',
  'i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u',
);

/**
 * The same table for passes that look at every instruction: one word an opcode, 0 when it is not accepted.
 *
 *   bit  0…4 Imm · 5…7 operands · 8…15 result type, 0 = none · 16 special · 17 accepted
 *        18 reads memory · 19 writes memory · 20 constant
 */
export const FACTS: Uint32Array = Uint32Array.from(table, (info, key) =>
  info === undefined
    ? 0
    : info.imm |
      (info.pops.length << 5) |
      ((info.pushes[0] ?? 0) << 8) |
      (info.special ? FACT.special : 0) |
      FACT.accepted |
      memoryFacts(key) |
      (isConstant(key) ? FACT.constant : 0),
);

function isConstant(key: number): boolean {
  return (key >= OP.i32Const && key <= OP.f64Const) || key === OP.v128Const || key === OP.refFunc;
}

function memoryFacts(key: number): number {
  if (key === OP.memoryCopy) return FACT.reads | FACT.writes;
  if (key === OP.memoryInit || key === OP.memoryFill) return FACT.writes;
  const { imm, pushes } = table[key]!;
  if (imm !== Imm.memarg && imm !== Imm.memargLane) return 0;
  return pushes.length > 0 ? FACT.reads : FACT.writes; // a load gives a value, a store gives none
}

/** Looks an opcode up; undefined when it is not accepted. */
export function opInfo(key: number): OpInfo | undefined {
  return table[key];
}

/** All accepted opcode keys, ascending (for tests that must touch every instruction). */
export function allOpcodes(): number[] {
  return table.flatMap((info, key) => (info === undefined ? [] : [key]));
}

/** The feature to which a refused opcode belongs. */
export function refusedFeature(key: number): string {
  if (key === 0x0a) return 'exception references (throw_ref)';
  if (key === 0x14 || key === 0x15) return 'typed function references';
  if (key >= 0xd3 && key <= 0xd6) return 'typed function references';
  if (key >= 0xfb00 && key < 0xfc00) return 'garbage-collected types';
  if (key >= 0xfe00) return 'threads and atomics';
  return `opcode 0x${key.toString(16)}`;
}
