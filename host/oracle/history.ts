/**
 * The history of programs: what their runs needed of fuel, time and memory, and what the next one will need.
 *
 *     begin(id, request) ──▶ what it will need            ┐  one RunModel each for fuel, running time and memory
 *     progress(id, needed so far) ──▶ runs on the way ────┤  (history-model.ts)
 *     end(id, request, needed) ──▶ learned from ──────────┘
 *     expected(request), remaining(request, needed so far) ──▶ P50, P90, P95, P99
 *
 * Does: keep runs on the way, bring what ended at one instant into an order, ask the models, save and restore.
 * Does not: read a clock, know what a request is made of (history-request.ts does), decide anything.
 *
 * H1  Learned is only from runs that have ended. Those that were stopped, or are on the way, count as "at least so much".
 * H2  The order in which runs end at one and the same instant makes no difference, as long as nothing is asked in between.
 * H3  What remains is the forecast of runs that needed more than it has up to now, less that: never negative, and all of its
 *     quantiles ascend. Memory that is there is never given back, so its high-water mark is at least what it has.
 *     A run on the way that has needed less than any before it says nothing, and is not looked at.
 * H4  Bounded: ON_THE_WAY_MAX runs on the way, the one that began longest ago is forgotten; groups and runs as in the models.
 * H5  What cannot be a measurement (NaN, negative, beyond MEASURABLE_MAX) is left out; nothing that comes out is NaN.
 * H6  A state that was saved and restored answers the same, bit for bit; one that was damaged is refused (SHERD_BLOB_DAMAGED).
 */
import { invariant, SherdError } from '../types/errors.js';
import { type PastRun, pastRun, usableNumbers } from './history-group.js';
import {
  NO_OTHERS,
  type OtherRuns,
  type RunForecast,
  RunModel,
  type RunQuantiles,
  type RunRequest,
  type RunTuning,
  type SavedModel,
  TUNING,
} from './history-model.js';
import { MEASURABLE_MAX } from './series.js';

/** What a run needed, or has needed up to now; undefined = not measured. */
export interface RunNeeds {
  readonly fuel?: number | undefined;
  /** Time that it was running, ms. */
  readonly ranMs?: number | undefined;
  /** High-water mark. */
  readonly memoryBytes?: number | undefined;
}

export const QUANTITIES = ['fuel', 'ranMs', 'memoryBytes'] as const;
export type Quantity = (typeof QUANTITIES)[number];

/** Undefined: no run of any group of the request has shown how much. */
export type Expected = { readonly [quantity in Quantity]: RunForecast | undefined };

interface OnTheWay {
  readonly request: RunRequest;
  readonly expected: Expected;
  readonly sofar: RunNeeds;
}

interface Ended {
  readonly id: string;
  readonly request: RunRequest;
  readonly needs: RunNeeds;
  readonly ended: boolean;
}

export interface SavedHistory {
  readonly version: number;
  readonly rungs: number;
  readonly models: { readonly [quantity in Quantity]: SavedModel };
  readonly onTheWay: readonly (readonly [id: string, run: OnTheWay])[];
}

const VERSION = 1;
const ON_THE_WAY_MAX = 4_096;
/** Runs on the way that a forecast looks at. */
const OTHERS_MAX = 32;
const STEPS_A_DOUBLING = 4;

export class RunHistory {
  readonly #rungs: number;
  readonly #models: { readonly [quantity in Quantity]: RunModel };
  readonly #onTheWay = new Map<string, OnTheWay>();
  /** Ids of runs on the way by the name of their second group. */
  readonly #alike = new Map<string, Set<string>>();
  #instantMs = Number.NaN;
  #endedNow: Ended[] = [];

