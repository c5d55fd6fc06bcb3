/**
 * One running shard: starts, runs for an amount of fuel, stops, is captured, resumes.
 *
 *   run(budget):   no frames -> entry thunk(fuel)          frames -> continuation of the innermost one(fuel)
 *                  fuel' >= 0: returned, its results are in the registers, or its frame is in the store again, at the poll of a large
 *                              loop (compile/emit-continuation.ts); go on with the innermost frame
 *                  fuel' <  0: unwound; frames are in the store; stopped at a poll, or in a host call
 *
 * Only the innermost frame ever becomes native again; its callers stay frames until it returns.
 *
 * Does: the above, for one module instance and one GuestHost.
 * Does not: schedule, store or encode.
 *
 * N1  `run(b)` passes at most b safepoints and stops exactly at the b-th, on every machine, and so on with what it is granted then.
 * N2  `capture` is allowed whenever the guest is not on the native stack; running on after it changes nothing.
 * N3  A host call in which the shard stops has had no effect; it is made again with the same arguments.
 */
import { EXPORT, REGISTER_BYTES } from '../compile/abi.js';
import { FUEL_REGISTER } from '../compile/emit.js';
import { functionLabel } from '../compile/index.js';
import { EXIT, invariant, SherdError } from '../types/errors.js';
import type { GuestHost, HostControl, HostFunction } from '../types/host.js';
import type {
  Call,
  MemoryState,
  PendingCall,
  RunResult,
  ShardState,
  TrapInfo,
  ValType,
  Wait,
} from '../types/state.js';
import { callsOf, checkState } from './check-state.js';
import { type Continuation, Continuations } from './continuations.js';
import { FrameStack } from './frames.js';
import {
  exportedFunction,
  exportedGlobal,
  exportedMemory,
  growTo,
  type Linked,
  type LoadedModule,
  memoryOf,
} from './loaded.js';
import type { Staged } from './staged.js';
import { captureTables, droppedSegments, restoreSegments, restoreTables } from './tables.js';
import { explainTrap, withTraces } from './trap.js';
import { ValueStore } from './value-store.js';
import { blame, encodeValue, holdsExternref, mismatch, valueBytes, zeroResult } from './values.js';

export const MAX_BUDGET = 0x7fff_ffff;
const noMore = (): number => 0;

function checkBudget(budget: number): void {
  const isBudget = Number.isInteger(budget) && budget >= 1 && budget <= MAX_BUDGET;
  invariant(isBudget, `budget ${budget} out of range`);
}
const PAGE_BYTES = 65_536;

export interface StartOptions {
  /** Exported function to call. */
  readonly entry: string;
  /** Raw arguments: 8 bytes each, v128 16, little-endian. */
  readonly entryArgs: Uint8Array;
  /** Limit that memory.grow obeys, in 64 KiB pages; 0 = the module's own maximum. */
  readonly limitPages: number;
}

/** Writes a captured memory into one that holds the module's base image. */
export type FillMemory = (memory: Uint8Array) => void;

/** Why the guest is being unwound, beside fuel. */
interface Interrupt {
  wait: Wait | undefined;
  exitCode: number | undefined;
  trap: TrapInfo | undefined;
}

export class Instance {
  private readonly linked: Linked;
  private readonly frames: FrameStack;
  private readonly values: ValueStore;
  private readonly hostFunctions: readonly HostFunction[];
  private readonly interruptFlag: WebAssembly.Global;
  private readonly continuations: Continuations;
  private taken = 0;
  private calls: Call[] = [];
  private args = new Uint8Array(0);
  private pending: PendingCall | null = null;
  /** Result types of the function that ran last: what the registers hold when it has returned. */
  private resultTypes: readonly ValType[] = [];
  private used = 0n;
  private interrupt: Interrupt = { wait: undefined, exitCode: undefined, trap: undefined };
  private interrupted = false;
  /** What a host function threw. */
  private failure: { readonly error: unknown } | undefined;
  private resumedWait: Wait | undefined;
  private inHostCall = false;
  private running = false;
  private ended: RunResult | undefined;

