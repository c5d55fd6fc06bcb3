/**
 * The shards of one worker thread: who runs next, for how much fuel, and what is done between two quanta.
 *
 * Does: stride scheduling over runnable guests, quanta (quantum.ts), waits, stops at a fuel value, captures, ends, progress.
 * Synchronous: one call of `turn` runs at most one quantum.
 * Does not: know threads, ports, modules or capsules (worker.ts, guests.ts hand it `Guest`s and take its reports).
 *
 *     built ──run──▶ runnable ◀──────────┐
 *                     │  ▲               │ time / blob there
 *          quantum    ▼  │ yield         │
 *                   (turn) ──wait──▶ sleeping | fetching
 *       every state ──capture(hold), reached──▶ held ──run──▶ back to where it was
 *       every state ──rung for──▶ held ──HALT_NS without an order──▶ back to where it was
 *       every state ──last round of its copy──▶ held ──STAND_NS without an order, or told so──▶ back to where it was
 *
 * R1  A guest never runs past its `stopAtFuel` (quantum.ts, Q1).
 * R2  Between two quanta of one guest every other runnable guest of the same weight has had its turn: each turn is
 *     charged to its guest as time divided by weight, the least charged one is next.
 * R3  A guest that becomes runnable starts with the least charge of those that are: waiting earns no credit.
 * R4  Output is drained after every quantum, which a burst of it ends (runtime/wasi/calls-fd D3); with more than
 *     OUTPUT_HELD_BYTES waiting to be captured a guest is not given a turn until a capture has taken them.
 */
import type { ShardActivity } from '../types/api.js';
import { invariant, SherdError } from '../types/errors.js';
import type { GuestHost, OutputPiece } from '../types/host.js';
import type { Hash } from '../types/platform.js';
import type { ShardExit, ShardId } from '../types/records.js';
import type { CapsuleImage, RunResult, Wait } from '../types/state.js';
import { exitOfResult } from './exits.js';
import { Pace } from './pace.js';
import { type QuantumClock, type Ran, runQuantum, type SlicedGuest } from './quantum.js';
import { bufferOf } from './shelf.js';
import type {
  Harvest,
  Run,
  RunProgress,
  RunState,
  WorkerError,
  WorkerReport,
} from './worker-messages.js';

const OUTPUT_HELD_BYTES = 16 * 1024 * 1024;
const PROGRESS_NS = 200_000_000n;
/** While output waits to be captured. */
const PROGRESS_OUTPUT_NS = 50_000_000n;

/** A guest that was rung for waits so long for an order. */
const HALT_NS = 250_000_000n;
/** One whose last round of copying is under way. */
const STAND_NS = 3_000_000_000n;

/** What the rotation needs of a host. */
export type RotationHost = Pick<
  GuestHost,
  'drainOutput' | 'newBlobs' | 'markDurable' | 'suspendClock' | 'resumeClock' | 'guestMonotonicNs'
>;

/** One instance with its host, ready to run. */
export interface Guest extends SlicedGuest {
  readonly host: RotationHost;
  readonly memoryBytes: number;
  readonly maxFuel: bigint;
  readonly maxTimeMs: number;
  guestStack(): readonly string[];
  /** The buffer of `bytes` belongs to the caller. */
  encode(epoch: number, base?: CapsuleImage): { readonly bytes: Uint8Array; readonly hash: Hash };
  encodeTrees(): Uint8Array;
}

export interface RotationPort extends QuantumClock {
  /** Share of the time in which this thread wanted a core that it had one, 0..1. */
  coreShare(nowNs: bigint): number;
  /** `transfer`: buffers that are not used here any more. */
  report(report: WorkerReport, transfer?: readonly ArrayBuffer[]): void;
  hasBlob(hash: Hash): boolean;
}

interface Slot {
  readonly run: Run;
  readonly shardId: ShardId;
  readonly guest: Guest;
  readonly weight: number;
  started: boolean;
  held: boolean;
  /** Since when it stands still (and is held) for an order that should follow; null: it does not. And for how long at most. */
  haltedNs: bigint | null;
  haltForNs: bigint;
  /** It has not run since `stand`. */
  stood: boolean;
  wait: Wait | null;
  /** Until when it sleeps, on the port's clock. */
  wakeNs: bigint;
  stopAtFuel: bigint | null;
  readonly pace: Pace;
  /** What its next quantum begins with took so long to make, in turns before. */
  warmedNs: number;
  charge: number;
  /** Time not held so far, and since when it is not held now. */
  ranNs: bigint;
  goingSinceNs: bigint;
  output: OutputPiece[];
  outputBytes: number;
  reportedNs: bigint;
  reportedFuel: bigint;
  busyNs: bigint;
}

