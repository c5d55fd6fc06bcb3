/**
 * One program in the cluster: followed from its submit on, through all that happens to it, and compared at its end.
 *
 *   ids    s-1 ──(exported, removed, imported)──▶ s-2 …      output = that of s-1, then that of s-2 …
 *
 * Does: submit (again, when nobody knows whether it arrived), follow its output, export and import it, compare.
 * Does not: harm anything.
 *
 * J1  Every piece of output that the follower gets begins where the last one ended, and is what the straight run gives
 *     there: a byte that is lost, repeated or wrong is found when it comes.
 * J2  At the end all of it is read once more, from the beginning.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { importCapsule, readCapsuleFile } from '../../host/cli/capsule-file.js';
import { Uploader } from '../../host/cli/job.js';
import type { ControlClient } from '../../host/control/client.js';
import type { ShardView } from '../../host/types/api.js';
import { SherdError } from '../../host/types/errors.js';
import { sleep } from './patience.js';
import { Finding, type Processes } from './processes.js';
import { filesIn, type Kind, type Programs, type Straight } from './programs.js';

type Streams = { stdout: number; stderr: number };

/** A verb that a chaos run may see fail: with one coded line, and not because of a defect. */
export function isRefusal(stderr: string): boolean {
  const lines = stderr.trim().split('\n');
  const last = lines.at(-1) ?? '';
  return /^sherd: .*\[SHERD_[A-Z_]+\]$/.test(last) && !last.includes('[SHERD_INTERNAL]');
}

const RETRY_MS = 500;

export class Job {
  /** Undefined: not in the cluster yet. */
  id: string | undefined;
  view: ShardView | undefined;
  verified = false;
  removed = false;
  /** What the follower has found. */
  finding: Finding | undefined;
  /** Where the output of the present id begins in the whole. */
  #begins: Streams = { stdout: 0, stderr: 0 };
  #following: AbortController | undefined;
  #attempt = 0;
  /** Names under which a submit was given up. */
  readonly #lost = new Set<string>();

  private constructor(
    readonly kind: Kind,
    readonly name: string,
    readonly straight: Straight,
    private readonly programs: Programs,
    private readonly processes: Processes,
    private readonly client: ControlClient,
  ) {}

  static async make(
    kind: Kind,
    serial: number,
    programs: Programs,
    processes: Processes,
    client: ControlClient,
  ): Promise<Job> {
    const straight = await programs.straight(kind);
    return new Job(kind, `${kind.name}-${serial}`, straight, programs, processes, client);
  }

  get isDone(): boolean {
    return this.view?.status === 'done';
  }

  /** `sherd submit`, killed after so long if that is given; false when it was refused for now. */
  async submit(killMs?: number): Promise<boolean> {
    const name = `${this.name}-${++this.#attempt}`;
    const folder = join(this.processes.folder, `${this.name}-in`);
    const args = ['submit', '--name', name, ...this.programs.argsOf(this.kind, folder)];
    const ended = await (killMs === undefined
      ? this.processes.verb(args)
      : this.processes.killedVerb(args, killMs));
    if (ended.code === 0) this.#is(ended.stdout.toString().trim());
    else {
      if (ended.signal !== 'SIGKILL' && !isRefusal(ended.stderr))
        throw new Finding(`submit: ${ended.code}: ${ended.stderr}`);
      await this.adopt(name);
    }
    return this.id !== undefined;
  }

  /** After a submit whose answer was lost: there is one such shard, or none. */
  async adopt(name: string): Promise<void> {
    const found = (await this.client.shards()).filter((view) => view.name === name);
    if (found.length > 1) throw new Finding(`${found.length} shards are called ${name}`);
    if (found[0] !== undefined) this.#is(found[0].id);
    else this.#lost.add(name);
  }

  /** Came a submit after all, whose sender had been given up? Then the cluster has it once, beside its second try. */
  async forgetLate(views: readonly ShardView[]): Promise<void> {
    for (const { id, name } of views) if (this.#lost.has(name)) await this.#forget(id);
  }

  /** `pause -o`, killed after so long: its file is there and good, or is not there. */
  async pauseKilled(killMs: number): Promise<string> {
    const file = join(this.processes.folder, `${this.name}-${++this.#attempt}.capsule`);
    const args = ['pause', '--timeout', '30s', '-o', file, this.id!];
    const { code, signal, stderr } = await this.processes.killedVerb(args, killMs);
    if (signal !== 'SIGKILL' && code !== 0 && !isRefusal(stderr))
      throw new Finding(`pause -o: ${code}: ${stderr}`);
    if (existsSync(file)) {
      await readCapsuleFile(file).catch((error: unknown) => {
        throw new Finding(`a killed pause left a bad file: ${String(error)}`);
      });
      rmSync(file);
    } else if (code === 0) throw new Finding(`pause -o: code 0, but no ${file}`);
    await this.client.resume(this.id!).catch(() => undefined); // it is done
    return `${signal ?? code}`;
  }

  #is(id: string): void {
    this.id = id;
    this.#follow(id);
  }

  /** J1. */
  #follow(id: string): void {
    const abort = new AbortController();
    this.#following = abort;
    const read = async (): Promise<void> => {
      const at = { ...this.#begins };
      let offset = 0;
      for await (const piece of this.client.output(id, 0, { follow: true, signal: abort.signal })) {
        if (piece.offset !== offset)
          throw new Finding(`${this.name}: output at ${piece.offset} follows ${offset}`);
        offset += piece.bytes.length;
        this.#compare(piece.stream, at, piece.bytes);
      }
    };
    read().catch((error: unknown) => {
      if (abort.signal.aborted) return;
      if (error instanceof Finding) this.finding ??= error;
      // The cluster may be away for longer than the client waits: J2 reads it all.
      else if (!(error instanceof SherdError))
        this.finding ??= new Finding(`${this.name}: following: ${String(error)}`);
    });
  }

