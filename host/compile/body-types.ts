/**
 * What the analysis of a function body gives (body.ts), and what it needs to know.
 */
import type { SafepointKind } from '../types/module.js';
import type { CatchClause } from './instructions.js';
import type { FuncType } from './module.js';
import type { OperandPool } from './scratch.js';

export type FrameKind = 'func' | 'block' | 'loop' | 'if' | 'try' | 'try_table';

/** A structured control construct. Frame 0 is the function itself. */
export interface Frame {
  readonly id: number;
  readonly kind: FrameKind;
  readonly parent: number;
  /** Instruction index of the opener (-1 for the function). */
  readonly first: number;
  /** Instruction index of `else`, or -1. */
  elseAt: number;
  /** Instruction indices of `catch` and `catch_all`. */
  readonly catches: number[];
  /** Frame to which a `try` delegates, or -1. */
  delegate: number;
  /** Clauses of a `try_table`: `label` is the target's frame id. */
  readonly clauses: readonly CatchClause[];
  /** Instruction index of the matching `end` (or `delegate`). */
  end: number;
  readonly params: readonly number[];
  readonly results: readonly number[];
  /** Operand stack height below the frame's own operands (its parameters are its own). */
  readonly height: number;
  /** Last instruction that branches to this frame's label, or -1. */
  lastBranch: number;
  /** Loop header polls have a safepoint number. */
  safepoint: number;
}

/** How an operand below a safepoint is rebuilt: the `kind` of an OperandPool's entry. */
export const OperandKind = { temp: 0, local: 1, constant: 2 } as const;

export interface Safepoint {
  readonly kind: SafepointKind;
  /** Instruction index; -1 for the function entry. */
  readonly instr: number;
  readonly frame: number;
  /**
   * The operand stack, bottom first, without the call's arguments and results: entries `[from, to)` of `operands`. With
   * the operands of a `bulk` instruction, which is done again.
   */
  readonly from: number;
  readonly to: number;
  /** Result types of the call, else empty. */
  readonly results: readonly number[];
  /** An exception from the call can be caught by this function. */
  readonly guarded: boolean;
}

/** An exception that a `rethrow` may throw again is kept as data (N4 of body.ts). */
export interface Caught {
  /** Tags that it can have, with the temporaries of their values. */
  readonly tags: readonly { readonly tag: number; readonly temps: readonly number[] }[];
  /** Temporary that says which one, by place in `tags`; -1: there is only one. */
  readonly which: number;
}

/** Its typed arrays lie in a Scratch (H1) and may be longer than their content. */
export interface Body {
  readonly index: number;
  readonly type: FuncType;
  /** Types of all locals, parameters first. */
  readonly locals: readonly number[];
  readonly count: number;
  readonly op: Uint16Array;
  /** Byte offset of each instruction; entry `count` is the end of the last one. */
  readonly start: Uint32Array;
  /** First immediate: branch → target frame id; block/else/end → frame id; call → function; local, global → index. */
  readonly arg: Int32Array;
  readonly live: Uint8Array;
  readonly frames: readonly Frame[];
  /** The deepest nesting of frames. */
  readonly nesting: number;
  readonly loops: number;
  readonly safepoints: readonly Safepoint[];
  /** Per instruction (loop header, call): its safepoint, or -1. */
  readonly safepointAt: Int32Array;
  /** The safepoint at the function entry, or -1. */
  readonly entrySafepoint: number;
  readonly operands: OperandPool;
  /** Per instruction: 0, or 1 + the temporary into which its result is saved, or -1: see `multiSaves`. */
  readonly save: Int32Array;
  /** The same for instructions with several results: one temporary a result. */
  readonly multiSaves: ReadonlyMap<number, readonly number[]>;
  readonly temps: readonly number[];
  /** Catch clauses that are the target of a `rethrow`, by instruction index. */
  readonly caught: ReadonlyMap<number, Caught>;
  readonly readsMemory: boolean;
  readonly writesMemory: boolean;
}

/** What the calls of a function mean; from callgraph.ts. */
export interface CallFacts {
  /** The function can reach a safepoint. */
  canStop(functionIndex: number): boolean;
  isImport(functionIndex: number): boolean;
  /** A `call_indirect` of this type can reach a safepoint. */
  indirectCanStop(typeIndex: number): boolean;
  /** The function polls at its entry. */
  entryPoll(functionIndex: number): boolean;
  /** memory.fill and memory.copy of unknown length are safepoints (ABI 2). */
  readonly stopsInBulk: boolean;
}
