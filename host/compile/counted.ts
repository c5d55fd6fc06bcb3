/**
 * Recognises loops whose number of passages is known before they run: counted loops.
 *
 *   loop $l  (br_if $out | if) (i < n)  …  i = i + c  br $l       tested at the top, as asc writes them
 *   loop $l  …  i = i + c  br_if $l (i < n)                       tested at the bottom, as LLVM does
 *
 * Does: find the counter i, its step c and the bound n, and look at everything else in the loop. Does not: write code
 * (emit-counted.ts shows what becomes of such a loop).
 *
 * C1  Innermost loops only, in which nothing can stop, throw or change the fuel: the poll at the header is the only one.
 * C2  The counter is written once, in every passage, by a constant; nothing of the bound is written.
 * C3  The header is reached again at the end only. Other ways lead out of the loop.
 * C4  Linear: a loop is read at most twice, and innermost loops do not overlap.
 */
import { type Body, branchTableTargets, type Frame } from './body.js';
import { ByteReader } from './bytes.js';
import { OP } from './opcodes.js';

/** Above so many instructions a poll is nothing beside the body. */
const MAX_INSTRUCTIONS = 160;
/** A bound of more instructions is not worth computing again. */
const MAX_BOUND = 12;

const I32 = { eq: 0x46, ne: 0x47, geU: 0x4f, add: 0x6a, mul: 0x6c, and: 0x71, shrU: 0x76 } as const;

/** Instructions `[from, to)` of the body. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface CountedLoop {
  /** Where the test stands. `if`, `exit` (a `br_if` out of the loop): at the top; `bottom`. */
  readonly shape: 'if' | 'exit' | 'bottom';
  /** The `if` or `br_if` at the top; the `br_if` at the bottom. */
  readonly test: number;
  /** The loop goes on while `counter compare bound`. */
  readonly compare: number;
  readonly counter: number;
  readonly step: number;
  readonly bound: Span | undefined;
  /** The instruction that writes the counter. */
  readonly increment: number;
  /** All that is done in a passage, without test and last branch. */
  readonly bodySpans: readonly Span[];
  /** The last instruction of the body is a `local.tee` of the counter of which only the write is wanted. */
  readonly endsInTee: boolean;
  /** Frames with a number up to this lie outside the passage: branches to them leave the loop. */
  readonly outside: number;
}

interface Test {
  readonly counter: number;
  readonly bound: Span | undefined;
  readonly compare: number;
}

const SWAPPED: Readonly<Record<number, number>> = {
  70: 70,
  71: 71,
  72: 74,
  73: 75,
  74: 72,
  75: 73,
  76: 78,
  77: 79,
  78: 76,
  79: 77,
};
const NEGATED: Readonly<Record<number, number>> = {
  70: 71,
  71: 70,
  72: 78,
  73: 79,
  74: 76,
  75: 77,
  76: 74,
  77: 75,
  78: 72,
  79: 73,
};

/** True when the comparison can hold for a while as the counter moves by the step. */
function fits(compare: number, step: number): boolean {
  if (compare === I32.ne) return true;
  const rises = compare === 0x48 || compare === 0x49 || compare === 0x4c || compare === 0x4d;
  const falls = compare === 0x4a || compare === 0x4b || compare === 0x4e || compare === 0x4f;
  return step > 0 ? rises : falls;
}

function isCompare(op: number): boolean {
  return op >= I32.eq && op <= I32.geU;
}

class Recogniser {
  constructor(
    private readonly body: Body,
    private readonly bytes: Uint8Array,
    private readonly carriesFuel: (functionIndex: number) => boolean,
    private readonly loop: Frame,
  ) {}

  run(): CountedLoop | undefined {
    const { loop } = this;
    if (loop.params.length > 0 || loop.results.length > 0) return undefined;
    if (loop.end - loop.first > MAX_INSTRUCTIONS) return undefined;
    return this.atTop() ?? this.atBottom();
  }

  // --- pieces --------------------------------------------------------------------------------------------

  private constant(instr: number): number | undefined {
    const { body } = this;
    if (body.op[instr] !== OP.i32Const) return undefined;
    return new ByteReader(this.bytes, body.start[instr]! + 1).s32();
  }

  private isGet(instr: number): boolean {
    return this.body.op[instr] === OP.localGet;
  }

