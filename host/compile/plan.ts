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
import type { FunctionInfo } from '../types/module.js';
import type { ValType } from '../types/state.js';
import { type Body, OperandKind } from './body.js';
import { caughtTemps } from './body-exceptions.js';
import { type LiveLocals, liveLocals } from './liveness.js';
import { VT } from './opcodes.js';
import type { Scratch } from './scratch.js';

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
  /** Live slot indices of all safepoints, end to end, ascending in each. In a Scratch (H1), maybe longer than used. */
  readonly live: Int32Array;
  /** Where each safepoint's begin in `live`; one entry more than safepoints. */
  readonly liveFrom: readonly number[];
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

const NO_FRAME: FramePlan = { slots: [], bytes: 0, live: new Int32Array(0), liveFrom: [0] };

class Planner {
  private readonly slots: Slot[] = [];
  private bytes = 0;
  private readonly sets: LiveLocals;
  /** Slot of each local and of each temporary, or -1. */
  private readonly ofLocal: Int32Array;
  private readonly ofTemp: Int32Array;

  constructor(
    private readonly body: Body,
    bytes: Uint8Array,
    private readonly scratch: Scratch,
  ) {
    this.sets = liveLocals(body, bytes, scratch);
    this.ofLocal = new Int32Array(body.locals.length).fill(-1);
    this.ofTemp = new Int32Array(body.temps.length).fill(-1);
  }

  run(): FramePlan {
    this.placeLocals();
    this.placeTemps();
    const liveFrom = [0];
    let used = 0;
    for (let s = 0; s < this.body.safepoints.length; s++) {
      used = this.liveAt(s, used);
      liveFrom.push(used);
    }
    return { slots: this.slots, bytes: this.bytes, live: this.scratch.liveSlots, liveFrom };
  }

  private add(type: number, local: number, temp: number): number {
    this.slots.push({ type, local, temp, offset: this.bytes });
    this.bytes += slotBytes(type);
    return this.slots.length - 1;
  }

  /** A slot for every local that is live at a safepoint. */
  private placeLocals(): void {
    const { words, width } = this.sets;
    for (let w = 0; w < width; w++) {
      let any = 0;
      for (let s = 0; s < this.body.safepoints.length; s++) any |= words[s * width + w]!;
      for (; any !== 0; any &= any - 1) {
        const local = w * 32 + lowestBit(any);
        this.ofLocal[local] = this.add(this.body.locals[local]!, local, -1);
      }
    }
  }

  /** A slot for every temporary from which an operand is rebuilt. */
  private placeTemps(): void {
    const { operands, temps } = this.body;
    if (temps.length === 0) return;
    for (let i = 0; i < operands.length; i++) {
      if (operands.kind[i] === OperandKind.temp) this.ofTemp[operands.ref[i]!] = 0;
    }
    for (const safepoint of this.body.safepoints)
      for (const temp of caughtTemps(this.body, safepoint)) this.ofTemp[temp] = 0;
    temps.forEach((type, temp) => {
      if (this.ofTemp[temp] === 0) this.ofTemp[temp] = this.add(type, -1, temp);
    });
  }

  /** Appends the slots that are live at a safepoint; the new length. */
  private liveAt(s: number, from: number): number {
    const { words, width } = this.sets;
    const { operands, safepoints } = this.body;
    const safepoint = safepoints[s]!;
    const caught = caughtTemps(this.body, safepoint);
    const most = this.slots.length + safepoint.to - safepoint.from + caught.length;
    const live = this.scratch.liveSlotsFor(from, most);
    let used = from;
    for (let w = 0; w < width; w++) {
      for (let set = words[s * width + w]!; set !== 0; set &= set - 1)
        live[used++] = this.ofLocal[w * 32 + lowestBit(set)]!;
    }
    const locals = used;
    for (let i = safepoint.from; i < safepoint.to; i++) {
      if (operands.kind[i] === OperandKind.temp) live[used++] = this.ofTemp[operands.ref[i]!]!;
    }
    for (const temp of caught) live[used++] = this.ofTemp[temp]!;
    sortRange(live, locals, used);
    return used;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Sorts a part of an array: insertion for the usual few, which mostly stand in order already. */
function sortRange(array: Int32Array, from: number, to: number): void {
  if (to - from > 64) {
    array.subarray(from, to).sort();
    return;
  }
  for (let i = from + 1; i < to; i++) {
    const value = array[i]!;
    let j = i - 1;
    for (; j >= from && array[j]! > value; j--) array[j + 1] = array[j]!;
    array[j + 1] = value;
  }
}

/** Lays out the frame of a function that can stop. The live slots lie in `scratch`. */
export function planFrame(body: Body, bytes: Uint8Array, scratch: Scratch): FramePlan {
  if (body.safepoints.length === 0) return NO_FRAME;
  return new Planner(body, bytes, scratch).run();
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
