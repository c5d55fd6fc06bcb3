/** `sherd gc`: frees blobs that no shard needs any more, and shards that retention lets go. */
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, clientOf, remark, report } from '../command.js';
import { formatBytes, formatCount, parseDurationMs, renderFields } from '../format.js';

interface Options extends ClientOptions {
  readonly grace?: string;
}

export function addGc(program: Command): void {
  addClientOptions(program.command('gc').description('free what no shard needs'))
    .option('--grace <duration>', 'spare blobs younger than this')
    .action(async (options: Options) => {
      const graceMs =
        options.grace === undefined ? undefined : parseDurationMs(options.grace, '--grace');
      const freed = await clientOf(options).gc(graceMs === undefined ? {} : { graceMs });
      for (const { id, what, hash } of freed.unread) {
        await remark(
          options,
          `${id}: its ${what} (blob ${hash}) cannot be read, so what it may name is kept — put that back, or remove it: sherd rm --force ${id}`,
        );
      }
      if (freed.untidiedPacks !== undefined) {
        await remark(
          options,
          `${formatCount(freed.untidiedPacks)} packs of small blobs still take the room they took: the disk is too full to tidy them — free some space, then: sherd gc`,
        );
      }
      await report(options, freed, () =>
        renderFields([
          ['freed', `${formatCount(freed.blobs)} blobs, ${formatBytes(freed.bytes)}`],
          ['kept', `${formatCount(freed.keptBlobs)} blobs`],
          ['shards let go', formatCount(freed.shards)],
        ]),
      );
    });
}
