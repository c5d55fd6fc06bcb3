/**
 * Does the fuzzer see anything? Mistakes are planted in the rewriter and the runtime, one at a time; each must be found.
 *
 * Does: replace one method for the length of a test. Does not: change files, or say how long finding takes in general.
 *
 * Z1  Every mistake leaves the modules valid: what is found is a wrong outcome, never a module that the engine refuses.
 * Z2  Without a mistake the same seeds show no difference.
 */
import { describe, expect, it } from 'vitest';
import type { Body, Frame, Safepoint } from '../../host/compile/body.js';
import type { ByteWriter } from '../../host/compile/bytes.js';
import type { EmitTarget } from '../../host/compile/emit.js';
import { BodyEmitter } from '../../host/compile/emit.js';
import { ContinuationEmitter } from '../../host/compile/emit-continuation.js';
import { OP, VT } from '../../host/compile/opcodes.js';
import type { FrameLayout, FramePlan } from '../../host/compile/plan.js';
import { storeFunction, zero } from '../../host/compile/store-calls.js';
import { FrameStack } from '../../host/runtime/frames.js';
import { Instance } from '../../host/runtime/instance.js';
import { LoadedModule } from '../../host/runtime/loaded.js';
import { ValueStore } from '../../host/runtime/value-store.js';
import type { ShardState } from '../../host/types/state.js';
import { settingsOf } from './corpus.js';
import { generateModule } from './generate.js';
import { argsOf, assemble, type Effort, examine, load } from './modules.js';

/** The insides of an emitter, which a planted mistake reaches into. */
interface Inside {
  readonly body: Body;
  readonly plan: FramePlan;
  readonly w: ByteWriter;
  readonly out: ByteWriter;
  readonly fuel: number;
  readonly target: EmitTarget;
  local(index: number): number;
  save(instr: number): void;
}

type Method<This> = (this: This, ...args: never[]) => unknown;

interface Mistake {
  readonly name: string;
  readonly on: object;
  readonly method: string;
  /** The method that takes its place, made from it. */
  readonly instead: (original: Method<never>) => unknown;
}

/** Keeps the types of a mistake together. */
function mistake<This, Args extends unknown[], Result>(
  name: string,
  on: { readonly prototype: object },
  method: string,
  instead: (
    original: (this: This, ...args: Args) => Result,
  ) => (this: This, ...args: Args) => Result,
): Mistake {
  return { name, on: on.prototype, method, instead: instead as unknown as Mistake['instead'] };
}

const lastPair = (state: ShardState): ShardState =>
  state.tables === undefined
    ? state
    : { ...state, tables: state.tables.map((t) => ({ ...t, changes: t.changes.slice(0, -2) })) };

