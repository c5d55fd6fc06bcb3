/** `sherd logs SHARD`: what it has printed so far, stdout to stdout and stderr to stderr; -f goes on. */
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, clientOf } from '../command.js';
import { parseInteger } from '../format.js';
import { stderr, stdout } from '../output.js';

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
      for await (const piece of client.output(shard, from, { follow: options.follow === true })) {
        if (piece.stream !== 'artifact')
          await (piece.stream === 'stdout' ? stdout : stderr).write(piece.bytes);
      }
    });
}
