/**
 * What is known of a shard module: the content of its `sherd` custom section, decoded.
 *
 * M1  Function indices are the program's own (imports first); instrumentation shifts none of them.
 * M2  A safepoint's number is stable within one shard module.
 */
import type { Hash } from './hash.js';
import type { ValType } from './state.js';

/** Where a function can stop. `loop` and `entry` are polls; `call` is a call that may stop below; `host` an import call. */
/** `bulk`: an instruction that moves as many bytes as there is fuel for, and is done again for the rest. */
export type SafepointKind = 'loop' | 'entry' | 'call' | 'host' | 'bulk';

export interface SafepointInfo {
  readonly kind: SafepointKind;
  /** Byte offset of the instruction from the start of the code section's body, as DWARF counts (0 for `entry`). */
  readonly offset: number;
  /** Indices into FunctionInfo.slots that are live here, ascending. */
  readonly live: readonly number[];
  /** Result types of the call (`call`, `host`), else empty. */
  readonly results: readonly ValType[];
  /** An exception from the call can be caught by the function. Absent: it goes on to the caller. */
  readonly guarded?: true;
}

/** One spill slot: a local of the program, or a temporary that holds an operand. */
export interface SlotInfo {
  readonly type: ValType;
  /** Index of the program's local, or -1 for an operand temporary. */
  readonly local: number;
}

/** One node of the program's dependency graph. */
export interface FunctionInfo {
  readonly index: number;
  /** From the name section or export; undefined when the binary has none. */
  readonly name: string | undefined;
  /** Names of locals where the name section has them, by local index. */
  readonly localNames: ReadonlyMap<number, string>;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  /** True when it can reach a safepoint (carries fuel). */
  readonly instrumented: boolean;
  readonly slots: readonly SlotInfo[];
  readonly safepoints: readonly SafepointInfo[];
  /** Direct callees, ascending, unique. */
  readonly calls: readonly number[];
  readonly indirectCalls: boolean;
  readonly loops: number;
  /** Deepest loop nesting. */
  readonly loopDepth: number;
  /** Static instruction count: the cost of one straight pass. */
  readonly instructions: number;
  readonly readsMemory: boolean;
  readonly writesMemory: boolean;
}

export interface ImportInfo {
  readonly module: string;
  readonly field: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A compiled program, ready to be loaded by the runtime. */
export interface ShardModule {
  /** The shard module's bytes: a valid Wasm binary with a `sherd` custom section. */
  readonly bytes: Uint8Array;
  readonly moduleHash: Hash;
  readonly programHash: Hash;
  readonly abi: number;
  readonly imports: readonly ImportInfo[];
  /** Exported function names of the program (without the start function), with their function index. */
  readonly exports: ReadonlyMap<string, number>;
  readonly hasStart: boolean;
  /** Defined functions, by position: functions[i].index === imports.length + i. */
  readonly functions: readonly FunctionInfo[];
  readonly memory: { readonly minPages: number; readonly maxPages: number | undefined } | undefined;
  readonly mutableGlobals: readonly {
    readonly index: number;
    readonly type: ValType;
    readonly name: string | undefined;
  }[];
  readonly sizes: CompileSizes;
  /** The program without data and other custom sections: what continuations are built from. */
  readonly skeleton: Uint8Array;
}

export interface CompileSizes {
  readonly programBytes: number;
  readonly moduleBytes: number;
  readonly programCodeBytes: number;
  readonly moduleCodeBytes: number;
  readonly functionsInstrumented: number;
  readonly functionsTotal: number;
  readonly safepoints: number;
}
