/** `sherd logs SHARD`: what it has printed so far, stdout to stdout and stderr to stderr; -f goes on. */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import { addClientOptions, type ClientOptions, clientOf } from '../command.js';
import { Follower, setAsideError } from '../follow.js';
import { parseInteger } from '../format.js';
import { ClosedPipe, stderr, stdout } from '../output.js';
import { Progress } from '../progress.js';

interface Options extends ClientOptions {
  readonly follow?: boolean;
  readonly from: string;
}

export function addLogs(program: Command): void {
  addClientOptions(program.command('logs <shard>').description('print its output'))
    .option('-f, --follow', 'go on until it ends')
    .option('--from <byte>', 'start at this byte of the whole output', '0')
    .action(async (shard: string, options: Options) => {
      const from = parseInteger(options.from, '--from', 0, Number.MAX_SAFE_INTEGER);
      const client = clientOf(options);
      await client.shard(shard); // refuses an unknown id before anything is printed
      if (options.follow === true) {
        await follow(client, shard, from);
        return;
      }
      for await (const piece of client.output(shard, from)) {
        if (piece.stream !== 'artifact') await print(piece.stream, piece.bytes);
      }
    });
}

const print = (stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> =>
  (stream === 'stdout' ? stdout : stderr).write(bytes);

/** Until it ends; an error says that it was set aside. */
async function follow(client: ControlClient, shardId: string, from: number): Promise<void> {
  const progress = new Progress({ quiet: true });
  const { signal } = new AbortController();
  const follower = new Follower({ client, shardId, from, progress, signal, sink: print });
  const outcome = await follower.run();
  if (outcome.kind === 'closed-pipe') throw new ClosedPipe();
  const error = setAsideError(outcome.view);
  if (error !== undefined) throw error;
}
