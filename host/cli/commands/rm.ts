/** `sherd rm SHARD…`: forgets shards that are done (or, --force, any); `gc` frees their blobs. */
import type { Command } from 'commander';
import { SherdError } from '../../types/errors.js';
import { Several } from '../answers.js';
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
      const several = new Several();
      const force = options.force === true;
      const remove = async (shard: string): Promise<string> => {
        await client.remove(shard, { force });
        return shard;
      };
      const removed = await several.each([...new Set(shards)], remove);
      if (options.done === true) {
        const ended = (await client.shards()).filter((view) => view.status === 'done');
        const ids = ended.map((view) => view.id);
        const gone = await several.each(ids, (shard) => unlessGone(remove(shard)));
        removed.push(...gone.filter((shard) => shard !== undefined));
      }
      await several.conclude(removed, () =>
        report(
          options,
          { removed },
          `removed ${removed.length} shard${removed.length === 1 ? '' : 's'}\n`,
        ),
      );
    });
}

/** Of what was not named one by one nobody misses what somebody else has removed meanwhile. */
async function unlessGone(removal: Promise<string>): Promise<string | undefined> {
  return removal.catch((thrown: unknown) => {
    if (thrown instanceof SherdError && thrown.code === 'SHERD_NO_SHARD') return undefined;
    throw thrown;
  });
}
