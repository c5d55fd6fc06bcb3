/**
 * From a submitted shard to this process's exit code: what `run`, `resume FILE` and the demo have in common.
 *
 *   open session ─▶ submit ─▶ follow ─┬─ done ───▶ write back ─▶ status ─▶ the program's code
 *                                     ├─ paused ─▶ capsule file ─────────▶ 75
 *                                     ├─ set aside ─▶ kept ───────────────▶ 1
 *                                     ├─ signal ─▶ end ──────────────────▶ 130 / 143
 *                                     └─ reader gone ─▶ end ─────────────▶ 141
 *
 * Does: the order above, signals, --pause-after, --move-every, --status.
 * Does not: know how a job is made (the caller's `submit` does) or what a private cluster consists of (session).
 *
 * N1  Whatever happens, the session is ended and the status file, if asked for, is written before the process exits
 *     (except by SIGKILL).
 * N2  A paused program that cannot be stored in its file is kept with the data directory, paused: the run ends with 1, and
 *     the error says how to fetch it.
 * N3  Files that cannot be brought home are kept in the same way, and so is a program that sherd has set aside because it
 *     cannot go on.
 * N4  When a cluster that is not ours cannot be reached any more, the error says which shard the run is and how to go on.
 * N5  A signal that comes while a cluster that is not ours is asked to take the shard waits for its answer: the shard is ended then.
 *     Where that cannot be done, it is said that it may go on.
 * N6  A pause that a full disk keeps from being recorded is asked for again until there is room: it ends no run.
 */
import type { Keyring } from '../capsule/index.js';
import type { ControlClient } from '../control/client.js';
import type { ShardView } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import { exportCapsuleFile } from './capsule-file.js';
import { remark } from './command.js';
import { fabricUrl } from './fabric-url.js';
import { Follower, keepMoving, type Outcome } from './follow.js';
import { formatBytes, formatMs, formatShort } from './format.js';
import { exitCodeOfSignal, Interrupts, type StopSignal } from './interrupt.js';
import { keyringOf } from './key-file.js';
import { sayNow, stderr } from './output.js';
import { waitMs } from './patience.js';
import { freshFuel, Progress } from './progress.js';
import { asSherdError, EXIT_CLOSED_PIPE } from './report.js';
import type { RunSettings } from './run-options.js';
import type { Session } from './session.js';
import { watchStarter } from './starter.js';
import {
  checkStatusPath,
  errorStatus,
  figuresOf,
  requireDirectoryOf,
  type StatusReport,
  writeStatus,
  writeStatusNow,
} from './status.js';
import { describeExit } from './views.js';

export interface Job {
  /** Name for messages: the program's file or the capsule's. */
  readonly at: string;
  /**
   * Reads what can be refused before anything runs (program, capsule). What it gives submits: it reads the other inputs,
   * puts them and returns the shard's id.
   */
  prepare(context: JobContext): Promise<(session: Session) => Promise<string>>;
  /** After the program's end: brings its files home. Returns the exit code to use instead, when something went wrong. */
  finish(client: ControlClient, view: ShardView, context: JobContext): Promise<number | undefined>;
}

/** It had run for `fromMs` when it was taken up, and is to run for `forMs` more. */
interface RunTime {
  readonly fromMs: number;
  readonly forMs: number;
}

export interface JobContext {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Does what makes the shard: from its begin on there may be one (N5). */
  submit(ask: () => Promise<string>): Promise<string>;
  /** A line on stderr, unless --quiet. */
  remark(text: string): void;
}

/** What a session needs of it: to begin, and to say so. */
export type SessionContext = Omit<JobContext, 'submit'>;

