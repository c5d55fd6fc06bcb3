/**
 * The resource oracle: what nodes will be asked for, what shards will need.
 *
 *     samples of nodes  ──▶ nodes.ts   (background: live.ts, known demand: machines.ts) ──▶ Forecast
 *     samples, ends of shards ──▶ history.ts, newest samples ──▶ ShardForecast, ShardNeeds
 *
 * Does: give both to whoever asks, keep what is known of programs (history.ts), save and restore all of it.
 * Does not: decide anything.
 *
 * O1  Never an answer without a band: a few imagined residuals are mixed in, so that little experience means a wide band.
 * O2  Never NaN, never negative; a sample with unusable numbers is ignored in that part.
 * O3  Bounded memory a node and a program.
 */
import { makeRoom } from '../core/kept.js';
import type { Forecast, Quantiles, Sample, ShardForecast, ShardSample } from '../types/brain.js';
import type { Hash, Platform } from '../types/platform.js';
import type { NodeId, ShardExit, ShardId, ShardRecord } from '../types/records.js';
import { RunHistory, type RunNeeds, type SavedHistory } from './history.js';
import type { RunRequest } from './history-model.js';
import { PROGRAM_RUNGS, requestOf } from './history-request.js';
import type { NodeCapacity } from './machines.js';
import { band, type ManagedChange, NodeForecasts } from './nodes.js';
import { oracleDamaged, packParts, unpackParts } from './packed.js';
import type { RungView } from './rung.js';
import { MEASURABLE_MAX, quantilesAround, Series } from './series.js';

export { bottleneckCores } from './nodes.js';

export interface ShardNeeds {
  readonly cpu: Quantiles;
  readonly memoryBytes: Quantiles;
  readonly fuelPerSecond: Quantiles;
  /** In all; null = no shard of its program has ended yet. Running time: ms. */
  readonly fuel: Quantiles | null;
  readonly ranMs: Quantiles | null;
  /** Samples, or runs that ended, that this rests on. */
  readonly samples: number;
  readonly model: string;
}

/** What is known of a shard that ended, besides its fuel. */
export interface EndedShard {
  readonly shardId?: ShardId;
  readonly ranMs?: number;
  readonly memoryBytes?: number;
  /** False: it was stopped (killed, a quota), and would have needed more. Default: true. */
  readonly ended?: boolean;
}

interface ProgramSamples {
  readonly memory: Series;
  readonly fuelPerSecond: Series;
}

const MODEL = 'last-value';
const HISTORY_MODEL = 'history';
const PROGRAMS_MAX = 1_000;
const MEMORY_GUESS_BYTES = 16 * 1_048_576;

export class Oracle {
  readonly #nodes: NodeForecasts;
  readonly #programs = new Map<Hash, ProgramSamples>();
  #history: RunHistory;

  /**
   * Without a platform no model of nodes is fitted: the simple forecasters answer.
   * @param history of programs, as it was restored; default: none yet
   */
  constructor(platform?: Platform, history = new RunHistory(PROGRAM_RUNGS)) {
    this.#nodes = new NodeForecasts(platform);
    this.#history = history;
  }

  /** Takes in one measurement of a node. */
  observe(sample: Sample, capacity: NodeCapacity): void {
    this.#nodes.observe(sample, capacity);
  }