export class Rotation {
  readonly #port: RotationPort;
  readonly #quantumNs: number;
  readonly #slots = new Map<Run, Slot>();

  constructor(port: RotationPort, quantumUs: number) {
    invariant(quantumUs > 0, 'a quantum has a length');
    this.#port = port;
    this.#quantumNs = quantumUs * 1_000;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Takes a guest in, without running it. */
  add(run: Run, guest: Guest, o: { readonly shardId: ShardId; readonly priority: number }): void {
    invariant(!this.#slots.has(run), `run ${run} is added once`);
    const now = this.#port.nowNs();
    guest.host.suspendClock();
    this.#slots.set(run, {
      run,
      shardId: o.shardId,
      guest,
      weight: weightOf(o.priority),
      started: false,
      held: true,
      haltedNs: null,
      haltForNs: HALT_NS,
      stood: false,
      wait: null,
      wakeNs: 0n,
      stopAtFuel: null,
      pace: new Pace(this.#quantumNs),
      warmedNs: 0,
      charge: 0,
      ranNs: 0n,
      goingSinceNs: now,
      output: [],
      outputBytes: 0,
      reportedNs: now,
      reportedFuel: guest.fuelUsed,
      busyNs: 0n,
    });
  }

  /** Starts, or lets a held guest go on. */
  go(run: Run, stopAtFuel: bigint | null): void {
    const slot = this.#slots.get(run);
    if (slot === undefined) return;
    slot.stopAtFuel = stopAtFuel;
    if (!slot.held) {
      this.#checkStop(slot);
      return;
    }
    this.#letGo(slot);
    if (slot.wait !== null) this.#beginWait(slot, slot.wait);
    slot.charge = Math.max(slot.charge, this.#leastCharge(slot));
    if (!slot.started) {
      slot.started = true;
      slot.reportedNs = slot.goingSinceNs;
      this.#port.report({ kind: 'running', run, runningNs: slot.goingSinceNs });
      // What it does is known before its first quantum: that may be the one which never ends.
      this.#port.report({ kind: 'progress', runs: [this.#progressOf(slot, slot.goingSinceNs)] });
    }
    this.#checkStop(slot);
  }

  setStop(run: Run, stopAtFuel: bigint | null): void {
    const slot = this.#slots.get(run);
    if (slot === undefined) return;
    slot.stopAtFuel = stopAtFuel;
    if (!slot.held) this.#checkStop(slot);
  }

  /** `base`: what the capsule is based on, instead of the module's image. */
  capture(run: Run, id: string, hold: boolean, epoch: number, base?: CapsuleImage): void {
    const slot = this.#slots.get(run);
    if (slot === undefined) return;
    const wasHeld = slot.held;
    const beganNs = this.#port.nowNs();
    const stoppedNs = slot.haltedNs ?? beganNs;
    if (!wasHeld) this.#hold(slot, stoppedNs);
    // One that stands for its copy goes on after a checkpoint: of the copy, or of everything, for output that could not wait.
    const stands = slot.stood && slot.haltedNs !== null;
    let goesOn = !hold && (!wasHeld || stands);
    try {
      const { bytes, hash } = slot.guest.encode(epoch, base);
      const encodeUs = Number(this.#port.nowNs() - beganNs) / 1_000;
      const harvest = this.#harvest(slot, hold);
      const captured = {
        run,
        id,
        capsule: bytes,
        capsuleHash: hash,
        state: stateOf(slot, stoppedNs),
      };
      this.#port.report(
        { kind: 'captured', captured: { ...captured, harvest, stoppedNs, encodeUs } },
        bufferOf(bytes),
      );
      if (hold) slot.haltedNs = null;
    } catch (cause) {
      // Whoever wanted it may not want it any more: nobody stands for an order that failed.
      goesOn = !wasHeld || (slot.haltedNs !== null && (hold || base !== undefined));
      this.#port.report({ kind: 'capture-failed', run, id, error: workerError(cause) });
    }
    if (goesOn) this.#release(slot);
  }

  /**
   * Rung for (fabric/doorbell): it stands still from now on. The order that should follow (`capture` with hold) keeps it
   * so; without one it goes on after HALT_NS. True when there was one to stop.
   */
  halt(shardId: ShardId): boolean {
    let stopped = false;
    for (const slot of this.#slots.values()) {
      if (slot.shardId !== shardId || slot.held) continue;
      this.#halt(slot, HALT_NS);
      stopped = true;
    }
    return stopped;
  }

  /** It stands still while what is left of its memory is copied; the order that should follow is as for `halt`. */
  stand(run: Run): void {
    const slot = this.#slots.get(run);
    if (slot === undefined) return;
    if (slot.haltedNs !== null) slot.haltForNs = STAND_NS;
    if (!slot.held) this.#halt(slot, STAND_NS);
    slot.stood = true;
  }

  /** It has not run since it was told to `stand`. */
  hasStood(run: Run): boolean {
    return this.#slots.get(run)?.stood ?? false;
  }

  /** No order will follow. */
  goOn(run: Run): void {
    const slot = this.#slots.get(run);
    if (slot === undefined || slot.haltedNs === null || !slot.stood) return;
    this.#release(slot);
  }

  #halt(slot: Slot, forNs: bigint): void {
    slot.haltedNs = this.#port.nowNs();
    slot.haltForNs = forNs;
    this.#hold(slot, slot.haltedNs);
  }

  /** Ends it here, with this exit. */
  end(run: Run, exit: ShardExit): void {
    const slot = this.#slots.get(run);
    if (slot !== undefined) this.#ended(slot, exit);
  }

  drop(run: Run): void {
    this.#slots.delete(run);
  }

  /** A blob has come (into the cache), or is nowhere. */
  blobCame(hash: Hash, there: boolean): void {
    for (const slot of [...this.#slots.values()]) {
      if (slot.wait?.kind !== 'blob' || slot.wait.hash !== hash) continue;
      if (there) this.#wake(slot);
      else
        this.#crashed(
          slot,
          new SherdError(
            'SHERD_BLOB_MISSING',
            `one of its inputs (blob ${hash}) is not in the store, or damaged there`,
          ),
        );
    }
  }

  durable(run: Run, hashes: readonly Hash[]): void {
    this.#slots.get(run)?.guest.host.markDurable(hashes);
  }

  /** Output that waits for a capture is handed over as it is (then `captured` does not have it any more). */
  takeOutput(run: Run): void {
    const slot = this.#slots.get(run);
    if (slot === undefined || slot.outputBytes === 0) return;
    this.#port.report({ kind: 'output', run, pieces: this.#takePieces(slot) });
  }

  inspect(run: Run, askId: string): void {
    const slot = this.#slots.get(run);
    if (slot === undefined) return;
    const progress = this.#progressOf(slot, this.#port.nowNs());
    const guestStack = stackOf(slot);
    this.#port.report({ kind: 'inspected', run, askId, progress, guestStack });
  }

  /** One quantum of the guest whose turn it is. Returns ms until the next one: 0 = now, null = nothing to wait for. */
  turn(): number | null {
    this.#endHalts();
    this.#wakeSleepers();
    const slot = this.#next();
    if (slot !== undefined) this.#quantum(slot);
    this.#sendProgress();
    return this.#untilNextMs();
  }

  #quantum(slot: Slot): void {
    const { guest } = slot;
    const { fuelUsed: fuelBefore } = guest;
    let ran: Ran;
    try {
      ran = runQuantum(slot, this.#port, this.#quantumNs);
    } catch (cause) {
      this.#crashed(slot, cause);
      return;
    }
    slot.busyNs += BigInt(ran.tookNs);
    slot.charge += Math.max(ran.tookNs, 1_000) / slot.weight;
    if (ran.result === undefined) {
      slot.warmedNs += ran.setupNs;
      return;
    }
    // An instance's clock stands still outside of `run`; a guest that is not held lives on while it waits for its turn.
    guest.host.resumeClock();
    invariant(ran.result.fuelUsed >= fuelBefore, 'fuel never runs back');
    slot.warmedNs = 0;
    this.#drain(slot);
    this.#after(slot, ran.result);
  }

  #after(slot: Slot, result: RunResult): void {
    slot.wait = null;
    if (result.kind === 'waiting') this.#beginWait(slot, result.wait);
    else if (result.kind !== 'quantum') {
      this.#ended(slot, exitOfResult(result));
      return;
    }
    this.#checkStop(slot);
  }

