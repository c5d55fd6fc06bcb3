/**
 * What the emitter needs to know of the module that it writes for: indices there.
 *
 * Does: name it. Does not: write (emit.ts); instrument.ts and continuation.ts implement it.
 */
import type { BulkFunction } from './bulk-module.js';
import type { ByteWriter } from './bytes.js';
import type { StoreFunction } from './store-calls.js';

/** Register of the frame store (16 bytes each) in which a suspended host call leaves the remaining fuel. */
export const FUEL_REGISTER = 63;

/** How names of the program map to indices of the module that is being written. */
export interface EmitTarget {
  func(index: number): number;
  type(index: number): number;
  /** The type with fuel added as last parameter and last result. */
  fuelType(index: number): number;
  global(index: number): number;
  interruptGlobal(): number;
  /** Index of a type `() -> results`. */
  resultType(results: readonly number[]): number;
  store(name: StoreFunction): number;
  /** Writes the call of a function of the bulk module. */
  bulk(out: ByteWriter, name: BulkFunction): void;
  /** memory.grow goes through a function that obeys the limit. */
  growFunction(): number;
  /** Function that does memory.init / data.drop of a segment; undefined = write the instruction itself. */
  initFunction(segment: number): number | undefined;
  dropFunction(segment: number): number;
  /** The same for element segments. */
  tableInitFunction(segment: number, table: number): number | undefined;
  elemDropFunction(segment: number): number;
  /** `(function index + 1, 0 = null) -> funcref`; undefined = ref.func can be written. */
  refFunction(): number | undefined;
  /** Counted loops run without a poll in each passage (emit-counted.ts). */
  readonly countsLoops: boolean;
  carriesFuel(functionIndex: number): boolean;
  /** Functions of this type in tables carry fuel. */
  indirectCarriesFuel(typeIndex: number): boolean;
  tag(index: number): number;
  /** Types of a tag's values. */
  tagTypes(index: number): readonly number[];
  thrownFuelGlobal(): number;
  /** Function that throws the exception with which the callee of a resumed call ended, if it did. */
  deliverFunction(): number;
  /** Index of a function type. */
  blockType(params: readonly number[], results: readonly number[]): number;
  /** True: block types and types keep their indices (the fast copy). */
  readonly sameTypes: boolean;
}
