/**
 * One rung of the ladder: all series in steps of one length, the forecasters over them, their scores.
 *
 *     cells (CELL_MS) ──maximum of `cells` of them──▶ step ─┬─▶ windows: simple forecasters, losses ──▶ score of the kind
 *                                                           └─▶ PeakOracle: the model, over all series ──┘
 *     levels(series) ◀── of whoever the score says answers
 *
 * Does: end steps, hand out the answer. Does not: know time (live.ts), or fit the model (live.ts does, piece by piece).
 *
 * G1  A step's value is the highest of its cells, so every rung speaks of the same thing: the maximum of cells within its window.
 * G2  The model's quantiles have no end near the highest value so far (F7 of assembly/core/forecast.ts says why): they come as they
 *     are, so that the slope of their tail is its own.
 * G3  Series are at the same places here and in the PeakOracle, in the order of their names.
 */
import type { Platform } from '../types/platform.js';
import { type Levels, newLevels, withTails } from './levels.js';
import { bytesOf, type Numbers, oracleDamaged, unpackNumbers } from './packed.js';
import { PeakOracle } from './peaks.js';
import { CELL_MS, type Cell } from './resample.js';
import { Score, type ScoreView } from './score.js';
import { FORECASTERS, type ForecasterName, MODEL, WINDOW_STEPS, Windows } from './simple.js';

/** What a series measures; each kind has a score of its own. */
export const KINDS = ['cpu', 'memory', 'network'] as const;
export type Kind = (typeof KINDS)[number];

const POOL = { poolRows: 4_096, isFittedOutside: true, endsAtTop: false } as const;
const DAY_MS = 86_400_000;
/** Windows of its own from which on a simple forecaster of a series is asked, and not its newest samples. */
const CLOSED_MIN = 30;

interface RungSeries {
  readonly kind: Kind;
  readonly windows: Windows;
  /** What the model said last. */
  readonly said: Levels;
  /** Highest cell of the step so far, NaN = none; 1 = one of them was "at least"; 1 = the model has said something. */
  readonly open: Float64Array;
}

export interface RungView {
  readonly windowMs: number;
  readonly kind: Kind;
  readonly series: number;
  readonly score: ScoreView;
}

export class Rung {
  readonly cells: number;
  readonly stepMs: number;
  readonly windowMs: number;
  readonly #stepsADay: number;
  readonly #series: RungSeries[] = [];
  readonly #scores = KINDS.map(() => new Score());
  readonly #platform: Platform | undefined;
  #peaks: PeakOracle | undefined;

  /** `cells` a step. Without a platform there is no model. */
  constructor(cells: number, platform: Platform | undefined) {
    this.cells = cells;
    this.stepMs = cells * CELL_MS;
    this.windowMs = this.stepMs * WINDOW_STEPS;
    this.#stepsADay = DAY_MS / this.stepMs;
    this.#platform = platform;
  }

  /** The model; undefined without a platform, or before the first step. */
  get peaks(): PeakOracle | undefined {
    return this.#peaks;
  }

