/**
 * Demand on nodes: what others take of a machine is forecast, what this cluster's shards want of it is known.
 *
 *     demand of a machine = background  +  Σ what the shards of its nodes want        (machines.ts tells them apart)
 *                           forecast        known, moves included
 *     bottleneck          = demand above the machine's cores, or a node's shards above its workers
 *
 *     horizon   under 5 s   "it stays as it is", with the residuals of the newest samples
 *               5 s … 30 min   the ladder (live.ts): the maximum from now on, by whichever forecaster has been best
 *
 * Does: turn samples into forecasts of demand, also with and without given shards; save and restore. Does not: decide anything.
 *
 * N1  Never an answer without a band: a few imagined residuals of half the capacity are mixed in, so that little experience means a
 *     wide band; they wash out as real residuals come.
 * N2  Never NaN, never negative; a sample with unusable numbers is ignored in that part.
 * N3  Demand = background + what guests want (runnable shards, also those without a worker): demand that is clipped at capacity would
 *     hide the very contention that is to be seen. Where the background itself is clipped, it is "at least" (machines.ts, M6): the
 *     forecasters are not taught that it stays below the capacity.
 * N4  Bounded memory a node. What is gone is forgotten: a node at once, the ladder's series an hour after their last sample, so that
 *     a machine whose only node restarts is known still.
 * N5  A bottleneck is demand above capacity: somebody waits. Demand that just fills the node is what a node is for; one shard alone on
 *     one worker is no bottleneck, however long it runs.
 * N6  The capacity is the machine's: three nodes on two cores can do two cores' worth, however many workers they have together.
 * N7  From 5 s on: quantiles of background and contention are of one distribution; a longer horizon never has less of either.
 */
import { BOTTLENECK, type Forecast, type Quantiles, type Sample } from '../types/brain.js';
import type { Platform } from '../types/platform.js';
import type { NodeId } from '../types/records.js';
import { type Levels, levelsOf, newLevels, quantilesIn } from './levels.js';
import {
  HORIZON_MAX_MS,
  HORIZON_MIN_MS,
  type SavedHead as LiveHead,
  LiveOracle,
  type Outlook,
} from './live.js';
import {
  isCrowded,
  Machines,
  managedCores,
  type NodeCapacity,
  type SavedMachine,
  type Shared,
} from './machines.js';
import { oracleDamaged } from './packed.js';
import type { RungView } from './rung.js';
import { MEASURABLE_MAX, quantilesAround, type Series } from './series.js';

/** Shards that are thought to be there besides, or to be gone: the cores that each wants, as it would use alone. */
export interface ManagedChange {
  readonly with?: readonly number[];
  readonly without?: readonly number[];
}

/** Head of what is saved; its parts: those of the ladder. */
export interface SavedHead {
  readonly version: number;
  readonly nowMs: number;
  readonly wallMs: number;
  readonly live: LiveHead;
  readonly machines: readonly SavedMachine[];
}

const VERSION = 1;
const SIMPLE = 'last-value';
/** More than this over capacity is somebody who waits, cores and share of capacity. */
const WAITING_MIN_CORES = 0.25;
const WAITING_MIN_SHARE = 0.05;
/** What is used is not told as a share of less than this: no machine has so little, and the share might not be finite. */
const MEMORY_MIN_BYTES = 1;
/** What a share of the network is a share of, bytes a second: what the link can do is not known, and only ratios matter. */
const NETWORK_UNIT = 125_000_000;

export class NodeForecasts {
  readonly #platform: Platform | undefined;
  #machines = new Machines();
  #live: LiveOracle;

  constructor(platform?: Platform) {
    this.#platform = platform;
    this.#live = new LiveOracle(platform);
  }

  observe(sample: Sample, capacity: NodeCapacity): void {
    const { shared, background, isLeast } = this.#machines.observe(sample, capacity);
    const { nodeId, atMs, values } = sample;
    const { id, cores } = shared.machine;
    if (background !== undefined)
      this.#live.observe(cpuName(id), 'cpu', atMs, background / cores, isLeast);
    const memoryBytes = this.#machines.of(nodeId)?.member.capacity.memoryBytes ?? 0;
    if (memoryBytes >= MEMORY_MIN_BYTES)
      this.#live.observe(memoryName(nodeId), 'memory', atMs, values.memoryUsedBytes / memoryBytes);
    if (values.networkBytesPerS !== undefined) {
      const share = values.networkBytesPerS / NETWORK_UNIT;
      this.#live.observe(networkName(nodeId), 'network', atMs, share);
    }
  }

