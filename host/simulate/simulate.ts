/**
 * The simulator: a whole cluster under virtual time and faults, from one seed.
 *
 * Does: run the real brain (scheduler, oracle), the real life machine and the real record transitions over the memory fabric; show
 * every true change of every record to the checkers; say whether all promises held. Does not: simulate Wasm or real files.
 *
 *   seed ──▶ World (time, fabric, dice) ──▶ SimCluster (nodes, controls, client, faults)
 *                     │ after each event: what changed?
 *                     ▼
 *                 checkers: transitions · committers · output · results ──▶ Report
 *
 * Y1  `simulate(seed, options)` gives the same report every time: a failing seed is the whole bug report.
 * Y2  Between two looks at most one write happens (the fabric's W1), so no revision escapes the checkers.
 */
import type { FaultCounts, MemoryFaults } from '../fabric/memory.js';
import { decodeRecord } from '../types/codec.js';
import type { Platform } from '../types/platform.js';
import { KEY, type ShardId, type ShardRecord } from '../types/records.js';
import type { CheckContext, Checker } from './checkers/checker.js';
import { committers } from './checkers/committers.js';
import { output } from './checkers/output.js';
import { results } from './checkers/results.js';
import { transitions } from './checkers/transitions.js';
import { type FaultTally, SIM_FAULTS, SimCluster } from './sim-cluster.js';
import { World } from './world.js';

export interface SimulateOptions {
  readonly nodes?: number;
  readonly shards?: number;
  /** Faults and requests last this long, ms of virtual time. */
  readonly faultMs?: number;
  /** After that everything must be done within this time. */
  readonly settleMs?: number;
  /** Kill, cut off, drain and stop processes. */
  readonly processFaults?: boolean;
  /** What the fabric does. */
  readonly fabricFaults?: Partial<MemoryFaults>;
  /** For the oracle's model; without one its simple forecasters answer. */
  readonly platform?: Platform;
}

export interface Report {
  readonly seed: number;
  readonly ok: boolean;
  /** Broken promises, each with its time; at most FAULTS_MAX. */
  readonly faults: readonly string[];
  readonly virtualMs: number;
  readonly steps: number;
  /** Changes of records that the checkers saw. */
  readonly changes: number;
  readonly moves: number;
  readonly restarts: number;
  readonly done: number;
  readonly injected: FaultCounts;
  readonly tally: FaultTally;
  /** The newest lines of what happened. */
  readonly log: readonly string[];
}

const FAULTS_MAX = 20;
const DEFAULTS = { nodes: 3, shards: 5, faultMs: 15_000, settleMs: 120_000, processFaults: true };

/** Runs the cluster of this seed to its end. */
export async function simulate(seed: number, options: SimulateOptions = {}): Promise<Report> {
  const chosen = { ...DEFAULTS, ...options };
  const world = new World(seed, { ...SIM_FAULTS, ...options.fabricFaults });
  const cluster = new SimCluster(world, chosen);
  const judge = new Judge(world, cluster);
  cluster.start();
  const deadlineMs = chosen.faultMs + chosen.settleMs;
  let steps = 0;
  await settled();
  while (world.nowMs < deadlineMs && judge.faults.length === 0 && world.time.step()) {
    await settled();
    steps += 1;
    judge.look();
    const all = cluster.client.specs.size;
    if (world.nowMs > chosen.faultMs && judge.done === all && all === chosen.shards) break;
  }
  if (judge.faults.length === 0) judge.end();
  return judge.report(seed, steps);
}

/** Watches the truth and asks the checkers. */
class Judge {
  readonly faults: string[] = [];
  readonly #world: World;
  readonly #cluster: SimCluster;
  readonly #checkers: readonly Checker[] = [transitions(), committers(), output(), results()];
  readonly #records = new Map<ShardId, ShardRecord>();
  readonly #revisions = new Map<ShardId, number>();
  readonly #context: CheckContext;
  #changes = 0;
  done = 0;

  constructor(world: World, cluster: SimCluster) {
    this.#world = world;
    this.#cluster = cluster;
    const { specs, killed, seenHeads } = cluster.client;
    this.#context = { durable: world.durable, specs, killed, seenHeads };
  }

  look(): void {
    this.#add('defect', this.#world.defects.splice(0));
    for (const id of this.#cluster.client.specs.keys()) {
      const entry = this.#world.fabric.peek(KEY.shard(id));
      if (entry === undefined || entry.revision === this.#revisions.get(id)) continue;
      this.#revisions.set(id, entry.revision);
      const before = this.#records.get(id) ?? null;
      const after = decodeRecord<ShardRecord>(entry.value, entry.key);
      this.#records.set(id, after);
      this.#changes += 1;
      if (after.status === 'done') this.done += 1;
      const wanted = after.wanted === null ? '' : ` wanted ${after.wanted.op}`;
      const out = `${after.output.chunks}/${after.output.bytes}`;
      this.#world.note(
        `${id} r${entry.revision} ${after.status} e${after.epoch} ${after.owner ?? '-'} fuel ${after.fuelUsed} out ${out}${wanted} by ${after.writer}`,
      );
      for (const checker of this.#checkers)
        this.#add(checker.name, checker.onChange(before, after, this.#context));
    }
  }

  end(): void {
    for (const checker of this.#checkers)
      this.#add(checker.name, checker.atEnd(this.#records, this.#context));
  }

  report(seed: number, steps: number): Report {
    let moves = 0;
    let restarts = 0;
    for (const record of this.#records.values()) {
      moves += record.moves;
      restarts += record.restarts;
    }
    return {
      seed,
      ok: this.faults.length === 0,
      faults: this.faults.slice(0, FAULTS_MAX),
      virtualMs: this.#world.nowMs,
      steps,
      changes: this.#changes,
      moves,
      restarts,
      done: this.done,
      injected: { ...this.#world.fabric.injected },
      tally: this.#cluster.counts,
      log: this.#world.log,
    };
  }

  #add(checker: string, faults: readonly string[]): void {
    for (const fault of faults)
      this.faults.push(`${this.#world.nowMs.toFixed(1)} ms, ${checker}: ${fault}`);
  }
}

/** Lets everything run that awaits, without letting time pass. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