/** How long until a pause that could not be recorded is asked for again. */
const PAUSE_AGAIN_MS = 500;
/** How often one looks whether the shard runs. */
const LOOK_MS = 20;
const LEAST_WAIT_MS = 5;
/** How long it has run is asked again after so long when nobody can tell, and so many times when nobody answers. */
const ASK_AGAIN_MS = 200;
const UNANSWERED = 3;
/** How long a pause may take before the user is told what else can be done. */
const PAUSE_PATIENCE_MS = 5_000;
/** What goes wrong for a moment and then works is not worth a line. */
const TROUBLE_LASTS_MS = 1_000;
/** What went wrong is said with --quiet, too. */
const EVEN_QUIET = { quiet: false };

/** Runs the job and returns the exit code. Errors before the start are thrown; the status file has them too. */
export async function runJob(
  job: Job,
  settings: RunSettings,
  openSession: (context: JobContext) => Promise<Session>,
): Promise<number> {
  const { statusFile } = settings;
  if (statusFile !== undefined) await checkStatusPath(statusFile);
  const startMs = performance.now();
  const run = new Run(job, settings, startMs);
  let report: StatusReport;
  try {
    if (settings.capsuleFile !== undefined) await requireDirectoryOf(settings.capsuleFile, '-o');
    run.keyring = await keyringOf(settings.keyFile);
    report = await run.toTheEnd(openSession);
  } catch (thrown) {
    const error = asSherdError(thrown);
    const figures =
      run.latest === undefined ? null : figuresOf(run.latest, performance.now() - startMs);
    if (statusFile !== undefined) {
      // What went wrong first is what counts; both are said.
      await writeStatus(statusFile, errorStatus(error, figures)).catch((cause: unknown) =>
        stderr.write(`${asSherdError(cause).toLine()}\n`).catch(() => undefined),
      );
    }
    throw thrown;
  }
  if (statusFile !== undefined) await writeStatus(statusFile, report);
  return report.code;
}

