/**
 * One kernel in one worker thread, as a node runs it, and how long it goes on after it was asked to stop.
 *
 * Does: start the kernel (again, when it has ended), ask, say what each pause took. Does not: judge.
 *
 *   load ─▶ run ─▶ ask at a random moment ─▶ captured (and goes on) ─▶ ask … ─▶ drop
 */
import { nodePlatform } from '../../host/node/platform.js';
import { WorkerPool } from '../../host/node/pool.js';
import type { Captured, WorkerReport } from '../../host/node/worker-messages.js';
import { encodeSpec } from '../../host/runtime/spec.js';
import type { ShardSpec } from '../../host/types/host.js';
import type { ShardModule } from '../../host/types/module.js';
import { argumentBytes } from '../overhead/variants.js';

export interface ObservedStop {
  /** The request → the guest stands still. */
  readonly latencyUs: number;
  readonly encodeUs: number;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A thread with at most one guest. */
export class BenchThread {
  readonly #pool: WorkerPool;
  #run = 0;
  /** `null`: the guest has ended meanwhile. */
  #answer: ((captured: Captured | null) => void) | undefined;
  #moved: ((what: 'running' | 'gone') => void) | undefined;
  #failure: unknown;

  constructor() {
    this.#pool = new WorkerPool({
      workers: 1,
      report: (report) => this.#report(report),
      lost: (_run, error) => this.#fail(error.message),
    });
  }

  /** Starts `run(parameter)` and gives back when it runs. */
  async start(module: ShardModule, name: string, parameter: number): Promise<void> {
    const spec = encodeSpec(specOf(module, name, argumentBytes(parameter)));
    this.#run = this.#pool.nextRun();
    const takeUp = {
      run: this.#run,
      shardId: name,
      moduleHash: module.moduleHash,
      specHash: nodePlatform.sha256(spec),
      spec,
      capsule: null,
      capsuleVerified: false,
      priority: 0,
    };
    const running = this.#next('running');
    this.#pool.load(0, takeUp, module.bytes);
    this.#pool.send(this.#run, { kind: 'run', run: this.#run, stopAtFuel: null });
    await running;
  }

  /** Asks it to stop; it goes on afterwards unless `hold`. Undefined: it had ended. */
  async stop(hold: boolean): Promise<ObservedStop | undefined> {
    const answer = new Promise<Captured | null>((resolve) => {
      this.#answer = resolve;
    });
    const askedNs = process.hrtime.bigint();
    const command = { kind: 'capture', run: this.#run, id: 'pause', hold, epoch: 0 } as const;
    if (!this.#pool.send(this.#run, command)) return undefined;
    const captured = await answer;
    if (this.#failure !== undefined) throw this.#failure;
    if (captured === null) return undefined;
    const latencyUs = Number(captured.stoppedNs - askedNs) / 1_000;
    return { latencyUs, encodeUs: captured.encodeUs };
  }

  /** Forgets the guest, wherever it is. */
  async drop(): Promise<void> {
    const gone = this.#next('gone');
    if (!this.#pool.send(this.#run, { kind: 'drop', run: this.#run })) return;
    await gone;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  #next(wanted: 'running' | 'gone'): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#moved = (what) => {
        if (this.#failure !== undefined) reject(this.#failure);
        else if (what === wanted || what === 'gone') resolve();
      };
    });
  }

  #report(report: WorkerReport): void {
    if (report.kind === 'captured') this.#answer?.(report.captured);
    else if (report.kind === 'running') this.#moved?.('running');
    else if (report.kind === 'ended' || report.kind === 'dropped') {
      this.#answer?.(null);
      this.#moved?.('gone');
    } else if ('error' in report && report.error !== null) this.#fail(report.error.message);
  }

  #fail(message: string): void {
    this.#failure = new Error(message);
    this.#answer?.(null);
    this.#moved?.('gone');
  }
}

function specOf(module: ShardModule, name: string, entryArgs: Uint8Array): ShardSpec {
  return {
    v: 1,
    programName: name,
    moduleHash: module.moduleHash,
    entry: 'run',
    entryArgs,
    args: [name],
    env: [],
    stdin: [],
    dirs: [],
    seed: '0'.repeat(32),
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
  };
}

export { sleep };
