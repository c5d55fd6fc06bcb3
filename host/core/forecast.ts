/**
 * The forecaster of core.wasm, typed: an instance of its own, for it keeps states.
 *
 * Does: instantiate, grow the memory with the number of series, hand a step of values in and its forecasts out, fit the model at
 * once or piece by piece, save and restore all of it as bytes. Does not: know names (host/oracle/peaks.ts does), files or time.
 *
 *     STATES ┌──────────────┬──────────────┬──        a state has at `inputAt`:  f64 value · i32 present · i32 at least ·
 *            │ state 0      │ state 1      │ …                                  f64 P50 · P90 · P99 · probability
 *            └──────────────┴──────────────┴──        and at `levelsAt`:         f32 × 8 quantiles
 *
 *     saved  │ head, model │ rows in use: features │ outcomes │ weights │ origins │ states │
 *
 * C1  Same calls, same bytes: nothing here is random, and the module's arithmetic is IEEE's.
 * C2  `restore` takes what `save` gave, of the same version and horizon; the caller checks that it is undamaged.
 * C3  Fitting piece by piece goes on in an instance of its own (ForecastTrainer), over a copy of the pool: the forecaster goes on
 *     forecasting meanwhile, with the old model, and gets the new one at the end.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { invariant } from '../types/errors.js';
import type { Platform } from '../types/platform.js';

/** Increased when the layout of the saved bytes or what they mean changes. */
export const FORECAST_VERSION = 6;
/** Quantile levels that the model has, ascending; P50, P90 and P99 are among them. */
export const FORECAST_LEVELS: readonly number[] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99];
const WASM_PAGE_BYTES = 65_536;
const SEED = 0x5e4d;

/** Where the head keeps the number of rows in the pool, and of trees in the model; a 1 when there is a model. */
const ROWS_AT = 8;
const TREES_AT = 12;
const READY_AT = 24;

/** The module's exports (assembly/core/forecast.ts, forecast-train.ts). Addresses above 2 GiB come out negative. */
interface ForecastExports extends WebAssembly.Exports {
  readonly memory: WebAssembly.Memory;
  forecastStates(): number;
  forecastStateBytes(): number;
  forecastInputAt(): number;
  forecastLevelsAt(): number;
  forecastModelAt(): number;
  forecastPoolAt(): number;
  forecastPoolRows(): number;
  forecastRowBytes(): number;
  forecastReady(): number;
  forecastIsFull(): number;
  forecastRows(): number;
  forecastLimit(rows: number): void;
  forecastEndAtTop(): void;
  forecastOffered(): number;
  forecastBegin(horizon: number, seed: number): void;
  forecastStream(live: number, period: number): void;
  forecastClear(slot: number): void;
  forecastObserve(slots: number): void;
  forecastAll(slots: number, step: number, capacity: number): void;
  forecastTrain(historyWeight: number): number;
  forecastTrainBegin(historyWeight: number): number;
  forecastTrainStep(): number;
}

/** Quantiles of the maximum within the horizon, and the probability that it reaches the capacity (NaN: none was given). */
export interface PeakForecast {
  p50: number;
  p90: number;
  p99: number;
  contention: number;
}

export interface ForecasterOptions {
  /** Past windows that are kept at most, a power of two; absent: 65,536. */
  readonly poolRows?: number;
  /** Quantiles end near the highest value of the stream (F7 of assembly/core/forecast.ts). It is a part of what is saved. */
  readonly endsAtTop?: boolean;
}

function instanceOf(platform: Platform): ForecastExports {
  return instantiateSync(platform.coreModule(), {}).instance.exports as ForecastExports;
}

/** Grows the memory to at least so many bytes. True: it grew, and views of it are void. */
function reserve(memory: WebAssembly.Memory, bytes: number): boolean {
  const missing = Math.ceil((bytes - memory.buffer.byteLength) / WASM_PAGE_BYTES);
  if (missing > 0) memory.grow(missing);
  return missing > 0;
}

