/**
 * Forecasts of peaks: for many series at once, the maximum within the next K steps, with error bars, and the probability
 * that it reaches a capacity.
 *
 *     learn(history of other series) ─▶ model ─┐
 *                                              ▼
 *     advance(values of one step of all series) ─▶ states ─▶ forecasts ─▶ read(series)
 *                                                    └─ finished windows ─▶ pool ─▶ model, at doubling amounts of them
 *
 * Does: name the series, decide when the model is fitted anew, save and restore. Does not: calculate (core.wasm does,
 * assembly/core/forecast.ts says how), read a clock or a file.
 *
 * P1  A forecast at step t rests on what was given up to t, by whichever calls; nothing is asked twice.
 * P2  The order in which series are named decides only the order of sums: whoever wants the same bytes names them sorted.
 * P3  A saved state restored gives the same forecasts, bit for bit; a damaged one is refused by its hash.
 * P4  Bounded: `stateBytes` a series, and one pool of past windows for all.
 */
import { FORECAST_VERSION, Forecaster, type PeakForecast } from '../core/forecast.js';
import { invariant, SherdError } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

export type { PeakForecast } from '../core/forecast.js';

/**
 * Live windows at the first fit (with a model from history: later), and by how much their number grows until the next one:
 * less while the pool grows with them, for a fit then sees more.
 */
const FIRST_FIT = 600;
const FIRST_FIT_TAUGHT = 2_000;
const FIT_GROWTH = 1.5;
const FIT_GROWTH_FULL = 2.5;
/** History of others counts for less the more live windows there are: by half at so many. */
const HISTORY_HALF = 8_000;
const DAY_S = 86_400;
const MAGIC = 'sherd-peaks';

/** One series of a history: values in time order, NaN = missing. */
export interface PastSeries {
  readonly values: Float64Array;
}

interface SavedHead {
  readonly magic: string;
  readonly version: number;
  readonly horizon: number;
  readonly names: readonly string[];
  readonly step: number;
  readonly nextFit: number;
  readonly bytes: number;
}

export class PeakOracle {
  readonly #platform: Platform;
  readonly #forecaster: Forecaster;
  readonly horizon: number;
  #names: readonly string[] = [];
  #step = -1;
  #nextFit = FIRST_FIT;
  #isFitted = false;

  /** `horizon`: steps ahead, 1 to 1,000,000. */
  constructor(platform: Platform, horizon: number) {
    this.#platform = platform;
    this.horizon = horizon;
    this.#forecaster = new Forecaster(platform, horizon);
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

  /** Takes in one step of all series (NaN = missing, undefined = it has no step now) and forecasts from there. */
  advance(values: readonly (number | undefined)[], capacity = Number.NaN): void {
    invariant(values.length === this.#names.length, 'one value a series');
    const forecaster = this.#forecaster;
    values.forEach((value, slot) => {
      if (value === undefined) forecaster.leave(slot);
      else forecaster.put(slot, value);
    });
    this.#step++;
    forecaster.observe();
    this.#fitLive();
    forecaster.forecast(this.#step, capacity);
  }

  /** The forecast of a series that had a step. */
  read(slot: number, target: PeakForecast): void {
    this.#forecaster.read(slot, target);
  }

  #fitHistory(): void {
    if (this.#isFitted) return;
    if (this.#forecaster.train(1)) this.#nextFit = FIRST_FIT_TAUGHT;
    this.#isFitted = true;
  }

  #fitLive(): void {
    const offered = this.#forecaster.offered;
    if (offered < this.#nextFit) return;
    this.#forecaster.train(HISTORY_HALF / (HISTORY_HALF + offered));
    const growth = this.#forecaster.isFull ? FIT_GROWTH_FULL : FIT_GROWTH;
    this.#nextFit = Math.ceil(offered * growth);
  }

  /** Everything, as bytes: head, deflated body, hash of both. */
  save(): Uint8Array {
    const body = this.#forecaster.save();
    const head: SavedHead = {
      magic: MAGIC,
      version: FORECAST_VERSION,
      horizon: this.horizon,
      names: this.#names,
      step: this.#step,
      nextFit: this.#nextFit,
      bytes: body.length,
    };
    const text = new TextEncoder().encode(`${JSON.stringify(head)}\n`);
    const packed = this.#platform.deflate(body, 1);
    const content = new Uint8Array(text.length + packed.length);
    content.set(text);
    content.set(packed, text.length);
    const hash = new TextEncoder().encode(`${this.#platform.sha256(content)}\n`);
    const saved = new Uint8Array(hash.length + content.length);
    saved.set(hash);
    saved.set(content, hash.length);
    return saved;
  }

  /** What `save` made. Throws SHERD_BLOB_DAMAGED when it was not made so, or was changed since. */
  static restore(platform: Platform, saved: Uint8Array): PeakOracle {
    const hashEnd = saved.indexOf(10) + 1;
    const content = saved.subarray(hashEnd);
    const hash = new TextDecoder().decode(saved.subarray(0, Math.max(0, hashEnd - 1)));
    if (hashEnd === 0 || platform.sha256(content) !== hash) throw damaged('its hash is another');
    const headEnd = content.indexOf(10) + 1;
    const head = JSON.parse(new TextDecoder().decode(content.subarray(0, headEnd))) as SavedHead;
    if (head.magic !== MAGIC) throw damaged('it is something else');
    if (head.version !== FORECAST_VERSION) {
      throw damaged(`it is of version ${head.version}, this is version ${FORECAST_VERSION}`);
    }
    const body = platform.inflate(content.subarray(headEnd), head.bytes);
    const oracle = new PeakOracle(platform, head.horizon);
    if (body === undefined || !oracle.#forecaster.restore(body)) throw damaged('its size is wrong');
    oracle.#names = head.names;
    oracle.#step = head.step;
    oracle.#nextFit = head.nextFit;
    oracle.#isFitted = true;
    return oracle;
  }
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
