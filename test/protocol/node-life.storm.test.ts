/** Laws of a life under any order of answers, failures, requests, losses and repetitions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LifeAction } from '../../host/protocol/life-types.js';
import type { Wanted } from '../../host/types/records.js';
import { owned } from './records.js';
import { type Event, Rig } from './rig.js';

const wanted = fc.constantFrom<Wanted | null>(
  null,
  { op: 'pause', actionId: 'p', atFuel: null },
  { op: 'pause', actionId: 'q', atFuel: 30n },
  { op: 'move', actionId: 'm', target: 'b' },
  { op: 'move', actionId: 'n', target: 'a' },
  { op: 'kill', actionId: 'k' },
  { op: 'preempt', actionId: 'x' },
);

/** A memory that is staged. */
const LARGE = 1_000;

const gust = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ kind: 'answer' } as const) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('fail' as const), permanent: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('unknown' as const), lands: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('run' as const),
      fuel: fc.nat(20),
      output: fc.nat(3),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reach' } as const) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('want' as const), wanted }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'see' } as const) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('later' as const),
      ms: fc.constantFrom(1, 30, 500, 2_000),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'end' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'crash' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'lose' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'again' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('size' as const), bytes: fc.constantFrom(64, LARGE) }),
  },
);
type Gust = typeof gust extends fc.Arbitrary<infer T> ? T : never;

class Storm {
  readonly rig = new Rig({ loadTries: 3, crashTries: 3, stageFromBytes: LARGE, stageMaxMs: 1_000 });
  readonly #past: Event[] = [];

  blow(g: Gust): void {
    const { rig } = this;
    switch (g.kind) {
      case 'answer':
        rig.answer();
        break;
      case 'fail':
        this.#fail(g.permanent);
        break;
      case 'unknown':
        this.#unknown(g.lands);
        break;
      case 'run':
        if (this.#running) rig.run(g.fuel, g.output);
        break;
      case 'reach':
        if (this.#running) this.#feed({ kind: 'reached', runId: rig.runId, run: rig.facts() });
        break;
      case 'want':
        if (rig.truth.record.owner !== null) rig.want(g.wanted);
        break;
      case 'see':
        this.#feed({ kind: 'record', seen: rig.truth });
        break;
      case 'later':
        rig.later(g.ms);
        break;
      case 'end':
        if (this.#running) rig.end();
        break;
      case 'crash':
        if (this.#running)
          this.#feed({ kind: 'crashed', runId: rig.runId, message: 'boom', remedy: 'retry' });
        break;
      case 'lose':
        this.#lose();
        break;
      case 'size':
        rig.memoryBytes = g.bytes;
        break;
      case 'again':
        for (const event of this.#past.slice(-5)) rig.feed(event);
        break;
    }
    this.#check();
  }

  /** Everything works from now on, and nothing more is asked. */
  calm(): void {
    const { rig } = this;
    if (rig.truth.record.owner === 'a' && rig.truth.record.wanted !== null) rig.want(null);
    for (let i = 0; i < 5; i++) {
      rig.see();
      rig.settle();
      rig.later(2_000);
    }
    rig.settle();
  }

  get #running(): boolean {
    const { all } = this.rig;
    const started = all.findLastIndex(
      (action) => action.kind === 'start' || action.kind === 'resume',
    );
    const dropped = all.findLastIndex((action) => action.kind === 'drop');
    return started > dropped;
  }

  #feed(event: Event): void {
    this.#past.push(event);
    this.rig.feed(event);
  }

  #fail(permanent: boolean): void {
    const { rig } = this;
    const action = rig.open.shift();
    if (action === undefined) return;
    const blind = action.kind === 'cas' && action.expected === rig.truth.revision;
    const failed = blind ? null : failureOf(action, permanent);
    if (failed !== null) this.#feed(failed);
    else rig.open.unshift(action);
  }

  #unknown(lands: boolean): void {
    const { rig } = this;
    if (rig.open[0]?.kind !== 'cas') return;
    const action = rig.take('cas');
    if (lands && action.expected === rig.truth.revision) rig.land(action);
    this.#feed({ kind: 'cas', opId: action.opId, answer: { kind: 'unknown' } });
  }

  /** Taken away; sometimes given back later. */
  #lose(): void {
    const { rig } = this;
    const { owner, epoch, restarts } = rig.truth.record;
    if (owner !== null)
      rig.write({
        owner: null,
        status: 'queued',
        wanted: null,
        epoch: epoch + 1,
        restarts: restarts + 1,
      });
    else if (rig.truth.record.status === 'queued')
      rig.write({ owner: 'a', status: 'assigned', epoch: epoch + 1 });
  }

