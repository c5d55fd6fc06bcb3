/** `sherd du`: who uses the data directory. */
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { formatBytes, formatCount, renderTable } from '../format.js';

export function addDu(program: Command): void {
  addClientOptions(program.command('du').description('show what uses the disk')).action(
    async (options: ClientOptions) => {
      const usage = await clientOf(options).du();
      await report(options, usage, () =>
        renderTable(
          [{ title: 'SHARD' }, { title: 'NAME' }, { title: 'BYTES', align: 'right' }],
          [
            ...usage.shards.map((shard) => [shard.id, shard.name, formatBytes(shard.bytes)]),
            [
              'unreachable',
              `${formatCount(usage.blobs - usage.reachableBlobs)} blobs; sherd gc frees those older than 10 min`,
              formatBytes(usage.bytes - usage.reachableBytes),
            ],
          ],
          [
            `${usage.shards.length} shards`,
            `${formatCount(usage.blobs)} blobs`,
            formatBytes(usage.bytes),
          ],
        ),
      );
    },
  );
}