class Run {
  readonly #job: Job;
  readonly #settings: RunSettings;
  readonly #startMs: number;
  readonly #abort = new AbortController();
  readonly #context: JobContext;
  readonly #progress: Progress;
  /** Seals the file of a pause. */
  keyring: Keyring | undefined;
  #opening: Promise<Session> | undefined;
  #session: Session | undefined;
  /** The program has ended; what is left is quick and not to be interrupted halfway. */
  #concluding = false;
  #follower: Follower | undefined;
  #shardId: string | undefined;
  #asked: Promise<string> | undefined;
  #interrupts: Interrupts | undefined;
  #trouble = { text: '', sinceMs: 0, told: false };
  /** Resolves when a signal ends the run without a pause. */
  #interrupted!: (signal: StopSignal) => void;
  readonly #interruption = new Promise<StopSignal>((resolve) => {
    this.#interrupted = resolve;
  });

  constructor(job: Job, settings: RunSettings, startMs: number) {
    this.#job = job;
    this.#settings = settings;
    this.#startMs = startMs;
    this.#progress = new Progress({ quiet: settings.quiet });
    this.#context = {
      progress: this.#progress,
      signal: this.#abort.signal,
      submit: (ask) => this.#submit(ask),
      remark: (text) => {
        if (settings.quiet) return;
        void this.#progress.clear();
        void remark(settings, text).catch(() => undefined);
      },
    };
  }

  get latest(): ShardView | undefined {
    return this.#follower?.latest;
  }

  async toTheEnd(openSession: (context: JobContext) => Promise<Session>): Promise<StatusReport> {
    this.#interrupts = new Interrupts({
      gently: (signal) =>
        void this.#gently(signal).catch((cause: unknown) => {
          sayNow(`the program could not be paused and ends: ${asSherdError(cause).message}`);
          this.#interrupted(signal);
        }),
      atOnce: (signal) => this.#atOnce(signal),
    });
    const unwatch = watchStarter(() => {
      this.#context.remark(
        'what started this run has ended (nohup or setsid lets a run outlive it)',
      );
      this.#interrupts?.arrived('SIGHUP');
    });
    const work = this.#work(openSession);
    try {
      const first = await Promise.race([work, this.#interruption]);
      return typeof first === 'string' ? await this.#endBySignal(first) : first;
    } catch (thrown) {
      throw this.#lostSight(thrown);
    } finally {
      this.#abort.abort();
      work.catch(() => undefined); // after a signal nobody waits for it
      void this.#progress.end();
      const session = await this.#opening?.catch(() => undefined);
      await session?.end();
      unwatch();
      this.#interrupts.dispose();
    }
  }

  async #work(openSession: (context: JobContext) => Promise<Session>): Promise<StatusReport> {
    // What is refused is refused before a process is started.
    const submit = await this.#job.prepare(this.#context);
    this.#abort.signal.throwIfAborted();
    this.#opening = openSession(this.#context);
    const session = await this.#opening;
    this.#session = session;
    this.#abort.signal.throwIfAborted();
    const { client } = session;
    const shardId = await submit(session).catch((cause: unknown) => {
      throw notSubmitted(cause, session);
    });
    this.#follower = new Follower({
      client,
      shardId,
      progress: this.#progress,
      signal: this.#abort.signal,
      onView: (view) => this.#tellTrouble(view),
    });
    if (this.#settings.pauseAtFuel !== undefined || this.#settings.pauseAfterMs !== undefined) {
      this.#follower.expectPause();
    }
    const helpers = this.#startHelpers(client, shardId);
    const outcome = await Promise.race([this.#follower.run(), helpers]);
    return this.#conclude(client, outcome);
  }

  async #submit(ask: () => Promise<string>): Promise<string> {
    this.#abort.signal.throwIfAborted();
    this.#asked = ask();
    this.#shardId = await this.#asked;
    return this.#shardId;
  }

  /** Mover and pause timer. Never resolves; rejects when one of them fails. */
  #startHelpers(client: ControlClient, shardId: string): Promise<never> {
    const { signal } = this.#abort;
    return new Promise((_resolve, reject) => {
      const { moveEveryMs, pauseAfterMs } = this.#settings;
      if (moveEveryMs !== undefined) {
        keepMoving(client, shardId, moveEveryMs, () => this.latest, signal).catch(reject);
      }
      if (pauseAfterMs !== undefined) {
        this.#untilRunning(signal)
          .then((fromMs) => this.#untilRan(client, shardId, { fromMs, forMs: pauseAfterMs }))
          .then(() => (signal.aborted ? undefined : this.#askForPause(client, shardId)))
          .catch(reject);
      }
    });
  }

  /**
   * Processes that start, and a place that has to get free, are no part of the time after which it is to pause.
   * Gives how long it had run before.
   */
  async #untilRunning(signal: AbortSignal): Promise<number> {
    let fromMs = this.latest?.ranMs;
    while (!signal.aborted && this.latest?.status !== 'running') {
      await waitMs(LOOK_MS, signal);
      fromMs ??= this.latest?.ranMs;
    }
    return fromMs ?? 0;
  }

  /**
   * Time in which it stands still (for a checkpoint, a move) counts as little, so its node is asked how long it has run when
   * that may be enough. While it has no place nobody can tell, and it does not run: asked again. Who is not told by its node (it is
   * silent, or knows no such time), or not answered UNANSWERED times, goes by the clock.
   */
  async #untilRan(client: ControlClient, shardId: string, wanted: RunTime): Promise<void> {
    const { signal } = this.#abort;
    let unanswered = 0;
    for (let leftMs = wanted.forMs; leftMs > 0 && !signal.aborted; ) {
      await waitMs(Math.max(leftMs, LEAST_WAIT_MS), signal);
      await this.#untilRunning(signal);
      const now = signal.aborted ? undefined : await client.inspect(shardId).catch(() => undefined);
      if (now === undefined) unanswered++;
      if (now?.source === 'live' && now.ranMs !== undefined)
        leftMs = wanted.fromMs + wanted.forMs - now.ranMs;
      else if (now?.source === 'capsule' || now?.source === 'none') leftMs = ASK_AGAIN_MS;
      else leftMs = now === undefined && unanswered < UNANSWERED ? ASK_AGAIN_MS : 0;
    }
  }

  /** Says once that the shard waits for something (a full disk …), when that lasts. */
  #tellTrouble(view: ShardView): void {
    const trouble = view.status === 'done' ? '' : (view.progress?.trouble ?? '');
    if (trouble !== this.#trouble.text) {
      this.#trouble = { text: trouble, sinceMs: performance.now(), told: false };
    }
    const lastsMs = performance.now() - this.#trouble.sinceMs;
    if (trouble === '' || this.#trouble.told || lastsMs < TROUBLE_LASTS_MS) return;
    this.#trouble.told = true;
    this.#tellOf(`it waits and tries again: ${trouble}`);
  }

  #tellOf(trouble: string): void {
    void this.#progress.clear();
    const line = `${this.#job.at}: ${trouble} — mend that, or end the run with Ctrl-C`;
    void remark(EVEN_QUIET, line).catch(() => undefined);
  }

  async #askForPause(client: ControlClient, shardId: string): Promise<void> {
    // A shard that was paused before any node took it up has no capsule to take home.
    await this.#follower?.untilStarted();
    this.#follower?.expectPause();
    if (!(await this.#recordPause(client, shardId))) return; // it has ended meanwhile
    await waitMs(PAUSE_PATIENCE_MS, this.#abort.signal);
    if (!this.#abort.signal.aborted && !this.#concluding) {
      this.#context.remark('the pause is not answered yet; Ctrl-C ends the run at once');
    }
  }

  /** N6. False: there is nothing to pause any more. */
  async #recordPause(client: ControlClient, shardId: string): Promise<boolean> {
    const { signal } = this.#abort;
    let told = this.#trouble.told;
    while (!signal.aborted && !this.#concluding) {
      try {
        await client.pause(shardId);
        return true;
      } catch (thrown) {
        const error = asSherdError(thrown);
        if (error.code === 'SHERD_STATE') return false;
        if (!passes(error)) throw thrown;
        if (!told) this.#tellOf(`the pause waits: ${error.at ?? 'store'}: ${error.message}`);
        told = true;
      }
      await waitMs(PAUSE_AGAIN_MS, signal);
    }
    return false;
  }

  async #gently(signal: StopSignal): Promise<void> {
    const { capsuleFile } = this.#settings;
    const client = this.#session?.client;
    if (this.#concluding) return;
    if (capsuleFile === undefined || client === undefined || this.#shardId === undefined) {
      this.#interrupted(signal);
      return;
    }
    this.#context.remark(`pausing into ${capsuleFile}; once more ends at once`);
    await this.#askForPause(client, this.#shardId);
  }

  /** The last moment of the process: everything here is synchronous. */
  #atOnce(signal: StopSignal): void {
    void this.#progress.end();
    this.#session?.endNow();
    const left = this.#leftBehind();
    if (left !== '') sayNow(left);
    const { statusFile } = this.#settings;
    if (statusFile === undefined) return;
    const code = exitCodeOfSignal(signal);
    writeStatusNow(
      statusFile,
      this.#report('interrupted', code, `ended by ${signal}`, this.latest),
    );
  }

  async #endBySignal(signal: StopSignal): Promise<StatusReport> {
    const code = exitCodeOfSignal(signal);
    await this.#dropShard();
    return this.#report('interrupted', code, `ended by ${signal}`, this.latest);
  }

  /** N4. */
  #lostSight(thrown: unknown): unknown {
    const session = this.#session;
    if (session?.isPrivate !== false || this.#shardId === undefined) return thrown;
    const error = asSherdError(thrown);
    if (error.code !== 'SHERD_NO_CLUSTER' && error.code !== 'SHERD_TIMEOUT') return thrown;
    return new SherdError(
      error.code,
      `${error.message}; the program is its shard ${this.#shardId}`,
      {
        at: error.at,
        next: `when it is up again: sherd result --wait ${this.#whence(session.directory)}`,
        exitCode: EXIT.failedLater,
        cause: error,
      },
    );
  }

  /** The options of `sherd result` that fetch this run's files. */
  #whence(directory: string): string {
    const dirs = this.#settings.dirs
      .filter((dir) => !dir.readOnly)
      .map((dir) => ` --dir ${dir.guestPath}=${dir.hostPath}`)
      .join('');
    return `--fabric ${fabricUrl(directory)}${dirs} ${this.#shardId}`;
  }

  /** In a cluster that is not ours the shard must not stay behind (N5). */
  async #dropShard(): Promise<void> {
    if (this.#session?.isPrivate !== false) return;
    await this.#asked?.catch(() => undefined);
    if (this.#shardId === undefined) return;
    await this.#session.client.kill(this.#shardId).catch((thrown: unknown) => {
      if (thrown instanceof SherdError && thrown.code === 'SHERD_NO_SHARD') return;
      sayNow(this.#leftBehind());
    });
  }

  /** What may go on in a cluster that is not ours; empty when nothing is there. */
  #leftBehind(): string {
    const session = this.#session;
    if (session?.isPrivate !== false || this.#asked === undefined) return '';
    const fabric = `--fabric ${fabricUrl(session.directory)}`;
    return this.#shardId === undefined
      ? `its submission was under way and may be carried out; look with: sherd ps ${fabric}`
      : `${this.#shardId} was not waited for and may go on; end it with: sherd kill ${fabric} ${this.#shardId}`;
  }

  async #conclude(client: ControlClient, outcome: Outcome): Promise<StatusReport> {
    if (outcome.kind === 'closed-pipe') {
      await this.#dropShard();
      return this.#report(
        'closed-pipe',
        EXIT_CLOSED_PIPE,
        'the reader of the output closed it',
        this.latest,
      );
    }
    this.#concluding = true;
    void this.#progress.end();
    if (outcome.kind === 'set-aside') throw await this.#setAside(outcome.view);
    if (outcome.kind === 'paused') return this.#concludePause(client, outcome.view);
    return this.#concludeEnd(client, outcome.view);
  }

  async #concludePause(client: ControlClient, view: ShardView): Promise<StatusReport> {
    const file = this.#settings.capsuleFile ?? 'paused.capsule';
    const bytes = await this.#store(client, view, file);
    const { keyFile } = this.#settings;
    this.#context.remark(
      `paused at fuel ${view.fuelUsed} into ${file} (${formatBytes(bytes)}, capsule ${formatBytes(view.capsuleBytes)}); ` +
        `go on with: sherd resume ${keyFile === undefined ? '' : `--key ${keyFile} `}${file}`,
    );
    await this.#forget(client, view);
    const report = this.#report('paused', EXIT.paused, `paused at fuel ${view.fuelUsed}`, view);
    return { ...report, capsuleFile: file };
  }

  /** N3. */
  #setAside({ id, fault }: ShardView): Promise<SherdError> {
    const error = new SherdError('SHERD_SET_ASIDE', `it cannot go on: ${fault}`, {
      at: this.#job.at,
      next: 'put that right',
    });
    return this.#kept(error, 'the program is paused and kept', (directory) => {
      const resume = `sherd resume --fabric ${fabricUrl(directory)} ${id}`;
      return `${resume} && sherd result --wait ${this.#whence(directory)}`;
    });
  }

  /** N2. */
  async #store(client: ControlClient, view: ShardView, file: string): Promise<number> {
    const { thin } = this.#settings;
    try {
      return await exportCapsuleFile(client, view, file, { thin, keyring: this.keyring });
    } catch (thrown) {
      const verb = `pause${thin ? ' --thin' : ''}`;
      throw await this.#kept(thrown, 'the program is paused and kept', (directory) => {
        return `sherd ${verb} --fabric ${fabricUrl(directory)} -o FILE ${view.id}`;
      });
    }
  }

  /** What was taken home as a file need not stay in a cluster that is not ours. */
  async #forget(client: ControlClient, view: ShardView): Promise<void> {
    if (this.#session?.isPrivate === false)
      await client.remove(view.id, { force: true }).catch(() => undefined);
  }

  async #concludeEnd(client: ControlClient, view: ShardView): Promise<StatusReport> {
    const exit = view.exit;
    if (exit === null)
      throw new SherdError('SHERD_INTERNAL', 'internal: a shard is done without an exit');
    const wanted = this.#settings.pauseAtFuel;
    if (wanted !== undefined && exit.reason === 'exit') {
      this.#context.remark(
        `the program ended at fuel ${view.fuelUsed}, before the pause at ${wanted}`,
      );
    }
    // Whether anybody can read it does not change how the run ended.
    await stderr.write(describeExit(this.#job.at, exit)).catch(() => undefined);
    let code = exit.code;
    if (exit.reason !== 'killed' && exit.reason !== 'failed') {
      code = await this.#bringHome(client, view, exit.code);
    }
    const summary = this.#progress.enabled
      ? summaryOf(view, performance.now() - this.#startMs)
      : '';
    if (summary !== '') this.#context.remark(summary);
    return this.#report(exit.reason, code, exit.message, view, exit.guestStack);
  }

  /** N3. */
  async #bringHome(client: ControlClient, view: ShardView, code: number): Promise<number> {
    try {
      return (await this.#job.finish(client, view, this.#context)) ?? code;
    } catch (thrown) {
      throw await this.#kept(thrown, "the program's files are kept", (directory) => {
        return `sherd result ${this.#whence(directory)}`;
      });
    }
  }

  /** The error of something that could not be brought home: where it is now, and how it is fetched. */
  async #kept(
    thrown: unknown,
    what: string,
    fetch: (directory: string) => string,
  ): Promise<SherdError> {
    const error = asSherdError(thrown);
    const session = this.#session;
    if (session === undefined) return error;
    const directory = await session.keep();
    const fabric = fabricUrl(directory);
    const up = session.isPrivate ? `sherd up --fabric ${fabric}, and there ` : '';
    return new SherdError(error.code, `${error.message}; ${what} in ${fabric}`, {
      at: error.at,
      next: `${error.next ?? 'mend that'}, then: ${up}${fetch(directory)}`,
      exitCode: EXIT.failedLater,
      cause: error,
    });
  }

  #report(
    reason: StatusReport['reason'],
    code: number,
    message: string,
    view: ShardView | undefined,
    guestStack: readonly string[] = [],
  ): StatusReport {
    const figures = view === undefined ? null : figuresOf(view, performance.now() - this.#startMs);
    return { v: 1, reason, code, message, error: null, guestStack, capsuleFile: null, figures };
  }
}

/** What goes wrong until there is room again. */
function passes({ code }: SherdError): boolean {
  return code === 'SHERD_DISK' || code === 'SHERD_FABRIC';
}

/** Inputs for which there is no room: nothing has started, so this is a refusal. */
function notSubmitted(cause: unknown, session: Session): unknown {
  if (!(cause instanceof SherdError) || cause.code !== 'SHERD_DISK') return cause;
  const { code, message, at, next } = cause;
  const elsewhere = session.isPrivate
    ? 'free some space, or name another place (TMPDIR=DIR)'
    : next;
  return new SherdError(code, `no room for the program and its inputs: ${message}`, {
    at,
    next: elsewhere,
    exitCode: EXIT.refused,
    cause,
  });
}

function summaryOf(view: ShardView, wallMs: number): string {
  const moved =
    view.moves > 0 ? `, ${view.moves} moves, last capsule ${formatBytes(view.capsuleBytes)}` : '';
  const restarted = view.restarts > 0 ? `, ${view.restarts} restarts` : '';
  return `done in ${formatMs(wallMs)}, fuel ${formatShort(freshFuel(view))}${moved}${restarted}`;
}
