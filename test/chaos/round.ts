/**
 * One round: a cluster, jobs, faults; then everything must be as if nothing had happened.
 *
 *   up ─ submit … ─ fault ─ fault ─ … ─ all done, all compared ─ stop, up: the same ─ rm, gc: empty ─ stop: nobody left
 *
 * Does: that, from one seed; keep the folder when something was found. Does not: draw seeds or count rounds (long.ts).
 *
 * R1  The seed decides jobs, faults, their order and their delays. What a fault meets is the machine's affair.
 * R2  Nothing is decided by a clock: a round waits as long as there is progress (patience.ts).
 */
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ControlClient } from '../../host/control/client.js';
import { openEmbeddedFabric } from '../../host/fabric/embedded.js';
import type { DuReply, ShardView } from '../../host/types/api.js';
import { Random } from '../exact/random.js';
import { drawFault, type Fault, faultOf, type World } from './faults.js';
import { isAway, Job } from './job.js';
import { Stalled, sleep } from './patience.js';
import { Finding, Processes } from './processes.js';
import { KINDS, type Kind, type Programs } from './programs.js';

export interface RoundOptions {
  readonly root: string;
  /** A fresh folder; removed when the round was good. */
  readonly folder: string;
  readonly seed: number;
  /** So many, drawn from the seed; or these. */
  readonly faults: number | readonly string[];
  readonly nodes: number;
  /** Worker threads a node. */
  readonly workers: number;
  readonly programs: Programs;
  readonly kinds?: readonly Kind[];
  /** Jobs that are to be under way. */
  readonly jobs: number;
}

export interface RoundReport {
  readonly seed: number;
  readonly faults: readonly string[];
  readonly jobs: number;
  readonly restarts: number;
  readonly seconds: number;
  /** How long this process itself was stopped, or the machine was: a cluster's own deadlines may have passed in it. */
  readonly stoodStillS: number;
  /** What was found, with the step; null = all is well. */
  readonly finding: string | null;
}

/** How long a client goes on asking while nobody answers: longer than any start of a cluster. */
const CLIENT_PATIENCE_MS = 600_000;
const GAP_MS_MAX = 2_500;
const LOOK_MS = 250;
/** A timer that comes so late was not kept by a busy machine. */
const STOOD_STILL_MS = 5_000;

export async function playRound(options: RoundOptions): Promise<RoundReport> {
  mkdirSync(options.folder, { recursive: true });
  const round = new Round(options);
  const startedMs = performance.now();
  let finding: string | null = null;
  try {
    await round.play();
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const known = error instanceof Finding || error instanceof Stalled;
    finding = `step ${round.step} (${round.doing}): ${known ? error.message : what}`;
    await round.explain(finding);
  } finally {
    await round.leave();
  }
  if (finding === null) rmSync(options.folder, { recursive: true, force: true });
  const { faults, jobs, restarts } = round;
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  const stoodStillS = Math.round(round.stoodStillMs / 1_000);
  return { seed: options.seed, faults, jobs: jobs.length, restarts, seconds, stoodStillS, finding };
}

class Round implements World {
  step = 0;
  doing = 'start';
  readonly faults: string[] = [];
  readonly jobs: Job[] = [];
  readonly background: Promise<unknown>[] = [];
  readonly processes: Processes;
  readonly client: ControlClient;
  readonly random: Random;
  readonly nodes: number;
  readonly workers: number;
  stoodStillMs = 0;
  #watching = true;
  #watched: Promise<void> = Promise.resolve();
  #seen = new Map<string, string>();

  constructor(private readonly options: RoundOptions) {
    this.processes = new Processes(options.root, options.folder);
    this.client = ControlClient.forDirectory(this.processes.data, {
      patienceMs: CLIENT_PATIENCE_MS,
      quiet: { afterMs: CLIENT_PATIENCE_MS, probeMs: CLIENT_PATIENCE_MS },
    });
    this.random = new Random(options.seed);
    this.nodes = options.nodes;
    this.workers = options.workers;
  }

  readonly log = (line: string): void => {
    const now = new Date().toISOString().slice(11, 23);
    appendFileSync(join(this.options.folder, 'chaos.log'), `${now} ${line}\n`);
  };

  get restarts(): number {
    return this.jobs.reduce((sum, job) => sum + (job.view?.restarts ?? 0), 0);
  }

