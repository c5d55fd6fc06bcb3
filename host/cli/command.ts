/**
 * What every command has: a way to fail, a way to print, `--json` and `--fabric`.
 */
import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import type { ShardView } from '../types/api.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { ShardStatus } from '../types/records.js';
import { printable, printableLine } from '../types/text.js';
import { connect } from './fabric-url.js';
import { renderJson } from './format.js';
import { stderr, stdout } from './output.js';
import { giveUpAfter } from './patience.js';

export interface ClientOptions {
  readonly fabric?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Declares --fabric and --json on a verb that talks to a running cluster. */
export function addClientOptions(command: Command): Command {
  return command
    .option(
      '--fabric <url>',
      "the cluster, like embedded:DIR (default: $SHERD_FABRIC, else the user's own)",
    )
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'print nothing but what was asked for');
}

export function clientOf(options: ClientOptions): ControlClient {
  return connect(options.fabric);
}

/** Prints a report: JSON when asked for, else the text. */
export async function report(
  options: { readonly json?: boolean },
  value: unknown,
  text: string | (() => string),
): Promise<void> {
  if (options.json === true) await stdout.write(renderJson(value));
  else await stdout.write(printable(typeof text === 'string' ? text : text()));
}

/** A line about what happened, on stderr, unless --quiet. */
export async function remark(options: { readonly quiet?: boolean }, text: string): Promise<void> {
  if (options.quiet !== true) await stderr.write(`${printableLine(`sherd: ${text}`)}\n`);
}

/** Waits until the shard has one of the statuses; SHERD_TIMEOUT with the next step after `patienceMs`. */
export async function awaitStatus(
  client: ControlClient,
  id: string,
  statuses: readonly ShardStatus[],
  o: { readonly patienceMs: number; readonly what: string; readonly next: string },
): Promise<ShardView> {
  const signal = giveUpAfter(o.patienceMs);
  try {
    return await client.untilStatus(id, statuses, { signal });
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new SherdError(
      'SHERD_TIMEOUT',
      `${o.what} was not answered within ${o.patienceMs / 1000} s`,
      {
        at: id,
        next: o.next,
        exitCode: EXIT.failedLater,
        cause,
      },
    );
  }
}