  #compare(stream: 'stdout' | 'stderr' | 'artifact', at: Streams, bytes: Uint8Array): void {
    if (stream === 'artifact') return;
    const expected = this.straight[stream].subarray(at[stream], at[stream] + bytes.length);
    if (Buffer.compare(expected, bytes) !== 0)
      throw new Finding(`${this.name}: ${stream} differs in ${at[stream]} … +${bytes.length}`);
    at[stream] += bytes.length;
  }

  /** Pauses it into a file, forgets it, and has it come back from that file. False when something refused. */
  async travel(): Promise<boolean> {
    const { id } = this;
    if (id === undefined) return false;
    const file = join(this.processes.folder, `${this.name}-${++this.#attempt}.capsule`);
    const paused = await this.processes.verb(['pause', '--timeout', '30s', '-o', file, id]);
    if (paused.code !== 0 && !isRefusal(paused.stderr))
      throw new Finding(`pause -o: ${paused.code}: ${paused.stderr}`);
    if (paused.code !== 0 || !existsSync(file)) {
      await this.client.resume(id).catch(() => undefined); // it was paused, or is done
      return false;
    }
    const begins = await this.#outputOf(id, this.#begins);
    const next = await this.#import(file);
    this.#following?.abort();
    await this.#forget(id);
    this.#begins = begins;
    this.#is(next);
    rmSync(file);
    return true;
  }

  async #import(file: string): Promise<string> {
    const bundle = await readCapsuleFile(file);
    for (;;) {
      const name = `${this.name}-${++this.#attempt}`;
      try {
        const uploader = new Uploader(this.client);
        const module = bundle.module;
        return await importCapsule(this.client, uploader, bundle, {
          module,
          name,
          pauseAtFuel: undefined,
        });
      } catch (error) {
        if (!isAway(error)) throw error;
        const found = (await this.client.shards()).find((view) => view.name === name);
        if (found !== undefined) return found.id;
      }
    }
  }

  /** Removes it from the cluster; repeated until somebody says that it is gone. */
  async #forget(id: string): Promise<void> {
    await this.client.remove(id, { force: true }).catch((error: unknown) => {
      if (!(error instanceof SherdError) || error.code !== 'SHERD_NO_SHARD') throw error;
    });
  }

  /** Compares all output so far of this id (J2); where it ends. */
  async #outputOf(id: string, begins: Streams): Promise<Streams> {
    const at = { ...begins };
    for await (const piece of this.client.output(id)) this.#compare(piece.stream, at, piece.bytes);
    return at;
  }

  /** Compares everything with the straight run. The shard is done. */
  async verify(view: ShardView): Promise<void> {
    if (this.finding !== undefined) throw this.finding;
    const { kind, straight, name } = this;
    const is = { reason: view.exit?.reason, code: view.exit?.code };
    const must = { reason: straight.reason, code: straight.code };
    const fuel = kind.anyFuel === true ? straight.fuelUsed : BigInt(view.fuelUsed);
    if (is.reason !== must.reason || is.code !== must.code || fuel !== straight.fuelUsed) {
      const message = view.exit?.message ?? '';
      throw new Finding(
        `${name}: ${is.reason} ${is.code} ${message} fuel ${view.fuelUsed}, alone ${must.reason} ${must.code} fuel ${straight.fuelUsed}`,
      );
    }
    const at = await this.#outputOf(view.id, this.#begins);
    for (const stream of ['stdout', 'stderr'] as const) {
      if (at[stream] !== straight[stream].length)
        throw new Finding(
          `${name}: ${at[stream]} of ${straight[stream].length} bytes of ${stream}`,
        );
    }
    if (kind.dir !== undefined) await this.#verifyFiles(view.id, kind.dir);
    this.verified = true;
  }

  /** Again as long as nobody is there: a fault may have struck the control, and on a busy machine its successor takes its time. */
  async #fetchFiles(id: string, dir: string): Promise<string> {
    for (;;) {
      const folder = join(this.processes.folder, `${this.name}-out-${++this.#attempt}`);
      const args = ['result', '--json', '--dir', `${dir}=${folder}`, id];
      const { code, stderr } = await this.processes.verb(args);
      if (code === this.straight.code) return folder;
      if (!stderr.includes('SHERD_NO_CLUSTER'))
        throw new Finding(`result --dir: ${code}: ${stderr}`);
      await sleep(RETRY_MS);
    }
  }

  async #verifyFiles(id: string, dir: string): Promise<void> {
    const folder = await this.#fetchFiles(id, dir);
    const files = filesIn(folder);
    const names = [...files.keys()].join(' ');
    const expected = [...this.straight.files.keys()].join(' ');
    if (names !== expected) throw new Finding(`${this.name}: files ${names}, alone ${expected}`);
    for (const [path, content] of files) {
      if (Buffer.compare(content, this.straight.files.get(path)!) !== 0)
        throw new Finding(`${this.name}: the file ${path} differs`);
    }
    rmSync(folder, { recursive: true });
  }

  /** No more following: the round is over, or has failed. */
  close(): void {
    this.#following?.abort();
  }
}

/** Nobody answered, or the answer got lost: try again when somebody does. */
export function isAway(error: unknown): boolean {
  return (
    error instanceof SherdError &&
    ['SHERD_NO_CLUSTER', 'SHERD_UNAUTHORIZED', 'SHERD_TIMEOUT'].includes(error.code)
  );
}
