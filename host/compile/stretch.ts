/**
 * How far one function can run without passing a safepoint, from the same facts of what it calls.
 *
 *   entry ──3──▶ call $g ──2──▶ (loop header) ──4──▶ … ──1──▶ return        a poll is passed in the loop header
 *   head = 3 + what $g adds + 2          tail = 1          through = none: every way passes the poll
 *
 * Does: walk the structured code once, keeping three lengths: since the entry, since the last poll, since the return of a
 * recursive call. Given limits, put polls where a length would pass its own. Does not: know the program around the function
 * (program-flow.ts).
 *
 * W1  A length is an upper bound: where ways meet, the longest goes on; an exception may reach every handler around.
 * W2  The unit is the program's instruction, each counted as one where the way passes it.
 * W3  A loop without a poll makes what comes after it as long as can be (Infinity).
 * W4  With limits, no length passes its own by more than one instruction, where no callee's does. What is measured while
 *     placing is what a walk over the code with these polls gives, within an instruction a poll.
 */
import { ByteReader } from './bytes.js';
import { readBlockType, readCatchClauses, readOpcode, skipImmediates } from './instructions.js';
import { readLocals, type WasmModule } from './module.js';
import { FACT, FACTS, OP } from './opcodes.js';

/** No way leads there. */
export const NO_WAY = -1;

/** What a call of a function means for the caller. Lengths in instructions, or NO_WAY. */
export interface Flow {
  /** From the entry to the first poll, or to `unreachable`. */
  head: number;
  /** From the entry to the return without a poll; `thrown…`: to an exception that leaves the function. */
  through: number;
  thrownThrough: number;
  /** From the last poll to the return. */
  tail: number;
  thrownTail: number;
  /** From the return of a call into the function's own recursion to the return. */
  after: number;
  thrownAfter: number;
}

/** A function's flow, and what it contains. */
export interface Stretch extends Flow {
  /** Between two polls, or from a poll to `unreachable`. */
  inner: number;
  /** From the return of a call into the function's own recursion to a poll. */
  afterInner: number;
}

export const noFlow = (): Flow => ({
  head: NO_WAY,
  through: NO_WAY,
  thrownThrough: NO_WAY,
  tail: NO_WAY,
  thrownTail: NO_WAY,
  after: NO_WAY,
  thrownAfter: NO_WAY,
});

/** A call of a host function: nothing of the program runs. */
export const HOST_FLOW: Flow = { ...noFlow(), through: 0 };

/** How long a function may run without a poll, in instructions, and where polls go that keep it so. */
export interface Placing {
  /** From the entry: also what a call of it can add to its caller's lengths. */
  readonly sinceEntry: number;
  /** From a poll; from the return of a call into the function's own recursion. */
  readonly sincePoll: number;
  readonly sinceReturn: number;
  /** The same up to the function's own end. Less: one poll there spares its callers one each. */
  readonly pollToEnd: number;
  readonly returnToEnd: number;
  /** A poll goes before the instruction at this position of the module. */
  place(position: number): void;
}

/** What the walk must know of a function and its calls. */
export interface StretchFacts {
  readonly entryPoll: boolean;
  /** Offsets of the loop instructions with a poll, from the start of the code section's content; undefined: all of them. */
  readonly polls: ReadonlySet<number> | undefined;
  /** Undefined: the code stays as it is. */
  readonly placing: Placing | undefined;
  /** Undefined: the call enters the caller's own recursion, by a poll. */
  callee(functionIndex: number): Flow | undefined;
  indirect(typeIndex: number): Flow | undefined;
}

/** Lengths since the entry, since a poll, since the return of a recursive call. */
class Lengths {
  entry = NO_WAY;
  poll = NO_WAY;
  after = NO_WAY;

  get reached(): boolean {
    return this.entry >= 0 || this.poll >= 0 || this.after >= 0;
  }
  step(by = 1): void {
    this.entry = plus(this.entry, by);
    this.poll = plus(this.poll, by);
    this.after = plus(this.after, by);
  }
  merge({ entry, poll, after }: Lengths): void {
    if (entry > this.entry) this.entry = entry;
    if (poll > this.poll) this.poll = poll;
    if (after > this.after) this.after = after;
  }
  set(entry: number, poll: number, after: number): void {
    this.entry = entry;
    this.poll = poll;
    this.after = after;
  }
  copy(): Lengths {
    const copy = new Lengths();
    copy.merge(this);
    return copy;
  }
}

export const plus = (a: number, b: number): number => (a < 0 || b < 0 ? NO_WAY : a + b);

type Kind = 'func' | 'block' | 'loop' | 'if' | 'try' | 'try_table';