  /** @param rungs groups in each request's ladder, 1 or more */
  constructor(rungs: number, tuning: RunTuning = TUNING) {
    invariant(rungs >= 1, 'a request names at least one group');
    this.#rungs = rungs;
    this.#models = {
      fuel: new RunModel(rungs, tuning),
      ranMs: new RunModel(rungs, tuning),
      memoryBytes: new RunModel(rungs, tuning),
    };
  }

  /** A run begins: what it will need. */
  begin(id: string, request: RunRequest): Expected {
    const expected = this.expected(request);
    this.#keep(id, { request, expected, sofar: {} });
    return expected;
  }

  /** What a run that has begun has needed up to now. */
  progress(id: string, sofar: RunNeeds): void {
    const run = this.#onTheWay.get(id);
    if (run !== undefined) this.#onTheWay.set(id, { ...run, sofar });
  }

  /** A run is gone, and nobody knows what it came to. */
  forget(id: string): void {
    this.#drop(id);
  }

  /** Runs on the way. */
  get ids(): readonly string[] {
    return [...this.#onTheWay.keys()];
  }

  /** The request of a run on the way. */
  requestOf(id: string): RunRequest | undefined {
    return this.#onTheWay.get(id)?.request;
  }

  /**
   * A run has ended, or was stopped for good.
   *
   * @param atMs when; runs that end at one instant may come in any order
   * @param ended false: it was stopped, and would have needed more
   */
  end(id: string, request: RunRequest, atMs: number, needs: RunNeeds, ended = true): void {
    if (atMs !== this.#instantMs) this.#learn();
    this.#instantMs = atMs;
    this.#endedNow.push({ id, request, needs, ended });
  }

  /** What a run will need in all. */
  expected(request: RunRequest): Expected {
    return this.#forecasts(request, undefined, {});
  }

  /**
   * What a run needs beyond what it has needed up to now. Memory: its high-water mark.
   *
   * @param id of the run itself, which is no other run; undefined = it is not on the way
   */
  remaining(request: RunRequest, sofar: RunNeeds, id?: string): Expected {
    const { fuel, ranMs, memoryBytes } = this.#forecasts(request, id, sofar);
    return {
      fuel: lessened(fuel, sofar.fuel),
      ranMs: lessened(ranMs, sofar.ranMs),
      memoryBytes,
    };
  }

  /** Everything, as data that JSON can hold. */
  save(): SavedHistory {
    this.#learn();
    const { fuel, ranMs, memoryBytes } = this.#models;
    return {
      version: VERSION,
      rungs: this.#rungs,
      models: { fuel: fuel.save(), ranMs: ranMs.save(), memoryBytes: memoryBytes.save() },
      onTheWay: [...this.#onTheWay],
    };
  }

  /** What `save` made, also after a way through JSON. Throws SHERD_BLOB_DAMAGED when it is something else. */
  static restore(saved: unknown, rungs: number, tuning: RunTuning = TUNING): RunHistory {
    try {
      return RunHistory.#restored(saved as SavedHistory, rungs, tuning);
    } catch (cause) {
      throw new SherdError('SHERD_BLOB_DAMAGED', 'the saved history of programs cannot be used', {
        cause,
        next: 'begin with a new one; it learns again from what comes',
      });
    }
  }

  static #restored(saved: SavedHistory, rungs: number, tuning: RunTuning): RunHistory {
    invariant(saved.version === VERSION, `version ${String(saved.version)} is not ${VERSION}`);
    invariant(saved.rungs === rungs, 'requests with other groups');
    const history = new RunHistory(rungs, tuning);
    for (const quantity of QUANTITIES) history.#models[quantity].take(saved.models[quantity]);
    for (const [id, run] of saved.onTheWay) {
      invariant(Array.isArray(run.request.groups), 'a run without groups');
      history.#keep(id, run);
    }
    return history;
  }

  #forecasts(request: RunRequest, id: string | undefined, sofar: RunNeeds): Expected {
    this.#learn();
    const of = (quantity: Quantity): RunForecast | undefined => {
      const used = usable(sofar[quantity]) ?? 0;
      // Memory that is there may be all that it needs; fuel and time go on.
      const beyond = quantity === 'memoryBytes' ? used * (1 - 1e-12) : used;
      const others = this.#others(request, id, quantity);
      return this.#models[quantity].forecast(request, beyond, others);
    };
    return { fuel: of('fuel'), ranMs: of('ranMs'), memoryBytes: of('memoryBytes') };
  }

  /** What others of the same groups have needed up to now, as whole steps: what is calculated from them holds for a while. */
  #others(request: RunRequest, id: string | undefined, quantity: Quantity): OtherRuns {
    const alike = this.#alike.get(ownGroup(request)) ?? new Set();
    if (alike.size <= (id !== undefined && alike.has(id) ? 1 : 0)) return NO_OTHERS;
    const least = this.#models[quantity].least(request.groups);
    const byGroup = new Map<string, PastRun[]>();
    const said: unknown[] = [];
    let looked = 0;
    for (const other of alike) {
      if (other === id) continue;
      if (++looked > OTHERS_MAX) break;
      const run = this.#onTheWay.get(other);
      const value = wholeSteps(usable(run?.sofar[quantity]) ?? 0);
      if (run === undefined || value <= least) continue;
      said.push(value, run.request.groups, run.request.numbers);
      const past = pastRun(value, false, usableNumbers(run.request.numbers));
      for (const name of new Set(run.request.groups))
        byGroup.set(name, [...(byGroup.get(name) ?? []), past]);
    }
    return said.length === 0 ? NO_OTHERS : { key: JSON.stringify(said), byGroup };
  }

  /** Learns from what ended at the last instant (H2). */
  #learn(): void {
    if (this.#endedNow.length === 0) return;
    const ended = this.#endedNow.sort((a, b) => compare(sortKey(a), sortKey(b)));
    this.#endedNow = [];
    this.#instantMs = Number.NaN;
    const begun = ended.map(({ id }) => this.#onTheWay.get(id));
    for (const { id } of ended) this.#drop(id);
    ended.forEach((run, at) => {
      for (const quantity of QUANTITIES) {
        const value = usable(run.needs[quantity]);
        if (value === undefined) continue;
        const expected = begun[at]?.expected[quantity];
        this.#models[quantity].learn(run.request, value, run.ended, expected);
      }
    });
  }

  #keep(id: string, run: OnTheWay): void {
    this.#drop(id);
    this.#onTheWay.set(id, run);
    const group = ownGroup(run.request);
    const alike = this.#alike.get(group) ?? new Set();
    this.#alike.set(group, alike.add(id));
    if (this.#onTheWay.size <= ON_THE_WAY_MAX) return;
    const oldest = this.#onTheWay.keys().next();
    if (oldest.done === false) this.#drop(oldest.value);
  }

  #drop(id: string): void {
    const run = this.#onTheWay.get(id);
    if (run === undefined) return;
    this.#onTheWay.delete(id);
    const group = ownGroup(run.request);
    const alike = this.#alike.get(group);
    alike?.delete(id);
    if (alike?.size === 0) this.#alike.delete(group);
  }
}

