/**
 * What a signal means to a command that runs something.
 *
 *   running ──1st signal──▶ ending (the command's own `gently`) ──2nd signal──▶ `atOnce`, process ends with 128 + signal
 *
 * Does: turn SIGINT, SIGTERM and SIGHUP into the two stages; let a command end as by SIGHUP for another reason.
 * Does not: know what gently and at once mean, or who started the process (starter.ts).
 *
 * I1  `gently` is called at most once, `atOnce` at most once and never before `gently`.
 * I2  After `dispose` signals have their default meaning again.
 * I3  Under nohup a SIGHUP does nothing.
 */
import { EXIT } from '../types/errors.js';
import { startedWithNohup } from './starter.js';

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

const CODES: Readonly<Record<StopSignal, number>> = {
  SIGINT: EXIT.sigint,
  SIGTERM: EXIT.sigterm,
  SIGHUP: 129,
};

export function exitCodeOfSignal(signal: StopSignal): number {
  return CODES[signal];
}

export interface InterruptHandlers {
  gently(signal: StopSignal): void;
  /** Synchronous: the process exits right after it. */
  atOnce(signal: StopSignal): void;
}

/** The slice of `process` that is used; tests give their own. */
export interface SignalSource {
  on(signal: StopSignal, handler: () => void): unknown;
  removeListener(signal: StopSignal, handler: () => void): unknown;
  exit(code: number): void;
}

export class Interrupts {
  readonly #source: SignalSource;
  readonly #handlers: InterruptHandlers;
  readonly #listeners = new Map<StopSignal, () => void>();
  #first: StopSignal | undefined;
  #ended = false;

  constructor(
    handlers: InterruptHandlers,
    source: SignalSource = process as unknown as SignalSource,
    nohup: boolean = startedWithNohup(),
  ) {
    this.#source = source;
    this.#handlers = handlers;
    for (const signal of Object.keys(CODES) as StopSignal[]) {
      const ignored = nohup && signal === 'SIGHUP';
      const listener = (): void => (ignored ? undefined : this.arrived(signal));
      this.#listeners.set(signal, listener);
      source.on(signal, listener);
    }
  }

  /** The signal that came first, when one came. */
  get signal(): StopSignal | undefined {
    return this.#first;
  }

  dispose(): void {
    for (const [signal, listener] of this.#listeners) this.#source.removeListener(signal, listener);
    this.#listeners.clear();
  }

  /** A signal has come, or something that is to be taken for one. */
  arrived(signal: StopSignal): void {
    if (this.#first === undefined) {
      this.#first = signal;
      this.#handlers.gently(signal);
      return;
    }
    if (this.#ended) return;
    this.#ended = true;
    this.#handlers.atOnce(signal);
    this.#source.exit(CODES[signal]);
  }
}
