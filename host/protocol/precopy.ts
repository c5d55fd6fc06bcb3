/**
 * When a pre-copy has copied enough: after each round it says whether another one pays, or the shard is to stop now.
 *
 *     round 0  ████████████████████████            all of the memory, while the shard runs
 *     round 1  ███████                             what was written during round 0
 *     round 2  ██                                  what was written during round 1
 *     stop     ▌                                   what was written during round 2, with the shard stopped: only this is down time
 *
 *     expected down time = one scan + (rate of writing × time of the last round) / link + fixed        (less where they overlap)
 *
 * Does: converge, give up, meet a deadline. Does not: copy, measure or know the time (it comes with the events).
 *
 * P1  It says `stop` or `abandon` at last: after `maxRounds` at the latest.
 * P2  No `stop` before round 0 is complete, except at the deadline when the caller asked for it (`lateIs: 'stop'`).
 * P3  `cancel` makes it abandon at once, from any state; after `stop` or `abandon` nothing changes any more.
 * P4  A round that leaves as much to do as the one before it is the last one (the rate of writing is the link's: nothing
 *     converges). Then it stops if the down time is one that the caller can bear, and abandons otherwise.
 *
 * The criterion is Clark et al., "Live migration of virtual machines", NSDI 2005, section 3 (writable working set), with the
 * down time expressed in ms instead of pages.
 */
import { invariant } from '../types/errors.js';

export interface PreCopyPolicy {
  /** Down time that is good enough, ms. */
  readonly goalMs: number;
  /** Down time that is still better than no move, ms. */
  readonly bearableMs: number;
  readonly maxRounds: number;
  /** Since the first event, ms. */
  readonly deadlineMs: number;
  /** What the deadline means: a spot notice must stop, a wish for balance may be dropped. */
  readonly lateIs: 'stop' | 'abandon';
  /** Down time beside scan and transfer: capture, hand over, resume, ms. */
  readonly fixedMs: number;
}

export const DEFAULT_PRECOPY: PreCopyPolicy = {
  goalMs: 20,
  bearableMs: 1_000,
  maxRounds: 30,
  deadlineMs: 60_000,
  lateIs: 'abandon',
  fixedMs: 5,
};

/** Rounds whose work does not shrink by a tenth do not converge. */
const SHRINKS_TO = 0.9;

export interface RoundFacts {
  /** Bytes that were sent. */
  readonly sentBytes: number;
  /** From the round's beginning until the target had all of it, ms. */
  readonly tookMs: number;
  /** Time that its scan took, without waiting for the link, ms. */
  readonly scanMs: number;
  /** What the link carries, bytes/ms; Infinity = nobody knows a limit. */
  readonly linkBytesPerMs: number;
  /** Rounds of all of the memory for which there are names left, the last one included. Not given: enough. */
  readonly roundsLeft?: number;
}

export type PreCopyEvent =
  | { readonly kind: 'begin'; readonly nowMs: number }
  | { readonly kind: 'round'; readonly nowMs: number; readonly facts: RoundFacts }
  | { readonly kind: 'tick'; readonly nowMs: number }
  | { readonly kind: 'cancel'; readonly nowMs: number };

export type PreCopyVerdict =
  | { readonly kind: 'go-on' }
  | { readonly kind: 'stop'; readonly why: string; readonly expectedDownMs: number | null }
  | { readonly kind: 'abandon'; readonly why: string };

export interface PreCopyState {
  readonly policy: PreCopyPolicy;
  readonly beganMs: number | null;
  readonly rounds: readonly RoundFacts[];
  readonly verdict: PreCopyVerdict;
}

const GO_ON: PreCopyVerdict = { kind: 'go-on' };

export function newPreCopy(policy: Partial<PreCopyPolicy> = {}): PreCopyState {
  const whole = { ...DEFAULT_PRECOPY, ...policy };
  invariant(whole.maxRounds >= 1, 'at least one round');
  invariant(whole.goalMs <= whole.bearableMs, 'the goal is bearable');
  return { policy: whole, beganMs: null, rounds: [], verdict: GO_ON };
}

/** `(state, event) → state`; what is to be done is `state.verdict`. */
export function preCopy(state: PreCopyState, event: PreCopyEvent): PreCopyState {
  if (state.verdict.kind !== 'go-on') return state;
  if (event.kind === 'cancel') return judged(state, abandon('cancelled'));
  const begun = state.beganMs === null ? { ...state, beganMs: event.nowMs } : state;
  const next =
    event.kind === 'round' ? { ...begun, rounds: [...begun.rounds, event.facts] } : begun;
  const late = event.nowMs - (next.beganMs ?? event.nowMs) >= next.policy.deadlineMs;
  if (event.kind === 'round') {
    const verdict = afterRound(next);
    if (verdict.kind !== 'go-on') return judged(next, verdict);
  }
  return late ? judged(next, whenLate(next)) : next;
}

/** Down time if the shard stopped now, ms; null = nothing is known yet (round 0 is under way). */
export function expectedDownMs(state: PreCopyState): number | null {
  const last = state.rounds.at(-1);
  if (last === undefined) return null;
  return last.scanMs + dirtyBytes(state) / last.linkBytesPerMs + state.policy.fixedMs;
}

/**
 * What was written since the last round began, as far as one knows: a round sends what was written during the one before
 * it, which gives the rate. Round 0 sends all of the memory, which says nothing about the rate: as much again, at worst.
 */
function dirtyBytes(state: PreCopyState): number {
  const last = state.rounds.at(-1) as RoundFacts;
  const before = state.rounds.at(-2);
  if (before === undefined) return last.sentBytes;
  const rate = before.tookMs > 0 ? last.sentBytes / before.tookMs : 0;
  return Math.min(last.sentBytes, rate * last.tookMs);
}

function afterRound(state: PreCopyState): PreCopyVerdict {
  const { policy, rounds } = state;
  const downMs = expectedDownMs(state) as number;
  if (downMs <= policy.goalMs) return stop('what is left is small enough', downMs);
  const last = rounds.at(-1) as RoundFacts;
  const before = rounds.at(-2);
  if (last.sentBytes === 0) return stop('nothing is written any more', downMs);
  const shrinks = before === undefined || last.sentBytes < before.sentBytes * SHRINKS_TO;
  const room = rounds.length < policy.maxRounds && (last.roundsLeft ?? 2) >= 2;
  if (shrinks && room) return GO_ON;
  const why = shrinks
    ? `${rounds.length} rounds were made`
    : 'it is written as fast as it is copied';
  return downMs <= policy.bearableMs
    ? stop(why, downMs)
    : abandon(
        `${why}: a down time of ${Math.round(downMs)} ms where ${policy.bearableMs} are allowed`,
      );
}

function whenLate(state: PreCopyState): PreCopyVerdict {
  const why = `the deadline of ${state.policy.deadlineMs} ms has come`;
  return state.policy.lateIs === 'stop' ? stop(why, expectedDownMs(state)) : abandon(why);
}

function judged(state: PreCopyState, verdict: PreCopyVerdict): PreCopyState {
  return { ...state, verdict };
}

function stop(why: string, downMs: number | null): PreCopyVerdict {
  return { kind: 'stop', why, expectedDownMs: downMs };
}

function abandon(why: string): PreCopyVerdict {
  return { kind: 'abandon', why };
}
