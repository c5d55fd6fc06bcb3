/**
 * How far one function can run without passing a safepoint, from the same facts of what it calls.
 *
 *   entry ──3──▶ call $g ──2──▶ (loop header) ──4──▶ … ──1──▶ return        a poll is passed in the loop header
 *   head = 3 + what $g adds + 2          tail = 1          through = none: every way passes the poll
 *
 * Does: walk the structured code once, keeping three lengths: since the entry, since the last poll, since the return of a
 * recursive call. Does not: know the program around the function (pause-bound.ts).
 *
 * W1  A length is an upper bound: where ways meet, the longest goes on; an exception may reach every handler around.
 * W2  The unit is the program's instruction, each counted as one where the way passes it.
 * W3  A loop without a poll makes what comes after it as long as can be (Infinity).
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

/** What the walk must know of a function and its calls. */
export interface StretchFacts {
  readonly entryPoll: boolean;
  /** Offsets of the loop instructions with a poll, from the start of the code section's content. */
  readonly polls: ReadonlySet<number>;
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
  readonly thrown: Lengths;
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
    const thrown = new Lengths();
    const inBody = kind === 'try' || kind === 'try_table';
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

  private pollHere(): void {
    const { now } = this;
    if (!now.reached) return;
    this.meets(now, 0);
    now.set(NO_WAY, 0, NO_WAY);
  }

  private called(flow: Flow | undefined): void {
    const { now } = this;
    if (!now.reached) return;
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

  private branch(to: Open): void {
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
      open.thrown.merge(lengths);
      for (const to of open.clauses)
        if (to.kind === 'loop') this.meets(lengths, 0);
        else to.label.merge(lengths);
    }
    this.exceptions.merge(lengths);
  }

  private step(): void {
    const { r, now } = this;
    const offset = r.pos - this.codeStart;
    const key = readOpcode(r, this.index);
    now.step();
    const kind = KINDS[key];
    if (kind !== undefined) return this.opener(kind, offset);
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
        return this.end();
      case OP.br:
        this.branch(this.at(r.u32()));
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.brIf:
        return this.branch(this.at(r.u32()));
      case OP.brTable:
        for (let n = r.u32() + 1; n > 0; n--) this.branch(this.at(r.u32()));
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.unreachable: // a stretch to the program's end is one, too
        this.meets(now, 0);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      case OP.return:
        return this.return();
      case OP.throw:
      case OP.rethrow:
        r.u32();
        this.throws(now);
        now.set(NO_WAY, NO_WAY, NO_WAY);
        return;
      default:
        return this.other(key);
    }
  }

  private other(key: number): void {
    const value = skipImmediates(this.r, this.module, FACTS[key]! & FACT.imm, this.index);
    if (key === OP.call || key === OP.returnCall) this.called(this.facts.callee(value));
    else if (key === OP.callIndirect || key === OP.returnCallIndirect)
      this.called(this.facts.indirect(value));
    if (key === OP.returnCall || key === OP.returnCallIndirect) this.return();
  }

  private opener(kind: Kind, offset: number): void {
    readBlockType(this.r, this.module, this.index);
    const clauses =
      kind === 'try_table'
        ? readCatchClauses(this.r, this.index).map(({ label }) => this.at(label))
        : [];
    const polled = kind !== 'loop' || this.facts.polls.has(offset);
    this.enter(kind, clauses, polled);
    if (kind !== 'loop') return;
    if (polled) this.pollHere();
    else if (this.now.reached) this.now.step(Number.POSITIVE_INFINITY); // W3
  }

  private handler(): void {
    const open = this.at(0);
    open.label.merge(this.now);
    open.inBody = false;
    this.now.set(open.thrown.entry, open.thrown.poll, open.thrown.after);
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