  private constructor(
    private readonly loaded: LoadedModule,
    private readonly host: GuestHost,
    linked: Linked,
  ) {
    this.hostFunctions = loaded.resolveImports(host.functions(this.control()));
    this.linked = linked;
    this.continuations = new Continuations(loaded, linked);
    this.linked.port.call = (index, args) => this.containedCall(index, args);
    this.frames = new FrameStack(loaded, this.linked.store);
    this.values = new ValueStore(loaded, this.linked, this.frames);
    this.interruptFlag = exportedGlobal(this.linked.exports, EXPORT.interrupt);
  }

  // --- making --------------------------------------------------------------------------------------------

  /** A fresh shard, before its first instruction. */
  static start(loaded: LoadedModule, host: GuestHost, options: StartOptions): Instance {
    const { module } = loaded;
    const index = module.exports.get(options.entry);
    if (index === undefined) {
      const names = [...module.exports.keys()].slice(0, 10).join(', ') || 'none';
      throw new SherdError(
        'SHERD_ENTRY_MISSING',
        `the program exports no function '${options.entry}'`,
        {
          next: `exported functions: ${names}`,
          exitCode: EXIT.refused,
        },
      );
    }
    const params = module.functions[index - module.imports.length]!.params;
    if (valueBytes(params) !== options.entryArgs.length) {
      throw new SherdError(
        'SHERD_USAGE',
        `'${options.entry}' takes ${params.length} parameters (${params.join(', ') || 'none'})`,
        { exitCode: EXIT.refused },
      );
    }
    if (holdsExternref(params, options.entryArgs)) {
      throw new SherdError(
        'SHERD_USAGE',
        `'${options.entry}' takes an externref: only null can be given`,
        { exitCode: EXIT.refused },
      );
    }
    const instance = new Instance(loaded, host, loaded.link(module.memory?.minPages ?? 0));
    instance.setLimit(options.limitPages);
    instance.calls = module.hasStart ? [null, options.entry] : [options.entry];
    instance.args = options.entryArgs.slice();
    return instance;
  }

  /**
   * A shard that goes on from a captured state. `fillMemory` writes the memory instead of `state.memory.bytes` (which
   * may then be empty), into a memory that holds the base image, or what was staged when `staged` is the instance that it
   * was staged in. Throws SHERD_CAPSULE_MISMATCH when the state does not fit the module.
   */
  static resume(
    loaded: LoadedModule,
    host: GuestHost,
    state: ShardState,
    fillMemory?: FillMemory,
    staged?: Staged,
  ): Instance {
    if (state.moduleHash !== loaded.module.moduleHash) {
      throw new SherdError(
        'SHERD_CAPSULE_MISMATCH',
        `the capsule belongs to module ${state.moduleHash.slice(0, 12)}…, not to ${loaded.module.moduleHash.slice(0, 12)}…`,
        {
          next: 'give the shard module with which the capsule was made',
          exitCode: EXIT.refused,
        },
      );
    }
    const linked = staged?.take(loaded) ?? loaded.link(state.memory?.pages ?? 0);
    const instance = new Instance(loaded, host, linked);
    instance.restore(state, fillMemory);
    return instance;
  }

  // --- facts ---------------------------------------------------------------------------------------------

  get fuelUsed(): bigint {
    return this.used;
  }

  /** Time that went into making continuations so far, ns: work that comes with stopping, not with running on. */
  get setupNs(): number {
    return this.continuations.setupNs;
  }

  get memoryBytes(): number {
    return this.loaded.module.memory === undefined ? 0 : this.memory().buffer.byteLength;
  }

  get finished(): boolean {
    return this.ended !== undefined;
  }

  /** The end of the shard, once there is one. */
  get result(): RunResult | undefined {
    return this.ended;
  }

  /** The guest's memory as it is, good until the guest runs again. Empty: it has none. */
  memoryView(): Uint8Array {
    return this.guestMemory();
  }

  /** A copy of the guest's memory, also of a finished shard. */
  memorySnapshot(): Uint8Array {
    return this.guestMemory().slice();
  }

  /** The guest's mutable globals as a capture has them, also of a finished shard. */
  globalsSnapshot(): Uint8Array {
    return this.values.saveGlobals();
  }

  /** memory.grow was refused by the limit at some time. */
  get growRefused(): boolean {
    return Number(exportedGlobal(this.linked.exports, EXPORT.growRefused).value) !== 0;
  }

