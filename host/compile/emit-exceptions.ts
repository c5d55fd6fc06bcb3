/**
 * Writes `try`, `catch`, `throw`, `rethrow`, `delegate` and `try_table` of an instrumented function.
 *
 *   throw $t                     the fuel that is left goes into a global, because results are lost in a throw
 *   catch $t                     the values stay on the stack; fuel = the global
 *   rethrow n                    the kept values again; throw $t                            (body.ts, N4)
 *
 *   try                          block $exit  block $all
 *     body                         try
 *   catch_all       with a           body
 *     handler      rethrow of      catch $t0  keep the values; which = 0; fuel = the global;  br $all
 *   end            it becomes      catch $t1  …
 *                                  end  br $exit
 *                                end
 *                                handler
 *                                end
 *
 *   try_table (catch $t $l)      block $done  block $c0
 *     body                         try_table (catch $t $c0)
 *   end                              body
 *                                  end  br $done
 *                                end  fuel = the global;  br $l
 *                                end
 *
 * Does: the above, in the fast copy and in continuations alike. Does not: decide what is kept (body.ts) or how an exception
 * comes to a frame that is not native (runtime/instance.ts).
 *
 * H1  All exceptions are of the module's own tags: imported tags are refused, host functions do not throw into the guest,
 *     traps cannot be caught.
 * H2  Only functions with fuel throw, and a function without fuel calls none that does: its handlers never run.
 * H3  Temporaries of tags that were not caught are zero: frames stay canonical.
 */
import { invariant } from '../types/errors.js';
import type { Body, Caught, Frame } from './body.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { OP } from './opcodes.js';
import { zero } from './store-calls.js';
import type { EmitTarget } from './target.js';

/** What these functions need of the emitter. */
export interface Emitting {
  readonly w: ByteWriter;
  readonly bytes: Uint8Array;
  readonly body: Body;
  readonly target: EmitTarget;
  readonly hasFuel: boolean;
  readonly fuel: number;
  /** Labels open around the current instruction. */
  depth: number;
  temp(index: number): number;
  /** Writes a block type. */
  signature(params: readonly number[], results: readonly number[]): void;
  /** Depth of a frame's label from here. */
  frameDepth(frame: number): number;
  /** Of the frames that stand here as a `try` or `try_table`: the level of that construct's own label. */
  readonly tryLevel: Map<number, number>;
}

function throwTag(e: Emitting, tag: number): void {
  invariant(e.hasFuel, 'a function that throws carries fuel');
  e.w.u8(OP.localGet).u32(e.fuel).u8(OP.globalSet).u32(e.target.thrownFuelGlobal());
  e.w.u8(OP.throw).u32(e.target.tag(tag));
}

export function emitThrow(e: Emitting, instr: number): void {
  throwTag(e, e.body.arg[instr]!);
}

export function emitRethrow(e: Emitting, instr: number): void {
  const { tags, which } = e.body.caught.get(e.body.arg[instr]!)!;
  tags.forEach(({ tag, temps }, place) => {
    if (which >= 0) {
      e.w.u8(OP.localGet).u32(e.temp(which)).u8(OP.i32Const).s32(place).u8(0x46); // i32.eq
      e.w.u8(OP.if).u8(0x40);
    }
    for (const temp of temps) e.w.u8(OP.localGet).u32(e.temp(temp));
    throwTag(e, tag);
    if (which >= 0) e.w.u8(OP.end);
  });
  if (which >= 0) e.w.u8(OP.unreachable);
}

function takeFuel(e: Emitting): void {
  if (!e.hasFuel) return;
  e.w.u8(OP.globalGet).u32(e.target.thrownFuelGlobal()).u8(OP.localSet).u32(e.fuel);
}

/** Values on the stack into the temporaries of one tag; the others' become zero (H3). */
function keep(e: Emitting, { tags, which }: Caught, place: number): void {
  const { temps } = tags[place]!;
  for (let i = temps.length - 1; i >= 0; i--) e.w.u8(OP.localSet).u32(e.temp(temps[i]!));
  tags.forEach((other, k) => {
    if (k === place) return;
    for (const temp of other.temps) {
      zero(e.w, e.body.temps[temp]!);
      e.w.u8(OP.localSet).u32(e.temp(temp));
    }
  });
  if (which >= 0) e.w.u8(OP.i32Const).s32(place).u8(OP.localSet).u32(e.temp(which));
}

/** The clause of a `catch_all` whose exception is kept, or undefined. */
function keptAll(e: Emitting, frame: Frame): Caught | undefined {
  const last = frame.catches[frame.catches.length - 1];
  if (last === undefined || e.body.op[last] !== OP.catchAll) return undefined;
  return e.body.caught.get(last);
}

