/**
 * The end of a pre-copy: laws over random shards and links (P1–P4), and what a shard of a constant rate of writing gives.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  expectedDownMs,
  newPreCopy,
  type PreCopyEvent,
  type PreCopyState,
  preCopy,
  type RoundFacts,
} from '../../host/protocol/precopy.js';

const facts = fc.record({
  sentBytes: fc.nat(1 << 28),
  tookMs: fc.double({ min: 0, max: 1e5, noNaN: true }),
  scanMs: fc.double({ min: 0, max: 1e3, noNaN: true }),
  linkBytesPerMs: fc.oneof(
    fc.constant(Number.POSITIVE_INFINITY),
    fc.double({ min: 1, max: 1e7, noNaN: true }),
  ),
});

/** A shard that writes `rate` bytes/ms into `hotBytes`, of `bytes` in all, over a link. */
function run(
  shard: { bytes: number; hotBytes: number; rate: number; link: number; scanMs: number },
  policy = {},
): {
  state: PreCopyState;
  leftBytes: number;
  nowMs: number;
} {
  let state = preCopy(newPreCopy(policy), { kind: 'begin', nowMs: 0 });
  let nowMs = 0;
  let leftBytes = shard.bytes;
  while (state.verdict.kind === 'go-on') {
    const tookMs = shard.scanMs + leftBytes / shard.link;
    const round: RoundFacts = {
      sentBytes: leftBytes,
      tookMs,
      scanMs: shard.scanMs,
      linkBytesPerMs: shard.link,
    };
    nowMs += tookMs;
    leftBytes = Math.min(shard.hotBytes, shard.rate * tookMs);
    state = preCopy(state, { kind: 'round', nowMs, facts: round });
  }
  return { state, leftBytes, nowMs };
}

const MIB = 1 << 20;
/** 1 Gbit/s. */
const GIGABIT = 125_000;

describe('pre-copy', () => {
  it('makes its last round while there are names for it', () => {
    const facts = { sentBytes: 1_000_000, tookMs: 100, scanMs: 10, linkBytesPerMs: 10_000 };
    const after = (roundsLeft: number): string =>
      preCopy(newPreCopy(), { kind: 'round', nowMs: 100, facts: { ...facts, roundsLeft } }).verdict
        .kind;
    expect([2, 1].map(after)).toEqual(['go-on', 'stop']);
  });

  it('P1: comes to an end after maxRounds at the latest, whatever is measured', () => {
    fc.assert(
      fc.property(fc.array(facts, { minLength: 40, maxLength: 40 }), (rounds) => {
        let state = newPreCopy({ maxRounds: 12, deadlineMs: 1e12 });
        let made = 0;
        for (const each of rounds) {
          if (state.verdict.kind !== 'go-on') break;
          made++;
          state = preCopy(state, { kind: 'round', nowMs: made, facts: each });
        }
        expect(state.verdict.kind).not.toBe('go-on');
        expect(made).toBeLessThanOrEqual(12);
      }),
    );
  });

  it('P2: ticks before the deadline never stop or abandon it', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(59_999)), (times) => {
        let state = preCopy(newPreCopy(), { kind: 'begin', nowMs: 0 });
        for (const nowMs of times.sort((a, b) => a - b))
          state = preCopy(state, { kind: 'tick', nowMs });
        expect(state.verdict).toEqual({ kind: 'go-on' });
        expect(expectedDownMs(state)).toBeNull();
      }),
    );
  });

  it('P3: is over once it is over; a cancel before that always abandons', () => {
    const event: fc.Arbitrary<PreCopyEvent> = fc.oneof(
      fc.record({ kind: fc.constant('round' as const), nowMs: fc.nat(1e5), facts }),
      fc.record({ kind: fc.constant('tick' as const), nowMs: fc.nat(1e5) }),
    );
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 10 }),
        fc.array(event, { maxLength: 5 }),
        (before, after) => {
          const reached = before.reduce(preCopy, newPreCopy());
          const cancelled = preCopy(reached, { kind: 'cancel', nowMs: 1e5 });
          if (reached.verdict.kind === 'go-on') {
            expect(cancelled.verdict).toEqual({ kind: 'abandon', why: 'cancelled' });
          } else expect(cancelled).toBe(reached);
          expect(after.reduce(preCopy, cancelled)).toBe(cancelled);
        },
      ),
    );
  });

  it('converges on a shard that writes less than the link carries, to the down time that it expected', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 0.5, noNaN: true }),
        fc.integer({ min: 1, max: 1024 }),
        (share, mib) => {
          const shard = {
            bytes: mib * MIB,
            hotBytes: mib * MIB,
            rate: share * GIGABIT,
            link: GIGABIT,
            scanMs: 5,
          };
          const { state, leftBytes } = run(shard);
          expect(state.verdict.kind).toBe('stop');
          if (state.verdict.kind !== 'stop') return;
          const downMs = shard.scanMs + leftBytes / GIGABIT + state.policy.fixedMs;
          // The expectation is exact for a constant rate, except after round 0 alone, which knows no rate.
          if (state.rounds.length > 1)
            expect(Math.abs(downMs - (state.verdict.expectedDownMs ?? 0))).toBeLessThan(
              1e-6 * downMs + 1e-6,
            );
          else expect(downMs).toBeLessThanOrEqual(state.verdict.expectedDownMs ?? 0);
          expect(downMs).toBeLessThanOrEqual(state.policy.goalMs + 1e-6);
        },
      ),
    );
  });

  it('256 MiB with 20 MB/s over 1 Gbit/s: a few rounds', () => {
    const shard = {
      bytes: 256 * MIB,
      hotBytes: 256 * MIB,
      rate: 20_000,
      link: GIGABIT,
      scanMs: 10,
    };
    const { state } = run(shard, { goalMs: 30 });
    expect(state.verdict).toMatchObject({ kind: 'stop', why: 'what is left is small enough' });
    expect(state.rounds.length).toBeLessThanOrEqual(5);
  });

  it('P4: a shard that writes as fast as the link stops where that can be borne, else it is left where it is', () => {
    const shard = {
      bytes: 256 * MIB,
      hotBytes: 64 * MIB,
      rate: 2 * GIGABIT,
      link: GIGABIT,
      scanMs: 10,
    };
    expect(run(shard, { bearableMs: 1_000 }).state.verdict).toMatchObject({
      kind: 'stop',
      why: 'it is written as fast as it is copied',
    });
    const { verdict } = run(shard, { bearableMs: 200 }).state;
    expect(verdict.kind).toBe('abandon');
  });

  it('the deadline stops a shard that must leave, and abandons a move that was a wish', () => {
    const begun = preCopy(newPreCopy({ lateIs: 'stop' }), { kind: 'begin', nowMs: 100 });
    expect(preCopy(begun, { kind: 'tick', nowMs: 60_099 }).verdict.kind).toBe('go-on');
    expect(preCopy(begun, { kind: 'tick', nowMs: 60_100 }).verdict).toMatchObject({
      kind: 'stop',
      expectedDownMs: null,
    });
    const wish = preCopy(newPreCopy(), { kind: 'begin', nowMs: 100 });
    expect(preCopy(wish, { kind: 'tick', nowMs: 60_100 }).verdict.kind).toBe('abandon');
  });
});
