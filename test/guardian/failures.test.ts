/** The count of failures: what is one, what is not, and that none is counted twice, whoever writes and whatever is lost. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FailureLog, type FailureWrite, mtbfOf } from '../../host/guardian/failures.js';
import { mtbfMs } from '../../host/guardian/interval.js';
import type { BrainEvent } from '../../host/types/brain.js';
import type { FailureRecord } from '../../host/types/records.js';
import { node } from '../protocol/records.js';

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;
const DAY = 86_400_000;

class Watch {
  readonly log = new FailureLog(1_000);
  nowMs = 0;
  #revision = 0;
  #attempt = 0;

  constructor(readonly writer = 'c1') {}

  feed(event: Untimed<BrainEvent>): void {
    this.log.handle({ ...event, nowMs: this.nowMs } as BrainEvent);
  }

  beat(id: string, draining = false): void {
    this.#revision += 1;
    this.feed({ kind: 'node', seen: { record: node(id, { draining }), revision: this.#revision } });
  }

  /** Time passes in small steps; these nodes beat. */
  pass(ms: number, ...beating: string[]): void {
    for (let end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs = Math.min(end, this.nowMs + 100);
      for (const id of beating) this.beat(id);
      this.feed({ kind: 'tick' });
    }
  }

  next(): FailureWrite | null {
    return this.log.next(this.nowMs, () => {
      this.#attempt += 1;
      return { writer: this.writer, attempt: this.#attempt };
    });
  }
}

/** The record in the store; writes land, get lost, or land without a word. */
class Store {
  record: FailureRecord | null = null;
  revision = 0;

  write(write: FailureWrite): boolean {
    if (write.expected !== this.revision) return false;
    this.record = write.record;
    this.revision += 1;
    return true;
  }

  /** `told`: the writer hears of it. */
  serve(watch: Watch, how: 'told' | 'silent' | 'lost' = 'told'): void {
    const write = watch.next();
    if (write === null) return;
    const landed = how !== 'lost' && this.write(write);
    if (how !== 'told') watch.log.answer({ kind: 'unknown' });
    else if (landed) watch.log.answer({ kind: 'ok', revision: this.revision });
    else {
      const current =
        this.record === null ? null : { record: this.record, revision: this.revision };
      watch.log.answer({ kind: 'conflict', current });
    }
  }
}

describe('what counts as a failure', () => {
  it('a process that was seen to die, once', () => {
    const watch = new Watch();
    watch.beat('a');
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    watch.feed({ kind: 'node-gone', nodeId: 'a' });
    expect(watch.log.tally.failures).toBe(1);
  });

  it('a lease that ran out, and the death that is noticed later does not count again', () => {
    const watch = new Watch();
    watch.beat('a');
    watch.beat('b');
    watch.pass(1_500, 'b');
    expect(watch.log.tally.failures).toBe(1);
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    expect(watch.log.tally.failures).toBe(1);
  });

  it.each<[string, (watch: Watch) => void]>([
    ['takes its record away', (watch) => watch.feed({ kind: 'node-gone', nodeId: 'a' })],
    ['drains before it dies', (watch) => watch.beat('a', true)],
    ['was never seen', (watch) => watch.feed({ kind: 'node-dead', nodeId: 'other' })],
  ])('not a node that %s', (_what, leave) => {
    const watch = new Watch();
    watch.beat('a');
    leave(watch);
    if (_what !== 'was never seen') watch.feed({ kind: 'node-dead', nodeId: 'a' });
    expect(watch.log.tally.failures).toBe(0);
  });

  it('counts the time of every node that lives, and not the time in which nobody watched', () => {
    const watch = new Watch();
    watch.beat('a');
    watch.beat('b');
    watch.pass(5_000, 'a', 'b');
    expect(watch.log.tally.nodeTimeMs).toBe(10_000);
    watch.feed({ kind: 'node-gone', nodeId: 'b' });
    watch.pass(5_000, 'a');
    expect(watch.log.tally.nodeTimeMs).toBe(15_000);
    watch.nowMs += 3_600_000;
    watch.beat('a');
    expect(watch.log.tally.nodeTimeMs).toBe(15_250);
  });
});

