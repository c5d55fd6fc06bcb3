/**
 * The worker threads of one node: made, addressed, watched, replaced.
 *
 * Does: place runs on threads, wake threads, keep compiled modules warm, notice a thread that died or does not
 * answer, replace it, and say which runs were lost with it.
 * Does not: know shards, records or lives (shard-executor does), nor run guest code (worker does).
 *
 * P1  A run belongs to one thread from `load` until its `ended`, `load-failed`, `crashed`, `dropped` or loss.
 * P2  A thread's death costs its own runs only. Another thread takes its place.
 * P3  Every message is followed by a change of the thread's control word, so that neither a busy nor a sleeping
 *     thread misses it.
 */
import { availableParallelism } from 'node:os';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { makeRoom } from '../core/kept.js';
import { coresWanted } from '../oracle/demand.js';
import { invariant } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import { workerError } from './rotation.js';
import type {
  Run,
  TakeUp,
  WorkerCommand,
  WorkerError,
  WorkerReport,
  WorkerSetup,
} from './worker-messages.js';

/** Modules that a worker keeps compiled (the same number as in guests.ts). */
export const MODULES_KEPT = 32;
const STACK_MB = 64;
/** Measured: within the noise (5 %) it costs what 1 ms or 0.25 ms do (continuations are cached). A pause waits for a slice of it. */
export const DEFAULT_QUANTUM_US = 500;
/** Least time between two runs that change their thread, ms. */
const RELOCATE_MS = 500;
/** Load that must be gained by the change. */
const RELOCATE_GAIN = 0.25;
/** A forced drop waits this long for the thread's answer before it ends the thread. */
const FORCE_AFTER_MS = 3_000;
/** A thread that dies this often within a minute is not replaced at once. */
const RESTART_PAUSE_MS = 200;

/** What a thread looks like from here; tests put something else in its place. */
export interface PoolThread {
  post(command: WorkerCommand, transfer?: readonly ArrayBuffer[]): void;
  terminate(): Promise<void>;
}

export type MakeThread = (
  setup: WorkerSetup,
  events: { report(report: WorkerReport): void; died(error: WorkerError): void },
) => PoolThread;

export interface PoolOptions {
  readonly workers?: number;
  readonly quantumUs?: number;
  /** The node's doorbell. */
  readonly bell?: string | undefined;
  readonly makeThread?: MakeThread;
  /** The compiled worker.js; default the one beside this file. */
  readonly workerEntry?: URL;
  report(report: WorkerReport): void;
  /** The run is gone without a result; its thread has died or was ended. */
  lost(run: Run, error: WorkerError): void;
}

/** What a run gets of its thread, and what it would take if it were alone there; 0..1. */
interface Use {
  readonly moduleHash: Hash;
  readonly share: number;
  readonly demand: number;
}

interface Member {
  readonly index: number;
  thread: PoolThread | undefined;
  readonly modules: Set<Hash>;
  readonly runs: Map<Run, Use>;
}

