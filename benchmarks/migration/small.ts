/**
 * Small programs: what one capture + encode takes, and one decode + resume, call by call, in a worker thread as nodes have it.
 *
 * Does: compile the programs, run small-thread.ts for each, give its times. Does not: judge.
 */
import { Worker } from 'node:worker_threads';
import { encodeSpec } from '../../host/runtime/index.js';
import { load, type Subject } from './moves.js';

export const OURS = 'sherd';
export const LIMIT = 'memcpy';

/** Times of single calls, ms. */
export interface Calls {
  readonly encode: readonly number[];
  readonly decode: readonly number[];
}

export interface SmallResult {
  readonly name: string;
  readonly memoryBytes: number;
  readonly capsuleBytes: number;
  readonly ways: Readonly<Record<string, Calls>>;
}

export interface SmallJob {
  readonly name: string;
  readonly moduleHash: string;
  readonly module: Uint8Array;
  readonly spec: Uint8Array;
  readonly fuel: number;
  readonly calls: number;
}

const THREAD = new URL('./small-thread.js', import.meta.url);

/** One program, after it has run for `fuel` safepoints. */
export async function measureSmall(
  root: string,
  subject: Subject,
  calls: number,
): Promise<SmallResult> {
  const { loaded, spec } = await load(root, subject);
  const { moduleHash, bytes } = loaded.module;
  const job: SmallJob = {
    name: subject.name,
    moduleHash,
    module: bytes,
    spec: encodeSpec(spec),
    fuel: subject.stride,
    calls,
  };
  const thread = new Worker(THREAD, { workerData: job });
  return new Promise((resolve, reject) => {
    thread.once('message', (result: SmallResult) => resolve(result));
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`${subject.name}: thread ended with ${code}`)));
  });
}
