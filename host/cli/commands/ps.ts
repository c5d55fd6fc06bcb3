/** `sherd ps`: shards, why each one that does not run does not, and (--nodes) the nodes. */
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { renderNodes, renderShards } from '../views.js';

interface Options extends ClientOptions {
  readonly nodes?: boolean;
}

export function addPs(program: Command): void {
  addClientOptions(
    program.command('ps').description('list shards, and why those that do not run do not'),
  )
    .option('--nodes', 'list nodes instead')
    .action(async (options: Options) => {
      const client = clientOf(options);
      if (options.nodes === true) {
        const nodes = await client.nodes();
        await report(options, nodes, () => renderNodes(nodes));
        return;
      }
      const shards = [...(await client.shards())].sort(
        (a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
      );
      await report(options, shards, () => renderShards(shards));
    });
}
