/**
 * Program history: forecasts of what runs need, the laws that hold for any of them, and what is learned from.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { QUANTITIES, RunHistory, type RunNeeds } from '../../host/oracle/history.js';
import {
  GROUPS_MAX,
  RunModel,
  type RunQuantiles,
  type RunRequest,
} from '../../host/oracle/history-model.js';
import { MEASURABLE_MAX } from '../../host/oracle/series.js';

const LADDER = 3;

function request(name: string, ...numbers: number[]): RunRequest {
  return { groups: [`${name} ${numbers.join(' ')}`, name, 'all'], numbers };
}

const quantilesOf = ({ p50, p90, p95, p99 }: RunQuantiles): number[] => [p50, p90, p95, p99];

/** Ascending, finite, within bounds. */
function expectBand(forecast: RunQuantiles, least = 0): void {
  let before = least;
  for (const value of quantilesOf(forecast)) {
    expect(value).toBeGreaterThanOrEqual(before);
    expect(value).toBeLessThanOrEqual(MEASURABLE_MAX);
    before = value;
  }
}

function taught(runs: readonly (readonly [RunRequest, number, boolean?])[]): RunModel {
  const model = new RunModel(LADDER);
  for (const [asked, value, ended] of runs) model.learn(asked, value, ended ?? true);
  return model;
}

const anyNumber = fc.oneof(
  fc.double(),
  fc.constantFrom(Number.NaN, -1, 0, 1, 1e300, -1e300, Number.POSITIVE_INFINITY, MEASURABLE_MAX),
);
const need = fc.integer({ min: 1, max: 1_000_000 });
const name = fc.constantFrom('a', 'b', 'c');
const asked = fc
  .tuple(name, fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 3 }))
  .map(([of, numbers]) => request(of, ...numbers));
const runs = fc.array(fc.tuple(asked, need, fc.boolean()), { minLength: 1, maxLength: 60 });