  /** `i + c` or `i - c` just before the write of i at `at`: c. */
  private stepAt(at: number, counter: number): number | undefined {
    const { op, arg } = this.body;
    const way = op[at - 1];
    if (way !== I32.add && way !== OP.i32Sub) return undefined;
    const isFirst = this.isGet(at - 3) && arg[at - 3] === counter;
    const isSecond = way === I32.add && this.isGet(at - 2) && arg[at - 2] === counter;
    const value = isFirst ? this.constant(at - 2) : isSecond ? this.constant(at - 3) : undefined;
    if (value === undefined || value === 0 || value === -0x80000000) return undefined;
    return way === OP.i32Sub ? -value : value;
  }

  /** One past the pure expression of one i32 that starts at `from` and ends before `to`; -1: none. */
  private isPure(from: number, to: number): boolean {
    const { op } = this.body;
    if (to <= from || to - from > MAX_BOUND) return false;
    let height = 0;
    for (let i = from; i < to; i++) {
      const key = op[i]!;
      if (key === OP.localGet || key === OP.i32Const) height++;
      else if ((key >= I32.add && key <= I32.mul) || (key >= I32.and && key <= I32.shrU)) height--;
      else return false;
      if (height < 1) return false;
    }
    return height === 1;
  }

  /** The ways to read a test whose comparison is at `at`, operands from `from` on. */
  private tests(from: number, at: number): Test[] {
    const { op, arg } = this.body;
    const compare = op[at]!;
    const found: Test[] = [];
    if (this.isGet(from) && this.isPure(from + 1, at))
      found.push({ counter: arg[from]!, bound: { from: from + 1, to: at }, compare });
    if (this.isGet(at - 1) && this.isPure(from, at - 1))
      found.push({
        counter: arg[at - 1]!,
        bound: { from, to: at - 1 },
        compare: SWAPPED[compare]!,
      });
    return found;
  }

  // --- shapes --------------------------------------------------------------------------------------------

  private atTop(): CountedLoop | undefined {
    const { op, arg, frames, live } = this.body;
    const { loop } = this;
    const from = loop.first + 1;
    let at = from;
    while (at - from <= MAX_BOUND && (this.isGet(at) || this.isArithmetic(at))) at++;
    let test = at;
    if (isCompare(op[at]!)) test++;
    let negated = false;
    if (op[test] === 0x45) {
      negated = true;
      test++;
    }
    const isIf = op[test] === OP.if;
    if (!isIf && op[test] !== OP.brIf) return undefined;
    const tests = isCompare(op[at]!) ? this.tests(from, at) : this.valueTest(from, at);
    const shape = isIf ? 'if' : 'exit';
    let end = loop.end;
    let outside = loop.id;
    if (isIf) {
      const frame = frames[arg[test]!]!;
      if (frame.params.length > 0 || frame.results.length > 0 || frame.elseAt >= 0)
        return undefined;
      end = frame.end;
      outside = frame.id;
      if (end + 1 !== loop.end) return undefined;
    } else {
      if (arg[test]! >= loop.id || this.labelArity(arg[test]!) > 0) return undefined;
      negated = !negated;
    }
    const last = end - 1;
    if (op[last] !== OP.br || arg[last] !== loop.id || live[last] === 0) return undefined;
    const span = { from: test + 1, to: last };
    for (const each of tests) {
      const compare = negated ? NEGATED[each.compare]! : each.compare;
      const counted = this.passage({ ...each, compare }, shape, test, [span], outside, false);
      if (counted !== undefined) return counted;
    }
    return undefined;
  }

  private isArithmetic(i: number): boolean {
    const key = this.body.op[i]!;
    return (
      key === OP.i32Const ||
      (key >= I32.add && key <= I32.mul) ||
      (key >= I32.and && key <= I32.shrU)
    );
  }

  /** A counter that is tested as it is: it goes on while it is not 0. */
  private valueTest(from: number, at: number): Test[] {
    if (at !== from + 1 || !this.isGet(from)) return [];
    return [{ counter: this.body.arg[from]!, bound: undefined, compare: I32.ne }];
  }

