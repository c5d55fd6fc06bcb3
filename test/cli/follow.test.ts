/** Following a shard: every byte once, in order, and no outcome before the last of them. */
import { describe, expect, it } from 'vitest';
import { Follower, nextNode } from '../../host/cli/follow.js';
import { Progress } from '../../host/cli/progress.js';
import type { ControlClient, OutputPieceAt } from '../../host/control/client.js';
import type { NodeView, ShardView } from '../../host/types/api.js';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function view(status: ShardView['status'], outputBytes: number): ShardView {
  return {
    id: 's-1',
    status,
    fuelUsed: '1',
    output: { head: null, chunks: 0, bytes: outputBytes },
  } as unknown as ShardView;
}

/** A control that gives what it is told, when it is told. */
class FakeControl {
  readonly from: number[] = [];
  #pieces: {
    resolve(piece: OutputPieceAt | null): void;
    promise: Promise<OutputPieceAt | null>;
  }[] = [];
  #views: ShardView[] = [];
  #wake: () => void = () => undefined;
  #offset = 0;

  piece(content: string): void {
    const bytes = new TextEncoder().encode(content);
    this.#next().resolve({ stream: 'stdout', offset: this.#offset, bytes });
    this.#offset += bytes.length;
  }
  endOutput(): void {
    this.#next().resolve(null);
  }
  view(next: ShardView): void {
    this.#views.push(next);
    this.#wake();
  }
  #given = 0;
  #taken = 0;
  #at(index: number) {
    while (this.#pieces.length <= index) this.#pieces.push(deferred());
    return this.#pieces[index]!;
  }
  #next() {
    return this.#at(this.#given++);
  }

  async *output(
    _id: string,
    from: number,
    o: { signal?: AbortSignal },
  ): AsyncGenerator<OutputPieceAt> {
    this.from.push(from);
    for (;;) {
      const piece = await Promise.race([this.#at(this.#taken++).promise, aborted(o.signal)]);
      if (piece === null) return;
      yield piece;
    }
  }
  async *watch(_id: string, o: { signal?: AbortSignal }): AsyncGenerator<ShardView> {
    for (;;) {
      const next = this.#views.shift();
      if (next !== undefined) yield next;
      else
        await Promise.race([
          new Promise<void>((resolve) => (this.#wake = resolve)),
          aborted(o.signal),
        ]);
    }
  }
}

function deferred() {
  let resolve!: (piece: OutputPieceAt | null) => void;
  const promise = new Promise<OutputPieceAt | null>((done) => {
    resolve = done;
  });
  return { resolve, promise };
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function follow(control: FakeControl) {
  const written: string[] = [];
  const abort = new AbortController();
  const follower = new Follower({
    client: control as unknown as ControlClient,
    shardId: 's-1',
    progress: new Progress({ quiet: true }),
    signal: abort.signal,
    sink: async (_stream, bytes) => void written.push(text(bytes)),
  });
  return { follower, written, abort };
}

const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe('Follower', () => {
  it('is done only when the last byte is out', async () => {
    const control = new FakeControl();
    const { follower, written } = follow(control);
    let outcome: string | undefined;
    const run = follower.run().then((end) => {
      outcome = end.kind;
    });
    control.view(view('running', 0));
    control.piece('ab');
    control.view(view('done', 5));
    await turns();
    expect([outcome, written]).toEqual([undefined, ['ab']]);
    control.piece('cde');
    control.endOutput();
    await run;
    expect([outcome, written]).toEqual(['done', ['ab', 'cde']]);
  });

  it('does not take a pause that nobody here wanted for the end', async () => {
    const control = new FakeControl();
    const { follower } = follow(control);
    let outcome: string | undefined;
    const run = follower.run().then((end) => {
      outcome = end.kind;
    });
    control.view(view('paused', 0));
    await turns();
    expect(outcome).toBeUndefined();
    follower.expectPause();
    control.view(view('running', 0));
    control.view(view('paused', 0));
    await run;
    expect(outcome).toBe('paused');
  });

  it('throws when output is missing, instead of claiming the end', async () => {
    const control = new FakeControl();
    const { follower } = follow(control);
    control.piece('a');
    control.endOutput();
    const run = follower.run();
    await turns();
    control.view(view('done', 2));
    await expect(run).rejects.toMatchObject({ code: 'SHERD_INTERNAL' });
  });

  it('ends when aborted', async () => {
    const { follower, abort } = follow(new FakeControl());
    const run = follower.run();
    await turns();
    abort.abort(new Error('stop'));
    await expect(run).rejects.toThrow();
  });
});

describe('nextNode', () => {
  const nodes = (...ids: string[]): NodeView[] =>
    ids.map(
      (id) =>
        ({
          node: { id, draining: id.startsWith('d') },
          alive: !id.startsWith('x'),
        }) as unknown as NodeView,
    );

  it('goes round in the order of ids', () => {
    const all = nodes('n3', 'n1', 'n2');
    expect([null, 'n1', 'n2', 'n3', 'gone'].map((owner) => nextNode(all, owner))).toEqual([
      'n1',
      'n2',
      'n3',
      'n1',
      'n1',
    ]);
  });

  it('leaves out the dead and the draining, and stays where there is no other', () => {
    expect(nextNode(nodes('n1', 'x2', 'd3'), 'n1')).toBeUndefined();
    expect(nextNode([], null)).toBeUndefined();
  });
});