describe('forecast of a run', () => {
  it('is not there before any run, and has a band after one', () => {
    const model = new RunModel(LADDER);
    expect(model.forecast(request('a'))).toBeUndefined();
    model.learn(request('a'), 100, true);
    const forecast = model.forecast(request('a'))!;
    expect(forecast.p50).toBe(100);
    expect(forecast.p99).toBeGreaterThan(200);
  });

  it('becomes exact where runs are all the same', () => {
    const model = taught(Array.from({ length: 60 }, () => [request('a', 5), 12_345] as const));
    const { p50, p95, p99 } = model.forecast(request('a', 5))!;
    expect([p50, p95]).toEqual([12_345, 12_345]);
    expect(p99).toBeLessThan(1.3 * 12_345);
  });

  it('follows a program whose runs changed', () => {
    const model = taught([
      ...Array.from({ length: 40 }, () => [request('a'), 100] as const),
      ...Array.from({ length: 6 }, () => [request('a'), 900] as const),
    ]);
    expect(model.forecast(request('a'))!.p50).toBe(900);
  });

  it('of a new name is that of the wider groups', () => {
    const model = taught(Array.from({ length: 20 }, (_, i) => [request('a'), 100 + i] as const));
    const forecast = model.forecast(request('b'))!;
    expect(forecast.p50).toBeGreaterThanOrEqual(100);
    expect(forecast.p50).toBeLessThanOrEqual(120);
  });

  it.each([
    ['steps', (n: number) => [n], (n: number) => 7 * n],
    ['width × height', (n: number) => [n, 3 * n + 5], (n: number) => 40 * n * (3 * n + 5)],
    ['depth', (n: number) => [n % 7], (n: number) => 20 * 9 ** (n % 7)],
  ])('carries runs over to other numbers: %s', (_, numbers, cost) => {
    const model = new RunModel(LADDER);
    const turns = Array.from({ length: 30 }, (_, i) => ((i * 11) % 31) + 1);
    for (const i of turns) model.learn(request('p', ...numbers(i)), cost(i), true);
    const { p50 } = model.forecast(request('p', ...numbers(40)))!;
    expect(Math.abs(p50 / cost(40) - 1)).toBeLessThan(0.1);
  });

  it('does not carry over by numbers that say nothing', () => {
    const model = new RunModel(LADDER);
    for (let i = 0; i < 40; i++)
      model.learn(request('p', (i * 37) % 101), i % 2 === 0 ? 90 : 110, true);
    const { p50, p99 } = model.forecast(request('p', 1_000_000))!;
    expect([90, 110]).toContain(p50);
    expect(p99).toBeLessThan(1_000);
  });

  it('P90 and P95 cover what they say on a stream of one distribution', () => {
    const model = new RunModel(LADDER);
    let state = 1;
    const uniform = (): number => {
      state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
      return state / 2_147_483_647;
    };
    const covered = [0, 0, 0, 0];
    const rounds = 1_500;
    for (let i = 0; i < rounds; i++) {
      const value = 1_000 * Math.exp(2 * (uniform() + uniform() + uniform() - 1.5));
      const forecast = model.forecast(request('a'));
      if (i >= 300)
        quantilesOf(forecast!).forEach((each, k) => {
          if (value <= each) covered[k]! += 1 / (rounds - 300);
        });
      model.learn(request('a'), value, true, forecast);
    }
    expect(Math.abs(covered[0]! - 0.5)).toBeLessThan(0.05);
    expect(Math.abs(covered[1]! - 0.9)).toBeLessThan(0.02);
    expect(Math.abs(covered[2]! - 0.95)).toBeLessThan(0.015);
    expect(Math.abs(covered[3]! - 0.99)).toBeLessThan(0.01);
  });

  it('quantiles ascend and are finite, whatever comes', () => {
    const wild = fc.tuple(name, fc.array(anyNumber, { maxLength: 9 }), anyNumber, fc.boolean());
    fc.assert(
      fc.property(fc.array(wild, { minLength: 1, maxLength: 40 }), anyNumber, (all, used) => {
        const model = new RunModel(LADDER);
        for (const [of, numbers, value, ended] of all)
          model.learn(request(of, ...numbers), value, ended);
        for (const [of, numbers] of all) {
          const from = used > 0 ? Math.min(used, MEASURABLE_MAX) : 0;
          expectBand(model.forecast(request(of, ...numbers), used)!, from);
        }
      }),
    );
  });

  it('is c times as large when all needs are', () => {
    fc.assert(
      fc.property(runs, fc.integer({ min: 2, max: 1_000 }), asked, (all, by, ask) => {
        const model = taught(all);
        const larger = taught(all.map(([of, value, ended]) => [of, value * by, ended]));
        const [one, other] = [model.forecast(ask), larger.forecast(ask)];
        quantilesOf(one!).forEach((value, k) => {
          expect(quantilesOf(other!)[k]! / value / by).toBeCloseTo(1, 6);
        });
      }),
    );
  });

  it('a longer run makes no forecast shorter', () => {
    const model = taught(
      Array.from({ length: 10 }, (_, i) => [request('a'), 100 * (i + 1)] as const),
    );
    const before = model.forecast(request('a'))!;
    model.learn(request('a'), 5_000, true);
    const after = model.forecast(request('a'))!;
    quantilesOf(before).forEach((value, k) => {
      expect(quantilesOf(after)[k]).toBeGreaterThanOrEqual(value);
    });
  });

  it('keeps a bounded number of groups: the one that was touched longest ago goes', () => {
    const model = new RunModel(1);
    for (let i = 0; i <= GROUPS_MAX; i++) model.learn({ groups: [`g${i}`], numbers: [] }, 5, true);
    expect(model.forecast({ groups: ['g0'], numbers: [] })).toBeUndefined();
    expect(model.forecast({ groups: ['g1'], numbers: [] })?.p50).toBe(5);
    expect(model.save().groups).toHaveLength(GROUPS_MAX);
  });
});

describe('runs that were stopped', () => {
  it('count as at least so much', () => {
    const ended = [100, 200, 300].map((value) => [request('a'), value] as const);
    const stopped = [1, 2, 3, 4].map((i) => [request('a'), 250 + i, false] as const);
    const without = taught(ended).forecast(request('a'))!;
    const withThem = taught([...ended, ...stopped]).forecast(request('a'))!;
    expect(withThem.p50).toBeGreaterThanOrEqual(300);
    expect(withThem.p50).toBeGreaterThan(without.p50);
  });

  it('teach nothing when they were stopped before any other had ended', () => {
    const ended = Array.from({ length: 9 }, (_, i) => [request('a'), 100 + i] as const);
    // More than a group remembers runs: they do not push the others out either.
    const stopped = Array.from({ length: 100 }, (_, i) => [request('a'), i % 5, false] as const);
    const p50 = taught([...ended, ...stopped]).forecast(request('a'))!.p50;
    expect(p50).toBeGreaterThanOrEqual(100);
    expect(p50).toBeLessThanOrEqual(108);
  });

  it('alone: a run that came so far comes twice as far as likely as not', () => {
    const { p50 } = taught([[request('a'), 1_000, false]]).forecast(request('a'))!;
    expect(p50).toBeGreaterThan(1_000);
    expect(p50).toBeLessThan(5_000);
  });
});

