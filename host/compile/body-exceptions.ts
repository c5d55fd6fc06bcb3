/**
 * Parts of the body analysis that exceptions need: which instructions end an arm, what a clause keeps for `rethrow`.
 *
 *   catch $t  …  rethrow 0         v: the value of $t                               temporaries, filled where it is caught
 *   catch_all …  rethrow 0         which: the tag; the values of every tag that no clause before it names
 *   in between, at a safepoint     live: these temporaries, so the frame holds what the rethrow throws
 *
 * Does: choose temporaries for caught exceptions and say at which safepoints they are live. Does not: decode (body.ts).
 */
import type { Body, Caught, FrameKind, Safepoint } from './body-types.js';
import type { WasmModule } from './module.js';
import { OP, VT } from './opcodes.js';

/** What ends an arm of a control construct. */
export const ARM_ENDS: ReadonlySet<number> = new Set([
  OP.else,
  OP.end,
  OP.catch,
  OP.catchAll,
  OP.delegate,
]);

export const FRAME_KIND: Readonly<Record<number, FrameKind>> = {
  [OP.loop]: 'loop',
  [OP.if]: 'if',
  [OP.try]: 'try',
  [OP.tryTable]: 'try_table',
};

/**
 * Temporaries for what a clause caught (body.ts, N4): of its tag, or, for a `catch_all`, of every tag that no clause before
 * it names.
 */
export function keepCaught(
  module: WasmModule,
  named: readonly number[],
  only: number | undefined,
  fresh: (type: number) => number,
): Caught {
  const kept = (tag: number): Caught['tags'][number] => ({
    tag,
    temps: module.types[module.tags[tag]!]!.params.map(fresh),
  });
  if (only !== undefined) return { tags: [kept(only)], which: -1 };
  const rest = module.tags.map((_, tag) => tag).filter((tag) => !named.includes(tag));
  return { tags: rest.map(kept), which: fresh(VT.i32) };
}

/**
 * Temporaries of caught exceptions that are live at a safepoint: those of all clauses around it that are rethrown. Known
 * only when the whole function has been seen.
 */
export function caughtTemps(body: Body, safepoint: Safepoint): number[] {
  const live: number[] = [];
  if (body.caught.size === 0) return live;
  for (let id = safepoint.frame; id >= 0; id = body.frames[id]!.parent) {
    const clause = body.frames[id]!.catches.findLast((c) => c < safepoint.instr);
    const kept = clause === undefined ? undefined : body.caught.get(clause);
    if (kept === undefined) continue;
    for (const { temps } of kept.tags) live.push(...temps);
    if (kept.which >= 0) live.push(kept.which);
  }
  return live;
}