  /**
   * Makes what the next `run` needs first (the innermost frame's continuation), so that it starts at once. True: it had
   * not been there.
   */
  warm(): boolean {
    const { made } = this.continuations;
    const head = this.frames.peek();
    if (head !== undefined) this.continuations.of(head.func, head.safepoint);
    return this.continuations.made > made;
  }

  /** `warm` would find it there. */
  get isWarm(): boolean {
    const head = this.frames.peek();
    return head === undefined || this.continuations.has(head.func, head.safepoint);
  }

  /** Entries and frames that were run so far: what stopping costs grows with them. */
  get steps(): number {
    return this.taken;
  }

  /** Guest functions, innermost first, of a stopped shard. */
  guestStack(limit = 64): string[] {
    return this.frames.heads(limit).map((head) => functionLabel(this.loaded.module, head.func));
  }

  // --- running -------------------------------------------------------------------------------------------

  /**
   * Runs for at most `budget` safepoint passages. Synchronous. When they are used up, `more` may grant further ones: it
   * gives their number, 0 = stop. It is not asked when the guest stops for another reason.
   */
  run(budget: number, more: () => number = noMore): RunResult {
    checkBudget(budget);
    invariant(!this.running, 'run inside run');
    if (this.ended !== undefined) return this.ended;
    this.running = true;
    this.host.resumeClock();
    try {
      return withTraces(() => this.drive(budget, more));
    } finally {
      this.running = false;
      this.host.suspendClock();
    }
  }

  private drive(budget: number, more: () => number): RunResult {
    let left = budget;
    try {
      if (this.pending !== null && !this.retryPending()) return this.stopped();
      while (this.calls.length > 0) {
        const after = this.guardedStep(left - 1);
        if (after < 0) {
          const fuelLeft = this.takeFuelRegister();
          this.used += BigInt(left - 1 - fuelLeft);
          left = this.interrupted ? 0 : more();
          if (left === 0) return this.stopped();
          checkBudget(left);
          continue;
        }
        this.used += BigInt(left - 1 - after);
        left = after + 1;
        if (this.frames.empty) this.calls.shift();
      }
      return this.end({ kind: 'done', fuelUsed: this.used, results: this.finalResults() });
    } catch (error) {
      return this.trapped(error);
    }
  }

  /** A step whose exception goes to the next frame that can catch it. Returns the fuel that is left, as `step` does. */
  private guardedStep(fuel: number): number {
    if (!this.loaded.catches) return this.step(fuel);
    for (let left = fuel; ; ) {
      try {
        return this.step(left);
      } catch (error) {
        if (!(error instanceof WebAssembly.Exception)) throw error;
        left = Number(exportedGlobal(this.linked.exports, EXPORT.thrownFuel).value);
        if (this.frames.dropToHandler()) this.linked.port.thrown = { exception: error };
        else {
          this.used += BigInt(fuel - left);
          throw error;
        }
      }
    }
  }

  /** One entry or one frame. Returns the fuel that is left, negative after unwinding. */
  private step(fuel: number): number {
    let code: Continuation;
    this.taken++;
    if (this.frames.empty) {
      this.frames.resetWrite();
      code = this.entry();
    } else {
      const { functions, imports } = this.loaded.module;
      const { func, safepoint } = this.frames.peek()!;
      code = this.continuations.of(func, safepoint);
      this.resultTypes = functions[func - imports.length]!.results;
      this.frames.take();
    }
    const from = this.frames.writeStart();
    const after = code(fuel);
    this.frames.note(from);
    return after;
  }

  private entry(): Continuation {
    const name = this.calls[0] ?? null;
    if (name === null) {
      this.resultTypes = [];
      return exportedFunction(this.linked.exports, EXPORT.start);
    }
    const f =
      this.loaded.module.functions[
        this.loaded.module.exports.get(name)! - this.loaded.module.imports.length
      ]!;
    this.values.write(f.params, this.args);
    this.args = new Uint8Array(0);
    this.resultTypes = f.results;
    return exportedFunction(this.linked.exports, EXPORT.entry(name));
  }

  /** The fuel that a suspended host call left, or -1 when a poll stopped. */
  private takeFuelRegister(): number {
    if (!this.interrupted) return -1;
    const data = new DataView(this.frames.bytes().buffer, FUEL_REGISTER * REGISTER_BYTES, 8);
    return data.getInt32(0, true);
  }

