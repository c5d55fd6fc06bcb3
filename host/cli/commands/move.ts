/** `sherd move SHARD [NODE]`: moves a running shard to another node and says what it cost. */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import type { MoveEntry, ShardView } from '../../types/api.js';
import { awaitAnswer } from '../answers.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { parseDurationMs } from '../format.js';
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
      const patienceMs = parseDurationMs(options.timeout, '--timeout');
      const client = clientOf(options);
      const before = await client.shard(shard);
      const asked = await client.move(shard, node === undefined ? {} : { target: node });
      const isThere = asked.moves === before.moves && asked.wanted?.op !== 'move';
      if (node !== undefined && isThere) {
        const line = `${shard}  is on ${asked.owner} already\n`;
        await report(options, { shard: asked, move: null }, line);
        return;
      }
      const view = await untilMoved(client, before, asked, patienceMs);
      const entry = await entryOf(client, view);
      await report(options, { shard: view, move: entry ?? null }, () =>
        entry === undefined ? `${shard}  ended before it could move\n` : renderMoves([entry]),
      );
    });
}

/** With a node named, another move that came in between is not ours. */
function untilMoved(
  client: ControlClient,
  before: ShardView,
  asked: ShardView,
  patienceMs: number,
): Promise<ShardView> {
  const target = asked.wanted?.op === 'move' ? asked.wanted.target : null;
  const hasMoved = (view: ShardView): boolean =>
    view.moves > before.moves && view.status !== 'assigned';
  return awaitAnswer(client, before.id, {
    answered: (view) =>
      view.status === 'done' || (hasMoved(view) && (target === null || view.owner === target)),
    overtaken: (view) => {
      if (view.status === 'paused') return 'the shard was paused';
      const open = view.wanted !== null || view.status === 'assigned' || target === null;
      if (open) return undefined;
      return view.moves > before.moves
        ? `another move took the shard to ${view.owner}`
        : 'another request took its place';
    },
    patienceMs,
    what: 'the move',
    next: `see why with: sherd events; look with: sherd inspect ${before.id}`,
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