interface Open {
  readonly kind: Kind;
  /** What branches bring to its label. */
  readonly label: Lengths;
  /** `if`: before its arms. */
  start: Lengths | undefined;
  /** What exceptions bring to its handlers; the walk is in the body. */
  /** Undefined: no handlers. */
  readonly thrown: Lengths | undefined;
  inBody: boolean;
  /** `try_table`: where its clauses lead. */
  readonly clauses: readonly Open[];
  readonly polled: boolean;
}

const KINDS: Readonly<Record<number, Kind>> = {
  [OP.block]: 'block',
  [OP.loop]: 'loop',
  [OP.if]: 'if',
  [OP.try]: 'try',
  [OP.tryTable]: 'try_table',
};

/**
 * By opcode key: 1 when a poll may stand just before it. A loop polls by itself, calls are looked at with their callee, and
 * the length of a bulk instruction is told by the constant before it (instructions.ts).
 */
const MAY_FOLLOW_POLL = new Uint8Array(0x10000).fill(1);
for (const op of [OP.loop, OP.call, OP.returnCall, OP.callIndirect, OP.returnCallIndirect])
  MAY_FOLLOW_POLL[op] = 0;
for (const op of [OP.memoryFill, OP.memoryCopy]) MAY_FOLLOW_POLL[op] = 0;

class StretchWalk {
  private readonly r: ByteReader;
  private readonly now = new Lengths();
  private readonly open: Open[] = [];
  private readonly exceptions = new Lengths();
  private head = NO_WAY;
  private inner = NO_WAY;
  private afterInner = NO_WAY;

  constructor(
    private readonly module: WasmModule,
    private readonly index: number,
    private readonly codeStart: number,
    private readonly facts: StretchFacts,
  ) {
    const { start, end } = module.bodies[index - module.imports.length]!;
    this.r = new ByteReader(module.bytes, start, end);
    readLocals(this.r, index, []);
  }

  run(): Stretch {
    const { now } = this;
    now.entry = 0;
    if (this.facts.entryPoll) this.pollHere();
    const exit = this.enter('func', []);
    while (this.open.length > 0) this.step();
    const { exceptions } = this;
    return {
      head: this.head,
      inner: this.inner,
      afterInner: this.afterInner,
      through: exit.label.entry,
      tail: exit.label.poll,
      after: exit.label.after,
      thrownThrough: exceptions.entry,
      thrownTail: exceptions.poll,
      thrownAfter: exceptions.after,
    };
  }

  private enter(kind: Kind, clauses: readonly Open[], polled = true): Open {
    const start = kind === 'if' ? this.now.copy() : undefined;
    const label = new Lengths();
    const inBody = kind === 'try' || kind === 'try_table';
    const thrown = inBody ? new Lengths() : undefined;
    const open: Open = { kind, label, start, thrown, inBody, clauses, polled };
    this.open.push(open);
    return open;
  }

  private at(depth: number): Open {
    return this.open[this.open.length - 1 - depth]!;
  }

  // --- polls and calls -----------------------------------------------------------------------------------

  /** A poll `distance` instructions after where these lengths stand. */
  private meets(lengths: Lengths, distance: number): void {
    this.head = Math.max(this.head, plus(lengths.entry, distance));
    this.inner = Math.max(this.inner, plus(lengths.poll, distance));
    this.afterInner = Math.max(this.afterInner, plus(lengths.after, distance));
  }

  /** Whether running on as far as a callee does without a poll, or until its first one, passes a limit. */
  private isTooFar(through: number, head: number): boolean {
    const { entry, poll, after } = this.now;
    const { sinceEntry, sincePoll, sinceReturn } = this.facts.placing!;
    const most = Math.max(through, head, 0);
    return (
      (entry >= 0 && entry + most > sinceEntry) ||
      (poll >= 0 && poll + most > sincePoll) ||
      (after >= 0 && after + Math.max(through, 0) > sinceReturn)
    );
  }

  /** Before the instruction at hand, which the lengths have counted already. */
  private placePoll(position: number): void {
    this.facts.placing!.place(position);
    this.meets(this.now, 0);
    this.now.set(NO_WAY, 1, NO_WAY);
  }

  private pollHere(): void {
    const { now } = this;
    if (!now.reached) return;
    this.meets(now, 0);
    now.set(NO_WAY, 0, NO_WAY);
  }

  private called(flow: Flow | undefined, position: number): void {
    const { now } = this;
    if (!now.reached) return;
    if (this.facts.placing !== undefined && flow !== undefined) {
      const through = Math.max(flow.through, flow.thrownThrough);
      if (this.isTooFar(through, flow.head)) this.placePoll(position);
    }
    if (flow === undefined) {
      this.meets(now, 0);
      now.set(NO_WAY, NO_WAY, 0);
      this.throws(now);
      return;
    }
    this.meets(now, flow.head);
    const thrown = new Lengths();
    thrown.set(
      plus(now.entry, flow.thrownThrough),
      Math.max(plus(now.poll, flow.thrownThrough), flow.thrownTail),
      Math.max(plus(now.after, flow.thrownThrough), flow.thrownAfter),
    );
    this.throws(thrown);
    now.set(
      plus(now.entry, flow.through),
      Math.max(plus(now.poll, flow.through), flow.tail),
      Math.max(plus(now.after, flow.through), flow.after),
    );
  }