  async play(): Promise<void> {
    await this.processes.up(this.nodes, this.workers);
    this.#watched = this.#watch();
    while (this.jobs.length < this.options.jobs) await this.submitOne();
    const { faults } = this.options;
    const count = typeof faults === 'number' ? faults : faults.length;
    for (this.step = 1; this.step <= count; this.step++) {
      await this.#keepBusy();
      await sleep(this.random.below(GAP_MS_MAX));
      await this.#harm(
        typeof faults === 'number' ? drawFault(this.random) : faultOf(faults[this.step - 1]!),
      );
      for (const job of this.jobs) if (job.finding !== undefined) throw job.finding;
    }
    await this.#calmDown();
    await this.#finishJobs();
    await this.#checkRestart();
    await this.#checkDisk();
    this.doing = 'the last stop';
    await this.processes.term();
    await this.processes.gone();
    await this.#checkStore();
  }

  async submitOne(killMs?: number): Promise<Job> {
    const kinds = this.options.kinds ?? KINDS;
    const kind = this.random.pick(kinds);
    const { programs } = this.options;
    const job = await Job.make(kind, this.jobs.length, programs, this.processes, this.client);
    this.jobs.push(job);
    await job.submit(killMs);
    return job;
  }

  /** Faults must meet work. */
  async #keepBusy(): Promise<void> {
    this.doing = 'submit';
    const waiting = this.jobs.filter((job) => job.id !== undefined && !job.isDone);
    if (waiting.length < Math.ceil(this.options.jobs / 2)) await this.submitOne();
  }

  async #harm(fault: Fault): Promise<void> {
    this.doing = fault.name;
    this.log(`step ${this.step}: ${fault.name}`);
    const did = await fault.act(this);
    this.log(`step ${this.step}: ${fault.name}: ${did}`);
    this.faults.push(fault.name);
  }

  async #calmDown(): Promise<void> {
    this.doing = 'calm down';
    await Promise.all(this.background);
    if (!this.processes.isUp) throw new Finding(`sherd up is gone: ${this.processes.upSaid}`);
  }

  /** All jobs end, and are compared. */
  async #finishJobs(): Promise<void> {
    this.doing = 'finish';
    for (const job of this.jobs) {
      if (job.id === undefined && !(await job.submit()))
        throw new Finding(`${job.name}: no submit`);
    }
    await this.processes.patience.untilDone('the end of all jobs', async () => {
      await this.#look();
      const waiting = this.jobs.filter((job) => !job.verified);
      for (const { id, view } of waiting)
        if (view?.status === 'paused') await this.client.resume(id!).catch(() => undefined);
      return waiting.length === 0 ? undefined : waiting.map(progressOf).join('\n');
    });
    this.#watching = false;
    await this.#watched;
    for (const job of this.jobs) await job.forgetLate(await this.client.shards());
    const there = await this.#ids();
    const must = this.jobs.filter((job) => !job.removed).map((job) => job.id!);
    if (there.join() !== [...must].sort().join())
      throw new Finding(`ps shows ${there.join(' ')}, not ${must.sort().join(' ')}`);
  }

  async #ids(): Promise<string[]> {
    return (await this.client.shards()).map((view) => view.id).sort();
  }

  /** Sees all shards now; compares those that are done. */
  async #look(): Promise<void> {
    const views = new Map((await this.client.shards()).map((view) => [view.id, view]));
    for (const job of this.jobs) {
      const view = job.id === undefined ? undefined : views.get(job.id);
      if (view === undefined) continue;
      job.view = view;
      this.#note(job, view);
      if (view.status === 'done' && !job.verified) await job.verify(view);
    }
  }

  /** What changed, for the log. */
  #note(job: Job, view: ShardView): void {
    const { status, epoch, owner, wanted, restarts, moves, reason, progress } = view;
    const trouble = progress?.trouble ?? '';
    const text = `${view.id} ${status} epoch ${epoch} ${owner ?? '-'} wanted ${wanted?.op ?? '-'} restarts ${restarts} moves ${moves} ${reason} ${trouble}`;
    if (this.#seen.get(job.name) === text) return;
    this.#seen.set(job.name, text);
    this.log(`      ${job.name}: ${text} fuel ${view.fuelUsed} output ${view.output.bytes}`);
  }

  /** Sees and compares all the time, beside the faults. */
  async #watch(): Promise<void> {
    while (this.#watching) {
      await this.#look().catch((error: unknown) => {
        if (isAway(error)) return;
        const job = this.jobs[0];
        if (job !== undefined)
          job.finding ??= error instanceof Finding ? error : new Finding(String(error));
      });
      const beganMs = performance.now();
      await sleep(LOOK_MS);
      const lateMs = performance.now() - beganMs - LOOK_MS;
      if (lateMs < STOOD_STILL_MS) continue;
      this.stoodStillMs += lateMs;
      this.log(`everything stood still for ${Math.round(lateMs)} ms`);
    }
  }

  /** Stopped in good order and started again: the same shards, the same results. */
  async #checkRestart(): Promise<void> {
    this.doing = 'restart';
    const before = await this.client.shards();
    await this.processes.term();
    await this.processes.gone();
    await this.processes.up(1, this.workers);
    const after = await this.client.shards();
    const facts = (views: readonly ShardView[]): string =>
      JSON.stringify(
        views.map(({ id, status, fuelUsed, output, exit }) => [id, status, fuelUsed, output, exit]),
      );
    if (facts(before) !== facts(after))
      throw new Finding(`after a restart ps differs: ${facts(after)}, before ${facts(before)}`);
  }

  /** What is counted is what is there; what nobody needs is freed. */
  async #checkDisk(): Promise<void> {
    this.doing = 'disk';
    const used = await this.#collected();
    const filesBytes = this.#blobFiles().reduce((sum, path) => sum + statSync(path).size, 0);
    // An eighth of a pack of small blobs may be dead.
    const isThere = used.bytes <= filesBytes && filesBytes <= (used.bytes * 8) / 7;
    if (used.blobs !== used.reachableBlobs || !isThere)
      throw new Finding(
        `after gc: ${used.blobs} blobs, ${used.reachableBlobs} reachable, of ${used.bytes} bytes; files of ${filesBytes}`,
      );
    for (const job of this.jobs) if (!job.removed) await this.client.remove(job.id!);
    const last = await this.#collected();
    const left = this.#blobFiles();
    if (last.blobs > 1 || last.blobs !== last.reachableBlobs || left.length > 1)
      throw new Finding(
        `only what the oracle has learned is left, but ${last.blobs} blobs in ${left.length} files are`,
      );
  }

  /** What is stored after a collection. The oracle's state may have been stored anew since: then after another one. */
  async #collected(): Promise<DuReply> {
    for (let tries = 1; ; tries++) {
      await this.client.gc({ graceMs: 0 });
      const used = await this.client.du();
      if (used.blobs === used.reachableBlobs || tries === 2) return used;
    }
  }

  /** Closed, the store says of itself what is true. */
  async #checkStore(): Promise<void> {
    this.doing = 'store';
    const { data } = this.processes;
    const fabric = await openEmbeddedFabric(data);
    const { blobBytes } = fabric.usage();
    const records = await fabric.records.list('shard');
    const there: number[] = [];
    for await (const { bytes } of fabric.blobs.list()) there.push(bytes);
    await fabric.close();
    const thereBytes = there.reduce((sum, bytes) => sum + bytes, 0);
    // What the oracle has learned, and what it had before the last stop, which no collection has seen.
    if (blobBytes !== thereBytes || there.length > 2 || records.length > 0)
      throw new Finding(
        `the empty store counts ${blobBytes} bytes of ${thereBytes} in ${there.length} blobs, and ${records.length} shards`,
      );
    const left = readdirSync(data).filter((name) => /\.sock$|^control\.json/.test(name));
    if (left.length > 0) throw new Finding(`after the last stop there are ${left.join(' ')}`);
  }

  /** Paths of what holds blobs: files of large ones, packs of small ones. */
  #blobFiles(): string[] {
    const { data } = this.processes;
    const folder = join(data, 'blobs');
    const folders = [...readdirSync(folder).map((part) => join(folder, part)), join(data, 'packs')];
    return folders.flatMap((each) => readdirSync(each).map((name) => join(each, name)));
  }

  /** Puts what is known beside the directory that is kept. */
  async explain(finding: string): Promise<void> {
    this.log(`FINDING ${finding}`);
    for (const { pid, text } of this.processes.list()) this.log(`process ${pid} ${text}`);
    for (const verb of [['ps'], ['ps', '--nodes', '--json'], ['events'], ['ps', '--json']]) {
      const said = await this.processes.verb(verb, 30).catch((error: unknown) => String(error));
      this.log(typeof said === 'string' ? said : `${verb.join(' ')}: ${said.stdout}${said.stderr}`);
    }
  }

  async leave(): Promise<void> {
    this.#watching = false;
    for (const job of this.jobs) job.close();
    await this.processes.leave();
    await Promise.allSettled(this.background);
  }
}

/** Changes with every step forward that a shard makes, and with nothing else. */
function progressOf({ name, view }: Job): string {
  if (view === undefined) return `${name}: not seen`;
  const { status, fuelUsed, output, progress } = view;
  return `${name}: ${view.id} ${status} fuel ${fuelUsed} ${progress?.fuelUsed ?? '-'} output ${output.bytes} ${view.reason} ${progress?.trouble ?? ''}`;
}
