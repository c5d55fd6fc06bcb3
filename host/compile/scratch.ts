/**
 * Memory that the passes over one function write into, reused for the next function.
 *
 *   per instruction   op start arg live safepointAt save        as many as the body has bytes, at most
 *   per operand       type kind ref instr depth                  grown on demand
 *   per safepoint     operands, end to end                       grown on demand
 *
 * Does: own typed arrays and make room. Does not: know what they mean (body.ts, liveness.ts).
 *
 * H1  What an analysis returns lies in its scratch: it is valid until the scratch analyses the next function.
 * H2  Room at least doubles, so that growing costs a constant a value.
 */

/** At least `needed`, at least twice what there was. */
function roomFor(needed: number, have: number): number {
  return Math.max(needed, have * 2);
}

function grown32(old: Int32Array, room: number): Int32Array<ArrayBuffer> {
  const array = new Int32Array(room);
  array.set(old);
  return array;
}

function grown8(old: Uint8Array, room: number): Uint8Array<ArrayBuffer> {
  const array = new Uint8Array(room);
  array.set(old);
  return array;
}

/** The operand stacks of all safepoints of a function, end to end. How each operand is rebuilt: */
export class OperandPool {
  length = 0;
  /** An `OperandKind`. */
  kind = new Uint8Array(64);
  type = new Uint8Array(64);
  /** Temporary, local, or the instruction of a constant. */
  ref = new Int32Array(64);
  /** The instruction that pushed it, and that may save it for later safepoints (N3 of body.ts). */
  producer = new Int32Array(64);

  push(kind: number, type: number, ref: number, producer: number): void {
    const at = this.length++;
    if (at === this.kind.length) this.grow();
    this.kind[at] = kind;
    this.type[at] = type;
    this.ref[at] = ref;
    this.producer[at] = producer;
  }

  private grow(): void {
    const room = roomFor(64, this.kind.length);
    this.kind = grown8(this.kind, room);
    this.type = grown8(this.type, room);
    this.ref = grown32(this.ref, room);
    this.producer = grown32(this.producer, room);
  }
}

export class Scratch {
  op = new Uint16Array(0);
  start = new Uint32Array(0);
  arg = new Int32Array(0);
  live = new Uint8Array(0);
  safepointAt = new Int32Array(0);
  save = new Int32Array(0);
  readonly operands = new OperandPool();

  oType = new Uint8Array(64);
  oKind = new Uint8Array(64);
  oRef = new Int32Array(64);
  oInstr = new Int32Array(64);
  oDepth = new Int32Array(64);
  /** Operand ids, bottom first. */
  stack = new Int32Array(64);
  /** Per local: the lowest stack position at which it may lie as an operand. */
  localLow = new Int32Array(64);

  /** Words for sets of locals: see liveness.ts. */
  words = new Uint32Array(64);
  liveSlots = new Int32Array(64);

  /** Room for a body of so many instructions and locals. */
  begin(instructions: number, locals: number): void {
    this.operands.length = 0;
    if (this.localLow.length < locals)
      this.localLow = new Int32Array(roomFor(locals, this.localLow.length));
    if (this.op.length > instructions) return;
    const room = roomFor(instructions + 1, this.op.length);
    this.op = new Uint16Array(room);
    this.start = new Uint32Array(room);
    this.arg = new Int32Array(room);
    this.live = new Uint8Array(room);
    this.safepointAt = new Int32Array(room);
    this.save = new Int32Array(room);
  }

  growOperands(): void {
    const room = roomFor(64, this.oType.length);
    this.oType = grown8(this.oType, room);
    this.oKind = grown8(this.oKind, room);
    this.oRef = grown32(this.oRef, room);
    this.oInstr = grown32(this.oInstr, room);
    this.oDepth = grown32(this.oDepth, room);
    this.stack = grown32(this.stack, room);
  }

  /** `count` words; not zeroed. */
  wordsFor(count: number): Uint32Array {
    if (this.words.length < count) this.words = new Uint32Array(roomFor(count, this.words.length));
    return this.words;
  }

  /** Room for `count` more live slots after `used`. */
  liveSlotsFor(used: number, count: number): Int32Array {
    if (this.liveSlots.length < used + count)
      this.liveSlots = grown32(this.liveSlots, roomFor(used + count, this.liveSlots.length));
    return this.liveSlots;
  }
}