/** Opens a `try`; gives the level of its label. */
export function openTry(e: Emitting, frame: Frame, params: readonly number[]): number {
  const level = e.depth;
  if (keptAll(e, frame) !== undefined) {
    e.w.u8(OP.block);
    e.signature(params, frame.results);
    e.w.u8(OP.block);
    e.signature(params, []);
    e.depth += 2;
  }
  e.w.u8(OP.try);
  e.signature(params, frame.results);
  e.tryLevel.set(frame.id, e.depth);
  e.depth++;
  return level;
}

/** A clause of a `try`. The values of a tag are on the stack behind it, and saved by the caller. */
export function emitCatch(e: Emitting, instr: number, frame: Frame): void {
  const caught = e.body.caught.get(instr);
  if (e.body.op[instr] === OP.catch) {
    const tag = new ByteReader(e.bytes, e.body.start[instr]! + 1).u32();
    e.w.u8(OP.catch).u32(e.target.tag(tag));
    if (caught !== undefined) {
      keep(e, caught, 0);
      for (const temp of caught.tags[0]!.temps) e.w.u8(OP.localGet).u32(e.temp(temp));
    }
    takeFuel(e);
    return;
  }
  if (keptAll(e, frame) === undefined) {
    e.w.u8(OP.catchAll);
    takeFuel(e);
    return;
  }
  caught!.tags.forEach((each, place) => {
    e.w.u8(OP.catch).u32(e.target.tag(each.tag));
    keep(e, caught!, place);
    takeFuel(e);
    e.w.u8(OP.br).u32(1);
  });
  e.w.u8(OP.end).u8(OP.br).u32(1).u8(OP.end);
  e.tryLevel.delete(frame.id);
  e.depth -= 2;
}

/**
 * Where a frame stands as a `try` of its own, exceptions go to that one: the frame's label, where its branches go, may be a
 * block around it. A label outside of every `try` of the function leads the exception to the caller, as frame 0 does.
 */
function delegateDepth(e: Emitting, to: number): number {
  if (to === 0) return e.depth;
  const level = e.tryLevel.get(to);
  return level === undefined ? e.frameDepth(to) : e.depth - 1 - level;
}

/** `delegate` closes its `try`. */
export function emitDelegate(e: Emitting, frame: Frame): void {
  e.depth--;
  e.w.u8(OP.delegate).u32(delegateDepth(e, frame.delegate));
}

/** Opens a `try_table` with a block around it for each clause; gives the level of its label. */
export function openTryTable(e: Emitting, frame: Frame, params: readonly number[]): number {
  const level = e.depth;
  e.w.u8(OP.block);
  e.signature(params, frame.results);
  for (const { tag } of frame.clauses.toReversed()) {
    e.w.u8(OP.block);
    e.signature(params, tag < 0 ? [] : e.target.tagTypes(tag));
  }
  e.w.u8(OP.tryTable);
  e.signature(params, frame.results);
  e.w.u32(frame.clauses.length);
  frame.clauses.forEach(({ tag }, k) => {
    if (tag < 0) e.w.u8(2).u32(k);
    else e.w.u8(0).u32(e.target.tag(tag)).u32(k);
  });
  e.tryLevel.set(frame.id, e.depth + frame.clauses.length + 1);
  e.depth += frame.clauses.length + 2;
  return level;
}

export function closeTryTable(e: Emitting, frame: Frame): void {
  e.w.u8(OP.end);
  e.depth--;
  e.w.u8(OP.br).u32(frame.clauses.length);
  for (const { label } of frame.clauses) {
    e.w.u8(OP.end);
    e.depth--;
    takeFuel(e);
    e.w.u8(OP.br).u32(e.frameDepth(label));
  }
  e.w.u8(OP.end);
  e.depth--;
}

/** Where the arm of `frame` that contains instruction `from` ends. */
export function armEnd(frame: Frame, from: number): number {
  if (frame.elseAt >= 0 && from <= frame.elseAt) return frame.elseAt;
  if (inTryBody(frame, from)) return frame.end; // its handlers stay with it
  return frame.catches.find((clause) => from <= clause) ?? frame.end;
}

/** The code from instruction `from` on begins in the guarded part of a `try` or `try_table`. */
export function inTryBody(frame: Frame, from: number): boolean {
  if (frame.kind === 'try_table') return true;
  return frame.kind === 'try' && (frame.catches.length === 0 || from <= frame.catches[0]!);
}