  forget(nodeId: NodeId): void {
    this.#machines.forget(nodeId);
    this.#live.forget(memoryName(nodeId));
    this.#live.forget(networkName(nodeId));
  }

  keepOnly(nodeIds: ReadonlySet<NodeId>): void {
    for (const id of this.#machines.nodeIds) if (!nodeIds.has(id)) this.forget(id);
  }

  forecast(nodeId: NodeId, horizonMs: number, change: ManagedChange): Forecast | undefined {
    const known = this.#machines.of(nodeId);
    if (known === undefined || known.shared.background.length === 0) return undefined;
    const { shared, member } = known;
    const managed = changed(managedCores(shared), change);
    const common = {
      nodeId,
      horizonMs,
      machine: shared.machine,
      crowded: isCrowded(shared, member, bottleneckCores),
    };
    const { memory, capacity } = member;
    if (!(horizonMs >= HORIZON_MIN_MS)) {
      const background = band(shared.background, horizonMs, shared.machine.cores);
      return {
        ...common,
        cpu: shifted(background, managed),
        background,
        memoryBytes: band(memory, horizonMs, capacity.memoryBytes),
        contention: waitProbability(shared, horizonMs, managed),
        model: SIMPLE,
      };
    }
    const atMs = Math.min(horizonMs, HORIZON_MAX_MS);
    return {
      ...common,
      ...this.#demand(shared, atMs, managed),
      memoryBytes: this.#memory(nodeId, memory, atMs, capacity.memoryBytes),
      ...this.#network(nodeId, atMs),
    };
  }

  #demand(
    shared: Shared,
    horizonMs: number,
    managed: number,
  ): Pick<Forecast, 'cpu' | 'background' | 'contention' | 'leadMs' | 'model'> {
    const { id, cores } = shared.machine;
    const outlook = this.#outlook(cpuName(id), shared.background, cores);
    const { levels, model } = outlook.at(horizonMs);
    const background = quantilesIn(levels, cores);
    const room = bottleneckCores(cores) - managed;
    const isOver = shared.background.last > room;
    const leadMs = isOver ? 0 : outlook.lead(room / cores, BOTTLENECK.predictedFrom);
    return {
      cpu: shifted(background, managed),
      background,
      contention: isOver ? 1 : outlook.exceeds(horizonMs, room / cores),
      ...(leadMs === undefined ? {} : { leadMs }),
      model,
    };
  }

  #memory(nodeId: NodeId, memory: Series, horizonMs: number, memoryBytes: number): Quantiles {
    if (memoryBytes < MEMORY_MIN_BYTES || memory.length === 0)
      return band(memory, horizonMs, memoryBytes);
    const { levels } = this.#outlook(memoryName(nodeId), memory, memoryBytes).at(horizonMs);
    return quantilesIn(levels, memoryBytes);
  }

  #network(nodeId: NodeId, horizonMs: number): Pick<Forecast, 'networkBytesPerS'> {
    const outlook = this.#live.outlook(networkName(nodeId), 0, () => levelsAround([0], 0.5, 1));
    if (outlook === undefined) return {};
    return { networkBytesPerS: quantilesIn(outlook.at(horizonMs).levels, NETWORK_UNIT) };
  }

  /** By the ladder, or where it knows nothing of the series yet, by its newest samples. */
  #outlook(name: string, series: Series, capacity: number): Outlook {
    const cold = (windowMs: number): Levels =>
      levelsAround(series.residuals(windowMs).peak, series.last, capacity);
    const present = series.last / capacity;
    return this.#live.outlook(name, present, cold) ?? this.#live.outlookOf(present, cold);
  }

  get scores(): readonly RungView[] {
    return this.#live.scores;
  }

  get isTraining(): boolean {
    return this.#live.isTraining;
  }

  /** A head and parts, in pieces to be copied at once. */
  save(
    nowMs: number,
    wallMs: number,
  ): { readonly head: SavedHead; readonly parts: readonly (readonly Uint8Array[])[] } {
    const machines = this.#machines.save();
    const { head: live, parts } = this.#live.save();
    return { head: { version: VERSION, nowMs, wallMs, live, machines }, parts };
  }

  /** What `save` gave. Throws when it cannot be; then nothing has changed. */
  load(head: unknown, parts: readonly Uint8Array[], nowMs: number, wallMs: number): void {
    const saved = head as SavedHead;
    if (saved.version !== VERSION) throw oracleDamaged(`it is of version ${saved.version}`);
    const passedMs = Math.max(0, wallMs - saved.wallMs);
    const laterMs = Math.round(nowMs - saved.nowMs - passedMs);
    const live = new LiveOracle(this.#platform);
    const machines = new Machines();
    live.load(saved.live, parts, laterMs);
    machines.load(saved.machines, laterMs);
    this.#live = live;
    this.#machines = machines;
  }
}

