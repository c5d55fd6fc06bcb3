/**
 * A bench for one NodeLife: a record store of one record, and answers that the test gives or lets be given.
 *
 * Does: keep the true record, judge every write with the independent checker, remember all actions. `answer` plays the executor for
 * one action; `settle` answers everything until nothing is open. Does not: know time but what the test says.
 */
import { expect } from 'vitest';
import { checkTransition } from '../../host/protocol/check-transition.js';
import type { LifeAction, LifeEvent, LifePolicy } from '../../host/protocol/life-types.js';
import { NodeLife } from '../../host/protocol/node-life.js';
import type { Seen } from '../../host/types/brain.js';
import type { ShardExit, ShardRecord, Wanted } from '../../host/types/records.js';
import { HASH, owned } from './records.js';

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;
export type Event = Untimed<LifeEvent>;
export type Action<K extends LifeAction['kind']> = Extract<LifeAction, { kind: K }>;

export const EXIT: ShardExit = {
  reason: 'exit',
  code: 7,
  message: '',
  guestStack: [],
  results: new Uint8Array(0),
};

export class Rig {
  readonly life: NodeLife;
  readonly all: LifeAction[] = [];
  open: LifeAction[] = [];
  truth: Seen<ShardRecord>;
  nowMs = 1_000;
  fuel = 0n;
  outputBytes = 0;
  costMs = 1;
  stageCostMs = 0;
  memoryBytes = 64;
  limits = { maxFuel: 0n, maxTimeMs: 0 };
  #blob = 1_000;
  /** The copy that the executor has. */
  #staged: Action<'stage'> | null = null;
  /** It has completed a checkpoint. */
  #kept = false;
  readonly #ready = new Set<string>();

  constructor(policy: Partial<LifePolicy> = {}, record: ShardRecord = owned('a', 1)) {
    this.life = new NodeLife({ nodeId: 'a', shardId: record.id, writer: 'a', policy });
    this.truth = { record, revision: 10 };
  }

  feed(event: Event): LifeAction[] {
    if (event.kind === 'staged' && event.ready) this.#ready.add(event.opId);
    if (event.kind === 'crashed' || event.kind === 'ended') this.#staged = null;
    const actions = this.life.handle({ ...event, nowMs: this.nowMs } as LifeEvent);
    this.all.push(...actions);
    for (const action of actions) {
      this.#watchStaging(action);
      if (action.kind === 'drop') this.open = [];
      else if (action.kind === 'unstage')
        this.open = this.open.filter((o) => o.kind !== 'stage' || o.opId !== action.opId);
      else if (!['hint', 'forget', 'set-stop', 'go-on', 'start', 'resume'].includes(action.kind))
        this.open.push(action);
    }
    return actions;
  }

