/**
 * Forecasts of running series at any horizon from 5 seconds to 30 minutes: the maximum from now on, with error bars.
 *
 *     samples of a series ──▶ cells of 0.5 s ──▶ rung 0   steps of 0.5 s   window   5 s ──▶ levels ┐
 *                                          ├───▶ rung 1            1.5 s           15 s ──▶ levels │
 *                                          ├───▶ rung 2            4.5 s           45 s ──▶   …    ├─▶ Outlook(series):
 *                                          ├───▶ rung 3             15 s       2 min 30            │   horizon ─▶ distribution
 *                                          ├───▶ rung 4             50 s       8 min 20            │
 *                                          └───▶ rung 5            180 s         30 min ──▶ levels ┘
 *
 * Does: keep the ladder in step with the time of the samples, fit the models piece by piece, answer, save and restore.
 * Does not: read a clock, know machines or shards (oracle.ts does), decide who answers (score.ts).
 *
 * V1  Values are shares of a capacity, so that series of all kinds and machines are one pool (siblings teach each other). A value may be
 *     "at least" (censored): what a machine that was full showed of a demand that may have been more.
 * V2  Monotone: the maximum within a longer time is not smaller. A rung's distribution is raised to those of the shorter ones, level by
 *     level; a horizon between two windows lies between their distributions, by its logarithm. The present value is included.
 * V3  Coherent: quantiles and probability are of the same distribution.
 * V4  Only the samples decide, and which series is which by name: the order in which series join, or samples of one instant come, changes
 *     nothing (as long as nothing is asked between these). Time comes with the samples (resample.ts has the rules).
 * V5  Bounded: SERIES_MAX series (whoever was silent longest goes), each silent for KEEP_MS goes; one piece of training every TRAIN_MS.
 * V6  A rung without a model of its own begins with that of the rung below: both look as many steps ahead, in units of a series' own
 *     steps. The score decides whether it is any good there.
 * V7  `save` gives up a training that is under way (it begins again); after `load` the same samples give the same forecasts, bit for bit.
 */
import { ForecastTrainer } from '../core/forecast.js';
import type { Platform } from '../types/platform.js';
import { between, exceeds, type Levels, newLevels, raise, raiseTo, widen } from './levels.js';
import { bytesOf, oracleDamaged, unpackNumbers } from './packed.js';
import type { PeakOracle } from './peaks.js';
import { CELL_MS, Cells, ForwardClock } from './resample.js';
import { KINDS, type Kind, Rung, type RungView } from './rung.js';
import { type ForecasterName, WINDOW_STEPS } from './simple.js';

/** Cells a step, of each rung. */
const RUNGS = [1, 3, 9, 30, 100, 360] as const;
export const HORIZON_MIN_MS = RUNGS[0] * CELL_MS * WINDOW_STEPS;
export const HORIZON_MAX_MS = RUNGS[RUNGS.length - 1]! * CELL_MS * WINDOW_STEPS;
/** Increased when what is saved, or what it means, changes. */
const VERSION = 1;
const SERIES_MAX = 4_096;
const KEEP_MS = 3_600_000;
const TRAIN_MS = 50;
/** Fewer cells than these are gone through one by one, whatever is missing. */
const JUMP_CELLS = 2 * WINDOW_STEPS;
const BISECTIONS = 30;

interface Tracked {
  readonly name: string;
  readonly kind: Kind;
  readonly cells: Cells;
}

/** Head of what is saved; its parts: clock and cells, then two of each rung. */
export interface SavedHead {
  readonly version: number;
  readonly names: readonly string[];
  readonly kinds: readonly string[];
}

/** The distribution of a window's maximum before its rung knows the series. */
export type Cold = (windowMs: number) => Levels;

export class LiveOracle {
  readonly #platform: Platform | undefined;
  readonly #rungs: readonly Rung[];
  readonly #series: Tracked[] = [];
  readonly #clock = new ForwardClock();
  /** The open cell, NaN before the first sample; when the last piece of training was done. */
  readonly #times = Float64Array.of(Number.NaN, Number.NEGATIVE_INFINITY);
  #trainer: ForecastTrainer | undefined;
  #trained: PeakOracle | undefined;

  /** Without a platform there are only the simple forecasters. */
  constructor(platform?: Platform) {
    this.#platform = platform;
    this.#rungs = RUNGS.map((cells) => new Rung(cells, platform));
  }

  get names(): readonly string[] {
    return this.#series.map(({ name }) => name);
  }

  /** A model is being fitted. */
  get isTraining(): boolean {
    return this.#trained !== undefined;
  }

