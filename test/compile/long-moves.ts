/**
 * Memory instructions that move much, stopped anywhere: calls with a fresh instance after every stop, and a model.
 */
import fc from 'fast-check';
import { PIECE_BYTES } from '../../host/compile/pieces.js';
import { Instance } from '../../host/runtime/instance.js';
import type { LoadedModule } from '../../host/runtime/loaded.js';
import type { RunResult } from '../../host/types/state.js';
import { assemble } from '../exact/modules.js';
import { detached, hostOf, load, raw } from '../runtime/support.js';

const PAGES = 9;
export const BYTES = PAGES * 65_536;
const SEGMENT_BYTES = 200_000;

/** Bytes without a short period. */
function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

const text = (bytes: Uint8Array): string =>
  [...bytes].map((b) => `\\${b.toString(16).padStart(2, '0')}`).join('');
const SEGMENT = pattern(SEGMENT_BYTES);
const MEMORY = `(module (memory ${PAGES}) (data $p "${text(SEGMENT)}")
  (func (export "prepare") i32.const 100 i32.const 0 i32.const ${SEGMENT_BYTES} memory.init $p
    i32.const 300001 i32.const 7 i32.const 199000 memory.init $p)
  (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
  (func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
  (func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.init $p)
  (func (export "dropped") (param i32 i32 i32) data.drop $p local.get 0 local.get 1 local.get 2 memory.init $p))`;

interface Ending {
  readonly result: RunResult;
  readonly instance: Instance;
  readonly stops: number;
}

/** Calls `entry` on a state, stopped after every `step` safepoints and resumed in a fresh instance. */
export function call(
  loaded: LoadedModule,
  entry: string,
  args: readonly number[],
  memory: Uint8Array | undefined,
  step: number,
): Ending {
  let instance = Instance.start(loaded, hostOf(), {
    entry,
    entryArgs: raw(...args),
    limitPages: 0,
  });
  if (memory !== undefined) {
    const state = detached(instance.capture());
    instance = Instance.resume(loaded, hostOf(), {
      ...state,
      memory: state.memory && { ...state.memory, bytes: memory },
    });
  }
  for (let stops = 0; ; stops++) {
    const result = instance.run(step);
    if (result.kind !== 'quantum') return { result, instance, stops };
    instance = Instance.resume(loaded, hostOf(), detached(instance.capture()));
  }
}

/** What the specification says: undefined = a trap, and nothing is written. */
export function model(
  entry: string,
  memory: Uint8Array,
  target: number,
  source: number,
  n: number,
): Uint8Array | undefined {
  if (target + n > BYTES) return undefined;
  const after = memory.slice();
  if (entry === 'fill') return after.fill(source & 0xff, target, target + n);
  const limit = entry === 'copy' ? BYTES : entry === 'init' ? SEGMENT_BYTES : 0;
  if (source + n > limit) return undefined;
  if (entry === 'copy') return after.copyWithin(target, source, source + n);
  after.set(SEGMENT.subarray(source, source + n), target);
  return after;
}

export const loadedMemory = load(assemble(MEMORY));
export const start = pattern(BYTES);
/** Where something changes: around pieces, the ends of memory and of the segment, and where sums wrap around. */
const EDGES = [0, 1, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES, SEGMENT_BYTES, BYTES, 2 ** 32];
const near = fc
  .tuple(fc.constantFrom(...EDGES), fc.integer({ min: -3, max: 3 }))
  .map(([at, by]) => (at + by + 2 ** 32) % 2 ** 32);
const place = fc.oneof(near, fc.nat(BYTES));
const length = fc.oneof(near, fc.nat(5 * PIECE_BYTES));

/** Cases most of which are in bounds, and some anywhere. */
export function cases(
  limit: number,
): fc.Arbitrary<readonly [target: number, source: number, n: number]> {
  const share = fc.nat(1_000_000).map((millionths) => millionths / 1e6);
  const inside = fc
    .tuple(fc.nat(Math.min(limit, 5 * PIECE_BYTES)), share, share)
    .map(([n, a, b]) => [Math.floor(a * (BYTES - n)), Math.floor(b * (limit - n)), n] as const);
  return fc.oneof(inside, fc.tuple(place, place, length));
}
export const LIMITS = {
  copy: BYTES,
  fill: BYTES,
  init: SEGMENT_BYTES,
  dropped: SEGMENT_BYTES,
} as const;
