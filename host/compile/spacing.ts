/**
 * Puts polls where a program could run too long without one, so that a pause never waits for more than a bounded number of
 * instructions.
 *
 * Loops and recursions poll (callgraph.ts), but functions that only call each other need neither, and what they run adds up:
 * of sixty functions that each call the next one twice, the first runs 2⁶⁰ instructions. (An interpreter of Ruby had
 * 33 × 10⁹ between two safepoints.) A poll at the entry of each long function would bound that too, but it is paid for on
 * its short ways as well. So polls stand as far down on the long ways as the limit allows:
 *
 *   call $a          30,000                                      call $a
 *   call $b          25,000 more, too many for the caller  ──▶   loop end
 *   i32.add                                                      call $b
 *                                                                i32.add
 *
 * A function that ends long after a poll, or after the return of a call into its own recursion, polls before it ends: one
 * poll there spares all its callers theirs.
 *
 * An empty loop is a poll: it is passed once and costs one unit of fuel, the function can stop there like in any loop, and
 * no other pass, no resume map and no runtime has to know that it is not the program's own. The emitter writes the poll
 * alone, without a loop.
 *
 * Does: choose the places, callees first, and write the module anew. Does not: measure (program-flow.ts, stretch.ts).
 *
 * S1  No run has more than 5/4 of the spacing, and a few instructions, between two polls; besides, for each frame through
 *     which a recursion returns, 1/32 of it (1/4 where an exception or a tail call ends the frame).
 * S2  A module in which nothing is that far apart is left as it is, byte for byte.
 * S3  No index of the program changes. Only fuel tells that there are polls.
 */
import { type Replacement, rewritten } from './append.js';
import type { CallGraph } from './callgraph.js';
import type { WasmModule } from './module.js';
import { OP } from './opcodes.js';
import { longestRun } from './program-flow.js';

/**
 * Instructions from one poll to the next, at most. Code that runs for the first time takes a core some ns an instruction, so
 * this is a small part of a millisecond; and programs without long stretches pay nothing: the benchmarks' 44 kernels have at
 * most 8,090 (3,289 a returning frame), QuickJS 66,000, interpreters of larger languages have thousands of millions.
 */
export const SPACING = 131_072;

const POLL = Uint8Array.of(OP.loop, 0x40, OP.end);

/** The module with polls where it would run too long without, or the same module. */
export function spaceOut(module: WasmModule, graph: CallGraph, spacing: number): WasmModule {
  const positions: number[] = [];
  longestRun({
    module,
    summaries: graph.summaries,
    entryPoll: (k) => graph.entryPoll(module.imports.length + k),
    loopPolls: () => undefined,
    placing: {
      sinceEntry: spacing / 4,
      sincePoll: spacing,
      sinceReturn: spacing / 4,
      pollToEnd: spacing / 4,
      returnToEnd: spacing / 32,
      place: (position) => positions.push(position),
    },
  });
  if (positions.length === 0) return module;
  positions.sort((a, b) => a - b);
  return rewritten(
    module,
    [],
    positions.map((at): Replacement => ({ start: at, end: at, bytes: POLL })),
  );
}
