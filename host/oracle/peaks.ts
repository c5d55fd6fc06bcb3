/**
 * Forecasts of peaks: for many series at once, the maximum within the next K steps, with error bars, and the probability
 * that it reaches a capacity.
 *
 *     learn(history of other series) ─▶ model ─┐
 *                                              ▼
 *     advance(values of one step of all series) ─▶ states ─▶ forecasts ─▶ read(series)
 *                                                    └─ finished windows ─▶ pool ─▶ model, at doubling amounts of them
 *
 * Does: name the series, let them join and leave, decide when the model is fitted anew, save and restore. Does not: calculate
 * (core.wasm does, assembly/core/forecast.ts says how), read a clock or a file.
 *
 * P1  A forecast at step t rests on what was given up to t, by whichever calls; nothing is asked twice.
 * P2  The order in which series are named decides only the order of sums: whoever wants the same bytes names them sorted.
 * P3  A saved state restored gives the same forecasts, bit for bit; a damaged one is refused by its hash.
 * P4  Bounded: `stateBytes` a series, and one pool of past windows for all.
 * P5  Series that join while it runs are kept in the order of their names: who joined first changes nothing.
 */
import {
  FORECAST_VERSION,
  Forecaster,
  type ForecasterOptions,
  type ForecastTrainer,
  type PeakForecast,
} from '../core/forecast.js';
import { joined, lengthOf } from '../core/joined.js';
import { invariant, SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

export type { PeakForecast } from '../core/forecast.js';

/**
 * Live windows at the first fit (with a model from history: later), and by how much their number grows until the next one:
 * less while the pool grows with them, for a fit then sees more (not where fits must be rare, `FIT_POOLS`).
 */
const FIRST_FIT = 600;
const FIRST_FIT_TAUGHT = 800;
const FIT_GROWTH = 1.5;
const FIT_GROWTH_FULL = 2.5;
/** A forecaster that runs for ever is fitted again after so many live windows at the latest, in units of its pool. */
const FIT_POOLS = 4;
/** History of others counts for less the more live windows there are: by half at so many. */
const HISTORY_HALF = 3_000;
const DAY_S = 86_400;
const MAGIC = 'sherd-peaks';

/** One series of a history: values in time order, NaN = missing. */
export interface PastSeries {
  readonly values: Float64Array;
}

/** Of these only `poolRows` must be the same for a saved state; `endsAtTop` is as it was saved. */
export interface PeakOptions extends ForecasterOptions {
  /** It is fitted from outside, piece by piece (`isFitDue`, `beginFit`, `endFit`), and not within `advance`. */
  readonly isFittedOutside?: boolean;
}

interface SavedHead {
  readonly magic: string;
  readonly version: number;
  readonly horizon: number;
  readonly names: readonly string[];
  readonly step: number;
  readonly nextFit: number;
  readonly poolRows: number | null;
  readonly bytes: number;
}

export class PeakOracle {
  readonly #platform: Platform;
  readonly #forecaster: Forecaster;
  readonly #options: PeakOptions;
  readonly horizon: number;
  #names: readonly string[] = [];
  #step = -1;
  #nextFit = FIRST_FIT;
  #isFitted = false;

  /** `horizon`: steps ahead, 1 to 1,000,000. */
  constructor(platform: Platform, horizon: number, options: PeakOptions = {}) {
    this.#platform = platform;
    this.#options = options;
    this.horizon = horizon;
    this.#forecaster = new Forecaster(platform, horizon, options);
  }

  /** The series, by their place in `advance`. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Of the step that was given last; −1 = none yet. */
  get step(): number {
    return this.#step;
  }

  get stateBytes(): number {
    return this.#forecaster.stateBytes;
  }

  /** Learns from whole series of the past, of this or another domain and step. Before `begin`. */
  learn(history: readonly PastSeries[], intervalS: number): void {
    invariant(this.#step < 0, 'history comes before the first step');
    const forecaster = this.#forecaster;
    forecaster.begin(history.length, false, stepsADay(intervalS));
    const steps = history.reduce((most, { values }) => Math.max(most, values.length), 0);
    for (let step = 0; step < steps; step++) {
      history.forEach(({ values }, slot) => {
        if (step < values.length) forecaster.put(slot, values[step]!);
        else forecaster.leave(slot);
      });
      forecaster.observe();
      forecaster.forecast(step, Number.NaN);
    }
    forecaster.begin(0, false, 0);
    this.#isFitted = false;
  }

  /** Names the series that come. */
  begin(names: readonly string[], intervalS: number): void {
    this.#fitHistory();
    this.#names = [...names];
    this.#step = -1;
    this.#forecaster.begin(names.length, true, stepsADay(intervalS));
  }

  /** A series begins, in its place by name (P5), which is given back; the others keep what they know. */
  join(name: string): number {
    const slot = this.#names.findIndex((other) => other >= name);
    invariant(slot < 0 || this.#names[slot] !== name, 'a name of its own');
    const at = slot < 0 ? this.#names.length : slot;
    this.#names = this.#names.toSpliced(at, 0, name);
    this.#forecaster.insert(at);
    return at;
  }

  /** A series ends: nothing of it is kept but its past windows in the pool. */
  leave(name: string): void {
    const slot = this.#names.indexOf(name);
    invariant(slot >= 0, 'a series that has joined');
    this.#names = this.#names.toSpliced(slot, 1);
    this.#forecaster.remove(slot);
  }

  /** Steps that nobody saw: only the time of day goes on. Open windows must be over, by missing steps. */
  skip(steps: number): void {
    this.#step += steps;
  }

  /**
   * Takes in one step of all series (NaN = missing, undefined = it has no step now) and forecasts from there. `isLeast`: values that
   * may have been more, but for the capacity.
   */
  advance(
    values: readonly (number | undefined)[],
    capacity = Number.NaN,
    isLeast?: readonly boolean[],
  ): void {
    invariant(values.length === this.#names.length, 'one value a series');
    const forecaster = this.#forecaster;
    values.forEach((value, slot) => {
      if (value === undefined) forecaster.leave(slot);
      else forecaster.put(slot, value, isLeast?.[slot] ?? false);
    });
    this.#step++;
    forecaster.observe();
    if (this.#options.isFittedOutside !== true && this.isFitDue) this.#fitLive();
    forecaster.forecast(this.#step, capacity);
  }

  /** There is a model: before that forecasts are wide bands by rule. */
  get isReady(): boolean {
    return this.#forecaster.isReady;
  }

  /** Enough windows have come since the last fit. */
  get isFitDue(): boolean {
    return this.#forecaster.offered >= this.#nextFit;
  }

  /** Begins to fit with this trainer. False: there is too little to learn from. */
  beginFit(trainer: ForecastTrainer): boolean {
    const began = trainer.begin(this.#forecaster, this.#historyWeight);
    if (!began) this.#fitted(this.#forecaster.offered);
    return began;
  }

  /** Takes the trainer's model. */
  endFit(trainer: ForecastTrainer): void {
    trainer.give(this.#forecaster);
    this.#fitted(this.#forecaster.offered);
  }

  /** Begins with another's model, of the same horizon in steps: what is learned is in units of each series' own steps. */
  inherit(from: PeakOracle): void {
    invariant(from.horizon === this.horizon, 'the same number of steps');
    const { bytes, trees } = from.#forecaster.model;
    this.#forecaster.adopt(bytes, trees);
  }

  /** The forecast of a series that had a step. */
  read(slot: number, target: PeakForecast): void {
    this.#forecaster.read(slot, target);
  }

  /** All its quantiles (FORECAST_LEVELS). */
  readLevels(slot: number, target: Float64Array): void {
    this.#forecaster.readLevels(slot, target);
  }

  #fitHistory(): void {
    if (this.#isFitted) return;
    if (this.#forecaster.train(1)) this.#nextFit = FIRST_FIT_TAUGHT;
    this.#isFitted = true;
  }

  #fitLive(): void {
    this.#forecaster.train(this.#historyWeight);
    const growth = this.#forecaster.isFull ? FIT_GROWTH_FULL : FIT_GROWTH;
    this.#nextFit = Math.ceil(this.#forecaster.offered * growth);
  }

  get #historyWeight(): number {
    return HISTORY_HALF / (HISTORY_HALF + this.#forecaster.offered);
  }

  #fitted(offered: number): void {
    const most = FIT_POOLS * (this.#options.poolRows ?? Number.POSITIVE_INFINITY);
    this.#nextFit = Math.ceil(Math.min(offered * FIT_GROWTH_FULL, offered + most));
  }

  /** Everything, neither packed nor checked (the owner does that), in pieces to be copied at once. Not while it is being fitted. */
  snapshot(): readonly Uint8Array[] {
    const body = this.#forecaster.save();
    return [this.#head(lengthOf(body)), ...body];
  }

  /** What `snapshot` gave, behind each other. Throws SHERD_BLOB_DAMAGED when it is of another version, or no snapshot. */
  static fromSnapshot(platform: Platform, saved: Uint8Array, options: PeakOptions): PeakOracle {
    const headEnd = saved.indexOf(10) + 1;
    return PeakOracle.#of(
      platform,
      headOf(saved.subarray(0, headEnd)),
      saved.subarray(headEnd),
      options,
    );
  }

  /** A line. */
  #head(bytes: number): Uint8Array {
    const head: SavedHead = {
      magic: MAGIC,
      version: FORECAST_VERSION,
      horizon: this.horizon,
      names: this.#names,
      step: this.#step,
      nextFit: this.#nextFit,
      poolRows: this.#options.poolRows ?? null,
      bytes,
    };
    return new TextEncoder().encode(`${JSON.stringify(head)}\n`);
  }

  /** Everything, as bytes: head, deflated body, hash of both. */
  save(): Uint8Array {
    const body = joined(this.#forecaster.save());
    const text = this.#head(body.length);
    const content = joined([text, this.#platform.deflate(body, 1)]);
    const hash = new TextEncoder().encode(`${this.#platform.sha256(content)}\n`);
    return joined([hash, content]);
  }

  /** What `save` made. Throws SHERD_BLOB_DAMAGED when it was not made so, or was changed since. */
  static restore(platform: Platform, saved: Uint8Array): PeakOracle {
    const hashEnd = saved.indexOf(10) + 1;
    const content = saved.subarray(hashEnd);
    const hash = new TextDecoder().decode(saved.subarray(0, Math.max(0, hashEnd - 1)));
    if (hashEnd === 0 || platform.sha256(content) !== hash) throw damaged('its hash is another');
    const headEnd = content.indexOf(10) + 1;
    const head = headOf(content.subarray(0, headEnd));
    const body = platform.inflate(content.subarray(headEnd), head.bytes);
    return PeakOracle.#of(platform, head, body);
  }

  static #of(
    platform: Platform,
    head: SavedHead,
    body: Uint8Array | undefined,
    options: PeakOptions = head.poolRows === null ? {} : { poolRows: head.poolRows },
  ): PeakOracle {
    if (body?.length !== head.bytes) throw damaged('its size is wrong');
    if (head.poolRows !== (options.poolRows ?? null)) throw damaged('its pool has another size');
    const oracle = new PeakOracle(platform, head.horizon, options);
    if (!oracle.#forecaster.restore(body)) throw damaged('its size is wrong');
    oracle.#names = head.names;
    oracle.#step = head.step;
    oracle.#nextFit = head.nextFit;
    oracle.#isFitted = true;
    return oracle;
  }
}

function headOf(line: Uint8Array): SavedHead {
  let head: SavedHead;
  try {
    head = JSON.parse(new TextDecoder().decode(line)) as SavedHead;
  } catch {
    throw damaged('it has no head');
  }
  if (head.magic !== MAGIC) throw damaged('it is something else');
  if (head.version !== FORECAST_VERSION)
    throw damaged(`it is of version ${head.version}, this is version ${FORECAST_VERSION}`);
  return head;
}

/** Whole steps of a day; 0 when a day has fewer than two, or steps that do not fit. */
function stepsADay(intervalS: number): number {
  const steps = Math.round(DAY_S / intervalS);
  return Number.isFinite(steps) && steps >= 2 && steps <= 2 ** 24 ? steps : 0;
}

function damaged(why: string): SherdError {
  return new SherdError('SHERD_BLOB_DAMAGED', `the saved forecaster cannot be used: ${why}`, {
    next: 'begin with a new one; it learns again from what comes',
  });
}
