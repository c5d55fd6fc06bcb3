/** `sherd down`: stops a cluster cleanly: shards are paused and stored, `sherd up` goes on with them. */
import type { Command } from 'commander';
import { readControlInfo } from '../../control/client.js';
import { lockDirectory } from '../../fabric/embedded.js';
import { EXIT, SherdError } from '../../types/errors.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { fabricDirectory, fabricUrl } from '../fabric-url.js';
import { parseDurationMs } from '../format.js';
import { isAlive } from '../temporary.js';

const LOOK_MS = 20;

interface Options extends ClientOptions {
  readonly timeout: string;
}

export function addDown(program: Command): void {
  addClientOptions(
    program.command('down').description('stop the cluster; its shards are paused and stored'),
  )
    .option('--timeout <duration>', 'how long to wait for it', '30s')
    .action(async (options: Options) => {
      const patienceMs = parseDurationMs(options.timeout, '--timeout');
      const directory = fabricDirectory(options.fabric);
      const client = clientOf(options);
      const info = await readControlInfo(directory);
      const { paused } = await client.shutdown();
      const deadline = performance.now() + patienceMs;
      while (isAlive(info.pid)) {
        if (performance.now() > deadline) {
          throw new SherdError('SHERD_TIMEOUT', `the control process ${info.pid} still runs`, {
            at: directory,
            next: `end it with: kill ${info.pid}`,
            exitCode: EXIT.failedLater,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
      await untilFree(directory, deadline);
      await report(options, { directory, paused }, () =>
        [
          `stopped  ${fabricUrl(directory)}`,
          paused > 0
            ? `paused   ${paused} shards; sherd up --fabric ${fabricUrl(directory)} goes on with them`
            : '',
        ]
          .filter((line) => line !== '')
          .map((line) => `${line}\n`)
          .join(''),
      );
    });
}

function stillHeld(directory: string, busy: SherdError): SherdError {
  return new SherdError('SHERD_TIMEOUT', `its shards are stored, but ${busy.message}`, {
    at: directory,
    next: 'is that process stopped? kill -CONT lets it end, kill -9 ends it',
    exitCode: EXIT.failedLater,
    cause: busy,
  });
}

/** Its `sherd up` ends a little after the control; from then on another one can have the directory. */
export async function untilFree(directory: string, deadlineMs: number): Promise<void> {
  for (;;) {
    try {
      const lock = await lockDirectory(directory, { create: false });
      return await lock.release();
    } catch (thrown) {
      const isBusy = thrown instanceof SherdError && thrown.code === 'SHERD_FABRIC_BUSY';
      if (!isBusy) throw thrown;
      if (performance.now() > deadlineMs) throw stillHeld(directory, thrown);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}