const MISTAKES: readonly Mistake[] = [
  mistake<Inside, [ByteWriter, number], void>(
    'the last local of a frame is not spilled',
    BodyEmitter,
    'getSlot',
    (original) =>
      function (w, index) {
        const slot = this.plan.slots[index]!;
        const last = this.plan.slots.findLastIndex(({ local }) => local >= 0);
        if (index === last) zero(w, slot.type);
        else original.call(this, w, index);
      },
  ),
  mistake<Inside, [Frame], void>(
    'a loop that is left to its poll costs no fuel',
    ContinuationEmitter,
    'leaveToPoll',
    (original) =>
      function (loop) {
        this.w.op(OP.localGet, this.fuel).u8(OP.i32Const).u8(1).u8(0x6a);
        this.w.op(OP.localSet, this.fuel);
        original.call(this, loop);
      },
  ),
  mistake<Inside, [number, Safepoint], void>(
    'two locals change places in a restored frame',
    ContinuationEmitter,
    'prologue',
    (original) =>
      function (index, safepoint) {
        original.call(this, index, safepoint);
        const { plan, w } = this;
        const live = [...plan.live.subarray(plan.liveFrom[index], plan.liveFrom[index + 1])].map(
          (slot) => plan.slots[slot]!,
        );
        const ints = live.filter(({ type, local }) => type === VT.i32 && local >= 0);
        const [a, b] = ints.slice(-2);
        if (a === undefined || b === undefined) return;
        w.op(OP.localGet, this.local(a.local)).op(OP.localGet, this.local(b.local));
        w.op(OP.localSet, this.local(a.local)).op(OP.localSet, this.local(b.local));
      },
  ),
  mistake<Inside, [number], void>(
    'a rebuilt operand is not saved again',
    ContinuationEmitter,
    'pushOperand',
    (original) =>
      function (index) {
        const { save } = this;
        this.save = () => undefined;
        try {
          original.call(this, index);
        } finally {
          this.save = save;
        }
      },
  ),
  mistake<Inside, [Safepoint], void>(
    'the results of a call come back in the wrong order',
    ContinuationEmitter,
    'pushCallResults',
    (original) =>
      function (safepoint) {
        const [first, second] = safepoint.results;
        original.call(this, safepoint);
        if (safepoint.results.length !== 2 || first !== second) return;
        this.w.u8(OP.drop).u8(OP.drop);
        for (const k of [1, 0]) {
          const get = this.target.store(storeFunction('get', first!));
          this.w.u8(OP.i32Const).s32(k).u8(OP.call).u32(get);
        }
        this.save(safepoint.instr);
      },
  ),
  mistake<Inside, [number, Safepoint], void>(
    'a loop that is entered again costs one fuel more',
    ContinuationEmitter,
    'prologue',
    (original) =>
      function (index, safepoint) {
        original.call(this, index, safepoint);
        if (safepoint.kind !== 'call') return;
        this.w.op(OP.localGet, this.fuel).u8(OP.i32Const).s32(1).u8(OP.i32Sub);
        this.w.op(OP.localSet, this.fuel);
      },
  ),
  mistake<LoadedModule, [number], FrameLayout>(
    'one live value of each safepoint is thought dead',
    LoadedModule,
    'layout',
    (original) =>
      function (index) {
        const layout = original.call(this, index);
        const live = layout.live.map((slots) => slots.slice(1));
        const liveBytes = live.map((slots) => slots.reduce((sum, { size }) => sum + size, 0));
        return { ...layout, live, liveBytes };
      },
  ),
  mistake<Instance, [], ShardState>(
    'one write to a table is forgotten',
    Instance,
    'capture',
    (original) =>
      function () {
        return lastPair(original.call(this));
      },
  ),
  mistake<ValueStore, [Uint8Array], void>(
    'the fifth global is not restored',
    ValueStore,
    'loadGlobals',
    (original) =>
      function (globals) {
        original.call(this, globals.slice().fill(0, 32, 40));
      },
  ),
  mistake<FrameStack, [], boolean>(
    'an exception passes a frame that would catch it',
    FrameStack,
    'dropToHandler',
    (original) =>
      function () {
        if (!original.call(this)) return false;
        this.take();
        return original.call(this);
      },
  ),
  mistake<{ pending: { args: (number | bigint)[] } | null }, [], boolean>(
    'a suspended host call is made again with another argument',
    Instance,
    'retryPending',
    (original) =>
      function () {
        if (this.pending !== null)
          this.pending = { ...this.pending, args: this.pending.args.map(() => 7) };
        return original.call(this);
      },
  ),
  mistake<{ memory(): WebAssembly.Memory }, [unknown, unknown], void>(
    'one byte of memory is lost',
    Instance,
    'restoreMemory',
    (original) =>
      function (state, fill) {
        original.call(this, state, fill);
        const bytes = new Uint8Array(this.memory().buffer);
        const lost = bytes.findIndex((byte) => byte !== 0);
        if (lost >= 0) bytes[lost] = 0;
      },
  ),
];

const EFFORT: Effort = { spread: 40, dense: 40, singles: 1 };
const MOST_SEEDS = 150;

/** The first difference that a seed shows. */
function differenceOf(seed: number): string | undefined {
  const text = generateModule(seed, settingsOf(seed));
  try {
    const bytes = assemble(text);
    return examine(`seed ${seed}`, bytes, argsOf(seed), EFFORT, load(bytes)).differences[0];
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) throw error; // Z1
    return String(error);
  }
}

/** Plants a mistake; gives what undoes it. */
function plant({ on, method, instead }: Mistake): () => void {
  const methods = on as Record<string, Method<never> | undefined>;
  const own = Object.hasOwn(on, method);
  const original = methods[method];
  if (original === undefined) throw new Error(`there is no method ${method}`);
  methods[method] = instead(original) as Method<never>;
  return () => {
    if (own) methods[method] = original;
    else delete methods[method];
  };
}

describe('the fuzzer finds planted mistakes', () => {
  it.each(MISTAKES)('$name', { timeout: 600_000 }, (each) => {
    for (let seed = 1; seed <= MOST_SEEDS; seed++) {
      const undo = plant(each);
      let found: string | undefined;
      try {
        found = differenceOf(seed);
      } finally {
        undo();
      }
      if (found === undefined) continue;
      expect(differenceOf(seed)).toBeUndefined(); // Z2
      return;
    }
    expect.fail(`not found by ${MOST_SEEDS} seeds`);
  });
});