  /** What is not there cannot be completed, and of two stagings one would be forgotten by the executor. */
  #watchStaging(action: LifeAction): void {
    if (action.kind === 'stage') {
      if (!this.#kept) expect(this.#staged).toBeNull();
      this.#staged = action;
      this.#kept = false;
    } else if (action.kind === 'drop') this.#staged = null;
    else if (action.kind === 'unstage') {
      expect(action.opId).toBe(this.#staged?.opId);
      this.#staged = null;
    } else if (action.kind === 'capture' && action.staged !== null) {
      expect(action.staged).toBe(this.#staged?.opId);
      expect(action.hold).toBe(this.#staged?.target !== null);
      expect(this.#ready.has(action.staged)).toBe(true);
      this.#kept = !action.hold;
    }
  }

  see(): LifeAction[] {
    return this.feed({ kind: 'record', seen: this.truth });
  }

  /** Somebody else writes the record. */
  write(change: Partial<ShardRecord>): void {
    const record = {
      ...this.truth.record,
      writer: 'control',
      attempt: this.truth.revision,
      ...change,
    };
    this.truth = { record, revision: this.truth.revision + 1 };
  }

  want(wanted: Wanted | null): void {
    this.write({ wanted });
  }

  later(ms: number): LifeAction[] {
    this.nowMs += ms;
    return this.feed({ kind: 'tick' });
  }

  take<K extends LifeAction['kind']>(kind: K): Action<K> {
    const at = this.open.findIndex((action) => action.kind === kind);
    if (at < 0)
      throw new Error(
        `no ${kind} is open, but ${this.open.map((a) => a.kind).join(', ') || 'nothing'}`,
      );
    return this.open.splice(at, 1)[0] as Action<K>;
  }

  get runId(): string {
    const started = this.all.findLast(
      (action) => action.kind === 'start' || action.kind === 'resume',
    );
    return (started as Action<'start'>).runId;
  }

  run(fuel: number, outputBytes = 0): LifeAction[] {
    this.fuel += BigInt(fuel);
    this.outputBytes += outputBytes;
    return this.feed({
      kind: 'progress',
      runId: this.runId,
      run: this.facts(),
      outputBytes: this.outputBytes,
    });
  }

  facts(): { fuelUsed: bigint; memoryBytes: number; ranMs: number } {
    return { fuelUsed: this.fuel, memoryBytes: this.memoryBytes, ranMs: Number(this.fuel) };
  }

  /** The write lands, or conflicts when the record has moved on. */
  cas(action: Action<'cas'> = this.take('cas')): LifeAction[] {
    if (action.expected !== this.truth.revision) {
      return this.feed({
        kind: 'cas',
        opId: action.opId,
        answer: { kind: 'conflict', current: this.truth },
      });
    }
    this.land(action);
    return this.feed({
      kind: 'cas',
      opId: action.opId,
      answer: { kind: 'ok', revision: this.truth.revision },
    });
  }

  /** It lands; nobody is told. */
  land(action: Action<'cas'>): void {
    expect(action.expected).toBe(this.truth.revision);
    expect(checkTransition(this.truth.record, action.record)).toEqual([]);
    this.truth = { record: action.record, revision: this.truth.revision + 1 };
  }

  /** Plays the executor for the oldest open action. */
  answer(): void {
    const action = this.open.shift();
    if (action === undefined) return;
    switch (action.kind) {
      case 'load':
        this.fuel = this.truth.record.fuelUsed;
        this.outputBytes = 0;
        this.feed({ kind: 'loaded', opId: action.opId, limits: this.limits });
        break;
      case 'capture': {
        const facts = {
          ...this.facts(),
          capsule: this.hash(),
          capsuleBytes: 5,
          outputBytes: this.outputBytes,
          costMs: this.costMs,
        };
        this.held = this.outputBytes;
        this.outputBytes = 0;
        this.feed({ kind: 'captured', opId: action.opId, facts });
        break;
      }
      case 'stage':
        this.feed({ kind: 'staged', opId: action.opId, ready: true, costMs: this.stageCostMs });
        break;
      case 'end':
        this.end(action.exit);
        break;
      case 'store': {
        const chunk = this.held === 0 ? null : { hash: this.hash(), bytes: this.held };
        expect([action.previous, action.offset]).toEqual([
          this.truth.record.output.head,
          this.truth.record.output.bytes,
        ]);
        this.feed({
          kind: 'stored',
          opId: action.opId,
          chunk,
          artifacts: action.artifacts ? this.hash() : null,
          costMs: 0,
        });
        break;
      }
      case 'cas':
        this.cas(action);
        break;
      case 'read':
        this.feed({ kind: 'read', opId: action.opId, answer: { kind: 'found', seen: this.truth } });
        break;
      default:
    }
  }

  held = 0;

  end(exit: ShardExit = EXIT): LifeAction[] {
    this.held = this.outputBytes;
    this.outputBytes = 0;
    this.open = this.open.filter((action) => action.kind !== 'capture' && action.kind !== 'stage');
    return this.feed({
      kind: 'ended',
      runId: this.runId,
      exit,
      run: this.facts(),
      outputBytes: this.held,
    });
  }

  /** Answers everything until nothing is open; time passes when the machine waits. */
  settle(): void {
    for (let i = 0; i < 100; i++) {
      if (this.open.length > 0) this.answer();
      else if (this.truth.revision > (this.life.known?.revision ?? 0)) this.see();
      else return;
    }
    throw new Error('it does not come to rest');
  }

  /** Until it runs. */
  started(): this {
    this.see();
    this.settle();
    return this;
  }

  hash(): string {
    this.#blob += 1;
    return HASH(this.#blob);
  }

  kinds(): string[] {
    return this.all.map((action) => action.kind);
  }
}