  // --- ways ----------------------------------------------------------------------------------------------

  /** The function ends here: a poll now is one for all of its callers. */
  private ends(position: number): void {
    const { placing } = this.facts;
    if (placing === undefined) return;
    const { poll, after } = this.now;
    if (poll > placing.pollToEnd || after > placing.returnToEnd) this.placePoll(position);
  }

  private branch(to: Open, position: number): void {
    if (to.kind === 'func') this.ends(position);
    if (to.kind !== 'loop') to.label.merge(this.now);
    else if (to.polled) this.meets(this.now, 0);
  }

  private return(): void {
    this.open[0]!.label.merge(this.now);
    this.now.set(NO_WAY, NO_WAY, NO_WAY);
  }

  /** An exception with these lengths: to every handler around, and out (W1). */
  private throws(lengths: Lengths): void {
    if (!lengths.reached) return;
    for (const open of this.open) {
      if (!open.inBody) continue;
      open.thrown!.merge(lengths);
      for (const to of open.clauses)
        if (to.kind === 'loop') this.meets(lengths, 0);
        else to.label.merge(lengths);
    }
    this.exceptions.merge(lengths);
  }

  private step(): void {
    const { r, now } = this;
    const position = r.pos;
    const key = readOpcode(r, this.index);
    now.step();
    if (this.facts.placing !== undefined && MAY_FOLLOW_POLL[key] === 1 && this.isTooFar(0, 0))
      this.placePoll(position);
    const kind = KINDS[key];
    if (kind !== undefined) return this.opener(kind, position - this.codeStart);
    switch (key) {
      case OP.else: {
        const open = this.at(0);
        open.label.merge(now);
        now.set(open.start!.entry, open.start!.poll, open.start!.after);
        open.start = undefined;
        return;
      }
      case OP.catch:
        r.u32();
        return this.handler();
      case OP.catchAll:
        return this.handler();
      case OP.delegate:
        r.u32();
        return this.end();
      case OP.end:
        if (this.open.length === 1) this.ends(position);
        return this.end();
      case OP.br:
        this.branch(this.at(r.u32()), position);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.brIf:
        return this.branch(this.at(r.u32()), position);
      case OP.brTable:
        for (let n = r.u32() + 1; n > 0; n--) this.branch(this.at(r.u32()), position);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.unreachable: // a stretch to the program's end is one, too
        this.meets(now, 0);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.return:
        this.ends(position);
        return this.return();
      case OP.throw:
      case OP.rethrow:
        r.u32();
        this.throws(now);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      default:
        return this.other(key, position);
    }
  }

  private other(key: number, position: number): void {
    const value = skipImmediates(this.r, this.module, FACTS[key]! & FACT.imm, this.index);
    if (key === OP.call || key === OP.returnCall) this.called(this.facts.callee(value), position);
    else if (key === OP.callIndirect || key === OP.returnCallIndirect)
      this.called(this.facts.indirect(value), position);
    if (key === OP.returnCall || key === OP.returnCallIndirect) this.return();
  }

  private opener(kind: Kind, offset: number): void {
    readBlockType(this.r, this.module, this.index);
    const clauses =
      kind === 'try_table'
        ? readCatchClauses(this.r, this.index).map(({ label }) => this.at(label))
        : [];
    const polled = kind !== 'loop' || (this.facts.polls?.has(offset) ?? true);
    this.enter(kind, clauses, polled);
    if (kind !== 'loop') return;
    if (polled) this.pollHere();
    else if (this.now.reached) this.now.step(Number.POSITIVE_INFINITY); // W3
  }

  private handler(): void {
    const open = this.at(0);
    open.label.merge(this.now);
    open.inBody = false;
    const { entry, poll, after } = open.thrown!;
    this.now.set(entry, poll, after);
  }

  private end(): void {
    const open = this.open.pop()!;
    if (open.start !== undefined) open.label.merge(open.start);
    if (open.kind === 'func') {
      open.label.merge(this.now);
      return;
    }
    this.now.merge(open.label);
  }
}

/** The lengths of one defined function. */
export function stretchOf(
  module: WasmModule,
  index: number,
  codeStart: number,
  facts: StretchFacts,
): Stretch {
  return new StretchWalk(module, index, codeStart, facts).run();
}
