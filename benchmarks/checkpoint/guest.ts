/**
 * One shard with a large memory in a worker thread, and checkpoints of it into a real store, as a node makes them.
 *
 *     everything:  capture ──▶ stands still: encode, hash ──▶ goes on │ store
 *     kept copy:   a last round of its copy ──▶ stands still: find, batch ▶ store ▶ capture of the rest ──▶ goes on
 *
 * Does: run the guest, make both kinds, say how long it stood still. Does not: commit (one record, the same for both), or judge.
 */
import { nodePlatform } from '../../host/node/platform.js';
import { WorkerPool } from '../../host/node/pool.js';
import { Stager } from '../../host/node/stager.js';
import type { Captured, WorkerReport } from '../../host/node/worker-messages.js';
import type { Blobs } from '../../host/types/fabric.js';
import type { ShardModule } from '../../host/types/module.js';
import { freshTakeUp, plainSpec } from '../lib/guest.js';

export interface Checkpoint {
  /** The guest stands still → this thread knows that it goes on. */
  readonly stoodMs: number;
  /** From the request until all of it is stored. */
  readonly tookMs: number;
  readonly storedBytes: number;
  /** There was no kept copy that could go on: all of the memory was copied first, while the guest ran. */
  readonly anew: boolean;
}

export class CheckpointGuest {
  readonly #pool: WorkerPool;
  readonly #blobs: Blobs;
  readonly #module: ShardModule;
  #run = 0;
  #stager: Stager | undefined;
  #copies = 0;
  #anew = false;
  #stored = 0;
  #memoryBytes = 0;
  #captured: ((captured: Captured) => void) | undefined;
  #staged: ((ready: boolean) => void) | undefined;
  #running: (() => void) | undefined;
  #failure: unknown;

  constructor(module: ShardModule, blobs: Blobs) {
    this.#module = module;
    this.#blobs = blobs;
    this.#pool = new WorkerPool({
      workers: 1,
      report: (report) => this.#report(report),
      lost: (_run, error) => this.#fail(error.message),
    });
  }

  async start(args: readonly string[]): Promise<void> {
    const module = this.#module;
    const own = { programName: args[0]!, entry: '_start', entryArgs: new Uint8Array(0), args };
    this.#run = this.#pool.nextRun();
    const running = new Promise<void>((resolve) => {
      this.#running = resolve;
    });
    this.#pool.load(0, freshTakeUp(this.#run, plainSpec(module, own)), module.bytes);
    this.#pool.send(this.#run, { kind: 'run', run: this.#run, stopAtFuel: null });
    await running;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** All of the memory in one capsule. */
  async everything(): Promise<Checkpoint> {
    return this.#checkpoint(async () => null);
  }

  /** What was written since the last one of this kind; the first: all of it, while the guest runs. */
  async ofCopy(): Promise<Checkpoint> {
    return this.#checkpoint(async () => {
      const staged = new Promise<boolean>((resolve) => {
        this.#staged = resolve;
      });
      this.#copies += 1;
      const opId = `copy-${this.#copies}`;
      this.#anew = this.#stager?.again(opId) !== true;
      if (this.#anew) {
        this.#stager?.close();
        this.#stager = this.#newStager(opId);
      }
      if (!(await staged)) throw new Error('the copy was given up');
      return this.#stager ?? null;
    });
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #checkpoint(stage: () => Promise<Stager | null>): Promise<Checkpoint> {
    const askedMs = performance.now();
    this.#stored = 0;
    this.#anew = false;
    const stager = await stage();
    const run = this.#run;
    const asked = new Promise<Captured>((resolve) => {
      this.#captured = resolve;
    });
    const what = { kind: 'capture', run, id: 'c', hold: false, epoch: 1 } as const;
    this.#pool.send(run, { ...what, staged: stager?.name ?? null });
    const { capsule, capsuleHash, stoppedNs } = await asked;
    const stoodMs = Number(process.hrtime.bigint() - stoppedNs) / 1e6;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#put(capsuleHash, capsule);
    this.#pool.send(run, { kind: 'recycle', run, buffer: capsule.buffer as ArrayBuffer }, [
      capsule.buffer as ArrayBuffer,
    ]);
    stager?.committed();
    return {
      stoodMs,
      tookMs: performance.now() - askedMs,
      storedBytes: this.#stored,
      anew: this.#anew,
    };
  }

  #newStager(opId: string): Stager {
    const run = this.#run;
    const order = { opId, run, shardId: 'bench', moduleHash: this.#module.moduleHash };
    return new Stager(
      { ...order, source: 'bench', target: null, memoryBytes: this.#memoryBytes },
      {
        blobs: {
          put: (hash, bytes) => this.#put(hash, bytes as Uint8Array),
          has: (hash) => this.#blobs.has(hash),
        },
        platform: nodePlatform,
        policy: {},
        nowMs: () => performance.now(),
        freeBytes: () => process.availableMemory(),
        send: (command, transfer) => this.#pool.send(run, command, transfer),
        hint: () => undefined,
        answer: (_opId, ready) => this.#staged?.(ready),
        log: () => undefined,
      },
    );
  }

  async #put(hash: string, bytes: Uint8Array): Promise<void> {
    this.#stored += bytes.length;
    await this.#blobs.put(hash, bytes, { hashed: true });
  }

  #report(report: WorkerReport): void {
    if (report.kind === 'running') this.#running?.();
    else if (report.kind === 'captured') this.#captured?.(report.captured);
    else if (report.kind === 'copied') this.#stager?.copied(report);
    else if (report.kind === 'copy-failed') this.#stager?.failed(report.id);
    else if (report.kind === 'progress')
      for (const { state } of report.runs) this.#memoryBytes = state.memoryBytes;
    else if (report.kind === 'ended') this.#fail('the guest has ended');
    else if ('error' in report && report.error !== null) this.#fail(report.error.message);
  }

  #fail(message: string): void {
    this.#failure = new Error(message);
    throw this.#failure;
  }
}
