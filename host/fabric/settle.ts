/**
 * Settling a write whose outcome is unknown (F2).
 *
 * Does: repeat a compare-and-set until its outcome is certain. Does not: decide what to write after a conflict.
 *
 * Why repeating settles it: the lost attempt and this one expect the same revision, so at most one of them is ever
 * applied. Once this one is answered `ok`, an attempt that is still on its way can only fail. Once it is answered
 * `conflict`, the value that is there now names its writer and attempt: ours means that an earlier attempt was applied.
 *
 * U1  `ok` is returned only when the value was applied once; `conflict` only when the key has moved on.
 * U2  A conflict can hide our own write when somebody else wrote after it; callers that must know keep their own mark
 *     in the value (an epoch, an attempt for each writer) and read it back.
 */
import type { CasOutcome, RecordEntry, Records, Revision } from '../types/fabric.js';

export type SettledOutcome =
  /** `later`: a newer write lies on top of ours, or ours was found by reading: what is there now. */
  | { readonly kind: 'ok'; readonly revision: Revision; readonly later?: RecordEntry }
  | { readonly kind: 'conflict'; readonly current: RecordEntry | undefined };

/** Looks at a conflict that does not say what is there, before it counts as a deleted key. */
const BLIND_TRIES = 20;

/**
 * `isOurs` tells by writer and attempt whether a value is the one written here. `pause` is awaited between tries (number
 * of the try, from 1); it throws to give up.
 */
export async function compareAndSettle(
  records: Records,
  key: string,
  expected: Revision,
  value: Uint8Array,
  isOurs: (value: Uint8Array) => boolean,
  pause: (tries: number, cause: unknown) => Promise<void>,
): Promise<SettledOutcome> {
  let blindTries = 0;
  for (let tries = 1; ; tries++) {
    const outcome = await records
      .compareAndSet(key, expected, value)
      .catch((cause: unknown): CasOutcome => ({ kind: 'unknown', cause }));
    if (outcome.kind === 'ok') return outcome;
    if (outcome.kind === 'unknown') {
      await pause(tries, outcome.cause);
      continue;
    }
    if (tries === 1) return outcome;
    const current = outcome.current ?? (await records.get(key).catch(() => undefined));
    if (current !== undefined && current.revision > expected) {
      return isOurs(current.value)
        ? { kind: 'ok', revision: current.revision, later: current }
        : { kind: 'conflict', current };
    }
    // Nothing there, or a stale read: look again a few times before taking it for deleted.
    if (++blindTries >= BLIND_TRIES) return { kind: 'conflict', current: undefined };
    await pause(tries, undefined);
  }
}
