/**
 * Lives one shard's life on a simulated node: carries out the actions of the real machine (protocol/node-life).
 *
 * Does: load, run, capture and store simulated guests over the fabric, with delays and crashes. Does not: decide.
 *
 * It is the twin of host/node's executor: it keeps L1–L4 of life-types.ts, and dies in the middle of any action when told so.
 */
import { pace } from '../guardian/interval.js';
import type { CasAnswer, LifeAction, LifeEvent, RunFacts } from '../protocol/life-types.js';
import { NodeLife } from '../protocol/node-life.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import type { CasOutcome, RecordEntry } from '../types/fabric.js';
import { type ProgressHint, SUBJECT } from '../types/hints.js';
import { encodePlain } from '../types/pack.js';
import type { Hash } from '../types/platform.js';
import {
  KEY,
  type OutputChunk,
  type ShardExit,
  type ShardId,
  type ShardRecord,
} from '../types/records.js';
import {
  decodeSpec,
  decodeState,
  encodeState,
  SIM_START,
  SimGuest,
  type SimSpec,
  type SimState,
} from './sim-guest.js';
import type { SimProcess } from './world.js';

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

interface Kept {
  readonly output: string;
  readonly capsule: Uint8Array | null;
}

/** Memory of a simulated guest: every move of half of them is staged first. */
const GUEST_BYTES = 1_048_576;
const SIM_POLICY = { loadTries: 1_000, crashTries: 1_000, stageMaxMs: 2_000 };

export class SimExecutor {
  readonly life: NodeLife;
  guest: SimGuest | null = null;
  runId: string | null = null;
  readonly #process: SimProcess;
  readonly #before: (action: LifeAction) => boolean;
  readonly #mtbfMs: () => number;
  readonly #shardId: ShardId;
  #loaded: { readonly spec: SimSpec; readonly state: SimState } | null = null;
  #kept = new Map<string, Kept>();
  /** Ends with every drop. */
  #generation = 0;
  /** Ends with every guest. */
  #generationOfRun = 0;
  /** The staging that is under way, or was completed. */
  #staged: string | null = null;
  #reported = false;
  #progressMs = 0;
  #wakeMs: number | null = null;

  /** `before` is asked before each action; false = the process is dead now. */
  constructor(
    process: SimProcess,
    shardId: ShardId,
    before: (action: LifeAction) => boolean,
    mtbfMs: () => number,
  ) {
    this.#process = process;
    this.#shardId = shardId;
    this.#before = before;
    this.#mtbfMs = mtbfMs;
    this.life = new NodeLife({
      nodeId: process.name,
      shardId,
      writer: process.name,
      policy: {
        ...SIM_POLICY,
        stageFromBytes: process.world.dice.hits(0.5) ? GUEST_BYTES : 2 * GUEST_BYTES,
      },
    });
  }

