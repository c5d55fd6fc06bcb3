/**
 * The pause bound of a program for `compile` and `inspect`: as one line, and for --json.
 *
 * Does: name functions, put figures into words. Does not: find the bound (compile/pause-bound.ts).
 */

import { PLAIN_ABI } from '../compile/abi.js';
import { UNIT_BYTES } from '../compile/bulk-module.js';
import { functionLabel } from '../compile/index.js';
import type { PauseBound } from '../compile/pause-bound.js';
import type { ShardModule } from '../types/module.js';
import { formatCount } from './format.js';

/** Above this a length is a sum over many calls that nobody needs exactly. */
const SHOWN_UP_TO = 1e15;

const figure = (length: number): string =>
  length > SHOWN_UP_TO ? 'more than 10¹⁵' : formatCount(length);

/** `2,310 instructions at most between safepoints, in sort (function 4); …` */
export function boundText(module: ShardModule, bound: PauseBound): string {
  const { instructions, at, perReturn, returning, bulk } = bound;
  if (at === undefined) return 'the program has no code that runs';
  const parts = [
    instructions === Number.POSITIVE_INFINITY
      ? `no bound: a loop without a safepoint in ${functionLabel(module, at)}`
      : `${figure(instructions)} instructions at most between safepoints, up to ${functionLabel(module, at)}`,
  ];
  if (perReturn > 0 && returning !== undefined)
    parts.push(
      `${figure(perReturn)} more for each frame when ${functionLabel(module, returning)} returns through its recursion`,
    );
  if (bulk > 0)
    parts.push(
      `${formatCount(bulk)} of them copy or fill memory or tables${module.abi > PLAIN_ABI ? `, of which a unit of fuel pays for about ${UNIT_BYTES} bytes` : ''}`,
    );
  return parts.join('; ');
}

/** Infinity has no JSON: null. */
export function boundJson({ instructions, at, perReturn, returning, bulk }: PauseBound) {
  const finite = (length: number): number | null => (Number.isFinite(length) ? length : null);
  return {
    instructions: finite(instructions),
    at: at ?? null,
    perReturn: finite(perReturn),
    returning: returning ?? null,
    bulk,
  };
}