  #beginWait(slot: Slot, wait: Wait): void {
    slot.wait = wait.kind === 'yield' ? null : wait;
    if (wait.kind === 'until') {
      const left = wait.monotonicNs - slot.guest.host.guestMonotonicNs();
      slot.wakeNs = this.#port.nowNs() + (left > 0n ? left : 0n);
      if (left <= 0n) slot.wait = null;
      return;
    }
    if (wait.kind !== 'blob') return;
    if (this.#port.hasBlob(wait.hash)) slot.wait = null;
    else this.#port.report({ kind: 'need-blob', run: slot.run, hash: wait.hash });
  }

  #wake(slot: Slot): void {
    slot.wait = null;
    slot.charge = Math.max(slot.charge, this.#leastCharge(slot));
  }

  #endHalts(): void {
    for (const slot of this.#slots.values()) {
      if (slot.haltedNs === null || this.#port.nowNs() - slot.haltedNs < slot.haltForNs) continue;
      this.#release(slot);
    }
  }

  #wakeSleepers(): void {
    const now = this.#port.nowNs();
    for (const slot of this.#slots.values()) {
      if (!slot.held && slot.wait?.kind === 'until' && slot.wakeNs <= now) this.#wake(slot);
    }
  }

  #checkStop(slot: Slot): void {
    if (slot.held || slot.stopAtFuel === null || slot.guest.fuelUsed < slot.stopAtFuel) return;
    const now = this.#port.nowNs();
    this.#hold(slot, now);
    this.#port.report({ kind: 'reached', run: slot.run, state: stateOf(slot, now) });
  }

  #hold(slot: Slot, nowNs: bigint): void {
    invariant(!slot.held, 'only a guest that goes can be held');
    slot.held = true;
    slot.ranNs += nowNs - slot.goingSinceNs;
    slot.guest.host.suspendClock();
  }

  /** The only way out of being held. */
  #letGo(slot: Slot): void {
    slot.held = false;
    slot.haltedNs = null;
    slot.stood = false;
    slot.goingSinceNs = this.#port.nowNs();
    slot.guest.host.resumeClock();
  }

  #release(slot: Slot): void {
    this.#letGo(slot);
    // The sleep is over later: the guest's clock stood still meanwhile.
    if (slot.wait?.kind === 'until') this.#beginWait(slot, slot.wait);
    slot.charge = Math.max(slot.charge, this.#leastCharge(slot));
    this.#checkStop(slot); // it may have been set meanwhile
  }

  #drain(slot: Slot): void {
    for (const piece of slot.guest.host.drainOutput()) {
      if (piece.bytes.length === 0) continue;
      slot.outputBytes += piece.bytes.length;
      slot.output.push(piece);
    }
  }

  #harvest(slot: Slot, trees: boolean): Harvest {
    this.#drain(slot);
    return {
      output: this.#takePieces(slot),
      blobs: new Map(slot.guest.host.newBlobs()),
      trees: trees ? slot.guest.encodeTrees() : null,
    };
  }

  #takePieces(slot: Slot): OutputPiece[] {
    const pieces = joined(slot.output);
    slot.output = [];
    slot.outputBytes = 0;
    return pieces;
  }

  #ended(slot: Slot, exit: ShardExit): void {
    const now = this.#port.nowNs();
    if (!slot.held) this.#hold(slot, now);
    this.#slots.delete(slot.run);
    const state = stateOf(slot, now);
    let harvest: Harvest;
    try {
      harvest = this.#harvest(slot, true);
    } catch (cause) {
      this.#port.report({ kind: 'crashed', run: slot.run, error: workerError(cause) });
      return;
    }
    this.#port.report({ kind: 'ended', run: slot.run, exit, state, harvest });
  }

  #crashed(slot: Slot, cause: unknown): void {
    this.#slots.delete(slot.run);
    this.#port.report({ kind: 'crashed', run: slot.run, error: workerError(cause) });
  }

  #next(): Slot | undefined {
    let best: Slot | undefined;
    for (const slot of this.#slots.values()) {
      if (!isRunnable(slot)) continue;
      if (best === undefined || slot.charge < best.charge) best = slot;
    }
    return best;
  }

  /** The least charge of the other runnable guests, or 0. */
  #leastCharge(apartFrom: Slot): number {
    let least = Number.POSITIVE_INFINITY;
    for (const slot of this.#slots.values()) {
      if (slot !== apartFrom && isRunnable(slot) && slot.charge < least) least = slot.charge;
    }
    return least === Number.POSITIVE_INFINITY ? 0 : least;
  }

  #untilNextMs(): number | null {
    const now = this.#port.nowNs();
    let next: number | null = null;
    for (const slot of this.#slots.values()) {
      if (isRunnable(slot)) return 0;
      if (slot.haltedNs !== null) {
        const ms = Math.max(0, Number(slot.haltedNs + slot.haltForNs - now) / 1e6);
        if (next === null || ms < next) next = ms;
      }
      if (slot.held) continue;
      const period = slot.outputBytes > 0 ? PROGRESS_OUTPUT_NS : PROGRESS_NS;
      let atNs = slot.reportedNs + period;
      if (slot.wait?.kind === 'until' && slot.wakeNs < atNs) atNs = slot.wakeNs;
      const ms = Math.max(0, Number(atNs - now) / 1e6);
      if (next === null || ms < next) next = ms;
    }
    return next;
  }

  #sendProgress(): void {
    const now = this.#port.nowNs();
    let runs: RunProgress[] | undefined;
    for (const slot of this.#slots.values()) {
      const period = slot.outputBytes > 0 ? PROGRESS_OUTPUT_NS : PROGRESS_NS;
      if (slot.held || now - slot.reportedNs < period) continue;
      runs ??= [];
      runs.push(this.#progressOf(slot, now));
      slot.reportedNs = now;
      slot.reportedFuel = slot.guest.fuelUsed;
      slot.busyNs = 0n;
    }
    if (runs !== undefined) this.#port.report({ kind: 'progress', runs });
  }

  #progressOf(slot: Slot, now: bigint): RunProgress {
    const windowNs = Number(now - slot.reportedNs);
    const fuel = Number(slot.guest.fuelUsed - slot.reportedFuel);
    // A quantum of a thread that had to wait for a core is longer than the work in it.
    const coreShare = this.#port.coreShare(now);
    return {
      run: slot.run,
      state: stateOf(slot, now),
      fuelPerSecond: windowNs > 0 ? Math.round((fuel * 1e9) / windowNs) : 0,
      outputBytes: slot.outputBytes,
      safepoint: stackOf(slot)[0] ?? null,
      activity: activityOf(slot),
      share: windowNs > 0 ? Math.min(1, Number(slot.busyNs) / windowNs) * coreShare : 0,
    };
  }
}

