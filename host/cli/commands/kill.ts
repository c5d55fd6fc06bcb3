/** `sherd kill SHARD…`: ends shards; --force ends the worker thread of one that does not answer. */
import type { Command } from 'commander';
import { awaitEnd, Several } from '../answers.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { parseDurationMs } from '../format.js';

interface Options extends ClientOptions {
  readonly force?: boolean;
  readonly timeout: string;
}

export function addKill(program: Command): void {
  addClientOptions(program.command('kill <shard...>').description('end shards'))
    .option('--force', 'do not wait for its answer: end the worker thread that has it')
    .option('--timeout <duration>', 'how long to wait for the answer', '10s')
    .action(async (shards: string[], options: Options) => {
      const patienceMs = parseDurationMs(options.timeout, '--timeout');
      const client = clientOf(options);
      const force = options.force === true;
      const several = new Several();
      const asked = await several.each(shards, async (shard) => {
        await client.kill(shard, force ? { force } : {});
        return shard;
      });
      const views = await several.each(asked, (shard) =>
        awaitEnd(client, shard, {
          patienceMs,
          what: 'the kill',
          next: force ? `look with: sherd ps` : `end its worker with: sherd kill --force ${shard}`,
        }),
      );
      await several.conclude(views, () =>
        report(options, views, () =>
          views
            .map(
              (view) =>
                `${view.id}  ${view.exit?.reason === 'killed' ? 'killed' : `had ended (${view.exit?.reason})`}\n`,
            )
            .join(''),
        ),
      );
    });
}