  join(at: number, name: string, kind: Kind): void {
    const windows = new Windows(this.#stepsADay);
    const one = { kind, windows, said: newLevels(), open: Float64Array.of(Number.NaN, 0, 0) };
    this.#series.splice(at, 0, one);
    this.#peaks?.join(name);
  }

  leave(at: number, name: string): void {
    this.#series.splice(at, 1);
    this.#peaks?.leave(name);
  }

  add(at: number, { value, isLeast }: Cell): void {
    if (Number.isNaN(value)) return;
    const { open } = this.#series[at]!;
    open[0] = Number.isNaN(open[0]!) ? value : Math.max(open[0]!, value);
    if (isLeast) open[1] = 1;
  }

  /** Ends a step of all series. `names`: of the series, in their order. */
  endStep(step: number, names: readonly string[]): void {
    const values = this.#series.map(({ open }) => open[0]!);
    const isLeast = this.#series.map(({ open }) => open[1] === 1);
    this.#series.forEach(({ kind, windows, open }, at) => {
      const score = this.#scores[KINDS.indexOf(kind)]!;
      windows.take(step, values[at]!, isLeast[at]!, (losses) => score.add(losses));
      open[0] = Number.NaN;
      open[1] = 0;
    });
    const model = this.#advance(values, isLeast, names);
    this.#series.forEach(({ windows, said, open }, at) => {
      const isSaid = model !== undefined && windows.hasBegun;
      if (isSaid) {
        model.readLevels(at, said);
        withTails(said);
        open[2] = 1;
      }
      windows.open(step, values[at]!, isSaid ? said : undefined);
    });
    for (const score of this.#scores) score.step();
  }

  /** The model, with this step in it; undefined: there is none yet. */
  #advance(
    values: readonly number[],
    isLeast: readonly boolean[],
    names: readonly string[],
  ): PeakOracle | undefined {
    if (this.#platform === undefined) return undefined;
    if (this.#peaks === undefined) {
      this.#peaks = new PeakOracle(this.#platform, WINDOW_STEPS, POOL);
      this.#peaks.begin(names, this.stepMs / 1_000);
    }
    this.#peaks.advance(values, Number.NaN, isLeast);
    return this.#peaks.isReady ? this.#peaks : undefined;
  }

  /** Steps that nobody saw, from this one on; whatever was open is over (WINDOW_STEPS missing steps came before). */
  skip(step: number, steps: number): void {
    for (const { windows } of this.#series) windows.skip(step, steps);
    // Only the time of day and the rhythm of the windows matter to the model.
    this.#peaks?.skip(steps % (this.#stepsADay * 2));
  }

  /** What the series' answering forecaster says; undefined: it knows too little of the series, ask its newest samples. */
  answer(at: number, target: Levels): ForecasterName | undefined {
    const { kind, windows, said, open } = this.#series[at]!;
    const { answers } = this.#scores[KINDS.indexOf(kind)]!;
    if (answers === MODEL) {
      if (open[2] === 0) return undefined;
      target.set(said);
      return FORECASTERS[MODEL];
    }
    if (windows.closed < CLOSED_MIN) return undefined;
    // A new series may have no day yet.
    const forecaster = windows.simple(answers, target) ? answers : 0;
    if (forecaster !== answers) windows.simple(0, target);
    return FORECASTERS[forecaster];
  }

  /** Bands of this kind are to be wider by this factor. */
  wide(kind: Kind): number {
    return this.#scores[KINDS.indexOf(kind)]!.wide;
  }

  /** The scores of the kinds of which there is a series. */
  get views(): readonly RungView[] {
    return KINDS.flatMap((kind, k) => {
      const series = this.#series.filter((one) => one.kind === kind).length;
      const { windowMs } = this;
      return series === 0 ? [] : [{ windowMs, kind, series, score: this.#scores[k]!.view }];
    });
  }

  /** The model (nothing: none), then all else, in pieces to be copied at once. */
  save(): readonly [model: readonly Uint8Array[], rest: readonly Uint8Array[]] {
    return [this.#peaks?.snapshot() ?? [], bytesOf(this.#numbers)];
  }

  /** What `save` gave, into a rung whose series have joined. Throws SHERD_BLOB_DAMAGED when it cannot be. */
  load(peaks: Uint8Array, numbers: Uint8Array): void {
    unpackNumbers(numbers, this.#numbers);
    for (const { windows } of this.#series) windows.loaded();
    if (peaks.length === 0 || this.#platform === undefined) return;
    this.#peaks = PeakOracle.fromSnapshot(this.#platform, peaks, POOL);
    if (this.#peaks.names.length !== this.#series.length)
      throw oracleDamaged('the model has other series');
  }

  get #numbers(): readonly Numbers[] {
    return [
      ...this.#scores.flatMap(({ numbers }) => numbers),
      ...this.#series.flatMap(({ windows, said, open }) => [...windows.numbers, said, open]),
    ];
  }
}
