/**
 * Follows one shard: its output to our stdout and stderr, its state to the progress line, until it ends or is paused.
 *
 *            ┌─ output stream ──▶ stdout, stderr (byte for byte, in order)
 *   control ─┤
 *            └─ watch stream ───▶ progress, and: done | paused | set aside ──▶ when all of its output is printed ──▶ Outcome
 *
 * Does not: start or stop clusters, write capsules or files.
 *
 * W1  `done` and `paused` are reported only after the last byte of output that the record covers was written.
 * W2  A byte of output is written once, also across restarts of the control (offsets).
 * W3  A pause that nobody here asked for does not end the following: someone will resume the shard. One that no client asked for
 *     does: the shard was set aside because it cannot go on (`fault`).
 */
import type { ControlClient } from '../control/client.js';
import type { NodeView, ShardView } from '../types/api.js';
import { EXIT, invariant, SherdError } from '../types/errors.js';
import type { NodeId } from '../types/records.js';
import { ClosedPipe, stderr, stdout } from './output.js';
import { waitMs } from './patience.js';
import type { Progress } from './progress.js';

const STARTED_POLL_MS = 5;

export type Outcome =
  | { readonly kind: 'done'; readonly view: ShardView }
  | { readonly kind: 'paused'; readonly view: ShardView }
  | { readonly kind: 'set-aside'; readonly view: ShardView }
  | { readonly kind: 'closed-pipe' };

export interface FollowSettings {
  readonly client: ControlClient;
  readonly shardId: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Output from this byte on. Default: all. */
  readonly from?: number;
  readonly onView?: (view: ShardView) => void;
  /** Replaced by commands that keep the output to themselves. */
  readonly sink?: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => Promise<void>;
}

export class Follower {
  readonly #settings: FollowSettings;
  readonly #own = new AbortController();
  readonly #signal: AbortSignal;
  #printed = 0;
  #latest: ShardView | undefined;
  #pauseExpected = false;
  #pumpEnded = false;
  #wake: () => void = () => undefined;

  constructor(settings: FollowSettings) {
    this.#settings = settings;
    this.#printed = settings.from ?? 0;
    this.#signal = AbortSignal.any([settings.signal, this.#own.signal]);
  }

  get latest(): ShardView | undefined {
    return this.#latest;
  }

  /** From now on a paused shard is an outcome (W3). */
  expectPause(): void {
    this.#pauseExpected = true;
    this.#wake();
  }

  /** Resolves once the shard runs, has run, or is not followed any more. */
  async untilStarted(): Promise<void> {
    while (!this.#signal.aborted && !hasStarted(this.#latest)) {
      await waitMs(STARTED_POLL_MS, this.#signal);
    }
  }

  /** Runs until there is an outcome. Throws what the control or the terminal threw, SHERD_ABORTED when aborted. */
  async run(): Promise<Outcome> {
    const pump = this.#pump();
    const watch = this.#watch();
    try {
      const first = await Promise.race([pump, watch]);
      if (first !== 'done') return first;
      // All output is out; the watch has the final view or will have it at once.
      return await watch;
    } catch (thrown) {
      if (thrown instanceof ClosedPipe) return { kind: 'closed-pipe' };
      throw thrown;
    } finally {
      this.#own.abort();
      await Promise.allSettled([pump, watch]);
    }
  }

  async #pump(): Promise<'done'> {
    const { client, shardId, progress } = this.#settings;
    const pieces = client.output(shardId, this.#printed, { follow: true, signal: this.#signal });
    for await (const piece of pieces) {
      if (piece.stream !== 'artifact') {
        if (this.#settings.sink !== undefined) await this.#settings.sink(piece.stream, piece.bytes);
        else await progress.output(piece.stream === 'stdout' ? stdout : stderr, piece.bytes);
      }
      this.#printed = piece.offset + piece.bytes.length;
      this.#wake();
    }
    this.#pumpEnded = true;
    this.#wake();
    return 'done';
  }

  async #watch(): Promise<Outcome> {
    const { client, shardId, progress } = this.#settings;
    for await (const view of client.watch(shardId, { signal: this.#signal })) {
      this.#latest = view;
      progress.update(view);
      this.#settings.onView?.(view);
      if (view.status === 'done') {
        await this.#untilPrinted(view.output.bytes);
        return { kind: 'done', view };
      }
      if (view.fault !== undefined) {
        await this.#untilPrinted(view.output.bytes);
        return { kind: 'set-aside', view };
      }
      if (view.status === 'paused' && this.#pauseExpected) {
        await this.#untilPrinted(view.output.bytes);
        return { kind: 'paused', view };
      }
    }
    throw new SherdError('SHERD_NO_SHARD', 'the shard was removed while it was followed', {
      at: shardId,
      next: 'submit it again',
    });
  }

  async #untilPrinted(bytes: number): Promise<void> {
    while (this.#printed < bytes) {
      this.#signal.throwIfAborted();
      invariant(!this.#pumpEnded, `output ended at byte ${this.#printed} of ${bytes}`);
      await this.#untilWoken();
    }
  }

  /** Resolves at the next news, or when aborted. */
  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#signal.removeEventListener('abort', end);
        resolve();
      };
      this.#wake = end;
      this.#signal.addEventListener('abort', end, { once: true });
    });
  }
}

/** What there is to say of a shard that was set aside; undefined of one that was not. */
export function setAsideError({ id, fault }: ShardView): SherdError | undefined {
  if (fault === undefined) return undefined;
  return new SherdError('SHERD_SET_ASIDE', `it cannot go on and is paused: ${fault}`, {
    at: id,
    next: `put that right, then: sherd resume ${id}; or end it: sherd kill ${id}`,
    exitCode: EXIT.failedLater,
  });
}

function hasStarted(view: ShardView | undefined): boolean {
  if (view === undefined) return false;
  return view.status === 'running' || view.status === 'done' || view.capsule !== null;
}

/** The node that follows `owner` in the order of ids; undefined when there is no other one alive. */
export function nextNode(nodes: readonly NodeView[], owner: NodeId | null): NodeId | undefined {
  const ids = nodes
    .filter((view) => view.alive && !view.node.draining)
    .map((view) => view.node.id)
    .sort();
  const later = ids.find((id) => owner === null || id > owner);
  const chosen = later ?? ids[0];
  return chosen === owner ? undefined : chosen;
}

/** The shard is busy with something else, nobody answers, or there is no room to write the move down: another time, then. */
const FAILED_MOVES: ReadonlySet<string> = new Set([
  'SHERD_STATE',
  'SHERD_NO_CLUSTER',
  'SHERD_NO_SHARD',
  'SHERD_DISK',
  'SHERD_FABRIC',
]);

/** Moves the shard round the nodes every `everyMs`, until aborted or it ends. Failed attempts are tried again. */
export async function keepMoving(
  client: ControlClient,
  shardId: string,
  everyMs: number,
  latest: () => ShardView | undefined,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await waitMs(everyMs, signal);
    const view = latest();
    if (signal.aborted || view?.status === 'done') return;
    if (view?.status !== 'running' || view.wanted !== null) continue;
    try {
      const target = nextNode(await client.nodes(), view.owner);
      if (target !== undefined) await client.move(shardId, { target });
    } catch (thrown) {
      const code = thrown instanceof SherdError ? thrown.code : undefined;
      if (code === undefined || !FAILED_MOVES.has(code)) throw thrown;
    }
  }
}