  #check(): void {
    const { open, truth } = this.rig;
    const many = (kinds: string[]): number =>
      open.filter((action) => kinds.includes(action.kind)).length;
    // One that was sent for an older revision can only conflict.
    const canLand = open.filter((a) => a.kind === 'cas' && a.expected === truth.revision);
    expect(canLand.length).toBeLessThanOrEqual(1);
    expect(many(['capture', 'store'])).toBeLessThanOrEqual(1);
    expect(many(['load'])).toBeLessThanOrEqual(1);
    expect(many(['stage'])).toBeLessThanOrEqual(1);
  }
}

function failureOf(action: LifeAction, permanent: boolean): Event | null {
  const message = 'no';
  switch (action.kind) {
    case 'load':
      return {
        kind: 'load-failed',
        opId: action.opId,
        message,
        remedy: permanent ? 'none' : 'retry',
      };
    case 'stage':
      return { kind: 'staged', opId: action.opId, ready: false, costMs: 1 };
    case 'capture':
      return { kind: 'capture-failed', opId: action.opId, message, permanent };
    case 'store':
      return { kind: 'store-failed', opId: action.opId, message };
    case 'cas':
      return { kind: 'cas', opId: action.opId, answer: { kind: 'conflict', current: null } };
    case 'read':
      return { kind: 'read', opId: action.opId, answer: { kind: 'failed' } };
    default:
      return null;
  }
}

describe('a life in a storm', () => {
  it('never breaks a rule, and comes to rest in the calm', () => {
    const rests = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(gust, { maxLength: 60 }), (gusts) => {
        const storm = new Storm();
        storm.rig.see();
        for (const g of gusts) storm.blow(g);
        storm.calm();
        const { owner, status } = storm.rig.truth.record;
        // Ours, and running; or not ours, and let go of.
        expect([owner === 'a', status === 'running', storm.rig.life.idle]).toEqual(
          owner === 'a' ? [true, true, false] : [false, false, true],
        );
        rests.set(status, (rests.get(status) ?? 0) + 1);
      }),
      { numRuns: 3_000 },
    );
    expect([...rests.keys()].sort()).toEqual(['assigned', 'done', 'paused', 'queued', 'running']);
  });

  it('a kill that stays asked always ends it', () => {
    fc.assert(
      fc.property(fc.array(gust, { maxLength: 40 }), (gusts) => {
        const storm = new Storm();
        storm.rig.see();
        for (const g of gusts) storm.blow(g);
        if (storm.rig.truth.record.owner !== 'a') return;
        storm.rig.want({ op: 'kill', actionId: 'k' });
        for (let i = 0; i < 5; i++) {
          storm.rig.see();
          storm.rig.settle();
          storm.rig.later(2_000);
        }
        expect(storm.rig.truth.record.status).toBe('done');
      }),
      { numRuns: 500 },
    );
  });

  it('ignores answers of a life that is over', () => {
    const rig = new Rig({}, owned('b', 5));
    expect(rig.see()).toEqual([]);
    for (const kind of ['stored', 'loaded', 'captured'] as const) {
      const event = { kind, opId: 's-1/1/load-1' } as unknown as Event;
      expect(rig.feed(event)).toEqual([]);
    }
  });
});
