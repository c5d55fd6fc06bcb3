/**
 * How many instructions a program can run between two safepoints: the bound on how long a pause has to wait.
 *
 *   shard module ─ skeleton, resume map: where its polls are ─ program-flow.ts ─ the longest of all
 *
 * Does: find it from a shard module alone. Does not: know times (an instruction that copies memory counts as one, whether it
 * copies a byte or as much as there is fuel for: bulk-module.ts, pieces.ts), or host calls (they do not block).
 *
 * B2  Polls are the safepoints of the code from which continuations are built, as many as the resume map has. (The map's
 *     own places are those in the program as it was given: append.ts.)
 */
import { invariant } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';
import { analyseBody } from './body.js';
import { codeStart } from './module.js';
import { type LongestRun, longestRun } from './program-flow.js';
import { Scratch } from './scratch.js';
import { callsOf, skeletonOf } from './skeleton.js';
import { summariseAll } from './summary.js';

export interface PauseBound extends LongestRun {
  /** Instructions that copy or fill memory or tables; what is long is paid for in fuel (bulk-module.ts, pieces.ts). */
  readonly bulk: number;
}

const NO_POLLS: ReadonlySet<number> = new Set();

/** Gives the loops with a poll of a function, from the start of the code section's content. */
function loopPollsOf(shard: ShardModule): (k: number) => ReadonlySet<number> {
  const module = skeletonOf(shard);
  const calls = callsOf(shard);
  const scratch = new Scratch();
  const start = codeStart(module);
  return (k) => {
    const { safepoints } = shard.functions[k]!;
    if (!safepoints.some(({ kind }) => kind === 'loop')) return NO_POLLS;
    const body = analyseBody(module, module.imports.length + k, calls, scratch);
    invariant(
      body.safepoints.length === safepoints.length,
      'code and resume map have the same safepoints',
    );
    const loops = body.safepoints.filter(({ kind }) => kind === 'loop');
    return new Set(loops.map(({ instr }) => body.start[instr]! - start));
  };
}

/** The bound of a shard module. Reads all of its code once. */
export function pauseBound(shard: ShardModule): PauseBound {
  const module = skeletonOf(shard);
  const summaries = summariseAll(module);
  const run = longestRun({
    module,
    summaries,
    entryPoll: (k) => shard.functions[k]!.safepoints[0]?.kind === 'entry',
    loopPolls: loopPollsOf(shard),
    placing: undefined,
  });
  return { ...run, bulk: summaries.bulk };
}
