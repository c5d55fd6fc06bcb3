/**
 * Tables of the Wasm operators that the module generator uses, by result type.
 *
 * Does: name each operator with its operand types. Does not: cover trapping operators (the generator guards those) or
 * operators whose result bits the specification leaves open (the generator makes a NaN that an operator gives canonical).
 */

export type WasmType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const SCALARS: readonly WasmType[] = ['i32', 'i64', 'f32', 'f64'];
export const TYPES: readonly WasmType[] = [...SCALARS, 'v128'];

export interface Operator {
  readonly text: string;
  readonly operands: readonly WasmType[];
  /** The result may be a NaN whose bits are open: made canonical at once. */
  readonly openNaN?: boolean;
  /** The operand whose bits show in the result and which must be canonical first. */
  readonly bitsOf?: number;
  /** The last operand is a divisor: made odd, so that it is not zero. */
  readonly divides?: boolean;
}

const plain = (texts: string, ...operands: WasmType[]): Operator[] =>
  texts.split(' ').map((text) => ({ text, operands }));

const open = (texts: string, ...operands: WasmType[]): Operator[] =>
  plain(texts, ...operands).map((operator) => ({ ...operator, openNaN: true }));

function integer(type: 'i32' | 'i64'): Operator[] {
  const binary = 'add sub mul and or xor shl shr_s shr_u rotl rotr'
    .split(' ')
    .map((name) => `${type}.${name}`)
    .join(' ');
  const unary = `clz ctz popcnt extend8_s extend16_s${type === 'i64' ? ' extend32_s' : ''}`
    .split(' ')
    .map((name) => `${type}.${name}`)
    .join(' ');
  const division = 'div_u rem_s rem_u'
    .split(' ')
    .map((name) => ({ text: `${type}.${name}`, operands: [type, type], divides: true }));
  return [...plain(binary, type, type), ...plain(unary, type), ...division];
}

function float(type: 'f32' | 'f64'): Operator[] {
  const named = (names: string): string =>
    names
      .split(' ')
      .map((name) => `${type}.${name}`)
      .join(' ');
  return [
    ...open(named('add sub mul div min max'), type, type),
    ...open(named('sqrt ceil floor trunc nearest'), type),
    ...plain(named('abs neg'), type),
    { text: `${type}.copysign`, operands: [type, type], bitsOf: 1 },
  ];
}

function comparisons(): Operator[] {
  const ints = (['i32', 'i64'] as const).flatMap((type) => [
    ...plain(
      'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'
        .split(' ')
        .map((name) => `${type}.${name}`)
        .join(' '),
      type,
      type,
    ),
    ...plain(`${type}.eqz`, type),
  ]);
  const floats = (['f32', 'f64'] as const).flatMap((type) =>
    plain(
      'eq ne lt gt le ge'
        .split(' ')
        .map((name) => `${type}.${name}`)
        .join(' '),
      type,
      type,
    ),
  );
  return [...ints, ...floats];
}

const VECTOR_BINARY =
  'i8x16.add i8x16.sub i8x16.add_sat_s i8x16.sub_sat_u i8x16.min_s i8x16.max_u i8x16.avgr_u i8x16.swizzle i8x16.eq i8x16.lt_s ' +
  'i8x16.narrow_i16x8_s i16x8.add i16x8.mul i16x8.add_sat_u i16x8.q15mulr_sat_s i16x8.gt_u i16x8.extmul_low_i8x16_s ' +
  'i32x4.add i32x4.sub i32x4.mul i32x4.min_s i32x4.max_u i32x4.dot_i16x8_s i32x4.ge_s i64x2.add i64x2.mul i64x2.eq ' +
  'v128.and v128.or v128.xor v128.andnot f32x4.eq f64x2.lt';
const VECTOR_UNARY =
  'v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i32x4.neg i64x2.abs i16x8.extend_low_i8x16_s i32x4.extend_high_i16x8_u ' +
  'i64x2.extend_low_i32x4_s i32x4.extadd_pairwise_i16x8_u i32x4.trunc_sat_f32x4_s f32x4.convert_i32x4_u f64x2.convert_low_i32x4_s';

