/**
 * Random concurrent histories of a fabric's records, and the checker that judges them.
 *
 * Does: let several clients do random steps at the same time while watchers look on; afterwards check what was seen
 * against what was written. Does not: decide which steps (fast-check does) or how time passes (the world does).
 *
 *   Q1  every value that is read, listed, watched or named in a conflict was written to that key by somebody
 *   Q2  one revision of a key names one value, whoever reads it
 *   Q3  at most one write is `ok` for each (key, expected revision); its revision is greater than the expected one
 *   Q4  a conflict is truthful: the current revision is not the expected one
 *   Q5  after the last step every watcher comes to know exactly what a read finds
 *   Q6  without faults, there is no unknown outcome and one client's read sees its own last write
 */
import fc from 'fast-check';
import type { CasOutcome, RecordEntry, Records } from '../../host/types/fabric.js';
import { bytesOf, contentOf, eventually, View, type World } from './world.js';

const KEYS = ['k', 'k.a', 'k.b', 'k.a.c'] as const;

export interface StepPlan {
  readonly op: 'get' | 'list' | 'write' | 'guess' | 'remove' | 'sleep' | 'watch';
  readonly key: number;
  readonly ms: number;
}

export const stepPlans: fc.Arbitrary<StepPlan[]> = fc.array(
  fc.record({
    op: fc.constantFrom(
      'get',
      'list',
      'write',
      'write',
      'write',
      'guess',
      'remove',
      'sleep',
      'watch',
    ),
    key: fc.nat({ max: KEYS.length - 1 }),
    ms: fc.nat({ max: 30 }),
  }),
  { maxLength: 25 },
);

class Judge {
  readonly wrong: string[] = [];
  readonly #written = new Map<string, Set<string>>();
  readonly #byRevision = new Map<string, string>();
  readonly #wins = new Set<string>();

  constructor(private readonly faulty: boolean) {}

  willWrite(key: string, value: Uint8Array): void {
    const values = this.#written.get(key) ?? new Set();
    this.#written.set(key, values.add(contentOf<string>(value)));
  }

  saw(entry: RecordEntry): void {
    const value = contentOf<string>(entry.value);
    if (!this.#written.get(entry.key)?.has(value))
      this.wrong.push(`invented: ${entry.key} ${value}`);
    const id = `${entry.key}@${entry.revision}`;
    const known = this.#byRevision.get(id);
    if (known !== undefined && known !== value)
      this.wrong.push(`${id} is both ${known} and ${value}`);
    this.#byRevision.set(id, value);
  }

  outcome(key: string, expected: number, outcome: CasOutcome, value: Uint8Array | undefined): void {
    if (outcome.kind === 'unknown') {
      if (!this.faulty) this.wrong.push(`unknown without faults: ${String(outcome.cause)}`);
      return;
    }
    if (outcome.kind === 'conflict') {
      if (outcome.current !== undefined) this.saw(outcome.current);
      if (outcome.current?.revision === expected)
        this.wrong.push(`lying conflict: ${key}@${expected}`);
      return;
    }
    if (outcome.revision <= expected) this.wrong.push(`${key}: ${expected} -> ${outcome.revision}`);
    // Two creations both expect 0; only with a removal in between can both be right.
    if (expected > 0) {
      const id = `${key}@${expected}`;
      if (this.#wins.has(id)) this.wrong.push(`two writes won at ${id}`);
      this.#wins.add(id);
    }
    if (value !== undefined) this.saw({ key, value, revision: outcome.revision });
  }
}

/** Runs the plans at the same time, one client each. Returns what was wrong. */
export async function randomHistory(
  world: World,
  plans: readonly StepPlan[][],
  faulty: boolean,
): Promise<string[]> {
  const judge = new Judge(faulty);
  const views: View[] = [];
  const watch = (records: Records): void => {
    const view = new View();
    views.push(view);
    records.watch('k', (event) => {
      view.handle(event);
      if (event.kind === 'put') judge.saw(event.entry);
      if (event.kind === 'snapshot') for (const entry of event.entries) judge.saw(entry);
    });
  };
  const onlooker = (await world.connect('onlooker')).records;
  watch(onlooker);
  await Promise.all(
    plans.map(async (plan, i) => {
      const { records } = await world.connect(`client-${i}`);
      const client = new Client(`c${i}`, records, judge, world, faulty);
      for (const step of plan) {
        if (step.op === 'watch') watch(records);
        else await client.step(step);
      }
    }),
  );
  await world.sleep(faulty ? 1_500 : 1); // late writes have been tried, stale reads are fresh
  const truth = await onlooker.list('k');
  for (const entry of truth) judge.saw(entry);
  for (const view of views) {
    await eventually(world, `the watchers know ${describe(truth)}`, () =>
      describe([...view.entries.values()]) === describe(truth) ? true : undefined,
    );
    judge.wrong.push(...view.wrong);
  }
  return judge.wrong;
}

class Client {
  #count = 0;
  /** What it last knew of each key. */
  readonly #known = new Map<string, number>();

  constructor(
    private readonly name: string,
    private readonly records: Records,
    private readonly judge: Judge,
    private readonly world: World,
    private readonly faulty: boolean,
  ) {}

  async step({ op, key: index, ms }: StepPlan): Promise<void> {
    const key = KEYS[index]!;
    switch (op) {
      case 'sleep':
        return this.world.sleep(ms);
      case 'list':
        for (const entry of await this.records.list('k')) this.judge.saw(entry);
        return;
      case 'get':
        return this.#get(key);
      case 'write':
        await this.#get(key);
        return this.#write(key, this.#known.get(key) ?? 0);
      case 'guess':
        return this.#write(key, ms);
      default:
        return this.#remove(key);
    }
  }

  async #get(key: string): Promise<void> {
    const entry = await this.records.get(key);
    if (entry !== undefined) this.judge.saw(entry);
    const known = this.#known.get(key) ?? 0;
    if (!this.faulty && entry !== undefined && entry.revision < known) {
      this.judge.wrong.push(`stale without faults: ${key}@${entry.revision} after ${known}`);
    }
    this.#known.set(key, entry?.revision ?? 0);
  }

  async #write(key: string, expected: number): Promise<void> {
    const value = bytesOf(`${this.name}-${this.#count++}`);
    this.judge.willWrite(key, value);
    const outcome = await this.records.compareAndSet(key, expected, value);
    this.judge.outcome(key, expected, outcome, value);
    if (outcome.kind === 'ok') this.#known.set(key, outcome.revision);
  }

  async #remove(key: string): Promise<void> {
    const expected = this.#known.get(key) ?? 0;
    if (expected === 0) return;
    const outcome = await this.records.remove(key, expected);
    this.judge.outcome(key, expected, outcome, undefined);
    if (outcome.kind === 'ok') this.#known.set(key, 0);
  }
}

function describe(entries: readonly RecordEntry[]): string {
  return entries
    .map((entry) => `${entry.key}@${entry.revision}=${contentOf<string>(entry.value)}`)
    .sort()
    .join(' ');
}
