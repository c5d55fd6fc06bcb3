/** `sherd events`: the workflow, step by step, as it happens. */
import type { Command } from 'commander';
import { printableLine } from '../../types/text.js';
import { addClientOptions, type ClientOptions, clientOf } from '../command.js';
import { renderJson } from '../format.js';
import { stdout } from '../output.js';
import { renderEvent } from '../views.js';

interface Options extends ClientOptions {
  readonly follow?: boolean;
  readonly shard?: string;
}

export function addEvents(program: Command): void {
  addClientOptions(
    program
      .command('events')
      .description('show what the brain did: input, split, predict, place, run, watch, move'),
  )
    .option('-f, --follow', 'go on as they happen')
    .option('--shard <shard>', 'of this shard only')
    .action(async (options: Options) => {
      const client = clientOf(options);
      for await (const event of client.events({ follow: options.follow === true })) {
        if (options.shard !== undefined && event.shardId !== options.shard) continue;
        await stdout.write(
          options.json === true ? renderJson(event, 0) : `${printableLine(renderEvent(event))}\n`,
        );
      }
    });
}