  /** Takes in a sample: a share of the capacity at a time, on any one clock. `isLeast`: it may have been more. */
  observe(name: string, kind: Kind, atMs: number, share: number, isLeast = false): void {
    const beforeMs = this.#clock.newestMs;
    const ownMs = this.#clock.take(atMs);
    if (Number.isNaN(ownMs)) return;
    // What belongs to one instant comes in any order: the cells up to it are closed when a later one has come, or somebody asks.
    if (ownMs > beforeMs) this.#goOn(beforeMs);
    if (Number.isNaN(this.#times[0]!)) this.#times[0] = Math.floor(ownMs / CELL_MS);
    const endMs = (this.#times[0]! + 1) * CELL_MS;
    this.#joined(name, kind).cells.add(ownMs, share, isLeast, endMs);
    if (ownMs < this.#times[1]! + TRAIN_MS) return;
    this.#times[1] = ownMs;
    this.#train();
  }

  forget(name: string): void {
    const at = this.#series.findIndex((one) => one.name === name);
    if (at >= 0) this.#leave(at);
  }

  /**
   * The distributions of the series' maximum from now on, `present` (its newest value) included; undefined: it never had a sample
   * that could be used.
   */
  outlook(name: string, present: number, cold: Cold): Outlook | undefined {
    this.#goOn(this.#clock.newestMs);
    const at = this.#find(name);
    const one = this.#series[at];
    if (one?.name !== name) return undefined;
    const parts: OutlookPart[] = [];
    for (const rung of this.#rungs) {
      let levels = newLevels();
      const model = rung.answer(at, levels);
      if (model === undefined) levels = cold(rung.windowMs);
      widen(levels, rung.wide(one.kind));
      addPart(parts, rung.windowMs, levels, present, model);
    }
    return new Outlook(parts);
  }

  /** The same of a series that is not known here. */
  outlookOf(present: number, cold: Cold): Outlook {
    const parts: OutlookPart[] = [];
    for (const { windowMs } of this.#rungs) addPart(parts, windowMs, cold(windowMs), present);
    return new Outlook(parts);
  }

  /** How good the forecasters have been, by rung and kind. */
  get scores(): readonly RungView[] {
    return this.#rungs.flatMap((rung) => rung.views);
  }

  /** V7. A head and parts, in pieces to be copied at once. */
  save(): { readonly head: SavedHead; readonly parts: readonly (readonly Uint8Array[])[] } {
    this.#trainer?.cancel();
    this.#trained = undefined;
    const kinds = this.#series.map(({ kind }) => kind);
    const cells = this.#series.flatMap((one) => one.cells.numbers);
    const times = bytesOf([this.#clock.save(), this.#times, ...cells]);
    return {
      head: { version: VERSION, names: this.names, kinds },
      parts: [times, ...this.#rungs.flatMap((rung) => rung.save())],
    };
  }

  /**
   * What `save` gave, into an oracle that has taken in nothing. `laterMs`: how much later the clock of the samples shows the same instant
   * now. Throws SHERD_BLOB_DAMAGED when it is of another version or something else; then this oracle must not be used.
   */
  load({ version, names, kinds }: SavedHead, parts: readonly Uint8Array[], laterMs: number): void {
    if (version !== VERSION)
      throw oracleDamaged(`it is of version ${version}, this is version ${VERSION}`);
    if (parts.length !== 1 + 2 * this.#rungs.length) throw oracleDamaged('it has other rungs');
    const series = names.map((name, at) => {
      const kind = KINDS.find((known) => known === kinds[at]);
      if (kind === undefined) throw oracleDamaged('a series is of no known kind');
      return this.#joined(name, kind).cells;
    });
    const clock = this.#clock.save();
    const cells = series.flatMap((one) => one.numbers);
    unpackNumbers(parts[0]!, [clock, this.#times, ...cells]);
    this.#clock.load(clock, laterMs);
    this.#rungs.forEach((rung, r) => {
      rung.load(parts[1 + 2 * r]!, parts[2 + 2 * r]!);
    });
  }

  /** Place of this name, or of the first one after it. */
  #find(name: string): number {
    let low = 0;
    let high = this.#series.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#series[middle]!.name < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #joined(name: string, kind: Kind): Tracked {
    const known = this.#series[this.#find(name)];
    if (known?.name === name) return known;
    if (this.#series.length >= SERIES_MAX) this.#leave(this.#mostSilent());
    const at = this.#find(name);
    const fresh = { name, kind, cells: new Cells() };
    this.#series.splice(at, 0, fresh);
    for (const rung of this.#rungs) rung.join(at, name, kind);
    return fresh;
  }

  #leave(at: number): void {
    const [gone] = this.#series.splice(at, 1);
    if (gone !== undefined) for (const rung of this.#rungs) rung.leave(at, gone.name);
  }

  #mostSilent(): number {
    let silent = 0;
    this.#series.forEach(({ cells }, at) => {
      if (cells.atMs < this.#series[silent]!.cells.atMs) silent = at;
    });
    return silent;
  }

  /** Closes all cells that end by then. */
  #goOn(nowMs: number): void {
    const cell = Math.floor(nowMs / CELL_MS);
    while (this.#times[0]! < cell) {
      const open = this.#times[0]!;
      if (cell - open > JUMP_CELLS && this.#isSilent(open * CELL_MS)) this.#jump(open, cell);
      else this.#closeCell(open);
    }
  }

  #closeCell(cell: number): void {
    const endMs = (cell + 1) * CELL_MS;
    this.#series.forEach(({ cells }, at) => {
      const closed = cells.close(endMs);
      for (const rung of this.#rungs) rung.add(at, closed);
    });
    this.#times[0] = cell + 1;
    for (const rung of this.#rungs) {
      if ((cell + 1) % rung.cells === 0) rung.endStep(Math.floor(cell / rung.cells), this.names);
    }
    if ((cell + 1) % RUNGS[RUNGS.length - 1]! === 0) this.#dropSilent(endMs);
  }

  /** Nothing holds any more: what comes until the next sample is missing, everywhere. */
  #jump(open: number, cell: number): void {
    for (const rung of this.#rungs) {
      const first = Math.floor(open / rung.cells);
      const steps = Math.floor(cell / rung.cells) - first;
      const shown = Math.min(steps, WINDOW_STEPS + 1);
      for (let i = 0; i < shown; i++) rung.endStep(first + i, this.names);
      if (steps > shown) rung.skip(first + shown, steps - shown);
    }
    for (const { cells } of this.#series) cells.close(cell * CELL_MS);
    this.#times[0] = cell;
    this.#dropSilent(cell * CELL_MS);
  }

  #isSilent(atMs: number): boolean {
    return this.#series.every(({ cells }) => cells.isSilent(atMs));
  }

  #dropSilent(nowMs: number): void {
    for (let at = this.#series.length - 1; at >= 0; at--)
      if (this.#series[at]!.cells.atMs + KEEP_MS < nowMs) this.#leave(at);
  }

  /** One piece of the training that is under way, or the begin of the next that is due. */
  #train(): void {
    if (this.#platform === undefined) return;
    const trained = this.#trained;
    if (trained !== undefined && this.#trainer !== undefined) {
      if (!this.#trainer.step()) return;
      trained.endFit(this.#trainer);
      this.#trained = undefined;
      this.#bequeath();
      return;
    }
    const due = this.#rungs.find(({ peaks }) => peaks?.isFitDue === true)?.peaks;
    if (due === undefined) return;
    this.#trainer ??= new ForecastTrainer(this.#platform);
    if (due.beginFit(this.#trainer)) this.#trained = due;
  }

  /** V6. */
  #bequeath(): void {
    let below: PeakOracle | undefined;
    for (const { peaks } of this.#rungs) {
      if (peaks === undefined) continue;
      if (!peaks.isReady && below?.isReady === true) peaks.inherit(below);
      below = peaks;
    }
  }
}

interface OutlookPart {
  readonly windowMs: number;
  /** Raised to those of the parts before it. */
  readonly levels: Levels;
  readonly model: ForecasterName;
}

function addPart(
  parts: OutlookPart[],
  windowMs: number,
  levels: Levels,
  present: number,
  model: ForecasterName = 'last-value',
): void {
  raise(levels, present);
  const below = parts.at(-1);
  if (below !== undefined) raiseTo(levels, below.levels);
  parts.push({ windowMs, levels, model });
}

/** What one series may come to, at every horizon from HORIZON_MIN_MS to HORIZON_MAX_MS; others are taken as the nearest of these. */
export class Outlook {
  readonly #parts: readonly OutlookPart[];

  constructor(parts: readonly OutlookPart[]) {
    this.#parts = parts;
  }

  /** Distribution of the maximum within the horizon, and whose forecast it is (of the window that is not longer). */
  at(horizonMs: number): { readonly levels: Levels; readonly model: ForecasterName } {
    const [first] = this.#parts;
    let below = first!;
    for (const part of this.#parts) {
      if (part.windowMs >= horizonMs) {
        const { model } = part.windowMs === horizonMs ? part : below;
        return { levels: this.#between(below, part, horizonMs), model };
      }
      below = part;
    }
    return below;
  }

  /** Probability that the maximum within the horizon reaches x. Never falls with the horizon. */
  exceeds(horizonMs: number, x: number): number {
    return exceeds(this.at(horizonMs).levels, x);
  }

  /** The first horizon at which the probability to reach x is p or more; undefined: not within HORIZON_MAX_MS. */
  lead(x: number, p: number): number | undefined {
    let below = this.#parts[0]!;
    for (const part of this.#parts) {
      if (exceeds(part.levels, x) < p) {
        below = part;
        continue;
      }
      let low = below.windowMs;
      let high = part.windowMs;
      for (let i = 0; i < BISECTIONS && low < high; i++) {
        const middle = Math.sqrt(low * high);
        if (this.exceeds(middle, x) < p) low = middle;
        else high = middle;
      }
      return high;
    }
    return undefined;
  }

  #between(below: OutlookPart, part: OutlookPart, horizonMs: number): Levels {
    if (below === part) return part.levels;
    const share = Math.log(horizonMs / below.windowMs) / Math.log(part.windowMs / below.windowMs);
    return between(below.levels, part.levels, Math.min(1, Math.max(0, share)));
  }
}