function isRunnable(slot: Slot): boolean {
  return !slot.held && slot.wait === null && slot.outputBytes < OUTPUT_HELD_BYTES;
}

function activityOf(slot: Slot): ShardActivity {
  if (slot.held) return slot.started ? 'stopping' : 'loading';
  if (slot.wait?.kind === 'until') return 'sleeping';
  if (slot.wait?.kind === 'blob') return 'fetching';
  return slot.busyNs > 0n ? 'running' : 'runnable';
}

function stateOf(slot: Slot, nowNs: bigint): RunState {
  const going = slot.held ? 0n : nowNs - slot.goingSinceNs;
  return {
    fuelUsed: slot.guest.fuelUsed,
    memoryBytes: slot.guest.memoryBytes,
    ranMs: Number(slot.ranNs + going) / 1e6,
  };
}

function stackOf(slot: Slot): readonly string[] {
  try {
    return slot.guest.guestStack();
  } catch {
    return [];
  }
}

/** Each step of priority doubles a guest's share, within 1/16 … 16. */
function weightOf(priority: number): number {
  return 2 ** Math.max(-4, Math.min(4, priority));
}

/** Neighbours of one stream as one piece. */
function joined(pieces: readonly OutputPiece[]): OutputPiece[] {
  const all: OutputPiece[] = [];
  for (let from = 0; from < pieces.length; ) {
    const first = pieces[from]!;
    let to = from;
    let length = 0;
    for (; pieces[to]?.stream === first.stream; to++) length += pieces[to]!.bytes.length;
    const bytes = new Uint8Array(length);
    for (let at = 0; from < to; from++) {
      bytes.set(pieces[from]!.bytes, at);
      at += pieces[from]!.bytes.length;
    }
    all.push({ stream: first.stream, bytes });
  }
  return all;
}

/** An exception as plain data. */
export function workerError(cause: unknown): WorkerError {
  if (cause instanceof SherdError) {
    const { code, message } = cause;
    return { code, message, at: cause.at ?? null, next: cause.next ?? null };
  }
  const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  return { code: 'SHERD_INTERNAL', message, at: null, next: null };
}