  handle(event: Untimed<LifeEvent>): void {
    if (!this.#process.alive) return;
    const nowMs = this.#process.world.nowMs;
    for (const action of this.life.handle({ ...event, nowMs, wallMs: nowMs } as LifeEvent)) {
      if (!this.#process.alive || !this.#before(action)) return;
      this.#execute(action);
    }
    this.life.setPolicy(pace(this.life.commitCostMs, this.#mtbfMs()));
    this.#schedule();
  }

  see(entry: RecordEntry): void {
    this.handle({ kind: 'record', seen: seenOf(entry) });
  }

  /** Lets the guest run for this long at this speed. */
  advance(ms: number, fuelPerMs: number): void {
    const { guest, runId } = this;
    if (guest === null || runId === null || guest.standing) return;
    const { nowMs } = this.#process.world;
    guest.run(BigInt(Math.floor(ms * fuelPerMs)), nowMs, this.#process.name);
    guest.ranMs += ms;
    if (guest.over) {
      this.#end(null);
      return;
    }
    if (guest.atStop && !this.#reported) {
      this.#reported = true;
      guest.standing = true;
      this.handle({ kind: 'reached', runId, run: this.#facts(guest) });
      return;
    }
    if (nowMs - this.#progressMs < (guest.outputBytes > 0 ? 50 : 200)) return;
    this.#progressMs = nowMs;
    this.#hintProgress(guest, fuelPerMs);
    this.handle({
      kind: 'progress',
      runId,
      run: this.#facts(guest),
      outputBytes: guest.outputBytes,
    });
  }

  #hintProgress(guest: SimGuest, fuelPerMs: number): void {
    const hint: ProgressHint = {
      shardId: this.#shardId,
      nodeId: this.#process.name,
      epoch: this.life.epoch,
      fuelUsed: guest.state.fuelUsed,
      fuelPerSecond: fuelPerMs * 1_000,
      memoryBytes: GUEST_BYTES,
      capsuleBytes: 0,
      safepoint: null,
      // A guest that shares its worker has nothing to wait for; one of ten hints is of a guest that says otherwise.
      activity: this.#process.world.dice.hits(0.1) ? 'sleeping' : 'running',
      share: Math.min(1, fuelPerMs / 10),
      trouble: '',
    };
    this.#process.fabric.messages.publish(SUBJECT.progress(this.#shardId), encodePlain(hint));
  }

  /** The worker dies under it. */
  crash(): void {
    const runId = this.runId;
    if (runId === null || this.guest === null) return;
    this.guest = null;
    this.runId = null;
    this.#staged = null;
    this.#generationOfRun += 1;
    this.handle({ kind: 'crashed', runId, message: 'worker lost', remedy: 'retry' });
  }

  #execute(action: LifeAction): void {
    const { world } = this.#process;
    switch (action.kind) {
      case 'load':
        this.#load(action);
        break;
      case 'start':
      case 'resume':
        this.#start(action.runId, action.stopAtFuel);
        break;
      case 'set-stop':
      case 'go-on':
        if (this.guest === null || this.runId !== action.runId) break;
        this.guest.stopAtFuel = action.stopAtFuel;
        this.#reported = false;
        if (action.kind === 'go-on') this.guest.standing = false;
        break;
      case 'stage':
        this.#stage(action.opId);
        break;
      case 'unstage':
        this.#staged = null;
        break;
      case 'capture':
        this.#capture(action);
        break;
      case 'end':
        if (this.runId === action.runId)
          this.#later(world.dice.between([0, 5]), () => this.#end(action.exit));
        break;
      case 'store':
        this.#store(action);
        break;
      case 'cas':
        this.#cas(action);
        break;
      case 'read':
        this.#read(action.opId);
        break;
      case 'forget':
        this.#kept.delete(action.of);
        break;
      case 'hint':
        this.#process.fabric.messages.publish(
          `node.${action.node}`,
          encodePlain({ kind: 'look', shardId: action.shardId }),
        );
        break;
      case 'drop':
        this.#generation += 1;
        this.guest = null;
        this.runId = null;
        this.#loaded = null;
        this.#staged = null;
        this.#kept.clear();
    }
  }

  /** Runs later, unless a drop came in between. */
  #later(delayMs: number, run: () => void): void {
    const generation = this.#generation;
    this.#process.after(delayMs, () => {
      if (generation === this.#generation) run();
    });
  }

  #live<T>(work: Promise<T>, done: (value: T) => void, failed: (message: string) => void): void {
    const generation = this.#generation;
    this.#process.when(
      work,
      (value) => {
        if (generation === this.#generation) done(value);
      },
      (cause) => {
        if (generation === this.#generation) failed(String(cause));
      },
    );
  }

  #load(action: Extract<LifeAction, { kind: 'load' }>): void {
    const { opId } = action;
    const { blobs } = this.#process.fabric;
    const fetch = async (hash: Hash): Promise<Uint8Array> => {
      const bytes = await blobs.get(hash);
      if (bytes === undefined) throw new Error(`blob ${hash.slice(0, 8)} is missing`);
      return bytes;
    };
    const capsule = action.capsule;
    this.#live(
      Promise.all([fetch(action.spec), capsule === null ? null : fetch(capsule)]),
      ([spec, state]) => {
        const loaded = {
          spec: decodeSpec(spec),
          state: state === null ? SIM_START : decodeState(state),
        };
        this.#loaded = loaded;
        const { maxFuel, maxTimeMs } = loaded.spec;
        this.handle({ kind: 'loaded', opId, limits: { maxFuel, maxTimeMs } });
      },
      (message) => this.handle({ kind: 'load-failed', opId, message, remedy: 'retry' }),
    );
  }

  #start(runId: string, stopAtFuel: bigint | null): void {
    if (this.#loaded === null) throw new Error(`${this.#shardId}: started before it was loaded`);
    this.guest = new SimGuest(this.#loaded.spec, this.#loaded.state);
    this.guest.stopAtFuel = stopAtFuel;
    this.runId = runId;
    this.#reported = false;
    this.#progressMs = this.#process.world.nowMs;
    this.#loaded = null;
  }

  /** Sometimes it is given up, and sometimes nothing is heard of it any more. */
  #stage(opId: string): void {
    const { dice } = this.#process.world;
    this.#staged = opId;
    const answer = dice.between([0, 10]);
    if (answer > 9) return;
    this.#later(dice.between([1, 3_000]), () => {
      this.handle({ kind: 'staged', opId, ready: answer < 8, costMs: dice.between([0, 5]) });
    });
  }

  #capture(action: Extract<LifeAction, { kind: 'capture' }>): void {
    const { guest } = this;
    const { opId, hold, epoch, staged } = action;
    if (staged !== null && staged !== this.#staged)
      throw new Error(`${this.#shardId}: ${staged} was not staged`);
    if (guest === null) return; // it is over: `ended` or `crashed` is the answer
    const stood = guest.standing;
    guest.standing = true;
    const costMs = this.#process.world.dice.between([0.5, 12]);
    const run = this.#generationOfRun;
    this.#later(costMs, () => {
      if (run !== this.#generationOfRun) return;
      if (this.#process.world.dice.hits(0.02)) {
        guest.standing = stood;
        this.handle({ kind: 'capture-failed', opId, message: 'host frame', permanent: false });
        return;
      }
      const capsule = encodeState(guest.state, this.#shardId, epoch);
      const kept = { output: guest.drain(), capsule };
      this.#kept.clear();
      this.#kept.set(opId, kept);
      if (!hold) guest.standing = stood;
      const outputBytes = kept.output.length;
      const facts = {
        ...this.#facts(guest),
        capsule: this.#process.world.hash(capsule),
        capsuleBytes: capsule.length,
        outputBytes,
        costMs,
      };
      this.handle({ kind: 'captured', opId, facts });
    });
  }

  #end(exit: ShardExit | null): void {
    const { guest, runId } = this;
    if (guest === null || runId === null) return;
    const { lines, digest } = guest.state;
    const own: ShardExit = {
      reason: 'exit',
      code: 0,
      message: `${lines} ${digest}`,
      guestStack: [],
      results: new Uint8Array(0),
    };
    const output = guest.drain();
    this.#kept.set(runId, { output, capsule: null });
    this.guest = null;
    this.#generationOfRun += 1;
    this.handle({
      kind: 'ended',
      runId,
      exit: guest.over ? own : (exit ?? own),
      run: this.#facts(guest),
      outputBytes: output.length,
    });
  }

  #store(action: Extract<LifeAction, { kind: 'store' }>): void {
    const { opId, of, previous, offset, artifacts } = action;
    const kept = this.#kept.get(of);
    if (kept === undefined) throw new Error(`${this.#shardId}: nothing is kept of ${of}`);
    const { world, fabric } = this.#process;
    const work = async (): Promise<{
      chunk: { hash: Hash; bytes: number } | null;
      trees: Hash | null;
    }> => {
      const bytes = new TextEncoder().encode(kept.output);
      const link: OutputChunk = { v: 1, previous, offset, pieces: [{ stream: 'stdout', bytes }] };
      const chunk =
        bytes.length === 0
          ? null
          : { hash: await world.putDurable(fabric, encodePlain(link)), bytes: bytes.length };
      const trees = artifacts
        ? await world.putDurable(fabric, encodePlain(['trees', this.#shardId, of]))
        : null;
      if (kept.capsule !== null) await world.putDurable(fabric, kept.capsule);
      return { chunk, trees };
    };
    this.#live(
      work(),
      ({ chunk, trees }) =>
        this.handle({ kind: 'stored', opId, chunk, artifacts: trees, costMs: 3 }),
      (message) => this.handle({ kind: 'store-failed', opId, message }),
    );
  }

  #cas(action: Extract<LifeAction, { kind: 'cas' }>): void {
    const { opId } = action;
    const { records } = this.#process.fabric;
    this.#live(
      records.compareAndSet(KEY.shard(this.#shardId), action.expected, encodeRecord(action.record)),
      (outcome) => {
        this.handle({ kind: 'cas', opId, answer: casAnswer(outcome) });
      },
      () => this.handle({ kind: 'cas', opId, answer: { kind: 'unknown' } }),
    );
  }

  #read(opId: string): void {
    this.#live(
      this.#process.fabric.records.get(KEY.shard(this.#shardId)),
      (entry) => {
        const answer =
          entry === undefined
            ? ({ kind: 'absent' } as const)
            : ({ kind: 'found', seen: seenOf(entry) } as const);
        this.handle({ kind: 'read', opId, answer });
      },
      () => this.handle({ kind: 'read', opId, answer: { kind: 'failed' } }),
    );
  }

  #facts(guest: SimGuest): RunFacts {
    return { fuelUsed: guest.state.fuelUsed, memoryBytes: GUEST_BYTES, ranMs: guest.ranMs };
  }

  #schedule(): void {
    const at = this.life.wakeAtMs;
    if (
      at === null ||
      (this.#wakeMs !== null && this.#wakeMs <= at && this.#wakeMs > this.#process.world.nowMs)
    )
      return;
    this.#wakeMs = at;
    this.#process.after(Math.max(0, at - this.#process.world.nowMs), () => {
      if (this.#wakeMs === at) this.#wakeMs = null;
      this.handle({ kind: 'tick' });
    });
  }
}

export function seenOf(entry: RecordEntry): { record: ShardRecord; revision: number } {
  return { record: decodeRecord<ShardRecord>(entry.value, entry.key), revision: entry.revision };
}

function casAnswer(outcome: CasOutcome): CasAnswer {
  if (outcome.kind === 'ok') return outcome;
  if (outcome.kind === 'unknown') return { kind: 'unknown' };
  return {
    kind: 'conflict',
    current: outcome.current === undefined ? null : seenOf(outcome.current),
  };
}