describe('what remains', () => {
  const ended = (history: RunHistory, values: readonly number[]): void => {
    values.forEach((fuel, at) => {
      history.end(`e${at}`, request('a'), at, { fuel });
    });
  };

  it('is of those that needed more than it has', () => {
    const history = new RunHistory(LADDER);
    ended(history, [50, 50, 200, 300, 400, 200, 300, 400]);
    const { p50 } = history.remaining(request('a'), { fuel: 100 }).fuel!;
    expect(p50).toBeGreaterThanOrEqual(100);
    expect(p50).toBeLessThanOrEqual(300);
    const all = history.expected(request('a')).fuel!;
    const beyond = history.remaining(request('a'), { fuel: 100 }).fuel!;
    quantilesOf(all).forEach((value, k) => {
      expect(quantilesOf(beyond)[k]! + 100).toBeGreaterThanOrEqual(value);
    });
  });

  it('beyond all that was seen: about as much again, with a wide band', () => {
    const history = new RunHistory(LADDER);
    ended(history, [50, 60, 70]);
    const { p50, p90 } = history.remaining(request('a'), { fuel: 1_000 }).fuel!;
    expect(p50).toBeGreaterThan(300);
    expect(p50).toBeLessThan(3_000);
    expect(p90).toBeGreaterThan(3 * p50);
  });

  it('is never negative, ascends, and what is expected in all never falls as it goes on', () => {
    fc.assert(
      fc.property(
        runs,
        asked,
        fc.array(need, { minLength: 2, maxLength: 6 }),
        (all, ask, marks) => {
          const history = new RunHistory(LADDER);
          all.forEach(([of, value, isEnd], at) => {
            history.end(`${at}`, of, at, { fuel: value, ranMs: value, memoryBytes: value }, isEnd);
          });
          let before = [0, 0, 0, 0];
          for (const used of [...marks].sort((a, b) => a - b)) {
            const { fuel, ranMs, memoryBytes } = history.remaining(ask, {
              fuel: used,
              ranMs: used,
              memoryBytes: used,
            });
            expectBand(fuel!);
            expectBand(ranMs!);
            expectBand(memoryBytes!, used * (1 - 1e-9));
            const total = quantilesOf(fuel!).map((each) => each + used);
            total.forEach((value, k) => {
              expect(value).toBeGreaterThanOrEqual(before[k]! * (1 - 1e-6));
            });
            before = total;
          }
        },
      ),
    );
  });

  it('of a run with others on the way: they count as at least so much, and not itself', () => {
    const alone = new RunHistory(LADDER);
    const crowd = new RunHistory(LADDER);
    for (const history of [alone, crowd]) ended(history, [100, 120, 140, 900]);
    for (const history of [alone, crowd]) history.begin('self', request('a'));
    for (let i = 0; i < 12; i++) {
      crowd.begin(`o${i}`, request('a'));
      crowd.progress(`o${i}`, { fuel: 500 });
    }
    alone.progress('self', { fuel: 10 });
    const of = (history: RunHistory): number =>
      history.remaining(request('a'), { fuel: 10 }, 'self').fuel!.p50;
    expect(of(alone)).toBeLessThan(200);
    expect(of(crowd)).toBeGreaterThan(500);
  });
});

