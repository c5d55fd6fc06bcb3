/** `sherd pause SHARD…`: stops shards at a safepoint and keeps them; -o also writes the capsule file. */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import type { ShardView } from '../../types/api.js';
import { awaitAnswer, Several } from '../answers.js';
import { exportCapsuleFile } from '../capsule-file.js';
import { addClientOptions, type ClientOptions, clientOf, remark, report } from '../command.js';
import { formatBytes, parseCount, parseDurationMs, usageError } from '../format.js';
import { keyringOf } from '../key-file.js';
import { requireDirectoryOf } from '../status.js';

interface Options extends ClientOptions {
  readonly at?: string;
  readonly output?: string;
  readonly thin?: boolean;
  readonly key?: string;
  readonly timeout: string;
}

export function addPause(program: Command): void {
  addClientOptions(
    program.command('pause <shard...>').description('pause shards; they stay in the cluster'),
  )
    .option('--at <fuel>', 'pause exactly there')
    .option('-o, --output <x.capsule>', 'write the paused shard to this file, too')
    .option('--thin', 'leave module and inputs out of that file')
    .option('--key <file>', 'seal that file with this key file (default: $SHERD_KEY_FILE)')
    .option('--timeout <duration>', 'how long to wait for the answer', '10s')
    .action(async (shards: string[], options: Options) => {
      const patienceMs = parseDurationMs(options.timeout, '--timeout');
      const atFuel =
        options.at === undefined ? undefined : parseCount(options.at, '--at').toString();
      if (options.output !== undefined) {
        if (shards.length > 1) throw usageError('-o takes one shard');
        await requireDirectoryOf(options.output, '-o');
      }
      const keyring = options.output === undefined ? undefined : await keyringOf(options.key);
      const client = clientOf(options);
      const several = new Several();
      const request = atFuel === undefined ? {} : { atFuel };
      const asked = await several.each(shards, async (shard) => {
        await client.pause(shard, request);
        return shard;
      });
      const views = await several.each(asked, async (shard) => {
        const view = await untilPaused(client, shard, patienceMs, atFuel);
        if (view.status === 'paused' && options.output !== undefined) {
          const bytes = await exportCapsuleFile(client, view, options.output, {
            thin: options.thin === true,
            keyring,
          });
          await remark(options, `wrote ${options.output} (${formatBytes(bytes)})`);
        }
        return view;
      });
      await several.conclude(views, () =>
        report(options, views, () =>
          views
            .map(
              (view) =>
                `${view.id}  ${view.status === 'paused' ? 'paused' : 'had ended'} at fuel ${view.fuelUsed}\n`,
            )
            .join(''),
        ),
      );
    });
}

function untilPaused(
  client: ControlClient,
  shard: string,
  patienceMs: number,
  atFuel: string | undefined,
): Promise<ShardView> {
  return awaitAnswer(client, shard, {
    answered: (view) => view.status === 'paused' || view.status === 'done',
    overtaken: (view) =>
      view.wanted?.op === 'pause' || view.wanted?.op === 'kill'
        ? undefined
        : `the shard was resumed meanwhile and is ${view.status}`,
    patienceMs,
    what: 'the pause',
    next:
      atFuel === undefined
        ? `look with: sherd inspect ${shard}; end it with: sherd kill --force ${shard}`
        : `it stays asked for and stops the shard at fuel ${atFuel}; take it back with: sherd resume ${shard}`,
  });
}
