/** `sherd result SHARD`: a finished shard's output, files and exit code. */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import { decodeSpec } from '../../runtime/spec.js';
import { noShard, type ShardView } from '../../types/api.js';
import { EXIT, SherdError } from '../../types/errors.js';
import { addClientOptions, type ClientOptions, clientOf, remark } from '../command.js';
import { setAsideError } from '../follow.js';
import { renderJson } from '../format.js';
import { bringHome, requireFreePlaces, requireKnown } from '../home.js';
import { stderr, stdout } from '../output.js';
import { partOf } from '../part.js';
import { Ended } from '../report.js';
import { collect, parseDirs } from '../run-options.js';
import { describeExit } from '../views.js';

interface Options extends ClientOptions {
  readonly dir?: readonly string[];
  readonly wait?: boolean;
}

export function addResult(program: Command): void {
  addClientOptions(
    program
      .command('result <shard>')
      .description('print its output, fetch its files, end with its exit code'),
  )
    .option('--dir <guest=host>', 'fetch a directory of the program (repeatable)', collect)
    .option('--wait', 'wait for its end')
    .action(async (shard: string, options: Options) => {
      const dirs = parseDirs(options.dir ?? []);
      const client = clientOf(options);
      let view = await client.shard(shard);
      if (view.status !== 'done' && options.wait === true) view = await untilEnd(client, shard);
      if (view.status !== 'done' || view.exit === null) {
        throw (
          setAsideError(view) ??
          new SherdError('SHERD_STATE', `the shard is ${view.status}, not done`, {
            at: shard,
            next: `wait with: sherd result --wait ${shard}`,
            exitCode: EXIT.failedLater,
          })
        );
      }
      if (dirs.length > 0) {
        requireKnown(dirs, decodeSpec(await partOf(client, shard, 'its spec', view.spec)));
        await requireFreePlaces(dirs);
      }
      if (options.json === true) await stdout.write(renderJson(view));
      else {
        for await (const piece of client.output(shard)) {
          if (piece.stream !== 'artifact')
            await (piece.stream === 'stdout' ? stdout : stderr).write(piece.bytes);
        }
      }
      await stderr.write(describeExit(`${shard} (${view.name})`, view.exit));
      const say = (text: string): void => {
        void remark(options, text).catch(() => undefined);
      };
      const code = await bringHome(client, view, dirs, say, 'elsewhere');
      throw new Ended(code ?? view.exit.code);
    });
}

/** Waits for its end, or until sherd has set it aside: then nothing ends it before somebody has done something. */
async function untilEnd(client: ControlClient, id: string): Promise<ShardView> {
  for await (const view of client.watch(id)) {
    if (view.status === 'done' || view.fault !== undefined) return view;
  }
  throw noShard(id);
}