  private atBottom(): CountedLoop | undefined {
    const { op, arg, live } = this.body;
    const { loop } = this;
    const test = loop.end - 1;
    if (op[test] !== OP.brIf || arg[test] !== loop.id || live[test] === 0) return undefined;
    const from = loop.first + 1;
    const isTee = (i: number): boolean => op[i] === OP.localTee;
    const simple = (i: number): boolean => this.isGet(i) || op[i] === OP.i32Const;
    const tries: { test: Test; spans: Span[]; tee: boolean }[] = [];
    const at = test - 1;
    if (isTee(at) || this.isGet(at)) {
      const value = { counter: arg[at]!, bound: undefined, compare: I32.ne };
      tries.push({ test: value, spans: [{ from, to: at + (isTee(at) ? 1 : 0) }], tee: isTee(at) });
    } else if (isCompare(op[at]!)) {
      const compare = op[at]!;
      const second = at - 1;
      const first = at - 2;
      if (simple(second) && (isTee(first) || this.isGet(first))) {
        const bound = { from: second, to: at };
        const tee = isTee(first);
        const spans = [{ from, to: tee ? first + 1 : first }];
        tries.push({ test: { counter: arg[first]!, bound, compare }, spans, tee });
      }
      const swapped = SWAPPED[compare]!;
      if (this.isGet(second) && simple(first)) {
        const bound = { from: first, to: second };
        const spans = [{ from, to: first }];
        tries.push({ test: { counter: arg[second]!, bound, compare: swapped }, spans, tee: false });
      }
      const before = second - 4; // bound, i, c, add, tee
      if (isTee(second) && before >= from && simple(before)) {
        const bound = { from: before, to: before + 1 };
        const spans = [
          { from, to: before },
          { from: before + 1, to: second + 1 },
        ];
        tries.push({ test: { counter: arg[second]!, bound, compare: swapped }, spans, tee: true });
      }
    }
    for (const { test: each, spans, tee } of tries) {
      const counted = this.passage(each, 'bottom', test, spans, loop.id, tee);
      if (counted !== undefined) return counted;
    }
    return undefined;
  }

  // --- everything else in the loop -----------------------------------------------------------------------

  private labelArity(frame: number): number {
    const { kind, params, results } = this.body.frames[frame]!;
    return kind === 'loop' ? params.length : results.length;
  }

  private passage(
    test: Test,
    shape: CountedLoop['shape'],
    at: number,
    bodySpans: readonly Span[],
    outside: number,
    endsInTee: boolean,
  ): CountedLoop | undefined {
    const { op, arg, live, safepointAt } = this.body;
    let increment = -1;
    let step = 0;
    let exits = 0;
    let nesting = 0;
    for (const { from, to } of bodySpans) {
      for (let i = from; i < to; i++) {
        const key = op[i]!;
        if (key === OP.block || key === OP.if) nesting++;
        else if (key === OP.end) nesting--;
        if (live[i] === 0) continue;
        if (this.isForbidden(key, i) || safepointAt[i]! >= 0) return undefined;
        if (key === OP.localSet || key === OP.localTee) {
          if (this.reads(test.bound, arg[i]!)) return undefined;
          if (arg[i] !== test.counter) continue;
          const found = this.stepAt(i, test.counter);
          if (found === undefined || increment >= 0 || nesting !== 0) return undefined;
          if (i - 3 < from) return undefined;
          increment = i;
          step = found;
        } else if (key === OP.return) exits++;
        else if (key === OP.br || key === OP.brIf) {
          if (arg[i] === this.loop.id) return undefined;
          if (arg[i]! > outside) continue;
          if (key === OP.brIf && this.labelArity(arg[i]!) > 0) return undefined;
          exits++;
        } else if (key === OP.brTable) {
          const targets = branchTableTargets(this.body, i, this.bytes);
          if (targets.some((frame) => frame <= outside)) return undefined;
        }
      }
    }
    if (increment < 0 || !fits(test.compare, step)) return undefined;
    if (this.reads(test.bound, test.counter)) return undefined;
    if (exits > 0 && step !== 1 && step !== -1) return undefined;
    return { ...test, shape, test: at, step, increment, bodySpans, endsInTee, outside };
  }

  private isForbidden(key: number, i: number): boolean {
    switch (key) {
      case OP.loop:
      case OP.try:
      case OP.tryTable:
      case OP.throw:
      case OP.rethrow:
      case OP.returnCall:
      case OP.returnCallIndirect:
        return true;
      case OP.call:
        return this.carriesFuel(this.body.arg[i]!);
      default:
        return false;
    }
  }

  private reads(span: Span | undefined, local: number): boolean {
    if (span === undefined) return false;
    for (let i = span.from; i < span.to; i++)
      if (this.isGet(i) && this.body.arg[i] === local) return true;
    return false;
  }
}

/** What is known of a loop with a poll, or undefined when it is not a counted loop. */
export function countedLoop(
  body: Body,
  bytes: Uint8Array,
  carriesFuel: (functionIndex: number) => boolean,
  loop: Frame,
): CountedLoop | undefined {
  return new Recogniser(body, bytes, carriesFuel, loop).run();
}
