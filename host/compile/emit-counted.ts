/**
 * Writes counted loops: the passages that the fuel allows run without a poll.
 *
 *   loop $l                          loop $l
 *     poll                             poll
 *     if (i < n)                       if (i < n)
 *       body                             t = min(n - i - 1, F)          passages after this one that need no poll
 *       i = i + 1        becomes         F = F - t
 *       br $l                            end = i + t + 1
 *     end                                loop $fast
 *   end                                    body;  i = i + 1;  br_if $fast (i != end)
 *                                        end
 *                                        br $l
 *                                      end
 *                                    end
 *
 *   br $out in the body              F = F + (end - i) - 1;  br $out     the fuel of the passages that do not take place
 *
 * The body is there once, and as the engine would have seen it without sherd: it can be unrolled, and its constants and
 * bounds stay in registers. `t` is what lies before both the end of the loop and the end of the fuel, so fuel counts the
 * same passages and stops before the same one as with a poll in each: resume map and continuations are as without.
 *
 * Does: the above for all shapes of counted.ts. Does not: decide which loops are counted.
 *
 * D1  With F left at the header after its poll, at most F more passages need no poll: t ≤ F. What is left is at least 0.
 * D2  While the condition of C2 is asked for the bound itself, `end` is compared by `!=`: the counter meets it exactly.
 * D3  Fuel is exact on every way out of the loop. A trap in the body leaves none (as everywhere).
 */
import type { Body, Frame } from './body.js';
import type { ByteWriter } from './bytes.js';
import type { CountedLoop, Span } from './counted.js';
import { OP } from './opcodes.js';

const I32 = { ne: 0x47, ltU: 0x49, add: 0x6a, mul: 0x6c, divU: 0x6e } as const;

/** What these functions need of the emitter. */
export interface CountedEmitting {
  readonly w: ByteWriter;
  readonly body: Body;
  readonly fuel: number;
  /** The counted loop whose body is being written: branches out of it are written by `emitLeave`. */
  leaving: CountedLoop | undefined;
  local(index: number): number;
  range(from: number, to: number): void;
  poll(safepoint: number): void;
  /** Opens a construct without parameters and results; `frame` < 0: no label of the program. */
  openVoid(op: number, frame: number): void;
  closeBlock(): void;
  /** Depth of a frame's label from here. */
  frameDepth(frame: number): number;
}

/** Writes a counted loop; gives its last instruction. `end` is a local of which nothing else is wanted in the loop. */
export function emitCounted(
  e: CountedEmitting,
  loop: CountedLoop,
  frame: Frame,
  end: number,
): number {
  const { w } = e;
  const isIf = loop.shape === 'if';
  e.openVoid(OP.loop, frame.id);
  e.poll(frame.safepoint);
  if (loop.shape !== 'bottom') e.range(frame.first + 1, loop.test);
  if (isIf) e.openVoid(OP.if, loop.outside);
  if (loop.shape === 'exit') w.op(OP.brIf, e.frameDepth(e.body.arg[loop.test]!));
  countPassages(e, loop, end);
  passage(e, loop, end);
  if (loop.shape === 'bottom') {
    condition(e, loop);
    w.op(OP.brIf, e.frameDepth(frame.id));
  } else w.op(OP.br, e.frameDepth(frame.id));
  if (isIf) e.closeBlock();
  e.closeBlock();
  return frame.end;
}

/** The inner loop: the body, up to `end`. */
function passage(e: CountedEmitting, loop: CountedLoop, end: number): void {
  const { w } = e;
  const { bodySpans, increment } = loop;
  const isLast = bodySpans[bodySpans.length - 1]!.to === increment + 1;
  e.openVoid(OP.loop, -1);
  e.leaving = loop;
  for (const { from, to } of bodySpans) e.range(from, to === increment + 1 ? increment : to);
  e.leaving = undefined;
  w.op(isLast ? OP.localTee : OP.localGet, e.local(loop.counter));
  w.op(OP.localGet, end).u8(I32.ne).op(OP.brIf, 0);
  e.closeBlock();
}

/** A `br` or `br_if` out of the loop. */
export function emitLeave(e: CountedEmitting, loop: CountedLoop, instr: number, end: number): void {
  const isConditional = e.body.op[instr] === OP.brIf;
  if (isConditional) e.openVoid(OP.if, -1);
  returnFuel(e, loop, end, instr);
  e.w.op(OP.br, e.frameDepth(e.body.arg[instr]!));
  if (isConditional) e.closeBlock();
}

const isStrict = (compare: number): boolean => compare <= 0x4b;

function bound(e: CountedEmitting, span: Span | undefined): void {
  if (span === undefined) e.w.u8(OP.i32Const).u8(0);
  else e.range(span.from, span.to);
}

/** `counter compare bound`. */
function condition(e: CountedEmitting, loop: CountedLoop): void {
  e.w.op(OP.localGet, e.local(loop.counter));
  if (loop.bound === undefined) return;
  e.range(loop.bound.from, loop.bound.to);
  e.w.u8(loop.compare);
}

/** Sets `end` and takes the fuel of all passages but the first. */
function countPassages(e: CountedEmitting, loop: CountedLoop, end: number): void {
  const { w, fuel } = e;
  const counter = e.local(loop.counter);
  w.op(OP.localGet, fuel);
  passagesAfter(e, loop);
  w.op(OP.localTee, end).op(OP.localGet, fuel);
  w.op(OP.localGet, end).op(OP.localGet, fuel).u8(I32.ltU).u8(OP.select);
  w.op(OP.localTee, end).u8(OP.i32Sub).op(OP.localSet, fuel);
  w.op(OP.localGet, end);
  if (loop.step !== 1) w.u8(OP.i32Const).s32(loop.step).u8(I32.mul);
  w.op(OP.localGet, counter).u8(I32.add).u8(OP.i32Const).s32(loop.step).u8(I32.add);
  w.op(OP.localSet, end);
}

/** Pushes a number of passages after this one through all of which the condition surely holds. */
function passagesAfter(e: CountedEmitting, loop: CountedLoop): void {
  const { w } = e;
  const counter = e.local(loop.counter);
  const stride = Math.abs(loop.step);
  const rises = loop.step > 0;
  if (rises) bound(e, loop.bound);
  w.op(OP.localGet, counter);
  if (!rises) bound(e, loop.bound);
  w.u8(OP.i32Sub);
  if (isStrict(loop.compare)) w.u8(OP.i32Const).s32(1).u8(OP.i32Sub);
  if (stride > 1) w.u8(OP.i32Const).s32(stride).u8(I32.divU);
  if (loop.shape !== 'bottom' || loop.compare === I32.ne) return;
  w.u8(OP.i32Const).s32(0);
  condition(e, loop);
  w.u8(OP.select);
}

/** Before a way out of the body: the fuel of the passages that do not take place comes back. */
export function returnFuel(
  e: CountedEmitting,
  loop: CountedLoop,
  end: number,
  instr: number,
): void {
  const { w, fuel } = e;
  const counter = e.local(loop.counter);
  const [high, low] = loop.step > 0 ? [end, counter] : [counter, end];
  w.op(OP.localGet, fuel).op(OP.localGet, high).op(OP.localGet, low).u8(OP.i32Sub).u8(I32.add);
  if (instr < loop.increment) w.u8(OP.i32Const).s32(1).u8(OP.i32Sub);
  w.op(OP.localSet, fuel);
}