describe('the record', () => {
  it('is written when a node died, else seldom, and says what nodes take their interval from', () => {
    const watch = new Watch();
    const store = new Store();
    watch.beat('a');
    watch.beat('b');
    watch.pass(20_000, 'a', 'b');
    expect(watch.next()).toBeNull();
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    store.serve(watch);
    expect(store.record).toMatchObject({ failures: 1, counted: ['a'], writer: 'c1' });
    expect(mtbfOf(store.record)).toBe(mtbfMs(1, 40_000));
    expect(mtbfOf(null)).toBe(DAY);
    expect(watch.next()).toBeNull();
    watch.pass(31_000, 'b');
    store.serve(watch);
    expect(store.record?.failures).toBeCloseTo(1, 2);
    expect(store.record?.nodeTimeMs).toBeCloseTo(71_000, -3);
  });

  it('one write at a time', () => {
    const watch = new Watch();
    watch.beat('a');
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    const write = watch.next();
    expect(write).not.toBeNull();
    expect(watch.next()).toBeNull();
    watch.log.answer({ kind: 'unknown' });
    expect(watch.next()).toBe(write);
  });

  it('a blind conflict asks for a read', () => {
    const watch = new Watch();
    watch.beat('a');
    watch.feed({ kind: 'node-dead', nodeId: 'a' });
    watch.next();
    expect(watch.log.answer({ kind: 'conflict', current: null })).toBe(false);
  });

  it('a successor counts on, and does not count again whom its predecessor counted', () => {
    const first = new Watch('c1');
    const store = new Store();
    first.beat('a');
    first.beat('b');
    first.feed({ kind: 'node-dead', nodeId: 'a' });
    store.serve(first);
    const second = new Watch('c2');
    second.beat('a'); // its record is still there
    second.beat('b');
    second.feed({ kind: 'node-dead', nodeId: 'a' });
    second.feed({ kind: 'node-dead', nodeId: 'b' });
    store.serve(second); // conflict: learns what is there
    store.serve(second);
    expect(store.record).toMatchObject({ counted: ['a', 'b'], writer: 'c2' });
    expect(store.record?.failures).toBeCloseTo(2, 3);
  });

  it('what is a day old weighs half', () => {
    const watch = new Watch();
    const seen = { failures: 4, nodeTimeMs: 1_000, counted: [], writer: 'x', attempt: 1 };
    watch.log.see({ record: { v: 1, ...seen }, revision: 3 });
    watch.feed({ kind: 'tick' });
    for (let i = 0; i < DAY / 250; i++) {
      watch.nowMs += 250;
      watch.feed({ kind: 'tick' });
    }
    expect(watch.log.tally.failures).toBeCloseTo(2, 6);
  });

  it('two controls, any outcome, any order: every death is counted once', () => {
    const step = fc.record({
      who: fc.nat(1),
      what: fc.constantFrom('die', 'write', 'write', 'read'),
      how: fc.constantFrom('told' as const, 'silent' as const, 'lost' as const),
      node: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const store = new Store();
        const both = [new Watch('c1'), new Watch('c2')] as const;
        const died = new Set<string>();
        for (const watch of both) for (let i = 0; i < 10; i++) watch.beat(`n${i}`);
        const read = (watch: Watch): void => {
          if (store.record !== null)
            watch.log.see({ record: store.record, revision: store.revision });
        };
        for (const { who, what, how, node: n } of steps) {
          const watch = both[who === 0 ? 0 : 1];
          if (what === 'write') store.serve(watch, how);
          else if (what === 'read') read(watch);
          else {
            died.add(`n${n}`);
            watch.feed({ kind: 'node-dead', nodeId: `n${n}` });
          }
        }
        for (let i = 0; i < 3; i++) for (const watch of both) store.serve(watch);
        expect(new Set(store.record?.counted ?? [])).toEqual(died);
        expect(store.record?.counted.length ?? 0).toBe(died.size);
        expect(store.record?.failures ?? 0).toBe(died.size);
      }),
    );
  });
});