describe('history of programs', () => {
  const needs = (value: number): RunNeeds => ({
    fuel: value,
    ranMs: value + 1,
    memoryBytes: value + 2,
  });
  const event = fc.record({
    of: asked,
    value: need,
    isEnd: fc.boolean(),
    instant: fc.integer({ min: 0, max: 3 }),
  });

  it('learns only from runs that have ended', () => {
    const history = new RunHistory(LADDER);
    history.begin('x', request('a'));
    history.progress('x', needs(1_000));
    expect(history.expected(request('a')).fuel).toBeUndefined();
    history.end('x', request('a'), 1, needs(2_000));
    expect(history.expected(request('a')).fuel?.p50).toBe(2_000);
    expect(history.requestOf('x')).toBeUndefined();
  });

  it('the order of runs that end at one instant makes no difference', () => {
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 20 }),
        asked,
        fc.nat(),
        (events, ask, turn) => {
          const sorted = events.map((each, at) => ({ ...each, id: `${at}` }));
          sorted.sort((a, b) => a.instant - b.instant);
          const turned = [0, 1, 2, 3].flatMap((instant) => {
            const now = sorted.filter((each) => each.instant === instant);
            const by = now.length === 0 ? 0 : turn % now.length;
            return [...now.slice(by), ...now.slice(0, by)].reverse();
          });
          const answers = [sorted, turned].map((list) => {
            const history = new RunHistory(LADDER);
            for (const { id, of, value, isEnd, instant } of list)
              history.end(id, of, instant, needs(value), isEnd);
            return history.expected(ask);
          });
          expect(answers[0]).toEqual(answers[1]);
        },
      ),
    );
  });

  it('saved and restored, through JSON too, it answers the same and learns the same', () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 30 }),
        fc.array(event, { maxLength: 5 }),
        asked,
        (events, more, ask) => {
          const history = new RunHistory(LADDER);
          history.begin('on the way', ask);
          history.progress('on the way', needs(70));
          events.forEach(({ of, value, isEnd }, at) => {
            history.begin(`${at}`, of);
            history.end(`${at}`, of, at, needs(value), isEnd);
          });
          const again = RunHistory.restore(JSON.parse(JSON.stringify(history.save())), LADDER);
          expect(again.expected(ask)).toEqual(history.expected(ask));
          for (const each of [history, again])
            more.forEach(({ of, value, isEnd }, at) => {
              each.end(`m${at}`, of, 1_000 + at, needs(value), isEnd);
            });
          expect(again.remaining(ask, needs(50), 'x')).toEqual(
            history.remaining(ask, needs(50), 'x'),
          );
          expect(again.save()).toEqual(history.save());
        },
      ),
      { numRuns: 50 },
    );
  });

  it.each([
    ['nothing', () => undefined],
    ['a text', () => 'history'],
    ['another version', (saved: Record<string, unknown>) => ({ ...saved, version: 99 })],
    ['no models', (saved: Record<string, unknown>) => ({ ...saved, models: {} })],
    [
      'a NaN',
      (saved: Record<string, unknown>) => JSON.parse(JSON.stringify(saved).replace('500', 'null')),
    ],
    ['another ladder', (saved: Record<string, unknown>) => ({ ...saved, rungs: 2 })],
  ])('refuses a damaged state: %s', (_, damage) => {
    const history = new RunHistory(LADDER);
    history.end('x', request('a'), 1, { fuel: 500, ranMs: 500, memoryBytes: 500 });
    const saved = JSON.parse(JSON.stringify(history.save())) as Record<string, unknown>;
    expect(() => RunHistory.restore(damage(saved), LADDER)).toThrow(
      expect.objectContaining({ code: 'SHERD_BLOB_DAMAGED' }),
    );
  });

  it('what is no measurement, and a clock that steps, leave it as it was', () => {
    const history = new RunHistory(LADDER);
    for (let i = 0; i < 5; i++) history.end(`${i}`, request('a'), i, needs(100));
    const before = history.expected(request('a'));
    const nothing = [Number.NaN, -5, 1e300, Number.POSITIVE_INFINITY, undefined];
    for (const value of nothing)
      history.end('bad', request('a'), Number.NaN, {
        fuel: value,
        ranMs: value,
        memoryBytes: value,
      });
    expect(history.expected(request('a'))).toEqual(before);
    history.end('late', request('a'), -1e12, needs(100));
    for (const quantity of QUANTITIES) expectBand(history.expected(request('a'))[quantity]!);
  });

  it('forgets a run on the way that is gone', () => {
    const history = new RunHistory(LADDER);
    history.begin('x', request('a'));
    history.forget('x');
    history.progress('x', needs(5));
    expect(history.requestOf('x')).toBeUndefined();
    expect(history.save().onTheWay).toEqual([]);
  });
});
