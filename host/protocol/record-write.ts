/**
 * One write of a shard's record, from the first try to the moment when its fate is known.
 *
 * Does: say what to send next (the same compare-and-set again, or a read) and what an answer means. Does not: wait, decide what to
 * write, or change anything else.
 *
 *            ┌──────────── unknown ────────────┐
 *            ▼                                 │
 *         to-send ──next()──▶ sent ──ok──▶ landed
 *                              │ conflict, says what is there ──▶ seen (the caller settles it)
 *                              │ conflict, blind
 *                              ▼
 *         to-read ──next()──▶ reading ──newer record──▶ seen
 *            ▲                 │ older record ──▶ to-send; failed, absent ──▶ to-read
 *            └─────────────────┘        absent EMPTY_READS times ──▶ gone
 *
 * W1  The write is sent again unchanged, with the same stamp: at most one of the tries can land.
 * W2  An answer that is not waited for changes nothing.
 */
import type { Seen } from '../types/brain.js';
import type { ShardRecord } from '../types/records.js';
import type { CasAnswer, LifeAction, ReadAnswer } from './life-types.js';
import type { SentWrite } from './shard-record.js';

/** What a write is for. */
export type WriteKind = 'take' | 'commit' | 'leave' | 'answer';

export type WriteNews =
  | { readonly kind: 'landed'; readonly seen: Seen<ShardRecord> }
  /** A newer record: `settle` tells whether ours is in it. */
  | { readonly kind: 'seen'; readonly seen: Seen<ShardRecord> }
  | { readonly kind: 'gone' }
  /** Call `next` after a pause. */
  | { readonly kind: 'later'; readonly why: string }
  /** Call `next` at once. */
  | { readonly kind: 'now' };

/** "No such record" is believed after this many reads: reads may be stale. */
const EMPTY_READS = 8;

export class RecordWrite implements SentWrite {
  readonly kind: WriteKind;
  readonly expected: number;
  readonly record: ShardRecord;
  #stage: 'to-send' | 'sent' | 'to-read' | 'reading' = 'to-send';
  #opId = '';
  #emptyReads = 0;

  constructor(kind: WriteKind, expected: number, record: ShardRecord) {
    this.kind = kind;
    this.expected = expected;
    this.record = record;
  }

  /** What is to be done; null = an answer is waited for. */
  next(opId: () => string): LifeAction | null {
    if (this.#stage === 'to-send') {
      this.#stage = 'sent';
      this.#opId = opId();
      return { kind: 'cas', opId: this.#opId, expected: this.expected, record: this.record };
    }
    if (this.#stage === 'to-read') {
      this.#stage = 'reading';
      this.#opId = opId();
      return { kind: 'read', opId: this.#opId };
    }
    return null;
  }

  onCas(opId: string, answer: CasAnswer): WriteNews | null {
    if (this.#stage !== 'sent' || opId !== this.#opId) return null;
    if (answer.kind === 'ok') {
      return { kind: 'landed', seen: { record: this.record, revision: answer.revision } };
    }
    if (answer.kind === 'unknown') {
      this.#stage = 'to-send';
      return { kind: 'later', why: 'the store did not answer' };
    }
    this.#stage = 'to-read';
    const { current } = answer;
    if (current === null || current.revision <= this.expected) return { kind: 'now' };
    return { kind: 'seen', seen: current };
  }

  onRead(opId: string, answer: ReadAnswer): WriteNews | null {
    if (this.#stage !== 'reading' || opId !== this.#opId) return null;
    this.#stage = 'to-read';
    if (answer.kind === 'found' && answer.seen.revision > this.expected) {
      return { kind: 'seen', seen: answer.seen };
    }
    // An old read, or a conflict that was none: the compare-and-set never lies, so ask it again.
    if (answer.kind === 'found') this.#stage = 'to-send';
    if (answer.kind === 'absent') this.#emptyReads += 1;
    if (this.#emptyReads >= EMPTY_READS) return { kind: 'gone' };
    return { kind: 'later', why: 'the store shows an old record' };
  }
}