function cpuName(machineId: string): string {
  return `cpu:${machineId}`;
}

function memoryName(nodeId: NodeId): string {
  return `memory:${nodeId}`;
}

function networkName(nodeId: NodeId): string {
  return `network:${nodeId}`;
}

function changed(managed: number, { with: more = [], without: fewer = [] }: ManagedChange): number {
  const sum = (list: readonly number[]): number =>
    list.reduce((total, cores) => total + (cores > 0 && cores <= MEASURABLE_MAX ? cores : 0), 0);
  return Math.min(MEASURABLE_MAX, Math.max(0, managed + sum(more) - sum(fewer)));
}

/** Quantiles of the newest value and these residuals, in shares of the capacity, with the prior mixed in (N1). */
function levelsAround(residuals: readonly number[], last: number, capacity: number): Levels {
  const ascending = [...residuals, ...prior(capacity)].sort((a, b) => a - b);
  const levels = newLevels();
  levelsOf(ascending, ascending.length, last, levels);
  return levels.map((value) => value / capacity);
}

function shifted({ p50, p90, p99 }: Quantiles, by: number): Quantiles {
  const at = (value: number): number => Math.min(MEASURABLE_MAX, value + by);
  return { p50: at(p50), p90: at(p90), p99: at(p99) };
}

/** Imagined residuals (N1): nothing changed, twice, and half the capacity up or down. */
function prior(capacity: number): readonly number[] {
  return [-capacity / 2, 0, 0, capacity / 2];
}

export function band(series: Series, horizonMs: number, capacity: number): Quantiles {
  return quantilesAround(series.last, [...series.residuals(horizonMs).end, ...prior(capacity)]);
}

/**
 * Demand from which on somebody is taken to wait, cores (N5). Demand = capacity is full use, not waiting, and a measured share carries
 * other programs' small change (this engine's own threads among it), so a little more than capacity is none either: a quarter of
 * a core, which is about what the small change of a quiet machine comes to, or a twentieth of a large node. Where a quota leaves less
 * than a core, one shard that would use a whole one is alone there, and waits for nobody (N5).
 *
 * Background and managed demand are added up first: who waits is the same question whoever fills the node. An offline
 * replay of recorded series, which asks when a series *reaches* a level, is another question and has a level of its own.
 */
export function bottleneckCores(capacityCores: number): number {
  const least = Math.max(1, capacityCores);
  return least + Math.max(WAITING_MIN_CORES, WAITING_MIN_SHARE * capacityCores);
}

/**
 * Share of the past windows after which, seen from the last background and what is wanted beside it, somebody had to wait; 1 when
 * somebody does now, never 0.
 */
function waitProbability(
  { background, machine: { cores } }: Shared,
  horizonMs: number,
  managed: number,
): number {
  const room = bottleneckCores(cores) - managed;
  if (background.last > room) return 1;
  const residuals = [...background.residuals(horizonMs).peak, ...prior(cores)];
  const over = residuals.filter((residual) => background.last + residual > room).length;
  return (over + 0.5) / (residuals.length + 1);
}
