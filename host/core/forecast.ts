/**
 * The forecaster of core.wasm, typed: an instance of its own, for it keeps states.
 *
 * Does: instantiate, grow the memory with the number of series, hand a step of values in and its forecasts out, save and
 * restore all of it as bytes. Does not: know names (host/oracle/pool.ts does), files or time.
 *
 *     STATES ┌──────────────┬──────────────┬──        a state has at `inputAt`:  f64 value · i32 present · pad ·
 *            │ state 0      │ state 1      │ …                                  f64 P50 · P90 · P99 · probability
 *            └──────────────┴──────────────┴──
 *
 * C1  Same calls, same bytes: nothing here is random, and the module's arithmetic is IEEE's.
 * C2  `restore` takes what `save` gave, of the same version and horizon; the caller checks that it is undamaged.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

/** Increased when the layout of the saved bytes or what they mean changes. */
export const FORECAST_VERSION = 2;
const WASM_PAGE_BYTES = 65_536;
const SEED = 0x5e4d;

/** The module's exports (assembly/core/forecast.ts, forecast-train.ts). Addresses above 2 GiB come out negative. */
interface ForecastExports extends WebAssembly.Exports {
  readonly memory: WebAssembly.Memory;
  forecastStates(): number;
  forecastStateBytes(): number;
  forecastInputAt(): number;
  forecastSavedBytes(): number;
  forecastIsFull(): number;
  forecastRows(): number;
  forecastOffered(): number;
  forecastBegin(horizon: number, seed: number): void;
  forecastStream(live: number, period: number): void;
  forecastClear(slot: number): void;
  forecastObserve(slots: number): void;
  forecastAll(slots: number, step: number, capacity: number): void;
  forecastTrain(historyWeight: number): number;
}

/** Quantiles of the maximum within the horizon, and the probability that it reaches the capacity (NaN: none was given). */
export interface PeakForecast {
  p50: number;
  p90: number;
  p99: number;
  contention: number;
}

export class Forecaster {
  readonly #core: ForecastExports;
  readonly #stateBytes: number;
  readonly #statesAt: number;
  readonly #inputAt: number;
  #slots = 0;
  #view: DataView;
  #doubles: Float64Array;

  /** `horizon`: steps, 1 to 1,000,000. */
  constructor(platform: Platform, horizon: number) {
    invariant(Number.isInteger(horizon) && horizon >= 1 && horizon <= 1e6, 'a horizon of 1 to 1e6');
    this.#core = instantiateSync(platform.coreModule(), {}).instance.exports as ForecastExports;
    this.#stateBytes = this.#core.forecastStateBytes();
    this.#statesAt = this.#core.forecastStates();
    this.#inputAt = this.#core.forecastInputAt();
    this.#view = new DataView(this.#core.memory.buffer);
    this.#doubles = new Float64Array(this.#core.memory.buffer);
    this.#reserve(this.#statesAt);
    this.#core.forecastBegin(horizon, SEED);
  }

  /** Bytes of the state of one series. */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  /** Past windows in the pool. */
  get rows(): number {
    return this.#core.forecastRows();
  }

  /** The pool has as many as it takes. */
  get isFull(): boolean {
    return this.#core.forecastIsFull() !== 0;
  }

  /** Past windows of live series so far. */
  get offered(): number {
    return this.#core.forecastOffered();
  }

  get slots(): number {
    return this.#slots;
  }

  /** Begins a stream of series: `slots` of them, all unknown. */
  begin(slots: number, live: boolean, stepsADay: number): void {
    this.resize(0);
    this.resize(slots);
    this.#core.forecastStream(live ? 1 : 0, stepsADay);
  }

  /** More series (unknown yet), or fewer (the last ones go). */
  resize(slots: number): void {
    this.#reserve(this.#statesAt + slots * this.#stateBytes);
    for (let slot = this.#slots; slot < slots; slot++) this.#core.forecastClear(slot);
    this.#slots = slots;
  }

  /** The value of a series at this step; NaN = missing. */
  put(slot: number, value: number): void {
    const at = this.#at(slot);
    this.#doubles[at >> 3] = value;
    this.#view.setInt32(at + 8, 1, true);
  }

  /** The series has no step now: it has ended, or not begun. */
  leave(slot: number): void {
    this.#view.setInt32(this.#at(slot) + 8, 0, true);
  }

  /** Takes in the step that was put. */
  observe(): void {
    this.#core.forecastObserve(this.#slots);
  }

  /** Forecasts for all series with a step now; `capacity` NaN = no probability is asked for. */
  forecast(step: number, capacity: number): void {
    this.#core.forecastAll(this.#slots, step, capacity);
  }

  /** What `forecast` said of a series, into `target`. */
  read(slot: number, target: PeakForecast): void {
    const at = (this.#at(slot) + 16) >> 3;
    target.p50 = this.#doubles[at]!;
    target.p90 = this.#doubles[at + 1]!;
    target.p99 = this.#doubles[at + 2]!;
    target.contention = this.#doubles[at + 3]!;
  }

  /** Fits the model anew; history of other series counts `historyWeight` as much as live windows. False: too little data. */
  train(historyWeight: number): boolean {
    return this.#core.forecastTrain(historyWeight) !== 0;
  }

  /** Head, model, pool and states, as they are. */
  save(): Uint8Array {
    const bytes = new Uint8Array(this.#core.memory.buffer);
    const fixed = this.#core.forecastSavedBytes();
    const states = this.#slots * this.#stateBytes;
    const saved = new Uint8Array(fixed + states);
    saved.set(bytes.subarray(0, fixed));
    saved.set(bytes.subarray(this.#statesAt, this.#statesAt + states), fixed);
    return saved;
  }

  /** Puts back what `save` gave. False when the size cannot be right. */
  restore(saved: Uint8Array): boolean {
    const fixed = this.#core.forecastSavedBytes();
    const slots = (saved.length - fixed) / this.#stateBytes;
    if (!Number.isInteger(slots) || slots < 0) return false;
    this.#reserve(this.#statesAt + slots * this.#stateBytes);
    this.#slots = slots;
    const bytes = new Uint8Array(this.#core.memory.buffer);
    bytes.set(saved.subarray(0, fixed));
    bytes.set(saved.subarray(fixed), this.#statesAt);
    return true;
  }

  #at(slot: number): number {
    return this.#statesAt + slot * this.#stateBytes + this.#inputAt;
  }

  #reserve(bytes: number): void {
    const { memory } = this.#core;
    const missing = Math.ceil((bytes - memory.buffer.byteLength) / WASM_PAGE_BYTES);
    if (missing > 0) {
      memory.grow(missing);
      this.#view = new DataView(memory.buffer);
      this.#doubles = new Float64Array(memory.buffer);
    }
  }
}
