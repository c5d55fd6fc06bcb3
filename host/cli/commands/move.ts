/** `sherd move SHARD [NODE]`: moves a running shard to another node and says what it cost. */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import type { MoveEntry, ShardView } from '../../types/api.js';
import { SherdError } from '../../types/errors.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { parseDurationMs } from '../format.js';
import { giveUpAfter } from '../patience.js';
import { renderMoves } from '../views.js';

interface Options extends ClientOptions {
  readonly timeout: string;
}

export function addMove(program: Command): void {
  addClientOptions(
    program.command('move <shard> [node]').description('move a shard to another node'),
  )
    .option('--timeout <duration>', 'how long to wait for the answer', '10s')
    .action(async (shard: string, node: string | undefined, options: Options) => {
      const client = clientOf(options);
      const before = await client.shard(shard);
      await client.move(shard, node === undefined ? {} : { target: node });
      const view = await untilMoved(client, before, parseDurationMs(options.timeout, '--timeout'));
      const entry = await entryOf(client, view);
      await report(options, { shard: view, move: entry ?? null }, () =>
        entry === undefined ? `${shard}  ended before it could move\n` : renderMoves([entry]),
      );
    });
}

async function untilMoved(
  client: ControlClient,
  before: ShardView,
  patienceMs: number,
): Promise<ShardView> {
  const signal = giveUpAfter(patienceMs);
  try {
    for await (const view of client.watch(before.id, { signal })) {
      if (view.status === 'done' || (view.moves > before.moves && view.status === 'running'))
        return view;
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
  throw new SherdError('SHERD_TIMEOUT', `the move was not answered within ${patienceMs / 1000} s`, {
    at: before.id,
    next: `look with: sherd inspect ${before.id}`,
  });
}

/** The move's figures arrive as hints a moment after the record. */
async function entryOf(client: ControlClient, view: ShardView): Promise<MoveEntry | undefined> {
  let entry: MoveEntry | undefined;
  for (let attempt = 0; attempt < 10; attempt++) {
    entry = (await client.moves(view.id)).at(-1);
    if (entry !== undefined && entry.downMs !== null) return entry;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return entry;
}
