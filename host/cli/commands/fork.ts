/** `sherd fork SHARD`: copies of a shard as it is now; it goes on (control/fork.ts). */
import type { Command } from 'commander';
import { errorIn } from '../../control/client.js';
import { FORK_COPIES_MAX } from '../../types/api.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { parseDurationMs, parseInteger } from '../format.js';

interface Options extends ClientOptions {
  readonly copies: string;
  readonly name?: string;
  readonly paused?: boolean;
  readonly timeout: string;
}

export function addFork(program: Command): void {
  addClientOptions(
    program.command('fork <shard>').description('make copies of a shard as it is now; it goes on'),
  )
    .option('-n, --copies <n>', 'how many', '1')
    .option('--name <name>', 'name of the copies in reports (default: the name of the shard)')
    .option('--paused', 'the copies stay paused until they are resumed')
    .option('--timeout <duration>', 'how long to wait for the shard to stop', '10s')
    .action(async (shard: string, options: Options) => {
      const forked = await clientOf(options).fork(shard, {
        copies: parseInteger(options.copies, '--copies', 1, FORK_COPIES_MAX),
        timeoutMs: parseDurationMs(options.timeout, '--timeout'),
        paused: options.paused === true,
        ...(options.name === undefined ? {} : { name: options.name }),
      });
      await report(options, forked, () =>
        forked.copies
          .map((id) => `${id}  copy of ${forked.shard} at fuel ${forked.fuelUsed}\n`)
          .join(''),
      );
      // The copies that were made have been told.
      if (forked.error !== null) throw errorIn({ error: forked.error });
    });
}