  private stopped(): RunResult {
    const { wait, exitCode, trap } = this.interrupt;
    this.interrupt = { wait: undefined, exitCode: undefined, trap: undefined };
    this.interrupted = false;
    this.interruptFlag.value = 0;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure.error;
    if (exitCode !== undefined) {
      this.frames.clear();
      this.pending = null;
      return this.end({ kind: 'exit', fuelUsed: this.used, code: exitCode });
    }
    if (trap !== undefined) {
      const guestStack = this.guestStack();
      this.frames.clear();
      this.pending = null;
      return this.end({ kind: 'trap', fuelUsed: this.used, trap: { ...trap, guestStack } });
    }
    if (wait !== undefined) return { kind: 'waiting', fuelUsed: this.used, wait };
    return { kind: 'quantum', fuelUsed: this.used };
  }

  private end(result: RunResult): RunResult {
    this.ended = result;
    this.calls = [];
    return result;
  }

  private trapped(error: unknown): RunResult {
    const trap = explainTrap(error, this.loaded.module, this.guestStack());
    if (trap === undefined) throw error;
    const refused = Number(exportedGlobal(this.linked.exports, EXPORT.growRefused).value);
    const { full } = this.frames;
    this.frames.clear();
    if (refused === 2) {
      throw new SherdError(
        'SHERD_ENGINE_MEMORY',
        'the engine cannot give the program more memory, though its limit allows it',
        {
          next: 'free memory on this machine or run the shard elsewhere: its last capsule is intact',
        },
      );
    }
    return this.end({
      kind: 'trap',
      fuelUsed: this.used,
      trap: blame(trap, full, refused === 1 && this.limitIsOurs()),
    });
  }

  private finalResults(): Uint8Array {
    return this.values.read(this.resultTypes);
  }

  // --- host calls ----------------------------------------------------------------------------------------

  private control(): HostControl {
    const instance = this;
    return {
      memory: () => instance.guestMemory(),
      suspend: (wait) => {
        invariant(instance.inHostCall, 'suspend outside a host call');
        instance.interrupt.wait = wait;
      },
      exit: (code) => {
        instance.interrupt.exitCode = code;
      },
      trap: (trapKind, message) => {
        instance.interrupt.trap = { trapKind, message, guestStack: [] };
      },
      get resumed() {
        return instance.resumedWait;
      },
    };
  }

  private guestMemory(): Uint8Array {
    return this.loaded.module.memory === undefined
      ? new Uint8Array(0)
      : memoryOf(this.linked.exports);
  }

  /** A host call that fails never becomes an exception in a guest that could catch it: the guest is unwound first. */
  private containedCall(index: number, args: (number | bigint)[]): number | bigint | void {
    try {
      return this.hostCall(index, args);
    } catch (error) {
      if (!this.loaded.catches) throw error;
      this.failure = { error };
      this.interrupted = true;
      this.interruptFlag.value = 1;
      return zeroResult(this.loaded.module.imports[index]!.results);
    }
  }

  /** Calls a host function; notes a suspended call and raises the interrupt flag. */
  private hostCall(index: number, args: (number | bigint)[]): number | bigint | void {
    this.inHostCall = true;
    const value = this.hostFunctions[index]!(...args);
    this.inHostCall = false;
    const { wait, exitCode, trap } = this.interrupt;
    if (wait === undefined && exitCode === undefined && trap === undefined) return value;
    this.interrupted = true;
    this.interruptFlag.value = 1;
    const { module, field, results } = this.loaded.module.imports[index]!;
    if (wait !== undefined) this.pending = { name: `${module}.${field}`, args, wait };
    return value ?? zeroResult(results);
  }

  /** Makes the suspended call again. True: its results are in the registers. */
  private retryPending(): boolean {
    const { name, args, wait } = this.pending!;
    const { imports } = this.loaded.module;
    const index = imports.findIndex((i) => `${i.module}.${i.field}` === name);
    const call = this.hostFunctions[index];
    if (call === undefined) {
      throw new SherdError(
        'SHERD_CAPSULE_MISMATCH',
        `the shard waits in ${name}, which this module does not import`,
      );
    }
    this.resumedWait = wait;
    this.inHostCall = true;
    let value: number | bigint | void;
    try {
      value = call(...args);
    } finally {
      this.inHostCall = false;
      this.resumedWait = undefined;
    }
    if (this.interrupt.wait !== undefined) {
      this.pending = { name, args, wait: this.interrupt.wait };
      return false;
    }
    if (this.interrupt.exitCode !== undefined || this.interrupt.trap !== undefined) return false;
    this.pending = null;
    const { results } = imports[index]!;
    this.values.write(results, encodeValue(results, value));
    return true;
  }

