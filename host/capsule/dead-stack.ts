/**
 * The unused part of a program's stack in memory: what lies below its stack pointer.
 *
 *     floor ├──── left by calls that have returned: dead ────┤128├──── frames of running calls ────┤ top
 *                                                             └ pointer                             └ pointer at first
 *
 *     LLVM            global `__stack_pointer`     floor: `__stack_low`, if the module says it
 *     (C, C++, Rust,                                      0, if all data lies above the top (wasm-ld --stack-first), by
 *     Zig, …)                                                `__data_end` or because all data segments do, one at least
 *                                                         `__data_end`, if it is not above the top (wasm-ld's other order)
 *                                                  else unknown: zero data is in no segment and could lie there
 *     AssemblyScript  `~lib/memory/__stack_pointer`       `~lib/memory/__data_end`, or where that was optimised away, what
 *                                                         each function compares the pointer with
 *
 * LLVM's functions do not set the pointer when they call nothing and need at most 128 bytes: their red zone, which a function
 * that is stopped in a loop may be using; one with an aligned frame reaches further down than that. So nothing is dead while a
 * function is on the stack that may be one (compile/stack-use.ts), and 128 bytes stay anyway. AssemblyScript has none: it writes at
 * the pointer and above, and only the collector reads that.
 *
 * Does: say where the dead part is, from the module and the values of its globals. Does not: look at the memory.
 *
 * S1  Nothing is dead where the floor is not known, where the pointer is outside of its stack or is not aligned as LLVM aligns it,
 *     nor in a program that changes stacks (fibers, whose stacks may lie within the first one).
 */
import { initialI32 } from '../compile/initial-global.js';
import { dataStarts } from '../compile/segments.js';
import { skeletonOf } from '../compile/skeleton.js';
import { mayUseRedZone, stackFloor, switchesStacks } from '../compile/stack-use.js';
import type { DeadRange } from '../core/scan.js';
import type { ShardModule } from '../types/module.js';
import type { FrameState } from '../types/state.js';

const LLVM_POINTER = '__stack_pointer';
const ASSEMBLYSCRIPT_POINTER = '~lib/memory/__stack_pointer';
const ASSEMBLYSCRIPT_FLOOR = '~lib/memory/__data_end';
const RED_ZONE_BYTES = 128;
const LLVM_ALIGN = 16;

export interface StackFacts {
  /** Index of the global that points to the stack. */
  readonly pointer: number;
  readonly floor: number;
  readonly top: number;
  readonly redZone: boolean;
  /** Functions by whether they may use a red zone, as far as somebody asked. */
  readonly leaves: Map<number, boolean>;
}

/** What the module says of its stack; undefined: no stack, or not enough to be sure (S1). */
export function stackFacts(module: ShardModule): StackFacts | undefined {
  const llvm = globalNamed(module, LLVM_POINTER);
  const pointer = llvm ?? globalNamed(module, ASSEMBLYSCRIPT_POINTER);
  if (pointer === undefined) return undefined;
  const top = address(module, pointer);
  if (top === undefined) return undefined;
  const floor =
    llvm === undefined
      ? (address(module, globalNamed(module, ASSEMBLYSCRIPT_FLOOR)) ??
        stackFloor(skeletonOf(module), pointer))
      : llvmFloor(module, top);
  if (floor === undefined || floor < 0 || floor > top) return undefined;
  if (switchesStacks(skeletonOf(module), pointer)) return undefined;
  return { pointer, floor, top, redZone: llvm !== undefined, leaves: new Map() };
}

/** Index of a global, by its name or as an export. */
export function globalNamed(module: ShardModule, name: string): number | undefined {
  const { exports, names } = skeletonOf(module);
  const exported = exports.find((each) => each.kind === 3 && each.name === name);
  if (exported !== undefined) return exported.index;
  for (const [index, each] of names.globals) if (each === name) return index;
  return undefined;
}

/** The value that a global begins with, as an address. */
export function address(module: ShardModule, global: number | undefined): number | undefined {
  const value = global === undefined ? undefined : initialI32(module.skeleton, global);
  return value === undefined ? undefined : value >>> 0;
}

function llvmFloor(module: ShardModule, top: number): number | undefined {
  const low = address(module, globalNamed(module, '__stack_low'));
  if (low !== undefined) return low;
  const dataEnd = address(module, globalNamed(module, '__data_end'));
  if (dataEnd !== undefined) return dataEnd > top ? 0 : dataEnd;
  const starts = dataStarts(module.bytes);
  const above = starts.every((start) => start !== undefined && start >= top);
  return above && starts.length > 0 ? 0 : undefined;
}

/** The dead part of the stack; null: there is none that is certain. */
export function unusedStack(
  facts: StackFacts,
  pointer: number,
  frames: readonly FrameState[],
  module: ShardModule,
): DeadRange | null {
  const { floor, top } = facts;
  if (pointer < floor || pointer > top) return null;
  if (!facts.redZone) return { first: floor, end: pointer };
  if (pointer % LLVM_ALIGN !== 0 || frames.some(({ func }) => isLeaf(facts, func, module)))
    return null;
  return { first: floor, end: Math.max(floor, pointer - RED_ZONE_BYTES) };
}

function isLeaf(facts: StackFacts, func: number, module: ShardModule): boolean {
  let known = facts.leaves.get(func);
  if (known === undefined) {
    known = mayUseRedZone(skeletonOf(module), func, facts.pointer);
    facts.leaves.set(func, known);
  }
  return known;
}
