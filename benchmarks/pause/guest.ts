/**
 * One kernel in one worker thread, as a node runs it, and how long it goes on after it was asked to stop.
 *
 * Does: start the kernel (again, when it has ended), ask, say what each pause took. Does not: judge.
 *
 *   load ─▶ run ─▶ ask at a random moment ─▶ stands still ─▶ run ─▶ ask … ─▶ drop
 */
import { WorkerPool } from '../../host/node/pool.js';
import type { WorkerReport } from '../../host/node/worker-messages.js';
import type { ShardModule } from '../../host/types/module.js';
import { freshTakeUp, plainSpec } from '../lib/guest.js';
import { argumentBytes } from '../overhead/variants.js';

/** A thread with at most one guest. */
export class BenchThread {
  readonly #pool: WorkerPool;
  #run = 0;
  /** False: the guest has ended meanwhile. */
  #answer: ((stopped: boolean) => void) | undefined;
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
    const entryArgs = argumentBytes(parameter);
    const spec = plainSpec(module, { programName: name, entry: 'run', entryArgs, args: [name] });
    this.#run = this.#pool.nextRun();
    const running = this.#next('running');
    this.#pool.load(0, freshTakeUp(this.#run, spec), module.bytes);
    this.#pool.send(this.#run, { kind: 'run', run: this.#run, stopAtFuel: null });
    await running;
  }

  /**
   * Asks it to stop at its next safepoint. Gives µs until this thread knows that it stands still; undefined: it had
   * ended. It stands still until `goOn`.
   */
  async stop(): Promise<number | undefined> {
    const answer = new Promise<boolean>((resolve) => {
      this.#answer = resolve;
    });
    const asked = performance.now();
    // Zero lies behind every position: the guest stops at once.
    const command = { kind: 'set-stop', run: this.#run, stopAtFuel: 0n } as const;
    if (!this.#pool.send(this.#run, command)) return undefined;
    const stopped = await answer;
    const latencyUs = (performance.now() - asked) * 1_000;
    if (this.#failure !== undefined) throw this.#failure;
    return stopped ? latencyUs : undefined;
  }

  goOn(): void {
    this.#pool.send(this.#run, { kind: 'run', run: this.#run, stopAtFuel: null });
  }

  /** How long this thread waits for an answer about a guest that stands still, µs. */
  async ping(): Promise<number> {
    const answer = new Promise<boolean>((resolve) => {
      this.#answer = resolve;
    });
    const asked = performance.now();
    this.#pool.send(this.#run, { kind: 'inspect', run: this.#run, askId: 'ping' });
    await answer;
    return (performance.now() - asked) * 1_000;
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
    if (report.kind === 'reached' || report.kind === 'inspected') this.#answer?.(true);
    else if (report.kind === 'running') this.#moved?.('running');
    else if (report.kind === 'ended' || report.kind === 'dropped') {
      this.#answer?.(false);
      this.#moved?.('gone');
    } else if ('error' in report && report.error !== null) this.#fail(report.error.message);
  }

  #fail(message: string): void {
    this.#failure = new Error(message);
    this.#answer?.(false);
    this.#moved?.('gone');
  }
}
