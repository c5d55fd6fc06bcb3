/**
 * The frame layout of a function: which values a stopped activation consists of.
 *
 *   slots:  [ live locals, ascending | operand temporaries, ascending ]        union over all safepoints
 *   frame in the frame store:  { safepoint u32, function u32, slot 0, slot 1, … }     8 bytes a slot, v128 16
 *
 * Does: choose slots and, per safepoint, the live ones. Does not: write code.
 *
 * P1  A slot that is not live at a safepoint may hold anything; the encoder drops it, so capsules stay canonical.
 * P2  Layout depends on the program's bytes only: the fast copy and every continuation agree on it.
 */
import type { FunctionInfo, SlotInfo } from '../types/module.js';
import type { ValType } from '../types/state.js';
import type { Body } from './body.js';
import { hasLocal, liveLocals } from './liveness.js';
import { VT } from './opcodes.js';

export interface Slot {
  readonly type: number;
  /** Local index, or -1. */
  readonly local: number;
  /** Temporary index, or -1. */
  readonly temp: number;
  /** Byte offset in the frame, after the 8-byte head. */
  readonly offset: number;
}

export interface FramePlan {
  readonly slots: readonly Slot[];
  /** Bytes of all slots. */
  readonly bytes: number;
  /** Live slot indices, per safepoint. */
  readonly live: readonly (readonly number[])[];
}

export const VAL_TYPE_NAME: Readonly<Record<number, ValType>> = {
  [VT.i32]: 'i32',
  [VT.i64]: 'i64',
  [VT.f32]: 'f32',
  [VT.f64]: 'f64',
  [VT.v128]: 'v128',
  [VT.funcref]: 'funcref',
  [VT.externref]: 'externref',
};

export function slotBytes(type: number): number {
  return type === VT.v128 ? 16 : 8;
}

/** Lays out the frame of a function that can stop. */
export function planFrame(body: Body, bytes: Uint8Array): FramePlan {
  if (body.safepoints.length === 0) return { slots: [], bytes: 0, live: [] };
  const liveSets = liveLocals(body, bytes);
  const slots: Slot[] = [];
  let offset = 0;
  const add = (type: number, local: number, temp: number): void => {
    slots.push({ type, local, temp, offset });
    offset += slotBytes(type);
  };
  body.locals.forEach((type, local) => {
    if (liveSets.some((set) => hasLocal(set, local))) add(type, local, -1);
  });
  const used = new Set<number>();
  for (const safepoint of body.safepoints) {
    for (const operand of safepoint.operands) if (operand.kind === 'temp') used.add(operand.temp);
  }
  body.temps.forEach((type, temp) => {
    if (used.has(temp)) add(type, -1, temp);
  });
  const live = body.safepoints.map((safepoint, s) => {
    const temps = new Set(safepoint.operands.map((o) => (o.kind === 'temp' ? o.temp : -1)));
    const set = liveSets[s]!;
    return slots.flatMap((slot, i) =>
      (slot.local >= 0 ? hasLocal(set, slot.local) : temps.has(slot.temp)) ? [i] : [],
    );
  });
  return { slots, bytes: offset, live };
}

export function slotInfo(slot: Slot): SlotInfo {
  return { type: VAL_TYPE_NAME[slot.type]!, local: slot.local };
}

/** Where the slots of a frame lie, as far as the runtime needs it. */
export interface FrameLayout {
  /** Bytes of all slots. */
  readonly bytes: number;
  /** Per safepoint: the live slots' offsets and sizes, in order. */
  readonly live: readonly (readonly { readonly offset: number; readonly size: number }[])[];
  /** Per safepoint: bytes of the live slots. */
  readonly liveBytes: readonly number[];
  /** Per safepoint: offsets of the live funcref slots; undefined: the function has none. */
  readonly refs: readonly (readonly number[])[] | undefined;
}

/** The same layout as planFrame's, from the resume map. */
export function layoutOf(info: FunctionInfo): FrameLayout {
  let bytes = 0;
  const slots = info.slots.map(({ type }) => {
    const size = type === 'v128' ? 16 : 8;
    bytes += size;
    return { offset: bytes - size, size };
  });
  const live = info.safepoints.map((s) => s.live.map((slot) => slots[slot]!));
  return {
    bytes,
    live,
    liveBytes: live.map((list) => list.reduce((sum, slot) => sum + slot.size, 0)),
    refs: info.slots.some(({ type }) => type === 'funcref')
      ? info.safepoints.map((s) =>
          s.live.filter((i) => info.slots[i]!.type === 'funcref').map((i) => slots[i]!.offset),
        )
      : undefined,
  };
}
