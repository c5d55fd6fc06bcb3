/**
 * Names and numbers on which a shard module, its continuations and the runtime agree (ABI 1 and 2).
 *
 * A shard module is the program's module with, appended so that no index of the program changes:
 *
 *   types      fuel types, helper types
 *   tables     helpers (filled by the runtime with functions of the frame store, in ABI 2 also those of bulk-module.ts),
 *              one slot for binding
 *   globals    interrupt, page limit, grow-refused flag, fuel at the last throw (if there are tags), one flag per droppable data or element segment
 *   functions  helpers, memory.grow under the limit, entry thunks, save/load of globals, bind
 *   elements   a passive segment with all functions
 *   custom     `sherd`: version, hashes, resume map, dependency graph, and the program's code without data (skeleton)
 *
 * The program's own exports and start function are replaced by the exports below.
 *
 * ABI 2: memory.fill and memory.copy of unknown length are safepoints. A module that has none of them is of ABI 1 still.
 *
 * A1  A later runtime runs old shard modules unchanged; a change of anything here is a new ABI number.
 */
export const ABI = 2;
/** The ABI of a module in which no instruction of ABI 2 is a safepoint. */
export const PLAIN_ABI = 1;

export const SECTION_NAME = 'sherd';

/** Exports of a shard module. */
export const EXPORT = {
  memory: '$m',
  helpers: '$h',
  slot: '$s',
  bind: '$b',
  interrupt: '$i',
  limit: '$l',
  growRefused: '$r',
  grow: '$grow',
  start: '$start',
  save: '$save',
  load: '$load',
  table: (index: number): string => `$t${index}`,
  global: (index: number): string => `$g${index}`,
  init: (segment: number): string => `$n${segment}`,
  drop: (segment: number): string => `$d${segment}`,
  dropped: (segment: number): string => `$x${segment}`,
  tag: (index: number): string => `$tag${index}`,
  /** The fuel that was left when an exception was thrown. */
  thrownFuel: '$tf',
  ref: '$ref',
  /** A second name of each table that the program can change. */
  changing: (index: number): string => `$c${index}`,
  tableInit: (segment: number, table: number): string => `$ti${segment}.${table}`,
  elemDrop: (segment: number): string => `$ed${segment}`,
  elemDropped: (segment: number): string => `$ex${segment}`,
  /** Thunk of a program export: parameters and results through registers, `(fuel) -> fuel`. */
  entry: (name: string): string => `$f:${name}`,
} as const;

/** Functions of the frame store, by their place in the helper table. */
export const STORE_FUNCTIONS = [
  'frame',
  'spill_i32',
  'spill_i64',
  'spill_f32',
  'spill_f64',
  'spill_v128',
  'spill4_i32',
  'load_i32',
  'load_i64',
  'load_f32',
  'load_f64',
  'load_v128',
  'get_i32',
  'get_i64',
  'get_f32',
  'get_f64',
  'get_v128',
  'set_i32',
  'set_i64',
  'set_f32',
  'set_f64',
  'set_v128',
  // only in modules with reference types:
  'spill_funcref',
  'get_funcref',
  'set_funcref',
  'spill_externref',
  'get_externref',
  'set_externref',
] as const;
/** Functions of the frame store that a module without reference types knows. */
export const PLAIN_STORE_FUNCTIONS = STORE_FUNCTIONS.indexOf('spill_funcref');

/** Functions of the bulk module (bulk-module.ts), in the helper table behind those of the frame store. */
export const BULK_FUNCTIONS = ['memory.fill', 'memory.copy'] as const;

/** Registers of the frame store: values that cross between frames, 16 bytes each, at its memory's start. */
export const REGISTER_BYTES = 16;
export const REGISTER_COUNT = 64;
/** At most so many parameters or results of a function that can stop (register 63 is the fuel's). */
export const MAX_VALUES = 62;
