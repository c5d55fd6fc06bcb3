/**
 * A small pool of processes that carry capsules on.
 *
 * Does: start them, load a subject into each, send a capsule, await the answer. Does not: choose pause points.
 *
 * P1  One request at a time a process. A process that ends unasked fails the request that waits for it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { encodeSpec } from '../../host/runtime/index.js';
import type { OutputPiece } from '../../host/types/host.js';
import type { Hash } from '../../host/types/platform.js';
import type { Facts, Subject } from './drive.js';

const CHILD = fileURLToPath(new URL('./child.mjs', import.meta.url));

type Blobs = readonly (readonly [Hash, Uint8Array])[];

export type Answer =
  | { readonly kind: 'loaded' }
  | {
      readonly kind: 'stopped';
      readonly capsule: Uint8Array;
      readonly fuel: bigint;
      readonly pieces: OutputPiece[];
      readonly logged: string[];
      readonly blobs: Blobs;
    }
  | {
      readonly kind: 'ended';
      readonly facts: Facts;
      readonly pieces: OutputPiece[];
      readonly logged: string[];
    }
  | { readonly kind: 'failed'; readonly message: string };

export class ProcessPool {
  private readonly children: ChildProcess[];

  /** `programs`: the Node.js of each process, in turn; `options`: of the engine. */
  constructor(
    readonly size: number,
    programs: readonly string[] = [process.execPath],
    options: readonly string[] = [],
  ) {
    this.children = Array.from({ length: size }, (_, index) =>
      fork(CHILD, {
        serialization: 'advanced',
        stdio: 'inherit',
        execPath: programs[index % programs.length]!,
        execArgv: [...options],
      }),
    );
  }

  /** Process ids, to show that they differ. */
  get pids(): number[] {
    return this.children.map(({ pid }) => pid ?? 0);
  }

  async load(subject: Subject): Promise<void> {
    const message = {
      kind: 'load',
      subject: subject.name,
      module: subject.loaded.module.bytes,
      spec: subject.spec === undefined ? null : encodeSpec(subject.spec),
      blobs: [...subject.blobs],
    };
    await Promise.all(this.children.map((_, index) => this.ask(index, message)));
  }

  /** Lets process `index` run the capsule to `fuel`, or to the end (null). */
  go(
    index: number,
    subject: Subject,
    capsule: Uint8Array,
    blobs: Blobs,
    fuel: bigint | null,
  ): Promise<Answer> {
    return this.ask(index, { kind: 'go', subject: subject.name, capsule, blobs, fuel });
  }

  private ask(index: number, message: object): Promise<Answer> {
    const child = this.children[index % this.size]!;
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        child.off('message', answered);
        child.off('exit', died);
      };
      const answered = (answer: unknown): void => {
        stop();
        const known = answer as Answer;
        if (known.kind === 'failed') reject(new Error(known.message));
        else resolve(known);
      };
      const died = (code: number | null, signal: string | null): void => {
        stop();
        reject(new Error(`process ${child.pid} ended with ${code ?? signal}`));
      };
      child.on('message', answered);
      child.on('exit', died);
      child.send(message);
    });
  }

  close(): void {
    for (const child of this.children) if (child.connected) child.disconnect();
  }
}
