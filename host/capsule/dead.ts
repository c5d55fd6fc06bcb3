/**
 * Dead memory: bytes of a stopped program that nobody will read before they are written. A capsule may hold zeros there.
 *
 *     stack       below the stack pointer of C, C++, Rust, Zig and AssemblyScript             dead-stack.ts
 *     heap        inside the free blocks of AssemblyScript's allocator                        dead-heap.ts
 *     declared    regions that the program itself lists, in a table that it exports            below
 *
 *     The global `sherd_dead` (exported, i32), or the guest SDK's own, holds the table's address; 0 = there is none.
 *     table = count u32 · { address u32 · bytes u32 } × count
 *
 * Does: read them from a state and its module. Does not: decide whether to (only where the program's user asks for it: a program
 * could read what it has freed, or what it never wrote), free anything, or collect garbage.
 *
 * D1  The same state gives the same ranges: they follow from its memory, globals and frames and from the module alone.
 * D2  Each of the three gives nothing at the first doubt: names alone prove nothing, what they lead to must be as it has to be.
 * D3  Any memory gives an answer: ranges ascend, lie apart and within the memory.
 * D4  The table itself stays, and so does all that the allocator will read, as long as the program declares what is its own: what it
 *     gives back to the allocator it must have declared live before.
 *
 * wasi-libc's allocator (dlmalloc) is not among them: its state has no symbol that a finished module still names, and a heap
 * whose root is not known cannot be told from data that looks like one.
 */
import { skeletonOf } from '../compile/skeleton.js';
import type { DeadRange } from '../core/scan.js';
import type { ShardModule } from '../types/module.js';
import type { ShardState } from '../types/state.js';
import { freeBlocks } from './dead-heap.js';
import { address, globalNamed, type StackFacts, stackFacts, unusedStack } from './dead-stack.js';

const HEAP_ROOT = '~lib/rt/tlsf/ROOT';
const ALLOCATOR = '~lib/rt/tlsf/';
const DECLARED = ['sherd_dead', '~lib/sherd/guest/dead/table'];
const DECLARED_MAX = 65_536;
const ENTRY_BYTES = 8;

/** What of a module is the same for all of its states. */
interface Facts {
  readonly stack: StackFacts | undefined;
  readonly heapRoot: number | undefined;
  /** Functions of the allocator. */
  readonly allocator: ReadonlySet<number>;
  readonly table: number | undefined;
}

const known = new WeakMap<ShardModule, Facts>();

function factsOf(module: ShardModule): Facts {
  let facts = known.get(module);
  if (facts === undefined) {
    const names = skeletonOf(module).names.functions;
    const inAllocator = [...names].filter(([, name]) => name.startsWith(ALLOCATOR));
    facts = {
      stack: stackFacts(module),
      heapRoot: globalNamed(module, HEAP_ROOT),
      allocator: new Set(inAllocator.map(([index]) => index)),
      table: DECLARED.map((name) => globalNamed(module, name)).find((each) => each !== undefined),
    };
    known.set(module, facts);
  }
  return facts;
}

/** Looks at the module ahead of time, so that the first capture is no longer than others. */
export function prepareDead(module: ShardModule): void {
  factsOf(module);
}

/** The dead ranges of a state of this module: ascending, apart from one another. */
export function deadRanges(state: ShardState, module: ShardModule): DeadRange[] {
  if (state.memory === null) return [];
  const { bytes } = state.memory;
  const memory = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { stack, heapRoot, allocator, table } = factsOf(module);
  const found: DeadRange[] = [];
  const pointer = globalValue(state, module, stack?.pointer);
  if (stack !== undefined && pointer !== undefined) {
    const unused = unusedStack(stack, pointer, state.frames, module);
    if (unused !== null) found.push(unused);
  }
  const root = globalValue(state, module, heapRoot);
  if (root !== undefined && !state.frames.some(({ func }) => allocator.has(func)))
    for (const range of freeBlocks(memory, root)) found.push(range);
  const tableAt = globalValue(state, module, table) ?? address(module, table) ?? 0;
  const declared = declaredRanges(memory, tableAt);
  return without(merged([...found, ...declared.ranges]), declared.table).filter(
    ({ end }) => end <= bytes.length,
  );
}

/** The value of a mutable i32 global in a state, as an address; undefined: there is no such global. */
function globalValue(
  { globals }: ShardState,
  { mutableGlobals }: ShardModule,
  index: number | undefined,
): number | undefined {
  let at = 0;
  for (const global of mutableGlobals) {
    if (global.index === index)
      return global.type === 'i32'
        ? new DataView(globals.buffer, globals.byteOffset).getUint32(at, true)
        : undefined;
    at += global.type === 'v128' ? 16 : 8;
  }
  return undefined;
}

/** What the program declares. A table that is not wholly as it must be declares nothing. */
function declaredRanges(
  memory: DataView,
  at: number,
): { readonly table: DeadRange; readonly ranges: readonly DeadRange[] } {
  const nothing = { table: { first: 0, end: 0 }, ranges: [] };
  if (at === 0 || at + 4 > memory.byteLength) return nothing;
  const count = memory.getUint32(at, true);
  const end = at + 4 + count * ENTRY_BYTES;
  if (count > DECLARED_MAX || end > memory.byteLength) return nothing;
  const ranges: DeadRange[] = [];
  for (let entry = at + 4; entry < end; entry += ENTRY_BYTES) {
    const first = memory.getUint32(entry, true);
    const range = { first, end: first + memory.getUint32(entry + 4, true) };
    if (range.end > memory.byteLength) return nothing;
    ranges.push(range);
  }
  return { table: { first: at, end }, ranges };
}

/** The same bytes as ranges that ascend and lie apart. */
function merged(ranges: DeadRange[]): DeadRange[] {
  ranges.sort((a, b) => a.first - b.first);
  const result: DeadRange[] = [];
  for (const { first, end } of ranges) {
    if (first === end) continue;
    const last = result.at(-1);
    if (last === undefined || first > last.end) result.push({ first, end });
    else if (end > last.end) result[result.length - 1] = { first: last.first, end };
  }
  return result;
}

function without(ranges: DeadRange[], kept: DeadRange): DeadRange[] {
  if (kept.first === kept.end) return ranges;
  return ranges.flatMap(({ first, end }) => {
    const parts = [
      { first, end: Math.min(end, kept.first) },
      { first: Math.max(first, kept.end), end },
    ];
    return kept.first >= end || kept.end <= first
      ? [{ first, end }]
      : parts.filter((part) => part.first < part.end);
  });
}
