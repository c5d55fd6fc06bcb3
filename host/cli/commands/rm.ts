/** `sherd rm SHARD…`: forgets shards that are done (or, --force, any); `gc` frees their blobs. */
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { usageError } from '../format.js';

interface Options extends ClientOptions {
  readonly force?: boolean;
  readonly done?: boolean;
}

export function addRm(program: Command): void {
  addClientOptions(program.command('rm [shard...]').description('forget shards'))
    .option('--force', 'also one that is not done: it is ended')
    .option('--done', 'all that are done')
    .action(async (shards: string[], options: Options) => {
      if (shards.length === 0 && options.done !== true)
        throw usageError('rm: which shards?', 'name them, or give --done');
      const client = clientOf(options);
      const chosen = [...shards];
      if (options.done === true) {
        chosen.push(
          ...(await client.shards())
            .filter((view) => view.status === 'done')
            .map((view) => view.id),
        );
      }
      const removed = [...new Set(chosen)];
      for (const shard of removed) await client.remove(shard, { force: options.force === true });
      await report(options, { removed }, () => `removed ${removed.length} shards\n`);
    });
}
