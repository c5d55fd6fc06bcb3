/**
 * Requests to shards and what became of them.
 *
 * Does: wait for a shard's answer as long as the user said, notice that another request overtook it, do a verb for
 * several shards. Does not: ask (the verbs do), or print anything but refusals.
 *
 * A1  A wait ends when the shard has answered, when another client's request took the place of ours, when the shard is
 *     gone, or when the time is over; each with its own line.
 * A2  A verb for several shards does what can be done: one that is refused holds up no other. Every refusal is said, and
 *     the first one's code ends the command.
 */
import type { ControlClient } from '../control/client.js';
import { noShard, type ShardView } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import { stderr } from './output.js';
import { giveUpAfter } from './patience.js';
import { Ended } from './report.js';

export interface Awaited {
  /** The answer is there. */
  readonly answered: (view: ShardView) => boolean;
  /** Why it will not come any more; undefined while it may. */
  readonly overtaken?: (view: ShardView) => string | undefined;
  readonly patienceMs: number;
  /** `the pause`, `the move` … */
  readonly what: string;
  /** What to do when the time is over. */
  readonly next: string;
}

/** Waits for the answer to a request that is in the record (A1). */
export async function awaitAnswer(
  client: ControlClient,
  id: string,
  o: Awaited,
): Promise<ShardView> {
  const signal = giveUpAfter(o.patienceMs);
  try {
    for await (const view of client.watch(id, { signal })) {
      if (o.answered(view)) return view;
      const why = o.overtaken?.(view);
      if (why !== undefined) throw overtakenError(id, o.what, why);
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new SherdError(
      'SHERD_TIMEOUT',
      `${o.what} was not answered within ${o.patienceMs / 1000} s`,
      { at: id, next: o.next, exitCode: EXIT.failedLater, cause },
    );
  }
  throw noShard(id);
}

function overtakenError(id: string, what: string, why: string): SherdError {
  return new SherdError('SHERD_STATE', `${what} was overtaken: ${why}`, {
    at: id,
    next: 'look with: sherd ps',
    exitCode: EXIT.failedLater,
  });
}

/** Waits for an end; SHERD_TIMEOUT with the next step after the time. */
export function awaitEnd(
  client: ControlClient,
  id: string,
  o: Pick<Awaited, 'patienceMs' | 'what' | 'next'>,
): Promise<ShardView> {
  return awaitAnswer(client, id, { ...o, answered: (view) => view.status === 'done' });
}

/** Collects what a verb did to several shards, and what it was refused (A2). */
export class Several {
  readonly #refusals: SherdError[] = [];

  /** Does it for each, in order; gives the results of those where it was done. */
  async each<T>(ids: readonly string[], act: (id: string) => Promise<T>): Promise<T[]> {
    const results: T[] = [];
    for (const id of ids) {
      try {
        results.push(await act(id));
      } catch (thrown) {
        // Without a cluster nothing can be done for the others either.
        if (!(thrown instanceof SherdError) || thrown.code === 'SHERD_NO_CLUSTER') throw thrown;
        this.#refusals.push(thrown);
      }
    }
    return results;
  }

  /** Says what was done, unless that is nothing but refusals, then throws what was refused. */
  async conclude(done: readonly unknown[], say: () => Promise<void>): Promise<void> {
    const [first, ...more] = this.#refusals;
    if (done.length > 0 || first === undefined) await say();
    if (first === undefined) return;
    if (more.length === 0) throw first;
    for (const refusal of this.#refusals) await stderr.write(`${refusal.toLine()}\n`);
    throw new Ended(first.exitCode);
  }
}