export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #members: Member[] = [];
  readonly #quantumUs: number;
  readonly #forced = new Map<Run, NodeJS.Timeout>();
  #nextRun: Run = 1;
  #relocatedMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#quantumUs = options.quantumUs ?? DEFAULT_QUANTUM_US;
    const count = Math.max(1, options.workers ?? availableParallelism());
    for (let index = 0; index < count; index++) {
      const member: Member = { index, thread: undefined, modules: new Set(), runs: new Map() };
      this.#members.push(member);
      this.#makeThread(member);
    }
  }

  get workers(): number {
    return this.#members.length;
  }

  get runs(): number {
    return this.#members.reduce((sum, member) => sum + member.runs.size, 0);
  }

  /** Runs of each thread. */
  get runsByThread(): readonly number[] {
    return this.#members.map((member) => member.runs.size);
  }

  /** Cores' worth of guest work, by the newest progress. */
  get busy(): number {
    return this.#members.reduce((sum, member) => sum + busyShare(member), 0);
  }

  /** Cores' worth of guest work that there would be if every run had a core to itself: those that wait need none. */
  get demand(): number {
    return this.#members.reduce((sum, member) => sum + wantedShare(member), 0);
  }

  nextRun(): Run {
    return this.#nextRun++;
  }

  /** Compiles the module in every thread, ahead of need. */
  async prepare(moduleHash: Hash, fetch: () => Promise<Uint8Array | undefined>): Promise<void> {
    const cold = this.#members.filter(
      (member) => member.thread !== undefined && !member.modules.has(moduleHash),
    );
    if (cold.length === 0) return;
    const bytes = await fetch();
    if (bytes === undefined) return;
    for (const member of cold) {
      if (member.thread !== undefined) this.#prepare(member, moduleHash, bytes);
    }
  }

  /** Has an instance ready in the thread to which the next run should go; nothing when its module is cold there. */
  spare(moduleHash: Hash, memoryBytes: number): void {
    const member = this.#members[this.place()]!;
    if (member.modules.has(moduleHash))
      this.#post(member, { kind: 'spare', moduleHash, memoryBytes });
  }

  /** The least loaded thread's index: where the next run should go. */
  place(): number {
    let best = this.#members[0]!;
    for (const member of this.#members) {
      if (demandOf(member) < demandOf(best)) best = member;
    }
    return best.index;
  }

  /** True when some thread has the module, or this many others are warm already. */
  isWarm(moduleHash: Hash, others: number): boolean {
    return this.#members.some(({ modules }) => modules.has(moduleHash) || modules.size >= others);
  }

  isPrepared(index: number, moduleHash: Hash): boolean {
    return this.#members[index]!.modules.has(moduleHash);
  }

  /** `module`: its bytes, needed unless the thread has it prepared. `transfer`: buffers that the caller gives away. */
  load(
    index: number,
    takeUp: TakeUp,
    module: Uint8Array | undefined,
    transfer: readonly ArrayBuffer[] = [],
  ): void {
    const member = this.#members[index]!;
    this.#makeThread(member);
    if (!member.modules.has(takeUp.moduleHash)) {
      invariant(module !== undefined, 'a cold module comes with its bytes');
      this.#prepare(member, takeUp.moduleHash, module);
    }
    member.runs.set(takeUp.run, { moduleHash: takeUp.moduleHash, share: 0, demand: 1 });
    this.#post(member, { kind: 'load', takeUp }, transfer);
  }

  /** Sends a command to the thread that has the run; nothing happens when none has. */
  send(
    run: Run,
    command: Extract<WorkerCommand, { run: Run }> | Extract<WorkerCommand, { kind: 'blob' }>,
    transfer: readonly ArrayBuffer[] = [],
  ): boolean {
    const member = this.#memberOf(run);
    if (member === undefined) return false;
    this.#post(member, command, transfer);
    return true;
  }

  /** Sends a command that concerns no run to a thread. */
  post(
    index: number,
    command: Extract<WorkerCommand, { kind: 'arrive' | 'forget-arrival' }>,
    transfer: readonly ArrayBuffer[] = [],
  ): void {
    this.#post(this.#members[index]!, command, transfer);
  }

  /** `force`: a thread that does not answer is ended. */
  drop(run: Run, force: boolean): void {
    const member = this.#memberOf(run);
    if (member === undefined) return;
    this.#post(member, { kind: 'drop', run });
    if (!force || this.#forced.has(run)) return;
    const timer = setTimeout(() => {
      this.#forced.delete(run);
      void this.#end(
        member,
        `a shard did not stop within ${FORCE_AFTER_MS} ms and was ended by force`,
      );
    }, FORCE_AFTER_MS);
    this.#forced.set(run, timer);
  }

  /**
   * True when the run would be clearly better off in another thread. Said to one run at a time: the others judge again
   * when its change shows.
   */
  betterElsewhere(run: Run): boolean {
    const here = this.#memberOf(run);
    const now = performance.now();
    if (here === undefined || now - this.#relocatedMs < RELOCATE_MS) return false;
    const there = this.#members[this.place()]!;
    if (there === here || demandOf(there) + 1 + RELOCATE_GAIN > demandOf(here)) return false;
    this.#relocatedMs = now;
    return true;
  }

  /** Ends a thread as a crash would; another one takes its place. */
  async endThread(index: number): Promise<void> {
    await this.#end(this.#members[index]!, 'its worker thread was ended');
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#forced.values()) clearTimeout(timer);
    await Promise.all(this.#members.map((member) => member.thread?.terminate()));
  }

  #memberOf(run: Run): Member | undefined {
    return this.#members.find((member) => member.runs.has(run));
  }

  #prepare(member: Member, moduleHash: Hash, bytes: Uint8Array): void {
    makeRoom(member.modules, MODULES_KEPT);
    member.modules.add(moduleHash);
    this.#post(member, { kind: 'prepare', moduleHash, bytes });
  }

  #post(member: Member, command: WorkerCommand, transfer: readonly ArrayBuffer[] = []): void {
    member.thread?.post(command, transfer);
  }

  #makeThread(member: Member): void {
    if (this.#closed || member.thread !== undefined) return;
    const setup: WorkerSetup = {
      index: member.index,
      control: new SharedArrayBuffer(4),
      bell: this.#options.bell,
      quantumUs: this.#quantumUs,
    };
    const { makeThread, workerEntry } = this.#options;
    const make = makeThread ?? workerThreads(workerEntry ?? WORKER_ENTRY);
    const thread: PoolThread = make(setup, {
      report: (report) => {
        if (member.thread === thread) this.#onReport(member, report);
      },
      died: (error) => {
        if (member.thread === thread) this.#onDeath(member, error);
      },
    });
    member.thread = thread;
  }

  #onReport(member: Member, report: WorkerReport): void {
    if (report.kind === 'progress') {
      for (const progress of report.runs) {
        const { run, share } = progress;
        const use = member.runs.get(run);
        if (use !== undefined)
          member.runs.set(run, { ...use, share, demand: coresWanted(progress) });
      }
    } else if (report.kind === 'prepared') {
      if (report.error !== null) member.modules.delete(report.moduleHash);
    } else if (report.kind === 'load-failed' || report.kind === 'ended') {
      // Whatever was wrong: the next try brings the module along.
      const use = member.runs.get(report.run);
      if (use !== undefined && report.kind === 'load-failed') member.modules.delete(use.moduleHash);
      member.runs.delete(report.run);
    } else if (report.kind === 'crashed' || report.kind === 'dropped') {
      member.runs.delete(report.run);
      clearTimeout(this.#forced.get(report.run));
      this.#forced.delete(report.run);
    }
    this.#options.report(report);
  }

  async #end(member: Member, message: string): Promise<void> {
    const thread = member.thread;
    if (thread === undefined) return;
    this.#onDeath(member, { code: 'SHERD_CANNOT_PAUSE', message, at: null, next: null });
    await thread.terminate();
  }

  #onDeath(member: Member, error: WorkerError): void {
    member.thread = undefined;
    const lost = [...member.runs.keys()];
    member.runs.clear();
    member.modules.clear();
    if (this.#closed) return;
    setTimeout(() => this.#makeThread(member), RESTART_PAUSE_MS).unref();
    for (const run of lost) {
      clearTimeout(this.#forced.get(run));
      this.#forced.delete(run);
      this.#options.lost(run, error);
    }
  }
}

function demandOf(member: Member): number {
  return wantedShare(member) + (member.thread === undefined ? 1_000 : 0);
}

function wantedShare(member: Member): number {
  let demand = 0;
  for (const use of member.runs.values()) demand += use.demand;
  return demand;
}

function busyShare(member: Member): number {
  let share = 0;
  for (const use of member.runs.values()) share += use.share;
  return Math.min(1, share);
}

const WORKER_ENTRY = new URL('./worker.js', import.meta.url);

function workerThreads(entry: URL): MakeThread {
  return (setup, events) => {
    const { port1, port2 } = new MessageChannel();
    const word = new Int32Array(setup.control);
    const worker = new Worker(entry, {
      workerData: { setup, port: port2 },
      transferList: [port2],
      execArgv: [],
      resourceLimits: { stackSizeMb: STACK_MB },
      name: `sherd-worker-${setup.index}`,
    });
    let cause: unknown = new Error('the worker thread has ended');
    port1.on('message', (report: WorkerReport) => events.report(report));
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', () => {
      port1.close();
      events.died(deathOf(cause));
    });
    return {
      post: (command, transfer) => postAndWake(port1, word, command, transfer ?? []),
      terminate: async () => {
        await worker.terminate();
      },
    };
  };
}

function postAndWake(
  port: MessagePort,
  word: Int32Array,
  command: WorkerCommand,
  transfer: readonly ArrayBuffer[],
): void {
  port.postMessage(command, [...transfer]);
  Atomics.add(word, 0, 1);
  Atomics.notify(word, 0);
}

function deathOf(cause: unknown): WorkerError {
  if ((cause as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY') {
    const message = 'a worker thread ran out of memory';
    return { code: 'SHERD_ENGINE_MEMORY', message, at: null, next: null };
  }
  return workerError(cause);
}