function ownGroup({ groups }: RunRequest): string {
  return groups[Math.min(1, groups.length - 1)] ?? '';
}

/** Undefined when it cannot be a measurement (H5). */
function usable(value: number | undefined): number | undefined {
  return value !== undefined && value >= 0 && value <= MEASURABLE_MAX ? value : undefined;
}

/** Down to a power of the fourth root of 2: it is "at least so much" in any case. */
function wholeSteps(value: number): number {
  return value < 1 ? 0 : 2 ** (Math.floor(Math.log2(value) * STEPS_A_DOUBLING) / STEPS_A_DOUBLING);
}

function lessened(
  forecast: RunForecast | undefined,
  sofar: number | undefined,
): RunForecast | undefined {
  const used = usable(sofar) ?? 0;
  if (forecast === undefined) return undefined;
  const less = (value: number): number => Math.max(0, value - used);
  const { p50, p90, p95, p99, runs } = forecast;
  return { p50: less(p50), p90: less(p90), p95: less(p95), p99: less(p99), runs };
}

/** What a run is, without its name: runs that are equal in it are learned from in either order alike. */
function sortKey({ request, needs, ended, id }: Ended): string {
  const { fuel, ranMs, memoryBytes } = needs;
  return JSON.stringify([request.groups, request.numbers, fuel, ranMs, memoryBytes, ended, id]);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export type { RunQuantiles };