  // --- capture and restore -------------------------------------------------------------------------------

  /** The whole state of a stopped shard. The memory is a view: use it before the shard runs again. */
  capture(): ShardState {
    invariant(!this.running, 'capture while the guest runs');
    invariant(this.ended === undefined, 'capture of a finished shard');
    return this.state();
  }

  /** What a finished shard left behind: its state, with nothing to call. */
  remains(): ShardState {
    invariant(this.ended !== undefined, 'the shard is not finished');
    return { ...this.state(), args: new Uint8Array(0), pending: null };
  }

  private state(): ShardState {
    const { module } = this.loaded;
    return {
      programHash: module.programHash,
      moduleHash: module.moduleHash,
      abi: module.abi,
      calls: [...this.calls],
      args: this.args.slice(),
      fuelUsed: this.used,
      frames: this.frames.capture(),
      results: new Uint8Array(0), // a callee's results are consumed before the shard can stop again
      pending: this.pending,
      globals: this.values.saveGlobals(),
      memory:
        module.memory === undefined
          ? null
          : {
              pages: this.memoryBytes / PAGE_BYTES,
              limitPages: this.limit(),
              bytes: this.guestMemory(),
            },
      droppedSegments: droppedSegments(this.loaded, this.linked),
      ...captureTables(this.loaded, this.linked),
      growRefused: this.growRefused,
      host: this.host.snapshot(),
    };
  }

  private restore(state: ShardState, fillMemory: FillMemory | undefined): void {
    const { module } = this.loaded;
    this.calls = callsOf(state, module);
    this.args = state.args.slice();
    this.used = state.fuelUsed;
    this.pending = state.pending;
    checkState(state, module);
    this.frames.restore(state.frames);
    this.values.loadGlobals(state.globals);
    if (state.memory !== null) this.restoreMemory(state.memory, fillMemory);
    restoreSegments(this.loaded, this.linked, state);
    restoreTables(this.loaded, this.linked, state);
    exportedGlobal(this.linked.exports, EXPORT.growRefused).value = state.growRefused ? 1 : 0;
    invariant((state.memory === null) === (module.memory === undefined), 'checked above');
  }

  private restoreMemory(state: MemoryState, fillMemory: FillMemory | undefined): void {
    const { bytes, pages, limitPages } = state;
    const memory = this.memory();
    const have = memory.buffer.byteLength / PAGE_BYTES;
    if (pages < have || (fillMemory === undefined && bytes.length !== pages * PAGE_BYTES)) {
      throw mismatch(`its memory has ${pages} pages, the module starts with ${have}`);
    }
    growTo(memory, pages);
    if (fillMemory === undefined) new Uint8Array(memory.buffer).set(bytes);
    else fillMemory(new Uint8Array(memory.buffer));
    exportedGlobal(this.linked.exports, EXPORT.limit).value = limitPages;
  }

  private memory(): WebAssembly.Memory {
    return exportedMemory(this.linked.exports, EXPORT.memory);
  }

  /** The limit was set for the shard; else only the module's own maximum bounds it, which is the program's business. */
  private limitIsOurs(): boolean {
    return this.limit() < Math.min(this.loaded.module.memory?.maxPages ?? PAGE_BYTES, 65_536);
  }

  private limit(): number {
    return Number(exportedGlobal(this.linked.exports, EXPORT.limit).value) >>> 0;
  }

  private setLimit(limitPages: number): void {
    const { memory } = this.loaded.module;
    if (memory === undefined) return;
    const most = Math.min(memory.maxPages ?? PAGE_BYTES, 65_536);
    const limit = limitPages === 0 ? most : Math.min(limitPages, most);
    if (limit < memory.minPages) {
      throw new SherdError(
        'SHERD_MEMORY_LIMIT',
        `the program starts with ${memory.minPages * 64} KiB of memory, more than the limit of ${limit * 64} KiB`,
        { next: 'raise --max-memory', exitCode: EXIT.refused },
      );
    }
    exportedGlobal(this.linked.exports, EXPORT.limit).value = limit;
  }
}