const vectorOperators: Operator[] = [
  ...plain(VECTOR_BINARY, 'v128', 'v128'),
  ...plain(VECTOR_UNARY, 'v128'),
  ...open(
    'f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f64x2.add f64x2.mul f64x2.max',
    'v128',
    'v128',
  ),
  ...open(
    'f32x4.sqrt f32x4.floor f64x2.ceil f64x2.nearest f64x2.promote_low_f32x4 f32x4.demote_f64x2_zero',
    'v128',
  ),
  ...plain('i8x16.shl i16x8.shr_s i32x4.shr_u i64x2.shl', 'v128', 'i32'),
  ...plain('i8x16.splat i16x8.splat i32x4.splat', 'i32'),
  ...plain('i64x2.splat', 'i64'),
  { text: 'f32x4.splat', operands: ['f32'], bitsOf: 0 },
  { text: 'f64x2.splat', operands: ['f64'], bitsOf: 0 },
  ...plain(
    'i8x16.shuffle 0 17 2 19 4 21 6 23 31 30 29 28 3 2 1 0'.replaceAll(' ', '\u00a0'),
    'v128',
    'v128',
  ),
  ...plain('i8x16.replace_lane\u00a05 i32x4.replace_lane\u00a03', 'v128', 'i32'),
  ...plain('i64x2.replace_lane\u00a01', 'v128', 'i64'),
  ...plain('v128.bitselect', 'v128', 'v128', 'v128'),
];

const vectors = vectorOperators.map((operator) => ({
  ...operator,
  text: operator.text.replaceAll('\u00a0', ' '),
}));

const lanes = (texts: readonly string[]): Operator[] =>
  texts.map((text) => ({ text, operands: ['v128'] }));

/** Every operator by the type of its result. */
export const OPERATORS: Readonly<Record<WasmType, readonly Operator[]>> = {
  i32: [
    ...integer('i32'),
    ...comparisons(),
    ...plain('i32.wrap_i64', 'i64'),
    ...plain('i32.trunc_sat_f32_s i32.trunc_sat_f32_u', 'f32'),
    ...plain('i32.trunc_sat_f64_s i32.trunc_sat_f64_u', 'f64'),
    { text: 'i32.reinterpret_f32', operands: ['f32'], bitsOf: 0 },
    ...lanes([
      'i8x16.extract_lane_s 7',
      'i16x8.extract_lane_u 2',
      'i32x4.extract_lane 1',
      'v128.any_true',
      'i8x16.bitmask',
      'i32x4.all_true',
    ]),
  ],
  i64: [
    ...integer('i64'),
    ...plain('i64.extend_i32_s i64.extend_i32_u', 'i32'),
    ...plain('i64.trunc_sat_f64_s i64.trunc_sat_f64_u', 'f64'),
    { text: 'i64.reinterpret_f64', operands: ['f64'], bitsOf: 0 },
    ...lanes(['i64x2.extract_lane 1', 'i64x2.extract_lane 0']),
  ],
  f32: [
    ...float('f32'),
    ...plain('f32.convert_i32_s f32.convert_i32_u f32.reinterpret_i32', 'i32'),
    ...plain('f32.convert_i64_s', 'i64'),
    ...open('f32.demote_f64', 'f64'),
    ...lanes(['f32x4.extract_lane 2']),
  ],
  f64: [
    ...float('f64'),
    ...plain('f64.convert_i32_s f64.convert_i32_u', 'i32'),
    ...plain('f64.convert_i64_u f64.reinterpret_i64', 'i64'),
    ...open('f64.promote_f32', 'f32'),
    ...lanes(['f64x2.extract_lane 1']),
  ],
  v128: vectors,
};

export const LOADS: Readonly<Record<WasmType, readonly string[]>> = {
  i32: ['i32.load', 'i32.load8_s', 'i32.load16_u'],
  i64: ['i64.load', 'i64.load8_u', 'i64.load32_s'],
  f32: ['f32.load'],
  f64: ['f64.load'],
  v128: ['v128.load', 'v128.load8x8_s', 'v128.load32_splat', 'v128.load64_zero'],
};

export const STORES: Readonly<Record<WasmType, readonly string[]>> = {
  i32: ['i32.store', 'i32.store8', 'i32.store16'],
  i64: ['i64.store', 'i64.store16', 'i64.store32'],
  f32: ['f32.store'],
  f64: ['f64.store'],
  v128: ['v128.store'],
};

/** Operators of two values of a type that give one, whatever the values. */
export const closed = (type: WasmType): readonly Operator[] =>
  OPERATORS[type].filter(
    ({ operands, bitsOf, divides }) =>
      operands.length === 2 &&
      operands.every((operand) => operand === type) &&
      bitsOf === undefined &&
      divides !== true,
  );