/** The four parts of the pool, up to this number of rows: address and length of each. */
function poolParts(core: ForecastExports, rows: number): [at: number, bytes: number][] {
  const most = core.forecastPoolRows();
  let at = core.forecastPoolAt();
  return [core.forecastRowBytes(), 4, 4, 1].map((size) => {
    const part: [number, number] = [at, rows * size];
    at += most * size;
    return part;
  });
}

export class Forecaster {
  readonly #core: ForecastExports;
  readonly #stateBytes: number;
  readonly #statesAt: number;
  readonly #inputAt: number;
  readonly #levelsAt: number;
  #slots = 0;
  #view: DataView;
  #doubles: Float64Array;

  /** `horizon`: steps, 1 to 1,000,000. */
  constructor(
    platform: Platform,
    horizon: number,
    { poolRows, endsAtTop = false }: ForecasterOptions = {},
  ) {
    invariant(Number.isInteger(horizon) && horizon >= 1 && horizon <= 1e6, 'a horizon of 1 to 1e6');
    this.#core = instanceOf(platform);
    this.#stateBytes = this.#core.forecastStateBytes();
    this.#statesAt = this.#core.forecastStates();
    this.#inputAt = this.#core.forecastInputAt();
    this.#levelsAt = this.#core.forecastLevelsAt();
    this.#view = new DataView(this.#core.memory.buffer);
    this.#doubles = new Float64Array(this.#core.memory.buffer);
    this.#reserve(this.#statesAt);
    this.#core.forecastBegin(horizon, SEED);
    if (endsAtTop) this.#core.forecastEndAtTop();
    if (poolRows === undefined) return;
    const most = this.#core.forecastPoolRows();
    invariant(poolRows > 0 && most % poolRows === 0, 'a power of two that the pool can hold');
    this.#core.forecastLimit(poolRows);
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

  /** There is a model; before that the forecasts are wide bands by rule. */
  get isReady(): boolean {
    return this.#core.forecastReady() !== 0;
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

  /** Room for one more series at this place: those from there on move up. */
  insert(slot: number): void {
    this.resize(this.#slots + 1);
    this.#bytes.copyWithin(this.#state(slot + 1), this.#state(slot), this.#state(this.#slots - 1));
    this.#core.forecastClear(slot);
  }

  /** The series at this place goes: those after it move down. */
  remove(slot: number): void {
    this.#bytes.copyWithin(this.#state(slot), this.#state(slot + 1), this.#state(this.#slots));
    this.resize(this.#slots - 1);
  }

  /** The value of a series at this step; NaN = missing. `isLeast`: it may have been more, the capacity cut it off. */
  put(slot: number, value: number, isLeast = false): void {
    const at = this.#at(slot);
    this.#doubles[at >> 3] = value;
    this.#view.setInt32(at + 8, 1, true);
    this.#view.setInt32(at + 12, isLeast ? 1 : 0, true);
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

  /** All quantiles, as they are given (F7), of what `forecast` said of a series (FORECAST_LEVELS), into `target`. */
  readLevels(slot: number, target: Float64Array): void {
    const at = this.#state(slot) + this.#levelsAt;
    for (let k = 0; k < FORECAST_LEVELS.length; k++)
      target[k] = this.#view.getFloat32(at + 4 * k, true);
  }

  /** Fits the model anew; history of other series counts `historyWeight` as much as live windows. False: too little data. */
  train(historyWeight: number): boolean {
    return this.#core.forecastTrain(historyWeight) !== 0;
  }

  /** The model and what it was fitted to, for a trainer (C3). */
  lend(): { readonly memory: Uint8Array; readonly rows: number } {
    return { memory: this.#bytes, rows: this.rows };
  }

  /** Takes over a model: its bytes, and how many trees it has. */
  adopt(model: Uint8Array, trees: number): void {
    this.#bytes.set(model, this.#core.forecastModelAt());
    this.#view.setInt32(TREES_AT, trees, true);
    this.#view.setInt32(READY_AT, 1, true);
  }

  /** The model as it is, for `adopt` of another forecaster with the same horizon. */
  get model(): { readonly bytes: Uint8Array; readonly trees: number } {
    return modelIn(this.#core);
  }

  /** Head, model, rows of the pool and states, as they are: views of them, to be copied at once. */
  save(): readonly Uint8Array[] {
    const bytes = this.#bytes;
    return this.#savedParts(this.rows, this.#slots).map(([at, length]) =>
      bytes.subarray(at, at + length),
    );
  }

  /** Puts back what `save` gave, behind each other, into a forecaster that has taken in nothing. False when the size cannot be right. */
  restore(saved: Uint8Array): boolean {
    if (saved.length < this.#core.forecastPoolAt()) return false;
    const rows = new DataView(saved.buffer, saved.byteOffset).getInt32(ROWS_AT, true);
    if (rows < 0 || rows > this.#core.forecastPoolRows()) return false;
    const fixed = this.#savedParts(rows, 0).reduce((sum, [, length]) => sum + length, 0);
    const slots = (saved.length - fixed) / this.#stateBytes;
    if (!Number.isInteger(slots) || slots < 0) return false;
    this.#reserve(this.#statesAt + slots * this.#stateBytes);
    this.#slots = slots;
    let from = 0;
    for (const [at, length] of this.#savedParts(rows, slots)) {
      this.#bytes.set(saved.subarray(from, from + length), at);
      from += length;
    }
    return true;
  }

  #savedParts(rows: number, slots: number): [at: number, bytes: number][] {
    return [
      [0, this.#core.forecastPoolAt()],
      ...poolParts(this.#core, rows),
      [this.#statesAt, slots * this.#stateBytes],
    ];
  }

  get #bytes(): Uint8Array {
    return new Uint8Array(this.#core.memory.buffer);
  }

  #state(slot: number): number {
    return this.#statesAt + slot * this.#stateBytes;
  }

  #at(slot: number): number {
    return this.#state(slot) + this.#inputAt;
  }

  #reserve(bytes: number): void {
    const { memory } = this.#core;
    if (!reserve(memory, bytes)) return;
    this.#view = new DataView(memory.buffer);
    this.#doubles = new Float64Array(memory.buffer);
  }
}

function modelIn(core: ForecastExports): { readonly bytes: Uint8Array; readonly trees: number } {
  const { buffer } = core.memory;
  const bytes = new Uint8Array(buffer).slice(core.forecastModelAt(), core.forecastPoolAt());
  return { bytes, trees: new DataView(buffer).getInt32(TREES_AT, true) };
}

/** Fits models piece by piece, one after another, for any number of forecasters (C3). */
export class ForecastTrainer {
  readonly #core: ForecastExports;
  #isUnderWay = false;

  constructor(platform: Platform) {
    this.#core = instanceOf(platform);
    reserve(this.#core.memory, this.#core.forecastStates());
  }

  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** Copies the pool and begins. False: there is too little in it. */
  begin(forecaster: Forecaster, historyWeight: number): boolean {
    const { memory, rows } = forecaster.lend();
    const own = new Uint8Array(this.#core.memory.buffer);
    own.set(memory.subarray(0, this.#core.forecastPoolAt()));
    for (const [at, length] of poolParts(this.#core, rows))
      own.set(memory.subarray(at, at + length), at);
    this.#isUnderWay = this.#core.forecastTrainBegin(historyWeight) !== 0;
    return this.#isUnderWay;
  }

  /** One piece: a few microseconds a row of the pool at most. True: the model is there, `give` it. */
  step(): boolean {
    invariant(this.#isUnderWay, 'a training that was begun');
    this.#isUnderWay = this.#core.forecastTrainStep() !== 0;
    return !this.#isUnderWay;
  }

  /** Drops what was begun. */
  cancel(): void {
    this.#isUnderWay = false;
  }

  give(forecaster: Forecaster): void {
    const { bytes, trees } = modelIn(this.#core);
    forecaster.adopt(bytes, trees);
  }
}