  /** A shard is there that asks for this; once for each. */
  beginShard(shardId: ShardId, request: RunRequest): void {
    if (this.#history.requestOf(shardId) === undefined) this.#history.begin(shardId, request);
  }

  /** Shards that began and were not heard of as ended, in a restored state too. */
  get shardsOnTheWay(): readonly ShardId[] {
    return this.#history.ids;
  }

  /** A shard is gone. */
  forgetShard(shardId: ShardId): void {
    this.#history.forget(shardId);
  }

  /** Takes in one measurement of a shard of this program. */
  observeShard(moduleHash: Hash, sample: ShardSample): void {
    const program = this.#program(moduleHash);
    program.memory.add(sample.atMs, sample.memoryBytes);
    program.fuelPerSecond.add(sample.atMs, sample.fuelPerSecond);
    this.#history.progress(sample.shardId, sofar(sample));
  }

  /** A shard of this program ended: by itself, or it was stopped for good. */
  observeEnd(moduleHash: Hash, atMs: number, fuelUsed: bigint, more: EndedShard = {}): void {
    const { shardId = '', ranMs, memoryBytes, ended = true } = more;
    const request = this.#history.requestOf(shardId) ?? requestOf(moduleHash, undefined);
    const needs = { fuel: Number(fuelUsed), ranMs, memoryBytes };
    this.#history.end(shardId, request, atMs, needs, ended);
  }

  /** What a running shard still needs: the speed stays, and it ends like those of its program that came further than it has. */
  outlook(moduleHash: Hash, sample: ShardSample): ShardForecast {
    const { shardId } = sample;
    const speeds = this.#programs.get(moduleHash)?.fuelPerSecond;
    const rate =
      sample.fuelPerSecond > 0 && sample.fuelPerSecond <= MEASURABLE_MAX ? sample.fuelPerSecond : 0;
    const request = this.#history.requestOf(shardId) ?? requestOf(moduleHash, undefined);
    const { fuel, memoryBytes } = this.#history.remaining(request, sofar(sample), shardId);
    return {
      shardId,
      fuelPerSecond:
        speeds === undefined || speeds.length === 0 ? flat(rate) : around(rate, speeds),
      remainingFuel: fuel ?? null,
      remainingMs: fuel === undefined || rate === 0 ? null : scaled(fuel, 1_000 / rate),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      model: fuel === undefined ? MODEL : HISTORY_MODEL,
    };
  }

  /** The history of programs, as data that JSON can hold. */
  saveHistory(): SavedHistory {
    return this.#history.save();
  }

  /** What `saveHistory` gave, for a new oracle. Throws SHERD_BLOB_DAMAGED when it is something else. */
  static restoredHistory(saved: unknown): RunHistory {
    return RunHistory.restore(saved, PROGRAM_RUNGS);
  }

  forget(nodeId: NodeId): void {
    this.#nodes.forget(nodeId);
  }

  /** Demand on a node and its machine at the horizon; undefined when nothing was ever measured there. */
  forecast(nodeId: NodeId, horizonMs: number, change: ManagedChange = {}): Forecast | undefined {
    return this.#nodes.forecast(nodeId, horizonMs, change);
  }

  /** How good the forecasters of node demand have been. */
  get scores(): readonly RungView[] {
    return this.#nodes.scores;
  }

  /** All that it has learned, as bytes; `nowMs`: on the clock of the samples. Not while `isTraining`, or that begins again. */
  save(nowMs: number, wallMs: number): Uint8Array {
    const { head, parts } = this.#nodes.save(nowMs, wallMs);
    const history = new TextEncoder().encode(JSON.stringify(this.saveHistory()));
    return packParts(head, [[history], ...parts]);
  }

  get isTraining(): boolean {
    return this.#nodes.isTraining;
  }

  /**
   * Takes up what `save` gave, at an instant on both clocks, before the first sample. Throws SHERD_BLOB_DAMAGED when it cannot be;
   * then it knows nothing, as before.
   */
  load(saved: Uint8Array, nowMs: number, wallMs: number): void {
    try {
      const { head, parts } = unpackParts(saved);
      const [programs, ...nodes] = parts;
      const text = new TextDecoder().decode(programs);
      const history = Oracle.restoredHistory(JSON.parse(text));
      this.#nodes.load(head, nodes, nowMs, wallMs);
      this.#history = history;
    } catch (cause) {
      // Whatever shape it had.
      throw oracleDamaged(cause instanceof Error ? cause.message : String(cause));
    }
  }

  /** Nodes that are not among these are forgotten. */
  keepOnly(nodeIds: ReadonlySet<NodeId>): void {
    this.#nodes.keepOnly(nodeIds);
  }

  /** What a shard of this program will need. Without history: what others of it use now; else a guess with a wide band. */
  needs(
    moduleHash: Hash,
    memoryBytes: number,
    request: RunRequest = requestOf(moduleHash, undefined),
  ): ShardNeeds {
    const { fuel, ranMs, memoryBytes: past } = this.#history.expected(request);
    const least = Math.max(0, Number.isFinite(memoryBytes) ? memoryBytes : 0);
    const program = this.#programs.get(moduleHash);
    const speeds = program?.fuelPerSecond ?? new Series(1);
    const common = {
      cpu: flat(1),
      fuelPerSecond: speeds.length === 0 ? flat(0) : band(speeds, 0, 0),
      fuel: fuel ?? null,
      ranMs: ranMs ?? null,
    };
    if (past !== undefined)
      return {
        ...common,
        memoryBytes: atLeast(past, least),
        samples: Math.max(1, Math.round(past.runs)),
        model: HISTORY_MODEL,
      };
    if (program !== undefined && program.memory.length > 0)
      return {
        ...common,
        memoryBytes: atLeast(band(program.memory, 0, 0), least),
        samples: program.memory.length,
        model: MODEL,
      };
    const guess = Math.max(least, MEMORY_GUESS_BYTES);
    const memory = { p50: guess, p90: guess * 2, p99: guess * 8 };
    return { ...common, memoryBytes: memory, samples: 0, model: 'guess' };
  }

  #program(moduleHash: Hash): ProgramSamples {
    const known = this.#programs.get(moduleHash);
    if (known !== undefined) return known;
    makeRoom(this.#programs, PROGRAMS_MAX);
    const program = { memory: new Series(64), fuelPerSecond: new Series(64) };
    this.#programs.set(moduleHash, program);
    return program;
  }
}

/**
 * What the oracle is told of a shard whose record says that it ended. The program came to its end by itself when it exited or
 * trapped; whatever else ended it stopped it on its way.
 */
export function endedShard(
  { id, ranMs, memoryBytes }: Pick<ShardRecord, 'id' | 'ranMs' | 'memoryBytes'>,
  { reason }: Pick<ShardExit, 'reason'>,
): EndedShard {
  return { shardId: id, ranMs, memoryBytes, ended: reason === 'exit' || reason === 'trap' };
}

function sofar({ fuelUsed, memoryBytes }: ShardSample): RunNeeds {
  return { fuel: Number(fuelUsed), memoryBytes };
}

/** The last speed, with the band of this program's changes of speed. */
function around(rate: number, speeds: Series): Quantiles {
  return quantilesAround(rate, [...speeds.residuals(0).end, 0]);
}

function flat(value: number): Quantiles {
  return { p50: value, p90: value, p99: value };
}

function atLeast({ p50, p90, p99 }: Quantiles, least: number): Quantiles {
  return { p50: Math.max(least, p50), p90: Math.max(least, p90), p99: Math.max(least, p99) };
}

function scaled({ p50, p90, p99 }: Quantiles, by: number): Quantiles {
  const at = (value: number): number => Math.min(MEASURABLE_MAX, value * by);
  return { p50: at(p50), p90: at(p90), p99: at(p99) };
}
